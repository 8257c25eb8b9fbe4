//! The updates that are under way, each in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::aftercare::Updated;
use super::begin::{self, Beginning};
use super::follow::{follow, update_one};
use super::last_words::LastWords;
use super::machine::{Machine, SentUpdate};
use super::watch::LookOut;
use crate::context::{Context, Events};
use crate::image::ImageRef;
use crate::model::cause;
use crate::model::cause::Cause;
use crate::model::event::Event;
use crate::model::finished::Finished;
use crate::model::outcome::Outcome;
use crate::model::update::Update;
use crate::registry::Registry;
use crate::swarm::Swarm;

/// An update that a worker carries out.
pub(super) struct BegunUpdate<S, R> {
    context: Arc<Context<S, R>>,
    pub(super) number: usize,
    id: String,
    service: String,
    from: ImageRef,
    to: ImageRef,
    /// Whether it was called updated before, and is taken back now.
    pub(super) is_late: bool,
}

impl<S, R> BegunUpdate<S, R> {
    fn of(context: &Arc<Context<S, R>>, number: usize, update: &Update) -> Self {
        let Update { id, service, from, to, .. } = update;
        let (context, id, service) = (context.clone(), id.clone(), service.clone());
        Self { context, number, id, service, from: from.clone(), to: to.clone(), is_late: false }
    }

    /// The service's id, and the image that it gets.
    pub(super) fn place(&self) -> (&str, &ImageRef) {
        (&self.id, &self.to)
    }

    /// Which service was sent what.
    fn sent(&self) -> (&str, String) {
        (&self.id, self.to.to_string())
    }

    /// A fault of Gantry's own in one update: the others go on, and the report still names it.
    pub(super) fn failed(self, error: &tokio::task::JoinError) -> Finished {
        let cause = Cause::Internal { message: cause::words(&error.to_string()) };
        let outcome = Outcome::Failed { cause };
        let Self { context, service, from, to, .. } = self;
        let finished =
            Finished { service, from, to, outcome, log: Vec::new(), health: None, took: Duration::ZERO };
        context.events.emit(&Event::UpdateEnded(finished.clone()));
        finished
    }
}

/// The updates that are under way.
pub(super) struct Workers<S, R> {
    look_out: Arc<LookOut>,
    pub(super) tasks: JoinSet<(Finished, Option<Updated>)>,
    pub(super) begun: HashMap<tokio::task::Id, BegunUpdate<S, R>>,
}

impl<S: Swarm, R: Registry> Workers<S, R> {
    pub(super) fn new(look_out: &Arc<LookOut>) -> Self {
        Self { look_out: look_out.clone(), tasks: JoinSet::new(), begun: HashMap::new() }
    }

    /// Begins an update of the run that has this context.
    pub(super) fn begin(&mut self, context: &Arc<Context<S, R>>, number: usize, update: Update) {
        let begun = BegunUpdate::of(context, number, &update);
        let worker = carry_out(context.clone(), self.look_out.clone(), update);
        let worker = self.tasks.spawn(worker.instrument(context.span.clone()));
        self.begun.insert(worker.id(), begun);
    }

    /// Deals with a service that was called updated and has failed since.
    pub(super) fn take_back(
        &mut self,
        context: &Arc<Context<S, R>>,
        number: usize,
        updated: Updated,
        cause: Option<Cause>,
    ) {
        let begun = BegunUpdate { is_late: true, ..BegunUpdate::of(context, number, &updated.update) };
        let worker = carry_back(context.clone(), self.look_out.clone(), updated, cause);
        let worker = self.tasks.spawn(worker.instrument(context.span.clone()));
        self.begun.insert(worker.id(), begun);
    }

    /// The images that services under way have had and get.
    pub(super) fn needed(&self) -> impl Iterator<Item = &ImageRef> {
        self.begun.values().flat_map(|begun| [&begun.from, &begun.to])
    }

    pub(super) fn sent(&self) -> impl Iterator<Item = (&str, String)> {
        self.begun.values().map(BegunUpdate::sent)
    }
}

/// Carries out one update and says how it went.
async fn carry_out<S: Swarm, R: Registry>(
    context: Arc<Context<S, R>>,
    look_out: Arc<LookOut>,
    update: Update,
) -> (Finished, Option<Updated>) {
    let begun = Instant::now();
    let Update { service, from, to, .. } = &update;
    context.events.emit(&Event::UpdateBegan {
        service: service.clone(),
        from: from.clone(),
        to: to.clone(),
        found: begin::found(&update),
    });
    if update.begun.is_none() {
        // Names of options only: their values may be secret.
        let login = update.credentials.as_ref().map_or("none", |login| login.source.as_str());
        let options: Vec<&str> = update.policy.update_options.given_names().collect();
        let options = options.join(" ");
        tracing::debug!(service = update.service, login, options, "login and options of the update");
    }
    let mut words = LastWords::default();
    let work = update_one(&context, &look_out, &update, &mut words);
    let (outcome, updated) = tokio::select! {
        end = work => end,
        () = context.stop.cancelled() => (Outcome::Interrupted, None),
    };
    (finish(&context.events, update, outcome, words, begun), updated)
}

/// Takes back an update that was called good and has failed since, and says how that went. Without a `cause`, the swarm has
/// begun to roll it back.
async fn carry_back<S: Swarm, R: Registry>(
    context: Arc<Context<S, R>>,
    look_out: Arc<LookOut>,
    updated: Updated,
    cause: Option<Cause>,
) -> (Finished, Option<Updated>) {
    let begun = Instant::now();
    let Updated { update, sent, sent_update, .. } = updated;
    let sent_update = SentUpdate { sent_at: begun, ..sent_update };
    let mut words = LastWords::default();
    let machine = match cause {
        Some(cause) => {
            let cause = Cause::Late { cause: Box::new(cause) };
            let (service, cause) = (update.service.clone(), cause);
            context.events.emit(&Event::UpdateFailedLate { service, cause: cause.clone() });
            if !sent_update.may_roll_back {
                return (finish(&context.events, update, Outcome::Failed { cause }, words, begun), None);
            }
            Machine::failed(sent_update.clone(), cause)
        }
        None => Machine::new(sent_update.clone()),
    };
    let beginning = Beginning { machine, sent_update, sent: Some(sent) };
    let work = follow(&context, &look_out, &update, beginning, &mut words);
    let (outcome, _) = tokio::select! {
        end = work => end,
        () = context.stop.cancelled() => (Outcome::Interrupted, None),
    };
    (finish(&context.events, update, outcome, words, begun), None)
}

fn finish(events: &Events, update: Update, outcome: Outcome, words: LastWords, begun: Instant) -> Finished {
    let LastWords { log, health } = words;
    let Update { service, from, to, .. } = update;
    let finished = Finished { service, from, to, outcome, log, health, took: begun.elapsed() };
    events.emit(&Event::UpdateEnded(finished.clone()));
    finished
}
