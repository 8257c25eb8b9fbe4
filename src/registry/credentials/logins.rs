//! The logins that Gantry's own variables give: one in `GANTRY_REGISTRY_*`, more in a file with a login per
//! line. Read anew for each cycle, never written.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Account, Credentials, CredentialsError, host_of_key, server_of_host};
use crate::config::{self, LoginScope, Source};
use crate::image::{DOCKER_HUB, ImageRef};
use crate::registry::files;
use crate::secret::Secret;
use crate::words::{piece, quoted};

/// How many logins a file may have.
const MAX_LOGINS: usize = 10_000;

/// How many lines that are wrong are told one by one.
const MAX_MISTAKES: usize = 20;

/// What a line of the file looks like.
const LINE: &str = "<config> <host> <user> <password> [<services>]";

/// One account at one registry, by the name that services know it by.
#[derive(Clone, Debug)]
pub(in crate::registry) struct KnownLogin {
    /// What the label `gantry.auth.config` says to choose it.
    name: Option<String>,
    /// Its registry.
    host: String,
    credentials: Arc<Credentials>,
    /// The services and images that may use it; `None`: all.
    scope: Option<LoginScope>,
}

/// The logins that one service may not use, by their places among all.
pub(in crate::registry) type Refused = BTreeSet<usize>;

/// All logins that variables give.
#[derive(Clone, Debug, Default)]
pub(in crate::registry) struct KnownLogins(Vec<KnownLogin>);

/// The result for a service that asks for a login by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Named {
    /// This account.
    Here(Arc<Credentials>),
    /// The name is known, but for other registries.
    Elsewhere,
    /// The name is known, but this service may not use the login.
    Refused,
    /// No login has this name.
    Unknown,
}

/// The result for a service that names no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Unnamed {
    /// The one login for its registry.
    One(Arc<Credentials>),
    /// There are several, with these names, and no rule chooses one.
    Several(Vec<String>),
    /// There are logins, and this service may use none of them.
    Refused,
    /// None.
    Nothing,
}

impl KnownLogins {
    /// Reads all files that the variables name.
    ///
    /// # Errors
    /// A file that cannot be read or holds no value, with its variable and path; all lines of the file of
    /// logins that are none, with their numbers. What is secret is in none of them.
    pub(super) async fn read(told: &config::Logins) -> Result<Self, CredentialsError> {
        let mut logins = Vec::new();
        if let Some(single) = &told.single {
            logins.push(read_single(single).await?);
        }
        if let Some(path) = &told.configs_file {
            logins.extend(read_lines(path).await?);
        }
        Ok(Self(logins))
    }

    /// The logins of a file with this text.
    #[cfg(test)]
    pub(in crate::registry) fn of(text: &str) -> Self {
        Self(parse(text, Path::new("/x/logins")).unwrap())
    }

    /// The logins for this registry or with this name that this service and image may not use. `None` stands for no
    /// service at all.
    pub(super) fn refused(&self, host: &str, name: Option<&str>, user: Option<(&str, &ImageRef)>) -> Refused {
        let concerns =
            |login: &KnownLogin| login.host == host || (name.is_some() && login.name.as_deref() == name);
        let permits = |scope: &LoginScope| {
            user.is_some_and(|(service, image)| scope.permits(service, image.registry(), image.repository()))
        };
        let places = self.0.iter().enumerate().filter(|(_, login)| {
            login.scope.as_ref().is_some_and(|scope| concerns(login) && !permits(scope))
        });
        places.map(|(place, _)| place).collect()
    }

    /// The login of this name for this registry.
    pub(in crate::registry) fn named(&self, name: &str, host: &str, refused: &Refused) -> Named {
        let (mut is_elsewhere, mut is_refused) = (false, false);
        // A line of the file comes after the variables and counts before them, as a second `docker login` would.
        let all = self.0.iter().enumerate().rev();
        for (place, login) in all.filter(|(_, login)| login.name.as_deref() == Some(name)) {
            match (login.host == host, refused.contains(&place)) {
                (true, false) => return Named::Here(Arc::clone(&login.credentials)),
                (false, false) => is_elsewhere = true,
                (_, true) => is_refused = true,
            }
        }
        match (is_refused, is_elsewhere) {
            (true, _) => Named::Refused,
            (false, true) => Named::Elsewhere,
            (false, false) => Named::Unknown,
        }
    }

    /// The login for a service of this registry without a label: the only login; or, of several, the login without a name or
    /// with the name of a default folder of the docker client.
    pub(in crate::registry) fn unnamed(&self, host: &str, folders: &[PathBuf], refused: &Refused) -> Unnamed {
        let here: Vec<&KnownLogin> = self.usable(host, refused).collect();
        let is_default = |login: &&&KnownLogin| {
            let Some(name) = &login.name else { return true };
            // Paths are the same with and without a slash at their end.
            folders.iter().any(|folder| folder == Path::new(name))
        };
        match (here.iter().find(is_default), here.as_slice()) {
            (Some(login), _) | (None, [login]) => Unnamed::One(Arc::clone(&login.credentials)),
            (None, []) if refused.iter().any(|place| self.0[*place].host == host) => Unnamed::Refused,
            (None, []) => Unnamed::Nothing,
            (None, several)
                if several.iter().all(|it| it.credentials.account == several[0].credentials.account) =>
            {
                Unnamed::One(Arc::clone(&several[0].credentials))
            }
            (None, several) => {
                Unnamed::Several(several.iter().filter_map(|login| login.name.clone()).collect())
            }
        }
    }

    /// `text` without the secrets of these logins.
    pub(super) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, login| login.credentials.redact(&text))
    }

    /// The logins for this registry, without those that are refused.
    fn usable<'a>(&'a self, host: &'a str, refused: &'a Refused) -> impl Iterator<Item = &'a KnownLogin> {
        let all = self.0.iter().enumerate();
        all.filter(move |(place, login)| login.host == host && !refused.contains(place))
            .map(|(_, login)| login)
    }

    /// The names of the logins for this registry that are not refused, each once, in the order in which they were read.
    pub(in crate::registry) fn names(&self, host: &str, refused: &Refused) -> Vec<String> {
        let names = self.usable(host, refused).filter_map(|login| login.name.as_deref());
        let mut seen = HashSet::new();
        names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
    }
}

/// The login of the `GANTRY_REGISTRY_*` variables.
async fn read_single(told: &config::Login) -> Result<KnownLogin, CredentialsError> {
    let required = |secret: Secret, source: &Source, variable| match source {
        Source::File(path) if secret.reveal().is_empty() => {
            let cause = "it is empty".to_owned();
            Err(CredentialsError::LoginFile { variable, path: path.clone(), cause })
        }
        _ => Ok(secret),
    };
    let user = value(&told.user, "GANTRY_REGISTRY_USER_FILE").await?;
    let user = required(Secret::new(user.reveal().trim()), &told.user, "GANTRY_REGISTRY_USER_FILE")?;
    let password = value(&told.password, "GANTRY_REGISTRY_PASSWORD_FILE").await?;
    let password = required(password, &told.password, "GANTRY_REGISTRY_PASSWORD_FILE")?;
    let host = optional(told.host.as_ref(), "GANTRY_REGISTRY_HOST_FILE").await?;
    let host = host.map_or_else(|| DOCKER_HUB.to_owned(), |host| host_of_key(&host));
    let name = optional(told.config.as_ref(), "GANTRY_REGISTRY_CONFIG_FILE").await?;
    let source = match &told.password {
        Source::Value(_) => "GANTRY_REGISTRY_PASSWORD".to_owned(),
        Source::File(path) => format!("GANTRY_REGISTRY_PASSWORD_FILE {}", path.display()),
    };
    let credentials = credentials(source, &host, user.reveal(), password);
    let scope = read_scope(told.services.as_ref()).await?;
    Ok(KnownLogin { name, host, credentials, scope })
}

/// The services and images of the single login. A file without any names is a mistake.
async fn read_scope(source: Option<&Source>) -> Result<Option<LoginScope>, CredentialsError> {
    const VARIABLE: &str = "GANTRY_REGISTRY_SERVICES_FILE";
    let Some(source) = source else { return Ok(None) };
    let text = value(source, VARIABLE).await?;
    LoginScope::parse(text.reveal()).map(Some).map_err(|found| {
        let path = match source {
            Source::File(path) => path.clone(),
            Source::Value(_) => PathBuf::new(),
        };
        let cause = format!("expected {}; found {found}", LoginScope::EXPECTED);
        CredentialsError::LoginFile { variable: VARIABLE, path, cause }
    })
}

/// A value that may be missing; an empty value is missing.
async fn optional(
    source: Option<&Source>,
    variable: &'static str,
) -> Result<Option<String>, CredentialsError> {
    let Some(source) = source else { return Ok(None) };
    let text = value(source, variable).await?.reveal().trim().to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The value, or the content of its file without the line end that editors add.
async fn value(source: &Source, variable: &'static str) -> Result<Secret, CredentialsError> {
    match source {
        Source::Value(secret) => Ok(secret.clone()),
        Source::File(path) => {
            let text = contents(variable, path).await?;
            Ok(Secret::new(text.reveal().trim_end_matches(['\r', '\n'])))
        }
    }
}

/// The logins of a file, one on a line.
async fn read_lines(path: &Path) -> Result<Vec<KnownLogin>, CredentialsError> {
    let text = contents("GANTRY_REGISTRY_CONFIGS_FILE", path).await?;
    parse(text.reveal(), path)
        .map_err(|mistakes| CredentialsError::LoginLines { path: path.to_owned(), mistakes })
}

/// Reads the lines. The error names the first wrong lines by their numbers.
pub(in crate::registry) fn parse(text: &str, path: &Path) -> Result<Vec<KnownLogin>, Vec<String>> {
    let mut logins: Vec<KnownLogin> = Vec::new();
    // Where the login of a name for a host is.
    let mut places: HashMap<(String, &str), usize> = HashMap::new();
    let (mut mistakes, mut more) = (Vec::new(), 0_usize);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let mut mistake = |what: String| {
            if mistakes.len() < MAX_MISTAKES {
                mistakes.push(format!("line {number}: {what}"));
            } else {
                more += 1;
            }
        };
        let words: Vec<&str> = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty()).collect();
        if words.first().is_none_or(|first| first.starts_with('#')) {
            continue;
        }
        let (&[name, host, user, password] | &[name, host, user, password, _]) = words.as_slice() else {
            let plural = if words.len() == 1 { "" } else { "s" };
            mistake(format!("expected {LINE}, found {} word{plural}", words.len()));
            continue;
        };
        // The word is not shown: it may be the end of a password with a space.
        let scope = match words.get(4).map(|scope| LoginScope::parse(scope)).transpose() {
            Ok(scope) => scope,
            Err(found) => {
                mistake(format!("expected in the fifth word {}; found {found}", LoginScope::EXPECTED));
                continue;
            }
        };
        let host = host_of_key(host);
        if host.is_empty() {
            mistake(format!("expected {LINE}, found no host in the second word"));
            continue;
        }
        let source = format!("{}, line {number}", path.display());
        let credentials = credentials(source, &host, user, Secret::new(password));
        match places.get(&(host.clone(), name)) {
            Some(at)
                if logins[*at].credentials.account != credentials.account || logins[*at].scope != scope =>
            {
                mistake(format!("{} has another login for {} already", quoted(name), piece(&host)));
            }
            Some(_) => {}
            None if logins.len() == MAX_LOGINS => {
                return Err(vec![format!("expected at most {MAX_LOGINS} logins, found more")]);
            }
            None => {
                places.insert((host.clone(), name), logins.len());
                logins.push(KnownLogin { name: Some(name.to_owned()), host, credentials, scope });
            }
        }
    }
    if more > 0 {
        mistakes.push(format!("{more} more lines are wrong"));
    }
    if mistakes.is_empty() { Ok(logins) } else { Err(mistakes) }
}

fn credentials(source: String, host: &str, user: &str, password: Secret) -> Arc<Credentials> {
    let account = Account::Password { username: user.to_owned(), password };
    Arc::new(Credentials { source, server: server_of_host(host).to_owned(), account })
}

/// The text of the file that a variable names.
async fn contents(variable: &'static str, path: &Path) -> Result<Secret, CredentialsError> {
    let own = path.to_owned();
    let read = files::off_the_thread(path, move || files::read(&own)).await;
    let bytes = read.and_then(|bytes| bytes.map_err(|error| error.to_string()));
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map(Secret::new).map_err(|_| "it is not text in UTF-8".to_owned())
    });
    text.map_err(|cause| CredentialsError::LoginFile { variable, path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(text: &str) -> KnownLogins {
        KnownLogins::of(text)
    }

    fn user(credentials: &Credentials) -> &str {
        credentials.username().unwrap_or_default()
    }

    fn named(logins: &KnownLogins, name: &str, host: &str) -> String {
        match logins.named(name, host, &Refused::new()) {
            Named::Here(credentials) => user(&credentials).to_owned(),
            other => format!("{other:?}"),
        }
    }

    fn unnamed(logins: &KnownLogins, host: &str) -> String {
        match logins.unnamed(host, &[PathBuf::from("/root/.docker")], &Refused::new()) {
            Unnamed::One(credentials) => user(&credentials).to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_line_is_four_words_between_tabs_or_spaces_and_comments_do_not_count() {
        let logins = logins(
            "\u{feff}# ours\n\n  \t \nteam ghcr.io anna ~?>/+ß\r\n\tteam\t \treg:5000  bob\tp#w\"\\ \n   # end\n#x",
        );
        let all: Vec<String> = logins
            .0
            .iter()
            .map(|login| match &login.credentials.account {
                Account::Password { username, password } => {
                    format!("{:?} {} {username} {}", login.name, login.host, password.reveal())
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(all, [r#"Some("team") ghcr.io anna ~?>/+ß"#, r#"Some("team") reg:5000 bob p#w"\"#]);
        assert_eq!(logins.0[0].credentials.source, "/x/logins, line 4");
    }

    #[test]
    fn all_malformed_lines_are_told_by_their_numbers_and_no_word_of_them() {
        let text = "a ghcr.io u hunter2\nb ghcr.io hunter2\n\nc ghcr.io u hunter2 # comment\nd https:// u hunter2\n\
                    hunter2\na GHCR.io u hunter3\na ghcr.io u hunter2\ne ghcr.io u hunter2 #hunter2\n\
                    a ghcr.io u hunter2 team_*\n";
        let mistakes = parse(text, Path::new("/x")).unwrap_err().join("\n");
        insta::assert_snapshot!(mistakes, @r#"
        line 2: expected <config> <host> <user> <password> [<services>], found 3 words
        line 4: expected <config> <host> <user> <password> [<services>], found 6 words
        line 5: expected <config> <host> <user> <password> [<services>], found no host in the second word
        line 6: expected <config> <host> <user> <password> [<services>], found 1 word
        line 7: "a" has another login for ghcr.io already
        line 9: expected in the fifth word up to 100 names of services or images, separated by commas, with * for any characters; found a name with other characters than letters, digits and _-.:/*[]
        line 10: "a" has another login for ghcr.io already
        "#);
        assert!(!mistakes.contains("hunter"));
    }

    #[test]
    fn a_name_is_looked_for_with_its_registry_and_docker_hub_has_one_name() {
        let logins = logins("a ghcr.io anna 1\na https://index.docker.io/v1/ hub 2\nb ghcr.io bob 3");
        for (name, host, expected) in [
            ("a", "ghcr.io", "anna"),
            ("b", "ghcr.io", "bob"),
            ("a", "docker.io", "hub"),
            ("b", "docker.io", "Elsewhere"),
            ("c", "ghcr.io", "Unknown"),
            ("A", "ghcr.io", "Unknown"),
        ] {
            assert_eq!(named(&logins, name, host), expected, "{name} {host}");
        }
        assert_eq!(logins.names("ghcr.io", &Refused::new()), ["a", "b"]);
        assert_eq!(logins.names("docker.io", &Refused::new()), ["a"]);
    }

    #[test]
    fn without_a_name_there_has_to_be_one_login_for_the_registry() {
        let logins = logins("a ghcr.io anna 1\nb ghcr.io bob 2\nc reg:5000 carl 3\nd same d 1\ne same d 1");
        assert_eq!(unnamed(&logins, "ghcr.io"), r#"Several(["a", "b"])"#);
        assert_eq!(unnamed(&logins, "reg:5000"), "carl");
        assert_eq!(unnamed(&logins, "same"), "d");
        assert_eq!(unnamed(&logins, "docker.io"), "Nothing");
    }

    #[test]
    fn of_several_logins_the_one_named_like_the_default_folder_needs_no_label() {
        for folder in ["/root/.docker", "/root/.docker/"] {
            let logins = logins(&format!("a r anna 1\n{folder} r bob 2\n/other r carl 3"));
            assert_eq!(unnamed(&logins, "r"), "bob", "{folder}");
            assert_eq!(named(&logins, "a", "r"), "anna");
        }
    }

    /// The login of the variables; an empty host or name is not set.
    fn single(host: &str, name: &str) -> config::Login {
        let source =
            |text: &str| Some(text).filter(|text| !text.is_empty()).map(Secret::new).map(Source::Value);
        config::Login {
            user: Source::Value(Secret::new("single")),
            password: Source::Value(Secret::new(" p ")),
            host: source(host),
            config: source(name),
            services: None,
        }
    }

    #[test]
    fn of_many_malformed_lines_the_first_are_told() {
        let mistakes = parse(&"x\n".repeat(500), Path::new("/x")).unwrap_err();
        assert_eq!(mistakes.len(), MAX_MISTAKES + 1);
        assert_eq!(mistakes[MAX_MISTAKES], "480 more lines are wrong");
        let long = format!("{0} r u p\n{0} r u q", "n".repeat(9000));
        assert!(parse(&long, Path::new("/x")).unwrap_err()[0].len() < 200);
        let many: Vec<String> = (0..=MAX_LOGINS).map(|n| format!("n{n} r u p")).collect();
        assert_eq!(
            parse(&many.join("\n"), Path::new("/x")).unwrap_err(),
            ["expected at most 10000 logins, found more"]
        );
    }

    #[tokio::test]
    async fn the_single_login_is_for_all_services_of_its_registry_named_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logins");
        std::fs::write(&path, "a ghcr.io anna 1\nb ghcr.io bob 2\n").unwrap();
        let read = async |single| {
            let told = config::Logins { single: Some(single), configs_file: Some(path.clone()) };
            KnownLogins::read(&told).await.unwrap()
        };
        let for_all = read(single("", "")).await;
        assert_eq!(unnamed(&for_all, "docker.io"), "single");
        assert_eq!(unnamed(&read(single("ghcr.io", "")).await, "ghcr.io"), "single");
        let for_some = read(single("reg:5000", "x")).await;
        assert_eq!(unnamed(&for_some, "reg:5000"), "single");
        assert_eq!(named(&for_some, "x", "reg:5000"), "single");
        assert_eq!(unnamed(&read(single("ghcr.io", "x")).await, "ghcr.io"), r#"Several(["x", "a", "b"])"#);
        assert_eq!(named(&read(single("ghcr.io", "a")).await, "a", "ghcr.io"), "anna");
    }

    #[tokio::test]
    async fn a_files_last_line_end_is_not_part_of_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Source::File(path)
        };
        let login = config::Login {
            user: file("user", " jürgen\n"),
            password: file("password", " ~?> \r\n"),
            host: Some(file("host", "https://reg:5000/v2/\n")),
            config: Some(file("config", "\n")),
            services: None,
        };
        let read = read_single(&login).await.unwrap();
        assert_eq!((read.name, read.host.as_str()), (None, "reg:5000"));
        let expected = Account::Password { username: "jürgen".to_owned(), password: Secret::new(" ~?> ") };
        assert_eq!(read.credentials.account, expected);

        for (login, words) in [
            (config::Login { password: file("empty", "\n"), ..login.clone() }, "empty: it is empty"),
            (
                config::Login { user: Source::File("/nonexistent".into()), ..login.clone() },
                "/nonexistent: No such",
            ),
            (
                config::Login { host: Some(Source::File("/".into())), ..login.clone() },
                "HOST_FILE=/: is a directory",
            ),
            (
                config::Login { services: Some(file("none", "\n")), ..login.clone() },
                "none: expected up to 100 names of services or images",
            ),
        ] {
            let error = read_single(&login).await.unwrap_err().to_string();
            assert!(error.starts_with("GANTRY_REGISTRY_") && error.contains(words), "{error}");
        }
        std::fs::write(folder.path().join("password"), b"hunter2\xff").unwrap();
        let error = read_single(&login).await.unwrap_err().to_string();
        assert!(error.ends_with("password: it is not text in UTF-8"), "{error}");
    }
}
