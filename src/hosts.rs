//! How the engine itself talks to registries: which of them it trusts without TLS, and which mirrors it
//! asks first. Taken from `GET /info` (`RegistryConfig`), so that what the daemon can pull we can check.

use std::collections::BTreeMap;

use serde::Deserialize;

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

/// Go writes empty lists and maps as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
