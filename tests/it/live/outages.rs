//! The engine, managers, a node or the registry goes away and comes back, on a lab of the test's own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::proxy::{Address, Mishap, Proxy, Seen};

use super::support::{Daemon, Gantry, Image, Lab, Service, Stage, wait};

#[test]
fn an_engine_that_goes_away_during_an_update_costs_time_and_no_verdict() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    // Long enough for the engine to be taken away before it is over.
    let elsewhere = ["--constraint", "node.role==worker", "--update-monitor", "20s"];
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
}

/// A rollout that takes its time: one service after the other, each watched for two seconds.
fn slowly(stage: &Stage) -> Gantry {
    stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "1")
        .set("GANTRY_UPDATE_NUM_WORKERS", "1")
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1")
}

/// Services of this image, whose update takes a few seconds.
fn several<'a>(stage: &'a Stage, image: &Image, constraints: &[&str]) -> Vec<Service<'a>> {
    let service = |(index, constraint): (usize, &&str)| {
        let options = ["--constraint", constraint, "--update-monitor", "2s"];
        stage.service(&format!("web{index}"), image, &options)
    };
    constraints.iter().enumerate().map(service).collect()
}

/// Nobody is blamed, and nothing is sent twice: each service has been updated once to this image, and runs it.
#[track_caller]
fn all_are_updated_once(daemon: &Daemon, services: &[Service<'_>], image: &Image) {
    wait("the new image everywhere", 180, || {
        services.iter().all(|service| service.running_images() == [image.pinned()]).then_some(())
    });
    daemon.wait_for(&format!("{0} services: {0} up to date", services.len()), 120);
    let log: Vec<String> = daemon.lines().iter().map(|line| line.0.to_string()).collect();
    for service in services {
        let begun =
            daemon.lines().into_iter().filter(|line| line.message() == "updating" && line.is_about(service));
        assert_eq!(begun.count(), 1, "{}: {log:#?}", service.name);
        service.runs(image, 1);
    }
    let blamed = daemon.lines().into_iter().any(|line| line.message().starts_with("rolled back"));
    assert!(!blamed, "{log:#?}");
}

#[test]
fn a_lost_leader_and_a_lost_majority_during_a_rollout_cost_time_and_no_verdict() {
    let stage = Stage::apart_with_managers(3);
    let lab = stage.lab;
    // Somebody else is to lead, as everything here is asked of node1.
    lab.run(&["stop", "1"]);
    lab.run(&["start", "1"]);
    let nodes = || {
        let answer = lab.engine(1, "GET", "/nodes").ok()?.json();
        let nodes = answer.as_array()?.clone();
        let is_up = |node: &&Value| {
            node["Status"]["State"] == "ready" && node["ManagerStatus"]["Reachability"] == "reachable"
        };
        (nodes.iter().filter(is_up).count() == 3).then_some(nodes)
    };
    let all = wait("three managers", 120, nodes);
    let leader = all.iter().find(|node| node["ManagerStatus"]["Leader"] == true).unwrap();
    let leader = leader["Description"]["Hostname"].as_str().unwrap().trim_start_matches("node").to_owned();
    assert_ne!(leader, "1", "node1 was away");

    let old = stage.image("web", "1", &[]);
    let services = several(&stage, &old, &["node.hostname==node1"; 3]);
    let mut daemon = slowly(&stage).start();
    daemon.wait_for("3 services: 3 up to date", 60);
    daemon.forget();
    let new = stage.image("web", "2", &[]);
    services[0].wait_for(&new, 60);
    lab.run(&["stop", &leader, "--kill"]);
    wait("another leader", 60, || {
        let nodes = lab.engine(1, "GET", "/nodes").ok()?.json();
        let leads =
            |node: &Value| node["ManagerStatus"]["Leader"] == true && node["Status"]["State"] == "ready";
        nodes.as_array()?.iter().any(leads).then_some(())
    });
    lab.run(&["start", &leader]);
    all_are_updated_once(&daemon, &services, &new);
    wait("three managers", 120, nodes);

    daemon.forget();
    let newer = stage.image("web", "3", &[]);
    services[0].wait_for(&newer, 60);
    lab.run(&["stop", "2", "--kill"]);
    lab.run(&["stop", "3", "--kill"]);
    // It takes a while to notice that nobody can be asked.
    wait("an end of all answers", 60, || {
        lab.engine(1, "GET", "/services").map_or(Some(()), |answer| (answer.status >= 500).then_some(()))
    });
    lab.run(&["start", "2"]);
    lab.run(&["start", "3"]);
    wait("three managers", 120, nodes);
    all_are_updated_once(&daemon, &services, &newer);
    assert!(daemon.is_alive());
}

#[test]
fn an_engine_that_is_started_again_during_a_rollout_is_found_again() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let services = several(&stage, &old, &["node.hostname==node2"; 3]);
    let mut daemon = slowly(&stage).start();
    daemon.wait_for("3 services: 3 up to date", 60);
    daemon.forget();
    let new = stage.image("web", "2", &[]);
    services[0].wait_for(&new, 60);
    stage.lab.run(&["stop", "1"]);
    stage.lab.run(&["start", "1"]);
    all_are_updated_once(&daemon, &services, &new);
    assert!(daemon.is_alive());
}

#[test]
fn an_engine_that_is_restarted_under_new_tasks_does_not_blame_their_image() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    // Programs that end when they are told to, with and without a word.
    let options = ["--constraint", "node.hostname==node2", "--update-monitor", "30s"];
    let services: Vec<Service<'_>> =
        (0..2).map(|index| stage.service(&format!("web{index}"), &old, &options)).collect();
    let mut daemon = slowly(&stage)
        .set("GANTRY_UPDATE_NUM_WORKERS", "2")
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "2")
        .start();
    daemon.wait_for("2 services: 2 up to date", 60);
    let new = stage.image("web", "2", &["--cmd", "trap 'exit 143' TERM; while :; do sleep 0.1; done"]);
    for service in &services {
        wait("the new task", 60, || (service.running_images().contains(&new.pinned())).then_some(()));
    }
    daemon.forget();
    stage.lab.run(&["stop", "2"]);
    stage.lab.run(&["start", "2"]);
    wait("both services on the new image", 180, || {
        let is_there = |service: &Service<'_>| service.running_images() == [new.pinned()];
        services.iter().all(is_there).then_some(())
    });
    daemon.wait_for("2 services: 2 up to date", 180);
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(!ledger.contains("quarantined"), "{ledger} {:#?}", daemon.lines());
    assert!(daemon.is_alive());
}

#[test]
fn a_node_that_is_lost_during_its_services_update_is_not_the_images_fault() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let options = ["--mode", "global", "--constraint", "node.role==worker", "--update-monitor", "3s"];
    let service = stage.service("web", &old, &options);
    let mut daemon = slowly(&stage).start();
    daemon.wait_for("1 service: 1 up to date", 60);
    let new = stage.image("web", "2", &[]);
    let on_node3 = stage.lab.get_json("/nodes").as_array().and_then(|nodes| {
        let node = nodes.iter().find(|node| node["Description"]["Hostname"] == "node3")?;
        node["ID"].as_str().map(str::to_owned)
    });
    wait("a new task on node3", 60, || {
        let tasks = service.tasks();
        let is_there = |task: &Value| {
            task["NodeID"].as_str() == on_node3.as_deref()
                && task["Spec"]["ContainerSpec"]["Image"] == new.pinned()
        };
        tasks.iter().any(is_there).then_some(())
    });
    stage.lab.run(&["stop", "3", "--kill"]);
    // Long enough for the swarm to see it.
    wait("a node that is down", 60, || {
        let nodes = stage.lab.get_json("/nodes");
        nodes.as_array()?.iter().any(|node| node["Status"]["State"] == "down").then_some(())
    });
    stage.lab.run(&["start", "3"]);
    wait("both tasks on the new image", 120, || {
        (service.image() == new.pinned() && service.running_images() == vec![new.pinned(); 2]).then_some(())
    });
    daemon.forget();
    daemon.wait_for("1 service: 1 up to date", 120);
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(!ledger.contains("quarantined"), "{ledger}");
    assert!(daemon.is_alive());
}

#[test]
fn a_registry_that_the_nodes_cannot_reach_is_not_the_images_fault() {
    let stage = Stage::new();
    // Gantry reaches it, and the nodes do not, for a while.
    let is_away = Arc::new(AtomicBool::new(false));
    let runtime = Runtime::new().unwrap();
    let (host, real) = (stage.lab.host.parse::<IpAddr>().unwrap(), stage.lab.registry.parse().unwrap());
    let of_nodes = is_away.clone();
    let plan = move |_, seen: &Seen| {
        let is_cut = of_nodes.load(Ordering::Relaxed) && !seen.agent.starts_with("gantry/");
        is_cut.then_some(Mishap::CutBefore)
    };
    let registry = Proxy::start(Address::Tcp((host, 0).into()), Address::Tcp(real), plan);
    let registry = runtime.block_on(registry);
    let push = |version: &str| {
        let Image { name, digest } = stage.image("web", version, &[]);
        Image { name: name.replace(&stage.lab.registry, &registry.authority()), digest }
    };
    let old = push("1");
    let services = several(&stage, &old, &["node.hostname==node2", "node.hostname==node3"]);
    is_away.store(true, Ordering::Relaxed);
    let new = push("2");
    let mut daemon = slowly(&stage).start();
    let failed = daemon.wait_for("rolled back: ", 120);
    assert!(failed.message().contains("cannot get the image"), "{failed:?}");
    is_away.store(false, Ordering::Relaxed);
    wait("the new image on both", 180, || {
        services.iter().all(|service| service.running_images() == [new.pinned()]).then_some(())
    });
    daemon.wait_for("2 services: 2 up to date", 120);
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(!ledger.contains("quarantined"), "{ledger}");
    assert!(daemon.is_alive());
    drop(daemon);
    drop(registry);
    runtime.shutdown_background();
}

/// Fills the disk of a node, as far as pulling images goes, until this is dropped.
struct FullDisk {
    lab: &'static Lab,
    folder: String,
}

impl FullDisk {
    /// Where the engine puts layers while it pulls them, there is room for 4 KB.
    fn of_node3(lab: &'static Lab) -> Self {
        let folder = format!("{}/node3/data/tmp", lab.folder.display());
        let mount =
            ["exec", "3", "--", "mount", "-n", "-t", "tmpfs", "-o", "size=4k,mode=755", "tmpfs", &folder];
        lab.run(&mount);
        Self { lab, folder }
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        self.lab.run(&["exec", "3", "--", "umount", "-n", &self.folder]);
    }
}

#[test]
fn a_node_whose_disk_is_full_is_not_the_images_fault() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let services = several(&stage, &old, &["node.hostname==node3", "node.hostname==node2"]);
    let full = FullDisk::of_node3(stage.lab);
    let new = stage.image("web", "2", &["--size", "1"]);
    let mut daemon = slowly(&stage).start();
    let failed = daemon.wait_for("rolled back: node3 cannot get the image", 120);
    assert!(failed.is_about(&services[0]), "{failed:?}");
    wait("the other one on the new image", 120, || {
        (services[1].running_images() == [new.pinned()]).then_some(())
    });
    services[0].runs(&old, 1);
    drop(full);
    wait("the new image on both", 120, || (services[0].running_images() == [new.pinned()]).then_some(()));
    daemon.forget();
    daemon.wait_for("2 services: 2 up to date", 60);
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(!ledger.contains("quarantined"), "{ledger}");
    assert!(daemon.is_alive());
}

#[test]
fn a_registry_that_is_away_is_an_error_until_it_is_back() {
    let stage = Stage::apart();
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
}

#[test]
fn a_node_that_is_down_delays_neither_an_update_nor_the_cleaning() {
    let stage = Stage::apart();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--constraint", "node.hostname!=node3"]);
    // All at once: one after the other, the swarm itself might wait for the lost node's task.
    let options = ["--mode", "global", "--update-parallelism", "0"];
    let everywhere = stage.service("all", &old, &options);
    stage.lab.run(&["stop", "3", "--kill"]);
    let new = stage.image("web", "2", &[]);
    stage.lab.run(&["build"]);
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
}
