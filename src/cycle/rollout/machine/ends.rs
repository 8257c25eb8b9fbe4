//! Which ends of tasks count. Pure.

use std::collections::BTreeSet;

use super::Seen;
use crate::cycle::rollout::convergence::present_tasks;
use crate::swarm::{Service, Task};

/// Which ends of a specification's tasks count.
#[derive(Clone, Debug, Default)]
pub(super) enum Ends {
    /// All of them.
    #[default]
    All,
    /// Those after the next look: nothing tells tasks that had another account from those that have the new one.
    AfterNextLook,
    /// All but those of these tasks.
    AllBut(BTreeSet<String>),
}

impl Ends {
    /// Takes a look.
    pub(super) fn look(&mut self, service: &Service, seen: &Seen<'_>) {
        if matches!(self, Self::AfterNextLook) {
            *self = Self::AllBut(ended(service, seen).map(|task| task.id.clone()).collect());
        }
    }

    /// Whether a task of the present specification has come to an end by itself.
    pub(super) fn is_any(&self, service: &Service, seen: &Seen<'_>) -> bool {
        ended(service, seen).any(|task| match self {
            Self::All => true,
            Self::AfterNextLook => false,
            Self::AllBut(earlier) => !earlier.contains(&task.id),
        })
    }
}

fn ended<'a>(service: &Service, seen: &Seen<'a>) -> impl Iterator<Item = &'a Task> {
    present_tasks(service, seen.tasks).filter(|task| task.has_ended())
}
