//! Rollouts that wait for the cluster, updates that wait for something, and what failed tasks said.

use std::collections::HashMap;

use super::support::{Line, Run, Service, Stage, listed, wait};

/// The numbers of the lines that have these words.
fn places(run: &Run, words: &str) -> Vec<usize> {
    let messages = run.messages();
    (0..messages.len()).filter(|place| messages[*place].contains(words)).collect()
}

#[test]
fn a_killed_node_pauses_the_rollout_and_its_return_resumes_it() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let options = ["--constraint", "node.hostname==node1", "--update-monitor", "4s"];
    let services: Vec<_> =
        (0..14).map(|index| stage.service(&format!("web{index:02}"), &old, &options)).collect();
    stage.image("web", "2", &[]);
    let daemon = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").start();
    daemon.wait_for("updating", 30);
    stage.lab.run(&["stop", "3", "--kill"]);
    let paused = daemon.wait_for("paused: node3 is down", 90);
    assert_eq!(paused.level(), "WARN");
    // What was under way is watched to its end, and nothing follows.
    let count = |words: &str| daemon.lines().iter().filter(|line| line.message() == words).count();
    wait("end of what was under way", 60, || (count("updating") == count("updated")).then_some(()));
    let begun = count("updating");
    assert!((1..14).contains(&begun), "{begun} of 14 were begun before the node was missed");
    stage.lab.run(&["start", "3"]);
    daemon.wait_for("resumed after", 60);
    let run = daemon.end(180);
    assert_eq!((run.summary(), run.code), ("14 services: 14 updated", Some(0)), "{run}");
    let (paused, resumed) = (places(&run, "paused: "), places(&run, "resumed after"));
    assert_eq!((paused.len(), resumed.len()), (1, 1), "{run}");
    let updating = places(&run, "updating");
    assert_eq!(updating.iter().filter(|place| (paused[0]..resumed[0]).contains(place)).count(), 0, "{run}");
    assert!(services.iter().all(|service| service.image() != old.pinned()));
}

#[test]
fn a_node_lost_after_the_manager_was_restarted_pauses_the_rollout() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let options = ["--constraint", "node.hostname==node2", "--update-monitor", "4s"];
    let services: Vec<_> =
        (0..18).map(|index| stage.service(&format!("web{index:02}"), &old, &options)).collect();
    let new = stage.image("web", "2", &[]);
    let nodes_that_are = |state: &str| {
        let nodes = stage.lab.get_json("/nodes");
        nodes.as_array().into_iter().flatten().filter(|node| node["Status"]["State"] == state).count()
    };
    stage.lab.run(&["stop", "1"]);
    stage.lab.run(&["start", "1"]);
    let begun_with = nodes_that_are("unknown");
    let daemon = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").start();
    daemon.wait_for("updating", 60);
    assert!(begun_with > 0, "the rollout began before the nodes had reported");
    wait("all nodes", 60, || (nodes_that_are("ready") == 3).then_some(()));
    // On a busy machine the swarm may call them down before they report, and that is a pause of its own.
    daemon.forget();
    stage.lab.run(&["stop", "3", "--kill"]);
    daemon.wait_for("paused: node3 is down", 90);
    stage.lab.run(&["start", "3"]);
    let run = daemon.end(240);
    assert_eq!((run.summary(), run.code), ("18 services: 18 updated", Some(0)), "{run}");
    assert!(services.iter().all(|service| service.image() == new.pinned()));
}

/// The most tasks of these services that are starting on one node now.
fn most_starting(services: &[Service<'_>]) -> usize {
    let mut by_node: HashMap<String, usize> = HashMap::new();
    for task in listed("tasks", "service", services) {
        let state = task["Status"]["State"].as_str().unwrap_or_default();
        if task["DesiredState"] == "running"
            && ["assigned", "accepted", "preparing", "ready", "starting"].contains(&state)
        {
            *by_node.entry(task["NodeID"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    by_node.into_values().max().unwrap_or_default()
}

#[test]
fn no_more_tasks_start_on_one_node_than_the_variable_says() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let services: Vec<_> = (0..6).map(|index| stage.service(&format!("web{index}"), &old, &[])).collect();
    stage.slow_image("web", "2", 2);
    let daemon = stage.gantry().set("GANTRY_UPDATE_MAX_STARTING_PER_NODE", "2").start();
    let mut most = 0;
    let run = daemon.until_its_end(150, || most = most.max(most_starting(&services)));
    assert_eq!((run.summary(), run.code), ("6 services: 6 updated", Some(0)), "{run}");
    assert_eq!(most, 2, "{run}");
    assert!(run.says(&["paused: ", "of at most 2"]), "{run}");
}

#[test]
fn what_failed_tasks_said_is_told_without_what_terminals_obey() {
    let stage = Stage::new();
    let (old, other) = (stage.image("web", "1", &[]), stage.image("sick", "1", &[]));
    let longer = ["--constraint", "node.hostname==node2", "--update-monitor", "10s"];
    let crashes = stage.service("crashes", &old, &longer);
    let here = stage.service("here", &other, &["--constraint", "node.hostname==node1"]);
    let there = stage.service("there", &other, &["--constraint", "node.hostname==node2"]);
    let noise = r"i=0; while [ $i -lt 20 ]; do i=$((i+1)); printf '\033[31mline %s\033[0m\000 \377 \033]0;title\007end\r\n' $i; done; sleep 0.3; exit 3";
    stage.image("web", "2", &["--cmd", noise]);
    let health = r"printf '\033[1msick as\000 a dog\n\377'; exit 1";
    let options =
        ["--health", health, "--health-interval", "300ms", "--health-retries", "2", "--cmd", "sleep 1d"];
    stage.image("sick", "2", &options);
    let run = stage.cycle();

    let said = |service: &Service<'_>, words: &str| -> Vec<String> {
        let about = run.lines.iter().filter(|line| line.is_about(service) && line.level() == "ERROR");
        let told = about.filter_map(|line| line.message().strip_prefix(words).map(str::to_owned));
        told.collect()
    };
    assert!(run.outcome(&crashes).contains("a task failed on node2: task: non-zero exit (3)"), "{run}");
    let output = said(&crashes, "its last output: ");
    let expected: Vec<String> = (11..=20).map(|n| format!("line {n} \u{fffd} end")).collect();
    assert_eq!(output, expected, "{run}");
    assert!(run.outcome(&here).contains("a task was unhealthy on node1"), "{run}");
    assert_eq!(said(&here, "its health check's last output: "), ["sick as a dog \u{fffd}"], "{run}");
    // No request to a manager tells what is in a container of another node.
    assert!(run.outcome(&there).contains("a task was unhealthy on node2"), "{run}");
    assert_eq!(said(&there, "its health check's last output: "), [""; 0], "{run}");
    let is_plain = |line: &Line| !line.message().chars().any(char::is_control);
    assert!(run.lines.iter().all(is_plain), "{run}");
}

#[test]
fn an_update_that_does_not_move_says_once_what_it_waits_for_and_what_the_health_check_says() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--constraint", "node.hostname==node1"]);
    let health =
        ["--health", "echo not yet; exit 1", "--health-interval", "500ms", "--health-start-period", "10m"];
    stage.image("web", "2", &health);
    let daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "1").start();
    daemon.wait_for("waiting while updating", 150);
    let run = daemon.stop();
    let waits: Vec<&Line> = run
        .lines
        .iter()
        .filter(|line| line.message() == "waiting while updating" && line.is_about(&service))
        .collect();
    let [line] = waits[..] else { panic!("{run}") };
    let reason = line.0["reason"].as_str().unwrap();
    assert!(reason.starts_with("no progress for 60 s: starting on node1"), "{reason}");
    assert!(reason.ends_with("its health check says: not yet"), "{reason}");
}

#[test]
fn a_node_that_dies_with_the_new_task_does_not_blame_the_image() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let options = [
        "--constraint",
        "node.hostname==node3",
        "--update-monitor",
        "2m",
        "--update-failure-action",
        "pause",
    ];
    let service = stage.service("web", &old, &options);
    let new = stage.image("web", "2", &[]);
    let daemon = stage.gantry().set("GANTRY_UPDATE_TIMEOUT_SECONDS", "300").start();
    wait("the new task", 60, || service.running_images().contains(&new.pinned()).then_some(()));
    stage.lab.run(&["stop", "3", "--kill"]);
    wait("the loss of the node", 90, || {
        let nodes = stage.lab.get_json("/nodes");
        nodes.as_array()?.iter().any(|node| node["Status"]["State"] == "down").then_some(())
    });
    // Between two looks of the daemon, perhaps.
    stage.lab.run(&["start", "3"]);
    let run = daemon.end(330);
    // Swarm calls the update failed when the node is back, and so it is taken back.
    let outcome = run.outcome(&service);
    assert!(outcome.contains("node3 was down meanwhile") || outcome == "updated", "{run}");
    let entry = stage.entry(&service);
    assert!(!entry.starts_with("quarantined"), "{entry}: {run}");
}
