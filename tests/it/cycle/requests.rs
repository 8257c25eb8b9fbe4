//! What a cycle costs the engine and the registries.

use std::time::Duration;

use gantry::cycle;
use gantry::model::outcome::Outcome;

use super::{APP, Scene, count};
use crate::fake::{Call, secs};

#[tokio::test(start_paused = true)]
async fn a_cycle_without_changes_takes_three_engine_requests_and_one_per_group() {
    let scene = Scene::new();
    for index in 0..40 {
        scene.service(&format!("web-{index}")).create();
    }
    // The first also lists all services, for labels in the wrong place.
    let context = scene.context();
    cycle::run(&context).await;
    scene.swarm.clear_log();
    scene.registry.clear_log();
    let report = cycle::run(&context).await;
    assert_eq!(count(&report, "up to date"), 40);
    let calls: Vec<Call> = scene.swarm.call_log().into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls, [Call::Engine, Call::Config, Call::Services]);
    assert_eq!((scene.registry.lookups().len(), scene.registry.manifest_requests()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn look_ups_run_as_many_at_a_time_as_there_are_workers_for_them() {
    let scene = Scene::new().with("GANTRY_MANIFEST_NUM_WORKERS", 4);
    scene.registry.set_latency(secs(1));
    for index in 0..20 {
        let image = format!("registry.test/app-{index}:1");
        let pinned = scene.registry.release(&image, "old");
        scene.service(&format!("web-{index}")).image(&pinned).create();
    }
    assert_eq!(count(&scene.cycle().await, "up to date"), 20);
    assert_eq!(scene.registry.most_at_work(), 4);
}

/// Updates 100 services and returns the engine's requests per second, beside the updates themselves,
/// and in all per update.
async fn load(workers: usize) -> (f64, f64) {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", workers);
    for index in 0..100 {
        scene.service(&format!("web-{index:03}")).replicas(1).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.clear_log();
    let report = scene.cycle().await;
    assert!(report.finished().all(|finished| finished.outcome == Outcome::Updated));
    let calls = scene.swarm.call_log();
    let took = calls.last().unwrap().0.saturating_sub(calls[0].0);
    let watching = calls.iter().filter(|(_, call)| !matches!(call, Call::Update | Call::Service)).count();
    let most = most_in_flight(&scene.swarm.update_log().iter().map(|asked| asked.at).collect::<Vec<_>>());
    assert!(most <= workers, "{most} updates were begun within the time of one, with {workers} workers");
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    (watching as f64 / took.as_secs_f64(), calls.len() as f64 / 100.0)
}

/// How many updates at most were begun within five seconds, which is less than any of them takes.
fn most_in_flight(begun: &[Duration]) -> usize {
    let within = |first: &Duration| {
        begun.iter().filter(|at| **at >= *first && at.saturating_sub(*first) < Duration::from_secs(5)).count()
    };
    begun.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn engine_requests_per_second_do_not_grow_with_the_number_of_workers() {
    let (five, _) = load(5).await;
    let (fifty, per_update) = load(50).await;
    // A rollout with more workers is shorter, and has as many looks before the updates and one at its end.
    assert!(fifty <= five * 1.5, "{five} a second with 5 workers, {fifty} with 50");
    assert!(per_update <= 4.0, "{per_update} requests per update");
}
