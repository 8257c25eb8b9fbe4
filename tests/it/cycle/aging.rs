//! Digests that wait for their age or for a user's approval, over the fake swarm.

use gantry::cycle::Report;
use gantry::gate::Gate;
use gantry::gate::approval::Approval;
use gantry::ledger::Ledger;
use gantry::ledger::book::LedgerChange;
use gantry::ledger::seen::SeenBook;
use gantry::model::decision::Reason;
use gantry::model::outcome::Outcome;
use gantry::model::row::State;
use gantry::registry::RegistryError;
use gantry::swarm::SwarmError;
use jiff::SignedDuration;
use tokio::time::sleep;

use super::{APP, Scene, outcome, state};
use crate::fake::{Call, Fault, digest, millis, pinned, secs};

/// The gate that holds a service, and why.
fn held<'a>(report: &'a Report, service: &str) -> Option<(Gate, &'a str)> {
    match state(report, service) {
        State::LeftAlone(Reason::Held(held)) => Some((held.gate(), &held.first.why)),
        _ => None,
    }
}

/// So many hours later, by the engine's clock.
fn later(scene: &Scene, hours: i64) {
    scene.swarm.now(|world| world.clock_step += SignedDuration::from_hours(hours));
}

/// A service that accepts only what is known for ten hours, and that has what its tag stands at.
async fn aging() -> Scene {
    let scene = Scene::new().with("GANTRY_UPDATE_MIN_AGE", "10h");
    scene.service("web").create();
    assert!(matches!(state(&scene.cycle().await, "web"), State::UpToDate));
    scene
}

async fn approve(scene: &Scene, service: Option<&str>, name: &str, hours: i64) {
    let ledger = Ledger::new("gantry");
    ledger.refresh(&scene.swarm).await.unwrap();
    let now = gantry::swarm::Swarm::engine(&scene.swarm).await.unwrap().time.unwrap();
    let approval = Approval {
        image: APP.to_owned(),
        service: service.map(str::to_owned),
        digest: digest(name),
        by: "anna".to_owned(),
        via: "api".to_owned(),
        at: now,
        until: now + SignedDuration::from_hours(hours),
        why: String::new(),
    };
    ledger.amend(&scene.swarm, &[LedgerChange::Approve(approval)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_digest_begins_when_it_has_its_age_also_after_a_restart() {
    let scene = aging().await;
    let new = scene.registry.release(APP, "new");
    // Each cycle is another process.
    let report = scene.cycle().await;
    let (gate, why) = held(&report, "web").unwrap();
    assert!(gate == Gate::Age && why.contains("(gantry.update.min_age=10h)"), "{why}");
    assert!(!report.has_failed() && !report.is_incomplete());
    later(&scene, 9);
    assert!(held(&scene.cycle().await, "web").is_some());
    assert_eq!(scene.swarm.update_log().len(), 0);
    later(&scene, 1);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), new);
    assert!(matches!(state(&scene.cycle().await, "web"), State::UpToDate));
}

#[tokio::test(start_paused = true)]
async fn what_has_aged_is_rolled_out_by_its_digest_though_the_tag_has_moved_on() {
    let scene = aging().await;
    let first = scene.registry.release(APP, "first");
    scene.cycle().await;
    later(&scene, 5);
    let second = scene.registry.release(APP, "second");
    scene.cycle().await;
    later(&scene, 5);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), first);
    // It stays there, and a user's own rollback is respected.
    let report = scene.cycle().await;
    assert!(held(&report, "web").is_some_and(|(gate, _)| gate == Gate::Age), "{report:?}");
    later(&scene, 5);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), second);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_more_often_than_the_age_is_still_updated() {
    let scene = aging().await;
    let mut updates = 0;
    for push in 0..25 {
        scene.registry.release(APP, &format!("push-{push}"));
        let report = scene.cycle().await;
        updates += report.finished().filter(|it| it.outcome == Outcome::Updated).count();
        later(&scene, 2);
    }
    assert!((4..=20).contains(&updates), "{updates}");
    assert_ne!(scene.swarm.image_of("web"), pinned(APP, "push-24"), "none before its age");
}

#[tokio::test(start_paused = true)]
async fn a_recalled_digest_never_begins() {
    let scene = aging().await;
    scene.registry.release(APP, "recalled");
    assert!(held(&scene.cycle().await, "web").is_some());
    later(&scene, 5);
    scene.registry.release(APP, "old");
    for _ in 0..3 {
        assert!(matches!(state(&scene.cycle().await, "web"), State::UpToDate));
        later(&scene, 10);
    }
    assert_eq!(scene.swarm.update_log().len(), 0);
    let seen = SeenBook::read(&scene.swarm.config("gantry-seen").unwrap().labels);
    assert_eq!(seen.image(APP).unwrap().since(&digest("recalled")), None);
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_gone_from_the_registry_is_struck_out_and_named() {
    let scene = aging().await;
    scene.registry.release(APP, "first");
    scene.cycle().await;
    let second = scene.registry.release(APP, "second");
    later(&scene, 2);
    scene.cycle().await;
    later(&scene, 9);
    scene.registry.remove(&digest("first"));
    let report = scene.cycle().await;
    let State::Error(why) = state(&report, "web") else { panic!("{report:?}") };
    assert!(why.contains("is gone from the registry"), "{why}");
    assert!(held(&scene.cycle().await, "web").is_some(), "the next one still waits");
    later(&scene, 2);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), second);
}

#[tokio::test(start_paused = true)]
async fn an_aged_digest_that_breaks_the_service_is_in_quarantine_wherever_the_tag_is() {
    let scene = aging().await;
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(100), 3);
    scene.cycle().await;
    later(&scene, 5);
    let good = scene.registry.release(APP, "good");
    scene.cycle().await;
    later(&scene, 5);
    assert!(matches!(outcome(&scene.cycle().await, "web"), Outcome::RolledBack { .. }));
    let sent = scene.swarm.update_log().len();
    for _ in 0..3 {
        assert!(held(&scene.cycle().await, "web").is_some_and(|(gate, _)| gate == Gate::Age));
    }
    assert_eq!(scene.swarm.update_log().len(), sent, "the bad one is not offered again");
    later(&scene, 5);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), good);
}

#[tokio::test(start_paused = true)]
async fn an_engine_or_registry_that_does_not_answer_opens_no_gate() {
    let scene = aging().await;
    scene.registry.release(APP, "first");
    scene.cycle().await;
    scene.registry.release(APP, "second");
    later(&scene, 2);
    scene.cycle().await;
    later(&scene, 9);
    let failing = RegistryError::Failing { registry: "registry.test".to_owned(), cause: "503".to_owned() };
    scene.registry.fail(APP, failing);
    assert!(matches!(state(&scene.cycle().await, "web"), State::Error(_)));
    scene.registry.heal(APP);
    assert_eq!(scene.swarm.update_log().len(), 0);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn where_configs_are_forbidden_ages_last_as_long_as_the_process() {
    let scene = Scene::new().with("GANTRY_UPDATE_MIN_AGE", "10h");
    scene.service("web").create();
    let forbidden = || Fault::Error(SwarmError::Forbidden("403 Forbidden".to_owned()));
    for call in [Call::Config, Call::CreateConfig, Call::UpdateConfig] {
        scene.swarm.fail(call, None, usize::MAX, forbidden());
    }
    scene.registry.release(APP, "new");
    let context = scene.context();
    assert!(held(&gantry::cycle::run(&context).await, "web").is_some());
    later(&scene, 10);
    let report = gantry::cycle::run(&context).await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
}

#[tokio::test(start_paused = true)]
async fn services_without_gates_cost_no_request_and_are_updated_at_once() {
    let scene = Scene::new();
    scene.service("web").create();
    scene.registry.release(APP, "new");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert!(scene.swarm.config("gantry-seen").is_none());
    assert_eq!(scene.registry.digest_questions(), 0);

    // One look-up more where what is offered is not what the tag stands at, and one look at the config.
    let scene = aging().await;
    let reads = |scene: &Scene| scene.swarm.calls(Call::Config).len();
    let before = reads(&scene);
    scene.cycle().await;
    assert_eq!(reads(&scene) - before, 2, "ledger and ages");
    assert_eq!(scene.registry.digest_questions(), 0);
}

#[tokio::test(start_paused = true)]
async fn different_ages_for_one_image_are_rings() {
    let scene = Scene::new();
    scene.service("staging").create();
    scene.service("shop").label("gantry.update.min_age", "10h").create();
    scene.cycle().await;
    let first = scene.registry.release(APP, "first");
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "staging"), &Outcome::Updated);
    assert!(held(&report, "shop").is_some());
    later(&scene, 6);
    let second = scene.registry.release(APP, "second");
    assert_eq!(outcome(&scene.cycle().await, "staging"), &Outcome::Updated);
    later(&scene, 4);
    assert_eq!(outcome(&scene.cycle().await, "shop"), &Outcome::Updated);
    assert_eq!(
        (scene.swarm.image_of("shop"), scene.swarm.image_of("staging")),
        (first.clone(), second.clone())
    );
    // Nothing goes to and fro.
    for _ in 0..3 {
        let report = scene.cycle().await;
        assert!(matches!(state(&report, "staging"), State::UpToDate), "{report:?}");
        assert!(held(&report, "shop").is_some());
    }
    // A user's rollback is respected, wherever the tag is.
    scene.swarm.now(|world| world.roll_back("shop"));
    sleep(secs(60)).await;
    for _ in 0..2 {
        let report = scene.cycle().await;
        assert!(report.finished().next().is_none(), "{report:?}");
    }
    later(&scene, 6);
    assert_eq!(outcome(&scene.cycle().await, "shop"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("shop"), second);
}

#[tokio::test(start_paused = true)]
async fn a_digest_begins_only_when_it_is_approved_and_the_next_waits_for_its_own_approval() {
    let scene = Scene::new();
    scene.service("shop").label("gantry.update.approval", "true").create();
    scene.service("blog").create();
    let first = scene.registry.release(APP, "first");
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "blog"), &Outcome::Updated, "another service of the image is not concerned");
    let (gate, why) = held(&report, "shop").unwrap();
    assert!(gate == Gate::Approval && why.starts_with("waits for approval: "), "{why}");
    later(&scene, 24);
    assert!(held(&scene.cycle().await, "shop").is_some());

    let second = scene.registry.release(APP, "second");
    approve(&scene, None, "first", 48).await;
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "shop"), &Outcome::Updated);
    assert_eq!((scene.swarm.image_of("shop"), scene.swarm.image_of("blog")), (first, second));
    let report = scene.cycle().await;
    assert!(held(&report, "shop").is_some_and(|(gate, _)| gate == Gate::Approval), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_approval_runs_out_and_is_used_up() {
    let scene = Scene::new();
    scene.service("shop").label("gantry.update.approval", "true").create();
    scene.cycle().await;
    scene.registry.release(APP, "first");
    scene.cycle().await;
    approve(&scene, Some("shop"), "first", 1).await;
    later(&scene, 2);
    let report = scene.cycle().await;
    assert!(held(&report, "shop").unwrap().1.contains("the approval of anna ran out at"), "{report:?}");
    approve(&scene, Some("shop"), "first", 1).await;
    assert_eq!(outcome(&scene.cycle().await, "shop"), &Outcome::Updated);
    // The service was listed with the digest: the approval has done its work.
    scene.registry.release(APP, "second");
    scene.cycle().await;
    scene.cycle().await;
    let labels = scene.swarm.config("gantry").unwrap().labels;
    assert!(labels.keys().all(|key| !key.starts_with("gantry.approved")), "{labels:?}");
}

#[tokio::test(start_paused = true)]
async fn gates_without_a_registry_to_ask_are_an_error_of_that_service() {
    let scene = Scene::new().with("GANTRY_MANIFEST_CMD", "none");
    scene.service("web").label("gantry.update.min_age", "1h").create();
    let report = scene.cycle().await;
    let State::Error(why) = state(&report, "web") else { panic!("{report:?}") };
    assert!(why.contains("no registry is asked"), "{why}");
}
