//! Whatever is seen, in whatever order, sense or nonsense: the machine's rules hold. Most of these end after a look or two;
//! `any_story` is about what could be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rules::WatchedUpdate;
use super::*;
use crate::model::task_spec_id::TaskSpecId;
use crate::rollout::samples::{NEW, OLD, global, nodes_without, ran, replicas, service_from, spec, task};
use crate::swarm::{Service, Task, TaskState};

const THIRD: &str = "app:2";

/// One look.
#[derive(Clone, Debug)]
struct Look {
    after_seconds: u64,
    is_there: bool,
    image: &'static str,
    force_update: u64,
    mode: Value,
    previous: Option<&'static str>,
    status: Option<(&'static str, &'static str)>,
    tasks: Vec<Task>,
    nodes_away: Vec<&'static str>,
}

fn any_task() -> impl Strategy<Value = Task> {
    let state = prop::sample::select(vec![
        TaskState::Unknown,
        TaskState::Pending,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Running,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Orphaned,
    ]);
    let desired = prop::sample::select(vec![
        TaskState::Ready,
        TaskState::Running,
        TaskState::Running,
        TaskState::Shutdown,
        TaskState::Remove,
    ]);
    let image = prop::sample::select(vec![OLD, NEW, NEW, THIRD]);
    let node = prop::sample::select(vec!["n1", "n2", "n3", "n9", ""]);
    let error = prop::sample::select(vec!["", "task: non-zero exit (1)", "unhealthy", "No such image"]);
    (0..4_u32, image, 1..4_u64, 0..3_u64, state, desired, node, error, prop::option::of(0..3_i64)).prop_map(
        |(id, image, slot, force_update, state, desired, node, error, exit_code)| Task {
            force_update,
            state,
            desired,
            node_id: node.to_owned(),
            error: error.to_owned(),
            exit_code,
            ..task(&id.to_string(), image, slot)
        },
    )
}

fn any_look() -> impl Strategy<Value = Look> {
    let image = prop::sample::select(vec![OLD, NEW, NEW, NEW, NEW, THIRD]);
    let mode =
        prop::sample::select(vec![replicas(0), replicas(1), replicas(1), replicas(2), global(), json!({})]);
    let state = prop::sample::select(vec![
        "updating",
        "updating",
        "updating",
        "paused",
        "completed",
        "completed",
        "rollback_started",
        "rollback_paused",
        "rollback_completed",
        "strange",
    ]);
    let message = prop::sample::select(vec!["", "manually requested rollback", "due to failure"]);
    let status = prop::option::weighted(0.8, (state, message));
    let previous = prop::option::of(prop::sample::select(vec![OLD, NEW, THIRD]));
    let nodes_away = prop::sample::subsequence(vec!["n1", "n2", "n3"], 0..=3);
    let tasks = prop::collection::vec(any_task(), 0..5);
    let times = (0..90_u64, prop::bool::weighted(0.99));
    (times, image, 0..3_u64, mode, previous, status, tasks, nodes_away).prop_map(
        |((after_seconds, is_there), image, force_update, mode, previous, status, tasks, nodes_away)| Look {
            after_seconds,
            is_there,
            image,
            force_update,
            mode,
            previous,
            status,
            tasks,
            nodes_away,
        },
    )
}

impl Look {
    fn service(&self) -> Service {
        let full = |image: &str| {
            let mut spec = spec(image, &self.mode);
            spec["TaskTemplate"]["ForceUpdate"] = self.force_update.into();
            spec
        };
        let mut json = json!({ "Spec": full(self.image) });
        if let Some(image) = self.previous {
            json["PreviousSpec"] = full(image);
        }
        if let Some((state, message)) = self.status {
            json["UpdateStatus"] = json!({ "State": state, "Message": message });
        }
        service_from(&json)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_rules_hold(
        looks in prop::collection::vec(any_look(), 1..80),
        timeout in prop::option::of(1..600_u64),
        may_roll_back: bool,
        is_same_image: bool,
        swarm_is_faster: bool,
    ) {
        let mut now = Instant::now();
        let (replaced, force_update) = if is_same_image { (NEW, 1) } else { (OLD, 0) };
        let sent_update = SentUpdate {
            sent: TaskSpecId { image: NEW.to_owned(), force_update },
            replaced: TaskSpecId { image: replaced.to_owned(), force_update: 0 },
            sent_at: now,
            timeout: timeout.map(Duration::from_secs),
            may_roll_back,
            whole: None,
            before: ran(2),
            has_account: false,
            side_by_side: None,
        };
        let mut watched = WatchedUpdate::new(sent_update, swarm_is_faster);
        for look in &looks {
            now += Duration::from_secs(look.after_seconds);
            let nodes = nodes_without(3, &look.nodes_away);
            let step = watched.look(&look.service(), look.is_there, (&look.tasks, &nodes), now)?;
            if let Step::Finish(_) = step {
                return Ok(());
            }
        }
    }
}
