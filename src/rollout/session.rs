//! From the first update that begins to the last one that ends: one look-out, one guard, one queue for all runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::aftercare::{Aftercare, LateChange, Updated};
use super::conditions::OrderLimits;
use super::openings::Opening;
use super::pace::{Effect, Limits};
use super::placing;
use super::queue::Queue;
use super::rolled_out::RolledOut;
use super::rollouts::{Join, Rollouts, RunRequest};
use super::send::SURE_AGAIN;
use super::watch::{self, LookOut, Snapshot};
use super::workers::Workers;
use crate::context::Context;
use crate::gate::{Gate, Refusal};
use crate::ledger::Permission;
use crate::model::attention::OtherHand;
use crate::model::event::Event;
use crate::model::finished::{Finished, NotBegunReason};
use crate::model::row::Row;
use crate::model::update::Update;
use crate::registry::Registry;
use crate::swarm::Swarm;

/// What runs that are under way share.
struct Session<'a, S, R> {
    rollouts: &'a Rollouts<S, R>,
    context: &'a Arc<Context<S, R>>,
    look_out: Arc<LookOut>,
    queue: Queue,
    workers: Workers<S, R>,
    aftercare: Aftercare,
    /// The runs whose updates have not all ended, by number.
    runs: BTreeMap<u64, OpenRun<S, R>>,
    next_run: u64,
    /// When the windows end of the updates under way, by number.
    ends: BTreeMap<usize, Timestamp>,
    /// Until when no gate shuts before an update that waits; `None`: that is not known.
    open_until: Option<Timestamp>,
}

/// A run whose updates have not all ended.
struct OpenRun<S, R> {
    context: Arc<Context<S, R>>,
    reply: oneshot::Sender<RolledOut>,
    /// What the run is told at its end; at first only the updates that a previous run has in hand.
    result: RolledOut,
    /// The update that ended longest after its window: service, image, and how long.
    late: Option<(String, String, SignedDuration)>,
}

impl<S: Swarm, R: Registry> Rollouts<S, R> {
    /// Carries out what runs hand in, for as long as it is polled. Dropped, it leaves what is under way to the swarm.
    pub async fn drive(&self) {
        loop {
            let requests = self.take_requests();
            let first = requests.iter().find_map(|request| match request {
                RunRequest::Join(join) => Some(join.context.clone()),
                // Nothing waits that could be taken out, or needs an image.
                RunRequest::TakeOut(_) | RunRequest::Needed(_) => None,
            });
            if let Some(context) = first {
                self.put_back(requests);
                run(self, &context).await;
            } else {
                drop(requests);
                self.news().await;
            }
        }
    }
}

/// Carries out what runs hand in, until nothing is left to do.
async fn run<S: Swarm, R: Registry>(rollouts: &Rollouts<S, R>, context: &Arc<Context<S, R>>) {
    let look_out = LookOut::new(context, rollouts.budget.clone());
    let cluster = &look_out.cluster;
    cluster.first_look(context).await;
    let mut session = Session {
        rollouts,
        context,
        look_out: look_out.clone(),
        queue: Queue::new(Limits::of(&context.config), OrderLimits::of(&context.config)),
        workers: Workers::new(&look_out),
        aftercare: Aftercare::default(),
        runs: BTreeMap::new(),
        next_run: 0,
        ends: BTreeMap::new(),
        open_until: None,
    };
    let mut snapshots = look_out.snapshots();
    let mut keeping = std::pin::pin!(look_out.keep(context));
    loop {
        session.take_requests().await;
        session.begin();
        let is_idle = session.workers.tasks.is_empty();
        let is_stopped = context.stop.is_cancelled();
        let permission = context.ledger.permission();
        let has_waiting = session.queue.has_waiting() && !is_stopped;
        // The engine is away, or slow: until we have seen that the lease is still ours, nothing begins.
        let is_unsure = has_waiting && permission == Permission::Unsure;
        // The same while the cluster is not fit for more, until it is or has not been for too long.
        let is_held =
            has_waiting && permission == Permission::Granted && !cluster.may_begin(session.workers.sent());
        let is_by_hand = has_waiting && context.ledger.pause().is_some();
        cluster.ask(has_waiting);
        look_out.expect(session.queue.next_services(2 * session.workers.begun.len()));
        if is_idle && is_stopped {
            session.close_all(&NotBegunReason::Interrupted);
        } else if is_idle && permission == Permission::Refused {
            session.close_all(&NotBegunReason::Postponed);
        } else if is_idle && is_by_hand {
            session.close_all(&NotBegunReason::OtherHand(OtherHand::ByHand));
        } else if is_idle
            && is_held
            && let Some(shut) = cluster.given_up()
        {
            session.runs.values_mut().for_each(|run| run.result.shut = Some(shut.clone()));
            session.close_all(&NotBegunReason::Postponed);
        }
        if is_idle && has_waiting && permission == Permission::Granted && !is_held && !rollouts.is_paused() {
            session.queue.break_deadlock();
        }
        let lacks_last_look = session.settle();
        session.answer();
        if session.queue.is_empty() && is_idle {
            if session.rollouts.has_requests() {
                continue;
            }
            return;
        }
        look_out.keep_an_eye_on(session.aftercare.ids(), lacks_last_look);
        let ended = tokio::select! {
            Some(ended) = session.workers.tasks.join_next_with_id(), if !is_idle => ended,
            () = &mut keeping => continue,
            () = rollouts.news() => continue,
            () = context.stop.cancelled(), if !is_stopped => continue,
            () = sleep(SURE_AGAIN), if is_unsure || is_idle => continue,
            () = cluster.looked(), if is_held => continue,
            snapshot = watch::next_whole(&mut snapshots) => {
                session.look_after(&snapshot);
                continue;
            }
        };
        session.end(ended);
    }
}

impl<S: Swarm, R: Registry> Session<'_, S, R> {
    /// Does what runs want.
    async fn take_requests(&mut self) {
        // Orders that come meanwhile are included: no update begins that an order has outdated.
        while let requests = self.rollouts.take_requests()
            && !requests.is_empty()
        {
            for request in requests {
                match request {
                    RunRequest::TakeOut(wanted) => self.queue.take_out(&wanted),
                    RunRequest::Join(join) => self.join(join).await,
                    RunRequest::Needed(reply) => {
                        let images = self.queue.needed().chain(self.workers.needed()).cloned().collect();
                        // A run that does not wait any more has ended with its process.
                        let _ = reply.send(images);
                    }
                }
            }
        }
    }

    async fn join(&mut self, join: Join<S, R>) {
        let Join { context, updates, moved, image_history, reply } = join;
        let (mut new, waiting) = self.queue.refresh(updates);
        let moved = moved.into_iter().map(|update| Row::held(update, NotBegunReason::UnderWay));
        let result = RolledOut { rows: moved.chain(waiting).collect(), ..RolledOut::default() };
        if !result.rows.is_empty() {
            context.events.emit(&Event::NotBegun(result.rows.clone()));
        }
        placing::find_unplaced(&context, &self.look_out.cluster, &mut new).await;
        let run = self.next_run;
        self.next_run += 1;
        self.queue.join(run, context.events.clone(), new, image_history);
        self.open_until = None;
        self.runs.insert(run, OpenRun { context, reply, result, late: None });
        for (run, number, update) in self.queue.under_way() {
            self.start(run, number, update);
        }
    }

    /// Takes out what may not begin any more, as its window has ended. What is under way goes on.
    fn hold_what_is_shut(&mut self) {
        let now = self.context.ledger.now();
        if self.open_until.is_some_and(|until| now < until) {
            return;
        }
        let mut open_until = Timestamp::MAX;
        let runs = &self.runs;
        let held = self.queue.hold(|run, update| {
            let at_once = runs.get(&run).is_some_and(|run| run.context.scope.now);
            let asked = update.policy.times.ask(now, at_once);
            open_until = open_until.min(asked.as_ref().ok().copied().flatten().unwrap_or(Timestamp::MAX));
            asked.err()
        });
        self.open_until = Some(open_until);
        self.tell_openings(held);
    }

    /// Takes out what comes after a service that has come to no good end.
    fn hold_out_of_order(&mut self) {
        let held = self.queue.hold_out_of_order();
        self.tell_openings(held);
    }

    fn tell_openings(&self, held: Vec<(String, Refusal)>) {
        for (service, refusal) in held {
            if let Some(at) = refusal.until {
                let is_window = refusal.gate == Gate::Window;
                self.rollouts.openings.shuts(service, Opening { at, is_window });
            }
        }
    }

    /// Begins what may.
    fn begin(&mut self) {
        self.hold_what_is_shut();
        self.hold_out_of_order();
        while !self.context.stop.is_cancelled()
            && !self.rollouts.is_paused()
            && self.context.ledger.pause().is_none()
            && self.context.ledger.permission() == Permission::Granted
            && self.look_out.cluster.may_begin(self.workers.sent())
            && let Some((run, number, update)) = self.queue.begin()
        {
            self.start(run, number, update);
            self.hold_what_is_shut();
            self.hold_out_of_order();
        }
    }

    fn start(&mut self, run: u64, number: usize, update: Update) {
        let Some(open) = self.runs.get(&run) else { return };
        if update.begun.is_none()
            && let Ok(Some(end)) = update.policy.times.ask(open.context.ledger.now(), open.context.scope.now)
        {
            self.ends.insert(number, end);
        }
        self.rollouts.begins(&update.id, &update.to);
        self.aftercare.forget_service(&update.id);
        self.workers.begin(&open.context, number, update);
    }

    fn close_all(&mut self, otherwise: &NotBegunReason) {
        for stopped in self.queue.close_all(otherwise) {
            self.context.remember_stopped(&stopped);
        }
    }

    /// Ends the rollouts with nothing left to watch. Returns whether one waits only for a last look at its services.
    fn settle(&mut self) -> bool {
        let now = Instant::now();
        let mut lacks_last_look = false;
        let busy: BTreeSet<usize> = self.workers.begun.values().map(|begun| begun.number).collect();
        for (image, numbers) in self.queue.at_rest() {
            // A service that was called updated is being rolled back.
            if numbers.iter().any(|number| busy.contains(number)) {
                continue;
            }
            if self.aftercare.is_settled(&numbers, now) {
                // Nothing is under way that could change it.
                if let Some(stopped) = self.queue.close(&numbers, NotBegunReason::Unproven) {
                    // Before the next look: the run may go on for long with other images.
                    self.context.remember_stopped(&stopped);
                }
                self.aftercare.forget(&image);
            } else {
                lacks_last_look |= self.aftercare.lacks_last_look(&numbers);
            }
        }
        lacks_last_look
    }

    /// Tells the runs that are over what became of their updates.
    fn answer(&mut self) {
        for (run, rolled_out) in self.queue.take_ended() {
            if let Some(OpenRun { context, reply, mut result, late }) = self.runs.remove(&run) {
                if let Some((service, image, after)) = late {
                    let seconds = after.as_secs();
                    context.events.gate_news(
                        &image,
                        format!("the update of {service} ended {seconds} s after its window"),
                    );
                }
                result.rows.extend(rolled_out.rows);
                result.stopped = rolled_out.stopped;
                result.superseded = rolled_out.superseded;
                // A run that is not waited for any more has ended with its process.
                let _ = reply.send(result);
            }
        }
    }

    /// Takes note of the end of a worker.
    fn end(&mut self, ended: Result<(tokio::task::Id, (Finished, Option<Updated>)), tokio::task::JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Ok(ended)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(begun) = self.workers.begun.remove(&id) else { return };
        let (number, is_late) = (begun.number, begun.is_late);
        let (service, to) = begun.place();
        self.rollouts.ended(service);
        let image = to.to_string();
        self.follow_window(number, &to.tagged());
        let (finished, success) = ended.unwrap_or_else(|error| (begun.failed(&error), None));
        self.aftercare.ended(number, image, success, Instant::now());
        if is_late {
            self.queue.end_again(number, finished);
        } else {
            self.queue.end(number, finished);
        }
    }

    /// Takes note of an update that ends after its window.
    fn follow_window(&mut self, number: usize, image: &str) {
        let (Some(end), now) = (self.ends.remove(&number), self.context.ledger.now()) else { return };
        let after = now.duration_since(end);
        let (Some(run), Some(service)) = (self.queue.run_of(number), self.queue.service_of(number)) else {
            return;
        };
        let Some(run) = self.runs.get_mut(&run) else { return };
        if after.is_positive() && run.late.as_ref().is_none_or(|(.., longest)| *longest < after) {
            run.late = Some((service, image.to_owned(), after));
        }
    }

    /// Looks at the services that were called updated: what fails late counts, and is rolled back.
    fn look_after(&mut self, snapshot: &Snapshot) {
        for (number, updated, news) in
            self.aftercare.look(snapshot.began(), snapshot.nodes(), |id| snapshot.of(id))
        {
            let update = &updated.update;
            let Some(run) = self.queue.run_of(number).and_then(|run| self.runs.get(&run)) else { continue };
            let cause = match news {
                LateChange::Failed(cause) => {
                    self.queue.turn_bad(number, update, Effect::of_cause(&cause));
                    run.context.remember_failure(update, &cause);
                    Some(cause)
                }
                LateChange::RolledBack => {
                    self.queue.turn_bad(number, update, Effect::Failure { blames_image: false });
                    None
                }
                LateChange::TakenBack => {
                    self.queue.taken_back(number);
                    self.queue.turn_bad(number, update, Effect::TakenBack);
                    continue;
                }
            };
            self.rollouts.begins(&update.id, &update.to);
            self.workers.take_back(&run.context, number, updated, cause);
        }
    }
}
