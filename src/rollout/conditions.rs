//! Order, groups and stacks: the conditions under which an update that waits may begin, beside its image's pace. Pure.
//!
//! An update that waits for one of them holds no worker, and counts in no ratio.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::{Config, ServicePolicy};
use crate::gate::{Gate, Refusal};
use crate::model::finished::NotBegunReason;
use crate::model::outcome::Outcome;
use crate::model::update::Update;

/// The bounds of groups and stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderLimits {
    /// How many services of one group are under way at once, at least 1.
    group_workers: usize,
    /// How many services of one stack are under way at once; `None`: no limit.
    max_per_stack: Option<usize>,
}

impl OrderLimits {
    /// One service of a group, and no limit of stacks.
    #[cfg(test)]
    pub(super) const NONE: Self = Self { group_workers: 1, max_per_stack: None };

    /// What Gantry was told.
    pub(super) fn of(config: &Config) -> Self {
        let updates = &config.updates;
        Self { group_workers: updates.group_workers, max_per_stack: updates.max_per_stack }
    }
}

/// What the conditions of the updates that wait are judged by.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    limits: OrderLimits,
    /// How many updates of a service wait or are under way, by its name.
    open: BTreeMap<String, usize>,
    /// The services that came to no good end, by name.
    bad: BTreeMap<String, Bad>,
    /// How many services of a group are under way.
    groups: BTreeMap<String, usize>,
    /// How many services of a stack are under way.
    stacks: BTreeMap<String, usize>,
    /// The groups of which one failed, with what is said of that. It concerns runs before this number.
    broken: BTreeMap<String, (u64, String)>,
    /// Whether a service has come to no good end since the last look at what waits.
    has_news: bool,
}

/// Why those that come after a service do not begin.
#[derive(Clone, Debug)]
struct Bad {
    /// In words that follow the service's name.
    words: String,
    /// A gate holds it: only who waits strictly waits for that.
    is_gate: bool,
    until: Option<Timestamp>,
}

impl Conditions {
    /// Nothing waits.
    pub(super) fn new(limits: OrderLimits) -> Self {
        Self {
            limits,
            open: BTreeMap::new(),
            bad: BTreeMap::new(),
            groups: BTreeMap::new(),
            stacks: BTreeMap::new(),
            broken: BTreeMap::new(),
            has_news: false,
        }
    }

    /// An update waits from now on.
    pub(super) fn joins(&mut self, update: &Update) {
        *self.open.entry(update.service.clone()).or_default() += 1;
        self.bad.remove(&update.service);
        // What failed before it came concerns it, too.
        self.has_news = true;
    }

    /// An update begins.
    pub(super) fn begins(&mut self, policy: &ServicePolicy) {
        for (name, counts) in [(&policy.group, &mut self.groups), (&policy.stack, &mut self.stacks)] {
            if let Some(name) = name {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
    }

    /// An update that was under way has ended. `next_run` is the number that the next run will have.
    pub(super) fn ended(&mut self, service: &str, policy: &ServicePolicy, outcome: &Outcome, next_run: u64) {
        self.is_over(service);
        take_one(&mut self.groups, policy.group.as_deref());
        take_one(&mut self.stacks, policy.stack.as_deref());
        let words = match outcome {
            Outcome::RolledBack { .. } => "which was rolled back",
            Outcome::RollbackFailed { .. } => "whose rollback failed",
            Outcome::Failed { .. } | Outcome::Overtaken { .. } => "which failed",
            Outcome::TakenBack(_) => "which was taken back",
            Outcome::Postponed(_) => "which is postponed",
            Outcome::Interrupted => "which was interrupted",
            Outcome::Updated
            | Outcome::UpdatedBut(_)
            | Outcome::Unchanged(_)
            | Outcome::Started(_)
            | Outcome::Superseded(_)
            | Outcome::Removed => return,
        };
        self.turns_bad(service, words);
        if outcome.is_failure() || matches!(outcome, Outcome::TakenBack(_)) {
            self.breaks_group(service, policy, words, next_run);
        }
    }

    /// A service that was called updated has failed since, or was taken back.
    pub(super) fn fails_late(&mut self, service: &str, policy: &ServicePolicy, next_run: u64) {
        let words = "which failed after it was called updated";
        self.turns_bad(service, words);
        self.breaks_group(service, policy, words, next_run);
    }

    /// A service has come to no good end, as it is said in words that follow its name.
    fn turns_bad(&mut self, service: &str, words: &str) {
        self.has_news = true;
        let bad = Bad { words: words.to_owned(), is_gate: false, until: None };
        self.bad.insert(service.to_owned(), bad);
    }

    fn breaks_group(&mut self, service: &str, policy: &ServicePolicy, words: &str, next_run: u64) {
        if let Some(group) = &policy.group {
            let words = format!("its group {group} is stopped by {service}, {words}");
            self.broken.entry(group.clone()).or_insert((next_run, words));
        }
    }

    /// An update that waited does not begin, for this reason.
    pub(super) fn left(&mut self, service: &str, why: &NotBegunReason) {
        self.is_over(service);
        let bad = |words: &str| Bad { words: words.to_owned(), is_gate: false, until: None };
        let bad = match why {
            NotBegunReason::Withdrawn | NotBegunReason::UnderWay => return,
            NotBegunReason::RolloutStopped => bad("whose rollout was stopped"),
            NotBegunReason::Gate(Refusal { gate: Gate::Order, .. }) => bad("which is held back"),
            NotBegunReason::Gate(refusal) => {
                Bad { words: format!("which is held: {}", refusal.why), is_gate: true, until: refusal.until }
            }
            NotBegunReason::Unproven
            | NotBegunReason::Interrupted
            | NotBegunReason::Postponed
            | NotBegunReason::OtherHand(_)
            | NotBegunReason::TakenBack => bad("which did not begin"),
        };
        self.has_news = true;
        self.bad.insert(service.to_owned(), bad);
    }

    fn is_over(&mut self, service: &str) {
        take_one(&mut self.open, Some(service));
    }

    /// Whether an update may begin now, as far as order, group and stack are concerned.
    pub(super) fn may(&self, update: &Update) -> bool {
        let policy = &update.policy;
        let count = |counts: &BTreeMap<String, usize>, name: &Option<String>| {
            name.as_ref().and_then(|name| counts.get(name)).copied().unwrap_or_default()
        };
        self.open_before(update).next().is_none()
            && count(&self.groups, &policy.group) < self.limits.group_workers
            && self.limits.max_per_stack.is_none_or(|most| count(&self.stacks, &policy.stack) < most)
    }

    /// The services that an update waits for.
    pub(super) fn open_before<'a>(&'a self, update: &'a Update) -> impl Iterator<Item = &'a str> {
        let names = update.policy.after.iter().map(|predecessor| predecessor.name.as_str());
        names.filter(|name| self.open.contains_key(*name))
    }

    /// Why an update of this run does not begin in this cycle; `None`: it may, sooner or later.
    pub(super) fn refusal(&self, run: u64, update: &Update) -> Option<Refusal> {
        let bad = update.policy.after.iter().find_map(|predecessor| {
            let bad = self.bad.get(&predecessor.name).filter(|bad| !bad.is_gate || predecessor.is_strict)?;
            Some((format!("it comes after {}, {}", predecessor.name, bad.words), bad.until))
        });
        let broken = || {
            let (before, words) = self.broken.get(update.policy.group.as_ref()?)?;
            (run < *before).then(|| (words.clone(), None))
        };
        let (why, until) = bad.or_else(broken)?;
        Some(Refusal { gate: Gate::Order, why, until })
    }

    /// Whether a service has come to no good end since this was last asked.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }
}

/// Counts one less of what has this name.
fn take_one(counts: &mut BTreeMap<String, usize>, name: Option<&str>) {
    let Some(name) = name else { return };
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
