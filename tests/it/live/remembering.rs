//! What Gantry remembers in the swarm: broken images, a person's word, and whose turn it is.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Gantry, Run, Service, Stage, wait};

/// Ends with an exit code, a moment after it began to run.
const CRASH: [&str; 2] = ["--cmd", "echo no database; sleep 0.2; exit 3"];

/// Runs, but is not healthy for a while: an update that takes its time.
const SLOW: [&str; 8] = [
    "--health",
    "[ -e /tmp/ready ]",
    "--health-interval",
    "300ms",
    "--health-start-period",
    "1m",
    "--cmd",
    "(sleep 6; touch /tmp/ready) & trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done",
];

/// The labels of the stage's ledger, as `docker config inspect` shows them; null when there is none.
fn labels(stage: &Stage) -> Value {
    let listed = stage.lab.get_json("/configs");
    let list = listed.as_array().cloned().unwrap_or_default();
    let own = list.into_iter().find(|config| config["Spec"]["Name"] == stage.ledger().as_str());
    own.map(|config| config["Spec"]["Labels"].clone()).unwrap_or_default()
}

fn entry(stage: &Stage, service: &Service<'_>) -> String {
    labels(stage)[format!("gantry.service.{}", service.name)].as_str().unwrap_or_default().to_owned()
}

/// What a command of a person says, and its exit code.
fn said(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .env_clear()
        .env("DOCKER_HOST", stage.lab.docker_host(1))
        .env("GANTRY_LEDGER_NAME", stage.ledger());
    let output = command.args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[track_caller]
fn is_left_alone(run: &Run, service: &Service<'_>, words: &[&str]) {
    let line = format!("left alone: {}: ", service.name);
    assert!(run.says(&[&[line.as_str()], words].concat()), "{words:?}\n{run}");
    assert_eq!((run.outcome(service), run.code), ("", Some(0)), "{run}");
}

#[test]
fn a_digest_that_broke_a_service_is_left_alone_until_it_is_released_or_the_tag_moves() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let bad = stage.image("web", "2", &CRASH);
    let run = stage.cycle();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    let remembered = entry(&stage, &service);
    assert!(
        remembered.starts_with("quarantined image=")
            && remembered.contains(&bad.digest)
            && remembered.contains("(3)"),
        "{remembered}"
    );
    let version = service.version();
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here", "(3)", "gantry release"]);
    assert_eq!(service.version(), version, "nothing was sent");

    let (code, list) = said(&stage, &["quarantine"]);
    assert!(code == Some(0) && list.contains(&service.name) && list.contains("(3)"), "{list}");
    let (code, none) = said(&stage, &["release", "no-such-service"]);
    assert!(code == Some(1) && none.contains("nothing matches") && none.contains(&service.name), "{none}");
    let (code, released) = said(&stage, &["release", &service.name]);
    assert!(code == Some(0) && released.contains(&service.name), "{released}");
    let run = stage.cycle();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");

    let new = stage.image("web", "3", &[]);
    let run = stage.cycle();
    assert_eq!(run.outcome(&service), "updated", "{run}");
    service.runs(&new, 1);
    assert_eq!(entry(&stage, &service), "");
}

#[test]
fn an_image_whose_rollout_was_stopped_is_offered_to_nobody_until_it_is_released() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> =
        (0..4).map(|index| stage.service(&format!("web-{index}"), &old, &[])).collect();
    stage.image("web", "2", &CRASH);
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    let first = gantry.run();
    let touched = services.iter().filter(|service| !first.outcome(service).is_empty()).count();
    assert_eq!(touched, 2, "{first}");
    let run = gantry.run();
    assert!(services.iter().all(|service| run.outcome(service).is_empty()), "{run}");
    assert!(run.says(&["is in quarantine for all services", "gantry release"]), "{run}");
    assert_eq!(run.code, Some(0), "{run}");
    let (code, released) = said(&stage, &["release", &old.name]);
    assert_eq!(code, Some(0), "{released}");
    let run = gantry.run();
    assert!(services.iter().any(|service| run.outcome(service).starts_with("rolled back")), "{run}");
}

#[test]
fn killed_between_failure_and_rollback_it_does_not_offer_the_digest_again() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options = ["--update-failure-action", "rollback", "--update-monitor", "15s"];
    let service = stage.service("web", &old, &options);
    let bad = stage.image("web", "2", &["--cmd", "sleep 1; exit 3"]);
    let daemon = stage.gantry().start();
    service.wait_for(&bad, 30);
    daemon.signal("KILL");
    wait("Swarm's own rollback", 60, || (service.state() == "rollback_completed").then_some(()));
    assert_eq!(entry(&stage, &service), "", "nobody was there to see it");
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here", "Swarm rolled it back", "(3)"]);
    // A change of a label makes the service forget; the ledger does not.
    service.update(&["--label-add", "a=b"]);
    is_left_alone(&stage.cycle(), &service, &["is in quarantine here"]);
    assert_eq!(service.image(), old.pinned());
}

#[test]
fn a_rollback_by_hand_stands_until_the_tag_moves_on() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let names = ["command", "option", "older"];
    let [command, option, older] = names.map(|name| stage.service(name, &old, &[]));
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        assert_eq!(run.outcome(service), "updated", "{run}");
    }
    stage.lab.docker(&["service", "rollback", "--detach", "--quiet", &command.name]);
    option.update(&["--rollback"]);
    older.update(&["--image", &old.pinned()]);
    for service in [&command, &option, &older] {
        wait("the old image", 60, || (service.running_images() == [old.pinned()]).then_some(()));
    }
    let short = &new.digest["sha256:".len()..][..12];
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        is_left_alone(&run, service, &["rolled back by hand from", short]);
        // A change of a label makes the service forget; the ledger does not.
        service.update(&["--label-add", "a=b"]);
    }
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        is_left_alone(&run, service, &["rolled back by hand from", short]);
        assert_eq!(service.image(), old.pinned());
    }
    let newer = stage.image("web", "3", &[]);
    let run = stage.cycle();
    for service in [&command, &option, &older] {
        assert_eq!(run.outcome(service), "updated", "{run}");
        service.runs(&newer, 1);
    }
}

#[test]
fn a_tag_that_goes_back_is_followed_and_another_tag_by_hand_too() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (web, other) = (stage.service("web", &old, &[]), stage.service("other", &old, &[]));
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.outcome(&web), run.outcome(&other)), ("updated", "updated"), "{run}");
    let own = stage.image("own", "1", &[]);
    other.update(&["--image", &own.pinned()]);
    let own = stage.image("own", "2", &[]);
    // The publisher takes the new image back.
    let back = stage.image("web", "1", &[]);
    assert_eq!(back.digest, old.digest, "the same image again");
    let run = stage.cycle();
    assert_eq!((run.outcome(&web), run.outcome(&other)), ("updated", "updated"), "{run}");
    web.runs(&old, 1);
    other.runs(&own, 1);
}

#[test]
fn a_broken_image_is_removed_from_the_nodes() {
    let stage = Stage::cleaning();
    // The program does not run as a service here, so it cleans its engine's node alone.
    let here = ["--constraint", "node.role==manager"];
    let service = stage.service("web", &stage.image("web", "1", &[]), &here);
    let bad = stage.image("web", "2", &CRASH);
    let run = stage.gantry().set("GANTRY_CLEANUP_IMAGES", "true").run();
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    assert!(
        run.lines.iter().any(|line| line.0["image"].as_str().is_some_and(|image| image == bad.pinned())
            && line.message() == "removed image"),
        "{run}"
    );
}

/// A daemon for this stage.
fn daemon(stage: &Stage) -> Gantry {
    stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").set("GANTRY_UPDATE_NUM_WORKERS", "1")
}

fn lease(stage: &Stage) -> Option<String> {
    labels(stage)["gantry.lease"].as_str().map(str::to_owned)
}

#[test]
fn of_two_daemons_one_rolls_out_and_the_other_waits_and_finds_the_work_done() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> =
        (0..3).map(|index| stage.service(&format!("web-{index}"), &old, &[])).collect();
    let new = stage.image("web", "2", &SLOW);
    let first = daemon(&stage).start();
    wait("the lease", 30, || lease(&stage));
    let second = daemon(&stage).start();
    second.wait_for("another Gantry is rolling out; waiting for it", 60);
    first.wait_for("3 services: 3 updated", 120);
    second.wait_for("3 services: 3 up to date", 60);
    for service in &services {
        service.runs(&new, 1);
    }
    assert!(second.lines().iter().all(|line| line.message() != "updating"));
    assert_eq!(lease(&stage), None);
}

#[test]
fn a_killed_holder_is_replaced_within_a_minute_and_one_that_is_stopped_at_once() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> =
        (0..3).map(|index| stage.service(&format!("web-{index}"), &old, &[])).collect();
    stage.image("web", "2", &SLOW);
    let first = daemon(&stage).start();
    wait("the lease", 30, || lease(&stage));
    let second = daemon(&stage).start();
    second.wait_for("another Gantry is rolling out; waiting for it", 60);
    first.signal("KILL");
    let (killed, held) = (Instant::now(), lease(&stage));
    wait("takeover", 60, || lease(&stage).filter(|lease| Some(lease) != held.as_ref()));
    assert!(killed.elapsed() < Duration::from_secs(60));
    second.wait_for("took over from a Gantry that does not answer", 10);

    let third = daemon(&stage).start();
    third.wait_for("another Gantry is rolling out; waiting for it", 60);
    let run = second.stop();
    let stopped = Instant::now();
    third.wait_for("3 services: ", 120);
    assert!(run.code == Some(0) && stopped.elapsed() < Duration::from_secs(120), "{run}");
    wait("all on the new image", 120, || {
        services.iter().all(|service| service.image() != old.pinned()).then_some(())
    });
}

#[test]
fn configs_that_are_removed_by_hand_during_a_rollout_are_made_anew() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    stage.image("web", "2", &SLOW);
    let daemon = daemon(&stage).start();
    wait("the lease", 30, || lease(&stage));
    stage.lab.docker(&["config", "rm", &stage.ledger()]);
    daemon.wait_for("the ledger was removed; made it anew", 30);
    daemon.wait_for("1 service: 1 updated", 90);
    wait("the lease given back", 30, || lease(&stage).is_none().then_some(()));
    assert_eq!(service.state(), "completed");
}
