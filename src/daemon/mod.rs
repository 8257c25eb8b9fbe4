//! The loop: a cycle with what runs around it, and the wait for the next one. It knows when to wake and when
//! to stop, and nothing about services.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::hooks::{Hook, HookError, Leader, When};
use self::itself::Search;
use self::notification::Notifier;
use self::trigger::Trigger;
use crate::config::{Config, Environment, Loaded};
use crate::context::{Context, Events, Said, Standing};
use crate::cycle::cleanup::Leftovers;
use crate::cycle::report::Weight;
use crate::cycle::{self, Report};
use crate::heartbeat::Heartbeat;
use crate::ledger::Ledger;
use crate::registry::Registry;
use crate::swarm::Swarm;

pub mod health;
pub mod hooks;
pub mod itself;
pub mod log;
pub mod notification;
pub mod trigger;

/// From one sign of life to the next while something is waited for.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How the daemon came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The single cycle is over and nothing failed, or the daemon was stopped.
    Good,
    /// The single cycle is over, nothing failed, and something that should have been updated is left behind.
    Incomplete,
    /// The single cycle failed, or was interrupted.
    Failed,
}

impl End {
    /// How a single cycle ended.
    fn of(report: &Report) -> Self {
        match report {
            report if report.has_failed() || report.is_interrupted => Self::Failed,
            report if report.is_incomplete() => Self::Incomplete,
            _ => Self::Good,
        }
    }
}

/// What the daemon works with.
#[derive(Debug)]
pub struct Daemon<S, R> {
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// Where it was told so: what hooks find in their environment.
    pub environment: Environment,
    /// The swarm.
    pub swarm: Arc<S>,
    /// The registries.
    pub registry: Arc<R>,
    /// Cancelled when Gantry is to stop.
    pub stop: CancellationToken,
    /// Beats while the loop lives.
    pub heartbeat: Heartbeat,
}

/// What is kept from one cycle to the next.
struct Kept {
    itself: Search,
    ledger: Arc<Ledger>,
    said: Said,
    leftovers: Leftovers,
    trigger: Option<Trigger>,
}

impl<S: Swarm, R: Registry> Daemon<S, R> {
    /// Runs cycles until Gantry is stopped, or one cycle when nothing is there that starts another. A cycle
    /// that fails never ends it: the next cycle is the retry.
    ///
    /// `on_node_name` is told the engine's host name as soon as it is known.
    pub async fn run(&self, on_node_name: impl Fn(&str)) -> End {
        let mut notifier = Notifier::new();
        let mut kept = Kept {
            itself: Search::new(itself::container_ids()),
            ledger: Arc::new(Ledger::new(&self.config.ledger_name)),
            said: Said::default(),
            leftovers: Leftovers::default(),
            trigger: match self.config.trigger_path.clone() {
                Some(path) => Some(Trigger::new(path).await),
                None => None,
            },
        };
        kept.ledger.suspect_remover();
        loop {
            let begun = Instant::now();
            // What has changed until now is seen by the cycle that begins now.
            if let Some(trigger) = &mut kept.trigger {
                trigger.forget().await;
            }
            kept.itself.go_on(&*self.swarm, &self.config, &on_node_name).await;
            let (config, report) = self.cycle(&mut kept).await;
            announce(&report, begun.elapsed());
            self.beating(notifier.tell(&config, &report, &self.stop)).await;
            if report.cleanup.is_some() {
                kept.itself.cleaned_up();
            }
            kept.leftovers.follow(report.cleanup.as_ref());

            let due = self.config.interval.map(|interval| begun + interval);
            if due.is_none() && kept.trigger.is_none() {
                return End::of(&report);
            }
            if self.beating(self.wait(due, kept.trigger.as_mut())).await == Woken::Stopped {
                tracing::info!("stopped");
                return End::Good;
            }
        }
    }

    /// One cycle between its hooks, and the configuration that it had.
    async fn cycle(&self, kept: &mut Kept) -> (Arc<Config>, Report) {
        let (config, environment, mut report) = match self.pre_run(kept).await {
            Ok((config, environment)) => {
                let (stop, events) = (self.stop.child_token(), Events::new(log::write));
                let context = Arc::new(Context {
                    config: config.clone(),
                    swarm: self.swarm.clone(),
                    registry: self.registry.clone(),
                    ledger: kept.ledger.clone(),
                    itself: kept.itself.found().cloned(),
                    leftovers: kept.leftovers.images(),
                    standing: Standing::new(stop.clone(), self.heartbeat.clone(), events.clone()),
                    events,
                    stop,
                    heartbeat: self.heartbeat.clone(),
                    said: kept.said.clone(),
                });
                (config, environment, cycle::run(&context).await)
            }
            Err(error) => {
                let is_interrupted = self.stop.is_cancelled();
                let report = Report { error: Some(error), is_interrupted, ..Report::default() };
                (self.config.clone(), self.environment.clone(), report)
            }
        };
        let post_run = self.post_run(&config, environment, &report, &mut kept.trigger).await;
        report.post_run = post_run.err().map(|error| error.to_string());
        (config, report)
    }

    /// Runs the command before the cycle, and returns the cycle's configuration and the environment that it
    /// came from. The error says why there is to be no cycle.
    async fn pre_run(&self, kept: &mut Kept) -> Result<(Arc<Config>, Environment), String> {
        let unchanged = (self.config.clone(), self.environment.clone());
        let Some(command) = &self.config.hooks.pre_run else { return Ok(unchanged) };
        let (environment, timeout) = (self.environment.clone(), self.config.hooks.timeout);
        let hook = Hook { when: When::PreRun, command, environment, timeout, leader: Leader::default() };
        let left_behind = self.run_hook(hook, &mut kept.trigger).await;
        let Some(left_behind) = left_behind.map_err(|error| error.to_string())? else {
            tracing::warn!(
                "what the pre-run command has set is not known, as its shell ended by exec, or by exit with a trap \
                 of the command's own"
            );
            return Ok(unchanged);
        };
        let Loaded { config, warnings } =
            Config::of_cycle(&self.environment, left_behind.clone()).map_err(|mistakes| {
                let mistakes: Vec<String> = mistakes.lines().collect();
                format!("the pre-run command has set what cannot be used: {}", mistakes.join("; "))
            })?;
        for warning in warnings {
            if kept.said.is_news(&warning) {
                tracing::warn!("{warning}");
            }
        }
        Ok((Arc::new(config), left_behind))
    }

    /// Runs the command after the cycle. It is told how the cycle went, and finds what the command before it
    /// has set.
    async fn post_run(
        &self,
        config: &Config,
        mut environment: Environment,
        report: &Report,
        trigger: &mut Option<Trigger>,
    ) -> Result<(), HookError> {
        let Some(command) = &config.hooks.post_run else { return Ok(()) };
        environment.push(("GANTRY_CYCLE_FAILED".into(), report.has_failed().to_string().into()));
        environment.push(("GANTRY_CYCLE_SUMMARY".into(), report.summary().into()));
        let (timeout, leader) = (config.hooks.timeout, Leader::default());
        let hook = Hook { when: When::PostRun, command, environment, timeout, leader };
        self.run_hook(hook, trigger).await.map(drop)
    }

    /// Runs a hook. What it changes at the trigger path starts no cycle.
    async fn run_hook(
        &self,
        hook: Hook<'_>,
        trigger: &mut Option<Trigger>,
    ) -> Result<Option<Environment>, HookError> {
        let leader = hook.leader.clone();
        let work = self.beating(hook.run(&self.stop));
        match trigger {
            Some(trigger) => trigger.apart_from(work, || leader.activity()).await,
            None => work.await,
        }
    }

    /// Waits for the next cycle. One that is late already begins at once.
    async fn wait(&self, due: Option<Instant>, trigger: Option<&mut Trigger>) -> Woken {
        if self.stop.is_cancelled() {
            return Woken::Stopped;
        }
        let seconds = due.map(|due| due.duration_since(Instant::now()).as_secs());
        let path = trigger.as_ref().map(|trigger| trigger.path().to_owned());
        match (seconds, &path) {
            (Some(seconds), None) if seconds > 0 => tracing::info!(seconds, "waiting for the next cycle"),
            (seconds, Some(path)) => {
                tracing::info!(seconds, "waiting for the next cycle, or for a change of {}", path.display());
            }
            _ => {}
        }
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let changed = async {
            match trigger {
                Some(trigger) => trigger.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Woken::Stopped,
            () = due => Woken::Due,
            () = changed => {
                tracing::info!("{} has changed", path.unwrap_or_default().display());
                Woken::Due
            }
        }
    }

    /// Gives signs of life while something is waited for that gives none itself.
    async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.heartbeat.beat(Instant::now());
            if let Ok(done) = timeout(BEAT_INTERVAL, &mut work).await {
                return done;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Due,
    Stopped,
}

/// Ends after the time that a stop may take: `main` waits no longer for a daemon that was told to stop.
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
    } else if report.is_incomplete() {
        tracing::warn!(seconds, "{}", report.summary());
    } else {
        tracing::info!(seconds, "{}", report.summary());
    }
}
