//! The real program between a proxy that breaks its requests to a real engine, and one that breaks those to a real
//! registry, at random. `faults::wire` breaks every single one, over a fake swarm.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::support::{Daemon, Image, Service, Stage, wait};
use crate::support::proxy::{Address, Mishap, Proxy, Seen};

/// One request of so many goes wrong, while there is trouble.
const ONE_OF: u64 = 8;

/// What happens to it. The last two cut off everybody, also the nodes, which pull through the proxy of the registry: an
/// update that meets such a moment fails on its node, is rolled back, and is begun once more in the next cycle. So they
/// happen to requests to the engine only.
const MISHAPS: [Mishap; 11] = [
    Mishap::Late(Duration::from_secs(1)),
    Mishap::Held(Duration::from_secs(1)),
    Mishap::CutBefore,
    Mishap::CutAfter,
    Mishap::Truncated,
    Mishap::Answer(500),
    Mishap::Answer(503),
    Mishap::AnswerAfter(504),
    Mishap::OtherPage,
    Mishap::Away(Duration::from_secs(2)),
    Mishap::HangsUp(Duration::from_secs(2)),
];

/// Says what happens to each request of Gantry's, and counts what did.
#[derive(Clone)]
struct Trouble {
    state: Arc<AtomicU64>,
    met: Arc<AtomicUsize>,
}

impl Trouble {
    fn new(seed: u64) -> Self {
        Self { state: Arc::new(AtomicU64::new(seed)), met: Arc::default() }
    }

    fn next(&self) -> u64 {
        // A congruential generator; its upper bits are the better ones.
        let step = |state: u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap() >> 33
    }

    /// One of the first so many mishaps, or none.
    fn mishap(&self, of: usize) -> Option<Mishap> {
        if !self.next().is_multiple_of(ONE_OF) {
            return None;
        }
        self.met.fetch_add(1, Ordering::Relaxed);
        Some(MISHAPS[usize::try_from(self.next()).unwrap() % of])
    }
}

/// The services whose update to this image has begun, as often as it has.
fn begun_to(daemon: &Daemon, image: &Image) -> Vec<String> {
    let short = &image.digest["sha256:".len()..][..12];
    let lines =
        daemon.lines().into_iter().filter(|line| line.message() == "updating" && line.0["to"] == short);
    lines.filter_map(|line| line.0["service"].as_str().map(str::to_owned)).collect()
}

#[test]
fn behind_bad_wires_good_images_reach_all_and_broken_ones_two_and_it_never_ends() {
    let stage = Stage::new();
    let seed = std::env::var("GANTRY_FAULTS_SEED").map_or(20_261_125, |text| text.parse().unwrap());
    println!("GANTRY_FAULTS_SEED={seed}");
    let trouble = Trouble::new(seed);
    let runtime = Runtime::new().unwrap();

    let host: IpAddr = stage.lab.host.parse().unwrap();
    let (real, of_gantry) = (stage.lab.registry.parse().unwrap(), trouble.clone());
    // The nodes' own requests are none of this test's business.
    let plan = move |_, seen: &Seen| {
        seen.agent.starts_with("gantry/").then(|| of_gantry.mishap(MISHAPS.len() - 2)).flatten()
    };
    let registry = Proxy::start(Address::Tcp((host, 0).into()), Address::Tcp(real), plan);
    let registry = runtime.block_on(registry);
    let socket = stage.folder.path().join("engine.sock");
    let of_gantry = trouble.clone();
    let engine =
        Proxy::start(Address::Unix(socket.clone()), Address::Unix(stage.lab.socket(1)), move |_, _| {
            of_gantry.mishap(MISHAPS.len())
        });
    let engine = runtime.block_on(engine);

    let push = |version: &str, options: &[&str]| {
        let Image { name, digest } = stage.image("web", version, options);
        Image { name: name.replace(&stage.lab.registry, &registry.authority()), digest }
    };
    let old = push("1", &[]);
    let services: Vec<Service<'_>> =
        (0..4).map(|index| stage.service(&format!("web{index}"), &old, &[])).collect();
    let begun = Instant::now();
    let mut daemon = stage
        .gantry()
        .set("DOCKER_HOST", &format!("unix://{}", socket.display()))
        .set("GANTRY_SLEEP_SECONDS", "2")
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1")
        .start();
    let all_have = |image: &Image| {
        wait(&format!("{} everywhere", image.pinned()), 180, || {
            services.iter().all(|service| service.running_images() == [image.pinned()]).then_some(())
        });
    };

    let good = push("2", &[]);
    all_have(&good);

    let broken = push("3", &["--cmd", "sleep 0.2; exit 3"]);
    // Two are named as broken by it, and the two others as spared.
    daemon.wait_for("is in quarantine for all services", 180);
    all_have(&good);
    let touched = begun_to(&daemon, &broken);
    assert_eq!(touched.len(), 2, "each once: {touched:?} {:#?}", daemon.lines());
    assert_ne!(touched[0], touched[1]);
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(ledger.contains(&broken.digest), "{ledger}");
    assert_eq!(ledger.matches("quarantined").count(), 3, "two services and the image: {ledger}");
    assert!(!ledger.contains(&format!("quarantined image={} digest={}", good.name, good.digest)), "{ledger}");

    let newer = push("4", &[]);
    all_have(&newer);
    assert!(daemon.is_alive(), "{:?}", daemon.lines());
    let updated = begun_to(&daemon, &newer);
    assert_eq!(updated.len(), services.len(), "each once: {updated:?} {:#?}", daemon.lines());

    let (requests, seconds) = (engine.seen().len(), usize::try_from(begun.elapsed().as_secs()).unwrap());
    let look_ups = registry.seen().into_iter().filter(|seen| seen.agent.starts_with("gantry/")).count();
    assert!(requests < 200 + 12 * seconds, "{requests} requests to the engine in {seconds} s");
    assert!(look_ups < 50 + 3 * seconds, "{look_ups} requests to the registry in {seconds} s");
    let met = trouble.met.load(Ordering::Relaxed);
    assert!(met > 10, "only {met} of {requests} and {look_ups} requests went wrong");
    println!("{met} of {requests} and {look_ups} requests went wrong in {seconds} s");
    daemon.stop();
    drop((engine, registry));
    runtime.shutdown_background();
}
