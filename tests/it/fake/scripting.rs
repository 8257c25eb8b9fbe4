//! What tests say to a fake swarm: images, mishaps, other people's changes; and what they ask it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry::swarm::{ConfigObject, Container, Service, Spec, SwarmError, TaskState, UpdateState};
use tokio::sync::Notify;

use super::handle::FakeSwarm;
use super::image::{Behaviour, Fate};
use super::script::{Asked, Call, Death, Fault};
use super::world::{Due, Timing, World};

/// What tasks of one image do. Each word takes effect at once, for tasks that are made from then on.
pub struct ImageScript {
    swarm: FakeSwarm,
    image: String,
    node: Option<String>,
    times: Option<usize>,
    behaviour: Behaviour,
}

impl ImageScript {
    fn set(mut self, edit: impl FnOnce(&mut Behaviour)) -> Self {
        edit(&mut self.behaviour);
        self.commit()
    }

    fn commit(self) -> Self {
        let behaviour = self.behaviour.clone();
        self.swarm.tell(|world| world.images.set(&self.image, self.node.as_deref(), self.times, behaviour));
        self
    }

    /// Runs, but takes so much longer to start.
    pub fn starts_after(self, wait: Duration) -> Self {
        self.set(|b| b.start = wait)
    }

    /// Runs for so long and fails with this exit code.
    pub fn crashes_after(self, after: Duration, exit_code: i64) -> Self {
        self.set(|b| b.fate = Fate::Ends { after, exit_code })
    }

    /// Runs for so long and ends with exit code 0.
    pub fn exits_after(self, after: Duration) -> Self {
        self.crashes_after(after, 0)
    }

    /// Its container cannot be started.
    pub fn cannot_start(self, error: &str) -> Self {
        self.set(|b| b.fate = Fate::CannotStart { error: error.to_owned() })
    }

    /// Its program takes a lock, and ends with this code where the old task of its place still has it.
    pub fn needs_lock(self, exit_code: i64) -> Self {
        self.set(|b| b.fate = Fate::NeedsLock { exit_code })
    }

    /// Stays `starting` for ever.
    pub fn never_gets_healthy(self) -> Self {
        self.set(|b| b.fate = Fate::NeverHealthy)
    }

    /// Stays `starting` for so long and fails then.
    pub fn turns_unhealthy_after(self, after: Duration) -> Self {
        self.set(|b| b.fate = Fate::Unhealthy { after, as_complete: false })
    }

    /// Stays `starting` for so long and ends then as `complete`, without an error: what the engine does
    /// when the container ends well as it is stopped for its health.
    pub fn turns_unhealthy_and_completes_after(self, after: Duration) -> Self {
        self.set(|b| b.fate = Fate::Unhealthy { after, as_complete: true })
    }

    /// No node can get it.
    pub fn cannot_be_pulled(self) -> Self {
        let error = format!("No such image: {}", self.image);
        self.set(|b| b.pull_error = Some(error))
    }

    /// Nodes get it with this account only (`X-Registry-Auth`).
    pub fn needs_account(self, auth: &str) -> Self {
        self.set(|b| b.account = Some(auth.to_owned()))
    }

    /// A node that does not have it takes so long to get it.
    pub fn takes_to_pull(self, pull: Duration) -> Self {
        self.set(|b| b.pull = pull)
    }

    /// Takes so long to end when told to.
    pub fn takes_to_stop(self, stop: Duration) -> Self {
        self.set(|b| b.stop = stop)
    }

    /// No node fits: `scheduling constraints not satisfied on 3 nodes`.
    pub fn finds_no_node(self, reason: &str) -> Self {
        self.set(|b| b.unschedulable = Some(reason.to_owned()))
    }

    /// What it writes to its log.
    pub fn logging(self, lines: &[&str]) -> Self {
        self.set(|b| b.log = lines.iter().map(|&line| line.to_owned()).collect())
    }

    /// The log is there so long after the task's latest step only.
    pub fn whose_log_comes_after(self, delay: Duration) -> Self {
        self.set(|b| b.log_delay = delay)
    }

    /// What its health check says.
    pub fn whose_health_check_says(self, output: &str) -> Self {
        self.set(|b| b.health = Some(output.to_owned()))
    }

    /// All this on one node only. Say it first.
    pub fn on_node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// All this for the first so many tasks only. Say it first.
    pub fn for_the_first(mut self, tasks: usize) -> Self {
        self.times = Some(tasks);
        self
    }
}

impl FakeSwarm {
    /// Scripts an image: a whole reference, a digest, or `name:tag` for all its digests.
    pub fn image(&self, image: &str) -> ImageScript {
        ImageScript {
            swarm: self.clone(),
            image: image.to_owned(),
            node: None,
            times: None,
            behaviour: Behaviour::default(),
        }
    }

    /// Changes how long the swarm's own steps take.
    pub fn set_timing(&self, timing: Timing) {
        self.tell(|world| world.timing = timing);
    }

    /// The next request of this kind fails.
    pub fn fail_next(&self, call: Call, error: SwarmError) {
        self.fail(call, None, 1, Fault::Error(error));
    }

    /// The next `times` requests of this kind, about this service if one is named, go wrong.
    pub fn fail(&self, call: Call, service: Option<&str>, times: usize, fault: Fault) {
        self.tell(|world| world.script.fail(call, service, times, fault));
    }

    /// From now on no request goes wrong.
    pub fn heal(&self) {
        self.tell(|world| world.script.heal());
    }

    /// The request of this number goes wrong; the first one of all is 0.
    pub fn fail_at(&self, number: usize, fault: Fault) {
        self.tell(|world| world.script.fail_at(number, fault));
    }

    /// Right before the next request of this kind about this service is done, somebody does this.
    pub fn before(&self, call: Call, service: &str, action: impl FnOnce(&mut World) + Send + 'static) {
        self.tell(|world| world.script.before(call, Some(service), Box::new(action)));
    }

    /// Right before the next request of this kind is done, whatever it is about, somebody does this.
    pub fn before_any(&self, call: Call, action: impl FnOnce(&mut World) + Send + 'static) {
        self.tell(|world| world.script.before(call, None, Box::new(action)));
    }

    /// Somebody does this later.
    pub fn later(&self, wait: Duration, action: impl FnOnce(&mut World) + Send + 'static) {
        self.tell(|world| world.after(wait, Due::Script(Box::new(action))));
    }

    /// Somebody does this now.
    pub fn now(&self, action: impl FnOnce(&mut World)) {
        self.tell(action);
    }

    /// The engine cannot be reached for so long, starting now.
    pub fn be_away_for(&self, outage: Duration) {
        self.tell(|world| world.script.be_away(world.now, world.now + outage));
    }

    /// The engine cannot be reached for so long, starting then.
    pub fn be_away_after(&self, wait: Duration, outage: Duration) {
        self.tell(|world| world.script.be_away(world.now + wait, world.now + wait + outage));
    }

    /// Its caller dies at the request of this number from now, the first being 1. The request is still done if
    /// `is_done`. What is returned is told when it is so far; the caller is then to be dropped.
    pub fn dies_at(&self, request: usize, is_done: bool) -> Arc<Notify> {
        self.end_with(Death::new(request, is_done))
    }

    /// What is returned is told at the request of this number from now, the first being 1.
    pub fn tells_at(&self, request: usize) -> Arc<Notify> {
        self.end_with(Death::told(request))
    }

    fn end_with(&self, death: Death) -> Arc<Notify> {
        let reached = death.reached.clone();
        self.tell(|world| {
            let request = world.script.calls.len() + death.request;
            world.script.death = Some(Death { request, ..death });
        });
        reached
    }

    /// How long each request takes.
    pub fn set_latency(&self, latency: Duration) {
        self.tell(|world| world.script.set_latency(None, latency));
    }

    /// How long each request of this kind takes.
    pub fn set_latency_of(&self, call: Call, latency: Duration) {
        self.tell(|world| world.script.set_latency(Some(call), latency));
    }

    /// Nodes that the swarm does not hear from, though they work on, or hears from again.
    pub fn node_is_ready(&self, node: &str, is_ready: bool) {
        self.tell(|world| world.set_ready(node, is_ready));
    }

    /// The managers elect a leader: it knows of the nodes whether they are there when they have reported.
    pub fn leader_changes(&self) {
        self.tell(World::elect);
    }

    /// A node is demoted, or promoted again: asked about the cluster, a worker refuses.
    pub fn node_is_manager(&self, node: &str, is_manager: bool) {
        self.tell(|world| world.set_manager(node, is_manager));
    }

    /// The power of a node fails: what ran there is dead, and the swarm misses it a while later.
    pub fn node_loses_power(&self, node: &str) {
        self.tell(|world| world.cut_power(node));
    }

    /// A node has power again.
    pub fn node_has_power_again(&self, node: &str) {
        self.tell(|world| world.restore_power(node));
    }

    /// Nodes that take tasks, or are drained.
    pub fn node_is_active(&self, node: &str, is_active: bool) {
        self.tell(|world| world.set_active(node, is_active));
    }

    /// Nodes that are paused, or take tasks again.
    pub fn node_is_paused(&self, node: &str, is_paused: bool) {
        self.tell(|world| world.set_paused(node, is_paused));
    }

    /// The id of the node of that name.
    pub fn node(&self, name: &str) -> String {
        self.ask(|world| world.node(name).node.id.clone())
    }

    /// Somebody makes a container of this image on a node by hand, and it is in this state. Returns its id.
    pub fn make_by_hand(&self, node: &str, image: &str, state: &str) -> String {
        self.tell(|world| {
            let id = world.new_id('c');
            let node = world.node_mut(node);
            let image = node.pull(image);
            let container = Container {
                id: id.clone(),
                state: state.to_owned(),
                image_id: image.clone(),
                labels: BTreeMap::new(),
            };
            node.containers.insert(id.clone(), (container, image));
            id
        })
    }

    /// All requests for updates so far, refused ones included.
    pub fn update_log(&self) -> Vec<Asked> {
        self.ask(|world| world.script.asked.clone())
    }

    /// When requests of this kind came, since the beginning.
    pub fn calls(&self, call: Call) -> Vec<Duration> {
        self.ask(|world| world.script.calls.iter().filter(|(_, c)| *c == call).map(|(at, _)| *at).collect())
    }

    /// All requests so far.
    pub fn call_log(&self) -> Vec<(Duration, Call)> {
        self.ask(|world| world.script.calls.clone())
    }

    /// Forgets the requests so far, with the faults that some of them were to meet, and the events.
    pub fn clear_log(&self) {
        self.tell(|world| {
            world.script.forget();
            world.forget_events();
        });
    }

    /// The largest number of services that one request named and found, since the log was cleared: how many were watched
    /// at once.
    pub fn most_watched(&self) -> usize {
        self.ask(|world| world.script.most_named)
    }

    /// The largest number of services that were being updated at once, since the log was cleared.
    pub fn most_updating(&self) -> usize {
        self.ask(|world| world.script.most_updating)
    }

    /// The service of that name, as the engine shows it; not a request.
    pub fn see(&self, name: &str) -> Option<Service> {
        self.ask(|world| world.find(name).map(|service| world.show(service, true)))
    }

    /// The config of that name; not a request.
    pub fn config(&self, name: &str) -> Option<ConfigObject> {
        self.ask(|world| world.configs.get(name).cloned())
    }

    /// The service's specification.
    pub fn spec(&self, name: &str) -> Spec {
        self.see(name).unwrap_or_else(|| panic!("there is a service {name}")).spec
    }

    /// The image in the service's specification.
    pub fn image_of(&self, name: &str) -> String {
        self.spec(name).facts().image.clone().unwrap_or_default()
    }

    /// The state of the service's last update.
    pub fn state_of(&self, name: &str) -> Option<UpdateState> {
        self.see(name).and_then(|service| service.update).map(|update| update.state)
    }

    /// The images of the service's tasks that run, in order of their slots.
    pub fn running_images(&self, name: &str) -> Vec<String> {
        let mut tasks = self.tasks_of(name);
        tasks.retain(|task| task.state == TaskState::Running);
        tasks.sort_by(|a, b| (a.slot, &a.node_id).cmp(&(b.slot, &b.node_id)));
        tasks.into_iter().map(|task| task.image).collect()
    }

    /// The registry credentials that go with the service's specification.
    pub fn auth_of(&self, name: &str) -> Option<String> {
        self.ask(|world| world.find(name).and_then(|service| service.plan.account().map(str::to_owned)))
    }
}
