//! The real client of the engine, against the engine's API over real sockets.

use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use gantry::config::{EngineAddress, Filter};
use gantry::heartbeat::Heartbeat;
use gantry::secret::Secret;
use gantry::swarm::engine::Engine;
use gantry::swarm::spec::Edits;
use gantry::swarm::{Listing, Role, Service, ServiceChange, Spec, Swarm, SwarmError};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::fake::{FakeSwarm, Front, Instead, millis, pinned, secs};

const WEB: &str = "r.test:5000/team/web:1";

/// The real client, and the swarm that it talks to.
struct Wire {
    swarm: FakeSwarm,
    front: Front,
    engine: Engine,
    folder: TempDir,
}

impl Wire {
    fn new() -> Self {
        Self::to(&FakeSwarm::with_nodes(3))
    }

    fn to(swarm: &FakeSwarm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(swarm, &folder.path().join("docker.sock"));
        let engine = Engine::new(front.address());
        Self { swarm: swarm.clone(), front, engine, folder }
    }

    /// Waits until the engine tells of changes to whoever reads these; nothing may happen before.
    async fn is_listened_to(&self, mut changes: Pin<&mut impl Stream<Item = Result<(), SwarmError>>>) {
        let asked = async {
            while !self.front.seen().iter().any(|seen| seen.path.starts_with("/events")) {
                sleep(millis(10)).await;
            }
            // What the engine does first with the request comes before this is over, as all of it is one thread.
            sleep(millis(100)).await;
        };
        tokio::select! {
            change = changes.next() => panic!("nothing has happened, and it was told {change:?}"),
            answer = timeout(secs(20), asked) => answer.expect("a request for events"),
        }
    }

    /// The bodies of the updates that were posted.
    fn posted(&self) -> Vec<String> {
        let seen = self.front.seen().into_iter().filter(|seen| seen.path.contains("/update"));
        seen.map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect()
    }
}

/// Services hide their specifications from `Debug`; a comparison must not miss them.
fn whole(services: &[Service]) -> Vec<(String, String, Option<String>)> {
    let text = |service: &Service| {
        let previous = service.previous.as_ref().map(|spec| spec.json().to_owned());
        (format!("{service:?}"), service.spec.json().to_owned(), previous)
    };
    services.iter().map(text).collect()
}

fn same<T: Debug>(wire: Result<T, SwarmError>, direct: &Result<T, SwarmError>) -> T {
    assert_eq!(format!("{wire:?}"), format!("{direct:?}"));
    wire.unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap()
}

#[tokio::test]
async fn what_the_client_reads_is_what_the_swarm_holds() {
    let Wire { swarm, front: _front, engine, folder: _folder } = &Wire::new();
    let (old, new) = (pinned(WEB, "old"), pinned(WEB, "new"));
    swarm.image(&new).crashes_after(Duration::ZERO, 3).logging(&["one", "two", "three"]);
    swarm
        .new_service("web")
        .image(&old)
        .label("gantry.enable", "true")
        .replicas(2)
        .restart_delay(secs(3600))
        .create();
    swarm.new_service("web-2").image(&old).global().create();
    swarm.new_service("job").image(&old).replicated_job(1, 2).create();
    swarm.now(|world| world.set_image("web", &new));
    swarm.until("a crash", |swarm| swarm.tasks_of("web").iter().any(|task| task.exit_code == Some(3))).await;
    sleep(secs(1)).await; // Until the restart delay is over, nothing changes any more.

    let before = swarm.engine().await.unwrap().time;
    let view = engine.engine().await.unwrap();
    let direct = swarm.engine().await.unwrap();
    assert_eq!((view.role, view.node_id, view.host_name), (Role::Manager, direct.node_id, direct.host_name));
    assert_eq!(view.version, direct.version);
    assert!(before <= view.time && view.time <= direct.time, "{:?}", [before, view.time, direct.time]);
    assert_eq!(view.registries, direct.registries);

    for filters in [vec![], vec!["name=web"], vec!["label=gantry.enable=true"], vec!["mode=global"]] {
        let filters: Vec<Filter> = filters.into_iter().map(filter).collect();
        let wire = engine.services(Listing::Filters(&filters)).await.unwrap();
        let direct = swarm.services(Listing::Filters(&filters)).await.unwrap();
        assert_eq!(whole(&wire), whole(&direct), "{filters:?}");
        assert!(!wire.is_empty(), "{filters:?}");
    }
    let web = swarm.see("web").unwrap();
    let ids = [web.id.clone(), "gone".to_owned()];
    let wire = engine.services(Listing::Ids(&ids)).await.unwrap();
    assert_eq!(whole(&wire), whole(&swarm.services(Listing::Ids(&ids)).await.unwrap()));
    assert_eq!(wire.len(), 1);

    let wire = engine.service(&web.id).await.unwrap().unwrap();
    assert_eq!(whole(&[wire]), whole(&[swarm.service(&web.id).await.unwrap().unwrap()]));
    assert!(engine.service("gone").await.unwrap().is_none());

    let tasks = same(engine.tasks(&[]).await, &swarm.tasks(&[]).await);
    assert!(tasks.iter().any(|task| task.exit_code == Some(3) && task.error == "task: non-zero exit (3)"));
    let own = std::slice::from_ref(&web.id);
    same(engine.tasks(own).await, &swarm.tasks(own).await);
    same(engine.nodes().await, &swarm.nodes().await);

    let crashed = tasks.iter().find(|task| task.exit_code == Some(3)).unwrap();
    let log = same(engine.task_log(&crashed.id, 2).await, &swarm.task_log(&crashed.id, 2).await);
    assert_eq!(log, ["two", "three"]);
}

#[tokio::test]
async fn what_lies_on_the_engines_own_node_is_read_and_removed() {
    let Wire { swarm, front: _front, engine, folder: _folder } = &Wire::new();
    let image = pinned(WEB, "old");
    swarm.new_service("web").image(&image).global().create();
    let local = same(engine.local_image(&image).await, &swarm.local_image(&image).await).unwrap();
    assert_eq!(local.repo_digests, [image.replace(":1@", "@")]);
    assert_eq!(engine.local_image("r.test:5000/team/web:2").await.unwrap(), None);

    let found = same(engine.containers_of(&local.id).await, &swarm.containers_of(&local.id).await);
    assert_eq!(found.len(), 1);
    same(engine.containers_of_service("web").await, &swarm.containers_of_service("web").await);
    same(engine.task_containers().await, &swarm.task_containers().await);
    same(engine.container(&found[0].id).await, &swarm.container(&found[0].id).await);
    assert_eq!(engine.container("gone").await.unwrap(), None);

    let refused = engine.remove_container(&found[0].id).await.unwrap_err();
    assert_eq!(refused, swarm.remove_container(&found[0].id).await.unwrap_err());
    let refused = engine.remove_image(&image).await.unwrap_err();
    assert_eq!(refused, swarm.remove_image(&image).await.unwrap_err());
    assert!(refused.to_string().contains("is using its referenced image"), "{refused}");

    engine.remove_service("web").await.unwrap();
    engine.remove_service("web").await.unwrap();
    while engine.container(&found[0].id).await.unwrap().is_some() {
        sleep(millis(10)).await;
    }
    engine.remove_image(&image).await.unwrap();
    engine.remove_image(&image).await.unwrap();
    engine.remove_container(&found[0].id).await.unwrap();
    assert_eq!(swarm.local_image(&image).await.unwrap(), None);
}

#[tokio::test]
async fn a_specification_is_posted_to_the_last_byte_with_the_credentials_as_they_are() {
    let wire = Wire::new();
    let odd = r#"{"Name":"web", "Zukunft":[1.10, 123456789012345678901234567890,{"ü":"\u00e9"}],
        "TaskTemplate":{"ContainerSpec":{"Image":"r.test/web:1","Healthcheck":{"Neu":1}},"ForceUpdate":0},
        "Labels":{},"Mode":{"Replicated":{"Replicas":1}}}"#;
    let spec = Spec::from_json(odd).unwrap();
    let auth = Secret::new("eyJ1c2VybmFtZSI6ImEifQ-_==");
    let id = wire.engine.create_service(&spec, Some(&auth)).await.unwrap();
    assert_eq!(wire.swarm.auth_of("web").as_deref(), Some(auth.reveal()));

    let service = wire.engine.service(&id).await.unwrap().unwrap();
    assert_eq!(service.spec.json(), odd);
    wire.engine.update_service(&id, service.version, ServiceChange::To(&service.spec), None).await.unwrap();
    let version = wire.swarm.see("web").unwrap().version;
    wire.engine.update_service(&id, version, ServiceChange::Back(&service.spec), Some(&auth)).await.unwrap();
    assert_eq!(wire.posted(), [odd, odd]);

    let seen = wire.front.seen();
    let auths: Vec<Option<&str>> =
        seen.iter().filter(|seen| seen.method == "POST").map(|seen| seen.auth.as_deref()).collect();
    assert_eq!(auths, [Some(auth.reveal()), None, Some(auth.reveal())]);
    let log = wire.swarm.update_log();
    assert_eq!((log[0].is_rollback, log[1].is_rollback), (false, true));
    assert_eq!(log[1].auth.as_deref(), Some(auth.reveal()));
}

#[tokio::test]
async fn hundreds_of_services_are_not_named_one_by_one_in_an_address() {
    let wire = Wire::new();
    let ids: Vec<String> = (0..300).map(|n| wire.swarm.new_service(&format!("s{n}")).create()).collect();
    wire.swarm
        .until("all tasks", |swarm| (0..300).all(|n| !swarm.tasks_of(&format!("s{n}")).is_empty()))
        .await;
    for asked in [&ids[..1], &ids[..100], &ids[50..250], &ids[..]] {
        let services = wire.engine.services(Listing::Ids(asked)).await.unwrap();
        let mut found: Vec<&String> = services.iter().map(|service| &service.id).collect();
        let mut expected: Vec<&String> = asked.iter().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let tasks = wire.engine.tasks(asked).await.unwrap();
        let of: std::collections::BTreeSet<&String> = tasks.iter().map(|task| &task.service_id).collect();
        assert_eq!(of, expected.into_iter().collect());
    }
    assert!(wire.front.seen().iter().all(|seen| seen.path.len() < 8_000));
}

#[tokio::test]
async fn no_path_names_a_version_of_the_api() {
    let wire = Wire::new();
    let id = wire.swarm.new_service("web").create();
    let mut changes = pin!(wire.engine.changes());
    wire.is_listened_to(changes.as_mut()).await;
    wire.engine.engine().await.unwrap();
    wire.engine.services(Listing::Filters(&[])).await.unwrap();
    wire.engine.service(&id).await.unwrap();
    wire.engine.tasks(&[]).await.unwrap();
    wire.engine.nodes().await.unwrap();
    wire.engine.local_image("a").await.unwrap();
    wire.engine.remove_service(&id).await.unwrap();
    let paths: Vec<String> = wire.front.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths.len(), 8);
    assert!(paths.iter().all(|path| !path.starts_with("/v")), "{paths:?}");
}

#[tokio::test]
async fn an_update_of_an_older_version_is_a_conflict() {
    let wire = Wire::new();
    let id = wire.swarm.new_service("web").image(&pinned(WEB, "old")).create();
    let service = wire.engine.service(&id).await.unwrap().unwrap();
    wire.swarm.now(|world| world.set_label("web", "somebody", "else"));
    let image = Some(pinned(WEB, "new"));
    let spec = service.spec.edited(&Edits { image, ..Edits::default() }).unwrap();
    let answer = wire.engine.update_service(&id, service.version, ServiceChange::To(&spec), None).await;
    assert_eq!(answer, Err(SwarmError::Conflict));
    assert_eq!(wire.swarm.image_of("web"), pinned(WEB, "old"));
}

#[tokio::test]
async fn the_engines_words_come_through() {
    let wire = Wire::new();
    let id = wire.swarm.new_service("web").create();
    let service = wire.engine.service(&id).await.unwrap().unwrap();
    let bad = [filter("colour=red")];
    assert_eq!(
        wire.engine.services(Listing::Filters(&bad)).await.unwrap_err(),
        SwarmError::Refused("invalid filter 'colour'".to_owned())
    );
    let answer =
        wire.engine.update_service(&id, service.version, ServiceChange::Back(&service.spec), None).await;
    let Err(SwarmError::Refused(words)) = answer else { panic!("{answer:?}") };
    assert!(words.ends_with("does not have a previous spec"), "{words}");

    let renamed = Spec::from_json(&service.spec.json().replace("\"web\"", "\"wob\"")).unwrap();
    let answer = wire.engine.update_service(&id, service.version, ServiceChange::To(&renamed), None).await;
    let Err(SwarmError::Refused(words)) = answer else { panic!("{answer:?}") };
    assert!(words.ends_with("renaming services is not supported"), "{words}");

    let answer = wire.engine.update_service("gone", 1, ServiceChange::To(&service.spec), None).await;
    assert_eq!(answer, Err(SwarmError::NotFound("service gone not found".to_owned())));
    let answer = wire.engine.tasks(&["gone".to_owned()]).await;
    assert_eq!(answer, Err(SwarmError::NotFound("service gone not found".to_owned())));
    let answer = wire.engine.task_log("gone", 1).await;
    assert_eq!(answer, Err(SwarmError::NotFound("task gone not found".to_owned())));
    let answer = wire.engine.create_service(&service.spec, None).await;
    let Err(SwarmError::NameTaken(words)) = answer else { panic!("{answer:?}") };
    assert!(words.ends_with("service web already exists"), "{words}");

    // What socket proxies say of a path that they do not let through.
    for status in [401, 403, 405] {
        wire.front.answer("/configs", Instead::Answer(status, "<html>Forbidden</html>".to_owned()));
        let answer = wire.engine.config_object("gantry").await;
        assert!(matches!(&answer, Err(SwarmError::Forbidden(_))), "{status}: {answer:?}");
    }
}

#[tokio::test]
async fn a_worker_is_told_from_a_manager_without_a_leader() {
    let swarm = FakeSwarm::with_nodes(2);
    let worker = Wire::to(&swarm.at("node2"));
    assert_eq!(worker.engine.engine().await.unwrap().role, Role::Worker);
    let error = worker.engine.nodes().await.unwrap_err();
    assert!(
        matches!(&error, SwarmError::NotManager(words) if words.contains("not a swarm manager")),
        "{error}"
    );
    assert!(!error.is_transient());

    let manager = Wire::to(&swarm);
    let words = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few \
                 managers are online. Make sure more than half of the managers are online.";
    manager.front.answer("/nodes", Instead::Answer(503, format!("{{\"message\":\"{words}\"}}")));
    let error = manager.engine.nodes().await.unwrap_err();
    assert!(matches!(&error, SwarmError::Unavailable(text) if text.contains("have a leader")), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn answers_that_break_off_or_make_no_sense_are_no_answers() {
    let wire = Wire::new();
    wire.swarm.new_service("web").create();
    let list = async |instead: Instead| {
        wire.front.answer("/services", instead);
        wire.engine.services(Listing::Filters(&[])).await
    };
    for instead in [
        Instead::Cut,
        Instead::CutAfter(r#"[{"ID":"a"#.to_owned()),
        Instead::Answer(500, "<html>".to_owned()),
        Instead::Answer(502, String::new()),
    ] {
        let answer = list(instead.clone()).await;
        assert!(matches!(&answer, Err(SwarmError::Unavailable(_))), "{instead:?}: {answer:?}");
    }
    for text in ["", "[", "{}", "<html>", "[{\"ID\":\"a\"}"] {
        let answer = list(Instead::Answer(200, text.to_owned())).await;
        assert!(matches!(&answer, Err(SwarmError::Unreadable(_))), "{text}: {answer:?}");
        assert!(answer.unwrap_err().is_transient());
    }
}

#[tokio::test]
async fn an_update_whose_answer_cannot_be_read_was_made() {
    let wire = Wire::new();
    let id = wire.swarm.new_service("web").create();
    let service = wire.engine.service(&id).await.unwrap().unwrap();
    for text in ["", "<html>", r#"{"Warnings":null}"#] {
        wire.front.answer("/services/", Instead::Answer(200, text.to_owned()));
        let answer = wire.engine.update_service(&id, 1, ServiceChange::To(&service.spec), None).await;
        assert_eq!(answer, Ok(Vec::new()), "{text}");
    }
    wire.front.answer("/services/", Instead::Answer(200, r#"{"Warnings":["a","b"]}"#.to_owned()));
    let answer = wire.engine.update_service(&id, 1, ServiceChange::To(&service.spec), None).await;
    assert_eq!(answer.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn one_service_that_cannot_be_read_does_not_hide_the_others() {
    let wire = Wire::new();
    let good = r#"{"ID":"a","Version":{"Index":3},"Spec":{"Name":"web"},"UpdateStatus":{"State":"neu"}}"#;
    let bad = [r#"{"ID":7}"#, "null", r#"{"ID":"b","Version":{"Index":1},"Spec":{"Name":["x"]}}"#];
    let text = format!("[{},{good},{},{}]", bad[0], bad[1], bad[2]);
    wire.front.answer("/services", Instead::Answer(200, text));
    let listed = wire.engine.services(Listing::Filters(&[])).await.unwrap();
    assert_eq!(listed.iter().map(Service::name).collect::<Vec<_>>(), ["web"]);
}

#[tokio::test]
async fn a_body_without_an_end_is_given_up() {
    let wire = Wire::new();
    wire.front.answer("/tasks", Instead::Spaces);
    let answer = wire.engine.tasks(&[]).await;
    assert!(matches!(&answer, Err(SwarmError::Unreadable(text)) if text.contains("bytes")), "{answer:?}");
}

/// In paused time a limit is reached as soon as nothing else can happen.
#[tokio::test(start_paused = true)]
async fn an_engine_that_never_answers_is_given_up() {
    let wire = Wire::new();
    wire.front.answer("/nodes", Instead::Silence);
    let answer = timeout(secs(120), wire.engine.nodes()).await.expect("the client has a limit of its own");
    assert!(matches!(&answer, Err(SwarmError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn an_engine_that_starts_later_or_anew_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let engine = Engine::new(EngineAddress::Unix(socket.clone()));
    let swarm = FakeSwarm::with_nodes(1);
    for _ in 0..3 {
        let error = engine.nodes().await.unwrap_err();
        assert!(matches!(&error, SwarmError::Unavailable(_)), "{error}");
        let front = Front::unix(&swarm, &socket);
        assert_eq!(engine.nodes().await.unwrap().len(), 1);
        drop(front);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_engine_is_reached_by_tcp_as_well() {
    let swarm = FakeSwarm::with_nodes(1);
    let front = Front::tcp(&swarm).await;
    assert_eq!(Engine::new(front.address()).nodes().await.unwrap().len(), 1);
    let EngineAddress::Tcp { host, .. } = front.address() else { panic!("{}", front.address()) };
    drop(front);
    let error = Engine::new(EngineAddress::Tcp { host, tls: None }).nodes().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn changes_wake_and_end_with_the_connection() {
    let wire = Wire::new();
    wire.swarm.new_service("web").create();
    let mut changes = pin!(wire.engine.changes());
    wire.is_listened_to(changes.as_mut()).await;
    wire.swarm.now(|world| world.set_label("web", "a", "b"));
    assert_eq!(timeout(secs(20), changes.next()).await.unwrap(), Some(Ok(())));
    wire.swarm.node_is_ready("node2", false);
    assert_eq!(timeout(secs(20), changes.next()).await.unwrap(), Some(Ok(())));

    drop(wire.front);
    let rest = timeout(secs(20), changes.collect::<Vec<_>>()).await.unwrap();
    assert!(
        rest.iter().all(|change| *change == Ok(()) || change.as_ref().is_err_and(SwarmError::is_transient))
    );
    let mut late = pin!(wire.engine.changes());
    assert!(matches!(late.next().await, Some(Err(SwarmError::Unavailable(_)))));
    assert_eq!(late.next().await, None);
    drop(wire.folder);
}

#[tokio::test]
async fn ten_thousand_services_and_their_tasks_are_read_in_one_request_each() {
    let wire = Wire::new();
    for number in 0..10_000 {
        wire.swarm.new_service(&format!("site-{number}")).image(&pinned(WEB, "old")).create();
    }
    assert_eq!(wire.engine.services(Listing::Filters(&[])).await.unwrap().len(), 10_000);
    assert_eq!(wire.engine.tasks(&[]).await.unwrap().len(), 10_000);
    assert_eq!(wire.front.seen().len(), 2);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_with_its_address() {
    let host = "127.0.0.1:1".to_owned();
    let error = Engine::new(EngineAddress::Tcp { host, tls: None }).engine().await.unwrap_err().to_string();
    assert!(error.starts_with("the engine cannot be used: tcp://127.0.0.1:1: "), "{error}");
    assert!(error.contains("Connection refused") && !error.contains("hyper"), "{error}");
    let error = Engine::new(EngineAddress::Unix("/nonexistent.sock".into())).engine().await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("unix:///nonexistent.sock: ") && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn a_socket_proxys_page_is_not_repeated() {
    let page =
        "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
    let server =
        crate::support::http::Server::start(move |_| crate::support::http::Answer::new(403, page)).await;
    let error =
        Engine::new(EngineAddress::Tcp { host: server.authority(), tls: None }).engine().await.unwrap_err();
    assert!(matches!(error, SwarmError::Forbidden(_)), "{error}");
    assert!(error.to_string().contains("refuses GET /info (403 Forbidden); let it through"), "{error}");
}

#[tokio::test]
async fn an_engine_tells_its_proxies() {
    let info = r#"{"HttpProxy":"http://xxxxx:xxxxx@proxy.test:1","HttpsProxy":"","NoProxy":"*.corp.test","Swarm":{}}"#;
    let server =
        crate::support::http::Server::start(move |_| crate::support::http::Answer::json(200, info)).await;
    let engine = Engine::new(EngineAddress::Tcp { host: server.authority(), tls: None });
    let proxies = engine.engine().await.unwrap().registries.proxies;
    let shown =
        |url: &str| proxies.of(&reqwest::Url::parse(url).unwrap()).map(|proxy| proxy.shown().to_owned());
    assert_eq!(shown("http://registry.test/").as_deref(), Some("http://proxy.test:1"));
    assert_eq!(shown("http://registry.corp.test/"), None);
    assert_eq!(shown("https://registry.test/"), None);
}

#[tokio::test]
async fn each_answer_is_a_sign_of_life_and_silence_is_none() {
    let wire = Wire::new();
    let born = tokio::time::Instant::now() - secs(1000);
    let heartbeat = Heartbeat::new(born);
    let engine = Engine::beating(wire.front.address(), heartbeat.clone());
    let age = || heartbeat.age(tokio::time::Instant::now());
    assert!(age() > secs(900));
    let nowhere = EngineAddress::Unix("/nowhere/docker.sock".into());
    assert!(Engine::beating(nowhere, heartbeat.clone()).nodes().await.is_err());
    wire.front.answer("/nodes", Instead::Cut);
    assert!(engine.nodes().await.is_err());
    assert!(age() > secs(900), "nobody has answered");
    engine.engine().await.unwrap();
    assert!(age() < secs(100));

    let heartbeat = Heartbeat::new(born);
    let engine = Engine::beating(wire.front.address(), heartbeat.clone());
    wire.front.answer("/nodes", Instead::Answer(500, "{\"message\":\"no\"}".to_owned()));
    assert!(engine.nodes().await.is_err());
    assert!(heartbeat.age(tokio::time::Instant::now()) < secs(100), "an error is an answer");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_with_the_request_and_without_html() {
    let wire = Wire::new();
    let page =
        "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
    wire.front.answer("/configs", Instead::Answer(403, page.to_owned()));
    let error = wire.engine.config_object("gantry").await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, SwarmError::Forbidden(_)), "{said}");
    assert!(said.contains("a proxy in front of the engine refuses GET /configs (403 Forbidden"), "{said}");
    assert!(said.contains("docs/socket-proxy.md") && !said.contains('<'), "{said}");
}
