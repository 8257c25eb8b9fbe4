//! GitLab's container registry: distribution's envelope, in which the request may be missing. Pure.

use super::super::hint::{Delivery, Reading};
use super::super::json::text;
use super::distribution::of_envelope;

/// Reads the envelope of GitLab's registry.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    of_envelope(delivery, |event| {
        let host = text(event, "/request/host");
        if host.is_empty() { text(event, "/source/addr") } else { host }
    })
}
