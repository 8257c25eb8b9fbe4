//! Zot: `CloudEvents`, with their attributes in headers (binary mode) or in the body (structured mode). Pure.
//!
//! The source is the same for each registry, unless its owner has set it to a URL of the registry. So is what the type begins
//! with (`typePrefix`).

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{host_of, json, text};

/// The end of the type of the event that counts.
const UPDATED: &str = "image.updated";

/// The source of registries whose owner has set none.
const NO_SOURCE: &str = "zotregistry.dev";

/// Reads an event of Zot.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    let binary = delivery.header("ce-type");
    let (kind, source, data) = if binary.is_empty() {
        (text(&event, "/type"), text(&event, "/source"), event.get("data"))
    } else {
        (binary, delivery.header("ce-source"), Some(&event))
    };
    if kind != UPDATED && !kind.ends_with(&format!(".{UPDATED}")) {
        return Reading::Ignored("it is not the push of an image");
    }
    let name = data.map_or("", |data| text(data, "/name"));
    let host = Some(host_of(source)).filter(|host| *host != NO_SOURCE).unwrap_or_default();
    Reading::of(Hint::new(host, name).or_else(|| Hint::new("", name)), NO_IMAGE)
}
