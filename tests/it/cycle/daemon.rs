//! The loop around the cycles: intervals, stopping, ourselves, cleaning up.

use std::sync::Arc;

use gantry::context::{Itself, RunScope};
use gantry::cycle::cleanup::REMOVER_NAME;
use gantry::daemon::board::{LiveBoard, WokenBy};
use gantry::daemon::steering::{Steering as _, Wheel};
use gantry::daemon::{Daemon, End};
use gantry::heartbeat::Heartbeat;
use gantry::ledger::Ledger;
use gantry::model::outcome::Outcome;
use tokio::time::{Instant, sleep};

use super::{APP, Scene, count, outcome};
use crate::fake::{Call, FakeRegistry, FakeSwarm, millis, pinned, secs};

pub(crate) fn daemon(scene: &Scene) -> Daemon<FakeSwarm, FakeRegistry> {
    Daemon {
        config: scene.config(),
        environment: Vec::new(),
        swarm: Arc::new(scene.swarm.clone()),
        registry: Arc::new(scene.registry.clone()),
        stop: scene.stop.clone(),
        heartbeat: Heartbeat::new(Instant::now()),
        board: LiveBoard::default(),
        ledger: Arc::new(Ledger::new(&scene.config().ledger_name)),
        requests: Arc::default(),
    }
}

/// When cycles began, in seconds: each lists the services that match. The first then lists all, for labels in the wrong
/// place.
fn starts(scene: &Scene) -> Vec<u64> {
    let listings = scene.swarm.calls(Call::Services).into_iter().enumerate();
    listings.filter(|(number, _)| *number != 1).map(|(_, at)| at.as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_from_start_to_start_and_a_late_cycle_runs_at_once() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    scene.service("web").create();
    scene.registry.set_latency(secs(10));
    let stop = scene.stop.clone();
    tokio::spawn(async move {
        sleep(secs(290)).await;
        stop.cancel();
    });
    scene.registry.set_latency(secs(25));
    let begun = Instant::now();
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    assert_eq!(begun.elapsed(), secs(290), "it stops at once while it waits");
    assert_eq!(starts(&scene), [0, 60, 120, 180, 240]);

    let late = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    late.service("web").create();
    late.registry.set_latency(secs(100));
    let stop = late.stop.clone();
    tokio::spawn(async move {
        sleep(secs(350)).await;
        stop.cancel();
    });
    daemon(&late).run(|_| {}).await;
    assert_eq!(starts(&late), [0, 100, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_service_put_off_neither_the_interval_nor_the_others() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    scene.service("web").replicas(1).create();
    scene.service("shop").replicas(1).create();
    let daemon = daemon(&scene);
    let wheel = Wheel {
        config: daemon.config.clone(),
        swarm: daemon.swarm.clone(),
        registry: daemon.registry.clone(),
        ledger: daemon.ledger.clone(),
        requests: daemon.requests.clone(),
        board: daemon.board.clone(),
    };
    let board = daemon.board.clone();
    let asking = async {
        sleep(secs(1)).await;
        let new = scene.registry.release(APP, "new");
        let mut seen = Vec::new();
        for _ in 0..20 {
            let scope = RunScope { services: vec!["web".to_owned()], ..RunScope::default() };
            wheel.run("ci".to_owned(), scope).await.unwrap();
            sleep(secs(7)).await;
            seen.push(scene.swarm.image_of("shop") == new);
        }
        (seen, new)
    };
    let (seen, new) = tokio::select! {
        seen = asking => seen,
        end = daemon.run(|_| {}) => panic!("{end:?}"),
    };
    assert_eq!(scene.swarm.running_images("web"), std::slice::from_ref(&new));
    // The look after 60 seconds finds it, though a run of the other service begins every seven seconds.
    assert_eq!(seen.iter().position(|has_it| *has_it), Some(8), "{seen:?}");
    let board = board.look();
    let runs: Vec<_> = board.history.iter().map(|run| (run.trigger, run.by.as_deref())).collect();
    assert!(
        runs.contains(&(WokenBy::Interval, None)) && runs.contains(&(WokenBy::Api, Some("ci"))),
        "{runs:?}"
    );
    assert_eq!(board.services.len(), 2, "a run of one service forgets no other");
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_fails_is_followed_by_the_next_one() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    scene.service("web").create();
    scene.swarm.be_away_for(secs(150));
    let new = scene.registry.release(APP, "new");
    let stop = scene.stop.clone();
    tokio::spawn(async move {
        sleep(secs(400)).await;
        stop.cancel();
    });
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    assert_eq!(scene.swarm.running_images("web"), [new.clone(), new]);
}

#[tokio::test(start_paused = true)]
async fn one_cycle_alone_ends_well_or_badly_by_what_it_did() {
    let scene = Scene::new();
    scene.service("web").create();
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(10), 1);
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Failed);
}

#[tokio::test(start_paused = true)]
async fn one_cycle_alone_is_incomplete_where_an_update_is_left_behind() {
    // No node takes the tasks of one, and no other service has shown that the image works.
    let scene = Scene::new();
    scene.service("web").constraint("node.labels.nowhere==true").create();
    scene.registry.release(APP, "new");
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Incomplete);

    // A node is lost in the middle of a rollout, and the rest is postponed.
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
    for index in 0..5 {
        scene.service(&format!("web-{index}")).constraint("node.hostname==node2").create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(8), |world| world.set_ready("node3", false));
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Incomplete);
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_begins_nothing_new_and_leaves_the_rest_to_the_swarm() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 2).with("GANTRY_ROLLOUT_INITIAL_WORKERS", 2);
    for index in 0..6 {
        scene.service(&format!("web-{index}")).create();
    }
    let new = scene.registry.release(APP, "new");
    let stop = scene.stop.clone();
    tokio::spawn(async move {
        sleep(secs(3)).await;
        stop.cancel();
    });
    let begun = Instant::now();
    let report = scene.cycle().await;
    assert!(begun.elapsed() <= secs(6), "{:?}", begun.elapsed());
    assert_eq!(scene.swarm.update_log().len(), 2);
    assert!(report.is_interrupted && report.finished().all(|f| f.outcome == Outcome::Interrupted));
    assert_eq!(report.held().count(), 4);
    sleep(secs(60)).await;
    assert_eq!(scene.swarm.running_images("web-0"), [new.clone(), new], "the swarm goes on");
}

#[tokio::test(start_paused = true)]
async fn we_ourselves_are_updated_before_the_others_are_looked_at() {
    let mut scene = Scene::new();
    scene.registry.release("registry.test/gantry:latest", "old");
    scene.service("a-site").create();
    scene.service("zz-gantry").image(&pinned("registry.test/gantry:latest", "old")).replicas(1).create();
    scene.itself =
        Some(Itself { name: "zz-gantry".into(), image: None, replaced: None, task: None, socket: None });
    scene.registry.release("registry.test/gantry:latest", "new");
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "zz-gantry"), &Outcome::Updated);
    let sent: Vec<String> = scene.swarm.update_log().into_iter().map(|asked| asked.service).collect();
    assert_eq!(sent, ["zz-gantry", "a-site"]);
    let looked_up: Vec<String> =
        scene.registry.lookups().iter().map(|lookup| lookup.image.repository().to_owned()).collect();
    assert_eq!(looked_up, ["gantry", "app"]);
    // Even where no registry is asked: a forced update of ourselves would never end.
    let scene = scene.with("GANTRY_MANIFEST_CMD", "none");
    let report = scene.cycle().await;
    assert_eq!(count(&report, "up to date"), 1, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_remover_runs_on_every_node_that_is_up_and_leaves_nothing_behind() {
    let mut scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", "true");
    let own = "registry.test/gantry:latest";
    scene.itself = Some(Itself {
        name: "gantry".into(),
        image: Some(pinned(own, "own")),
        replaced: None,
        task: None,
        socket: Some("/srv/docker.sock".into()),
    });
    scene.service("web").create();
    scene
        .service("keeps-it")
        .label("gantry.enable", "false")
        .image(&pinned("registry.test/b:1", "b"))
        .create();
    scene.swarm.node_is_ready("node3", false);
    sleep(secs(20)).await;
    let line = r#"{"gantry_image_removal":{"removed":["registry.test/app:1"],"kept":[],"failed":[]}}"#;
    scene.swarm.image(&pinned(own, "own")).logging(&["2026 INFO started", line]);
    scene.registry.release(APP, "new");

    let begun = Instant::now();
    let report = scene.cycle().await;

    let cleaned = report.cleanup.unwrap();
    assert_eq!(cleaned.images, [pinned(APP, "old")]);
    assert_eq!(cleaned.nodes.keys().collect::<Vec<_>>(), ["node1", "node2"]);
    assert!(cleaned.problem.is_none(), "{:?}", cleaned.problem);
    assert!(begun.elapsed() < secs(40), "a node that is down is not waited for");
    assert!(scene.swarm.see(REMOVER_NAME).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_another_service_needs_is_not_removed() {
    let scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", "true");
    scene.service("web").create();
    scene.swarm.new_service("stranger").image(&pinned("registry.test/app:stable", "old")).create();
    scene.registry.release(APP, "new");
    let cleaned = scene.cycle().await.cleanup.unwrap();
    assert!(cleaned.images.is_empty() && cleaned.nodes.is_empty(), "{cleaned:?}");
}
