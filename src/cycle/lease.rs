//! Between plan and rollout: what services and the ledger tell of broken images, and the lease.

use std::sync::Arc;
use std::time::Duration;

use super::gone_back::Tags;
use crate::context::{Context, PATIENCE};
use crate::ledger::acquire::{LeaseOutcome, LeaseRequest};
use crate::ledger::book::LedgerChange;
use crate::ledger::entry::{DigestVerdict, image_name};
use crate::ledger::orders::OrderNote;
use crate::model::candidate::Candidate;
use crate::model::cause::Cause;
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::finished::StoppedRollout;
use crate::model::inspected::Inspected;
use crate::model::quarantine;
use crate::model::quarantine::Quarantine;
use crate::model::update::Update;
use crate::swarm::tasks::{by_service, tasks_of_any};
use crate::swarm::{Listing, Swarm, SwarmError};

/// The shortest time that the lease is waited for, whatever the interval: so long it takes to find out that its holder is
/// dead.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

impl<S: Swarm, R> Context<S, R> {
    /// What is known of broken images now.
    pub(crate) fn quarantine(&self) -> Quarantine {
        let config = &self.config.quarantine;
        Quarantine {
            is_on: config.enabled,
            book: self.ledger.book(),
            seen: self.ledger.seen.book(),
            now: self.ledger.now(),
            duration: config.duration,
            node: self.ledger.node(),
        }
    }

    /// Remembers that an image has broken a service: known, and written soon, before the rollback is over. Where the
    /// image is not to blame that is remembered, too: after the rollback the service alone would look like one that a
    /// person took away from this digest.
    pub(crate) fn remember_failure(&self, update: &Update, cause: &Cause) {
        if !self.config.quarantine.enabled {
            return;
        }
        let verdict = if cause.blames_image() { DigestVerdict::Quarantined } else { DigestVerdict::Excused };
        if let (Some(image), Some(digest)) = (image_name(&update.to), update.to.digest()) {
            let cause = cause.to_string();
            let quarantine = self.quarantine();
            let (service, id) = (&update.service, &update.id);
            let entry = quarantine.entry(service, id, image, digest, verdict, &cause);
            self.ledger.note(LedgerChange::Put(entry));
        }
    }

    /// Remembers that the rollout of an image was stopped, because of what it did to the services that got it.
    pub(crate) fn remember_stopped(&self, stopped: &StoppedRollout) {
        let StoppedRollout { image, failed, touched, total, causes, blames_image } = stopped;
        if !self.config.quarantine.enabled || !blames_image {
            return;
        }
        let why = format!("{failed} of {touched} updates failed, of {total}: {}", causes.join("; "));
        if let Some(entry) = self.quarantine().entry_of_image(image, DigestVerdict::Quarantined, &why) {
            self.ledger.note(LedgerChange::Put(entry));
        }
    }
}

/// Looks at the failed tasks of services that the swarm has rolled back by itself, as nothing else tells from
/// what: one request for all of them, and none once the ledger knows.
pub(super) async fn ask_tasks<S: Swarm, R>(context: &Context<S, R>, inspected: &mut [Inspected]) {
    let quarantine = context.quarantine();
    let asked = inspected.iter_mut().filter(|inspected| quarantine.needs_tasks(inspected));
    let mut asked: Vec<&mut Candidate> = asked.map(|inspected| &mut inspected.candidate).collect();
    if let Err(error) = read_failed_tasks(&*context.swarm, &mut asked).await {
        let what = format!("cannot see what Swarm rolled {} services back from", asked.len());
        context.events.trouble(what, "", &error);
        for candidate in asked {
            candidate.history.is_untold = true;
        }
    }
}

/// Adds to the history of these services what their failed tasks tell. One request for all of them.
pub(super) async fn read_failed_tasks<S: Swarm>(
    swarm: &S,
    candidates: &mut [&mut Candidate],
) -> Result<(), SwarmError> {
    if candidates.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = candidates.iter().map(|candidate| candidate.id.clone()).collect();
    let tasks = by_service(tasks_of_any(swarm, &ids).await?);
    for candidate in candidates {
        let Some(image) = candidate.image().cloned() else { continue };
        let own = tasks.get(&candidate.id).map_or(&[][..], Vec::as_slice);
        candidate.history.take_tasks(&image, own, candidate.may_collide);
    }
    Ok(())
}

/// The notes on orders that services do not have any more: those that they have now are their users'.
fn outdated_orders<S, R>(
    context: &Context<S, R>,
    inspected: &[Inspected],
) -> impl Iterator<Item = LedgerChange> {
    let book = context.ledger.book();
    inspected.iter().filter_map(move |Inspected { candidate, .. }| {
        let note = book.orders.of(&candidate.id);
        let kept = note.of_present(candidate.order);
        (kept != note).then(|| LedgerChange::Order(candidate.id.clone(), kept))
    })
}

/// Remembers what only services showed so far, and takes the lease if there is something to update. `since` is the latest
/// version of any service that was listed.
pub(super) async fn take_for_updates<S: Swarm, R>(
    context: &Arc<Context<S, R>>,
    inspected: &[Inspected],
    planned: &[Planned],
    tags: &Tags,
    since: u64,
) -> LeaseOutcome {
    // A ledger that is full would forget something else for it, and write in every cycle.
    let room = context.ledger.book().room();
    quarantine::news(planned).take(room).for_each(|change| context.ledger.note(change));
    outdated_orders(context, inspected).for_each(|change| context.ledger.note(change));
    let updates = || {
        planned.iter().filter_map(|planned| match &planned.decision {
            Decision::Update(update) => Some(&**update),
            _ => None,
        })
    };
    // Where there is no room, what has had its time makes some.
    let is_full = |planned: &Planned| matches!(planned.decision, Decision::LeftAlone(Reason::LedgerFull(_)));
    if updates().next().is_none() && !planned.iter().any(is_full) {
        return LeaseOutcome::Ours;
    }
    let quarantine = context.quarantine();
    let mut present = quarantine::present(inspected);
    // What broke a service is not forgotten for a tag that may come back to it.
    present.tags.retain(|name, _| !tags.doubts(name));
    let mut unseen = quarantine.unseen(&present);
    // The engine finds a service by the beginning of its id as well.
    let is_seen = |key: &&String| present.services.keys().any(|id| id.starts_with(*key));
    unseen.extend(quarantine.book.orders.keys().filter(|key| !is_seen(key)).cloned());
    if !unseen.is_empty()
        && let Ok(found) = context.swarm.services(Listing::Ids(&unseen)).await
    {
        let is_gone = |id: &String| found.iter().all(|service| !service.id.starts_with(id));
        present.gone = unseen.into_iter().filter(is_gone).collect();
    }
    let forgotten = |id: &String| LedgerChange::Order(id.clone(), OrderNote::default());
    let mut changes: Vec<LedgerChange> = present.gone.iter().map(forgotten).collect();
    changes.retain(|change| quarantine.book.is_changed_by(change));
    changes.extend(quarantine.outdated(&present));
    if updates().next().is_none() && changes.is_empty() {
        return LeaseOutcome::Ours;
    }
    changes.extend(quarantine.offers(updates()));
    let patience = context.config.interval.unwrap_or(PATIENCE).max(LEAST_PATIENCE);
    let request = LeaseRequest { changes, patience, ..request(context, since) };
    context.ledger.take(&*context.swarm, &request, || context.beat()).await
}

/// Takes the lease for a cleaning, or waits for it for so long.
pub(super) async fn take_for_cleaning<S: Swarm, R>(
    context: &Context<S, R>,
    since: u64,
    patience: Duration,
) -> LeaseOutcome {
    let request = LeaseRequest { patience, ..request(context, since) };
    context.ledger.take(&*context.swarm, &request, || context.beat()).await
}

fn request<S, R>(context: &Context<S, R>, since: u64) -> LeaseRequest {
    let who = context.itself_name().map_or_else(
        || format!("{}/{}", context.ledger.node(), std::process::id()),
        |name| format!("{name}@{}", context.ledger.node()),
    );
    LeaseRequest {
        who,
        since,
        task: context.itself.as_ref().and_then(|itself| itself.task.clone()),
        changes: Vec::new(),
        patience: PATIENCE,
        stop: context.stop.clone(),
    }
}
