//! Where a wrong verdict would be easy: what looks over and is not, what looks like somebody else's change
//! and is the swarm's, what was sent and got no answer.

use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};
use gantry::swarm::SwarmError;

use super::{APP, Scene, finished, outcome};
use crate::fake::{Call, Fault, World, millis, pinned, secs};
use crate::support::log::Log;

fn away() -> Fault {
    Fault::Error(SwarmError::Unavailable("no answer".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_global_service_whose_tasks_crash_and_are_not_started_again_has_failed() {
    let scene = Scene::new();
    scene.service("web").global().restart_condition("none").failure_action("continue").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 1);
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_the_swarm_takes_back_has_failed_and_is_nobody_elses_change() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    // Only the image can go back, as an update of its own; and the swarm takes back updates that fail.
    scene.swarm.later(secs(1), |world| world.set_label("web", "owner", "alice"));
    scene.swarm.later(secs(4), |world| {
        world.change("web", |spec| spec["UpdateConfig"]["FailureAction"] = "rollback".into());
    });
    scene.swarm.image(&pinned(APP, "old")).cannot_start("the old one is broken too");
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RollbackFailed { .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_changed_in_the_middle_makes_the_swarm_roll_back_to_the_bad_image_and_us_not() {
    let scene = Scene::new();
    scene.service("web").replicas(4).failure_action("rollback").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).starts_after(secs(2)).crashes_after(secs(4), 1);
    // The previous specification has the bad image from here on.
    scene.swarm.later(secs(4), |world| world.set_label("web", "owner", "alice"));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 4]);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_arrives_after_it_was_given_up_is_watched_and_not_sent_again() {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 1);
    // No answer; when the service is read again nothing has changed; then the first request arrives.
    scene.swarm.fail(Call::Update, Some("web"), 1, away());
    let late = bad.clone();
    scene.swarm.before(Call::Update, "web", move |world| world.set_image("web", &late));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_without_an_answer_is_followed_up_however_long_the_engine_is_away() {
    let scene = Scene::new();
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.fail(Call::Update, Some("web"), 1, Fault::CutAfterwards);
    scene.swarm.before(Call::Update, "web", |world| {
        let now = world.now;
        world.script.be_away(now + millis(1), now + secs(600));
    });
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.update_log().len(), 1);
    assert_eq!(scene.swarm.running_images("web"), [new.clone(), new]);
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_was_lost_and_that_is_taken_back_meanwhile_is_not_sent_again() {
    // By the swarm, or by a person.
    for (action, is_by_swarm) in [("rollback", true), ("pause", false)] {
        let scene = Scene::new();
        scene.service("web").failure_action(action).create();
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(300), 3);
        scene.swarm.fail(Call::Update, Some("web"), 1, Fault::CutAfterwards);
        scene.swarm.before(Call::Update, "web", |world| {
            let now = world.now;
            world.script.be_away(now + millis(1), now + secs(60));
        });
        if !is_by_swarm {
            scene.swarm.later(secs(20), |world| world.roll_back("web"));
        }
        let report = scene.cycle().await;
        let outcome = outcome(&report, "web");
        match outcome {
            Outcome::RolledBack { by: By::Swarm, cause: Cause::TaskFailed { exit_code: Some(3), .. } } => {
                assert!(is_by_swarm, "{report:?}");
            }
            Outcome::TakenBack(how) => {
                assert!(!is_by_swarm && how == "a user or another program rolled it back", "{report:?}");
            }
            _ => panic!("{action}: {report:?}"),
        }
        let log = scene.swarm.update_log();
        assert_eq!(
            log.iter().filter(|asked| asked.image() == bad && !asked.is_rollback).count(),
            1,
            "{action}"
        );
        assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 2], "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_can_be_read_and_does_not_do_what_it_is_told_is_asked_ever_more_rarely_and_given_up() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    let refusal = Fault::Error(SwarmError::Unavailable("500: no space in the log".to_owned()));
    scene.swarm.fail(Call::Update, Some("web"), 1_000, refusal);
    let report = scene.cycle().await;
    let Outcome::Failed { cause: Cause::Refused { message } } = outcome(&report, "web") else {
        panic!("{report:?}");
    };
    assert!(message.contains("no space in the log"), "{message}");
    assert!(finished(&report, "web").took < secs(200), "{report:?}");
    let asked = scene.swarm.calls(Call::Update).len();
    assert!(asked < 25, "asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_the_engine_never_carries_out_has_failed_and_is_taken_up_by_the_next_cycle() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    scene.swarm.later(secs(1), |world| {
        let refusal = Fault::Error(SwarmError::Unavailable("500: no space in the log".to_owned()));
        world.script.fail(Call::Update, Some("web"), 1_000, refusal);
    });
    let report = scene.cycle().await;
    let Outcome::RollbackFailed {
        cause: Cause::TaskFailed { exit_code: Some(1), .. },
        why: Cause::Refused { message },
    } = outcome(&report, "web")
    else {
        panic!("{report:?}");
    };
    assert!(message.contains("no space in the log"), "{message}");
    assert!(finished(&report, "web").took < secs(300), "{report:?}");
    let asked = scene.swarm.calls(Call::Update).len();
    assert!(asked < 25, "asked {asked} times");

    scene.swarm.now(|world| world.script.heal());
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 2]);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_an_engine_is_away_is_not_held_against_its_refusals() {
    for is_rollback in [false, true] {
        let scene = Scene::new();
        scene.service("web").failure_action("pause").create();
        let new = scene.registry.release(APP, "new");
        if is_rollback {
            scene.swarm.image(&new).crashes_after(secs(2), 1);
        }
        // The engine goes away with the request, for ten minutes, and is busy with itself for a moment afterwards.
        let trouble = |world: &mut World| {
            let busy = Fault::Error(SwarmError::Unavailable("503: no leader".to_owned()));
            world.script.fail(Call::Update, Some("web"), 1, Fault::Away(secs(600)));
            world.script.fail(Call::Update, Some("web"), 3, busy);
        };
        if is_rollback {
            scene.swarm.later(secs(1), trouble);
        } else {
            scene.swarm.now(trouble);
        }
        let report = scene.cycle().await;
        let is_right = match outcome(&report, "web") {
            Outcome::Updated => !is_rollback,
            Outcome::RolledBack { by: By::Gantry, .. } => is_rollback,
            _ => false,
        };
        assert!(is_right, "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_was_not_sent_is_given_up_when_the_engine_stays_away() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    // It goes away after the look at the cluster that lets the update begin.
    scene.swarm.now(|world| {
        let away = |world: &mut World| world.script.be_away(world.now, world.now + secs(600));
        world.script.before(Call::Nodes, None, Box::new(away));
    });
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::Failed { .. }), "{report:?}");
    assert!(finished(&report, "web").took < secs(200));
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_sent_as_soon_as_the_engine_is_back_however_long_that_takes() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    // Only the rollback reads the service alone.
    scene.swarm.before(Call::Service, "web", |world| {
        let now = world.now;
        world.script.be_away(now + millis(1), now + secs(600));
    });
    scene.swarm.set_latency_of(Call::Update, millis(20));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { by: By::Gantry, .. }), "{report:?}");
    assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "old"), pinned(APP, "old")]);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_sending_a_rollback_takes_is_given_once() {
    let scene = Scene::new().with("GANTRY_UPDATE_TIMEOUT_SECONDS", 60);
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1);
    // The engine goes away with the rollback, and the old image never gets healthy again.
    scene
        .swarm
        .later(secs(1), |world| world.script.fail(Call::Update, Some("web"), 1, Fault::Away(secs(600))));
    scene.swarm.image(&pinned(APP, "old")).never_gets_healthy();
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RollbackFailed { .. }), "{report:?}");
    let took = finished(&report, "web").took;
    assert!((secs(660)..secs(720)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_sent_before_the_last_words_have_come() {
    let scene = Scene::new();
    scene.service("web").order("stop-first").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(2), 1).logging(&["no such table"]);
    scene.swarm.set_latency_of(Call::Log, secs(8));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { .. }), "{report:?}");
    assert_eq!(finished(&report, "web").log, ["no such table"]);
    let asked_for_words = scene.swarm.calls(Call::Log)[0];
    let rolled_back = scene.swarm.update_log()[1].at;
    assert!(rolled_back < asked_for_words + secs(2), "{rolled_back:?} after {asked_for_words:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_goes_in_the_middle_of_a_look_is_no_silence_of_the_engine() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_INITIAL_WORKERS", 2);
    scene.service("web").create();
    scene.service("gone").create();
    scene.registry.release(APP, "new");
    let log = Log::from_level("WARN");
    scene.swarm.later(secs(1), |world| {
        let remove = |world: &mut World| world.remove("gone").unwrap();
        world.script.before(Call::Tasks, None, Box::new(remove));
    });
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    assert_eq!(outcome(&report, "gone"), &Outcome::Removed);
    assert_eq!(log.lines_with("does not answer"), Vec::<String>::new());
}
