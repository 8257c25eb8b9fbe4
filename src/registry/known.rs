//! How registries want to be asked, as far as they have said it: the last word of a host, which serves all its
//! repositories as a rule, and what has served each one. Where teams have registries of their own below one host,
//! their token servers differ.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::auth::Call;
use super::challenge::Challenge;

#[derive(Debug, Default)]
struct Host {
    last: Option<Challenge>,
    by_repository: HashMap<String, Challenge>,
}

/// All hosts. There are no more repositories than services have had images.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Host>>);

impl Known {
    /// What will probably be wanted for a call.
    pub(super) fn of(&self, call: &Call) -> Option<Challenge> {
        let hosts = self.hosts();
        let host = hosts.get(&call.endpoint.host)?;
        host.by_repository.get(&call.repository).or(host.last.as_ref()).cloned()
    }

    /// The registry said so.
    pub(super) fn learn(&self, call: &Call, challenge: &Challenge) {
        let mut hosts = self.hosts();
        let host = hosts.entry(call.endpoint.host.clone()).or_default();
        host.last = Some(challenge.clone());
        host.by_repository.insert(call.repository.clone(), challenge.clone());
    }

    /// It was right for this repository, whatever others may say later.
    pub(super) fn confirm(&self, call: &Call, challenge: &Challenge) {
        let mut hosts = self.hosts();
        let host = hosts.entry(call.endpoint.host.clone()).or_default();
        if !host.by_repository.contains_key(&call.repository) {
            host.by_repository.insert(call.repository.clone(), challenge.clone());
        }
    }

    /// It does not serve this repository, or not any more.
    pub(super) fn forget(&self, call: &Call, challenge: &Challenge) {
        let mut hosts = self.hosts();
        let Some(host) = hosts.get_mut(&call.endpoint.host) else { return };
        host.by_repository.remove(&call.repository);
        host.last.take_if(|last| last == challenge);
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
