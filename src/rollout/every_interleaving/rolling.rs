//! The updates of one Gantry: the loop of `rollout::session`, and each update from its first request to its end.

use crate::rollout::conditions::OrderLimits;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::gantry::{Run, Session, Stage, Worker};
use super::library::{NAMES, quarantine};
use super::scene::{Answer, Fault, Scene, Verdict};
use super::world::Phase;
use crate::context::Events;
use crate::image::ImageRef;
use crate::ledger::Permission;
use crate::ledger::book::LedgerChange;
use crate::ledger::entry::{DigestVerdict, image_name};
use crate::model::before::Before;
use crate::model::cause::Cause;
use crate::model::finished::{Finished, NotBegunReason, StoppedRollout};
use crate::model::image_history::ImageHistory;
use crate::model::ours::other_hand;
use crate::model::outcome::{ALREADY_THERE, By, Outcome};
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::update::{Begun, Dispatch, Update};
use crate::options::Ids;
use crate::rollout::pace::{Effect, Limits};
use crate::rollout::queue::Queue;
use crate::rollout::send::{Sent, has_arrived};

/// Two updates at once; the first failure stops an image.
pub(super) const LIMITS: Limits = Limits { workers: 2, initial: 1, min_failures: 1, max_failure_ratio: 0.1 };

/// The number of a service.
pub(super) fn index_of(id: &str) -> usize {
    NAMES.iter().position(|name| *name == id).expect("a service of the model")
}

fn broken() -> Cause {
    Cause::TaskFailed { node: String::new(), exit_code: Some(1), error: "task: non-zero exit (1)".to_owned() }
}

impl Scene<'_> {
    /// Takes out what a look has found to be outdated.
    pub(super) fn take_out(&mut self, wanted: &BTreeMap<String, Option<ImageRef>>) {
        if let Some(session) = self.me.session() {
            session.queue.take_out(wanted);
        }
    }

    /// Hands in the updates of a run.
    pub(super) fn hand_in(&mut self, updates: Vec<Update>, image_history: ImageHistory) {
        let ids =
            |updates: &[Update]| updates.iter().map(|update| update.id.clone()).collect::<BTreeSet<_>>();
        let handed_in = ids(&updates);
        let (moved, updates) = if self.model.fault == Some(Fault::ForgetsUnderWay) {
            (Vec::new(), updates)
        } else {
            self.me.hands.0.part(updates)
        };
        let session = self.me.session.get_or_insert_with(|| {
            Rc::new(Session {
                queue: Queue::new(LIMITS, OrderLimits::NONE),
                runs: BTreeMap::new(),
                next_run: 0,
                workers: BTreeMap::new(),
                updated: BTreeMap::new(),
            })
        });
        let session = Rc::make_mut(session);
        let (new, waiting) = session.queue.refresh(updates);
        let mut in_hand = ids(&moved);
        in_hand.extend(waiting.into_iter().map(|row| row.service));
        let run = session.next_run;
        session.next_run += 1;
        session.queue.join(run, Events::unheard(), new, image_history);
        session.runs.insert(run, Run { handed_in, in_hand });
    }

    /// One turn of the session's loop, once more as long as a rollout ends in it.
    pub(super) fn session_goes_on(&mut self) -> Verdict {
        loop {
            let Some(session) = self.me.session() else { return Ok(()) };
            let before = session.queue.numbers();
            for (_, number, update) in session.queue.under_way() {
                self.start(number, update)?;
            }
            while let Some((number, update)) = self.next() {
                self.start(number, update)?;
            }
            self.settle();
            self.answer()?;
            let Some(session) = &self.me.session else { return Ok(()) };
            if session.queue.is_empty() && session.workers.is_empty() {
                self.me.session = None;
                return Ok(());
            }
            if session.queue.numbers() == before {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Option<(usize, Update)> {
        let may_begin = self.me.permission(self.world.now) == Permission::Granted
            || self.model.fault == Some(Fault::BeginsWithoutLease);
        let session = self.me.session().filter(|_| may_begin)?;
        let (_, number, update) = session.queue.begin()?;
        Some((number, update))
    }

    /// An update begins. An error says which promise that breaks.
    fn start(&mut self, number: usize, update: Update) -> Verdict {
        let (id, to) = (update.id.clone(), self.model.library.place_of(&update.to));
        if self.me.worker_of(&id).is_some() {
            return Err(format!("{id} is updated twice at a time by one Gantry"));
        }
        let may_other_begin = self.other.permission(self.world.now) == Permission::Granted;
        // Two may watch the same update, when one has taken over from the other.
        if update.begun.is_none() && may_other_begin && self.other.worker_of(&id).is_some() {
            return Err(format!("{id} is updated twice at a time by two Gantrys"));
        }
        if update.begun.is_none() {
            self.must_hold_lease(&id)?;
            if to.1 < self.me.seen[usize::from(to.0)] {
                return Err(format!("{id} begins with a digest that a look has seen replaced"));
            }
        }
        let stage = match update.begun.as_deref() {
            None => Stage::ToSend(None),
            Some(Begun::Update { .. }) => Stage::Watched,
            Some(Begun::Rollback { .. }) => Stage::GoingBack,
        };
        self.me.hands.0.begins(&update.id, &update.to);
        let Some(session) = self.me.session() else { return Ok(()) };
        session.updated.retain(|_, updated| updated.id != id);
        session.workers.insert(number, Worker { update: Rc::new(update), stage });
        let begun = session.workers.values().filter(|worker| worker.update.begun.is_none()).count();
        if begun > LIMITS.workers {
            Err("more updates are under way than allowed".to_owned())
        } else {
            Ok(())
        }
    }

    fn must_hold_lease(&self, id: &str) -> Verdict {
        let lease = self.world.ledger.lease.as_ref();
        if lease.is_some_and(|lease| lease.holder.id == self.me.id) {
            Ok(())
        } else {
            Err(format!("{id} is updated without the lease"))
        }
    }

    /// Ends the rollouts in which nothing can begin, and all of them where the lease is lost.
    fn settle(&mut self) {
        let permission = self.me.permission(self.world.now);
        let Some(session) = self.me.session() else { return };
        let mut stopped: Vec<StoppedRollout> = Vec::new();
        if session.workers.is_empty() && permission == Permission::Refused {
            stopped.extend(session.queue.close_all(&NotBegunReason::Postponed));
        }
        for (_, numbers) in session.queue.at_rest() {
            if numbers.iter().any(|number| session.workers.contains_key(number)) {
                continue;
            }
            stopped.extend(session.queue.close(&numbers, NotBegunReason::Unproven));
            session.updated.retain(|number, _| !numbers.contains(number));
        }
        for stopped in stopped.iter().filter(|stopped| stopped.blames_image) {
            let quarantine = quarantine(&self.me.memory());
            let entry = quarantine.entry_of_image(&stopped.image, DigestVerdict::Quarantined, "it failed");
            self.me.pending.note(entry.map(LedgerChange::Put));
        }
    }

    /// Answers the runs that are over. An error names a service that a run forgets.
    fn answer(&mut self) -> Verdict {
        let forgets = self.model.fault == Some(Fault::ForgetsWithdrawn);
        let Some(session) = self.me.session() else { return Ok(()) };
        let mut ended = 0;
        for (number, rolled_out) in session.queue.take_ended() {
            let run = session.runs.remove(&number).ok_or("a run is answered twice")?;
            let mut named = run.in_hand;
            for row in rolled_out.rows {
                let is_forgotten = forgets && row.why_held() == Some(&NotBegunReason::Withdrawn);
                if !is_forgotten && !named.insert(row.service.clone()) {
                    return Err(format!("a report names {} twice", row.service));
                }
            }
            if named != run.handed_in {
                return Err(format!("a report names {named:?} and not {:?}", run.handed_in));
            }
            ended += 1;
        }
        self.me.ending += ended;
        Ok(())
    }

    /// Does something with a worker.
    fn with_worker(&mut self, number: usize) -> Option<&mut Worker> {
        self.me.session()?.workers.get_mut(&number)
    }

    fn put_stage(&mut self, number: usize, stage: Stage) {
        if let Some(worker) = self.with_worker(number) {
            worker.stage = stage;
        }
    }

    /// Sends an update, as `send::deliver`: read, decide again, write if the service has not changed.
    pub(super) fn send(&mut self, number: usize, answer: Answer) -> Verdict {
        let Some(Worker { update, stage: Stage::ToSend(unanswered) }) = self.with_worker(number).cloned()
        else {
            return Ok(());
        };
        let index = index_of(&update.id);
        let service = self.model.library.service(index, self.world.services[index]);
        if let Some(version) = unanswered {
            let sent = self.sent(&update);
            if has_arrived(&sent, version, &service) {
                self.put_stage(number, Stage::Watched);
                return Ok(());
            }
        }
        match update.dispatch(&service, TaskLifecycle::RunsOn, None) {
            Dispatch::Send(_) => {}
            Dispatch::AlreadyThere => {
                return self.finish(number, Outcome::Unchanged(ALREADY_THERE.to_owned()));
            }
            other => return self.finish(number, Outcome::Superseded(format!("{other:?}"))),
        }
        if let Some(hand) = other_hand(&update, &service, &Ids::new()) {
            return self.finish(number, Outcome::Postponed(hand));
        }
        match self.me.permission(self.world.now) {
            _ if self.model.fault == Some(Fault::BeginsWithoutLease) => {}
            Permission::Granted => {}
            Permission::Unsure => return Ok(()),
            Permission::Refused => return self.finish(number, Outcome::Unchanged("not sent".to_owned())),
        }
        self.must_hold_lease(&update.id)?;
        if answer.arrives() {
            let to = self.model.library.place_of(&update.to);
            if self.world.sent[index] & (1 << to.1) != 0 {
                return Err(format!("{} is sent the same digest twice", update.id));
            }
            self.world.sent[index] |= 1 << to.1;
            self.world.change(index, to, Phase::Updating);
        }
        let stage = if answer.is_heard() { Stage::Watched } else { Stage::ToSend(Some(service.version)) };
        self.put_stage(number, stage);
        Ok(())
    }

    /// What was sent for an update.
    fn sent(&self, update: &Update) -> Sent {
        let spec = |image: &ImageRef| {
            let place = super::world::Place {
                image: self.model.library.place_of(image),
                previous: None,
                phase: None,
                version: 0,
            };
            self.model.library.service(index_of(&update.id), place).spec
        };
        Sent { replaced: spec(&update.from), spec: spec(&update.to), before: Before::default() }
    }

    /// Whether the service of an update still has what it was sent.
    pub(super) fn still_has(&self, update: &Update) -> bool {
        self.world.still_has(index_of(&update.id), self.model.library.place_of(&update.to))
    }

    /// The tasks of an update show what becomes of it.
    pub(super) fn judge(&mut self, number: usize, is_good: bool) -> Verdict {
        let Some(Worker { update, .. }) = self.with_worker(number).cloned() else { return Ok(()) };
        if !self.still_has(&update) {
            return self.finish(number, Outcome::Superseded("it was changed".to_owned()));
        }
        let index = index_of(&update.id);
        let bit = 1 << self.world.services[index].image.1;
        if is_good {
            self.world.good[index] |= bit;
            if self.world.services[index].phase == Some(Phase::Updating) {
                self.world.go_on(index, Phase::Completed);
            }
            return self.finish(number, Outcome::Updated);
        }
        if self.world.bad[index] & bit == 0 {
            self.world.budget.failures -= 1;
            self.world.bad[index] |= bit;
        }
        let quarantine = quarantine(&self.me.memory());
        if let (Some(image), Some(digest)) = (image_name(&update.to), update.to.digest()) {
            let verdict = DigestVerdict::Quarantined;
            let cause = broken().to_string();
            let entry = quarantine.entry(&update.service, &update.id, image, digest, verdict, &cause);
            self.me.pending.note([LedgerChange::Put(entry)]);
        }
        self.put_stage(number, Stage::ToTakeBack);
        Ok(())
    }

    /// Sends a rollback.
    pub(super) fn take_back(&mut self, number: usize, answer: Answer) -> Verdict {
        let Some(Worker { update, .. }) = self.with_worker(number).cloned() else { return Ok(()) };
        let index = index_of(&update.id);
        let place = self.world.services[index];
        let is_going_back = place.phase == Some(Phase::GoingBack) || place.phase == Some(Phase::WentBack);
        if is_going_back && place.previous == Some(self.model.library.place_of(&update.to)) {
            self.put_stage(number, Stage::GoingBack);
            return Ok(());
        }
        let Some(previous) = place.previous.filter(|_| self.still_has(&update)) else {
            let how = "it was changed".to_owned();
            return self.finish(number, Outcome::Overtaken { cause: broken(), how });
        };
        if answer.arrives() {
            self.world.change(index, previous, Phase::GoingBack);
        }
        if answer.is_heard() {
            self.put_stage(number, Stage::GoingBack);
        }
        Ok(())
    }

    /// The previous image runs again, or a user has changed the service.
    pub(super) fn is_back(&mut self, number: usize) -> Verdict {
        let Some(Worker { update, .. }) = self.with_worker(number).cloned() else { return Ok(()) };
        let index = index_of(&update.id);
        let place = self.world.services[index];
        let outcome = match place.phase {
            Some(Phase::GoingBack | Phase::WentBack) if place.previous.is_some() => {
                if place.phase == Some(Phase::GoingBack) {
                    self.world.go_on(index, Phase::WentBack);
                }
                Outcome::RolledBack { by: By::Gantry, cause: broken() }
            }
            _ => Outcome::Overtaken { cause: broken(), how: "it was changed".to_owned() },
        };
        self.finish(number, outcome)
    }

    /// An update ends, as `Session::end`.
    fn finish(&mut self, number: usize, outcome: Outcome) -> Verdict {
        let Some(session) = self.me.session() else { return Ok(()) };
        let Some(Worker { update, .. }) = session.workers.remove(&number) else { return Ok(()) };
        let (id, is_good) = (update.id.clone(), outcome.is_success());
        session.queue.end(number, finished(&update, outcome));
        if is_good {
            session.updated.insert(number, update);
        }
        if self.model.fault != Some(Fault::ForgetsEnd) {
            self.me.hands.0.ended(&id);
        }
        self.session_goes_on()
    }

    /// It is seen that a user has taken back an update that was called good.
    pub(super) fn sees_taken_back(&mut self, number: usize) -> Verdict {
        let Some(session) = self.me.session() else { return Ok(()) };
        if let Some(update) = session.updated.remove(&number) {
            session.queue.taken_back(number);
            session.queue.turn_bad(number, &update, Effect::TakenBack);
        }
        self.session_goes_on()
    }
}

pub(super) fn finished(update: &Update, outcome: Outcome) -> Finished {
    Finished {
        service: update.service.clone(),
        from: update.from.clone(),
        to: update.to.clone(),
        outcome,
        log: Vec::new(),
        health: None,
        took: Duration::ZERO,
    }
}
