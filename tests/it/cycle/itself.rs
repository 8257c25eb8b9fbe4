//! The search for our own service.

use std::cell::RefCell;

use gantry::daemon::itself::{Search, has_ended_so};
use gantry::swarm::{Swarm, SwarmError};
use tokio::time::{Instant, sleep};

use super::Scene;
use super::daemon::daemon;
use crate::fake::{Call, FakeSwarm, pinned, secs};

const OWN: &str = "registry.test/gantry:latest";

/// Goes on searching. What is returned is the host's name, if it was told.
async fn go_on(search: &mut Search, swarm: &FakeSwarm) -> Option<String> {
    let name = RefCell::new(None);
    let config = Scene::new().config();
    search.go_on(swarm, &config, &|told: &str| _ = name.replace(Some(told.to_owned()))).await;
    name.into_inner()
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_in_the_next_cycle_until_the_engine_has_answered_all_of_it_and_is_over_then() {
    let swarm = FakeSwarm::with_nodes(1);
    let id = swarm.new_service("gantry").image(&pinned(OWN, "own")).create();
    let task = swarm.tasks_of("gantry").remove(0).id;
    let container = swarm.containers_of_service("gantry").await.unwrap().remove(0).id;
    // What no container has for its id is passed over.
    let mut search = Search::new(vec!["0123456789ab".to_owned(), container]);
    for (call, name) in [(Call::Engine, None), (Call::Container, Some("node1")), (Call::Service, None)] {
        swarm.fail_next(call, SwarmError::Unavailable("connection refused".to_owned()));
        assert_eq!(go_on(&mut search, &swarm).await.as_deref(), name, "{call:?}");
        assert_eq!(search.found(), None, "{call:?}");
    }
    go_on(&mut search, &swarm).await;
    let found = search.found().unwrap();
    assert_eq!((found.name.as_str(), &found.task), ("gantry", &Some((id, task))));
    assert_eq!(found.image, Some(pinned(OWN, "own")));

    swarm.clear_log();
    assert_eq!(go_on(&mut search, &swarm).await, None);
    assert_eq!((search.found().is_some(), swarm.call_log()), (true, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_made_by_hand_is_no_service_and_ends_it_as_well() {
    let swarm = FakeSwarm::with_nodes(1);
    let mut search = Search::new(vec![swarm.make_by_hand("node1", &pinned(OWN, "own"), "running")]);
    go_on(&mut search, &swarm).await;
    swarm.clear_log();
    go_on(&mut search, &swarm).await;
    assert_eq!((search.found(), swarm.call_log()), (None, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ends_again_and_again_is_known_by_its_exit_code() {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.image(&pinned(OWN, "wrong")).crashes_after(secs(1), 2).for_the_first(2);
    swarm.new_service("gantry").image(&pinned(OWN, "own")).restart_delay(secs(5)).create();
    swarm.now(|world| world.set_image("gantry", &pinned(OWN, "wrong")));
    let is_known = async |code| {
        let running = swarm.containers_of_service("gantry").await.unwrap();
        let ids: Vec<String> = running.into_iter().map(|container| container.id).collect();
        has_ended_so(&swarm, &ids, code).await
    };
    let ended = |number| {
        let swarm = &swarm;
        swarm.until("an end", move |swarm| {
            swarm.tasks_of("gantry").iter().filter(|task| task.exit_code == Some(2)).count() == number
        })
    };
    ended(1).await;
    assert!(!is_known(2).await, "its message may have been lost");
    ended(2).await;
    sleep(secs(60)).await;
    assert!(is_known(2).await && !is_known(1).await);
    assert!(!has_ended_so(&swarm, &["0123456789ab".to_owned()], 2).await, "no service of ours");
}

#[tokio::test(start_paused = true)]
async fn the_daemon_learns_its_host_s_name_in_the_cycle_after_an_outage() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    scene.service("web").create();
    scene.swarm.be_away_for(secs(5));
    let stop = scene.stop.clone();
    tokio::spawn(async move {
        sleep(secs(150)).await;
        stop.cancel();
    });
    let (begun, told) = (Instant::now(), RefCell::new(Vec::new()));
    daemon(&scene).run(|name| told.borrow_mut().push((begun.elapsed().as_secs(), name.to_owned()))).await;
    assert_eq!(told.into_inner(), [(60, "node1".to_owned())], "once is enough");
}
