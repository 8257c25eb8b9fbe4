//! The search for the account of a registry in all sources that this machine's configuration names.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::config_file::ConfigFile;
use super::error::{CredentialsError, listed};
use super::helper::Helpers;
use super::logins::{KnownLogins, Named, Refused, Unnamed};
use super::{Credentials, host_of_key};
use crate::config;
use crate::image::ImageRef;
use crate::words::quoted;

/// The sources of accounts. The first source with an account for a registry wins.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What Gantry's own variables say; it comes first.
    pub logins: config::Logins,
    /// The folder that `DOCKER_CONFIG` names.
    pub docker_config: Option<PathBuf>,
    /// The home folder; its `.docker/config.json` comes last.
    pub home: Option<PathBuf>,
    /// The folders of credential helpers, written as in `PATH`; `None`: this process's own `PATH`.
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

/// The account to ask a registry with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundAccount {
    /// `None` is anonymous.
    pub credentials: Option<Arc<Credentials>>,
    /// Why there is no account, although the configuration speaks of one: a helper that is missing or fails, a file that
    /// cannot be read, logins of which only a label chooses one.
    pub missing: Option<String>,
}

impl FoundAccount {
    fn account(credentials: Arc<Credentials>) -> Self {
        Self { credentials: Some(credentials), missing: None }
    }

    /// Keeps the first reason for being anonymous.
    fn note(&mut self, reason: &impl ToString) {
        self.missing.get_or_insert_with(|| reason.to_string());
    }
}

type SearchResult = Result<FoundAccount, CredentialsError>;

/// The accounts of one cycle.
///
/// Each cycle opens a new keyring, so that a new login or a rotated secret counts from the next cycle on. Within a cycle
/// a credential helper runs once per registry.
#[derive(Debug)]
pub struct Keyring {
    logins: KnownLogins,
    /// The folders that the docker client uses when it is told none.
    folders: Vec<PathBuf>,
    files: Vec<ConfigFile>,
    /// The errors of the files that cannot be read.
    unreadable: Vec<CredentialsError>,
    helpers: Helpers,
    found: Mutex<HashMap<LoginQuery, Arc<OnceCell<SearchResult>>>>,
    /// The warnings that are in the log already.
    warned: Mutex<HashSet<String>>,
}

/// A service that needs an account.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The name of the service.
    pub service: &'a str,
    /// Its image.
    pub image: &'a ImageRef,
    /// The login that its label `gantry.auth.config` names.
    pub login: Option<&'a str>,
}

/// The search for the account that a service needs: its registry, the name that a label gives, and the logins that the service may not
/// use. Services that need the same account share one search.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginQuery {
    host: String,
    name: Option<String>,
    refused: Refused,
}

impl Keyring {
    /// Reads the files of logins and of the client's configuration. A missing `config.json` is no error, and an
    /// unusable one is a warning, as with the docker client. Gantry never writes to these files.
    ///
    /// # Errors
    /// [`CredentialsError::LoginFile`] and [`CredentialsError::LoginLines`] for what Gantry's variables name.
    pub async fn open(sources: &Sources) -> Result<Self, CredentialsError> {
        let home = sources.home.as_ref().map(|home| home.join(".docker"));
        let mut folders: Vec<PathBuf> = sources.docker_config.iter().cloned().chain(home).collect();
        folders.dedup();
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        for folder in &folders {
            match ConfigFile::read(folder).await {
                Ok(file) => files.extend(file),
                Err(error) => {
                    tracing::warn!("{error}; none of its accounts is used");
                    unreadable.push(error);
                }
            }
        }
        Ok(Self {
            logins: KnownLogins::read(&sources.logins).await?,
            folders,
            files,
            unreadable,
            warned: Mutex::default(),
            helpers: Helpers { path: sources.helper_path.clone(), limit: sources.helper_limit },
            found: Mutex::default(),
        })
    }

    /// The account that a service needs.
    pub fn wanted(&self, Asker { service, image, login }: Asker<'_>) -> LoginQuery {
        let host = host_of_key(image.registry());
        let refused = self.logins.refused(&host, login, Some((service, image)));
        LoginQuery { host, name: login.map(str::to_owned), refused }
    }

    /// The account for a registry (`docker.io`, `host:port`) and no service in particular: logins that are for some
    /// services only are not used. For all else see [`Keyring::search`].
    ///
    /// # Errors
    /// A name that nothing has.
    pub async fn find(&self, registry_host: &str, name: Option<&str>) -> SearchResult {
        let host = host_of_key(registry_host);
        let refused = self.logins.refused(&host, name, None);
        self.search(&LoginQuery { host, name: name.map(str::to_owned), refused }).await
    }

    /// Finds the account that a service needs: the login that its label `gantry.auth.config` names, if it has this label.
    ///
    /// An entry that cannot be understood and a helper that fails are warnings. The registry is then asked without an
    /// account, as by the docker client. Answers and errors are remembered. Searches for the same account share one
    /// answer.
    ///
    /// # Errors
    /// A name that nothing has, or that this service may not use.
    pub async fn search(&self, wanted: &LoginQuery) -> SearchResult {
        let cell = {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(found.entry(wanted.clone()).or_default())
        };
        cell.get_or_init(|| self.search_anew(wanted)).await.clone()
    }

    async fn search_anew(&self, LoginQuery { host, name, refused }: &LoginQuery) -> SearchResult {
        if let Some(name) = name {
            return self.search_by_name(host, name, refused).await;
        }
        let mut found = FoundAccount::default();
        match self.logins.unnamed(host, &self.folders, refused) {
            Unnamed::One(credentials) => return Ok(FoundAccount::account(credentials)),
            Unnamed::Several(names) => {
                tracing::warn!(
                    registry = host,
                    logins = listed(&names, " "),
                    "there is more than one login for this registry: without the label gantry.auth.config a \
                     service uses none of them"
                );
                let names = listed(&names, " or ");
                found.note(&format!(
                    "there are logins for it, which the label gantry.auth.config={names} chooses"
                ));
            }
            Unnamed::Refused => found.note(
                &"the logins of the variables for it are for other services or images; see GANTRY_REGISTRY_SERVICES and \
                  the fifth word of the lines in GANTRY_REGISTRY_CONFIGS_FILE",
            ),
            Unnamed::Nothing => {}
        }
        for file in &self.files {
            if let Some(credentials) = self.look_into(file, host, &mut found).await {
                return Ok(FoundAccount::account(credentials));
            }
        }
        for error in &self.unreadable {
            found.note(&error);
        }
        Ok(found)
    }

    /// Searches the one source that a label names: a login, or a folder as for the docker client's `--config`. If that
    /// source has no account for the registry, Gantry asks the registry without an account, as the client does.
    async fn search_by_name(&self, host: &str, name: &str, refused: &Refused) -> SearchResult {
        let logins = || self.logins.names(host, refused);
        let is_login = match self.logins.named(name, host, refused) {
            Named::Here(credentials) => return Ok(FoundAccount::account(credentials)),
            Named::Elsewhere => true,
            Named::Refused => {
                return Err(CredentialsError::RefusedLogin { name: name.to_owned(), logins: logins() });
            }
            Named::Unknown => false,
        };
        let folder = Some(Path::new(name)).filter(|folder| folder.is_absolute());
        let mut found = FoundAccount::default();
        let file = match folder {
            Some(folder) => ConfigFile::read(folder).await,
            None => Ok(None),
        };
        match file {
            Ok(file) => match file {
                Some(file) => found.credentials = self.look_into(&file, host, &mut found).await,
                None if is_login => {}
                None => {
                    return Err(CredentialsError::UnknownLogin { name: name.to_owned(), logins: logins() });
                }
            },
            Err(error) => self.miss(&mut found, &error),
        }
        if found.credentials.is_none() {
            let missing = format!("label gantry.auth.config={} has no login for this registry", quoted(name));
            tracing::warn!(registry = host, "{missing}, which is asked without one");
            found.note(&format!("the {missing}"));
        }
        Ok(found)
    }

    /// The account that a file has for a registry. Notes why an expected account is missing.
    async fn look_into(
        &self,
        file: &ConfigFile,
        host: &str,
        found: &mut FoundAccount,
    ) -> Option<Arc<Credentials>> {
        if let Some(question) = file.helper(host) {
            let inline = file.inline(host).ok().flatten();
            let redact = |text: &str| {
                let text = self.logins.redact(text);
                inline.as_ref().map_or_else(|| text.clone(), |credentials| credentials.redact(&text))
            };
            match self.helpers.ask(&question, host, redact).await {
                Ok(Some(credentials)) => return Some(Arc::new(credentials)),
                Ok(None) => {}
                Err(error) => self.miss(found, &error),
            }
        }
        // Docker empties an entry when it hands the account to a helper. So a person has written an entry that is not
        // empty, and it counts.
        match file.inline(host) {
            Ok(credentials) => credentials.map(Arc::new),
            Err(error) => {
                self.miss(found, &error);
                None
            }
        }
    }

    /// Notes why an account is missing, and warns of it once.
    fn miss(&self, found: &mut FoundAccount, error: &CredentialsError) {
        found.note(error);
        let trouble = error.without_registry();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(trouble.clone()) {
            tracing::warn!("{trouble}; its registries are asked without an account");
        }
    }
}
