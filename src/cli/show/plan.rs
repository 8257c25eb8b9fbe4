//! `gantry plan`: what a run would do. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::parts::{change, count, list, name, number, table, text, words};

/// The actions, in the order of the page; what has none is counted alone.
const ACTIONS: [&str; 3] = ["error", "update", "held"];

/// What a run would do, as text. The exit code follows from `Planned`.
pub(crate) fn plan(answer: &Value) -> (String, u8) {
    let services = list(answer, "services");
    let of = |action: &str| {
        services.iter().filter(|service| text(service, "action") == action).collect::<Vec<_>>()
    };
    let (updates, errors) = (number(answer, "updates"), number(answer, "errors"));
    let mut report = match (updates, errors) {
        (0, 0) => "nothing to do".to_owned(),
        (0, errors) => count(errors, "error", "errors"),
        (updates, 0) => count(updates, "update is pending", "updates are pending"),
        (updates, errors) => {
            format!(
                "{}, {}",
                count(updates, "update is pending", "updates are pending"),
                count(errors, "error", "errors")
            )
        }
    };
    report.push('\n');
    let mut rows = Vec::new();
    for action in ACTIONS {
        for service in of(action) {
            rows.push(vec![
                action.to_owned(),
                name(service, "service"),
                name(service, "image"),
                change(service, "digest", "newest"),
                words(service, "why"),
            ]);
        }
    }
    report.push_str(&table(&rows));
    let rest = u64::try_from(services.len() - rows.len()).unwrap_or_default();
    if rest > 0 {
        let words = count(rest, "other service needs nothing", "other services need nothing");
        _ = writeln!(report, "{words}");
    }
    let code = match (errors, updates) {
        (0, 0) => 0,
        (0, _) => 3,
        _ => 1,
    };
    (report.trim_end().to_owned(), code)
}
