//! Images that do not work: what becomes of the service, and what is said of the cause.

use super::support::{Line, Registry, Run, Service, Stage};

/// Runs, but never becomes healthy nor, for a long time, unhealthy.
const NEVER_READY: [&str; 6] =
    ["--health", "false", "--health-interval", "500ms", "--health-start-period", "10m"];

/// Checks that a service was rolled back, and that all is as it was before.
#[track_caller]
fn is_rolled_back(run: &Run, service: &Service<'_>, image: &str, by: &str, causes: &[&str]) {
    let outcome = run.outcome(service);
    assert!(outcome.starts_with(&format!("rolled back{by}: ")), "{}: {outcome:?}\n{run}", service.name);
    for cause in causes {
        assert!(outcome.contains(cause), "{}: {outcome:?} without {cause:?}\n{run}", service.name);
    }
    assert_eq!(run.code, Some(1), "{run}");
    assert_eq!(service.image(), image, "{run}");
    assert!(
        service.running_images().iter().all(|running| running == image),
        "{:?}",
        service.running_images()
    );
}

#[test]
fn a_crashing_image_is_rolled_back_whatever_the_services_own_failure_action_is() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let with = |action| stage.service(action, &old, &["--replicas", "2", "--update-failure-action", action]);
    let (pauses, goes_on, by_itself) = (with("pause"), with("continue"), with("rollback"));
    // Also what the service does not say comes back: here an order is set for the update.
    let silent = stage.create("silent", &old.name, &[]).running();
    let services = [&pauses, &goes_on, &by_itself, &silent];
    let before = services.map(Service::spec);
    stage.crashing_image("web", "2");

    let run = stage.cycle();

    let cause = ["a task failed on node", "(3)"];
    is_rolled_back(&run, &pauses, &old.pinned(), "", &cause);
    is_rolled_back(&run, &goes_on, &old.pinned(), "", &cause);
    is_rolled_back(&run, &by_itself, &old.pinned(), " by Swarm", &cause);
    is_rolled_back(&run, &silent, &old.pinned(), "", &cause);
    assert_eq!(services.map(Service::spec), before);
    for service in services {
        let is_output = |line: &&Line| {
            line.is_about(service)
                && line.level() == "ERROR"
                && line.message() == "its last output: no database"
        };
        assert!(run.lines.iter().any(|line| is_output(&line)), "no last words of {}: {run}", service.name);
    }
    assert_eq!(services.map(|service| service.running_images().len()), [2, 2, 2, 1]);
    assert_eq!(run.summary(), "4 services: 4 rolled back", "{run}");
}

#[test]
fn a_failed_update_is_kept_and_called_failed_where_rolling_back_is_switched_off() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let kept = stage.service("kept", &old, &["--label", "gantry.rollback.on_failure=false"]);
    let other = stage.service("other", &old, &[]);
    let bad = stage.crashing_image("web", "2");
    let run = stage.cycle();
    assert!(run.outcome(&kept).starts_with("failed, and kept as it is: a task failed on node"), "{run}");
    assert_eq!((run.code, kept.image()), (Some(1), bad.pinned()));
    is_rolled_back(&run, &other, &old.pinned(), "", &["(3)"]);

    // That it broke this one is remembered; here it is to be tried once more.
    let gantry = stage.gantry().set("GANTRY_QUARANTINE", "FALSE");
    let run = gantry.set("GANTRY_ROLLBACK_ON_FAILURE", "FALSE").run();
    assert!(run.outcome(&other).starts_with("failed, and kept as it is"), "{run}");
    assert_eq!((run.code, other.image()), (Some(1), bad.pinned()));
}

#[test]
fn an_image_that_never_gets_healthy_runs_out_of_time() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--label", "gantry.update.timeout_seconds=4"]);
    stage.image("web", "2", &NEVER_READY);
    // The label counts, not the variable.
    let run = stage.gantry().set("GANTRY_UPDATE_TIMEOUT_SECONDS", "900").run();
    is_rolled_back(&run, &service, &old.pinned(), "", &["timed out after 4 s while starting on node"]);
}

#[test]
fn an_unhealthy_image_is_called_unhealthy_also_when_its_program_ends_well() {
    let stage = Stage::new();
    let (old, other) = (stage.image("web", "1", &[]), stage.image("other", "1", &[]));
    let polite = stage.service("polite", &old, &[]);
    let killed = stage.service("killed", &other, &[]);
    let sick = ["--health", "false", "--health-interval", "300ms", "--health-retries", "2"];
    stage.image("web", "2", &sick);
    stage.image("other", "2", &[&sick[..], &["--cmd", "sleep 1d"]].concat());
    let run = stage.cycle();
    is_rolled_back(&run, &polite, &old.pinned(), "", &["a task ended on node", "it was unhealthy"]);
    is_rolled_back(&run, &killed, &other.pinned(), "", &["a task was unhealthy on node"]);
}

#[test]
fn a_task_that_takes_more_memory_than_it_may_have_is_said_to_be_out_of_memory() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &["--limit-memory", "8m"]);
    stage.image("web", "2", &["--cmd", "x=0123456789abcdef; while :; do x=$x$x; done"]);
    let run = stage.cycle();
    is_rolled_back(&run, &service, &old.pinned(), "", &["probably out of memory: its limit is 8 MiB"]);
}

#[test]
fn an_image_that_the_nodes_cannot_pull_is_said_to_be_so() {
    let stage = Stage::new();
    let registry = Registry::at(&stage.lab.registry);
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    // A layer that no node has, and that the registry loses after the push.
    let new = stage.image("web", "2", &["--size", "1"]);
    let repository = stage.repository("web");
    let manifest: serde_json::Value =
        serde_json::from_slice(&registry.manifest(&repository, &new.digest)).unwrap();
    registry.lose_blob(&repository, manifest["layers"][1]["digest"].as_str().unwrap());
    let run = stage.cycle();
    let causes = ["cannot get the image (No such image", "when credentials are refused"];
    is_rolled_back(&run, &service, &old.pinned(), "", &causes);
}

#[test]
fn an_update_that_no_node_can_take_tells_the_swarms_reason_and_runs_out_of_time() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let foreign = stage.service("foreign", &old, &[]);
    stage.image("web", "2", &["--platform", "linux/arm64"]);
    let foreign_image = old.pinned();

    let run = stage.gantry().set("GANTRY_UPDATE_TIMEOUT_SECONDS", "6").run();

    let cause = ["timed out after 6 s while waiting for a node", "no suitable node", "unsupported platform"];
    is_rolled_back(&run, &foreign, &foreign_image, "", &cause);
    // Long before that, and also without a time-out, it says what it waits for.
    let waits = |line: &&Line| {
        line.is_about(&foreign) && line.message() == "waiting while updating" && line.level() == "WARN"
    };
    let reason =
        run.lines.iter().find(waits).map(|line| line.0["reason"].as_str().unwrap_or_default().to_owned());
    assert!(reason.is_some_and(|reason| reason.contains("unsupported platform")), "{run}");
}

#[test]
fn a_rollback_that_fails_too_is_said_to_have_failed() {
    let stage = Stage::new();
    let flags = stage.folder.path().display().to_string();
    let cmd = "[ ! -e /flags/broken ] || exit 7; trap 'exit 0' TERM; while :; do sleep 1d & wait $!; done";
    let old = stage.image("web", "1", &["--cmd", cmd]);
    let mount = format!("type=bind,src={flags},dst=/flags,readonly");
    let service = stage.service("web", &old, &["--mount", &mount, "--update-order", "stop-first"]);
    stage.crashing_image("web", "2");
    stage.write("broken", "");
    let run = stage.cycle();
    let outcome = run.outcome(&service);
    assert!(outcome.starts_with("rollback failed: a task failed on node"), "{run}");
    assert!(
        outcome.contains("(7)")
            && outcome.contains("the update had failed because")
            && outcome.contains("(3)"),
        "{run}"
    );
    assert_eq!((run.code, service.image()), (Some(1), old.pinned()));
}
