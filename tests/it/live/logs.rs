//! The log: its levels, its two forms, and what others print in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::{Service, Stage};

const LEVELS: [&str; 4] = ["ERROR", "WARN", "INFO", "DEBUG"];

/// Ends with an error, after words that would spoil a log: a line that looks like one of ours, line feeds,
/// colours, a bell, bytes that are no text.
const SPOILER: [&str; 2] = [
    "--cmd",
    "printf '{\"level\":\"INFO\",\"message\":\"all is well\"}\\n\\033[31mred\\033[0m\\007\\n\\377\\376 torn\\n'; sleep 0.2; exit 3",
];

/// A swarm in which one cycle has something to say at each level.
fn eventful(stage: &Stage) -> Vec<Service<'_>> {
    let good = stage.service("good", &stage.image("good", "1", &[]), &[]);
    let bad = stage.service("bad", &stage.image("bad", "1", &[]), &["--label", "gantry.colour=blue"]);
    stage.image("good", "2", &[]);
    stage.image("bad", "2", &SPOILER);
    vec![good, bad]
}

/// A hook that prints a line like one of ours, the title of a terminal, a separator of lines, and no text.
const HOOK: &str = "printf '{\"level\":\"INFO\",\"message\":\"a hook made this line\"}\\r\\n\\033]0;title\\007\\342\\200\\250\\377\\n'";

#[test]
fn each_level_says_what_it_is_for_in_both_forms_and_nothing_below_it() {
    let stage = Stage::new();
    // An image that no registry has is an error, a label that nobody knows a warning.
    let lost = format!("{}/{}:1", stage.lab.registry, stage.repository("lost"));
    stage.create(
        "lost",
        &lost,
        &["--no-resolve-image", "--network", "host", "--label", "gantry.colour=blue"],
    );
    let gantry = stage.gantry().set("GANTRY_NODE_NAME", "the node").set("TZ", "Asia/Kolkata");
    let gantry = gantry.set("GANTRY_PRE_RUN_CMD", HOOK);
    for (place, level) in LEVELS.iter().enumerate() {
        for format in ["text", "json"] {
            let gantry = gantry.clone().set("GANTRY_LOG_LEVEL", level).set("GANTRY_LOG_FORMAT", format);
            let output = gantry.output();
            let log = String::from_utf8(output.stderr).expect("a log is text");
            // Standard output is for what is piped.
            assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{log}");
            assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
            let seen: BTreeSet<String> = log.lines().map(|line| level_of(line, format)).collect();
            let expected: BTreeSet<String> = LEVELS[..=place].iter().map(|&level| level.to_owned()).collect();
            assert_eq!(seen, expected, "{level} as {format}:\n{log}");
        }
    }
}

/// The level of a line, whose time and node are as the test has set them.
fn level_of(line: &str, format: &str) -> String {
    let (time, level, node) = if format == "json" {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_object() && value["message"].is_string(), "{line}");
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        (text("time"), text("level"), text("node"))
    } else {
        // A node's name with white space is in quotation marks.
        let line = line.replacen("\"the node\"", "the-node", 1);
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut word = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
        (word(), word(), word().replace('-', " "))
    };
    assert!(time.ends_with("+05:30"), "{line}");
    assert_eq!(node, "the node", "{line}");
    level
}

#[test]
fn none_is_silent_whatever_goes_wrong() {
    let stage = Stage::new();
    let services = eventful(&stage);
    let before: Vec<String> = services.iter().map(Service::image).collect();
    let silent = stage.gantry().set("GANTRY_LOG_LEVEL", "NONE");
    let wrong = silent.clone().set("GANTRY_UPDATE_NUM_WORKERS", "many");
    let away = silent.clone().set("DOCKER_HOST", "unix:///nowhere.sock");
    let noisy = silent.set("GANTRY_PRE_RUN_CMD", "echo out; echo err >&2");
    for (gantry, code) in [(wrong, 2), (away, 1), (noisy, 1)] {
        let output = gantry.output();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
    }
    assert_ne!(services[0].image(), before[0], "it did what it is there for");
    assert_eq!(services[1].image(), before[1], "it was rolled back");
}

#[test]
fn what_a_task_or_a_hook_prints_is_a_message_of_ours_and_never_a_line() {
    let stage = Stage::new();
    let services = eventful(&stage);
    // The engine's error has this name in it, once quoted and once as it is.
    let program = "/none\n{\"level\":\"INFO\",\"message\":\"an error made this line\"}\r\n\u{7}\u{1b}[31m";
    let wrong = stage.service("wrong", &stage.image("wrong", "1", &[]), &[]);
    stage.image("wrong", "2", &["--entrypoint", program]);
    let run = stage.gantry().set("GANTRY_PRE_RUN_CMD", HOOK).run();
    assert_eq!((run.code, run.outcome(&services[0])), (Some(1), "updated"), "{run}");
    assert!(run.outcome(&wrong).contains("an error made this line"), "{run}");
    for forged in ["all is well", "a hook made this line", "an error made this line"] {
        assert!(run.says(&["{", forged]), "what it printed is in a message: {run}");
        assert!(run.messages().iter().all(|message| *message != forged), "{run}");
    }
    assert!(run.says(&["its last output: ", "red"]), "{run}");
    for message in run.messages() {
        assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
    }
}

#[test]
fn the_node_is_named_after_its_host_and_times_are_utc_unless_somebody_says_otherwise() {
    let stage = Stage::new();
    let run = stage.cycle();
    let connected = run.lines.iter().position(|line| line.message() == "connected").expect("it connects");
    for line in &run.lines[connected..] {
        assert_eq!(line.0["node"], "node1", "{run}");
        assert!(line.0["time"].as_str().unwrap().ends_with("+00:00"), "{run}");
    }
}
