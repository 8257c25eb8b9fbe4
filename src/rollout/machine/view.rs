//! One look at a service, with all that a verdict needs to know. Pure.

use tokio::time::Instant;

use super::ignored_tasks::IgnoredTasks;
use super::sent_update::{SentUpdate, ServiceView};
use crate::model::cause::Cause;
use crate::model::change::change;
use crate::model::down_nodes::DownNodes;
use crate::model::task_spec_id::TaskSpecId;
use crate::swarm::{Facts, Service, Spec, Task, TaskState, UpdateStatus};

/// One look, and what is known from before.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) sent_update: &'a SentUpdate,
    pub(super) down_nodes: &'a DownNodes,
    pub(super) ignored_tasks: &'a IgnoredTasks,
    /// What the engine made of the specification that was sent.
    pub(super) kept: Option<&'a Spec>,
    pub(super) service: &'a Service,
    pub(super) facts: &'a Facts,
    pub(super) seen: &'a ServiceView<'a>,
    pub(super) now: Instant,
}

impl<'a> View<'a> {
    /// The swarm's word on an update, or a rollback, that it has stopped.
    pub(super) fn pause(&self) -> Option<&'a UpdateStatus> {
        self.service.update.as_ref().filter(|status| status.state.is_paused())
    }

    /// Whether the service is paused because of a node, and not because of what runs: a task was taken from its node, or
    /// its node went away. Swarm stops an update for that as well.
    pub(super) fn is_paused_for_a_node(&self, pause: &UpdateStatus) -> bool {
        let spec_id = TaskSpecId::of(self.facts);
        if let Some(cause) = self.task_cause(&spec_id) {
            return cause.is_about_a_node();
        }
        let blamed = self.seen.tasks.iter().find(|task| pause.message.contains(&task.id));
        blamed.is_some_and(|task| spec_id.is_on(task) && was_taken_away(task))
    }

    /// Whether tasks of another specification are wanted still, on nodes that take tasks.
    pub(super) fn has_old_tasks(&self) -> bool {
        let spec_id = TaskSpecId::of(self.facts);
        let is_old = |task: &Task| task.is_wanted() && !spec_id.is_on(task);
        self.seen.tasks.iter().any(|task| is_old(task) && !self.seen.nodes.is_set_aside(&task.node_id))
    }

    /// Whether tasks have a node and do not run yet: when they do, the old ones make room.
    pub(super) fn has_tasks_on_their_way(&self) -> bool {
        let spec_id = TaskSpecId::of(self.facts);
        let is_on_its_way = |task: &Task| {
            task.is_wanted()
                && spec_id.is_on(task)
                && (TaskState::Assigned..TaskState::Running).contains(&task.state)
        };
        self.seen.tasks.iter().any(is_on_its_way)
    }

    /// What a user or another program changed, where that makes other tasks than these.
    pub(super) fn change_since(&self, spec: Option<&Spec>) -> Option<String> {
        change(spec?, &self.service.spec)
    }

    /// Whose image the service has, in words.
    pub(super) fn changed_to(&self) -> String {
        let image = self.facts.image.as_deref().unwrap_or("no image");
        let whose = if image == self.sent_update.sent.image {
            ", which Gantry had sent"
        } else if image == self.sent_update.replaced.image {
            ", which it had before the update"
        } else {
            ""
        };
        format!("a user or another program changed it to {image}{whose}")
    }

    /// Why the swarm has paused, if it has.
    pub(super) fn pause_cause(&self) -> Option<Cause> {
        self.pause().map(|status| self.cause_by(&TaskSpecId::of(self.facts), &status.message))
    }
}

/// Whether the swarm told a task to end, or lost it with its node.
fn was_taken_away(task: &Task) -> bool {
    let is_gone = matches!(task.state, TaskState::Shutdown | TaskState::Orphaned | TaskState::Remove);
    !task.is_wanted() && (is_gone || task.state <= TaskState::Running)
}
