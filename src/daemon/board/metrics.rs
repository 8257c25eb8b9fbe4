//! Metrics in the text form of Prometheus. Pure.
//!
//! No series grows with services, images or foreign input: each label has a fixed set of values, and all of them are there
//! from the start, so that `increase()` sees the first event.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::render::Around;
use super::tally::{MetricLabels, Metrics};
use super::{Board, ServiceState};
use crate::gate::Gate;
use crate::image::DOCKER_HUB;
use crate::ledger::entry::Subject;
use crate::meters::Meters;
use crate::model::decision::Reason;

type FloatGauge = Gauge<f64, AtomicU64>;

/// What the process itself uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub memory: f64,
    /// Processor time, in seconds.
    pub cpu: f64,
}

/// What the board does not know and metrics tell.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    /// `GANTRY_SLEEP_SECONDS`, where it is set.
    pub interval: Option<f64>,
    /// What the process itself uses.
    pub usage: Usage,
    /// How many streams of events are open.
    pub streams: usize,
    /// Whether services that are not in order have a series each.
    pub names_services: bool,
    /// What is counted where Gantry talks to others.
    pub meters: Meters,
}

/// How many services have a series of their own, at most.
const MAX_NAMED: usize = 100;

impl Board {
    /// How services stand, and why those are left alone or held that are.
    fn register_services(&self, registry: &mut Registry) {
        let services: Family<MetricLabels, Gauge> = Family::default();
        for (state, count) in self.counts() {
            if state != ServiceState::Held {
                services.get_or_create(&vec![("state", state.name())]).set(as_gauge(count));
            }
        }
        for reason in Gate::ALL.map(Gate::name).into_iter().chain(["other"]) {
            let held = self.services.values().filter(|shown| shown.held_by() == Some(reason));
            let labels = vec![("state", ServiceState::Held.name()), ("reason", reason)];
            services.get_or_create(&labels).set(as_gauge(held.count()));
        }
        registry.register("gantry_services", "Services by the way they stand", services);
        let left_alone: Family<MetricLabels, Gauge> = Family::default();
        for reason in Reason::NAMES {
            let alone = self.services.values().filter(|shown| shown.left_alone == Some(reason));
            left_alone.get_or_create(&vec![("reason", reason)]).set(as_gauge(alone.count()));
        }
        registry.register(
            "gantry_services_left_alone",
            "Services that are left alone, by reason",
            left_alone,
        );
    }

    /// All metrics.
    pub fn metrics(&self, around: &Around, edges: &Edges) -> String {
        let Edges { interval, usage, streams, names_services, meters } = edges;
        let mut registry = Registry::default();
        let seconds = |at: Timestamp| at.as_duration().as_secs_f64();
        let metrics = &self.metrics;
        let version: Family<MetricLabels, Gauge> = Family::default();
        version.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("gantry_build_info", "The version that runs", version);
        float(&mut registry, "gantry_start_timestamp_seconds", "When Gantry began", seconds(self.started));
        float(&mut registry, "process_resident_memory_bytes", "Resident memory", usage.memory);
        let cpu: Counter<f64, AtomicU64> = Counter::default();
        cpu.inc_by(usage.cpu);
        registry.register("process_cpu_seconds", "Processor time", cpu);

        share(&mut registry, "gantry_cycles", "Runs that are over", &metrics.cycles);
        share(&mut registry, "gantry_cycle_duration_seconds", "How long runs took", &metrics.cycle_seconds);
        let zero = |at: Option<Timestamp>| at.map_or(0.0, seconds);
        let (name, words) =
            ("gantry_cycle_last_end_timestamp_seconds", "When the latest run ended; 0: none did");
        float(&mut registry, name, words, zero(metrics.last_end));
        let name = "gantry_cycle_last_success_timestamp_seconds";
        let words = "When the latest run ended in which nothing failed; 0: none did";
        float(&mut registry, name, words, zero(metrics.last_success));
        let (name, words) =
            ("gantry_cycle_interval_seconds", "GANTRY_SLEEP_SECONDS; 0: there is no interval");
        float(&mut registry, name, words, (*interval).unwrap_or_default());
        whole(&mut registry, "gantry_cycle_under_way", "How many runs are under way", self.runs.len());

        self.register_services(&mut registry);
        share(&mut registry, "gantry_updates", "Updates that have ended", &metrics.updates);
        let words = "How long updates took";
        share(&mut registry, "gantry_update_duration_seconds", words, &metrics.update_seconds);
        let updating = self.services.values().filter(|shown| shown.state == ServiceState::Updating);
        let oldest = updating.map(|shown| shown.since).min();
        let name = "gantry_update_oldest_start_timestamp_seconds";
        float(&mut registry, name, "When the longest update under way began; 0: none is", zero(oldest));

        let rollouts: Family<MetricLabels, Gauge> = Family::default();
        for state in ["running", "stopped", "held", "superseded"] {
            let under_way = self.rollouts.values().filter(|shown| !shown.rollout.is_over);
            let count = under_way.filter(|shown| shown.rollout.state() == state).count();
            rollouts.get_or_create(&vec![("state", state)]).set(as_gauge(count));
        }
        registry.register("gantry_rollouts", "Rollouts that are not over", rollouts);
        share(&mut registry, "gantry_rollouts", "Rollouts that are over", &metrics.rollouts);
        let quarantined: Family<MetricLabels, Gauge> = Family::default();
        for scope in ["service", "image"] {
            let is_it = |subject: &Subject| match subject {
                Subject::Service(_) => scope == "service",
                Subject::Image(_) => scope == "image",
                Subject::Tag(_) => false,
            };
            let count = around.quarantine.iter().filter(|entry| is_it(&entry.subject)).count();
            quarantined.get_or_create(&vec![("scope", scope)]).set(as_gauge(count));
        }
        registry.register("gantry_quarantined_digests", "Digests that are not offered", quarantined);
        let pauses: Family<MetricLabels, Gauge> = Family::default();
        for reason in ["node", "quorum", "engine", "starting", "by_hand"] {
            let is_paused = match reason {
                "by_hand" => around.pause.is_some(),
                _ => self.paused.iter().any(|pause| pause.reason == reason),
            };
            pauses.get_or_create(&vec![("reason", reason)]).set(i64::from(is_paused));
        }
        registry.register("gantry_guard_paused", "Whether no update begins, by reason", pauses);
        metrics.register_counts(&mut registry);
        whole(&mut registry, "gantry_event_streams", "Streams of events that are open", *streams);
        let words = "How long the engine took to answer";
        share(&mut registry, "gantry_engine_request_duration_seconds", words, &meters.engine.0);
        share(&mut registry, "gantry_registry_requests", "Questions to registries", &meters.registries.asked);
        if let Some(rate) = &metrics.hub {
            let pulls = |count: Option<u64>| {
                let family: Family<MetricLabels, Gauge> = Family::default();
                let count = count.and_then(|count| i64::try_from(count).ok()).unwrap_or_default();
                family.get_or_create(&vec![("registry", DOCKER_HUB)]).set(count);
                family
            };
            let (name, words) =
                ("gantry_registry_ratelimit_remaining", "Pulls that the registry still allows");
            registry.register(name, words, pulls(Some(rate.remaining)));
            let (name, words) = ("gantry_registry_ratelimit_limit", "Pulls that the registry allows in all");
            registry.register(name, words, pulls(rate.limit));
        }
        share(&mut registry, "gantry_http_requests", "Requests to the listener", &meters.requests.0);
        if *names_services {
            self.name_services(&mut registry);
        }

        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut text, &registry);
        as_prometheus(&text)
    }
}

impl Board {
    /// A series for each service that is not in order, the first by name.
    fn name_services(&self, registry: &mut Registry) {
        let wanting = self.services.iter().filter(|(_, shown)| shown.state.wants_attention());
        let omitted = wanting.clone().count().saturating_sub(MAX_NAMED);
        let named: Family<Vec<(&'static str, String)>, Gauge> = Family::default();
        for (name, shown) in wanting.take(MAX_NAMED) {
            let labels = vec![
                ("service", name.clone()),
                ("image", shown.image.clone()),
                ("reason", shown.state.name().to_owned()),
            ];
            named.get_or_create(&labels).set(1);
        }
        registry.register("gantry_service_attention", "Services that are not in order", named);
        let words = "Services that are not in order and have no series";
        whole(registry, "gantry_service_attention_omitted", words, omitted);
    }
}

impl Metrics {
    /// Counts beside those of runs and updates.
    fn register_counts(&self, registry: &mut Registry) {
        share(registry, "gantry_images_removed", "Images removed from nodes", &self.images_removed);
        share(registry, "gantry_notifications", "Notifications by address", &self.notifications);
        let words = "Requests to webhooks, by sender and by what came of them";
        share(registry, "gantry_webhook_requests", words, &self.webhooks);
        let words = "Digests that tags moved to, by what made Gantry look";
        share(registry, "gantry_new_digests", words, &self.new_digests);
        let words = "From a sender's event to the first update";
        share(registry, "gantry_webhook_to_update_seconds", words, &self.webhook_seconds);
    }
}

/// The text form of Prometheus (0.0.4) of `OpenMetrics` text: there, a counter is named without its `_total`, which would make one
/// name of `gantry_rollouts` and `gantry_rollouts_total`.
fn as_prometheus(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF").peekable();
    let mut written = String::with_capacity(text.len());
    while let Some(line) = lines.next() {
        let described = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let counted = described
            .filter(|(name, _)| lines.peek().is_some_and(|next| *next == format!("# TYPE {name} counter")));
        if let Some((name, help)) = counted {
            lines.next();
            let _ = writeln!(written, "# HELP {name}_total {help}\n# TYPE {name}_total counter");
        } else {
            let _ = writeln!(written, "{line}");
        }
    }
    written
}

fn share<M: Metric + EncodeMetric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: &M) {
    registry.register(name, help, metric.clone());
}

fn float(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = FloatGauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn whole(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge: Gauge = Gauge::default();
    gauge.set(as_gauge(value));
    registry.register(name, help, gauge);
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
