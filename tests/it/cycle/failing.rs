//! Updates that fail: what is rolled back, by whom, with which cause.

use std::time::Duration;

use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};
use tokio::time::Instant;

use super::{APP, Scene, finished, outcome};
use crate::fake::{millis, pinned, secs};
use crate::support::log::Log;

fn cause(outcome: &Outcome) -> &Cause {
    match outcome {
        Outcome::RolledBack { cause, .. } | Outcome::Failed { cause } => cause,
        other => panic!("not a failure: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_rolled_back_whatever_the_service_does_by_itself() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 3);
    for action in ["pause", "continue", "rollback"] {
        scene.service(action).failure_action(action).create();
    }
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3).logging(&["out of luck"]);

    let report = scene.cycle().await;

    for (name, expected) in [("pause", By::Gantry), ("continue", By::Gantry), ("rollback", By::Swarm)] {
        let finished = finished(&report, name);
        let Outcome::RolledBack { by, cause: Cause::TaskFailed { exit_code, .. } } = &finished.outcome else {
            panic!("{name}: {}", finished.outcome);
        };
        assert_eq!((*by, *exit_code), (expected, Some(3)), "{name}");
        assert_eq!(finished.log, ["out of luck"], "{name}");
        assert_eq!(scene.swarm.running_images(name), [pinned(APP, "old"), pinned(APP, "old")], "{name}");
    }
    assert!(report.has_failed());
    // One update for each, and one rollback for the two that did not roll back by themselves.
    assert_eq!(scene.swarm.update_log().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_rolled_back_is_kept_as_it_is() {
    let scene = Scene::new().with("GANTRY_ROLLBACK_ON_FAILURE", "false");
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 1);
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::Failed { cause: Cause::TaskFailed { .. } }));
    assert_eq!(scene.swarm.image_of("web"), bad);
    assert_eq!(scene.swarm.update_log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_never_gets_healthy_times_out_and_says_what_it_waited_for() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 7200);
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).never_gets_healthy();
    let begun = Instant::now();
    let report = scene.cycle().await;
    let Cause::TimedOut { after, waiting, .. } = cause(outcome(&report, "web")) else { panic!("{report:?}") };
    assert_eq!(*after, secs(7200));
    assert!(waiting.contains("starting on node"), "{waiting}");
    assert!(begun.elapsed() >= secs(7200));
    assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "old"), pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn an_unschedulable_update_times_out_with_the_swarms_reason() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 60);
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).finds_no_node("insufficient resources on 3 nodes");
    let report = scene.cycle().await;
    let cause = cause(outcome(&report, "web")).to_string();
    assert!(cause.contains("timed out after 60 s") && cause.contains("insufficient resources"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_task_and_a_missing_image_have_causes_of_their_own() {
    let scene = Scene::new();
    scene.registry.release("registry.test/sick:1", "old");
    scene.service("sick").image(&pinned("registry.test/sick:1", "old")).create();
    scene.service("lost").create();
    let sick = scene.registry.release("registry.test/sick:1", "sick");
    let lost = scene.registry.release(APP, "lost");
    scene.swarm.image(&sick).turns_unhealthy_after(secs(2));
    scene.swarm.image(&lost).cannot_be_pulled();
    let report = scene.cycle().await;
    assert!(matches!(cause(outcome(&report, "sick")), Cause::Unhealthy { .. }), "{report:?}");
    assert!(matches!(cause(outcome(&report, "lost")), Cause::ImageNotFound { .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn completed_though_nothing_runs_is_not_updated() {
    let scene = Scene::new();
    scene.service("web").failure_action("continue").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(1), 9);
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_within_the_time_limit_is_no_failure() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 3600);
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).takes_to_pull(secs(900)).starts_after(secs(600));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(finished(&report, "web").took > Duration::from_secs(1500));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_as_well_is_told_as_that() {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(3), 1);
    // The old image has been broken meanwhile: its tasks cannot start any more, and stop-first leaves none.
    scene.swarm.later(millis(1), |world| {
        world.change("web", |spec| spec["UpdateConfig"]["Order"] = "stop-first".into());
    });
    scene.swarm.image(&pinned(APP, "old")).cannot_start("the old one is broken too");
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RollbackFailed { .. }), "{report:?}");
    assert!(report.has_failed());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_the_engine_refuses_changes_nothing_and_is_told_in_its_words() {
    use crate::fake::{Call, Fault};
    use gantry::swarm::SwarmError;
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    let words = SwarmError::Refused("invalid mount target".into());
    scene.swarm.fail(Call::Update, Some("web"), 1, Fault::Error(words));
    let report = scene.cycle().await;
    assert!(cause(outcome(&report, "web")).to_string().contains("invalid mount target"));
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_cannot_be_sent_tells_both_causes() {
    use crate::fake::{Call, Fault};
    use gantry::swarm::SwarmError;
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    let swarm = scene.swarm.clone();
    tokio::spawn(async move {
        tokio::time::sleep(secs(1)).await;
        let words = SwarmError::Refused("this swarm is closed".into());
        swarm.fail(Call::Update, Some("web"), 9, Fault::Error(words));
    });
    let report = scene.cycle().await;
    let told = outcome(&report, "web").to_string();
    assert!(told.contains("rollback failed") && told.contains("closed") && told.contains("exit"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_in_one_update_stops_no_other_and_is_named() {
    use crate::fake::Call;
    let scene = Scene::new();
    for name in ["web", "cursed"] {
        scene.service(name).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.before(Call::Update, "cursed", |_| panic!("a fault of our own"));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert!(
        matches!(outcome(&report, "cursed"), Outcome::Failed { cause: Cause::Internal { .. } }),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn json_lines_name_each_event_and_how_an_update_ended() {
    let log = Log::with(&[("GANTRY_LOG_FORMAT", "json")]);
    let scene = Scene::new();
    scene.service("good").create();
    let broken = pinned("registry.test/broken:1", "old");
    scene.service("bad").image(&broken).create();
    scene.registry.release(APP, "new");
    let bad = scene.registry.release("registry.test/broken:1", "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.cycle().await;
    let lines: Vec<serde_json::Value> =
        log.lines_with("").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in lines.iter().filter_map(|line| line["event"].as_str()) {
        assert!(gantry::model::event::NAMES.contains(&name), "{name}");
    }
    let ended = |service: &str| {
        let is_end = |line: &&serde_json::Value| {
            line["event"] == "update_ended" && line["service"] == service && !line["outcome"].is_null()
        };
        lines.iter().find(is_end).unwrap_or_else(|| panic!("{lines:#?}"))
    };
    let good = ended("good");
    assert_eq!((&good["outcome"], &good["image"]), (&"updated".into(), &APP.into()), "{good}");
    assert_eq!(good["to"].as_str(), pinned(APP, "new").split_once('@').map(|(_, digest)| digest), "{good}");
    assert!(good["from"].is_string() && good["cause"].is_null(), "{good}");
    let bad = ended("bad");
    assert_eq!(bad["outcome"], "rolled back", "{bad}");
    assert!(bad["cause"].as_str().is_some_and(|cause| cause.contains("a task failed")), "{bad}");
    assert!(lines.iter().any(|line| line["event"] == "update_failed" && line["service"] == "bad"));
}
