//! GitHub's container registry: `package` events of repositories and organisations, `registry_package` events of apps. Pure.
//!
//! The name comes from `package_url`, which may end in a bare colon. The repository's `full_name` is another name where
//! package and repository differ.

use serde_json::Value;

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads an event of GitHub.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    let package = match delivery.header("x-github-event") {
        "package" => event.get("package"),
        "registry_package" => event.get("registry_package"),
        "ping" => return Reading::Ignored("it is a ping"),
        _ => return Reading::Ignored("it is no package event"),
    };
    let package = package.unwrap_or(&Value::Null);
    if !matches!(text(&event, "/action"), "published" | "updated") {
        return Reading::Ignored("the package was neither published nor updated");
    }
    let kind = text(package, "/package_type").to_ascii_lowercase();
    let ecosystem = text(package, "/ecosystem").to_ascii_lowercase();
    if !["container", "docker"].iter().any(|known| kind == *known || ecosystem == *known) {
        return Reading::Ignored("the package is no container image");
    }
    let url = text(package, "/package_version/package_url").to_ascii_lowercase();
    let url = url.split_once("://").map_or(&*url, |(_, rest)| rest);
    // Without a host it would be a name of Docker Hub.
    let has_host = url.split_once('/').is_some_and(|(host, _)| host.contains('.'));
    Reading::of(Hint::of_reference(url).filter(|_| has_host), NO_IMAGE)
}
