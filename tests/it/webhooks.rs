//! Webhooks over real sockets: proofs, limits and answers, for every sender.

use reqwest::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

use crate::cycle::{APP, Scene};
use crate::fake::{millis, pinned};
use crate::http::{Api, HOOK, READ, STEER, answer, beside, listening};
use crate::support::log::Log;

/// The longest body of an event, in bytes.
const MAX_EVENT: usize = 256 << 10;

/// A push of `team/app`, as each sender tells it: the seeds of the fuzzer.
const PUSHES: [(&str, &str); 14] = [
    ("distribution", include_str!("../fuzz/seeds/webhook/distribution")),
    ("dockerhub", include_str!("../fuzz/seeds/webhook/dockerhub")),
    ("github", include_str!("../fuzz/seeds/webhook/github")),
    ("gitlab", include_str!("../fuzz/seeds/webhook/gitlab")),
    ("gitea", include_str!("../fuzz/seeds/webhook/gitea")),
    ("harbor", include_str!("../fuzz/seeds/webhook/harbor")),
    ("quay", include_str!("../fuzz/seeds/webhook/quay")),
    ("acr", include_str!("../fuzz/seeds/webhook/acr")),
    ("ecr", include_str!("../fuzz/seeds/webhook/ecr")),
    ("google", include_str!("../fuzz/seeds/webhook/google")),
    ("jfrog", include_str!("../fuzz/seeds/webhook/jfrog")),
    ("nexus", include_str!("../fuzz/seeds/webhook/nexus")),
    ("zot", include_str!("../fuzz/seeds/webhook/zot")),
    ("generic", include_str!("../fuzz/seeds/webhook/generic")),
];

fn scene() -> Scene {
    listening(&[
        ("GANTRY_HTTP_READ_TOKEN", READ),
        ("GANTRY_HTTP_STEER_TOKEN", STEER),
        ("GANTRY_HTTP_HOOK_TOKEN", HOOK),
    ])
}

fn hex(signature: &hmac::Tag) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    signature.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// How a sender proves that it has this token: a query and headers.
fn proof(kind: &str, token: &str, body: &[u8]) -> (String, Vec<(&'static str, String)>) {
    let sha256 = || hex(&hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()), body));
    let sha1 =
        || hex(&hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes()), body));
    let headers = match kind {
        "github" => vec![("x-hub-signature-256", format!("sha256={}", sha256()))],
        "gitea" => {
            vec![("x-gitea-signature", sha256()), ("x-hub-signature-256", format!("sha256={}", sha256()))]
        }
        "jfrog" => vec![("x-jfrog-event-auth", sha256())],
        "nexus" => vec![("x-nexus-webhook-signature", sha1())],
        "dockerhub" | "quay" | "google" => return (format!("?token={token}"), Vec::new()),
        "harbor" => vec![("authorization", token.to_owned())],
        "gitlab" => vec![("x-gitlab-token", token.to_owned())],
        _ => vec![("authorization", format!("Bearer {token}"))],
    };
    (String::new(), headers)
}

/// The headers that say what an event is.
fn kind_headers(kind: &str) -> Vec<(&'static str, String)> {
    let pair = match kind {
        "distribution" | "gitlab" => ("content-type", "application/vnd.docker.distribution.events.v2+json"),
        "github" => ("x-github-event", "package"),
        "gitea" => ("x-gitea-event", "package"),
        "nexus" => ("x-nexus-webhook-id", "rm:repository:component"),
        "zot" => ("content-type", "application/cloudevents+json"),
        _ => ("content-type", "application/json"),
    };
    vec![(pair.0, pair.1.to_owned())]
}

/// Sends an event with these headers.
async fn send(
    api: &Api,
    path: &str,
    headers: &[(&'static str, String)],
    body: impl Into<reqwest::Body>,
) -> (StatusCode, Value) {
    let request = api.request(Method::POST, path).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let (status, _, said) = answer(request).await;
    (status, said)
}

/// The number at the end of a line of the metrics.
async fn metric(api: &Api, line: &str) -> Option<u64> {
    let request = api.with(Some(READ)).request(Method::GET, "/metrics");
    let text = request.send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test]
async fn every_sender_is_believed_by_its_proof_only() {
    let log = Log::from_level("DEBUG");
    let scene = scene();
    scene.service("web").create();
    beside(&scene, async |api| {
        api.with(Some(READ)).until("first look", |state| state["verdict"]["level"] == "ok").await;
        let asked = scene.registry.lookups().len();
        for (kind, push) in PUSHES {
            let path = format!("/hooks/{kind}");
            let event = |token: &str, body: &str| {
                let (query, proof) = proof(kind, token, body.as_bytes());
                (format!("{path}{query}"), [kind_headers(kind), proof].concat(), body.to_owned())
            };
            // Right, and once more: a replay is an event like another.
            for _ in 0..2 {
                let (path, headers, body) = event(HOOK, push);
                let (status, said) = send(&api, &path, &headers, body).await;
                assert_eq!(
                    (status, &said["result"]),
                    (StatusCode::OK, &"unknown_image".into()),
                    "{kind}: {said}"
                );
                assert!(said["repositories"].as_array().is_some_and(|it| !it.is_empty()), "{kind}: {said}");
            }
            // Wrong, missing, and the tokens of others.
            for wrong in ["a-token-that-is-wrong", READ, STEER] {
                let (path, headers, body) = event(wrong, push);
                let (status, said) = send(&api, &path, &headers, body).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{kind}: {said}");
                assert!(
                    said["remedy"].as_str().is_some_and(|it| it.contains("GANTRY_HTTP_HOOK_TOKEN")),
                    "{kind}"
                );
            }
            let (status, said) = send(&api, &path, &kind_headers(kind), push).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{kind}: {said}");
            // Signed, and another body.
            if ["github", "gitea", "nexus"].contains(&kind) {
                let (path, headers, _) = event(HOOK, push);
                assert_eq!(send(&api, &path, &headers, "{}").await.0, StatusCode::UNAUTHORIZED, "{kind}");
            }
            // No JSON, nothing, a form, and far too much.
            for body in ["", "<xml/>", "{\"a\":", "payload=%7B%7D"] {
                let (path, headers, body) = event(HOOK, body);
                let (status, said) = send(&api, &path, &headers, body).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{kind}: {said}");
                assert!(said["error"].is_string() && said["remedy"].is_string(), "{kind}: {said}");
            }
            let most = format!("{{{}}}", " ".repeat(MAX_EVENT - 2));
            let (path, headers, body) = event(HOOK, &most);
            let (status, said) = send(&api, &path, &headers, body).await;
            assert_ne!(status, StatusCode::PAYLOAD_TOO_LARGE, "{kind}: {said}");
            // What is not ours is no error, so that no sender tries for ever.
            let other = if kind == "generic" {
                r#"{"image":"other.test/x"}"#
            } else {
                r#"{"zen":"Keep it logically awesome."}"#
            };
            let (path, headers, body) = event(HOOK, other);
            let (status, said) = send(&api, &path, &headers, body).await;
            assert_eq!(status, StatusCode::OK, "{kind}: {said}");

            let sender = if kind == "generic" { "other" } else { kind };
            for (result, count) in [("unauthorized", 4), ("malformed", 4), ("triggered", 0)] {
                let line =
                    format!("gantry_webhook_requests_total{{sender=\"{sender}\",result=\"{result}\"}}");
                assert!(metric(&api, &line).await.is_some_and(|it| it >= count), "{line}");
            }
        }
        assert_eq!(scene.registry.lookups().len(), asked, "none of it made Gantry ask");
    })
    .await;
    assert!(
        log.lines_with(HOOK).is_empty() && log.lines_with("a-token").is_empty(),
        "no token, and no query"
    );
    assert_eq!(log.lines_with("a request with a wrong token was refused").len(), 1, "once a minute");
}

#[tokio::test]
async fn a_body_without_end_is_refused_before_its_end() {
    let scene = scene();
    scene.service("web").create();
    beside(&scene, async |api| {
        for (kind, _) in [PUSHES[0], PUSHES[2], PUSHES[13]] {
            let body = vec![b' '; 10 << 20];
            let (query, headers) = proof(kind, HOOK, &body);
            let request = api.request(Method::POST, &format!("/hooks/{kind}{query}")).body(body);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            // The listener answers and closes the connection, while the client may still send.
            match request.send().await {
                Ok(answer) => assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{kind}"),
                Err(error) => assert!(error.is_request(), "{kind}: {error:?}"),
            }
        }
        assert_eq!(api.get("/healthz").await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_push_starts_the_update_of_what_uses_the_repository() {
    let log = Log::from_level("INFO");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hooks");
    std::fs::write(&file, format!("harbor {HOOK}\nci a-token-for-the-ci-job\n")).unwrap();
    let scene = listening(&[
        ("GANTRY_HTTP_READ_TOKEN", READ),
        ("GANTRY_HTTP_HOOK_TOKEN_FILE", file.to_str().unwrap()),
    ]);
    scene.service("web").replicas(1).create();
    beside(&scene, async |api| {
        let reader = api.with(Some(READ));
        reader.until("first look", |state| state["verdict"]["level"] == "ok").await;
        scene.registry.release(APP, "new");
        let event = json!({ "type": "PUSH_ARTIFACT", "event_data": {
            "resources": [{ "tag": "1", "resource_url": "registry.test/app:1" }],
            "repository": { "repo_full_name": "app" } } });
        let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
        let (status, said) = send(&api, "/hooks/harbor", &bearer(HOOK), event.to_string()).await;
        let expected = json!({ "result": "triggered", "repositories": ["registry.test/app"], "images": [APP], "note": null });
        assert_eq!((status, said), (StatusCode::ACCEPTED, expected));
        let state = reader.until("update", |state| state["history"][0]["trigger"] == "webhook").await;
        assert_eq!(state["history"][0]["by"], "harbor", "{state:#}");
        assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "new")]);
        for (line, count) in [
            ("gantry_webhook_requests_total{sender=\"harbor\",result=\"triggered\"}", 1),
            ("gantry_new_digests_total{seen_by=\"webhook\"}", 1),
            ("gantry_new_digests_total{seen_by=\"interval\"}", 0),
            ("gantry_webhook_to_update_seconds_count", 1),
        ] {
            assert_eq!(metric(&api, line).await, Some(count), "{line}");
        }
        // The host in the URL stands for the payload's, and without any the repository alone counts.
        let inside = json!({ "image": "registry:5000/app:1" }).to_string();
        let (status, said) = send(&api, "/hooks/generic", &bearer(HOOK), inside.clone()).await;
        assert_eq!((status, &said["result"]), (StatusCode::OK, &"unknown_image".into()), "{said}");
        let (status, said) = send(&api, "/hooks/generic?host=registry.test", &bearer(HOOK), inside.clone()).await;
        assert_eq!((status, &said["images"]), (StatusCode::ACCEPTED, &json!([APP])), "{said}");
        let (status, said) = send(&api, "/hooks/generic?host=https://registry.test", &bearer(HOOK), inside).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        let zot = r#"{"type":"zotregistry.image.updated","data":{"name":"app"}}"#;
        let (status, said) = send(&api, "/hooks/zot", &bearer(HOOK), zot).await;
        assert_eq!((status, said["note"].is_string()), (StatusCode::ACCEPTED, true), "{said}");

        // A token that is taken out of the file counts no longer, and a new one does.
        std::fs::write(&file, "harbor another-token-of-harbor\n").unwrap();
        std::fs::File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        tokio::time::sleep(millis(1_100)).await;
        assert_eq!(send(&api, "/hooks/zot", &bearer(HOOK), zot).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(send(&api, "/hooks/zot", &bearer("another-token-of-harbor"), zot).await.0, StatusCode::ACCEPTED);
    })
    .await;
    assert!(!log.lines_with("a registry told of a push").is_empty());
}

#[tokio::test]
async fn without_a_token_there_are_no_webhooks() {
    let scene = listening(&[("GANTRY_HTTP_STEER_TOKEN", STEER)]);
    scene.service("web").create();
    beside(&scene, async |api| {
        for kind in ["generic", "github", "run-gantry", "nope"] {
            let (status, said) = send(&api.with(Some(STEER)), &format!("/hooks/{kind}"), &[], "{}").await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{kind}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hook_is_called_by_any_name_and_does_nothing_else() {
    let scene = listening(&[("GANTRY_HTTP_HOOK_TOKEN", HOOK), ("GANTRY_HTTP_STEER_TOKEN", STEER)]);
    scene.service("web").create();
    beside(&scene, async |api| {
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let hook = |path: &str| api.request(Method::POST, path).header("host", "hooks.example.com");
        let (status, _, said) =
            answer(hook("/hooks/generic").bearer_auth(HOOK).body(r#"{"image":"x.test/y"}"#)).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let (status, _, said) = answer(hook("/api/v1/run").bearer_auth(HOOK)).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{said}");
        let (status, _, said) = answer(api.request(Method::POST, "/api/v1/run").bearer_auth(HOOK)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{said}");
        let (status, _, said) = answer(hook("/hooks/nope").bearer_auth(HOOK)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{said}");
        let (status, headers, _) =
            answer(api.request(Method::GET, "/hooks/gitea?payload=%7B%7D").bearer_auth(HOOK)).await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    })
    .await;
}

#[tokio::test]
async fn run_gantry_narrows_waits_and_answers_with_the_run() {
    let scene = scene();
    for name in ["web", "shop", "api"] {
        scene.service(name).replicas(1).label("tier", name).create();
    }
    beside(&scene, async |api| {
        api.with(Some(READ)).until("first look", |state| state["verdict"]["level"] == "ok").await;
        let secret = vec![("x-webhook-secret", HOOK.to_owned())];
        let run = async |body: &Value| send(&api, "/hooks/run-gantry", &secret, body.to_string()).await;
        let services = |run: &Value| -> Vec<String> {
            let services = run["services"].as_array().unwrap().iter();
            services.map(|it| it["service"].as_str().unwrap().to_owned()).collect()
        };
        scene.registry.release(APP, "one");
        let (status, said) = run(&json!({ "GANTRY_SERVICES_FILTERS": "label=tier=web" })).await;
        assert_eq!((status, services(&said)), (StatusCode::OK, vec!["web".to_owned()]), "{said:#}");
        assert_eq!((&said["by"], &said["trigger"]), (&"webhook".into(), &"api".into()));
        let left_out = json!({
            "GANTRY_SERVICES_EXCLUDED": "api",
            "GANTRY_SERVICES_EXCLUDED_FILTERS": "label=tier=shop",
        });
        let (status, said) = run(&left_out).await;
        assert_eq!((status, services(&said).len()), (StatusCode::OK, 0), "{said:#}");
        let (status, said) = run(&json!({ "GANTRY_SERVICES_EXCLUDED": "api" })).await;
        assert_eq!((status, services(&said)), (StatusCode::OK, vec!["shop".to_owned()]), "{said:#}");
        let (status, said) = run(&json!({})).await;
        assert_eq!((status, services(&said)), (StatusCode::OK, vec!["api".to_owned()]), "{said:#}");

        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(100), 3);
        let (status, said) = run(&json!({ "GANTRY_SERVICES_FILTERS": "label=tier=web" })).await;
        assert_eq!((status, &said["failed"]), (StatusCode::CONFLICT, &true.into()), "{said:#}");

        let slow = scene.registry.release(APP, "slow");
        scene.swarm.image(&slow).starts_after(millis(3_000));
        let path = "/hooks/run-gantry?wait=0";
        let (status, headers, said) =
            answer(api.request(Method::POST, path).header("x-webhook-secret", HOOK).body("{}")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
        let location = format!("../api/v1/runs/{}", said["id"]);
        assert_eq!(headers["location"].to_str().unwrap(), location);

        for (body, words) in [
            (json!({ "GANTRY_SERVICES_FILTERS": "web" }), "GANTRY_SERVICES_FILTERS=\"web\""),
            (json!({ "GANTRY_SERVICES_FILTERS": "name=" }), "each with a value"),
            (json!({ "GANTRY_SERVICE_FILTERS": "name=web" }), "unknown field"),
            (json!({ "GANTRY_SERVICES_FILTERS": ["name=web"] }), "invalid type"),
            (json!([1]), "the body cannot be read"),
        ] {
            let (status, said) = run(&body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
            assert!(said["error"].as_str().is_some_and(|error| error.contains(words)), "{said}");
        }
        for headers in [Vec::new(), vec![("x-webhook-secret", STEER.to_owned())]] {
            assert_eq!(send(&api, "/hooks/run-gantry", &headers, "{}").await.0, StatusCode::UNAUTHORIZED);
        }
    })
    .await;
}
