use serde_json::{Value, json};

use super::*;
use crate::model::cause::Cause;
use crate::model::task_spec_id::TaskSpecId;
use crate::rollout::samples::ran;
use crate::swarm::{Node, Nodes, Service, Task, TaskState};

const OLD: &str = "app:1@sha256:old";
const NEW: &str = "app:1@sha256:new";

/// What is seen of a service with two tasks and a monitor of five seconds.
#[derive(Clone, Debug)]
struct View {
    image: &'static str,
    previous: Option<&'static str>,
    status: Option<(&'static str, &'static str)>,
    tasks: Vec<Task>,
}

fn view(image: &'static str, status: Option<&'static str>, tasks: Vec<Task>) -> View {
    View { image, previous: None, status: status.map(|state| (state, "")), tasks }
}

impl View {
    fn previous(mut self, image: &'static str) -> Self {
        self.previous = Some(image);
        self
    }

    fn service(&self) -> Service {
        let spec = |image: &str| {
            json!({
                "Name": "web",
                "TaskTemplate": { "ContainerSpec": { "Image": image } },
                "Mode": { "Replicated": { "Replicas": 2 } },
            })
        };
        let mut json = json!({ "ID": "s", "Version": { "Index": 1 }, "Spec": spec(self.image) });
        if let Some(image) = self.previous {
            json["PreviousSpec"] = spec(image);
        }
        if let Some((state, message)) = self.status {
            json["UpdateStatus"] = json!({ "State": state, "Message": message });
        }
        Service::from_json(&json.to_string()).unwrap()
    }
}

fn task(id: &str, image: &str, slot: u64, state: TaskState, desired: TaskState) -> Task {
    Task {
        id: id.to_owned(),
        service_id: "s".to_owned(),
        slot,
        node_id: "n1".to_owned(),
        image: image.to_owned(),
        force_update: 0,
        desired,
        state,
        since: None,
        message: String::new(),
        error: if state == TaskState::Failed { "task: non-zero exit (1)".to_owned() } else { String::new() },
        exit_code: (state == TaskState::Failed).then_some(1),
        created_at: None,
        reserved: crate::swarm::claims::Resources::default(),
    }
}

fn running(image: &str) -> Vec<Task> {
    (1..=2)
        .map(|slot| task(&format!("{image}{slot}"), image, slot, TaskState::Running, TaskState::Running))
        .collect()
}

fn crashed(image: &str) -> Vec<Task> {
    vec![task("crashed", image, 1, TaskState::Failed, TaskState::Shutdown)]
}

fn nodes() -> Nodes {
    let node = Node {
        id: "n1".into(),
        name: "node1".into(),
        version: 1,
        is_ready: true,
        is_down: false,
        is_active: true,
        ..Node::default()
    };
    [node].into_iter().collect()
}

fn machine(timeout: Option<u64>, may_roll_back: bool, now: Instant) -> Machine {
    Machine::new(SentUpdate {
        sent: TaskSpecId { image: NEW.into(), force_update: 0 },
        replaced: TaskSpecId { image: OLD.into(), force_update: 0 },
        sent_at: now,
        timeout: timeout.map(Duration::from_secs),
        may_roll_back,
        whole: None,
        before: ran(2),
        has_account: false,
        side_by_side: None,
    })
}

/// Shows the views to a machine, each so many seconds after the first, and returns the last step. Rollbacks
/// count as sent at once.
fn play(mut machine: Machine, start: Instant, views: &[(u64, View)]) -> Step {
    let mut last = Step::Wait;
    for (second, view) in views {
        let now = start + Duration::from_secs(*second);
        let service = view.service();
        let nodes = nodes();
        last = machine.step(&ServiceView { service: Some(&service), tasks: &view.tasks, nodes: &nodes }, now);
        match last {
            Step::RollBack => machine.rollback_sent(By::Gantry, now),
            Step::Finish(_) => return last,
            Step::SendAgain(_) | Step::GoOn(_) => machine.resumed(),
            Step::Wait | Step::RenewAccount => {}
        }
    }
    last
}

fn both(one: Vec<Task>, other: Vec<Task>) -> Vec<Task> {
    one.into_iter().chain(other).collect()
}

fn assert_finish(step: &Step, is_expected: impl Fn(&Outcome) -> bool) {
    match step {
        Step::Finish(outcome) if is_expected(outcome) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_completed_update_whose_tasks_run_is_updated_at_once() {
    let start = Instant::now();
    let mixed = both(running(NEW), running(OLD));
    let step = play(
        machine(None, true, start),
        start,
        &[
            (1, view(NEW, Some("updating"), mixed)),
            (5, view(NEW, Some("updating"), running(NEW))),
            (9, view(NEW, Some("completed"), running(NEW))),
        ],
    );
    assert_finish(&step, |outcome| *outcome == Outcome::Updated);
}

#[test]
fn running_tasks_are_not_enough_while_the_swarm_still_watches_them() {
    let start = Instant::now();
    let watched: Vec<_> = (1..60).map(|s| (s, view(NEW, Some("updating"), running(NEW)))).collect();
    assert_eq!(play(machine(None, true, start), start, &watched[..30]), Step::Wait);
    // It may go on watching for hours, for a task on a node that was lost.
    assert_finish(&play(machine(None, true, start), start, &watched), |outcome| *outcome == Outcome::Updated);
}

#[test]
fn completed_is_not_believed_while_old_tasks_are_wanted_or_new_ones_away() {
    let start = Instant::now();
    for tasks in [both(running(NEW), running(OLD)), running(NEW)[..1].to_vec(), Vec::new()] {
        let step = play(machine(None, true, start), start, &[(9, view(NEW, Some("completed"), tasks))]);
        assert_eq!(step, Step::Wait);
    }
}

#[test]
fn completed_with_tasks_that_keep_crashing_is_a_failure_after_the_settling_time() {
    let start = Instant::now();
    let views: Vec<_> = (1..60).map(|s| (s, view(NEW, Some("completed"), crashed(NEW)))).collect();
    let step = play(machine(None, false, start), start, &views);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::Failed { cause: Cause::TaskFailed { .. } }));
}

#[test]
fn a_task_that_failed_once_and_then_stays_up_through_the_monitor_is_updated() {
    let start = Instant::now();
    let tasks = both(crashed(NEW), running(NEW));
    let look = |second| (second, view(NEW, Some("completed"), tasks.clone()));
    assert_eq!(play(machine(None, true, start), start, &[look(1), look(5)]), Step::Wait);
    let step = play(machine(None, true, start), start, &[look(1), look(6)]);
    assert_finish(&step, |outcome| *outcome == Outcome::Updated);
}

#[test]
fn without_a_status_the_monitor_period_is_ours_to_wait() {
    let start = Instant::now();
    let look = |second| (second, view(NEW, None, running(NEW)));
    assert_eq!(play(machine(None, true, start), start, &[look(1), look(5)]), Step::Wait);
    let step = play(machine(None, true, start), start, &[look(1), look(6)]);
    assert_finish(&step, |outcome| *outcome == Outcome::Updated);
}

#[test]
fn a_rollback_by_the_swarm_is_never_updated_and_never_rolled_back_again() {
    let start = Instant::now();
    let failed = both(crashed(NEW), running(OLD));
    let step = play(
        machine(None, true, start),
        start,
        &[
            (1, view(NEW, Some("updating"), failed.clone())),
            (2, view(OLD, Some("rollback_started"), failed.clone())),
            (8, view(OLD, Some("rollback_completed"), failed.clone())),
        ],
    );
    assert_finish(&step, |outcome| {
        matches!(outcome, Outcome::RolledBack { by: By::Swarm, cause: Cause::TaskFailed { .. } })
    });
    // Seen only when it was over.
    let step = play(
        machine(None, true, start),
        start,
        &[
            (8, view(OLD, Some("rollback_completed"), failed.clone())),
            (9, view(OLD, Some("rollback_completed"), failed)),
        ],
    );
    assert_finish(&step, |outcome| matches!(outcome, Outcome::RolledBack { by: By::Swarm, .. }));
}

#[test]
fn a_rollback_that_leaves_a_previous_specification_was_asked_for_by_somebody() {
    let start = Instant::now();
    let seen = view(OLD, Some("rollback_completed"), running(OLD)).previous(NEW);
    let step = play(machine(None, true, start), start, &[(8, seen)]);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::Superseded(_)));
}

#[test]
fn a_paused_rollback_whose_old_tasks_come_back_is_rolled_back() {
    let start = Instant::now();
    let dead = both(crashed(NEW), crashed(OLD));
    let paused = |tasks: Vec<Task>| view(OLD, Some("rollback_paused"), tasks);
    // The lock is held for a moment. Swarm pauses, and starts the task again five seconds later.
    let back = both(dead.clone(), running(OLD));
    let views = [
        (1, view(NEW, Some("paused"), crashed(NEW))),
        (2, paused(dead.clone())),
        (9, paused(back.clone())),
        (13, paused(back.clone())),
    ];
    assert_eq!(play(machine(None, true, start), start, &views), Step::Wait);
    let views = [&views[..], &[(14, paused(back))]].concat();
    let step = play(machine(None, true, start), start, &views);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::RolledBack { by: By::Gantry, .. }));
    // By the swarm, and found by a later run.
    let found = || {
        let sent_update = machine(None, true, start).sent_update;
        Machine::rolling_back(sent_update, By::Swarm, String::new())
    };
    let step = play(found(), start, &views[1..]);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::RolledBack { by: By::Swarm, .. }));
}

#[test]
fn a_paused_rollback_whose_old_tasks_keep_failing_has_failed_and_acquits_the_image() {
    let start = Instant::now();
    let dead = both(crashed(NEW), crashed(OLD));
    let look = |second| (second, view(OLD, Some("rollback_paused"), dead.clone()));
    let mut views = vec![(1, view(NEW, Some("paused"), crashed(NEW))), look(2), look(91)];
    assert_eq!(play(machine(None, true, start), start, &views), Step::Wait);
    views.push(look(92));
    let step = play(machine(None, true, start), start, &views);
    assert_finish(&step, |outcome| match outcome {
        Outcome::RollbackFailed { cause: Cause::AsBefore { .. }, why } => why.blames_image(),
        _ => false,
    });
}

#[test]
fn a_paused_rollback_goes_on_with_the_others_when_its_first_task_runs() {
    let start = Instant::now();
    let first = vec![running(OLD)[0].clone(), running(NEW)[1].clone()];
    let paused = |second| (second, view(OLD, Some("rollback_paused"), both(crashed(OLD), first.clone())));
    let views = [(1, view(NEW, Some("paused"), crashed(NEW))), paused(2), paused(6), paused(7)];
    assert_eq!(play(machine(None, true, start), start, &views[..3]), Step::Wait);
    let step = play(machine(None, true, start), start, &views);
    assert!(matches!(step, Step::SendAgain(_)), "{step:?}");
}

fn look(machine: &mut Machine, now: Instant, view: &View) -> Step {
    machine.step(&ServiceView { service: Some(&view.service()), tasks: &view.tasks, nodes: &nodes() }, now)
}

/// A machine whose rollback has failed, and whose service is given another account a minute after the start.
fn renewed(start: Instant) -> Machine {
    let mut machine = machine(None, true, start);
    let after = |second| start + Duration::from_secs(second);
    assert_eq!(look(&mut machine, after(1), &view(NEW, Some("paused"), crashed(NEW))), Step::RollBack);
    machine.rollback_sent(By::Gantry, start);
    let ended = view(OLD, Some("rollback_completed"), crashed(OLD));
    assert_eq!(look(&mut machine, after(2), &ended), Step::Wait);
    assert_eq!(look(&mut machine, after(59), &ended), Step::Wait);
    machine.account_renewed(true, after(60));
    machine
}

#[test]
fn a_failed_rollback_is_judged_again_when_its_service_was_given_another_account() {
    let start = Instant::now();
    let (mut machine, after) = (renewed(start), |second| start + Duration::from_secs(second));
    // The swarm says nothing of a change of the account alone.
    assert_eq!(look(&mut machine, after(61), &view(OLD, None, crashed(OLD))), Step::Wait);
    let runs = view(OLD, None, both(crashed(OLD), running(OLD)));
    assert_eq!(look(&mut machine, after(62), &runs), Step::Wait);
    let step = look(&mut machine, after(70), &runs);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::RolledBack { by: By::Gantry, .. }));
}

#[test]
fn how_tasks_ended_that_had_another_account_does_not_count_however_long_the_next_ones_pull() {
    let start = Instant::now();
    let (mut machine, after) = (renewed(start), |second| start + Duration::from_secs(second));
    let pulls = vec![task("pulls", OLD, 1, TaskState::Preparing, TaskState::Running)];
    let pulls = view(OLD, None, both(crashed(OLD), pulls));
    for second in [61, 120, 600] {
        assert_eq!(look(&mut machine, after(second), &pulls), Step::Wait, "{second} s");
    }
    let fails = vec![task("pulls", OLD, 1, TaskState::Failed, TaskState::Shutdown)];
    let fails = view(OLD, None, both(crashed(OLD), fails));
    // The swarm starts it again for a while.
    for second in [601, 650, 690] {
        assert_eq!(look(&mut machine, after(second), &fails), Step::Wait, "{second} s");
    }
    let step = look(&mut machine, after(691), &fails);
    assert_finish(&step, |outcome| matches!(outcome, Outcome::RollbackFailed { .. }));
}

#[test]
fn a_time_out_is_judged_on_what_is_seen_now_and_not_on_the_clock_alone() {
    let start = Instant::now();
    // The engine was away past the deadline, and the update has come to its good end meanwhile.
    let step = play(
        machine(Some(60), true, start),
        start,
        &[(1, view(NEW, Some("updating"), running(OLD))), (600, view(NEW, Some("completed"), running(NEW)))],
    );
    assert_finish(&step, |outcome| *outcome == Outcome::Updated);
    let step =
        play(machine(Some(60), true, start), start, &[(60, view(NEW, Some("updating"), running(OLD)))]);
    assert_eq!(step, Step::RollBack);
}

#[test]
fn a_service_that_is_gone_was_removed_in_every_state() {
    let start = Instant::now();
    let gone = ServiceView { service: None, tasks: &[], nodes: &nodes() };
    assert_eq!(machine(None, true, start).step(&gone, start), Step::Finish(Outcome::Removed));
    let mut failed = machine(None, true, start);
    let paused = view(NEW, Some("paused"), crashed(NEW));
    let seen = ServiceView { service: Some(&paused.service()), tasks: &paused.tasks, nodes: &nodes() };
    assert_eq!(failed.step(&seen, start), Step::RollBack);
    failed.rollback_sent(By::Gantry, start);
    // What has failed stays failed.
    assert_finish(
        &failed.step(&gone, start),
        |outcome| matches!(outcome, Outcome::Overtaken { how, .. } if how == "the service was removed"),
    );
}

/// A service as the engine shows it after an update, with ports and a label, and with the command before.
fn shown(args: &str, label: &str, previous: &Value) -> Service {
    let json = json!({
        "ID": "s",
        "Version": { "Index": 3 },
        "Spec": {
            "Name": "web",
            "Labels": { "label": label },
            "TaskTemplate": { "ContainerSpec": { "Image": NEW, "Args": [args] } },
            "Mode": { "Replicated": { "Replicas": 2 } },
            "EndpointSpec": { "Mode": "vip", "Ports": [{ "TargetPort": 80, "PublishMode": "ingress" }] },
        },
        "PreviousSpec": previous,
        "UpdateStatus": { "State": "updating", "Message": "update in progress" },
    });
    Service::from_json(&json.to_string()).unwrap()
}

#[test]
fn what_the_engine_makes_of_a_specification_is_no_change_by_somebody_else() {
    let replaced = json!({
        "Name": "web",
        "TaskTemplate": { "ContainerSpec": { "Image": OLD } },
        "Mode": { "Replicated": { "Replicas": 2 } },
    });
    // The engine fills in the mode, and leaves out the port that is none.
    let sent = json!({
        "Name": "web",
        "TaskTemplate": { "ContainerSpec": { "Image": NEW, "Args": ["a"] } },
        "Mode": { "Replicated": { "Replicas": 2 } },
        "EndpointSpec": { "Ports": [{ "TargetPort": 80, "PublishedPort": 0 }] },
    });
    let spec = |json: &Value| Spec::from_json(&json.to_string()).unwrap();
    let start = Instant::now();
    let mut sent_update = machine(None, true, start).sent_update;
    sent_update.whole = Some(Whole { replaced: spec(&replaced), sent: spec(&sent) });
    let mut machine = Machine::new(sent_update);
    let nodes = nodes();
    let tasks = running(OLD);
    let ours = shown("a", "", &replaced);
    let ours_now: Value = serde_json::from_str(ours.spec.json()).unwrap();
    let mut look = |service: &Service| {
        machine.step(
            &ServiceView { service: Some(service), tasks: &tasks, nodes: &nodes },
            start + Duration::from_secs(1),
        )
    };
    assert_eq!(look(&ours), Step::Wait);
    assert_eq!(look(&shown("a", "a person's", &ours_now)), Step::Wait);
    let step = look(&shown("b", "a person's", &ours_now));
    assert_finish(
        &step,
        |outcome| matches!(outcome, Outcome::Superseded(how) if how.contains("changed TaskTemplate.ContainerSpec.Args during")),
    );
}

#[test]
fn room_is_not_given_up_while_tasks_are_on_their_way() {
    let start = Instant::now();
    let mut pending = task("pending", NEW, 1, TaskState::Pending, TaskState::Running);
    pending.error = "no suitable node (insufficient resources on 3 nodes)".to_owned();
    let starting = task("starting", NEW, 2, TaskState::Starting, TaskState::Running);
    let mut machine = machine(None, true, start);
    machine.sent_update.side_by_side = Some(SideBySide { obstacle: None, is_our_choice: false });
    let waiting = both(running(OLD), vec![pending]);
    let moving = both(waiting.clone(), vec![starting]);
    let looks: Vec<_> = (0..40).map(|at| (at, view(NEW, Some("updating"), moving.clone()))).collect();
    assert_eq!(play(machine.clone(), start, &looks), Step::Wait);
    let looks: Vec<_> = (0..40).map(|at| (at, view(NEW, Some("updating"), waiting.clone()))).collect();
    let mut stuck = machine;
    let failed = looks.iter().find_map(|(at, view)| {
        let step = play(stuck.clone(), start, &[(*at, view.clone())]);
        let (now, service, nodes) = (start + Duration::from_secs(*at), view.service(), nodes());
        stuck.step(&ServiceView { service: Some(&service), tasks: &view.tasks, nodes: &nodes }, now);
        (step == Step::RollBack).then_some(*at)
    });
    assert!(failed.is_some_and(|at| at >= 20), "{failed:?}");
    assert!(matches!(stuck.cause(), Some(Cause::Collision { .. })), "{:?}", stuck.cause());
}

#[test]
fn a_program_that_was_told_to_end_is_blamed_only_when_its_node_stays() {
    let told = || {
        let error = "task: non-zero exit (143)".to_owned();
        let task = task("told", NEW, 1, TaskState::Failed, TaskState::Shutdown);
        vec![Task { exit_code: Some(143), error, ..task }]
    };
    let seen = |at| (at, view(NEW, Some("paused"), both(running(OLD), told())));
    let start = Instant::now();
    assert_eq!(play(machine(None, true, start), start, &[seen(1), seen(19)]), Step::Wait);
    assert_eq!(play(machine(None, true, start), start, &[seen(1), seen(19), seen(22)]), Step::RollBack);
    // The time limit leaves no time to find that out.
    let limited = machine(Some(10), true, start);
    assert_eq!(play(limited.clone(), start, &[seen(1), seen(9)]), Step::Wait);
    assert_eq!(play(limited, start, &[seen(1), seen(11)]), Step::RollBack);
    // Meanwhile the node is missed, as its engine was stopped.
    let mut machine = machine(None, true, start);
    let mut step = Step::Wait;
    for (at, is_ready) in [(1, true), (4, false), (30, true)] {
        let (_, view) = seen(at);
        let version = 1 + u64::from(at > 1);
        let node = nodes().iter().next().unwrap().clone();
        let nodes = [Node { version, is_ready, is_down: !is_ready, ..node }].into_iter().collect();
        let service = view.service();
        let seen = ServiceView { service: Some(&service), tasks: &view.tasks, nodes: &nodes };
        step = machine.step(&seen, start + Duration::from_secs(at));
    }
    assert!(matches!(step, Step::SendAgain(_)), "{step:?}");
}
