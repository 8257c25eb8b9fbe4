//! Which hosts the engine would not insist on TLS with, their names resolved as the engine does.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Lookup;
use super::endpoints::{Endpoint, Role};
use crate::hosts::{EngineRegistries, is_loopback, without_port};

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
            if is_asked_for || self.is_insecure(&lookup.hosts, &host).await {
                insecure.insert(host);
            }
        }
        insecure
    }

    /// Whether the engine would also speak plain HTTP with `host`, or accept any certificate from it.
    pub(super) async fn is_insecure(&self, engine: &EngineRegistries, host: &str) -> bool {
        engine.is_insecure(host, &self.addresses(engine, host).await)
    }

    /// What a host resolves to; nothing where its address does not matter.
    async fn addresses(&self, engine: &EngineRegistries, host: &str) -> Vec<IpAddr> {
        let name = without_port(host);
        if let Ok(address) = name.parse() {
            return vec![address];
        }
        let has_own_entry = engine.index_configs.contains_key(host);
        if has_own_entry || is_loopback(host) || engine.insecure_cidrs.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hosts::IndexConfig;

    fn lookup(image: &str, hosts: EngineRegistries) -> Lookup {
        Lookup {
            image: image.parse().unwrap(),
            credentials: None,
            missing: None,
            hosts: Arc::new(hosts),
            insecure: false,
        }
    }

    fn names(known: &[(&str, &str)]) -> Names {
        let names = Names::new(Duration::from_secs(5));
        for (name, address) in known {
            let addresses = vec![address.parse().unwrap()];
            names.known.lock().unwrap().insert((*name).to_owned(), (Instant::now(), addresses));
        }
        names
    }

    fn engine() -> EngineRegistries {
        EngineRegistries {
            insecure_cidrs: vec!["127.0.0.0/8".to_owned(), "10.77.0.0/16".to_owned()],
            ..EngineRegistries::default()
        }
    }

    #[tokio::test]
    async fn an_address_range_is_matched_by_what_a_name_resolves_to() {
        let names = names(&[("inside.example", "10.77.1.2"), ("outside.example", "10.78.1.2")]);
        for (image, insecure) in [
            ("inside.example/app", true),
            ("inside.example:5000/app", true),
            ("outside.example:5000/app", false),
            ("10.77.9.9:5000/app", true),
            ("10.78.9.9:5000/app", false),
            ("localhost:5000/app", true),
        ] {
            let found = names.insecure_hosts(&lookup(image, engine())).await;
            assert_eq!(!found.is_empty(), insecure, "{image}");
        }
    }

    #[tokio::test]
    async fn a_registrys_own_entry_counts_before_its_address_and_asking_for_it_before_both() {
        let names = names(&[("inside.example", "10.77.1.2")]);
        let own = IndexConfig { secure: true, mirrors: Vec::new() };
        let hosts =
            EngineRegistries { index_configs: [("inside.example".to_owned(), own)].into(), ..engine() };
        let lookup = lookup("inside.example/app", hosts);
        assert!(names.insecure_hosts(&lookup).await.is_empty());
        let asked_for = Lookup { insecure: true, ..lookup };
        assert_eq!(names.insecure_hosts(&asked_for).await.len(), 1);
    }

    #[tokio::test]
    async fn mirrors_are_judged_by_their_own_address() {
        let names = names(&[("mirror.example", "10.77.1.2")]);
        let hosts = EngineRegistries { mirrors: vec!["https://mirror.example:5000/".to_owned()], ..engine() };
        names.known.lock().unwrap().insert("docker.io".to_owned(), (Instant::now(), Vec::new()));
        let found = names.insecure_hosts(&lookup("nginx", hosts)).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["mirror.example:5000"]);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_trusted_no_further() {
        let found = names(&[]).insecure_hosts(&lookup("no-such-name.invalid/app", engine())).await;
        assert!(found.is_empty());
    }
}
