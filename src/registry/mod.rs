//! Asks registries which digest a tag points at, without pulling anything.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::hosts::EngineRegistries;
use crate::image::{Digest, ImageRef};
use crate::proxy::Proxy;

mod answer;
mod auth;
mod bounded;
mod call;
mod challenge;
mod challenge_cache;
mod client;
mod clients;
#[cfg(test)]
mod cost;
pub mod credentials;
mod der;
mod dns;
mod endpoints;
mod failure;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod host_files;
mod limits;
mod link;
mod login_back_off;
mod manifest;
mod memory;
mod outage;
mod plain_http;
mod rate;
mod reach;
mod retry;
mod tag_list;
mod token;
mod token_server;
mod transport;
mod verifier;

pub use client::{HttpRegistry, Settings};
pub use credentials::{Credentials, Keyring, Sources};
pub use limits::LookupLimits;
pub use rate::HubRate;

/// One question to a registry.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The image; of its pin only the tag counts.
    pub image: ImageRef,
    /// The account; `None`: anonymous.
    pub credentials: Option<Arc<Credentials>>,
    /// Why no account is used, although the configuration names one.
    pub missing: Option<String>,
    /// The engine's settings for registries: insecure ones, mirrors, proxies.
    pub hosts: Arc<EngineRegistries>,
    /// Also accept plain HTTP and unverified certificates for this look-up (`--insecure`).
    pub insecure: bool,
}

/// An operating system and architecture, as Swarm's placement knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`, `windows`.
    pub os: String,
    /// Go's name: `amd64`, `arm64`, `arm`.
    pub architecture: String,
}

/// The content of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The digests that an index lists, attestations included; empty for a single-platform image.
    pub children: BTreeSet<Digest>,
    /// The platforms it runs on, as listed (an index) or as its configuration says (a single image).
    /// `unknown/unknown` entries (attestations) are left out.
    pub platforms: Vec<Platform>,
}

/// A container registry.
pub trait Registry: Send + Sync + 'static {
    /// The digest that the tag points at now, of the index where there is one. In the steady state this is one `HEAD`
    /// request. It always ends within [`LookupLimits::total`].
    fn digest(&self, lookup: &Lookup) -> impl Future<Output = Result<Digest, RegistryError>> + Send;

    /// The manifest of `digest` in the look-up's repository, from memory if it was read before.
    fn manifest(
        &self,
        lookup: &Lookup,
        digest: &Digest,
    ) -> impl Future<Output = Result<Arc<Manifest>, RegistryError>> + Send;

    /// Whether the look-up's repository still has `digest`, which no tag may have any more.
    fn has(
        &self,
        lookup: &Lookup,
        digest: &Digest,
    ) -> impl Future<Output = Result<bool, RegistryError>> + Send;

    /// All tags of the look-up's repository, of signatures too, sorted. A list that breaks off is an error.
    fn tags(&self, lookup: &Lookup) -> impl Future<Output = Result<Vec<String>, RegistryError>> + Send;

    /// How many pulls Docker Hub still allows this account, or this address without one; `None` where it
    /// sets no limit. Docker Hub does not count the request. Asked once, and for a few seconds at most.
    fn hub_rate(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> impl Future<Output = Result<Option<HubRate>, RegistryError>> + Send;
}

/// Why a registry gave no usable answer. Each error names its cause; none carries a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// 404: no such repository or tag.
    #[error("{image} is not known to {registry}; a local image needs gantry.manifest.cmd=none")]
    NotFound {
        /// The image as people call it.
        image: String,
        /// The registry asked.
        registry: String,
    },
    /// 401 or 403, or a token server that refused.
    #[error("{registry} refuses access to {image} {who}: {cause}")]
    Refused {
        /// The image as people call it.
        image: String,
        /// The registry asked.
        registry: String,
        /// `without credentials`, or the account and its source.
        who: String,
        /// The registry's words, cut to a sane size.
        cause: String,
    },
    /// 429, after the bounded retries.
    #[error("{registry} limits the rate of requests{}", retry_after.map_or_else(String::new, |d| format!(" (asks to wait {} s)", d.as_secs())))]
    RateLimited {
        /// The registry asked.
        registry: String,
        /// What its Retry-After header asked for.
        retry_after: Option<Duration>,
    },
    /// 5xx, after the bounded retries.
    #[error("{registry} cannot answer now: {cause}")]
    Failing {
        /// The registry asked.
        registry: String,
        /// The status, and the registry's words.
        cause: String,
    },
    /// No connection, or no answer in time, after the bounded retries.
    #[error("{}: {cause}", unreachable(registry, proxy.as_ref()))]
    Unreachable {
        /// The registry asked.
        registry: String,
        /// The proxy that it was asked through.
        proxy: Option<Proxy>,
        /// What happened.
        cause: String,
    },
    /// The answer is not a registry's: HTML, a wrong digest, an endless body.
    #[error("{registry} answers nonsense: {cause}")]
    Nonsense {
        /// The registry asked.
        registry: String,
        /// What was wrong with it.
        cause: String,
    },
}

fn unreachable(registry: &str, proxy: Option<&Proxy>) -> String {
    match proxy {
        Some(proxy) => format!("cannot reach registry {registry} {proxy}"),
        None => format!("{registry} cannot be reached"),
    }
}

impl RegistryError {
    /// All names, and that of a good answer.
    pub const RESULTS: [&str; 6] =
        ["ok", "unauthorized", "not_found", "rate_limited", "unreachable", "other"];

    /// Its name, as metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Refused { .. } => "unauthorized",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failing { .. } | Self::Unreachable { .. } => "unreachable",
            Self::Nonsense { .. } => "other",
        }
    }
}
