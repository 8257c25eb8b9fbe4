//! Which credentials belong to a registry, by everything that this machine's configuration says.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::config_file::ConfigFile;
use super::helper::Helpers;
use super::{Credentials, host_of_key};

/// Where accounts are looked for. The first that has one for a registry wins.
#[derive(Clone, Debug)]
pub struct Sources {
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
        Self { docker_config: None, home: None, helper_path: None, helper_limit: Duration::from_secs(10) }
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
}

type Found = Result<Option<Arc<Credentials>>, CredentialsError>;

/// The accounts of one cycle: opened anew for each, so that a new login or a rotated secret counts from
/// the next cycle on, while within one a credential helper is run once per registry.
#[derive(Debug)]
pub struct Keyring {
    files: Vec<ConfigFile>,
    helpers: Helpers,
    found: Mutex<HashMap<String, Arc<OnceCell<Found>>>>,
}

impl Keyring {
    /// Reads the configuration files. Missing ones are none; nothing is ever written.
    ///
    /// # Errors
    /// [`CredentialsError::Unreadable`] for a file that is there but cannot be used.
    pub fn open(sources: &Sources) -> Result<Self, CredentialsError> {
        let home = sources.home.as_ref().map(|home| home.join(".docker"));
        let mut folders: Vec<PathBuf> = sources.docker_config.iter().cloned().chain(home).collect();
        folders.dedup();
        let files = folders.iter().filter_map(|folder| ConfigFile::read(folder).transpose());
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            helpers: Helpers { path: sources.helper_path.clone(), limit: sources.helper_limit },
            found: Mutex::default(),
        })
    }

    /// The account for a registry (`docker.io`, `host:port`); `None` is anonymous. Answers are remembered,
    /// errors too; those who ask at once wait for the same answer.
    ///
    /// # Errors
    /// An entry that cannot be understood, or a helper that failed.
    pub async fn find(&self, registry_host: &str) -> Found {
        let host = host_of_key(registry_host);
        let cell = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(host.clone()).or_default())
        };
        cell.get_or_init(|| self.search(&host)).await.clone()
    }

    async fn search(&self, host: &str) -> Found {
        for file in &self.files {
            if let Some(question) = file.helper(host)
                && let Some(credentials) = self.helpers.ask(&question, host).await?
            {
                return Ok(Some(Arc::new(credentials)));
            }
            // Docker empties an entry when it hands the account to a helper. One that is not empty was
            // written by hand, and counts.
            if let Some(credentials) = file.inline(host)? {
                return Ok(Some(Arc::new(credentials)));
            }
        }
        Ok(None)
    }
}
