//! Strangers at the listener of the real program: what they cost is bounded, and nothing secret reaches the log.

use std::net::SocketAddr;
use std::sync::Arc;

use gantry::config::EngineAddress;
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{HOOK, PATIENCE, READ, STEER};
use crate::fake::{FakeSwarm, Front, millis};
use crate::support::program::Gantry;

const CONNECTIONS: usize = 10_000;
const WRONG_TOKENS: usize = 5_000;

/// How many connections there may be at once, as docs/api.md says, and descriptors that the program has for itself.
const MAX_CONNECTIONS: usize = 256;
const OWN_DESCRIPTORS: usize = 64;

/// What the strangers may add to the program's memory, in kilobytes: buffers of 256 connections, and what the allocator keeps.
const MAX_GROWTH: u64 = 24 << 10;

/// The program over a fake swarm, with its listener.
struct Exposed {
    gantry: Gantry,
    address: SocketAddr,
    _front: Front,
    _folder: TempDir,
}

impl Exposed {
    async fn new() -> Self {
        let swarm = FakeSwarm::with_nodes(1);
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let front = Front::unix(&swarm, &socket);
        let variables = [
            ("GANTRY_SLEEP_SECONDS", "3600"),
            ("GANTRY_CLEANUP_IMAGES", "false"),
            ("GANTRY_LOG_LEVEL", "DEBUG"),
            ("GANTRY_HTTP_ADDRESS", "127.0.0.1:0"),
            ("GANTRY_HTTP_READ_TOKEN", READ),
            ("GANTRY_HTTP_STEER_TOKEN", STEER),
            ("GANTRY_HTTP_HOOK_TOKEN", HOOK),
        ];
        let mut gantry = Gantry::start(&EngineAddress::Unix(socket), &variables);
        gantry.says("waiting for the next cycle").await;
        gantry.says("page and API listen at http://").await;
        let (_, rest) = gantry.log.split_once("listen at http://").unwrap();
        let address = rest.split_whitespace().next().unwrap().parse().unwrap();
        Self { gantry, address, _front: front, _folder: folder }
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.gantry.id())).unwrap().count()
    }

    /// Resident memory, in kilobytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gantry.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Whether who has the token is served.
    async fn is_well(&self) -> bool {
        gantry::tls::install_crypto_provider();
        let request = Client::new().get(format!("http://{}/api/v1/state", self.address)).bearer_auth(READ);
        request.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Stops it. The log has no token, neither a right one nor a wrong one.
    async fn ends_without_secrets(self) -> String {
        self.gantry.send(Signal::TERM);
        let (code, log) = self.gantry.end().await;
        assert_eq!(code, Some(0), "{log}");
        for secret in [READ, STEER, HOOK, "a-guess"] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
        log
    }
}

#[tokio::test]
async fn ten_thousand_connections_cost_the_descriptors_and_memory_of_256() {
    let exposed = Exposed::new().await;
    let (before, address) = (exposed.memory(), exposed.address);
    // As many at once as a test may open files for: the others come as soon as these are closed.
    let at_once = Arc::new(Semaphore::new(800));
    let mut strangers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let at_once = at_once.clone();
        strangers.spawn(async move {
            let _place = at_once.acquire().await.unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head =
                format!("GET /api/v1/state?token={STEER} HTTP/1.1\r\nauthorization: Bearer {STEER}\r\nx: ");
            let _ = stream.write_all(head.as_bytes()).await;
            // Half of them hang on for a while, so that the limit is met.
            let _ = timeout(millis(200), stream.read(&mut [0; 64])).await;
        });
    }
    let (mut most, mut memory) = (0, 0);
    while !strangers.is_empty() {
        most = most.max(exposed.descriptors());
        memory = memory.max(exposed.memory());
        tokio::select! {
            Some(ended) = strangers.join_next() => ended.unwrap(),
            () = sleep(millis(20)) => {}
        }
    }
    assert!(most > MAX_CONNECTIONS, "the limit was met: {most}");
    assert!(most <= MAX_CONNECTIONS + OWN_DESCRIPTORS, "{most} file descriptors");
    assert!(memory <= before + MAX_GROWTH, "{memory} kB, {before} kB before");
    let served = timeout(PATIENCE, async {
        while !exposed.is_well().await {
            sleep(millis(50)).await;
        }
    });
    served.await.expect("who has the token is served again");
    exposed.ends_without_secrets().await;
}

#[tokio::test]
async fn wrong_tokens_leave_one_line_a_minute_and_no_memory() {
    let exposed = Exposed::new().await;
    let before = exposed.memory();
    let mut stream = TcpStream::connect(exposed.address).await.unwrap();
    let mut answer = vec![0; 8_192];
    for number in 0..WRONG_TOKENS {
        let head = match number % 3 {
            0 => format!("GET /api/v1/state HTTP/1.1\r\nauthorization: Bearer a-guess-{number}\r\n"),
            1 => format!(
                "POST /api/v1/run HTTP/1.1\r\nauthorization: Bearer a-guess-{number}\r\ncontent-length: 0\r\n"
            ),
            _ => format!("POST /hooks/generic?token=a-guess-{number} HTTP/1.1\r\ncontent-length: 0\r\n"),
        };
        stream.write_all(format!("{head}host: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let read = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer[..read]));
    }
    assert!(exposed.memory() <= before + MAX_GROWTH, "{} kB, {before} kB before", exposed.memory());
    assert!(exposed.is_well().await);
    let log = exposed.ends_without_secrets().await;
    let lines = log.matches("a request with a wrong token was refused").count();
    assert!((1..=3).contains(&lines), "{log}");
}
