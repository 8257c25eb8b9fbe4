//! In which order a service is updated: whether the new task of a place may run beside the old one. Pure.
//!
//! `auto` starts the new task first only where two tasks of a place can surely live side by side. [`Obstacle`] is the
//! table of what stands against that. Everything else keeps the order that Swarm itself would take.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::config::OrderPolicy;
use crate::swarm::claims::{Claims, Mount, Resources};
use crate::swarm::placement::fits;
use crate::swarm::spec::OrderChange;
use crate::swarm::{Facts, Mode, Node, Nodes, Task, UpdateOrder};
use crate::words::piece;

/// Why two tasks of a place may not, or cannot, run side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Both would write to the same files.
    WritableMount(String),
    /// Both would use the same device.
    Device(String),
    /// Both would listen on the ports of the host.
    HostNetwork,
    /// Both would publish the same port on the node itself.
    HostPort(u64),
    /// Each takes one of a few things that the node has.
    Generic(String),
    /// No node surely has room for one task more, or none has; what is short, in words.
    NoRoom(String),
    /// The two have run into each other before; how, in words.
    HasCollided(String),
}

/// Which network is the host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostNetwork {
    /// It cannot be told: each network may be it.
    #[default]
    Unknown,
    /// The one with this id, if there is one.
    Known(Option<String>),
}

impl HostNetwork {
    fn may_be(&self, id: &str) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(host) => host.as_deref() == Some(id),
        }
    }
}

/// Whether there is room for one task more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Sure,
    /// It cannot be told; what may be short.
    Unsure(String),
    /// There is none; what is short.
    None(String),
}

/// A task that takes room on its node, without all that does not matter for that: there are thousands.
#[derive(Clone, Debug)]
pub struct PlacedTask {
    service_id: String,
    reserved: Resources,
    /// Whether it is the newest of its place.
    is_newest: bool,
}

/// The tasks that take room, by the id of their node.
pub type TasksByNode = HashMap<String, Vec<PlacedTask>>;

/// The nodes, and the tasks on them.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// All nodes.
    pub nodes: &'a Nodes,
    /// The tasks of all services: grouped once for all services that ask.
    pub tasks: &'a TasksByNode,
    /// Whether the updates under way are taken to have ended: of each place, the newest task stays.
    pub is_after_updates: bool,
}

/// The order that a variable, a label or an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderWish {
    /// Start first where that is surely right, else as the service says.
    Auto,
    /// As the service says.
    Keep,
    /// This order.
    Fixed(UpdateOrder),
}

/// The facts that decide on the order of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFacts {
    /// What stands against two tasks side by side.
    pub obstacle: Option<Obstacle>,
    /// Whether there is room for one task more.
    pub room: Room,
    /// How two tasks have run into each other, where they did.
    pub collision: Option<String>,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The order; `None`: that of a service which says nothing.
    pub order: Option<UpdateOrder>,
    /// Why the service's own start-first does not count this time.
    pub overruled: Option<Obstacle>,
}

impl From<OrderPolicy> for OrderWish {
    fn from(order: OrderPolicy) -> Self {
        match order {
            OrderPolicy::Auto => Self::Auto,
            OrderPolicy::Keep => Self::Keep,
            OrderPolicy::StartFirst => Self::Fixed(UpdateOrder::StartFirst),
            OrderPolicy::StopFirst => Self::Fixed(UpdateOrder::StopFirst),
        }
    }
}

impl OrderWish {
    /// Whether the new task may be started first, if nothing stands against it.
    pub fn asks_for_start_first(self, own: Option<UpdateOrder>) -> bool {
        match self {
            Self::Auto => own != Some(UpdateOrder::StopFirst),
            Self::Keep => own == Some(UpdateOrder::StartFirst),
            Self::Fixed(order) => order == UpdateOrder::StartFirst,
        }
    }
}

/// Chooses the order. `own` is what the service itself says, without what Gantry has made of it.
///
/// # Errors
/// What makes it impossible to start first, where nothing else may be done.
pub fn choose(
    wish: OrderWish,
    own: Option<UpdateOrder>,
    order_facts: &OrderFacts,
) -> Result<Choice, Obstacle> {
    let impossible = order_facts.impossible();
    let choice = |order, overruled| Ok(Choice { order, overruled });
    match (wish, own, impossible) {
        (OrderWish::Fixed(UpdateOrder::StartFirst), _, Some(obstacle))
        | (OrderWish::Keep, Some(UpdateOrder::StartFirst), Some(obstacle)) => Err(obstacle),
        (OrderWish::Fixed(order), ..) => choice(Some(order), None),
        (OrderWish::Auto, Some(UpdateOrder::StartFirst), Some(obstacle)) => {
            choice(Some(UpdateOrder::StopFirst), Some(obstacle))
        }
        (OrderWish::Auto, None, None) if order_facts.obstacle.is_none() && order_facts.room == Room::Sure => {
            choice(Some(UpdateOrder::StartFirst), None)
        }
        (OrderWish::Auto | OrderWish::Keep, own, _) => choice(own, None),
    }
}

impl OrderFacts {
    /// What surely makes it impossible to start first, or has done so.
    fn impossible(&self) -> Option<Obstacle> {
        match (&self.room, &self.collision) {
            (Room::None(lack), _) => Some(Obstacle::NoRoom(lack.clone())),
            (_, Some(how)) => Some(Obstacle::HasCollided(how.clone())),
            _ => None,
        }
    }
}

/// The change that leads from an order to another.
pub fn change(present: Option<UpdateOrder>, wanted: Option<UpdateOrder>) -> Option<OrderChange> {
    match (present, wanted) {
        (present, wanted) if present == wanted => None,
        (_, Some(order)) => Some(OrderChange::To(order)),
        (_, None) => Some(OrderChange::ToDefault),
    }
}

/// What stands against two tasks of a place side by side, as far as the specification tells.
pub fn obstacle(facts: &Facts, host: &HostNetwork) -> Option<Obstacle> {
    let Claims { mounts, networks, host_ports, reserved, .. } = &facts.claims;
    let device = mounts.iter().find(|mount| is_device(mount));
    let writable = mounts.iter().find(|mount| is_shared(mount) && !mount.is_read_only);
    device
        .map(|mount| Obstacle::Device(mount.source.clone()))
        .or_else(|| writable.map(|mount| Obstacle::WritableMount(mount.target.clone())))
        .or_else(|| networks.iter().any(|id| host.may_be(id)).then_some(Obstacle::HostNetwork))
        .or_else(|| host_ports.first().map(|port| Obstacle::HostPort(*port)))
        .or_else(|| reserved.generic.keys().next().map(|kind| Obstacle::Generic(kind.clone())))
}

/// Whether the old and the new task of a service may run into each other: it is updated start-first, and they share
/// something.
pub fn may_collide(facts: &Facts) -> bool {
    let order = facts.update.and_then(|update| update.order);
    order == Some(UpdateOrder::StartFirst) && obstacle(facts, &HostNetwork::Known(None)).is_some()
}

/// Whether a device of the node is mounted. A device that is mounted read-only can be written to all the same.
fn is_device(mount: &Mount) -> bool {
    mount.kind == "bind" && (mount.source == "/dev" || mount.source.starts_with("/dev/"))
}

/// Whether both tasks of a place see the same files.
fn is_shared(mount: &Mount) -> bool {
    match mount.kind.as_str() {
        // In memory, or a layer of the container's own.
        "tmpfs" | "image" => false,
        // A volume without a name, or with the task's, is made anew for each task. A driver may be told more than that.
        "volume" => {
            let is_of_task = ["{{.Task.ID}}", "{{.Task.Name}}"]
                .iter()
                .any(|template| mount.source.replace(' ', "").contains(template));
            mount.has_driver_options || !(mount.source.is_empty() || is_of_task)
        }
        _ => true,
    }
}

/// Whether what is mounted is on the task's node, and nowhere else.
pub fn is_of_node(mount: &Mount) -> bool {
    match mount.kind.as_str() {
        "bind" | "npipe" => true,
        "volume" => is_shared(mount) && !mount.has_driver_options,
        _ => false,
    }
}

/// Whether a node may take a task of this service, as far as the swarm's rules and these tasks tell.
pub fn may_take(service: &str, facts: &Facts, node: &Node, tasks: &[Task]) -> bool {
    let may_run = node.is_ready && node.is_active && fits(&facts.claims, node) != Some(false);
    let placed = tasks.iter().filter(|task| task.node_id == node.id && task.has_place());
    let placed = placed.map(|task| (task.service_id.as_str(), &task.reserved));
    may_run && !matches!(on_node(service, facts, node, placed), Room::None(_))
}

/// Whether nodes and tasks decide on the room for one task more.
pub fn needs_ground(facts: &Facts) -> bool {
    let Claims { host_ports, max_per_node, reserved, .. } = &facts.claims;
    facts.mode != Mode::Replicated(0)
        && (!host_ports.is_empty() || *max_per_node > 0 || reserved.is_any() || facts.memory_limit > 0)
}

/// Whether there is room for one task more of this service.
pub fn room(service: &str, facts: &Facts, ground: Option<Ground<'_>>) -> Room {
    if !needs_ground(facts) {
        return Room::Sure;
    }
    let Some(ground) = ground else { return Room::Unsure("the nodes cannot be seen".to_owned()) };
    let on = |node: &Node| {
        let placed = ground.tasks.get(&node.id).into_iter().flatten();
        let placed = placed.filter(|task| task.is_newest || !ground.is_after_updates);
        placed.map(|task| (task.service_id.as_str(), &task.reserved))
    };
    let eligible = ground.nodes.iter().filter(|node| node.is_ready && node.is_active);
    let places: Vec<Room> = eligible
        .filter_map(|node| match (fits(&facts.claims, node), on_node(service, facts, node, on(node))) {
            (Some(false), _) => None,
            (None, Room::Sure) => Some(Room::Unsure("its placement constraints cannot be told".to_owned())),
            (_, room) => Some(room),
        })
        .collect();
    all_in_all(facts.mode, places)
}

/// The ids of those tasks that are the newest of their place.
fn newest(placed: &[Task]) -> HashSet<String> {
    let mut newest: HashMap<(&str, u64, &str), &Task> = HashMap::new();
    for task in placed {
        let node = if task.slot == 0 { task.node_id.as_str() } else { "" };
        let place = newest.entry((&task.service_id, task.slot, node)).or_insert(task);
        if task.created_at > place.created_at {
            *place = task;
        }
    }
    newest.into_values().map(|task| task.id.clone()).collect()
}

/// A global service needs room on each node, a replicated one on any: what its old task leaves there is room for the next.
fn all_in_all(mode: Mode, places: Vec<Room>) -> Room {
    let rank = |room: &Room| match room {
        Room::Sure => 0,
        Room::Unsure(_) => 1,
        Room::None(_) => 2,
    };
    let decisive = if mode == Mode::Global {
        places.into_iter().max_by_key(rank)
    } else {
        places.into_iter().min_by_key(rank)
    };
    // Without a node there is nothing that the order could change.
    decisive.unwrap_or(Room::Unsure("no node takes its tasks".to_owned()))
}

/// Groups the tasks that take room by their node.
pub fn by_node(mut tasks: Vec<Task>) -> TasksByNode {
    tasks.retain(Task::has_place);
    let newest = newest(&tasks);
    let mut grouped = TasksByNode::new();
    for Task { id, node_id, service_id, reserved, .. } in tasks {
        let placed = PlacedTask { service_id, reserved, is_newest: newest.contains(&id) };
        grouped.entry(node_id).or_default().push(placed);
    }
    grouped
}

/// Whether a node has room beside what is `placed` there: the service of each task, and what the task reserves.
fn on_node<'a>(
    service: &str,
    facts: &Facts,
    node: &Node,
    placed: impl Iterator<Item = (&'a str, &'a Resources)> + Clone,
) -> Room {
    let Claims { host_ports, max_per_node, reserved, .. } = &facts.claims;
    let own = placed.clone().filter(|(of, _)| *of == service).count() as u64;
    if let Some(port) = host_ports.first()
        && own > 0
    {
        return Room::None(format!("the old task has port {port} of the node"));
    }
    if *max_per_node > 0 && own >= *max_per_node {
        return Room::None(format!("the limit of {max_per_node} per node is reached"));
    }
    // No reservation is kept for a limit, and a second task may need all of it.
    let above = facts.memory_limit.saturating_sub(reserved.memory);
    if !reserved.is_any() && above == 0 {
        return Room::Sure;
    }
    let Some(mut left) = node.traits.capacity.clone() else {
        return Room::Unsure("a node does not say what it has".to_owned());
    };
    placed.for_each(|(_, reserved)| left.take(reserved));
    if let Some(lack) = left.lacks(reserved) {
        return Room::None(format!("not enough {}", piece(&lack)));
    }
    left.take(&Resources { memory: above.saturating_mul(own), ..Resources::default() });
    let wanted = Resources { memory: reserved.memory + above, ..reserved.clone() };
    left.lacks(&wanted).map_or(Room::Sure, |lack| Room::Unsure(format!("not enough {}", piece(&lack))))
}

/// Whether the old task of a place was still there while a task that does not run, or has failed, was tried.
pub fn overlaps(tried: &Task, tasks: &[Task]) -> bool {
    let is_same_place = |old: &&Task| {
        old.service_id == tried.service_id
            && old.slot == tried.slot
            && (tried.slot > 0 || old.node_id == tried.node_id)
    };
    let is_other = |old: &&Task| old.image != tried.image || old.force_update != tried.force_update;
    let was_there = |old: &Task| {
        old.has_place() || old.since.zip(tried.created_at).is_some_and(|(end, made)| end >= made)
    };
    tasks
        .iter()
        .filter(is_same_place)
        .filter(is_other)
        .any(|old| old.created_at <= tried.created_at && was_there(old))
}

/// Whether the scheduler finds no room for a task, as opposed to no node that it may run on.
pub fn is_about_room(reason: &str) -> bool {
    ["insufficient resources", "host-mode port already in use", "max replicas per node"]
        .iter()
        .any(|words| reason.contains(words))
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WritableMount(target) => write!(f, "both tasks can write to {}", piece(target)),
            Self::Device(source) => write!(f, "both tasks use the device {}", piece(source)),
            Self::HostNetwork => f.write_str("both tasks are on the network of the host"),
            Self::HostPort(port) => write!(f, "both tasks publish port {port} of the node"),
            Self::Generic(kind) => write!(f, "each task takes a {} of its node", piece(kind)),
            Self::NoRoom(lack) => write!(f, "no node has room for a second task: {lack}"),
            Self::HasCollided(how) => f.write_str(how),
        }
    }
}

#[cfg(test)]
mod tests;
