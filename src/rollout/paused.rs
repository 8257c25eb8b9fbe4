//! Updates that wait for a paused node. Pure.

use crate::model::order::{is_of_node, may_take};
use crate::model::task_spec_id::present_tasks;
use crate::swarm::{Mode, Node, Nodes, Service, Task, TaskState};

/// A task of a replicated service that runs on a paused node. Swarm would stop it for an update, and start none there until
/// the node is active.
pub(super) fn on_paused_node<'a>(service: &Service, tasks: &'a [Task], nodes: &Nodes) -> Option<&'a Task> {
    let is_there = |task: &&Task| {
        let runs = task.is_wanted() && task.state == TaskState::Running;
        runs && nodes.is_set_aside(&task.node_id) && nodes.is_ready(&task.node_id)
    };
    let is_replicated = matches!(service.spec.facts().mode, Mode::Replicated(_));
    present_tasks(service, tasks).find(is_there).filter(|_| is_replicated)
}

/// Why an update has to wait for the node of this task: no other node can take its place, or what the task has mounted is
/// there only. `tasks` are all that take room on nodes.
pub(super) fn waits_for_node(
    service: &Service,
    task: &Task,
    nodes: &Nodes,
    tasks: &[Task],
) -> Option<String> {
    let facts = service.spec.facts();
    let is_bound = facts.claims.mounts.iter().any(is_of_node);
    let may_take = |node: &&Node| node.id != task.node_id && may_take(&service.id, facts, node, tasks);
    if !is_bound && nodes.iter().any(|node| may_take(&node)) {
        return None;
    }
    let node = nodes.name(&task.node_id);
    let why = "Swarm would stop its task there, and start no other until that node is active";
    Some(format!("{node} is paused: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::samples::{OLD, nodes, replicas, service, spec, task};

    fn with_paused(id: &str) -> Nodes {
        nodes().iter().map(|node| Node { is_active: node.id != id, ..node.clone() }).collect()
    }

    #[test]
    fn a_task_on_a_paused_node_is_left_alone_where_it_has_no_other_place() {
        let with = |path: &str, value: serde_json::Value| {
            let mut spec = spec(OLD, &replicas(1));
            spec["TaskTemplate"][path] = value;
            spec
        };
        let plain = spec(OLD, &replicas(1));
        let on_linux = with("Placement", json!({ "Constraints": ["node.hostname!=nowhere"] }));
        let pinned = with("Placement", json!({ "Constraints": ["node.hostname==node1"] }));
        let one_each = with("Placement", json!({ "MaxReplicas": 1 }));
        let mounted = |mount: serde_json::Value| {
            let mut spec = plain.clone();
            spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = json!([mount]);
            spec
        };
        let volume = mounted(json!({ "Type": "volume", "Source": "data", "Target": "/data" }));
        let anonymous = mounted(json!({ "Type": "volume", "Target": "/data" }));
        let tmpfs = mounted(json!({ "Type": "tmpfs", "Target": "/tmp" }));
        let global = {
            let mut spec = plain.clone();
            spec["Mode"] = json!({ "Global": {} });
            spec
        };
        for (spec, paused, waits) in [
            (&plain, "n1", false),
            (&on_linux, "n1", false),
            (&pinned, "n1", true),
            (&pinned, "n2", false),
            (&volume, "n1", true),
            (&anonymous, "n1", false),
            (&tmpfs, "n1", false),
            (&global, "n1", false),
            (&one_each, "n1", false),
        ] {
            let (service, nodes, tasks) = (service(spec), with_paused(paused), [task("a", OLD, 1)]);
            let why = on_paused_node(&service, &tasks, &nodes)
                .and_then(|task| waits_for_node(&service, task, &nodes, &tasks));
            assert_eq!(why.is_some(), waits, "{spec} {paused}: {why:?}");
        }
        // One on each node, so that no other has a place for it.
        let on = |id: &str, node: &str, slot| Task { node_id: node.to_owned(), ..task(id, OLD, slot) };
        let (service, nodes) = (service(&one_each), with_paused("n1"));
        let everywhere: Vec<Task> =
            nodes.iter().zip(1..).map(|(node, slot)| on(&node.id, &node.id, slot)).collect();
        let task = on_paused_node(&service, &everywhere, &nodes).unwrap();
        assert!(waits_for_node(&service, task, &nodes, &everywhere).is_some());
    }
}
