//! Whatever is seen, in whatever order: the machine's rules hold.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cycle::rollout::samples::{NEW, OLD, global, nodes_without, replicas, service_from, spec, task};
use crate::swarm::TaskState;

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

/// What has happened so far, as the rules see it.
#[derive(Default)]
struct Story {
    /// A rollback by the swarm was seen, or one by anybody that took our image away.
    saw_rollback: bool,
    saw_rollback_by_swarm: bool,
    rollbacks: usize,
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
        let start = Instant::now();
        let (replaced, force_update) = if is_same_image { (NEW, 1) } else { (OLD, 0) };
        let terms = Terms {
            sent: Mark { image: NEW.to_owned(), force_update },
            replaced: Mark { image: replaced.to_owned(), force_update: 0 },
            sent_at: start,
            timeout: timeout.map(Duration::from_secs),
            may_roll_back,
        };
        let mut machine = Machine::new(terms.clone());
        let mut story = Story::default();
        let mut now = start;
        let mut deadline = terms.timeout.map(|timeout| start + timeout);
        for look in &looks {
            now += Duration::from_secs(look.after_seconds);
            let service = look.service();
            let facts = service.spec.facts().clone();
            let nodes = nodes_without(3, &look.nodes_away);
            let seen = Seen { service: look.is_there.then_some(&service), tasks: &look.tasks, nodes: &nodes };
            let convergence = judge(&service, &look.tasks, &nodes);
            if look.is_there {
                let is_rollback = service.update.as_ref().is_some_and(|status| status.state.is_rollback());
                let is_by_swarm = service.rollback_by_swarm().is_some();
                story.saw_rollback |= is_by_swarm || (is_rollback && !terms.is_sent(&facts));
                story.saw_rollback_by_swarm |= is_by_swarm;
            }
            let was_rolling_back = machine.is_rolling_back();

            let step = machine.step(&seen, now);

            match &step {
                Step::Wait => {}
                Step::RollBack => {
                    prop_assert!(may_roll_back);
                    story.rollbacks += 1;
                    prop_assert_eq!(story.rollbacks, 1, "never a second time");
                    prop_assert!(terms.is_sent(&facts), "never over somebody else's image");
                    prop_assert!(machine.cause().is_some());
                    machine.rollback_sent(if swarm_is_faster { By::Swarm } else { By::Gantry }, now);
                }
                Step::Finish(outcome) => {
                    match outcome {
                        Outcome::Updated => {
                            prop_assert!(!story.saw_rollback && story.rollbacks == 0);
                            prop_assert!(terms.is_sent(&facts));
                            let has_converged = matches!(convergence, Convergence::Converged { .. });
                            prop_assert!(has_converged, "{convergence:?}");
                        }
                        Outcome::RolledBack { by, .. } => {
                            prop_assert!(terms.is_replaced(&facts));
                            prop_assert!(!matches!(convergence, Convergence::Waiting(_)));
                            match by {
                                By::Gantry => prop_assert!(story.rollbacks == 1 && !swarm_is_faster),
                                By::Swarm => prop_assert!(story.saw_rollback_by_swarm || story.rollbacks == 1),
                            }
                        }
                        Outcome::RollbackFailed { .. } => {
                            prop_assert!(story.rollbacks == 1 || story.saw_rollback_by_swarm);
                        }
                        Outcome::Failed { .. } => prop_assert!(!may_roll_back && story.rollbacks == 0),
                        Outcome::Superseded(_) => {
                            let is_ours = terms.is_sent(&facts) && story.rollbacks == 0;
                            prop_assert!(!is_ours || story.saw_rollback_by_swarm);
                        }
                        Outcome::Started(_) => {
                            prop_assert!(matches!(convergence, Convergence::Nothing(_)));
                            prop_assert!(terms.is_sent(&facts) && !story.saw_rollback);
                        }
                        Outcome::Removed => prop_assert!(!look.is_there),
                        Outcome::Unchanged(_) | Outcome::Interrupted => prop_assert!(false, "not its to say"),
                    }
                    return Ok(());
                }
            }
            let begins_to_roll_back = machine.is_rolling_back() && !was_rolling_back;
            if begins_to_roll_back {
                deadline = terms.timeout.map(|timeout| now + timeout);
            } else {
                // Where all run at the deadline, it is waited until it is known whether they stay up.
                let is_monitored = matches!(convergence, Convergence::Converged { .. });
                let more = if is_monitored { facts.monitor() } else { Duration::ZERO };
                prop_assert!(deadline.is_none_or(|deadline| now < deadline + more), "a time limit ends it");
            }
        }
    }
}
