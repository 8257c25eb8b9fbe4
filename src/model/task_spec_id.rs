//! The part of a specification that its tasks show. Pure.

use crate::swarm::{Facts, Service, Spec, Task};

/// The image and the forced-update counter of a specification: what a task shows of the specification that it was made
/// from. Each update by Gantry changes one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpecId {
    /// The image, as it stands in the specification.
    pub image: String,
    /// The forced-update counter.
    pub force_update: u64,
}

impl TaskSpecId {
    /// The id of this specification.
    pub fn of(facts: &Facts) -> Self {
        Self { image: facts.image.clone().unwrap_or_default(), force_update: facts.force_update }
    }

    /// The id of a specification of which nothing else may have been read.
    pub fn of_spec(spec: &Spec) -> Self {
        let (image, force_update) = spec.image_and_force();
        Self { image: image.unwrap_or_default().into_owned(), force_update }
    }

    /// Whether a task was made from a specification with this id.
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
