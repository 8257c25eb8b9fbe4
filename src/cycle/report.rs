//! Stage 6: what happened, as one value. Log lines, notification, metrics and the exit code only render
//! it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::cleanup::Cleaned;
use super::hub::HubPulls;
use crate::ledger::LeftBehind;
use crate::ledger::acquire::LeaseOutcome;
use crate::model::decision::{Planned, Reason};
use crate::model::finished::{Finished, NotBegunReason, StoppedRollout, Superseded};
use crate::model::row::{self, Row, State, groups, names};
use crate::model::update::Update;
use crate::rollout::rolled_out::RolledOut;

/// What one cycle did.
#[derive(Debug, Default)]
pub struct Report {
    /// Why no service could be looked at, if so.
    pub error: Option<String>,
    /// The services that matched, each once.
    pub rows: Vec<Row>,
    /// Why updates were left to the next cycle: another Gantry was rolling out, or the cluster was not fit for it.
    pub postponed: Option<String>,
    /// Images whose rollout was stopped because too many of its updates failed.
    pub stopped: Vec<StoppedRollout>,
    /// Images whose rollout gave way to a newer digest of their tag.
    pub superseded: Vec<Superseded>,
    /// What the cleaning did, where there was something to clean.
    pub cleanup: Option<Cleaned>,
    /// What Docker Hub still allows, where it was asked for images and says so.
    pub hub: Vec<HubPulls>,
    /// Whether Gantry was stopped meanwhile.
    pub is_interrupted: bool,
    /// Whether the run looked at a part of the services only, as it was asked to.
    pub is_partial: bool,
    /// Why the command after the cycle failed, if it did.
    pub post_run: Option<String>,
}

/// How much a line of the report matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something did not work.
    Error,
    /// A person should look at it.
    Warning,
    /// It happened.
    Info,
    /// Only to be told when asked.
    Detail,
}

/// Why updates are called unproved.
const UNPROVED: &str =
    "no node takes their tasks, or they have none, and no other service has shown that the image works";

/// Why updates are held back where the rollout was not stopped.
const TAKEN_BACK: &str =
    "a person or another program took another service of this image back; the next cycle looks again";

/// What the summary counts after the ends of updates, in this order. What is postponed comes last, as its reason follows.
const LAST_COUNTS: [&str; 10] = [
    "held back",
    "held",
    "under way",
    "withdrawn",
    "unproved",
    "not begun",
    "needs attention",
    "error",
    "left alone",
    "postponed",
];

impl Report {
    /// Takes note of the decisions and returns the updates among them.
    pub(super) fn take_decisions(&mut self, planned: Vec<Planned>) -> Vec<Update> {
        let mut updates = Vec::new();
        self.rows.reserve_exact(planned.len());
        for planned in planned {
            let (mut row, update) = Row::decided(planned);
            if matches!(row.state, State::UpToDate) {
                // A report only counts it, and many runs may be under way.
                row.details = None;
            }
            self.rows.push(row);
            updates.extend(update);
        }
        updates
    }

    /// Takes note of services that earlier runs are at work on.
    pub(super) fn leave(&mut self, under_way: Vec<Row>) {
        self.rows.extend(under_way);
    }

    /// Whether nothing is to be told but that earlier runs are at work.
    pub fn is_quiet(&self) -> bool {
        self.is_without_news() && self.held().next().is_some()
    }

    /// Whether nothing was updated, failed or is left behind.
    pub fn is_without_news(&self) -> bool {
        let is_new = |row: &Row| match row.state {
            State::Ended(_) => true,
            State::Held(ref held) => held.why != NotBegunReason::UnderWay,
            _ => false,
        };
        !self.has_failed() && !self.is_incomplete() && !self.rows.iter().any(is_new)
    }

    /// Takes note of decisions that nothing follows from in this cycle.
    pub(super) fn postpone(&mut self, planned: Vec<Planned>, lease: &LeaseOutcome) {
        let why = match lease {
            LeaseOutcome::NotOurs { holder } => {
                self.postponed = Some(format!("another Gantry ({holder}) is rolling out"));
                NotBegunReason::Postponed
            }
            _ => NotBegunReason::Interrupted,
        };
        let updates = self.take_decisions(planned);
        self.take_rows(updates.into_iter().map(|update| Row::held(update, why.clone())).collect());
    }

    /// Takes note of how the updates ended.
    pub(super) fn take_rollout(&mut self, rolled_out: RolledOut) {
        self.take_rows(rolled_out.rows);
        self.stopped.extend(rolled_out.stopped);
        self.superseded.extend(rolled_out.superseded);
        self.postponed = self.postponed.take().or_else(|| rolled_out.shut.map(|shut| shut.to_string()));
    }

    /// Puts these rows in place of what the report had on their services.
    fn take_rows(&mut self, rows: Vec<Row>) {
        let names: BTreeSet<&str> = rows.iter().map(|row| row.service.as_str()).collect();
        self.rows.retain(|row| !names.contains(row.service.as_str()));
        self.rows.extend(rows);
    }

    /// The updates that are not judged by now: those of this cycle, and where it did not come to its end what it had been
    /// `left`. Gantry's own service (`itself`) needs no judgement: it runs.
    pub(super) fn left_behind(&self, left: LeftBehind, itself: Option<&str>) -> LeftBehind {
        let is_whole = !self.is_interrupted && !self.is_partial && self.error.is_none();
        let mut left = if is_whole { LeftBehind::default() } else { left };
        for Row { service, state, is_left_behind, .. } in &self.rows {
            let is_unjudged = match state {
                State::Ended(finished) => finished.outcome.is_unjudged() && itself != Some(service),
                State::Error(_) | State::LeftAlone(Reason::TasksUnknown) if *is_left_behind => true,
                _ => continue,
            };
            if is_unjudged {
                left.services.insert(service.clone());
            } else {
                left.services.remove(service);
            }
        }
        left
    }

    /// Whether anything failed: a cycle that did makes a one-shot run exit with 1.
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
            || self.post_run.is_some()
            || !self.stopped.is_empty()
            || self.rows.iter().any(|row| row.state.is_failure())
    }

    /// Whether something that should have been updated is left behind, though nothing failed: a one-shot run then exits
    /// with 3. What a rule or the quarantine keeps from an update is not left behind.
    pub fn is_incomplete(&self) -> bool {
        !self.has_failed() && self.rows.iter().any(|row| row.state.is_incomplete())
    }

    /// How many services stand in which way.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        row::counts(&self.rows)
    }

    /// How the updates ended.
    pub fn finished(&self) -> impl Iterator<Item = &Finished> {
        self.rows.iter().filter_map(Row::finished)
    }

    /// The services that were updated.
    pub fn updated(&self) -> impl Iterator<Item = &Finished> {
        self.finished().filter(|finished| finished.outcome.is_success())
    }

    /// The services whose updates did not begin.
    pub fn held(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.why_held().is_some())
    }

    /// The cycle in one sentence: counts, and nothing that is zero but the number of services.
    pub fn summary(&self) -> String {
        let after = self.post_run.as_ref().map_or_else(String::new, |failed| format!("; {failed}"));
        match &self.error {
            Some(error) => {
                let ended = self.counted(self.outcome_names());
                let before = if ended.is_empty() { "nothing was updated" } else { &ended };
                format!("cycle failed, {before}: {error}{after}")
            }
            None if self.rows.is_empty() && self.is_interrupted => {
                format!("interrupted, nothing was updated{after}")
            }
            None => format!("{}{after}", self.numbers()),
        }
    }

    /// The names of the ends of updates.
    fn outcome_names(&self) -> BTreeSet<&'static str> {
        self.finished().map(|finished| finished.outcome.name()).collect()
    }

    /// The counts of these names that are not zero.
    fn counted(&self, names: impl IntoIterator<Item = &'static str>) -> String {
        let counts = self.counts();
        let counted = names.into_iter().filter_map(|name| {
            let count = *counts.get(name)?;
            Some(format!("{} {}", grouped(count), plural(name, count)))
        });
        counted.collect::<Vec<_>>().join(", ")
    }

    /// The counts, and what explains them.
    fn numbers(&self) -> String {
        let mut summary = match self.rows.len() {
            0 => "no service matches".to_owned(),
            1 => "1 service".to_owned(),
            services => format!("{} services", grouped(services)),
        };
        let counted = self.counted(["up to date"].into_iter().chain(self.outcome_names()).chain(LAST_COUNTS));
        if !counted.is_empty() {
            let _ = write!(summary, ": {counted}");
        }
        if let Some(why) = &self.postponed {
            let is_counted = self.held().any(|row| row.why_held() == Some(&NotBegunReason::Postponed));
            let _ = write!(summary, "{}: {why}", if is_counted { "" } else { "; postponed" });
        }
        let without_node = self.rows.iter().filter(|row| is_without_node(row)).count();
        if without_node > 0 {
            let _ = write!(summary, "; {} started without a node", grouped(without_node));
        }
        for stopped in self.stopped.iter().filter(|stopped| stopped.touched < stopped.total) {
            let _ = write!(summary, "; {}", stopped.summary());
        }
        for superseded in &self.superseded {
            let _ = write!(summary, "; {superseded}");
        }
        if self.is_interrupted {
            summary.push_str("; interrupted");
        }
        summary
    }

    /// The names behind the counts, the gravest first.
    pub fn lines(&self) -> Vec<(Weight, String)> {
        let error = |(cause, rows): (&str, Vec<&Row>)| {
            format!("error: {} ({}): {cause}", names(&rows).join(" "), image_names(&rows))
        };
        let stopped = self.stopped.iter().filter(|stopped| stopped.touched < stopped.total);
        let errors = self.errors().into_iter().map(error).chain(stopped.map(ToString::to_string));
        let mut lines: Vec<_> = errors.map(|line| (Weight::Error, line)).collect();
        let mut told = groups(&self.rows, |row| self.told(row));
        told.extend(groups(&self.rows, |row| {
            let words = || "their tasks start when a node takes them".to_owned();
            is_without_node(row).then(|| (Weight::Warning, 4, "without a node", words()))
        }));
        for ((weight, _, what, words), rows) in told {
            let separator = if words.is_empty() { "" } else { ": " };
            lines.push((weight, format!("{what}: {}{separator}{words}", names(&rows).join(" "))));
        }
        let told = self.hub.iter().filter_map(HubPulls::told);
        lines.extend(told.map(|told| (Weight::Info, told)));
        lines.sort_by_key(|(weight, _)| *weight);
        lines
    }

    /// The line that tells of a service: its weight, its place among the lines of that weight, its name and its reason.
    /// Services with the same reason share a line.
    fn told(&self, row: &Row) -> Option<(Weight, u8, &'static str, String)> {
        let (weight, place, words) = match &row.state {
            State::Waits | State::Updating | State::Error(_) => return None,
            State::Ended(_) => (Weight::Info, 0, String::new()),
            State::Held(held) => {
                let is_in_order = !held.why.is_left_behind();
                let (place, words) = match &held.why {
                    NotBegunReason::UnderWay => (1, "an earlier run has them in hand"),
                    NotBegunReason::Withdrawn => (2, "a later look found that they need this update no more"),
                    NotBegunReason::RolloutStopped => return None,
                    NotBegunReason::Unproven => (1, UNPROVED),
                    NotBegunReason::Postponed => {
                        (2, self.postponed.as_deref().unwrap_or("the next cycle tries again"))
                    }
                    NotBegunReason::Interrupted => (3, "Gantry was stopped first"),
                    NotBegunReason::TakenBack => (5, TAKEN_BACK),
                    NotBegunReason::OtherHand(hand) => (6, &*format!("{hand}; the next cycle looks again")),
                    NotBegunReason::Gate(refusal) => (7, &*refusal.why),
                };
                (if is_in_order { Weight::Info } else { Weight::Warning }, place, words.to_owned())
            }
            State::LeftAlone(reason) => {
                let is_told = matches!(reason, Reason::HeldBack(_) | Reason::TasksUnknown);
                let weight = if is_told || reason.is_for_now() { Weight::Warning } else { Weight::Info };
                (weight, 7, reason.to_string())
            }
            State::UpToDate => (Weight::Detail, 8, String::new()),
            State::NeedsAttention(what) => (Weight::Warning, 9, what.to_string()),
        };
        let weight = if row.state.is_failure() { Weight::Error } else { weight };
        Some((weight, place, row.state.name(), words))
    }

    /// The services that no decision could be made on, by cause. The cause of most services comes first.
    pub fn errors(&self) -> Vec<(&str, Vec<&Row>)> {
        let errors = groups(&self.rows, |row| match &row.state {
            State::Error(cause) => Some(cause.as_str()),
            _ => None,
        });
        let mut errors: Vec<_> = errors.into_iter().collect();
        errors.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        errors
    }
}

/// The images of these services, of many only how many they are.
pub fn image_names(rows: &[&Row]) -> String {
    const NAMES: usize = 3;
    let images: BTreeSet<&str> = rows.iter().map(|row| row.image.as_str()).collect();
    let names: Vec<&str> = images.iter().take(NAMES).copied().collect();
    match images.len().saturating_sub(NAMES) {
        0 => names.join(", "),
        more => format!("{} and {} other images", names.join(", "), grouped(more)),
    }
}

/// The name of a count, as it reads after this number.
pub fn plural(name: &str, count: usize) -> &str {
    match name {
        "error" if count != 1 => "errors",
        "needs attention" if count != 1 => "need attention",
        name => name,
    }
}

/// Whether the tasks of a service wait for a node.
fn is_without_node(row: &Row) -> bool {
    row.finished().is_some_and(|finished| finished.outcome.is_without_node())
}

impl StoppedRollout {
    /// In half a sentence, without the causes.
    fn summary(&self) -> String {
        let (touched, total) = (grouped(self.touched), grouped(self.total));
        format!("the rollout of {} was stopped after {touched} of {total}", self.image.tagged())
    }
}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, by, touched, total } = self;
        let (touched, total) = (grouped(*touched), grouped(*total));
        let digest =
            image.digest().map_or_else(String::new, |digest| format!(" (digest {})", digest.short()));
        let image = image.tagged();
        write!(
            f,
            "the rollout of {image}{digest} was superseded by {} after {touched} of {total}",
            by.short()
        )
    }
}

impl fmt::Display for StoppedRollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        if let Some(digest) = self.image.digest() {
            write!(f, " (digest {})", digest.short())?;
        }
        write!(f, ": {} failed: {}", grouped(self.failed), self.causes.join("; "))
    }
}

/// A number with a comma between each three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
