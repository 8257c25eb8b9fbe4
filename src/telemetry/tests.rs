use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use tracing::subscriber::with_default;

use super::*;
use crate::config::{Config, Mistakes};

/// What was written to the log.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<String>>);

impl Captured {
    fn output(&self) -> Output {
        let captured = Arc::clone(&self.0);
        let write = move |line: &str| captured.lock().unwrap_or_else(PoisonError::into_inner).push_str(line);
        Output { write: Box::new(write), now: || Timestamp::from_second(1_795_429_200).unwrap() }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn settings(environment: &[(&str, &str)]) -> LogSettings {
    Config::load(environment.iter().map(|(name, value)| (name.into(), value.into()))).unwrap().config.log
}

fn mistakes(environment: &[(&str, &str)]) -> Mistakes {
    Config::load(environment.iter().map(|(name, value)| (name.into(), value.into()))).unwrap_err()
}

/// What is logged with these variables.
fn logged(environment: &[(&str, &str)], log: impl FnOnce(&NodeName)) -> String {
    let captured = Captured::default();
    let (subscriber, node) = subscriber(&settings(environment), captured.output());
    with_default(subscriber, || log(&node));
    captured.text()
}

fn a_cycle(node: &NodeName) {
    tracing::info!(version = "0.1.0", "started");
    node.set("manager-1");
    node.set("nobody");
    tracing::debug!(cycle = 7, "listed");
    tracing::warn!(service = "web 1", reason = "no such image", ratio = 0.5, retry = true, "not updated");
    tracing::info!(cycle = 8, node = "n2", empty = "", path = r"a\b", "took {} s", 3);
    let cause = std::io::Error::other("connection refused");
    let error = anyhow::Error::new(cause).context("the engine cannot be reached");
    let error: &(dyn std::error::Error + 'static) = error.as_ref();
    tracing::error!(error, infinite = f64::INFINITY, "cycle failed");
}

const HOSTILE: &str = "task: \u{1b}[31mred\u{1b}[0m\r\n2026-11-23T11:20:00+00:00 INFO  - forged \"x\" a=b\t\\\u{0}\u{9b}\u{85}\u{2028}\u{202e}\u{fffd}";

#[test]
fn text_lines_are_for_people() {
    insta::assert_snapshot!(logged(&[("TZ", "Europe/Berlin")], a_cycle), @r##"
    2026-11-23T11:20:00+01:00 INFO  - started version=0.1.0
    2026-11-23T11:20:00+01:00 WARN  manager-1 not updated service="web 1" reason="no such image" ratio=0.5 retry=true
    2026-11-23T11:20:00+01:00 INFO  manager-1 took 3 s cycle=8 node=n2 empty="" path="a\\b"
    2026-11-23T11:20:00+01:00 ERROR manager-1 cycle failed error="the engine cannot be reached: connection refused" infinite=inf
    "##);
}

#[test]
fn json_lines_are_for_machines() {
    let environment =
        [("GANTRY_LOG_FORMAT", "json"), ("GANTRY_LOG_LEVEL", "debug"), ("GANTRY_NODE_NAME", "m")];
    insta::assert_snapshot!(logged(&environment, a_cycle), @r##"
    {"time":"2026-11-23T10:20:00+00:00","level":"INFO","node":"m","message":"started","version":"0.1.0"}
    {"time":"2026-11-23T10:20:00+00:00","level":"DEBUG","node":"m","message":"listed","cycle":7}
    {"time":"2026-11-23T10:20:00+00:00","level":"WARN","node":"m","message":"not updated","service":"web 1","reason":"no such image","ratio":0.5,"retry":true}
    {"time":"2026-11-23T10:20:00+00:00","level":"INFO","node":"m","message":"took 3 s","cycle":8,"field_node":"n2","empty":"","path":"a\\b"}
    {"time":"2026-11-23T10:20:00+00:00","level":"ERROR","node":"m","message":"cycle failed","error":"the engine cannot be reached: connection refused","infinite":"inf"}
    "##);
}

#[test]
fn nothing_that_is_logged_can_forge_a_line() {
    let log = |_: &NodeName| tracing::error!(cause = HOSTILE, "failed: {HOSTILE}");
    insta::assert_snapshot!(logged(&[], log), @r##"2026-11-23T10:20:00+00:00 ERROR - "failed: task: \u{1b}[31mred\u{1b}[0m\r\n2026-11-23T11:20:00+00:00 INFO  - forged \"x\" a=b\t\\\u{0}\u{9b}\u{85}\u{2028}\u{202e}�" cause="task: \u{1b}[31mred\u{1b}[0m\r\n2026-11-23T11:20:00+00:00 INFO  - forged \"x\" a=b\t\\\u{0}\u{9b}\u{85}\u{2028}\u{202e}�""##);
    let json = logged(&[("GANTRY_LOG_FORMAT", "json")], log);
    insta::assert_snapshot!(json, @r##"{"time":"2026-11-23T10:20:00+00:00","level":"ERROR","message":"failed: task: \u001b[31mred\u001b[0m\r\n2026-11-23T11:20:00+00:00 INFO  - forged \"x\" a=b\t\\\u0000\u009b\u0085\u2028\u202e�","cause":"task: \u001b[31mred\u001b[0m\r\n2026-11-23T11:20:00+00:00 INFO  - forged \"x\" a=b\t\\\u0000\u009b\u0085\u2028\u202e�"}"##);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["cause"], HOSTILE);
    assert_eq!(value["message"], format!("failed: {HOSTILE}"));
}

#[test]
fn level_none_is_silent_even_about_errors_and_mistakes() {
    assert_eq!(logged(&[("GANTRY_LOG_LEVEL", "NONE")], a_cycle), "");
    let captured = Captured::default();
    log_mistakes(&mistakes(&[("GANTRY_LOG_LEVEL", "NONE"), ("DOCKER_HOST", "ssh://x")]), captured.output());
    assert_eq!(captured.text(), "");
}

#[test]
fn a_panic_is_an_error_in_the_log_and_nothing_elsewhere() {
    let panics = |_: &NodeName| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let caught = std::panic::catch_unwind(|| panic!("number {}\nof two", 1));
        std::panic::set_hook(before);
        assert!(caught.is_err());
    };
    let line = logged(&[("GANTRY_LOG_FORMAT", "json")], panics);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["message"], "a fault of Gantry itself: number 1\nof two");
    assert_eq!(event["level"], "ERROR");
    assert!(event["location"].as_str().unwrap().contains("telemetry/tests.rs"), "{line}");
    assert_eq!(logged(&[("GANTRY_LOG_LEVEL", "NONE")], panics), "");
}

#[test]
fn each_level_adds_to_the_one_before() {
    let log = |_: &NodeName| {
        tracing::error!("E");
        tracing::warn!("W");
        tracing::info!("I");
        tracing::debug!("D");
        tracing::trace!("T");
    };
    for (level, expected) in [("NONE", 0), ("ERROR", 1), ("WARN", 2), ("INFO", 3), ("DEBUG", 4)] {
        assert_eq!(logged(&[("GANTRY_LOG_LEVEL", level)], log).lines().count(), expected, "{level}");
    }
}

#[test]
fn libraries_are_held_back_whatever_the_level() {
    let log = |_: &NodeName| {
        tracing::debug!(target: "bollard::docker", "a body with a secret");
        tracing::info!(target: "bollard::docker", "bollard");
        tracing::info!(target: "hyper::client", "chatter");
        tracing::warn!(target: "hyper::client", "hyper");
    };
    let lines = logged(&[("GANTRY_LOG_LEVEL", "DEBUG"), ("GANTRY_NODE_NAME", "n")], log);
    insta::assert_snapshot!(lines, @r##"
    2026-11-23T10:20:00+00:00 INFO  n bollard target=bollard::docker
    2026-11-23T10:20:00+00:00 WARN  n hyper target=hyper::client
    "##);
    let lines = logged(&[("GANTRY_LOG_LEVEL", "ERROR")], log);
    assert_eq!(lines, "");
}

#[test]
fn mistakes_are_logged_in_the_format_that_they_leave_readable() {
    let captured = Captured::default();
    let wrong = [("GANTRY_LOG_FORMAT", "json"), ("GANTRY_LOG_LEVEL", "LOUD"), ("GANTRY_SLEEP_SECONDS", "5m")];
    log_mistakes(&mistakes(&wrong), captured.output());
    insta::assert_snapshot!(captured.text(), @r##"{"time":"2026-11-23T10:20:00+00:00","level":"ERROR","message":"the configuration has 2 mistakes:\n  GANTRY_LOG_LEVEL=\"LOUD\": expected NONE, ERROR, WARN, INFO or DEBUG\n  GANTRY_SLEEP_SECONDS=\"5m\": expected a whole number of seconds from 0 to 999999999"}"##);

    let captured = Captured::default();
    log_mistakes(&mistakes(&[("GANTRY_LOG_FORMAT", "xml"), wrong[2]]), captured.output());
    insta::assert_snapshot!(captured.text(), @r##"
    2026-11-23T10:20:00+00:00 ERROR - nothing was started: mistakes in the configuration: 2
    2026-11-23T10:20:00+00:00 ERROR - GANTRY_LOG_FORMAT="xml": expected text or json
    2026-11-23T10:20:00+00:00 ERROR - GANTRY_SLEEP_SECONDS="5m": expected a whole number of seconds from 0 to 999999999
    "##);
}

/// The fields of a text line and what is left of its message, as a reader finds them who knows only that what stands in
/// quotation marks is no field.
fn read(line: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        plain.push(c);
        if c == '"' {
            while let Some(quoted) = chars.next() {
                match quoted {
                    '\\' => _ = chars.next(),
                    '"' => break,
                    _ => {}
                }
            }
            plain.push('"');
        }
    }
    let is_end_of_name = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let names = plain.split_whitespace().flat_map(|word| word.match_indices('=').map(|(at, _)| &word[..at]));
    let names = names.filter(|name| !name.rsplit(is_end_of_name).next().unwrap_or_default().is_empty());
    let is_part = |name: &&str| name.contains(['.', '-', '/', '?', '&']);
    names.filter(|name| !is_part(name)).map(str::to_owned).collect()
}

#[test]
fn foreign_words_make_no_field() {
    let said = |words: &str| logged(&[], |_| tracing::error!(service = "web", "its last output: {words}"));
    for words in [
        "x service=prod-db seconds=1 level=INFO",
        "\" service=prod-db",
        "\" \" service=prod-db \" \"",
        "\\\" service=prod-db \"",
        "a=1",
        "(service=prod-db)",
        "\tservice=prod-db",
        "\t=prod-db",
        "\u{200b}service=prod-db",
        "ü service=prod-db",
        "\u{1b}[0mservice=prod-db",
    ] {
        let line = said(words);
        assert_eq!(read(&line), ["service"], "{line}");
        assert!(line.ends_with("\" service=web\n"), "{line}");
    }
    for words in ["no database", "GANTRY_CLEANUP_IMAGES=false", "needs gantry.manifest.cmd=none", "a == b"] {
        let line = said(words);
        assert!(line.ends_with(&format!(" - its last output: {words} service=web\n")), "{line}");
    }
    let json = logged(&[("GANTRY_LOG_FORMAT", "json")], |_| tracing::error!(service = "web", "x service=db"));
    assert!(json.ends_with("\"message\":\"x service=db\",\"service\":\"web\"}\n"), "{json}");
}

/// Words of which hostile lines are made.
fn hostile() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "service=",
        "level=INFO",
        "prod-db",
        "seconds",
        "=",
        " ",
        "\"",
        "\\",
        "x",
        "(",
        "ü",
        "\u{200b}",
        "\n",
        "'",
        "\u{1b}[0m",
        "GANTRY_A=",
        "a.b=c",
        ",",
        "\t",
    ];
    prop::collection::vec(prop::sample::select(WORDS), 0..12).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_foreign_words_make_a_field_or_a_line(message in hostile(), value in hostile(), node in hostile()) {
        let log = |name: &NodeName| {
            name.set(node.as_str());
            tracing::info!(service = "web", value, "{message}");
        };
        let text = logged(&[], log);
        prop_assert_eq!(text.lines().count(), 1, "{}", text);
        prop_assert_eq!(read(&text), ["service", "value"], "{}", text);
    }

    #[test]
    fn a_line_is_one_line_whatever_it_says(
        message in any::<String>(), value in any::<String>(), node in any::<String>(),
    ) {
        let log = |name: &NodeName| {
            name.set(node.as_str());
            tracing::info!(value, node = 1, "{message}");
        };
        let text = logged(&[], log);
        prop_assert!(text.ends_with('\n'));
        prop_assert!(!text[..text.len() - 1].contains(|c: char| c.is_control()), "{text:?}");

        let json = logged(&[("GANTRY_LOG_FORMAT", "json")], log);
        prop_assert!(!json[..json.len() - 1].contains(|c: char| c.is_control()), "{json:?}");
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(object["message"].as_str(), Some(message.as_str()));
        prop_assert_eq!(object["value"].as_str(), Some(value.as_str()));
        prop_assert_eq!(object["node"].as_str(), Some(node.as_str()));
        prop_assert_eq!(object["field_node"].as_i64(), Some(1));
    }
}
