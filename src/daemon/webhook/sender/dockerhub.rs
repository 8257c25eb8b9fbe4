//! Docker Hub: one kind of event, without a digest and without a proof. Pure.
//!
//! The event has a `callback_url`. Gantry calls no address of a payload.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};
use crate::image::DOCKER_HUB;

/// Reads the event of Docker Hub.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    match json(delivery) {
        Ok(event) => Reading::of(Hint::new(DOCKER_HUB, text(&event, "/repository/repo_name")), NO_IMAGE),
        Err(malformed) => malformed,
    }
}
