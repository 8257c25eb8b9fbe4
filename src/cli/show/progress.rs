//! `gantry watch`, and a run that is waited for: what has changed, in lines, and how it stands, in a screen. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::parts::{LONGEST, digest, last_words, list, name, number, table, text, time, words};
use super::state::{counts, pause_by_hand, rollout};
use crate::words::{line, printable};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// What, in a line, or in several if a task had last words.
    pub(crate) words: String,
    /// Whether a screen shows the same.
    pub(crate) is_on_screen: bool,
}

/// How things stand, as the events so far tell it.
#[derive(Clone, Debug)]
pub(crate) struct Progressed {
    state: Map<String, Value>,
    /// What was told of each rollout last.
    rollouts: BTreeMap<String, String>,
    /// The services that want attention, with the reason that was told.
    attention: BTreeMap<String, String>,
    /// The newest run of the history that was told.
    told_run: u64,
    verdict: String,
    pauses: BTreeSet<String>,
    zone: TimeZone,
}

impl Progressed {
    /// Nothing is known yet. Times are shown in this zone.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self {
            state: Map::new(),
            rollouts: BTreeMap::new(),
            attention: BTreeMap::new(),
            told_run: 0,
            verdict: String::new(),
            pauses: BTreeSet::new(),
            zone,
        }
    }

    /// Takes an event of the stream into account. Returns what is new.
    pub(crate) fn apply(&mut self, kind: &str, data: Value) -> Vec<News> {
        let Value::Object(parts) = data else { return Vec::new() };
        let is_first = self.state.is_empty();
        if kind == "state" {
            if number_of_process(&parts) != number_of_process(&self.state) {
                // Another process counts its runs anew.
                self.told_run = 0;
            }
            self.state = parts;
        } else {
            self.state.extend(parts);
        }
        let state = Value::Object(self.state.clone());
        let mut news = Vec::new();
        self.note_verdict(&state, &mut news);
        self.note_pauses(&state, &mut news);
        self.note_rollouts(&state, &mut news);
        self.note_attention(&state, &mut news);
        self.note_runs(&state, is_first, &mut news);
        news
    }

    /// The version of the daemon.
    pub(crate) fn version(&self) -> &str {
        self.state.get("version").and_then(Value::as_str).unwrap_or_default()
    }

    fn note_verdict(&mut self, state: &Value, news: &mut Vec<News>) {
        let verdict = words(&state["verdict"], "words");
        // A pause is told by itself.
        if verdict != self.verdict && text(&state["verdict"], "level") != "paused" {
            news.push(News { words: verdict.clone(), is_on_screen: true });
        }
        self.verdict = verdict;
    }

    fn note_pauses(&mut self, state: &Value, news: &mut Vec<News>) {
        let guard = &state["guard"];
        let mut pauses: BTreeSet<String> =
            list(guard, "paused").iter().map(|pause| words(pause, "why")).collect();
        if guard["by_hand"].is_object() {
            pauses.insert(pause_by_hand(&guard["by_hand"], &self.zone));
        }
        let told = |what: &str, why: &String| News { words: format!("{what}: {why}"), is_on_screen: false };
        news.extend(pauses.difference(&self.pauses).map(|why| told("paused", why)));
        news.extend(self.pauses.difference(&pauses).map(|why| told("no longer paused", why)));
        self.pauses = pauses;
    }

    fn note_rollouts(&mut self, state: &Value, news: &mut Vec<News>) {
        let mut rollouts = BTreeMap::new();
        for shown in list(state, "rollouts") {
            let image = format!("{} {}", name(shown, "image"), digest(shown, "to"));
            let failed = number(shown, "failed");
            let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            let words = format!(
                "{image}: {} of {} updated{failed} ({})",
                number(shown, "succeeded"),
                number(shown, "total"),
                name(shown, "state")
            );
            if self.rollouts.get(&image) != Some(&words) {
                news.push(News { words: words.clone(), is_on_screen: true });
            }
            rollouts.insert(image, words);
        }
        self.rollouts = rollouts;
    }

    fn note_attention(&mut self, state: &Value, news: &mut Vec<News>) {
        let mut attention = BTreeMap::new();
        for service in list(state, "attention") {
            let (service_name, why) = (name(service, "service"), words(service, "why"));
            if self.attention.get(&service_name) != Some(&why) {
                let said = last_words(service, "    ");
                let words = format!("needs attention: {service_name}: {why}\n{said}");
                news.push(News { words: words.trim_end().to_owned(), is_on_screen: false });
            }
            attention.insert(service_name, why);
        }
        let well = self.attention.keys().filter(|name| !attention.contains_key(*name));
        news.extend(
            well.map(|name| News {
                words: format!("needs no attention any more: {name}"),
                is_on_screen: false,
            }),
        );
        self.attention = attention;
    }

    /// Runs that are over. Those that were over before the first event are not told.
    fn note_runs(&mut self, state: &Value, is_first: bool, news: &mut Vec<News>) {
        let history = list(state, "history");
        if !is_first {
            for run in history.iter().rev().filter(|run| number(run, "id") > self.told_run) {
                let failed = if run["failed"].as_bool() == Some(true) { "failed: " } else { "" };
                let words =
                    format!("run {} is over: {failed}{}", number(run, "id"), super::run::summary(run));
                news.push(News { words, is_on_screen: false });
            }
        }
        let newest = history.iter().map(|run| number(run, "id")).max().unwrap_or_default();
        self.told_run = self.told_run.max(newest);
    }

    /// How it stands, in lines that a terminal of this size can show.
    pub(crate) fn screen(&self, columns: usize, rows: usize, trouble: Option<&str>) -> Vec<String> {
        let state = Value::Object(self.state.clone());
        let mut lines = vec![String::new(), self.verdict.clone(), counts(&state)];
        lines.extend(self.pauses.iter().map(|why| format!("paused: {why}")));
        let bars: Vec<Vec<String>> = list(&state, "rollouts").iter().map(rollout).collect();
        let mut last = Vec::new();
        let next = time(&state["look"], "next", &self.zone);
        last.extend(list(&state, "runs").iter().map(|run| {
            let by = text(run, "by");
            let by = if by.is_empty() { String::new() } else { format!(", by {}", printable(by)) };
            format!("run {} is under way ({}{by})", number(run, "id"), name(run, "trigger"))
        }));
        if !next.is_empty() {
            last.push(format!("a look follows at {next}"));
        }
        last.extend(trouble.map(|why| line(why, LONGEST)));
        last.push("Ctrl-C ends this".to_owned());
        // The last line of a terminal stays free for the cursor.
        let room = rows.saturating_sub(1 + lines.len() + last.len());
        let more = bars.len().saturating_sub(room);
        let shown = if more > 0 { room.saturating_sub(1) } else { bars.len() };
        lines.extend(table(&bars[..shown]).lines().map(str::to_owned));
        if more > 0 {
            lines.push(format!("  and {} rollouts more", bars.len() - shown));
        }
        lines.extend(last);
        let start = lines.len().saturating_sub(rows.saturating_sub(1));
        lines[start..].iter().map(|line| line.chars().take(columns).collect()).collect()
    }
}

/// The daemon's process, as the id of a state names it.
fn number_of_process(state: &Map<String, Value>) -> Option<&str> {
    state.get("id")?.as_str()?.split('-').next()
}
