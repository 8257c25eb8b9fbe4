//! Digests that a service is not offered. Pure.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::image::Digest;
use crate::ledger::entry::Entry;

/// A digest that is not offered to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Why.
    pub why: Why,
    /// The digest.
    pub digest: Digest,
    /// The cause in words; may be empty.
    pub cause: String,
    /// The name by which `gantry release` releases it.
    pub release: String,
    /// To be remembered, where only the service itself shows it so far.
    pub news: Option<Box<Entry>>,
}

/// Why a digest is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It broke this service.
    BrokeService,
    /// It broke so many services that its rollout was stopped.
    RolloutStopped,
    /// A person moved the service away from it.
    LeftByHand,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.digest.short();
        match self.why {
            Why::BrokeService => write!(f, "{short} is in quarantine here")?,
            Why::RolloutStopped => write!(f, "{short} is in quarantine for all services")?,
            Why::LeftByHand => write!(f, "rolled back by hand from {short}")?,
        }
        if !self.cause.is_empty() {
            write!(f, " ({})", self.cause)?;
        }
        write!(f, "; left alone until the tag moves on, or until `gantry release {}`", self.release)
    }
}

/// An older digest that a tag has gone back to, and that is not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The digest.
    pub digest: Digest,
    /// Since when the tag stands there.
    pub since: Timestamp,
    /// How long it has to.
    pub wait: Duration,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = SignedDuration::try_from(self.wait)
            .ok()
            .and_then(|wait| self.since.checked_add(wait).ok())
            .unwrap_or(self.since);
        write!(
            f,
            "the tag has gone back to {}; services follow when it still stands there at {until:.0}",
            self.digest.short()
        )
    }
}
