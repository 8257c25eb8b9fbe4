use serde_json::json;

use super::*;
use crate::rollout::samples::{
    NEW, OLD, crashed, global, nodes, nodes_without, ran, replicas, service, shut_down, spec, task, task_on,
};
use crate::swarm::Node;

fn two_replicas() -> Service {
    service(&spec(NEW, &replicas(2)))
}

fn everywhere() -> Service {
    service(&spec(NEW, &global()))
}

fn in_state(task: Task, state: TaskState) -> Task {
    Task { state, ..task }
}

/// The tasks' ids when it has converged, else how many run and should.
fn verdict(service: &Service, tasks: &[Task], nodes: &Nodes) -> Result<Vec<String>, (u64, u64)> {
    match judge(service, tasks, nodes, &ran(2)) {
        Convergence::Converged { tasks, .. } => Ok(tasks.into_iter().collect()),
        Convergence::Waiting(waiting) => Err((waiting.running, waiting.desired)),
        Convergence::Nothing(why) => panic!("nothing could run: {why}"),
    }
}

#[test]
fn a_replicated_service_has_converged_when_a_new_task_runs_in_every_slot() {
    let service = two_replicas();
    let new = |slot: u64| task(&slot.to_string(), NEW, slot);
    let ready = Task { desired: TaskState::Ready, ..new(2) };
    for (what, tasks, expected) in [
        ("both run", vec![new(1), new(2)], Ok(2)),
        ("more than wanted run", vec![new(1), new(2), new(3)], Ok(3)),
        ("the old ones are on their way out", vec![new(1), new(2), shut_down(task("o", OLD, 1))], Ok(2)),
        (
            "the old ones are told to stop and still do run",
            vec![new(1), new(2), Task { desired: TaskState::Shutdown, ..task("o", OLD, 1) }],
            Ok(2),
        ),
        ("a failed task was replaced", vec![crashed(task("f", NEW, 1)), new(1), new(2)], Ok(2)),
        ("nothing is there yet", vec![], Err((0, 2))),
        ("one runs", vec![new(1)], Err((1, 2))),
        ("two run, but in one slot", vec![new(1), task("again", NEW, 1)], Err((1, 2))),
        ("an old one is still wanted", vec![new(1), new(2), task("o", OLD, 2)], Err((2, 2))),
        ("only old ones run", vec![task("o1", OLD, 1), task("o2", OLD, 2)], Err((0, 2))),
        ("one is not meant to run yet", vec![new(1), ready], Err((1, 2))),
        ("one starts", vec![new(1), in_state(new(2), TaskState::Starting)], Err((1, 2))),
        (
            "one has a state that nobody knows",
            vec![new(1), in_state(new(2), TaskState::Unknown)],
            Err((1, 2)),
        ),
        ("one has crashed", vec![new(1), crashed(new(2))], Err((1, 2))),
        ("one is scaled away", vec![new(1), Task { desired: TaskState::Remove, ..new(2) }], Err((1, 2))),
    ] {
        assert_eq!(verdict(&service, &tasks, &nodes()).map(|tasks| tasks.len()), expected, "{what}");
    }
}

#[test]
fn a_task_on_a_node_that_is_down_or_unknown_does_not_run() {
    let elsewhere = |node: &str| Task { node_id: node.to_owned(), ..task("2", NEW, 2) };
    let tasks = |node: &str| [task("1", NEW, 1), elsewhere(node)];
    let nodes = nodes_without(2, &["n2"]);
    assert_eq!(verdict(&two_replicas(), &tasks("n1"), &nodes).map(|tasks| tasks.len()), Ok(2));
    assert_eq!(verdict(&two_replicas(), &tasks("n2"), &nodes), Err((1, 2)));
    assert_eq!(verdict(&two_replicas(), &tasks("gone"), &nodes), Err((1, 2)));
}

#[test]
fn the_forced_update_counter_tells_new_tasks_of_the_same_image_from_old_ones() {
    let mut forced = spec(NEW, &replicas(1));
    forced["TaskTemplate"]["ForceUpdate"] = json!(3);
    let service = service(&forced);
    let made = |id: &str, force_update: u64| Task { force_update, ..task(id, NEW, 1) };
    assert_eq!(verdict(&service, &[made("a", 2)], &nodes()), Err((0, 1)));
    assert_eq!(verdict(&service, &[made("a", 2), made("b", 3)], &nodes()), Err((1, 1)));
    let replaced = [shut_down(made("a", 2)), made("b", 3)];
    assert_eq!(verdict(&service, &replaced, &nodes()), Ok(vec!["b".to_owned()]));
}

#[test]
fn a_global_service_has_converged_when_a_new_task_runs_on_every_node_that_has_one() {
    let new = |node: &str| task_on(node, NEW);
    let old = |node: &str| task_on(node, OLD);
    let preparing = |node: &str| in_state(new(node), TaskState::Preparing);
    let service = everywhere();
    for (what, tasks, expected) in [
        ("all run", vec![new("n1"), new("n2"), new("n3")], Ok(3)),
        ("constraints leave one node", vec![new("n1")], Ok(1)),
        ("a node was drained", vec![new("n1"), shut_down(new("n2"))], Ok(1)),
        ("one is being made", vec![new("n1"), new("n2"), preparing("n3")], Err((2, 3))),
        ("a node's turn has not come", vec![new("n1"), old("n2"), old("n3")], Err((1, 3))),
        ("start-first: the old one is still there", vec![new("n1"), new("n2"), old("n2")], Err((2, 2))),
        ("one has crashed and is not started again", vec![new("n1"), crashed(new("n2"))], Err((1, 2))),
    ] {
        assert_eq!(verdict(&service, &tasks, &nodes()).map(|tasks| tasks.len()), expected, "{what}");
    }
}

#[test]
fn a_global_service_does_not_wait_for_a_node_that_is_down() {
    // The swarm takes its tasks off a node that is down.
    let tasks = [task_on("n1", NEW), Task { desired: TaskState::Shutdown, ..task_on("n2", OLD) }];
    assert!(verdict(&everywhere(), &tasks, &nodes_without(2, &["n2"])).is_ok());
}

#[test]
fn nodes_that_nobody_hears_from_for_a_moment_are_waited_for() {
    // After a change of leader every node is `unknown` until it reports, and keeps its tasks.
    let away = nodes_without(2, &["n1", "n2"]);
    let running = [task_on("n1", NEW), task_on("n2", NEW)];
    assert_eq!(verdict(&everywhere(), &running, &away), Err((0, 2)));
    let one_is_back = nodes_without(2, &["n2"]);
    assert_eq!(verdict(&everywhere(), &running, &one_is_back), Err((1, 2)));
}

#[test]
fn a_global_service_whose_tasks_all_ended_and_are_not_started_again_does_not_run() {
    let ended = |node: &str| in_state(shut_down(task_on(node, NEW)), TaskState::Complete);
    for tasks in [
        vec![crashed(task_on("n1", NEW)), crashed(task_on("n2", NEW))],
        vec![ended("n1"), ended("n2")],
        vec![shut_down(task_on("n1", OLD)), crashed(task_on("n1", NEW)), ended("n2")],
    ] {
        assert_eq!(verdict(&everywhere(), &tasks, &nodes()), Err((0, 2)), "{tasks:?}");
    }
}

#[test]
fn what_starts_no_task_that_stays_is_nothing_to_wait_for() {
    let job = service(&spec(NEW, &json!({ "ReplicatedJob": {} })));
    let global_job = service(&spec(NEW, &json!({ "GlobalJob": {} })));
    let asleep = service(&spec(NEW, &replicas(0)));
    for service in [job, global_job, asleep, everywhere()] {
        assert!(matches!(judge(&service, &[], &nodes(), &ran(2)), Convergence::Nothing(_)), "{service:?}");
    }
    // All its nodes were drained, one after its task had crashed.
    let drained = [shut_down(task_on("n1", NEW)), crashed(task_on("n9", NEW))];
    assert!(matches!(judge(&everywhere(), &drained, &nodes(), &ran(2)), Convergence::Nothing(_)));
}

#[test]
fn what_is_waited_for_is_the_slowest_task_in_words() {
    let new = |state| in_state(task("1", NEW, 1), state);
    let pending = Task {
        node_id: String::new(),
        error: "no suitable node (insufficient resources on 3 nodes)".to_owned(),
        ..new(TaskState::Pending)
    };
    for (tasks, activity) in [
        (vec![], "0 of 2 tasks run"),
        (vec![new(TaskState::Running)], "1 of 2 tasks run"),
        (vec![new(TaskState::Preparing)], "pulling the image or preparing on node1"),
        (vec![new(TaskState::Starting)], "starting on node1 (not healthy yet, if it has a health check)"),
        (vec![new(TaskState::Ready)], "ready on node1"),
        (
            vec![new(TaskState::Starting), new(TaskState::Preparing)],
            "pulling the image or preparing on node1",
        ),
        (vec![Task { error: String::new(), ..pending.clone() }], "waiting for a node"),
        (
            vec![new(TaskState::Starting), pending.clone()],
            "waiting for a node: insufficient resources on 3 nodes",
        ),
        // Not of this update, or not meant to run any more.
        (vec![in_state(task("o", OLD, 1), TaskState::Preparing)], "0 of 2 tasks run"),
        (vec![Task { desired: TaskState::Shutdown, ..new(TaskState::Preparing) }], "0 of 2 tasks run"),
    ] {
        let Convergence::Waiting(waiting) = judge(&two_replicas(), &tasks, &nodes(), &ran(2)) else {
            panic!("{tasks:?}")
        };
        assert_eq!(waiting.activity, activity, "{tasks:?}");
        let has_reason = tasks.iter().any(|task| !task.error.is_empty());
        assert_eq!(waiting.reason.is_some(), has_reason, "{tasks:?}");
    }
    let Convergence::Waiting(waiting) = judge(&two_replicas(), &[pending], &nodes(), &ran(2)) else {
        panic!()
    };
    assert!(matches!(waiting.reason, Some(Cause::NoSuitableNode { .. })), "{waiting:?}");
}

#[test]
fn an_updater_that_waits_for_a_lost_node_is_told_of() {
    let lost = |image, state| Task { state, ..shut_down(task_on("n2", image)) };
    let mut tasks = vec![task_on("n1", OLD), lost(OLD, TaskState::Running), lost(NEW, TaskState::Assigned)];
    let nodes = nodes_without(2, &["n2"]);
    let Convergence::Waiting(waiting) = judge(&everywhere(), &tasks, &nodes, &ran(2)) else {
        panic!("not over yet")
    };
    assert_eq!(waiting.reason, Some(Cause::NodeDown { node: "node2".to_owned() }));

    tasks[0] = task_on("n1", NEW);
    assert!(matches!(judge(&everywhere(), &tasks, &nodes, &ran(2)), Convergence::Converged { .. }));
}

/// What a service of three tasks did before its update: two ran, and the third waited for this reason.
fn two_of_three_ran(reason: &str) -> Before {
    let pending = Task { error: reason.to_owned(), ..in_state(task("o3", OLD, 3), TaskState::Pending) };
    let tasks = [task("o1", OLD, 1), task("o2", OLD, 2), pending];
    Before::of(&service(&spec(OLD, &replicas(3))), &tasks, jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn a_task_that_found_no_node_before_the_update_is_not_waited_for() {
    let three = service(&spec(NEW, &replicas(3)));
    let pending = |reason: &str| Task {
        node_id: String::new(),
        error: reason.to_owned(),
        ..in_state(task("3", NEW, 3), TaskState::Pending)
    };
    let new = |slot: u64| task(&slot.to_string(), NEW, slot);
    let full = "no suitable node (insufficient resources on 3 nodes)";
    let one_fewer =
        "no suitable node (insufficient resources on 2 nodes; 1 node not available for new tasks)";
    for (what, before, tasks, is_expected) in [
        ("the same reason", full, vec![new(1), new(2), pending(full)], true),
        (
            "the same reason on another number of nodes",
            full,
            vec![new(1), new(2), pending("no suitable node (insufficient resources on 1 node)")],
            true,
        ),
        ("the same reason and a node that was paused", full, vec![new(1), new(2), pending(one_fewer)], true),
        (
            "another reason",
            full,
            vec![
                new(1),
                new(2),
                pending("no suitable node (scheduling constraints not satisfied on 3 nodes)"),
            ],
            false,
        ),
        ("no reason yet", full, vec![new(1), new(2), pending("")], false),
        ("fewer run than before", full, vec![new(1), pending(full)], false),
        ("an old one runs still", full, vec![new(1), new(2), pending(full), task("o", OLD, 3)], false),
        (
            "the image's platform",
            "no suitable node (unsupported platform on 3 nodes)",
            vec![new(1), new(2), pending("no suitable node (unsupported platform on 3 nodes)")],
            false,
        ),
    ] {
        let found = judge(&three, &tasks, &nodes(), &two_of_three_ran(before));
        let is_converged = matches!(&found, Convergence::Converged { but, .. } if but.len() == 1);
        assert_eq!(is_converged, is_expected, "{what}: {found:?}");
    }
    let found = judge(&three, &[new(1), new(2), pending(full)], &nodes(), &two_of_three_ran(full));
    let Convergence::Converged { but, .. } = found else { panic!("{found:?}") };
    let words =
        "2 of 3 tasks run, as before: no suitable node for the others (insufficient resources on 3 nodes)";
    assert_eq!(but[0].after_update(), words);
}

#[test]
fn where_all_ran_before_a_task_without_a_node_is_waited_for() {
    let reason = "no suitable node (insufficient resources on 3 nodes)".to_owned();
    let pending = Task { error: reason, ..in_state(task("2", NEW, 2), TaskState::Pending) };
    let found = judge(&two_replicas(), &[task("1", NEW, 1), pending.clone()], &nodes(), &ran(2));
    assert!(matches!(&found, Convergence::Waiting(waiting) if !waiting.is_excused), "{found:?}");
    // There was no look before: it counts as none. But something has to run.
    let tasks = [task("1", NEW, 1), pending.clone()];
    let found = judge(&two_replicas(), &tasks, &nodes(), &Before::default());
    assert!(matches!(found, Convergence::Converged { .. }), "{found:?}");
    let found = judge(&two_replicas(), &[pending], &nodes(), &Before::default());
    assert!(matches!(found, Convergence::Waiting(_)), "{found:?}");
}

#[test]
fn a_paused_node_keeps_its_old_task_of_a_global_service() {
    let paused = |names: &[&str]| -> Nodes {
        let nodes = nodes();
        let is_paused = |id: &str| names.contains(&id);
        nodes.iter().map(|node| Node { is_active: !is_paused(&node.id), ..node.clone() }).collect()
    };
    let tasks = [task_on("n1", NEW), task_on("n2", NEW), task_on("n3", OLD)];
    let found = judge(&everywhere(), &tasks, &paused(&["n3"]), &ran(3));
    let Convergence::Converged { tasks: running, but } = found else { panic!("{found:?}") };
    assert_eq!(running.len(), 2);
    assert_eq!(but[0].after_update(), "node3 is paused and keeps the old image until it is active");
    // Nothing excuses an old task on a node that takes tasks.
    let found = judge(&everywhere(), &tasks, &nodes(), &ran(3));
    assert!(matches!(found, Convergence::Waiting(_)), "{found:?}");
    // A new task that runs there counts.
    let tasks = [task_on("n1", NEW), task_on("n2", NEW), task_on("n3", NEW)];
    let found = judge(&everywhere(), &tasks, &paused(&["n3"]), &ran(3));
    assert!(matches!(&found, Convergence::Converged { but, .. } if but.is_empty()), "{found:?}");
    let tasks = [task_on("n1", OLD), task_on("n2", OLD)];
    let found = judge(&everywhere(), &tasks, &paused(&["n1", "n2"]), &ran(2));
    assert!(matches!(found, Convergence::Nothing(_)), "{found:?}");
}
