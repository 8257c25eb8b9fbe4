//! Page and API over real sockets, beside the daemon over the fake swarm, in real time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use gantry::daemon::http::{self, Shared};
use gantry::daemon::steering::Wheel;
use gantry::meters::Meters;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cycle::{APP, Scene, daemon};
use crate::fake::millis;
use crate::support::log::Log;

mod access;
mod approving;
mod crowd;
mod steering;

pub(crate) const READ: &str = "a-token-for-reading";
pub(crate) const STEER: &str = "a-token-for-steering";
pub(crate) const HOOK: &str = "a-token-for-registries";

/// How long a run of these tests may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a listener.
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    token: Option<&'static str>,
}

impl Api {
    /// The same, with this token.
    pub(crate) fn with(&self, token: Option<&'static str>) -> Self {
        Self { client: self.client.clone(), address: self.address, token }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, HeaderMap, Value) {
        answer(self.request(Method::POST, path).body(body.to_string())).await
    }

    /// Waits until the state is like this.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, _, state) = self.get("/api/v1/state").await;
            assert_eq!(status, 200);
            if is_so(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "no {what}: {state:#}");
            sleep(millis(50)).await;
        }
    }
}

impl Api {
    /// Waits until a run is over.
    pub(crate) async fn until_run(&self, id: u64) -> (StatusCode, HeaderMap, Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(&format!("/api/v1/runs/{id}")).await;
            if answer.2["state"] == "done" {
                return answer;
            }
            assert!(Instant::now() < deadline, "{:#}", answer.2);
            sleep(millis(50)).await;
        }
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, HeaderMap, Value) {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    (status, headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A scene with page and API at a free port of this machine.
pub(crate) fn listening(tokens: &[(&'static str, &str)]) -> Scene {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3_600).with("GANTRY_HTTP_ADDRESS", "127.0.0.1:0");
    tokens.iter().fold(scene, |scene, (name, value)| scene.with(name, value))
}

fn both() -> Scene {
    listening(&[
        ("GANTRY_HTTP_READ_TOKEN", READ),
        ("GANTRY_HTTP_STEER_TOKEN", STEER),
        ("GANTRY_HTTP_HOOK_TOKEN", HOOK),
    ])
}

/// Does the work beside a daemon and its listener.
pub(crate) async fn beside<T>(scene: &Scene, work: impl AsyncFnOnce(Api) -> T) -> T {
    let daemon = daemon(scene);
    let config = daemon.config.clone();
    let wheel = Wheel {
        config: config.clone(),
        swarm: daemon.swarm.clone(),
        registry: daemon.registry.clone(),
        ledger: daemon.ledger.clone(),
        requests: daemon.requests.clone(),
        board: daemon.board.clone(),
    };
    let shared = Shared {
        board: daemon.board.clone(),
        config: config.clone(),
        ledger: daemon.ledger.clone(),
        heartbeat: daemon.heartbeat.clone(),
        meters: Meters::default(),
        steering: Arc::new(wheel),
    };
    let (tell, told) = oneshot::channel();
    let serving = http::serve(config.listener.clone().unwrap(), shared, |address| {
        tell.send(address).unwrap();
    });
    gantry::tls::install_crypto_provider();
    let work = async {
        let address = told.await.unwrap();
        work(Api { client: Client::new(), address, token: None }).await
    };
    tokio::select! {
        done = work => done,
        () = serving => panic!("the listener ended"),
        end = daemon.run(|_| {}) => panic!("the daemon ended: {end:?}"),
    }
}

fn outcome<'a>(run: &'a Value, service: &str) -> &'a Value {
    let services = run["services"].as_array().unwrap();
    services.iter().find(|it| it["service"] == service).unwrap_or_else(|| panic!("no {service} in {run:#}"))
}

#[tokio::test]
async fn a_run_that_is_asked_for_is_answered_with_what_became_of_each_service() {
    let log = Log::from_level("INFO");
    let scene = both();
    scene.service("web").replicas(1).create();
    scene.service("shop").replicas(1).create();
    beside(&scene, async |api| {
        let (reader, api) = (api.with(Some(READ)), api.with(Some(STEER)));
        let state = reader.until("first look", |state| state["verdict"]["level"] == "ok").await;
        assert_eq!(state["verdict"]["words"], "all 2 services are on the newest image");
        assert_eq!(
            (&state["counts"]["up_to_date"], &state["images"][0]["states"]),
            (&2.into(), &"uu".into())
        );
        assert!(state["look"]["next"].is_string() && state["steer"] == false, "{state:#}");

        // One service only: a run may be narrowed.
        let new = scene.registry.release(APP, "new");
        let (status, headers, run) = api.post("/api/v1/run", &json!({ "services": ["web"] })).await;
        assert_eq!(
            (status, headers["location"].to_str().unwrap()),
            (StatusCode::ACCEPTED, "runs/2"),
            "{run}"
        );
        let is_done = |state: &Value| state["history"][0]["id"] == 2;
        reader.until("end of the run", is_done).await;
        let (_, _, run) = reader.get("/api/v1/runs/2").await;
        assert_eq!(
            (&run["state"], &run["trigger"], &run["by"]),
            (&"done".into(), &"api".into(), &"operator".into())
        );
        assert_eq!(run["services"].as_array().map(Vec::len), Some(1), "{run:#}");
        assert_eq!(outcome(&run, "web")["outcome"], "updated");
        assert_eq!(outcome(&run, "web")["to"].as_str(), new.split_once('@').map(|(_, digest)| digest));
        assert_eq!(reader.get("/api/v1/services/shop").await.2["state"], "up_to_date", "not looked at");

        // And all of them, waited for.
        let (status, _, run) = api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!(
            (status, &outcome(&run, "shop")["outcome"]),
            (StatusCode::OK, &"updated".into()),
            "{run:#}"
        );
        assert_eq!((&run["failed"], &run["state"]), (&false.into(), &"done".into()));

        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(100), 3).logging(&["no disk <b>left</b>"]);
        let (status, _, run) =
            api.post("/api/v1/run", &json!({ "images": ["registry.test/app:1"], "wait": 50 })).await;
        assert_eq!((status, &run["failed"]), (StatusCode::CONFLICT, &true.into()), "{run:#}");
        let failed = run["services"].as_array().unwrap();
        let failed = failed.iter().find(|it| it["outcome"] == "rolled back").unwrap();
        assert!(failed["cause"].as_str().unwrap().contains("a task failed"), "{failed:#}");
        assert_eq!(failed["log"], json!(["no disk <b>left</b>"]));
        assert!(failed["seconds"].is_u64(), "{failed:#}");

        let state = reader.until("attention", |state| state["verdict"]["level"] == "attention").await;
        let service = &state["attention"][0]["service"];
        let (status, _, shown) = reader.get(&format!("/api/v1/services/{}", service.as_str().unwrap())).await;
        assert_eq!((status, &shown["log"]), (StatusCode::OK, &json!(["no disk <b>left</b>"])), "{shown:#}");
        assert_ne!(shown["digest"], shown["newest"]);
        let (_, _, held) = reader.get("/api/v1/quarantine").await;
        assert!(held["quarantine"].as_array().is_some_and(|held| !held.is_empty()), "{held:#}");

        let answer = reader.request(Method::GET, "/metrics").send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let metrics = answer.text().await.unwrap();
        assert!(metrics.contains("\ngantry_updates_total{outcome=\"updated\"} 2\n"), "{metrics}");
        assert!(
            metrics.contains("\ngantry_cycles_total{result=\"failed\",trigger=\"api\"} 1\n"),
            "{metrics}"
        );
        assert_eq!(api.with(None).get("/metrics").await.0, StatusCode::UNAUTHORIZED);

        // The next look says that the digest is in quarantine, and a release ends that.
        let (status, _, run) = api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!(status, StatusCode::OK, "{run:#}");
        reader.until("quarantine", |state| state["counts"]["quarantined"] == 2).await;
        let (status, _, released) = api.post("/api/v1/release", &json!({ "all": true })).await;
        assert_eq!(status, StatusCode::OK, "{released:#}");
        assert!(released["released"].as_array().is_some_and(|names| !names.is_empty()), "{released:#}");
        let (status, _, released) = api.post("/api/v1/release", &json!({ "all": true })).await;
        assert_eq!(
            (status, &released["error"]),
            (StatusCode::NOT_FOUND, &"nothing was released: nothing is in quarantine".into())
        );
    })
    .await;
    assert_eq!(log.lines_with("a user asked for a run").len(), 4);
    assert_eq!(log.lines_with("released by a user").len(), 1);
    assert!(log.lines_with(READ).is_empty() && log.lines_with(STEER).is_empty());
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_its_remedy() {
    let scene = both();
    scene.service("web").create();
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        for (path, body, code, words) in [
            ("run", json!({ "services": ["nope"] }), 404, "no service that Gantry updates matches nope"),
            ("run", json!({ "images": ["nope:1"] }), 404, "no service that Gantry updates matches nope:1"),
            ("run", json!({ "filters": ["nope", "a=b"] }), 400, "nope is not of the form key=value"),
            ("run", json!({ "service": "web" }), 400, "unknown field `service`"),
            ("run", json!([1]), 400, "the body cannot be read"),
            ("run", json!({ "wait": -1 }), 400, "the body cannot be read"),
            ("run", json!({ "wait": "x", "image": [1], "filters": 2 }), 400, "unknown field `image`"),
            (
                "run",
                json!({ "wait": "x", "image": [1], "filters": 2 }),
                400,
                "invalid type: string \"x\", expected u64; unknown",
            ),
            ("run", json!({ "wait": "x", "image": [1], "filters": 2 }), 400, "invalid type: number"),
            ("run", json!({ "services": ["x".repeat(70_000)] }), 413, "the body is too long"),
            ("release", json!({}), 400, "it must be said what is to be released"),
            (
                "release",
                json!({ "all": true, "service": "web" }),
                400,
                "it must be said what is to be released",
            ),
            ("release", json!({ "service": "web" }), 404, "is not in quarantine"),
        ] {
            let (status, _, said) = api.post(&format!("/api/v1/{path}"), &body).await;
            assert_eq!(status.as_u16(), code, "{path} {said}");
            assert!(said["error"].as_str().is_some_and(|error| error.contains(words)), "{said}");
            assert!(said["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{said}");
        }
        for path in [
            "/api/v1/services/nope",
            "/api/v1/runs/99",
            "/api/v1/runs/x",
            "/nope",
            "/../../etc/passwd",
            "/page.css/..%2f",
        ] {
            let (status, _, said) = api.get(path).await;
            assert_eq!((status, said["error"].is_string()), (StatusCode::NOT_FOUND, true), "{path} {said}");
        }
        let (status, headers, said) = api.get("/api/v1/run").await;
        assert_eq!(
            (status, &headers["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()),
            "{said}"
        );
        let request = api.request(Method::POST, "/api/v1/run").header("origin", "https://evil.test");
        assert_eq!(answer(request).await.0, StatusCode::FORBIDDEN);
    })
    .await;
}

/// The next events of a stream, as kind and data.
async fn events(answer: &mut reqwest::Response, text: &mut String) -> (String, Value) {
    loop {
        let all = text.clone();
        if let Some((event, rest)) = all.split_once("\n\n") {
            rest.clone_into(text);
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                let data: Value = serde_json::from_str(&data).unwrap();
                assert_eq!(field("id: ").as_deref(), data["id"].as_str());
                return (kind, data);
            }
            continue;
        }
        let chunk =
            timeout(PATIENCE, answer.chunk()).await.expect("an event").unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn a_stream_tells_a_rollout_and_goes_on_where_it_broke_off() {
    let scene = both();
    for index in 0..3 {
        scene.service(&format!("web-{index}")).replicas(1).create();
    }
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let open = |last: Option<String>| {
            let request = api.request(Method::GET, "/api/v1/events");
            last.into_iter().fold(request, |request, id| request.header("last-event-id", id)).send()
        };
        let mut stream = open(None).await.unwrap();
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert_eq!(stream.headers()["x-accel-buffering"], "no");
        let mut text = String::new();
        let (kind, state) = events(&mut stream, &mut text).await;
        assert_eq!(
            (&*kind, &state["counts"]["up_to_date"], &state["steer"]),
            ("state", &3.into(), &true.into())
        );
        let known = state["id"].as_str().unwrap().to_owned();

        scene.registry.release(APP, "new");
        assert_eq!(api.post("/api/v1/run", &json!({})).await.0, StatusCode::ACCEPTED);
        let (mut canaries, mut states) = (Vec::new(), Vec::new());
        let last = loop {
            let (kind, change) = events(&mut stream, &mut text).await;
            assert_eq!(kind, "change");
            assert!(change.get("images").is_none(), "only what changed: {change}");
            let of_web =
                change["services"].as_array().into_iter().flatten().filter(|it| it["service"] == "web-0");
            states.extend(of_web.map(|it| it["state"].as_str().unwrap().to_owned()));
            canaries.extend(change["rollouts"][0]["canary"].as_array().cloned());
            if change["rollouts"][0]["state"] == "done" {
                break change;
            }
        };
        states.dedup();
        assert_eq!(states.last().map(String::as_str), Some("up_to_date"), "{states:?}");
        assert!(states.contains(&"updating".to_owned()), "{states:?}");
        assert!(canaries.contains(&vec!["web-0".into()]), "{canaries:?}");
        assert_eq!(
            (&last["rollouts"][0]["touched"], &last["rollouts"][0]["succeeded"]),
            (&3.into(), &3.into())
        );

        // A reader that was away gets what changed, and one of another process gets all.
        let (kind, change) = events(&mut open(Some(known)).await.unwrap(), &mut String::new()).await;
        let names: Vec<&str> =
            change["services"].as_array().unwrap().iter().filter_map(|it| it["service"].as_str()).collect();
        assert_eq!((&*kind, names), ("change", vec!["web-0", "web-1", "web-2"]));
        let (kind, _) = events(&mut open(Some("1-1".to_owned())).await.unwrap(), &mut String::new()).await;
        assert_eq!(kind, "state");
    })
    .await;
}

/// What a raw client gets that sends this and reads to the end.
async fn raw(address: SocketAddr, sent: Vec<u8>) -> (String, Duration) {
    let work = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A listener that has seen enough closes the connection while more is sent.
        let _ = stream.write_all(&sent);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        (String::from_utf8_lossy(&got).into_owned(), begun.elapsed())
    });
    work.await.unwrap()
}

#[tokio::test]
async fn slow_endless_and_broken_requests_cost_a_limit_and_nothing_else() {
    let scene = both();
    scene.service("web").create();
    beside(&scene, async |api| {
        let is_well = |state: &Value| state["verdict"]["level"] == "ok";
        api.with(Some(READ)).until("first look", is_well).await;
        let address = api.address;
        let lines = |head: &str| format!("{head}\r\nhost: localhost\r\n\r\n").into_bytes();
        let endless_head = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat();
        let long_body = [
            format!("POST /api/v1/run HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {STEER}\r\ncontent-length: 99999999\r\n\r\n").into_bytes(),
            vec![b'['; 200_000],
        ]
        .concat();
        let slow = raw(address, b"GET / HTTP/1.1\r\nhost:".to_vec());
        let idle = raw(address, Vec::new());
        let (endless, long, garbage, upgrade, old, two) = tokio::join!(
            raw(address, endless_head),
            raw(address, long_body),
            raw(address, vec![0xff; 4_096]),
            raw(address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n".to_vec()),
            raw(address, b"GET /healthz HTTP/1.0\r\n\r\n".to_vec()),
            raw(address, [lines("GET /healthz HTTP/1.1"), b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec()].concat()),
        );
        assert!(endless.0.starts_with("HTTP/1.1 431 "), "{endless:?}");
        assert!(long.0.starts_with("HTTP/1.1 413 "), "{long:?}");
        assert!(garbage.0.starts_with("HTTP/1.1 400 "), "{garbage:?}");
        assert!(upgrade.0.starts_with("HTTP/1.1 200 "), "{upgrade:?}");
        assert!(old.0.starts_with("HTTP/1.0 200 "), "{old:?}");
        assert_eq!(two.0.matches("HTTP/1.1 200 ").count(), 2, "{two:?}");
        let (slow, idle) = tokio::join!(slow, idle);
        for (said, took) in [slow, idle] {
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
            assert!(took > Duration::from_secs(8) && took < Duration::from_secs(25), "{took:?}");
        }
        assert_eq!(api.with(Some(READ)).get("/api/v1/state").await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn streams_have_a_limit_and_a_reader_that_does_not_read_holds_nothing_up() {
    let scene = both();
    scene.service("web").replicas(1).create();
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let mut streams = Vec::new();
        for _ in 0..128 {
            streams.push(api.request(Method::GET, "/api/v1/events").send().await.unwrap());
        }
        let (status, headers, said) = api.get("/api/v1/events").await;
        assert_eq!(
            (status, &headers["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"15".parse().unwrap()),
            "{said}"
        );
        scene.registry.release(APP, "new");
        let (status, _, run) = api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!((status, &outcome(&run, "web")["outcome"]), (StatusCode::OK, &"updated".into()));
        drop(streams);
        let deadline = Instant::now() + PATIENCE;
        while api.request(Method::GET, "/api/v1/events").send().await.unwrap().status() != 200 {
            assert!(Instant::now() < deadline, "the streams are given back");
            sleep(millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_description_has_each_route_with_what_it_answers() {
    let scene = both();
    scene.service("web").create();
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let (_, _, description) = api.get("/api/v1/openapi.json").await;
        let schemas = &description["components"]["schemas"];
        let paths = description["paths"].as_object().unwrap();
        for (path, methods) in paths {
            for (method, route) in methods.as_object().unwrap() {
                let called = path.replace("{name}", "web").replace("{id}", "1").replace("{kind}", "generic");
                let called = if path.ends_with("{id}") { "/api/v1/runs/99".to_owned() } else { called };
                let method: Method = method.to_uppercase().parse().unwrap();
                let body = if path.ends_with("{kind}") { r#"{"image":"registry.test/app:1"}"# } else { "{}" };
                let request = api.request(method, &called).header("x-webhook-secret", HOOK).body(body);
                let answer = request.send().await.unwrap();
                let (status, answers) = (answer.status().as_u16().to_string(), &route["responses"]);
                assert!(answers.get(&status).is_some(), "{path} answers {status}, which is not described");
                if path.ends_with("/events") || !["/api/", "/hooks/"].iter().any(|it| called.starts_with(it))
                {
                    continue;
                }
                let body: Value = answer.json().await.unwrap();
                let schema = &answers[&status]["content"]["application/json"]["schema"];
                conforms(&body, schema, schemas, path);
            }
        }
        // And no route is left out: those of the router, by their text.
        let source = include_str!("../../src/daemon/http/routes.rs");
        let routed = source.split(".route(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        for (route, _) in routed {
            assert!(paths.contains_key(route), "{route} is not described");
        }
    })
    .await;
}

/// Whether a value is as its schema says: types, and neither a field too few nor one too many.
fn conforms(value: &Value, schema: &Value, schemas: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return conforms(value, &schemas[name], schemas, &format!("{place} {name}"));
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return conforms(value, if value.is_null() { &any[1] } else { &any[0] }, schemas, place);
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{place}: {value} is none of {values:?}");
        return;
    }
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{place}: {other}"),
    };
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        names => names
            .as_array()
            .unwrap_or_else(|| panic!("{place}: {schema}"))
            .iter()
            .filter_map(Value::as_str)
            .collect(),
    };
    assert!(names.iter().any(|name| is(name)), "{place}: {value} is no {names:?}");
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], schemas, place);
    }
    if let (Some(fields), Some(value)) = (schema["properties"].as_object(), value.as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(value.contains_key(required.as_str().unwrap()), "{place}: no {required}");
        }
        for (name, value) in value {
            let field = fields.get(name).unwrap_or_else(|| panic!("{place}: {name} is not described"));
            conforms(value, field, schemas, &format!("{place}.{name}"));
        }
    }
}
