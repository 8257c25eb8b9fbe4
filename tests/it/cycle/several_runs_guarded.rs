//! The cluster guard and the limit of starting tasks count all runs that are under way together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry::daemon::End;
use tokio::time::{Instant, sleep, sleep_until};

use super::daemon::daemon;
use super::guarding::most_starting;
use super::overlapping::{OTHER, Pushes, offers};
use super::{APP, Scene};
use crate::fake::{millis, pinned, secs};

/// A third image.
const THIRD: &str = "registry.test/third:1";

const EACH: usize = 10;

const TAGS: [(&str, &str); 3] = [("web", APP), ("other", OTHER), ("third", THIRD)];

/// Ten services each of three images, none of which needs the third node, and a daemon's settings.
fn scene() -> Scene {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 10);
    for (name, tag) in TAGS {
        scene.registry.release(tag, "old");
        for index in 0..EACH {
            let service = scene.service(&format!("{name}-{index:02}")).image(&pinned(tag, "old")).replicas(1);
            service.constraint("node.hostname!=node3").create();
        }
    }
    scene
}

fn names() -> impl Iterator<Item = (String, &'static str)> {
    TAGS.into_iter().flat_map(|(name, tag)| (0..EACH).map(move |index| (format!("{name}-{index:02}"), tag)))
}

/// When each image was sent to services, without rollbacks.
fn sent(scene: &Scene, tag: &str) -> Vec<Duration> {
    let log = scene.swarm.update_log();
    let sent = log.iter().filter(|asked| !asked.is_rollback && asked.image() == pinned(tag, "new"));
    sent.map(|asked| asked.at).collect()
}

/// Runs the daemon for so long, with something beside it.
async fn run(scene: &Scene, pushes: &Pushes, until: Duration, beside: impl Future<Output = ()>) {
    let (begun, pushing, stop) = (Instant::now(), pushes.begin(scene), scene.stop.clone());
    let daemon = daemon(scene);
    tokio::spawn(async move {
        sleep_until(begun + until).await;
        stop.cancel();
    });
    let end = tokio::select! {
        end = daemon.run(|_| {}) => end,
        () = beside => unreachable!("it goes on as long as the daemon"),
    };
    assert_eq!(end, End::Good);
    pushing.await.unwrap();
    for (name, tag) in names() {
        let new = pinned(tag, "new");
        assert_eq!(scene.swarm.running_images(&name), std::slice::from_ref(&new), "{name}");
        assert_eq!(offers(scene, &name, &new), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_pauses_all_runs_and_those_that_come_meanwhile() {
    let scene = scene().with("GANTRY_UPDATE_NUM_WORKERS", 2);
    for (_, tag) in TAGS {
        scene.swarm.image(&pinned(tag, "new")).starts_after(secs(5));
    }
    scene.swarm.later(secs(40), |world| world.set_ready("node3", false));
    scene.swarm.later(secs(120), |world| world.set_ready("node3", true));
    let pushes = Pushes(vec![(secs(1), APP, "new"), (secs(11), OTHER, "new"), (secs(61), THIRD, "new")]);
    run(&scene, &pushes, secs(900), std::future::pending()).await;

    let within = |tag: &str, from: u64, until: u64| {
        sent(&scene, tag).iter().filter(|at| (secs(from)..secs(until)).contains(*at)).count()
    };
    for tag in [APP, OTHER] {
        assert!(within(tag, 0, 40) > 0 && within(tag, 120, 900) > 0, "{tag}: {:?}", sent(&scene, tag));
    }
    for (_, tag) in TAGS {
        assert_eq!(within(tag, 43, 120), 0, "{tag}: {:?}", sent(&scene, tag));
    }
    // The third run's look came while the guard was shut. Its first update is not behind all others.
    let last = sent(&scene, APP).into_iter().chain(sent(&scene, OTHER)).max().unwrap();
    assert!(sent(&scene, THIRD)[0] < last, "{:?} and {last:?}", sent(&scene, THIRD));
}

#[tokio::test(start_paused = true)]
async fn all_runs_together_keep_the_limit_of_starting_tasks() {
    for (limit, most) in [(0, 10), (2, 2), (1, 1)] {
        let scene = scene()
            .with("GANTRY_ROLLOUT_INITIAL_WORKERS", 50)
            .with("GANTRY_UPDATE_MAX_STARTING_PER_NODE", limit);
        sleep(secs(5)).await;
        for (_, tag) in TAGS {
            scene.swarm.image(&pinned(tag, "new")).starts_after(secs(14));
        }
        let pushes = Pushes(vec![(secs(1), APP, "new"), (secs(11), OTHER, "new"), (secs(21), THIRD, "new")]);
        let seen = AtomicUsize::new(0);
        let watch = async {
            loop {
                seen.fetch_max(most_starting(&scene, names().map(|(name, _)| name)), Ordering::Relaxed);
                sleep(millis(20)).await;
            }
        };
        run(&scene, &pushes, secs(600), watch).await;
        let seen = seen.into_inner();
        assert!(if limit == 0 { seen >= most } else { seen == most }, "limit {limit}: {seen} on one node");
        if limit > 0 {
            // The runs were under way at the same time.
            let [first, second, third] = TAGS.map(|(_, tag)| sent(&scene, tag));
            assert!(
                second[0] < *first.last().unwrap() && third[0] < *second.last().unwrap(),
                "limit {limit}"
            );
        }
    }
}
