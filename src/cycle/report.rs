//! Stage 6: what happened, as one value. Log lines, notification, metrics and the exit code only render
//! it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cleanup::Cleaned;
use super::plan::{Decision, Planned, Reason, Update};
use super::rollout::{Finished, Outcome};

/// What one cycle did.
#[derive(Debug, Default)]
pub struct Report {
    /// Why no service could be looked at, if so.
    pub error: Option<String>,
    /// How many services matched.
    pub services: usize,
    /// How many of them have what the registry has.
    pub up_to_date: usize,
    /// Services that were left alone, with the reason.
    pub left_alone: Vec<(String, Reason)>,
    /// Services of which it could not be told whether they need an update: name, image, cause.
    pub errors: Vec<(String, String, String)>,
    /// How the updates ended.
    pub finished: Vec<Finished>,
    /// Updates that were not begun because Gantry was stopped.
    pub not_begun: usize,
    /// What the cleaning did, where there was something to clean.
    pub cleanup: Option<Cleaned>,
    /// Whether Gantry was stopped meanwhile.
    pub is_interrupted: bool,
}

/// How much a line of the report matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something did not work.
    Error,
    /// Somebody should look at it.
    Warning,
    /// It happened.
    Info,
    /// Only to be told when asked.
    Detail,
}

impl Report {
    /// Takes note of the decisions and returns the updates among them.
    pub(super) fn take_decisions(&mut self, planned: Vec<Planned>) -> Vec<Update> {
        let mut updates = Vec::new();
        self.services += planned.len();
        for Planned { service, image, decision } in planned {
            match decision {
                Decision::Update(update) => updates.push(*update),
                Decision::UpToDate => self.up_to_date += 1,
                Decision::LeftAlone(reason) => self.left_alone.push((service, reason)),
                Decision::Error(cause) => self.errors.push((service, image, cause)),
            }
        }
        updates
    }

    /// Whether anything failed: a cycle that did makes a one-shot run exit with 1.
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
            || !self.errors.is_empty()
            || self.finished.iter().any(|finished| finished.outcome.is_failure())
    }

    /// How many updates ended in which way.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for finished in &self.finished {
            *counts.entry(finished.outcome.name()).or_default() += 1;
        }
        counts
    }

    /// The cycle in one sentence: counts, and nothing that is zero but the number of services.
    pub fn summary(&self) -> String {
        if let Some(error) = &self.error {
            return format!("cycle failed, nothing was updated: {error}");
        }
        let mut summary = match self.services {
            0 => "no service matches".to_owned(),
            1 => "1 service".to_owned(),
            services => format!("{services} services"),
        };
        let counts = self.counts();
        let decided = [("up to date", self.up_to_date)];
        let ended = counts.iter().map(|(name, count)| (*name, *count));
        let rest = [
            ("not begun", self.not_begun),
            ("errors", self.errors.len()),
            ("left alone", self.left_alone.len()),
        ];
        let mut separator = ": ";
        for (name, count) in decided.into_iter().chain(ended).chain(rest) {
            if count > 0 {
                let _ = write!(summary, "{separator}{count} {name}");
                separator = ", ";
            }
        }
        if self.is_interrupted {
            summary.push_str("; interrupted");
        }
        summary
    }

    /// The names behind the counts, the gravest first.
    pub fn lines(&self) -> Vec<(Weight, String)> {
        let mut lines = Vec::new();
        for (service, image, cause) in &self.errors {
            lines.push((Weight::Error, format!("error: {service} ({image}): {cause}")));
        }
        for (name, services) in self.services_by_outcome() {
            let has_failed = services.iter().any(|finished| finished.outcome.is_failure());
            let weight = if has_failed { Weight::Error } else { Weight::Info };
            let names: Vec<&str> = services.iter().map(|finished| finished.service.as_str()).collect();
            lines.push((weight, format!("{name}: {}", names.join(" "))));
        }
        for (service, reason) in &self.left_alone {
            lines.push((Weight::Detail, format!("left alone: {service}: {reason}")));
        }
        lines.sort_by_key(|(weight, _)| *weight);
        lines
    }

    fn services_by_outcome(&self) -> BTreeMap<&'static str, Vec<&Finished>> {
        let mut by_outcome: BTreeMap<&'static str, Vec<&Finished>> = BTreeMap::new();
        for finished in &self.finished {
            by_outcome.entry(finished.outcome.name()).or_default().push(finished);
        }
        by_outcome
    }

    /// The services that were updated.
    pub fn updated(&self) -> impl Iterator<Item = &Finished> {
        self.finished.iter().filter(|finished| finished.outcome == Outcome::Updated)
    }
}
