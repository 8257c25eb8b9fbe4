//! Who may read and who may steer, over the API.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{READ, STEER, answer, beside, both, listening};
use crate::support::log::Log;

#[tokio::test]
async fn without_the_right_token_nothing_is_told_and_nothing_is_done() {
    let log = Log::from_level("DEBUG");
    let scene = both();
    scene.service("web").create();
    beside(&scene, async |api| {
        api.with(Some(READ)).until("first look", |state| state["verdict"]["level"] == "ok").await;
        let routes = ["state", "events", "services", "services/web", "runs", "runs/1", "quarantine", "plan"];
        for token in [None, Some("a-token-that-is-wrong"), Some("")] {
            for route in routes {
                let (status, headers, said) = api.with(token).get(&format!("/api/v1/{route}")).await;
                assert_eq!(
                    (status, &headers["www-authenticate"]),
                    (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
                );
                assert!(said["error"].is_string() && said["remedy"].is_string(), "{said}");
            }
            for route in ["run", "release", "pause", "resume"] {
                assert_eq!(
                    api.with(token).post(&format!("/api/v1/{route}"), &json!({})).await.0,
                    StatusCode::UNAUTHORIZED
                );
            }
        }
        let (status, _, said) = api.with(Some(READ)).post("/api/v1/run", &json!({})).await;
        assert_eq!((status, &said["error"]), (StatusCode::FORBIDDEN, &"this token may only read".into()));
        // The page itself has nothing to hide.
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
        ] {
            let (status, headers, _) = api.get(path).await;
            assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
            assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
            assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control")));
            let again = api
                .request(Method::GET, path)
                .header("if-none-match", &headers["etag"])
                .send()
                .await
                .unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        }
        assert_eq!(api.get("/healthz").await.0, StatusCode::OK);
    })
    .await;
    let told = log.lines_with("a request with a wrong token was refused");
    assert_eq!(told.len(), 1, "once a minute: {told:?}");
    assert!(log.lines_with("a-token").is_empty());
}

#[tokio::test]
async fn steering_has_no_routes_without_a_token_for_it() {
    let scene = listening(&[]);
    scene.service("web").create();
    beside(&scene, async |api| {
        assert_eq!(api.get("/api/v1/state").await.0, StatusCode::OK, "a loopback address is open");
        for route in ["run", "release", "pause", "resume"] {
            assert_eq!(api.post(&format!("/api/v1/{route}"), &json!({})).await.0, StatusCode::NOT_FOUND);
        }
        // A page of another site that makes its name point here.
        let (status, _, said) =
            answer(api.request(Method::GET, "/api/v1/state").header("host", "evil.test")).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{said}");
        let plain = api.request(Method::GET, "/").send().await.unwrap().text().await.unwrap();
        assert!(plain.contains("<caption>Services by image</caption>"), "for readers without JavaScript");
    })
    .await;
}

#[tokio::test]
async fn open_reading_opens_no_steering() {
    let scene = listening(&[("GANTRY_HTTP_STEER_TOKEN", STEER)]);
    scene.service("web").create();
    beside(&scene, async |api| {
        assert_eq!(api.get("/api/v1/state").await.0, StatusCode::OK);
        let (status, headers, said) = api.post("/api/v1/run", &json!({})).await;
        assert_eq!(
            (status, &headers["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
        );
        assert_eq!(said["error"], "the token is missing or wrong");
        assert_eq!(api.with(Some(STEER)).post("/api/v1/run", &json!({})).await.0, StatusCode::ACCEPTED);
    })
    .await;
}
