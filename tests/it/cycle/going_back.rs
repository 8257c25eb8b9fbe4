//! Tags that go back to an older digest, and registries that answer with two digests by turns.

use gantry::cycle::Report;
use gantry::model::decision::Reason;
use gantry::model::outcome::Outcome;
use gantry::model::row::State;
use tokio::time::sleep;

use super::{APP, Scene, outcome};
use crate::fake::{pinned, secs};
use crate::support::log::Log;

/// Three services that Gantry has moved from `old` to `new`.
async fn moved() -> Scene {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.service(name).replicas(1).create();
    }
    scene.registry.release(APP, "new");
    assert_eq!(scene.cycle().await.updated().count(), 3);
    scene
}

/// How many services were left alone as their tag has gone back.
fn doubted(report: &Report) -> usize {
    report.rows.iter().filter(|row| matches!(row.state, State::LeftAlone(Reason::GoneBack(_)))).count()
}

fn updates(scene: &Scene) -> usize {
    scene.swarm.update_log().len()
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_goes_to_and_fro_moves_nothing_and_warns_once() {
    // Each cycle is one process, and the same for a daemon's process.
    for is_daemon in [false, true] {
        let (scene, log) = (moved().await, Log::from_level("WARN"));
        let context = scene.context();
        for _ in 0..4 {
            for (tag, count) in [("old", 3), ("new", 0)] {
                scene.registry.release(APP, tag);
                let report = if is_daemon { gantry::cycle::run(&context).await } else { scene.cycle().await };
                assert_eq!((doubted(&report), report.finished().count()), (count, 0), "{report:?}");
                assert!(!report.has_failed());
                sleep(secs(300)).await;
            }
        }
        assert_eq!(updates(&scene), 3, "each service was moved once");
        let warnings = log.lines_with("the tag has gone back to");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("3 services have another digest"), "{warnings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_goes_back_and_stays_is_followed() {
    let scene = moved().await;
    scene.registry.release(APP, "old");
    for wait in [60, 120, 119] {
        assert_eq!(doubted(&scene.cycle().await), 3);
        sleep(secs(wait)).await;
    }
    sleep(secs(2)).await;
    let report = scene.cycle().await;
    assert_eq!(report.updated().count(), 3, "{report:?}");
    for name in ["a", "b", "c"] {
        assert_eq!(scene.swarm.image_of(name), pinned(APP, "old"));
    }
    // It moves on to what nobody had, and that is no way back.
    scene.registry.release(APP, "newer");
    assert_eq!(scene.cycle().await.updated().count(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_further_way_back_has_to_last_longer() {
    let scene = moved().await;
    for (tag, wait) in [("old", 5), ("new", 30), ("old", 180), ("new", 24 * 60 - 360)] {
        scene.registry.release(APP, tag);
        assert_eq!(doubted(&scene.cycle().await), 3, "{tag}");
        sleep(secs(wait * 60 - 30)).await;
        assert_eq!(doubted(&scene.cycle().await), 3, "{tag}");
        sleep(secs(60)).await;
        assert_eq!(scene.cycle().await.updated().count(), 3, "{tag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_updates_nothing_does_not_move_the_time_on() {
    let scene = moved().await;
    scene.registry.release(APP, "old");
    scene.cycle().await;
    sleep(secs(301)).await;
    // The rollout does not begin, as Gantry is told to stop; the next cycle has not to wait again.
    scene.stop.cancel();
    scene.cycle().await;
    assert_eq!(scene.again().cycle().await.updated().count(), 3);
}

#[tokio::test(start_paused = true)]
async fn servers_that_disagree_move_nothing_however_long() {
    let scene = moved().await;
    for turns in [["old", "new"], ["new", "old"]] {
        scene.registry.answer_alternately(APP, &turns);
        for _ in 0..40 {
            let report = scene.cycle().await;
            assert!(report.finished().next().is_none() && !report.has_failed(), "{report:?}");
            sleep(secs(600)).await;
        }
    }
    assert_eq!(updates(&scene), 3);
}

#[tokio::test(start_paused = true)]
async fn what_broke_a_service_is_remembered_while_its_tag_goes_to_and_fro() {
    let scene = Scene::new();
    scene.service("web").create();
    let other = "registry.test/other:1";
    scene.registry.release(other, "one");
    scene.service("other").image(&pinned(other, "one")).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(1), 3);
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    for (tag, release) in [("old", "two"), ("bad", "three")] {
        scene.registry.release(APP, tag);
        // An update of something else: the ledger is tidied then.
        scene.registry.release(other, release);
        let report = scene.cycle().await;
        assert_eq!(outcome(&report, "other"), &Outcome::Updated, "{report:?}");
        assert_eq!(report.finished().count(), 1, "{report:?}");
        sleep(secs(60)).await;
    }
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}
