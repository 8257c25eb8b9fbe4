//! `gantry release` and `gantry quarantine`: what they say of the next cycle is what the next cycle does.

use std::sync::Arc;

use gantry::cycle::by_hand;
use gantry::ledger::release::{QuarantineList, Release, ReleaseTarget};
use gantry::model::outcome::Outcome;
use gantry::swarm::UpdateState;
use serde_json::json;
use tokio::time::sleep;

use super::{APP, Scene, count, outcome};
use crate::fake::{FakeSwarm, digest, millis, pinned, secs};

async fn release(scene: &Scene, name: &str) -> Release {
    let target = if name == "--all" { ReleaseTarget::All } else { ReleaseTarget::Named(name.to_owned()) };
    by_hand::release(&scene.config(), &Arc::new(scene.swarm.clone()), &target).await.unwrap()
}

async fn listed(scene: &Scene) -> QuarantineList {
    by_hand::listed(&scene.config(), &Arc::new(scene.swarm.clone())).await.unwrap()
}

/// A service that an image has broken.
async fn broken(action: &str) -> Scene {
    let scene = Scene::new();
    scene.service("web").failure_action(action).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    scene
}

/// The services that are listed.
fn names(listed: &QuarantineList) -> Vec<&str> {
    listed.held.iter().map(|held| held.service.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_offered_again() {
    for action in ["pause", "rollback", "continue"] {
        for name in ["web", APP, "--all"] {
            let scene = broken(action).await;
            let release = release(&scene, name).await;
            assert_eq!(release.waiting, [], "{action} {name}");
            let said = release.to_string();
            assert!(said.starts_with("released, and offered again by the next cycle"), "{said}");
            let sent = scene.swarm.update_log().len();
            scene.cycle().await;
            let log = scene.swarm.update_log();
            assert_eq!(log[sent].image(), pinned(APP, "bad"), "{action} {name}: {log:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollback_that_is_released_is_offered_again() {
    let scene = Scene::new();
    scene.service("web").replicas(1).order("stop-first").failure_action("rollback").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.swarm.image(&pinned(APP, "old")).for_the_first(1_000).crashes_after(millis(100), 100);
    assert!(scene.cycle().await.has_failed());
    sleep(secs(300)).await;
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::RollbackPaused));
    scene.swarm.image(&bad).starts_after(millis(100));
    let release = release(&scene, "web").await;
    assert_eq!(release.waiting, [], "{release}");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "bad"));
}

#[tokio::test(start_paused = true)]
async fn a_third_service_that_is_released_is_offered_again_though_two_are_held() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_MIN_FAILURES", 3);
    for name in ["a", "b", "c"] {
        scene.service(name).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.cycle().await;
    scene.swarm.image(&bad).starts_after(millis(100));
    let release = release(&scene, "c").await;
    assert_eq!(release.waiting, [], "{release}");
    assert_eq!(outcome(&scene.cycle().await, "c"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_offered_yet_is_named_with_its_reason() {
    let env = |world: &mut crate::fake::World| {
        world.change("web", |spec| spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["BROKEN=1"]));
    };
    // A person's change has failed, is under way, or the service is excluded by now.
    let scene = broken("pause").await;
    scene.swarm.image(&pinned(APP, "old")).crashes_after(millis(300), 1);
    scene.swarm.now(env);
    let is_paused = |swarm: &FakeSwarm| swarm.state_of("web") == Some(UpdateState::Paused);
    scene.swarm.until("a pause", is_paused).await;
    keeps_its_word(&scene, "has failed and is paused").await;

    let scene = broken("pause").await;
    scene.swarm.image(&pinned(APP, "old")).starts_after(secs(60));
    scene.swarm.now(env);
    sleep(secs(1)).await;
    keeps_its_word(&scene, "under way").await;

    let scene = broken("pause").await;
    scene.swarm.now(|world| world.set_label("web", "gantry.services.excluded", "true"));
    keeps_its_word(&scene, "excluded").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_rollout_would_not_send_is_named_with_its_reason() {
    // Its own start-first cannot work any more, and Gantry may not change it.
    let scene = broken("pause").await.with("GANTRY_UPDATE_ORDER", "keep");
    scene.swarm.now(|world| {
        world.change("web", |spec| {
            spec["EndpointSpec"]["Ports"] = json!([{ "PublishMode": "host", "PublishedPort": 80 }]);
        });
        world.scale("web", 3);
    });
    sleep(secs(60)).await;
    keeps_its_word(&scene, "port 80").await;

    // Swarm would stop its task on a paused node, and start no other.
    let scene = broken("pause").await;
    scene.swarm.now(|world| {
        world.scale("web", 1);
        let pinned = json!({ "Constraints": ["node.hostname==node1"] });
        world.change("web", |spec| spec["TaskTemplate"]["Placement"] = pinned);
    });
    sleep(secs(60)).await;
    scene.swarm.node_is_paused("node1", true);
    keeps_its_word(&scene, "node1 is paused").await;
}

/// Releases the service, which is said to wait for this reason, and is not sent anything by the next cycle.
async fn keeps_its_word(scene: &Scene, why: &str) {
    let release = release(scene, "web").await;
    let said = release.to_string();
    assert!(
        matches!(&release.waiting[..], [(name, words)] if name == "web" && words.contains(why)),
        "{said}"
    );
    assert!(said.contains("not updated by the next cycle:"), "{said}");
    let sent = scene.swarm.update_log().len();
    let report = scene.cycle().await;
    assert_eq!(scene.swarm.update_log().len(), sent, "{why}: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_is_not_offered() {
    // A person rolls back, or sets an older digest: the list and the cycle say the same, before the cycle has written it.
    for is_rollback in [true, false] {
        let scene = Scene::new();
        scene.service("web").create();
        scene.service("other").create();
        scene.registry.release(APP, "new");
        scene.cycle().await;
        scene.swarm.now(|world| {
            if is_rollback {
                world.roll_back("web");
            } else {
                world.set_image("web", &pinned(APP, "old"));
            }
        });
        sleep(secs(60)).await;
        let listed = listed(&scene).await;
        assert_eq!(names(&listed), ["web"], "{is_rollback}: {listed}");
        let sent = scene.swarm.update_log().len();
        let report = scene.cycle().await;
        assert_eq!(scene.swarm.update_log().len(), sent, "{is_rollback}: {report:?}");
        assert_eq!(count(&report, "left alone"), 1, "{is_rollback}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tag_has_left_since_is_not_listed() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.service("other").create();
    scene.registry.release(APP, "new");
    scene.cycle().await;
    scene.swarm.now(|world| world.roll_back("web"));
    sleep(secs(60)).await;
    scene.registry.release(APP, "newer");
    scene.swarm.image(&pinned(APP, "newer")).starts_after(secs(3_600));
    let cycle = tokio::spawn({
        let context = scene.context();
        async move { gantry::cycle::run(&context).await }
    });
    scene.swarm.until("an update", |swarm| swarm.image_of("other") == pinned(APP, "newer")).await;
    let listed = listed(&scene).await;
    assert_eq!(names(&listed), Vec::<&str>::new(), "{listed}");
    cycle.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_has_no_room_for_is_not_promised() {
    let scene = broken("pause").await;
    let object = scene.swarm.config("gantry").unwrap();
    let mut labels = object.labels.clone();
    for index in 0..100 {
        let text = format!("quarantined digest={} at=2025-01-01T00:00:00Z", digest("theirs"));
        labels.insert(format!("gantry.image.other{index}:1"), text);
    }
    scene.swarm.now(|world| world.update_config(&object.id, object.version, &labels).unwrap());
    let release = release(&scene, "web").await;
    let [(service, why)] = &release.waiting[..] else { panic!("{release:?}") };
    assert!(service == "web" && why.contains("the ledger is full"), "{why}");
    let sent = scene.swarm.update_log().len();
    scene.cycle().await;
    assert_eq!(scene.swarm.update_log().len(), sent);
}
