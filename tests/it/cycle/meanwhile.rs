//! What others do while Gantry works: people, other programs, and the engine going away.

use gantry::model::outcome::{By, Outcome};
use gantry::swarm::SwarmError;

use super::{APP, Scene, outcome};
use crate::fake::{Call, Fault, millis, pinned, secs};

const OTHER: &str = "registry.test/other:2";

#[tokio::test(start_paused = true)]
async fn a_change_between_reading_and_writing_is_kept() {
    let scene = Scene::new();
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.before(Call::Update, "web", |world| world.scale("web", 4));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.running_images("web"), vec![new; 4]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_somebody_sets_meanwhile_stays() {
    let scene = Scene::new();
    for name in ["before", "during"] {
        scene.service(name).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.before(Call::Update, "before", |world| world.set_image("before", &pinned(OTHER, "theirs")));
    scene.swarm.later(secs(1), |world| world.set_image("during", &pinned(OTHER, "theirs")));
    let report = scene.cycle().await;
    for name in ["before", "during"] {
        assert!(matches!(outcome(&report, name), Outcome::Superseded(_)), "{report:?}");
        assert_eq!(scene.swarm.image_of(name), pinned(OTHER, "theirs"));
    }
    assert!(!report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_is_not_rolled_back_over_somebody_elses_image() {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 1);
    // The first reading is the update's, the second the rollback's.
    scene.swarm.before(Call::Update, "web", |world| world.set_label("web", "first", "reading"));
    scene.swarm.later(secs(1), |world| {
        world.set_label("web", "x", "y");
        world.set_image("web", &pinned(OTHER, "theirs"));
    });
    let report = scene.cycle().await;
    // What has failed stays failed.
    assert!(matches!(outcome(&report, "web"), Outcome::Overtaken { .. }), "{report:?}");
    assert_eq!(scene.swarm.image_of("web"), pinned(OTHER, "theirs"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_keeps_what_somebody_else_changed() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    scene.swarm.later(secs(1), |world| world.set_label("web", "owner", "alice"));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
    assert_eq!(scene.swarm.spec("web").facts().labels["owner"], "alice");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_by_hand_is_somebodys_decision_and_not_a_failure() {
    let scene = Scene::new();
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(30));
    scene.swarm.later(secs(5), |world| world.roll_back("web"));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::TakenBack(_)), "{report:?}");
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_taken_off_before_a_services_turn_takes_it_out() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
    scene.service("a-first").create();
    scene.service("b-second").create();
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(1), |world| {
        world.change("b-second", |spec| spec["Labels"] = serde_json::json!({}));
    });
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "a-first"), &Outcome::Updated);
    assert!(matches!(outcome(&report, "b-second"), Outcome::Unchanged(_)), "{report:?}");
    assert_eq!(scene.swarm.image_of("b-second"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_removed_meanwhile_is_told_so() {
    let scene = Scene::new();
    for name in ["before", "during", "web"] {
        scene.service(name).create();
    }
    scene.registry.release(APP, "new");
    // The first look at the cluster comes right before the look at the services that are updated first.
    scene.swarm.before_any(Call::Nodes, |world| world.remove("before").unwrap());
    scene.swarm.later(secs(1), |world| world.remove("during").unwrap());
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "before"), &Outcome::Removed);
    assert_eq!(outcome(&report, "during"), &Outcome::Removed);
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_was_lost_is_not_sent_twice() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    scene.swarm.fail(Call::Update, Some("web"), 1, Fault::CutAfterwards);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.update_log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_for_ten_minutes_costs_time_and_no_verdict() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 60);
    for name in ["good", "bad"] {
        scene.registry.release(&format!("registry.test/{name}:1"), "old");
        scene.service(name).image(&pinned(&format!("registry.test/{name}:1"), "old")).create();
    }
    scene.registry.release("registry.test/good:1", "new");
    let bad = scene.registry.release("registry.test/bad:1", "broken");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    scene.swarm.be_away_after(secs(1), secs(600));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "good"), &Outcome::Updated);
    assert!(matches!(outcome(&report, "bad"), Outcome::RolledBack { .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_changes_all_the_time_does_not_hold_the_others() {
    let scene = Scene::new();
    for name in ["busy", "web"] {
        scene.service(name).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.fail(Call::Update, Some("busy"), 1000, Fault::Error(SwarmError::Conflict));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(matches!(outcome(&report, "busy"), Outcome::Failed { .. }), "{report:?}");
    assert!(scene.swarm.update_log().len() < 50);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_during_an_update_is_not_the_images_fault() {
    let scene = Scene::new();
    scene.service("web").replicas(3).create();
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(2), |world| world.set_ready("node3", false));
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}
