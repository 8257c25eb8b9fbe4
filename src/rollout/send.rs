//! Sending an update, and taking it back: read, decide again, write if the service has not changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::attempts::{Attempts, PATIENCE};
use super::cluster::Cluster;
use super::machine::{SentUpdate, ServiceView};
use super::ordering::{self, Ordered, Surroundings};
use super::paused;
use super::watch::LookOut;
use crate::context::Context;
use crate::ledger::Permission;
use crate::model::attention::OtherHand;
use crate::model::before::Before;
use crate::model::cause::{Cause, words};
use crate::model::event::Help;
use crate::model::ours::other_hand;
use crate::model::outcome::{ALREADY_THERE, By, NO_NODE, Outcome, TAKEN_OUT};
use crate::model::task_lifecycle::{TaskLifecycle, comes_to_an_end};
use crate::model::task_spec_id::TaskSpecId;
use crate::model::update::{Dispatch, Start, Update};
use crate::options::{Ids, Options};
use crate::swarm::spec::Edits;
use crate::swarm::tasks::tasks_of_any;
use crate::swarm::{Service, ServiceChange, Spec, SpecError, Swarm, SwarmError};

/// How soon it is looked again whether we are sure of the lease.
pub(super) const SURE_AGAIN: Duration = Duration::from_secs(1);

/// How old a look may be from which an update is sent. A second try takes a new one.
const FRESH: Duration = Duration::from_secs(1);

/// An update that the engine has accepted.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// What the service had.
    pub(super) replaced: Spec,
    /// What it was sent.
    pub(super) spec: Spec,
    /// What its tasks did before.
    pub(super) before: Before,
}

/// What became of taking an update back.
#[derive(Debug)]
pub(super) enum TakenBack {
    /// The previous state is being restored; who began that.
    Sent(By),
    /// It is over without that.
    Over(Outcome),
    /// It could not be sent, and why.
    NotSent(Cause),
}

/// Sends an update. An outcome instead means that there is nothing to watch.
pub(super) async fn send<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
) -> Result<Sent, Outcome> {
    let (sent, lifecycle) = deliver(context, look_out, update).await?;
    let why = match update.start {
        // By now it may have one.
        Start::WithoutNode if lifecycle == TaskLifecycle::WithoutNode => NO_NODE,
        Start::Replaced | Start::WithoutNode => return Ok(sent),
        Start::Again => "its tasks had ended, and run once more",
        Start::LeftToCronjob { .. } => "it has no replicas until swarm-cronjob starts it",
    };
    Err(Outcome::Started(why.to_owned()))
}

/// Sends an update, and says what the tasks were up to before.
async fn deliver<S: Swarm, R>(
    context: &Context<S, R>,
    look_out: &Arc<LookOut>,
    update: &Update,
) -> Result<(Sent, TaskLifecycle), Outcome> {
    if let Some(why) = context.quarantine().finds_no_room(update) {
        return Err(Outcome::Unchanged(format!("not offered: {why}; `gantry release` makes room")));
    }
    let auth = update.credentials.as_ref().map(|credentials| credentials.registry_auth());
    let mut attempts = Attempts::new(context, update, Some(PATIENCE));
    let ids = ids(context, &update.policy.update_options, &mut attempts).await.map_err(|e| refused(&e))?;
    // What was last sent without an answer, and to which version: it may have arrived, and may still do so.
    let mut unanswered: Option<(Sent, TaskLifecycle, u64)> = None;
    let (mut place, mut age) = (look_out.place(&update.id), FRESH);
    loop {
        context.beat();
        // The shared look is as good as one at this service alone: the engine takes no write that names an old version.
        let snapshot = match place.soon(std::mem::take(&mut age)).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                attempts.read_again(error).await.map_err(|error| refused(&error))?;
                continue;
            }
        };
        let seen = snapshot.of(&update.id);
        let Some(service) = seen.service else { return Err(Outcome::Removed) };
        if let Some((sent, lifecycle, _)) =
            unanswered.take_if(|(sent, _, version)| has_arrived(sent, *version, service))
        {
            return Ok((sent, lifecycle));
        }
        let DecidedUpdate { spec, lifecycle, before, ordered } =
            match decide(context, &look_out.surroundings, update, (service, seen), &ids).await {
                Ok(decided) => decided,
                Err(SendObstacle::Outcome(outcome)) => return Err(*outcome),
                Err(SendObstacle::Engine(error)) => {
                    attempts.read_again(error).await.map_err(|error| refused(&error))?;
                    continue;
                }
            };
        attempts.answered();
        match context.ledger.permission() {
            Permission::Granted => {}
            Permission::Unsure => {
                sleep(SURE_AGAIN).await;
                continue;
            }
            Permission::Refused => {
                return Err(Outcome::Unchanged("not sent, as another Gantry has taken over".to_owned()));
            }
        }
        ordered.remember(context, update);
        let answer = context
            .swarm
            .update_service(&update.id, service.version, ServiceChange::To(&spec), auth.as_ref())
            .await;
        let sent = Sent { replaced: service.copied_spec(), spec, before };
        match answer {
            Ok(warnings) => {
                ordered.tell(&context.events, update);
                for warning in warnings {
                    let told = format!("the engine warns: {}", words(&warning));
                    context.events.helped(&update.service, Help::Told(told));
                }
                return Ok((sent, lifecycle));
            }
            Err(SwarmError::NotFound(_)) => return Err(Outcome::Removed),
            Err(error) => {
                if error.is_transient() {
                    unanswered = Some((sent, lifecycle, service.version));
                }
                attempts.write_again(error).await.map_err(|error| refused(&error))?;
            }
        }
    }
}

/// The specification that would be sent now, with what the choice was made on.
struct DecidedUpdate {
    spec: Spec,
    lifecycle: TaskLifecycle,
    before: Before,
    ordered: Ordered,
}

/// Why an update is not sent.
enum SendObstacle {
    /// It is over.
    Outcome(Box<Outcome>),
    /// The engine did not answer.
    Engine(SwarmError),
}

impl From<Outcome> for SendObstacle {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<SwarmError> for SendObstacle {
    fn from(error: SwarmError) -> Self {
        match error {
            SwarmError::NotFound(_) => Outcome::Removed.into(),
            error => Self::Engine(error),
        }
    }
}

/// Decides what is sent to a service as it is now. Nothing is written.
async fn decide<S: Swarm, R>(
    context: &Context<S, R>,
    surroundings: &Surroundings,
    update: &Update,
    (service, seen): (&Service, ServiceView<'_>),
    ids: &Ids,
) -> Result<DecidedUpdate, SendObstacle> {
    let (lifecycle, before) = look_before(context, update, service, seen).await?;
    let optioned = service.spec.with_options(&update.policy.update_options, ids);
    let mut edits = edits(update.dispatch(service, lifecycle, None)).map_err(SendObstacle::Outcome)?;
    // The rollback after a collision is Gantry's own.
    let is_own = |hand: &OtherHand| update.collision.is_some() && *hand == OtherHand::RollingBack;
    if let Some(hand) = other_hand(update, service, ids).filter(|hand| !is_own(hand)) {
        return Err(Outcome::Postponed(hand).into());
    }
    let facts = optioned.as_ref().unwrap_or(&service.spec).facts();
    let ordered = ordering::choose(context, surroundings, update, (service, facts)).await?;
    edits.order = ordered.change;
    let spec = optioned
        .and_then(|spec| spec.edited(&edits))
        .map_err(|error| Outcome::Failed { cause: unfit(&error) })?;
    Ok(DecidedUpdate { spec, lifecycle, before, ordered })
}

/// Why this update would not be sent now, decided as a rollout decides. `None`: it would be.
///
/// # Errors
/// The engine does not answer.
pub(crate) async fn why_not_sent<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
) -> Result<Option<Outcome>, SwarmError> {
    let mut attempts = Attempts::new(context, update, Some(Duration::ZERO));
    let ids = ids(context, &update.policy.update_options, &mut attempts).await?;
    let Some(service) = context.swarm.service(&update.id).await? else {
        return Ok(Some(Outcome::Removed));
    };
    let tasks = tasks_of_any(&*context.swarm, std::slice::from_ref(&update.id)).await?;
    let cluster = Arc::new(Cluster::new(&context.config, Arc::default()));
    let nodes = cluster.nodes(context, Duration::ZERO, None).await?;
    let seen = ServiceView { service: Some(&service), tasks: &tasks, nodes: &nodes };
    match decide(context, &Surroundings::new(cluster), update, (&service, seen), &ids).await {
        Ok(_) => Ok(None),
        Err(SendObstacle::Outcome(outcome)) => Ok(Some(*outcome)),
        Err(SendObstacle::Engine(error)) => Err(error),
    }
}

/// The changes to send, or why nothing is sent.
fn edits(dispatch: Dispatch) -> Result<Edits, Box<Outcome>> {
    Err(Box::new(match dispatch {
        Dispatch::Send(edits) => return Ok(edits),
        Dispatch::AlreadyThere => Outcome::Unchanged(ALREADY_THERE.to_owned()),
        Dispatch::ChangedTo(image) => {
            Outcome::Superseded(format!("a user or another program changed it to {image}"))
        }
        Dispatch::NotOurs => Outcome::Unchanged(TAKEN_OUT.to_owned()),
        Dispatch::NotNow(why) => Outcome::Unchanged(why.to_owned()),
    }))
}

/// Whether an update without an answer has arrived: the service has it, or had it and was taken back from it since.
pub(super) fn has_arrived(sent: &Sent, sent_to: u64, service: &Service) -> bool {
    let spec_id = |spec: &Spec| TaskSpecId::of(spec.facts());
    let is_sent = |spec: &Spec| spec_id(spec) == spec_id(&sent.spec);
    let was_sent = service.previous.as_ref().is_some_and(is_sent)
        // The swarm forgets what it has rolled back from. Any other change would have ended its word on an earlier one.
        || (service.rollback_by_swarm().is_some() && spec_id(&service.spec) == spec_id(&sent.replaced));
    is_sent(&service.spec) || (service.version > sent_to && was_sent)
}

/// What a service's tasks do before its update, and what becomes of them by themselves; or why the update waits.
async fn look_before<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
    service: &Service,
    ServiceView { tasks, nodes, .. }: ServiceView<'_>,
) -> Result<(TaskLifecycle, Before), SendObstacle> {
    let facts = service.spec.facts();
    if update.start == Start::Replaced
        && let Some(task) = paused::on_paused_node(service, tasks, nodes)
    {
        // Whether others leave room for it, all tasks tell.
        let all = if facts.claims.reserved.is_any() { context.swarm.tasks(&[]).await? } else { Vec::new() };
        let all = if all.is_empty() { tasks } else { &all };
        if let Some(why) = paused::waits_for_node(service, task, nodes, all) {
            return Err(Outcome::Unchanged(why).into());
        }
    }
    let before = Before::of(service, tasks, context.ledger.now());
    let decides = comes_to_an_end(facts) || update.start == Start::WithoutNode;
    Ok((if decides { TaskLifecycle::of(facts, tasks) } else { TaskLifecycle::RunsOn }, before))
}

/// Looks up what options name.
async fn ids<S: Swarm, R>(
    context: &Context<S, R>,
    options: &Options,
    attempts: &mut Attempts,
) -> Result<Ids, SwarmError> {
    let mut ids = Ids::new();
    for name in options.names() {
        let id = attempts.read(context, || context.swarm.id_of(&name)).await?;
        ids.extend(id.map(|id| (name, id)));
    }
    Ok(ids)
}

/// Takes an update back, while the service still carries it.
///
/// The swarm's own rollback (`rollback=previous`) is used when it would restore exactly what was replaced:
/// it follows the service's rollback configuration. When a user or another program has changed something else meanwhile,
/// only the image goes back, and their change stays. Options for rollbacks make the swarm's own one impossible:
/// what was replaced is then sent as it was, with the options applied.
pub(super) async fn take_back<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
    sent: &Sent,
    sent_update: &SentUpdate,
) -> TakenBack {
    let mut attempts = Attempts::new(context, update, None);
    let auth = update.credentials.as_ref().map(|credentials| credentials.registry_auth());
    // A rollback replaces the tasks anyway.
    let options = update.policy.rollback_options.without("force");
    let ids = match ids(context, &options, &mut attempts).await {
        Ok(ids) => ids,
        Err(error) => return TakenBack::NotSent(not_sent(&error)),
    };
    let mut may_swap = !options.change_anything();
    let mut is_unanswered = false;
    loop {
        let service = match attempts.read(context, || context.swarm.service(&update.id)).await {
            Ok(Some(service)) => service,
            Ok(None) => return TakenBack::Over(Outcome::Removed),
            Err(error) => return TakenBack::NotSent(not_sent(&error)),
        };
        let facts = service.spec.facts();
        if sent_update.is_replaced(facts) {
            return TakenBack::Sent(match service.rollback_by_swarm() {
                _ if is_unanswered => By::Gantry,
                Some(_) => By::Swarm,
                None => By::Other,
            });
        }
        if !sent_update.is_sent(facts) {
            let image = facts.image.as_deref().unwrap_or("no image");
            return TakenBack::Over(Outcome::Superseded(format!(
                "a user or another program changed it to {image}"
            )));
        }
        let is_swap = may_swap && is_untouched(&service, sent);
        // What was sent twice is its own previous specification.
        let restored = if service.spec.is_same_as(&sent.spec) {
            Ok(sent.replaced.clone())
        } else {
            service.spec.edited(&restoring(sent))
        };
        let spec = match restored.and_then(|spec| spec.with_options(&options, &ids)) {
            Ok(spec) => spec,
            Err(error) => return TakenBack::NotSent(unfit(&error)),
        };
        let change = if is_swap { ServiceChange::Back(&service.spec) } else { ServiceChange::To(&spec) };
        match context.swarm.update_service(&update.id, service.version, change, auth.as_ref()).await {
            Ok(_) => return TakenBack::Sent(By::Gantry),
            Err(SwarmError::NotFound(_)) => return TakenBack::Over(Outcome::Removed),
            // There is no previous specification after all.
            Err(SwarmError::Refused(_)) if is_swap => may_swap = false,
            Err(error) => {
                is_unanswered |= error.is_transient();
                if let Err(error) = attempts.write_again(error).await {
                    return TakenBack::NotSent(not_sent(&error));
                }
            }
        }
    }
}

/// Gives a service that is back at what it had the account of the update, with which its nodes may get the old
/// image: the swarm keeps an account with each specification, and `rollback=previous` brings back an old
/// one, whose password may be another by now (tried: what is sent along with it does not count). Tasks that
/// run are not touched by that. Whether it was sent.
pub(super) async fn renew_account<S: Swarm, R>(
    context: &Context<S, R>,
    update: &Update,
    sent_update: &SentUpdate,
) -> bool {
    let Some(credentials) = &update.credentials else { return false };
    let auth = credentials.registry_auth();
    // Something was sent: an engine that is away is waited for.
    let mut attempts = Attempts::new(context, update, None);
    loop {
        let read = attempts.read(context, || context.swarm.service(&update.id)).await;
        let Ok(Some(service)) = read else { return false };
        if !sent_update.is_replaced(service.spec.facts()) {
            return false;
        }
        let change = ServiceChange::To(&service.spec);
        match context.swarm.update_service(&update.id, service.version, change, Some(&auth)).await {
            Ok(_) => {
                context.events.helped(&update.service, Help::RenewedAccount);
                return true;
            }
            Err(error) => {
                if attempts.write_again(error).await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// Whether the swarm's own rollback would restore what was replaced, and undo nothing else.
fn is_untouched(service: &Service, sent: &Sent) -> bool {
    service.spec.is_same_as(&sent.spec)
        && service.previous.as_ref().is_some_and(|previous| previous.is_same_as(&sent.replaced))
}

/// The changes that bring the replaced image back and leave everything else.
fn restoring(sent: &Sent) -> Edits {
    let (replaced, spec) = (sent.replaced.facts(), sent.spec.facts());
    Edits {
        image: replaced.image.clone(),
        platforms: Some(sent.replaced.platforms()),
        order: None,
        force_update: (replaced.force_update != spec.force_update).then_some(replaced.force_update),
        replicas: None,
    }
}

fn refused(error: &SwarmError) -> Outcome {
    Outcome::Failed { cause: Cause::Refused { message: words(&error.to_string()) } }
}

fn not_sent(error: &SwarmError) -> Cause {
    Cause::Refused { message: words(&error.to_string()) }
}

/// An option that does not fit a specification is the user's to correct; all else is a fault of ours.
fn unfit(error: &SpecError) -> Cause {
    let message = words(&error.to_string());
    match error {
        SpecError::Option(_) => Cause::Unfit { message },
        SpecError::Unreadable(_) => Cause::Internal { message },
    }
}
