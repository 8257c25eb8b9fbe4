//! HTTP clients, one for each way to trust a server: by the system's certificate authorities, by the authorities in
//! `/etc/docker/certs.d/HOST/`, or without any check.
//!
//! A client uses one proxy, or none; [`crate::proxy`] tells which.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use tokio::net::lookup_host;
use tokio::time::Instant;

use super::endpoints::{Certificates, Endpoint};
use super::files;
use super::host_files::{self, HostFiles};
use super::limits::LookupLimits;
use super::memory::{Memory, REREAD};
use super::reach::{Forbidden, Network};
use super::verifier;
use crate::proxy::Proxy;
use crate::words::deepest;

/// Connections kept per server: as many as look-ups run at once by default.
const IDLE_CONNECTIONS: usize = 10;

/// The settings that differ between clients.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    certificates: Certificates,
    proxy: Option<Proxy>,
    files: Arc<HostFiles>,
    /// The network of the server that has named this one. Names resolve only to addresses that this network may name.
    named_by: Option<Network>,
}

/// A resolver that returns only addresses that a registry of this network may name.
struct GuardedResolver(Network);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let registry = self.0;
        Box::pin(async move {
            let name = name.as_str();
            let (mut addresses, mut forbidden) = (Vec::new(), None);
            for address in lookup_host((name, 0)).await? {
                match Forbidden::check(registry, name, address.ip()) {
                    Ok(()) => addresses.push(address),
                    Err(error) => forbidden = Some(error),
                }
            }
            match forbidden {
                Some(forbidden) if addresses.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// All HTTP clients of this process.
pub(super) struct Clients {
    connect: Duration,
    folder: PathBuf,
    by_key: Mutex<HashMap<ClientKey, Client>>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Clients {
    /// Clients that read certificates from `folder`, usually `/etc/docker/certs.d`.
    pub(super) fn new(limits: &LookupLimits, folder: PathBuf) -> Self {
        crate::tls::install_crypto_provider();
        Self { connect: limits.connect, folder, by_key: Mutex::default() }
    }

    /// The client for a server behind this proxy. The error says why no client can be made.
    ///
    /// A client with `named_by` connects only to addresses that a registry of this network may name. A name is checked
    /// when it is resolved for a connection, so that it cannot change in between. A proxy resolves names itself, and
    /// they are not checked then.
    pub(super) async fn of(
        &self,
        memory: &Memory,
        endpoint: &Endpoint,
        (proxy, named_by): (Option<&Proxy>, Option<Network>),
    ) -> Result<Client, String> {
        let files = match (self.files(memory, &endpoint.host).await, endpoint.certificates) {
            (Ok(files), _) => files,
            // The engine does not even look for files of a registry whose certificate it does not verify.
            (Err(_), Certificates::Any) => Arc::default(),
            (Err(cause), Certificates::Valid) => return Err(cause),
        };
        let key = ClientKey {
            certificates: endpoint.certificates,
            proxy: proxy.cloned(),
            files,
            named_by: named_by.filter(|_| proxy.is_none()),
        };
        let mut clients = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(&key)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// The remedy for the certificate of an unknown authority, and the files there that hold no certificate.
    pub(super) fn remedy(&self, memory: &Memory, host: &str) -> String {
        let mut remedy = format!(
            "put the certificate of its authority, or its own, into {} (in Gantry's container as on each node)",
            self.folder.join(host).join("ca.crt").display()
        );
        let files = memory.of(host, |host| host.files.clone());
        for path in files.iter().flat_map(|(_, files)| &files.unusable) {
            let _ = write!(remedy, "; {} holds no certificate in PEM", path.display());
        }
        remedy
    }

    fn build(&self, key: &ClientKey) -> Result<Client, String> {
        let tls = verifier::client_config(key.certificates, &key.files)?;
        let mut builder = Client::builder()
            .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(self.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tls_backend_preconfigured(tls)
            .no_proxy();
        if let Some(proxy) = &key.proxy {
            let used = reqwest::Proxy::all(proxy.address().reveal());
            let used = used.map_err(|_| format!("{} names no proxy that can be used", proxy.variable()))?;
            builder = builder.proxy(used);
        }
        if let Some(network) = key.named_by {
            builder = builder.dns_resolver(GuardedResolver(network));
        }
        builder.build().map_err(|error| format!("no TLS on this machine: {}", deepest(&error)))
    }

    /// The content of the folder of `host`, at most [`REREAD`] old.
    async fn files(&self, memory: &Memory, host: &str) -> Result<Arc<HostFiles>, String> {
        if let Some((read, files)) = memory.of(host, |host| host.files.clone())
            && read.elapsed() < REREAD
        {
            return Ok(files);
        }
        let folder = self.folder.join(host);
        let path = folder.clone();
        let files = files::off_the_thread(&folder, move || host_files::read(&path)).await;
        let files = files.map_err(|cause| format!("{} cannot be read: {cause}", folder.display()))??;
        let files = Arc::new(files);
        let read = (Instant::now(), Arc::clone(&files));
        // A client with old certificates is dropped, with its connections.
        if let Some((_, before)) = memory.of(host, |host| host.files.replace(read))
            && before != files
        {
            let mut clients = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|key, _| key.files != before);
        }
        Ok(files)
    }
}
