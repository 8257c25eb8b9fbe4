//! The daemon that a command asks: by its socket in the same container, or at an address.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use reqwest::Url;

use crate::config::{TOKEN, TOKEN_FILE, URL};
use crate::local_socket;
use crate::secret::Secret;
use crate::words::{printable, quoted};

/// The longest file of a token that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// The exit code of a command that could not do what it was asked.
pub(super) const FAILED: u8 = 1;

/// The exit code of a command that was told something wrong.
pub(super) const MISTAKE: u8 = 2;

/// Why a command could not ask its daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Cause and remedy, in one line.
    pub words: String,
    /// The exit code.
    pub code: u8,
    /// Whether there is no daemon that could be asked, and none was named.
    pub is_absence: bool,
    /// Whether it may pass by itself: the daemon was not reached, or did not answer.
    pub is_passing: bool,
}

impl Trouble {
    pub(super) fn new(words: impl fmt::Display) -> Self {
        Self { words: printable(&words.to_string()), code: FAILED, is_absence: false, is_passing: false }
    }

    /// The command cannot start.
    pub fn of_start(error: &io::Error) -> Self {
        Self::new(format!("cannot start: {error}"))
    }

    /// The same, where this daemon was asked: one that does not answer at its socket is as good as none.
    pub fn at(self, target: &DaemonAddress) -> Self {
        let is_absence = self.is_passing && matches!(target, DaemonAddress::Socket(_));
        Self { is_absence, ..self }
    }

    pub(super) fn passing(words: impl fmt::Display) -> Self {
        Self { is_passing: true, ..Self::new(words) }
    }

    pub(super) fn mistake(words: impl fmt::Display) -> Self {
        Self { code: MISTAKE, ..Self::new(words) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The daemon that a command asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonAddress {
    /// By its socket.
    Socket(PathBuf),
    /// At this address, with a slash at its end.
    Url {
        /// The address.
        url: Url,
        /// The token, where one was given.
        token: Option<Secret>,
    },
}

impl DaemonAddress {
    /// The daemon that these variables name, else the one that listens in this container.
    ///
    /// # Errors
    /// A variable has a value that cannot be used, or no daemon listens here.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Trouble> {
        let set =
            |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if let Some(url) = set(URL) {
            let token = match (set(TOKEN), set(TOKEN_FILE)) {
                (Some(token), _) => Some(usable(TOKEN, &token)?),
                (None, Some(path)) => Some(token_in(&path)?),
                (None, None) => None,
            };
            return Ok(Self::Url { url: address(&url)?, token });
        }
        let found = local_socket::find(&local_socket::places());
        found.map(|(path, _)| Self::Socket(path)).map_err(|why| {
            let words = format!(
                "there is no daemon to ask: {why}. Run the command in Gantry's container (docker exec CONTAINER gantry ...), \
                 or set {URL} and {TOKEN}"
            );
            Trouble { is_absence: true, ..Trouble::new(words) }
        })
    }
}

/// The address that a user has written.
fn address(text: &str) -> Result<Url, Trouble> {
    let expected = "expected the address of page and API, such as https://gantry.example.com/";
    let wrong = || Trouble::mistake(format!("{URL}={}: {expected}", quoted(text)));
    let mut url =
        Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(wrong)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Trouble::mistake(format!(
            "{URL} has a user or a password: {expected}; {TOKEN} takes the token"
        )));
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn usable(name: &str, token: &str) -> Result<Secret, Trouble> {
    let is_usable = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    let wrong = || Trouble::mistake(format!("{name}: expected a token of visible ASCII characters"));
    is_usable.then(|| Secret::new(token)).ok_or_else(wrong)
}

/// The token in a file: the last word of its first line that is no comment, as the daemon's files may have names.
fn token_in(path: &str) -> Result<Secret, Trouble> {
    let wrong = |why: &dyn fmt::Display| Trouble::mistake(format!("{TOKEN_FILE}={}: {why}", quoted(path)));
    let found = fs::metadata(path).map_err(|error| wrong(&error))?;
    if !found.is_file() || found.len() > MAX_FILE {
        return Err(wrong(&"expected a file of at most 64 KiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    usable(TOKEN_FILE, lines.next().and_then(|line| line.split_whitespace().last()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<DaemonAddress, Trouble> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        DaemonAddress::find(|name| value(name).map(str::to_owned))
    }

    fn url_and_token(variables: &[(&str, &str)]) -> (String, Option<String>) {
        match find(variables).unwrap() {
            DaemonAddress::Url { url, token } => {
                (url.to_string(), token.map(|token| token.reveal().to_owned()))
            }
            DaemonAddress::Socket(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn an_address_and_its_token_come_from_variables() {
        let own = |url: &str| url_and_token(&[(URL, url)]).0;
        assert_eq!(own(" https://gantry.test "), "https://gantry.test/");
        assert_eq!(own("http://host:8080/gantry?x#y"), "http://host:8080/gantry/");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "# who may steer\nanna 0123456789abcdef\n").unwrap();
        let file = file.display().to_string();
        let with = |more: &[(&str, &str)]| url_and_token(&[&[(URL, "http://a")][..], more].concat()).1;
        assert_eq!(with(&[(TOKEN_FILE, &file)]).as_deref(), Some("0123456789abcdef"));
        assert_eq!(with(&[(TOKEN_FILE, &file), (TOKEN, "given")]).as_deref(), Some("given"));
        assert_eq!(with(&[(TOKEN, " ")]), None);
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_a_mistake_and_no_secret_is_told() {
        let at = (URL, "http://a");
        let said = [
            &[(URL, "gantry.test:80")][..],
            &[(URL, "ftp://gantry.test")],
            &[(URL, "http://anna:hunter2@gantry.test")],
            &[at, (TOKEN, "hunter2 and more")],
            &[at, (TOKEN_FILE, "/nowhere/token")],
            &[at, (TOKEN_FILE, "/")],
        ]
        .map(|variables| find(variables).unwrap_err());
        assert!(said.iter().all(|trouble| trouble.code == MISTAKE && !trouble.is_absence));
        let said = said.map(|trouble| trouble.words).join("\n");
        assert!(!said.contains("hunter2"), "{said}");
        insta::assert_snapshot!(said, @r#"
        GANTRY_URL="gantry.test:80": expected the address of page and API, such as https://gantry.example.com/
        GANTRY_URL="ftp://gantry.test": expected the address of page and API, such as https://gantry.example.com/
        GANTRY_URL has a user or a password: expected the address of page and API, such as https://gantry.example.com/; GANTRY_TOKEN takes the token
        GANTRY_TOKEN: expected a token of visible ASCII characters
        GANTRY_TOKEN_FILE="/nowhere/token": No such file or directory (os error 2)
        GANTRY_TOKEN_FILE="/": expected a file of at most 64 KiB
        "#);
    }
}
