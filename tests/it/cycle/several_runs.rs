//! What holds for one run holds with several under way: the health check, the lease, the engine's role.

use gantry::daemon::End;
use gantry::daemon::health::MAX_AGE;
use tokio::time::{Instant, sleep, sleep_until};

use super::daemon::daemon;
use super::overlapping::{OTHER, Pushes, offers};
use super::{APP, Scene};
use crate::fake::{FakeSwarm, pinned, secs};
use crate::support::log::Log;

const WEBS: [&str; 2] = ["web-0", "web-1"];
const OTHERS: [&str; 2] = ["other-0", "other-1"];

/// Two services each of two images. Both get a new digest that takes so long to start, the second one half a minute later.
fn scene(interval: u64, seconds: u64) -> (Scene, Pushes) {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", interval).with("GANTRY_ROLLOUT_INITIAL_WORKERS", 2);
    scene.registry.release(OTHER, "old");
    for (names, tag) in [(WEBS, APP), (OTHERS, OTHER)] {
        for name in names {
            scene.service(name).replicas(1).image(&pinned(tag, "old")).create();
        }
        scene.swarm.image(&pinned(tag, "new")).starts_after(secs(seconds));
    }
    (scene, Pushes(vec![(secs(1), APP, "new"), (secs(31), OTHER, "new")]))
}

/// All have the new digest of their image, which they were sent once.
fn all_are_updated_once(scene: &Scene) {
    for (names, tag) in [(WEBS, APP), (OTHERS, OTHER)] {
        for name in names {
            assert_eq!(scene.swarm.running_images(name), [pinned(tag, "new")], "{name}");
            assert_eq!(offers(scene, name, &pinned(tag, "new")), 1, "{name}");
        }
    }
}

/// Which process holds the lease.
fn holder(swarm: &FakeSwarm) -> Option<String> {
    let labels = swarm.config("gantry")?.labels;
    let lease = labels.get("gantry.lease")?;
    lease.split_whitespace().find(|word| word.starts_with("by=")).map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn health_checks_pass_while_several_runs_are_under_way() {
    let (scene, pushes) = scene(20, 1_500);
    let (daemon, stop, swarm) = (daemon(&scene), scene.stop.clone(), scene.swarm.clone());
    let (heartbeat, pushing) = (daemon.heartbeat.clone(), pushes.begin(&scene));
    // Both hang when the registry and then the engine do not answer for a while.
    scene.swarm.be_away_after(secs(600), secs(200));
    let watch = async {
        let (begun, mut oldest) = (Instant::now(), secs(0));
        while begun.elapsed() < secs(1_400) {
            sleep(secs(5)).await;
            oldest = oldest.max(heartbeat.age(Instant::now()));
            assert_eq!(heartbeat.illness(), None, "after {:?}", begun.elapsed());
            match begun.elapsed().as_secs() {
                200 => [APP, OTHER].iter().for_each(|tag| scene.registry.hang(tag)),
                500 => [APP, OTHER].iter().for_each(|tag| scene.registry.heal(tag)),
                _ => {}
            }
        }
        let updates = swarm.update_log().len();
        stop.cancel();
        (oldest, updates)
    };
    let (end, (oldest, updates)) = tokio::join!(daemon.run(|_| {}), watch);
    assert_eq!((end, updates), (End::Good, 4), "both runs were under way");
    assert!(oldest < MAX_AGE, "{oldest:?} without a sign of life");
    pushing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_demoted_engine_ends_all_runs_and_a_promoted_one_resumes_them() {
    let log = Log::from_level("INFO");
    let (scene, pushes) = scene(10, 200);
    let (swarm, daemon) = (scene.swarm.clone(), daemon(&scene));
    let heartbeat = daemon.heartbeat.clone();
    let (stop, pushing) = (scene.stop.clone(), pushes.begin(&scene));
    let watch = async {
        sleep(secs(60)).await;
        assert_eq!(swarm.update_log().len(), 4, "both runs are under way");
        swarm.node_is_manager("node1", false);
        sleep(secs(100)).await;
        assert!(heartbeat.illness().is_some(), "it is no manager");
        swarm.node_is_manager("node1", true);
        sleep(secs(600)).await;
        assert_eq!(heartbeat.illness(), None);
        stop.cancel();
    };
    assert_eq!(tokio::join!(daemon.run(|_| {}), watch).0, End::Good);
    pushing.await.unwrap();
    all_are_updated_once(&scene);
    let ended = log.lines_with("2 interrupted");
    assert_eq!(ended.len(), 2, "each run has one report: {ended:#?}");
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_with_several_runs_it_hands_the_lease_to_the_next_gantry() {
    let (scene, pushes) = scene(10, 120);
    let next = scene.again();
    let (first, second) = (daemon(&scene), daemon(&next));
    let pushing = pushes.begin(&scene);
    let begun = Instant::now();
    let watch = async {
        // The first one has the lease by now, and the second one waits for it.
        sleep_until(begun + secs(60)).await;
        assert_eq!(scene.swarm.update_log().len(), 4, "both runs are under way");
        let before = holder(&scene.swarm).expect("the lease");
        scene.stop.cancel();
        sleep_until(begun + secs(63)).await;
        assert_ne!(holder(&scene.swarm).as_ref(), Some(&before), "given back within the time of a stop");
        sleep_until(begun + secs(90)).await;
        let after = holder(&scene.swarm).expect("the lease");
        assert_ne!(before, after, "it does not wait until the first one counts as dead");
        sleep_until(begun + secs(400)).await;
        next.stop.cancel();
    };
    let second = async {
        sleep(secs(15)).await;
        second.run(|_| {}).await
    };
    let (one, two, ()) = tokio::join!(first.run(|_| {}), second, watch);
    assert_eq!((one, two), (End::Good, End::Good));
    pushing.await.unwrap();
    all_are_updated_once(&scene);
    assert_eq!(holder(&scene.swarm), None);
}
