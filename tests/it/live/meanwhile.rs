//! Somebody else changes a service while it is updated: their change stands.

use super::support::{Daemon, Gantry, Image, Service, Stage, wait};

/// Starts a cycle and waits until the swarm is at work on the image that it sends.
fn begin(gantry: &Gantry, service: &Service<'_>, new: &Image) -> Daemon {
    let daemon = gantry.start();
    service.wait_for(new, 30);
    wait("state of the update", 10, || (service.state() == "updating").then_some(()));
    daemon
}

#[test]
fn an_image_that_somebody_else_sets_meanwhile_stays() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let theirs = stage.image("theirs", "1", &[]);
    let daemon = begin(&stage.gantry(), &service, &stage.slow_image("web", "2", 5));
    service.update(&["--image", &theirs.name]);
    let run = daemon.end(60);
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(
        run.outcome(&service),
        format!("superseded: a user or another program changed it to {}", theirs.pinned()),
        "{run}"
    );
    wait("their image", 30, || (service.running_images() == [theirs.pinned()]).then_some(()));
    assert_eq!(service.image(), theirs.pinned());
}

#[test]
fn a_rollback_that_somebody_else_asks_for_meanwhile_is_not_called_ours() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let daemon = begin(&stage.gantry(), &service, &stage.slow_image("web", "2", 5));
    service.update(&["--rollback"]);
    let run = daemon.end(60);
    assert_eq!(run.outcome(&service), "superseded: a user or another program rolled it back", "{run}");
    assert_eq!((run.code, service.image()), (Some(0), old.pinned()));
}

#[test]
fn what_somebody_else_changes_meanwhile_survives_the_update() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let new = stage.slow_image("web", "2", 5);
    let daemon = begin(&stage.gantry(), &service, &new);
    service.update(&["--label-add", "who=me", "--replicas", "2"]);
    let run = daemon.end(90);
    assert_eq!(run.outcome(&service), "updated", "{run}");
    assert_eq!((service.spec()["Labels"]["who"].as_str(), run.code), (Some("me"), Some(0)));
    service.runs(&new, 2);
}

#[test]
fn what_somebody_else_changes_meanwhile_survives_the_rollback() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let slow_crash = ["--health", "false", "--health-start-period", "1m", "--cmd", "sleep 5; exit 3"];
    let daemon = begin(&stage.gantry(), &service, &stage.image("web", "2", &slow_crash));
    service.update(&["--label-add", "who=me", "--replicas", "2"]);
    let run = daemon.end(90);
    assert!(run.outcome(&service).starts_with("rolled back: "), "{run}");
    assert_eq!((service.spec()["Labels"]["who"].as_str(), run.code), (Some("me"), Some(1)));
    service.runs(&old, 2);
}

#[test]
fn a_service_that_is_removed_meanwhile_is_no_failure() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (gone, stays) = (stage.service("gone", &old, &[]), stage.service("stays", &old, &[]));
    let new = stage.slow_image("web", "2", 5);
    let daemon = begin(&stage.gantry(), &gone, &new);
    gone.remove();
    let run = daemon.end(90);
    assert_eq!((run.outcome(&gone), run.outcome(&stays)), ("removed meanwhile", "updated"), "{run}");
    assert_eq!(run.code, Some(0), "{run}");
    stays.runs(&new, 1);
}
