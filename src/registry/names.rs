//! Which hosts the engine would not insist on TLS with, their names resolved as the engine does.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Lookup;
use super::endpoints::{Endpoint, Role};
use crate::hosts::{is_loopback, without_port};

/// How long an address counts. Registries move rarely, and a thousand look-ups ask for the same name.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many names are remembered at most.
const NAMES: usize = 1024;

/// The addresses of registries' names.
#[derive(Debug)]
pub(super) struct Names {
    limit: Duration,
    known: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Names {
    /// Gives a name server at most `limit` to answer.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, known: Mutex::default() }
    }

    /// Those of the look-up's hosts, mirrors included, that may be asked without valid TLS.
    pub(super) async fn insecure_hosts(&self, lookup: &Lookup) -> BTreeSet<String> {
        let registry = lookup.image.registry();
        let mirrors = lookup.hosts.mirrors_of(registry).iter();
        let mirrors = mirrors.filter_map(|url| Endpoint::at(url, Role::Mirror, |_| false));
        let hosts = mirrors.map(|mirror| mirror.host).chain([registry.to_owned()]);

        let mut insecure = BTreeSet::new();
        for host in hosts {
            let is_asked_for = lookup.insecure && host == registry;
            if is_asked_for || lookup.hosts.is_insecure(&host, &self.addresses(lookup, &host).await) {
                insecure.insert(host);
            }
        }
        insecure
    }

    /// What a host resolves to; nothing where its address does not matter.
    async fn addresses(&self, lookup: &Lookup, host: &str) -> Vec<IpAddr> {
        let name = without_port(host);
        if let Ok(address) = name.parse() {
            return vec![address];
        }
        let has_own_entry = lookup.hosts.index_configs.contains_key(host);
        if has_own_entry || is_loopback(host) || lookup.hosts.insecure_cidrs.is_empty() {
            return Vec::new();
        }
        if let Some((at, addresses)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && at.elapsed() < REMEMBERED
        {
            return addresses.clone();
        }
        // An unknown name is reported when it is asked for its answer, with its cause.
        let resolved = tokio::time::timeout(self.limit, tokio::net::lookup_host((name, 443))).await;
        let addresses: Vec<IpAddr> = match resolved {
            Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
            _ => Vec::new(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(name.to_owned(), (Instant::now(), addresses.clone()));
        addresses
    }
}
