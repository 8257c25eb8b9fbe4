//! What is no fault of the image, and what could not run before: nothing is rolled back, held back or waited for in vain.

use gantry::cycle::by_hand;
use gantry::ledger::release::ReleaseTarget;
use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};

use super::{APP, Scene, finished, outcome};
use crate::fake::{digest, ends_after, pinned, secs};

/// Whether the digest of this name is in quarantine for any service.
fn is_held_back(scene: &Scene, name: &str) -> bool {
    let labels = scene.swarm.config("gantry").map(|object| object.labels).unwrap_or_default();
    let of_digest =
        |entry: &String| entry.contains(&digest(name).to_string()) && entry.contains("quarantined");
    labels.values().any(of_digest)
}

#[track_caller]
fn is_updated_but(found: &Outcome, words: &str) {
    let Outcome::UpdatedBut(what) = found else { panic!("{found}") };
    assert!(what.contains(words), "{what}");
}

#[tokio::test(start_paused = true)]
async fn an_old_image_that_finds_its_lock_taken_once_is_rolled_back() {
    for action in ["pause", "rollback"] {
        let scene = Scene::new();
        scene.service("db").replicas(1).order("stop-first").failure_action(action).create();
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(secs(2), 3);
        scene.swarm.later(secs(1), move |world| {
            let old = ends_after(secs(1), 100);
            world.images.set(&pinned(APP, "old"), None, Some(1), old);
        });
        let report = scene.cycle().await;
        let Outcome::RolledBack { cause, .. } = outcome(&report, "db") else { panic!("{report:?}") };
        assert!(cause.blames_image(), "{cause}");
        assert_eq!(scene.swarm.running_images("db"), [pinned(APP, "old")]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_old_image_fails_in_the_same_way_the_new_one_is_acquitted() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).crashes_after(secs(2), 7);
    // What both need has gone away meanwhile.
    scene.swarm.later(secs(1), move |world| {
        let old = ends_after(secs(2), 7);
        world.images.set(&pinned(APP, "old"), None, None, old);
    });
    let report = scene.cycle().await;
    let Outcome::RollbackFailed { cause: Cause::AsBefore { .. }, .. } = outcome(&report, "web") else {
        panic!("{report:?}")
    };
    assert!(!is_held_back(&scene, "new"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_crashed_before_its_update_does_not_speak_against_the_image() {
    let scene = Scene::new();
    scene.swarm.image(&pinned(APP, "old")).crashes_after(secs(20), 7);
    scene.service("web").failure_action("pause").deploy();
    scene
        .swarm
        .until("a crash", |swarm| swarm.tasks_of("web").iter().any(gantry::swarm::Task::has_failed))
        .await;
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).crashes_after(secs(2), 7);
    let report = scene.cycle().await;
    let cause = outcome(&report, "web").cause().unwrap_or_else(|| panic!("{report:?}"));
    assert!(matches!(cause, Cause::AsBefore { .. }), "{cause}");
    assert!(!is_held_back(&scene, "new"));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_found_no_node_before_is_not_waited_for() {
    let scene = Scene::new();
    scene.service("web").replicas(4).order("stop-first").max_per_node(1).create();
    scene.swarm.until("three run", |swarm| swarm.running_images("web").len() == 3).await;
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    is_updated_but(outcome(&report, "web"), "3 of 4 tasks run, as before: no suitable node for the others");
    assert_eq!(scene.swarm.running_images("web"), vec![new; 3]);
    assert!(finished(&report, "web").took < secs(300), "{report:?}");
    assert!(!scene.swarm.spec("web").facts().labels.contains_key("gantry.go-on"));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_found_no_node_before_does_not_hold_up_a_rollback() {
    let scene = Scene::new();
    scene.service("web").replicas(4).order("stop-first").max_per_node(1).failure_action("pause").create();
    scene.swarm.until("three run", |swarm| swarm.running_images("web").len() == 3).await;
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 3);
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 3]);
    assert!(finished(&report, "web").took < secs(600), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_keeps_the_old_image_of_a_global_service_and_the_update_is_over() {
    let scene = Scene::new();
    scene.service("agent").global().create();
    scene.swarm.until("three run", |swarm| swarm.running_images("agent").len() == 3).await;
    scene.swarm.node_is_paused("node3", true);
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    is_updated_but(outcome(&report, "agent"), "node3 is paused and keeps the old image until it is active");
    assert!(finished(&report, "agent").took < secs(60), "{report:?}");
    assert_eq!(scene.swarm.running_images("agent"), [new.clone(), new, pinned(APP, "old")]);
    assert!(!report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_paused_during_a_global_update_is_left_out() {
    let scene = Scene::new();
    scene.service("agent").global().delay(secs(20)).create();
    scene.swarm.until("three run", |swarm| swarm.running_images("agent").len() == 3).await;
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(3), |world| world.set_paused("node3", true));
    let report = scene.cycle().await;
    assert!(outcome(&report, "agent").is_success(), "{report:?}");
    assert!(!report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_during_a_global_update_takes_no_good_node_back() {
    for seconds in [1, 2, 4, 6, 8, 12] {
        let scene = Scene::new();
        scene.service("agent").global().order("stop-first").failure_action("pause").create();
        scene.swarm.until("three run", |swarm| swarm.running_images("agent").len() == 3).await;
        let new = scene.registry.release(APP, "new");
        scene.swarm.later(secs(seconds), |world| world.set_ready("node2", false));
        let report = scene.cycle().await;
        assert!(outcome(&report, "agent").is_success(), "{seconds}: {report:?}");
        let taken_back = scene.swarm.update_log().iter().any(|asked| asked.image() != new);
        assert!(!taken_back, "{seconds}");
        assert!(!is_held_back(&scene, "new"), "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_during_an_update_takes_no_good_task_back() {
    for seconds in [1, 3, 5, 8] {
        for order in ["start-first", "stop-first"] {
            let scene = Scene::new();
            scene.service("web").replicas(4).order(order).failure_action("pause").create();
            scene.registry.release(APP, "new");
            scene.swarm.later(secs(seconds), |world| world.set_active("node2", false));
            let report = scene.cycle().await;
            assert!(outcome(&report, "web").is_success(), "{seconds} {order}: {report:?}");
            assert!(!is_held_back(&scene, "new"), "{seconds} {order}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_is_not_judged_by_the_dead_tasks_of_the_first() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 120);
    scene.service("web").failure_action("pause").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).for_the_first(1).crashes_after(secs(2), 3);
    let report = scene.cycle().await;
    assert!(outcome(&report, "web").cause().is_some_and(Cause::blames_image), "{report:?}");

    by_hand::release(
        &scene.config(),
        &std::sync::Arc::new(scene.swarm.clone()),
        &ReleaseTarget::Named("web".to_owned()),
    )
    .await
    .unwrap();
    scene.swarm.image(&new).never_gets_healthy();
    let report = scene.cycle().await;
    let cause = outcome(&report, "web").cause().unwrap_or_else(|| panic!("{report:?}"));
    assert!(cause.to_string().ends_with("(not healthy yet, if it has a health check)"), "{cause}");
    assert_eq!(finished(&report, "web").log, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_environment_during_an_update_supersedes_it_and_blames_nothing() {
    for action in ["pause", "rollback"] {
        let scene = Scene::new();
        scene.service("web").failure_action(action).monitor(secs(10)).create();
        scene.registry.release(APP, "new");
        scene.swarm.later(secs(3), |world| {
            world.change("web", |spec| {
                spec["TaskTemplate"]["ContainerSpec"]["Env"] = serde_json::json!(["BROKEN=hunter2"]);
            });
            let broken = ends_after(secs(1), 1);
            world.images.set(&pinned(APP, "new"), None, None, broken);
        });
        let report = scene.cycle().await;
        let Outcome::Superseded(how) = outcome(&report, "web") else { panic!("{action}: {report:?}") };
        assert!(how.contains("changed TaskTemplate.ContainerSpec.Env") && !how.contains("hunter2"), "{how}");
        assert!(!is_held_back(&scene, "new"), "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_and_replicas_that_are_changed_during_an_update_leave_it_watched() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").monitor(secs(10)).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(8), 3);
    scene.swarm.later(secs(3), |world| world.scale("web", 3));
    scene.swarm.later(secs(4), |world| world.set_label("web", "owner", "alice"));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 3]);
}

#[tokio::test(start_paused = true)]
async fn what_has_failed_stays_failed_when_a_user_changes_the_service_during_the_rollback() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").rollback_monitor(secs(20)).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 3);
    scene.swarm.later(secs(8), |world| {
        world.change("web", |spec| {
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = serde_json::json!(["A=1"]);
        });
    });
    let report = scene.cycle().await;
    let Outcome::Overtaken { cause, how } = outcome(&report, "web") else { panic!("{report:?}") };
    assert!(cause.blames_image() && how.contains("Env"), "{cause}; {how}");
    assert!(is_held_back(&scene, "bad") && report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_node_failure_and_a_time_limit_do_not_blame_the_image() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 120);
    scene.service("web").order("stop-first").failure_action("continue").monitor(secs(30)).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).on_node("node1").takes_to_pull(secs(900));
    scene.swarm.image(&new).on_node("node3").takes_to_pull(secs(900));
    scene.swarm.later(secs(6), |world| world.cut_power("node2"));
    scene.swarm.later(secs(40), |world| world.restore_power("node2"));
    let report = scene.cycle().await;
    let found = outcome(&report, "web");
    assert!(found.cause().is_none_or(|cause| !cause.blames_image()), "{report:?}");
    assert!(!is_held_back(&scene, "new"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_ratio_that_the_owner_allows_is_honoured() {
    for (ratio, is_allowed) in [(0.5, true), (0.4, true), (0.2, false), (0.0, false)] {
        let scene = Scene::new();
        scene.service("agent").global().failure_action("pause").max_failure_ratio(ratio).create();
        let new = scene.registry.release(APP, "new");
        scene.swarm.image(&new).on_node("node3").crashes_after(secs(2), 3);
        let report = scene.cycle().await;
        let found = outcome(&report, "agent");
        if is_allowed {
            is_updated_but(found, "2 of 3 tasks run, and --update-max-failure-ratio 0.");
            assert!(!is_held_back(&scene, "new"));
        } else {
            assert!(matches!(found, Outcome::RolledBack { .. }), "{ratio}: {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_no_place_but_a_paused_node_is_not_stopped() {
    for order in ["stop-first", "start-first"] {
        let scene = Scene::new();
        scene.service("db").replicas(1).order(order).constraint("node.hostname==node3").create();
        scene.swarm.node_is_paused("node3", true);
        let new = scene.registry.release(APP, "new");
        let report = scene.cycle().await;
        let Outcome::Unchanged(why) = outcome(&report, "db") else { panic!("{report:?}") };
        assert!(why.starts_with("node3 is paused: Swarm"), "{why}");
        assert_eq!(scene.swarm.running_images("db"), [pinned(APP, "old")]);
        scene.swarm.node_is_paused("node3", false);
        assert_eq!(outcome(&scene.cycle().await, "db"), &Outcome::Updated);
        assert_eq!(scene.swarm.running_images("db"), [new]);
    }
}
