//! Options on services that run: updates, rollbacks, and mistakes in variables.

use serde_json::Value;

use super::super::support::{Service, Stage};

fn env(service: &Service<'_>) -> Vec<String> {
    let env = service.spec()["TaskTemplate"]["ContainerSpec"]["Env"].as_array().cloned().unwrap_or_default();
    env.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn options_reach_the_tasks_and_a_label_stands_for_the_variable() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let by_variable = stage.service("variable", &old, &["--env", "A=1"]);
    let by_label =
        stage.service("label", &old, &["--label", "gantry.update.options=--env-add 'B=two words' --force"]);
    let current = stage.image("other", "1", &[]);
    let current = stage.service("current", &current, &[]);
    let (before, new) = (current.version(), stage.image("web", "2", &[]));

    let options = "--env-add A=2 --replicas=2 --update-order stop-first -u 0";
    let run = stage.gantry().set("GANTRY_UPDATE_OPTIONS", options).run();

    assert_eq!(
        (run.code, run.outcome(&by_variable), run.outcome(&by_label)),
        (Some(0), "updated", "updated"),
        "{run}"
    );
    by_variable.runs(&new, 2);
    by_label.runs(&new, 1);
    assert_eq!((env(&by_variable), env(&by_label)), (vec!["A=2".to_owned()], vec!["B=two words".to_owned()]));
    assert_eq!(by_variable.spec()["UpdateConfig"]["Order"], "stop-first");
    assert_eq!(by_label.spec()["UpdateConfig"]["Order"], "start-first");
    assert_eq!(by_label.spec()["TaskTemplate"]["ForceUpdate"], 1);
    let is_there = |task: &Value| task["Spec"]["ContainerSpec"]["Env"][0] == "B=two words";
    assert!(by_label.tasks().iter().any(is_there), "{run}");
    assert_eq!(current.version(), before, "options make no update necessary");
}

#[test]
fn an_order_of_the_options_wins_and_ports_that_they_publish_on_the_nodes_forbid_start_first() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let with = |name: &str, options: &str| {
        let label = format!("gantry.update.options={options}");
        stage.create(name, &old.name, &["--replicas", "0", "--label", &label])
    };
    let plain = with("plain", "--update-parallelism 2");
    let ordered = with("ordered", "--update-order stop-first");
    let published = with("published", "--publish-add mode=host,target=80,published=8501 --update-delay 1s");
    stage.image("web", "2", &[]);
    let run = stage.cycle();
    let order = |service: &Service<'_>| service.spec()["UpdateConfig"]["Order"].clone();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!((order(&plain), order(&ordered)), ("start-first".into(), "stop-first".into()), "{run}");
    assert_ne!(order(&published), "start-first", "{run}");
}

#[test]
fn options_for_rollbacks_change_what_is_restored() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let options = "gantry.rollback.options=--env-add ROLLED=back --update-monitor 1s --quiet --force";
    let edited = stage.service("edited", &old, &["--label", options, "--env", "A=1"]);
    let plain =
        stage.service("plain", &old, &["--label", "gantry.rollback.options=--detach -q", "--env", "A=1"]);
    let before = plain.spec();
    stage.crashing_image("web", "2");

    let run = stage.gantry().set("GANTRY_UPDATE_OPTIONS", "--env-add UPDATED=yes").run();

    for service in [&edited, &plain] {
        assert!(run.outcome(service).starts_with("rolled back: a task failed on"), "{run}");
        assert_eq!(service.image(), old.pinned(), "{run}");
        // Where only an environment changes, the task that was there all along is one of the restored image.
        service.settles_on(&old);
    }
    assert_eq!(env(&edited), ["A=1", "ROLLED=back"], "{run}");
    assert_eq!(plain.spec(), before, "{run}");
}

#[test]
fn a_mistake_in_a_variable_is_found_at_start_and_shows_no_password() {
    let stage = Stage::new();
    let run = stage
        .gantry()
        .set("GANTRY_UPDATE_OPTIONS", "--env-add PASSWORD=swordfish --limit-memory much")
        .set("GANTRY_ROLLBACK_OPTIONS", "--env-add PASSWORD=sword fish")
        .set("GANTRY_CLEANUP_IMAGES_OPTIONS", "--env swordfish --mode global")
        .set("GANTRY_SLEEP_SECONDS", "soon")
        .run();
    assert_eq!(run.code, Some(2), "{run}");
    for words in [
        r#"GANTRY_UPDATE_OPTIONS="--limit-memory much": expected a size such as 512m"#,
        r#"GANTRY_ROLLBACK_OPTIONS="word 3": expected an option, or quotes around"#,
        r#"GANTRY_CLEANUP_IMAGES_OPTIONS="--env ***": expected NAME=VALUE"#,
        "GANTRY_SLEEP_SECONDS",
    ] {
        assert!(run.says(&[words]), "{words}\n{run}");
    }
    assert!(!run.to_string().contains("fish"), "{run}");
}

#[test]
fn a_password_in_options_is_in_no_line_of_the_log() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let good = stage.create(
        "good",
        &old.name,
        &["--replicas", "0", "--label", "gantry.update.options=--env-add PASSWORD=swordfish"],
    );
    let bad = stage.create(
        "bad",
        &old.name,
        &["--replicas", "0", "--label", "gantry.update.options=--env-add PASSWORD=swordfish --bogus"],
    );
    let new = stage.image("web", "2", &[]);
    let run = stage.cycle();
    assert_eq!((good.image(), bad.image(), run.code), (new.pinned(), old.pinned(), Some(1)), "{run}");
    assert!(run.says(&["gantry.update.options=\"--bogus\""]), "{run}");
    assert!(!run.to_string().contains("swordfish"), "{run}");
}
