//! What a cycle costs the engine and the registries.

use std::collections::BTreeMap;
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

/// Rolls an image out to so many services, whose updates take 5 to 11 seconds, and returns how long that took and the reads
/// of the engine, each as often as it came.
async fn load(services: usize, settings: &[(&'static str, usize)]) -> (Duration, BTreeMap<Call, usize>) {
    let scene = settings.iter().fold(Scene::new(), |scene, (name, value)| scene.with(name, *value));
    for index in 0..services {
        let monitor = secs(5 + index as u64 % 7);
        scene.service(&format!("web-{index:03}")).replicas(1).monitor(monitor).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.clear_log();
    let report = scene.cycle().await;
    assert!(report.finished().all(|finished| finished.outcome == Outcome::Updated));
    assert_eq!(report.finished().count(), services);
    let calls = scene.swarm.call_log();
    let took = calls.last().unwrap().0.saturating_sub(calls[0].0);
    let workers = settings.iter().find(|(name, _)| *name == "GANTRY_UPDATE_NUM_WORKERS").unwrap().1;
    let most = most_in_flight(&scene.swarm.update_log().iter().map(|asked| asked.at).collect::<Vec<_>>());
    assert!(most <= workers, "{most} updates were begun within the time of one, with {workers} workers");
    let mut reads = BTreeMap::new();
    let writes = [Call::Update, Call::CreateConfig, Call::UpdateConfig, Call::RemoveConfig];
    for (_, call) in calls.into_iter().filter(|(_, call)| !writes.contains(call)) {
        *reads.entry(call).or_default() += 1;
    }
    (took, reads)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn per_second((took, reads): &(Duration, BTreeMap<Call, usize>)) -> f64 {
    reads.values().sum::<usize>() as f64 / took.as_secs_f64()
}

/// How many updates at most were begun within five seconds, which is less than any of them takes.
fn most_in_flight(begun: &[Duration]) -> usize {
    let within = |first: &Duration| {
        begun.iter().filter(|at| **at >= *first && at.saturating_sub(*first) < Duration::from_secs(5)).count()
    };
    begun.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn reads_per_second_do_not_grow_with_the_number_of_workers() {
    let five = load(100, &[("GANTRY_UPDATE_NUM_WORKERS", 5)]).await;
    let fifty = load(100, &[("GANTRY_UPDATE_NUM_WORKERS", 50)]).await;
    // A rollout with more workers is shorter, and has one look at its end as well.
    assert!(per_second(&fifty) <= per_second(&five) * 1.5, "{five:?} {fifty:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_reads_at_most_four_times_a_second() {
    let wide = [("GANTRY_UPDATE_NUM_WORKERS", 50), ("GANTRY_ROLLOUT_INITIAL_WORKERS", 50)];
    let counting = |limit| [wide[0], wide[1], ("GANTRY_UPDATE_MAX_STARTING_PER_NODE", limit)];
    for settings in [&wide[..1], &wide[..], &counting(20)[..], &counting(4)[..]] {
        let load = load(300, settings).await;
        assert!(per_second(&load) <= 4.0, "{settings:?}: {:.2} reads a second: {load:?}", per_second(&load));
    }
}
