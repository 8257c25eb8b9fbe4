//! The swarm: what can be seen of it and what can be asked of it.
//!
//! [`Swarm`] is the seam between the cycle and Docker. [`engine::Engine`] is the only implementation
//! that talks to a real one; tests have a stateful fake.

use std::collections::BTreeMap;
use std::future::Future;

use futures_util::Stream;
use jiff::Timestamp;

use crate::config::Filter;
use crate::hosts::EngineRegistries;
use crate::options::Name;
use crate::secret::Secret;

pub mod claims;
mod config_object;
mod container_labels;
pub mod engine;
mod node;
pub mod placement;
mod service;
pub mod spec;
mod task;
pub mod tasks;

pub use claims::Claims;
pub use config_object::ConfigObject;
pub use node::{Container, LocalImage, ManagerStatus, Node, Nodes, Traits};
pub use service::{Service, ServiceStatus, UpdateState, UpdateStatus};
pub use spec::{Facts, FailureAction, Mode, RestartCondition, Spec, SpecError, UpdateConfig, UpdateOrder};
pub use task::{Task, TaskState, is_about_platforms};

/// What the engine says of itself (`GET /info`).
#[derive(Clone, Debug, Default)]
pub struct EngineView {
    /// Whether it can be asked about the swarm.
    pub role: Role,
    /// Its node's id in the swarm; empty outside one.
    pub node_id: String,
    /// The swarm's id; empty outside one, and on a worker.
    pub swarm_id: String,
    /// The host's name.
    pub host_name: String,
    /// Its version, for logs.
    pub version: String,
    /// Its clock, when it answered; it may run differently from ours.
    pub time: Option<Timestamp>,
    /// How it talks to registries.
    pub registries: EngineRegistries,
}

/// What an engine is to its swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Not part of a swarm.
    #[default]
    None,
    /// About to be part of one again: the engine has just started.
    Pending,
    /// Part of one whose keys are locked away until a person unlocks them.
    Locked,
    /// Part of one, but the cluster's state is not to be had from it.
    Worker,
    /// The cluster's state can be read and changed through it.
    Manager,
}

/// Which services a listing returns.
#[derive(Clone, Debug)]
pub enum Listing<'a> {
    /// Those that match filters of `docker service ls`; all when there are none.
    Filters(&'a [Filter]),
    /// Those with these ids, or ids that begin so; one that is gone is left out.
    Ids(&'a [String]),
}

/// A change of a service: to a new specification, or back to the previous one.
#[derive(Clone, Debug)]
pub enum ServiceChange<'a> {
    /// This specification.
    To(&'a Spec),
    /// Its previous specification (`rollback=previous`), under the service's own rollback configuration.
    /// The engine wants the present one along.
    Back(&'a Spec),
}

/// A swarm seen through one manager.
///
/// All calls are bounded in time; none retries. An error says whether a retry may help
/// ([`SwarmError::is_transient`]).
pub trait Swarm: Send + Sync + 'static {
    /// What the engine says of itself.
    fn engine(&self) -> impl Future<Output = Result<EngineView, SwarmError>> + Send;

    /// Hands over services with their task counts, one request whatever their number. Of thousands, not all need be kept.
    ///
    /// # Errors
    /// The engine's, also after some services.
    fn each_service(
        &self,
        listing: Listing<'_>,
        take: impl FnMut(Service) + Send,
    ) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// The services of [`Swarm::each_service`].
    fn services(
        &self,
        listing: Listing<'_>,
    ) -> impl Future<Output = Result<Vec<Service>, SwarmError>> + Send {
        async {
            let mut services = Vec::new();
            self.each_service(listing, |service| services.push(service)).await?;
            Ok(services)
        }
    }

    /// One service, or `None` when it is gone.
    fn service(&self, id: &str) -> impl Future<Output = Result<Option<Service>, SwarmError>> + Send;

    /// Hands over all tasks of these services, finished ones that the swarm still remembers included; of all
    /// services when none are named. A service that is gone is [`SwarmError::NotFound`].
    ///
    /// # Errors
    /// The engine's, also after some tasks.
    fn each_task(
        &self,
        services: &[String],
        take: impl FnMut(Task) + Send,
    ) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// The tasks of [`Swarm::each_task`].
    fn tasks(&self, services: &[String]) -> impl Future<Output = Result<Vec<Task>, SwarmError>> + Send {
        async {
            let mut tasks = Vec::new();
            self.each_task(services, |task| tasks.push(task)).await?;
            Ok(tasks)
        }
    }

    /// All nodes.
    fn nodes(&self) -> impl Future<Output = Result<Vec<Node>, SwarmError>> + Send;

    /// Changes a service if it still has that version (else [`SwarmError::Conflict`]). `auth` is what
    /// the nodes pull with; without it, the one that the service has is kept. Returns the engine's
    /// warnings.
    fn update_service(
        &self,
        id: &str,
        version: u64,
        change: ServiceChange<'_>,
        auth: Option<&Secret>,
    ) -> impl Future<Output = Result<Vec<String>, SwarmError>> + Send;

    /// Creates a service and returns its id.
    fn create_service(
        &self,
        spec: &Spec,
        auth: Option<&Secret>,
    ) -> impl Future<Output = Result<String, SwarmError>> + Send;

    /// The id of a network of the swarm, a secret or a config, or `None` when there is none of this name.
    fn id_of(&self, name: &Name) -> impl Future<Output = Result<Option<String>, SwarmError>> + Send;

    /// Removes a service; one that is gone already is no error.
    fn remove_service(&self, id: &str) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// The last lines of a task's output, standard output and error together, oldest first.
    fn task_log(
        &self,
        task: &str,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, SwarmError>> + Send;

    /// What the health check of a task's container said when it last failed. `None` where it has none, and where the container
    /// is on another node than the engine: no manager tells what is in there.
    fn health_output(&self, task: &str) -> impl Future<Output = Result<Option<String>, SwarmError>> + Send;

    /// The config of this name.
    fn config_object(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<ConfigObject>, SwarmError>> + Send;

    /// Creates a config with this content, in base64, and returns its id. A name that exists already is
    /// [`SwarmError::NameTaken`].
    fn create_config_object(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &str,
    ) -> impl Future<Output = Result<String, SwarmError>> + Send;

    /// Replaces the labels of a config if it still has the version that was read (else
    /// [`SwarmError::Conflict`]). Nothing else of a config can be changed.
    fn update_config_object(
        &self,
        read: &ConfigObject,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// Removes a config; one that is gone already is no error.
    fn remove_config_object(&self, id: &str) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// Yields whenever a service or node has changed. Good as a wake-up, not as the truth; ends when
    /// the connection does.
    fn changes(&self) -> impl Stream<Item = Result<(), SwarmError>> + Send;

    /// The labels and the image of one of the engine's own containers.
    fn container(&self, id: &str) -> impl Future<Output = Result<Option<Container>, SwarmError>> + Send;

    /// The engine's own containers that were made of this image, running or not.
    fn containers_of(
        &self,
        image_id: &str,
    ) -> impl Future<Output = Result<Vec<Container>, SwarmError>> + Send;

    /// The engine's own containers that the swarm made for the service of this name.
    fn containers_of_service(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Container>, SwarmError>> + Send;

    /// The engine's own containers that the swarm made, for whatever task.
    fn task_containers(&self) -> impl Future<Output = Result<Vec<Container>, SwarmError>> + Send;

    /// An image of the engine's own, by any of its names.
    fn local_image(&self, name: &str) -> impl Future<Output = Result<Option<LocalImage>, SwarmError>> + Send;

    /// Removes one of the engine's own containers, which must not run.
    fn remove_container(&self, id: &str) -> impl Future<Output = Result<(), SwarmError>> + Send;

    /// Removes a name of one of the engine's own images, and with its last name the image.
    fn remove_image(&self, name: &str) -> impl Future<Output = Result<(), SwarmError>> + Send;
}

/// Why the engine did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwarmError {
    /// What is to be changed has changed since it was read.
    #[error("it was changed meanwhile (update out of sequence)")]
    Conflict,
    /// There is something of that name already.
    #[error("the name is taken: {0}")]
    NameTaken(String),
    /// A socket proxy or an authorization plugin before the engine does not let the request through.
    #[error("refused before it reached the engine: {0}")]
    Forbidden(String),
    /// What was named does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The engine says that the request makes no sense, in its words.
    #[error("the engine refuses: {0}")]
    Refused(String),
    /// The engine is no manager of a swarm.
    #[error("this engine is not a swarm manager; run Gantry on a manager node (the engine says: {0})")]
    NotManager(String),
    /// No connection, no answer in time, no leader, or an error of the engine's own.
    #[error("the engine cannot be used: {0}")]
    Unavailable(String),
    /// No file descriptor was left for the connection: the engine was not asked. With the cause and the remedy.
    #[error("no connection to the engine can be opened: {0}")]
    NoDescriptor(String),
    /// An answer that could not be read.
    #[error("the engine's answer cannot be read: {0}")]
    Unreadable(String),
}

impl SwarmError {
    /// Whether the same request may succeed later by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unreadable(_))
    }

    /// Whether it is worth while to ask again while work is under way: also a manager that was demoted may be promoted
    /// again within a minute, and other work may close its files.
    pub fn may_pass(&self) -> bool {
        self.is_transient() || matches!(self, Self::NotManager(_) | Self::NoDescriptor(_))
    }
}
