//! What people are told while a run goes on: stopped rollouts, failed rollbacks, how far it is. The sockets are real, so time
//! is hurried.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use gantry::daemon::End;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::daemon::daemon;
use super::telling::{free_address, telling, text, told};
use super::{APP, Scene};
use crate::fake::{millis, pinned, secs};
use crate::support::clock::hurried;
use crate::support::http::{Answer, Server};
use crate::support::log::Log;

/// The image of the service whose update takes long.
const SLOW: &str = "registry.test/slow:1";

/// Services of [`APP`], whose new image fails; and one service whose update goes on for so long.
pub(super) fn broken(scene: Scene, services: usize, seconds: u64) -> Scene {
    for index in 0..services {
        scene.service(&format!("web-{index}")).replicas(1).order("stop-first").create();
    }
    scene.registry.release(SLOW, "old");
    scene.service("slow").replicas(1).image(&pinned(SLOW, "old")).create();
    scene.swarm.image(&scene.registry.release(APP, "bad")).crashes_after(millis(10), 1);
    scene.swarm.image(&scene.registry.release(SLOW, "new")).starts_after(secs(seconds));
    scene
}

/// When each request came.
type Times = Arc<Mutex<Vec<Instant>>>;

/// A server that takes everything.
async fn server() -> (Server, Times) {
    let times = Times::default();
    let at = times.clone();
    let server = Server::start(move |_| {
        at.lock().unwrap().push(Instant::now());
        Answer::new(200, "")
    });
    (server.await, times)
}

fn titles(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| text(message, "title")).collect()
}

#[tokio::test]
async fn a_stopped_rollout_is_told_while_the_run_goes_on() {
    let (server, times) = server().await;
    hurried(async {
        // A single run, and a daemon whose later looks have nothing to tell.
        for seconds in [0, 20] {
            let scene = telling(&server.authority()).with("GANTRY_SLEEP_SECONDS", seconds);
            let scene = broken(scene, 6, 90);
            if seconds > 0 {
                let stop = scene.stop.clone();
                tokio::spawn(async move {
                    sleep(secs(150)).await;
                    stop.cancel();
                });
            }
            let end = daemon(&scene).run(|_| {}).await;
            assert_eq!(end, if seconds > 0 { End::Good } else { End::Failed });
            let (told, times) = (told(&server), std::mem::take(&mut *times.lock().unwrap()));
            server.take();
            let stopped = "Gantry: rollout of registry.test/app:1 stopped after 2 of 6";
            assert_eq!((titles(&told)[0], told.len()), (stopped, 2), "{told:#?}");
            let body = text(&told[0], "body");
            assert!(body.contains(", as 2 failed: a task failed on node"), "{body}");
            assert!(body.ends_with("The log and the message at the run's end tell the rest."), "{body}");
            let end = titles(&told)[1];
            assert!(end.contains("1 updated") && end.contains("app:1 stopped"), "{end}");
            assert!(times[1].duration_since(times[0]) > secs(30), "{times:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_in_the_last_seconds_is_told_at_the_end_only() {
    let (server, _) = server().await;
    hurried(async {
        let scene = broken(telling(&server.authority()), 6, 0);
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Failed);
    })
    .await;
    let told = told(&server);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(titles(&told)[0].contains("2 rolled back"), "{told:#?}");
}

#[tokio::test]
async fn failed_rollbacks_and_their_stop_are_one_message() {
    let (server, _) = server().await;
    hurried(async {
        let scene = telling(&server.authority()).with("GANTRY_ROLLOUT_INITIAL_WORKERS", 2);
        let scene = broken(scene, 4, 120);
        // The old image has been broken meanwhile, and stop-first leaves no task.
        scene.swarm.image(&pinned(APP, "old")).cannot_start("the old one is broken too");
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Failed);
    })
    .await;
    let told = told(&server);
    let both = "Gantry: 2 rollbacks failed, rollout of registry.test/app:1 stopped after 2 of 4";
    assert_eq!((titles(&told)[0], told.len()), (both, 2), "{told:#?}");
    let body = text(&told[0], "body");
    assert!(body.contains("web-0: rollback failed: a task failed on node"), "{told:#?}");
    assert!(body.contains("\nrollout of registry.test/app:1 (digest "), "{told:#?}");
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_is_told_before_the_end() {
    let address = free_address();
    let log = Log::from_level("INFO");
    let scene = broken(telling(&address), 6, 250);
    let server = hurried(async {
        let start = async {
            sleep(secs(60)).await;
            Server::start_at(&address, None, |_| Answer::new(200, "")).await
        };
        let daemon = daemon(&scene);
        tokio::join!(start, daemon.run(|_| {})).0
    })
    .await;
    let told = told(&server);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(titles(&told)[0].ends_with("stopped after 2 of 6"), "{told:#?}");
    let not_sent = log.lines_with("was not sent");
    assert!(not_sent.len() == 1 && not_sent[0].contains("it is sent again in 60 s"), "{not_sent:?}");
}

#[tokio::test]
async fn told_to_stop_it_leaves_the_message_at_once_to_the_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // The first message gets no answer.
    let server = Server::start_slow(move |_| {
        let is_first = count.fetch_add(1, SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Answer::new(200, "")
        }
    })
    .await;
    hurried(async {
        let scene = broken(telling(&server.authority()).with("GANTRY_SLEEP_SECONDS", 600), 6, 600);
        let (stop, asked) = (scene.stop.clone(), asked.clone());
        let stopping = async move {
            while asked.load(SeqCst) == 0 {
                sleep(secs(1)).await;
            }
            stop.cancel();
            Instant::now()
        };
        let daemon = daemon(&scene);
        let (end, stopped) = tokio::join!(daemon.run(|_| {}), stopping);
        assert_eq!(end, End::Good);
        assert!(stopped.elapsed() < secs(3), "{:?}", stopped.elapsed());
    })
    .await;
    let told = told(&server);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(titles(&told)[1].contains("2 rolled back"), "{told:#?}");
}

#[tokio::test]
async fn a_long_run_tells_how_far_it_is_at_most_once_per_time() {
    const EVERY: Duration = Duration::from_secs(60);
    let (server, times) = server().await;
    hurried(async {
        let scene = telling(&server.authority())
            .with("GANTRY_SLEEP_SECONDS", 10)
            .with("GANTRY_NOTIFICATION_PROGRESS", EVERY.as_secs())
            .with("GANTRY_UPDATE_NUM_WORKERS", 2);
        for index in 0..8 {
            scene.service(&format!("web-{index}")).replicas(1).create();
        }
        scene.service("other").image(&pinned(SLOW, "old")).create();
        scene.registry.release(SLOW, "old");
        scene.swarm.image(&scene.registry.release(APP, "slow")).starts_after(secs(40));
        let stop = scene.stop.clone();
        tokio::spawn(async move {
            sleep(secs(400)).await;
            stop.cancel();
        });
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    })
    .await;
    let (told, times) = (told(&server), times.lock().unwrap().clone());
    let (last, progress) = told.split_last().unwrap();
    assert_eq!(text(last, "title"), "Gantry: 8 updated", "{told:#?}");
    assert!(progress.len() >= 2, "{told:#?}");
    for message in progress {
        let title = text(message, "title");
        assert!(title.starts_with("Gantry: run 1: ") && title.contains(" of 8 updated, "), "{told:#?}");
        assert_eq!(text(message, "type"), "info");
    }
    let first = text(&progress[0], "body");
    assert!(first.starts_with("Run 1 has lasted 1 min") && first.contains(" waiting"), "{first}");
    for pair in times[..progress.len()].windows(2) {
        assert!(pair[1].duration_since(pair[0]) + secs(1) >= EVERY, "{times:?}");
    }
}

#[tokio::test]
async fn with_hooks_a_stop_and_progress_are_told_while_the_run_goes_on() {
    let (server, times) = server().await;
    hurried(async {
        let scene = telling(&server.authority())
            .with("GANTRY_POST_RUN_CMD", "true")
            .with("GANTRY_NOTIFICATION_PROGRESS", 60)
            .with("GANTRY_SLEEP_SECONDS", 20);
        let scene = broken(scene, 6, 90);
        let stop = scene.stop.clone();
        tokio::spawn(async move {
            sleep(secs(160)).await;
            stop.cancel();
        });
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    })
    .await;
    let (told, times) = (told(&server), times.lock().unwrap().clone());
    let [stopped, progress, end] = titles(&told)[..] else { panic!("{told:#?}") };
    assert_eq!(stopped, "Gantry: rollout of registry.test/app:1 stopped after 2 of 6");
    assert!(progress.starts_with("Gantry: run 1: "), "{told:#?}");
    assert!(end.contains("1 updated") && end.contains("app:1 stopped"), "{told:#?}");
    assert!(times[2].duration_since(times[0]) > secs(30), "{times:?}");
}

#[tokio::test]
async fn each_of_two_runs_under_way_tells_its_own_stop_progress_and_end() {
    const EVERY: u64 = 60;
    const THIRD: &str = "registry.test/third:1";
    let (server, times) = server().await;
    hurried(async {
        let scene = telling(&server.authority())
            .with("GANTRY_SLEEP_SECONDS", 10)
            .with("GANTRY_NOTIFICATION_PROGRESS", EVERY);
        for index in 0..6 {
            scene.service(&format!("web-{index}")).replicas(1).order("stop-first").create();
        }
        for (name, tag, wait) in [("slow", SLOW, 300), ("third", THIRD, 130)] {
            scene.registry.release(tag, "old");
            scene.service(name).replicas(1).image(&pinned(tag, "old")).create();
            scene.swarm.image(&pinned(tag, "new")).starts_after(secs(wait));
        }
        scene.swarm.image(&pinned(APP, "bad")).crashes_after(millis(10), 1);
        scene.registry.release(SLOW, "new");
        let (registry, stop) = (scene.registry.clone(), scene.stop.clone());
        tokio::spawn(async move {
            sleep(secs(35)).await;
            registry.release(APP, "bad");
            registry.release(THIRD, "new");
            sleep(secs(400)).await;
            stop.cancel();
        });
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    })
    .await;
    let (told, times) = (told(&server), times.lock().unwrap().clone());
    let titles = titles(&told);
    let is_stop = |title: &&str| *title == "Gantry: rollout of registry.test/app:1 stopped after 2 of 6";
    assert_eq!(titles.iter().filter(|title| is_stop(title)).count(), 1, "{titles:#?}");
    assert!(is_stop(&titles[0]), "before anything else: {titles:#?}");
    let ends: Vec<&str> = titles
        .iter()
        .filter(|title| title.contains("1 updated") && !title.contains(": run "))
        .copied()
        .collect();
    assert!(ends.len() == 2 && ends[0].contains("app:1 stopped"), "{titles:#?}");
    assert_eq!(ends[1], "Gantry: 1 updated", "the run that began first ends last");
    let mut numbers = std::collections::BTreeMap::<&str, Vec<Instant>>::new();
    for (title, at) in titles.iter().zip(&times) {
        if let Some((_, rest)) = title.split_once(": run ") {
            numbers.entry(rest.split_once(':').unwrap().0).or_default().push(*at);
        }
    }
    assert_eq!(numbers.len(), 2, "one for each run: {titles:#?}");
    assert!(numbers["1"].len() >= 4 && numbers.values().all(|told| told.len() >= 2), "{titles:#?}");
    for told in numbers.values().flat_map(|told| told.windows(2)) {
        assert!(told[1].duration_since(told[0]) + secs(1) >= secs(EVERY), "{times:?}");
    }
}
