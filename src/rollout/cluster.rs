//! The cluster as the [`Guard`] sees it: the nodes, read once for the look-out and the guard.
//!
//! The look-out reads the nodes with each of its looks, and the guard gets each answer while updates wait. The guard has
//! reads of its own only where the look-out is late: nothing is watched, a list of services hangs, or the look-out waits
//! because the engine did not answer. A full merge would lose that: an engine whose nodes are silent for 5 s shuts the guard,
//! whatever else hangs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::budget::Budget;
use super::guard::{ClusterSight, Guard, GuardNews, Shut, busiest};
use crate::config::Config;
use crate::context::{Context, PATIENCE};
use crate::model::event::Event;
use crate::swarm::{Nodes, Swarm, SwarmError, Task};

/// Time without a read of the nodes after which the guard reads them itself. The swarm takes seconds to miss a node.
const LATE: Duration = Duration::from_millis(2_500);

/// An engine that is silent for so long is no engine to begin an update with.
const SILENCE: Duration = Duration::from_secs(5);

/// The shortest time that a shut guard is waited for, whatever the interval: a server takes a while to start again.
const LEAST_PATIENCE: Duration = Duration::from_secs(300);

/// The nodes, as one request showed them.
#[derive(Clone, Debug)]
struct Read {
    began: Instant,
    /// How long the answer took; nothing of one that the guard has been shown before.
    took: Option<Duration>,
    nodes: Arc<Nodes>,
}

/// The cluster, as the guard sees it.
#[derive(Debug)]
pub(super) struct Cluster {
    guard: Mutex<Guard>,
    counts_tasks: bool,
    /// What tasks were made of at the last look, where they are counted: pairs of service and image.
    placed: Mutex<HashSet<(String, String)>>,
    is_asked_for: AtomicBool,
    latest: Mutex<Option<Read>>,
    /// When a request for the nodes last ended, or will have been silent.
    asked: Mutex<Instant>,
    budget: Arc<Budget>,
    looked: Notify,
}

impl Cluster {
    /// A cluster that was not looked at yet. Its guard sees no look before updates wait.
    pub(super) fn new(config: &Config, budget: Arc<Budget>) -> Self {
        let limit = config.updates.max_starting_per_node;
        let patience = config.interval.unwrap_or(PATIENCE).clamp(LEAST_PATIENCE, PATIENCE);
        Self {
            guard: Mutex::new(Guard::new(limit, patience)),
            counts_tasks: limit.is_some(),
            placed: Mutex::default(),
            is_asked_for: AtomicBool::new(false),
            latest: Mutex::default(),
            asked: Mutex::new(Instant::now()),
            budget,
            looked: Notify::new(),
        }
    }

    /// Takes the first look, with which later ones are compared.
    pub(super) async fn first_look<S: Swarm, R>(&self, context: &Context<S, R>) {
        self.ask(true);
        context.stop.run_until_cancelled(self.look(context)).await;
    }

    /// Whether an update may begin beside these, each a service and the image that it is sent.
    pub(super) fn may_begin<'a>(&self, under_way: impl Iterator<Item = (&'a str, String)>) -> bool {
        if !self.counts_tasks {
            return lock(&self.guard).may_begin(0);
        }
        let placed = lock(&self.placed);
        let unseen = under_way.filter(|(id, image)| !placed.contains(&((*id).to_owned(), image.clone())));
        lock(&self.guard).may_begin(unseen.count())
    }

    /// Whether a node was down at the last look.
    pub(super) fn has_lost_node(&self) -> bool {
        lock(&self.latest).as_ref().is_some_and(|read| read.nodes.lost().next().is_some())
    }

    /// Why it is not worth while to wait any longer, if so.
    pub(super) fn given_up(&self) -> Option<Shut> {
        lock(&self.guard).given_up(Instant::now()).cloned()
    }

    /// Whether updates wait to begin. Without any, the guard is shown nothing.
    pub(super) fn ask(&self, has_waiting: bool) {
        self.is_asked_for.store(has_waiting, Ordering::Relaxed);
    }

    /// Whether the guard has to be shown all tasks.
    pub(super) fn counts_tasks(&self) -> bool {
        self.counts_tasks && self.is_asked_for.load(Ordering::Relaxed)
    }

    /// Returns after the next look.
    pub(super) async fn looked(&self) {
        self.looked.notified().await;
    }

    /// Counts requests to the engine.
    pub(super) fn spend(&self, requests: u32) {
        self.budget.spend(requests);
    }

    /// Until when the requests so far have used up the time.
    pub(super) fn spent(&self) -> Instant {
        self.budget.spent()
    }

    /// The nodes, read at most so long ago. The guard is shown them with `all_tasks`, where these are counted, or that nothing
    /// has come within [`SILENCE`]: the caller waits on.
    pub(super) async fn nodes<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        age: Duration,
        all_tasks: Option<&[Task]>,
    ) -> Result<Arc<Nodes>, SwarmError> {
        let recent = lock(&self.latest).clone().filter(|read| read.began.elapsed() < age);
        let mut reading = std::pin::pin!(async {
            match recent {
                Some(read) => Ok(read),
                None => self.read(context).await,
            }
        });
        let in_time = timeout(SILENCE, &mut reading).await;
        if all_tasks.is_some() || !self.counts_tasks {
            self.show(context, &in_time, all_tasks.unwrap_or_default());
        }
        let read = match in_time {
            Ok(read) => read,
            Err(_) => reading.await,
        };
        Ok(read?.nodes)
    }

    /// Looks by itself for as long as it is polled, where the look-out has not looked in time.
    pub(super) async fn keep<S: Swarm, R>(&self, context: &Context<S, R>) {
        loop {
            sleep(LATE / 10).await;
            let is_late = lock(&self.asked).elapsed() >= LATE;
            if is_late && self.is_asked_for.load(Ordering::Relaxed) {
                self.look(context).await;
                context.beat();
            }
        }
    }

    async fn look<S: Swarm, R>(&self, context: &Context<S, R>) {
        let mut tasks = Vec::new();
        let seen = timeout(SILENCE, async {
            let read = self.read(context).await?;
            if self.counts_tasks {
                self.spend(1);
                tasks = context.swarm.tasks(&[]).await?;
            }
            Ok(read)
        });
        let seen = seen.await;
        self.show(context, &seen, &tasks);
    }

    async fn read<S: Swarm, R>(&self, context: &Context<S, R>) -> Result<Read, SwarmError> {
        let began = Instant::now();
        *lock(&self.asked) = began + SILENCE;
        self.spend(1);
        let answer = context.swarm.nodes().await;
        *lock(&self.asked) = Instant::now();
        let took = Some(began.elapsed());
        let read = Read { began, took: None, nodes: Arc::new(answer?.into_iter().collect()) };
        *lock(&self.latest) = Some(read.clone());
        Ok(Read { took, ..read })
    }

    /// Gives the guard a look while updates wait, and emits the guard's news.
    fn show<S, R>(
        &self,
        context: &Context<S, R>,
        seen: &Result<Result<Read, SwarmError>, Elapsed>,
        tasks: &[Task],
    ) {
        if !self.is_asked_for.load(Ordering::Relaxed) {
            return;
        }
        let sight = match seen {
            Ok(Ok(Read { took, nodes, .. })) => {
                context.engine_role.note_manager();
                let busiest = self.counts_tasks.then(|| {
                    let placed = tasks.iter().map(|task| (task.service_id.clone(), task.image.clone()));
                    *lock(&self.placed) = placed.collect();
                    busiest(tasks, nodes)
                });
                ClusterSight::Answer { nodes: Nodes::clone(nodes), took: *took, busiest }
            }
            Ok(Err(error)) => {
                context.engine_role.note_error(error);
                ClusterSight::Silence { words: crate::model::cause::words(&error.to_string()) }
            }
            Err(_) => ClusterSight::Silence { words: format!("for {} s", SILENCE.as_secs()) },
        };
        let news = lock(&self.guard).look(&sight, Instant::now());
        for news in news {
            context.events.emit(&event(news));
        }
        self.looked.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens with every other update is routine.
fn event(news: GuardNews) -> Event {
    match news {
        GuardNews::Paused { why, is_routine } => {
            Event::Paused { reason: why.name(), why: why.to_string(), is_routine }
        }
        GuardNews::Resumed { was, after, is_routine } => {
            Event::Resumed { was: was.to_string(), after, is_routine }
        }
    }
}
