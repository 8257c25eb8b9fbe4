//! The daemon: cycle after cycle, until it is told to stop. That nothing holds up a stop for long is shown without a swarm
//! (`crate::stopping`): a real engine always answers.

use std::os::unix::fs::symlink;

use super::support::Stage;

#[test]
fn it_looks_again_at_every_interval_and_stops_when_told() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let mut daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "2").start();
    daemon.wait_for("1 service: 1 up to date", 30);
    let new = stage.image("web", "2", &[]);
    daemon.wait_for("1 service: 1 updated", 60);
    service.runs(&new, 1);
    daemon.forget();
    daemon.wait_for("1 service: 1 up to date", 30);
    assert!(daemon.is_alive());
    let run = daemon.stop();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(run.summary(), "stopped", "{run}");
}

#[test]
fn a_cycle_that_fails_does_not_end_it() {
    let stage = Stage::new();
    let gantry =
        stage.gantry().set("GANTRY_SLEEP_SECONDS", "1").set("GANTRY_SERVICES_FILTERS", "colour=blue");
    let mut daemon = gantry.start();
    for _ in 0..2 {
        daemon.wait_for("cycle failed, nothing was updated", 30);
        daemon.forget();
    }
    assert!(daemon.is_alive());
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn an_engine_that_is_away_between_updates_is_found_again() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let socket = stage.folder.path().join("docker.sock");
    let reach = || symlink(stage.lab.socket(1), &socket).unwrap();
    reach();
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "1");
    let mut daemon = gantry.set("DOCKER_HOST", &format!("unix://{}", socket.display())).start();
    daemon.wait_for("1 service: 1 up to date", 30);
    std::fs::remove_file(&socket).unwrap();
    daemon.wait_for("the cycle waits for the engine", 30);
    let new = stage.image("web", "2", &[]);
    reach();
    daemon.wait_for("1 service: 1 updated", 60);
    service.runs(&new, 1);
    assert!(daemon.is_alive());
}

#[test]
fn told_to_stop_during_a_rollout_it_reports_begins_nothing_new_and_leaves_the_rest_to_the_swarm() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (first, second) = (stage.service("first", &old, &[]), stage.service("second", &old, &[]));
    let version = second.version();
    let new = stage.slow_image("web", "2", 6);
    // A daemon that was told to stop did what it was told; a single cycle has not been completed.
    for (interval, code) in [("3600", 0), ("0", 1)] {
        let gantry =
            stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").set("GANTRY_SLEEP_SECONDS", interval);
        // In between, the old image is set by hand, which would be left alone.
        let daemon = gantry.set("GANTRY_QUARANTINE", "false").start();
        first.wait_for(&new, 30);
        let run = daemon.stop();
        assert_eq!(run.code, Some(code), "{run}");
        assert!(run.outcome(&first).starts_with("interrupted: "), "{run}");
        assert!(run.says(&["2 services: 1 interrupted, 1 not begun; interrupted"]), "{run}");
        assert_eq!((run.outcome(&second), second.version()), ("", version.clone()), "{run}");
        first.settles_on(&new);
        first.update(&["--image", &old.pinned()]);
        first.settles_on(&old);
    }
}
