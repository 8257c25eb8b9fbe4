//! Stage 6: what happened, as one value. Log lines, notification, metrics and the exit code only render
//! it. Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::cleanup::Cleaned;
use super::hub::HubPulls;
use super::plan::{Decision, Planned, Reason, Update};
use super::resume::{Attention, OtherHand};
use super::rollout::{Finished, Held, NotBegun, RolledOut, StoppedRollout};
use crate::ledger::LeftBehind;
use crate::ledger::turn::Turn;

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
    /// Services that do not run as they should, though there is nothing to be sent to them.
    pub needs_attention: Vec<(String, Attention)>,
    /// How the updates ended.
    pub finished: Vec<Finished>,
    /// Services that somebody has left behind, and of which nothing could be told.
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
                Decision::UpToDate => self.up_to_date += 1,
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

    /// What nobody has judged by now: the updates of this cycle, and where it did not come to its end what it had been
    /// `left`. Ourselves (`itself`) nobody needs to judge: whoever reads this runs.
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
        if let Some(error) = &self.error {
            let ended: Vec<String> =
                self.counts().iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
            let before = if ended.is_empty() { "nothing was updated".to_owned() } else { ended.join(", ") };
            return format!("cycle failed, {before}: {error}{after}");
        }
        let mut summary = match self.services {
            0 if self.is_interrupted => return format!("interrupted, nothing was updated{after}"),
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
            ("postponed", not_begun(Held::Postponed) + self.in_other_hands().count()),
            (
                if self.needs_attention.len() == 1 { "needs attention" } else { "need attention" },
                self.needs_attention.len(),
            ),
            (if self.errors.len() == 1 { "error" } else { "errors" }, self.errors.len()),
            ("left alone", self.left_alone.len()),
        ];
        let mut separator = ": ";
        for (name, count) in decided.into_iter().chain(ended).chain(rest) {
            if count > 0 {
                let _ = write!(summary, "{separator}{} {name}", grouped(count));
                separator = ", ";
            }
        }
        if let Some(why) = &self.postponed {
            let _ = write!(summary, "; postponed, as {why}");
        }
        for stopped in self.stopped.iter().filter(|stopped| stopped.touched < stopped.total) {
            let _ = write!(summary, "; {}", stopped.summary());
        }
        if self.is_interrupted {
            summary.push_str("; interrupted");
        }
        summary.push_str(&after);
        summary
    }

    /// The names behind the counts, the gravest first.
    pub fn lines(&self) -> Vec<(Weight, String)> {
        let mut lines = Vec::new();
        for (service, image, cause) in &self.errors {
            lines.push((Weight::Error, format!("error: {service} ({image}): {cause}")));
        }
        for stopped in self.stopped.iter().filter(|stopped| stopped.touched < stopped.total) {
            lines.push((Weight::Error, stopped.to_string()));
        }
        for (name, services) in self.services_by_outcome() {
            let has_failed = services.iter().any(|finished| finished.outcome.is_failure());
            let weight = if has_failed { Weight::Error } else { Weight::Info };
            let names: Vec<&str> = services.iter().map(|finished| finished.service.as_str()).collect();
            lines.push((weight, format!("{name}: {}", names.join(" "))));
        }
        let unproven = self.not_begun.iter().filter(|held| held.why == Held::Unproven);
        let unproven: Vec<&str> = unproven.map(|held| held.service.as_str()).collect();
        if !unproven.is_empty() {
            let why = "no node takes their tasks, or they have none, and no other service has shown that the image works";
            lines.push((Weight::Warning, format!("unproved: {}: {why}", unproven.join(" "))));
        }
        let mut waiting: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (service, hand) in self.in_other_hands() {
            waiting.entry(hand.to_string()).or_default().push(service);
        }
        for (hand, services) in waiting {
            let words = format!("postponed: {}: {hand}; the next cycle looks again", services.join(" "));
            lines.push((Weight::Warning, words));
        }
        let held = self.not_begun.iter().filter(|held| held.why == Held::TakenBack);
        let held: Vec<&str> = held.map(|held| held.service.as_str()).collect();
        if !held.is_empty() {
            let why = "a person or another program took another service of this image back; the next cycle looks again";
            lines.push((Weight::Warning, format!("held back: {}: {why}", held.join(" "))));
        }
        for (reason, services) in self.services_by_reason() {
            let is_told = matches!(reason, Reason::HeldBack(_) | Reason::RollingBack | Reason::TasksUnknown);
            let weight = if is_told { Weight::Warning } else { Weight::Detail };
            lines.push((weight, format!("left alone: {}: {reason}", services.join(" "))));
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cycle::rollout::{By, Cause, Outcome};

    fn finished(service: &str, outcome: Outcome) -> Finished {
        Finished {
            service: service.to_owned(),
            from: "app:1".parse().unwrap(),
            to: "app:1".parse().unwrap(),
            outcome,
            log: Vec::new(),
            health: None,
            took: Duration::from_secs(1),
        }
    }

    fn held(why: Held) -> NotBegun {
        let image = || "app:1".parse().unwrap();
        NotBegun { service: "z".to_owned(), from: image(), to: image(), why }
    }

    fn cause() -> Cause {
        Cause::Unhealthy { node: "node1".to_owned() }
    }

    #[test]
    fn the_summary_counts_what_is_not_zero_and_the_lines_name_it_gravest_first() {
        let report = Report {
            services: 12,
            up_to_date: 2,
            left_alone: vec![("cron".to_owned(), Reason::Job)],
            errors: vec![("local".to_owned(), "local:1".to_owned(), "no registry knows it".to_owned())],
            finished: vec![
                finished("a", Outcome::Updated),
                finished("b", Outcome::RolledBack { by: By::Swarm, cause: cause() }),
                finished("c", Outcome::Updated),
                finished("d", Outcome::Removed),
            ],
            needs_attention: vec![
                ("e".to_owned(), Attention::NotRunning { running: 1, desired: 2 }),
                ("f".to_owned(), Attention::Kept { message: "update paused".to_owned() }),
                ("g".to_owned(), Attention::NotRunning { running: 1, desired: 2 }),
            ],
            not_begun: vec![held(Held::Interrupted)],
            ..Report::default()
        };
        insta::assert_snapshot!(
            report.summary(),
            @"12 services: 2 up to date, 1 removed, 1 rolled back, 2 updated, 1 not begun, 3 need attention, 1 error, 1 left alone"
        );
        let lines: Vec<String> =
            report.lines().into_iter().map(|(weight, line)| format!("{weight:?} {line}")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Error error: local (local:1): no registry knows it
        Error rolled back: b
        Error needs attention: f: its update has failed and was kept: update paused
        Warning needs attention: e g: it has the newest image, but 1 of 2 tasks run
        Info removed: d
        Info updated: a c
        Detail left alone: cron: a job, and updating a job runs it (GANTRY_UPDATE_JOBS=true allows it)
        ");
        assert!(report.has_failed());
    }

    #[test]
    fn a_stopped_rollout_is_told_with_its_numbers_and_causes() {
        let stopped = StoppedRollout {
            image: format!("app:1@sha256:{}", "0123".repeat(16)).parse().unwrap(),
            touched: 2,
            failed: 2,
            total: 1200,
            causes: [cause(), Cause::Ended { node: "node2".to_owned() }]
                .map(|cause| cause.to_string())
                .into(),
            blames_image: true,
        };
        let report = Report {
            services: 1200,
            finished: vec![
                finished("a", Outcome::RolledBack { by: By::Gantry, cause: cause() }),
                finished("b", Outcome::RolledBack { by: By::Gantry, cause: cause() }),
            ],
            not_begun: vec![held(Held::RolloutStopped); 1198],
            stopped: vec![stopped],
            ..Report::default()
        };
        insta::assert_snapshot!(report.summary(), @"1,200 services: 2 rolled back, 1,198 held back; the rollout of app:1 was stopped after 2 of 1,200");
        insta::assert_snapshot!(report.lines()[0].1, @"the rollout of app:1 was stopped after 2 of 1,200 (digest 012301230123): 2 failed: a task was unhealthy on node1; a task ended on node2 with exit code 0: it was unhealthy, or its program was done");
        assert!(report.has_failed());
    }

    #[test]
    fn what_nobody_has_judged_is_left_behind_and_what_was_left_until_somebody_has() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let internal = Outcome::Failed { cause: Cause::Internal { message: "a fault".to_owned() } };
        let outcomes = || {
            vec![
                finished("judged", Outcome::Updated),
                finished("under way", Outcome::Interrupted),
                finished("ourselves", Outcome::Interrupted),
                finished("fault", internal.clone()),
            ]
        };
        let left = LeftBehind { since: Some(7), services: set(&["judged", "left"]) };
        for (is_interrupted, error, since, names) in [
            (true, None, Some(7), &["error", "fault", "left", "under way"][..]),
            (false, Some("away".to_owned()), Some(7), &["error", "fault", "left", "under way"]),
            (false, None, None, &["error", "fault", "under way"]),
        ] {
            let unjudged = vec!["error".to_owned()];
            let finished = outcomes();
            let report = Report { error, finished, unjudged, is_interrupted, ..Report::default() };
            let expected = LeftBehind { since, services: set(names) };
            assert_eq!(report.left_behind(left.clone(), Some("ourselves")), expected, "{report:?}");
        }
    }

    #[test]
    fn an_error_before_updating_is_the_whole_story() {
        let report = Report { error: Some("cannot list the services".to_owned()), ..Report::default() };
        insta::assert_snapshot!(report.summary(), @"cycle failed, nothing was updated: cannot list the services");
        assert!(report.has_failed());
    }

    #[test]
    fn a_cycle_that_was_stopped_before_it_looked_does_not_say_that_there_is_nothing() {
        let report = Report { is_interrupted: true, ..Report::default() };
        insta::assert_snapshot!(report.summary(), @"interrupted, nothing was updated");
        insta::assert_snapshot!(Report { services: 2, up_to_date: 2, ..report }.summary(), @"2 services: 2 up to date; interrupted");
    }

    #[test]
    fn only_failures_make_a_cycle_fail() {
        let failed = |outcome: Outcome| {
            Report { finished: vec![finished("a", outcome)], ..Report::default() }.has_failed()
        };
        for outcome in [
            Outcome::RolledBack { by: By::Gantry, cause: cause() },
            Outcome::RollbackFailed { cause: cause(), why: cause() },
            Outcome::Failed { cause: cause() },
        ] {
            assert!(failed(outcome.clone()), "{outcome}");
        }
        for outcome in [
            Outcome::Updated,
            Outcome::Unchanged(String::new()),
            Outcome::Started(String::new()),
            Outcome::Superseded(String::new()),
            Outcome::Removed,
            Outcome::Interrupted,
        ] {
            assert!(!failed(outcome.clone()), "{outcome}");
        }
    }
}
