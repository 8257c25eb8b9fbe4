//! HTTP clients, one for each way to trust a server: the system's certificate authorities, those of
//! `/etc/docker/certs.d/HOST/`, or none at all.
//!
//! Proxies are taken from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as the engine does; loopback is never
//! asked through one, as with the engine.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, redirect};
use tokio::time::Instant;

use super::endpoints::{Certificates, Endpoint};
use super::limits::Limits;
use crate::hosts::is_loopback;

/// How long a host's certificates are used before its folder is read again. They are renewed every few
/// weeks; reading them for each of a thousand look-ups would be waste.
const REREAD: Duration = Duration::from_secs(60);

/// Connections kept per server: as many as look-ups run at once by default.
const IDLE_CONNECTIONS: usize = 10;

/// What `certs.d` holds for one host, as PEM. No `Debug`: there may be a private key in it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct HostFiles {
    /// Certificate authorities (`*.crt`).
    authorities: Vec<Vec<u8>>,
    /// Our own certificate and its key (`*.cert` and `*.key`).
    identity: Option<Vec<u8>>,
}

/// What tells one client from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Flavour {
    certificates: Certificates,
    may_use_proxy: bool,
    files: Arc<HostFiles>,
}

/// All HTTP clients of this process.
pub(super) struct Clients {
    connect: Duration,
    folder: PathBuf,
    by_flavour: Mutex<HashMap<Flavour, Client>>,
    files: Mutex<HashMap<String, (Instant, Arc<HostFiles>)>>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Clients {
    /// Clients that read certificates from `folder`, usually `/etc/docker/certs.d`.
    pub(super) fn new(limits: &Limits, folder: PathBuf) -> Self {
        crate::tls::install_crypto_provider();
        Self { connect: limits.connect, folder, by_flavour: Mutex::default(), files: Mutex::default() }
    }

    /// The client for a server. The error says why there can be none.
    pub(super) async fn of(&self, endpoint: &Endpoint) -> Result<Client, String> {
        let flavour = Flavour {
            certificates: endpoint.certificates,
            may_use_proxy: !is_loopback(&endpoint.host),
            files: self.files(&endpoint.host).await?,
        };
        let mut clients = self.by_flavour.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&flavour) {
            return Ok(client.clone());
        }
        let client = self.build(&flavour)?;
        clients.insert(flavour, client.clone());
        Ok(client)
    }

    fn build(&self, flavour: &Flavour) -> Result<Client, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(self.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tls_danger_accept_invalid_certs(flavour.certificates == Certificates::Any);
        if !flavour.may_use_proxy {
            builder = builder.no_proxy();
        }
        let folder = self.folder.display();
        let mut authorities = Vec::new();
        for pem in &flavour.files.authorities {
            let found = Certificate::from_pem_bundle(pem)
                .map_err(|error| format!("a certificate in {folder} cannot be used: {}", deepest(&error)))?;
            authorities.extend(found);
        }
        builder = builder.tls_certs_merge(authorities);
        if let Some(pem) = &flavour.files.identity {
            let identity = Identity::from_pem(pem).map_err(|error| {
                format!("a client certificate in {folder} cannot be used: {}", deepest(&error))
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| format!("no TLS on this machine: {}", deepest(&error)))
    }

    /// What the folder of `host` holds now, or held less than [`REREAD`] ago.
    async fn files(&self, host: &str) -> Result<Arc<HostFiles>, String> {
        if let Some((read, files)) = self.lock_files().get(host)
            && read.elapsed() < REREAD
        {
            return Ok(Arc::clone(files));
        }
        let folder = self.folder.join(host);
        let files = tokio::task::spawn_blocking(move || read(&folder))
            .await
            .map_err(|_| "reading its certificates failed".to_owned())??;
        let files = Arc::new(files);
        let mut known = self.lock_files();
        // A client whose certificates are no longer used keeps its connections for nothing.
        if let Some((_, before)) = known.insert(host.to_owned(), (Instant::now(), Arc::clone(&files)))
            && before != files
        {
            let mut clients = self.by_flavour.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|flavour, _| flavour.files != before);
        }
        Ok(files)
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Arc<HostFiles>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a host's folder, in the order of its file names. No folder is no certificates.
fn read(folder: &Path) -> Result<HostFiles, String> {
    let failed = |path: &Path, error: &std::io::Error| format!("{} cannot be read: {error}", path.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(HostFiles::default());
        }
        Err(error) => return Err(failed(folder, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| failed(folder, &error))?.path());
    }
    paths.sort();
    let mut files = HostFiles::default();
    for path in &paths {
        let load = |path: &Path| std::fs::read(path).map_err(|error| failed(path, &error));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => files.authorities.push(load(path)?),
            Some("cert") if files.identity.is_none() => {
                let mut pem = load(path)?;
                pem.push(b'\n');
                pem.extend(load(&path.with_extension("key"))?);
                files.identity = Some(pem);
            }
            _ => {}
        }
    }
    Ok(files)
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_folder_is_read_by_the_endings_that_docker_knows() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.crt", "B");
        write("a.crt", "A");
        write("client.cert", "C");
        write("client.key", "K");
        write("readme.txt", "?");
        let files = read(folder.path()).unwrap();
        assert!(files.authorities == [b"A", b"B"]);
        assert_eq!(files.identity.as_deref(), Some(&b"C\nK"[..]));
    }

    #[test]
    fn a_certificate_without_its_key_is_an_error_and_no_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("missing")).unwrap() == HostFiles::default());
        std::fs::write(folder.path().join("client.cert"), "C").unwrap();
        let error = read(folder.path()).map(|_| ()).unwrap_err();
        assert!(error.contains("client.key"), "{error}");
    }
}
