//! What is counted while Gantry works, for metrics. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::record::{RunRecord, WokenBy};
use crate::cycle::hub::HubPulls;
use crate::image::ImageRef;
use crate::model::event::Event;
use crate::registry::HubRate;

/// The results of a run.
const RESULTS: [&str; 4] = ["ok", "failed", "postponed", "interrupted"];

/// The outcomes of an update, by the names of summaries.
const OUTCOMES: [&str; 10] = [
    "updated",
    "unchanged",
    "rolled back",
    "rollback failed",
    "failed",
    "started",
    "superseded",
    "removed",
    "postponed",
    "interrupted",
];

/// How a rollout ends.
const ENDS: [&str; 4] = ["done", "stopped", "superseded", "postponed"];

/// What became of a notification at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationResult {
    /// The address took it.
    Sent,
    /// The address did not take it, and Gantry tries again later.
    Failed,
    /// The address did not take it, and Gantry does not try again.
    GivenUp,
}

impl NotificationResult {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::GivenUp];

    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

/// The upper bounds of durations, in seconds.
const RUN_SECONDS: [f64; 10] = [0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];
const UPDATE_SECONDS: [f64; 12] = [1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];

/// From a sender's event to the first update: the goal is two seconds.
const WEBHOOK_SECONDS: [f64; 8] = [0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 15.0, 60.0];

/// The results of a request to a webhook.
const WEBHOOK_RESULTS: [&str; 5] = ["triggered", "ignored", "unknown_image", "unauthorized", "malformed"];

/// How long the events of one push take to arrive. What comes later is another push.
const ONE_PUSH: SignedDuration = SignedDuration::from_secs(5);

/// The repository of an image with its registry, however it is written: what webhooks are about.
pub fn repository_of(image: &ImageRef) -> String {
    format!("{}/{}", image.registry().to_ascii_lowercase(), image.repository())
}

/// The labels of a series: names and values from fixed sets.
pub(super) type MetricLabels = Vec<(&'static str, &'static str)>;

/// What is counted while Gantry works.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) cycles: Family<MetricLabels, Counter>,
    pub(super) cycle_seconds: Histogram,
    pub(super) last_end: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    /// What Docker Hub allowed the account with fewest pulls left, after the latest run that asked.
    pub(super) hub: Option<HubRate>,
    pub(super) updates: Family<MetricLabels, Counter>,
    pub(super) update_seconds: Histogram,
    pub(super) rollouts: Family<MetricLabels, Counter>,
    pub(super) images_removed: Family<MetricLabels, Counter>,
    pub(super) notifications: Family<MetricLabels, Counter>,
    pub(super) webhooks: Family<MetricLabels, Counter>,
    pub(super) new_digests: Family<MetricLabels, Counter>,
    pub(super) webhook_seconds: Histogram,
    /// When senders told of pushes that no update has followed, by repository.
    told: BTreeMap<String, Timestamp>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            cycles: Family::default(),
            cycle_seconds: Histogram::new(RUN_SECONDS),
            last_end: None,
            last_success: None,
            hub: None,
            updates: Family::default(),
            update_seconds: Histogram::new(UPDATE_SECONDS),
            rollouts: Family::default(),
            images_removed: Family::default(),
            notifications: Family::default(),
            webhooks: Family::default(),
            new_digests: Family::default(),
            webhook_seconds: Histogram::new(WEBHOOK_SECONDS),
            told: BTreeMap::new(),
        };
        for result in RESULTS {
            for trigger in WokenBy::ALL {
                let labels = vec![("result", result), ("trigger", trigger.name())];
                drop(metrics.cycles.get_or_create(&labels));
            }
        }
        let all = [
            (&metrics.updates, "outcome", &OUTCOMES[..]),
            (&metrics.rollouts, "result", &ENDS[..]),
            (&metrics.images_removed, "result", &["removed", "failed"][..]),
            (&metrics.notifications, "result", &NotificationResult::ALL.map(NotificationResult::name)[..]),
            (&metrics.new_digests, "seen_by", &["webhook", "interval", "api"][..]),
        ];
        for (family, label, values) in all {
            for value in values {
                drop(family.get_or_create(&vec![(label, *value)]));
            }
        }
        metrics
    }
}

impl Metrics {
    /// Counts a request to a webhook. A sender has series once it has sent something: all of them, so that `increase()` sees
    /// what follows.
    pub fn webhook(&self, sender: &'static str, result: &'static str) {
        for known in WEBHOOK_RESULTS {
            let counter = self.webhooks.get_or_create(&vec![("sender", sender), ("result", known)]);
            counter.inc_by(u64::from(known == result));
        }
    }

    /// A sender has told of a push to this repository, as [`repository_of`] names it.
    pub fn pushed(&mut self, repository: &str, at: Timestamp) {
        let told = self.told.entry(repository.to_owned()).or_insert(at);
        if at.duration_since(*told) > ONE_PUSH {
            *told = at;
        }
    }

    /// Counts a digest that a registry gave for the first time.
    pub(super) fn digest_seen(&self, by: WokenBy) {
        let by = match by {
            WokenBy::Webhook => "webhook",
            WokenBy::Api => "api",
            WokenBy::Interval | WokenBy::Start | WokenBy::Path => "interval",
        };
        self.new_digests.get_or_create(&vec![("seen_by", by)]).inc();
    }

    /// Counts an event.
    pub(super) fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::UpdateBegan { to, found: None, .. } => {
                if let Some(told) = self.told.remove(&repository_of(to)) {
                    self.webhook_seconds.observe(at.duration_since(told).as_secs_f64());
                }
            }
            Event::UpdateEnded(finished) => {
                self.updates.get_or_create(&vec![("outcome", finished.outcome.name())]).inc();
                self.update_seconds.observe(finished.took.as_secs_f64());
            }
            Event::ImageRemoved { .. } => {
                self.images_removed.get_or_create(&vec![("result", "removed")]).inc();
            }
            Event::ImageNotRemoved { .. } => {
                self.images_removed.get_or_create(&vec![("result", "failed")]).inc();
            }
            _ => {}
        }
    }

    /// Counts a notification.
    pub(super) fn notified(&self, result: NotificationResult) {
        self.notifications.get_or_create(&vec![("result", result.name())]).inc();
    }

    /// Counts a rollout that is over.
    pub(super) fn rollout_ended(&self, state: &'static str) {
        let result = if state == "held" { "postponed" } else { state };
        self.rollouts.get_or_create(&vec![("result", result)]).inc();
    }

    /// Takes note of what Docker Hub allows.
    pub(super) fn take_pulls(&mut self, pulls: &[HubPulls]) {
        let rates = pulls.iter().filter_map(|pulls| pulls.after.as_ref().or(pulls.before.as_ref()));
        self.hub = rates.min_by_key(|rate| rate.remaining).cloned().or_else(|| self.hub.take());
    }

    /// Counts a run that is over.
    pub(super) fn run_ended(&mut self, record: &RunRecord, result: &'static str, at: Timestamp) {
        let labels = vec![("result", result), ("trigger", record.trigger.name())];
        self.cycles.get_or_create(&labels).inc();
        self.cycle_seconds.observe(at.duration_since(record.began).as_secs_f64());
        self.last_end = Some(at);
        if result == "ok" {
            self.last_success = Some(at);
        }
    }
}
