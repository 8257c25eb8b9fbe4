//! The keyring: `config.json` files and real credential helper programs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gantry::config::{Login, Logins, Source};
use gantry::registry::credentials::{Asker, CredentialsError, FoundAccount, Keyring, Sources};
use tempfile::TempDir;

use super::*;

/// A machine with a home folder, a `DOCKER_CONFIG` folder and helper programs.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home/.docker", "config", "bin"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(self, config: &str) -> Self {
        std::fs::write(self.path("home/.docker/config.json"), config).unwrap();
        self
    }

    fn docker_config(self, config: &str) -> Self {
        std::fs::write(self.path("config/config.json"), config).unwrap();
        self
    }

    /// A helper program; `$DIR` in the script is the machine's folder.
    fn helper(self, name: &str, script: &str) -> Self {
        let path = self.path(&format!("bin/docker-credential-{name}"));
        let folder = self.folder.path().display();
        std::fs::write(&path, format!("#!/bin/sh\nDIR='{folder}'\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    fn sources(&self) -> Sources {
        let path = std::env::join_paths([self.path("bin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        Sources {
            logins: Logins::default(),
            docker_config: Some(self.path("config")),
            home: Some(self.path("home")),
            helper_path: Some(path),
            helper_limit: Duration::from_secs(5),
        }
    }

    async fn open(&self) -> Keyring {
        Keyring::open(&self.sources()).await.unwrap()
    }
}

fn shown(found: Result<FoundAccount, CredentialsError>) -> String {
    match found.unwrap().credentials.as_deref() {
        None => "nobody".to_owned(),
        Some(Credentials { server, account, .. }) => match account {
            Account::Password { username, password } => {
                format!("{username}:{} at {server}", password.reveal())
            }
            Account::IdentityToken { token, .. } => format!("token {} at {server}", token.reveal()),
            Account::RegistryToken(token) => format!("registry token {} at {server}", token.reveal()),
        },
    }
}

/// Why a registry is asked without an account.
fn missing(found: Result<FoundAccount, CredentialsError>) -> String {
    let found = found.unwrap();
    assert_eq!(found.credentials, None);
    found.missing.unwrap()
}

#[tokio::test]
async fn a_malformed_entry_is_the_reason_for_its_registry_alone() {
    // c2VjcmV0: no colon
    let config = r#"{"auths":{"a":{"auth":"c2VjcmV0"},"b":{"auth":"!"},"c":{"auth":"dTpw"},"D:5000":{"auth":"dTpw"}}}"#;
    let keyring = Machine::new().docker_config(config).open().await;
    for host in ["a", "b"] {
        let error = missing(keyring.find(host, None).await);
        assert!(error.contains("config/config.json") && !error.contains("secret"), "{error}");
    }
    assert_eq!(shown(keyring.find("c", None).await), "u:p at c");
    assert_eq!(shown(keyring.find("d:5000", None).await), "u:p at d:5000");
    assert_eq!(keyring.find("e", None).await.unwrap(), FoundAccount::default());
}

#[tokio::test]
async fn the_reason_for_having_no_account_is_told_only_where_anonymous_is_refused() {
    let keyring = Machine::new().docker_config(r#"{"credsStore":"desktop"}"#).open().await;
    let open = Server::start(|_| known()).await;
    let closed = Server::start(|_| Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\"")).await;
    for server in [&open, &closed] {
        let FoundAccount { credentials, missing } = keyring.find(&server.authority(), None).await.unwrap();
        let lookup = Lookup { credentials, missing, ..lookup(server, "app") };
        match registry().digest(&lookup).await {
            Ok(found) => assert_eq!(found, digest()),
            Err(error) => {
                let host = closed.authority();
                let cause = "docker-credential-desktop is not installed";
                assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
                let who = format!("without credentials (credential helper desktop for {host}: {cause})");
                assert!(error.to_string().contains(&who), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn the_folder_that_docker_config_names_comes_before_the_home_folder() {
    let machine = Machine::new()
        .docker_config(r#"{"auths":{"a":{"username":"u","password":"config"}}}"#)
        .home(r#"{"auths":{"a":{"username":"u","password":"home"},"b":{"username":"u","password":"home"}}}"#);
    let keyring = machine.open().await;
    assert_eq!(shown(keyring.find("a", None).await), "u:config at a");
    assert_eq!(shown(keyring.find("b", None).await), "u:home at b");
    assert_eq!(shown(keyring.find("c", None).await), "nobody");
}

#[tokio::test]
async fn without_any_file_everybody_is_anonymous() {
    let machine = Machine::new();
    assert_eq!(shown(machine.open().await.find("docker.io", None).await), "nobody");
    let keyring = Keyring::open(&Sources::default()).await.unwrap();
    assert_eq!(shown(keyring.find("docker.io", None).await), "nobody");
}

#[tokio::test]
async fn a_helper_is_asked_with_the_server_on_its_input() {
    let machine = Machine::new()
        .home(r#"{"credHelpers":{"reg:5000":"one"},"credsStore":"all"}"#)
        .helper("one", r#"read server; printf '{"ServerURL":"%s","Username":"one","Secret":"%s-%s"}' "$server" "$1" "$server""#)
        .helper("all", r#"read server; printf '{"ServerURL":"%s","Username":"<token>","Secret":"all-%s"}' "$server" "$server""#);
    let keyring = machine.open().await;
    assert_eq!(shown(keyring.find("reg:5000", None).await), "one:get-reg:5000 at reg:5000");
    let hub = "https://index.docker.io/v1/";
    assert_eq!(shown(keyring.find("docker.io", None).await), format!("token all-{hub} at {hub}"));
    let source = keyring.find("docker.io", None).await.unwrap().credentials.unwrap().source.clone();
    assert_eq!(source, "credential helper all");
}

#[tokio::test]
async fn a_helper_runs_once_for_a_registry_also_when_many_ask_at_once() {
    let machine = Machine::new().home(r#"{"credsStore":"slow"}"#).helper(
        "slow",
        r#"cat >/dev/null; echo run >> "$DIR/runs"; sleep 0.3; echo '{"Username":"u","Secret":"p"}'"#,
    );
    let keyring = machine.open().await;
    let found = futures_util::future::join_all((0..10).map(|_| keyring.find("r", None))).await;
    assert!(found.into_iter().all(|found| shown(found) == "u:p at r"));
    assert_eq!(shown(keyring.find("https://r/v2/", None).await), "u:p at r");
    let runs = |machine: &Machine| std::fs::read_to_string(machine.path("runs")).unwrap().lines().count();
    assert_eq!(runs(&machine), 1);
    // The next cycle asks again.
    assert_eq!(shown(machine.open().await.find("r", None).await), "u:p at r");
    assert_eq!(runs(&machine), 2);
}

#[tokio::test]
async fn a_helper_that_knows_nothing_leaves_it_to_the_next_source() {
    let machine = Machine::new()
        .docker_config(r#"{"credsStore":"empty"}"#)
        .home(r#"{"auths":{"a":{"username":"u","password":"home"}}}"#)
        .helper("empty", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    let keyring = machine.open().await;
    assert_eq!(shown(keyring.find("a", None).await), "u:home at a");
    assert_eq!(shown(keyring.find("b", None).await), "nobody");
}

async fn failure(script: &str, limit: Duration) -> String {
    let machine = Machine::new().home(r#"{"credsStore":"bad"}"#).helper("bad", script);
    let keyring = Keyring::open(&Sources { helper_limit: limit, ..machine.sources() }).await.unwrap();
    let error = missing(keyring.find("r", None).await);
    assert!(error.starts_with("credential helper bad for r: "), "{error}");
    error
}

#[tokio::test]
async fn a_failing_helper_is_named_with_its_first_line_and_never_with_a_secret() {
    let limit = Duration::from_secs(5);
    let error = failure("echo; echo the keychain is locked; echo more; exit 1", limit).await;
    assert!(error.ends_with("the keychain is locked"), "{error}");
    assert!(failure("echo no display >&2; exit 2", limit).await.ends_with("no display"));
    for script in [
        r#"echo '{"Username":"u","Secret":"hunter2"}'; exit 1"#,
        r#"echo '{"Username":"u","Secret":"hunter2"'"#,
        "echo hunter2",
        "exit 3",
        "kill -9 $$",
    ] {
        let error = failure(script, limit).await;
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// How long a helper that hangs is waited for: enough for it to start and to write what it is, on whatever machine.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a helper that hangs.
async fn hanging(script: &str) -> Machine {
    let machine = Machine::new().home(r#"{"credsStore":"bad"}"#).helper("bad", script);
    let keyring = Keyring::open(&Sources { helper_limit: LIMIT, ..machine.sources() }).await.unwrap();
    let error = missing(keyring.find("r", None).await);
    assert!(error.contains("no answer within 5 s"), "{error}");
    machine
}

#[tokio::test]
async fn a_hanging_helper_is_killed_after_its_time() {
    let machine = hanging(r#"echo $$ > "$DIR/pid"; exec sleep 600"#).await;
    ends(&machine, "pid").await;
}

#[tokio::test]
async fn what_a_hanging_helper_has_started_is_killed_with_it() {
    let machine = hanging(r#"(sleep 601; :) & echo $! > "$DIR/child"; echo $$ > "$DIR/pid"; wait"#).await;
    ends(&machine, "pid").await;
    ends(&machine, "child").await;
}

#[tokio::test]
async fn what_a_helper_that_answers_leaves_behind_is_left_alone() {
    let machine = Machine::new().home(r#"{"credsStore":"good"}"#).helper(
        "good",
        r#"sleep 62 </dev/null >/dev/null 2>&1 & echo $! > "$DIR/agent"; cat >/dev/null; echo '{"Username":"u","Secret":"p"}'"#,
    );
    assert_eq!(shown(machine.open().await.find("r", None).await), "u:p at r");
    let agent = std::fs::read_to_string(machine.path("agent")).unwrap();
    assert!(is_running(agent.trim()));
    assert!(std::process::Command::new("kill").arg(agent.trim()).status().unwrap().success());
}

/// Whether a process is there and not dead and only not yet collected.
fn is_running(pid: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// Waits for the end of the process whose id is in a file.
async fn ends(machine: &Machine, file: &str) {
    let pid = std::fs::read_to_string(machine.path(file)).unwrap();
    for _ in 0..200 {
        if !is_running(pid.trim()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the process in {file} still runs");
}

#[tokio::test]
async fn a_missing_helper_and_one_with_a_path_for_a_name_leave_everybody_anonymous() {
    for (helper, words) in
        [("absent", "docker-credential-absent is not installed"), ("../../bin/sh", "no slash")]
    {
        let machine = Machine::new().home(&format!(r#"{{"credsStore":"{helper}"}}"#));
        let error = missing(machine.open().await.find("r", None).await);
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_broken_file_leaves_everybody_anonymous_and_nothing_is_ever_written() {
    for broken in [r#"{"auths":"#, "// mine\n{}", "[]"] {
        let machine = Machine::new().docker_config(broken).home(r#"{"auths":{"a":{"auth":"dTpw"}}}"#);
        let keyring = machine.open().await;
        let error = missing(keyring.find("r", None).await);
        assert!(error.contains("config/config.json") && error.contains("line 1"), "{error}");
        // Another file is still good.
        assert_eq!(shown(keyring.find("a", None).await), "u:p at a");
    }

    let machine = Machine::new().home(r#"{"auths":{"a":{"username":"u","password":"p"}}}"#);
    let folder = machine.path("home/.docker");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o555)).unwrap();
    assert_eq!(shown(machine.open().await.find("a", None).await), "u:p at a");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// As the variables `GANTRY_REGISTRY_*` and a file of logins.
fn logins(machine: &Machine, lines: &str) -> Logins {
    let path = machine.path("logins");
    std::fs::write(&path, lines).unwrap();
    let source = |text: &str| Source::Value(Secret::new(text));
    let single = Login {
        user: source("single"),
        password: source("p"),
        host: Some(source("single.example")),
        config: None,
        services: None,
    };
    Logins { single: Some(single), configs_file: Some(path) }
}

#[tokio::test]
async fn what_variables_give_comes_before_the_clients_configuration() {
    let inline = |user: &str| format!(r#"{{"username":"{user}","password":"p"}}"#);
    let machine = Machine::new().docker_config(&format!(
        r#"{{"auths":{{"single.example":{0},"one.example":{0},"two.example":{0},"other.example":{0}}}}}"#,
        inline("config")
    ));
    let logins = logins(&machine, "a one.example one p\na two.example two p\nb two.example three p\n");
    let keyring = Keyring::open(&Sources { logins, ..machine.sources() }).await.unwrap();
    for (host, name, expected) in [
        ("single.example", None, "single:p at single.example"),
        ("one.example", None, "one:p at one.example"),
        // More than one: the label has to say which.
        ("two.example", None, "config:p at two.example"),
        ("two.example", Some("b"), "three:p at two.example"),
        ("other.example", None, "config:p at other.example"),
        // A label names its one source.
        ("other.example", Some("a"), "nobody"),
    ] {
        assert_eq!(shown(keyring.find(host, name).await), expected, "{host} {name:?}");
    }
}

#[tokio::test]
async fn a_label_may_name_a_folder_with_a_configuration_of_its_own() {
    let machine = Machine::new()
        .docker_config(r#"{"auths":{"r":{"username":"config","password":"p"}}}"#)
        .home(r#"{"auths":{"r":{"username":"own","password":"p"}},"credHelpers":{"h":"one"}}"#)
        .helper("one", r#"cat >/dev/null; echo '{"Username":"helped","Secret":"p"}'"#);
    let keyring = machine.open().await;
    let folder = machine.path("home/.docker").display().to_string();
    assert_eq!(shown(keyring.find("r", Some(&folder)).await), "own:p at r");
    assert_eq!(shown(keyring.find("h", Some(&folder)).await), "helped:p at h");
    assert_eq!(shown(keyring.find("other", Some(&folder)).await), "nobody");
    assert_eq!(shown(keyring.find("r", None).await), "config:p at r");

    std::fs::write(machine.path("bin/config.json"), "[]").unwrap();
    let broken = machine.path("bin").display().to_string();
    let error = missing(keyring.find("r", Some(&broken)).await);
    assert!(error.contains("bin/config.json cannot be read"), "{error}");
}

/// The account that a service is given, or why it gets none.
async fn account_of(keyring: &Keyring, service: &str, image: &str, login: Option<&str>) -> String {
    let image = image.parse().unwrap();
    let found = keyring.search(&keyring.wanted(Asker { service, image: &image, login })).await;
    match found {
        Ok(FoundAccount { credentials: Some(credentials), .. }) => {
            credentials.username().unwrap_or_default().to_owned()
        }
        Ok(FoundAccount { missing, .. }) => missing.unwrap_or_else(|| "nobody".to_owned()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_login_is_given_only_to_the_services_and_images_that_it_is_for() {
    let machine = Machine::new();
    let lines = "team-a r.test anna p team-a_*\nteam-b r.test bob p team-b_*,r.test/team-b/*\nall o.test carl p\n\
                 one s.test dora p only\n";
    let logins = logins(&machine, lines);
    let keyring = Keyring::open(&Sources { logins, ..machine.sources() }).await.unwrap();
    let refused = "found a login that is not for this service or its image";
    for (service, image, login, expected) in [
        ("team-a_web", "r.test/team-b/private:1", None, "there is more than one"),
        ("team-a_web", "r.test/app", None, "anna"),
        ("team-a_web", "r.test/app", Some("team-a"), "anna"),
        ("team-a_web", "r.test/app", Some("team-b"), refused),
        ("mine", "r.test/team-b/private:1", Some("team-a"), refused),
        ("mine", "r.test/team-b/private:1", None, "bob"),
        ("mine", "r.test/app", None, "are for other services"),
        ("mine", "o.test/app", None, "carl"),
        ("mine", "o.test/app", Some("all"), "carl"),
        ("only", "s.test/app", None, "dora"),
        ("other", "s.test/app", Some("one"), refused),
        // A restricted login is for nobody in particular elsewhere, either.
        ("other", "o.test/app", Some("one"), refused),
    ] {
        let found = account_of(&keyring, service, image, login).await;
        let expected =
            if expected.starts_with("there is more") { "there are logins for it" } else { expected };
        assert!(found.contains(expected), "{service} {image} {login:?}: {found}");
    }
}

#[tokio::test]
async fn a_refused_service_is_told_no_names_of_logins_of_others() {
    let machine = Machine::new();
    let lines = "secret-team r.test anna p secret_*\nours r.test bob p mine\nall r.test carl p\nelsewhere o.test dora p\n";
    let logins = logins(&machine, lines);
    let keyring = Keyring::open(&Sources { logins, ..machine.sources() }).await.unwrap();
    let told = account_of(&keyring, "mine", "r.test/app", Some("typo")).await;
    insta::assert_snapshot!(told, @r#"label gantry.auth.config="typo": expected the name of a login (ours, all), or an absolute folder with a config.json; the logins come from GANTRY_REGISTRY_CONFIG and GANTRY_REGISTRY_CONFIGS_FILE"#);
    let told = account_of(&keyring, "other", "r.test/app", Some("ours")).await;
    insta::assert_snapshot!(told, @r#"label gantry.auth.config="ours": expected the name of a login (all), or an absolute folder with a config.json, found a login that is not for this service or its image; the fifth word of its line in GANTRY_REGISTRY_CONFIGS_FILE, or GANTRY_REGISTRY_SERVICES, says for which it is"#);
    for login in [Some("typo"), Some("ours"), None] {
        let told = account_of(&keyring, "other", "r.test/app", login).await;
        assert!(!told.contains("secret") && !told.contains("elsewhere"), "{told}");
    }
}

#[tokio::test]
async fn the_single_login_may_be_for_some_services_as_well() {
    let machine =
        Machine::new().docker_config(r#"{"auths":{"single.example":{"username":"config","password":"p"}}}"#);
    for services in ["web,team/*".to_owned(), String::new()] {
        let mut logins = logins(&machine, "");
        let file = machine.path("services");
        std::fs::write(&file, "web,team/*\n").unwrap();
        let source =
            if services.is_empty() { Source::File(file) } else { Source::Value(Secret::new(services)) };
        logins.single.as_mut().unwrap().services = Some(source);
        let keyring = Keyring::open(&Sources { logins, ..machine.sources() }).await.unwrap();
        for (service, image, expected) in [
            ("web", "single.example/app", "single"),
            ("other", "single.example/team/app", "single"),
            // As if there were no such login.
            ("other", "single.example/app", "config"),
        ] {
            assert_eq!(account_of(&keyring, service, image, None).await, expected, "{service} {image}");
        }
        assert_eq!(shown(keyring.find("single.example", None).await), "config:p at single.example");
    }
}

#[tokio::test]
async fn a_label_that_names_nothing_is_an_error_that_says_what_there_is() {
    let machine = Machine::new();
    let logins = logins(&machine, "a one.example one p\nb one.example two p\n");
    let keyring = Keyring::open(&Sources { logins, ..machine.sources() }).await.unwrap();
    let error = keyring.find("one.example", Some("c")).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"label gantry.auth.config="c": expected the name of a login (a, b), or an absolute folder with a config.json; the logins come from GANTRY_REGISTRY_CONFIG and GANTRY_REGISTRY_CONFIGS_FILE"#);
    let error = machine.open().await.find("r", Some("/nonexistent")).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"label gantry.auth.config="/nonexistent": expected an absolute folder with a config.json, or the name of a login, of which there is none; the logins come from GANTRY_REGISTRY_CONFIG and GANTRY_REGISTRY_CONFIGS_FILE"#);
}
