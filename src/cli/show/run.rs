//! `gantry run` and `gantry history`: what runs have done. Pure.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::parts::{change, last_words, list, name, number, table, text, time, words};

/// One run with its services.
pub(crate) fn run(run: &Value, zone: &TimeZone) -> String {
    let mut report = format!("run {}: {}\n  {}\n", number(run, "id"), summary(run), circumstances(run, zone));
    let services = list(run, "services");
    let seconds = |service: &Value| service["seconds"].as_u64().map_or(String::new(), |it| format!("{it} s"));
    let row = |service: &Value| {
        vec![
            name(service, "outcome"),
            name(service, "service"),
            name(service, "image"),
            change(service, "from", "to"),
            seconds(service),
        ]
    };
    let rows: Vec<Vec<String>> = services.iter().map(row).collect();
    for (line, service) in table(&rows).lines().zip(services) {
        _ = writeln!(report, "{line}");
        let cause = words(service, "cause");
        if !cause.is_empty() {
            _ = writeln!(report, "    {cause}");
        }
        report.push_str(&last_words(service, "    "));
    }
    for error in list(run, "errors").iter().filter_map(Value::as_str) {
        _ = writeln!(report, "  error: {}", crate::words::line(error, super::parts::LONGEST));
    }
    report.truncate(report.trim_end().len());
    report
}

/// All runs with news, the newest first.
pub(crate) fn history(answer: &Value, zone: &TimeZone) -> String {
    let row = |run: &Value| {
        let mark = if run["failed"].as_bool() == Some(true) { "failed" } else { state(run) };
        vec![
            number(run, "id").to_string(),
            time(run, "began", zone),
            cause(run),
            mark.to_owned(),
            summary(run),
        ]
    };
    let rows: Vec<Vec<String>> = list(answer, "runs").iter().map(row).collect();
    if rows.is_empty() {
        return "no run had news since the daemon was started".to_owned();
    }
    table(&rows).trim_end().to_owned()
}

fn state(run: &Value) -> &'static str {
    if text(run, "state") == "done" { "done" } else { "under way" }
}

pub(super) fn summary(run: &Value) -> String {
    let summary = words(run, "summary");
    if summary.is_empty() { "under way".to_owned() } else { summary }
}

/// What started a run, and which user did.
fn cause(run: &Value) -> String {
    match (name(run, "trigger"), name(run, "by")) {
        (trigger, by) if by.is_empty() => trigger,
        (trigger, by) => format!("{trigger}, by {by}"),
    }
}

fn circumstances(run: &Value, zone: &TimeZone) -> String {
    let mut facts = vec![cause(run), format!("began {}", time(run, "began", zone))];
    let ended = time(run, "ended", zone);
    if !ended.is_empty() {
        facts.push(format!("ended {ended}"));
    }
    facts.push(if run["failed"].as_bool() == Some(true) { "failed" } else { state(run) }.to_owned());
    facts.join("; ")
}
