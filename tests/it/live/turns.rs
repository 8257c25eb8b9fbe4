//! Two Gantrys on one swarm: one rolls out, the other waits.

use std::time::{Duration, Instant};

use super::support::{Gantry, Image, Line, Service, SocketProxy, Stage, wait};

const WAITS: &str = "another Gantry is rolling out; waiting for it";

/// A daemon for this stage.
fn daemon(stage: &Stage) -> Gantry {
    stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").set("GANTRY_UPDATE_NUM_WORKERS", "1")
}

/// So many services of this image.
fn some<'a>(stage: &'a Stage, number: usize, image: &Image) -> Vec<Service<'a>> {
    (0..number).map(|index| stage.service(&format!("web-{index}"), image, &[])).collect()
}

/// How many updates somebody began.
fn updates(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.message() == "updating").count()
}

#[track_caller]
fn all_run(services: &[Service<'_>], image: &Image) {
    wait("all on the new image", 60, || {
        services.iter().all(|service| service.running_images() == [image.pinned()]).then_some(())
    });
}

#[test]
fn of_two_daemons_one_rolls_out_and_the_other_waits_and_finds_the_work_done() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services = some(&stage, 3, &old);
    let new = stage.slow_image("web", "2", 6);
    let first = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let second = daemon(&stage).start();
    second.wait_for(WAITS, 60);
    first.wait_for("3 services: 3 updated", 120);
    second.wait_for("3 services: 3 up to date", 60);
    for service in &services {
        service.runs(&new, 1);
    }
    assert!(second.lines().iter().all(|line| line.message() != "updating"));
    assert_eq!(stage.lease(), None);
}

#[test]
fn a_killed_holder_is_replaced_within_a_minute() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let services = some(&stage, 3, &old);
    let new = stage.slow_image("web", "2", 6);
    let first = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let second = daemon(&stage).start();
    second.wait_for(WAITS, 60);
    first.signal("KILL");
    let (killed, held) = (Instant::now(), stage.lease());
    wait("takeover", 60, || stage.lease().filter(|lease| Some(lease) != held.as_ref()));
    assert!(killed.elapsed() < Duration::from_secs(60));
    second.wait_for("took over from a Gantry that does not answer", 10);
    second.wait_for("3 services: ", 120);
    all_run(&services, &new);
}

#[test]
fn who_is_told_to_stop_gives_its_turn_to_the_next() {
    let stage = Stage::new();
    let services = some(&stage, 3, &stage.image("web", "1", &[]));
    let new = stage.slow_image("web", "2", 6);
    let first = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let run = first.stop();
    assert!(
        run.code == Some(0) && stage.lease().is_none(),
        "it is given back before the process ends: {run}"
    );

    let second = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let third = daemon(&stage).start();
    third.wait_for(WAITS, 60);
    second.stop();
    let held = Instant::now();
    // Three seconds from look to look; a holder that does not answer would be given twenty.
    wait("the next one's turn", 15, || stage.lease());
    assert!(held.elapsed() < Duration::from_secs(15));
    third.wait_for("3 services: ", 120);
    assert!(third.lines().iter().all(|line| !line.message().contains("does not answer")));
    all_run(&services, &new);
}

#[test]
fn a_frozen_holder_that_wakes_after_it_was_replaced_begins_nothing() {
    let stage = Stage::new();
    let services = some(&stage, 4, &stage.image("web", "1", &[]));
    let new = stage.slow_image("web", "2", 6);
    let first = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let second = daemon(&stage).start();
    second.wait_for(WAITS, 60);
    first.signal("STOP");
    let begun = updates(&first.lines());
    let held = stage.lease();
    wait("takeover", 60, || stage.lease().filter(|lease| Some(lease) != held.as_ref()));
    first.signal("CONT");
    first.wait_for("another Gantry has taken over", 30);
    first.wait_for("postponed", 60);
    assert_eq!(updates(&first.lines()), begun, "it began an update when it woke");
    second.wait_for("4 services: ", 120);
    all_run(&services, &new);
    let sent = begun + updates(&second.lines());
    assert_eq!(sent, 4, "each service was sent the image once");
}

#[test]
fn where_configs_are_forbidden_it_says_so_and_goes_on_alone_and_remembers_for_itself() {
    let stage = Stage::new();
    let proxy = SocketProxy::start(&stage);
    proxy.refuse("GET /configs", 403);
    proxy.refuse("POST /configs", 403);
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    stage.image("web", "2", &["--cmd", "echo no database; sleep 0.2; exit 3"]);
    let gantry = stage.gantry().set("DOCKER_HOST", &proxy.docker_host()).set("GANTRY_SLEEP_SECONDS", "1");
    let alone = gantry.start();
    let line = alone.wait_for("configs are forbidden to Gantry (a proxy in front of the engine refuses", 30);
    assert_eq!(line.level(), "WARN");
    alone.wait_for("1 service: 1 rolled back", 60);
    alone.wait_for("is in quarantine here", 30);
    let good = stage.image("web", "3", &[]);
    alone.wait_for("1 service: 1 updated", 90);
    service.runs(&good, 1);
    let told = alone.lines().iter().filter(|line| line.message().contains("configs are forbidden")).count();
    assert_eq!((told, proxy.seen("GET /configs")), (1, 1), "it is tried, and said, once");
}

#[test]
fn where_configs_are_forbidden_nobody_is_waited_for() {
    let stage = Stage::new();
    let proxy = SocketProxy::start(&stage);
    proxy.refuse("GET /configs", 403);
    let services = some(&stage, 2, &stage.image("web", "1", &[]));
    let new = stage.slow_image("web", "2", 6);
    let first = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    let alone = daemon(&stage).set("DOCKER_HOST", &proxy.docker_host()).start();
    alone.wait_for("another Gantry is not waited for", 30);
    alone.wait_for("2 services: ", 120);
    first.wait_for("2 services: ", 120);
    for service in &services {
        service.runs(&new, 1);
    }
    assert!(alone.lines().iter().all(|line| !line.message().contains(WAITS)));
}

#[test]
fn a_ledger_that_the_engine_does_not_write_is_told_with_its_cause_and_nothing_begins_until_it_does() {
    let stage = Stage::new();
    let proxy = SocketProxy::start(&stage);
    proxy.refuse("POST /configs", 500);
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    let new = stage.image("web", "2", &[]);
    let daemon = daemon(&stage).set("DOCKER_HOST", &proxy.docker_host()).start();
    let line = daemon.wait_for("cannot write the ledger, and without it no update begins", 30);
    assert!(
        line.level() == "WARN"
            && line.0["error"].to_string().contains("the proxy says no (status 500 to POST /configs")
    );
    wait("more tries", 30, || (proxy.seen("POST /configs") >= 3).then_some(()));
    assert_eq!(service.version(), version);
    assert!(daemon.lines().iter().all(|line| !line.message().contains(WAITS)), "nobody else is there");
    proxy.let_through();
    daemon.wait_for("the ledger can be used again", 30);
    daemon.wait_for("1 service: 1 updated", 60);
    service.runs(&new, 1);
}

#[test]
fn a_ledger_that_is_lost_from_sight_during_a_rollout_stops_new_updates_until_it_is_seen_again() {
    let stage = Stage::new();
    let proxy = SocketProxy::start(&stage);
    let services = some(&stage, 3, &stage.image("web", "1", &[]));
    let new = stage.slow_image("web", "2", 6);
    let daemon = daemon(&stage).set("DOCKER_HOST", &proxy.docker_host()).start();
    wait("the lease", 30, || stage.lease());
    proxy.refuse("GET /configs", 500);
    let line = daemon.wait_for("cannot keep the ledger; no new update begins", 60);
    assert_eq!(line.level(), "WARN");
    let begun = updates(&daemon.lines());
    assert!(begun < 3, "the updates were too quick for this test");
    // What is under way is watched to its end.
    wait("end of what was begun", 60, || {
        let ended = daemon.lines().iter().filter(|line| line.message() == "updated").count();
        (ended == begun).then_some(())
    });
    assert_eq!(updates(&daemon.lines()), begun);
    proxy.let_through();
    daemon.wait_for("the ledger can be used again", 30);
    daemon.wait_for("3 services: 3 updated", 120);
    for service in &services {
        service.runs(&new, 1);
    }
}

#[test]
fn a_rollout_without_failures_writes_the_ledger_twice_and_an_idle_cycle_never() {
    let stage = Stage::new();
    let proxy = SocketProxy::start(&stage);
    some(&stage, 6, &stage.image("web", "1", &[]));
    let gantry = stage.gantry().set("DOCKER_HOST", &proxy.docker_host());
    let gantry = gantry.set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    assert_eq!(gantry.run().summary(), "6 services: 6 up to date");
    assert!(proxy.seen("POST /configs") == 0 && stage.ledger_config().is_null());
    stage.image("web", "2", &[]);
    let run = gantry.run();
    assert_eq!((run.summary(), proxy.seen("POST /configs")), ("6 services: 6 updated", 2), "{run}");
    gantry.run();
    assert_eq!(proxy.seen("POST /configs"), 2);
}

#[test]
fn configs_that_are_removed_by_hand_during_a_rollout_are_made_anew() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    stage.slow_image("web", "2", 6);
    let daemon = daemon(&stage).start();
    wait("the lease", 30, || stage.lease());
    stage.lab.docker(&["config", "rm", &stage.ledger()]);
    daemon.wait_for("the ledger was removed; made it anew", 30);
    daemon.wait_for("1 service: 1 updated", 90);
    wait("the lease given back", 30, || stage.lease().is_none().then_some(()));
    assert_eq!(service.state(), "completed");
}
