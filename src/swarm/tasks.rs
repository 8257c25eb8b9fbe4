//! Lists of tasks.

use std::collections::HashMap;

use super::{Swarm, SwarmError, Task};

/// Tasks by the id of their service.
pub fn by_service(listed: Vec<Task>) -> HashMap<String, Vec<Task>> {
    let mut tasks: HashMap<String, Vec<Task>> = HashMap::new();
    for task in listed {
        tasks.entry(task.service_id.clone()).or_default().push(task);
    }
    tasks
}

/// The tasks of these services, whether or not all of them are still there: the engine refuses to list the tasks of a service
/// that was removed.
///
/// # Errors
/// The engine does not answer.
pub async fn tasks_of_any<S: Swarm>(swarm: &S, ids: &[String]) -> Result<Vec<Task>, SwarmError> {
    match swarm.tasks(ids).await {
        Err(SwarmError::NotFound(_)) => swarm.tasks(&[]).await,
        answer => answer,
    }
}
