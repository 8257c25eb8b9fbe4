//! Chooses the order of an update right before it is sent: asks the engine for what the choice needs, and tells of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::machine::SideBySide;
use crate::config::OrderPolicy;
use crate::context::{Context, Events};
use crate::ledger::book::LedgerChange;
use crate::ledger::entry::DigestVerdict;
use crate::ledger::orders::OrderNote;
use crate::model::cause::{BLAMES_ORDER, Cause};
use crate::model::event::Help;
use crate::model::order::{
    self, Choice, Ground, HostNetwork, OrderFacts, OrderWish, Room, TasksByNode, by_node, is_about_room,
};
use crate::model::outcome::Outcome;
use crate::model::update::Update;
use crate::options::Name;
use crate::swarm::spec::OrderChange;
use crate::swarm::{Facts, Mode, Nodes, Service, Swarm, SwarmError, Task, UpdateOrder};

/// How old the list of all tasks may be. It serves all updates that begin meanwhile.
const MAX_AGE: Duration = Duration::from_secs(2);

/// How long an update waits for the room that the second tasks of other updates take.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// What the updates of a rollout know of the cluster when they choose their order.
#[derive(Debug)]
pub(super) struct Surroundings {
    cluster: Arc<Cluster>,
    host: Mutex<HostNetwork>,
    latest: tokio::sync::Mutex<Option<(Instant, Arc<ClusterTasks>)>>,
    is_told: std::sync::atomic::AtomicBool,
}

/// Nodes and tasks of the whole cluster at one moment.
#[derive(Debug)]
struct ClusterTasks {
    nodes: Arc<Nodes>,
    tasks: TasksByNode,
}

/// The order that an update is sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    /// What changes in the specification.
    pub(super) change: Option<OrderChange>,
    /// What is to be remembered, where that is something new.
    pub(super) note: Option<OrderNote>,
    /// What the user should know.
    pub(super) warning: Option<String>,
}

impl Surroundings {
    /// Nothing is known of the tasks yet.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, host: Mutex::default(), latest: tokio::sync::Mutex::default(), is_told: false.into() }
    }

    /// Which network is the host's, as far as it is known.
    pub(super) fn host(&self) -> HostNetwork {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks once which network is the host's.
    async fn find_host<S: Swarm, R>(&self, context: &Context<S, R>) -> HostNetwork {
        let host = self.host();
        if host != HostNetwork::Unknown {
            return host;
        }
        match context.swarm.id_of(&Name::Network("host".to_owned())).await {
            Ok(id) => {
                let host = HostNetwork::Known(id);
                self.host.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&host);
                host
            }
            Err(error) => {
                if !self.is_told.swap(true, std::sync::atomic::Ordering::Relaxed) {
                    let what = "cannot tell which network is the host's (GET /networks/host?scope=swarm): services with \
                                networks are not updated start-first, unless they ask for it";
                    context.events.trouble(what, "", &error);
                }
                HostNetwork::Unknown
            }
        }
    }

    /// Nodes and tasks of the whole cluster, at most [`MAX_AGE`] old.
    async fn see<S: Swarm, R>(&self, context: &Context<S, R>) -> Option<Arc<ClusterTasks>> {
        let mut latest = self.latest.lock().await;
        if let Some((taken, seen)) = &*latest
            && taken.elapsed() < MAX_AGE
        {
            return Some(seen.clone());
        }
        let asked = async {
            let nodes = self.cluster.nodes(context, MAX_AGE, None).await?;
            self.cluster.spend(1);
            let mut placed = Vec::new();
            let take = |task: Task| placed.extend(Some(task).filter(Task::has_place));
            context.swarm.each_task(&[], take).await?;
            Ok::<_, SwarmError>(ClusterTasks { nodes, tasks: by_node(placed) })
        };
        match asked.await {
            Ok(seen) => {
                let seen = Arc::new(seen);
                *latest = Some((Instant::now(), seen.clone()));
                Some(seen)
            }
            Err(error) => {
                tracing::debug!(%error, "cannot tell whether there is room for one task more");
                None
            }
        }
    }

    /// Whether there is room for one task more. Room that other updates will have given back soon is waited for.
    async fn room<S: Swarm, R>(&self, context: &Context<S, R>, update: &Update, facts: &Facts) -> Room {
        if !order::needs_ground(facts) {
            return Room::Sure;
        }
        let begun = Instant::now();
        loop {
            context.beat();
            let Some(seen) = self.see(context).await else { return order::room(&update.id, facts, None) };
            let room_when = |is_after_updates| {
                let ground = Ground { nodes: &seen.nodes, tasks: &seen.tasks, is_after_updates };
                order::room(&update.id, facts, Some(ground))
            };
            let room = room_when(false);
            let is_worth_a_wait = room != Room::Sure && begun.elapsed() < MAX_WAIT;
            if !is_worth_a_wait || room_when(true) != Room::Sure {
                return room;
            }
            sleep(MAX_AGE).await;
        }
    }

    /// What is known of a service with this specification.
    async fn order_facts<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        update: &Update,
        facts: &Facts,
        (own, has_collided): (Option<UpdateOrder>, bool),
    ) -> OrderFacts {
        let has_networks = !facts.claims.networks.is_empty();
        let host = if has_networks { self.find_host(context).await } else { self.host() };
        let obstacle = order::obstacle(facts, &host);
        // Without start-first to lose, an obstacle is enough to know.
        let may_matter = obstacle.is_none() || own == Some(UpdateOrder::StartFirst);
        let room = if may_matter { self.room(context, update, facts).await } else { Room::Sure };
        let remembered = obstacle.as_ref().filter(|_| has_collided);
        let remembered = remembered
            .map(|what| format!("its old and its new task have run into each other before, as {what}"));
        let collision = update.collision.clone().or(remembered).or_else(|| failed_before(context, update));
        OrderFacts { obstacle, room, collision }
    }
}

/// Chooses the order of an update. `optioned` is what the options make of the service's specification.
pub(super) async fn choose<S: Swarm, R>(
    context: &Context<S, R>,
    surroundings: &Surroundings,
    update: &Update,
    (service, optioned): (&Service, &Facts),
) -> Result<Ordered, Outcome> {
    let present = order_of(service.spec.facts());
    let note = context.ledger.book().orders.of(&update.id).of_present(present);
    let (own, optional) = (note.own(present), optioned_order(update, optioned));
    if optioned.mode == Mode::Job || !update.replaces_tasks() {
        return Ok(Ordered { change: None, note: None, warning: None });
    }
    let wish = optional.map_or(OrderWish::from(update.policy.order), OrderWish::Fixed);
    let order_facts = if wish.asks_for_start_first(own) {
        surroundings.order_facts(context, update, optioned, (own.or(optional), note.has_collided)).await
    } else {
        OrderFacts { obstacle: None, room: Room::Sure, collision: None }
    };
    let Choice { order, overruled } = order::choose(wish, own, &order_facts).map_err(|obstacle| {
        let cause = Cause::Order { message: obstacle.to_string() };
        Outcome::Failed { cause }
    })?;
    let written = (optional.is_none() && order != own).then_some(order).flatten();
    let next = OrderNote { own: written.and(own), written, ..note };
    Ok(Ordered {
        change: if optional.is_some() { None } else { order::change(order_of(optioned), order) },
        note: (next != context.ledger.book().orders.of(&update.id)).then_some(next),
        warning: overruled.map(|obstacle| {
            format!(
                "updated stop-first this time, though it asks for start-first: {obstacle}. To have it so for good, set \
                 the label gantry.update.order=stop-first or deploy.update_config.order in its stack file"
            )
        }),
    })
}

impl Ordered {
    /// Remembers what is about to be written.
    pub(super) fn remember<S, R>(&self, context: &Context<S, R>, update: &Update) {
        if let Some(note) = self.note {
            context.ledger.note(LedgerChange::Order(update.id.clone(), note));
        }
    }

    /// Says what the user should know of it.
    pub(super) fn tell(&self, events: &Events, update: &Update) {
        if let Some(warning) = &self.warning {
            events.helped(&update.service, Help::Told(warning.clone()));
        }
    }
}

/// How this very update has failed start-first before, where the order was not Gantry's to change: another try would end
/// in the same way.
fn failed_before<S, R>(context: &Context<S, R>, update: &Update) -> Option<String> {
    let book = context.ledger.book();
    let entry = book.service(&update.service, &update.id)?;
    let is_this = entry.verdict == DigestVerdict::Excused && Some(&entry.digest) == update.to.digest();
    // Room comes and goes, and is counted anew.
    let is_lasting = entry.cause.starts_with(BLAMES_ORDER) && !is_about_room(&entry.cause);
    (is_this && is_lasting).then(|| entry.cause.clone())
}

/// What an update that was sent makes of two tasks of a place, so that a failure can be told from a collision.
pub(super) fn side_by_side(
    surroundings: &Surroundings,
    (replaced, sent): (&Facts, &Facts),
    note: OrderNote,
) -> Option<SideBySide> {
    (order_of(sent) == Some(UpdateOrder::StartFirst)).then(|| SideBySide {
        obstacle: order::obstacle(sent, &surroundings.host()),
        is_our_choice: note.of_present(order_of(replaced)).own(order_of(replaced)).is_none(),
    })
}

/// The update that follows one whose old and new task ran into each other: the same once more, and not start-first. Only
/// where the order was Gantry's to choose, and what was there before is there again.
pub(super) fn again(update: &Update, outcome: &Outcome) -> Option<Update> {
    let Outcome::RolledBack { cause: cause @ Cause::Collision { .. }, .. } = outcome else { return None };
    let is_ours_to_choose =
        update.policy.order == OrderPolicy::Auto && !update.policy.update_options.has("update-order");
    (is_ours_to_choose && update.collision.is_none()).then(|| Update {
        begun: None,
        collision: Some(cause.to_string()),
        ..update.clone()
    })
}

/// Remembers that the order was to blame: the same image runs, started after the old task had gone.
pub(super) fn remember_collision<S, R>(context: &Context<S, R>, update: &Update) {
    let note = context.ledger.book().orders.of(&update.id);
    if !note.has_collided {
        let note = OrderNote { has_collided: true, ..note };
        context.ledger.note(LedgerChange::Order(update.id.clone(), note));
    }
}

/// The order of a specification.
pub(super) fn order_of(facts: &Facts) -> Option<UpdateOrder> {
    facts.update.and_then(|update| update.order)
}

/// The order that an option gives.
fn optioned_order(update: &Update, optioned: &Facts) -> Option<UpdateOrder> {
    update.policy.update_options.has("update-order").then(|| order_of(optioned)).flatten()
}
