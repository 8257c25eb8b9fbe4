//! Why an update failed, as far as its tasks tell. Pure.

use std::time::Duration;

use super::ignored_tasks::IgnoredTasks;
use super::sent_update::ServiceView;
use super::view::View;
use super::watch::Watch;
use crate::model::cause::{Cause, words};
use crate::model::task_spec_id::TaskSpecId;
use crate::swarm::{Facts, Task, TaskState};

impl View<'_> {
    /// The cause of a failure: what a task with this mark tells, else the swarm's words.
    pub(super) fn cause_by(&self, spec_id: &TaskSpecId, message: &str) -> Cause {
        self.task_cause(spec_id).unwrap_or_else(|| Cause::Stopped { message: words(message) })
    }

    /// What the latest task with this mark that came to an end by itself tells.
    pub(super) fn task_cause(&self, spec_id: &TaskSpecId) -> Option<Cause> {
        let task = failed_task(spec_id, self.ignored_tasks, self.seen)?;
        let cause = Cause::of_task(task, self.facts, self.seen.nodes).map(|cause| self.weighed(cause))?;
        Some(if *spec_id == self.sent_update.sent {
            cause.by_order(self.sent_update, task, self.seen)
        } else {
            cause
        })
    }

    /// The same cause, or what is true instead: a node was away, or the old image's tasks had failed in the same way.
    pub(super) fn weighed(&self, cause: Cause) -> Cause {
        cause.with(self.down_nodes).against(&self.sent_update.before)
    }

    /// A time-out, with what was waited for and what had failed before that.
    pub(super) fn timed_out(&self, watch: &Watch, after: Duration) -> Cause {
        let waiting = &watch.waiting;
        if let Some(reason @ (Cause::NoSuitableNode { .. } | Cause::NodeDown { .. })) = &waiting.reason {
            let blames_image = reason.blames_image();
            return Cause::TimedOut {
                after,
                waiting: format!("waiting for a node ({reason})"),
                blames_image,
            };
        }
        if let Some(cause) = self.task_cause(&self.sent_update.sent) {
            Cause::TimedOut {
                after,
                waiting: format!("{}; before that, {cause}", waiting.activity),
                blames_image: cause.blames_image(),
            }
        } else {
            let activity = waiting.activity.clone();
            let cause = Cause::TimedOut { after, waiting: activity, blames_image: waiting.has_image };
            match unready_task(&self.sent_update.sent, self.seen) {
                Some(task) => cause.by_order(self.sent_update, task, self.seen),
                None => cause,
            }
        }
    }
}

/// The latest task with this mark that came to an end by itself and whose end counts, if there is one. An unhealthy task
/// may end as `complete`, so every end that has a cause counts.
pub(crate) fn failed_task<'a>(
    spec_id: &TaskSpecId,
    ignored_tasks: &IgnoredTasks,
    seen: &ServiceView<'a>,
) -> Option<&'a Task> {
    let facts = Facts::default();
    seen.tasks
        .iter()
        .filter(|task| spec_id.is_on(task) && task.state > TaskState::Running && ignored_tasks.counts(task))
        .filter(|task| Cause::of_task(task, &facts, seen.nodes).is_some())
        // One that failed tells more than one that ended well.
        .max_by_key(|task| (task.has_failed(), task.created_at))
}

/// A task with this mark that has the image and does not run yet.
pub(crate) fn unready_task<'a>(spec_id: &TaskSpecId, seen: &ServiceView<'a>) -> Option<&'a Task> {
    let is_unready = |task: &&Task| {
        task.is_wanted()
            && (TaskState::Ready..TaskState::Running).contains(&task.state)
            && spec_id.is_on(task)
    };
    seen.tasks.iter().find(is_unready)
}
