//! Why there are no credentials. Pure.

use std::path::PathBuf;

use crate::words::{piece, quoted, shown_path, some_of};

/// Why there are no credentials. Names files, registries and helpers; never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A `config.json` that is there but cannot be used at all.
    #[error("{} cannot be read: {cause}", shown_path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// One entry of a `config.json` cannot be used.
    #[error("{}, entry {}: {cause}", shown_path(path), quoted(key))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The entry under `auths`.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A credential helper failed.
    #[error("credential helper {helper} for {host}: {cause}")]
    Helper {
        /// Its name, as in `docker-credential-NAME`.
        helper: String,
        /// The registry it was asked for.
        host: String,
        /// Its first line of output, or what happened to it.
        cause: String,
    },
    /// A file that one of Gantry's variables names, with a login or a part of one, cannot be used.
    #[error("{variable}={}: {cause}", path.display())]
    LoginFile {
        /// The variable.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The file of logins has lines that are not logins.
    #[error("GANTRY_REGISTRY_CONFIGS_FILE={}: {}", path.display(), mistakes.join("; "))]
    LoginLines {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the numbers of the lines; never empty.
        mistakes: Vec<String>,
    },
    /// A service asks for a login that is for other services.
    #[error(
        "label gantry.auth.config={}: expected {}, found a login that is not for this service or its image; the fifth \
         word of its line in GANTRY_REGISTRY_CONFIGS_FILE, or GANTRY_REGISTRY_SERVICES, says for which it is",
        quoted(name),
        expected(logins)
    )]
    RefusedLogin {
        /// What the label says.
        name: String,
        /// The names of the logins for its registry that this service may use.
        logins: Vec<String>,
    },
    /// A service asks for a login that does not exist.
    #[error(
        "label gantry.auth.config={}: expected {}; the logins come from GANTRY_REGISTRY_CONFIG and \
         GANTRY_REGISTRY_CONFIGS_FILE",
        quoted(name),
        expected(logins)
    )]
    UnknownLogin {
        /// What the label says.
        name: String,
        /// The names of the logins for its registry that this service may use.
        logins: Vec<String>,
    },
}

impl CredentialsError {
    /// The error in words that are the same for all registries of a helper.
    pub(super) fn without_registry(&self) -> String {
        match self {
            Self::Helper { helper, cause, .. } => format!("credential helper {helper}: {cause}"),
            other => other.to_string(),
        }
    }
}

/// The names of logins, as far as a message lists them.
pub(super) fn listed(names: &[String], separator: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| piece(name)).collect();
    some_of(&names, separator)
}

/// What a label may say, in words.
fn expected(logins: &[String]) -> String {
    let folder = "an absolute folder with a config.json";
    match logins {
        [] => format!("{folder}, or the name of a login, of which there is none"),
        names => format!("the name of a login ({}), or {folder}", listed(names, ", ")),
    }
}
