//! Every request of a cycle, broken on its way by a real proxy, in hurried time.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use gantry::config::EngineAddress;
use gantry::registry::{HttpRegistry, Settings};
use gantry::swarm::engine::Engine;
use tempfile::TempDir;

use super::{FaultRun, Images, burdens, complaints, run_cycles, scene, some};
use crate::cycle::Scene;
use crate::fake::{Front, digest, secs};
use crate::support::clock::hurried;
use crate::support::http::{Answer, Request, Server};
use crate::support::proxy::{Address, Mishap, Proxy, Seen};
use crate::support::sha256;

/// How many courses run side by side: enough to keep one processor busy.
const AT_ONCE: usize = 24;

/// Which request to whom goes wrong, and how.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Calm,
    Engine(usize, Mishap),
    Registry(usize, Mishap),
}

/// Everything between Gantry and a swarm, and between Gantry and a registry.
struct Wires {
    images: Images,
    scene: Scene,
    engine: Proxy,
    registry: Proxy,
    _front: Front,
    _folder: TempDir,
}

fn configuration(repository: &str) -> String {
    format!(r#"{{"os":"linux","architecture":"amd64","comment":"{repository}"}}"#)
}

fn manifest(repository: &str) -> String {
    let of = sha256(configuration(repository));
    format!(r#"{{"schemaVersion":2,"config":{{"digest":"{of}"}},"layers":[],"comment":"{repository}"}}"#)
}

/// A registry that has one image in each repository.
fn registry(request: &Request) -> Answer {
    let mut path = request.path.trim_start_matches("/v2/").split('/');
    let repository = path.next().unwrap_or_default().to_owned();
    match path.next() {
        Some("manifests") => {
            let manifest = manifest(&repository);
            let digest = sha256(&manifest).to_string();
            let body = if request.method == "HEAD" { String::new() } else { manifest };
            Answer::new(200, body)
                .with("docker-content-digest", &digest)
                .with("content-type", "application/vnd.oci.image.manifest.v1+json")
        }
        Some("blobs") => Answer::new(200, configuration(&repository)),
        _ => Answer::new(404, ""),
    }
}

impl Wires {
    async fn new(fate: Fate) -> Self {
        let server = Server::start(registry).await;
        let server = Address::Tcp(server.authority().parse().unwrap());
        let any = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let registry = Proxy::start(any, server, move |number, _| match fate {
            Fate::Registry(at, mishap) if at == number => Some(mishap),
            _ => None,
        })
        .await;
        let host = registry.authority();
        let old = |repository: &str| format!("{host}/{repository}:1@{}", digest("old"));
        let new = |repository: &str| format!("{host}/{repository}:1@{}", sha256(manifest(repository)));
        let images = Images {
            good: [old("app"), new("app")],
            broken: [old("other"), new("other")],
            fine: new("fine"),
        };
        let scene = scene(&images);
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(&scene.swarm, &folder.path().join("engine.sock"));
        let EngineAddress::Unix(behind) = front.address() else { panic!("a Unix socket") };
        let here = Address::Unix(folder.path().join("proxy.sock"));
        let engine = Proxy::start(here, Address::Unix(behind), move |number, _| match fate {
            Fate::Engine(at, mishap) if at == number => Some(mishap),
            _ => None,
        })
        .await;
        Self { images, scene, engine, registry, _front: front, _folder: folder }
    }

    async fn run(&self) -> FaultRun {
        let Address::Unix(socket) = self.engine.address() else { panic!("a Unix socket") };
        let engine = Engine::new(EngineAddress::Unix(socket.clone()));
        let settings = Settings {
            certificates: "/nonexistent".into(),
            docker_hub: "http://127.0.0.1:1".to_owned(),
            proxies: gantry::proxy::Proxies::default(),
            ..Settings::default()
        };
        let requests = || {
            let of = |proxy: &Proxy| proxy.seen().len() + proxy.hung_up();
            (of(&self.engine), of(&self.registry))
        };
        run_cycles(&self.scene, Arc::new(engine), Arc::new(HttpRegistry::new(settings)), requests).await
    }
}

/// A course under this fate, and what is wrong with it.
async fn complaints_under(fate: Fate, calm: Option<&FaultRun>) -> (FaultRun, String, Vec<String>) {
    let wires = Wires::new(fate).await;
    let fault_run = wires.run().await;
    let mut all = complaints(&wires.scene, &wires.images, &fault_run);
    all.extend(calm.into_iter().flat_map(|calm| burdens(&fault_run, calm)));
    let what = match fate {
        Fate::Calm => String::new(),
        Fate::Engine(number, _) => named(&wires.engine, number),
        Fate::Registry(number, _) => named(&wires.registry, number),
    };
    (fault_run, what, all)
}

fn named(proxy: &Proxy, number: usize) -> String {
    let seen = proxy.seen();
    let of = |seen: &Seen| format!("{} {} of {}", seen.method, seen.path, seen.agent);
    seen.get(number).map_or_else(|| "no request".to_owned(), of)
}

/// All fates, some at a time.
async fn nothing_is_wrong_under(fates: Vec<Fate>, calm: &FaultRun) {
    let count = fates.len();
    let found: Vec<String> = stream::iter(fates)
        .map(|fate| async move {
            let (_, what, all) = complaints_under(fate, Some(calm)).await;
            (!all.is_empty()).then(|| format!("{fate:?}, {what}: {}", all.join("; ")))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|found| async { found })
        .collect()
        .await;
    assert!(found.is_empty(), "{} courses of {count}:\n{}", found.len(), found.join("\n"));
}

fn mishaps() -> [Mishap; 14] {
    [
        Mishap::CutBefore,
        Mishap::CutAfter,
        Mishap::Truncated,
        Mishap::Away(secs(60)),
        Mishap::Answer(500),
        Mishap::AnswerAfter(504),
        Mishap::Held(secs(20)),
        Mishap::Answer(503),
        Mishap::HangsUp(secs(60)),
        Mishap::OtherPage,
        Mishap::Lost,
        Mishap::Answer(429),
        Mishap::Late(secs(20)),
        Mishap::AnswerAfter(500),
    ]
}

/// Each request with this many of the mishaps, in turn.
fn each(requests: usize, of_each: usize, fate: impl Fn(usize, Mishap) -> Fate) -> Vec<Fate> {
    let all = mishaps();
    let of_each = some(all.len(), of_each);
    let numbers = (0..requests).flat_map(|number| (0..of_each).map(move |offset| (number, offset)));
    numbers.map(|(number, offset)| fate(number, all[(number * of_each + offset) % all.len()])).collect()
}

#[tokio::test]
async fn an_engine_behind_a_bad_wire_costs_time_and_nothing_else() {
    hurried(async {
        let (calm, _, all) = complaints_under(Fate::Calm, None).await;
        assert_eq!(all, Vec::<String>::new());
        assert!(calm.requests.0 > 30, "only {} requests prove nothing", calm.requests.0);
        nothing_is_wrong_under(each(calm.requests.0, 1, Fate::Engine), &calm).await;
    })
    .await;
}

#[tokio::test]
async fn a_registry_behind_a_bad_wire_costs_time_and_nothing_else() {
    hurried(async {
        let (calm, _, all) = complaints_under(Fate::Calm, None).await;
        assert_eq!(all, Vec::<String>::new());
        nothing_is_wrong_under(each(calm.requests.1, 2, Fate::Registry), &calm).await;
    })
    .await;
}
