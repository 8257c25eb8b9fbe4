//! Whose name a registry is asked in: one set of credentials.

use crate::secret::Secret;

/// One account at one registry. `Debug` shows where it comes from, never what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Where it was found, for logs and errors: `config.json`, `credential helper pass`, ...
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
    /// A bearer token that is sent as it is (`registrytoken`).
    RegistryToken(Secret),
}
/// stub
pub struct Keyring;
/// stub
pub struct Sources;
impl Keyring {
    /// stub
    pub fn open(_: &Sources) -> anyhow::Result<Self> {
        Ok(Self)
    }
    /// stub
    pub async fn find(&self, _: &str) -> anyhow::Result<Option<std::sync::Arc<Credentials>>> {
        Ok(None)
    }
}
impl Credentials {
    /// stub
    pub fn registry_auth(&self) -> Secret {
        Secret::new("")
    }
}
