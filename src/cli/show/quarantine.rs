//! `gantry quarantine`, of a daemon's answer. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::parts::{digest, list, name, text, words};

/// What is held back.
pub(crate) fn quarantine(answer: &Value) -> String {
    match list(answer, "quarantine") {
        [] => "nothing is in quarantine".to_owned(),
        held => format!("not offered again:\n{}", entries(held)).trim_end().to_owned(),
    }
}

/// A line for each entry.
pub(super) fn entries(held: &[Value]) -> String {
    let mut lines = String::new();
    for entry in held {
        let service = name(entry, "service");
        let place = if service.is_empty() { "all services".to_owned() } else { service };
        let why = match (entry["by_hand"].as_bool(), text(entry, "cause")) {
            (Some(true), _) => "rolled back by hand".to_owned(),
            (_, "") => "quarantined".to_owned(),
            _ => format!("quarantined: {}", words(entry, "cause")),
        };
        _ = writeln!(lines, "  {place}: {} at {} ({why})", name(entry, "image"), digest(entry, "digest"));
    }
    lines
}
