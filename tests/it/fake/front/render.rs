//! The engine's JSON.

use std::fmt::Write as _;

use gantry::swarm::{Container, LocalImage, TaskState};
use serde_json::{Value, json};

use crate::fake::node::FakeNode;
use crate::fake::world::{Event, FakeService, FakeTask, World, state_name};

/// A list of what was rendered.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for item in items {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push(']');
    text
}

pub(super) fn service(world: &World, service: &FakeService, with_status: bool) -> String {
    let spec = service.plan.spec.json();
    let mut text = String::with_capacity(600 + 2 * spec.len());
    let (created, updated) = (world.time(service.created), world.time(service.updated));
    let _ = write!(
        text,
        r#"{{"ID":"{}","Version":{{"Index":{}}},"CreatedAt":"{created}","UpdatedAt":"{updated}","Spec":{spec}"#,
        service.id, service.version,
    );
    if let Some(previous) = &service.previous {
        let _ = write!(text, r#","PreviousSpec":{}"#, previous.spec.json());
    }
    text.push_str(r#","Endpoint":{"Spec":{}}"#);
    if let Some(status) = &service.status {
        let _ = write!(
            text,
            r#","UpdateStatus":{{"State":"{}","StartedAt":"{}""#,
            state_name(&status.state),
            world.time(status.started)
        );
        if let Some(completed) = status.completed {
            let _ = write!(text, r#","CompletedAt":"{}""#, world.time(completed));
        }
        let _ = write!(text, r#","Message":{}}}"#, Value::from(status.message.as_str()));
    }
    if service.plan.shape.is_job() {
        let _ = write!(text, r#","JobStatus":{{"JobIteration":{{"Index":{}}}}}"#, service.iteration);
    }
    if with_status {
        let counts = world.counts(service);
        let _ = write!(
            text,
            r#","ServiceStatus":{{"RunningTasks":{},"DesiredTasks":{},"CompletedTasks":0}}"#,
            counts.running, counts.desired
        );
    }
    text.push('}');
    text
}

pub(super) fn task(world: &World, task: &FakeTask) -> String {
    let mut text = String::with_capacity(800);
    let _ = write!(
        text,
        r#"{{"ID":"{}","Version":{{"Index":{}}},"CreatedAt":"{}","UpdatedAt":"{}","Labels":{{}},"Spec":{},"ServiceID":"{}""#,
        task.id,
        task.version,
        world.time(task.created),
        world.time(task.since),
        task.template.text(),
        task.service,
    );
    if task.slot > 0 {
        let _ = write!(text, r#","Slot":{}"#, task.slot);
    }
    if !task.node.is_empty() {
        let _ = write!(text, r#","NodeID":"{}""#, task.node);
    }
    let _ = write!(
        text,
        r#","Status":{{"Timestamp":"{}","State":"{}","Message":"{}""#,
        world.time(task.since),
        task.state.name(),
        task.message
    );
    if !task.error.is_empty() {
        let _ = write!(text, r#","Err":{}"#, Value::from(task.error.as_str()));
    }
    match &task.container {
        Some(container) if task.state >= TaskState::Starting => {
            let (pid, code) = (if task.is_final() { 0 } else { 4242 }, task.exit_code.unwrap_or(0));
            let _ = write!(
                text,
                r#","ContainerStatus":{{"ContainerID":"{container}","PID":{pid},"ExitCode":{code}}}"#
            );
        }
        // A task that was rejected has the status of a container, but no container.
        None if task.is_final() => {
            text.push_str(r#","ContainerStatus":{"ContainerID":"","PID":0,"ExitCode":0}"#);
        }
        _ => {}
    }
    let _ = write!(text, r#","PortStatus":{{}}}},"DesiredState":"{}"}}"#, task.desired.name());
    text
}

pub(super) fn node(node: &FakeNode) -> Value {
    let state = match (node.node.is_ready, node.node.is_down) {
        (true, _) => "ready",
        (false, true) => "down",
        (false, false) => "unknown",
    };
    let capacity = node.node.traits.capacity.clone().unwrap_or_default();
    let mut shown = json!({
        "ID": node.node.id,
        "Version": {"Index": node.node.version},
        "Spec": {
            "Labels": {},
            "Role": if node.is_manager() { "manager" } else { "worker" },
            "Availability": if node.node.is_active { "active" } else { "drain" },
        },
        "Description": {
            "Hostname": node.node.name,
            "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Resources": {"NanoCPUs": capacity.nano_cpus, "MemoryBytes": capacity.memory},
            "Engine": {"EngineVersion": "28.5.2"},
        },
        "Status": {"State": state, "Addr": "198.18.0.11"},
    });
    if let Some(manager) = node.node.manager {
        let reachability = if manager.is_reachable { "reachable" } else { "unreachable" };
        shown["ManagerStatus"] = json!({"Reachability": reachability, "Addr": "198.18.0.11:2377"});
        // The engine says nothing of it where it is not so.
        if manager.is_leader {
            shown["ManagerStatus"]["Leader"] = true.into();
        }
    }
    shown
}

pub(super) fn info(world: &World, node: &FakeNode) -> Value {
    let configs = world.registries.index_configs.iter().map(|(host, config)| {
        (host.clone(), json!({"Name": host, "Secure": config.secure, "Mirrors": config.mirrors}))
    });
    let configs = Value::Object(configs.collect());
    json!({
        "ID": "fake",
        "Name": node.node.name,
        "ServerVersion": "28.5.2",
        "SystemTime": world.engine_time().to_string(),
        "OSType": "linux",
        "Architecture": "x86_64",
        "Images": node.images.len(),
        "RegistryConfig": {
            "InsecureRegistryCIDRs": world.registries.insecure_cidrs,
            "IndexConfigs": configs,
            "Mirrors": world.registries.mirrors,
        },
        "Swarm": {
            "NodeID": node.node.id,
            "LocalNodeState": "active",
            "ControlAvailable": node.is_manager(),
            "Nodes": world.nodes.len(),
            "Managers": 1,
        },
    })
}

pub(super) fn event(world: &World, event: &Event) -> String {
    let nanos = world.time(event.at).as_nanosecond();
    let value = json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "swarm",
        "time": world.time(event.at).as_second(),
    });
    let mut text = value.to_string();
    text.pop();
    let _ = writeln!(text, ",\"timeNano\":{nanos}}}");
    text
}

pub(super) fn image(image: &LocalImage) -> Value {
    json!({"Id": image.id, "RepoTags": image.repo_tags, "RepoDigests": image.repo_digests, "Size": 600_000_000})
}

/// As in a listing.
pub(super) fn listed_container(container: &Container, image: &str) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.id)],
        "Image": image,
        "ImageID": image,
        "State": container.state,
        "Status": "since long ago",
        "Labels": container.labels,
    })
}

/// As inspected.
pub(super) fn container(container: &Container, image: &str) -> Value {
    json!({
        "Id": container.id,
        "Image": image,
        "State": {"Status": container.state, "Running": container.state == "running"},
        "Config": {"Labels": container.labels},
    })
}

/// Lines as frames of standard output.
pub(super) fn log(lines: &[String]) -> Vec<u8> {
    lines.iter().fold(Vec::new(), |mut output, line| {
        let size = u32::try_from(line.len() + 1).expect("a short line");
        output.extend([1, 0, 0, 0]);
        output.extend(size.to_be_bytes());
        output.extend(line.as_bytes());
        output.push(b'\n');
        output
    })
}
