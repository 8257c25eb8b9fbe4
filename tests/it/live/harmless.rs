//! What is no fault of the image, and what could not run before, on real engines.

use super::support::{Stage, wait};

/// Runs until it is told to end.
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done";

#[test]
fn an_old_image_that_finds_its_lock_taken_once_is_rolled_back() {
    let stage = Stage::new();
    let data = stage.folder.path().display().to_string();
    // The new program leaves a lock behind that is free three seconds later: the old one ends with 100 until then.
    let locked = "if [ -e /data/lock ] && [ $(($(date +%s) - $(cat /data/lock))) -lt 4 ]; then exit 100; fi";
    let old = stage.image("db", "1", &["--cmd", &format!("{locked}; {FOREVER}")]);
    let mount = format!("type=bind,src={data},dst=/data");
    let options = ["--mount", &mount, "--update-order", "stop-first", "--restart-delay", "1s"];
    let service = stage.service("db", &old, &options);
    stage.image("db", "2", &["--cmd", "date +%s > /data/lock; sleep 0.2; exit 3"]);

    let run = stage.cycle();

    let outcome = run.outcome(&service);
    assert!(outcome.starts_with("rolled back: a task failed on node") && outcome.contains("(3)"), "{run}");
    assert!(service.state() == "rollback_paused" || service.state() == "rollback_completed", "{run}");
    service.runs(&old, 1);
}

#[test]
fn a_replica_that_found_no_node_before_is_not_waited_for() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options = ["--replicas", "4", "--replicas-max-per-node", "1", "--update-order", "stop-first"];
    let service = stage.create("web", &old.name, &options);
    wait("three tasks", 60, || (service.running_images().len() == 3).then_some(()));
    let new = stage.image("web", "2", &[]);

    let run = stage.cycle();

    let words =
        "updated: 3 of 4 tasks run, as before: no suitable node for the others (max replicas per node limit";
    assert!(run.outcome(&service).starts_with(words), "{run}");
    service.runs(&new, 3);
    assert!(service.spec()["Labels"].get("gantry.go-on").is_none(), "{}", service.spec());
}

#[test]
fn a_paused_node_keeps_the_old_image_of_a_global_service() {
    let stage = Stage::apart();
    let old = stage.image("agent", "1", &[]);
    let service = stage.create("agent", &old.name, &["--mode", "global"]);
    wait("three tasks", 60, || (service.running_images().len() == 3).then_some(()));
    stage.lab.docker(&["node", "update", "--availability", "pause", "node3"]);
    let new = stage.image("agent", "2", &[]);

    let run = stage.cycle();

    let words = "updated: node3 is paused and keeps the old image until it is active";
    assert_eq!((run.outcome(&service), run.code), (words, Some(0)), "{run}");
    let mut images = vec![new.pinned(), new.pinned(), old.pinned()];
    images.sort();
    assert_eq!(service.running_images(), images);
}

#[test]
fn a_node_that_leaves_during_a_global_update_takes_no_good_node_back() {
    let stage = Stage::apart();
    let old = stage.image("agent", "1", &[]);
    let options = ["--mode", "global", "--update-monitor", "15s", "--update-order", "stop-first"];
    let service = stage.create("agent", &old.name, &options);
    wait("three tasks", 60, || (service.running_images().len() == 3).then_some(()));
    let new = stage.image("agent", "2", &[]);
    let gantry = stage.gantry().start();
    wait("a new task", 60, || service.running_images().contains(&new.pinned()).then_some(()));
    stage.lab.docker_on(3, &["swarm", "leave"]);
    let run = gantry.end(240);

    assert!(run.outcome(&service).starts_with("updated"), "{run}");
    assert!(!run.says(&["rolling back"]) && service.image() == new.pinned(), "{run}");
}

#[test]
fn a_second_attempt_is_not_judged_by_the_dead_tasks_of_the_first() {
    let stage = Stage::new();
    let data = stage.folder.path().display().to_string();
    let mount = format!("type=bind,src={data},dst=/data");
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--mount", &mount, "--update-failure-action", "pause"]);
    let new = stage.image("web", "2", &["--cmd", &format!("[ -e /data/ready ] || exit 3; {FOREVER}")]);
    let run = stage.cycle();
    assert!(run.outcome(&service).starts_with("rolled back: a task failed on node"), "{run}");

    stage.write("ready", "");
    let released = stage.say(&["release", &service.name]);
    assert_eq!(released.code, Some(0), "{released:?}");
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
}

#[test]
fn a_users_broken_change_during_an_update_supersedes_it_and_blames_nothing() {
    let stage = Stage::new();
    let cmd = format!("[ -z \"$BROKEN\" ] || {{ sleep 1; exit 9; }}; {FOREVER}");
    let old = stage.image("web", "1", &["--cmd", &cmd]);
    let service = stage.service("web", &old, &["--replicas", "3", "--update-monitor", "5s"]);
    let new = stage.image("web", "2", &["--cmd", &cmd]);
    let gantry = stage.gantry().start();
    service.wait_for(&new, 60);
    service.update(&["--env-add", "BROKEN=hunter2"]);
    let run = gantry.end(120);

    let words =
        "superseded: a user or another program changed TaskTemplate.ContainerSpec.Env during the update";
    assert_eq!((run.outcome(&service), run.code), (words, Some(0)), "{run}");
    assert!(!run.says(&["quarantine"]) && !run.says(&["hunter2"]), "{run}");
}
