//! Which service Gantry is, where a proxy stands before the engines of several managers.

use gantry::config::Config;
use gantry::cycle::cleanup::REMOVER_NAME;
use gantry::cycle::remover::Removal;
use gantry::daemon::itself::Search;
use gantry::swarm::{Swarm, SwarmError};

use super::{APP, Scene};
use crate::fake::{Call, FakeSwarm, Fault, pinned};
use crate::support::log::Log;

const OWN: &str = "registry.test/gantry:latest";

/// The words of the one warning.
const WARNING: &str = "cannot tell which service Gantry is";

/// Gantry as a service, on the first node.
fn deployed() -> Scene {
    let scene = Scene::new().with("DOCKER_HOST", "tcp://proxy:2375");
    let service = scene.swarm.new_service("gantry").image(&pinned(OWN, "own"));
    service.constraint("node.hostname==node1").create();
    scene
}

/// A search by the id of Gantry's container.
async fn search(scene: &Scene) -> Search {
    let containers = scene.swarm.containers_of_service("gantry").await.unwrap();
    Search::new(vec![containers[0].id.clone()])
}

/// What a cycle of the daemon begins with, through the engine of one node.
async fn go_on(search: &mut Search, swarm: &FakeSwarm, config: &Config) {
    search.go_on(swarm, config, &|_| {}).await;
}

fn name(search: &Search) -> Option<&str> {
    search.found().map(|itself| itself.name.as_str())
}

#[tokio::test(start_paused = true)]
async fn a_container_that_another_manager_does_not_know_is_asked_for_again() {
    let scene = deployed();
    let (config, log) = (scene.config(), Log::from_level("INFO"));
    let mut search = search(&scene).await;
    let other = scene.swarm.at("node2");
    for _ in 0..2 {
        go_on(&mut search, &other, &config).await;
        assert_eq!(name(&search), None);
    }
    go_on(&mut search, &scene.swarm, &config).await;
    assert_eq!(name(&search), Some("gantry"));
    go_on(&mut search, &scene.swarm, &config).await;
    assert_eq!(scene.swarm.calls(Call::Container).len(), 3, "once in a cycle, and not when it was found");
    let counts = [WARNING, "connected", "running as a service"].map(|words| log.lines_with(words).len());
    assert_eq!(counts, [1, 1, 1]);
    assert!(log.lines_with(WARNING)[0].contains("GANTRY_SERVICES_SELF"));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_forbids_containers_is_one_warning_and_none_where_the_service_is_named() {
    for (named, warnings) in [("", 1), ("gantry", 0)] {
        let scene = deployed().with("GANTRY_SERVICES_SELF", named);
        let (config, log) = (scene.config(), Log::from_level("INFO"));
        let mut search = search(&scene).await;
        let forbidden = SwarmError::Forbidden("403 Forbidden".to_owned());
        scene.swarm.fail(Call::Container, None, 3, Fault::Error(forbidden));
        for _ in 0..3 {
            go_on(&mut search, &scene.swarm, &config).await;
        }
        assert_eq!(log.lines_with(WARNING).len(), warnings, "{named}");
        assert_eq!(log.lines_with("connected").len(), 1);
        assert_eq!((name(&search), scene.swarm.calls(Call::Container).len()), (None, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn the_engine_of_a_socket_is_asked_once_and_one_that_is_away_is_no_warning() {
    let scene = deployed().with("DOCKER_HOST", "unix:///var/run/docker.sock");
    let (config, log) = (scene.config(), Log::from_level("INFO"));
    let mut elsewhere = Search::new(vec!["f".repeat(64)]);
    for _ in 0..3 {
        go_on(&mut elsewhere, &scene.swarm, &config).await;
    }
    assert_eq!((name(&elsewhere), scene.swarm.calls(Call::Container).len()), (None, 1));

    let mut search = search(&scene).await;
    scene.swarm.fail_next(Call::Container, SwarmError::Unavailable("no leader".to_owned()));
    go_on(&mut search, &scene.swarm, &config).await;
    assert_eq!(name(&search), None);
    go_on(&mut search, &scene.swarm, &config).await;
    assert_eq!(name(&search), Some("gantry"));
    assert!(log.lines_with(WARNING).is_empty());

    let mut nobody = Search::new(Vec::new());
    let config = scene.with("DOCKER_HOST", "tcp://proxy:2375").config();
    go_on(&mut nobody, &FakeSwarm::with_nodes(1), &config).await;
    assert!(log.lines_with(WARNING).is_empty(), "a program that is in no container is no service");
}

#[tokio::test(start_paused = true)]
async fn the_clean_up_does_not_claim_that_gantry_is_no_service_and_runs_the_image_of_the_one_that_is_named() {
    for named in ["", "gantry"] {
        let scene = deployed().with("GANTRY_CLEANUP_IMAGES", true).with("GANTRY_SERVICES_SELF", named);
        let report = Removal { removed: vec![pinned(APP, "old")], ..Removal::default() }.to_line();
        scene.swarm.image(&pinned(OWN, "own")).logging(&[&report]);
        scene.service("web").create();
        scene.registry.release(APP, "new");
        let cleaned = scene.cycle().await.cleanup.unwrap();
        let nodes: Vec<&String> = cleaned.nodes.keys().collect();
        if named.is_empty() {
            assert_eq!(nodes, ["this node"]);
            let problem = cleaned.problem.unwrap();
            assert!(problem.contains("GANTRY_SERVICES_SELF") && !problem.contains("not run"), "{problem}");
        } else {
            assert_eq!(nodes, ["node1", "node2", "node3"]);
            assert_eq!(cleaned.problem, None);
        }
        assert!(scene.swarm.see(REMOVER_NAME).is_none());
    }
}
