//! Updates that wait for a paused node. Pure.

use serde_json::Value;

use super::convergence::present_tasks;
use crate::swarm::{Mode, Nodes, Service, Task, TaskState};

/// Why an update of this [bound](is_bound) service has to wait: one of its tasks runs on a paused node and may have no other place. Swarm
/// would stop the task, and start none there until the node is active.
pub(super) fn waits_for_node(service: &Service, tasks: &[Task], nodes: &Nodes) -> Option<String> {
    let is_there = |task: &&Task| {
        let runs = task.is_wanted() && task.state == TaskState::Running;
        runs && nodes.is_set_aside(&task.node_id) && nodes.is_ready(&task.node_id)
    };
    let task = present_tasks(service, tasks).find(is_there)?;
    let node = nodes.name(&task.node_id);
    let why = "Swarm would stop its task there, and start no other until that node is active";
    Some(format!("postponed, as {node} is paused: {why}"))
}

/// Whether a replicated service's tasks may have no other place than their node: it has constraints, or mounts.
pub(super) fn is_bound(service: &Service) -> bool {
    if !matches!(service.spec.facts().mode, Mode::Replicated(_)) {
        return false;
    }
    let json: Value = serde_json::from_str(service.spec.json()).unwrap_or_default();
    let is_filled =
        |path: &str| json.pointer(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    is_filled("/TaskTemplate/Placement/Constraints") || is_filled("/TaskTemplate/ContainerSpec/Mounts")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cycle::rollout::samples::{OLD, nodes, replicas, service, spec, task};
    use crate::swarm::Node;

    fn with_paused(id: &str) -> Nodes {
        nodes().iter().map(|node| Node { is_active: node.id != id, ..node.clone() }).collect()
    }

    #[test]
    fn a_bound_task_on_a_paused_node_is_left_alone() {
        let plain = spec(OLD, &replicas(1));
        let mut pinned = plain.clone();
        pinned["TaskTemplate"]["Placement"] = json!({ "Constraints": ["node.hostname==node1"] });
        let mut mounted = plain.clone();
        mounted["TaskTemplate"]["ContainerSpec"]["Mounts"] = json!([{ "Type": "volume", "Target": "/data" }]);
        let tasks = [task("a", OLD, 1)];
        for (spec, paused, waits) in
            [(&plain, "n1", false), (&pinned, "n1", true), (&mounted, "n1", true), (&pinned, "n2", false)]
        {
            let service = service(spec);
            let why = waits_for_node(&service, &tasks, &with_paused(paused));
            assert_eq!(is_bound(&service) && why.is_some(), waits, "{spec} {paused}: {why:?}");
        }
    }
}
