//! Which services no node takes, though the swarm lists their tasks as running.

use super::cluster::Cluster;
use crate::context::Context;
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::update::{Start, Update};
use crate::swarm::tasks::tasks_of_any;
use crate::swarm::{Swarm, Task};

/// Finds those whose tasks have no node, where one is lost: the swarm goes on to count the tasks of a lost node as such that
/// run (a contract rule), so that only the tasks tell. One request, and none while all nodes are there.
pub(super) async fn find_unplaced<S: Swarm, R>(
    context: &Context<S, R>,
    cluster: &Cluster,
    updates: &mut [Update],
) {
    let is_asked = |update: &Update| update.begun.is_none() && update.start == Start::Replaced;
    let ids: Vec<String> = updates.iter().filter(|it| is_asked(it)).map(|update| update.id.clone()).collect();
    if !cluster.has_lost_node() || ids.is_empty() {
        return;
    }
    let tasks = match tasks_of_any(&*context.swarm, &ids).await {
        Ok(tasks) => tasks,
        Err(error) => {
            let what = "a node is down, and which services it has left without one cannot be told";
            context.events.trouble(what, "", &error);
            return;
        }
    };
    for update in updates.iter_mut().filter(|update| is_asked(update) && update.rank.evidence().has_tasks()) {
        let own: Vec<&Task> = tasks.iter().filter(|task| task.service_id == update.id).collect();
        if TaskLifecycle::lacks_node(&own) {
            (update.start, update.rank) = (Start::WithoutNode, Rank::WithoutNode);
        }
    }
}
