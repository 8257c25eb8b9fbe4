//! A test's own part of the swarm: names, images, services; all gone when the test is over.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::OwnLab;
use super::lab::PROBE_INTERVAL;
use super::{Gantry, Lab, Run, Service};

/// One test's part of the swarm.
pub(crate) struct Stage {
    pub(crate) lab: &'static Lab,
    /// What all its names begin with.
    pub(crate) prefix: String,
    /// A folder of its own.
    pub(crate) folder: tempfile::TempDir,
    own: Option<OwnLab>,
}

/// An image in the lab's registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// `registry/name:tag`.
    pub(crate) name: String,
    /// `sha256:...`.
    pub(crate) digest: String,
}

impl Image {
    /// `registry/name:tag@digest`, as a service has it.
    pub(crate) fn pinned(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }
}

/// The label that all of a stage's services have; its value is the stage's prefix.
pub(crate) const LABEL: &str = "stage";

/// How long the containers of a stage may take to end before they are removed by force.
const END_TIME: Duration = Duration::from_secs(30);

/// Options of every service that a test does not give options of its own: quick to start, to stop and to
/// judge. Start-first, because an update configuration without an order means stop-first to the engine.
const QUICK: [&str; 14] = [
    "--network",
    "host",
    "--stop-grace-period",
    "1s",
    "--restart-delay",
    "200ms",
    "--update-order",
    "start-first",
    "--update-monitor",
    "1s",
    "--rollback-monitor",
    "1s",
    "--label",
    "quick=true",
];

impl Stage {
    /// A stage beside others.
    pub(crate) fn new() -> Self {
        Self::with(Lab::get(), None)
    }

    /// The only stage of a lab of its own, for a test that takes away what others would stand on.
    pub(crate) fn apart() -> Self {
        Self::apart_with_managers(1)
    }

    /// The same, with so many managers among the three nodes.
    pub(crate) fn apart_with_managers(managers: usize) -> Self {
        let own = OwnLab::start(managers);
        Self::with(own.lab, Some(own))
    }

    fn with(lab: &'static Lab, own: Option<OwnLab>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("t{}-{count}", std::process::id());
        Self { lab, prefix, folder: tempfile::tempdir().unwrap(), own }
    }

    /// A name of this stage's own.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A repository of this stage's own, without the registry.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Makes an image that runs at once and is healthy after so many seconds: an update to it takes its time.
    pub(crate) fn slow_image(&self, name: &str, version: &str, seconds: u32) -> Image {
        let command = format!(
            "(sleep {seconds}; touch /tmp/ready) & trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done"
        );
        let health = ["--health", "[ -e /tmp/ready ]", "--health-interval", "300ms"];
        let options = [&health[..], &["--health-start-period", "5m", "--cmd", &command]].concat();
        self.image(name, version, &options)
    }

    /// Makes an image that says why and ends with exit code 3, a moment after it began to run.
    pub(crate) fn crashing_image(&self, name: &str, version: &str) -> Image {
        self.image(name, version, &["--cmd", "echo no database; sleep 0.2; exit 3"])
    }

    /// Makes an image and pushes it; with another `version` the tag moves. See `lab image --help`.
    pub(crate) fn image(&self, name: &str, version: &str, options: &[&str]) -> Image {
        let (version, reference) = (format!("VERSION={version}"), self.repository(name));
        // Another stage's image is another image, so that nobody else's service keeps this one.
        let label = format!("{LABEL}={}", self.prefix);
        let arguments = [&["image", &reference, "--env", &version, "--label", &label], options].concat();
        let made = self.lab.run(&arguments);
        let (name, digest) = made.split_once('@').unwrap();
        Image { name: name.to_owned(), digest: digest.to_owned() }
    }

    /// Makes an image that all nodes have and no registry knows; returns its name.
    pub(crate) fn local_image(&self, name: &str, version: &str) -> String {
        let version = format!("VERSION={version}");
        let reference = format!("{}:latest", self.repository(name));
        self.lab.run(&["image", &reference, "--env", &version, "--no-push"])
    }

    /// Creates a service that is quick to update and waits until it runs. Later options win.
    pub(crate) fn service(&self, name: &str, image: &Image, options: &[&str]) -> Service<'_> {
        self.create(name, &image.name, &[&QUICK, options].concat()).running()
    }

    /// Creates a service with these options and no others.
    pub(crate) fn create(&self, name: &str, image: &str, options: &[&str]) -> Service<'_> {
        let (name, label) = (self.name(name), format!("{LABEL}={}", self.prefix));
        let fixed = ["service", "create", "--quiet", "--detach", "--name", &name, "--label", &label];
        let id = self.lab.docker(&[&fixed, options, &[image]].concat());
        Service { stage: self, name, id }
    }

    /// Creates a service as a program would, without the client's help.
    pub(crate) fn post(&self, name: &str, mut spec: Value) -> Service<'_> {
        let name = self.name(name);
        spec["Name"] = name.as_str().into();
        spec["Labels"][LABEL] = self.prefix.as_str().into();
        let body = spec.to_string();
        let request = super::Request {
            method: "POST",
            path: "/services/create",
            headers: &[("Content-Type", "application/json")],
            body: body.as_bytes(),
        };
        let answer = request.to_socket(&self.lab.socket(1)).unwrap().good();
        Service { stage: self, name, id: answer.json()["ID"].as_str().unwrap().to_owned() }
    }

    /// The program with what all tests give it, for this stage's services only.
    pub(crate) fn gantry(&self) -> Gantry {
        Gantry::new()
            .set("DOCKER_HOST", &self.lab.docker_host(1))
            .set("HOME", &self.folder.path().display().to_string())
            .set("GANTRY_LOG_FORMAT", "json")
            .set("GANTRY_LOG_LEVEL", "DEBUG")
            .set("GANTRY_LEDGER_NAME", &self.ledger())
            .set("GANTRY_CLEANUP_IMAGES", "false")
            // All at once: most tests are about one service's way, and few have the time for canaries.
            .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "50")
            .set("GANTRY_SERVICES_FILTERS", &format!("label={LABEL}={}", self.prefix))
    }

    /// The name of the config that the program remembers in.
    pub(crate) fn ledger(&self) -> String {
        self.name("ledger")
    }

    /// One cycle of it.
    pub(crate) fn cycle(&self) -> Run {
        self.gantry().run()
    }

    /// Requests of the program itself (not of the engines) to a repository of this stage: method and path.
    pub(crate) fn requests(&self, name: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.lab.registry_log).unwrap();
        let (path, agent) = (format!("/v2/{}/", self.repository(name)), "\"gantry/");
        let lines = log.lines().filter(|line| line.contains(&path) && line.contains(agent));
        let request = |line: &str| Some(line.split('"').nth(1)?.strip_suffix(" HTTP/1.1")?.to_owned());
        lines.filter_map(request).collect()
    }

    /// Writes a file into the stage's folder.
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Values of `"Id"` (or another key) in a list that an engine answers; nothing from one that is away.
fn listed(lab: &Lab, node: usize, path: &str, key: &str) -> Vec<String> {
    let answer = lab.engine(node, "GET", path).map(|answer| answer.json()).unwrap_or_default();
    let list = answer.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|one| one[key].as_str()).map(str::to_owned).collect()
}

/// Every name, with a tag or a digest, of the images that an engine lists.
fn names_of_images(lab: &Lab, node: usize, path: &str) -> Vec<String> {
    let answer = lab.engine(node, "GET", path).map(|answer| answer.json()).unwrap_or_default();
    let images = answer.as_array().into_iter().flatten();
    let names = images.flat_map(|image| ["RepoTags", "RepoDigests"].map(|key| image[key].as_array()));
    names.flatten().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Filters of the engine, in the form of a query.
fn filters(filters: &[(&str, String)]) -> String {
    let by_key = filters.iter().map(|(key, value)| ((*key).to_owned(), serde_json::json!([value])));
    let json = Value::Object(by_key.collect()).to_string();
    percent_encoding::utf8_percent_encode(&json, percent_encoding::NON_ALPHANUMERIC).to_string()
}

impl Drop for Stage {
    /// Best effort, and silent: it also runs when the test has failed.
    fn drop(&mut self) {
        // What is on a lab of its own goes with it.
        if self.own.is_some() || std::env::var_os("GANTRY_TEST_KEEP").is_some() {
            return;
        }
        let (lab, prefix) = (self.lab, &self.prefix);
        let name = filters(&[("name", format!("{prefix}-"))]);
        for kind in ["services", "secrets", "configs"] {
            for id in listed(lab, 1, &format!("/{kind}?filters={name}"), "ID") {
                let _ = lab.engine(1, "DELETE", &format!("/{kind}/{id}"));
            }
        }
        for node in 1..=lab.nodes {
            // Those of services stop when these are gone. What somebody has started by hand does not, and the
            // finished ones of jobs stay.
            let named = ("name", format!("/{prefix}-"));
            let tasks = filters(&[named.clone(), ("label", "com.docker.swarm.task.id".to_owned())]);
            let running = format!("/containers/json?filters={tasks}");
            let deadline = Instant::now() + END_TIME;
            while !listed(lab, node, &running, "Id").is_empty() && Instant::now() < deadline {
                std::thread::sleep(PROBE_INTERVAL);
            }
            let all = format!("/containers/json?all=true&filters={}", filters(&[named]));
            for container in listed(lab, node, &all, "Id") {
                let _ = lab.engine(node, "DELETE", &format!("/containers/{container}?force=true"));
            }
            let images = filters(&[("reference", format!("*/{prefix}/*"))]);
            // By name: images of the same content have one id, and other tests may need theirs.
            for name in names_of_images(lab, node, &format!("/images/json?filters={images}")) {
                if name.contains(&format!("/{prefix}/")) {
                    let _ = lab.engine(node, "DELETE", &format!("/images/{name}?force=true"));
                }
            }
            let volumes = lab.engine(node, "GET", &format!("/volumes?filters={name}"));
            let volumes = volumes.map(|answer| answer.json()["Volumes"].clone()).unwrap_or_default();
            for volume in volumes.as_array().into_iter().flatten().filter_map(|one| one["Name"].as_str()) {
                let _ = lab.engine(node, "DELETE", &format!("/volumes/{volume}"));
            }
        }
        // A network of the swarm is only found by its whole name.
        let names = listed(lab, 1, "/networks", "Name");
        for name in names.iter().filter(|name| name.starts_with(&format!("{prefix}-"))) {
            let _ = lab.engine(1, "DELETE", &format!("/networks/{name}"));
        }
    }
}
