//! Making the swarm go on with an update, or with its rollback, that it has stopped for something that is no failure.

use std::time::Duration;

use tokio::time::sleep;

use super::attempts::Attempts;
use super::machine::SentUpdate;
use crate::context::Context;
use crate::model::update::Update;
use crate::swarm::spec::GO_ON_LABEL;
use crate::swarm::{ServiceChange, Swarm};

/// How the swarm is made to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// It has paused: the same specification, sent again, ends that.
    SameAgain,
    /// Its updater waits for ever in one slot. It begins anew, with the slots that are left, only when the specification
    /// changes (tried on 20.10): a label is added, and taken away at once.
    PastTheStuck,
}

/// How long the label stays.
const GO_ON_WAIT: Duration = Duration::from_millis(500);

/// Makes the swarm go on with an update, or with its rollback, where it has stopped for something that is no failure. A
/// service that has another image by now, or is gone, is left alone: the next look tells.
pub(super) async fn resume<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
    sent_update: &SentUpdate,
    how: Resume,
) {
    let auth = update.credentials.as_ref().map(|credentials| credentials.registry_auth());
    let mut attempts = Attempts::new(context, update, None);
    // What is still to be written, the last one first.
    let mut labels: Vec<Option<&str>> = match how {
        Resume::SameAgain => vec![None],
        Resume::PastTheStuck => vec![None, Some("1")],
    };
    while let Some(label) = labels.last() {
        let read = attempts.read(context, || context.swarm.service(&update.id)).await;
        let Ok(Some(service)) = read else { return };
        let facts = service.spec.facts();
        let is_ours = sent_update.is_sent(facts) || sent_update.is_replaced(facts);
        let Ok(spec) = service.spec.with_label(GO_ON_LABEL, *label) else { return };
        if !is_ours {
            return;
        }
        let change = ServiceChange::To(&spec);
        match context.swarm.update_service(&update.id, service.version, change, auth.as_ref()).await {
            Ok(_) => {
                labels.pop();
                if !labels.is_empty() {
                    // Two changes in one moment may be none to the updater.
                    sleep(GO_ON_WAIT).await;
                }
            }
            Err(error) => {
                if let Err(error) = attempts.write_again(error).await {
                    context.events.trouble("cannot have Swarm go on", &update.service, &error);
                    return;
                }
            }
        }
    }
}
