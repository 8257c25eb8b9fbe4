//! What it is told at the start, and what it says: wrong settings, wrong places, forms of the log.

use super::support::Stage;

#[test]
fn wrong_variables_are_told_together_and_nothing_is_touched() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    stage.image("web", "2", &[]);
    let gantry =
        stage.gantry().set("GANTRY_UPDATE_TIMEOUT_SECONDS", "-1").set("GANTRY_CLEANUP_IMAGES", "maybe");
    let run = gantry.run();
    assert_eq!((run.code, run.lines.len()), (Some(2), 1), "{run}");
    assert!(run.says(&["GANTRY_UPDATE_TIMEOUT_SECONDS=\"-1\"", "GANTRY_CLEANUP_IMAGES=\"maybe\""]), "{run}");
    assert_eq!(service.version(), version);
    assert!(stage.requests("web").is_empty());
}

#[test]
fn a_wrong_label_is_an_error_of_its_service_alone() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let wrong = stage.service("wrong", &old, &["--label", "gantry.update.timeout_seconds=soon"]);
    let right = stage.service("right", &old, &[]);
    let version = wrong.version();
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.says(&["error: ", &wrong.name, "gantry.update.timeout_seconds", "soon"]), "{run}");
    assert_eq!((wrong.version(), run.outcome(&right)), (version, "updated"), "{run}");
    right.runs(&new, 1);
}

#[test]
fn a_filter_that_the_engine_refuses_is_told_in_its_words_and_nothing_is_updated() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    stage.image("web", "2", &[]);
    let filters = format!("label=stage={} colour=blue", stage.prefix);
    for (variable, words) in [
        ("GANTRY_SERVICES_FILTERS", "GANTRY_SERVICES_FILTERS=\"label=stage="),
        ("GANTRY_SERVICES_EXCLUDED_FILTERS", "GANTRY_SERVICES_EXCLUDED_FILTERS"),
    ] {
        let run = stage.gantry().set(variable, &filters).run();
        assert_eq!((run.code, service.version()), (Some(1), version.clone()), "{run}");
        assert!(run.summary().starts_with("cycle failed, nothing was updated: "), "{run}");
        assert!(run.says(&[words, "the engine refuses: ", "colour"]), "{run}");
    }
}

#[test]
fn on_a_worker_it_says_that_it_needs_a_manager() {
    let stage = Stage::new();
    let worker = stage.lab.nodes;
    let run = stage.gantry().set("DOCKER_HOST", &stage.lab.docker_host(worker)).run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.says(&[&format!("node{worker} is a worker; run Gantry on a manager node")]), "{run}");
}

#[test]
fn without_an_engine_it_says_so_and_fails() {
    let stage = Stage::new();
    let run = stage.gantry().set("DOCKER_HOST", "unix:///nowhere/docker.sock").run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.summary().starts_with("cycle failed, nothing was updated: cannot ask the engine"), "{run}");
}

#[test]
fn the_log_names_the_node_and_can_be_read_by_people() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    // What every line of JSON must have is checked wherever the program runs.
    let run = stage.cycle();
    assert!(run.lines.iter().any(|line| line.0["node"] == "node1"), "{run}");

    stage.image("web", "2", &[]);
    let text = stage.gantry().set("GANTRY_LOG_FORMAT", "text").set("GANTRY_LOG_LEVEL", "INFO");
    let run = text.set("TZ", "Asia/Tokyo").set("GANTRY_NODE_NAME", "harbour").run();
    assert_eq!(run.code, Some(0), "{run}");
    let updated = format!("+09:00 INFO  harbour updated service={}", service.name);
    assert!(run.says(&[&updated]), "{run}");
    assert!(run.summary().contains("1 service: 1 updated"), "{run}");

    let run = stage.gantry().set("GANTRY_LOG_LEVEL", "NONE").run();
    assert_eq!((run.code, run.lines.len()), (Some(0), 0), "{run}");
}
