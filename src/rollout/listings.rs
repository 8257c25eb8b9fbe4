//! Lists of tasks for many workers at once: those who ask while a request is under way share the next one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::sleep;

use crate::context::Context;
use crate::swarm::tasks::tasks_of_any;
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
        let (sender, mut answer) = oneshot::channel();
        self.asked().push((id.to_owned(), sender));
        tokio::select! {
            biased;
            // Another worker has asked for this one as well.
            answer = &mut answer => return answer.unwrap_or_else(|_| unfinished()),
            _turn = self.turn.lock() => {
                // Updates begin together, when those before them have ended.
                sleep(GATHER).await;
                self.ask(context).await;
            }
        }
        answer.await.unwrap_or_else(|_| unfinished())
    }

    /// Asks for all that workers wait for, in one request.
    async fn ask<S: Swarm, R>(&self, context: &Context<S, R>) {
        let asked = std::mem::take(&mut *self.asked());
        let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let listed = tasks_of_any(&*context.swarm, &ids).await;
        for (id, sender) in asked {
            let own = |tasks: &Vec<Task>| -> Vec<Task> {
                tasks.iter().filter(|task| task.service_id == id).cloned().collect()
            };
            // A worker that has gone meanwhile needs no answer.
            let _ = sender.send(listed.as_ref().map(own).map_err(Clone::clone));
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<(String, oneshot::Sender<Answer>)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unfinished() -> Answer {
    Err(SwarmError::Unavailable("the list was not finished".to_owned()))
}
