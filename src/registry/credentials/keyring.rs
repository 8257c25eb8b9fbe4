//! Which credentials belong to a registry, by everything that this machine's configuration says.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::config_file::ConfigFile;
use super::helper::Helpers;
use super::logins::{Logins, Named, Unnamed};
use super::{Credentials, host_of_key};
use crate::config;

/// Where accounts are looked for. The first that has one for a registry wins.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What Gantry's own variables say; it comes first.
    pub logins: config::Logins,
    /// The folder that `DOCKER_CONFIG` names.
    pub docker_config: Option<PathBuf>,
    /// The home folder; its `.docker/config.json` comes last.
    pub home: Option<PathBuf>,
    /// The folders that credential helpers are looked for in, written as in `PATH`; `None`: those of
    /// this process's own `PATH`.
    pub helper_path: Option<OsString>,
    /// The longest that a credential helper may take. Some ask a cloud's service over the network.
    pub helper_limit: Duration,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            logins: config::Logins::default(),
            docker_config: None,
            home: None,
            helper_path: None,
            helper_limit: Duration::from_secs(10),
        }
    }
}

/// Why credentials could not be had. Names files, registries and helpers; never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A `config.json` that is there but cannot be used at all.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// One entry of a `config.json` cannot be used.
    #[error("{}, entry {key:?}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The entry under `auths`.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A credential helper did not do its work.
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
    /// Lines of the file of logins are none.
    #[error("GANTRY_REGISTRY_CONFIGS_FILE={}: {}", path.display(), mistakes.join("; "))]
    LoginLines {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the numbers of the lines; never empty.
        mistakes: Vec<String>,
    },
    /// A service asks for a login that there is not.
    #[error(
        "label gantry.auth.config={name:?}: expected {}; the logins come from GANTRY_REGISTRY_CONFIG and \
         GANTRY_REGISTRY_CONFIGS_FILE",
        expected(known)
    )]
    UnknownLogin {
        /// What the label says.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// What a label may say, in words.
fn expected(known: &[String]) -> String {
    let folder = "an absolute folder with a config.json";
    match known {
        [] => format!("{folder}, or the name of a login, of which there is none"),
        names => format!("the name of a login ({}), or {folder}", names.join(", ")),
    }
}

type Found = Result<Option<Arc<Credentials>>, CredentialsError>;

/// The accounts of one cycle: opened anew for each, so that a new login or a rotated secret counts from
/// the next cycle on, while within one a credential helper is run once per registry.
#[derive(Debug)]
pub struct Keyring {
    logins: Logins,
    files: Vec<ConfigFile>,
    helpers: Helpers,
    found: Mutex<HashMap<Wanted, Arc<OnceCell<Found>>>>,
}

/// The account that a service needs: at which registry, and which one if its label says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    host: String,
    name: Option<String>,
}

impl Keyring {
    /// Reads the files of logins and of the client's configuration. A missing `config.json` is none;
    /// nothing is ever written.
    ///
    /// # Errors
    /// [`CredentialsError::Unreadable`] for a `config.json` that is there but cannot be used,
    /// [`CredentialsError::LoginFile`] and [`CredentialsError::LoginLines`] for what variables name.
    pub fn open(sources: &Sources) -> Result<Self, CredentialsError> {
        let home = sources.home.as_ref().map(|home| home.join(".docker"));
        let mut folders: Vec<PathBuf> = sources.docker_config.iter().cloned().chain(home).collect();
        folders.dedup();
        let files = folders.iter().filter_map(|folder| ConfigFile::read(folder).transpose());
        Ok(Self {
            logins: Logins::read(&sources.logins)?,
            files: files.collect::<Result<_, _>>()?,
            helpers: Helpers { path: sources.helper_path.clone(), limit: sources.helper_limit },
            found: Mutex::default(),
        })
    }

    /// The account for a registry (`docker.io`, `host:port`), the one that the label `gantry.auth.config`
    /// names where there is one; `None` is anonymous. Answers are remembered, errors too; those who ask at
    /// once wait for the same answer.
    ///
    /// # Errors
    /// A name that nothing has, an entry that cannot be understood, or a helper that failed.
    pub async fn find(&self, registry_host: &str, name: Option<&str>) -> Found {
        let wanted = Wanted { host: host_of_key(registry_host), name: name.map(str::to_owned) };
        let cell = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(wanted.clone()).or_default())
        };
        cell.get_or_init(|| self.search(&wanted)).await.clone()
    }

    async fn search(&self, Wanted { host, name }: &Wanted) -> Found {
        if let Some(name) = name {
            return self.search_by_name(host, name).await;
        }
        match self.logins.unnamed(host) {
            Unnamed::One(credentials) => return Ok(Some(credentials)),
            Unnamed::Several(names) => tracing::warn!(
                registry = host,
                logins = names.join(" "),
                "there is more than one login for this registry: without the label gantry.auth.config a \
                 service uses none of them"
            ),
            Unnamed::Nothing => {}
        }
        for file in &self.files {
            if let Some(credentials) = self.look_into(file, host).await? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    /// A label names its one source: a login, or a folder as the docker client's `--config` does. Where
    /// that has nothing for the registry, the registry is asked without an account, as the client would.
    async fn search_by_name(&self, host: &str, name: &str) -> Found {
        let is_login = match self.logins.named(name, host) {
            Named::Here(credentials) => return Ok(Some(credentials)),
            Named::Elsewhere => true,
            Named::Unknown => false,
        };
        let folder = Some(Path::new(name)).filter(|folder| folder.is_absolute());
        let file = folder.map(ConfigFile::read).transpose()?.flatten();
        let found = match &file {
            Some(file) => self.look_into(file, host).await?,
            None if is_login => None,
            None => {
                let (name, known) = (name.to_owned(), self.logins.names());
                return Err(CredentialsError::UnknownLogin { name, known });
            }
        };
        if found.is_none() {
            tracing::warn!(
                registry = host,
                "label gantry.auth.config={name:?} has no login for this registry, which is asked without one"
            );
        }
        Ok(found)
    }

    async fn look_into(&self, file: &ConfigFile, host: &str) -> Found {
        if let Some(question) = file.helper(host)
            && let Some(credentials) = self.helpers.ask(&question, host).await?
        {
            return Ok(Some(Arc::new(credentials)));
        }
        // Docker empties an entry when it hands the account to a helper. One that is not empty was written by
        // hand, and counts.
        Ok(file.inline(host)?.map(Arc::new))
    }
}
