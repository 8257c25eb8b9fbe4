//! The engine, a node or the registry goes away and comes back. Each of these tests is alone on the lab.

use super::support::{Lab, Registry, Stage, wait};

/// Brings everything back when a test is over, however it ends.
struct Restore(&'static Lab);

impl Drop for Restore {
    fn drop(&mut self) {
        for node in 1..=self.0.nodes {
            if !self.0.is_answering(node) {
                self.0.run(&["start", &node.to_string()]);
            }
        }
        if !Registry::at(&self.0.registry).is_answering() {
            self.0.run(&["registry", "start"]);
        }
        let ready = || {
            let nodes = self.0.engine(1, "GET", "/nodes").ok()?.json();
            let ready = nodes.as_array()?.iter().filter(|node| node["Status"]["State"] == "ready").count();
            (ready >= self.0.nodes).then_some(())
        };
        if !std::thread::panicking() {
            wait("return of all nodes", 60, ready);
        }
    }
}

#[test]
fn an_engine_that_goes_away_during_an_update_costs_time_and_no_verdict() {
    let stage = Stage::alone();
    let restore = Restore(stage.lab);
    let old = stage.image("web", "1", &[]);
    let elsewhere = ["--constraint", "node.role==worker", "--update-monitor", "4s"];
    let service = stage.service("web", &old, &elsewhere);
    let mut daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "1").start();
    daemon.wait_for("1 service: 1 up to date", 30);

    let new = stage.image("web", "2", &[]);
    service.wait_for(&new, 30);
    stage.lab.run(&["stop", "1", "--kill"]);
    daemon.wait_for("the engine does not answer; the updates are watched on", 60);
    stage.lab.run(&["start", "1"]);
    daemon.wait_for("1 service: 1 updated", 120);
    service.runs(&new, 1);
    assert!(!daemon.lines().iter().any(|line| line.level() == "ERROR"), "{:?}", daemon.lines());
    assert!(daemon.is_alive());
    drop(restore);
}

#[test]
fn a_registry_that_is_away_is_an_error_until_it_is_back() {
    let stage = Stage::alone();
    let restore = Restore(stage.lab);
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let version = service.version();
    let mut daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "1").start();
    daemon.wait_for("1 service: 1 up to date", 30);
    stage.lab.run(&["registry", "stop"]);
    let error = daemon.wait_for("error: ", 60);
    assert!(error.message().contains("cannot be reached"), "{}", error.0);
    daemon.wait_for("1 service: 1 error", 30);
    assert_eq!(service.version(), version);
    stage.lab.run(&["registry", "start"]);
    let new = stage.image("web", "2", &[]);
    daemon.wait_for("1 service: 1 updated", 60);
    service.runs(&new, 1);
    assert!(daemon.is_alive());
    drop(restore);
}

#[test]
fn a_node_that_is_down_delays_neither_an_update_nor_the_cleaning() {
    let stage = Stage::alone();
    let restore = Restore(stage.lab);
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--constraint", "node.hostname!=node3"]);
    // All at once: one after the other, the swarm itself might wait for the lost node's task.
    let options = ["--mode", "global", "--update-parallelism", "0"];
    let everywhere = stage.service("all", &old, &options);
    stage.lab.run(&["stop", "3", "--kill"]);
    let new = stage.image("web", "2", &[]);
    let remover = format!("{}/gantry:latest", stage.lab.registry);
    let gantry =
        stage.gantry().set("GANTRY_CLEANUP_IMAGES", "true").set("GANTRY_CLEANUP_IMAGES_REMOVER", &remover);
    let run = gantry.run();
    assert_eq!(
        (run.code, run.outcome(&service), run.outcome(&everywhere)),
        (Some(0), "updated", "updated"),
        "{run}"
    );
    service.runs(&new, 1);
    let mut cleaned: Vec<&str> = run
        .lines
        .iter()
        .filter(|line| line.message() == "removed image" && line.0["image"] == old.pinned().as_str())
        .filter_map(|line| line.0["on"].as_str())
        .collect();
    cleaned.sort_unstable();
    assert_eq!(cleaned, ["node1", "node2"], "{run}");
    drop(restore);
}
