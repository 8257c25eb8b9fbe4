//! Google Artifact Registry by Pub/Sub: the event is base64 in a message. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads a message of Pub/Sub.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let message = match json(delivery) {
        Ok(message) => message,
        Err(malformed) => return malformed,
    };
    let data = text(&message, "/message/data");
    let data = STANDARD.decode(data).or_else(|_| URL_SAFE.decode(data)).unwrap_or_default();
    let Ok(event) = serde_json::from_slice::<Value>(&data) else {
        return Reading::Ignored("the message holds no event of Artifact Registry");
    };
    if text(&event, "/action") != "INSERT" {
        return Reading::Ignored("it is not the push of an image");
    }
    match text(&event, "/tag") {
        "" => Reading::Ignored("it is the push of a digest, and the tag has an event of its own"),
        tag => Reading::of(Hint::of_reference(tag), NO_IMAGE),
    }
}
