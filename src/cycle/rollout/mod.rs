//! Stage 4: the updates, some at a time, each watched to its outcome.
//!
//! `send` writes, `watch` looks, [`machine`] judges. This file only moves values between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::cluster::Cluster;
use self::earlier::Earlier;
use self::last_words::LastWords;
use self::pace::Limits;
use self::queue::Queue;
use self::watch::LookOut;
use super::Context;
use super::plan::Update;
use crate::image::ImageRef;
use crate::ledger::Permission;
use crate::registry::Registry;
use crate::swarm::Swarm;

pub(crate) mod absences;
pub mod before;
mod begin;
pub mod cause;
mod change;
mod cluster;
pub mod convergence;
pub mod earlier;
mod follow;
pub mod guard;
mod last_words;
mod listings;
pub mod machine;
mod outcome;
pub mod pace;
mod placing;
mod plain;
mod progress;
mod queue;
#[cfg(test)]
mod samples;
mod send;
mod watch;

pub use cause::Cause;
pub use outcome::{By, Outcome};

/// How soon it is looked again whether we are sure of the lease.
const SURE_AGAIN: Duration = Duration::from_secs(1);

/// An update that has come to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The service's name.
    pub service: String,
    /// The image that it had.
    pub from: ImageRef,
    /// The image that it was to get.
    pub to: ImageRef,
    /// How it ended.
    pub outcome: Outcome,
    /// The last lines of the failed task's output, where there is one.
    pub log: Vec<String>,
    /// The last output of its health check, where it can be known.
    pub health: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What became of the updates.
#[derive(Debug, Default)]
pub struct RolledOut {
    /// Those that have come to their end.
    pub finished: Vec<Finished>,
    /// Those that were not begun.
    pub not_begun: Vec<NotBegun>,
    /// The images whose rollout was stopped.
    pub stopped: Vec<StoppedRollout>,
    /// Why the cluster was not fit for more updates, where that lasted too long.
    pub shut: Option<guard::Shut>,
}

/// An update that was not begun: its service was not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBegun {
    /// The service's name.
    pub service: String,
    /// The image that it has.
    pub from: ImageRef,
    /// The image that it was to get.
    pub to: ImageRef,
    /// Why not.
    pub why: Held,
}

/// Why an update was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The rollout of its image was stopped.
    RolloutStopped,
    /// Nothing would be seen of it, and nothing else has shown that its image works.
    Unproven,
    /// Gantry was stopped.
    Interrupted,
    /// Another Gantry is rolling out, or the cluster is not fit for it.
    Postponed,
}

/// An image whose rollout was stopped, because too many of its updates failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedRollout {
    /// The image, as services were sent it.
    pub image: ImageRef,
    /// How many services it was offered to.
    pub touched: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many there were to update.
    pub total: usize,
    /// The failures' causes in words, each once, at most a few.
    pub causes: Vec<String>,
    /// Whether the failures that the image is to blame for were enough to stop it.
    pub blames_image: bool,
}

/// An update that has begun.
struct Begun {
    turn: usize,
    id: String,
    service: String,
    from: ImageRef,
    to: ImageRef,
}

impl Begun {
    fn of(turn: usize, update: &Update) -> Self {
        let Update { id, service, from, to, .. } = update;
        Self { turn, id: id.clone(), service: service.clone(), from: from.clone(), to: to.clone() }
    }

    /// Which service was sent what.
    fn sent(&self) -> (&str, String) {
        (&self.id, self.to.to_string())
    }
}

/// Carries out the updates at each image's [`pace`], in which what is known from [`earlier`] counts. Returns when all have come to their end, but for those
/// of stopped rollouts and those that the [`guard`] held up for too long, or as soon as Gantry is stopped.
pub async fn roll_out<S: Swarm, R: Registry>(
    context: &Arc<Context<S, R>>,
    mut updates: Vec<Update>,
    earlier: Earlier,
) -> RolledOut {
    if updates.is_empty() {
        return RolledOut::default();
    }
    let look_out = LookOut::new();
    let cluster = Cluster::first_look(context).await;
    placing::find_unplaced(context, &cluster, &mut updates).await;
    let mut queue = Queue::new(Limits::of(&context.config), updates, earlier);
    let mut workers: JoinSet<Finished> = JoinSet::new();
    let mut under_way: HashMap<tokio::task::Id, Begun> = HashMap::new();
    let begin = |workers: &mut JoinSet<Finished>, turn: usize, update: Update| {
        let begun = Begun::of(turn, &update);
        let worker = workers.spawn(carry_out(context.clone(), look_out.clone(), update));
        (worker.id(), begun)
    };
    for (turn, update) in queue.under_way() {
        under_way.extend([begin(&mut workers, turn, update)]);
    }
    let mut keeping = std::pin::pin!(async { tokio::join!(look_out.keep(context), cluster.keep(context)) });
    loop {
        while !context.stop.is_cancelled()
            && context.ledger.permission() == Permission::Granted
            && cluster.may_begin(under_way.values().map(Begun::sent))
            && let Some((turn, update)) = queue.begin()
        {
            under_way.extend([begin(&mut workers, turn, update)]);
        }
        // The engine is away, or slow: until we have seen that the lease is still ours, nothing begins.
        let has_waiting = queue.has_waiting() && !context.stop.is_cancelled();
        let permission = context.ledger.permission();
        let is_unsure = has_waiting && permission == Permission::Unsure;
        // The same while the cluster is not fit for more, until it is or has not been for too long.
        let is_held = has_waiting
            && permission == Permission::Granted
            && !cluster.may_begin(under_way.values().map(Begun::sent));
        let shut = if is_held { cluster.given_up() } else { None };
        let waits = is_unsure || (is_held && shut.is_none());
        cluster.ask(has_waiting);
        let ended = tokio::select! {
            ended = workers.join_next_with_id(), if !workers.is_empty() || !waits => ended,
            _ = &mut keeping => None,
            () = sleep(SURE_AGAIN), if is_unsure => continue,
            () = cluster.looked(), if is_held => continue,
        };
        let (id, ended) = match ended {
            Some(Ok((id, finished))) => (id, Ok(finished)),
            Some(Err(error)) => (error.id(), Err(error)),
            None if context.ledger.permission() == Permission::Refused => {
                return queue.close(Held::Postponed);
            }
            None if shut.is_some() => return RolledOut { shut, ..queue.close(Held::Postponed) },
            None if context.stop.is_cancelled() => return queue.close(Held::Interrupted),
            // Nothing is under way that could change it.
            None => return queue.close(Held::Unproven),
        };
        let Some(Begun { turn, service, from, to, .. }) = under_way.remove(&id) else { continue };
        let finished = ended.unwrap_or_else(|error| {
            // A fault of our own in one update: the others go on, and the report still names it.
            let cause = Cause::Internal { message: cause::words(&error.to_string()) };
            let outcome = Outcome::Failed { cause };
            let (log, took) = (Vec::new(), Duration::ZERO);
            let finished = Finished { service, from, to, outcome, log, health: None, took };
            announce(&finished);
            finished
        });
        queue.end(turn, finished);
    }
}

/// Carries out one update and says how it went.
async fn carry_out<S: Swarm, R: Registry>(
    context: Arc<Context<S, R>>,
    look_out: Arc<LookOut>,
    update: Update,
) -> Finished {
    let begun = Instant::now();
    tracing::info!(
        service = update.service,
        image = update.to.tagged(),
        from = update.from.digest().map_or("no digest", |digest| digest.short()),
        to = update.to.digest().map_or("whatever the nodes have", |digest| digest.short()),
        "{}",
        begin::words(&update)
    );
    let mut words = LastWords::default();
    let work = follow::update_one(&context, &look_out, &update, &mut words);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = context.stop.cancelled() => Outcome::Interrupted,
    };
    let finished = Finished {
        service: update.service,
        from: update.from,
        to: update.to,
        outcome,
        log: words.log,
        health: words.health,
        took: begun.elapsed(),
    };
    announce(&finished);
    finished
}

fn announce(finished: &Finished) {
    let Finished { service, outcome, log, health, took, .. } = finished;
    let seconds = took.as_secs();
    if outcome.is_failure() {
        tracing::error!(service, seconds, "{outcome}");
        if let Some(health) = health {
            tracing::error!(service, "its health check's last output: {health}");
        }
        for line in log {
            tracing::error!(service, "its last output: {line}");
        }
    } else {
        tracing::info!(service, seconds, "{outcome}");
    }
}
