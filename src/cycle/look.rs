//! The look of a run: what there is, what is newest, what is to be done. The stages in order, each one call.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result};
use tokio::sync::oneshot;

use super::gates::Remember;
use super::gone_back::Tags;
use super::hub::HubAccounts;
use super::report::Report;
use super::{discover, gates, gone_back, hub, inspect, lease, order, plan, tags, windows};
use crate::context::Context;
use crate::ledger::acquire::LeaseOutcome;
use crate::model::attention::OtherHand;
use crate::model::decision::{Decision, Planned};
use crate::model::event::Event;
use crate::model::image_history::ImageHistory;
use crate::model::inspected::Inspected;
use crate::model::quarantine::Quarantine;
use crate::model::row::Row;
use crate::model::update::Update;
use crate::registry::{Keyring, Registry};
use crate::rollout::Rollouts;
use crate::rollout::rolled_out::RolledOut;
use crate::swarm::Swarm;

/// How long the updates under way are waited for before Gantry updates itself, where updates have no time limit.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What a look leaves to the rest of its run.
#[derive(Debug)]
pub struct Looked {
    /// The accounts at registries.
    pub(super) keyring: Keyring,
    /// What Docker Hub allowed before.
    pub(super) hub: HubAccounts,
    /// What becomes of its updates, where it has any.
    pub(super) handed_in: Option<oneshot::Receiver<RolledOut>>,
}

/// What follows from a look.
pub(super) enum Next {
    /// Its updates are handed in.
    Done(Box<Looked>),
    /// Another Gantry has been at work since the stages looked. Its lease is over, and it is ours now.
    LookAgain,
}

/// The look of a run: what there is, what is newest, what is to be done. What is to be done is handed in.
pub(super) async fn look<S: Swarm, R: Registry>(
    context: &Arc<Context<S, R>>,
    rollouts: &Rollouts<S, R>,
    report: &mut Report,
) -> Result<Next> {
    context.beat();
    rollouts.look_begins();
    let found = discover::discover(context, &rollouts.known()).await?;
    let keyring = context.beating(Keyring::open(&context.credential_sources())).await?;
    let hub = hub::before(context, &keyring, found.itself.iter().chain(&found.others)).await;
    let mut handed_in = None;
    // Ourselves first, to the end: the others are looked at by the newest Gantry.
    for (candidates, is_itself) in [(found.itself, true), (found.others, false)] {
        if context.stop.is_cancelled() {
            break;
        }
        let mut inspected = inspect::inspect(context, &keyring, &found.hosts, candidates).await;
        tags::look(context, &mut inspected).await;
        let (mut inspected, under_way) = rollouts.set_apart(inspected);
        report.leave(under_way);
        lease::ask_tasks(context, &mut inspected).await;
        gates::pass(context, &mut inspected, Remember::Yes).await;
        let Decided { planned, quarantine, tags } = decide(context, &inspected);
        let now = context.ledger.now();
        let opens = planned.iter().map(|planned| (planned.service.clone(), windows::opens(planned, now)));
        rollouts.openings.looked(opens, is_itself && context.scope.is_everything());
        context.events.emit(&Event::Decided(planned.iter().map(Row::of_decision).collect()));
        rollouts.take_out(&inspected, &planned);
        let image_history = ImageHistory::of(&inspected, &planned, &quarantine);
        let lease = lease::take_for_updates(context, &inspected, &planned, &tags, found.newest).await;
        drop(inspected);
        match lease {
            LeaseOutcome::Ours => {}
            LeaseOutcome::OursAfterWait => return Ok(Next::LookAgain),
            LeaseOutcome::Failed { cause } => {
                return Err(Error::new(cause).context("cannot write the ledger"));
            }
            LeaseOutcome::NotOurs { .. } | LeaseOutcome::Stopped => {
                report.postpone(planned, &lease);
                break;
            }
        }
        let updates = report.take_decisions(planned);
        if is_itself {
            update_itself(context, rollouts, report, updates, image_history).await;
        } else {
            handed_in = rollouts.hand_in(context, updates, image_history);
        }
    }
    Ok(Next::Done(Box::new(Looked { keyring, hub, handed_in })))
}

/// What is decided on all services that were looked at.
pub(super) struct Decided {
    /// The decisions, in the order of the services.
    pub(super) planned: Vec<Planned>,
    /// What was known of broken images.
    pub(super) quarantine: Quarantine,
    /// Which tags have gone back.
    pub(super) tags: Tags,
}

/// Decides on all services that were looked at.
pub(super) fn decide<S: Swarm, R>(context: &Context<S, R>, inspected: &[Inspected]) -> Decided {
    let quarantine = context.quarantine();
    let tags = gone_back::look(context, inspected, &quarantine);
    let planned = tags.hold(plan::plan(inspected, &context.selection(), &quarantine));
    let planned = quarantine.hold_what_finds_no_room(inspected, planned);
    let planned = if context.ledger.pause().is_some() { hold_all(planned) } else { planned };
    let planned = windows::hold(planned, context.ledger.now(), context.scope.now);
    let planned = order::hold(planned);
    Decided { planned, quarantine, tags }
}

/// A user's pause: what has begun goes on, and nothing else begins.
fn hold_all(planned: Vec<Planned>) -> Vec<Planned> {
    let held = planned.into_iter().map(|planned| match planned.decision {
        Decision::Update(update) if update.begun.is_none() => {
            Planned { decision: Decision::Later(update, OtherHand::ByHand), ..planned }
        }
        _ => planned,
    });
    held.collect()
}

/// Updates our own service, alone: nothing else begins meanwhile, and what is under way is waited for. With its success this
/// process ends.
async fn update_itself<S: Swarm, R: Registry>(
    context: &Arc<Context<S, R>>,
    rollouts: &Rollouts<S, R>,
    report: &mut Report,
    updates: Vec<Update>,
    image_history: ImageHistory,
) {
    let limit = context.config.updates.timeout.unwrap_or(PATIENCE);
    if updates.is_empty() {
        return;
    }
    let _pause = context.beating(rollouts.pause(limit)).await;
    let alone = Rollouts::default();
    if let Some(answer) = alone.hand_in(context, updates, image_history) {
        tokio::select! {
            answer = answer => report.take_rollout(answer.unwrap_or_default()),
            () = alone.drive() => {}
        }
    }
}
