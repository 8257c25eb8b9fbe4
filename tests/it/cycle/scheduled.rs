//! Cycles that begin by the clock.

use gantry::daemon::End;
use gantry::ledger::book::Book;
use gantry::swarm::Swarm as _;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use tokio::time::sleep;

use super::Scene;
use super::daemon::daemon;
use crate::fake::{Call, secs};

async fn now(scene: &Scene) -> Timestamp {
    scene.swarm.engine().await.unwrap().time.unwrap()
}

/// Waits until the engine's clock shows a full hour.
async fn full_hour(scene: &Scene) -> Timestamp {
    let now = now(scene).await;
    let hour =
        (now + 1.hour()).to_zoned(TimeZone::UTC).round(jiff::Unit::Hour).unwrap().timestamp() + 1.hour();
    sleep(std::time::Duration::try_from(hour - now).unwrap()).await;
    hour
}

/// Runs a daemon for so long, and returns when cycles began, in seconds after its start.
async fn begins(scene: &Scene, seconds: u64) -> Vec<i64> {
    scene.swarm.clear_log();
    let stop = scene.stop.clone();
    let stopping = async {
        sleep(secs(seconds)).await;
        stop.cancel();
    };
    let daemon = daemon(scene);
    let (end, ()) = tokio::join!(daemon.run(|_| {}), stopping);
    assert_eq!(end, End::Good);
    let listings = scene.swarm.calls(Call::Services).into_iter().enumerate();
    let listings = listings.filter(|(number, _)| *number != 1).map(|(_, at)| at);
    let origin = scene.swarm.calls(Call::Engine)[0];
    listings.map(|at| i64::try_from(at.saturating_sub(origin).as_secs()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn cycles_begin_at_the_times_of_the_schedule_and_not_at_the_start() {
    let scene = Scene::new().with("GANTRY_SCHEDULE", "*/20 * * * * *; 5 * * * *");
    scene.service("web").replicas(1).create();
    full_hour(&scene).await;
    assert_eq!(begins(&scene, 70).await, [20, 40, 60]);

    let hourly = Scene::new().with("GANTRY_SCHEDULE", "30 * * * *");
    hourly.service("web").replicas(1).create();
    full_hour(&hourly).await;
    assert_eq!(begins(&hourly, 5_500).await, [1_800, 5_400]);
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_was_missed_is_made_up_once() {
    // The look of the cycle at 10 seconds takes 45.
    let slow = Scene::new().with("GANTRY_SCHEDULE", "*/10 * * * * *");
    slow.service("web").replicas(1).create();
    slow.registry.set_latency(secs(45));
    full_hour(&slow).await;
    assert_eq!(begins(&slow, 120).await, [10, 55, 100], "at once, and once");

    let scene = Scene::new().with("GANTRY_SCHEDULE", "30 * * * *");
    scene.service("web").replicas(1).create();
    full_hour(&scene).await;
    assert_eq!(begins(&scene, 1_900).await, [1_800]);
    let noted = Book::read(&scene.swarm.config("gantry").unwrap().labels).scheduled.unwrap();
    assert_eq!(noted.to_zoned(TimeZone::UTC).minute(), 30);
    // Gantry is away for three of its times.
    sleep(secs(3 * 3_600)).await;
    let again = scene.again();
    assert_eq!(begins(&again, 60).await, [0]);
    // Away between two times: nothing was missed.
    let third = again.again();
    assert_eq!(begins(&third, 60).await, [] as [i64; 0]);
}

#[tokio::test(start_paused = true)]
async fn jitter_delays_timed_cycles_and_does_not_add_up() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60).with("GANTRY_JITTER", "30s");
    scene.service("web").replicas(1).create();
    let begins = begins(&scene, 900).await;
    assert_eq!(begins[0], 0, "the start is not timed");
    let delays: Vec<i64> = begins.iter().zip(0..).map(|(at, number)| at - number * 60).collect();
    assert!(delays.iter().all(|delay| (0..=30).contains(delay)), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay > 3), "{delays:?}");
    assert!(begins.len() >= 14, "{begins:?}");

    let of = |seconds: &str| {
        Scene::new().with("GANTRY_SCHEDULE", "30 * * * *").with("GANTRY_JITTER", seconds.to_owned())
    };
    let mut seen = Vec::new();
    for scene in [of("20m"), of("20m"), of("0")] {
        scene.service("web").replicas(1).create();
        let hour = full_hour(&scene).await;
        seen.push((hour, self::begins(&scene, 3_300).await));
    }
    let [(first, a), (second, b), (_, none)] = &seen[..] else { unreachable!() };
    assert_eq!(none, &[1_800]);
    assert_eq!(a.len(), 1);
    assert!((1_800..=3_000).contains(&a[0]), "{a:?}");
    if first.duration_since(*second) == SignedDuration::ZERO {
        assert_eq!(a, b, "one swarm and one time: one delay");
    }
}
