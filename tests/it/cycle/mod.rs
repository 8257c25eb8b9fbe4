//! Whole cycles over the fake swarm and registry, in paused time: hours of time-outs in milliseconds.

mod accounts;
mod addresses;
mod aging;
mod any_gates;
mod behind_a_proxy;
mod cleaning;
mod daemon;
mod demoted;
mod failing;
mod going_back;
mod guarding;
mod harmless;
mod itself;
mod killed;
mod killed_while_overlapping;
mod late;
mod looking;
mod meanwhile;
mod order;
mod ordering;
mod other_hands;
mod overlapping;
mod pacing;
mod pushed;
mod releasing;
mod remembering;
mod removing;
mod requests;
mod scheduled;
mod several_runs;
mod several_runs_guarded;
mod tags;
mod taking_over;
mod taking_turns;
mod telling;
mod telling_early;
mod verdicts;
mod windows;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use gantry::config::Config;
use gantry::context::{Context, EngineRole, Events, Itself, RunScope, Said, TagMemory};
use gantry::cycle;
use gantry::cycle::Report;
use gantry::daemon::log;
use gantry::heartbeat::Heartbeat;
use gantry::image::ImageRef;
use gantry::ledger::Ledger;
use gantry::model::finished::Finished;
use gantry::model::outcome::Outcome;
use gantry::model::progress::Progress;
use gantry::model::row::State;
use gantry::model::world::World;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::daemon::daemon;
use crate::fake::{FakeRegistry, FakeSwarm, pinned};

/// The image that most services of these tests have.
pub(crate) const APP: &str = "registry.test/app:1";

/// A swarm, a registry, and the variables that Gantry is started with.
pub(crate) struct Scene {
    pub swarm: FakeSwarm,
    pub registry: FakeRegistry,
    pub stop: CancellationToken,
    pub itself: Option<Itself>,
    pub leftovers: BTreeSet<ImageRef>,
    variables: Vec<(&'static str, String)>,
}

impl Scene {
    /// Three nodes, and a registry whose tag [`APP`] stands at the digest `old`.
    pub(crate) fn new() -> Self {
        let registry = FakeRegistry::new();
        registry.release(APP, "old");
        Self {
            swarm: FakeSwarm::with_nodes(3),
            registry,
            stop: CancellationToken::new(),
            itself: None,
            leftovers: BTreeSet::new(),
            // The clean-up has tests of its own.
            variables: vec![
                ("GANTRY_SERVICES_FILTERS", "label=gantry.enable=true".to_owned()),
                ("GANTRY_CLEANUP_IMAGES", "false".to_owned()),
            ],
        }
    }

    pub(crate) fn with(mut self, variable: &'static str, value: impl std::fmt::Display) -> Self {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.to_string()));
        self
    }

    /// The same swarm and registry, for another Gantry.
    pub(crate) fn again(&self) -> Self {
        Self {
            swarm: self.swarm.clone(),
            registry: self.registry.clone(),
            stop: CancellationToken::new(),
            itself: self.itself.clone(),
            leftovers: self.leftovers.clone(),
            variables: self.variables.clone(),
        }
    }

    /// A service that opted in, with two tasks of [`APP`] at the digest `old`.
    pub(crate) fn service(&self, name: &str) -> crate::fake::ServiceBuilder {
        let service = self.swarm.new_service(name).image(&pinned(APP, "old")).replicas(2);
        service.label("gantry.enable", "true").order("start-first")
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Arc::new(Config::load(variables).unwrap().config)
    }

    pub(crate) fn context(&self) -> Arc<Context<FakeSwarm, FakeRegistry>> {
        self.context_with(Events::new(log::write))
    }

    fn context_with(&self, events: Events) -> Arc<Context<FakeSwarm, FakeRegistry>> {
        let heartbeat = Heartbeat::new(Instant::now());
        Arc::new(Context {
            config: self.config(),
            swarm: Arc::new(self.swarm.clone()),
            registry: Arc::new(self.registry.clone()),
            ledger: Arc::new(Ledger::new(&self.config().ledger_name)),
            itself: self.itself.clone(),
            leftovers: self.leftovers.clone(),
            stop: self.stop.clone(),
            engine_role: EngineRole::new(self.stop.clone(), heartbeat.clone(), events.clone()),
            events,
            heartbeat,
            scope: RunScope::default(),
            said: Said::default(),
            tag_memory: TagMemory::default(),
            span: tracing::Span::none(),
        })
    }

    /// Runs a cycle. What its events come to is what its report says.
    pub(crate) async fn cycle(&self) -> Report {
        let (world, events) = world();
        let report = cycle::run(&self.context_with(events)).await;
        let world = world.lock().unwrap();
        if report.error.is_none() {
            assert_eq!(world.counts(), report.counts(), "{world:?}\n{report:?}");
        }
        assert!(!world.is_running);
        for (image, rollout) in &world.rollouts {
            let Progress { counts, .. } = &rollout.at;
            assert!(rollout.is_over && counts.under_way == 0, "{image}: {rollout:?}");
            for stopped in report.stopped.iter().filter(|stopped| stopped.image == rollout.at.image) {
                let expected = (stopped.touched, stopped.failed, stopped.total);
                assert_eq!((counts.touched, counts.failed, counts.total), expected, "{rollout:?}");
            }
        }
        report
    }
}

/// A world, and where events go that are logged and folded into it.
fn world() -> (Arc<Mutex<World>>, Events) {
    let world = Arc::new(Mutex::new(World::default()));
    let heard = world.clone();
    let events = Events::new(move |event| {
        log::write(event);
        heard.lock().unwrap().apply(event);
    });
    (world, events)
}

/// How many services stand in the way that summaries call so.
pub(crate) fn count(report: &Report, name: &str) -> usize {
    report.counts().get(name).copied().unwrap_or(0)
}

/// How this service stands.
pub(crate) fn state<'a>(report: &'a Report, service: &str) -> &'a State {
    let found = report.rows.iter().find(|row| row.service == service);
    &found.unwrap_or_else(|| panic!("no {service} in {report:?}")).state
}

/// How the update of this service ended.
pub(crate) fn finished<'a>(report: &'a Report, service: &str) -> &'a Finished {
    let found = report.finished().find(|finished| finished.service == service);
    found.unwrap_or_else(|| panic!("no update of {service} in {report:?}"))
}

/// The outcome of this service's update.
pub(crate) fn outcome<'a>(report: &'a Report, service: &str) -> &'a Outcome {
    &finished(report, service).outcome
}
