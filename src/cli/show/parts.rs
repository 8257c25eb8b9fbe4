//! What all answers have in common: texts, numbers, times, tables and bars. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::words::{line, printable};

/// The longest cause or last word that is shown, in characters.
pub(super) const LONGEST: usize = 300;

/// A text of the answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A foreign text in one line.
pub(super) fn words(value: &Value, key: &str) -> String {
    line(text(value, key), LONGEST)
}

/// A foreign name.
pub(super) fn name(value: &Value, key: &str) -> String {
    printable(text(value, key))
}

/// A list of the answer; empty where there is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A number of the answer; 0 where there is none.
pub(super) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

/// The short form of a digest; empty where there is none.
pub(super) fn digest(value: &Value, key: &str) -> String {
    let digest = text(value, key);
    printable(digest.strip_prefix("sha256:").unwrap_or(digest)).chars().take(12).collect()
}

/// From one digest to another, as far as they are known.
pub(super) fn change(value: &Value, from: &str, to: &str) -> String {
    match (digest(value, from), digest(value, to)) {
        (from, to) if from.is_empty() && to.is_empty() => String::new(),
        (from, to) if from.is_empty() => format!("to {to}"),
        (from, to) if to.is_empty() || from == to => format!("at {from}"),
        (from, to) => format!("{from} -> {to}"),
    }
}

/// A moment in this time zone; empty where there is none.
pub(super) fn time(value: &Value, key: &str, zone: &TimeZone) -> String {
    let Ok(moment) = text(value, key).parse::<Timestamp>() else { return String::new() };
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A number of things.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// Rows in columns that are as wide as their widest cell. The last column has any width.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str("  ");
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The last words of a task, and of its health check, each in a line of its own.
pub(super) fn last_words(value: &Value, indent: &str) -> String {
    let health = value["health"].as_str().filter(|words| !words.is_empty());
    let said = list(value, "log").iter().filter_map(Value::as_str).chain(health);
    said.fold(String::new(), |mut text, words| {
        _ = writeln!(text, "{indent}| {}", line(words, LONGEST));
        text
    })
}

/// A bar of so many cells: done, failed, and not done yet.
pub(super) fn bar(done: u64, failed: u64, total: u64, cells: u64) -> String {
    let part = |number: u64| (number * cells).checked_div(total).unwrap_or_default().min(cells);
    // A single failure among hundreds is seen.
    let failed = if failed == 0 { 0 } else { part(failed).max(1) };
    let done = part(done).min(cells - failed);
    let cell = |sign: &str, number: u64| sign.repeat(usize::try_from(number).unwrap_or_default());
    format!("[{}{}{}]", cell("#", done), cell("x", failed), cell(".", cells - done - failed))
}
