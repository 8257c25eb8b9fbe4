//! What a task that failed, or does not get ready, has said: the best cause there is.
//!
//! The log of a task comes from whatever node it is on, through the manager. The output of its health check does not:
//! no request to a manager tells it, only one to the engine of the task's own node. It is known where that is the
//! engine that we talk to, and nowhere else.

use std::time::Duration;

use tokio::time::timeout;

use super::machine;
use super::machine::IgnoredTasks;
use super::watch::Snapshot;
use crate::context::Context;
use crate::model::task_spec_id::TaskSpecId;
use crate::swarm::{Swarm, Task};
use crate::words;

/// How many of a task's last lines are kept.
const LINES: usize = 10;

/// Longest line that is kept, in characters.
const MAX_CHARS: usize = 300;

/// How long is waited for them: the engine waits for a node that has just gone away.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was said.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    /// The last lines of the task's output.
    pub(super) log: Vec<String>,
    /// The last output of its health check, if it can be known here.
    pub(super) health: Option<String>,
}

/// The last words of the task with this mark that has failed and whose end counts, or else of the one that is not ready
/// yet. Not having them is no failure.
pub(super) async fn last_words<S: Swarm, R>(
    context: &Context<S, R>,
    (spec_id, ignored_tasks): (&TaskSpecId, &IgnoredTasks),
    snapshot: &Snapshot,
    id: &str,
) -> LastWords {
    let seen = snapshot.of(id);
    let Some(task) =
        machine::failed_task(spec_id, ignored_tasks, &seen).or_else(|| machine::unready_task(spec_id, &seen))
    else {
        return LastWords::default();
    };
    if task.node_id.is_empty() {
        return LastWords::default();
    }
    let log = timeout(PATIENCE, context.swarm.task_log(&task.id, LINES));
    let (log, health) = tokio::join!(log, health(context, task));
    let lines = log.ok().and_then(Result::ok).unwrap_or_default();
    let kept = lines[lines.len().saturating_sub(LINES)..].iter().map(|line| words::line(line, MAX_CHARS));
    LastWords { log: kept.filter(|line| !line.is_empty()).collect(), health }
}

/// The last output of the health check of a task with this mark that is not ready yet, if it can be known here.
pub(super) async fn of_unready<S: Swarm, R>(
    context: &Context<S, R>,
    spec_id: &TaskSpecId,
    snapshot: &Snapshot,
    id: &str,
) -> Option<String> {
    let seen = snapshot.of(id);
    health(context, machine::unready_task(spec_id, &seen)?).await
}

/// The last output of a task's health check, if it can be known here.
async fn health<S: Swarm, R>(context: &Context<S, R>, task: &Task) -> Option<String> {
    let output = timeout(PATIENCE, context.swarm.health_output(&task.id)).await.ok()?.ok()??;
    let output = words::line(&output, MAX_CHARS);
    (!output.is_empty()).then_some(output)
}
