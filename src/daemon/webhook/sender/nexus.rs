//! Sonatype Nexus: components of Docker repositories. Pure.
//!
//! No event has a host, as each repository has a port of its own: `?host=` tells it.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads an event of Nexus.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    if delivery.header("x-nexus-webhook-id") != "rm:repository:component" {
        return Reading::Ignored("it is no component event");
    }
    if !matches!(text(&event, "/action"), "CREATED" | "UPDATED") {
        return Reading::Ignored("the component was neither created nor updated");
    }
    if text(&event, "/component/format") != "docker" {
        return Reading::Ignored("the component is no container image");
    }
    Reading::of(Hint::new("", text(&event, "/component/name")), NO_IMAGE)
}
