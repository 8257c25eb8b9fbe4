//! Whatever `docker pull` gets from a registry, the program finds there: a table of what registries, token servers and
//! files do, tried on a real engine and by the program's own look-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry::hosts::EngineRegistries;
use gantry::proxy::Proxies;
use gantry::registry::credentials::FoundAccount;
use gantry::registry::{HttpRegistry, Keyring, Lookup, LookupLimits, Registry, Settings, Sources};
use gantry::swarm::Swarm;
use gantry::swarm::engine::Engine;
use serde_json::json;
use tokio::runtime::Runtime;

use self::site::{ACCOUNT, Content, Site, Who};
use self::table::{Expected, Row, rows};
use super::support::{PullEngine, Stage};
use crate::support::http::Server;

mod proxy;
mod site;
mod table;
mod tls;

/// A row with its servers running.
struct Running {
    row: Row,
    site: Site,
    /// `address:port` of the registry.
    host: String,
    /// The folder of the client's configuration.
    config: String,
}

impl Running {
    async fn start(stage: &Stage, number: usize, row: Row) -> Self {
        let content = Content::of(row.name, row.media_type, row.index);
        let tls = row.tls.map(|tls| tls::of(tls, &stage.lab.host));
        let site = Arc::new(std::sync::OnceLock::<Site>::new());
        let serve = Arc::new(row.serve);
        let mut urls = Vec::new();
        for who in [Who::Registry, Who::Other, Who::Tokens] {
            let config = tls.as_ref().filter(|_| who == Who::Registry).map(|tls| Arc::clone(&tls.server));
            let (site, serve) = (Arc::clone(&site), Arc::clone(&serve));
            let answer = move |request: &_| serve(who, request, site.get().unwrap());
            urls.push(Server::start_at(&format!("{}:0", stage.lab.host), config, answer).await.url(""));
        }
        let [registry, other, tokens] = urls.try_into().unwrap();
        let host = registry.split_once("://").unwrap().1.to_owned();
        let site = site.get_or_init(|| Site { content, other, tokens }).clone();
        for (name, text) in tls.iter().flat_map(|tls| &tls.files) {
            stage.write(&format!("certs.d/{host}/{name}"), text);
        }
        let config = (row.config)(&host);
        let config = stage.write(&format!("config-{number}/config.json"), &config);
        let config = config.parent().unwrap().display().to_string();
        let row = Row { serve: Box::new(|_, _, _| unreachable!()), ..row };
        Self { row, site, host, config }
    }

    fn image(&self) -> String {
        format!("{}/app:1", self.host)
    }

    /// What the program finds: the digest, once it knows what stands behind it.
    async fn found(&self, registry: &HttpRegistry, hosts: &Arc<EngineRegistries>) -> Result<String, String> {
        let sources = Sources { docker_config: Some(self.config.clone().into()), ..Sources::default() };
        let keyring = Keyring::open(&sources).await.map_err(|error| error.to_string())?;
        let found = keyring.find(&self.host, None).await.map_err(|error| error.to_string())?;
        let FoundAccount { credentials, missing } = found;
        let image = self.image().parse().unwrap();
        let lookup = Lookup { image, credentials, missing, hosts: Arc::clone(hosts), insecure: false };
        let digest = registry.digest(&lookup).await.map_err(|error| error.to_string())?;
        registry.manifest(&lookup, &digest).await.map_err(|error| error.to_string())?;
        Ok(digest.to_string())
    }

    /// What is not as the row says.
    fn judge(&self, pulled: &Result<String, String>, found: &Result<String, String>) -> Option<String> {
        let right = Ok(self.site.content.digest());
        let is_right = match &self.row.expected {
            Expected::Same => *pulled == right && *found == right,
            Expected::GantryOnly => pulled.is_err() && *found == right,
            Expected::EngineOnly(words) => {
                *pulled == right && found.as_ref().is_err_and(|error| error.contains(words))
            }
            Expected::Neither(words) => {
                pulled.is_err() && found.as_ref().is_err_and(|error| error.contains(words))
            }
        };
        (!is_right).then(|| {
            let expected = &self.row.expected;
            format!("{}: expected {expected:?}\n  engine: {pulled:?}\n  gantry: {found:?}", self.row.name)
        })
    }
}

/// A registry client with the folder of certificates that the engine has.
fn registry_of(stage: &Stage, proxies: Proxies) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: LookupLimits { backoff: Duration::from_millis(10), ..LookupLimits::default() },
        certificates: stage.folder.path().join("certs.d"),
        docker_hub: "http://127.0.0.1:1".to_owned(),
        proxies,
    })
}

#[test]
fn whatever_the_engine_pulls_the_program_finds() {
    let stage = Stage::new();
    let runtime = Runtime::new().unwrap();
    let rows = rows();
    assert!(rows.len() >= 25);
    let running: Vec<Running> = rows
        .into_iter()
        .enumerate()
        .map(|(number, row)| runtime.block_on(Running::start(&stage, number, row)))
        .collect();
    let plain = running.iter().filter(|running| running.row.tls.is_none());
    let insecure: Vec<String> =
        plain.map(|running| format!("--insecure-registry={}", running.host)).collect();
    let certificates = stage.folder.path().join("certs.d").display().to_string();
    let copy = format!("mkdir -p /etc/docker/certs.d && cp -r {certificates}/. /etc/docker/certs.d/");
    stage.lab.run(&["exec", "1", "--", "sh", "-c", &copy]);
    let engine = PullEngine::start(&stage, "table", &insecure, &[]);
    let hosts = runtime.block_on(Engine::new(engine.address()).engine()).unwrap().registries;
    let (hosts, registry) = (Arc::new(hosts), registry_of(&stage, Proxies::default()));

    let mut wrong = Vec::new();
    let mut told = BTreeMap::new();
    for running in &running {
        let pulled = engine.pull(&running.config, &running.image());
        let found = runtime.block_on(running.found(&registry, &hosts));
        wrong.extend(running.judge(&pulled, &found));
        told.insert(running.row.name, (pulled.is_ok(), found));
    }
    println!("{told:#?}");
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), told.len(), wrong.join("\n"));
}

/// As `docker login` without a store leaves it.
fn logged_in(host: &str) -> String {
    let auth = site::basic().trim_start_matches("Basic ").to_owned();
    assert!(!ACCOUNT.is_empty());
    json!({ "auths": { host: { "auth": auth } } }).to_string()
}
