//! `gantry explain`: why a service is updated or not. Pure.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::parts::{last_words, list, name, table, text, time, words};
use crate::words::printable;

/// One service, with every gate in order.
pub(crate) fn explain(service: &Value, zone: &TimeZone) -> String {
    let mut report = format!("{}: {}\n", name(service, "service"), text(service, "state").replace('_', " "));
    let mut rows = Vec::new();
    let mut fact = |title: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![title.to_owned(), value]);
        }
    };
    fact("why", words(service, "why"));
    fact("since", time(service, "since", zone));
    fact("image", name(service, "image"));
    fact("digest", name(service, "digest"));
    fact("newest", name(service, "newest"));
    let tasks = &service["tasks"];
    if let (Some(running), Some(desired)) = (tasks["running"].as_u64(), tasks["desired"].as_u64()) {
        fact("tasks", format!("{running} of {desired} run"));
    }
    fact("account", value(&service["account"]));
    let next = time(service, "next", zone);
    fact("next", if next.is_empty() { value(&service["next"]) } else { next });
    report.push_str(&table(&rows));
    report.push_str(&last_words(service, "  "));
    let gates: Vec<Vec<String>> = list(service, "gates")
        .iter()
        .map(|gate| vec![name(gate, "verdict"), name(gate, "gate"), words(gate, "why")])
        .collect();
    if !gates.is_empty() {
        _ = write!(report, "gates:\n{}", table(&gates));
    }
    let policy: Vec<Vec<String>> = service["policy"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, setting)| vec![printable(name), value(setting)])
        .collect();
    if !policy.is_empty() {
        _ = write!(report, "settings in effect:\n{}", table(&policy));
    }
    report.trim_end().to_owned()
}

/// A value of any kind in one line; empty for none.
fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => crate::words::line(text, super::parts::LONGEST),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, field)| format!("{}={}", printable(name), self::value(field)));
            fields.collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
