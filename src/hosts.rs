//! The engine's settings for registries: which it trusts without TLS, and which mirrors it asks first. Pure.
//!
//! They come from `GET /info` (`RegistryConfig`), so that Gantry can check every image that the engine can pull.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::image::DOCKER_HUB;
use crate::proxy::{Proxies, is_within};

/// `RegistryConfig` of `GET /info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EngineRegistries {
    /// Networks whose registries may speak plain HTTP or show any certificate (`--insecure-registry`
    /// with an address range; `127.0.0.0/8` is always in it).
    #[serde(rename = "InsecureRegistryCIDRs", deserialize_with = "crate::hosts::null_is_default")]
    pub insecure_cidrs: Vec<String>,
    /// What is configured for single registries, by host and port.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    pub index_configs: BTreeMap<String, IndexConfig>,
    /// Mirrors of Docker Hub, as URLs, in the order in which the engine asks them.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    pub mirrors: Vec<String>,
    /// The proxies of the engine itself, which `/info` tells beside this.
    #[serde(skip)]
    pub proxies: Proxies,
}

/// One registry's entry in [`EngineRegistries`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexConfig {
    /// Whether TLS with a valid certificate is required.
    pub secure: bool,
    /// Mirrors of this registry, as URLs.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    pub mirrors: Vec<String>,
}

impl EngineRegistries {
    /// Whether the engine would also speak plain HTTP with `host` (`name[:port]`), or accept any
    /// certificate from it. `addresses` are what its name resolves to, for the address ranges.
    ///
    /// An entry for the host itself decides; without one any address within a range does, and loopback
    /// always is in one.
    pub fn is_insecure(&self, host: &str, addresses: &[IpAddr]) -> bool {
        if let Some(index) = self.index_configs.get(host) {
            return !index.secure;
        }
        is_loopback(host)
            || addresses.iter().any(|address| {
                address.is_loopback() || self.insecure_cidrs.iter().any(|cidr| is_within(*address, cidr))
            })
    }

    /// The mirrors that the engine asks before `host` itself, as URLs. The engine knows mirrors of
    /// Docker Hub only.
    pub fn mirrors_of(&self, host: &str) -> &[String] {
        if host != DOCKER_HUB {
            return &[];
        }
        match self.index_configs.get(host) {
            Some(index) if !index.mirrors.is_empty() => &index.mirrors,
            _ => &self.mirrors,
        }
    }
}

/// The host of `host[:port]`, without the brackets of an IPv6 address.
pub fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    match host.split_once(':') {
        // More than one colon and no brackets: a bare IPv6 address.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// Whether `host[:port]` is this machine by its name or address.
pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> EngineRegistries {
        serde_json::from_str(
            r#"{"AllowNondistributableArtifactsCIDRs":null,"InsecureRegistryCIDRs":["::1/128","10.77.0.0/16","127.0.0.0/8"],
                "IndexConfigs":{"docker.io":{"Name":"docker.io","Mirrors":["https://m/"],"Secure":true,"Official":true},
                "reg:5000":{"Name":"reg:5000","Mirrors":null,"Secure":false,"Official":false}},"Mirrors":["https://m/"]}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_registry_is_insecure_by_its_entry_its_address_or_being_loopback() {
        for (host, addresses, insecure) in [
            ("reg:5000", &[][..], true),
            ("reg", &[], false),
            ("reg:5001", &[], false),
            ("reg:5001", &["10.77.3.4"], true),
            ("reg:5001", &["192.168.0.1", "10.77.3.4"], true),
            ("reg:5001", &["10.78.0.1"], false),
            ("ghcr.io", &["140.82.121.33"], false),
            ("localhost:5000", &[], true),
            ("localhost", &[], true),
            ("127.0.0.1:5000", &[], true),
            ("127.9.9.9", &[], true),
            ("[::1]:5000", &[], true),
            ("alias", &["127.0.1.1"], true),
            ("docker.io", &["10.77.3.4"], false),
        ] {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(engine().is_insecure(host, &addresses), insecure, "{host} {addresses:?}");
        }
    }

    #[test]
    fn only_docker_hub_has_mirrors() {
        assert_eq!(engine().mirrors_of("docker.io"), ["https://m/"]);
        assert!(engine().mirrors_of("ghcr.io").is_empty());
        let only_global = EngineRegistries { mirrors: vec!["http://n".to_owned()], ..Default::default() };
        assert_eq!(only_global.mirrors_of("docker.io"), ["http://n"]);
    }

    #[test]
    fn a_host_is_split_from_its_port() {
        for (host, name) in
            [("a", "a"), ("a:1", "a"), ("[::1]:5000", "::1"), ("[::1]", "::1"), ("::1", "::1"), ("", "")]
        {
            assert_eq!(without_port(host), name);
        }
    }
}
