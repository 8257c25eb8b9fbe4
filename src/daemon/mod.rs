//! The loop: a cycle, its report, the wait for the next one. It knows when to wake and when to stop, and
//! nothing about services.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::cycle::report::Weight;
use crate::cycle::{self, Context, Report};
use crate::heartbeat::Heartbeat;
use crate::ledger::Ledger;
use crate::registry::Registry;
use crate::swarm::Swarm;

pub mod health;
pub mod itself;

/// From one sign of life to the next while waiting for the next cycle.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How the daemon came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The single cycle is over and nothing failed, or the daemon was stopped.
    Good,
    /// The single cycle failed, or was interrupted.
    Failed,
}

/// What the daemon works with.
#[derive(Debug)]
pub struct Daemon<S, R> {
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// The swarm.
    pub swarm: Arc<S>,
    /// The registries.
    pub registry: Arc<R>,
    /// Cancelled when Gantry is to stop.
    pub stop: CancellationToken,
    /// Beats while the loop lives.
    pub heartbeat: Heartbeat,
}

impl<S: Swarm, R: Registry> Daemon<S, R> {
    /// Runs cycles until Gantry is stopped, or one cycle when no interval is set. A cycle that fails never
    /// ends it: the next cycle is the retry.
    ///
    /// `on_node_name` is told the engine's host name as soon as it is known.
    pub async fn run(&self, on_node_name: impl Fn(&str)) -> End {
        let mut itself = itself::Search::new();
        let ledger = Arc::new(Ledger::new(&self.config.ledger_name));
        loop {
            let begun = Instant::now();
            itself.go_on(&*self.swarm, &self.config.engine, &on_node_name).await;
            let context = Arc::new(Context {
                config: self.config.clone(),
                swarm: self.swarm.clone(),
                registry: self.registry.clone(),
                ledger: ledger.clone(),
                itself: itself.found().cloned(),
                stop: self.stop.clone(),
                heartbeat: self.heartbeat.clone(),
            });
            let report = cycle::run(&context).await;
            announce(&report, begun.elapsed());
            if report.cleanup.is_some() {
                itself.cleaned_up();
            }

            let Some(interval) = self.config.interval else {
                let is_good = !report.has_failed() && !report.is_interrupted;
                return if is_good { End::Good } else { End::Failed };
            };
            if self.wait(begun + interval).await.is_stopped() {
                tracing::info!("stopped");
                return End::Good;
            }
        }
    }

    /// Waits until then, or until Gantry is stopped. A cycle that is late already begins at once.
    async fn wait(&self, until: Instant) -> Woken {
        let now = Instant::now();
        if until > now && !self.stop.is_cancelled() {
            tracing::info!(seconds = until.duration_since(now).as_secs(), "waiting for the next cycle");
        }
        loop {
            let now = Instant::now();
            self.heartbeat.beat(now);
            if self.stop.is_cancelled() {
                return Woken::Stopped;
            }
            if now >= until {
                return Woken::Due;
            }
            let _ = timeout_at(until.min(now + BEAT_INTERVAL), self.stop.cancelled()).await;
        }
    }
}

#[derive(Clone, Copy)]
enum Woken {
    Due,
    Stopped,
}

impl Woken {
    fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped)
    }
}

/// Ends after the time that a stop may take, for whoever waits for the daemon after it was told to stop.
pub async fn stop_overdue(stop: &CancellationToken, limit: Duration) {
    stop.cancelled().await;
    sleep_until(Instant::now() + limit).await;
}

fn announce(report: &Report, took: Duration) {
    for (weight, line) in report.lines() {
        match weight {
            Weight::Error => tracing::error!("{line}"),
            Weight::Warning => tracing::warn!("{line}"),
            Weight::Info => tracing::info!("{line}"),
            Weight::Detail => tracing::debug!("{line}"),
        }
    }
    let seconds = took.as_secs();
    if report.has_failed() {
        tracing::error!(seconds, "{}", report.summary());
    } else {
        tracing::info!(seconds, "{}", report.summary());
    }
}
