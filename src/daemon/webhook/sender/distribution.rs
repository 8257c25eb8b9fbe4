//! CNCF distribution (`registry:2`, `registry:3`): an envelope of events. Pure.
//!
//! Blobs are pushed as well, and a manifest by digest comes before its tag moves: only what has a tag counts. Gantry's own
//! look-ups are `pull` events (distribution's `registry/handlers/manifests.go`), and must start nothing.

use serde_json::Value;

use super::super::hint::{Delivery, Hint, Reading};
use super::super::json::{json, list, text};

/// Reads the envelope of distribution.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    of_envelope(delivery, |event| text(event, "/request/host"))
}

/// The pushes of tags in an envelope. `host` tells the registry's host of an event.
pub(super) fn of_envelope(delivery: &Delivery<'_>, host: impl Fn(&Value) -> &str) -> Reading {
    let envelope = match json(delivery) {
        Ok(envelope) => envelope,
        Err(malformed) => return malformed,
    };
    let pushes = list(&envelope, "/events").iter().filter(|event| is_push_of_tag(event));
    let hints = pushes.filter_map(|event| Hint::new(host(event), text(event, "/target/repository")));
    Reading::of(hints, "no event is the push of a tag")
}

fn is_push_of_tag(event: &Value) -> bool {
    let kind = text(event, "/target/mediaType");
    let is_manifest = kind.is_empty() || kind.contains("manifest") || kind.contains("index");
    text(event, "/action") == "push" && !text(event, "/target/tag").is_empty() && is_manifest
}
