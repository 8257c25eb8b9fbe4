//! What a Gantry makes of what another one has left behind, that was killed long ago, or of which it cannot tell yet.

use gantry::cycle;
use gantry::model::outcome::{By, Outcome};
use gantry::registry::RegistryError;
use gantry::swarm::UpdateState;
use tokio::time::sleep;

use super::killed::{As, OTHER, die_after_sending, start_as};
use super::{APP, Scene, count, outcome};
use crate::fake::{Call, FakeSwarm, millis, pinned, secs};

#[tokio::test(start_paused = true)]
async fn what_ran_for_long_before_anybody_took_over_is_not_judged_by_what_happens_then() {
    let mut scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 50);
    for index in 0..30 {
        scene.service(&format!("site-{index:02}")).replicas(1).failure_action("continue").create();
    }
    let new = scene.registry.release(APP, "new");
    start_as(&mut scene, As::Service).await;
    let context = scene.context();
    let all_have_it = |swarm: &FakeSwarm| {
        (0..30).all(|index| swarm.state_of(&format!("site-{index:02}")) == Some(UpdateState::Completed))
    };
    tokio::select! {
        report = cycle::run(&context) => panic!("it is over already: {report:?}"),
        () = scene.swarm.until("the end of the updates", all_have_it) => {}
    }
    drop(context);
    start_as(&mut scene, As::Service).await;
    sleep(secs(1_200)).await;
    // A node is lost, and with it the database: for a while, nothing that is started stays up.
    scene.swarm.image(&new).for_the_first(60).crashes_after(millis(300), 1);
    scene.swarm.node_is_ready("node2", false);
    scene.swarm.node_is_ready("node3", false);
    sleep(secs(4)).await;
    scene.swarm.clear_log();
    // One that is removed meanwhile does not keep the engine from telling of the others.
    scene.swarm.before_any(Call::Tasks, |world| world.remove("site-00").unwrap());

    let report = scene.cycle().await;

    assert!(scene.swarm.update_log().is_empty(), "{report:?}");
    let labels = scene.swarm.config("gantry").unwrap().labels;
    assert!(labels.values().all(|text| !text.starts_with("quarantined ")), "{labels:?}");
    assert_eq!(count(&report, "up to date") + count(&report, "needs attention"), 30, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_left_behind_is_judged_later_where_its_registry_does_not_answer_now() {
    let mut scene = Scene::new();
    scene.service("web").failure_action("continue").create();
    scene.registry.release(OTHER, "old");
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    die_after_sending(&mut scene).await;
    sleep(secs(60)).await;
    scene.service("other").image(&pinned(OTHER, "old")).create();
    scene.registry.release(OTHER, "new");
    let away = RegistryError::Unreachable {
        registry: "registry.test".to_owned(),
        proxy: None,
        cause: "away".to_owned(),
    };
    // It looks twice, as it has to wait for the lease.
    scene.registry.fail_next(APP, 2, away);
    let report = scene.cycle().await;
    assert_eq!((count(&report, "error"), outcome(&report, "other")), (1, &Outcome::Updated), "{report:?}");

    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_with_some_failures_among_many_successes_stops_nothing() {
    let mut scene =
        Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 4).with("GANTRY_UPDATE_NUM_WORKERS", 4);
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).on_node("node3").crashes_after(millis(300), 1);
    for index in 0..40 {
        let node = if [10, 25].contains(&index) { "node.hostname==node3" } else { "node.hostname==node1" };
        scene.service(&format!("site-{index:02}")).replicas(1).constraint(node).create();
    }
    start_as(&mut scene, As::Service).await;
    let context = scene.context();
    let sent = |swarm: &FakeSwarm| swarm.update_log().iter().filter(|it| !it.is_rollback).count();
    tokio::select! {
        report = cycle::run(&context) => panic!("it is over already: {report:?}"),
        () = scene.swarm.until("32 updates", |swarm| sent(swarm) >= 32) => {}
    }
    drop(context);
    start_as(&mut scene, As::Service).await;

    let report = scene.cycle().await;

    assert!(report.stopped.is_empty() && report.held().next().is_none(), "{report:?}");
    let with_new = (0..40).filter(|index| scene.swarm.image_of(&format!("site-{index:02}")) == new).count();
    assert_eq!(with_new, 38, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_chosen_instead_of_a_broken_image_is_theirs_to_judge() {
    let scene = Scene::new();
    for name in ["a", "b", "site"] {
        scene.service(name).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.cycle().await;
    let quarantined = || {
        let labels = scene.swarm.config("gantry").unwrap().labels;
        labels.into_iter().filter(|(_, text)| text.starts_with("quarantined ")).collect::<Vec<_>>()
    };
    assert_eq!(quarantined().len(), 3, "two services and the image");
    let before = quarantined();
    let chosen = pinned(APP, "chosen");
    scene.swarm.image(&chosen).crashes_after(millis(300), 3);
    scene.swarm.now(|world| world.set_image("site", &chosen));
    scene.swarm.clear_log();
    // Under way at first, paused later.
    for _ in 0..2 {
        let report = scene.cycle().await;
        assert!(scene.swarm.update_log().is_empty() && !report.has_failed(), "{report:?}");
        assert_eq!((scene.swarm.image_of("site"), quarantined()), (chosen.clone(), before.clone()));
        sleep(secs(60)).await;
    }
}
