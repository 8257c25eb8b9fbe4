//! An engine that is no manager any more: a definite answer, which ends the run when it lasts.

use gantry::cycle;
use gantry::daemon::End;
use gantry::model::outcome::Outcome;
use gantry::swarm::ManagerStatus;
use tokio::time::{Instant, sleep};

use super::daemon::daemon;
use super::{APP, Scene, outcome};
use crate::fake::{millis, secs};
use crate::support::log::Log;

/// Three services whose update takes ten minutes each, one after the other.
fn slow() -> Scene {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
    for index in 0..3 {
        scene.service(&format!("web-{index}")).create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(600));
    scene
}

fn is_demoted_after(scene: &Scene, seconds: u64, until: Option<u64>) {
    let swarm = scene.swarm.clone();
    tokio::spawn(async move {
        sleep(secs(seconds)).await;
        swarm.node_is_manager("node1", false);
        if let Some(until) = until {
            sleep(secs(until - seconds)).await;
            swarm.node_is_manager("node1", true);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_demoted_for_a_minute_ends_the_run() {
    let scene = slow();
    is_demoted_after(&scene, 30, None);
    let log = Log::from_level("INFO");
    let begun = Instant::now();
    let context = scene.context();
    let report = cycle::run(&context).await;
    let took = begun.elapsed();
    assert!(took >= secs(90) && took < secs(130), "{took:?}");
    assert!(report.has_failed() && report.is_interrupted, "{report:?}");
    assert_eq!(outcome(&report, "web-0"), &Outcome::Interrupted);
    assert_eq!((report.held().count(), scene.swarm.update_log().len()), (2, 1));
    let summary = report.summary();
    assert!(
        summary
            .starts_with("cycle failed, 1 interrupted: this engine is not a manager of the swarm any more"),
        "{summary}"
    );
    assert_eq!(log.lines_with("the engine is no manager at the moment").len(), 1);
    assert!(log.lines_with("does not answer").is_empty());
    let illness = context.heartbeat.illness();
    assert!(illness.as_deref().is_some_and(|words| words.contains("not a manager")), "{illness:?}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_promoted_again_within_a_minute_goes_on() {
    let scene = slow();
    is_demoted_after(&scene, 30, Some(80));
    let context = scene.context();
    let report = cycle::run(&context).await;
    assert_eq!(report.updated().count(), 3, "{report:?}");
    assert!(!report.has_failed() && context.heartbeat.illness().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_demotion_in_the_middle_of_a_rollback_is_no_failed_rollback() {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(10), 1);
    is_demoted_after(&scene, 1, None);
    let report = scene.cycle().await;
    assert!(report.is_interrupted && report.has_failed());
    assert_eq!(outcome(&report, "web"), &Outcome::Interrupted, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_single_run_ends_badly_and_a_daemon_is_unhealthy_until_it_is_a_manager_again() {
    let scene = slow();
    is_demoted_after(&scene, 30, None);
    assert_eq!(daemon(&scene).run(|_| {}).await, End::Failed);

    let scene = slow().with("GANTRY_SLEEP_SECONDS", 60);
    is_demoted_after(&scene, 30, Some(400));
    let daemon = daemon(&scene);
    let heartbeat = daemon.heartbeat.clone();
    let (stop, ill) = (scene.stop.clone(), heartbeat.clone());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        for at in [20, 200, 380, 1000] {
            let now = Instant::now();
            sleep(secs(at).saturating_sub(now.elapsed())).await;
            seen.push(ill.illness().is_some());
        }
        seen
    });
    let watch = async {
        sleep(secs(3000)).await;
        stop.cancel();
    };
    let (end, ()) = tokio::join!(daemon.run(|_| {}), watch);
    assert_eq!(end, End::Good, "told to stop");
    assert!(seen.await.unwrap().contains(&true));
    assert_eq!(heartbeat.illness(), None, "it is a manager again");
}

#[tokio::test(start_paused = true)]
async fn a_demotion_before_the_first_update_ends_the_run_as_well() {
    let scene = slow();
    // Without a leader nothing begins.
    let without_leader = ManagerStatus { is_leader: false, is_reachable: true };
    scene.swarm.now(|world| world.nodes[0].node.manager = Some(without_leader));
    is_demoted_after(&scene, 5, None);
    let begun = Instant::now();
    let report = tokio::time::timeout(secs(600), cycle::run(&scene.context())).await.expect("it ends");
    assert!(report.has_failed() && begun.elapsed() < secs(200), "{:?} {report:?}", begun.elapsed());
    assert!(scene.swarm.update_log().is_empty(), "{:?}", scene.swarm.update_log());
    assert!(report.summary().contains("not a manager of the swarm any more"), "{}", report.summary());
}
