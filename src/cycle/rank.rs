//! Who gets a new image first. Pure.
//!
//! The first services of a rollout are its canaries: what they show decides whether the others follow. So
//! those come first that show the most and lose the least. A health check tells a program that works from
//! one that merely runs; several replicas go on working when one of them does not.

use crate::swarm::{Facts, Mode};

/// How early a service's turn comes within its image's rollout, the earliest first.
///
/// Only the specification is looked at. A health check that comes with the image is not known before the
/// image is pulled, which nothing here does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Chosen by the label `gantry.rollout.canary`.
    Canary,
    /// A health check and several tasks.
    CheckedReplicas,
    /// A health check and one task.
    Checked,
    /// Several tasks.
    Replicas,
    /// One task: a bad image may go unnoticed, and where it is noticed the service is down.
    Single,
    /// No task to watch (no replicas, or a job): it shows nothing, so it comes when the others have shown
    /// what there is to see, also with the label.
    NothingToWatch,
}

impl Rank {
    /// The rank of a service with this specification. `is_canary`: its label asks for it.
    pub fn of(facts: &Facts, is_canary: bool) -> Self {
        let has_several = match facts.mode {
            Mode::Job | Mode::Replicated(0) => return Self::NothingToWatch,
            Mode::Global => true,
            Mode::Replicated(replicas) => replicas > 1,
        };
        match (is_canary, facts.has_health_check, has_several) {
            (true, _, _) => Self::Canary,
            (false, true, true) => Self::CheckedReplicas,
            (false, true, false) => Self::Checked,
            (false, false, true) => Self::Replicas,
            (false, false, false) => Self::Single,
        }
    }

    /// Whether there will be tasks that show how the image does.
    pub fn has_tasks(self) -> bool {
        self != Self::NothingToWatch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(mode: Mode, has_health_check: bool, is_canary: bool) -> Rank {
        Rank::of(&Facts { mode, has_health_check, ..Facts::default() }, is_canary)
    }

    #[test]
    fn the_label_comes_first_then_health_checks_then_several_replicas() {
        let mut ranks = [
            ("job", rank(Mode::Job, true, true)),
            ("one", rank(Mode::Replicated(1), false, false)),
            ("one checked", rank(Mode::Replicated(1), true, false)),
            ("three", rank(Mode::Replicated(3), false, false)),
            ("none", rank(Mode::Replicated(0), true, true)),
            ("global", rank(Mode::Global, false, false)),
            ("three checked", rank(Mode::Replicated(3), true, false)),
            ("canary", rank(Mode::Replicated(1), false, true)),
        ];
        ranks.sort_by_key(|(_, rank)| *rank);
        let names = ranks.map(|(name, _)| name);
        let expected = ["canary", "three checked", "one checked", "three", "global", "one", "job", "none"];
        assert_eq!(names, expected);
    }
}
