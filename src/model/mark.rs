//! What tells the tasks of one specification from those of another. Pure.

use crate::swarm::{Facts, Service, Task};

/// What tells one specification's tasks from another's: every update of ours changes one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The image, as it stands in the specification.
    pub image: String,
    /// The forced-update counter.
    pub force_update: u64,
}

impl Mark {
    /// The mark of a specification.
    pub fn of(facts: &Facts) -> Self {
        Self { image: facts.image.clone().unwrap_or_default(), force_update: facts.force_update }
    }

    pub(crate) fn is_on(&self, task: &Task) -> bool {
        task.image == self.image && task.force_update == self.force_update
    }
}

/// The tasks that were made from the service's present specification.
pub fn present_tasks<'a>(service: &Service, tasks: &'a [Task]) -> impl Iterator<Item = &'a Task> {
    let facts = service.spec.facts();
    let (image, force) = (facts.image.clone().unwrap_or_default(), facts.force_update);
    tasks.iter().filter(move |task| task.image == image && task.force_update == force)
}
