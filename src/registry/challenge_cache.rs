//! The challenges that one host has answered with: its last one, and the one that served each repository. Pure.
//!
//! One challenge serves all repositories of a host as a rule. Where teams have registries of their own below one host,
//! their token servers differ.

use std::collections::HashMap;

use super::challenge::Challenge;

/// The challenges of one host. There are no more repositories than services have had images.
#[derive(Debug, Default)]
pub(super) struct ChallengeCache {
    last: Option<Challenge>,
    by_repository: HashMap<String, Challenge>,
}

impl ChallengeCache {
    /// The challenge to expect for a repository.
    pub(super) fn expected(&self, repository: &str) -> Option<Challenge> {
        self.by_repository.get(repository).or(self.last.as_ref()).cloned()
    }

    /// Takes note of what the registry has answered.
    pub(super) fn learn(&mut self, repository: &str, challenge: &Challenge) {
        self.last = Some(challenge.clone());
        self.by_repository.insert(repository.to_owned(), challenge.clone());
    }

    /// Takes note that an expected challenge was right for this repository, whatever the host answers for others later.
    pub(super) fn confirm(&mut self, repository: &str, challenge: &Challenge) {
        if !self.by_repository.contains_key(repository) {
            self.by_repository.insert(repository.to_owned(), challenge.clone());
        }
    }

    /// Takes note that a challenge does not serve this repository, or no longer does.
    pub(super) fn forget(&mut self, repository: &str, challenge: &Challenge) {
        self.by_repository.remove(repository);
        self.last.take_if(|last| last == challenge);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none() && self.by_repository.is_empty()
    }
}
