//! One update from its first request to its outcome: look, judge, do what the verdict says.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::aftercare::{self, Updated};
use super::begin::{self, Beginning};
use super::go_on::{self, Resume};
use super::last_words::{self, LastWords};
use super::machine::{Machine, SentUpdate, Step};
use super::ordering;
use super::send::{self, Sent, TakenBack};
use super::wait_notices::WaitNotices;
use super::watch::{LookOut, Snapshot};
use crate::context::Context;
use crate::model::cause::Cause;
use crate::model::event::{Event, Help};
use crate::model::outcome::Outcome;
use crate::model::update::Update;
use crate::swarm::Swarm;

/// Longest usual time between two looks. After a longer one the engine was away.
const BLIND: Duration = Duration::from_secs(30);

/// Carries out the update, and once more where only its order was to blame. With a good end comes what it takes to watch the
/// service on.
pub(super) async fn update_one<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
    words: &mut LastWords,
) -> (Outcome, Option<Updated>) {
    let (outcome, updated) = update_once(context, look_out, update, words).await;
    let Some(again) = ordering::again(update, &outcome) else { return (outcome, updated) };
    let cause = outcome.cause().map(ToString::to_string).unwrap_or_default();
    context.events.helped(&update.service, Help::StopFirst(cause));
    *words = LastWords::default();
    let (outcome, updated) = update_once(context, look_out, &again, words).await;
    if matches!(outcome, Outcome::Updated | Outcome::UpdatedBut(_)) {
        ordering::remember_collision(context, update);
    }
    (outcome, updated)
}

/// Sends the update and follows it to its end.
async fn update_once<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
    words: &mut LastWords,
) -> (Outcome, Option<Updated>) {
    match begin::begin(context, look_out, update).await {
        Ok(beginning) => follow(context, look_out, update, beginning, words).await,
        Err(outcome) => (outcome, None),
    }
}

/// Follows an update to its end, through its rollback if it comes to that.
pub(super) async fn follow<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
    beginning: Beginning,
    words: &mut LastWords,
) -> (Outcome, Option<Updated>) {
    let Beginning { machine, sent_update, sent } = beginning;
    let mut place = look_out.place(&update.id);
    let mut follower = Follower {
        context,
        update,
        machine,
        since: sent_update.sent_at,
        last_look: sent_update.sent_at,
        notices: WaitNotices::new(sent_update.sent_at),
        sent_update,
        sent,
    };
    loop {
        let snapshot = place.next(follower.since).await;
        if let Some(outcome) = follower.look(&snapshot, words).await {
            return follower.end(outcome, &snapshot);
        }
    }
}

/// An update under way.
struct Follower<'a, S, R> {
    context: &'a Context<S, R>,
    update: &'a Update,
    machine: Machine,
    sent_update: SentUpdate,
    /// What can be taken back; nothing of a rollback that an earlier run began.
    sent: Option<Sent>,
    /// When Gantry last wrote to the service. A snapshot that was begun before says nothing.
    since: Instant,
    last_look: Instant,
    notices: WaitNotices,
}

impl<S: Swarm, R> Follower<'_, S, R> {
    /// Gives the machine a snapshot, and carries out its answer.
    async fn look(&mut self, snapshot: &Snapshot, words: &mut LastWords) -> Option<Outcome> {
        let now = Instant::now();
        let blind = now.duration_since(std::mem::replace(&mut self.last_look, now));
        if blind > BLIND {
            self.machine.forgive(blind);
        }
        let had_failed = self.machine.cause().is_some();
        let step = self.machine.step(&snapshot.of(&self.update.id), now);
        if !had_failed && let Some(cause) = self.machine.cause() {
            self.context.remember_failure(self.update, cause);
        }
        let is_end = matches!(step, Step::Finish(Outcome::Failed { .. } | Outcome::Overtaken { .. }));
        let is_news = !had_failed && (is_end || self.machine.cause().is_some());
        match step {
            // A service that was stopped first is down until the rollback is sent: that does not wait for any words.
            Step::RollBack => {
                let (context, id) = (self.context, &self.update.id);
                let (spec_id, ignored_tasks) =
                    (self.sent_update.sent.clone(), self.machine.ignored_tasks().clone());
                let last_words = last_words::last_words(context, (&spec_id, &ignored_tasks), snapshot, id);
                let (over, last_words) = tokio::join!(self.roll_back(), last_words);
                *words = last_words;
                self.take_log(snapshot, words);
                over
            }
            step => {
                if is_news {
                    let Self { context, sent_update, update, machine, .. } = self;
                    let marked = (&sent_update.sent, machine.ignored_tasks());
                    *words = last_words::last_words(context, marked, snapshot, &update.id).await;
                    self.take_log(snapshot, words);
                }
                self.follow(step, snapshot).await
            }
        }
    }

    /// Takes into account what the failed task has said, and remembers what that means for the image.
    fn take_log(&mut self, snapshot: &Snapshot, words: &LastWords) {
        if self.machine.take_log(&snapshot.of(&self.update.id), &words.log)
            && let Some(cause) = self.machine.cause()
        {
            self.context.remember_failure(self.update, cause);
        }
    }

    async fn follow(&mut self, step: Step, snapshot: &Snapshot) -> Option<Outcome> {
        let (context, update) = (self.context, self.update);
        match step {
            Step::Wait | Step::RollBack => return self.wait(snapshot).await,
            Step::Finish(outcome) => return Some(self.finish(outcome)),
            Step::RenewAccount => {
                let was_sent = send::renew_account(context, update, &self.sent_update).await;
                self.has_written();
                self.machine.account_renewed(was_sent, self.since);
            }
            Step::SendAgain(why) => {
                context.events.helped(&update.service, Help::SentAgain(why));
                self.resume(Resume::SameAgain).await;
            }
            Step::GoOn(why) => {
                context.events.helped(&update.service, Help::WentOn(why));
                self.resume(Resume::PastTheStuck).await;
            }
        }
        None
    }

    async fn resume(&mut self, how: Resume) {
        go_on::resume(self.context, self.update, &self.sent_update, how).await;
        self.has_written();
        self.machine.resumed();
    }

    /// Says what is waited for, where that is news.
    async fn wait(&mut self, snapshot: &Snapshot) -> Option<Outcome> {
        let reason = self.notices.news(self.machine.waiting()?, Instant::now())?;
        let spec_id =
            if self.machine.is_rolling_back() { &self.sent_update.replaced } else { &self.sent_update.sent };
        let words = last_words::of_unready(self.context, spec_id, snapshot, &self.update.id).await;
        let reason =
            words.map_or(reason.clone(), |words| format!("{reason}; its health check says: {words}"));
        let (service, is_rolling_back) = (self.update.service.clone(), self.machine.is_rolling_back());
        self.context.events.emit(&Event::UpdateWaits { service, is_rolling_back, reason });
        None
    }

    /// Remembers what the outcome says of the image, where that is news.
    fn finish(&self, outcome: Outcome) -> Outcome {
        if let Some(remark) = self.machine.remark() {
            self.context.events.helped(&self.update.service, Help::Told(remark.to_owned()));
        }
        let blamed = self.machine.cause().map(Cause::blames_image);
        match outcome.cause() {
            // The old image fails in the same way, so the new one is acquitted; or the failure was seen just now.
            Some(cause) if blamed.is_some_and(|blamed| blamed != cause.blames_image()) => {
                self.context.remember_failure(self.update, cause);
            }
            Some(cause) if blamed.is_none() && matches!(outcome, Outcome::Overtaken { .. }) => {
                self.context.remember_failure(self.update, cause);
            }
            _ => {}
        }
        outcome
    }

    async fn roll_back(&mut self) -> Option<Outcome> {
        if let Some(cause) = self.machine.cause().cloned() {
            let service = self.update.service.clone();
            self.context.events.emit(&Event::UpdateFailed { service, cause });
        }
        let taken_back = match &self.sent {
            Some(sent) => send::take_back(self.context, self.update, sent, &self.sent_update).await,
            // No rollback is rolled back, so the machine does not ask for it.
            None => TakenBack::NotSent(Cause::Internal { message: "nothing to take back".to_owned() }),
        };
        match taken_back {
            TakenBack::Sent(by) => {
                self.has_written();
                self.machine.rollback_sent(by, self.since);
                None
            }
            TakenBack::Over(outcome) => Some(self.machine.overtaken(outcome)),
            TakenBack::NotSent(why) => {
                let cause = self.machine.cause().cloned().unwrap_or_else(|| why.clone());
                Some(Outcome::RollbackFailed { cause, why })
            }
        }
    }

    /// How the update ended, and what it takes to watch its service on where that is good.
    fn end(self, outcome: Outcome, snapshot: &Snapshot) -> (Outcome, Option<Updated>) {
        let seen = snapshot.of(&self.update.id);
        let outcome = aftercare::of_another_party(outcome, self.update, &seen);
        let is_updated = matches!(outcome, Outcome::Updated | Outcome::UpdatedBut(_));
        let sent = self.sent.as_ref().filter(|_| is_updated);
        let updated = sent.and_then(|sent| Updated::of(self.update, sent, &self.sent_update, &seen));
        (outcome, updated)
    }

    /// Takes note of a write. The time that it took is no time in which a look was missed.
    fn has_written(&mut self) {
        let now = Instant::now();
        (self.since, self.last_look) = (now, now);
    }
}
