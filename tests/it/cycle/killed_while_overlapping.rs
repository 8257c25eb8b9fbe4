//! Gantry is killed, or told to stop, at every request in turn while two runs are under way, and another one is started.

use gantry::daemon::board::{Board, ServiceState};
use gantry::swarm::UpdateState;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::daemon::daemon;
use super::overlapping::{OTHER, Pushes, offers};
use super::{APP, Scene};
use crate::fake::{FakeSwarm, millis, pinned, secs};

/// How many updates run at once.
const WORKERS: usize = 3;

/// From one look to the next.
const INTERVAL: u64 = 5;

/// When the last update has ended, if nothing ends before.
const ALL_DONE: Duration = Duration::from_secs(60);

/// How long after the last push a look has seen it.
const SEEN: Duration = Duration::from_secs(2 * INTERVAL);

/// When everything must have ended: another Gantry waits a minute before it takes over.
const LATEST: Duration = Duration::from_secs(300);

/// How the first Gantry ends at a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// It is killed, and the request does not arrive.
    KilledBefore,
    /// It is killed, and the request is done.
    KilledAfter,
    /// It is told to stop.
    Told,
}

/// A daemon's scene, with a slow image for four services, and two services of another image.
fn scene() -> Scene {
    let scene =
        Scene::new().with("GANTRY_SLEEP_SECONDS", INTERVAL).with("GANTRY_UPDATE_NUM_WORKERS", WORKERS);
    for name in WEBS {
        scene.service(name).replicas(1).monitor(secs(1)).create();
    }
    scene.registry.release(OTHER, "old");
    for name in OTHERS {
        scene.service(name).replicas(1).monitor(secs(1)).image(&pinned(OTHER, "old")).create();
    }
    scene.swarm.image(&pinned(APP, "slow")).starts_after(secs(6));
    scene
}

const WEBS: [&str; 4] = ["web-0", "web-1", "web-2", "web-3"];
const OTHERS: [&str; 2] = ["other-0", "other-1"];

/// Whether any of these is being updated, or stands where its update has failed.
fn are_at_work(swarm: &FakeSwarm, names: &[&str]) -> bool {
    names.iter().any(|name| {
        let state = swarm.state_of(name);
        state.is_some_and(|state| {
            state.is_paused() || matches!(state, UpdateState::Updating | UpdateState::RollbackStarted)
        })
    })
}

/// Waits until nothing is under way and the lease is free, for longer than a look is away.
async fn comes_to_rest(swarm: &FakeSwarm, begun: Instant, last_push: Duration, when: &str) {
    sleep_until(begun + last_push + SEEN).await;
    let mut quiet = 0;
    while quiet < 4 {
        let labels = swarm.config("gantry").map(|ledger| ledger.labels).unwrap_or_default();
        let is_at_rest = !labels.contains_key("gantry.lease")
            && !are_at_work(swarm, &WEBS)
            && !are_at_work(swarm, &OTHERS);
        quiet = if is_at_rest { quiet + 1 } else { 0 };
        assert!(begun.elapsed() < LATEST, "{when}: it does not come to rest: {labels:?}");
        sleep(secs(INTERVAL) / 2).await;
    }
}

/// Runs a daemon until it ends at this request. Returns whether both runs were at work then, or `None` where all was done.
async fn first(scene: &mut Scene, ends: Ends, request: usize) -> Option<bool> {
    let begun = Instant::now();
    let reached = match ends {
        Ends::Told => scene.swarm.tells_at(request),
        Ends::KilledBefore | Ends::KilledAfter => scene.swarm.dies_at(request, ends == Ends::KilledAfter),
    };
    let daemon = daemon(scene);
    let mut running = std::pin::pin!(daemon.run(|_| {}));
    tokio::select! {
        end = &mut running => panic!("{end:?}"),
        () = reached.notified() => {}
    }
    let is_over = begun.elapsed() > ALL_DONE;
    let is_overlap = are_at_work(&scene.swarm, &WEBS) && are_at_work(&scene.swarm, &OTHERS);
    if ends == Ends::Told {
        let told = Instant::now();
        scene.stop.cancel();
        running.await;
        assert!(told.elapsed() <= secs(3), "request {request}: it took {:?} to stop", told.elapsed());
        scene.stop = CancellationToken::new();
    }
    (!is_over).then_some(is_overlap)
}

/// Ends Gantry at every request in turn, starts another one, and looks at what has come of it.
async fn at_every_request(scene: impl Fn() -> Scene, pushes: &Pushes, check: impl Fn(&Scene, &Board, &str)) {
    let (mut ends_in_all, mut overlaps) = (0, 0);
    for ends in [Ends::KilledBefore, Ends::KilledAfter, Ends::Told] {
        for request in 1.. {
            let (mut scene, begun) = (scene(), Instant::now());
            let pushing = pushes.begin(&scene);
            let before = scene.swarm.call_log().len();
            let Some(is_overlap) = first(&mut scene, ends, request).await else { break };
            ends_in_all += 1;
            overlaps += usize::from(is_overlap);
            let (at, call) = scene.swarm.call_log()[before + request - 1];
            let when = format!("{ends:?} at request {request} ({call:?}) after {at:?}");

            sleep(secs(1)).await;
            let (daemon, stop) = (daemon(&scene), scene.stop.clone());
            let board = daemon.board.clone();
            let last_push = pushes.0.last().unwrap().0;
            let stopping = async {
                comes_to_rest(&scene.swarm, begun, last_push, &when).await;
                stop.cancel();
            };
            tokio::join!(daemon.run(|_| {}), stopping);
            pushing.await.unwrap();

            // What the first one has left goes on beside what the second one begins.
            let most = scene.swarm.most_updating();
            assert!(most <= 2 * WORKERS, "{when}: {most} at once");
            check(&scene, &board.look(), &when);
        }
    }
    println!("{ends_in_all} ends, {overlaps} of them while both runs were at work");
    assert!(ends_in_all > 200 && overlaps > 40, "{ends_in_all} ends, {overlaps} while both were at work");
}

/// The services have this image, and were sent it once.
fn all_have_got(scene: &Scene, services: &[&str], image: &str, when: &str) {
    for service in services {
        has_got(scene, service, image, when);
    }
}

/// The service has this image, and was sent it once.
fn has_got(scene: &Scene, service: &str, image: &str, when: &str) {
    assert_eq!(scene.swarm.running_images(service), [image], "{when}: {service}");
    assert_eq!(offers(scene, service, image), 1, "{when}: {service}");
}

#[tokio::test(start_paused = true)]
async fn killed_with_two_images_under_way_every_service_gets_its_own_once() {
    let pushes = Pushes(vec![(secs(1), APP, "slow"), (secs(8), OTHER, "new")]);
    let slow_too = || {
        let scene = scene();
        scene.swarm.image(&pinned(OTHER, "new")).starts_after(secs(6));
        scene
    };
    at_every_request(slow_too, &pushes, |scene, _, when| {
        all_have_got(scene, &WEBS, &pinned(APP, "slow"), when);
        all_have_got(scene, &OTHERS, &pinned(OTHER, "new"), when);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn killed_while_a_fix_overtakes_no_service_gets_either_digest_twice() {
    let pushes = Pushes(vec![(secs(1), APP, "slow"), (secs(8), OTHER, "new"), (secs(14), APP, "fix")]);
    let slow_too = || {
        let scene = scene();
        scene.swarm.image(&pinned(OTHER, "new")).starts_after(secs(6));
        scene
    };
    at_every_request(slow_too, &pushes, |scene, _, when| {
        for web in WEBS {
            has_got(scene, web, &pinned(APP, "fix"), when);
            assert!(offers(scene, web, &pinned(APP, "slow")) <= 1, "{when}: {web}");
        }
        all_have_got(scene, &OTHERS, &pinned(OTHER, "new"), when);
        pushes.check(&scene.swarm, 2 * WORKERS);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn killed_beside_a_broken_image_no_service_keeps_it_and_each_is_named() {
    let pushes = Pushes(vec![(secs(1), APP, "slow"), (secs(8), OTHER, "bad")]);
    let broken = || {
        let scene = scene();
        scene.swarm.image(&pinned(OTHER, "bad")).starts_after(secs(2)).crashes_after(millis(300), 3);
        scene
    };
    at_every_request(broken, &pushes, |scene, board, when| {
        all_have_got(scene, &WEBS, &pinned(APP, "slow"), when);
        for other in OTHERS {
            assert_eq!(scene.swarm.running_images(other), [pinned(OTHER, "old")], "{when}: {other}");
            assert!(offers(scene, other, &pinned(OTHER, "bad")) <= 1, "{when}: {other}");
            let state = board.services[other].state;
            assert_eq!(state, ServiceState::Quarantined, "{when}: {other}");
        }
    })
    .await;
}
