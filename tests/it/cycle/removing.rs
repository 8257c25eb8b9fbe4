//! The image remover on one node.

use gantry::cycle::remover::{Removal, remove};
use gantry::swarm::Swarm;

use super::APP;
use crate::fake::{FakeSwarm, pinned, secs};

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
    let removal = remove(&swarm, &[pinned(APP, "old")]).await;
    assert_eq!(removal.removed, [pinned(APP, "old")]);
    assert!(swarm.local_image(&old.id).await.unwrap().is_none());
    // Nothing is there any more, which is not worth a word.
    assert_eq!(remove(&swarm, &[pinned(APP, "old")]).await, Removal::default());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_runs_is_kept_after_the_time_that_a_stop_may_take() {
    let swarm = node_with_an_old_image().await;
    let begun = tokio::time::Instant::now();
    let removal = remove(&swarm, &[pinned(APP, "new"), pinned(APP, "old")]).await;
    assert_eq!(removal.removed, [pinned(APP, "old")]);
    assert!(removal.kept[0].1.contains("uses it"), "{removal:?}");
    assert!(begun.elapsed() >= secs(30));
}

#[test]
fn a_removal_is_found_again_among_log_lines() {
    let removal = Removal {
        removed: vec![pinned(APP, "old")],
        kept: vec![("a".into(), "b \"c\"".into())],
        failed: vec![("d".into(), "e".into())],
    };
    assert_eq!(Removal::from_line(&removal.to_line()), Some(removal));
    assert_eq!(Removal::from_line("2026-11-23T11:20:00Z INFO node1 started"), None);
    assert_eq!(Removal::from_line(r#"{"level":"INFO"}"#), None);
}
