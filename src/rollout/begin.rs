//! How an update begins: it is sent now, or it is under way already.

use std::sync::Arc;

use tokio::time::Instant;

use super::machine::{Machine, SentUpdate, Whole};
use super::ordering;
use super::send::{self, Sent};
use super::watch::LookOut;
use crate::context::Context;
use crate::model::before::Before;
use crate::model::event::UnderWay;
use crate::model::outcome::Outcome;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::update::{Begun, Update};
use crate::swarm::Swarm;

/// An update that is to be watched from now on.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) machine: Machine,
    pub(super) sent_update: SentUpdate,
    /// What can be taken back; nothing of a rollback.
    pub(super) sent: Option<Sent>,
}

/// Sends an update that is not under way yet. An outcome instead means that there is nothing to watch.
pub(super) async fn begin<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
) -> Result<Beginning, Outcome> {
    let (sent, is_found) = match update.begun.as_deref() {
        Some(Begun::Rollback { by, failed, restored, message }) => {
            let sent_update = sent_update(update, failed.clone(), restored.clone());
            let machine = Machine::rolling_back(sent_update.clone(), *by, message.clone());
            return Ok(Beginning { machine, sent_update, sent: None });
        }
        Some(Begun::Update { replaced, spec }) => {
            let (replaced, spec) = (replaced.clone(), spec.clone());
            (Sent { replaced, spec, before: Before::default() }, true)
        }
        None => (send::send(context, look_out, update).await?, false),
    };
    let sent_update = SentUpdate {
        whole: Some(Whole { replaced: sent.replaced.clone(), sent: sent.spec.clone() }),
        before: sent.before.clone(),
        side_by_side: ordering::side_by_side(
            &look_out.surroundings,
            (sent.replaced.facts(), sent.spec.facts()),
            context.ledger.book().orders.of(&update.id),
        ),
        ..sent_update(update, TaskSpecId::of(sent.spec.facts()), TaskSpecId::of(sent.replaced.facts()))
    };
    let machine =
        if is_found { Machine::found(sent_update.clone()) } else { Machine::new(sent_update.clone()) };
    Ok(Beginning { machine, sent_update, sent: Some(sent) })
}

/// The time limit counts from now on also for what was begun earlier: when that was, only the engine's clock knows.
fn sent_update(update: &Update, sent: TaskSpecId, replaced: TaskSpecId) -> SentUpdate {
    SentUpdate {
        sent,
        replaced,
        sent_at: Instant::now(),
        timeout: update.policy.timeout,
        may_roll_back: update.policy.rollback_on_failure,
        whole: None,
        before: Before::default(),
        side_by_side: None,
        has_account: update.credentials.is_some(),
    }
}

/// What an update finds under way.
pub(super) fn found(update: &Update) -> Option<UnderWay> {
    update.begun.as_deref().map(|begun| match begun {
        Begun::Update { .. } => UnderWay::Update,
        Begun::Rollback { .. } => UnderWay::Rollback,
    })
}
