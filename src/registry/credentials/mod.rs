//! Accounts at registries, and where they are found.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::image::DOCKER_HUB;
use crate::secret::Secret;

pub(super) mod config_file;
mod error;
mod helper;
mod keyring;
pub(super) mod logins;

pub use error::CredentialsError;
pub use keyring::{Asker, FoundAccount, Keyring, LoginQuery, Sources};

/// The name of Docker Hub in Docker's own files of accounts.
pub const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// The name that a credential helper gives when the secret is an identity token.
const TOKEN_USERNAME: &str = "<token>";

/// What is escaped in forms and URLs: by the standard for forms, by JavaScript and Go, and by strict programs.
const ESCAPED: [&AsciiSet; 3] = [
    &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_'),
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~'),
    NON_ALPHANUMERIC,
];

/// One account at one registry. `Debug` shows its source, never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Where it was found, for logs and errors: the path of a `config.json`, `credential helper pass`, ...
    pub source: String,
    /// The registry host it belongs to, as `X-Registry-Auth` wants it (`serveraddress`).
    pub server: String,
    /// The account.
    pub account: Account,
}

/// The forms in which Docker's client configuration keeps an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A name and a password.
    Password {
        /// The account's name.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// An `OAuth2` refresh token (`identitytoken`).
    IdentityToken {
        /// The account's name, often `<token>`.
        username: String,
        /// The token.
        token: Secret,
    },
    /// A bearer token, sent unchanged (`registrytoken`).
    RegistryToken(Secret),
}

impl Account {
    /// The name and the secret for `Basic`; `None`: the account is a bearer token.
    pub(super) fn name_and_secret(&self) -> Option<(&str, &Secret)> {
        match self {
            Self::Password { username, password: secret }
            | Self::IdentityToken { username, token: secret } => Some((username, secret)),
            Self::RegistryToken(_) => None,
        }
    }
}

/// The content of the header `X-Registry-Auth`.
#[derive(Serialize)]
struct AuthConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    serveraddress: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registrytoken: Option<&'a str>,
}

impl Credentials {
    /// The value of the header `X-Registry-Auth`, by which the nodes pull with this account: JSON in
    /// URL-safe base64 *with* padding. The engine accepts anything else without an error, and the
    /// pull fails on the nodes.
    pub fn registry_auth(&self) -> Secret {
        let mut auth = AuthConfig {
            username: None,
            password: None,
            serveraddress: &self.server,
            identitytoken: None,
            registrytoken: None,
        };
        match &self.account {
            Account::Password { username, password } => {
                auth.username = Some(username);
                auth.password = Some(password.reveal());
            }
            Account::IdentityToken { token, .. } => {
                auth.username = self.username();
                auth.identitytoken = Some(token.reveal());
            }
            Account::RegistryToken(token) => auth.registrytoken = Some(token.reveal()),
        }
        // Five strings always are JSON; the empty text never happens.
        Secret::new(serde_json::to_vec(&auth).map(|json| URL_SAFE.encode(json)).unwrap_or_default())
    }

    /// The account's name, where it has one.
    pub fn username(&self) -> Option<&str> {
        let (username, _) = self.account.name_and_secret()?;
        Some(username).filter(|name| !name.is_empty() && *name != TOKEN_USERNAME)
    }

    /// Which account it is, without its secret: its name, where it has one, and where it was found.
    pub fn shown(&self) -> String {
        match self.username() {
            Some(name) => format!("{name} (from {})", self.source),
            None => format!("a token (from {})", self.source),
        }
    }

    /// `text` without this account's secret. Some servers echo the secret, plain or encoded as it was sent.
    pub(super) fn redact(&self, text: &str) -> String {
        let (username, secret) = match &self.account {
            Account::Password { username, password: secret }
            | Account::IdentityToken { username, token: secret } => (username.as_str(), secret.reveal()),
            Account::RegistryToken(secret) => ("", secret.reveal()),
        };
        if secret.is_empty() {
            return text.to_owned();
        }
        let header = STANDARD.encode(format!("{username}:{secret}"));
        let escaped = ESCAPED.iter().flat_map(|set| {
            let escaped = utf8_percent_encode(secret, set).to_string();
            [escaped.replace("%20", "+"), escaped]
        });
        let forms = [header].into_iter().chain(escaped).chain([secret.to_owned()]);
        forms.fold(text.to_owned(), |text, form| text.replace(&form, "***"))
    }
}

/// The registry host that a key of `config.json` stands for: without scheme and path, and one name for
/// all of Docker Hub's.
pub(super) fn host_of_key(key: &str) -> String {
    let key = key.trim();
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

/// The name of the registry `host` in Docker's own files of accounts.
pub(super) fn server_of_host(host: &str) -> &str {
    if host == DOCKER_HUB { DOCKER_HUB_SERVER } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(credentials: &Credentials) -> serde_json::Value {
        let header = credentials.registry_auth();
        assert_eq!(header.reveal().len() % 4, 0, "padded");
        serde_json::from_slice(&URL_SAFE.decode(header.reveal()).unwrap()).unwrap()
    }

    fn with(account: Account) -> Credentials {
        Credentials { source: "test".to_owned(), server: "reg:5000".to_owned(), account }
    }

    #[test]
    fn passwords_reach_the_nodes_intact_whatever_is_in_them() {
        for password in ["~?>/+", "~~~???>>>", "pässwörd €", "\"\\\n\t", "日本語🔑", "", " a b "] {
            let username = "jürgen".to_owned();
            let credentials = with(Account::Password { username, password: Secret::new(password) });
            assert_eq!(
                decoded(&credentials),
                serde_json::json!({"username": "jürgen", "password": password, "serveraddress": "reg:5000"})
            );
        }
    }

    #[test]
    fn the_header_uses_the_url_safe_alphabet() {
        let account =
            Account::Password { username: "u".to_owned(), password: Secret::new("~?>~?>~?>ÿÿÿ~~~~????") };
        let header = with(account).registry_auth();
        assert!(header.reveal().contains(['-', '_']), "{}", header.reveal());
        assert!(!header.reveal().contains(['+', '/']), "{}", header.reveal());
    }

    #[test]
    fn tokens_are_sent_in_the_field_of_their_kind() {
        let token = || Secret::new("t");
        for (username, expected) in [
            ("<token>", serde_json::json!({"serveraddress": "reg:5000", "identitytoken": "t"})),
            ("", serde_json::json!({"serveraddress": "reg:5000", "identitytoken": "t"})),
            ("me", serde_json::json!({"username": "me", "serveraddress": "reg:5000", "identitytoken": "t"})),
        ] {
            let account = Account::IdentityToken { username: username.to_owned(), token: token() };
            assert_eq!(decoded(&with(account)), expected);
        }
        assert_eq!(
            decoded(&with(Account::RegistryToken(token()))),
            serde_json::json!({"serveraddress": "reg:5000", "registrytoken": "t"})
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        for account in [
            Account::Password { username: "u".to_owned(), password: Secret::new("hunter2") },
            Account::IdentityToken { username: "u".to_owned(), token: Secret::new("hunter2") },
            Account::RegistryToken(Secret::new("hunter2")),
        ] {
            let credentials = with(account);
            assert!(!format!("{credentials:?} {:?}", credentials.registry_auth()).contains("hunter2"));
            assert_eq!(credentials.redact("bad password hunter2!"), "bad password ***!");
            let sent = STANDARD.encode(format!("{}:hunter2", credentials.username().unwrap_or_default()));
            assert_eq!(credentials.redact(&format!("bad Basic {sent}!")), "bad Basic ***!");
        }
    }

    #[test]
    fn a_secret_is_found_in_every_form_in_which_it_is_sent() {
        let account = Account::IdentityToken { username: "u".to_owned(), token: Secret::new("~?> /+ß") };
        let credentials = with(account);
        for text in ["~?> /+ß", "%7E%3F%3E+%2F%2B%C3%9F", "~%3F%3E+%2F%2B%C3%9F", "%7E%3F%3E%20%2F%2B%C3%9F"]
        {
            assert_eq!(credentials.redact(&format!("bad {text}!")), "bad ***!", "{text}");
        }
    }

    #[test]
    fn all_spellings_of_a_registry_are_one_host() {
        for (key, host) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://index.docker.io/v1", "docker.io"),
            ("index.docker.io/v1/", "docker.io"),
            ("http://index.docker.io/v1/", "docker.io"),
            ("https://index.docker.io/v2/", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://docker.io/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("GHCR.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("https://reg.example:5000/v2/", "reg.example:5000"),
            ("http://reg.example:5000/v1", "reg.example:5000"),
            ("", ""),
        ] {
            assert_eq!(host_of_key(key), host, "{key}");
        }
        assert_eq!(server_of_host("docker.io"), "https://index.docker.io/v1/");
        assert_eq!(server_of_host("ghcr.io"), "ghcr.io");
    }
}
