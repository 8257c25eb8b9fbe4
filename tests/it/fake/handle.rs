//! [`FakeSwarm`]: the simulation in tokio's time, behind the program's own trait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use gantry::options::Name;
use gantry::secret::Secret;
use gantry::swarm::{
    ConfigObject, Container, EngineView, Listing, LocalImage, Node, Role, Service, ServiceChange, Spec,
    Swarm, SwarmError, Task, TaskState,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::ops::Goal;
use super::script::{Call, Fault};
use super::world::{At, FakeTask, World};

/// How long a caller waits for an answer that never comes.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A swarm that exists in memory only, seen through the engine of one node. Clones are the same swarm.
#[derive(Clone)]
pub struct FakeSwarm {
    world: Arc<Mutex<World>>,
    touched: Arc<Notify>,
    began: Instant,
    node: Arc<str>,
}

impl FakeSwarm {
    /// So many nodes, `node1` (a manager, whose engine this is), `node2`, ...
    pub fn with_nodes(nodes: usize) -> Self {
        let world = World::new(nodes);
        let node = world.nodes[0].node.id.as_str().into();
        Self { world: Arc::new(Mutex::new(world)), touched: Arc::default(), began: Instant::now(), node }
    }

    /// The same swarm, seen through the engine of another node.
    pub fn at(&self, node: &str) -> Self {
        let node = self.ask(|world| world.node(node).node.id.as_str().into());
        Self { node, ..self.clone() }
    }

    /// Starts the swarm's calendar now rather than at the beginning of 2026.
    pub fn in_our_time(self) -> Self {
        self.tell(|world| world.began = jiff::Timestamp::now());
        self
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.began.elapsed());
        world
    }

    /// Looks at the swarm as it is now.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&World) -> T) -> T {
        question(&self.lock())
    }

    /// Changes the swarm, and wakes who watches it.
    pub(super) fn tell<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let answer = change(&mut self.lock());
        self.touched.notify_waiters();
        answer
    }

    /// The tasks of the service of that name, all that are remembered, oldest first; not a request.
    pub fn tasks_of(&self, name: &str) -> Vec<Task> {
        self.ask(|world| {
            let id = world.find(name).map(|service| service.id.clone()).unwrap_or_default();
            world.tasks_of(&id).map(|task| shown(world, task)).collect()
        })
    }

    /// Waits, in tokio's time, until this is so; panics after ten minutes.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..60_000 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not within ten minutes: {what}");
    }

    /// One request: what the script has for it, then the deed.
    pub(super) async fn request<T>(
        &self,
        call: Call,
        target: Option<&str>,
        deed: impl FnOnce(&mut World) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let (latency, fault, death) = self.tell(|world| {
            let now = world.now;
            world.script.calls.push((now, call));
            let name = target.map(|id| world.find(id).map_or(id, |service| service.plan.name()).to_owned());
            (world.script.latency(call), world.script.fault(call, name.as_deref()), world.script.death())
        });
        sleep(latency).await;
        if let Some(death) = death.as_ref().filter(|death| !death.is_done) {
            death.reach().await;
        }
        match fault {
            Some(Fault::Takes(time)) => sleep(time).await,
            Some(Fault::Hangs) => {
                sleep(CALL_TIMEOUT).await;
                let text = format!("no answer in {} s", CALL_TIMEOUT.as_secs());
                return Err(SwarmError::Unavailable(text));
            }
            Some(Fault::Away(time)) => {
                self.tell(|world| world.script.be_away(world.now, world.now + time));
            }
            _ => {}
        }
        let answer = self.tell(|world| {
            if world.script.is_away(world.now) {
                return Err(SwarmError::Unavailable("connection refused".to_owned()));
            }
            if let Some(Fault::Error(error)) = &fault {
                return Err(error.clone());
            }
            let is_about_the_cluster = !matches!(
                call,
                Call::Engine
                    | Call::Changes
                    | Call::Container
                    | Call::Containers
                    | Call::Image
                    | Call::RemoveContainer
                    | Call::RemoveImage
            );
            if is_about_the_cluster && !world.node(&self.node).is_manager() {
                return Err(SwarmError::NotManager(NOT_A_MANAGER.to_owned()));
            }
            let name = target.map(|id| world.find(id).map_or(id, |service| service.plan.name()).to_owned());
            if let Some(action) = world.script.action(call, name.as_deref()) {
                action(world);
            }
            deed(world)
        })?;
        if let Some(death) = death {
            death.reach().await;
        }
        match fault {
            Some(Fault::AnswersLate(time)) => {
                sleep(time).await;
                Ok(answer)
            }
            Some(Fault::CutAfterwards) => Err(SwarmError::Unavailable("connection closed".to_owned())),
            _ => Ok(answer),
        }
    }

    /// Waits until an event after the first `seen` ones, and returns how many there are then.
    pub(super) async fn next_event(&self, seen: usize) -> Result<usize, SwarmError> {
        loop {
            let touched = self.touched.notified();
            let (count, next) = {
                let world = self.lock();
                if world.script.is_away(world.now) {
                    return Err(SwarmError::Unavailable("connection closed".to_owned()));
                }
                let next =
                    [world.next_due(), world.script.next_outage(world.now)].into_iter().flatten().min();
                (world.event_count(), next)
            };
            if count > seen {
                return Ok(count);
            }
            match next {
                Some(next) => tokio::select! {
                    () = sleep_until(self.began + next) => {}
                    () = touched => {}
                },
                None => touched.await,
            }
        }
    }

    pub(super) fn node_id(&self) -> &str {
        &self.node
    }
}

/// The engine's words, on a worker.
pub const NOT_A_MANAGER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify \
     cluster state. Please run this command on a manager node or promote the current node to a manager.";

/// A task as the engine shows it.
fn shown(world: &World, task: &FakeTask) -> Task {
    Task {
        id: task.id.clone(),
        service_id: task.service.clone(),
        slot: task.slot,
        node_id: task.node.clone(),
        image: task.template.image.clone(),
        force_update: task.template.force_update,
        desired: task.desired,
        state: task.state,
        since: Some(world.time(task.since)),
        message: task.message.clone(),
        error: task.error.clone(),
        exit_code: task.exit_code.filter(|_| task.state > TaskState::Running && task.container.is_some()),
        created_at: Some(world.time(task.created)),
        reserved: task.template.reserved.clone(),
    }
}

impl Swarm for FakeSwarm {
    async fn engine(&self) -> Result<EngineView, SwarmError> {
        self.request(Call::Engine, None, |world| {
            let node = world.node(&self.node);
            Ok(EngineView {
                role: if node.is_manager() { Role::Manager } else { Role::Worker },
                node_id: node.node.id.clone(),
                swarm_id: "swarm-of-tests".to_owned(),
                host_name: node.node.name.clone(),
                version: "28.5.2".to_owned(),
                time: Some(world.engine_time()),
                registries: world.registries.clone(),
            })
        })
        .await
    }

    async fn each_service(
        &self,
        listing: Listing<'_>,
        take: impl FnMut(Service) + Send,
    ) -> Result<(), SwarmError> {
        if matches!(listing, Listing::Ids([])) {
            return Ok(());
        }
        let services = self.request(Call::Services, None, |world| {
            let listed: Vec<Service> =
                world.list(&listing)?.into_iter().map(|service| world.show(service, true)).collect();
            if let Listing::Ids(_) = listing {
                world.script.most_named = world.script.most_named.max(listed.len());
            }
            Ok(listed)
        });
        services.await?.into_iter().for_each(take);
        Ok(())
    }

    async fn service(&self, id: &str) -> Result<Option<Service>, SwarmError> {
        self.request(Call::Service, Some(id), |world| {
            Ok(world.find(id).map(|service| world.show(service, false)))
        })
        .await
    }

    async fn each_task(&self, services: &[String], take: impl FnMut(Task) + Send) -> Result<(), SwarmError> {
        let tasks = self.request(Call::Tasks, None, |world| {
            let listed = world.list_tasks(services)?.into_iter();
            Ok(listed.map(|task| shown(world, task)).collect::<Vec<Task>>())
        });
        tasks.await?.into_iter().for_each(take);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, SwarmError> {
        self.request(Call::Nodes, None, |world| {
            Ok(world.nodes.iter().map(|node| node.node.clone()).collect())
        })
        .await
    }

    async fn update_service(
        &self,
        id: &str,
        version: u64,
        change: ServiceChange<'_>,
        auth: Option<&Secret>,
    ) -> Result<Vec<String>, SwarmError> {
        let goal = match change {
            ServiceChange::To(spec) => Goal::To(spec.clone()),
            ServiceChange::Back(spec) => Goal::Back(spec.clone()),
        };
        let auth = auth.map(|auth| auth.reveal().to_owned());
        self.request(Call::Update, Some(id), |world| world.update(id, version, &goal, auth)).await
    }

    async fn create_service(&self, spec: &Spec, auth: Option<&Secret>) -> Result<String, SwarmError> {
        let auth = auth.map(|auth| auth.reveal().to_owned());
        let name = spec.facts().name.clone();
        self.request(Call::Create, Some(&name), |world| world.create(spec, auth)).await
    }

    async fn id_of(&self, name: &Name) -> Result<Option<String>, SwarmError> {
        self.request(Call::Named, None, |world| Ok(world.named.get(name).cloned())).await
    }

    async fn remove_service(&self, id: &str) -> Result<(), SwarmError> {
        let answer = self.request(Call::Remove, Some(id), |world| world.remove(id)).await;
        gone_is_fine(answer)
    }

    async fn task_log(&self, task: &str, lines: usize) -> Result<Vec<String>, SwarmError> {
        self.request(Call::Log, None, |world| {
            let found = world.tasks.get(task);
            let found = found.ok_or_else(|| SwarmError::NotFound(format!("task {task} not found")))?;
            if world.now < found.since + found.behaviour.log_delay {
                return Ok(Vec::new());
            }
            Ok(found.log[found.log.len().saturating_sub(lines)..].to_vec())
        })
        .await
    }

    async fn health_output(&self, task: &str) -> Result<Option<String>, SwarmError> {
        self.request(Call::Containers, None, |world| {
            let task = world.tasks.get(task).filter(|task| task.node == self.node.as_ref());
            Ok(task.filter(|task| task.container.is_some()).and_then(|task| task.behaviour.health.clone()))
        })
        .await
    }

    async fn config_object(&self, name: &str) -> Result<Option<ConfigObject>, SwarmError> {
        self.request(Call::Config, None, |world| Ok(world.configs.get(name).cloned())).await
    }

    async fn create_config_object(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &str,
    ) -> Result<String, SwarmError> {
        self.request(Call::CreateConfig, None, |world| world.create_config(name, labels, data)).await
    }

    async fn update_config_object(
        &self,
        read: &ConfigObject,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), SwarmError> {
        self.request(Call::UpdateConfig, None, |world| world.update_config(&read.id, read.version, labels))
            .await
    }

    async fn remove_config_object(&self, id: &str) -> Result<(), SwarmError> {
        gone_is_fine(self.request(Call::RemoveConfig, None, |world| world.remove_config(id)).await)
    }

    fn changes(&self) -> impl Stream<Item = Result<(), SwarmError>> + Send {
        /// Where the stream is.
        enum At {
            Start,
            Seen(usize),
            End,
        }
        stream::unfold(At::Start, move |at| async move {
            let seen = match at {
                At::Start => match self.request(Call::Changes, None, |world| Ok(world.event_count())).await {
                    Ok(seen) => seen,
                    Err(error) => return Some((Err(error), At::End)),
                },
                At::Seen(seen) => seen,
                At::End => return None,
            };
            match self.next_event(seen).await {
                Ok(seen) => Some((Ok(()), At::Seen(seen))),
                Err(error) => Some((Err(error), At::End)),
            }
        })
    }

    async fn container(&self, id: &str) -> Result<Option<Container>, SwarmError> {
        self.request(Call::Container, None, |world| {
            Ok(world.node(&self.node).containers.get(id).map(|(container, _)| container.clone()))
        })
        .await
    }

    async fn containers_of(&self, image_id: &str) -> Result<Vec<Container>, SwarmError> {
        self.request(Call::Containers, None, |world| {
            let containers = world.node(&self.node).containers.values();
            Ok(containers.filter(|(_, image)| image == image_id).map(|(found, _)| found.clone()).collect())
        })
        .await
    }

    async fn containers_of_service(&self, name: &str) -> Result<Vec<Container>, SwarmError> {
        self.request(Call::Containers, None, |world| {
            let containers = world.node(&self.node).containers.values();
            let is_its = |container: &Container| {
                container.labels.get("com.docker.swarm.service.name").is_some_and(|label| label == name)
            };
            Ok(containers.filter(|(found, _)| is_its(found)).map(|(found, _)| found.clone()).collect())
        })
        .await
    }

    async fn task_containers(&self) -> Result<Vec<Container>, SwarmError> {
        self.request(Call::Containers, None, |world| {
            let containers = world.node(&self.node).containers.values();
            Ok(containers.map(|(found, _)| found.clone()).filter(Container::is_swarm_task).collect())
        })
        .await
    }

    async fn local_image(&self, name: &str) -> Result<Option<LocalImage>, SwarmError> {
        self.request(Call::Image, None, |world| Ok(world.node(&self.node).image(name).cloned())).await
    }

    async fn remove_container(&self, id: &str) -> Result<(), SwarmError> {
        gone_is_fine(
            self.request(Call::RemoveContainer, None, |world| {
                world.node_mut(&self.node).remove_container(id)
            })
            .await,
        )
    }

    async fn remove_image(&self, name: &str) -> Result<(), SwarmError> {
        gone_is_fine(
            self.request(Call::RemoveImage, None, |world| world.node_mut(&self.node).remove_image(name))
                .await,
        )
    }
}

fn gone_is_fine(answer: Result<(), SwarmError>) -> Result<(), SwarmError> {
    match answer {
        Err(SwarmError::NotFound(_)) => Ok(()),
        answer => answer,
    }
}

/// For the front: how far the simulation is.
impl FakeSwarm {
    pub(super) fn elapsed(&self) -> At {
        self.began.elapsed()
    }
}
