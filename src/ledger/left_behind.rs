//! Updates that a stopped or crashed run may not have judged. Pure.

use std::collections::BTreeSet;

use crate::swarm::Service;

/// Updates that a stopped or crashed run may not have judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// Services changed after this version may have been updated by a holder that crashed before judging them.
    pub since: Option<u64>,
    /// Services that a run was updating when it was stopped in order.
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
