//! What registries tell of pushes, beside the daemon over the fake swarm, in paused time.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry::context::RunScope;
use gantry::daemon::board::{LiveBoard, WokenBy};
use gantry::daemon::steering::{Steering, Wheel};
use gantry::daemon::webhook::desk::{Desk, Heard};
use gantry::daemon::webhook::hint::Hint;
use tokio::time::{Instant, sleep, sleep_until};

use super::daemon::daemon;
use super::{APP, Scene};
use crate::fake::{Call, millis, pinned, secs};

/// Another tag of the repository of [`APP`].
const SECOND: &str = "registry.test/app:2";

/// An image of another repository.
const OTHER: &str = "registry.test/other:1";

/// The goal: from a sender's event to the first update.
const GOAL: Duration = Duration::from_secs(2);

/// A registry that tells of pushes.
struct Told<'a> {
    desk: &'a Desk,
    board: &'a LiveBoard,
    wheel: &'a dyn Steering,
    begun: Instant,
}

impl Told<'_> {
    fn push(&self, repository: &str) -> Heard {
        let hints = BTreeSet::from([Hint::new("registry.test", repository).unwrap()]);
        self.desk.hear(self.board, "harbor", &hints)
    }

    async fn until(&self, at: Duration) {
        sleep_until(self.begun + at).await;
    }

    /// What started the runs with news that are over, newest first.
    fn history(&self) -> Vec<(WokenBy, Option<String>)> {
        self.board.look().history.iter().map(|run| (run.trigger, run.by.clone())).collect()
    }
}

async fn beside<T>(scene: &Scene, work: impl AsyncFnOnce(&Told<'_>) -> T) -> T {
    let daemon = daemon(scene);
    let board = daemon.board.clone();
    let wheel = Wheel {
        config: daemon.config.clone(),
        swarm: daemon.swarm.clone(),
        registry: daemon.registry.clone(),
        ledger: daemon.ledger.clone(),
        requests: daemon.requests.clone(),
        board: daemon.board.clone(),
    };
    let desk = Desk::default();
    let told = Told { desk: &desk, board: &board, wheel: &wheel, begun: Instant::now() };
    tokio::select! {
        done = work(&told) => done,
        () = desk.drive(&board, &wheel) => unreachable!("it goes on for as long as it is polled"),
        end = daemon.run(|_| {}) => panic!("the daemon ended: {end:?}"),
    }
}

/// When looks began, in milliseconds: each asks the engine about itself first. So does the search for our own service.
fn looks(scene: &Scene) -> Vec<u128> {
    let mut looks: Vec<u128> = scene.swarm.calls(Call::Engine).into_iter().map(|at| at.as_millis()).collect();
    looks.dedup();
    looks
}

/// When this image was first sent to any service.
fn first_sent(scene: &Scene, image: &str) -> Option<Duration> {
    scene.swarm.update_log().iter().find(|asked| asked.image() == image).map(|asked| asked.at)
}

#[tokio::test(start_paused = true)]
async fn a_push_is_looked_at_once_and_the_interval_stays() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 60);
    scene.service("web").replicas(1).create();
    scene.service("second").replicas(1).image(&scene.registry.release(SECOND, "old")).create();
    scene.service("other").replicas(1).image(&scene.registry.release(OTHER, "old")).create();
    let new = pinned(APP, "new");
    beside(&scene, async |told| {
        told.until(secs(10)).await;
        scene.registry.clear_log();
        scene.registry.release(APP, "new");
        for _ in 0..21 {
            let heard = told.push("app");
            assert_eq!(heard, Heard::Looks(vec![APP.to_owned(), SECOND.to_owned()]));
            sleep(millis(20)).await;
        }
        told.until(secs(50)).await;
        assert_eq!((scene.registry.lookups_of(APP), scene.registry.lookups_of(SECOND)), (1, 1));
        assert_eq!(scene.registry.lookups_of(OTHER), 0, "another repository");
        assert_eq!(told.history(), [(WokenBy::Webhook, Some("harbor".to_owned()))]);
        told.until(secs(130)).await;
    })
    .await;
    assert!(first_sent(&scene, &new).unwrap() < secs(10) + GOAL);
    assert_eq!(looks(&scene), [0, 10_900, 60_000, 120_000]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_behind_is_asked_again() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3_600);
    scene.service("web").replicas(1).create();
    beside(&scene, async |told| {
        told.until(secs(10)).await;
        told.push("app");
        told.until(secs(15)).await;
        scene.registry.release(APP, "new");
        told.until(secs(100)).await;
        assert_eq!(looks(&scene), [0, 10_500, 12_500, 20_500], "and no more once the digest has changed");

        // Pushed as it was: runs that came to nothing are not in the history.
        told.push("app");
        told.until(secs(200)).await;
        assert_eq!(looks(&scene)[4..], [100_500, 102_500, 110_500, 130_500]);
        assert_eq!(told.history().len(), 1, "{:?}", told.history());
    })
    .await;
    assert_eq!(first_sent(&scene, &pinned(APP, "new")).map(|at| at.as_secs()), Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_push_is_rolled_out_within_two_seconds_while_others_are_under_way() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3_600);
    for index in 0..10 {
        scene.service(&format!("web-{index}")).replicas(1).create();
        scene
            .service(&format!("other-{index}"))
            .replicas(1)
            .image(&scene.registry.release(OTHER, "old"))
            .create();
    }
    let slow = pinned(OTHER, "slow");
    scene.swarm.image(&slow).starts_after(secs(30));
    beside(&scene, async |told| {
        told.until(secs(10)).await;
        scene.registry.release(OTHER, "slow");
        told.push("other");
        // While the canary starts, while the rollout widens, and a second digest of the image under way.
        for (second, image, name) in [(20, APP, "one"), (60, APP, "two"), (80, OTHER, "fix")] {
            told.until(secs(second)).await;
            scene.registry.release(image, name);
            told.push(if image == APP { "app" } else { "other" });
        }
        told.until(secs(600)).await;
    })
    .await;
    for (second, image) in [(10, slow), (20, pinned(APP, "one")), (60, pinned(APP, "two"))] {
        let sent = first_sent(&scene, &image).unwrap_or_else(|| panic!("{image} was not sent"));
        assert!(sent >= secs(second) && sent <= secs(second) + GOAL, "{image}: {sent:?}");
    }
    for index in 0..10 {
        assert_eq!(scene.swarm.running_images(&format!("other-{index}")), [pinned(OTHER, "fix")]);
        assert_eq!(scene.swarm.running_images(&format!("web-{index}")), [pinned(APP, "two")]);
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_end_cost_one_look_in_a_second_and_hold_no_user_up() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 20);
    scene.service("web").replicas(1).create();
    scene.service("shop").replicas(1).create();
    beside(&scene, async |told| {
        told.until(secs(10)).await;
        scene.registry.clear_log();
        let storm = async {
            while told.begun.elapsed() < secs(35) {
                told.push("app");
                sleep(millis(10)).await;
            }
        };
        let user = async {
            sleep(secs(5)).await;
            let asked = Instant::now();
            let scope = RunScope { services: vec!["shop".to_owned()], ..RunScope::default() };
            let run = told.wheel.run("anna".to_owned(), scope).await.unwrap();
            (run, asked.elapsed())
        };
        let ((), (run, waited)) = tokio::join!(storm, user);
        assert!(run > 1 && waited < secs(2), "{waited:?}");
        let asked = scene.registry.lookups_of(APP);
        assert!((17..=30).contains(&asked), "{asked} look-ups in 25 s");
        scene.registry.clear_log();
        told.until(millis(36_900)).await;
        assert_eq!(scene.registry.lookups_of(APP), 1, "one after the last event");
        told.until(secs(41)).await;
    })
    .await;
    let looks = looks(&scene);
    assert!(looks.contains(&20_000) && looks.contains(&40_000), "the interval stays: {looks:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_no_service_uses_costs_nothing() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3_600);
    scene.service("web").replicas(1).create();
    beside(&scene, async |told| {
        told.until(secs(10)).await;
        scene.registry.clear_log();
        for repository in ["ap", "app/x", "x/app", "other"] {
            assert_eq!(told.push(repository), Heard::Unknown, "{repository}");
        }
        told.until(secs(100)).await;
        assert!(scene.registry.lookups().is_empty());
        assert_eq!(looks(&scene), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_push_during_the_first_look_is_not_lost() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 3_600);
    scene.service("web").replicas(1).create();
    scene.registry.set_latency(secs(3));
    beside(&scene, async |told| {
        // The registry has answered with the old digest, and the answer is under way.
        told.until(secs(2)).await;
        assert_eq!(told.push("app"), Heard::Looks(Vec::new()), "it is not known yet which images there are");
        told.until(secs(5)).await;
        scene.registry.release(APP, "new");
        told.until(secs(100)).await;
        assert_eq!(scene.swarm.running_images("web"), [pinned(APP, "new")]);
    })
    .await;
}
