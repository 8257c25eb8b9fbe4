//! Why an update failed, as far as its tasks tell. Pure.

use std::time::Duration;

use super::{Mark, Seen, Terms, Watch};
use crate::cycle::rollout::cause::{Cause, words};
use crate::swarm::{Facts, Task, TaskState};

/// The cause of a failure: what a task with this mark tells, else the swarm's words.
pub(super) fn cause_by(mark: &Mark, facts: &Facts, seen: &Seen<'_>, message: &str) -> Cause {
    task_cause(mark, facts, seen).unwrap_or_else(|| Cause::Stopped { message: words(message) })
}

/// What the latest task with this mark that came to an end by itself tells.
pub(super) fn task_cause(mark: &Mark, facts: &Facts, seen: &Seen<'_>) -> Option<Cause> {
    failed_task(mark, seen).and_then(|task| Cause::of_task(task, facts, seen.nodes))
}

/// The latest task with this mark that came to an end by itself, if there is one. An unhealthy task may end as
/// `complete`, so every end that has a cause counts.
pub(in super::super) fn failed_task<'a>(mark: &Mark, seen: &Seen<'a>) -> Option<&'a Task> {
    let facts = Facts::default();
    seen.tasks
        .iter()
        .filter(|task| mark.is_on(task) && task.state > TaskState::Running)
        .filter(|task| Cause::of_task(task, &facts, seen.nodes).is_some())
        // One that failed tells more than one that ended well.
        .max_by_key(|task| (task.has_failed(), task.created_at))
}

/// A task with this mark that has the image and does not run yet.
pub(in super::super) fn unready_task<'a>(mark: &Mark, seen: &Seen<'a>) -> Option<&'a Task> {
    let is_unready = |task: &&Task| {
        task.is_wanted() && (TaskState::Ready..TaskState::Running).contains(&task.state) && mark.is_on(task)
    };
    seen.tasks.iter().find(is_unready)
}

pub(super) fn timed_out(
    terms: &Terms,
    facts: &Facts,
    watch: &Watch,
    seen: &Seen<'_>,
    after: Duration,
) -> Cause {
    let waiting = &watch.waiting;
    if let Some(reason @ (Cause::NoSuitableNode { .. } | Cause::NodeDown { .. })) = &waiting.reason {
        let blames_image = reason.blames_image();
        return Cause::TimedOut { after, waiting: format!("waiting for a node ({reason})"), blames_image };
    }
    match task_cause(&terms.sent, facts, seen) {
        Some(cause) => Cause::TimedOut {
            after,
            waiting: format!("{}; before that, {cause}", waiting.activity),
            blames_image: cause.blames_image(),
        },
        None => Cause::TimedOut { after, waiting: waiting.activity.clone(), blames_image: waiting.has_image },
    }
}
