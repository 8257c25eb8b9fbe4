//! All that is known now, of every service, rollout and run, for page, API and metrics. Pure.
//!
//! The board is folded from the events of all runs. Nothing in it is asked of the engine for its own sake. Each change has a
//! revision, so that a reader who looks again gets what has changed since.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use self::digests::KnownDigests;
pub use self::live::LiveBoard;
pub use self::record::{RunRecord, WokenBy};
pub use self::service::{ServiceState, ShownService};
use self::tally::Metrics;
pub use self::tally::{NotificationResult, repository_of};
use crate::cycle::Report;
use crate::model::event::Event;
use crate::model::rollout::Rollout;
use crate::model::row::Row;

mod digests;
mod explain;
mod live;
pub mod metrics;
mod record;
pub mod render;
mod rule;
mod service;
mod tally;
#[cfg(test)]
mod tests;

/// How many runs with news are remembered.
const MAX_HISTORY: usize = 200;

/// How many services the remembered runs may name together. Of older runs, the summary stays.
const MAX_HISTORY_SERVICES: usize = 3_000;

/// How long a rollout that is over is shown.
const ROLLOUT_STAYS: SignedDuration = SignedDuration::from_mins(10);

/// How many rollouts that are over are shown at most: many images in a row do not make the state large.
const MAX_ROLLOUTS_OVER: usize = 20;

/// All that is known now.
#[derive(Clone, Debug)]
pub struct Board {
    /// When this process began: revisions of another process say nothing here.
    pub started: Timestamp,
    /// Grows with each change.
    pub revision: u64,
    /// The services, by name.
    pub services: BTreeMap<String, ShownService>,
    /// The rollouts under way and those that ended lately, by image with digest.
    pub rollouts: BTreeMap<String, ShownRollout>,
    /// The runs under way, by number.
    pub runs: BTreeMap<u64, RunRecord>,
    /// The runs with news that are over, newest first.
    pub history: VecDeque<Arc<RunRecord>>,
    /// Why no update begins; empty: updates may begin.
    pub paused: Vec<ShownPause>,
    /// The latest look.
    pub look: Option<ShownLook>,
    /// When the next look begins, where the interval says so.
    pub next_look: Option<Timestamp>,
    /// Why the latest run could look at no service.
    pub error: Option<String>,
    /// The engine's host name.
    pub node: String,
    /// The revision at which a service was removed last: who knows less needs the whole state.
    pub removed: u64,
    /// The digests that the registries gave.
    pub digests: KnownDigests,
    /// What is counted.
    pub metrics: Metrics,
}

/// A rollout, as page and API show it.
#[derive(Clone, Debug)]
pub struct ShownRollout {
    /// How it stands.
    pub rollout: Rollout,
    /// Since when it is known.
    pub since: Timestamp,
    /// When it was over.
    pub over: Option<Timestamp>,
}

/// A reason why no update begins.
#[derive(Clone, Debug)]
pub struct ShownPause {
    /// In words.
    pub why: String,
    /// In one word, as metrics have it.
    pub reason: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// Whether it comes with every other update: people are not told of it.
    pub is_routine: bool,
}

/// A look at the swarm and the registries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShownLook {
    /// When it began.
    pub began: Timestamp,
    /// How long it took; `None`: it goes on.
    pub seconds: Option<f64>,
}

impl Board {
    /// Nothing is known yet.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            revision: 0,
            services: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            runs: BTreeMap::new(),
            history: VecDeque::new(),
            paused: Vec::new(),
            look: None,
            next_look: None,
            error: None,
            node: String::new(),
            removed: 0,
            digests: KnownDigests::default(),
            metrics: Metrics::default(),
        }
    }

    /// A run begins.
    pub fn begin(&mut self, id: u64, trigger: WokenBy, by: Option<String>, at: Timestamp) {
        self.revision += 1;
        self.runs.insert(id, RunRecord::begun(id, trigger, by, at));
        self.look = Some(ShownLook { began: at, seconds: None });
        self.next_look = None;
    }

    /// Takes an event of a run into account.
    pub fn apply(&mut self, run: u64, event: &Event, at: Timestamp) {
        self.revision += 1;
        self.metrics.apply(event, at);
        if let Some((name, image)) = Rollout::of(event) {
            let new = || ShownRollout { rollout: Rollout::new(image), since: at, over: None };
            let shown = self.rollouts.entry(name).or_insert_with(new);
            if shown.rollout.is_over && matches!(event, Event::RolloutMoved(_)) {
                *shown = new();
            }
            shown.rollout.apply(event);
            if shown.rollout.is_over && shown.over.is_none() {
                shown.over = Some(at);
                self.metrics.rollout_ended(shown.rollout.state());
            }
        }
        match event {
            Event::Decided(rows) => {
                self.look_took(run, at);
                self.learn(run, rows);
                for row in rows {
                    self.take_row(run, row, at);
                }
            }
            Event::NotBegun(rows) => {
                for row in rows {
                    self.take_row(run, row, at);
                }
            }
            Event::UpdateBegan { service, from, to, .. } => {
                self.take(run, service, ShownService::updating(from, to), at);
            }
            Event::UpdateWaits { service, is_rolling_back, reason } => {
                let what = if *is_rolling_back { "its rollback" } else { "its update" };
                self.explain(run, service, &format!("{what} waits: {reason}"), at);
            }
            Event::UpdateFailed { service, cause } | Event::UpdateFailedLate { service, cause } => {
                self.explain(run, service, &format!("its update failed and is rolled back: {cause}"), at);
            }
            Event::UpdateEnded(finished) => match ShownService::of_end(finished) {
                Some(shown) => self.take(run, &finished.service, shown, at),
                None => self.remove(&finished.service),
            },
            Event::Paused { why, reason, is_routine } => {
                let (why, is_routine) = (why.clone(), *is_routine);
                self.paused.push(ShownPause { why, reason, since: at, is_routine });
            }
            Event::Resumed { was, .. } => self.paused.retain(|pause| pause.why != *was),
            _ => {}
        }
    }

    /// Leaves out rollouts that were over long ago, or before many others.
    fn forget_rollouts(&mut self, at: Timestamp) {
        let is_old = |over: Timestamp| at.duration_since(over) >= ROLLOUT_STAYS;
        let over = |shown: &ShownRollout| shown.over.filter(|over| !is_old(*over));
        let mut recent: Vec<Timestamp> = self.rollouts.values().filter_map(over).collect();
        recent.sort_unstable_by(|one, other| other.cmp(one));
        let oldest = recent.get(MAX_ROLLOUTS_OVER).copied();
        let stays = |over: Timestamp| !is_old(over) && oldest.is_none_or(|oldest| over > oldest);
        self.rollouts.retain(|_, shown| shown.over.is_none_or(stays));
    }

    /// Counts what became of a notification at one address.
    pub fn notified(&self, result: NotificationResult) {
        self.metrics.notified(result);
    }

    /// A run is over. Returns what it came to.
    pub fn end(&mut self, run: u64, report: &Report, at: Timestamp) -> Option<Arc<RunRecord>> {
        self.revision += 1;
        self.look_took(run, at);
        self.error.clone_from(&report.error);
        let is_whole = report.error.is_none()
            && !report.is_interrupted
            && !report.is_partial
            && report.postponed.is_none();
        if is_whole {
            let looked_at: BTreeSet<&str> = report.rows.iter().map(|row| row.service.as_str()).collect();
            let gone = self.services.iter().filter(|(name, shown)| {
                shown.run <= run
                    && !looked_at.contains(name.as_str())
                    && (shown.run == run || !self.runs.contains_key(&shown.run))
            });
            let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
            for name in gone {
                self.remove(&name);
            }
            self.digests.keep(self.services.values().map(|shown| &*shown.image));
        }
        self.forget_rollouts(at);
        let mut record = self.runs.remove(&run)?;
        record.end(report, at);
        let result = match report {
            _ if report.is_interrupted => "interrupted",
            _ if report.has_failed() => "failed",
            _ if report.postponed.is_some() => "postponed",
            _ => "ok",
        };
        self.metrics.run_ended(&record, result, at);
        self.metrics.take_pulls(&report.hub);
        let record = Arc::new(record);
        if record.has_news() {
            self.remember(record.clone());
        }
        Some(record)
    }

    /// When the next look begins.
    pub fn wait_until(&mut self, next: Option<Timestamp>) {
        self.revision += 1;
        self.next_look = next;
    }

    /// A run, whether it is over or not.
    pub fn run(&self, id: u64) -> Option<&RunRecord> {
        self.runs.get(&id).or_else(|| self.history.iter().find(|record| record.id == id).map(Arc::as_ref))
    }

    /// How many services stand in which way.
    pub fn counts(&self) -> BTreeMap<ServiceState, usize> {
        let mut counts: BTreeMap<ServiceState, usize> =
            ServiceState::ALL.into_iter().map(|state| (state, 0)).collect();
        for shown in self.services.values() {
            *counts.entry(shown.state).or_default() += 1;
        }
        counts
    }

    /// Whether nothing is known yet: the first look is not over.
    pub fn is_new(&self) -> bool {
        self.services.is_empty() && self.metrics.last_success.is_none()
    }

    /// Takes over the digests that the registries gave.
    fn learn(&mut self, run: u64, rows: &[Row]) {
        let trigger = self.runs.get(&run).map_or(WokenBy::Interval, |record| record.trigger);
        for row in rows {
            if let Some(digest) = row.details.as_ref().and_then(|details| details.newest.as_ref())
                && self.digests.take(&row.image, digest)
            {
                self.metrics.digest_seen(trigger);
            }
        }
    }

    fn look_took(&mut self, run: u64, at: Timestamp) {
        let began = self.runs.get(&run).map(|record| record.began);
        if let Some(look) = &mut self.look
            && began == Some(look.began)
            && look.seconds.is_none()
        {
            look.seconds = Some(at.duration_since(look.began).as_secs_f64());
        }
    }

    fn take_row(&mut self, run: u64, row: &Row, at: Timestamp) {
        if let Some(shown) = ShownService::of_row(row) {
            self.take(run, &row.service, shown, at);
        }
    }

    fn take(&mut self, run: u64, name: &str, shown: ShownService, at: Timestamp) {
        let mut shown = ShownService { since: at, run, ..shown };
        let before = self.services.get_mut(name);
        if shown.follow(before.as_deref()) {
            shown.changed = self.revision;
        }
        match before {
            Some(before) => *before = shown,
            None => _ = self.services.insert(name.to_owned(), shown),
        }
    }

    fn explain(&mut self, run: u64, name: &str, why: &str, at: Timestamp) {
        if let Some(known) = self.services.get(name) {
            let shown = ShownService { why: why.to_owned(), state: ServiceState::Updating, ..known.clone() };
            self.take(run, name, shown, at);
        }
    }

    fn remove(&mut self, name: &str) {
        if self.services.remove(name).is_some() {
            self.removed = self.revision;
        }
    }

    fn remember(&mut self, record: Arc<RunRecord>) {
        self.history.push_front(record);
        self.history.truncate(MAX_HISTORY);
        let mut named = 0;
        for record in &mut self.history {
            named += record.services.len();
            if named > MAX_HISTORY_SERVICES && !record.services.is_empty() {
                *record = Arc::new(RunRecord { services: Vec::new(), ..RunRecord::clone(record) });
            }
        }
    }
}
