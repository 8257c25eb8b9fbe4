//! Quay: an event for each push of a tag. Pure.

use serde_json::Value;

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads a notification of Quay.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    let has_tags = match event.get("updated_tags") {
        Some(Value::Array(tags)) => !tags.is_empty(),
        // Very old versions.
        Some(Value::Object(tags)) => !tags.is_empty(),
        _ => false,
    };
    if !has_tags {
        return Reading::Ignored("it is not the push of a tag");
    }
    let url = text(&event, "/docker_url");
    let host = url.split_once('/').map_or(url, |(host, _)| host);
    Reading::of(Hint::new(host, text(&event, "/repository")), NO_IMAGE)
}
