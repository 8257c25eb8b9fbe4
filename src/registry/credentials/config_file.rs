//! Docker's client configuration, `config.json`, with the accounts of `docker login`. Gantry only reads it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::{Account, Credentials, CredentialsError, TOKEN_USERNAME, host_of_key, server_of_host};
use crate::registry::bounded::{Map, too_many};
use crate::registry::files;
use crate::secret::Secret;
use crate::words::shown_path;

/// Accepts missing padding: Docker writes padding, people sometimes do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How many registries a file may have accounts or helpers for.
const MAX_ENTRIES: usize = 1000;

/// One `config.json`.
#[derive(Clone, Debug)]
pub(in crate::registry) struct ConfigFile {
    path: PathBuf,
    contents: Contents,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Contents {
    auths: Map<AuthEntry, MAX_ENTRIES>,
    cred_helpers: Map<String, MAX_ENTRIES>,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    creds_store: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    #[serde(deserialize_with = "secret")]
    auth: Option<Secret>,
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    username: String,
    #[serde(deserialize_with = "secret")]
    password: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    identitytoken: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    registrytoken: Option<Secret>,
}

/// Reads a secret; an empty one counts as missing.
fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

/// A credential helper to be asked, and the server to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct HelperQuestion {
    /// The program's name after `docker-credential-`.
    pub helper: String,
    /// What is written to its standard input.
    pub server: String,
}

impl ConfigFile {
    /// Reads `folder/config.json`; `None` when there is no such file.
    pub(super) async fn read(folder: &Path) -> Result<Option<Self>, CredentialsError> {
        let path = folder.join("config.json");
        let own = path.clone();
        files::off_the_thread(&path, move || Self::read_now(&own))
            .await
            .unwrap_or_else(|cause| Err(CredentialsError::Unreadable { path, cause }))
    }

    fn read_now(path: &Path) -> Result<Option<Self>, CredentialsError> {
        match files::read(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(CredentialsError::Unreadable { path: path.to_owned(), cause: error.to_string() })
            }
        }
    }

    /// Reads the text of the file at this path.
    pub(in crate::registry) fn parse(path: &Path, text: &[u8]) -> Result<Self, CredentialsError> {
        let path = path.to_owned();
        let unreadable = |cause: String| CredentialsError::Unreadable { path: path.clone(), cause };
        // Some editors begin a text with a byte order mark.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        // An empty file is what a forgotten bind mount or `touch` leaves; Docker reads it as empty too.
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { path, contents: Contents::default() });
        }
        // serde would take a list for an object with its fields in order.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(unreadable("not a JSON object, at line 1".to_owned()));
        }
        // Docker reads no further than the end of the object, either.
        let contents = Contents::deserialize(&mut serde_json::Deserializer::from_slice(text));
        // Only where it went wrong: serde's own words may quote a value, and values are secrets here.
        let contents = contents.map_err(|error| {
            if let Some(most) = too_many(&error) {
                return unreadable(format!("more than {most} registries; remove those that are not used"));
            }
            let kind = match error.classify() {
                serde_json::error::Category::Data => "a value of an unexpected type",
                _ => "not valid JSON",
            };
            unreadable(format!("{kind} at line {} column {}", error.line(), error.column()))
        })?;
        Ok(Self { path, contents })
    }

    /// The helper that this file names for `host`: its own (`credHelpers`), else the one for all
    /// (`credsStore`).
    pub(in crate::registry) fn helper(&self, host: &str) -> Option<HelperQuestion> {
        let own = self.contents.cred_helpers.0.iter().find(|(key, _)| host_of_key(key) == host);
        let helper = own.map_or(&self.contents.creds_store, |(_, helper)| helper);
        if helper.is_empty() {
            return None;
        }
        // `docker login` leaves the name under which it stored the account as an empty entry.
        let written = self.entries(host).find(|(_, entry)| entry.is_empty()).map(|(key, _)| key.as_str());
        let server = written.unwrap_or_else(|| server_of_host(host)).to_owned();
        Some(HelperQuestion { helper: helper.clone(), server })
    }

    /// The account for `host` in the file itself.
    pub(in crate::registry) fn inline(&self, host: &str) -> Result<Option<Credentials>, CredentialsError> {
        let Some((key, entry)) = self.entries(host).find(|(_, entry)| !entry.is_empty()) else {
            return Ok(None);
        };
        let malformed = |cause: &str| CredentialsError::Malformed {
            path: self.path.clone(),
            key: key.clone(),
            cause: cause.to_owned(),
        };
        let account = entry.account().map_err(malformed)?;
        Ok(account.map(|account| Credentials {
            source: shown_path(&self.path),
            server: server_of_host(host).to_owned(),
            account,
        }))
    }

    /// All entries of `auths` for `host`, the one under Docker's own name first.
    fn entries(&self, host: &str) -> impl Iterator<Item = (&String, &AuthEntry)> {
        let canonical = server_of_host(host).to_owned();
        let first = self.contents.auths.0.get_key_value(&canonical);
        let others = self
            .contents
            .auths
            .0
            .iter()
            .filter(move |(key, _)| **key != canonical && host_of_key(key) == host);
        first.into_iter().chain(others)
    }
}

impl AuthEntry {
    fn is_empty(&self) -> bool {
        self.auth.is_none()
            && self.username.is_empty()
            && self.password.is_none()
            && self.identitytoken.is_none()
            && self.registrytoken.is_none()
    }

    /// The account of this entry. An error names the fault and never quotes the entry.
    fn account(&self) -> Result<Option<Account>, &'static str> {
        if let Some(token) = &self.registrytoken {
            return Ok(Some(Account::RegistryToken(token.clone())));
        }
        let (username, password) = match &self.auth {
            Some(auth) => decode(auth.reveal())?,
            None => (self.username.clone(), self.password.clone().unwrap_or_else(|| Secret::new(""))),
        };
        if let Some(token) = &self.identitytoken {
            return Ok(Some(Account::IdentityToken { username, token: token.clone() }));
        }
        if username == TOKEN_USERNAME {
            return Ok(Some(Account::IdentityToken { username, token: password }));
        }
        // Docker sends no name without a password, either.
        if username.is_empty() || password.reveal().is_empty() {
            return Ok(None);
        }
        Ok(Some(Account::Password { username, password }))
    }
}

/// `auth`: base64 of `username:password`. The password may contain colons.
fn decode(auth: &str) -> Result<(String, Secret), &'static str> {
    let packed: String = auth.split_ascii_whitespace().collect();
    let bytes = BASE64.decode(packed).map_err(|_| "auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not text in base64")?;
    let (username, password) = text.split_once(':').ok_or("auth is not username:password in base64")?;
    Ok((username.to_owned(), Secret::new(password.trim_matches('\0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &str) -> ConfigFile {
        ConfigFile {
            path: PathBuf::from("/x/config.json"),
            contents: serde_json::from_str(contents).unwrap(),
        }
    }

    fn password(username: &str, password: &str) -> Account {
        Account::Password { username: username.to_owned(), password: Secret::new(password) }
    }

    fn account(contents: &str, host: &str) -> Option<Account> {
        file(contents).inline(host).unwrap().map(|credentials| credentials.account)
    }

    #[test]
    fn every_form_of_an_entry_is_understood() {
        for (entry, expected) in [
            // u:p
            (r#"{"auth":"dTpw"}"#, Some(password("u", "p"))),
            // user:pä:ss, padding left out
            (r#"{"auth":"dXNlcjpww6Q6c3M"}"#, Some(password("user", "pä:ss"))),
            (r#"{"auth":"dXNlcjpww6Q6c3M="}"#, Some(password("user", "pä:ss"))),
            (r#"{"auth":"dTpw\n"}"#, Some(password("u", "p"))),
            (r#"{"username":"u","password":"~?>/+"}"#, Some(password("u", "~?>/+"))),
            (r#"{"auth":"dTpw","username":"x","password":"y","email":"z"}"#, Some(password("u", "p"))),
            (
                r#"{"auth":"dTpw","identitytoken":"t"}"#,
                Some(Account::IdentityToken { username: "u".to_owned(), token: Secret::new("t") }),
            ),
            (
                r#"{"identitytoken":"t","auth":null}"#,
                Some(Account::IdentityToken { username: String::new(), token: Secret::new("t") }),
            ),
            (
                r#"{"username":"<token>","password":"t"}"#,
                Some(Account::IdentityToken { username: "<token>".to_owned(), token: Secret::new("t") }),
            ),
            (r#"{"registrytoken":"t","auth":"dTpw"}"#, Some(Account::RegistryToken(Secret::new("t")))),
            ("{}", None),
            (r#"{"auth":"","username":"","password":""}"#, None),
            (r#"{"username":"u"}"#, None),
            // u:
            (r#"{"auth":"dTo="}"#, None),
            (r#"{"email":"me@example.org"}"#, None),
        ] {
            assert_eq!(account(&format!(r#"{{"auths":{{"r":{entry}}}}}"#), "r"), expected, "{entry}");
        }
    }

    #[test]
    fn docker_hubs_own_key_wins_over_its_other_names_and_empty_entries_are_passed_over() {
        let hub = r#"{"auths":{"docker.io":{"username":"b","password":"b"},
            "https://index.docker.io/v1/":{"username":"a","password":"a"},"r":{}}}"#;
        assert_eq!(account(hub, "docker.io"), Some(password("a", "a")));
        let empty = r#"{"auths":{"https://index.docker.io/v1/":{},"index.docker.io":{"auth":"dTpw"}}}"#;
        assert_eq!(account(empty, "docker.io"), Some(password("u", "p")));
        assert_eq!(account(hub, "r"), None);
        assert_eq!(account(hub, "ghcr.io"), None);
        let found = file(hub).inline("docker.io").unwrap().unwrap();
        assert_eq!(found.server, "https://index.docker.io/v1/");
        assert_eq!(found.source, "/x/config.json");
    }

    #[test]
    fn a_malformed_entry_is_an_error_for_its_registry_only_and_quotes_nothing() {
        let contents = r#"{"auths":{"a":{"auth":"!!secret!!"},"b":{"auth":"c2VjcmV0"},"c":{"auth":"dTpw"}}}"#;
        for host in ["a", "b"] {
            let error = file(contents).inline(host).unwrap_err().to_string();
            assert!(error.contains("/x/config.json") && error.contains(&format!("{host:?}")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(file(contents).inline("c").unwrap().is_some());
    }

    #[test]
    fn helpers_are_chosen_by_host_before_the_store_and_asked_for_the_name_that_docker_uses() {
        let contents = r#"{"credHelpers":{"https://ecr.example/":"ecr-login","docker.io":"hub","off":""},
            "credsStore":"pass","auths":{"https://reg:5000":{}}}"#;
        let question = |helper: &str, server: &str| {
            Some(HelperQuestion { helper: helper.to_owned(), server: server.to_owned() })
        };
        let file = file(contents);
        assert_eq!(file.helper("ecr.example"), question("ecr-login", "ecr.example"));
        assert_eq!(file.helper("docker.io"), question("hub", "https://index.docker.io/v1/"));
        assert_eq!(file.helper("reg:5000"), question("pass", "https://reg:5000"));
        assert_eq!(file.helper("ghcr.io"), question("pass", "ghcr.io"));
        assert_eq!(file.helper("off"), None);
    }

    #[test]
    fn unknown_fields_and_nulls_of_a_clients_own_do_not_matter() {
        let contents = r#"{"auths":null,"credHelpers":null,"credsStore":null,"detachKeys":"ctrl-x",
            "plugins":{"a":{"b":1}},"HttpHeaders":{"X":"y"}}"#;
        assert_eq!(account(contents, "r"), None);
        assert_eq!(file(contents).helper("r"), None);
    }

    #[test]
    fn a_missing_file_is_none_and_a_broken_one_an_error_with_path_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let read = |folder: &Path| ConfigFile::read_now(&folder.join("config.json"));
        assert!(read(folder.path()).unwrap().is_none());
        let path = folder.path().join("config.json");
        std::fs::write(&path, " \n").unwrap();
        assert!(read(folder.path()).unwrap().is_some());
        for fine in ["\u{feff}{\"auths\":{}}", "{\"auths\":{}} // secret", "\u{feff}"] {
            std::fs::write(&path, fine).unwrap();
            assert!(read(folder.path()).unwrap().is_some(), "{fine}");
        }
        for broken in [
            r#"{"auths": {"r": {"auth": secret}}}"#,
            r#"{"auths": "secret"}"#,
            r#"{ /* secret */ "auths": {} }"#,
            "// secret",
            "\u{feff}{",
            "[]",
        ] {
            std::fs::write(&path, broken).unwrap();
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains("line 1"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read(folder.path()).is_err());
    }

    #[tokio::test]
    async fn a_file_that_would_block_or_has_no_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let error = async || {
            let error = ConfigFile::read(folder.path()).await.unwrap_err().to_string();
            std::fs::remove_file(&path).unwrap();
            error.strip_prefix(&format!("{} cannot be read: ", path.display())).unwrap().to_owned()
        };
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert_eq!(error().await, "it is a pipe, a socket or a device; put a regular file there");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(error().await, "it is a pipe, a socket or a device; put a regular file there");
        std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert_eq!(error().await, "it is longer than 1048576 bytes; remove what is not needed");
        let entries: Vec<String> = (0..=MAX_ENTRIES).map(|n| format!(r#""secret{n}":{{}}"#)).collect();
        std::fs::write(&path, format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))).unwrap();
        assert_eq!(error().await, "more than 1000 registries; remove those that are not used");
    }
}
