//! The registry client against small real HTTP servers.

use std::sync::Arc;
use std::time::Duration;

use gantry::hosts::EngineRegistries;
use gantry::image::Digest;
use gantry::proxy::Proxies;
use gantry::registry::credentials::Account;
use gantry::registry::{
    Credentials, HttpRegistry, Lookup, LookupLimits, Manifest, Registry, RegistryError, Settings,
};
use gantry::secret::Secret;

use crate::support::http::{Answer, Server};
use crate::support::sha256;

mod accounts;
mod answers;
mod elsewhere;
mod helpers;
mod hub;
mod own_certificates;
mod proxies;
mod reach;
#[cfg(feature = "live")]
mod real;
mod tag_lists;
mod trouble;
pub(crate) mod trust;

/// The digest that the servers here give their tags.
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Everything that a test would otherwise wait for, in milliseconds.
fn limits() -> LookupLimits {
    LookupLimits {
        connect: Duration::from_secs(2),
        request: Duration::from_secs(3),
        total: Duration::from_secs(20),
        backoff: Duration::from_millis(10),
        ..LookupLimits::default()
    }
}

fn registry() -> HttpRegistry {
    registry_with(limits())
}

fn registry_with(limits: LookupLimits) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits,
        certificates: "/nonexistent".into(),
        // Nobody must be asked by accident.
        docker_hub: "http://127.0.0.1:1".to_owned(),
        proxies: Proxies::default(),
    })
}

fn lookup(server: &Server, image: &str) -> Lookup {
    lookup_of(&format!("{}/{image}", server.authority()))
}

fn lookup_of(image: &str) -> Lookup {
    Lookup {
        image: image.parse().unwrap(),
        credentials: None,
        missing: None,
        hosts: Arc::new(EngineRegistries::default()),
        insecure: false,
    }
}

fn password(username: &str, password: &str) -> Arc<Credentials> {
    account(Account::Password { username: username.to_owned(), password: Secret::new(password) })
}

fn account(account: Account) -> Arc<Credentials> {
    Arc::new(Credentials { source: "test".to_owned(), server: "r".to_owned(), account })
}

/// What a registry says of a tag that it knows.
fn known() -> Answer {
    Answer::new(200, "")
        .with("docker-content-digest", DIGEST)
        .with("content-type", "application/vnd.oci.image.index.v1+json")
}

/// An image that exists, as `HEAD` and `GET` tell it; its digest is that of [`IMAGE`].
fn manifest() -> Answer {
    Answer::json(200, IMAGE)
        .with("docker-content-digest", sha256(IMAGE).as_str())
        .with("content-type", "application/vnd.oci.image.manifest.v1+json")
}

const IMAGE: &str = r#"{"schemaVersion":2,"config":{"digest":"sha256:1"},"layers":[]}"#;

fn digest() -> Digest {
    DIGEST.parse().unwrap()
}
