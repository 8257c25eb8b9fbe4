//! Images that run through the monitor period and die afterwards.

use gantry::cycle::Report;
use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};

use super::{APP, Scene, outcome};
use crate::fake::{Call, pinned, secs};

fn many(scene: &Scene, services: usize) {
    for index in 0..services {
        scene.service(&format!("web-{index}")).replicas(1).create();
    }
}

/// How many services ended in a failure that came late.
fn late(report: &Report) -> usize {
    let is_late = |outcome: &Outcome| {
        matches!(outcome, Outcome::RolledBack { by: By::Gantry, cause: Cause::Late { .. } })
    };
    report.finished().filter(|finished| is_late(&finished.outcome)).count()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_dies_after_its_monitor_period_stops_its_rollout() {
    let scene = Scene::new();
    many(&scene, 40);
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    let report = scene.cycle().await;
    assert!(report.has_failed(), "{report:?}");
    assert_eq!((report.updated().count(), report.stopped.len()), (0, 1), "{report:?}");
    assert!(report.held().count() >= 20, "{}", report.summary());
    assert_eq!(late(&report) + report.held().count(), 40, "{report:?}");
    for index in 0..40 {
        assert_eq!(scene.swarm.running_images(&format!("web-{index}")), [pinned(APP, "old")], "{report:?}");
    }
    let labels = scene.swarm.config("gantry").unwrap().labels;
    let image = labels.iter().find(|(key, _)| key.starts_with("gantry.image.")).unwrap();
    assert!(image.1.starts_with("quarantined"), "{labels:?}");
    // Nothing more is sent.
    let sent = scene.swarm.update_log().len();
    scene.cycle().await;
    assert_eq!(scene.swarm.update_log().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_that_must_not_be_rolled_back_is_kept() {
    let scene = Scene::new().with("GANTRY_ROLLBACK_ON_FAILURE", false);
    many(&scene, 8);
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), report.stopped.len()), (0, 1), "{report:?}");
    assert!(matches!(outcome(&report, "web-0"), Outcome::Failed { cause: Cause::Late { .. } }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_is_not_rolled_back_over_another_image() {
    let scene = Scene::new();
    many(&scene, 8);
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    scene.swarm.later(secs(11), |world| world.set_image("web-0", &pinned("registry.test/other:1", "theirs")));
    let report = scene.cycle().await;
    assert_eq!(scene.swarm.image_of("web-0"), pinned("registry.test/other:1", "theirs"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_a_lost_node_takes_with_it_is_no_late_failure() {
    let scene = Scene::new();
    many(&scene, 8);
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(10), |world| world.cut_power("node3"));
    scene.swarm.later(secs(25), |world| world.restore_power("node3"));
    let report = scene.cycle().await;
    assert_eq!((late(&report), report.stopped.len()), (0, 0), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_old_image_failed_as_well_is_not_blamed_on_the_new_one() {
    let scene = Scene::new();
    let flaky = "registry.test/flaky:1";
    scene.registry.release(flaky, "old");
    scene.swarm.image(flaky).crashes_after(secs(12), 1);
    let service = scene.swarm.new_service("flaky").image(&pinned(flaky, "old")).replicas(1);
    service.label("gantry.enable", "true").deploy();
    scene.swarm.until("a failure", |swarm| swarm.tasks_of("flaky").len() > 1).await;
    many(&scene, 8);
    scene.registry.release(flaky, "new");
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert_eq!(late(&report), 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_services_are_watched_on_with_few_requests() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 10);
    for index in 0..100 {
        scene.service(&format!("web-{index:03}")).replicas(1).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.clear_log();
    let report = scene.cycle().await;
    assert_eq!(report.updated().count(), 100);
    let calls = scene.swarm.call_log();
    let took = calls.last().unwrap().0.saturating_sub(calls[0].0);
    let looks = calls.iter().filter(|(_, call)| *call == Call::Tasks).count();
    assert!(looks as u64 <= took.as_secs() * 3, "{looks} looks in {took:?}");
    assert!(
        scene.swarm.most_watched() >= 90,
        "the last look shows all of them: {}",
        scene.swarm.most_watched()
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_starts_again_only_what_failed_is_watched_on_as_well() {
    let scene = Scene::new();
    for index in 0..40 {
        scene.service(&format!("web-{index}")).replicas(1).restart_condition("on-failure").create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), report.stopped.len()), (0, 1), "{report:?}");
    assert!(report.held().count() >= 20, "{}", report.summary());
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_old_image_long_ago_does_not_hide_that_of_the_new_one() {
    let scene = Scene::new();
    let flaky = "registry.test/flaky:1";
    let old = scene.registry.release(flaky, "old");
    scene.swarm.image(&old).for_the_first(1).crashes_after(secs(12), 1);
    for index in 0..8 {
        let service = scene.swarm.new_service(&format!("web-{index}")).image(&old).replicas(1);
        service.label("gantry.enable", "true").deploy();
    }
    scene
        .swarm
        .until("a failure", |swarm| (0..8).any(|index| swarm.tasks_of(&format!("web-{index}")).len() > 1))
        .await;
    tokio::time::sleep(secs(3600)).await;
    let bad = scene.registry.release(flaky, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), report.stopped.len()), (0, 1), "{report:?}");
}
