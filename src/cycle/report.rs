//! Stage 6: what happened, as one value. Log lines, notification, metrics and the exit code only render
//! it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::cleanup::Cleaned;
use super::hub::HubPulls;
use crate::ledger::LeftBehind;
use crate::ledger::turn::Turn;
use crate::model::attention::{Attention, OtherHand};
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::finished::{Finished, Held, NotBegun, StoppedRollout};
use crate::model::update::Update;
use crate::rollout::rolled_out::RolledOut;

/// What one cycle did.
#[derive(Debug, Default)]
pub struct Report {
    /// Why no service could be looked at, if so.
    pub error: Option<String>,
    /// How many services matched.
    pub services: usize,
    /// How many of them have what the registry has.
    pub up_to_date: usize,
    /// Their names.
    pub newest: Vec<String>,
    /// Services that were left alone, with the reason.
    pub left_alone: Vec<(String, Reason)>,
    /// Services of which it could not be told whether they need an update: name, image, cause.
    pub errors: Vec<(String, String, String)>,
    /// Services that do not run as they should, though there is nothing to be sent to them.
    pub needs_attention: Vec<(String, Attention)>,
    /// How the updates ended.
    pub finished: Vec<Finished>,
    /// Services of an earlier run's unjudged updates, of which nothing could be told.
    pub unjudged: Vec<String>,
    /// Updates that were not begun, with the reason.
    pub not_begun: Vec<NotBegun>,
    /// Why updates were left to the next cycle: another Gantry was rolling out, or the cluster was not fit for it.
    pub postponed: Option<String>,
    /// Images whose rollout was stopped because too many of its updates failed.
    pub stopped: Vec<StoppedRollout>,
    /// What the cleaning did, where there was something to clean.
    pub cleanup: Option<Cleaned>,
    /// What Docker Hub still allows, where it was asked for images and says so.
    pub hub: Vec<HubPulls>,
    /// Whether Gantry was stopped meanwhile.
    pub is_interrupted: bool,
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

/// Services of which for the same cause it could not be told whether they need an update.
#[derive(Debug)]
pub struct AlikeErrors<'a> {
    /// The cause.
    pub cause: &'a str,
    /// The services.
    pub services: Vec<&'a str>,
    /// Their images, each once.
    pub images: BTreeSet<&'a str>,
}

impl Report {
    /// Takes note of the decisions and returns the updates among them.
    pub(super) fn take_decisions(&mut self, planned: Vec<Planned>) -> Vec<Update> {
        let mut updates = Vec::new();
        self.services += planned.len();
        for Planned { service, image, decision, is_left_behind } in planned {
            let is_unjudged =
                matches!(decision, Decision::Error(_) | Decision::LeftAlone(Reason::TasksUnknown));
            if is_left_behind && is_unjudged {
                self.unjudged.push(service.clone());
            }
            match decision {
                Decision::Update(update) => updates.push(*update),
                Decision::Later(update, hand) => {
                    let Update { from, to, .. } = *update;
                    let why = Held::OtherHand(hand);
                    self.not_begun.push(NotBegun { service, from, to, why });
                }
                Decision::UpToDate => {
                    self.up_to_date += 1;
                    self.newest.push(service);
                }
                Decision::NeedsAttention { what, .. } => self.needs_attention.push((service, what)),
                Decision::LeftAlone(reason) => self.left_alone.push((service, reason)),
                Decision::Error(cause) => self.errors.push((service, image, cause)),
            }
        }
        updates
    }

    /// Takes note of decisions that nothing follows from in this cycle.
    pub(super) fn postpone(&mut self, planned: Vec<Planned>, turn: &Turn) {
        let why = match turn {
            Turn::NotOurs { holder } => {
                self.postponed = Some(format!("another Gantry ({holder}) is rolling out"));
                Held::Postponed
            }
            _ => Held::Interrupted,
        };
        for Update { service, from, to, .. } in self.take_decisions(planned) {
            self.not_begun.push(NotBegun { service, from, to, why });
        }
    }

    /// Takes note of how the updates ended.
    pub(super) fn take_rollout(&mut self, rolled_out: RolledOut) {
        self.finished.extend(rolled_out.finished);
        self.not_begun.extend(rolled_out.not_begun);
        self.stopped.extend(rolled_out.stopped);
        self.postponed = self.postponed.take().or_else(|| rolled_out.shut.map(|shut| shut.to_string()));
    }

    /// The updates that are not judged by now: those of this cycle, and where it did not come to its end what it had been
    /// `left`. Gantry's own service (`itself`) needs no judgement: it runs.
    pub(super) fn left_behind(&self, left: LeftBehind, itself: Option<&str>) -> LeftBehind {
        let is_whole = !self.is_interrupted && self.error.is_none();
        let mut left = if is_whole { LeftBehind::default() } else { left };
        left.services.extend(self.unjudged.iter().cloned());
        for Finished { service, outcome, .. } in &self.finished {
            if outcome.is_unjudged() && itself != Some(service) {
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
            || !self.errors.is_empty()
            || !self.stopped.is_empty()
            || self.needs_attention.iter().any(|(_, what)| what.is_failure())
            || self.finished.iter().any(|finished| finished.outcome.is_failure())
    }

    /// Whether something that should have been updated is left behind, though nothing failed: a one-shot run then exits
    /// with 3. What a rule or the quarantine keeps from an update is not left behind.
    pub fn is_incomplete(&self) -> bool {
        !self.has_failed()
            && (!self.not_begun.is_empty()
                || self.finished.iter().any(|finished| finished.outcome.is_left_behind())
                || self.left_alone.iter().any(|(_, reason)| reason.is_for_now()))
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
        let after = self.post_run.as_ref().map_or_else(String::new, |failed| format!("; {failed}"));
        match (&self.error, self.services) {
            (Some(error), _) => {
                let ended: Vec<String> =
                    self.counts().iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
                let before =
                    if ended.is_empty() { "nothing was updated".to_owned() } else { ended.join(", ") };
                format!("cycle failed, {before}: {error}{after}")
            }
            (None, 0) if self.is_interrupted => format!("interrupted, nothing was updated{after}"),
            (None, _) => format!("{}{after}", self.numbers()),
        }
    }

    /// The counts, and what explains them.
    fn numbers(&self) -> String {
        let mut summary = match self.services {
            0 => "no service matches".to_owned(),
            1 => "1 service".to_owned(),
            services => format!("{} services", grouped(services)),
        };
        let counts = self.counts();
        let decided = [("up to date", self.up_to_date)];
        let ended = counts.iter().map(|(name, count)| (*name, *count));
        let not_begun = |why: Held| self.not_begun.iter().filter(|held| held.why == why).count();
        let rest = [
            ("held back", not_begun(Held::RolloutStopped) + not_begun(Held::TakenBack)),
            ("unproved", not_begun(Held::Unproven)),
            ("not begun", not_begun(Held::Interrupted)),
            (
                if self.needs_attention.len() == 1 { "needs attention" } else { "need attention" },
                self.needs_attention.len(),
            ),
            (if self.errors.len() == 1 { "error" } else { "errors" }, self.errors.len()),
            ("left alone", self.left_alone.len()),
            // The last, as its reason follows.
            ("postponed", not_begun(Held::Postponed) + self.in_other_hands().count()),
        ];
        let mut separator = ": ";
        for (name, count) in decided.into_iter().chain(ended).chain(rest) {
            if count > 0 {
                let _ = write!(summary, "{separator}{} {name}", grouped(count));
                separator = ", ";
            }
        }
        if let Some(why) = &self.postponed {
            let is_counted = not_begun(Held::Postponed) > 0;
            let _ = write!(summary, "{}: {why}", if is_counted { "" } else { "; postponed" });
        }
        let without_node = self.finished.iter().filter(|finished| finished.outcome.is_without_node()).count();
        if without_node > 0 {
            let _ = write!(summary, "; {} started without a node", grouped(without_node));
        }
        for stopped in self.stopped.iter().filter(|stopped| stopped.touched < stopped.total) {
            let _ = write!(summary, "; {}", stopped.summary());
        }
        if self.is_interrupted {
            summary.push_str("; interrupted");
        }
        summary
    }

    /// The names behind the counts, the gravest first.
    pub fn lines(&self) -> Vec<(Weight, String)> {
        let mut lines = Vec::new();
        lines.extend(self.alike_errors().map(|alike| {
            let services = alike.services.join(" ");
            (Weight::Error, format!("error: {services} ({}): {}", alike.image_names(), alike.cause))
        }));
        for stopped in self.stopped.iter().filter(|stopped| stopped.touched < stopped.total) {
            lines.push((Weight::Error, stopped.to_string()));
        }
        for (name, services) in self.services_by_outcome() {
            let has_failed = services.iter().any(|finished| finished.outcome.is_failure());
            let weight = if has_failed { Weight::Error } else { Weight::Info };
            let names: Vec<&str> = services.iter().map(|finished| finished.service.as_str()).collect();
            lines.push((weight, format!("{name}: {}", names.join(" "))));
        }
        lines.extend(self.left_behind_lines());
        for (reason, services) in self.services_by_reason() {
            let is_told = matches!(reason, Reason::HeldBack(_) | Reason::TasksUnknown) || reason.is_for_now();
            let weight = if is_told { Weight::Warning } else { Weight::Info };
            lines.push((weight, format!("left alone: {}: {reason}", services.join(" "))));
        }
        if !self.newest.is_empty() {
            lines.push((Weight::Detail, format!("up to date: {}", self.newest.join(" "))));
        }
        let mut alike: BTreeMap<String, (Weight, Vec<&str>)> = BTreeMap::new();
        for (service, what) in &self.needs_attention {
            let weight = if what.is_failure() { Weight::Error } else { Weight::Warning };
            alike.entry(what.to_string()).or_insert((weight, Vec::new())).1.push(service);
        }
        for (what, (weight, services)) in alike {
            lines.push((weight, format!("needs attention: {}: {what}", services.join(" "))));
        }
        let told = self.hub.iter().filter_map(HubPulls::told);
        lines.extend(told.map(|told| (Weight::Info, told)));
        lines.sort_by_key(|(weight, _)| *weight);
        lines
    }

    /// The services that another party is at work on.
    fn in_other_hands(&self) -> impl Iterator<Item = (&str, OtherHand)> {
        self.not_begun.iter().filter_map(|held| match held.why {
            Held::OtherHand(hand) => Some((held.service.as_str(), hand)),
            _ => None,
        })
    }

    /// The services that should have been updated and were not, or whose new tasks no node takes.
    fn left_behind_lines(&self) -> Vec<(Weight, String)> {
        let postponed = self.postponed.as_deref().unwrap_or("the next cycle tries again");
        let held = [
            (Held::Unproven, "unproved", UNPROVED),
            (Held::Postponed, "postponed", postponed),
            (Held::Interrupted, "not begun", "Gantry was stopped first"),
        ];
        let of = |why: Held| -> Vec<&str> {
            self.not_begun.iter().filter(|held| held.why == why).map(|held| held.service.as_str()).collect()
        };
        let held = held.into_iter().map(|(why, what, words)| (of(why), what, words));
        let without_node = self.finished.iter().filter(|finished| finished.outcome.is_without_node());
        let without_node = without_node.map(|finished| finished.service.as_str()).collect();
        let without_node = (without_node, "without a node", "their tasks start when a node takes them");
        let taken_back =
            "a person or another program took another service of this image back; the next cycle looks again";
        let taken_back = (of(Held::TakenBack), "held back", taken_back);
        let lines = held.chain([without_node, taken_back]).filter(|(services, ..)| !services.is_empty());
        let mut lines: Vec<(Weight, String)> = lines
            .map(|(services, what, words)| {
                (Weight::Warning, format!("{what}: {}: {words}", services.join(" ")))
            })
            .collect();
        let mut waiting: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (service, hand) in self.in_other_hands() {
            waiting.entry(hand.to_string()).or_default().push(service);
        }
        for (hand, services) in waiting {
            let words = format!("postponed: {}: {hand}; the next cycle looks again", services.join(" "));
            lines.push((Weight::Warning, words));
        }
        lines
    }

    /// The errors, those with the same cause together: the cause of most services first.
    pub fn alike_errors(&self) -> impl Iterator<Item = AlikeErrors<'_>> {
        let mut by_cause: BTreeMap<&str, (Vec<&str>, BTreeSet<&str>)> = BTreeMap::new();
        for (service, image, cause) in &self.errors {
            let (services, images) = by_cause.entry(cause).or_default();
            services.push(service);
            images.insert(image);
        }
        let alike = |(cause, (services, images))| AlikeErrors { cause, services, images };
        let mut alike: Vec<AlikeErrors<'_>> = by_cause.into_iter().map(alike).collect();
        alike.sort_by_key(|alike| std::cmp::Reverse(alike.services.len()));
        alike.into_iter()
    }

    /// The services that were left alone, those with the same reason together.
    fn services_by_reason(&self) -> Vec<(&Reason, Vec<&str>)> {
        let mut by_words: BTreeMap<String, (&Reason, Vec<&str>)> = BTreeMap::new();
        for (service, reason) in &self.left_alone {
            by_words.entry(reason.to_string()).or_insert((reason, Vec::new())).1.push(service);
        }
        by_words.into_values().collect()
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
        self.finished.iter().filter(|finished| finished.outcome.is_success())
    }
}

impl AlikeErrors<'_> {
    /// The images, of many only how many they are.
    pub fn image_names(&self) -> String {
        const NAMES: usize = 3;
        let names: Vec<&str> = self.images.iter().take(NAMES).copied().collect();
        match self.images.len().saturating_sub(NAMES) {
            0 => names.join(", "),
            more => format!("{} and {} other images", names.join(", "), grouped(more)),
        }
    }
}

impl StoppedRollout {
    /// In half a sentence, without the causes.
    fn summary(&self) -> String {
        let (touched, total) = (grouped(self.touched), grouped(self.total));
        format!("the rollout of {} was stopped after {touched} of {total}", self.image.tagged())
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
fn grouped(number: usize) -> String {
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
