//! Windows, freezes and the schedule, by the real clock.
//!
//! Windows have minutes. So that no test waits for one, its zone is some seconds off: `TST-0:00:37` is 37 seconds ahead.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::support::{Answer, Request, Stage, free_port, wait};

/// A zone in which a full minute comes at this time, and how the clock shows that minute and the one after.
fn minute_at(time: Timestamp) -> (String, String, String) {
    let ahead = (60 - time.as_second().rem_euclid(60)) % 60;
    let zone = TimeZone::fixed(Offset::from_seconds(i32::try_from(ahead).unwrap()).unwrap());
    let wall = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%H:%M").to_string();
    (format!("TST-0:00:{ahead:02}"), wall(time), wall(time + SignedDuration::from_mins(1)))
}

fn post(port: u16, path: &str, body: &str) -> Answer {
    let headers = [("Authorization", "Bearer a-token-for-steering"), ("Content-Type", "application/json")];
    let request = Request { method: "POST", path, headers: &headers, body: body.as_bytes() };
    request.to_host(&format!("127.0.0.1:{port}")).unwrap()
}

#[test]
fn a_window_that_ends_during_a_rollout_leaves_the_rest_to_the_next() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<_> = (0..12).map(|index| stage.service(&format!("web{index:02}"), &old, &[])).collect();
    let new = stage.slow_image("web", "2", 18);
    let ends = Timestamp::from_second(Timestamp::now().as_second() + 15).unwrap();
    let (zone, end, start) = minute_at(ends);
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1")
        .set("GANTRY_UPDATE_ZONE", &zone)
        .set("GANTRY_UPDATE_WINDOWS", &format!("daily {start}-{end}"))
        .start();
    daemon.wait_for("12 services: 1 updated, 11 held", 90);
    assert!(Timestamp::now() > ends, "it was watched beyond the end of the window");
    let lines = daemon.lines();
    let began = lines.iter().filter(|line| line.message() == "updating").count();
    assert_eq!(began, 1, "nothing begins after the end");
    let held = daemon.wait_for("waiting for its window (opens ", 1);
    assert!(held.message().contains(&format!("{start} TST")) && held.level() == "INFO", "{held:?}");
    let updated = services.iter().filter(|service| service.image() == new.pinned()).count();
    assert_eq!(updated, 1);
    assert_eq!(stage.lease(), None, "the lease is free");

    daemon.forget();
    let opens = ends + SignedDuration::from_mins(1);
    daemon.wait_for("updating", 120);
    let woke = Timestamp::now();
    assert!(woke >= opens, "{woke} is before {opens}");
    assert!(woke < opens + SignedDuration::from_secs(30), "it waited on: {woke}, not {opens}");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_failed_update_goes_back_after_its_window_and_other_windows_stand_beside_it() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let monitor = ["--update-monitor", "40s"];
    let [shop, web] = ["shop", "web"].map(|name| stage.service(name, &old, &monitor));
    let (_, past, _) = minute_at(Timestamp::now() - SignedDuration::from_hours(3));
    let (_, later, _) = minute_at(Timestamp::now() - SignedDuration::from_hours(2));
    let shut = ["--label", &format!("gantry.update.windows=daily {past}-{later}")];
    let (always, odd) =
        (["--label", "gantry.update.windows=always"], ["--label", "gantry.update.windows=0 2-6 * * *"]);
    let closed = stage.service("closed", &old, &shut);
    let fine = stage.image("fine", "1", &[]);
    let open = stage.service("open", &fine, &always);
    let wrong = stage.service("wrong", &fine, &odd);
    stage.image("web", "2", &["--cmd", "sleep 28; exit 3"]);
    let fine = stage.image("fine", "2", &[]);
    let ends = Timestamp::from_second(Timestamp::now().as_second() + 25).unwrap();
    let (zone, end, start) = minute_at(ends);
    let run = stage
        .gantry()
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1")
        .set("GANTRY_UPDATE_ZONE", &zone)
        .set("GANTRY_UPDATE_WINDOWS", &format!("daily {start}-{end}"))
        .run();
    assert!(Timestamp::now() > ends);
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.outcome(&shop).contains("rolled back"), "{run}");
    assert!(run.says(&["held: ", &closed.name, "waiting for its window"]), "{run}");
    assert!(run.says(&["held: ", &web.name, "waiting for its window"]), "{run}");
    assert!(run.says(&[&wrong.name, "expected days and times such as mon-fri 22:00-06:00"]), "{run}");
    assert_eq!([shop.image(), web.image(), closed.image()], [(); 3].map(|()| old.pinned()));
    open.runs(&fine, 1);
}

#[test]
fn a_freeze_beats_every_window_and_a_user_passes_windows_only() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (_, past, _) = minute_at(Timestamp::now() - SignedDuration::from_hours(3));
    let (_, later, _) = minute_at(Timestamp::now() - SignedDuration::from_hours(2));
    let shut = ["--label", &format!("gantry.update.windows=daily {past}-{later}")];
    let thawed = ["--label", "gantry.update.freezes=none"];
    let frozen = stage.service("frozen", &old, &["--label", "gantry.update.windows=always"]);
    let free = stage.service("free", &old, &thawed);
    let zone = ["--label", "gantry.update.zone=UTC"];
    let waits = stage.service("waits", &old, &[shut, thawed, zone].concat());
    let new = stage.image("web", "2", &[]);
    let port = free_port();
    let today = Timestamp::now().in_tz("Pacific/Kiritimati").unwrap().date();
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_UPDATE_ZONE", "Pacific/Kiritimati")
        .set("GANTRY_UPDATE_FREEZES", &format!("{today}/{}", today.tomorrow().unwrap()))
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"))
        .set("GANTRY_HTTP_STEER_TOKEN", "a-token-for-steering")
        .start();
    daemon.wait_for("3 services: 1 updated, 2 held", 60);
    free.runs(&new, 1);
    daemon.wait_for("frozen until", 1);

    let run = |service: &str| {
        let body = format!("{{\"services\": [\"{service}\"], \"now\": true, \"wait\": 50}}");
        post(port, "/api/v1/run", &body).json()
    };
    assert_eq!(run(&waits.name)["failed"], false);
    waits.runs(&new, 1);
    run(&frozen.name);
    assert_eq!(frozen.image(), old.pinned());
    let read = |path: &str| {
        let headers = [("Authorization", "Bearer a-token-for-steering")];
        let request = Request { method: "GET", path, headers: &headers, body: b"" };
        request.to_host(&format!("127.0.0.1:{port}")).unwrap().good()
    };
    let service = read(&format!("/api/v1/services/{}", frozen.name)).json();
    assert_eq!(
        (&service["state"], &service["gates"].as_array().unwrap().last().unwrap()["gate"]),
        (&"held".into(), &"window".into()),
        "{service}"
    );
    assert!(
        service["until"].is_string() && service["why"].as_str().unwrap().starts_with("frozen until "),
        "{service}"
    );
    let whole = read("/api/v1/state").json();
    assert!(whole["steered"].to_string().contains("now, whatever windows and minimum ages say"), "{whole}");
    let metrics = read("/metrics").text();
    assert!(metrics.contains("gantry_services{state=\"held\",reason=\"window\"} 1"), "{metrics}");
}

#[test]
fn a_schedule_with_seconds_starts_cycles_and_jitter_delays_each_alike() {
    let stage = Stage::new();
    let web = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let new = stage.image("web", "2", &[]);
    let gantry = stage.gantry().set("GANTRY_SCHEDULE", "*/20 * * * * *").set("GANTRY_JITTER", "12s");
    let daemon = gantry.start();
    // It has no services, so that only one of them updates.
    let other = gantry.set("GANTRY_LEDGER_NAME", &stage.name("other"));
    let other = other.set("GANTRY_SERVICES_FILTERS", "label=colour=blue").start();
    daemon.wait_for("waiting for the next cycle", 30);
    assert!(!daemon.lines().iter().any(|line| line.message() == "a run begins"), "none at the start");
    daemon.wait_for("1 service: 1 updated", 90);
    web.runs(&new, 1);
    // When cycles begin, in seconds after their time.
    let delays = |of: &super::support::Daemon| -> Vec<(i64, i64)> {
        let begun = |line: &super::support::Line| -> Timestamp { line.text("time").parse().unwrap() };
        let lines = of.lines().into_iter().filter(|line| line.message() == "a run begins");
        lines.map(|line| begun(&line).as_millisecond()).map(|at| (at / 20_000, at % 20_000)).collect()
    };
    let both = wait("a cycle of the same time", 120, || {
        let (one, two) = (delays(&daemon), delays(&other));
        one.iter().rev().find_map(|(time, at)| Some((*at, two.iter().find(|(of, _)| of == time)?.1)))
    });
    assert!(both.0 <= 14_000 && (both.0 - both.1).abs() < 2_500, "one swarm, one time, one delay: {both:?}");
}
