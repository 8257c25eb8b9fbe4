//! Lists of tasks for many workers at once: those who ask while a request is under way share the next one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::sleep;

use crate::cycle::Context;
use crate::cycle::discover::tasks_of_any;
use crate::swarm::{Swarm, SwarmError, Task};

/// How long the first who asks waits for others.
const GATHER: Duration = Duration::from_millis(20);

type Answer = Result<Vec<Task>, SwarmError>;

/// Who asks for the tasks of which service.
#[derive(Debug, Default)]
pub(super) struct Listings {
    asked: Mutex<Vec<(String, oneshot::Sender<Answer>)>>,
    turn: Turn<()>,
}

impl Listings {
    /// The tasks of this service.
    pub(super) async fn tasks<S: Swarm, R>(&self, context: &Context<S, R>, id: &str) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.asked().push((id.to_owned(), sender));
        let turn = self.turn.lock().await;
        // Updates begin together, when those before them have ended.
        sleep(GATHER).await;
        let asked = std::mem::take(&mut *self.asked());
        if !asked.is_empty() {
            let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
            let listed = tasks_of_any(&*context.swarm, &ids).await;
            for (id, sender) in asked {
                let own = |tasks: &Vec<Task>| -> Vec<Task> {
                    tasks.iter().filter(|task| task.service_id == id).cloned().collect()
                };
                // A worker that has gone meanwhile needs no answer.
                let _ = sender.send(listed.as_ref().map(own).map_err(Clone::clone));
            }
        }
        drop(turn);
        answer.await.unwrap_or_else(|_| Err(SwarmError::Unavailable("the list was not finished".to_owned())))
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<(String, oneshot::Sender<Answer>)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
