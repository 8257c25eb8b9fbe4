//! What the task history of a service tells of its last change. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::before::RECENT;
use crate::model::cause::Cause;
use crate::model::down_nodes::DownNodes;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::timing::proof_time;
use crate::swarm::{Mode, Nodes, RestartCondition, Service, Task, TaskState};

/// So many failures of one place, as far as the swarm remembers them, are no chance, however long its task runs now.
const OFTEN: usize = 3;

/// How long a task has run that is well, whatever became of those before it.
const WELL: Duration = Duration::from_secs(1800);

/// What the task history of a service tells of its last change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskHistory {
    /// The image and forced-update counter of a task that failed before the last change. A rollback by the swarm deletes
    /// the specification that had them.
    pub failed: Option<TaskSpecId>,
    /// The same of the latest task that the last change replaces, failed or not.
    pub replaced: Option<TaskSpecId>,
    /// Whether in each place a task of the present specification has run so long that the update must have ended.
    pub has_held: bool,
    /// Whether in each place a task of the present specification runs, and has run through the monitor period.
    pub runs: bool,
    /// Whether a rollback has had all the time that it needs.
    pub is_spent: bool,
    /// Why the latest task of the present specification failed, where its program is to blame and the tasks of the
    /// replaced specification did not fail. `None` as well where all tasks have recovered.
    pub failure: Option<String>,
}

impl TaskHistory {
    /// Reads the tasks of a service at the time `now`, by the engine's clock.
    pub fn of(service: &Service, tasks: &[Task], now: Timestamp) -> Self {
        let facts = service.spec.facts();
        let own: Vec<&Task> = tasks.iter().collect();
        let present = TaskSpecId::of(facts);
        let others: Vec<&Task> = own.iter().copied().filter(|task| !present.is_on(task)).collect();
        let ended = others.iter().filter(|task| task.has_ended());
        let failed = ended.max_by_key(|task| (task.has_failed(), task.created_at));
        let replaced = others.iter().max_by_key(|task| task.created_at);
        let spec_id =
            |task: &&Task| TaskSpecId { image: task.image.clone(), force_update: task.force_update };
        let proof = proof_time(facts);
        let has_lived = |task: &Task| task.state >= TaskState::Running && lived(task, now) >= Some(proof);
        let has_recovered = in_each_place(service, &own, |task| {
            task.is_wanted() && task.state == TaskState::Running && has_lived(task)
        });
        Self {
            failed: failed.map(spec_id),
            replaced: replaced.map(spec_id),
            has_held: in_each_place(service, &own, has_lived),
            runs: in_each_place(service, &own, |task| {
                task.is_wanted()
                    && task.state == TaskState::Running
                    && is_of_this_change(service, task, &others)
                    && lived(task, now) >= Some(facts.monitor())
            }),
            is_spent: began(service, replaced.copied()).is_some_and(|began| {
                Duration::try_from(now.duration_since(began)).is_ok_and(|since| since >= proof)
            }),
            failure: failure(service, &own, has_recovered, now),
        }
    }
}

/// Whether in each place of the service a task of its present specification is so.
fn in_each_place(service: &Service, tasks: &[&Task], is_so: impl Fn(&Task) -> bool) -> bool {
    let facts = service.spec.facts();
    let present = TaskSpecId::of(facts);
    let mut places: BTreeMap<(u64, &str), bool> = BTreeMap::new();
    for task in tasks.iter().filter(|task| present.is_on(task)) {
        let node = if facts.mode == Mode::Global { task.node_id.as_str() } else { "" };
        *places.entry((task.slot, node)).or_default() |= is_so(task);
    }
    let desired = service.status.map_or(0, |status| status.desired);
    places.into_values().filter(|is_good| *is_good).count() as u64 >= desired.max(1)
}

/// How long a task has run, or existed until its end.
fn lived(task: &Task, now: Timestamp) -> Option<Duration> {
    let (begun, ended) = match task.state {
        TaskState::Running => (task.since?, now),
        _ => (task.created_at?, task.since?),
    };
    Duration::try_from(ended.duration_since(begun)).ok()
}

/// Whether a task belongs to the last change. Where the image and the counter stayed the same, only the time can tell.
fn is_of_this_change(service: &Service, task: &Task, others: &[&Task]) -> bool {
    let Some(status) = service.update.as_ref().filter(|status| !status.state.is_rollback()) else {
        return true;
    };
    let has_other_tasks = service.previous.as_ref().map_or(!others.is_empty(), |previous| {
        TaskSpecId::of_spec(previous) != TaskSpecId::of(service.spec.facts())
    });
    has_other_tasks || status.started.is_none_or(|started| task.created_at >= Some(started))
}

/// When a rollback began: after the last task was made that it replaces.
fn began(service: &Service, replaced: Option<&Task>) -> Option<Timestamp> {
    let made = replaced.and_then(|task| task.created_at);
    made.or_else(|| service.update.as_ref().and_then(|status| status.started))
}

/// Why the latest task of the present specification failed, as [`TaskHistory::failure`] says it.
fn failure(service: &Service, tasks: &[&Task], has_recovered: bool, now: Timestamp) -> Option<String> {
    let facts = service.spec.facts();
    let present = TaskSpecId::of(facts);
    if facts.mode == Mode::Job || facts.restart_condition == RestartCondition::None {
        return None;
    }
    // Which nodes were down meanwhile is not known any more: in doubt it was the node.
    let has_failed = |task: &Task| {
        if facts.restart_condition == RestartCondition::OnFailure && !task.has_failed() {
            return false;
        }
        let cause = Cause::of_task(task, facts, &Nodes::default()).filter(|_| task.has_ended());
        cause.is_some_and(|cause| cause.with(&DownNodes::since_later()).blames_image())
    };
    let replaced = service.previous.as_ref().map(TaskSpecId::of_spec);
    let is_replaced =
        |task: &Task| replaced.as_ref().map_or(!present.is_on(task), |spec_id| spec_id.is_on(task));
    let began = service.update.as_ref().and_then(|status| status.started);
    // A task that failed long before the update says nothing of how the service was.
    let is_of_then = |task: &Task| {
        let age = began.zip(task.since).map(|(began, end)| began.duration_since(end));
        age.is_none_or(|age| Duration::try_from(age).unwrap_or_default() < RECENT)
    };
    if tasks.iter().any(|task| is_replaced(task) && is_of_then(task) && has_failed(task)) {
        return None;
    }
    let place = |task: &Task| {
        (task.slot, if facts.mode == Mode::Global { task.node_id.clone() } else { String::new() })
    };
    // What has run for long is well, whatever came before.
    let is_well = |task: &&&Task| {
        let runs = present.is_on(task) && task.is_wanted() && task.state == TaskState::Running;
        runs && lived(task, now) >= Some(WELL)
    };
    let well: BTreeSet<(u64, String)> = tasks.iter().filter(is_well).map(|task| place(task)).collect();
    let is_own = |task: &&&Task| present.is_on(task) && has_failed(task) && !well.contains(&place(task));
    let own: Vec<&&Task> = tasks.iter().filter(is_own).collect();
    let in_place = |task: &Task| own.iter().filter(|other| place(other) == place(task)).count();
    if has_recovered && own.iter().all(|task| in_place(task) < OFTEN) {
        return None;
    }
    own.into_iter().max_by_key(|task| task.created_at).map(|task| {
        match (task.error.as_str(), task.exit_code) {
            ("", Some(code)) => format!("a task ended with exit code {code}"),
            ("", None) => "a task ended".to_owned(),
            (error, _) => format!("a task failed: {error}"),
        }
    })
}
