//! A person works on the same services as Gantry, or an image shows later than its update what it is worth.

use super::support::{Image, Service, Stage, wait};

/// A program that fails where it is told to by its environment, or by a file.
const FAILS_WHEN_TOLD: &str = "[ -z \"$BROKEN\" ] || exit 5; [ ! -e /flags/broken ] || exit 7; \
                               trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done";

fn obedient(stage: &Stage, version: &str) -> Image {
    stage.image("web", version, &["--cmd", FAILS_WHEN_TOLD])
}

#[track_caller]
fn comes_to(service: &Service<'_>, state: &str) {
    wait(&format!("{} to be {state}", service.name), 60, || (service.state() == state).then_some(()));
}

#[test]
fn a_persons_failed_change_is_left_alone_when_a_good_image_comes() {
    let stage = Stage::new();
    let old = obedient(&stage, "1");
    let service = stage.service("web", &old, &["--replicas", "3", "--update-failure-action", "pause"]);
    let old_tasks = service.running_tasks();
    service.update(&["--env-add", "BROKEN=1"]);
    comes_to(&service, "paused");
    let before = service.spec();
    let left = |service: &Service<'_>| {
        service.running_tasks().into_iter().filter(|task| old_tasks.contains(task)).count()
    };
    assert!(left(&service) > 0);
    let new = obedient(&stage, "2");
    for _ in 0..2 {
        let run = stage.cycle();
        assert!(run.says(&["needs attention", &service.name, "has failed and is paused"]), "{run}");
        assert_eq!((run.code, service.spec(), service.state().as_str()), (Some(0), before.clone(), "paused"));
        assert!(left(&service) > 0, "{run}");
    }
    service.update(&["--env-rm", "BROKEN"]);
    comes_to(&service, "completed");
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 3);
}

#[test]
fn a_persons_update_under_way_is_not_overrun() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--replicas", "2", "--update-delay", "15s"]);
    service.update(&["--env-add", "COLOUR=blue"]);
    comes_to(&service, "updating");
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert!(run.says(&["postponed", &service.name, "under way"]), "{run}");
    assert_eq!(service.image(), old.pinned(), "{run}");
    comes_to(&service, "completed");
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 2);
}

#[test]
fn a_canary_that_a_person_rolls_back_holds_its_rollout() {
    let stage = Stage::new();
    let (old, other) = (stage.image("web", "1", &[]), stage.image("shop", "1", &[]));
    for (name, image, way) in [("web", &old, &["rollback"][..]), ("shop", &other, &["update", "--image"])] {
        let services: Vec<Service<'_>> =
            (0..3).map(|index| stage.service(&format!("{name}-{index}"), image, &[])).collect();
        let slow = stage.slow_image(name, "2", 8);
        let daemon = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1").start();
        services[0].wait_for(&slow, 60);
        if way == ["rollback"] {
            services[0].roll_back();
        } else {
            services[0].update(&["--image", &image.pinned()]);
        }
        let run = daemon.end(120);
        let outcome = run.outcome(&services[0]);
        assert!(outcome.starts_with("superseded: a user or another program "), "{run}");
        let line = run.lines.iter().find(|line| line.is_about(&services[0]) && line.message() == outcome);
        assert_eq!(line.unwrap().level(), "WARN", "{run}");
        for service in &services {
            assert_eq!(service.image(), image.pinned(), "{run}");
        }
        assert!(run.summary().contains("1 superseded") && run.summary().contains("2 held back"), "{run}");
        // The next look begins with another service, and leaves the person's alone.
        let run = stage.gantry().run();
        assert_eq!(run.outcome(&services[0]), "", "{run}");
        assert_eq!((services[1].image(), services[2].image()), (slow.pinned(), slow.pinned()), "{run}");
    }
}

#[test]
fn an_image_that_dies_after_twelve_seconds_stays_nowhere() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> = (0..8)
        .map(|index| stage.service(&format!("web-{index}"), &old, &["--update-monitor", "5s"]))
        .collect();
    let bad = stage.image("web", "2", &["--cmd", "sleep 12; exit 3"]);
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    let run = gantry.run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(!run.summary().contains("updated"), "{run}");
    for service in &services {
        assert_eq!(service.running_images(), [old.pinned()], "{}: {run}", service.name);
    }
    assert!(run.says(&["failed after it was called updated"]), "{run}");
    let ledger = stage.lab.docker(&["config", "inspect", &stage.ledger()]);
    assert!(ledger.contains(&bad.digest) && ledger.contains("quarantined"), "{ledger}");
    let run = gantry.run();
    assert_eq!((run.code, run.summary()), (Some(0), "8 services: 8 left alone"), "{run}");
}

#[test]
fn an_image_that_dies_later_needs_attention_and_fails_the_cycle() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    stage.image("web", "2", &["--cmd", "sleep 12; exit 3"]);
    let run = stage.cycle();
    assert_eq!((run.outcome(&service), run.code), ("updated", Some(0)), "{run}");
    wait("a task that died", 60, || {
        service.tasks().iter().any(|task| task["Status"]["State"] == "failed").then_some(())
    });
    // Whether a task happens to run makes no difference.
    for seconds in [0, 3, 5] {
        std::thread::sleep(std::time::Duration::from_secs(seconds));
        let run = stage.cycle();
        assert!(run.says(&["needs attention", &service.name, "its tasks fail", "(3)"]), "{run}");
        assert_eq!(run.code, Some(1), "{run}");
    }
}

#[test]
fn a_long_delay_between_tasks_makes_no_cycle_an_update() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--update-delay", "10m"]);
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    assert_eq!(service.state(), "updating", "the delay lasts on");
    let run = stage.cycle();
    assert_eq!((run.summary(), run.outcome(&service)), ("1 service: 1 up to date", ""), "{run}");
}

#[test]
fn a_paused_rollback_counts_by_what_runs_and_is_released_like_any_other() {
    let stage = Stage::new();
    let flags = stage.folder.path().display().to_string();
    let old = obedient(&stage, "1");
    let mount = format!("type=bind,src={flags},dst=/flags,readonly");
    let options = ["--mount", &mount, "--update-order", "stop-first", "--update-failure-action", "rollback"];
    // Swarm forgets a task that has failed as soon as the next one has, and then pauses nothing.
    let options = [&options[..], &["--restart-delay", "10s", "--rollback-monitor", "20s"]].concat();
    let service = stage.service("web", &old, &options);
    stage.write("broken", "");
    stage.crashing_image("web", "2");
    let run = stage.gantry().set("GANTRY_UPDATE_TIMEOUT_SECONDS", "30").run();
    assert_eq!(run.code, Some(1), "{run}");
    // Two parts of Swarm see the failure. Where the one that starts tasks again is faster, there is an old task when the
    // rollback begins, and Swarm calls that completed though the task fails.
    let ending = wait("the end of the rollback", 60, || {
        ["rollback_paused", "rollback_completed"].into_iter().find(|ending| service.state() == *ending)
    });
    // What the old image lacked is there again.
    std::fs::remove_file(stage.folder.path().join("broken")).unwrap();
    let running = service.clone().running();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let run = stage.cycle();
    assert_eq!((run.code, running.state().as_str()), (Some(0), ending), "{run}");
    assert!(!run.says(&["needs attention"]) && run.says(&["left alone", "is in quarantine here"]), "{run}");
    let said = stage.say(&["release", &service.name]);
    assert!(said.code == Some(0) && said.text.contains("offered again by the next cycle"), "{}", said.text);
    let run = stage.cycle();
    assert!(!run.outcome(&service).is_empty(), "the next cycle keeps that promise: {run}");
}
