//! The service's own record of its last update or rollback. Pure.

use std::collections::BTreeMap;

use super::cause::Cause;
use super::down_nodes::DownNodes;
use super::order::overlaps;
use super::ours::image_of;
use crate::image::{Digest, ImageRef};
use crate::swarm::{Facts, Nodes, Service, Task, TaskState};

/// The service's own record of its last update or rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The image of its previous specification.
    pub previous: Option<ImageRef>,
    /// Whether its last change was a rollback, and whose.
    pub rollback: Option<RolledBack>,
    /// What its failed tasks tell, where they had to be listed: by digest, Swarm's words where the image is to blame.
    pub failed: BTreeMap<Digest, Option<String>>,
    /// Whether its tasks had to be looked at and could not be listed.
    pub is_untold: bool,
}

/// Who asked for a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledBack {
    /// The swarm did it by itself.
    BySwarm,
    /// Gantry or a person.
    OnRequest,
}

impl History {
    /// What a service shows in a listing.
    pub fn of(service: &Service) -> Self {
        let previous = service.previous.as_ref().and_then(image_of);
        let is_rollback = service.update.as_ref().is_some_and(|update| update.state.is_rollback());
        let by =
            if service.rollback_by_swarm().is_some() { RolledBack::BySwarm } else { RolledBack::OnRequest };
        Self { previous, rollback: is_rollback.then_some(by), failed: BTreeMap::new(), is_untold: false }
    }

    /// Takes from the service's tasks which digests of this image failed. The latest failure of each tells.
    /// With `may_collide`, one that failed while the old task of its place was still there says nothing of its image.
    pub fn take_tasks(&mut self, image: &ImageRef, tasks: &[Task], may_collide: bool) {
        // One that was told to end and has an exit code had run.
        let has_run =
            |task: &Task| task.state == TaskState::Running || (!task.has_ended() && task.exit_code.is_some());
        let mut failed: Vec<&Task> = tasks.iter().filter(|task| task.has_ended()).collect();
        failed.sort_by_key(|task| (task.has_failed(), task.created_at));
        for task in failed {
            if let Ok(of_task) = task.image.parse::<ImageRef>()
                && of_task.is_same_repository_as(image)
                && let Some(digest) = of_task.digest()
            {
                // Which nodes were down meanwhile is not known any more: in doubt it was not the image.
                let cause = Cause::of_task(task, &Facts::default(), &Nodes::default())
                    .map(|cause| cause.with(&DownNodes::since_later()));
                let is_blamed = cause.is_some_and(|cause| cause.blames_image())
                    && !(may_collide && overlaps(task, tasks));
                // What was no fault of the image's, and what went well afterwards, was no reason to go back.
                let is_over = tasks.iter().any(|later| {
                    later.image == task.image && later.created_at > task.created_at && has_run(later)
                });
                if is_blamed || !is_over {
                    self.failed.insert(digest.clone(), is_blamed.then(|| task.error.clone()));
                }
            }
        }
    }
}
