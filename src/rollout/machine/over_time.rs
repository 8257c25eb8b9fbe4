//! The table "`UpdateStatus` over time" of what real engines do, row by row: each case as the sequence of
//! looks that a watcher gets, and the only outcome that is true.

use serde_json::{Value, json};

use super::*;
use crate::model::task_spec_id::TaskSpecId;
use crate::rollout::samples::*;
use crate::swarm::{Nodes, Task, TaskState};

const CRASH_MESSAGE: &str = "update rolled back due to failure or early termination of task xyz";
const BY_HAND: &str = "manually requested rollback";

/// An update under watch: two replicas and a monitor of five seconds, unless it says otherwise.
struct Watching {
    machine: Machine,
    start: Instant,
    mode: Value,
    nodes: Nodes,
}

/// What is seen of the service, apart from its tasks.
#[derive(Clone, Copy)]
struct Look {
    image: &'static str,
    force_update: u64,
    previous: Option<&'static str>,
    status: Option<(&'static str, &'static str)>,
}

/// The new image, and this status.
fn new(state: &'static str) -> Look {
    Look { image: NEW, force_update: 0, previous: Some(OLD), status: Some((state, "")) }
}

/// The old image again, after a rollback by the swarm: it leaves no previous specification.
fn back(state: &'static str, message: &'static str) -> Look {
    Look { image: OLD, force_update: 0, previous: None, status: Some((state, message)) }
}

/// The old image again, by a rollback on request: Gantry's, or a user's.
fn asked_back(state: &'static str) -> Look {
    Look { previous: Some(NEW), ..back(state, BY_HAND) }
}

/// No status: a moment after any change of the service, and for ever after one that starts no task.
fn nil(look: Look) -> Look {
    Look { status: None, ..look }
}

impl Watching {
    fn begin() -> Self {
        let spec_id = |image: &str| TaskSpecId { image: image.into(), force_update: 0 };
        Self::on(spec_id(OLD), spec_id(NEW))
    }

    fn on(replaced: TaskSpecId, sent: TaskSpecId) -> Self {
        let start = Instant::now();
        let sent_update = sent_update(sent, replaced, start);
        Self { machine: Machine::new(sent_update), start, mode: replicas(2), nodes: nodes() }
    }

    fn mode(mut self, mode: Value) -> Self {
        self.mode = mode;
        self
    }

    fn timeout(mut self, seconds: u64) -> Self {
        self.machine.sent_update.timeout = Some(Duration::from_secs(seconds));
        self
    }

    fn without_rollback(mut self) -> Self {
        self.machine.sent_update.may_roll_back = false;
        self
    }

    /// A look, so many seconds after the update was sent.
    fn see(&mut self, second: u64, look: &Look, tasks: &[Task]) -> Step {
        let full = |image: &str| {
            let mut spec = spec(image, &self.mode);
            spec["TaskTemplate"]["ForceUpdate"] = look.force_update.into();
            spec
        };
        let mut json = json!({ "Spec": full(look.image) });
        if let Some(image) = look.previous {
            json["PreviousSpec"] = full(image);
        }
        if let Some((state, message)) = look.status {
            json["UpdateStatus"] = json!({ "State": state, "Message": message });
        }
        let service = service_from(&json);
        let seen = ServiceView { service: Some(&service), tasks, nodes: &self.nodes };
        self.machine.step(&seen, self.start + Duration::from_secs(second))
    }

    /// A look after which there is nothing to do.
    #[track_caller]
    fn wait(&mut self, second: u64, look: &Look, tasks: &[Task]) {
        assert_eq!(self.see(second, look, tasks), Step::Wait, "at {second} s");
    }

    /// A look after which the update is rolled back, which is sent at once.
    #[track_caller]
    fn fail(&mut self, second: u64, look: &Look, tasks: &[Task]) -> Cause {
        assert_eq!(self.see(second, look, tasks), Step::RollBack, "at {second} s");
        self.machine.rollback_sent(By::Gantry, self.start + Duration::from_secs(second));
        self.machine.cause().unwrap().clone()
    }

    /// A look with which it is over.
    #[track_caller]
    fn end(&mut self, second: u64, look: &Look, tasks: &[Task]) -> Outcome {
        match self.see(second, look, tasks) {
            Step::Finish(outcome) => outcome,
            other => panic!("{other:?} at {second} s"),
        }
    }
}

fn two(image: &str) -> Vec<Task> {
    vec![task(&format!("{image} 1"), image, 1), task(&format!("{image} 2"), image, 2)]
}

fn crash(image: &str) -> Task {
    crashed(task("crash", image, 1))
}

fn with(mut tasks: Vec<Task>, more: impl IntoIterator<Item = Task>) -> Vec<Task> {
    tasks.extend(more);
    tasks
}

fn in_state(task: Task, state: TaskState) -> Task {
    Task { state, ..task }
}

fn is_task_failure(cause: &Cause) -> bool {
    matches!(cause, Cause::TaskFailed { exit_code: Some(1), .. })
}

#[track_caller]
fn assert_rolled_back(outcome: &Outcome, expected: By) {
    let Outcome::RolledBack { by, cause } = outcome else { panic!("{outcome}") };
    assert!(*by == expected && is_task_failure(cause), "{outcome}");
}

#[test]
fn a_good_image_is_updated_when_the_swarm_has_monitored_it() {
    let mut update = Watching::begin();
    update.wait(0, &nil(new("")), &two(OLD));
    update.wait(1, &new("updating"), &with(two(OLD), [in_state(task("a", NEW, 1), TaskState::Preparing)]));
    update.wait(3, &new("updating"), &[task("a", NEW, 1), shut_down(task("x", OLD, 1)), task("y", OLD, 2)]);
    update.wait(6, &new("updating"), &two(NEW));
    assert_eq!(update.end(11, &new("completed"), &two(NEW)), Outcome::Updated);
}

#[test]
fn where_the_status_stays_empty_there_is_nothing_to_wait_for() {
    for mode in [replicas(0), json!({ "ReplicatedJob": {} }), json!({ "GlobalJob": {} })] {
        let mut update = Watching::begin().mode(mode);
        assert!(matches!(update.end(1, &nil(new("")), &[]), Outcome::Started(_)));
    }
}

#[test]
fn a_crash_that_pauses_the_update_is_rolled_back_and_the_rollback_watched() {
    let mut update = Watching::begin();
    let tasks = vec![crash(NEW), in_state(task("b", NEW, 1), TaskState::Ready), task("y", OLD, 2)];
    update.wait(2, &new("updating"), &tasks);
    assert!(is_task_failure(&update.fail(3, &new("paused"), &tasks)));
    // Gantry's own `rollback=previous` reads like a user's.
    update.wait(4, &asked_back("rollback_started"), &with(two(OLD), [crash(NEW)]));
    let end = update.end(9, &asked_back("rollback_completed"), &with(two(OLD), [crash(NEW)]));
    assert_rolled_back(&end, By::Gantry);
}

#[test]
fn what_must_not_be_rolled_back_has_failed_and_is_kept() {
    for look in [new("paused"), new("rollback_paused")] {
        let mut update = Watching::begin().without_rollback();
        let outcome = update.end(3, &look, &[crash(NEW)]);
        assert!(matches!(&outcome, Outcome::Failed { cause } if is_task_failure(cause)), "{outcome}");
    }
    let mut late = Watching::begin().without_rollback().timeout(60);
    let outcome = late.end(60, &new("updating"), &two(OLD));
    assert!(matches!(outcome, Outcome::Failed { cause: Cause::TimedOut { .. } }));
}

#[test]
fn a_crash_that_the_swarm_passes_over_is_completed_and_still_a_failure() {
    let mut update = Watching::begin();
    let tasks = [crash(NEW), in_state(task("b", NEW, 1), TaskState::Ready), task("c", NEW, 2)];
    update.wait(2, &new("updating"), &tasks);
    for second in 10..40 {
        update.wait(second, &new("completed"), &tasks);
    }
    assert!(is_task_failure(&update.fail(40, &new("completed"), &tasks)));
}

#[test]
fn a_crash_within_the_failure_ratio_is_fine_once_all_stay_up_through_the_monitor() {
    let mut update = Watching::begin();
    let tasks = with(two(NEW), [crash(NEW)]);
    update.wait(2, &new("updating"), &tasks[1..]);
    update.wait(8, &new("completed"), &tasks);
    update.wait(12, &new("completed"), &tasks);
    assert_eq!(update.end(13, &new("completed"), &tasks), Outcome::Updated);
}

#[test]
fn tasks_that_are_replaced_again_and_again_never_stay_up() {
    let mut update = Watching::begin();
    update.wait(1, &new("updating"), &two(OLD));
    // Each look finds two running tasks, never the same ones.
    for second in 2..35 {
        let fresh = task(&second.to_string(), NEW, 1);
        update.wait(second, &new("completed"), &[fresh, task("2", NEW, 2), crash(NEW)]);
    }
    let step = update.see(36, &new("completed"), &[task("2", NEW, 2), crash(NEW)]);
    assert_eq!(step, Step::RollBack);
}

#[test]
fn a_rollback_by_the_swarm_ends_as_one_with_the_tasks_own_cause() {
    let mut update = Watching::begin();
    update.wait(1, &new("updating"), &[crash(NEW), task("y", OLD, 2)]);
    let restored = with(two(OLD), [crash(NEW)]);
    update.wait(2, &back("rollback_started", CRASH_MESSAGE), &restored);
    update.wait(3, &back("rollback_started", CRASH_MESSAGE), &restored);
    assert_rolled_back(
        &update.end(9, &back("rollback_completed", "rollback completed"), &restored),
        By::Swarm,
    );
}

#[test]
fn without_a_task_that_tells_the_swarms_first_words_are_the_cause() {
    let mut update = Watching::begin();
    update.wait(2, &back("rollback_started", CRASH_MESSAGE), &two(OLD));
    let outcome = update.end(9, &back("rollback_completed", "rollback completed"), &two(OLD));
    let Outcome::RolledBack { by: By::Swarm, cause: Cause::Stopped { message } } = outcome else {
        panic!("{outcome}")
    };
    assert_eq!(message, CRASH_MESSAGE);
}

#[test]
fn a_rollback_that_fails_as_well_is_told_with_both_causes() {
    // By the swarm.
    let mut update = Watching::begin();
    let both = [crash(NEW), crashed(task("z", OLD, 1))];
    update.wait(2, &back("rollback_started", CRASH_MESSAGE), &both[..1]);
    update.wait(5, &back("rollback_paused", "update paused"), &both);
    let outcome = update.end(155, &back("rollback_paused", "update paused"), &both);
    assert!(matches!(outcome, Outcome::RollbackFailed { .. }), "{outcome}");
    // By us, as the swarm's rollback and as an update of its own.
    for look in [asked_back("rollback_paused"), Look { status: Some(("paused", "")), ..asked_back("") }] {
        let mut update = Watching::begin();
        update.fail(2, &new("paused"), &both[..1]);
        update.wait(5, &look, &both);
        let outcome = update.end(155, &look, &both);
        let Outcome::RollbackFailed { cause, why } = &outcome else { panic!("{outcome}") };
        // The old image fails in the same way.
        assert!(matches!(cause, Cause::AsBefore { .. }) && is_task_failure(why));
    }
}

#[test]
fn a_rollback_that_the_swarm_takes_back_has_failed() {
    let mut update = Watching::begin();
    let both = [crash(NEW), crashed(task("z", OLD, 1))];
    update.fail(2, &new("paused"), &both);
    update.wait(3, &Look { status: Some(("updating", "")), ..asked_back("") }, &both);
    let taken_back = Look { previous: None, status: Some(("rollback_started", CRASH_MESSAGE)), ..new("") };
    let outcome = update.end(5, &taken_back, &both);
    assert!(matches!(outcome, Outcome::RollbackFailed { .. }), "{outcome}");
}

#[test]
fn an_unhealthy_task_starts_and_starts_and_then_fails_like_a_crash() {
    let mut update = Watching::begin();
    for second in 1..30 {
        update.wait(
            second,
            &new("updating"),
            &[in_state(task("a", NEW, 1), TaskState::Starting), task("y", OLD, 2)],
        );
    }
    let error = "task: non-zero exit (137): dockerexec: unhealthy container".to_owned();
    let unhealthy = Task { error, exit_code: Some(137), ..crash(NEW) };
    assert!(matches!(update.fail(31, &new("paused"), &[unhealthy]), Cause::Unhealthy { .. }));

    let mut update = Watching::begin();
    let ended_well =
        Task { exit_code: Some(0), ..in_state(shut_down(task("a", NEW, 1)), TaskState::Complete) };
    // A younger one that was shut down for it tells nothing.
    let created_at = "2026-01-01T00:00:09Z".parse().ok();
    let told_to_end = Task { created_at, ..shut_down(task("b", NEW, 2)) };
    let seen = [ended_well, told_to_end];
    update.wait(31, &new("paused"), &seen);
    assert!(matches!(update.fail(36, &new("paused"), &seen), Cause::Ended { .. }));
}

#[test]
fn an_image_that_no_node_gets_is_told_so() {
    let mut update = Watching::begin();
    let error = format!("No such image: {NEW}");
    let rejected = Task { error, exit_code: None, ..in_state(crash(NEW), TaskState::Rejected) };
    assert!(matches!(update.fail(3, &new("paused"), &[rejected]), Cause::ImageNotFound { .. }));
}

#[test]
fn what_finds_no_node_is_updating_for_an_hour_unless_it_has_a_time_limit() {
    let reason = "no suitable node (host-mode port already in use on 3 nodes)";
    let pending = Task {
        node_id: String::new(),
        error: reason.into(),
        ..in_state(task("a", NEW, 1), TaskState::Pending)
    };
    let tasks = with(two(OLD), [pending]);
    let mut patient = Watching::begin();
    for minute in 0..60 {
        patient.wait(minute * 60, &new("updating"), &tasks);
    }
    let told = patient.machine.waiting().unwrap().reason.as_ref().unwrap().to_string();
    assert!(told.contains("host-mode port already in use"), "{told}");
    let cause = patient.fail(3_600, &new("updating"), &tasks);
    assert!(cause.to_string().contains("making no progress") && !cause.blames_image(), "{cause}");

    let mut limited = Watching::begin().timeout(600);
    limited.wait(599, &new("updating"), &tasks);
    let cause = limited.fail(600, &new("updating"), &tasks).to_string();
    assert!(cause.contains("timed out after 600 s") && cause.contains("host-mode port"), "{cause}");
}

#[test]
fn an_update_of_somebody_elses_supersedes_ours_in_every_state() {
    let theirs = Look { image: "other:2", ..new("updating") };
    assert!(matches!(Watching::begin().end(2, &theirs, &two(OLD)), Outcome::Superseded(_)));
    assert!(matches!(Watching::begin().end(2, &nil(theirs), &[]), Outcome::Superseded(_)));
    let mut rolling_back = Watching::begin();
    rolling_back.fail(2, &new("paused"), &[crash(NEW)]);
    // What has failed stays failed.
    assert!(matches!(rolling_back.end(3, &theirs, &two(OLD)), Outcome::Overtaken { .. }));
    let mut back_and_forth = Watching::begin();
    back_and_forth.fail(2, &new("paused"), &[crash(NEW)]);
    let outcome = back_and_forth.end(3, &new("updating"), &two(OLD)).to_string();
    assert!(outcome.ends_with("changed it to app:1@sha256:new, which Gantry had sent"), "{outcome}");
}

#[test]
fn a_rollback_that_somebody_asks_for_is_their_decision() {
    for look in
        [asked_back("rollback_started"), asked_back("rollback_completed"), asked_back("rollback_paused")]
    {
        let outcome = Watching::begin().end(2, &look, &two(OLD));
        assert_eq!(outcome, Outcome::Superseded("a user or another program rolled it back".to_owned()));
    }
    // The swarm's message is worded by versions; that it leaves no previous specification is not.
    let reworded = Look { status: Some(("rollback_started", "asked for")), ..asked_back("") };
    assert!(matches!(Watching::begin().end(2, &reworded, &two(OLD)), Outcome::Superseded(_)));
}

#[test]
fn an_engine_that_was_away_past_the_deadline_costs_no_verdict() {
    for (look, tasks, is_expected) in [
        (new("completed"), two(NEW), (|step| *step == Step::Finish(Outcome::Updated)) as fn(&Step) -> bool),
        (new("paused"), vec![crash(NEW)], |step| *step == Step::RollBack),
        // Nothing more is known than before: it has the time that was left.
        (new("updating"), two(OLD), |step| *step == Step::Wait),
        (new("updating"), two(NEW), |step| *step == Step::Wait),
        (back("rollback_completed", ""), with(two(OLD), [crash(NEW)]), |step| *step == Step::Wait),
    ] {
        let mut update = Watching::begin().timeout(60);
        update.wait(5, &new("updating"), &two(OLD));
        update.machine.forgive(Duration::from_secs(895));
        let step = update.see(900, &look, &tasks);
        assert!(is_expected(&step), "{step:?}");
    }
    let mut update = Watching::begin().timeout(60);
    update.wait(5, &new("updating"), &two(OLD));
    update.machine.forgive(Duration::from_secs(895));
    for second in [900, 930, 950] {
        update.wait(second, &new("updating"), &two(OLD));
    }
    assert!(matches!(update.fail(956, &new("updating"), &two(OLD)), Cause::TimedOut { .. }));
}

#[test]
fn tasks_that_all_run_at_the_deadline_are_monitored_to_the_end() {
    let mut good = Watching::begin().timeout(60);
    good.wait(5, &new("updating"), &two(OLD));
    for second in [30, 57, 60, 61] {
        good.wait(second, &new("updating"), &two(if second < 57 { OLD } else { NEW }));
    }
    assert_eq!(good.end(80, &new("completed"), &two(NEW)), Outcome::Updated);

    let mut bad = Watching::begin().timeout(60);
    bad.wait(5, &new("updating"), &two(OLD));
    bad.wait(30, &new("updating"), &two(OLD));
    bad.wait(59, &new("updating"), &two(NEW));
    let cause = bad.fail(61, &new("updating"), &with(vec![task("a", NEW, 1)], [crash(NEW)]));
    assert!(matches!(cause, Cause::TimedOut { blames_image: true, .. }), "{cause:?}");
}

#[test]
fn a_label_that_is_changed_in_the_middle_leaves_the_verdict_to_the_tasks() {
    let mut good = Watching::begin();
    good.wait(1, &new("updating"), &two(OLD));
    good.wait(2, &nil(new("")), &two(NEW));
    good.wait(6, &nil(new("")), &two(NEW));
    assert_eq!(good.end(7, &nil(new("")), &two(NEW)), Outcome::Updated);

    let mut bad = Watching::begin();
    bad.wait(1, &new("updating"), &two(OLD));
    for second in 2..32 {
        bad.wait(second, &nil(new("")), &[crash(NEW)]);
    }
    assert!(is_task_failure(&bad.fail(32, &nil(new("")), &[crash(NEW)])));
}

#[test]
fn the_swarm_that_goes_back_to_the_new_image_has_seen_it_fail() {
    // The previous specification has the new image as well when a label was changed in between.
    let look = Look { previous: None, status: Some(("rollback_started", CRASH_MESSAGE)), ..new("") };
    assert!(is_task_failure(&Watching::begin().fail(5, &look, &[crash(NEW)])));
    let over = Look { status: Some(("rollback_completed", "")), ..look };
    assert!(matches!(Watching::begin().fail(9, &over, &two(NEW)), Cause::Stopped { .. }));
}

#[test]
fn a_rollback_that_somebody_asks_for_and_that_leaves_our_image_is_watched_on() {
    let label_only = Look { previous: Some(NEW), status: Some(("rollback_completed", BY_HAND)), ..new("") };
    assert_eq!(Watching::begin().end(5, &label_only, &two(NEW)), Outcome::Updated);
}

#[test]
fn somebody_who_forces_once_more_does_not_end_the_watch() {
    let forced = |state| Look { force_update: 1, ..new(state) };
    let again = |id: &str, slot| Task { force_update: 1, ..task(id, NEW, slot) };
    let mut update = Watching::begin();
    update.wait(1, &new("updating"), &two(NEW));
    // What ran before they did is stale now.
    update.wait(2, &forced("updating"), &two(NEW));
    update.wait(30, &forced("completed"), &two(NEW));
    assert_eq!(update.end(40, &forced("completed"), &[again("a", 1), again("b", 2)]), Outcome::Updated);
    // And a crash of theirs is a crash of this image.
    let mut update = Watching::begin();
    let crash = crashed(again("a", 1));
    assert!(is_task_failure(&update.fail(9, &forced("paused"), &[crash])));
}

#[test]
fn an_image_that_reads_the_same_is_told_apart_by_the_forced_update_counter() {
    let spec_id = |force_update| TaskSpecId { image: NEW.to_owned(), force_update };
    let at = |force_update, look: Look| Look { force_update, ..look };
    let made = |force_update| -> Vec<Task> {
        two(NEW)
            .into_iter()
            .map(|task| Task { force_update, id: format!("{force_update} {}", task.id), ..task })
            .collect()
    };
    let mut good = Watching::on(spec_id(3), spec_id(4));
    good.wait(1, &at(4, new("updating")), &made(3));
    good.wait(2, &at(4, new("updating")), &with(made(3), made(4)));
    assert_eq!(good.end(9, &at(4, new("completed")), &made(4)), Outcome::Updated);

    let mut bad = Watching::on(spec_id(3), spec_id(4));
    let crash = Task { force_update: 4, ..crash(NEW) };
    bad.fail(2, &at(4, new("paused")), std::slice::from_ref(&crash));
    let restored = Look { image: NEW, ..asked_back("rollback_started") };
    bad.wait(3, &at(3, restored), &with(made(4), made(3)));
    let restored = Look { status: Some(("rollback_completed", "")), ..restored };
    assert_rolled_back(&bad.end(9, &at(3, restored), &with(made(3), [crash])), By::Gantry);

    let mut by_hand = Watching::on(spec_id(3), spec_id(4));
    let back = Look { image: NEW, ..asked_back("rollback_started") };
    assert!(matches!(by_hand.end(2, &at(3, back), &made(3)), Outcome::Superseded(_)));
}

#[test]
fn a_node_that_is_lost_after_the_update_is_not_the_images_fault() {
    let mut update = Watching::begin();
    update.nodes = nodes_without(3, &["n2"]);
    let on_lost_node = Task { node_id: "n2".into(), desired: TaskState::Shutdown, ..task("b", NEW, 2) };
    let pulling = in_state(task("c", NEW, 2), TaskState::Preparing);
    for second in 1..600 {
        let tasks = [task("a", NEW, 1), on_lost_node.clone(), pulling.clone()];
        update.wait(second, &new("completed"), &tasks);
    }
    let replaced = [task("a", NEW, 1), on_lost_node, task("c", NEW, 2)];
    assert_eq!(update.end(600, &new("completed"), &replaced), Outcome::Updated);
}

#[test]
fn a_change_of_leader_makes_all_nodes_unknown_for_a_moment_and_no_verdict() {
    for mode in [replicas(2), global()] {
        let mut update = Watching::begin().mode(mode);
        let tasks: Vec<Task> =
            [("n1", 1), ("n2", 2)].map(|(node, slot)| Task { slot, ..task_on(node, NEW) }).into();
        update.nodes = nodes_without(3, &["n1", "n2", "n3"]);
        for look in [nil(new("")), new("updating"), new("completed")] {
            update.wait(3, &look, &tasks);
        }
        update.nodes = nodes();
        assert_eq!(update.end(9, &new("completed"), &tasks), Outcome::Updated);
    }
}

#[test]
fn the_swarms_updater_that_hangs_does_not_hold_an_update_that_is_well() {
    let mut update = Watching::begin();
    for second in 1..36 {
        update.wait(second, &new("updating"), &two(NEW));
    }
    assert_eq!(update.end(36, &new("updating"), &two(NEW)), Outcome::Updated);
    // At its deadline, it is enough that they have stayed up through the monitor.
    let mut update = Watching::begin().timeout(10);
    update.wait(4, &new("updating"), &two(NEW));
    assert_eq!(update.end(10, &new("updating"), &two(NEW)), Outcome::Updated);
    let mut update = Watching::begin().timeout(10);
    for second in [7, 10] {
        update.wait(second, &new("updating"), &two(NEW));
    }
    assert_eq!(update.end(12, &new("updating"), &two(NEW)), Outcome::Updated);
}

#[test]
fn a_rollback_has_a_time_limit_of_its_own_and_an_hour_without_one() {
    let starting = [in_state(task("o", OLD, 1), TaskState::Starting), task("p", OLD, 2)];
    let mut update = Watching::begin().timeout(60);
    update.fail(60, &new("updating"), &two(OLD));
    update.wait(61, &asked_back("rollback_started"), &starting);
    update.wait(119, &asked_back("rollback_started"), &starting);
    let outcome = update.end(120, &asked_back("rollback_started"), &starting);
    let Outcome::RollbackFailed { cause: Cause::TimedOut { .. }, why } = &outcome else {
        panic!("{outcome}")
    };
    assert!(why.to_string().contains("timed out after 60 s while starting on node1"), "{why}");

    let mut patient = Watching::begin();
    patient.wait(1, &back("rollback_started", CRASH_MESSAGE), &starting);
    for minute in 1..60 {
        patient.wait(minute * 60, &back("rollback_started", CRASH_MESSAGE), &starting);
    }
}

#[test]
fn a_global_service_whose_tasks_end_for_good_has_failed_also_in_its_rollback() {
    let mut update = Watching::begin().mode(global());
    let ended = |image: &'static str| ["n1", "n2"].map(|node| crashed(task_on(node, image)));
    for second in 1..31 {
        update.wait(second, &new("completed"), &ended(NEW));
    }
    update.fail(31, &new("completed"), &ended(NEW));
    for second in 32..122 {
        update.wait(second, &asked_back("rollback_completed"), &ended(OLD));
    }
    let outcome = update.end(122, &asked_back("rollback_completed"), &ended(OLD));
    assert!(matches!(outcome, Outcome::RollbackFailed { .. }), "{outcome}");
}

#[test]
fn a_task_that_failed_with_its_node_does_not_blame_the_image() {
    let mut update = Watching::begin();
    update.wait(1, &new("updating"), &two(NEW));
    update.nodes = nodes_without(3, &["n1"]);
    update.wait(20, &new("updating"), &two(NEW));
    // The node is back, and says so of all that it ran.
    update.nodes = nodes();
    let step = update.see(60, &new("paused"), &[crash(NEW), task("a", OLD, 2)]);
    assert!(matches!(step, Step::SendAgain(_)), "{step:?}");
    // The same failure once more, with all nodes there, is another one.
    update.machine.resumed();
    update.wait(61, &new("updating"), &[crash(NEW), task("a", OLD, 2)]);
    let again = Task { id: "again".to_owned(), ..crash(NEW) };
    assert!(update.fail(70, &new("paused"), &[again, task("a", OLD, 2)]).blames_image());
}

#[test]
fn an_update_without_a_time_limit_may_stand_still_for_an_hour_or_twice_its_longest_step() {
    let stuck = [in_state(task("a", NEW, 1), TaskState::Starting), task("b", OLD, 2)];
    let moved = [task("a", NEW, 1), in_state(task("b", NEW, 2), TaskState::Starting)];
    let mut update = Watching::begin();
    update.wait(10, &new("updating"), &stuck);
    update.wait(3_600, &new("updating"), &stuck);
    update.wait(3_609, &new("updating"), &moved);
    update.wait(7_208, &new("updating"), &moved);
    let cause = update.fail(7_209, &new("updating"), &moved).to_string();
    assert!(
        cause.starts_with("timed out after 3600 s while making no progress: starting on node1"),
        "{cause}"
    );
    let stuck = [in_state(task("a", OLD, 1), TaskState::Starting)];
    update.wait(7_210, &asked_back("rollback_started"), &stuck);
    let end = update.end(10_810, &asked_back("rollback_started"), &stuck);
    assert!(matches!(end, Outcome::RollbackFailed { .. }), "{end}");
}
