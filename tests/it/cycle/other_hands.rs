//! A person or another program is at work on a service, or has left it in a bad state, when a new image comes.

use std::time::Duration;

use gantry::cycle::Report;
use gantry::model::attention::{Attention, OtherHand};
use gantry::model::decision::Reason;
use gantry::model::finished::NotBegunReason;
use gantry::model::outcome::{By, Outcome};
use gantry::model::row::{Row, State};
use gantry::swarm::{SwarmError, UpdateState};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{APP, Scene, count, outcome, state};
use crate::fake::{Call, FakeSwarm, World, millis, pinned, secs};

/// What a person changes.
type Edit = fn(&mut Value);

fn set_env(spec: &mut Value) {
    spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["BROKEN=1"]);
}

fn set_image(spec: &mut Value) {
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(pinned(APP, "theirs"));
}

fn set_other_tag(spec: &mut Value) {
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(pinned("registry.test/app:2", "theirs"));
}

fn attention<'a>(report: &'a Report, service: &str) -> Option<&'a Attention> {
    if let State::NeedsAttention(what) = state(report, service) { Some(what) } else { None }
}

fn why_not(report: &Report, service: &str) -> Option<NotBegunReason> {
    report.held().find(|row| row.service == service)?.why_held().cloned()
}

/// A service with three tasks whose owner has made a change that fails, so that the swarm has stopped there.
async fn paused_by_a_person(edit: Edit) -> Scene {
    let scene = Scene::new();
    scene.service("web").replicas(3).failure_action("pause").create();
    scene.service("other").create();
    scene.registry.release("registry.test/app:2", "theirs");
    for image in [pinned(APP, "old"), pinned(APP, "theirs"), pinned("registry.test/app:2", "theirs")] {
        scene.swarm.image(&image).crashes_after(millis(300), 1);
    }
    scene.swarm.now(|world| world.change("web", edit));
    scene.swarm.until("a pause", |swarm| swarm.state_of("web") == Some(UpdateState::Paused)).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn a_persons_failed_change_is_left_alone_whatever_is_new() {
    let both: Edit = |spec| {
        set_env(spec);
        set_image(spec);
    };
    for (what, edit) in [("env", set_env as Edit), ("image and env", both), ("another tag", set_other_tag)] {
        let scene = paused_by_a_person(edit).await;
        scene.swarm.image(&pinned(APP, "old"));
        let before = scene.swarm.spec("web");
        let good = scene.registry.release(APP, "good");
        scene.registry.release("registry.test/app:2", "good");
        for _ in 0..2 {
            let report = scene.cycle().await;
            assert!(
                matches!(attention(&report, "web"), Some(Attention::Paused { .. })),
                "{what}: {report:?}"
            );
            assert_eq!(scene.swarm.image_of("other"), good, "{what}: others are not concerned");
            assert!(scene.swarm.spec("web").is_same_as(&before), "{what}");
            assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Paused), "{what}");
            assert!(!report.has_failed(), "{what}: {report:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_updated_when_the_person_has_gone_on() {
    let scene = paused_by_a_person(set_env).await;
    let good = scene.registry.release(APP, "good");
    scene.swarm.image(&pinned(APP, "old")).starts_after(Duration::ZERO);
    assert!(attention(&scene.cycle().await, "web").is_some());
    scene.swarm.now(|world| {
        world.change("web", |spec| spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!([]));
    });
    scene.swarm.until("the end", |swarm| swarm.state_of("web") == Some(UpdateState::Completed)).await;
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.running_images("web"), vec![good; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_persons_update_under_way_ends_before_gantry_begins() {
    for (what, action, edit) in [
        ("env", "pause", set_env as Edit),
        ("env, continue", "continue", set_env),
        ("another tag", "pause", set_other_tag),
    ] {
        let scene = Scene::new();
        scene.service("web").replicas(3).failure_action(action).delay(secs(30)).create();
        scene.registry.release("registry.test/app:2", "theirs");
        scene.swarm.now(|world| world.change("web", edit));
        sleep(secs(2)).await;
        assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Updating), "{what}");
        scene.registry.release(APP, "good");
        scene.registry.release("registry.test/app:2", "good");
        let sent = scene.swarm.update_log().len();
        let report = scene.cycle().await;
        assert_eq!(
            why_not(&report, "web"),
            Some(NotBegunReason::OtherHand(OtherHand::Updating)),
            "{what}: {report:?}"
        );
        assert_eq!(report.summary(), "1 service: 1 postponed");
        assert_eq!(scene.swarm.update_log().len(), sent, "{what}");
        scene.swarm.until("the end", |swarm| swarm.state_of("web") == Some(UpdateState::Completed)).await;
        assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_a_person_begins_before_its_turn_is_not_overrun() {
    for is_rolled_back in [false, true] {
        let what = if is_rolled_back { "rollback" } else { "update" };
        let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
        scene.service("a-first").create();
        scene.service("b-second").replicas(3).delay(secs(60)).create();
        scene.swarm.image(&pinned(APP, "old")).starts_after(secs(40));
        scene.registry.release(APP, "new");
        scene.swarm.later(secs(1), |world| world.change("b-second", set_env));
        if is_rolled_back {
            scene.swarm.later(secs(3), |world| world.roll_back("b-second"));
        }
        let report = scene.cycle().await;
        assert_eq!(outcome(&report, "a-first"), &Outcome::Updated);
        assert!(
            matches!(why_not(&report, "b-second"), Some(NotBegunReason::OtherHand(_))),
            "{what}: {report:?}"
        );
        assert_eq!(scene.swarm.image_of("b-second"), pinned(APP, "old"), "{what}");
    }
}

/// A service whose rollback the swarm has paused, because the old image failed once more.
async fn with_a_paused_rollback(failures: usize) -> Scene {
    let scene = Scene::new();
    scene.service("web").replicas(1).order("stop-first").failure_action("rollback").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.swarm.image(&pinned(APP, "old")).for_the_first(failures).crashes_after(millis(100), 100);
    scene.swarm.now(|world| world.set_image("web", &pinned(APP, "bad")));
    let is_paused = |swarm: &FakeSwarm| swarm.state_of("web") == Some(UpdateState::RollbackPaused);
    scene.swarm.until("a paused rollback", is_paused).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollback_whose_tasks_run_is_healthy() {
    let scene = with_a_paused_rollback(1).await;
    sleep(secs(30)).await;
    assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "old")]);
    for _ in 0..2 {
        let report = scene.cycle().await;
        assert_eq!(attention(&report, "web"), None, "{report:?}");
        assert!(!report.has_failed(), "{report:?}");
        assert!(matches!(state(&report, "web"), State::LeftAlone(Reason::HeldBack(_))), "{report:?}");
    }
    scene.registry.release(APP, "good");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollback_whose_tasks_fail_is_named_as_failed() {
    let scene = with_a_paused_rollback(1_000).await;
    for _ in 0..2 {
        let report = scene.cycle().await;
        assert!(report.has_failed(), "{report:?}");
        sleep(secs(300)).await;
    }
    let report = scene.cycle().await;
    assert!(matches!(attention(&report, "web"), Some(Attention::RollbackFailed { .. })), "{report:?}");
    // The owner mends what the old image lacked.
    scene.swarm.image(&pinned(APP, "old")).starts_after(Duration::ZERO);
    sleep(secs(60)).await;
    let report = scene.cycle().await;
    assert_eq!((attention(&report, "web"), report.has_failed()), (None, false), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_hangs_is_a_failure_with_its_reason() {
    let scene = Scene::new();
    scene.service("web").replicas(1).order("stop-first").create();
    scene.swarm.now(|world| world.change("web", set_env));
    scene.swarm.until("the end", |swarm| swarm.state_of("web") == Some(UpdateState::Completed)).await;
    scene.swarm.image(&pinned(APP, "old")).finds_no_node("insufficient resources on 3 nodes");
    scene.swarm.now(|world| world.roll_back("web"));
    sleep(secs(2)).await;
    let report = scene.cycle().await;
    assert_eq!(report.summary(), "1 service: 1 left alone");
    let lines = report.lines();
    assert!(lines.iter().any(|(_, line)| line.contains("it is being rolled back")), "{lines:?}");
    sleep(secs(600)).await;
    let report = scene.cycle().await;
    let hangs = Attention::RollbackHangs { running: 0, desired: 1 };
    assert_eq!((attention(&report, "web"), report.has_failed()), (Some(&hangs), true), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_delay_between_tasks_does_not_make_each_cycle_an_update() {
    let scene = Scene::new();
    scene.service("web").replicas(1).delay(secs(600)).create();
    scene.registry.release(APP, "new");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Updating));
    for _ in 0..3 {
        sleep(secs(30)).await;
        assert_eq!(scene.cycle().await.summary(), "1 service: 1 up to date");
    }
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Updating), "the delay lasts on");
    // A newer image does not wait for the delay.
    scene.registry.release(APP, "newer");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn without_a_list_of_tasks_what_is_under_way_waits_for_the_next_look() {
    let mut scene = Scene::new();
    for name in ["a", "b"] {
        scene.service(name).failure_action("continue").create();
    }
    scene.registry.release(APP, "new");
    let context = scene.context();
    let stopped = context.clone();
    let cycle = tokio::spawn(async move { gantry::cycle::run(&stopped).await });
    scene.swarm.until("an update", |swarm| !swarm.update_log().is_empty()).await;
    context.stop.cancel();
    assert!(cycle.await.unwrap().is_interrupted);
    scene.stop = tokio_util::sync::CancellationToken::new();
    sleep(secs(120)).await;
    let sent = scene.swarm.update_log().len();
    scene.swarm.fail_next(Call::Tasks, SwarmError::Unavailable("away".to_owned()));
    let report = scene.cycle().await;
    let is_unknown = |row: &Row| matches!(row.state, State::LeftAlone(Reason::TasksUnknown));
    assert!(report.rows.iter().any(is_unknown), "{report:?}");
    assert!(scene.swarm.update_log().len() <= sent + 1, "the other service only");
    // The next look judges it, and no earlier one has forgotten that it must.
    let report = scene.cycle().await;
    assert!(count(&report, "left alone") == 0 && !report.has_failed(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_fails_after_its_update_needs_attention() {
    let scene = Scene::new();
    scene.service("web").replicas(1).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(secs(12), 3);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    for wait in [20, 7, 31] {
        sleep(secs(wait)).await;
        let report = scene.cycle().await;
        assert!(matches!(attention(&report, "web"), Some(Attention::Failing { .. })), "{report:?}");
        assert!(report.has_failed());
    }
    // A day later it is the owner's own state of things.
    sleep(secs(25 * 3_600)).await;
    assert!(!scene.cycle().await.has_failed());
}

#[tokio::test(start_paused = true)]
async fn one_failure_long_ago_needs_no_attention() {
    let scene = Scene::new();
    scene.service("web").replicas(1).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).for_the_first(1).crashes_after(secs(20), 3);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    sleep(secs(30)).await;
    assert!(scene.cycle().await.has_failed());
    sleep(secs(600)).await;
    assert_eq!(scene.cycle().await.summary(), "1 service: 1 up to date");
}

#[tokio::test(start_paused = true)]
async fn what_has_run_for_half_an_hour_is_well_whatever_came_before() {
    let scene = Scene::new();
    scene.service("web").replicas(1).create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).for_the_first(3).crashes_after(secs(20), 3);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    sleep(secs(600)).await;
    assert!(scene.cycle().await.has_failed());
    sleep(secs(1800)).await;
    assert_eq!(scene.cycle().await.summary(), "1 service: 1 up to date");
}

#[tokio::test(start_paused = true)]
async fn one_failure_on_each_node_is_not_three_of_one_place() {
    let scene = Scene::new();
    scene.service("web").global().create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).for_the_first(3).crashes_after(secs(40), 3);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    sleep(secs(600)).await;
    assert_eq!(scene.cycle().await.summary(), "1 service: 1 up to date");
}

/// What a person does to take a service back to the image that it had.
type TakeBack = fn(&mut World, &str);

const WAYS: [(&str, TakeBack); 3] = [
    ("docker service rollback", |world, name| world.roll_back(name)),
    ("docker service update --image OLD", |world, name| world.set_image(name, &pinned(APP, "old"))),
    ("a redeploy of the old digest", |world, name| {
        world.change(name, |spec| {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(pinned(APP, "old"));
            spec["Labels"]["deployed"] = json!("again");
        });
    }),
];

#[tokio::test(start_paused = true)]
async fn a_canary_that_a_person_takes_back_holds_its_rollout() {
    for (way, take_back) in WAYS {
        let scene = Scene::new();
        for name in ["a-canary", "b", "c", "d"] {
            scene.service(name).create();
        }
        let new = scene.registry.release(APP, "new");
        scene.swarm.image(&new).starts_after(secs(30));
        scene.swarm.later(secs(5), move |world| take_back(world, "a-canary"));
        let report = scene.cycle().await;
        assert!(matches!(outcome(&report, "a-canary"), Outcome::TakenBack(_)), "{way}: {report:?}");
        for name in ["b", "c", "d"] {
            assert_eq!(why_not(&report, name), Some(NotBegunReason::TakenBack), "{way}: {report:?}");
            assert_eq!(scene.swarm.image_of(name), pinned(APP, "old"), "{way}");
        }
        assert_eq!(report.summary(), "4 services: 1 superseded, 3 held back", "{way}");
        assert!(!report.has_failed(), "{way}");
        let names =
            |report: &Report| report.lines().iter().any(|(_, line)| line.contains("held back: b c d"));
        assert!(names(&report), "{way}: {:?}", report.lines());
        // The next look goes on with the others, and leaves the person's service alone.
        scene.swarm.image(&new).starts_after(millis(100));
        let report = scene.cycle().await;
        assert!(matches!(state(&report, "a-canary"), State::LeftAlone(_)), "{way}: {report:?}");
        assert_eq!(report.updated().count(), 3, "{way}: {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_image_set_by_hand_holds_nothing() {
    let scene = Scene::new();
    for name in ["a-canary", "b", "c"] {
        scene.service(name).create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(5));
    scene.swarm.later(secs(2), |world| world.set_image("a-canary", &pinned("registry.test/app:2", "theirs")));
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "a-canary"), Outcome::Superseded(_)), "{report:?}");
    assert_eq!(report.updated().count(), 2, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_taken_back_after_its_update_holds_the_rollout() {
    let scene = Scene::new().with("GANTRY_UPDATE_NUM_WORKERS", 1);
    for index in 0..8 {
        scene.service(&format!("web-{index}")).create();
    }
    scene.registry.release(APP, "new");
    scene.swarm.later(secs(12), |world| world.roll_back("web-0"));
    let report = scene.cycle().await;
    let held = report.held().filter(|row| row.why_held() == Some(&NotBegunReason::TakenBack)).count();
    assert!(held >= 4, "{report:?}");
    assert!(matches!(outcome(&report, "web-0"), Outcome::TakenBack(_)), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_that_a_person_rolls_back_first_is_said_to_be_so() {
    let scene = Scene::new();
    scene.service("web").failure_action("pause").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    // The next look at the service alone, after the update was sent, is that of the rollback.
    scene.swarm.before(Call::Update, "web", |world| {
        let rolls_back = |world: &mut World| world.roll_back("web");
        world.script.before(Call::Service, Some("web"), Box::new(rolls_back));
    });
    let report = scene.cycle().await;
    let Outcome::RolledBack { by, .. } = outcome(&report, "web") else { panic!("{report:?}") };
    assert_eq!(*by, By::Other, "{report:?}");
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn without_a_list_of_tasks_what_the_swarm_rolled_back_is_not_offered_again() {
    let scene = Scene::new();
    scene.service("web").failure_action("rollback").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(100), 3);
    scene.swarm.now(|world| world.set_image("web", &pinned(APP, "bad")));
    let is_over = |swarm: &FakeSwarm| swarm.state_of("web") == Some(UpdateState::RollbackCompleted);
    scene.swarm.until("the swarm's rollback", is_over).await;
    scene.swarm.fail_next(Call::Tasks, SwarmError::Unavailable("away".to_owned()));
    let report = scene.cycle().await;
    assert!(matches!(state(&report, "web"), State::LeftAlone(Reason::TasksUnknown)), "{report:?}");
    let report = scene.cycle().await;
    assert!(matches!(state(&report, "web"), State::LeftAlone(Reason::HeldBack(_))), "{report:?}");
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}
