//! What is counted where Gantry talks to others: the engine, registries, and clients of the listener. For metrics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// The upper bounds of the engine's answers, in seconds.
const ENGINE_SECONDS: [f64; 8] = [0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0];

/// How many registries have a series of their own. The others share one: no series grows with the number of registries.
const MAX_REGISTRIES: usize = 20;

/// What stands for all other registries and routes.
const OTHER: &str = "other";

/// A family of counters whose labels have values from outside, bounded by who counts.
pub type Counters = Family<Vec<(&'static str, String)>, Counter>;

/// What is counted where Gantry talks to others. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// The engine's answers.
    pub engine: EngineMeter,
    /// Questions to registries.
    pub registries: RegistryMeter,
    /// Requests to the listener, by route and class of status code.
    pub requests: RequestMeter,
}

/// How long the engine takes to answer.
#[derive(Clone, Debug)]
pub struct EngineMeter(pub Histogram);

impl Default for EngineMeter {
    fn default() -> Self {
        Self(Histogram::new(ENGINE_SECONDS))
    }
}

impl EngineMeter {
    /// An answer took so long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// Questions to registries, by what they came to.
#[derive(Clone, Debug, Default)]
pub struct RegistryMeter {
    /// The counters.
    pub asked: Counters,
    known: Arc<Mutex<BTreeSet<String>>>,
}

impl RegistryMeter {
    /// A registry was asked, with this result in one word.
    pub fn asked(&self, registry: &str, result: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known =
            known.contains(registry) || (known.len() < MAX_REGISTRIES && known.insert(registry.to_owned()));
        drop(known);
        let registry = if is_known { registry } else { OTHER };
        let labels = vec![("registry", registry.to_owned()), ("result", result.to_owned())];
        self.asked.get_or_create(&labels).inc();
    }
}

/// Requests to the listener.
#[derive(Clone, Debug, Default)]
pub struct RequestMeter(pub Counters);

impl RequestMeter {
    /// A request was answered. `route` is its template; `None`: no route matched.
    pub fn answered(&self, route: Option<&str>, status: u16) {
        let class = format!("{}xx", status / 100);
        self.0.get_or_create(&vec![("route", route.unwrap_or(OTHER).to_owned()), ("code", class)]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_registries_share_one_series() {
        let meter = RegistryMeter::default();
        for number in 0..30 {
            meter.asked(&format!("r{number}.test"), "ok");
            meter.asked("r0.test", "ok");
        }
        let count = |registry: &str| {
            let labels = vec![("registry", registry.to_owned()), ("result", "ok".to_owned())];
            meter.asked.get_or_create(&labels).get()
        };
        assert_eq!((count("r0.test"), count("r19.test"), count("other")), (31, 1, 10));
    }
}
