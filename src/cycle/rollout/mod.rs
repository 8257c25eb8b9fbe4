//! Stage 4: the updates, some at a time, each watched to its outcome.
//!
//! `send` writes, `watch` looks, [`machine`] judges. This file only moves values between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use self::begin::Beginning;
use self::machine::{Machine, Mark, Seen, Step, Terms};
use self::progress::Progress;
use self::send::{Sent, TakenBack};
use self::watch::{LookOut, Snapshot};
use super::Context;
use super::plan::Update;
use crate::image::ImageRef;
use crate::registry::Registry;
use crate::swarm::Swarm;

mod begin;
pub mod cause;
pub mod convergence;
pub mod machine;
mod outcome;
mod progress;
#[cfg(test)]
mod samples;
mod send;
mod watch;

pub use cause::Cause;
pub use outcome::{By, Outcome};

/// How many of a failed task's last lines are kept.
const LOG_LINES: usize = 10;

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
    /// How long it took.
    pub took: Duration,
}

/// Carries out the updates, as many at a time as there are workers. Returns when all have come to their
/// end, or as soon as Gantry is stopped, with the number of those that were not begun by then.
pub async fn roll_out<S: Swarm, R: Registry>(
    context: &Arc<Context<S, R>>,
    updates: Vec<Update>,
) -> (Vec<Finished>, usize) {
    if updates.is_empty() {
        return (Vec::new(), 0);
    }
    let look_out = LookOut::new();
    // What is under way already takes nobody's place: it is only watched, and one that has failed must go back.
    let (resumed, updates): (Vec<Update>, Vec<Update>) =
        updates.into_iter().partition(|update| update.begun.is_some());
    let mut queue = updates.into_iter();
    let mut workers: JoinSet<Finished> = JoinSet::new();
    let mut under_way = HashMap::new();
    let begin = |workers: &mut JoinSet<Finished>, update: Update| {
        let named = (update.service.clone(), update.from.clone(), update.to.clone());
        let worker = workers.spawn(carry_out(context.clone(), look_out.clone(), update));
        (worker.id(), named)
    };
    for update in resumed {
        under_way.extend([begin(&mut workers, update)]);
    }
    let mut finished = Vec::new();
    let mut keeping = std::pin::pin!(look_out.keep(context));
    loop {
        while workers.len() < context.config.updates.workers.max(1)
            && !context.stop.is_cancelled()
            && let Some(update) = queue.next()
        {
            under_way.extend([begin(&mut workers, update)]);
        }
        let ended = tokio::select! {
            ended = workers.join_next_with_id() => ended,
            () = &mut keeping => None,
        };
        match ended {
            Some(Ok((_, one))) => finished.push(one),
            // A fault of our own in one update: the others go on, and the report still names it.
            Some(Err(error)) => {
                if let Some((service, from, to)) = under_way.remove(&error.id()) {
                    let cause = Cause::Internal { message: cause::words(&error.to_string()) };
                    let outcome = Outcome::Failed { cause };
                    let one = Finished { service, from, to, outcome, log: Vec::new(), took: Duration::ZERO };
                    announce(&one);
                    finished.push(one);
                }
            }
            None => return (finished, queue.len()),
        }
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
    let mut log = Vec::new();
    let work = update_one(&context, &look_out, &update, &mut log);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = context.stop.cancelled() => Outcome::Interrupted,
    };
    let finished = Finished {
        service: update.service,
        from: update.from,
        to: update.to,
        outcome,
        log,
        took: begun.elapsed(),
    };
    announce(&finished);
    finished
}

/// Sends the update and follows it, through its rollback if it comes to that.
async fn update_one<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
    log: &mut Vec<String>,
) -> Outcome {
    let Beginning { mut machine, terms, sent } = match begin::begin(context, update).await {
        Ok(beginning) => beginning,
        Err(outcome) => return outcome,
    };
    let mut since = terms.sent_at;
    let mut place = look_out.place(&update.id);
    let mut progress = Progress::new(since);
    loop {
        let snapshot = place.next(since).await;
        let had_failed = machine.cause().is_some();
        let step = machine.step(&snapshot.of(&update.id), Instant::now());
        if !had_failed && (machine.cause().is_some() || matches!(step, Step::Finish(Outcome::Failed { .. })))
        {
            *log = last_lines(context, &terms.sent, &snapshot, &update.id).await;
        }
        match step {
            Step::Wait => tell_news(&machine, &mut progress, update),
            Step::Finish(outcome) => return outcome,
            Step::RollBack => {
                let cause = machine.cause().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(service = update.service, cause, "update failed, rolling back");
                match roll_back(context, update, sent.as_ref(), &terms).await {
                    TakenBack::Sent(by) => {
                        since = Instant::now();
                        machine.rollback_sent(by, since);
                    }
                    TakenBack::Over(outcome) => return outcome,
                    TakenBack::NotSent(why) => {
                        let cause = machine.cause().cloned().unwrap_or_else(|| why.clone());
                        return Outcome::RollbackFailed { cause, why };
                    }
                }
            }
        }
    }
}

async fn roll_back<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
    sent: Option<&Sent>,
    terms: &Terms,
) -> TakenBack {
    match sent {
        Some(sent) => send::take_back(context, update, sent, terms).await,
        // No rollback is rolled back, so the machine does not ask for it.
        None => TakenBack::NotSent(Cause::Internal { message: "nothing to take back".to_owned() }),
    }
}

/// Says why an update has to wait, when that is news.
fn tell_news(machine: &Machine, progress: &mut Progress, update: &Update) {
    if let Some(reason) = machine.waiting().and_then(|waiting| progress.news(waiting, Instant::now())) {
        let doing = if machine.is_rolling_back() { "rolling back" } else { "updating" };
        tracing::warn!(service = update.service, reason, "waiting while {doing}");
    }
}

/// The last lines of the failed task's output: the best cause there is. Not having them is no failure.
async fn last_lines<S: Swarm, R>(
    context: &Context<S, R>,
    sent: &Mark,
    snapshot: &Snapshot,
    id: &str,
) -> Vec<String> {
    let seen: Seen<'_> = snapshot.of(id);
    let Some(task) = machine::failed_task(sent, &seen).filter(|task| !task.node_id.is_empty()) else {
        return Vec::new();
    };
    let lines = context.swarm.task_log(&task.id, LOG_LINES).await.unwrap_or_default();
    lines.iter().map(|line| cause::words(line)).collect()
}

fn announce(finished: &Finished) {
    let Finished { service, outcome, log, took, .. } = finished;
    let seconds = took.as_secs();
    if outcome.is_failure() {
        tracing::error!(service, seconds, "{outcome}");
        for line in log {
            tracing::error!(service, "its last output: {line}");
        }
    } else {
        tracing::info!(service, seconds, "{outcome}");
    }
}
