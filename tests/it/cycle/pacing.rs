//! How an image spreads from service to service, and how far a bad one gets.

use gantry::model::finished::NotBegunReason;
use gantry::model::outcome::Outcome;
use gantry::model::progress::Counts;
use tokio::time::Instant;

use super::{APP, Scene, count, outcome};
use crate::fake::{millis, pinned, secs};

/// The services in the order in which they were sent the image.
fn sent(scene: &Scene, image: &str) -> Vec<String> {
    let log = scene.swarm.update_log();
    let sent = log.into_iter().filter(|asked| asked.image() == image && !asked.is_rollback);
    sent.map(|asked| asked.service).collect()
}

#[tokio::test(start_paused = true)]
async fn a_broken_image_touches_two_services_of_1200_and_the_report_says_so() {
    let scene = Scene::new();
    for index in 0..1200 {
        scene.service(&format!("site-{index:04}")).replicas(1).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3).logging(&["out of luck"]);

    let report = scene.cycle().await;

    assert_eq!(sent(&scene, &bad), ["site-0000", "site-0001"]);
    assert!(report.summary().contains("stopped after 2 of 1,200"), "{}", report.summary());
    assert!(report.has_failed());
    let [stopped] = &report.stopped[..] else { panic!("{:?}", report.stopped) };
    assert_eq!((stopped.touched, stopped.failed, stopped.total), (2, 2, 1200));
    assert!(stopped.blames_image && stopped.image.to_string() == bad, "{stopped:?}");
    assert!(stopped.causes[0].contains("a task failed on node"), "{stopped:?}");
    assert_eq!(report.held().count(), 1198);
    assert!(report.held().all(|row| row.why_held() == Some(&NotBegunReason::RolloutStopped)));
    assert_eq!(scene.swarm.running_images("site-0000"), [pinned(APP, "old")]);
    assert_eq!(scene.swarm.image_of("site-0002"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn the_world_shows_a_rollout_while_it_widens() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 4);
    for index in 0..9 {
        scene.service(&format!("site-{index}")).replicas(1).create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(20));
    let (world, events) = super::world();
    let context = scene.context_with(events);
    let look = async {
        let mut seen = Vec::new();
        for _ in 0..4 {
            tokio::time::sleep(secs(15)).await;
            let world = world.lock().unwrap();
            let rollout = &world.rollouts[&new];
            let Counts { width, under_way, touched, succeeded, .. } = rollout.at.counts;
            assert_eq!(rollout.at.canary, ["site-0"], "{rollout:?}");
            assert_eq!((rollout.at.from.to_string(), rollout.state()), (pinned(APP, "old"), "running"));
            assert_eq!(rollout.at.counts.waiting(), 9 - touched);
            seen.push((width, under_way, touched, succeeded));
        }
        seen
    };
    let (report, seen) = tokio::join!(gantry::cycle::run(&context), look);
    assert_eq!(count(&report, "updated"), 9);
    // A canary, then two at once, then four.
    assert_eq!(seen, [(1, 1, 1, 0), (2, 2, 3, 1), (2, 2, 3, 1), (4, 4, 7, 3)]);
    let world = world.lock().unwrap();
    assert_eq!((world.rollouts[&new].state(), world.rollouts[&new].at.counts.succeeded), ("done", 9));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_whose_updates_all_fail_at_once_is_stopped() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 3);
    for index in 0..3 {
        scene.service(&format!("site-{index}")).replicas(1).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let (world, events) = super::world();
    let report = gantry::cycle::run(&scene.context_with(events)).await;
    assert_eq!(count(&report, "rolled back"), 3);
    let world = world.lock().unwrap();
    assert_eq!((world.rollouts[&bad].state(), world.rollouts[&bad].is_over), ("stopped", true));
    assert!(!report.summary().contains("stopped"), "nothing was left to stop: {}", report.summary());
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_image_did_before_a_kill_counts_after_it() {
    let scene = Scene::new();
    for index in 0..10 {
        scene.service(&format!("site-{index}")).replicas(1).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let context = scene.context();
    tokio::select! {
        report = gantry::cycle::run(&context) => panic!("it is over already: {report:?}"),
        () = scene.swarm.until("a rollback", |swarm| swarm.update_log().iter().any(|asked| asked.is_rollback)) => {}
    }
    drop(context);
    tokio::time::sleep(secs(60)).await;

    let report = scene.cycle().await;

    assert_eq!(sent(&scene, &bad), ["site-0", "site-1"]);
    assert!(report.summary().contains("stopped after 2 of 10"), "{}", report.summary());
    let last = scene.cycle().await;
    assert_eq!((sent(&scene, &bad).len(), count(&last, "left alone")), (2, 10), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_broke_enough_services_in_earlier_cycles_is_offered_to_no_other() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_MIN_FAILURES", 3);
    let service = |index: usize| scene.service(&format!("site-{index}")).replicas(1).create();
    (0..2).for_each(|index| _ = service(index));
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    let report = scene.cycle().await;
    assert!(report.stopped.is_empty() && report.finished().count() == 2, "{report:?}");

    (2..5).for_each(|index| _ = service(index));
    let scene = scene.with("GANTRY_ROLLOUT_MIN_FAILURES", 2);
    let report = scene.cycle().await;

    assert_eq!(sent(&scene, &bad), ["site-0", "site-1"]);
    assert!(report.summary().contains("stopped after 2 of 5"), "{}", report.summary());
    assert!(report.stopped[0].causes[0].contains("a task failed on node"), "{report:?}");
    assert!(report.has_failed());
    // A person's word for one of them is not stopped by what the others went through.
    let target = gantry::ledger::release::ReleaseTarget::Named("site-4".to_owned());
    gantry::cycle::by_hand::release(&scene.config(), &std::sync::Arc::new(scene.swarm.clone()), &target)
        .await
        .unwrap();
    scene.cycle().await;
    assert_eq!(sent(&scene, &bad), ["site-0", "site-1", "site-4"]);
}

#[tokio::test(start_paused = true)]
async fn a_good_image_begins_with_one_service_and_then_reaches_all() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 16);
    for index in 0..60 {
        scene.service(&format!("site-{index:02}")).replicas(1).create();
    }
    let new = scene.registry.release(APP, "new");
    let begun = Instant::now();
    let (report, one) = tokio::join!(scene.cycle(), async {
        scene
            .swarm
            .until("the canary is done", |swarm| {
                let done = swarm.state_of("site-00") == Some(gantry::swarm::UpdateState::Completed);
                let others = sent(&scene, &new).len();
                assert!(done || others <= 1, "{others} before the first one was done");
                done
            })
            .await;
        begun.elapsed()
    });
    assert_eq!(report.updated().count(), 60);
    assert!(report.stopped.is_empty() && report.held().next().is_none() && !report.has_failed());
    // 1, 2, 4, 8, 16, 16, 13: three more than at full width. A second for each round, because looks are taken.
    let took = begun.elapsed();
    assert!(took <= (one + secs(2)) * 8, "{took:?} for rounds of {one:?}");
}

#[tokio::test(start_paused = true)]
async fn good_canaries_go_first() {
    let scene = Scene::new();
    let check = serde_json::json!({ "Test": ["CMD", "true"] });
    let no_check = serde_json::json!({ "Test": ["NONE"] });
    let checked = |name: &str, check: serde_json::Value| {
        let service = scene.service(name).replicas(1);
        service.edit(|spec| spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = check).create();
    };
    scene.service("a-without-tasks").replicas(0).create();
    scene.service("b-single").replicas(1).create();
    checked("c-switched-off", no_check);
    scene.service("d-several").replicas(2).create();
    checked("e-checked", check);
    scene.service("f-chosen").replicas(1).label("gantry.rollout.canary", "true").create();
    let new = scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    let order = ["f-chosen", "e-checked", "d-several", "b-single", "c-switched-off", "a-without-tasks"];
    assert_eq!(sent(&scene, &new), order, "{}", report.summary());
}

#[tokio::test(start_paused = true)]
async fn one_broken_image_does_not_hold_up_another_nor_a_service_of_its_own() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 4);
    scene.registry.release("registry.test/good:1", "old");
    scene.registry.release("registry.test/own:1", "old");
    for index in 0..20 {
        scene.service(&format!("bad-{index:02}")).replicas(1).create();
        let good = scene.service(&format!("good-{index:02}")).replicas(1);
        good.image(&pinned("registry.test/good:1", "old")).create();
    }
    scene.service("own").image(&pinned("registry.test/own:1", "old")).replicas(1).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.registry.release("registry.test/good:1", "new");
    scene.registry.release("registry.test/own:1", "new");
    let report = scene.cycle().await;
    assert_eq!(report.updated().count(), 21, "{}", report.summary());
    assert_eq!(outcome(&report, "own"), &Outcome::Updated);
    assert_eq!(sent(&scene, &bad).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_for_some_services_does_not_stop_the_others() {
    use crate::fake::{Call, Fault};
    use gantry::swarm::SwarmError;
    let scene = Scene::new();
    for index in 0..30 {
        scene.service(&format!("site-{index:02}")).replicas(1).create();
    }
    let new = scene.registry.release(APP, "new");
    for name in ["site-00", "site-01", "site-02", "site-20"] {
        let words = SwarmError::Refused("invalid mount target".into());
        scene.swarm.fail(Call::Update, Some(name), 1, Fault::Error(words));
    }
    let report = scene.cycle().await;
    assert_eq!(report.updated().count(), 26, "{}", report.summary());
    assert!(report.stopped.is_empty() && report.has_failed());
    assert_eq!(sent(&scene, &new).len(), 26);
}

#[tokio::test(start_paused = true)]
async fn services_that_were_down_before_do_not_blame_a_good_image() {
    let scene = Scene::new();
    let new = scene.registry.release(APP, "new");
    for image in [&pinned(APP, "old"), &new] {
        scene.swarm.image(image).on_node("node3").crashes_after(millis(300), 1);
    }
    // First by name, and one even by its label.
    for name in ["a1", "a2"] {
        let service = scene.service(name).replicas(1).constraint("node.hostname==node3");
        service.label("gantry.rollout.canary", "true").deploy();
    }
    for index in 0..10 {
        let service = scene.service(&format!("b{index}")).replicas(1);
        service.constraint("node.hostname!=node3").create();
    }
    tokio::time::sleep(secs(30)).await;

    for cycle in 0..2 {
        let report = scene.cycle().await;
        let counts = report.counts();
        assert!(report.stopped.is_empty() && report.held().next().is_none(), "{report:?}");
        assert_eq!(counts.get("updated"), [Some(&10), Some(&1)][cycle], "{report:?}");
        // One more comes up with the old image, which the new one is good for.
        let service = scene.service("c").replicas(1).constraint("node.hostname!=node3");
        if cycle == 0 {
            service.create();
        }
    }
    let labels = scene.swarm.config("gantry").unwrap().labels;
    let of_images = labels.iter().filter(|(key, _)| key.starts_with("gantry.image."));
    assert!(of_images.into_iter().all(|(_, text)| text.starts_with("offered ")), "{labels:?}");
    let sent = sent(&scene, &new);
    // The image is acquitted of what the old one does as well, so those two get it again: last, as before.
    assert!(sent.ends_with(&["a1", "a2", "c", "a1", "a2"].map(str::to_owned)), "{sent:?}");
}

/// Ten services for a node that is down, or goes down when they run, and so many others.
async fn with_a_node_down(others: usize, is_lost_later: bool) -> Scene {
    let scene = Scene::new();
    scene.swarm.node_is_ready("node3", is_lost_later);
    for index in 0..10 {
        let service = scene.service(&format!("a{index}")).replicas(1).constraint("node.hostname==node3");
        service.label("gantry.rollout.canary", "true").deploy();
    }
    for index in 0..others {
        let service = scene.service(&format!("b{index}")).replicas(1);
        service.constraint("node.hostname!=node3").create();
    }
    tokio::time::sleep(secs(30)).await;
    scene.swarm.node_is_ready("node3", false);
    tokio::time::sleep(secs(30)).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn services_that_no_node_takes_get_an_image_only_once_others_have_proved_it() {
    for is_lost_later in [false, true] {
        let scene = with_a_node_down(3, is_lost_later).await;
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(300), 3);
        let report = scene.cycle().await;
        assert_eq!(sent(&scene, &bad), ["b0", "b1"], "{report:?}");

        let good = scene.registry.release(APP, "good");
        let report = scene.cycle().await;
        assert_eq!(sent(&scene, &good).len(), 13, "{report:?}");
        assert_eq!(sent(&scene, &good)[..3], ["b0", "b1", "b2"], "{report:?}");
        assert_eq!(report.counts().get("started"), Some(&10), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn services_that_no_node_takes_are_updated_when_one_does_and_somebody_looks() {
    for is_lost_later in [false, true] {
        let scene = with_a_node_down(0, is_lost_later).await;
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(300), 3);
        for _ in 0..2 {
            let report = scene.cycle().await;
            assert_eq!(sent(&scene, &bad), [""; 0], "{report:?}");
            assert_eq!(report.summary(), "10 services: 10 unproved");
            assert!(
                report.held().all(|row| row.why_held() == Some(&NotBegunReason::Unproven))
                    && !report.has_failed()
            );
        }
        scene.swarm.node_is_ready("node3", true);
        tokio::time::sleep(secs(30)).await;
        let report = scene.cycle().await;
        assert_eq!(sent(&scene, &bad), ["a0", "a1"], "{report:?}");
        assert_eq!(scene.swarm.running_images("a0"), [pinned(APP, "old")]);
    }
}
