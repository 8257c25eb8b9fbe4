//! The loop: a cycle with what runs around it, and the wait for the next one. It knows when to wake and when
//! to stop, and nothing about services.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::board::render::whole_run;
use self::board::{LiveBoard, WokenBy};
pub use self::end::{End, stop_overdue};
use self::hooks::{Hook, HookError, Leader, When};
use self::itself::Search;
use self::notification::teller::Teller;
use self::steering::{Asked, Requests};
use self::trigger::Trigger;
use self::waiting::{Timing, WaitContext, Woken};
use crate::config::{Config, Environment, Loaded};
use crate::context::{Context, EngineRole, Events, RunScope, Said, TagMemory};
use crate::cycle::cleanup::{Cleaned, Leftovers};
use crate::cycle::run::Run;
use crate::cycle::{self, Report};
use crate::heartbeat::Heartbeat;
use crate::ledger::Ledger;
use crate::registry::Registry;
use crate::rollout::Rollouts;
use crate::swarm::Swarm;

pub mod board;
mod end;
pub mod health;
pub mod hooks;
pub mod http;
pub mod itself;
pub mod log;
pub mod notification;
pub mod steering;
mod timing;
pub mod trigger;
mod waiting;
pub mod webhook;

/// From one sign of life to the next while something is waited for.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

impl<S, R> Clone for Daemon<S, R> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            environment: self.environment.clone(),
            swarm: self.swarm.clone(),
            registry: self.registry.clone(),
            stop: self.stop.clone(),
            heartbeat: self.heartbeat.clone(),
            board: self.board.clone(),
            ledger: self.ledger.clone(),
            requests: self.requests.clone(),
        }
    }
}

/// How long a run without updates may take to clean up and to notify before the wait for the next look begins.
const SETTLING: Duration = Duration::from_secs(1);

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
    /// What is known now, for people and programs that look in.
    pub board: LiveBoard,
    /// What outlives this process.
    pub ledger: Arc<Ledger>,
    /// The runs that users ask for.
    pub requests: Arc<Requests>,
}

/// The state of the daemon's loop.
struct LoopState<S, R> {
    itself: Search,
    leftovers: Leftovers,
    ledger: Arc<Ledger>,
    rollouts: Arc<Rollouts<S, R>>,
    said: Said,
    tag_memory: TagMemory,
    teller: Arc<Teller>,
    /// The runs whose look is over.
    runs: Runs,
    /// How many runs there were.
    number: u64,
    /// What starts the next run.
    woken_by: WokenBy,
    /// What the run looks at.
    scope: RunScope,
    era: Era,
}

/// The number of a run, when and why it began, and who tells of it.
struct RunStart {
    number: u64,
    begun: Instant,
    is_hint: bool,
    teller: Arc<Teller>,
}

/// The runs that are under way, each ending with what is left to do for the loop.
type Runs = FuturesUnordered<Pin<Box<dyn Future<Output = Over> + Send>>>;

/// A run that is over and told of.
struct Over {
    cleanup: Option<Cleaned>,
    end: End,
}

/// The state that overlapping runs share: where the engine serves them no longer, all of them end.
struct Era {
    stop: CancellationToken,
    engine_role: EngineRole,
}

impl<S: Swarm, R: Registry> Daemon<S, R> {
    /// Does runs until Gantry is stopped, or one run when nothing is there that starts another. A run that fails never ends
    /// it: the next run is the retry.
    ///
    /// `on_node_name` is told the engine's host name as soon as it is known.
    pub async fn run(&self, on_node_name: impl Fn(&str)) -> End {
        let trigger = match self.config.trigger_path.clone() {
            Some(path) => Some(Trigger::new(path).await),
            None => None,
        };
        let ledger = self.ledger.clone();
        ledger.suspect_remover();
        let rollouts = Arc::new(Rollouts::default());
        let state = LoopState {
            itself: Search::new(itself::container_ids()),
            leftovers: Leftovers::default(),
            ledger: ledger.clone(),
            rollouts: rollouts.clone(),
            said: Said::default(),
            tag_memory: TagMemory::default(),
            teller: Arc::new(Teller::on(self.board.clone())),
            runs: Runs::default(),
            number: 0,
            woken_by: WokenBy::Start,
            scope: RunScope::default(),
            era: self.era(),
        };
        let teller = state.teller.clone();
        // On the heap, as it is large.
        let work = Box::pin(self.go_on(state, trigger, on_node_name));
        let end = tokio::select! {
            end = work => end,
            () = teller.go_on(&self.stop) => unreachable!("it goes on for as long as it is polled"),
            () = rollouts.drive() => unreachable!("it goes on for as long as it is polled"),
            () = ledger.keep_for_runs(&*self.swarm) => unreachable!("it goes on for as long as it is polled"),
        };
        self.beating(teller.finish(&self.stop)).await;
        end
    }

    /// The loop: a look, and the wait for the next one, while the runs of earlier looks come to their ends.
    async fn go_on(
        &self,
        mut state: LoopState<S, R>,
        mut trigger: Option<Trigger>,
        on_node_name: impl Fn(&str),
    ) -> End {
        // A run of some services only is additional: interval, schedule and trigger path are about all services.
        let mut timing = self.beating(Timing::begin(&self.wait_context())).await;
        if timing.waits_first() {
            let Some(woken_by) = self.wake(&mut state, &timing, trigger.as_mut()).await else {
                return End::Good;
            };
            state.woken_by = woken_by;
        }
        loop {
            let begun = Instant::now();
            let is_asked = matches!(state.woken_by, WokenBy::Api | WokenBy::Webhook);
            let asked = if is_asked { self.requests.take() } else { None };
            state.woken_by = asked.as_ref().map_or(state.woken_by, |asked| asked.trigger);
            if asked.as_ref().is_none_or(|asked| asked.scope.is_everything()) {
                timing.begins(&self.wait_context(), begun, state.woken_by);
                // What has changed until now is seen by the look that begins now.
                if let Some(trigger) = &mut trigger {
                    trigger.forget().await;
                }
            }
            let on_node_name = |name: &str| {
                self.board.change(|board, _| name.clone_into(&mut board.node));
                on_node_name(name);
            };
            state.itself.go_on(&*self.swarm, &self.config, &on_node_name).await;
            let over = self.one_run(&mut state, &mut trigger, begun, asked).await;
            let end = over.map(|over| state.follow(&over));
            if !timing.is_set() && trigger.is_none() {
                let last = state.last_end().await;
                return end.unwrap_or(last);
            }
            let Some(woken_by) = self.wake(&mut state, &timing, trigger.as_mut()).await else {
                return End::Good;
            };
            state.woken_by = woken_by;
        }
    }

    /// Waits for what starts the next run, while runs come to their ends. `None`: Gantry was stopped, and they have ended.
    async fn wake(
        &self,
        state: &mut LoopState<S, R>,
        timing: &Timing,
        trigger: Option<&mut Trigger>,
    ) -> Option<WokenBy> {
        let rollouts = state.rollouts.clone();
        let wait = self.beating(async {
            let woken = self.wait_context().wait(timing, trigger, &rollouts).await;
            let is_stopped = self.stop.run_until_cancelled(rollouts.look_may_begin()).await.is_none();
            if is_stopped { Woken::Stopped } else { woken }
        });
        let Woken::By(woken_by) = state.meanwhile(wait).await else {
            state.last_end().await;
            tracing::info!("stopped");
            return None;
        };
        Some(woken_by)
    }

    /// Does a run between its hooks. Where there are none, it only begins it: runs may overlap then.
    async fn one_run(
        &self,
        state: &mut LoopState<S, R>,
        trigger: &mut Option<Trigger>,
        begun: Instant,
        asked: Option<Asked>,
    ) -> Option<Over> {
        state.number += 1;
        let number = state.number;
        let is_hint = asked.as_ref().is_some_and(|asked| asked.trigger == WokenBy::Webhook);
        let run_start = RunStart { number, begun, is_hint, teller: state.teller.clone() };
        let by = asked.as_ref().map(|asked| asked.by.clone());
        state.scope = asked.as_ref().map(|asked| asked.scope.clone()).unwrap_or_default();
        self.board.change(|board, at| board.begin(number, state.woken_by, by.clone(), at));
        if let Some(asked) = asked {
            asked.begins(number);
        }
        let (config, environment, mut report) = match self.pre_run(&state.said, trigger).await {
            Ok((config, environment)) => {
                let (context, rollouts) = (self.context(state, &config).await, state.rollouts.clone());
                let run = state.meanwhile(cycle::run::begin(context, rollouts)).await;
                if !self.config.hooks.are_set() {
                    let has_updates = run.has_updates();
                    let mut over = Box::pin(self.clone().end_run(run, run_start));
                    // Without updates, a run is over with its look, unless it is slow to clean up or to notify.
                    if !has_updates && let Ok(over) = state.meanwhile(timeout(SETTLING, &mut over)).await {
                        return Some(over);
                    }
                    state.runs.push(over);
                    return None;
                }
                (config, environment, state.meanwhile(run.end()).await)
            }
            Err(error) => {
                let is_interrupted = self.stop.is_cancelled();
                let report = Report { error: Some(error), is_interrupted, ..Report::default() };
                (self.config.clone(), self.environment.clone(), report)
            }
        };
        let post_run = self.post_run(&config, environment, &report, trigger).await;
        report.post_run = post_run.err().map(|error| error.to_string());
        Some(self.tell(&config, report, &run_start).await)
    }

    /// Waits for the end of a run, and tells of it.
    async fn end_run(self, run: Run<S, R>, run_start: RunStart) -> Over {
        let span = run.span();
        let config = self.config.clone();
        let work = async {
            let report = run.end().await;
            self.tell(&config, report, &run_start).await
        };
        work.instrument(span).await
    }

    /// Tells of a run. One that changed nothing beside others, or after a registry's event, is worth a line for debugging only.
    async fn tell(&self, config: &Config, report: Report, run_start: &RunStart) -> Over {
        let mut record = None;
        self.board.change(|board, at| record = board.end(run_start.number, &report, at));
        if report.is_quiet() || run_start.is_hint && report.is_without_news() {
            tracing::debug!(seconds = run_start.begun.elapsed().as_secs(), "{}", report.summary());
        } else {
            log::announce(&report, run_start.begun.elapsed());
            let run = record.filter(|_| config.notification.urls.is_some()).as_deref().map(whole_run);
            self.beating(run_start.teller.tell(config, &report, run, &self.stop)).await;
        }
        Over { end: End::of(&report), cleanup: report.cleanup }
    }

    /// What a run works with.
    async fn context(&self, state: &mut LoopState<S, R>, config: &Arc<Config>) -> Arc<Context<S, R>> {
        if state.era.stop.is_cancelled() {
            // The engine did not serve the earlier runs any more: they are about to end.
            state.last_end().await;
        }
        if state.runs.is_empty() {
            state.era = self.era();
        }
        Arc::new(Context {
            config: config.clone(),
            swarm: self.swarm.clone(),
            registry: self.registry.clone(),
            ledger: state.ledger.clone(),
            itself: state.itself.found().cloned(),
            leftovers: state.leftovers.images(),
            engine_role: state.era.engine_role.clone(),
            events: state.teller.events(config, state.number),
            stop: state.era.stop.clone(),
            heartbeat: self.heartbeat.clone(),
            said: state.said.clone(),
            tag_memory: state.tag_memory.for_run(state.woken_by != WokenBy::Interval),
            scope: state.scope.clone(),
            span: tracing::error_span!("run", run = state.number),
        })
    }

    fn era(&self) -> Era {
        let stop = self.stop.child_token();
        let engine_role = EngineRole::new(stop.clone(), self.heartbeat.clone(), Events::new(log::write));
        Era { stop, engine_role }
    }

    /// Runs the command before the cycle, and returns the cycle's configuration and the environment that it
    /// came from. The error says why there is to be no cycle.
    async fn pre_run(
        &self,
        said: &Said,
        trigger: &mut Option<Trigger>,
    ) -> Result<(Arc<Config>, Environment), String> {
        let unchanged = (self.config.clone(), self.environment.clone());
        let Some(command) = &self.config.hooks.pre_run else { return Ok(unchanged) };
        let (environment, timeout) = (self.environment.clone(), self.config.hooks.timeout);
        let hook = Hook { when: When::PreRun, command, environment, timeout, leader: Leader::default() };
        let left_behind = self.run_hook(hook, trigger).await;
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
            if said.is_news(&warning) {
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

    fn wait_context(&self) -> WaitContext<'_, S> {
        WaitContext {
            config: &self.config,
            swarm: &self.swarm,
            ledger: &self.ledger,
            board: &self.board,
            requests: &self.requests,
            stop: &self.stop,
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

impl<S: Swarm, R: Registry> LoopState<S, R> {
    /// Waits for something while runs come to their ends.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(over) = self.runs.next() => {
                    self.follow(&over);
                }
            }
        }
    }

    /// Takes note of the end of a run.
    fn follow(&mut self, over: &Over) -> End {
        if over.cleanup.is_some() {
            self.itself.cleaned_up();
        }
        self.leftovers.follow(over.cleanup.as_ref());
        over.end
    }

    /// Waits for the end of all runs. Returns how the last one ended.
    async fn last_end(&mut self) -> End {
        let mut end = End::Good;
        while let Some(over) = self.runs.next().await {
            end = self.follow(&over);
        }
        end
    }
}
