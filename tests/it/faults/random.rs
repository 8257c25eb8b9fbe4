//! Many requests of one rollout go wrong at random, over the fake swarm in paused time.

use gantry::swarm::SwarmError;
use tokio::time::sleep;

use super::offers;
use crate::cycle::{APP, Scene};
use crate::fake::{Fault, pinned, secs};

/// How many seeds are tried, where `GANTRY_FAULTS_SEEDS` does not say.
const SEEDS: u64 = 40;

/// One request of so many goes wrong.
const ONE_OF: u64 = 8;

/// So many requests may go wrong.
const REQUESTS: usize = 2_000;

const SERVICES: [&str; 4] = ["web0", "web1", "web2", "web3"];

/// Numbers that come out the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}

fn faults() -> [Fault; 8] {
    let error = |text: &str| Fault::Error(SwarmError::Unavailable(text.to_owned()));
    [
        error("status 500"),
        error("status 503"),
        Fault::Error(SwarmError::Unreadable("EOF while parsing".to_owned())),
        Fault::CutAfterwards,
        Fault::CutAfterwards,
        Fault::Takes(secs(1)),
        Fault::AnswersLate(secs(1)),
        Fault::Away(secs(2)),
    ]
}

/// What is wrong with a rollout of a good image under this seed.
async fn complaints(seed: u64) -> Vec<String> {
    let scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 1).with("GANTRY_SLEEP_SECONDS", 2);
    for name in SERVICES {
        scene.service(name).monitor(secs(1)).rollback_monitor(secs(1)).replicas(1).create();
    }
    let new = scene.registry.release(APP, "new");
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let all = faults();
    for request in 0..REQUESTS {
        if random.next().is_multiple_of(ONE_OF) {
            let fault = &all[usize::try_from(random.next()).unwrap() % all.len()];
            scene.swarm.fail_at(request, fault.clone());
        }
    }
    let context = scene.context();
    let mut begun: Vec<String> = Vec::new();
    for _ in 0..20 {
        let report = gantry::cycle::run(&context).await;
        begun.extend(report.finished().map(|ended| format!("{}: {}", ended.service, ended.outcome)));
        sleep(secs(2)).await;
    }
    let mut complaints = Vec::new();
    for name in SERVICES {
        let times = begun.iter().filter(|ended| ended.starts_with(name)).count();
        let sent = offers(&scene.swarm, name, &pinned(APP, "new"));
        if scene.swarm.running_images(name) != [new.clone()] || times != 1 || sent != 1 {
            complaints.push(format!("{name}: begun {times} times, sent {sent} times: {begun:?}"));
        }
    }
    complaints
}

#[tokio::test(start_paused = true)]
async fn a_good_image_is_begun_once_for_each_service_whatever_goes_wrong() {
    let given = std::env::var("GANTRY_FAULTS_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut found = Vec::new();
    for seed in 1..=seeds {
        let all = complaints(seed).await;
        if !all.is_empty() {
            found.push(format!("seed {seed}: {}", all.join("; ")));
        }
    }
    assert!(found.is_empty(), "{} of {seeds}:\n{}", found.len(), found.join("\n"));
}
