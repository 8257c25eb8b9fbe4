//! A push a second: the release binary at work on a swarm of 1,200 services while every second one of 200 images gets a new
//! digest.
//!
//! Each push touches the trigger path, as a registry's webhook would: Gantry is told of each, and may look once a second. The
//! swarm is a fake one, in a process of its own, whose updates take as long as real ones.
//!
//! `GANTRY_BENCH_SECONDS` gives another length than ten minutes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::process::{cpu_seconds, peak_kib};
use crate::swarm_process::SwarmProcess;

const SERVICES: usize = 1_200;
const IMAGES: usize = 200;

/// What is promised: a share of one core, megabytes, and engine requests a second beside the updates themselves.
const MOST_CPU: f64 = 0.03;
const MOST_MEMORY: f64 = 25.0;
const MOST_REQUESTS: f64 = 4.0;

/// How long the services may take to come to the newest digest after the last push.
const REST: Duration = Duration::from_secs(180);

/// The name of the requests that send an update: one for each, however many there are.
const UPDATE: &str = "Update";

/// What it tells.
#[derive(Deserialize)]
struct Count {
    requests: BTreeMap<String, usize>,
    updates: usize,
    rollbacks: usize,
    /// How many digests were replaced by a newer one, and how many of them before all services had them.
    replaced: usize,
    overtaken: usize,
    /// How many services run the newest digest.
    newest: usize,
}

pub(crate) fn run() {
    let seconds = std::env::var("GANTRY_BENCH_SECONDS").map_or(600, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (socket, trigger) = (folder.path().join("engine.sock"), folder.path().join("trigger"));
    std::fs::write(&trigger, "").unwrap();
    println!("push a second: {SERVICES} services, {IMAGES} images, for {seconds} s");
    let mut swarm = SwarmProcess::start(&socket, SERVICES, IMAGES);
    let count = |swarm: &mut SwarmProcess| -> Count { serde_json::from_str(&swarm.count()).unwrap() };
    let log = match std::env::var_os("GANTRY_BENCH_LOG") {
        Some(path) => Stdio::from(std::fs::File::create(path).unwrap()),
        None => Stdio::null(),
    };
    let mut gantry = Command::new(env!("CARGO_BIN_EXE_gantry"))
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true")
        .env("GANTRY_SLEEP_SECONDS", "3600")
        .env("GANTRY_TRIGGER_PATH", &trigger)
        .env("GANTRY_CLEANUP_IMAGES", "false")
        .stderr(log)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(5));

    let (before, cpu_before, begun) = (count(&mut swarm), cpu_seconds(&gantry), Instant::now());
    for number in 1..=seconds {
        swarm.push();
        std::fs::write(&trigger, number.to_string()).unwrap();
        std::thread::sleep((begun + Duration::from_secs(number)).saturating_duration_since(Instant::now()));
    }
    let took = begun.elapsed().as_secs_f64();
    let (after, cpu) = (count(&mut swarm), (cpu_seconds(&gantry) - cpu_before) / took);

    let rest = Instant::now();
    while count(&mut swarm).newest < SERVICES && rest.elapsed() < REST {
        std::thread::sleep(Duration::from_secs(1));
    }
    let (rest, last) = (rest.elapsed().as_secs_f64(), count(&mut swarm));
    let memory = peak_kib(&gantry) as f64 / 1024.0;
    gantry.kill().unwrap();
    gantry.wait().unwrap();
    drop(swarm);

    let per_second: BTreeMap<&str, f64> = after
        .requests
        .iter()
        .map(|(kind, times)| {
            let times = times - before.requests.get(kind).copied().unwrap_or_default();
            (kind.as_str(), times as f64 / took)
        })
        .collect();
    let updates = per_second.get(UPDATE).copied().unwrap_or_default();
    let others: f64 = per_second.values().sum::<f64>() - updates;
    let told = |what: &str, is: f64, most: f64| {
        println!("{what:>45} {is:>7.2}   at most {most:>5.2} {:>4}", if is <= most { "yes" } else { "NO" });
    };
    told("CPU, % of one core", cpu * 100.0, MOST_CPU * 100.0);
    told("peak memory, MB", memory, MOST_MEMORY);
    told("engine requests a second, beside the updates", others, MOST_REQUESTS);
    println!(
        "{:>45} {updates:>7.2}   {} updates in all, {} rolled back",
        "updates sent a second", last.updates, last.rollbacks
    );
    println!(
        "{:>45} {:>7}   of {} that were replaced",
        "digests overtaken before all had them", last.overtaken, last.replaced
    );
    println!("{:>45} {:>7}   {rest:.0} s after the last push", "services on the newest digest", last.newest);
    let kinds: Vec<String> = per_second.iter().map(|(kind, rate)| format!("{kind} {rate:.2}")).collect();
    println!("{:>45} {}", "a second, by their kind:", kinds.join(", "));
}
