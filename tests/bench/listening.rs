//! The release binary with its listener, over the fake swarm, and what asks it.

use std::fs::File;
use std::io::BufRead as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::swarm_process::SwarmProcess;

/// Tokens of the listener.
const STEER: &str = "a-token-for-steering";
const HOOK: &str = "a-token-for-registries";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// The program with its listener. Killed when dropped.
pub(crate) struct Listening {
    pub(crate) gantry: Child,
    pub(crate) address: SocketAddr,
    client: Client,
    /// Over the socket that no stranger reaches, as a person in the container would ask.
    inside: Client,
}

impl Listening {
    /// Starts it on this engine. `log` takes what it says.
    pub(crate) fn start(engine: &Path, log: Stdio) -> Self {
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gantry = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .env_clear()
            .env("DOCKER_HOST", format!("unix://{}", engine.display()))
            .env("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true")
            .env("GANTRY_SLEEP_SECONDS", "3600")
            .env("GANTRY_CLEANUP_IMAGES", "false")
            .env("XDG_RUNTIME_DIR", engine.parent().unwrap())
            .env("GANTRY_HTTP_ADDRESS", address.to_string())
            .env("GANTRY_HTTP_STEER_TOKEN", STEER)
            .env("GANTRY_HTTP_HOOK_TOKEN", HOOK)
            .env("GANTRY_HTTP_READ_TOKEN", "a-token-for-reading")
            .stderr(log)
            .spawn()
            .unwrap();
        let inside = Client::builder().unix_socket(own_socket(engine)).build().unwrap();
        Self { gantry, address, client: Client::new(), inside }
    }

    /// Starts a run. Returns its number.
    pub(crate) async fn start_run(&self) -> u64 {
        let request = self.inside.post("http://localhost/api/v1/run").body("{}");
        let run: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        run["id"].as_u64().unwrap()
    }

    /// Whether a run is over.
    pub(crate) async fn is_done(&self, run: u64) -> bool {
        let request = self.inside.get(format!("http://localhost/api/v1/runs/{run}"));
        let run: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        assert!(run["failed"] != true, "{run:#}");
        run["state"] == "done"
    }

    /// The address of the page.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(STEER)
    }

    /// Tells of a push, as a registry does.
    pub(crate) fn hook(&self, image: &str) -> RequestBuilder {
        let body = serde_json::json!({ "image": image });
        self.client.post(self.url("/hooks/generic")).bearer_auth(HOOK).body(body.to_string())
    }

    /// Waits until the state is like this.
    pub(crate) async fn until(&self, is_so: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.get("/api/v1/state").send().await
                && let Ok(text) = answer.text().await
                && serde_json::from_str(&text).is_ok_and(|state| is_so(&state))
            {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the state does not come to that");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until nothing is under way.
    pub(crate) async fn until_idle(&self, services: usize) {
        self.until(|state| {
            let is_idle = state["runs"].as_array().is_some_and(Vec::is_empty);
            is_idle && state["counts"]["up_to_date"] == services
        })
        .await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.gantry.kill();
        let _ = self.gantry.wait();
    }
}

/// The socket of a program that has just begun, beside the engine's.
fn own_socket(engine: &Path) -> PathBuf {
    let begun = Instant::now();
    loop {
        let folders = engine.parent().unwrap().read_dir().unwrap();
        let sockets = folders.map(|folder| folder.unwrap().path().join("socket"));
        if let Some(socket) = sockets.into_iter().find(|socket| socket.exists()) {
            return socket;
        }
        assert!(begun.elapsed() < PATIENCE, "no socket");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Serves page and API over a small fake swarm until its input ends, and writes the log to this file. It prints the page's
/// address.
pub(crate) fn serve(log: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let _swarm = SwarmProcess::start(&socket, 12, 4);
    let gantry = Listening::start(&socket, Stdio::from(File::create(log).unwrap()));
    println!("{}", gantry.url(""));
    for _ in std::io::stdin().lock().lines() {}
}

/// A line of a table: what it is, how much it may be.
pub(crate) fn told(what: &str, is: f64, most: f64) {
    println!("{what:>60} {is:>9.3}   at most {most:>7.2} {:>4}", if is <= most { "yes" } else { "NO" });
}
