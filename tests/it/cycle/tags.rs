//! Services that accept other tags than their own one.

use gantry::cycle::{self, Report};
use gantry::gate::Gate;
use gantry::model::decision::Reason;
use gantry::model::held_back::Why;
use gantry::model::outcome::Outcome;
use gantry::model::row::State;
use gantry::registry::RegistryError;
use serde_json::json;
use tokio::time::sleep;

use super::{Scene, count, outcome, state};
use crate::fake::{millis, pinned, secs};
use crate::support::log::Log;

const SHOP: &str = "registry.test/shop";

fn shop(tag: &str) -> String {
    format!("{SHOP}:{tag}")
}

/// A repository with tags of these names, each with a digest of the same name.
fn publish(scene: &Scene, tags: &[&str]) {
    for tag in tags {
        scene.registry.release(&shop(tag), tag);
    }
}

/// A service at this tag, and at the digest of the same name.
fn at(scene: &Scene, name: &str, tag: &str, policy: &str) -> crate::fake::ServiceBuilder {
    let service = scene.swarm.new_service(name).image(&pinned(&shop(tag), tag)).replicas(2);
    service.label("gantry.enable", "true").order("start-first").label("gantry.update.tags", policy)
}

fn has(scene: &Scene, name: &str, tag: &str) {
    assert_eq!(scene.swarm.image_of(name), pinned(&shop(tag), tag), "{name}");
}

fn held(report: &Report, name: &str) -> Option<(Gate, String)> {
    match state(report, name) {
        State::LeftAlone(Reason::Held(held)) => Some((held.gate(), held.to_string())),
        _ => None,
    }
}

fn held_back(report: &Report, name: &str) -> Option<Why> {
    match state(report, name) {
        State::LeftAlone(Reason::HeldBack(held)) => Some(held.why),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_the_newest_tag_within_its_distance() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.3-alpine", "1.2.4", "1.2.5", "1.3.0", "2.0.0", "1.2.9-rc.1", "latest"]);
    for policy in ["same", "patch", "minor", "major"] {
        at(&scene, policy, "1.2.3", policy).create();
    }
    at(&scene, "alpine", "1.2.3-alpine", "major").create();
    let log = Log::from_level("INFO");
    let report = scene.cycle().await;
    assert!(!report.has_failed(), "{report:?}");
    for (name, tag) in [
        ("same", "1.2.3"),
        ("patch", "1.2.5"),
        ("minor", "1.3.0"),
        ("major", "2.0.0"),
        ("alpine", "1.2.3-alpine"),
    ] {
        has(&scene, name, tag);
    }
    let said = log.lines_with("1.2.5 is the newest that gantry.update.tags=patch accepts");
    assert!(said.len() == 1 && said[0].contains("2.0.0 exists: the line may have ended"), "{said:?}");
    // One list for all of them, and nothing is sent again.
    assert_eq!(scene.registry.lists(), ["registry.test/shop"]);
    let sent = scene.swarm.update_log().len();
    for _ in 0..2 {
        assert_eq!(count(&scene.cycle().await, "up to date"), 5);
    }
    assert_eq!(scene.swarm.update_log().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_policy_costs_no_request_more() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.4"]);
    for name in ["a", "b"] {
        let service = scene.swarm.new_service(name).image(&pinned(&shop("1.2.3"), "1.2.3")).replicas(1);
        service.label("gantry.enable", "true").create();
    }
    scene.cycle().await;
    let alone = scene.registry.lookups().len();
    assert_eq!((scene.registry.lists().len(), alone), (0, 1));
    scene.registry.clear_log();
    // One that asks costs one list, and one look-up of the newest tag.
    at(&scene, "c", "1.2.3", "patch").create();
    scene.cycle().await;
    assert_eq!(scene.registry.lists().len(), 1);
    assert_eq!(scene.registry.lookups_of(&shop("1.2.3")), 1);
    assert_eq!(scene.registry.lookups_of(&shop("1.2.4")), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repository_is_listed_at_most_every_quarter_of_an_hour() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3"]);
    at(&scene, "web", "1.2.3", "patch").create();
    let context = scene.context();
    for _ in 0..5 {
        cycle::run(&context).await;
        sleep(secs(60)).await;
    }
    assert_eq!(scene.registry.lists().len(), 1);
    publish(&scene, &["1.2.4"]);
    cycle::run(&context).await;
    has(&scene, "web", "1.2.3");
    sleep(secs(900)).await;
    cycle::run(&context).await;
    assert_eq!(scene.registry.lists().len(), 2);
    has(&scene, "web", "1.2.4");
}

#[tokio::test(start_paused = true)]
async fn a_new_digest_of_the_own_tag_comes_after_the_highest_tag() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3"]);
    at(&scene, "web", "1.2.3", "patch").create();
    let rebuilt = scene.registry.release(&shop("1.2.3"), "rebuilt");
    scene.cycle().await;
    assert_eq!(scene.swarm.image_of("web"), rebuilt);
    publish(&scene, &["1.2.4"]);
    scene.registry.release(&shop("1.2.3"), "again");
    scene.cycle().await;
    has(&scene, "web", "1.2.4");
}

#[tokio::test(start_paused = true)]
async fn a_tag_with_the_same_digest_is_no_update() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3"]);
    scene.registry.release(&shop("1.2.4"), "1.2.3");
    at(&scene, "web", "1.2.3", "patch").create();
    assert_eq!(count(&scene.cycle().await, "up to date"), 1);
    has(&scene, "web", "1.2.3");
}

#[tokio::test(start_paused = true)]
async fn a_broken_tag_is_in_quarantine_and_the_own_tag_is_still_followed() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.4"]);
    at(&scene, "web", "1.2.3", "patch").create();
    scene.swarm.image(&pinned(&shop("1.2.4"), "1.2.4")).crashes_after(millis(300), 1);
    let report = scene.cycle().await;
    assert!(matches!(outcome(&report, "web"), Outcome::RolledBack { .. }), "{report:?}");
    has(&scene, "web", "1.2.3");
    let sent = scene.swarm.update_log().len();
    let report = scene.cycle().await;
    assert_eq!(held_back(&report, "web"), Some(Why::BrokeService), "{report:?}");
    assert_eq!(scene.swarm.update_log().len(), sent);
    let rebuilt = scene.registry.release(&shop("1.2.3"), "rebuilt");
    scene.cycle().await;
    assert_eq!(scene.swarm.image_of("web"), rebuilt);
    publish(&scene, &["1.2.5"]);
    scene.cycle().await;
    has(&scene, "web", "1.2.5");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_digest_is_in_quarantine_under_every_tag() {
    let scene = Scene::new().with("GANTRY_ROLLOUT_MAX_FAILURE_RATIO", "0");
    publish(&scene, &["1.2.3", "1.2.4"]);
    for name in ["a", "b", "c"] {
        at(&scene, name, "1.2.3", "patch").create();
    }
    scene.swarm.image(&pinned(&shop("1.2.4"), "1.2.4")).crashes_after(millis(300), 1);
    scene.cycle().await;
    // The rolling tag of the line points to the same digest.
    scene.registry.release(&shop("1.2"), "1.2.4");
    let rolling = scene.swarm.new_service("rolling").image(&pinned(&shop("1.2"), "1.2.3"));
    rolling.label("gantry.enable", "true").replicas(1).create();
    let sent = scene.swarm.update_log().len();
    let report = scene.cycle().await;
    assert_eq!(held_back(&report, "rolling"), Some(Why::RolloutStopped), "{report:?}");
    assert_eq!(scene.swarm.update_log().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_by_hand_holds_until_a_higher_tag_exists() {
    let scene = Scene::new();
    publish(&scene, &["6.10.4", "6.10.5"]);
    at(&scene, "web", "6.10.4", "patch").create();
    scene.cycle().await;
    has(&scene, "web", "6.10.5");
    let older = pinned(&shop("6.10.4"), "6.10.4");
    scene.swarm.now(move |world| {
        world.change("web", |spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(older));
    });
    for _ in 0..3 {
        sleep(secs(60)).await;
        let report = scene.cycle().await;
        assert_eq!(held_back(&report, "web"), Some(Why::LeftByHand), "{report:?}");
        has(&scene, "web", "6.10.4");
    }
    publish(&scene, &["6.10.6"]);
    scene.cycle().await;
    has(&scene, "web", "6.10.6");
}

#[tokio::test(start_paused = true)]
async fn a_stack_file_that_writes_the_old_tag_is_followed_once() {
    let scene = Scene::new();
    publish(&scene, &["6.10.3", "6.10.5"]);
    at(&scene, "web", "6.10.3", "patch").label("com.docker.stack.image", &shop("6.10.3")).create();
    scene.cycle().await;
    has(&scene, "web", "6.10.5");
    for _ in 0..2 {
        let older = pinned(&shop("6.10.3"), "6.10.3");
        scene.swarm.now(move |world| {
            world.change("web", |spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(older));
        });
        sleep(secs(60)).await;
        scene.cycle().await;
        has(&scene, "web", "6.10.5");
        let sent = scene.swarm.update_log().len();
        assert_eq!(count(&scene.cycle().await, "up to date"), 1);
        assert_eq!(scene.swarm.update_log().len(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_fits_no_policy_is_held_and_says_why() {
    let scene = Scene::new();
    publish(&scene, &["2024", "latest"]);
    at(&scene, "year", "2024", "patch").create();
    at(&scene, "latest", "latest", "minor").create();
    let report = scene.cycle().await;
    assert!(!report.has_failed(), "{report:?}");
    let words = |image: &str, why: &str| {
        Some((Gate::Tags, format!("no tag of {image} fits gantry.update.tags={why}")))
    };
    assert_eq!(held(&report, "year"), words(&shop("2024"), "patch (the tag has 1 number)"));
    assert_eq!(held(&report, "latest"), words(&shop("latest"), "minor (the tag has no number)"));
    // The tag's own digest is followed in any case.
    let rebuilt = scene.registry.release(&shop("latest"), "rebuilt");
    scene.cycle().await;
    assert_eq!(scene.swarm.image_of("latest"), rebuilt);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_an_error_of_its_services_only() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.4"]);
    at(&scene, "web", "1.2.3", "patch").create();
    scene.service("other").create();
    let good = scene.registry.release(super::APP, "good");
    let cause = "the tag list of registry.test/shop broke off at page 3: cut".to_owned();
    let error = RegistryError::Nonsense { registry: "registry.test".to_owned(), cause };
    scene.registry.fail(&shop("tags"), error);
    let report = scene.cycle().await;
    let State::Error(why) = state(&report, "web") else { panic!("{report:?}") };
    assert!(why.contains("broke off at page 3"), "{why}");
    has(&scene, "web", "1.2.3");
    assert_eq!(scene.swarm.image_of("other"), good);
    scene.registry.heal(&shop("tags"));
    scene.cycle().await;
    has(&scene, "web", "1.2.4");
}

#[tokio::test(start_paused = true)]
async fn the_newest_tag_waits_for_its_approval_and_the_own_digest_does_not_wait_for_it() {
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.4"]);
    at(&scene, "web", "1.2.3", "patch").label("gantry.update.approval", "true").create();
    let report = scene.cycle().await;
    let (gate, words) = held(&report, "web").unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!(gate, Gate::Approval);
    assert!(words.contains(&shop("1.2.4")), "{words}");
    has(&scene, "web", "1.2.3");
}

#[tokio::test(start_paused = true)]
async fn an_aged_digest_of_the_newest_tag_is_rolled_out_though_that_tag_has_moved_on() {
    let later = |scene: &Scene, hours| {
        scene.swarm.now(|world| world.clock_step += jiff::SignedDuration::from_hours(hours));
    };
    let scene = Scene::new();
    publish(&scene, &["1.2.3", "1.2.4"]);
    at(&scene, "web", "1.2.3", "patch").label("gantry.update.min_age", "10h").create();
    assert_eq!(held(&scene.cycle().await, "web").map(|(gate, _)| gate), Some(Gate::Age));
    later(&scene, 5);
    scene.registry.release(&shop("1.2.4"), "rebuilt");
    assert_eq!(held(&scene.cycle().await, "web").map(|(gate, _)| gate), Some(Gate::Age));
    later(&scene, 5);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    has(&scene, "web", "1.2.4");
    later(&scene, 5);
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.image_of("web"), pinned(&shop("1.2.4"), "rebuilt"));
}

/// In real time, as the command is a process.
#[tokio::test]
async fn the_users_command_is_asked_about_a_newest_tag_as_well() {
    let scene = Scene::new().with("GANTRY_ACCEPT_CMD", "grep -c shop:1.2.4; echo no ticket; exit 75");
    publish(&scene, &["1.2.3", "1.2.4"]);
    at(&scene, "web", "1.2.3", "patch").create();
    at(&scene, "free", "1.2.4", "patch").label("gantry.update.accept", "false").create();
    let report = scene.cycle().await;
    let (gate, words) = held(&report, "web").unwrap_or_else(|| panic!("{report:?}"));
    assert!(gate == Gate::Command && words.contains("1.2.4 yet: no ticket"), "{words}");
    has(&scene, "web", "1.2.3");
    let scene = scene.with("GANTRY_ACCEPT_CMD", "exit 9");
    let report = scene.cycle().await;
    assert!(matches!(state(&report, "web"), State::Error(why) if why.contains("exit code 9")), "{report:?}");
    assert!(matches!(state(&report, "free"), State::UpToDate), "{report:?}");
}
