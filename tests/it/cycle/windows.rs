//! Windows and freezes: they gate the beginning of an update and nothing else.

use gantry::context::RunScope;
use gantry::daemon::steering::{Steering as _, Wheel};
use gantry::gate::Gate;
use gantry::model::decision::Reason;
use gantry::model::outcome::Outcome;
use gantry::model::row::State;
use gantry::swarm::Swarm as _;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Unit};
use tokio::time::{Instant, sleep};

use super::daemon::daemon;
use super::{APP, Scene, count, finished, state};
use crate::fake::{millis, pinned, secs};

/// The engine's clock.
async fn now(scene: &Scene) -> Timestamp {
    scene.swarm.engine().await.unwrap().time.unwrap()
}

/// Waits until so many seconds before a full minute, and returns that minute.
async fn before_a_minute(scene: &Scene, seconds: i64) -> Timestamp {
    let now = now(scene).await;
    let minute = (now + 2.minutes()).round(Unit::Minute).unwrap();
    sleep(std::time::Duration::try_from(minute - SignedDuration::from_secs(seconds) - now).unwrap()).await;
    minute
}

/// A time as windows have it.
fn wall(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}

fn services(scene: &Scene, names: &[&str]) {
    for name in names {
        scene.service(name).replicas(1).create();
    }
}

fn held_until(state: &State) -> Option<Timestamp> {
    match state {
        State::LeftAlone(Reason::Held(held)) if held.gate() == Gate::Window => held.first.until,
        State::Held(held) => held.refusal()?.until,
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_begun_when_its_window_ends_waits_for_the_next() {
    let scene = Scene::new();
    let names: Vec<String> = (0..12).map(|index| format!("site-{index:02}")).collect();
    services(&scene, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let new = scene.registry.release(APP, "new");
    scene.swarm.image(&new).starts_after(secs(20));
    let ends = before_a_minute(&scene, 3).await;
    let scene = scene.with("GANTRY_UPDATE_WINDOWS", format!("daily 00:00-{}", wall(ends)));
    let report = scene.cycle().await;

    assert!(now(&scene).await > ends, "it was watched to its end");
    assert_eq!((count(&report, "updated"), count(&report, "held")), (1, 11), "{report:?}");
    assert!(!report.has_failed() && !report.is_incomplete(), "exit 0: {report:?}");
    assert_eq!(scene.swarm.update_log().len(), 1);
    let opens = ends.to_zoned(TimeZone::UTC).tomorrow().unwrap().start_of_day().unwrap().timestamp();
    assert_eq!(held_until(state(&report, "site-11")), Some(opens));
    let lines: Vec<String> = report.lines().into_iter().map(|(_, line)| line).collect();
    let told = lines.iter().find(|line| line.starts_with("held: ")).unwrap();
    assert!(told.contains("site-11") && told.contains(": waiting for its window (opens "), "{told}");
    assert!(!scene.swarm.config("gantry").unwrap().labels.contains_key("gantry.lease"), "the lease is free");
    // The next look finds them shut, so that no lease is taken and nothing waits.
    let writes = scene.swarm.calls(crate::fake::Call::UpdateConfig).len();
    let report = scene.cycle().await;
    assert_eq!((count(&report, "up to date"), count(&report, "held")), (1, 11), "{report:?}");
    assert_eq!(held_until(state(&report, "site-11")), Some(opens));
    assert_eq!(scene.swarm.calls(crate::fake::Call::UpdateConfig).len(), writes);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_after_its_window_is_rolled_back() {
    let scene = Scene::new();
    services(&scene, &["shop", "web"]);
    let bad = scene.registry.release(APP, "bad");
    scene.swarm.image(&bad).starts_after(secs(30)).crashes_after(millis(300), 3);
    let ends = before_a_minute(&scene, 3).await;
    let scene = scene.with("GANTRY_UPDATE_WINDOWS", format!("daily 00:00-{}", wall(ends)));
    let report = scene.cycle().await;
    assert!(matches!(finished(&report, "shop").outcome, Outcome::RolledBack { .. }), "{report:?}");
    assert_eq!(count(&report, "held"), 1, "{report:?}");
    assert!(now(&scene).await > ends);
    assert_eq!(scene.swarm.running_images("shop"), [pinned(APP, "old")]);
    assert_eq!(scene.swarm.image_of("web"), pinned(APP, "old"));
}

#[tokio::test(start_paused = true)]
async fn windows_of_services_stand_side_by_side() {
    let scene = Scene::new();
    services(&scene, &["by-variable"]);
    let label = |name: &str, label: &str, value: &str| {
        scene.service(name).replicas(1).label(label, value).create();
    };
    let in_an_hour = wall(now(&scene).await + 1.hour());
    let in_two = wall(now(&scene).await + 2.hours());
    label("always", "gantry.update.windows", "always");
    label(
        "later",
        "gantry.update.windows",
        &format!("daily {in_two}-{}", wall(now(&scene).await + 3.hours())),
    );
    label("wrong", "gantry.update.windows", "0 2-6 * * *");
    label("frozen", "gantry.update.freezes", &format!("{}/9999-01-01", now(&scene).await.strftime("%F")));
    let new = scene.registry.release(APP, "new");
    let scene = scene.with("GANTRY_UPDATE_WINDOWS", format!("daily {in_an_hour}-{in_two}"));
    let report = scene.cycle().await;
    assert_eq!(count(&report, "updated"), 1, "{report:?}");
    assert_eq!(scene.swarm.running_images("always"), [new]);
    assert!(held_until(state(&report, "by-variable")) < held_until(state(&report, "later")), "{report:?}");
    let State::LeftAlone(reason) = state(&report, "frozen") else { panic!("{report:?}") };
    assert_eq!(
        reason.to_string(),
        "frozen until 9999-01-01 (opens Sat 9999-01-02 00:00 UTC)".replace("00:00", &in_an_hour)
    );
    let State::Error(mistake) = state(&report, "wrong") else { panic!("{report:?}") };
    assert_eq!(
        mistake,
        "label gantry.update.windows=\"0 2-6 * * *\": expected days and times such as mon-fri 22:00-06:00"
    );
}

#[tokio::test(start_paused = true)]
async fn gantry_wakes_when_a_window_opens() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 7_200);
    services(&scene, &["shop", "web"]);
    scene.service("later").replicas(1).label("gantry.update.windows", "always").create();
    let new = scene.registry.release(APP, "new");
    let opens = before_a_minute(&scene, 50).await;
    let window = format!("daily {}-{}", wall(opens), wall(opens + 1.minute()));
    let scene = scene.with("GANTRY_UPDATE_WINDOWS", window);
    let (begun, swarm, stop) = (Instant::now(), scene.swarm.clone(), scene.stop.clone());
    let daemon = daemon(&scene);
    let board = daemon.board.clone();
    let watch = async {
        sleep(secs(45)).await;
        assert_eq!(swarm.update_log().len(), 1, "one of them may begin always");
        let next = board.look().next_look;
        swarm.until("both", |swarm| swarm.update_log().len() == 3).await;
        stop.cancel();
        (begun.elapsed(), next)
    };
    let (_, (took, next)) = tokio::join!(daemon.run(|_| {}), watch);
    assert!(secs(50) <= took && took < secs(75), "{took:?}");
    assert!(next.is_some(), "the page tells when Gantry looks next");
    assert_eq!(scene.swarm.image_of("web"), new);
}

#[tokio::test(start_paused = true)]
async fn a_user_passes_windows_and_no_freeze() {
    let scene = Scene::new().with("GANTRY_SLEEP_SECONDS", 7_200);
    services(&scene, &["shop", "web"]);
    scene.service("frozen").replicas(1).label("gantry.update.freezes", "2000-01-01/9999-01-01").create();
    let new = scene.registry.release(APP, "new");
    let later = wall(now(&scene).await + 3.hours());
    let ends = wall(now(&scene).await + 4.hours());
    let scene = scene.with("GANTRY_UPDATE_WINDOWS", format!("daily {later}-{ends}"));
    let daemon = daemon(&scene);
    let wheel = Wheel {
        config: daemon.config.clone(),
        swarm: daemon.swarm.clone(),
        registry: daemon.registry.clone(),
        ledger: daemon.ledger.clone(),
        requests: daemon.requests.clone(),
        board: daemon.board.clone(),
    };
    let (swarm, ledger) = (scene.swarm.clone(), daemon.ledger.clone());
    let asking = async {
        sleep(secs(10)).await;
        let of =
            |service: &str, now| RunScope { services: vec![service.to_owned()], now, ..RunScope::default() };
        for (service, at_once) in [("web", false), ("web", true), ("frozen", true)] {
            wheel.run("anna".to_owned(), of(service, at_once)).await.unwrap();
            sleep(secs(60)).await;
        }
        let images = ["web", "shop", "frozen"].map(|name| swarm.image_of(name));
        (images, ledger.book().actions.clone())
    };
    let (images, actions) = tokio::select! {
        seen = asking => seen,
        end = daemon.run(|_| {}) => panic!("{end:?}"),
    };
    let old = pinned(APP, "old");
    assert_eq!(images, [new, old.clone(), old]);
    let actions: Vec<&str> = actions.iter().map(|action| action.what.as_str()).collect();
    assert_eq!(actions[0], "asked for a run of web");
    assert_eq!(actions[1], "asked for a run of web now, whatever windows and minimum ages say");
}
