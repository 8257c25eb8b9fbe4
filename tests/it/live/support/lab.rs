//! The lab of `tests/lab`, as its environment describes it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Answer, Request};

/// From one probe to the next while a test waits for something.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// The lab.
#[derive(Debug)]
pub(crate) struct Lab {
    program: String,
    docker: String,
    pub(super) sockets: PathBuf,
    /// How many nodes it has; the first is its manager.
    pub(crate) nodes: usize,
    /// The registry's `address:port`.
    pub(crate) registry: String,
    /// The registry's log, with a line for each request.
    pub(crate) registry_log: PathBuf,
    /// This machine's address as the nodes see it.
    pub(crate) host: String,
    /// Where its nodes keep their data.
    pub(crate) folder: PathBuf,
    /// What its program is to find in its environment, beside what the test has.
    environment: Vec<(&'static str, String)>,
}

/// A lab of a test's own, for one that takes away what others would stand on. Removed when dropped.
pub(super) struct OwnLab {
    pub(super) lab: &'static Lab,
    /// The name is taken for as long as this is locked, in whichever process.
    _name: File,
}

/// So many own labs at once: each is three engines and a registry.
const OWN_LABS: usize = 4;

impl OwnLab {
    /// Starts a lab of three nodes, of which so many are managers, beside the one that the tests share.
    pub(super) fn start(managers: usize) -> Self {
        let shared = Lab::get();
        let (number, lock) = free_name(shared);
        let name = format!("{}-{number}", std::env::var("GANTRY_LAB_NAME").unwrap_or_default());
        // No folder: the test's environment names that of the shared lab.
        let environment = vec![("GANTRY_LAB_NAME", name), ("GANTRY_LAB_DIR", String::new())];
        let call = |arguments: &[&str]| {
            let mut command = Command::new(&shared.program);
            command.args(arguments).envs(environment.clone());
            succeed(&mut command, &format!("lab {}", arguments.join(" ")))
        };
        // One that was killed has left its lab behind.
        call(&["down"]);
        call(&["up", "--nodes", "3", "--managers", &managers.to_string()]);
        let variables = call(&["env"]);
        let get = |name: &str| {
            let line = variables.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in:\n{variables}")).to_owned()
        };
        Self { lab: Box::leak(Box::new(Lab::from(get, environment))), _name: lock }
    }
}

/// The number of an own lab that nobody has, and the lock that says so.
fn free_name(shared: &Lab) -> (usize, File) {
    loop {
        for number in 0..OWN_LABS {
            let path = shared.sockets.join(format!("tests-own-{number}.lock"));
            let file = File::options().create(true).append(true).open(path).unwrap();
            if file.try_lock().is_ok() {
                return (number, file);
            }
        }
        sleep(PROBE_INTERVAL);
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        self.lab.run(&["down"]);
    }
}

impl Lab {
    /// The lab that the environment names.
    pub(crate) fn get() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(|| {
            let get = |name: &str| {
                std::env::var(name).unwrap_or_else(|_| {
                    panic!(
                        "The live tests need the private swarm of tests/lab: run `make test`, or \
                         `tests/lab/lab up` and `eval \"$(tests/lab/lab env)\"` ({name} is not set)."
                    )
                })
            };
            let lab = Self::from(get, Vec::new());
            assert!(
                lab.nodes >= 3,
                "The live tests need a lab of three nodes: run `tests/lab/lab up --nodes 3`."
            );
            let (is_up, socket) = (lab.is_answering(1), lab.socket(1));
            assert!(
                is_up,
                "The lab's first engine does not answer at {}: run `tests/lab/lab up`.",
                socket.display()
            );
            lab
        })
    }

    fn from(get: impl Fn(&str) -> String, environment: Vec<(&'static str, String)>) -> Self {
        Self {
            program: get("GANTRY_LAB"),
            docker: get("GANTRY_LAB_DOCKER"),
            sockets: get("GANTRY_LAB_SOCKETS").into(),
            nodes: get("GANTRY_LAB_NODES").parse().unwrap(),
            registry: get("GANTRY_LAB_REGISTRY"),
            registry_log: get("GANTRY_LAB_REGISTRY_LOG").into(),
            host: get("GANTRY_LAB_HOST"),
            folder: get("GANTRY_LAB_DIR").into(),
            environment,
        }
    }

    /// The socket of a node's engine, the first being 1.
    pub(crate) fn socket(&self, node: usize) -> PathBuf {
        self.sockets.join(format!("node{node}.sock"))
    }

    pub(crate) fn docker_host(&self, node: usize) -> String {
        format!("unix://{}", self.socket(node).display())
    }

    /// The address of a port of this machine that leads to a node's engine, without a scheme. It ends with the test's process.
    pub(crate) fn tcp_before(&self, node: usize) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let socket = self.socket(node);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = std::os::unix::net::UnixStream::connect(&socket).unwrap();
                let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
                let (mut from, mut to) = (far, near);
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        address
    }

    /// Runs the lab's own program.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments), &format!("lab {}", arguments.join(" ")))
    }

    /// The lab's own program, not started yet.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.clone()).args(arguments);
        command
    }

    /// Runs the docker client on the first node.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.docker_on(1, arguments)
    }

    /// What containers have written to either output, by `docker logs` or `docker service logs` with these arguments.
    pub(crate) fn log_of(&self, arguments: &[&str]) -> String {
        let output = self.docker_command(1).args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {}: {output:?}", arguments.join(" "));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Runs the docker client on a node.
    pub(crate) fn docker_on(&self, node: usize, arguments: &[&str]) -> String {
        succeed(self.docker_command(node).args(arguments), &format!("docker {}", arguments.join(" ")))
    }

    /// The docker client, blind to the caller's own configuration.
    pub(crate) fn docker_command(&self, node: usize) -> Command {
        let mut command = Command::new(&self.docker);
        command.env_clear().env("DOCKER_HOST", self.docker_host(node));
        command
    }

    /// Asks a node's engine.
    pub(crate) fn engine(&self, node: usize, method: &str, path: &str) -> std::io::Result<Answer> {
        Request { method, path, ..Request::default() }.to_socket(&self.socket(node))
    }

    /// What the manager's engine answers, which must be a success.
    pub(crate) fn get_json(&self, path: &str) -> Value {
        self.engine(1, "GET", path).unwrap().good().json()
    }

    /// Whether a node's engine answers.
    pub(crate) fn is_answering(&self, node: usize) -> bool {
        self.engine(node, "GET", "/_ping").is_ok_and(|answer| answer.status == 200)
    }
}

fn succeed(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {} {said}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Waits until the probe finds something, which must be so in time.
#[track_caller]
pub(crate) fn wait<T>(what: &str, seconds: u64, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "after {seconds} s there is still no {what}");
        sleep(PROBE_INTERVAL);
    }
}
