//! What must not do harm: empty values, labels in the wrong place, answers that are definite, work that is left behind.

use std::process::Command;

use gantry::config::VARIABLES;

use super::support::{Gantry, Line, Service, SocketProxy, Stage, wait};

#[test]
fn a_stack_file_with_empty_variables_means_the_defaults() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let database = stage.service("db", &old, &["--label", "gantry.services.excluded=true"]);
    let empty_labels = ["--label", "gantry.services.excluded=", "--label", "gantry.update.timeout_seconds="];
    let web = stage.service("web", &old, &empty_labels);
    let new = stage.image("web", "2", &[]);
    let mut gantry = stage.gantry();
    // As `${X:-}` makes of all variables; the stage gives those without which it would not be alone.
    let own = [
        "DOCKER_HOST",
        "HOME",
        "GANTRY_LOG_FORMAT",
        "GANTRY_LOG_LEVEL",
        "GANTRY_LEDGER_NAME",
        "GANTRY_SERVICES_FILTERS",
    ];
    for variable in VARIABLES.iter().filter(|variable| !own.contains(&variable.name)) {
        let value = if variable.name == "GANTRY_CLEANUP_IMAGES" { "false" } else { "" };
        gantry = gantry.set(variable.name, value);
    }
    let run = gantry.run();
    assert_eq!((run.code, run.summary()), (Some(0), "2 services: 1 updated, 1 left alone"), "{run}");
    assert_eq!((database.image(), web.image()), (old.pinned(), new.pinned()), "{run}");
    assert!(run.says(&["left alone: ", &database.name, ": excluded"]), "{run}");

    let run = gantry.set("GANTRY_SERVICES_EXCLUDED_FILTERS", "None").run();
    let warning = "GANTRY_SERVICES_EXCLUDED_FILTERS=none: the label gantry.services.excluded=true of 1 service has no effect";
    assert!(run.says(&[warning, &database.name]), "{run}");
    assert_eq!((run.code, database.image()), (Some(0), new.pinned()), "{run}");
}

#[test]
fn labels_on_containers_are_named_and_the_one_that_excludes_is_obeyed() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let opt_in = format!("gantry.enable={}", stage.prefix);
    let enabled = ["--label", opt_in.as_str(), "--container-label"];
    let database = stage.service("db", &old, &[&enabled[..], &["gantry.services.excluded=true"]].concat());
    let slow = stage.service("slow", &old, &[&enabled[..], &["gantry.update.timeout_seconds=600"]].concat());
    let misplaced = stage.service("misplaced", &old, &["--container-label", &opt_in]);
    let new = stage.image("web", "2", &[]);
    let gantry = stage.gantry().set("GANTRY_SERVICES_FILTERS", &format!("label={opt_in}"));
    let daemon = gantry.set("GANTRY_SLEEP_SECONDS", "1").start();
    daemon.wait_for("2 services: 1 updated, 1 left alone", 60);
    daemon.wait_for("2 services: 1 up to date, 1 left alone", 60);
    let run = daemon.stop();
    assert_eq!(
        [&database, &slow, &misplaced].map(Service::image),
        [old.pinned(), new.pinned(), old.pinned()],
        "{run}"
    );
    for (service, label) in [
        (&database, "gantry.services.excluded"),
        (&slow, "gantry.update.timeout_seconds"),
        (&misplaced, "gantry.enable"),
    ] {
        let about = run.lines.iter().filter(|line| line.level() == "WARN" && line.is_about(service));
        let said: Vec<&str> = about.map(Line::message).collect();
        assert_eq!(said.len(), 1, "once: {run}");
        assert!(
            said[0].contains(&format!("are not read: {label}")) && said[0].contains("deploy.labels"),
            "{run}"
        );
    }
}

#[test]
fn a_run_that_leaves_something_behind_ends_with_3_and_says_what() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let nowhere = ["--network", "host", "--constraint", "node.labels.nowhere==true"];
    let waiting = stage.create("waiting", &old.pinned(), &nowhere);
    wait("a task without a node", 60, || (!waiting.tasks().is_empty()).then_some(()));
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(3), "1 service: 1 unproved"), "{run}");
    assert!(run.says(&["unproved: ", &waiting.name]), "{run}");
    assert_eq!(waiting.image(), old.pinned());

    // Once another service has shown that the image works, it is sent, and waits for its node.
    let web = stage.service("web", &old, &[]);
    let run = stage.cycle();
    assert_eq!(run.code, Some(3), "{run}");
    assert_eq!(run.summary(), "2 services: 1 up to date, 1 started; 1 started without a node", "{run}");
    assert_eq!((web.image(), waiting.image()), (new.pinned(), new.pinned()));
    assert!(run.says(&["without a node: ", &waiting.name]), "{run}");
}

/// The exit code of the health check for a daemon of this stage on the first node's engine, and what it says.
fn health(stage: &Stage) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command
        .env_clear()
        .env("DOCKER_HOST", stage.lab.docker_host(1))
        .env("GANTRY_LEDGER_NAME", stage.ledger());
    let output = command.arg("healthcheck").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_manager_that_is_demoted_under_an_update_ends_the_run_and_the_daemon_is_unhealthy() {
    let stage = Stage::apart_with_managers(3);
    let old = stage.image("web", "1", &[]);
    let services: Vec<Service<'_>> = ["a", "b"]
        .into_iter()
        .map(|name| stage.service(name, &old, &["--constraint", "node.hostname==node3"]))
        .collect();
    let new = stage.slow_image("web", "2", 200);
    let run = stage.gantry().set("GANTRY_UPDATE_NUM_WORKERS", "1").start();
    services[0].wait_for(&new, 60);
    run.wait_for("updating", 10);
    stage.lab.docker_on(2, &["node", "demote", "node1"]);
    run.wait_for("the engine is no manager at the moment", 60);
    let run = run.end(100);
    assert_eq!(run.code, Some(1), "{run}");
    assert!(
        run.summary()
            .starts_with("cycle failed, 1 interrupted: this engine is not a manager of the swarm any more"),
        "{run}"
    );
    assert!(run.says(&["not begun: ", &services[1].name]), "{run}");

    let daemon = stage.gantry().set("GANTRY_SLEEP_SECONDS", "2").start();
    daemon.wait_for("node1 is a worker; run Gantry on a manager node", 30);
    let (code, said) = health(&stage);
    assert_eq!((code, said.trim()), (Some(1), "unhealthy: node1 is a worker; run Gantry on a manager node"));
    stage.lab.docker_on(2, &["node", "promote", "node1"]);
    wait("a healthy daemon", 90, || (health(&stage).0 == Some(0)).then_some(()));
}

#[test]
fn a_proxy_that_refuses_is_named_with_the_request_and_without_html() {
    let stage = Stage::new();
    stage.service("web", &stage.image("web", "1", &[]), &[]);
    let proxy = SocketProxy::start(&stage);
    for (begin, request) in
        [("GET /info", "GET /info"), ("GET /services", "GET /services"), ("GET /configs", "GET /configs")]
    {
        proxy.refuse_with_page(begin);
        let run = stage.gantry().set("DOCKER_HOST", &proxy.docker_host()).run();
        let words = format!("a proxy in front of the engine refuses {request} (403 Forbidden");
        assert!(run.lines.iter().any(|line| line.0.to_string().contains(&words)), "{run}");
        assert!(run.lines.iter().any(|line| line.0.to_string().contains("docs/socket-proxy.md")), "{run}");
        assert!(run.lines.iter().all(|line| !line.0.to_string().contains('<')), "{run}");
        proxy.let_through();
    }
    let gantry = Gantry::new().set("DOCKER_HOST", "tcp://127.0.0.1:1").set("GANTRY_LOG_FORMAT", "json");
    let run = gantry.run();
    assert!(run.summary().contains("tcp://127.0.0.1:1: Connection refused"), "{run}");
    assert!(!run.summary().contains("legacy"), "{run}");
}

#[test]
fn an_address_without_a_scheme_is_one_of_tcp() {
    let stage = Stage::new();
    let address = stage.lab.tcp_before(1);
    let run = stage.gantry().set("DOCKER_HOST", &address).run();
    assert_eq!((run.code, run.summary()), (Some(0), "no service matches"), "{run}");
}
