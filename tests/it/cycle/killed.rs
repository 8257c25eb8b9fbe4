//! Gantry is killed, or stopped in good order, at every request in turn, and started again: nothing is lost, nothing is
//! done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry::context::Itself;
use gantry::cycle;
use gantry::cycle::Report;
use gantry::ledger::book::Book;
use gantry::model::attention::Attention;
use gantry::model::cause::Cause;
use gantry::model::outcome::{By, Outcome};
use gantry::model::row::State;
use gantry::swarm::{TaskState, UpdateState};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{APP, Scene, outcome, state};
use crate::fake::{digest, millis, pinned, secs};

pub(super) const OTHER: &str = "registry.test/other:1";

/// How long Gantry is dead: not at all, while an update is under way, until all is over.
const DEAD_FOR: [Duration; 3] = [Duration::ZERO, Duration::from_secs(4), Duration::from_secs(60)];

/// What Gantry runs as, and how it ends: that decides how soon its successor may be sure that it is dead.
#[derive(Clone, Copy, Debug)]
pub(super) enum As {
    /// The swarm tells that its task has ended: at once.
    Service,
    /// It does not answer: within a minute.
    Process,
    /// It says so, as it is not killed but told to stop.
    Stopped,
}

/// Makes Gantry's own service, or another task of it.
pub(super) async fn start_as(scene: &mut Scene, what: As) {
    let As::Service = what else { return };
    if let Some(old) = scene.itself.take() {
        scene.swarm.now(|world| world.scale("gantry", 0));
        let has_ended = |swarm: &crate::fake::FakeSwarm| {
            swarm.tasks_of("gantry").iter().all(|task| task.state > TaskState::Running)
        };
        scene.swarm.until("the end of its task", has_ended).await;
        let task = old.task.map(|(service, _)| (service, "its next task".to_owned()));
        scene.itself = Some(Itself { task, ..old });
    } else {
        let own = scene.registry.release("registry.test/gantry:1", "own");
        let id = scene.swarm.new_service("gantry").image(&own).replicas(1).create();
        let task = Some((id, scene.swarm.tasks_of("gantry")[0].id.clone()));
        let name = "gantry".to_owned();
        scene.itself = Some(Itself { name, image: None, replaced: None, task, socket: None });
    }
}

/// Runs a cycle that is killed, or stopped, at this request. `None` when it ended before that.
async fn die(scene: &mut Scene, what: As, request: usize, is_done: bool) -> Option<()> {
    if let As::Stopped = what {
        return stop(scene, request).await;
    }
    let reached = scene.swarm.dies_at(request, is_done);
    let context = scene.context();
    tokio::select! {
        _ = cycle::run(&context) => None,
        () = reached.notified() => Some(()),
    }
}

/// Runs a cycle that is told to stop when it has made so many requests. `None` when it ended before that.
async fn stop(scene: &mut Scene, request: usize) -> Option<()> {
    let reached = scene.swarm.tells_at(request);
    let context = scene.context();
    let report = tokio::select! {
        report = cycle::run(&context) => report,
        () = async {
            reached.notified().await;
            context.stop.cancel();
            std::future::pending::<()>().await;
        } => unreachable!("it waits for ever"),
    };
    scene.stop = CancellationToken::new();
    report.is_interrupted.then_some(())
}

/// Runs a cycle that is killed when its first update was sent, as a service of the swarm.
pub(super) async fn die_after_sending(scene: &mut Scene) {
    start_as(scene, As::Service).await;
    let context = scene.context();
    tokio::select! {
        report = cycle::run(&context) => panic!("it is over already: {report:?}"),
        () = scene.swarm.until("an update", |swarm| !swarm.update_log().is_empty()) => {}
    }
    start_as(scene, As::Service).await;
}

/// How often the engine took an update of this service to this image.
fn offers(scene: &Scene, service: &str, image: &str) -> usize {
    let log = scene.swarm.update_log();
    log.iter()
        .filter(|asked| asked.answer.is_ok() && !asked.is_rollback)
        .filter(|asked| asked.service == service && asked.image() == image)
        .count()
}

/// Names in the report with what was said of them: each exactly once, and as many as were counted.
pub(super) fn accounts(report: &Report) -> BTreeMap<&str, String> {
    let mut accounts = BTreeMap::new();
    for row in &report.rows {
        let words = match &row.state {
            State::UpToDate => continue,
            State::Ended(finished) => finished.outcome.to_string(),
            State::NeedsAttention(what) => what.to_string(),
            State::Error(cause) => cause.clone(),
            State::LeftAlone(reason) => reason.to_string(),
            State::Held(held) => format!("{:?}", held.why),
            State::Waits | State::Updating => panic!("{row:?} in {report:?}"),
        };
        let name = row.service.as_str();
        assert!(accounts.insert(name, words).is_none(), "{name} twice: {report:?}");
    }
    accounts
}

/// Nothing stands still without being named.
pub(super) fn nothing_is_hidden(scene: &Scene, names: &[&str], report: &Report, when: &str) {
    let accounts = accounts(report);
    for name in names {
        let service = scene.swarm.see(name).unwrap();
        let is_stuck = service.update.as_ref().is_some_and(|status| status.state.is_paused());
        let status = service.status.unwrap_or_default();
        let is_named = accounts.contains_key(name);
        assert!(is_named || !is_stuck, "{when}: {name} is paused and not named: {report:?}");
        assert!(
            is_named || status.running >= status.desired,
            "{when}: of {name}, {} of {} tasks run, and it is not named: {report:?}",
            status.running,
            status.desired
        );
    }
}

/// Kills a cycle at every request in turn, before and after it is done, and starts a new one after each of the
/// times, and once more when that one is over.
async fn at_every_request(scene: impl Fn() -> Scene, names: &[&str], check: impl Fn(&Scene, &Report, &str)) {
    let mut deaths = 0;
    // What was not done makes no difference later, nor does it how long it is dead where that takes its time to tell.
    let deaths_of = [
        (As::Service, false, &DEAD_FOR[..1]),
        (As::Service, true, &DEAD_FOR[..]),
        (As::Process, true, &DEAD_FOR[..1]),
        (As::Stopped, true, &DEAD_FOR[..]),
    ];
    for (what, is_done, dead_for) in deaths_of {
        for &dead_for in dead_for {
            for request in 1.. {
                let mut scene = scene();
                start_as(&mut scene, what).await;
                let before = scene.swarm.call_log().len();
                if die(&mut scene, what, request, is_done).await.is_none() {
                    break;
                }
                deaths += 1;
                sleep(dead_for).await;
                start_as(&mut scene, what).await;
                let report = scene.cycle().await;
                let (_, call) = scene.swarm.call_log()[before + request - 1];
                let done = if is_done { "answering" } else { "doing" };
                let when = format!(
                    "{what:?}, ended before {done} request {request} ({call:?}), dead for {dead_for:?}"
                );
                nothing_is_hidden(&scene, names, &report, &when);
                assert_eq!((&report.error, &report.postponed), (&None, &None), "{when}");
                // Where there was nothing to update, nobody needed it.
                let labels = scene.swarm.config("gantry").map(|ledger| ledger.labels).unwrap_or_default();
                let is_held = labels.contains_key("gantry.lease");
                assert!(
                    !is_held || report.finished().next().is_none(),
                    "{when}: the lease was not given back"
                );
                check(&scene, &report, &when);

                let sent = scene.swarm.update_log().len();
                let last = scene.cycle().await;
                nothing_is_hidden(&scene, names, &last, &when);
                assert_eq!(scene.swarm.update_log().len(), sent, "{when}: it goes on for ever: {last:?}");
            }
        }
    }
    assert!(deaths > 150, "only {deaths} deaths: the cycle is over too soon to prove anything");
}

/// Whether the ledger knows that this digest of [`APP`] is not for this service.
fn is_remembered(scene: &Scene, service: &str, name: &str) -> bool {
    let labels = scene.swarm.config("gantry").map(|ledger| ledger.labels).unwrap_or_default();
    let id = scene.swarm.see(service).unwrap().id;
    Book::read(&labels).service(service, &id).is_some_and(|entry| entry.digest == digest(name))
}

fn three(scene: &Scene) {
    for action in ["pause", "continue", "rollback"] {
        scene.service(action).failure_action(action).create();
    }
}

const THREE: [&str; 3] = ["pause", "continue", "rollback"];

#[tokio::test(start_paused = true)]
async fn killed_with_a_good_image_every_service_gets_it_once() {
    let scene = || {
        let scene = Scene::new();
        three(&scene);
        scene.registry.release(APP, "new");
        scene
    };
    at_every_request(scene, &THREE, |scene, report, when| {
        let new = pinned(APP, "new");
        for name in THREE {
            assert_eq!(scene.swarm.running_images(name), [new.clone(), new.clone()], "{when}: {name}");
            assert_eq!(offers(scene, name, &new), 1, "{when}: {name}");
        }
        assert!(!report.has_failed(), "{when}: {report:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn killed_with_a_broken_image_no_service_keeps_it_nor_gets_it_again() {
    let scene = || {
        let scene = Scene::new();
        three(&scene);
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(300), 3);
        scene
    };
    at_every_request(scene, &THREE, |scene, report, when| {
        let (old, bad) = (pinned(APP, "old"), pinned(APP, "bad"));
        for name in THREE {
            assert_eq!(
                scene.swarm.running_images(name),
                [old.clone(), old.clone()],
                "{when}: {name}: {report:?}"
            );
            let offers = offers(scene, name, &bad);
            assert!(offers <= 1, "{when}: {name} was offered it {offers} times: {report:?}");
            assert!(
                offers == 0 || is_remembered(scene, name, "bad"),
                "{when}: nobody remembers what it did to {name}: {report:?}"
            );
        }
        let touched = THREE.iter().map(|name| offers(scene, name, &bad)).sum::<usize>();
        assert!((1..=2).contains(&touched), "{when}: {touched} services got it: {report:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn killed_where_nothing_is_rolled_back_what_failed_is_named() {
    let scene = || {
        let scene = Scene::new().with("GANTRY_ROLLBACK_ON_FAILURE", "false");
        for action in ["pause", "continue"] {
            scene.service(action).failure_action(action).create();
        }
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(300), 3);
        scene
    };
    at_every_request(scene, &["pause", "continue"], |scene, report, when| {
        let accounts = accounts(report);
        for name in ["pause", "continue"] {
            assert_eq!(scene.swarm.image_of(name), pinned(APP, "bad"), "{when}: {name}");
            assert_eq!(offers(scene, name, &pinned(APP, "bad")), 1, "{when}: {name}");
            assert!(accounts.contains_key(name), "{when}: {name}: {report:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn killed_with_good_and_broken_images_each_service_ends_where_it_belongs() {
    let scene = || {
        let scene = Scene::new();
        scene.service("good").create();
        scene.registry.release(OTHER, "old");
        scene.service("bad").image(&pinned(OTHER, "old")).create();
        scene.registry.release(APP, "new");
        let bad = scene.registry.release(OTHER, "broken");
        scene.swarm.image(&bad).turns_unhealthy_after(secs(2));
        scene
    };
    at_every_request(scene, &["good", "bad"], |scene, report, when| {
        let new = pinned(APP, "new");
        assert_eq!(scene.swarm.running_images("good"), [new.clone(), new.clone()], "{when}");
        assert_eq!(offers(scene, "good", &new), 1, "{when}");
        let old = pinned(OTHER, "old");
        assert_eq!(scene.swarm.running_images("bad"), [old.clone(), old], "{when}: {report:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_could_not_pull_while_nobody_looked_is_nobodys_fault() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.service(name).failure_action("rollback").create();
    }
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).cannot_be_pulled();
    let scene_initial =
        scene.with("GANTRY_ROLLOUT_INITIAL_WORKERS", 3).with("GANTRY_ROLLOUT_MIN_FAILURES", 3);
    scene = scene_initial;
    die_after_sending(&mut scene).await;
    sleep(secs(120)).await;
    let report = scene.cycle().await;
    let labels = scene.swarm.config("gantry").map(|ledger| ledger.labels).unwrap_or_default();
    let quarantined: Vec<_> = Book::read(&labels)
        .entries()
        .filter(|entry| entry.verdict == gantry::ledger::entry::DigestVerdict::Quarantined)
        .cloned()
        .collect();
    assert!(quarantined.is_empty(), "{quarantined:?}: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_under_way_is_watched_and_not_sent_again() {
    let mut scene = Scene::new();
    scene.service("web").create();
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(20));
    die_after_sending(&mut scene).await;
    sleep(secs(5)).await;
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Updating));
    let report = scene.cycle().await;
    assert_eq!(outcome(&report, "web"), &Outcome::Updated);
    let finished = super::finished(&report, "web");
    assert_eq!(finished.from.digest(), Some(&digest("old")));
    assert_eq!(finished.to.digest(), Some(&digest("new")));
    assert_eq!(scene.swarm.update_log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_stands_paused_on_our_change_is_rolled_back_and_told_with_its_cause() {
    let mut scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3).logging(&["out of luck"]);
    die_after_sending(&mut scene).await;
    sleep(secs(60)).await;
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::Paused));
    let report = scene.cycle().await;
    let Outcome::RolledBack { by: By::Gantry, cause: Cause::TaskFailed { exit_code: Some(3), .. } } =
        outcome(&report, "web")
    else {
        panic!("{report:?}");
    };
    assert_eq!(super::finished(&report, "web").log, ["out of luck"]);
    assert_eq!(scene.swarm.running_images("web"), vec![pinned(APP, "old"); 2]);
}

#[tokio::test(start_paused = true)]
async fn what_stands_paused_on_somebody_elses_change_is_named_and_stays() {
    let scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    scene.swarm.now(|world| {
        world.change("web", |spec| {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = pinned(APP, "bad").into();
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = serde_json::json!(["COLOUR=blue"]);
        });
    });
    sleep(secs(60)).await;
    let report = scene.cycle().await;
    assert!(matches!(state(&report, "web"), State::NeedsAttention(Attention::Paused { .. })), "{report:?}");
    assert_eq!(report.summary(), "1 service: 1 needs attention");
    assert!(
        !report.has_failed() && scene.swarm.update_log().is_empty(),
        "it is not ours to judge: {report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollback_by_the_swarm_that_is_under_way_is_watched_to_its_end() {
    let mut scene = Scene::new();
    scene.service("web").failure_action("rollback").rollback_monitor(secs(30)).create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).crashes_after(millis(300), 3);
    die_after_sending(&mut scene).await;
    let is_going_back =
        |swarm: &crate::fake::FakeSwarm| swarm.state_of("web") == Some(UpdateState::RollbackStarted);
    scene.swarm.until("the rollback", is_going_back).await;
    // The tag moves on meanwhile: what failed is still what failed.
    scene.registry.release(APP, "fixed");
    let report = scene.cycle().await;
    let Outcome::RolledBack { by: By::Swarm, cause: Cause::TaskFailed { exit_code: Some(3), .. } } =
        outcome(&report, "web")
    else {
        panic!("{report:?}");
    };
    assert_eq!(super::finished(&report, "web").to.digest(), Some(&digest("bad")));
    assert_eq!(offers(&scene, "web", &bad), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_failed_is_named_and_the_same_image_is_not_tried_again() {
    let mut scene = Scene::new();
    scene.service("web").create();
    let bad = scene.registry.release(APP, "bad");
    for image in [&bad, &pinned(APP, "old")] {
        scene.swarm.image(image).crashes_after(millis(300), 3);
    }
    die_after_sending(&mut scene).await;
    sleep(secs(60)).await;
    scene.swarm.now(|world| world.roll_back("web"));
    sleep(secs(60)).await;
    assert_eq!(scene.swarm.state_of("web"), Some(UpdateState::RollbackPaused));
    let report = scene.cycle().await;
    assert!(
        matches!(state(&report, "web"), State::NeedsAttention(Attention::RollbackFailed { .. })),
        "{report:?}"
    );
    assert_eq!(offers(&scene, "web", &bad), 1);
    // A newer image may be what helps.
    let fixed = scene.registry.release(APP, "fixed");
    assert_eq!(outcome(&scene.cycle().await, "web"), &Outcome::Updated);
    assert_eq!(scene.swarm.running_images("web"), vec![fixed; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_service_with_the_newest_image_that_does_not_run_is_not_counted_as_up_to_date() {
    let scene = Scene::new().with("GANTRY_ROLLBACK_ON_FAILURE", "false");
    scene.service("web").failure_action("continue").create();
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).cannot_be_pulled();
    scene.cycle().await;
    let report = scene.cycle().await;
    let State::NeedsAttention(what) = state(&report, "web") else { panic!("{report:?}") };
    let words = what.to_string();
    assert!(
        words.starts_with("it has the newest image, but ") && words.ends_with("of 2 tasks run"),
        "{words}"
    );
    assert!(!report.has_failed(), "it may still get better");
}
