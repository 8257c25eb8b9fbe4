//! Stage 4: the updates, some at a time, each watched to its outcome.
//!
//! `send` writes, `watch` looks, [`machine`] judges. This file only moves values between them.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use self::aftercare::{Aftercare, News};
use self::pace::{Effect, Limits};
use self::queue::Queue;
use self::send::SURE_AGAIN;
use self::watch::{LookOut, Snapshot};
use self::workers::Workers;
use crate::context::Context;
use crate::ledger::Permission;
use crate::model::earlier::Earlier;
use crate::model::finished::Held;
use crate::model::update::Update;
use crate::registry::Registry;
use crate::rollout::rolled_out::RolledOut;
use crate::swarm::Swarm;

mod aftercare;
mod attempts;
mod begin;
mod cluster;
pub mod convergence;
mod follow;
mod go_on;
pub mod guard;
mod last_words;
pub mod machine;
mod ordering;
pub mod pace;
mod paused;
mod placing;
mod progress;
mod queue;
pub mod rolled_out;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod send;
mod watch;
mod workers;

/// Carries out the updates at each image's [`pace`]. What services show of the images from [earlier](crate::model::earlier)
/// cycles counts. Returns when all updates have ended, or as soon as Gantry is stopped. Updates of stopped rollouts do not
/// begin, nor updates that the [`guard`] held up for too long.
pub async fn roll_out<S: Swarm, R: Registry>(
    context: &Arc<Context<S, R>>,
    mut updates: Vec<Update>,
    earlier: Earlier,
) -> RolledOut {
    if updates.is_empty() {
        return RolledOut::default();
    }
    let look_out = LookOut::new(context);
    let cluster = &look_out.cluster;
    cluster.first_look(context).await;
    placing::find_unplaced(context, cluster, &mut updates).await;
    let mut queue = Queue::new(context.events.clone(), Limits::of(&context.config), updates, earlier);
    let mut workers = Workers::new(context, &look_out);
    for (turn, update) in queue.under_way() {
        workers.begin(turn, update);
    }
    let mut aftercare = Aftercare::default();
    let mut snapshots = look_out.snapshots();
    let mut keeping = std::pin::pin!(look_out.keep(context));
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
        look_out.expect(queue.next_services(2 * workers.begun.len()));
        // What was called updated is looked at once more before the end.
        let is_settled = context.stop.is_cancelled()
            || permission == Permission::Refused
            || aftercare.is_settled(Instant::now());
        let is_idle = workers.tasks.is_empty();
        look_out.keep_an_eye_on(aftercare.ids(), is_idle && !waits && aftercare.lacks_last_look());
        let ended = tokio::select! {
            ended = workers.tasks.join_next_with_id(), if !is_idle || (!waits && is_settled) => ended,
            () = &mut keeping => None,
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
        let (finished, success) = ended.unwrap_or_else(|error| (begun.failed(&context.events, &error), None));
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
