//! Nodes, and what lies on the engine's own one.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::claims::{AmountsJson, PlatformJson, Resources};
use crate::hosts::null_is_default;

/// A node of the swarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its host's name, which is what people call it.
    pub name: String,
    /// Changes with every change of what the swarm knows of it, such as that it is away, or back.
    pub version: u64,
    /// Whether the swarm hears from it.
    pub is_ready: bool,
    /// Whether the swarm has missed it and given its tasks up. After a change of leader all nodes are unknown for a moment,
    /// and neither ready nor down.
    pub is_down: bool,
    /// Whether it takes tasks: neither drained nor paused.
    pub is_active: bool,
    /// What it is to the other managers, if it is one.
    pub manager: Option<ManagerStatus>,
    /// What decides on the tasks that it may get.
    pub traits: Traits,
}

/// What decides on the tasks that a node may get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// `manager` or `worker`.
    pub role: String,
    /// Its operating system.
    pub os: String,
    /// Its architecture, as its kernel says it.
    pub architecture: String,
    /// The labels that the swarm gives to it.
    pub labels: BTreeMap<String, String>,
    /// The labels that its engine gives to itself.
    pub engine_labels: BTreeMap<String, String>,
    /// What it has, where it says so.
    pub capacity: Option<Resources>,
}

/// What a manager is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Whether it leads them.
    pub is_leader: bool,
    /// Whether the leader reaches it, so that its vote counts.
    pub is_reachable: bool,
}

/// Nodes by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes(HashMap<String, Node>);

impl Nodes {
    /// The node's name, or its id when the node is unknown.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, |node| &node.name)
    }

    /// Whether tasks on this node can run: it is known and the swarm hears from it.
    pub fn is_ready(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|node| node.is_ready)
    }

    /// Whether the swarm has missed the node and given its tasks up.
    pub fn is_down(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|node| node.is_down)
    }

    /// Whether the swarm puts tasks on this node.
    pub fn takes_tasks(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|node| node.is_ready && node.is_active)
    }

    /// Whether the node is paused or drained: the swarm gives it no new tasks, and leaves a global service's task on a
    /// paused node alone.
    pub fn is_set_aside(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|node| !node.is_active)
    }

    /// The nodes that are down. A host that left the swarm and joined again is listed as two nodes of one name. The former
    /// one is down for ever, and left out.
    pub fn lost(&self) -> impl Iterator<Item = &Node> {
        let is_back = |name: &str| self.iter().any(|node| !node.is_down && node.name == name);
        self.iter().filter(move |node| node.is_down && !is_back(&node.name))
    }

    /// All nodes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.0.values()
    }
}

impl FromIterator<Node> for Nodes {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        Self(nodes.into_iter().map(|node| (node.id.clone(), node)).collect())
    }
}

/// The label of a container that names its task.
pub(super) const TASK_LABEL: &str = "com.docker.swarm.task.id";

/// A container on the engine's own node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// `created`, `running`, `exited`, `dead`, ...
    pub state: String,
    /// The id of its image.
    pub image_id: String,
    /// Its labels; the swarm's begin with `com.docker.swarm.`.
    pub labels: BTreeMap<String, String>,
}

impl Container {
    /// Whether the swarm made it, for a task.
    pub fn is_swarm_task(&self) -> bool {
        self.task().is_some()
    }

    /// The id of the task that the swarm made it for.
    pub fn task(&self) -> Option<&str> {
        self.labels.get(TASK_LABEL).map(String::as_str)
    }

    /// Whether it does not run and will not run again by itself. The swarm starts each of its containers
    /// once; one that is only created belongs to a task that was given up before its restart delay was over.
    pub fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "exited" | "dead") || (self.state == "created" && self.is_swarm_task())
    }
}

/// An image on the engine's own node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LocalImage {
    /// Its id.
    pub id: String,
    /// `name:tag` names; empty for what was pulled by digest.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    pub repo_tags: Vec<String>,
    /// `name@digest` names.
    #[serde(deserialize_with = "crate::hosts::null_is_default")]
    pub repo_digests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeJson {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    version: VersionJson,
    #[serde(default)]
    spec: NodeSpecJson,
    #[serde(default)]
    description: NodeDescriptionJson,
    #[serde(default)]
    status: NodeStatusJson,
    #[serde(default)]
    manager_status: Option<ManagerStatusJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatusJson {
    leader: bool,
    reachability: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionJson {
    index: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpecJson {
    availability: String,
    role: String,
    #[serde(deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeDescriptionJson {
    hostname: String,
    #[serde(deserialize_with = "null_is_default")]
    platform: PlatformJson,
    resources: Option<AmountsJson>,
    #[serde(deserialize_with = "null_is_default")]
    engine: EngineJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EngineJson {
    #[serde(deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatusJson {
    state: String,
}

impl From<NodeJson> for Node {
    fn from(json: NodeJson) -> Self {
        Self {
            name: if json.description.hostname.is_empty() {
                json.id.clone()
            } else {
                json.description.hostname
            },
            id: json.id,
            version: json.version.index,
            is_ready: json.status.state == "ready",
            is_down: json.status.state == "down",
            is_active: json.spec.availability == "active",
            manager: json.manager_status.map(|status| ManagerStatus {
                is_leader: status.leader,
                is_reachable: status.reachability == "reachable",
            }),
            traits: Traits {
                role: json.spec.role,
                os: json.description.platform.os,
                architecture: json.description.platform.architecture,
                labels: json.spec.labels,
                engine_labels: json.description.engine.labels,
                capacity: json.description.resources.map(Resources::from),
            },
        }
    }
}
