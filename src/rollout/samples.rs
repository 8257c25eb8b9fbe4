//! Services, tasks and nodes for the tests of this folder, in few words.

use serde_json::{Value, json};

use super::machine::SentUpdate;
use crate::model::before::Before;
use crate::model::task_spec_id::TaskSpecId;
use crate::swarm::claims::Resources;
use crate::swarm::{Node, Nodes, Service, Task, TaskState};

/// The image before an update.
pub(crate) const OLD: &str = "app:1@sha256:old";

/// The image that an update sends.
pub(crate) const NEW: &str = "app:1@sha256:new";

/// `Mode` of a service with so many tasks.
pub(crate) fn replicas(count: u64) -> Value {
    json!({ "Replicated": { "Replicas": count } })
}

/// `Mode` of a service with a task on every node.
pub(crate) fn global() -> Value {
    json!({ "Global": {} })
}

/// A specification.
pub(crate) fn spec(image: &str, mode: &Value) -> Value {
    json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": image } }, "Mode": mode })
}

/// A service with this specification and nothing else to tell.
pub(crate) fn service(spec: &Value) -> Service {
    service_from(&json!({ "Spec": spec }))
}

/// A service; id and version are added.
pub(crate) fn service_from(json: &Value) -> Service {
    let mut json = json.clone();
    json["ID"] = json!("s");
    json["Version"] = json!({ "Index": 1 });
    Service::from_json(&json.to_string()).unwrap()
}

/// A task that runs on `node1`, as it should.
pub(crate) fn task(id: &str, image: &str, slot: u64) -> Task {
    Task {
        id: id.to_owned(),
        service_id: "s".to_owned(),
        slot,
        node_id: "n1".to_owned(),
        image: image.to_owned(),
        force_update: 0,
        desired: TaskState::Running,
        state: TaskState::Running,
        since: None,
        message: String::new(),
        error: String::new(),
        exit_code: None,
        created_at: None,
        reserved: Resources::default(),
    }
}

/// A global service's task that runs on this node.
pub(crate) fn task_on(node: &str, image: &str) -> Task {
    Task { node_id: node.to_owned(), ..task(&format!("{node} {image}"), image, 0) }
}

/// What comes of a task whose program fails.
pub(crate) fn crashed(task: Task) -> Task {
    Task {
        state: TaskState::Failed,
        desired: TaskState::Shutdown,
        error: "task: non-zero exit (1)".to_owned(),
        exit_code: Some(1),
        ..task
    }
}

/// What comes of a task that the swarm does not want any more.
pub(crate) fn shut_down(task: Task) -> Task {
    Task { state: TaskState::Shutdown, desired: TaskState::Shutdown, exit_code: Some(143), ..task }
}

/// Nodes `n1`, `n2`, ... called `node1`, `node2`, ... all up but these.
pub(crate) fn nodes_without(count: usize, away: &[&str]) -> Nodes {
    let node = |number: usize| {
        let id = format!("n{number}");
        let (is_ready, name) = (!away.contains(&id.as_str()), format!("node{number}"));
        Node { id, name, version: 1, is_ready, is_down: !is_ready, is_active: true, ..Node::default() }
    };
    (1..=count).map(node).collect()
}

/// Three nodes that are up.
pub(crate) fn nodes() -> Nodes {
    nodes_without(3, &[])
}

/// What a service did before its update whose tasks, so many, all ran.
pub(crate) fn ran(count: u64) -> Before {
    let tasks: Vec<Task> = (1..=count).map(|slot| task(&format!("before {slot}"), OLD, slot)).collect();
    Before::of(&service(&spec(OLD, &replicas(count))), &tasks, jiff::Timestamp::UNIX_EPOCH)
}

/// An update of two tasks that both ran, without a time limit.
pub(crate) fn sent_update(
    sent: TaskSpecId,
    replaced: TaskSpecId,
    sent_at: tokio::time::Instant,
) -> SentUpdate {
    let (before, may_roll_back) = (ran(2), true);
    SentUpdate {
        sent,
        replaced,
        sent_at,
        timeout: None,
        may_roll_back,
        whole: None,
        before,
        has_account: false,
        side_by_side: None,
    }
}
