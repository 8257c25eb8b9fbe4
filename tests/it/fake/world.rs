//! The state of the fake swarm and its clock: a discrete-event simulation without any waiting of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use gantry::hosts::EngineRegistries;
use gantry::options::Name;
use gantry::swarm::{ConfigObject, Service, ServiceStatus, Spec, TaskState, UpdateState, UpdateStatus};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::image::{Behaviour, Images};
use super::node::FakeNode;
use super::plan::{Plan, Template};
use super::script::Script;
use super::updater::Updater;

/// A moment: time since the simulation began.
pub type At = Duration;

/// How long the swarm's own steps take.
#[derive(Clone, Debug)]
pub struct Timing {
    /// From a change of a service to the orchestrator's reaction.
    pub orchestrate: Duration,
    /// From a new task to its place on a node.
    pub schedule: Duration,
    /// From a task's place to its node's start of work on it.
    pub dispatch: Duration,
    /// Preparing a container whose image is there.
    pub prepare: Duration,
    /// Starting a container.
    pub start: Duration,
    /// Stopping a container that ends when told to.
    pub stop: Duration,
    /// How long a task of a job runs.
    pub job: Duration,
    /// From a node's last word to the moment at which the swarm calls it down.
    pub miss: Duration,
    /// From a change of leader to the moment at which the nodes report to the new one.
    pub report: Duration,
    /// From too many remembered tasks to their removal.
    pub reap: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            orchestrate: ms(10),
            schedule: ms(50),
            dispatch: ms(20),
            prepare: ms(100),
            start: ms(200),
            stop: ms(150),
            job: ms(100),
            miss: ms(15_000),
            report: ms(5_000),
            reap: ms(250),
        }
    }
}

/// A service of the fake swarm.
pub struct FakeService {
    pub id: String,
    pub version: u64,
    pub created: At,
    pub updated: At,
    pub plan: Arc<Plan>,
    pub previous: Option<Arc<Plan>>,
    pub status: Option<Status>,
    /// Its tasks' ids, oldest first.
    pub tasks: Vec<String>,
    /// How often a job was run.
    pub iteration: u64,
    pub(super) updater: Option<Updater>,
    pub(super) generation: u64,
    pub(super) is_due: bool,
    /// How often the tasks of a slot were started again since the last change.
    pub(super) attempts: HashMap<Slot, u64>,
}

/// `UpdateStatus`.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub state: UpdateState,
    pub message: String,
    pub started: At,
    pub completed: Option<At>,
}

/// A place in a service: a number in a replicated one, a node in a global one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u64, pub String);

/// A task of the fake swarm.
#[derive(Clone, Debug)]
pub struct FakeTask {
    pub id: String,
    pub service: String,
    pub slot: u64,
    /// Empty while it has no place.
    pub node: String,
    pub template: Arc<Template>,
    pub iteration: u64,
    pub version: u64,
    pub desired: TaskState,
    pub state: TaskState,
    pub since: At,
    pub created: At,
    pub message: String,
    pub error: String,
    pub exit_code: Option<i64>,
    pub container: Option<String>,
    pub log: Vec<String>,
    /// Its container died with its node, which has not found that yet.
    pub is_dead: bool,
    pub(super) behaviour: Behaviour,
    /// What it may be waiting for before it starts.
    pub(super) gate: Option<Gate>,
    /// Raised when its way is changed: older timers then mean nothing.
    pub(super) step: u64,
}

/// What keeps a prepared task from starting.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub not_before: At,
    /// The task that has to end first.
    pub after: Option<String>,
}

/// Something that happened, as `GET /events` tells it.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: At,
    pub kind: &'static str,
    pub action: &'static str,
    pub id: String,
    pub attributes: Value,
}

pub(super) enum Due {
    March { task: String, step: u64 },
    Gate { task: String },
    Orchestrate { service: String },
    WorkerRested { service: String, generation: u64, worker: usize },
    Monitored { service: String, generation: u64 },
    Reap { service: String },
    Script(Box<dyn FnOnce(&mut World) + Send>),
}

/// Everything there is.
pub struct World {
    pub now: At,
    pub began: Timestamp,
    pub index: u64,
    pub services: BTreeMap<String, FakeService>,
    pub tasks: HashMap<String, FakeTask>,
    pub nodes: Vec<FakeNode>,
    pub images: Images,
    pub timing: Timing,
    events: Vec<Event>,
    /// How many older events are forgotten.
    forgotten: usize,
    pub script: Script,
    /// The swarm's configs, by name.
    pub configs: BTreeMap<String, ConfigObject>,
    /// How far somebody has set the engine's clock ahead.
    pub clock_step: jiff::SignedDuration,
    /// What `GET /info` says of registries.
    pub registries: EngineRegistries,
    /// The ids of networks, secrets and configs.
    pub named: BTreeMap<Name, String>,
    /// Service ids by name.
    pub(super) names: HashMap<String, String>,
    /// Tasks that wait for a node.
    pub(super) pending: BTreeSet<String>,
    pub(super) due: BTreeMap<(At, u64), Due>,
    ids: u64,
}

impl World {
    pub fn new(nodes: usize) -> Self {
        Self {
            now: At::ZERO,
            began: "2026-01-01T00:00:00Z".parse().expect("a time"),
            index: 10,
            services: BTreeMap::new(),
            tasks: HashMap::new(),
            nodes: (1..=nodes).map(FakeNode::new).collect(),
            images: Images::default(),
            timing: Timing::default(),
            events: Vec::new(),
            forgotten: 0,
            script: Script::default(),
            configs: BTreeMap::new(),
            clock_step: jiff::SignedDuration::ZERO,
            registries: EngineRegistries {
                insecure_cidrs: vec!["127.0.0.0/8".to_owned()],
                ..EngineRegistries::default()
            },
            named: BTreeMap::new(),
            names: HashMap::new(),
            pending: BTreeSet::new(),
            due: BTreeMap::new(),
            ids: 0,
        }
    }

    /// Lets time pass: everything that is due by then happens, in order.
    pub fn advance(&mut self, to: At) {
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > to {
                break;
            }
            let due = entry.remove();
            self.now = self.now.max(at);
            self.fire(due);
        }
        self.now = self.now.max(to);
    }

    /// When something happens next.
    pub fn next_due(&self) -> Option<At> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    fn fire(&mut self, due: Due) {
        match due {
            Due::March { task, step } => self.march(&task, step),
            Due::Gate { task } => self.try_gate(&task),
            Due::Orchestrate { service } => self.orchestrate(&service),
            Due::WorkerRested { service, generation, worker } => {
                self.worker_rested(&service, generation, worker);
            }
            Due::Monitored { service, generation } => self.monitored(&service, generation),
            Due::Reap { service } => self.reap(&service),
            Due::Script(action) => action(self),
        }
    }

    pub(super) fn at(&mut self, at: At, due: Due) {
        self.ids += 1;
        self.due.insert((at, self.ids), due);
    }

    pub(super) fn after(&mut self, wait: Duration, due: Due) {
        self.at(self.now + wait, due);
    }

    /// A new id, 25 characters like the swarm's.
    pub(super) fn new_id(&mut self, kind: char) -> String {
        self.ids += 1;
        // The beginning tells them apart, as it does in a swarm.
        format!("{kind}{:07}{:017}", self.ids, 0)
    }

    /// A write to the store: everything has one counter.
    pub(super) fn write(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    pub fn time(&self, at: At) -> Timestamp {
        self.began
            .checked_add(jiff::SignedDuration::try_from(at).expect("a short time"))
            .expect("a near time")
    }

    /// A service by name or id.
    pub fn find(&self, name: &str) -> Option<&FakeService> {
        self.services.get(name).or_else(|| self.services.get(self.names.get(name)?))
    }

    pub(super) fn service_mut(&mut self, id: &str) -> &mut FakeService {
        self.services.get_mut(id).expect("the service exists")
    }

    pub(super) fn event(&mut self, kind: &'static str, action: &'static str, id: &str, attributes: Value) {
        self.events.push(Event { at: self.now, kind, action, id: id.to_owned(), attributes });
    }

    /// How many events there were so far.
    pub fn event_count(&self) -> usize {
        self.forgotten + self.events.len()
    }

    /// The events from the one of this number to before that one, those that are forgotten left out.
    pub fn events_between(&self, from: usize, until: usize) -> &[Event] {
        let index = |number: usize| number.saturating_sub(self.forgotten).min(self.events.len());
        &self.events[index(from)..index(until)]
    }

    /// Forgets the events so far, so that a swarm that lives for long does not grow.
    pub fn forget_events(&mut self) {
        self.forgotten += self.events.len();
        self.events.clear();
    }

    /// A changed service is written: its version rises, an event tells, the orchestrator looks at it.
    pub(super) fn service_changed(&mut self, id: &str, before: &(Option<UpdateState>, String)) {
        let (index, now) = (self.write(), self.now);
        let service = self.service_mut(id);
        service.version = index;
        service.updated = now;
        let mut attributes = json!({"name": service.plan.name()});
        let (state, image) = (service.status.as_ref().map(|s| s.state.clone()), &service.plan.template.image);
        if before.1 != *image {
            attributes["image.old"] = json!(before.1);
            attributes["image.new"] = json!(image);
        }
        if before.0 != state {
            attributes["updatestate.old"] = json!(before.0.as_ref().map_or("", state_name));
            attributes["updatestate.new"] = json!(state.as_ref().map_or("", state_name));
        }
        self.event("service", "update", id, attributes);
        self.wake_orchestrator(id);
    }

    pub(super) fn wake_orchestrator(&mut self, id: &str) {
        let wait = self.timing.orchestrate;
        if !std::mem::replace(&mut self.service_mut(id).is_due, true) {
            self.after(wait, Due::Orchestrate { service: id.to_owned() });
        }
    }

    /// Writes an update status.
    pub(super) fn set_status(&mut self, id: &str, state: UpdateState, message: &str) {
        let now = self.now;
        let service = self.service_mut(id);
        let before = service.before();
        let is_over = matches!(state, UpdateState::Completed | UpdateState::RollbackCompleted);
        service.status = Some(Status {
            state,
            message: message.to_owned(),
            started: service.status.as_ref().map_or(now, |status| status.started),
            completed: is_over.then_some(now),
        });
        let is_updating = |service: &&FakeService| {
            service.status.as_ref().is_some_and(|status| status.state == UpdateState::Updating)
        };
        let updating = self.services.values().filter(is_updating).count();
        self.script.most_updating = self.script.most_updating.max(updating);
        self.service_changed(id, &before);
    }

    /// The tasks of a service, oldest first.
    pub fn tasks_of<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a FakeTask> + use<'a> {
        let ids = self.services.get(id).map_or(&[][..], |service| &service.tasks);
        ids.iter().filter_map(|task| self.tasks.get(task))
    }

    /// A service as the engine shows it.
    pub fn show(&self, service: &FakeService, with_status: bool) -> Service {
        Service {
            id: service.id.clone(),
            version: service.version,
            spec: service.plan.spec.clone(),
            previous: service.previous.as_ref().map(|plan| plan.spec.clone()),
            update: service.status.as_ref().map(|status| UpdateStatus {
                state: status.state.clone(),
                message: status.message.clone(),
                started: Some(self.time(status.started)),
            }),
            status: with_status.then(|| self.counts(service)),
        }
    }

    /// What the engine counts for `status=true`.
    pub fn counts(&self, service: &FakeService) -> ServiceStatus {
        let tasks = || self.tasks_of(&service.id);
        let count = |found: usize| u64::try_from(found).unwrap_or(u64::MAX);
        ServiceStatus {
            running: count(tasks().filter(|task| task.state == TaskState::Running).count()),
            desired: match service.plan.shape {
                super::plan::Shape::Replicated(replicas) => replicas,
                super::plan::Shape::ReplicatedJob { at_once, .. } => at_once,
                _ => count(tasks().filter(|task| task.desired == TaskState::Running).count()),
            },
        }
    }

    pub(super) fn add_service(&mut self, spec: &Spec, account: Option<String>) -> String {
        let id = self.new_id('s');
        let version = self.write();
        let plan = Plan::of(spec, account);
        self.names.insert(plan.name().to_owned(), id.clone());
        let name = json!({"name": plan.name()});
        let service = FakeService {
            id: id.clone(),
            version,
            created: self.now,
            updated: self.now,
            plan,
            previous: None,
            status: None,
            tasks: Vec::new(),
            iteration: 0,
            updater: None,
            generation: 0,
            is_due: false,
            attempts: HashMap::new(),
        };
        self.services.insert(id.clone(), service);
        self.event("service", "create", &id, name);
        id
    }
}

impl FakeService {
    /// What [`World::service_changed`] compares with.
    pub(super) fn before(&self) -> (Option<UpdateState>, String) {
        (self.status.as_ref().map(|status| status.state.clone()), self.plan.template.image.clone())
    }

    pub(super) fn state(&self) -> Option<&UpdateState> {
        self.status.as_ref().map(|status| &status.state)
    }
}

impl FakeTask {
    /// Whether it is meant to go on: to run, or to complete.
    pub fn is_wanted(&self) -> bool {
        self.desired <= TaskState::Complete
    }

    pub fn is_final(&self) -> bool {
        self.state > TaskState::Running
    }

    pub(super) fn place(&self, is_global: bool) -> Slot {
        if is_global { Slot(0, self.node.clone()) } else { Slot(self.slot, String::new()) }
    }
}

/// The engine's word for an update's state.
pub fn state_name(state: &UpdateState) -> &str {
    match state {
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
        UpdateState::Other(other) => other,
    }
}
