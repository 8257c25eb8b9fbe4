//! Azure Container Registry: one event each, in the words of distribution. Pure.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads an event of Azure Container Registry.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    match text(&event, "/action") {
        "push" => {}
        "ping" => return Reading::Ignored("it is a ping"),
        _ => return Reading::Ignored("it is not the push of an image"),
    }
    if text(&event, "/target/tag").is_empty() {
        return Reading::Ignored("it is the push of a digest, and the tag has an event of its own");
    }
    Reading::of(Hint::new(text(&event, "/request/host"), text(&event, "/target/repository")), NO_IMAGE)
}
