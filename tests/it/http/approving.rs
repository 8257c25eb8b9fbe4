//! Approvals over the API.

use reqwest::StatusCode;
use serde_json::json;

use super::{READ, STEER, beside, both};
use crate::cycle::APP;
use crate::fake::digest;
use crate::support::log::Log;

#[tokio::test]
async fn a_digest_is_approved_by_that_digest_and_by_no_other() {
    let log = Log::from_level("INFO");
    let scene = both().with("GANTRY_UPDATE_APPROVAL", "true");
    scene.service("web").replicas(1).create();
    beside(&scene, async |api| {
        let (reader, api) = (api.with(Some(READ)), api.with(Some(STEER)));
        reader.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let first = scene.registry.release(APP, "first");
        let run = json!({ "wait": 50 });
        assert_eq!(api.post("/api/v1/run", &run).await.0, StatusCode::OK);
        let (_, _, web) = reader.get("/api/v1/services/web").await;
        let whole = digest("first").as_str().to_owned();
        assert_eq!(
            (&web["state"], &web["gate"], &web["offers"]),
            (&"held".into(), &"approval".into(), &json!(whole))
        );
        assert_eq!(web["gates"].as_array().unwrap().iter().filter(|it| it["verdict"] == "hold").count(), 1);

        let body = |digest: &str| json!({ "image": APP, "digest": digest, "why": "tested" });
        assert_eq!(reader.post("/api/v1/approve", &body(&whole)).await.0, StatusCode::FORBIDDEN);
        for (wrong, expected) in [
            (json!({ "digest": whole }), StatusCode::BAD_REQUEST),
            (json!({ "image": APP, "service": "web", "digest": whole }), StatusCode::BAD_REQUEST),
            (json!({ "image": APP, "digest": " " }), StatusCode::BAD_REQUEST),
            (json!({ "image": APP, "digest": whole, "tag": "1" }), StatusCode::BAD_REQUEST),
            (json!({ "image": "nowhere:1", "digest": whole }), StatusCode::NOT_FOUND),
            (json!({ "service": "nobody", "digest": whole }), StatusCode::NOT_FOUND),
            (body(digest("never-seen").as_str()), StatusCode::CONFLICT),
            (body(digest("old").as_str()), StatusCode::CONFLICT),
            (body(&digest("first").short()[..6]), StatusCode::CONFLICT),
        ] {
            let (status, _, said) = api.post("/api/v1/approve", &wrong).await;
            assert_eq!(status, expected, "{wrong}: {said}");
            assert!(said["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{said}");
        }

        // A page that was left open approves what it shows, and not what came later.
        scene.registry.release(APP, "second");
        assert_eq!(api.post("/api/v1/run", &run).await.0, StatusCode::OK);
        let (status, _, said) = api.post("/api/v1/approve", &body(digest("first").short())).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
        assert_eq!(
            (&said["approved"]["digest"], &said["approved"]["by"], &said["newer"]),
            (&json!(whole), &"operator".into(), &json!(digest("second").as_str()))
        );
        reader.until("the update", |_| scene.swarm.image_of("web") == first).await;
        assert_eq!(api.post("/api/v1/run", &run).await.0, StatusCode::OK);
        let state = reader.until("the next one waits", |state| state["counts"]["held"] == 1).await;
        assert!(
            state["steered"][1]["what"].as_str().is_some_and(|what| what.starts_with("approved ")),
            "{state:#}"
        );
        let (_, _, metrics) = reader.get("/metrics").await;
        let series = "gantry_services{state=\"held\",reason=\"approval\"} 1";
        assert!(metrics.as_str().unwrap().contains(series), "{metrics}");
    })
    .await;
    let lines = log.lines_with("approved by a user");
    assert!(lines.len() == 1 && lines[0].contains("audit=approve by=operator"), "{lines:?}");
}

#[tokio::test]
async fn an_approval_can_be_taken_back() {
    let scene = both().with("GANTRY_UPDATE_APPROVAL", "true");
    scene.service("web").replicas(1).create();
    scene.service("shop").replicas(1).create();
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        assert_eq!(api.post("/api/v1/revoke", &json!({ "service": "web" })).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.post("/api/v1/revoke", &json!({})).await.0, StatusCode::BAD_REQUEST);
        scene.registry.release(APP, "first");
        api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!(api.post("/api/v1/pause", &json!({})).await.0, StatusCode::OK);
        let approve = json!({ "service": "web", "digest": digest("first").as_str() });
        assert_eq!(api.post("/api/v1/approve", &approve).await.0, StatusCode::CREATED);
        let (_, _, state) = api.get("/api/v1/state").await;
        assert_eq!(state["approvals"].as_array().map(Vec::len), Some(1), "{state:#}");
        let (status, _, said) = api.post("/api/v1/revoke", &json!({ "service": "web" })).await;
        assert_eq!((status, &said["revoked"][0]["service"]), (StatusCode::OK, &"web".into()), "{said}");
        assert_eq!(api.post("/api/v1/resume", &json!({})).await.0, StatusCode::OK);
        api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        let (_, _, state) = api.get("/api/v1/state").await;
        assert_eq!((&state["counts"]["held"], &state["approvals"]), (&2.into(), &json!([])), "{state:#}");
    })
    .await;
}
