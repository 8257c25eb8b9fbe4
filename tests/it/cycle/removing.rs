//! The image remover on one node.

use std::time::Duration;

use gantry::cycle::Report;
use gantry::cycle::cleanup::{Cleaned, Leftovers, REMOVER_NAME};
use gantry::cycle::remover::{Removal, remove};
use gantry::model::outcome::Outcome;
use gantry::swarm::Swarm;
use tokio::time::Instant;

use super::{APP, Scene};
use crate::fake::{Call, FakeSwarm, millis, pinned, secs};

/// One node with an image that no service needs any more, and an ended task's container of it.
async fn node_with_an_old_image() -> FakeSwarm {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.new_service("web").image(&pinned(APP, "old")).create();
    swarm.now(|world| world.set_image("web", &pinned(APP, "new")));
    tokio::time::sleep(secs(60)).await;
    swarm
}

#[tokio::test(start_paused = true)]
async fn ended_containers_go_first_and_then_the_image() {
    let swarm = node_with_an_old_image().await;
    let old = swarm.local_image(&pinned(APP, "old").replace(":1@", "@")).await.unwrap().unwrap();
    assert!(!swarm.containers_of(&old.id).await.unwrap().is_empty());
    let removal = remove(&swarm, &[pinned(APP, "old")], REMOVER_NAME).await;
    assert_eq!(removal.removed, [pinned(APP, "old")]);
    assert!(swarm.local_image(&old.id).await.unwrap().is_none());
    // Nothing is there any more, which is not worth a word.
    assert_eq!(remove(&swarm, &[pinned(APP, "old")], REMOVER_NAME).await, Removal::default());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_runs_is_kept_after_the_time_that_a_stop_may_take() {
    let swarm = node_with_an_old_image().await;
    let begun = tokio::time::Instant::now();
    let removal = remove(&swarm, &[pinned(APP, "new"), pinned(APP, "old")], REMOVER_NAME).await;
    assert_eq!(removal.removed, [pinned(APP, "old")]);
    assert!(removal.kept[0].1.contains("uses it"), "{removal:?}");
    assert!(begun.elapsed() >= secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_somebody_has_made_a_container_of_by_hand_is_kept_for_it_and_nobody_waits() {
    for (state, words) in
        [("exited", "needs it to be started again"), ("created", "uses it"), ("running", "uses it")]
    {
        let swarm = node_with_an_old_image().await;
        let old = pinned(APP, "old");
        let container = swarm.make_by_hand("node1", &old, state);
        let begun = tokio::time::Instant::now();
        let removal = remove(&swarm, std::slice::from_ref(&old), REMOVER_NAME).await;
        let kept = vec![(old.clone(), format!("container {} {words}", &container[..12]))];
        assert_eq!(removal, Removal { kept, ..Removal::default() }, "{state}");
        assert!(begun.elapsed() < secs(1), "{state}: nothing says that it ends soon");
        assert!(swarm.container(&container).await.unwrap().is_some(), "{state}");
        assert!(swarm.local_image(&old.replace(":1@", "@")).await.unwrap().is_some(), "{state}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_container_is_slow_to_stop_is_removed_by_a_later_cycle() {
    let mut scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", true);
    scene.swarm = FakeSwarm::with_nodes(1);
    let old = pinned(APP, "old");
    scene.swarm.image(&old).takes_to_stop(secs(120));
    scene.service("web").replicas(1).create();
    scene.registry.release(APP, "new");
    let mut leftovers = Leftovers::default();
    let is_here =
        async |scene: &Scene| scene.swarm.local_image(&old.replace(":1@", "@")).await.unwrap().is_some();
    let report = scene.cycle().await;
    assert_eq!((report.updated().count(), is_here(&scene).await), (1, true));
    leftovers.follow(report.cleanup.as_ref());
    assert_eq!(leftovers.images().len(), 1);

    tokio::time::sleep(secs(120)).await;
    scene.leftovers = leftovers.images();
    let report = scene.cycle().await;
    assert!(!is_here(&scene).await, "{report:?}");
    leftovers.follow(report.cleanup.as_ref());
    assert!(leftovers.images().is_empty());
}

#[test]
fn what_cannot_be_removed_is_not_tried_for_ever() {
    let mut leftovers = Leftovers::default();
    let silent =
        Cleaned { images: vec![pinned(APP, "old")], silent: vec!["node2".to_owned()], ..Cleaned::default() };
    let mut cycles = 0;
    leftovers.follow(Some(&silent));
    while !leftovers.images().is_empty() {
        // A cycle that cleans nothing changes nothing.
        leftovers.follow(None);
        leftovers.follow(Some(&silent));
        cycles += 1;
    }
    assert_eq!(cycles, 3);
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_reports_nothing_is_no_slow_one() {
    let other = pinned("registry.test/alpine:1", "other");
    let scene =
        Scene::new().with("GANTRY_CLEANUP_IMAGES", true).with("GANTRY_CLEANUP_IMAGES_REMOVER", &other);
    scene.service("web").create();
    scene.registry.release(APP, "new");
    scene.swarm.image(&other).exits_after(millis(100)).logging(&["hello"]);
    let (report, took) = cleaned_up(&scene).await;
    assert!(took < secs(10), "{took:?}");
    let cleaned = report.cleanup.unwrap();
    assert_eq!(cleaned.nodes.len(), 3, "{cleaned:?}");
    for removal in cleaned.nodes.values() {
        let [(_, why)] = &removal.failed[..] else { panic!("{removal:?}") };
        assert!(why.contains(&other) && why.contains("GANTRY_CLEANUP_IMAGES_REMOVER"), "{why}");
    }
    assert_eq!((&cleaned.problem, cleaned.silent.len()), (&None, 0));
    let mut leftovers = Leftovers::default();
    leftovers.follow(Some(&cleaned));
    assert!(leftovers.images().is_empty(), "{leftovers:?}");
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_remover_that_has_ended_may_come_a_moment_later() {
    let other = pinned("registry.test/gantry:2", "other");
    let scene =
        Scene::new().with("GANTRY_CLEANUP_IMAGES", true).with("GANTRY_CLEANUP_IMAGES_REMOVER", &other);
    scene.service("web").create();
    scene.registry.release(APP, "new");
    let report = Removal { removed: vec![pinned(APP, "old")], ..Removal::default() }.to_line();
    scene.swarm.image(&other).exits_after(millis(100)).logging(&[&report]).whose_log_comes_after(millis(600));
    let (report, _) = cleaned_up(&scene).await;
    let cleaned = report.cleanup.unwrap();
    let removed: Vec<usize> = cleaned.nodes.values().map(|removal| removal.removed.len()).collect();
    assert_eq!(removed, [1, 1, 1], "{cleaned:?}");
}

/// A cycle, and how long it took from the start of the remover.
async fn cleaned_up(scene: &Scene) -> (Report, Duration) {
    let begun = Instant::now();
    let report = scene.cycle().await;
    (report, begun.elapsed().saturating_sub(scene.swarm.calls(Call::Create)[0]))
}

#[tokio::test(start_paused = true)]
async fn what_a_service_without_tasks_has_left_is_removed_as_well() {
    let scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", true);
    scene.service("idle").replicas(0).create();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    assert!(matches!(super::outcome(&report, "idle"), Outcome::Started(_)), "{report:?}");
    assert_eq!(report.cleanup.unwrap().images, [pinned(APP, "old")]);
}

#[test]
fn a_removal_is_found_again_among_log_lines() {
    let removal = Removal {
        removed: vec![pinned(APP, "old")],
        kept: vec![("a".into(), "b \"c\"".into())],
        in_use: vec!["a".into()],
        failed: vec![("d".into(), "e".into())],
    };
    assert_eq!(Removal::from_line(&removal.to_line()), Some(removal));
    assert_eq!(Removal::from_line("2026-11-23T11:20:00Z INFO node1 started"), None);
    assert_eq!(Removal::from_line(r#"{"level":"INFO"}"#), None);
}

/// One node whose service named [`APP`] by its tag alone, and names this digest since.
async fn node_with_a_replaced_tag(now: &str) -> (FakeSwarm, String) {
    let swarm = FakeSwarm::with_nodes(1);
    swarm.new_service("web").image(APP).create();
    tokio::time::sleep(secs(10)).await;
    let task = swarm.tasks_of("web")[0].id.clone();
    let now = pinned(APP, now);
    swarm.now(move |world| world.set_image("web", &now));
    tokio::time::sleep(secs(60)).await;
    (swarm, task)
}

fn order(tasks: &[&str], needed: &[&str]) -> String {
    let needed: Vec<String> = needed.iter().map(|name| crate::fake::digest(name).to_string()).collect();
    format!("{APP}?tasks={}&needed={}", tasks.join(","), needed.join(","))
}

#[tokio::test(start_paused = true)]
async fn a_tag_means_what_the_replaced_tasks_ran_wherever_it_stands() {
    let (swarm, task) = node_with_a_replaced_tag("new").await;
    let old = swarm.local_image(APP).await.unwrap().unwrap();
    let new = swarm.local_image(&pinned(APP, "new")).await.unwrap().unwrap();
    // By then somebody has pulled the tag, and it stands at the new image.
    swarm.now(|world| world.move_tag("node1", APP, &pinned(APP, "new")));
    assert_eq!(swarm.local_image(APP).await.unwrap().unwrap().id, new.id);
    let removal = remove(&swarm, &[order(&[&task], &["new"])], REMOVER_NAME).await;
    assert_eq!(removal, Removal { removed: vec![APP.to_owned()], ..Removal::default() });
    assert!(swarm.local_image(&old.id).await.unwrap().is_none());
    assert!(swarm.local_image(&new.id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn of_a_tag_nothing_goes_that_no_replaced_task_ran_or_a_service_needs() {
    let (swarm, task) = node_with_a_replaced_tag("new").await;
    let old = swarm.local_image(APP).await.unwrap().unwrap();
    for words in [APP.to_owned(), order(&[], &[]), order(&["another"], &[])] {
        let removal = remove(&swarm, &[words], REMOVER_NAME).await;
        assert_eq!(removal.removed, [""; 0]);
        assert!(swarm.local_image(&old.id).await.unwrap().is_some());
    }
    // What the tag stood for is what the service is pinned to now.
    swarm.now(|world| world.name_image("node1", APP, &pinned(APP, "same")));
    let removal = remove(&swarm, &[order(&[&task], &["same"])], REMOVER_NAME).await;
    assert!(removal.kept[0].1.starts_with("a service needs "), "{removal:?}");
    assert!(swarm.local_image(&old.id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cycle_removes_what_a_tag_stood_for_on_its_node() {
    let mut scene = Scene::new().with("GANTRY_CLEANUP_IMAGES", true);
    scene.swarm = FakeSwarm::with_nodes(1);
    scene.service("web").image(APP).replicas(1).create();
    // Another one, which Gantry leaves alone, with a container of the same tag.
    tokio::time::sleep(secs(10)).await;
    let old = scene.swarm.local_image(APP).await.unwrap().unwrap();
    scene.registry.release(APP, "new");
    let report = scene.cycle().await;
    let removal = &report.cleanup.unwrap().nodes["this node"];
    assert_eq!(removal.removed, [APP], "{removal:?}");
    assert!(scene.swarm.local_image(&old.id).await.unwrap().is_none());
    assert!(scene.swarm.local_image(&pinned(APP, "new")).await.unwrap().is_some());
}
