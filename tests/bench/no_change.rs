//! A cycle in which nothing changes: what it costs to look.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

use crate::process::{cpu_seconds, peak_kib};
use crate::server::{Answer, serve_tcp, serve_unix};

/// How many cycles CPU time is averaged over.
const CYCLES: usize = 20;

/// So many engine requests make a cycle: about the engine, the ledger, the services and the excluded ones. Should that ever
/// change, the table shows it.
const REQUESTS: usize = 4;

const DIGEST: &str = "sha256:4c1b7b1d4a2f7e2f4c1b7b1d4a2f7e2f4c1b7b1d4a2f7e2f4c1b7b1d4a2f7e2f";

/// What one case cost.
struct Cost {
    services: usize,
    repositories: usize,
    engine_requests: f64,
    registry_requests: f64,
    wall: Duration,
    cpu_per_cycle: f64,
    peak_kib: u64,
}

pub(crate) fn run() {
    println!("no change: one cycle of the release binary against canned answers, {CYCLES} cycles averaged");
    println!(
        "{:>9} {:>13} {:>16} {:>18} {:>10} {:>10} {:>13} {:>9}",
        "services",
        "repositories",
        "engine requests",
        "registry requests",
        "wall ms",
        "CPU ms",
        "CPU us/service",
        "peak MB"
    );
    for (services, repositories) in [(1, 1), (1_200, 1), (1_200, 1_200), (10_000, 1)] {
        let cost = measure(services, repositories);
        println!(
            "{:>9} {:>13} {:>16.1} {:>18.1} {:>10.1} {:>10.1} {:>14.1} {:>9.1}",
            cost.services,
            cost.repositories,
            cost.engine_requests,
            cost.registry_requests,
            cost.wall.as_secs_f64() * 1e3,
            cost.cpu_per_cycle * 1e3,
            cost.cpu_per_cycle * 1e6 / cost.services as f64,
            cost.peak_kib as f64 / 1024.0,
        );
    }
}

fn measure(services: usize, repositories: usize) -> Cost {
    // The servers have a thread of their own, so that only the program under test waits for itself.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let (engine, registry) = runtime.block_on(async {
        let (address, registry) = serve_tcp(registry()).await;
        (serve_unix(&socket, engine_of(services, repositories, &address)), registry)
    });

    // Once, from start to exit: what a cron job would see.
    let begun = Instant::now();
    let status = gantry(&socket, "0").spawn().unwrap().wait().unwrap();
    let wall = begun.elapsed();
    assert!(status.success(), "a cycle without changes failed");

    // As a daemon: the cost of each further cycle, and the peak of all.
    let mut daemon = gantry(&socket, "1").spawn().unwrap();
    wait_for_cycles(&engine, &daemon, 2);
    let (engine_before, registry_before) = (engine.load(Ordering::Relaxed), registry.load(Ordering::Relaxed));
    let cpu_before = cpu_seconds(&daemon);
    let cycles_before = engine_before / REQUESTS;
    wait_for_cycles(&engine, &daemon, cycles_before + CYCLES);
    let cycles = CYCLES as f64;
    let cost = Cost {
        services,
        repositories,
        engine_requests: (engine.load(Ordering::Relaxed) - engine_before) as f64 / cycles,
        registry_requests: (registry.load(Ordering::Relaxed) - registry_before) as f64 / cycles,
        wall,
        cpu_per_cycle: (cpu_seconds(&daemon) - cpu_before) / cycles,
        peak_kib: peak_kib(&daemon),
    };
    let _ = daemon.kill();
    let _ = daemon.wait();
    cost
}

/// Waits until the daemon rests after so many cycles.
fn wait_for_cycles(engine: &AtomicUsize, daemon: &Child, cycles: usize) {
    while engine.load(Ordering::Relaxed) < cycles * REQUESTS {
        assert!(Path::new(&format!("/proc/{}", daemon.id())).exists(), "the daemon ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
}

fn gantry(socket: &Path, interval: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true")
        .env("GANTRY_SLEEP_SECONDS", interval)
        .stderr(Stdio::null());
    command
}

fn engine_of(services: usize, repositories: usize, registry: &str) -> Answer {
    let listed: Vec<Value> = (0..services)
        .map(|index| service(index, &format!("{registry}/site-{}", index % repositories)))
        .collect();
    let listed = Bytes::from(Value::Array(listed).to_string());
    let info = json!({
        "Name": "node1", "ServerVersion": "28.5.0",
        "Swarm": { "NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": true },
        "RegistryConfig": { "InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": [] },
    });
    let info = Bytes::from(info.to_string());
    Arc::new(move |request| {
        let query = request.uri().query().unwrap_or_default();
        let body = match request.uri().path() {
            "/info" => info.clone(),
            // There is no ledger yet.
            "/configs" => Bytes::from_static(b"[]"),
            "/services" if query.contains("excluded") => Bytes::from_static(b"[]"),
            "/services" => listed.clone(),
            _ => return Response::builder().status(404).body(Full::new("{}".into())).unwrap(),
        };
        Response::new(Full::new(body))
    })
}

fn registry() -> Answer {
    Arc::new(|_| {
        Response::builder()
            .header("Docker-Content-Digest", DIGEST)
            .header("Content-Type", "application/vnd.oci.image.index.v1+json")
            .body(Full::default())
            .unwrap()
    })
}

/// A specification with what a site's service has: about 1.6 kB.
pub(crate) fn spec(index: usize, image: &str) -> Value {
    json!({
        "Name": format!("site-{index}"),
        "Labels": { "gantry.enable": "true", "com.docker.stack.namespace": format!("site-{index}") },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Labels": { "com.docker.stack.namespace": format!("site-{index}") },
                "Env": [format!("SITE={index}"), "DATABASE_HOST=db.internal", "PHP_MEMORY_LIMIT=256M"],
                "Mounts": [{ "Type": "volume", "Source": format!("site-{index}-data"), "Target": "/var/www" }],
                "Healthcheck": { "Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 10_000_000_000_u64 },
                "Isolation": "default", "StopGracePeriod": 10_000_000_000_u64, "DNSConfig": {},
            },
            "Resources": { "Limits": { "MemoryBytes": 536_870_912 }, "Reservations": {} },
            "RestartPolicy": { "Condition": "any", "Delay": 5_000_000_000_u64, "MaxAttempts": 0 },
            "Placement": { "Platforms": [{ "Architecture": "amd64", "OS": "linux" }] },
            "Networks": [{ "Target": "7d8f6f0e5c4b3a291807f6e5d4c3b2a1", "Aliases": ["web"] }],
            "ForceUpdate": 0, "Runtime": "container",
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
        "UpdateConfig": { "Parallelism": 1, "FailureAction": "rollback", "Monitor": 5_000_000_000_u64,
                          "MaxFailureRatio": 0, "Order": "start-first" },
        "EndpointSpec": { "Mode": "vip", "Ports": [{ "Protocol": "tcp", "TargetPort": 80,
                          "PublishedPort": 30_000 + index, "PublishMode": "ingress" }] },
    })
}

/// A service as an engine lists it after one update of ours: about 4 kB, previous specification included.
fn service(index: usize, repository: &str) -> Value {
    let spec = |digest: &str| spec(index, &format!("{repository}:stable@{digest}"));
    let old = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    json!({
        "ID": format!("service{index:018}"),
        "Version": { "Index": 100_000 + index },
        "CreatedAt": "2026-01-01T00:00:00.000000000Z", "UpdatedAt": "2026-11-01T00:00:00.000000000Z",
        "Spec": spec(DIGEST), "PreviousSpec": spec(old),
        "Endpoint": { "Spec": { "Mode": "vip" }, "VirtualIPs": [{ "NetworkID": "7d8f6f0e5c4b", "Addr": "10.0.1.2/24" }] },
        "UpdateStatus": { "State": "completed", "StartedAt": "2026-11-01T00:00:00Z",
                          "CompletedAt": "2026-11-01T00:00:10Z", "Message": "update completed" },
        "ServiceStatus": { "RunningTasks": 1, "DesiredTasks": 1, "CompletedTasks": 0 },
    })
}
