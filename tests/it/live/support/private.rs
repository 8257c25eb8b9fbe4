//! A registry that wants to know who asks.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tokens::Issuer;
use super::{Image, Registry, Stage, TokenServer, wait};

/// An account at a private registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// `htpasswd -Bbn USER PASSWORD`, without the user.
    hash: &'static str,
}

/// With a password in which every alignment of its encoding has a character that the two alphabets of base64
/// write differently.
pub(crate) const PULLER: Account = Account {
    user: "puller",
    password: "~?>~?>",
    hash: "$2b$04$fWoMWs6DRAb8nlzwXmJHqOYsaHniAooiDmXe4WUt4PUkLiRceX/t6",
};

/// With everything that is ever mangled on the way, in the name as well.
pub(crate) const JUERGEN: Account = Account {
    user: "jürgen",
    password: "~?>/+ß:日~?>",
    hash: "$2b$04$abcdefghijklmnopqrstuuC3iU.6EsEhHSw9Zx50EOZSHVRvj2IDa",
};

impl Account {
    /// Name and password as they are sent.
    pub(crate) fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password))
    }
}

/// Debian's `docker-registry` with accounts. It ends with the test.
pub(crate) struct PrivateRegistry {
    /// `address:port`, as the nodes and the program reach it.
    pub(crate) host: String,
    process: Child,
    log: std::path::PathBuf,
    issuer: Option<Arc<Issuer>>,
}

impl PrivateRegistry {
    /// With a file of passwords: [`PULLER`] and [`JUERGEN`].
    pub(crate) fn with_passwords(stage: &Stage) -> Self {
        let lines = [PULLER, JUERGEN].map(|it| format!("{}:{}\n", it.user, it.hash));
        let file = stage.write("registry/accounts", &lines.concat());
        Self::start(stage, &format!("auth: {{htpasswd: {{realm: lab, path: {}}}}}", file.display()), None)
    }

    /// That believes a token server.
    pub(crate) fn with_tokens(stage: &Stage, tokens: &TokenServer) -> Self {
        let certificate = stage.write("registry/token.pem", &tokens.issuer.certificate());
        let auth = format!(
            "auth: {{token: {{realm: \"{}\", service: {}, issuer: {}, rootcertbundle: {}}}}}",
            tokens.realm(),
            Issuer::SERVICE,
            Issuer::NAME,
            certificate.display()
        );
        Self::start(stage, &auth, Some(&tokens.issuer))
    }

    /// That wants no account, and tells this address of its events, with this value of an `Authorization` header.
    pub(crate) fn notifying(stage: &Stage, url: &str, authorization: &str) -> Self {
        let endpoint = format!(
            "{{name: gantry, url: \"{url}\", headers: {{Authorization: [\"{authorization}\"]}}, timeout: 1s, threshold: 3, \
             backoff: 200ms}}"
        );
        Self::start(stage, &format!("notifications: {{endpoints: [{endpoint}]}}"), None)
    }

    /// With these further settings.
    fn start(stage: &Stage, settings: &str, issuer: Option<&Arc<Issuer>>) -> Self {
        // Between the look for a free port and the registry's own start, somebody else may take it.
        let started = (0..5).find_map(|_| Self::start_once(stage, settings, issuer));
        started.expect("a registry that does not end at once")
    }

    /// `None`: it has ended, and whoever may answer there is somebody else.
    fn start_once(stage: &Stage, settings: &str, issuer: Option<&Arc<Issuer>>) -> Option<Self> {
        let free = std::net::TcpListener::bind((stage.lab.host.as_str(), 0)).unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  maintenance: {{uploadpurging: {{enabled: false}}}}\n\
             http: {{addr: \"{host}\"}}\n{settings}\n",
            stage.folder.path().join("registry/data").display(),
        );
        let config = stage.write("registry/config.yml", &config);
        let log = stage.folder.path().join("registry/log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let process = command.spawn().expect("Debian's package docker-registry");
        let mut private = Self { host, process, log, issuer: issuer.cloned() };
        let is_up = wait("private registry", 20, || {
            let is_answering = Registry::at(&private.host).is_answering();
            let has_ended = private.process.try_wait().unwrap().is_some();
            (is_answering || has_ended).then_some(!has_ended)
        });
        is_up.then_some(private)
    }

    /// The name of an image here.
    pub(crate) fn image_name(&self, stage: &Stage, name: &str) -> String {
        format!("{}/{}:latest", self.host, stage.repository(name))
    }

    /// Makes an image of this version and pushes it.
    pub(crate) fn push(&self, stage: &Stage, name: &str, version: &str) -> Image {
        self.push_with(stage, name, version, &[])
    }

    /// The same with options of `lab image`.
    pub(crate) fn push_with(&self, stage: &Stage, name: &str, version: &str, options: &[&str]) -> Image {
        stage.image(name, version, options);
        let repository = stage.repository(name);
        let authorization = match &self.issuer {
            None => format!("Basic {}", PULLER.encoded()),
            Some(issuer) => format!("Bearer {}", issuer.token(&repository, &["pull", "push"], 300)),
        };
        let ours = Registry::authorized(&self.host, &authorization);
        let lab = Registry::at(&stage.lab.registry);
        let digest = lab.copy(&repository, "latest", &ours, &repository, |_| ());
        Image { name: self.image_name(stage, name), digest }
    }

    /// What the program itself was answered so far: the status of each of its requests.
    pub(crate) fn answers(&self) -> Vec<u16> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let ours = log.lines().filter(|line| line.contains("\"gantry/"));
        ours.filter_map(|line| line.split('"').nth(2)?.split_whitespace().next()?.parse().ok()).collect()
    }
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
