//! The hosts with which the engine does not insist on TLS, by the addresses that their names resolve to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Lookup;
use super::endpoints::{Endpoint, EndpointRole};
use super::memory::{Memory, REREAD};
use crate::hosts::{EngineRegistries, is_loopback, without_port};

/// Resolves the names of hosts, and remembers their addresses for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct DnsCache<'a> {
    pub memory: &'a Memory,
    /// The longest time for an answer of a name server.
    pub limit: Duration,
}

impl DnsCache<'_> {
    /// Those of the look-up's hosts, mirrors included, that may be asked without valid TLS.
    pub(super) async fn insecure_hosts(self, lookup: &Lookup) -> BTreeSet<String> {
        let registry = lookup.image.registry();
        let mirrors = lookup.hosts.mirrors_of(registry).iter();
        let mirrors = mirrors.filter_map(|url| Endpoint::at(url, EndpointRole::Mirror, |_| false));
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
    pub(super) async fn is_insecure(self, engine: &EngineRegistries, host: &str) -> bool {
        engine.is_insecure(host, &self.addresses(engine, host).await)
    }

    /// The addresses of a host; none where its address does not matter.
    async fn addresses(self, engine: &EngineRegistries, host: &str) -> Vec<IpAddr> {
        let name = without_port(host);
        if let Ok(address) = name.parse() {
            return vec![address];
        }
        let has_own_entry = engine.index_configs.contains_key(host);
        if has_own_entry || is_loopback(host) || engine.insecure_cidrs.is_empty() {
            return Vec::new();
        }
        if let Some((at, addresses)) = self.memory.of(name, |host| host.addresses.clone())
            && at.elapsed() < REREAD
        {
            return addresses;
        }
        // An unknown name is reported, with its cause, when the registry is asked.
        let resolved = tokio::time::timeout(self.limit, tokio::net::lookup_host((name, 443))).await;
        let addresses: Vec<IpAddr> = match resolved {
            Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
            _ => Vec::new(),
        };
        self.memory.of(name, |host| host.addresses = Some((Instant::now(), addresses.clone())));
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

    async fn insecure_hosts(known: &[(&str, Option<&str>)], lookup: &Lookup) -> BTreeSet<String> {
        let memory = Memory::default();
        for (name, address) in known {
            let addresses = address.iter().map(|address| address.parse().unwrap()).collect();
            memory.of(name, |host| host.addresses = Some((Instant::now(), addresses)));
        }
        DnsCache { memory: &memory, limit: Duration::from_secs(5) }.insecure_hosts(lookup).await
    }

    fn engine() -> EngineRegistries {
        EngineRegistries {
            insecure_cidrs: vec!["127.0.0.0/8".to_owned(), "10.77.0.0/16".to_owned()],
            ..EngineRegistries::default()
        }
    }

    #[tokio::test]
    async fn an_address_range_is_matched_by_what_a_name_resolves_to() {
        let known = [("inside.example", Some("10.77.1.2")), ("outside.example", Some("10.78.1.2"))];
        for (image, insecure) in [
            ("inside.example/app", true),
            ("inside.example:5000/app", true),
            ("outside.example:5000/app", false),
            ("10.77.9.9:5000/app", true),
            ("10.78.9.9:5000/app", false),
            ("localhost:5000/app", true),
        ] {
            let found = insecure_hosts(&known, &lookup(image, engine())).await;
            assert_eq!(!found.is_empty(), insecure, "{image}");
        }
    }

    #[tokio::test]
    async fn a_registrys_own_entry_counts_before_its_address_and_asking_for_it_before_both() {
        let known = [("inside.example", Some("10.77.1.2"))];
        let own = IndexConfig { secure: true, mirrors: Vec::new() };
        let hosts =
            EngineRegistries { index_configs: [("inside.example".to_owned(), own)].into(), ..engine() };
        let lookup = lookup("inside.example/app", hosts);
        assert!(insecure_hosts(&known, &lookup).await.is_empty());
        let asked_for = Lookup { insecure: true, ..lookup };
        assert_eq!(insecure_hosts(&known, &asked_for).await.len(), 1);
    }

    #[tokio::test]
    async fn mirrors_are_judged_by_their_own_address() {
        let known = [("mirror.example", Some("10.77.1.2")), ("docker.io", None)];
        let hosts = EngineRegistries { mirrors: vec!["https://mirror.example:5000/".to_owned()], ..engine() };
        let found = insecure_hosts(&known, &lookup("nginx", hosts)).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["mirror.example:5000"]);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_trusted_no_further() {
        let found = insecure_hosts(&[], &lookup("no-such-name.invalid/app", engine())).await;
        assert!(found.is_empty());
    }
}
