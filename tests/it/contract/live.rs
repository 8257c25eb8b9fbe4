//! The lab as a stage.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use gantry::config::EngineAddress;
use gantry::swarm::engine::Engine;

use super::{Kind, Stage};

/// The first engine of the lab.
pub(crate) struct Live {
    engine: Engine,
    prefix: String,
    docker_host: String,
    images: Mutex<HashMap<Kind, String>>,
}

impl Live {
    pub(crate) fn new(rule: &str) -> Self {
        let socket = PathBuf::from(variable("GANTRY_LAB_SOCKETS")).join("node1.sock");
        // Service names have at most 63 characters, and the number tells two runs apart.
        let prefix = format!("fk-{}-{}", &rule.replace('_', "-")[..rule.len().min(36)], std::process::id());
        Self {
            docker_host: format!("unix://{}", socket.display()),
            engine: Engine::new(EngineAddress::Unix(socket)),
            prefix,
            images: Mutex::default(),
        }
    }

    fn make(kind: Kind) -> String {
        let registry = variable("GANTRY_LAB_REGISTRY");
        let (name, options) = match kind {
            Kind::Good(number) => {
                (format!("fk-good:{number}"), vec!["--env".to_owned(), format!("V={number}")])
            }
            Kind::Crashes => ("fk-crashes:1".to_owned(), command("echo boom; sleep 1; exit 3")),
            Kind::Exits => ("fk-exits:1".to_owned(), command("sleep 1; exit 0")),
            Kind::Sick => {
                let health = ["--health", "false", "--health-interval", "500ms", "--health-retries", "2"];
                ("fk-sick:1".to_owned(), health.map(str::to_owned).to_vec())
            }
            Kind::Unknown => return format!("{registry}/fk-unknown:1@sha256:{}", "0".repeat(64)),
            Kind::CannotStart => {
                ("fk-cannot-start:1".to_owned(), vec!["--entrypoint".to_owned(), "/nonexistent".to_owned()])
            }
        };
        let made =
            Command::new(variable("GANTRY_LAB")).arg("image").arg(&name).args(options).output().unwrap();
        assert!(made.status.success(), "lab image {name}: {made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }
}

fn command(text: &str) -> Vec<String> {
    vec!["--cmd".to_owned(), text.to_owned()]
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: the live tests need the lab; `tests/lab/lab up` and `eval \"$(tests/lab/lab env)\"`")
    })
}

impl Stage for Live {
    type Swarm = Engine;

    fn swarm(&self) -> &Engine {
        &self.engine
    }

    fn image(&self, kind: Kind) -> String {
        let mut images = self.images.lock().unwrap();
        images.entry(kind).or_insert_with(|| Self::make(kind)).clone()
    }

    fn kind(&self, image: &str) -> Option<Kind> {
        let images = self.images.lock().unwrap();
        images.iter().find(|(_, made)| *made == image).map(|(kind, _)| *kind)
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

impl Drop for Live {
    /// Removes this rule's services and configs, also after a failure.
    fn drop(&mut self) {
        let docker = || {
            let mut docker = Command::new(variable("GANTRY_LAB_DOCKER"));
            docker.env("DOCKER_HOST", &self.docker_host);
            docker
        };
        let filter = format!("name={}-", self.prefix);
        for kind in ["service", "config"] {
            let Ok(listed) = docker().args([kind, "ls", "-q", "--filter", &filter]).output() else {
                continue;
            };
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            if !ids.trim().is_empty() {
                let _ = docker().args([kind, "rm"]).args(ids.split_whitespace()).output();
            }
        }
    }
}
