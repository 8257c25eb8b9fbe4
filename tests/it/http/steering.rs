//! Pauses and plans over the API.

use gantry::ledger::Ledger;
use gantry::ledger::book::LedgerChange;
use gantry::ledger::steered::UserPause;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{READ, STEER, beside, both, outcome};
use crate::cycle::APP;
use crate::fake::millis;
use crate::support::log::Log;

#[tokio::test]
async fn no_update_begins_during_a_pause_and_it_ends_by_itself() {
    let log = Log::from_level("INFO");
    let scene = both();
    scene.service("web").replicas(1).create();
    beside(&scene, async |api| {
        let (reader, api) = (api.with(Some(READ)), api.with(Some(STEER)));
        reader.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let (status, _, said) = reader.post("/api/v1/pause", &json!({ "why": "sale" })).await;
        assert_eq!((status, &said["error"]), (StatusCode::FORBIDDEN, &"this token may only read".into()));
        for wrong in [json!({ "for": "soon" }), json!({ "for": "40d" }), json!({ "until": "noon" })] {
            let (status, _, said) = api.post("/api/v1/pause", &wrong).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {said}");
        }
        assert_eq!(api.post("/api/v1/resume", &json!({})).await.0, StatusCode::NOT_FOUND);

        let (status, _, said) = api.post("/api/v1/pause", &json!({ "why": "sale", "for": "4s" })).await;
        assert_eq!(
            (status, &said["paused"]["by"], &said["paused"]["why"]),
            (StatusCode::OK, &"operator".into(), &"sale".into())
        );
        let new = scene.registry.release(APP, "new");
        let (status, _, run) = api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!(status, StatusCode::OK, "{run:#}");
        assert_eq!(outcome(&run, "web")["outcome"], "postponed", "{run:#}");
        assert_eq!(
            outcome(&run, "web")["cause"],
            "a user has paused all updates (`gantry resume` ends the pause)"
        );
        let (_, _, state) = reader.get("/api/v1/state").await;
        assert_eq!((&state["verdict"]["level"], &state["counts"]["held"]), (&"paused".into(), &1.into()));
        assert_eq!(state["guard"]["by_hand"], said["paused"]);
        assert_ne!(scene.swarm.image_of("web"), new);
        let (_, _, metrics) = reader.get("/metrics").await;
        assert!(metrics.as_str().unwrap().contains("gantry_guard_paused{reason=\"by_hand\"} 1"), "{metrics}");

        // The interval is an hour. The end of the pause begins what it held.
        let state = reader.until("end of the pause", |state| state["counts"]["up_to_date"] == 1).await;
        assert!(state["guard"]["by_hand"].is_null() && state["verdict"]["level"] == "ok", "{state:#}");
        assert_eq!(scene.swarm.image_of("web"), new);
        let did: Vec<&str> =
            state["steered"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
        assert!(did[0] == "asked for a run" && did[1].starts_with("paused updates until"), "{did:?}");
    })
    .await;
    assert_eq!(log.lines_with("updates are paused by a user").len(), 1);
}

#[tokio::test]
async fn a_pause_by_another_manager_holds_here_and_is_ended_here() {
    let scene = both();
    scene.service("web").replicas(1).create();
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let elsewhere = Ledger::new("gantry");
        let now = Timestamp::now();
        let pause = UserPause::new("anna", "", now, now + SignedDuration::from_hours(24));
        elsewhere.amend(&scene.swarm, &[LedgerChange::Pause(Some(pause))]).await.unwrap();
        let new = scene.registry.release(APP, "new");
        let (status, _, run) = api.post("/api/v1/run", &json!({ "wait": 50 })).await;
        assert_eq!((status, &outcome(&run, "web")["outcome"]), (StatusCode::OK, &"postponed".into()));
        let (_, _, state) = api.get("/api/v1/state").await;
        assert!(state["verdict"]["words"].as_str().unwrap().starts_with("updates are paused by anna until"));
        let (status, _, said) = api.post("/api/v1/resume", &json!({})).await;
        assert_eq!((status, &said["resumed"]), (StatusCode::OK, &true.into()));
        // What the pause held is looked at without a further word.
        api.until("update", |state| state["counts"]["up_to_date"] == 1).await;
        assert_eq!(scene.swarm.image_of("web"), new);
    })
    .await;
}

#[tokio::test]
async fn a_pause_in_the_middle_of_a_rollout_lets_what_has_begun_end() {
    let scene = both().with("GANTRY_UPDATE_WORKERS", 1).with("GANTRY_ROLLOUT_CANARY", 1);
    for name in ["a", "b", "c", "d"] {
        scene.service(name).replicas(1).create();
    }
    beside(&scene, async |api| {
        let api = api.with(Some(STEER));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let new = scene.registry.release(APP, "new");
        assert_eq!(api.post("/api/v1/run", &json!({})).await.0, StatusCode::ACCEPTED);
        api.until("first update", |state| state["counts"]["updating"] == 1).await;
        assert_eq!(api.post("/api/v1/pause", &json!({ "why": "a bad feeling" })).await.0, StatusCode::OK);
        let updated = || ["a", "b", "c", "d"].iter().filter(|name| scene.swarm.image_of(name) == new).count();
        let (_, _, run) = api.until_run(2).await;
        assert!(run["services"].as_array().unwrap().iter().any(|it| it["outcome"] == "updated"), "{run:#}");
        assert!(run["services"].as_array().unwrap().iter().any(|it| it["outcome"] == "postponed"), "{run:#}");
        assert_eq!(updated(), 1, "the one that was under way, and no other");
        assert_eq!(api.post("/api/v1/resume", &json!({})).await.0, StatusCode::OK);
        api.until("the rest", |state| state["counts"]["up_to_date"] == 4).await;
        assert_eq!(updated(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_plan_tells_what_a_run_would_do_and_changes_nothing() {
    let scene = both();
    scene.service("web").replicas(1).create();
    scene.service("shop").replicas(1).create();
    scene.service("off").label("gantry.services.excluded", "true").create();
    beside(&scene, async |api| {
        let api = api.with(Some(READ));
        api.until("first look", |state| state["verdict"]["level"] == "ok").await;
        let new = scene.registry.release(APP, "new");
        let before = scene.swarm.see("web").unwrap().version;
        let (status, _, plan) = api.get("/api/v1/plan").await;
        assert_eq!((status, &plan["updates"], &plan["errors"]), (StatusCode::OK, &2.into(), &0.into()));
        let services = plan["services"].as_array().unwrap();
        let actions: Vec<_> = services.iter().map(|it| (&it["service"], &it["action"])).collect();
        let (held, update) = (&"held".into(), &"update".into());
        assert_eq!(
            actions,
            [(&"off".into(), held), (&"shop".into(), update), (&"web".into(), update)],
            "{plan:#}"
        );
        assert!(new.ends_with(services[2]["newest"].as_str().unwrap()), "{plan:#}");
        let (status, _, plan) = api.get("/api/v1/plan?service=web").await;
        assert_eq!((status, plan["services"].as_array().unwrap().len()), (StatusCode::OK, 1));
        assert_eq!(api.get("/api/v1/plan?service=none").await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.get("/api/v1/plan?servise=web").await.0, StatusCode::BAD_REQUEST);
        // Time enough for an update to begin, if a plan began one.
        let looked = Instant::now();
        while looked.elapsed() < millis(1_500) {
            assert_eq!(scene.swarm.see("web").unwrap().version, before);
            sleep(millis(100)).await;
        }
    })
    .await;
}
