//! What somebody has begun and nobody may have judged. Pure.

use std::collections::BTreeSet;

use crate::swarm::Service;

/// What somebody has begun and nobody may have judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// What has a later version than this: whoever held the lease did not give it back, or holds it still and may be dead.
    pub since: Option<u64>,
    /// What services of these names have: whoever was updating them was stopped in good order.
    pub services: BTreeSet<String>,
}

impl LeftBehind {
    /// Whether this service's last change may be part of it.
    pub fn has(&self, service: &Service) -> bool {
        self.since.is_some_and(|since| service.version > since)
            || self.services.contains(&service.spec.facts().name)
    }

    /// This, and what others have left.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.since = [self.since, other.since].into_iter().flatten().min();
        self.services.extend(other.services);
        self
    }
}
