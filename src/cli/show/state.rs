//! `gantry status`: how things stand, in one screen. Pure.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::parts::{bar, change, count, last_words, list, name, number, table, text, time, words};
use super::quarantine::entries;

/// How many rows each part has. The API and `--json` have the rest.
const MOST: usize = 20;

/// The cells of a bar.
const CELLS: u64 = 20;

/// The state, as text, and whether something needs attention.
pub(crate) fn status(state: &Value, zone: &TimeZone) -> (String, bool) {
    let mut screen = format!("{}\n{}\n", words(&state["verdict"], "words"), circumstances(state, zone));
    for pause in pauses(state, zone) {
        _ = writeln!(screen, "{pause}");
    }
    part(&mut screen, "rollouts:", list(state, "rollouts"), rollouts);
    part(&mut screen, "runs under way:", list(state, "runs"), |runs| {
        table(&runs.iter().map(|run| under_way(run, zone)).collect::<Vec<_>>())
    });
    part(&mut screen, "attention:", list(state, "attention"), attention);
    part(&mut screen, "quarantine:", list(state, "quarantine"), entries);
    (screen, text(&state["verdict"], "level") == "attention")
}

/// Which daemon says so, and when it looks.
fn circumstances(state: &Value, zone: &TimeZone) -> String {
    let look = &state["look"];
    let mut facts = vec![format!("gantry {} on {}", name(state, "version"), name(state, "node"))];
    match (time(look, "began", zone), look["seconds"].as_f64()) {
        (began, _) if began.is_empty() => {}
        (began, Some(seconds)) => facts.push(format!("looked at {began} ({seconds:.1} s)")),
        (began, None) => facts.push(format!("looking since {began}")),
    }
    let next = time(look, "next", zone);
    if !next.is_empty() {
        facts.push(format!("a look follows at {next}"));
    }
    facts.join(", ")
}

/// Why no update begins, each in a line.
fn pauses(state: &Value, zone: &TimeZone) -> Vec<String> {
    let guard = &state["guard"];
    // Where it is the verdict, it is told already.
    let is_verdict = text(&state["verdict"], "level") == "paused";
    let by_hand = Some(&guard["by_hand"]).filter(|pause| pause.is_object() && !is_verdict);
    let by_hand = by_hand.map(|pause| format!("paused {}", pause_by_hand(pause, zone)));
    let others = list(guard, "paused").iter();
    let others =
        others.map(|pause| format!("paused: {} (since {})", words(pause, "why"), time(pause, "since", zone)));
    by_hand.into_iter().chain(others).collect()
}

/// `gantry pause`: the pause that begins.
pub(crate) fn paused(answer: &Value, zone: &TimeZone) -> String {
    format!("paused {}; what is under way is watched to its end", pause_by_hand(&answer["paused"], zone))
}

/// A pause that a user made.
pub(super) fn pause_by_hand(pause: &Value, zone: &TimeZone) -> String {
    let why = words(pause, "why");
    let why = if why.is_empty() { why } else { format!(": {why}") };
    format!("by {} until {}{why}", name(pause, "by"), time(pause, "until", zone))
}

/// A part of the screen, where there is something to show.
fn part(screen: &mut String, title: &str, rows: &[Value], shown: impl Fn(&[Value]) -> String) {
    if rows.is_empty() {
        return;
    }
    let first = &rows[..rows.len().min(MOST)];
    _ = write!(screen, "\n{title}\n{}", shown(first));
    if rows.len() > MOST {
        _ = writeln!(screen, "  and {} more", rows.len() - MOST);
    }
}

fn rollouts(rollouts: &[Value]) -> String {
    let rows: Vec<Vec<String>> = rollouts.iter().map(rollout).collect();
    table(&rows)
}

/// The cells of one rollout's row.
pub(super) fn rollout(rollout: &Value) -> Vec<String> {
    let (succeeded, failed, total) =
        (number(rollout, "succeeded"), number(rollout, "failed"), number(rollout, "total"));
    let mut facts = vec![format!("{succeeded} of {total}")];
    if failed > 0 {
        facts.push(format!("{failed} failed"));
    }
    let under_way = number(rollout, "under_way");
    if under_way > 0 {
        facts.push(format!("{under_way} under way"));
    }
    let mut state = vec![name(rollout, "state")];
    let canaries: Vec<&str> = list(rollout, "canary").iter().filter_map(Value::as_str).collect();
    if !canaries.is_empty() {
        state.push(format!("canary {}", crate::words::printable(&canaries.join(" "))));
    }
    vec![
        bar(succeeded, failed, total, CELLS),
        facts.join(", "),
        name(rollout, "image"),
        change(rollout, "from", "to"),
        state.join(", "),
    ]
}

fn under_way(run: &Value, zone: &TimeZone) -> Vec<String> {
    let by = name(run, "by");
    let by = if by.is_empty() { by } else { format!(", by {by}") };
    vec![
        format!("run {}", number(run, "id")),
        format!("{}{by}", name(run, "trigger")),
        format!("since {}", time(run, "began", zone)),
    ]
}

fn attention(services: &[Value]) -> String {
    let mut text = String::new();
    for service in services {
        _ = writeln!(text, "  {}: {}", name(service, "service"), words(service, "why"));
        text.push_str(&last_words(service, "    "));
    }
    text
}

/// The states of services with their numbers, those that are none left out.
pub(super) fn counts(state: &Value) -> String {
    let counts = state["counts"].as_object();
    let counts = counts.into_iter().flatten().filter_map(|(name, number)| {
        let number = number.as_u64().filter(|number| *number > 0)?;
        Some(format!("{number} {}", crate::words::printable(&name.replace('_', " "))))
    });
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { count(0, "service", "services") } else { counts.join(", ") }
}
