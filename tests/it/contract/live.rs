//! The lab as a stage.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use gantry::config::EngineAddress;
use gantry::secret::Secret;
use gantry::swarm::engine::Engine;
use serde_json::json;

use super::{Kind, Stage};
use crate::live::support::{self, PULLER, PrivateRegistry};

/// The first engine of the lab.
pub(crate) struct Live {
    engine: Engine,
    prefix: String,
    images: Mutex<HashMap<Kind, String>>,
    private: OnceLock<PrivateRegistry>,
    /// For what has to do with no swarm, and for the lab.
    home: support::Stage,
}

impl Live {
    pub(crate) fn new(rule: &str) -> Self {
        Self::with(rule, support::Stage::new())
    }

    /// On a lab of its own, whose nodes are `node1` (the manager), `node2` and `node3`.
    pub(crate) fn apart(rule: &str) -> Self {
        Self::with(rule, support::Stage::apart())
    }

    fn with(rule: &str, home: support::Stage) -> Self {
        // Service names have at most 63 characters, and the number tells two runs apart.
        let prefix = format!("fk-{}-{}", &rule.replace('_', "-")[..rule.len().min(36)], std::process::id());
        let engine = Engine::new(EngineAddress::Unix(home.lab.socket(1)));
        Self { engine, prefix, images: Mutex::default(), private: OnceLock::new(), home }
    }

    fn make(&self, kind: Kind) -> String {
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
            Kind::Unknown => {
                let registry = &self.home.lab.registry;
                return format!("{registry}/fk-unknown:1@sha256:{}", "0".repeat(64));
            }
            Kind::CannotStart => {
                ("fk-cannot-start:1".to_owned(), vec!["--entrypoint".to_owned(), "/nonexistent".to_owned()])
            }
            Kind::Private => return self.private().push(&self.home, "private", "1").pinned(),
        };
        let options = options.iter().map(String::as_str);
        self.home.lab.run(&["image", &name].into_iter().chain(options).collect::<Vec<_>>())
    }

    fn private(&self) -> &PrivateRegistry {
        self.private.get_or_init(|| PrivateRegistry::with_passwords(&self.home))
    }
}

/// `node3` is called 3 by the lab.
fn number(node: &str) -> &str {
    node.trim_start_matches("node")
}

fn command(text: &str) -> Vec<String> {
    vec!["--cmd".to_owned(), text.to_owned()]
}

impl Stage for Live {
    type Swarm = Engine;

    fn swarm(&self) -> &Engine {
        &self.engine
    }

    fn image(&self, kind: Kind) -> String {
        let mut images = self.images.lock().unwrap();
        images.entry(kind).or_insert_with(|| self.make(kind)).clone()
    }

    fn kind(&self, image: &str) -> Option<Kind> {
        let images = self.images.lock().unwrap();
        images.iter().find(|(_, made)| *made == image).map(|(kind, _)| *kind)
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn account(&self, is_right: bool) -> Secret {
        let password = if is_right { PULLER.password } else { "yesterday's" };
        let account = json!({
            "username": PULLER.user, "password": password, "serveraddress": self.private().host,
        });
        Secret::new(URL_SAFE.encode(account.to_string()))
    }

    fn lose(&self, node: &str) {
        self.home.lab.run(&["stop", number(node), "--kill"]);
    }

    fn restore(&self, node: &str) {
        self.home.lab.run(&["start", number(node)]);
    }

    /// The only manager is killed, and leads again when it is back.
    fn change_leader(&self) {
        self.home.lab.run(&["stop", "1", "--kill"]);
        self.home.lab.run(&["start", "1"]);
    }

    fn pause(&self, node: &str) {
        self.home.lab.docker(&["node", "update", "--availability", "pause", node]);
    }

    fn drain(&self, node: &str, is_drained: bool) {
        let availability = if is_drained { "drain" } else { "active" };
        self.home.lab.docker(&["node", "update", "--availability", availability, node]);
    }
}

impl Drop for Live {
    /// Removes this rule's services and configs, also after a failure.
    fn drop(&mut self) {
        let filter = format!("name={}-", self.prefix);
        for kind in ["service", "config"] {
            let docker = || -> Command { self.home.lab.docker_command(1) };
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
