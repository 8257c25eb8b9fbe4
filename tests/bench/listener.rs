//! What page, API and webhooks cost at 1,200 services, each of an image of its own, with ten open streams of events: from a
//! registry's push to the first update, the state, an idle page, and memory.
//!
//! Streams tell at most four times a second, and events of one push are gathered for half a second: both are part of what is
//! measured.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::Value;
use tokio::time::sleep;

use crate::listening::{Listening, told};
use crate::process::{cpu_seconds, peak_kib, resident_kib};
use crate::swarm_process::SwarmProcess;

const SERVICES: usize = 1_200;
const STREAMS: usize = 10;

/// Pushes while others are rolled out, so that the history is full, and pushes with nothing else under way.
const BUSY: usize = 200;
const ALONE: usize = 20;

/// How often the state is asked for, and how long a page is left open.
const STATES: u32 = 300;
const IDLE: Duration = Duration::from_secs(60);

/// When services of an image were first seen updating.
type Seen = Arc<Mutex<Vec<(String, Instant)>>>;

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    println!("listener: {SERVICES} services, each of an image of its own, {STREAMS} streams of events");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let mut swarm = SwarmProcess::start(&socket, SERVICES, SERVICES);
    let gantry = Listening::start(&socket, Stdio::null());
    gantry.until_idle(SERVICES).await;

    let (bytes, cpu) = state(&gantry).await;
    told("state, kB", bytes, 100.0);
    told("state, ms of CPU", cpu * 1e3, 5.0);
    let quiet = idle(&gantry).await;
    let seen = Seen::default();
    for number in 0..STREAMS {
        let stream = gantry.get("/api/v1/events").send().await.unwrap();
        tokio::spawn(follow(stream, (number == 0).then(|| seen.clone())));
    }
    sleep(Duration::from_secs(2)).await;
    let ten = idle(&gantry).await;
    told("an idle page, % of a core", (ten - quiet) / STREAMS as f64 * 100.0, 0.1);
    println!("{:>60} {:>9.3}   with none {:.3}", "ten idle pages, % of a core", ten * 100.0, quiet * 100.0);

    let mut alone = Vec::new();
    for _ in 0..ALONE {
        alone.extend(push(&mut swarm, &gantry, &seen).await);
        gantry.until_idle(SERVICES).await;
    }
    told("webhook to first update seen, median s", median(&mut alone), 1.0);
    let mut busy = Vec::new();
    for _ in 0..BUSY {
        busy.extend(push(&mut swarm, &gantry, &seen).await);
    }
    told("the same while others are rolled out, median s", median(&mut busy), 2.0);
    println!("{:>60} {:>9.3}", "the same, longest s", busy.last().copied().unwrap_or_default());
    gantry.until_idle(SERVICES).await;
    let (bytes, cpu) = state(&gantry).await;
    told("state with a full history, kB", bytes, 100.0);
    told("state with a full history, ms of CPU", cpu * 1e3, 5.0);
    told("memory at rest, MB", resident_kib(&gantry.gantry) as f64 / 1024.0, 25.0);
    println!("{:>60} {:>9.3}", "peak memory, MB", peak_kib(&gantry.gantry) as f64 / 1024.0);
}

/// Size of the state in kilobytes, and what an answer costs in seconds of CPU.
async fn state(gantry: &Listening) -> (f64, f64) {
    let (before, mut bytes) = (cpu_seconds(&gantry.gantry), 0);
    for _ in 0..STATES {
        bytes = gantry.get("/api/v1/state").send().await.unwrap().bytes().await.unwrap().len();
    }
    (bytes as f64 / 1e3, (cpu_seconds(&gantry.gantry) - before) / f64::from(STATES))
}

/// The share of a core that the program takes while nothing happens.
async fn idle(gantry: &Listening) -> f64 {
    let before = cpu_seconds(&gantry.gantry);
    sleep(IDLE).await;
    (cpu_seconds(&gantry.gantry) - before) / IDLE.as_secs_f64()
}

/// A push, and the seconds from its webhook to the first update of a service; `None` where the service got a newer digest
/// first, which is not measured.
async fn push(swarm: &mut SwarmProcess, gantry: &Listening, seen: &Seen) -> Option<f64> {
    let image = swarm.push();
    seen.lock().unwrap().clear();
    let told = Instant::now();
    let status = gantry.hook(&image).send().await.unwrap().status();
    assert_eq!(status, 202);
    while told.elapsed() < Duration::from_secs(10) {
        let at = seen.lock().unwrap().iter().find(|(seen, _)| *seen == image).map(|(_, at)| *at);
        if let Some(at) = at {
            return Some((at - told).as_secs_f64());
        }
        sleep(Duration::from_millis(5)).await;
    }
    None
}

/// Reads a stream to its end, and takes note of images whose services begin to be updated.
async fn follow(mut stream: Response, seen: Option<Seen>) {
    let mut rest = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        let Some(seen) = &seen else { continue };
        rest.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((event, after)) = rest.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let change: Value = data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
            let services = change["services"].as_array().into_iter().flatten();
            let updating = services.filter(|service| service["state"] == "updating");
            let images = updating.filter_map(|service| service["image"].as_str());
            seen.lock().unwrap().extend(images.map(|image| (image.to_owned(), Instant::now())));
            rest = after.to_owned();
        }
    }
}

/// Sorts them.
fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::INFINITY)
}
