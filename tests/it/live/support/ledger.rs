//! What Gantry remembers of a stage, as people see it.

use serde_json::Value;

use super::{Service, Stage};

/// What a command for people says, and how it ends.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Stage {
    /// The stage's ledger; null when there is none.
    pub(crate) fn ledger_config(&self) -> Value {
        let listed = self.lab.get_json("/configs");
        let list = listed.as_array().cloned().unwrap_or_default();
        let own = list.into_iter().find(|config| config["Spec"]["Name"] == self.ledger().as_str());
        own.unwrap_or_default()
    }

    /// Its labels, as `docker config inspect` shows them.
    pub(crate) fn ledger_labels(&self) -> Value {
        self.ledger_config()["Spec"]["Labels"].clone()
    }

    /// What is remembered of a service; empty when that is nothing.
    pub(crate) fn entry(&self, service: &Service<'_>) -> String {
        let key = format!("gantry.service.{}", service.name);
        self.ledger_labels()[key].as_str().unwrap_or_default().to_owned()
    }

    /// Who is rolling out.
    pub(crate) fn lease(&self) -> Option<String> {
        self.ledger_labels()["gantry.lease"].as_str().map(str::to_owned)
    }

    /// Sets a label of the ledger, as a person might who cannot let things alone.
    pub(crate) fn edit_ledger(&self, key: &str, value: &str) {
        let config = self.ledger_config();
        let mut spec = config["Spec"].clone();
        spec["Labels"][key] = value.into();
        let (id, version) = (config["ID"].as_str().unwrap(), &config["Version"]["Index"]);
        let (path, body) = (format!("/configs/{id}/update?version={version}"), spec.to_string());
        let request = super::Request {
            method: "POST",
            path: &path,
            headers: &[("Content-Type", "application/json")],
            body: body.as_bytes(),
        };
        request.to_socket(&self.lab.socket(1)).unwrap().good();
    }

    /// `gantry` with these arguments, for this stage's ledger.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        self.say_to(&self.lab.docker_host(1), arguments)
    }

    /// `gantry` with these arguments, for this stage's ledger, before it runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        self.command_to(&self.lab.docker_host(1), arguments)
    }

    fn command_to(&self, docker_host: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gantry"));
        command.env_clear().env("DOCKER_HOST", docker_host).env("GANTRY_LEDGER_NAME", self.ledger());
        command.args(arguments);
        command
    }

    /// As [`Self::say`], to another engine.
    pub(crate) fn say_to(&self, docker_host: &str, arguments: &[&str]) -> Said {
        let output = self.command_to(docker_host, arguments).output().unwrap();
        // An answer, or on standard error why there is none.
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code(), text: String::from_utf8(text).unwrap() }
    }
}
