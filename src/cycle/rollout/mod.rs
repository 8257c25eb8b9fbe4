//! Stage 4: the updates, some at a time, each watched to its outcome.
//!
//! `send` writes, `watch` looks, [`machine`] judges. This file only moves values between them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::aftercare::{Aftercare, News};
use self::cluster::Cluster;
use self::earlier::Earlier;
use self::pace::{Effect, Limits};
use self::queue::Queue;
use self::watch::{LookOut, Snapshot};
use self::workers::Workers;
use super::Context;
use super::plan::Update;
use super::resume::OtherHand;
use crate::image::ImageRef;
use crate::ledger::Permission;
use crate::registry::Registry;
use crate::swarm::Swarm;

pub(crate) mod absences;
mod aftercare;
pub mod before;
mod begin;
pub mod cause;
pub(super) mod change;
mod cluster;
pub mod convergence;
pub mod earlier;
mod follow;
mod go_on;
pub mod guard;
mod last_words;
mod listings;
pub mod machine;
mod ordering;
pub(crate) mod outcome;
pub mod pace;
mod paused;
mod placing;
mod plain;
mod progress;
mod queue;
#[cfg(test)]
mod samples;
mod send;
mod watch;
mod workers;

pub use cause::Cause;
pub use outcome::{By, Outcome};
pub(super) use send::why_not_sent;

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
    /// Another party is at work on the service.
    OtherHand(OtherHand),
    /// A person or another program took another service of its image back.
    TakenBack,
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
    let mut workers = Workers::new(context, &look_out);
    for (turn, update) in queue.under_way() {
        workers.begin(turn, update);
    }
    let mut aftercare = Aftercare::default();
    let mut snapshots = look_out.snapshots();
    let mut keeping = std::pin::pin!(async { tokio::join!(look_out.keep(context), cluster.keep(context)) });
    loop {
        while !context.stop.is_cancelled()
            && context.ledger.permission() == Permission::Granted
            && cluster.may_begin(workers.sent())
            && let Some((turn, update)) = queue.begin()
        {
            workers.begin(turn, update);
        }
        // The engine is away, or slow: until we have seen that the lease is still ours, nothing begins.
        let has_waiting = queue.has_waiting() && !context.stop.is_cancelled();
        let permission = context.ledger.permission();
        let is_unsure = has_waiting && permission == Permission::Unsure;
        // The same while the cluster is not fit for more, until it is or has not been for too long.
        let is_held = has_waiting && permission == Permission::Granted && !cluster.may_begin(workers.sent());
        let shut = if is_held { cluster.given_up() } else { None };
        let waits = is_unsure || (is_held && shut.is_none());
        cluster.ask(has_waiting);
        // What was called updated is looked at once more before the end.
        let is_settled = context.stop.is_cancelled()
            || permission == Permission::Refused
            || aftercare.is_settled(Instant::now());
        let is_idle = workers.tasks.is_empty();
        look_out.keep_an_eye_on(aftercare.ids(), is_idle && !waits && aftercare.lacks_last_look());
        let ended = tokio::select! {
            ended = workers.tasks.join_next_with_id(), if !is_idle || (!waits && is_settled) => ended,
            _ = &mut keeping => None,
            () = sleep(SURE_AGAIN), if is_unsure || (is_idle && !is_settled) => continue,
            () = cluster.looked(), if is_held => continue,
            snapshot = watch::next_whole(&mut snapshots) => {
                look_after(&mut aftercare, &mut queue, &mut workers, &snapshot);
                continue;
            }
        };
        let (id, ended) = match ended {
            Some(Ok((id, ended))) => (id, Ok(ended)),
            Some(Err(error)) => (error.id(), Err(error)),
            None if context.ledger.permission() == Permission::Refused => {
                return queue.close(Held::Postponed);
            }
            None if shut.is_some() => return RolledOut { shut, ..queue.close(Held::Postponed) },
            None if context.stop.is_cancelled() => return queue.close(Held::Interrupted),
            // Nothing is under way that could change it.
            None => return queue.close(Held::Unproven),
        };
        let Some(begun) = workers.begun.remove(&id) else { continue };
        let (turn, is_late) = (begun.turn, begun.is_late);
        let (finished, success) = ended.unwrap_or_else(|error| (begun.failed(&error), None));
        aftercare.ended(turn, success, Instant::now());
        if is_late {
            queue.end_again(turn, finished);
        } else {
            queue.end(turn, finished);
        }
    }
}

/// Looks at the services that were called updated: what fails late counts, and is rolled back.
fn look_after<S: Swarm, R: Registry>(
    aftercare: &mut Aftercare,
    queue: &mut Queue,
    workers: &mut Workers<S, R>,
    snapshot: &Snapshot,
) {
    for (turn, updated, news) in aftercare.look(snapshot.began(), snapshot.nodes(), |id| snapshot.of(id)) {
        let update = &updated.update;
        match news {
            News::Failed(cause) => {
                queue.turn_bad(turn, update, Effect::of_cause(&cause));
                workers.context.remember_failure(update, &cause);
                workers.take_back(turn, updated, Some(cause));
            }
            News::RolledBack => {
                queue.turn_bad(turn, update, Effect::Failure { blames_image: false });
                workers.take_back(turn, updated, None);
            }
            News::TakenBack => {
                queue.taken_back(turn);
                queue.turn_bad(turn, update, Effect::TakenBack);
            }
        }
    }
}
