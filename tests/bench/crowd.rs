//! A rollout while strangers keep the listener busy: 10,000 connections that send half a request, or 1,000 requests a second with
//! a wrong token. Beside it the same rollout alone.
//!
//! The strangers share the machine's cores with the program, so a part of what they cost is theirs.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::listening::{Listening, told};
use crate::process::{cpu_seconds, descriptors, peak_kib};
use crate::swarm_process::SwarmProcess;

const SERVICES: usize = 200;
const CONNECTIONS: usize = 10_000;
const TOKENS_A_SECOND: u64 = 1_000;

/// How much longer a rollout may take.
const ALLOWED: f64 = 1.05;

/// Of strangers: that they are to end, and what they have come to.
#[derive(Default)]
struct Strangers {
    is_over: AtomicBool,
    count: AtomicUsize,
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    println!("crowd: a rollout of {SERVICES} services of one image while strangers ask");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let mut swarm = SwarmProcess::start(&socket, SERVICES, 1);
    let gantry = Listening::start(&socket, Stdio::null());
    gantry.until_idle(SERVICES).await;
    let first = rollout(&mut swarm, &gantry, "alone").await;

    let strangers = Arc::new(Strangers::default());
    let mut work = JoinSet::new();
    for _ in 0..CONNECTIONS {
        work.spawn(half_requests(gantry.address, strangers.clone()));
    }
    let crowded = rollout(&mut swarm, &gantry, "with 10,000 connections").await;
    strangers.is_over.store(true, Ordering::Relaxed);
    work.shutdown().await;
    let most = strangers.count.load(Ordering::Relaxed);
    println!("{:>60} {most:>9}", "connections that were made in that time");

    let strangers = Arc::new(Strangers::default());
    let guessing = tokio::spawn(guess(gantry.address, strangers.clone()));
    let began = Instant::now();
    let guessed = rollout(&mut swarm, &gantry, "with wrong tokens").await;
    let rate = strangers.count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    strangers.is_over.store(true, Ordering::Relaxed);
    drop(guessing.await);
    println!("{:>60} {rate:>9.0}", "wrong tokens a second that were answered");
    let last = rollout(&mut swarm, &gantry, "alone, again").await;

    let alone = f64::midpoint(first, last);
    told("ratio with 10,000 connections", crowded / alone, ALLOWED);
    told("ratio with 1,000 wrong tokens a second", guessed / alone, ALLOWED);
    println!("{:>60} {:>9.3}", "peak memory, MB", peak_kib(&gantry.gantry) as f64 / 1024.0);
}

/// Rolls a new digest out. Returns the seconds from the request to the end of the run.
async fn rollout(swarm: &mut SwarmProcess, gantry: &Listening, words: &str) -> f64 {
    swarm.push();
    let (began, cpu) = (Instant::now(), cpu_seconds(&gantry.gantry));
    let mut open = 0;
    let run = gantry.start_run().await;
    while !gantry.is_done(run).await {
        open = open.max(descriptors(&gantry.gantry));
        sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let share = (cpu_seconds(&gantry.gantry) - cpu) / took * 100.0;
    println!("{words:>60} {took:>9.2} s   {share:.1} % of a core, {open} file descriptors");
    took
}

/// Connects, sends half a request, and waits until the connection is closed; again and again.
async fn half_requests(address: std::net::SocketAddr, strangers: Arc<Strangers>) {
    while !strangers.is_over.load(Ordering::Relaxed) {
        if let Ok(Ok(mut stream)) = timeout(Duration::from_secs(30), TcpStream::connect(address)).await {
            strangers.count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(b"GET /api/v1/state HTTP/1.1\r\nhost: localhost\r\nx: ").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    }
}

/// Asks with a wrong token, a thousand times a second, on ten connections.
async fn guess(address: std::net::SocketAddr, strangers: Arc<Strangers>) {
    let mut work = JoinSet::new();
    for number in 0..10 {
        let strangers = strangers.clone();
        work.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut tick = interval(Duration::from_secs(1) * 10 / u32::try_from(TOKENS_A_SECOND).unwrap());
            let request = format!(
                "POST /api/v1/run HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer a-wrong-token-{number:04}\r\n\
                 content-length: 2\r\n\r\n{{}}"
            );
            while !strangers.is_over.load(Ordering::Relaxed) {
                tick.tick().await;
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = vec![0; 4_096];
                let read = stream.read(&mut answer).await.unwrap();
                assert!(answer[..read].starts_with(b"HTTP/1.1 401 "), "{read}");
                strangers.count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while work.join_next().await.is_some() {}
}
