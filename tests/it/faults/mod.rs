//! Whatever goes wrong between Gantry and the engine, or the registry, at whichever request of a cycle: in the end
//! every service is where it belongs, nobody is blamed for the network, and nobody is asked too often.
//!
//! [`direct`] breaks every request, over the fake swarm in paused time. [`wire`] does it with the real
//! clients of the engine and of registries, a real proxy ([`crate::support::proxy`]) and the fake swarm's HTTP front,
//! in hurried time. What runs with the real program on the real swarm is in `live::faults`.

use std::collections::BTreeSet;
use std::sync::Arc;

use gantry::context::{Context, EngineRole, Events, RunScope, Said, TagMemory};
use gantry::cycle;
use gantry::cycle::Report;
use gantry::daemon::log;
use gantry::heartbeat::Heartbeat;
use gantry::ledger::Ledger;
use gantry::ledger::book::{self, Book};
use gantry::ledger::codec;
use gantry::ledger::entry::DigestVerdict;
use gantry::model::cause::Cause;
use gantry::model::outcome::Outcome;
use gantry::model::row::{Row, State};
use gantry::registry::Registry;
use gantry::swarm::Swarm;
use tokio::time::{Duration, Instant, sleep_until};

use crate::cycle::{Scene, count};
use crate::fake::{FakeSwarm, millis, secs};

mod direct;
mod random;
mod wire;

/// From the beginning of one cycle to that of the next: whatever is away is back by then.
const INTERVAL: Duration = Duration::from_secs(90);

/// The cycle that is disturbed, one that may have to repair something, and one that finds all in order.
const CYCLES: usize = 3;

/// How much longer a disturbed cycle may take: a minute without an engine, with what was waiting for it.
const MORE_TIME: Duration = Duration::from_secs(200);

/// The images of a course.
#[derive(Clone, Debug)]
struct Images {
    /// What `good` has, and what it is to get.
    good: [String; 2],
    /// What `bad`, `careful` and `spared` have, and what breaks them.
    broken: [String; 2],
    /// What `fine` has, which is the newest.
    fine: String,
}

/// What three cycles did.
#[derive(Debug)]
struct FaultRun {
    reports: Vec<Report>,
    /// How long the first one took.
    took: Duration,
    /// How many requests the engine, and the registry, had in the first one.
    requests: (usize, usize),
}

/// How many of the ways to go wrong each request meets: some, so that neighbours of the same kind meet all of them,
/// or all of them where `GANTRY_FAULTS=all` (`make soak`).
fn some(all: usize, some: usize) -> usize {
    if std::env::var("GANTRY_FAULTS").is_ok_and(|which| which == "all") { all } else { some }
}

/// A good image for one service, and a broken one for three.
fn scene(images: &Images) -> Scene {
    let scene = Scene::new();
    let service = |name: &str, image: &str| {
        let service = scene.swarm.new_service(name).image(image).label("gantry.enable", "true").replicas(2);
        service.order("start-first").monitor(secs(1)).rollback_monitor(secs(1))
    };
    service("good", &images.good[0]).create();
    service("fine", &images.fine).create();
    service("bad", &images.broken[0]).create();
    service("careful", &images.broken[0]).failure_action("rollback").create();
    service("spared", &images.broken[0]).create();
    scene.swarm.image(&images.broken[1]).crashes_after(millis(300), 3).logging(&["out of luck"]);
    scene
}

/// Runs the cycles, one after the other, as the daemon does.
async fn run_cycles<S: Swarm, R: Registry>(
    scene: &Scene,
    swarm: Arc<S>,
    registry: Arc<R>,
    requests: impl Fn() -> (usize, usize),
) -> FaultRun {
    let config = scene.config();
    let heartbeat = Heartbeat::new(Instant::now());
    let context = Arc::new(Context {
        swarm,
        registry,
        ledger: Arc::new(Ledger::new(&config.ledger_name)),
        config,
        itself: None,
        leftovers: std::collections::BTreeSet::new(),
        stop: scene.stop.clone(),
        engine_role: EngineRole::new(scene.stop.clone(), heartbeat.clone(), Events::new(log::write)),
        events: Events::new(log::write),
        heartbeat,
        scope: RunScope::default(),
        said: Said::default(),
        tag_memory: TagMemory::default(),
        span: tracing::Span::none(),
    });
    let mut fault_run = FaultRun { reports: Vec::new(), took: Duration::ZERO, requests: (0, 0) };
    for number in 0..CYCLES {
        let begun = Instant::now();
        fault_run.reports.push(cycle::run(&context).await);
        if number == 0 {
            fault_run.took = begun.elapsed();
            fault_run.requests = requests();
        }
        sleep_until(begun + INTERVAL).await;
    }
    fault_run
}

/// How often the engine took an update of this service to this image.
fn offers(swarm: &FakeSwarm, service: &str, image: &str) -> usize {
    let log = swarm.update_log();
    let taken = log.iter().filter(|asked| asked.answer.is_ok() && !asked.is_rollback);
    taken.filter(|asked| asked.service == service && asked.image() == image).count()
}

/// What is not as it should be, after the cycles.
fn complaints(scene: &Scene, images: &Images, fault_run: &FaultRun) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut demand = |is_so: bool, what: String| {
        if !is_so {
            complaints.push(what);
        }
    };
    let swarm = &scene.swarm;

    for (name, image) in [
        ("good", &images.good[1]),
        ("fine", &images.fine),
        ("bad", &images.broken[0]),
        ("careful", &images.broken[0]),
        ("spared", &images.broken[0]),
    ] {
        let running = swarm.running_images(name);
        demand(running == [image.clone(), image.clone()], format!("{name} runs {running:?}"));
    }
    for (name, image, expected) in [
        ("good", &images.good[1], 1),
        ("good", &images.good[0], 0),
        ("bad", &images.broken[1], 1),
        ("careful", &images.broken[1], 1),
        ("spared", &images.broken[1], 0),
    ] {
        let times = offers(swarm, name, image);
        demand(times == expected, format!("{name} was sent {image} {times} times"));
    }
    let rolled_back: Vec<String> = swarm
        .update_log()
        .into_iter()
        .filter(|asked| asked.is_rollback && asked.answer.is_ok())
        .map(|asked| asked.service)
        .collect();
    demand(rolled_back == ["bad"], format!("rolled back: {rolled_back:?}"));

    let finished = || fault_run.reports.iter().flat_map(Report::finished);
    for (name, is_right) in [
        ("good", (|outcome| *outcome == Outcome::Updated) as fn(&Outcome) -> bool),
        ("bad", has_crashed),
        ("careful", has_crashed),
    ] {
        let outcomes: Vec<&Outcome> = finished()
            .filter(|finished| finished.service == name)
            .map(|finished| &finished.outcome)
            .collect();
        demand(outcomes.len() == 1 && is_right(outcomes[0]), format!("{name} was called {outcomes:?}"));
    }
    demand(finished().count() == 3, format!("updates: {:?}", finished().collect::<Vec<_>>()));
    for report in &fault_run.reports {
        let is_named =
            |row: &&Row| !matches!(row.state, State::Waits | State::Updating | State::NeedsAttention(_));
        let (named, services) = (report.rows.iter().filter(is_named).count(), report.rows.len());
        demand(
            report.error.is_some() || (named, services) == (5, 5),
            format!("{named} of {services} services are named in {report:?}"),
        );
    }
    let last = &fault_run.reports[CYCLES - 1];
    demand(
        !last.has_failed() && (count(last, "up to date"), count(last, "left alone")) == (2, 3),
        format!("the last cycle says {:?}, {:?}", last.summary(), last.error),
    );

    let labels = swarm.config("gantry").map(|config| config.labels).unwrap_or_default();
    demand(book::lease(&labels).is_none(), format!("the lease is still held: {labels:?}"));
    let book = Book::read(&labels);
    let quarantined: BTreeSet<String> = book
        .entries()
        .filter(|entry| entry.verdict == DigestVerdict::Quarantined)
        .map(|entry| codec::key(&entry.subject))
        .collect();
    let broken = images.broken[0].split('@').next().unwrap_or_default();
    let image = format!("gantry.image.{broken}");
    let expected = BTreeSet::from([image, "gantry.service.bad".into(), "gantry.service.careful".into()]);
    demand(quarantined == expected, format!("in quarantine: {quarantined:?}"));
    complaints
}

fn has_crashed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RolledBack { cause: Cause::TaskFailed { exit_code: Some(3), .. }, .. })
}

/// What is not as it should be, beside one that nobody disturbed: how long it took, and how many requests.
fn burdens(fault_run: &FaultRun, calm: &FaultRun) -> Vec<String> {
    let mut complaints = Vec::new();
    let more = fault_run.took.saturating_sub(calm.took);
    if more > MORE_TIME {
        complaints.push(format!("it took {more:?} longer"));
    }
    // Somebody who is waited for is looked at a few times a second, and by the ledger once in five.
    let engine = calm.requests.0 * 2 + usize::try_from(more.as_secs()).unwrap_or(usize::MAX) * 7;
    let registry = calm.requests.1 * 3;
    if fault_run.requests.0 > engine || fault_run.requests.1 > registry {
        let (requests, calm) = (fault_run.requests, calm.requests);
        complaints.push(format!("{requests:?} requests in {:?} instead of {calm:?}", fault_run.took));
    }
    complaints
}
