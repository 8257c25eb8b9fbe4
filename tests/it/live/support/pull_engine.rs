//! An engine that only pulls: beside that of the lab's first node, with its own opinion of registries.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gantry::config::EngineAddress;

use super::{Request, Stage, wait};

/// `dockerd` in the first node's namespaces. It ends with the test.
pub(crate) struct PullEngine<'a> {
    stage: &'a Stage,
    launcher: Child,
    name: String,
    bridge: String,
    socket: PathBuf,
    log: PathBuf,
}

/// How many of them this process has started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

impl<'a> PullEngine<'a> {
    /// With these options, and these variables in its environment.
    pub(crate) fn start(
        stage: &'a Stage,
        name: &str,
        options: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let name = format!("pull-{name}-{}", std::process::id());
        let socket = stage.lab.sockets.join(format!("{name}.sock"));
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let folder = format!("/run/{name}");
        // It runs no containers. An engine that is told to have no bridge would remove that of the node's own engine.
        let bridge = format!("p{}x{}", std::process::id(), STARTED.fetch_add(1, Relaxed));
        let add = format!("ip link add {bridge} type bridge && ip address add 192.0.2.1/30 dev {bridge}");
        assert!(
            stage.lab.command(&["exec", "1", "--", "sh", "-c", &add]).status().unwrap().success(),
            "{add}"
        );
        let fixed = [
            "--config-file=/etc/docker/lab.json".to_owned(),
            format!("--host=unix://{}", socket.display()),
            format!("--data-root={folder}/data"),
            format!("--exec-root={folder}/exec"),
            format!("--pidfile={folder}.pid"),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            format!("--bridge={bridge}"),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
        ];
        let log = stage.write(&format!("{name}.log"), "");
        let output = File::create(&log).unwrap();
        let mut command = stage.lab.command(&["exec", "1", "--", "env"]);
        command.args(variables).arg("dockerd").args(fixed).args(options);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let launcher = command.spawn().unwrap();
        let engine = Self { stage, launcher, name, bridge, socket, log };
        let ping = Request { method: "GET", path: "/_ping", ..Request::default() };
        let is_up = || ping.to_socket(&engine.socket).is_ok_and(|answer| answer.status == 200);
        wait("engine that pulls", 60, || is_up().then_some(()));
        engine
    }

    /// Its address, for the program.
    pub(crate) fn address(&self) -> EngineAddress {
        EngineAddress::Unix(self.socket.clone())
    }

    /// `docker pull` with a folder of the client's configuration: the image's digest, or the client's words.
    pub(crate) fn pull(&self, config: &str, image: &str) -> Result<String, String> {
        let output = self.client().args(["--config", config, "pull", image]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        let said = text(&output.stdout);
        let digest = said.lines().find_map(|line| line.strip_prefix("Digest: "));
        Ok(digest.unwrap_or_else(|| panic!("no digest: {said}")).to_owned())
    }

    fn client(&self) -> Command {
        let mut command = self.stage.lab.docker_command(1);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }
}

impl Drop for PullEngine<'_> {
    fn drop(&mut self) {
        let script = format!("kill \"$(cat /run/{0}.pid)\"", self.name);
        let _ = self.stage.lab.command(&["exec", "1", "--", "sh", "-c", &script]).output();
        let _ = self.launcher.wait();
        let script = format!("ip link delete {1}; rm -rf /run/{0} /run/{0}.pid", self.name, self.bridge);
        let _ = self.stage.lab.command(&["exec", "1", "--", "sh", "-c", &script]).output();
        let _ = std::fs::remove_file(&self.socket);
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the last words of {}:", self.name);
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
