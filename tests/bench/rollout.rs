//! A whole rollout on the real swarm, beside a floor: a loop that only posts the updates, fifty at a time,
//! and watches one list. Both in turn, on the same services, in one run: as the engine's speed differs by a fifth from one
//! time to the next, means are compared, of Gantry's rollouts with those of the floors before, between and after them.
//!
//! What the slow start may cost is measured in updates: `log2(workers)` times the time that one takes by itself.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gantry::config::{EngineAddress, Filter};
use gantry::swarm::engine::Engine;
use gantry::swarm::spec::Edits;
use gantry::swarm::{Listing, Service, ServiceChange, Swarm, UpdateState};
use tokio::runtime::Runtime;

use crate::server::count_connections;

/// How many services, and how often they are rolled out: what takes less time varies more.
const SERVICES: [(usize, usize); 2] = [(100, 3), (300, 1)];
const WORKERS: usize = 50;
const LABEL: &str = "gantry-bench=rollout";
/// Of the floor, so much is allowed.
const ALLOWED: f64 = 1.15;

/// What both measurements work with.
struct Stage {
    runtime: Runtime,
    services: Services,
    socket: PathBuf,
    engine: Engine,
}

impl Stage {
    fn new(registry: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let services = Services { image: format!("{registry}/bench:1") };
        let socket = PathBuf::from(std::env::var("DOCKER_HOST").unwrap().trim_start_matches("unix://"));
        let engine = Engine::new(EngineAddress::Unix(socket.clone()));
        push(&services.image, "0");
        Self { runtime, services, socket, engine }
    }
}

/// Whole rollouts beside the floor.
pub(crate) fn rollouts(registry: &str) {
    let Stage { runtime, services, socket, engine } = Stage::new(registry);
    let folder = tempfile::tempdir().unwrap();
    let counted = folder.path().join("engine.sock");
    let requests = runtime.block_on(async { count_connections(&counted, &socket) });
    println!("rollout: services of one task, {WORKERS} at a time, on the lab");
    println!(
        "{:>8} {:>8} {:>8} {:>14} {:>9} {:>9} {:>7} {:>8} {:>27}",
        "services",
        "floor s",
        "one s",
        "initial width",
        "gantry s",
        "allowed s",
        "ratio",
        "within",
        "engine requests per update"
    );
    for (count, times) in SERVICES {
        runtime.block_on(services.create(&engine, count));
        let new = |what: &str| format!("{}@{}", services.image, push(&services.image, what));
        let one = runtime.block_on(floor(&engine, &new("one"), 1)).as_secs_f64();
        let floor_of = || runtime.block_on(floor(&engine, &new("floor"), count)).as_secs_f64();
        let mut before = floor_of();
        for initial in [WORKERS, 1] {
            let (mut floors, mut took, mut per_update) = (vec![before], 0.0, 0.0);
            for _ in 0..times {
                push(&services.image, "gantry");
                let (seconds, requests) = rollout(&counted, &requests, count, initial);
                took += seconds.as_secs_f64() / times as f64;
                per_update += requests / times as f64;
                before = floor_of();
                floors.push(before);
            }
            let floor = floors.iter().sum::<f64>() / floors.len() as f64;
            let rounds = (WORKERS as f64 / initial as f64).log2();
            let allowed = ALLOWED * floor + rounds * one;
            let within = if took <= allowed { "yes" } else { "NO" };
            println!(
                "{count:>8} {floor:>8.1} {one:>8.1} {initial:>14} {took:>9.1} {allowed:>9.1} {:>7.2} {within:>8} {per_update:>27.2}",
                took / floor,
            );
        }
    }
    runtime.block_on(services.remove(&engine));
}

/// A new digest is pushed in the middle of a rollout: how long it takes from then on until all have it, beside whole
/// rollouts before and after it, and how many services are updated twice.
pub(crate) fn overtakings(registry: &str) {
    const COUNT: usize = 100;
    let Stage { runtime, services, socket, engine } = Stage::new(registry);
    runtime.block_on(services.create(&engine, COUNT));
    let folder = tempfile::tempdir().unwrap();
    let trigger = folder.path().join("trigger");
    std::fs::write(&trigger, "").unwrap();
    let mut gantry = command(&socket)
        .env("GANTRY_SLEEP_SECONDS", "3600")
        .env("GANTRY_TRIGGER_PATH", &trigger)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // Touches the trigger path and looks on until so many services were sent the digest and so many have it.
    let follow = |digest: &str, until: &dyn Fn(usize, usize) -> bool| {
        let begun = Instant::now();
        std::fs::write(&trigger, digest).unwrap();
        loop {
            let listed = runtime.block_on(listed(&engine));
            let has_it = |service: &&Service| {
                service.spec.facts().image.as_deref().is_some_and(|image| image.ends_with(digest))
            };
            let done = |service: &&Service| {
                service.update.as_ref().is_some_and(|status| status.state == UpdateState::Completed)
            };
            let sent = listed.iter().filter(has_it);
            if until(sent.clone().count(), sent.filter(done).count()) {
                return begun.elapsed().as_secs_f64();
            }
            assert!(begun.elapsed() < Duration::from_secs(900), "the rollout does not end");
            std::thread::sleep(Duration::from_millis(250));
        }
    };
    let whole = || follow(&push(&services.image, "whole"), &|_, done| done == COUNT);
    let before = whole();
    let first = push(&services.image, "first");
    follow(&first, &|sent, _| sent >= COUNT / 3);
    let second = push(&services.image, "second");
    let took = follow(&second, &|_, done| done == COUNT);
    // Those that got the first one are the ones that were updated twice.
    let twice = COUNT - runtime.block_on(never_had(&engine, &first));
    let whole = f64::midpoint(before, whole());
    gantry.kill().unwrap();
    gantry.wait().unwrap();
    runtime.block_on(services.remove(&engine));
    let ratio = took / whole;
    let (limit, within) = (WORKERS + 2, |is_so: bool| if is_so { "yes" } else { "NO" });
    println!("overtaking: a new digest in the middle of a rollout of {COUNT} services, {WORKERS} at a time");
    println!(
        "    from its push until all have it {took:.1} s, a whole rollout {whole:.1} s: ratio {ratio:.2}, at most {ALLOWED}: {}",
        within(ratio <= ALLOWED)
    );
    println!("    {twice} services updated twice, fewer than {limit}: {}", within(twice < limit));
}

/// How many services did not have this digest before their present one.
async fn never_had(engine: &Engine, digest: &str) -> usize {
    let listed = listed(engine).await;
    let had = |service: &&Service| {
        let previous = service.previous.as_ref().and_then(|spec| spec.facts().image.clone());
        !previous.is_some_and(|image| image.ends_with(digest))
    };
    listed.iter().filter(had).count()
}

/// The release binary, for the services of the bench.
fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("GANTRY_SERVICES_FILTERS", format!("label={LABEL}"))
        .env("GANTRY_UPDATE_NUM_WORKERS", WORKERS.to_string())
        .env("GANTRY_LEDGER_NAME", "gantry-bench")
        .env("GANTRY_CLEANUP_IMAGES", "false")
        .stderr(Stdio::null());
    command
}

/// Runs the release binary once; its whole life is the rollout.
fn rollout(socket: &Path, requests: &AtomicUsize, services: usize, initial: usize) -> (Duration, f64) {
    let before = requests.load(Ordering::Relaxed);
    let begun = Instant::now();
    let status = command(socket).env("GANTRY_ROLLOUT_INITIAL_WORKERS", initial.to_string()).status().unwrap();
    let took = begun.elapsed();
    assert!(status.success(), "the rollout failed");
    (took, (requests.load(Ordering::Relaxed) - before) as f64 / services as f64)
}

/// Posts the updates of the first so many services and watches one list until the swarm calls each completed. It reads no task, judges
/// nothing, survives nothing.
async fn floor(engine: &Engine, image: &str, services: usize) -> Duration {
    let begun = Instant::now();
    let mut queue = listed(engine).await.into_iter().take(services);
    let mut under_way: HashSet<String> = HashSet::new();
    loop {
        let mut posts: FuturesUnordered<_> = queue
            .by_ref()
            .take(WORKERS - under_way.len())
            .map(|service| post(engine, service, image))
            .collect();
        while let Some(id) = posts.next().await {
            under_way.insert(id);
        }
        if under_way.is_empty() {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        let states: HashMap<String, Option<UpdateState>> = listed(engine)
            .await
            .into_iter()
            .map(|service| (service.id.clone(), service.update.map(|status| status.state)))
            .collect();
        under_way.retain(|id| states[id] != Some(UpdateState::Completed));
    }
}

async fn post(engine: &Engine, service: Service, image: &str) -> String {
    let edits = Edits { image: Some(image.to_owned()), ..Edits::default() };
    let spec = service.spec.edited(&edits).unwrap();
    engine.update_service(&service.id, service.version, ServiceChange::To(&spec), None).await.unwrap();
    service.id
}

async fn listed(engine: &Engine) -> Vec<Service> {
    let filter = Filter::parse(&format!("label={LABEL}")).unwrap();
    engine.services(Listing::Filters(&[filter])).await.unwrap()
}

/// Makes an image that differs from all others, pushes it, and returns its digest.
fn push(image: &str, version: &str) -> String {
    let output = Command::new(std::env::var("GANTRY_LAB").unwrap())
        .args([
            "image",
            image,
            "--env",
            &format!("VERSION={version} {:?}", Instant::now()),
            "--cmd",
            "sleep 100000",
        ])
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    output.trim().rsplit_once('@').unwrap().1.to_owned()
}

struct Services {
    image: String,
}

impl Services {
    async fn create(&self, engine: &Engine, services: usize) {
        self.remove(engine).await;
        let (name, value) = LABEL.split_once('=').unwrap();
        for index in 0..services {
            let spec = serde_json::json!({
                "Name": format!("bench-{index}"),
                "Labels": { name: value },
                "TaskTemplate": { "ContainerSpec": {
                    "Image": self.image, "StopSignal": "SIGKILL", "Init": false } },
                "Mode": { "Replicated": { "Replicas": 1 } },
                "UpdateConfig": { "Parallelism": 1, "FailureAction": "rollback", "Monitor": 5_000_000_000_u64,
                                  "MaxFailureRatio": 0, "Order": "start-first" },
                "EndpointSpec": { "Mode": "dnsrr" },
            });
            let spec = gantry::swarm::Spec::from_json(&spec.to_string()).unwrap();
            engine.create_service(&spec, None).await.unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(900);
        while listed(engine).await.iter().any(|service| service.status.unwrap_or_default().running == 0) {
            assert!(Instant::now() < deadline, "the services do not start");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn remove(&self, engine: &Engine) {
        for service in listed(engine).await {
            engine.remove_service(&service.id).await.unwrap();
        }
    }
}
