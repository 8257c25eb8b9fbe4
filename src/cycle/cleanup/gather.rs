//! What the removers of all nodes report.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use super::cleaned::Cleaned;
use crate::context::Context;
use crate::cycle::remover::Removal;
use crate::swarm::{Node, Nodes, Swarm, SwarmError, Task, TaskState};

/// How long all nodes together may take. A node that is slower is named, and the next cleaning tries again.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// From one look at the removers to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How many lines of a remover's output are read.
const LOG_LINES: usize = 200;

/// How long one node's output is waited for at a time: a node that is lost answers only after a minute.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// How many nodes are asked for their output at once.
const AT_ONCE: usize = 16;

/// How long after a task's end its output may arrive.
const LOG_DELAY: Duration = Duration::from_secs(2);

/// Collects the removers' reports until every node has given one that is not down and takes tasks. An engine that is
/// away meanwhile is asked again.
pub(super) async fn gather<S: Swarm, R>(
    context: &Context<S, R>,
    id: &str,
    cleaned: &mut Cleaned,
) -> Result<()> {
    let begun = Instant::now();
    let mut ended = BTreeMap::new();
    loop {
        tokio::select! {
            () = sleep(LOOK_INTERVAL) => {}
            () = context.stop.cancelled() => {}
        }
        context.beat();
        let is_last_look = begun.elapsed() >= TIME_LIMIT || context.stop.is_cancelled();
        let (nodes, tasks) = match look(&*context.swarm, id).await {
            Err(error) if error.is_transient() && !is_last_look => continue,
            seen => seen?,
        };
        take_reports(context, &nodes, &tasks, cleaned, &mut ended).await;
        // With constraints, the swarm makes tasks for some nodes only, all of them at once.
        let is_chosen = |node: &Node| {
            !context.config.cleanup.options.has("constraint")
                || tasks.is_empty()
                || tasks.iter().any(|task| task.node_id == node.id)
        };
        // A node is unknown for a moment after a change of leader, and has its task all the same.
        cleaned.silent = nodes
            .iter()
            .filter(|node| !node.is_down && node.is_active && is_chosen(node))
            .filter(|node| !cleaned.nodes.contains_key(&node.name))
            .map(|node| node.name.clone())
            .collect();
        if cleaned.silent.is_empty() {
            return Ok(());
        }
        if is_last_look {
            cleaned.silent.sort();
            let why: BTreeSet<&str> =
                tasks.iter().map(|task| task.error.as_str()).filter(|error| !error.is_empty()).collect();
            let silent = cleaned.silent.join(", ");
            let told: Vec<&str> = std::iter::once(silent.as_str()).chain(why).collect();
            bail!("no report from {}", told.join("; "));
        }
    }
}

async fn look<S: Swarm>(swarm: &S, id: &str) -> Result<(Nodes, Vec<Task>), SwarmError> {
    let nodes = swarm.nodes().await?.into_iter().collect();
    Ok((nodes, swarm.tasks(&[id.to_owned()]).await?))
}

/// Reads the output of the tasks whose node has not reported yet, several at once. `ended` says since when tasks are seen
/// to have ended.
async fn take_reports<S: Swarm, R>(
    context: &Context<S, R>,
    nodes: &Nodes,
    tasks: &[Task],
    cleaned: &mut Cleaned,
    ended: &mut BTreeMap<String, Instant>,
) {
    let asked: Vec<(Task, String)> = tasks
        .iter()
        .filter(|task| task.state >= TaskState::Running && !nodes.is_down(&task.node_id))
        .map(|task| (task.clone(), nodes.name(&task.node_id).to_owned()))
        .filter(|(_, node)| !cleaned.nodes.contains_key(node))
        .collect();
    let answers = stream::iter(asked)
        .map(|(task, node)| async move {
            let said = said(&*context.swarm, &task).await;
            context.beat();
            (task, node, said)
        })
        .buffer_unordered(AT_ONCE)
        .take_until(context.stop.cancelled());
    let mut answers = pin!(answers);
    while let Some((task, node, said)) = answers.next().await {
        if let Some(removal) = said.or_else(|| end_of(&task, ended)) {
            cleaned.nodes.insert(node, removal);
        }
    }
}

/// What a node's remover has printed; `None`: nothing yet, or it cannot be told now.
async fn said<S: Swarm>(swarm: &S, task: &Task) -> Option<Removal> {
    let has_container = !task.has_failed() || task.exit_code.is_some();
    if !has_container {
        return None;
    }
    let lines = timeout(LOG_LIMIT, swarm.task_log(&task.id, LOG_LINES)).await.ok()?.ok()?;
    lines.iter().find_map(|line| Removal::from_line(line))
}

/// What the end of a remover tells that has printed nothing: a remover stays until it is removed.
fn end_of(task: &Task, ended: &mut BTreeMap<String, Instant>) -> Option<Removal> {
    if task.has_failed() {
        return Some(Removal::failed(&task.error));
    }
    if task.state != TaskState::Complete
        || ended.entry(task.id.clone()).or_insert_with(Instant::now).elapsed() < LOG_DELAY
    {
        return None;
    }
    let why = "the image remover has ended without a report; is that an image of Gantry";
    Some(Removal::none(&format!("{why} (GANTRY_CLEANUP_IMAGES_REMOVER)? {}", task.image)))
}
