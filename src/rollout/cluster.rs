//! Looks at the cluster for the [`Guard`], while updates wait for their turn, and says what it says.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::guard::{Guard, News, Shut, Sight, busiest};
use crate::context::{Context, PATIENCE};
use crate::model::event::Event;
use crate::swarm::{Nodes, Swarm, SwarmError, Task};

/// From one look to the next: the swarm itself takes seconds to miss a node.
const INTERVAL: Duration = Duration::from_secs(2);

/// The same where starting tasks are counted: so long may an update wait that could begin.
const COUNTING_INTERVAL: Duration = Duration::from_millis(500);

/// An engine that is silent for so long is no engine to begin an update with.
const SILENCE: Duration = Duration::from_secs(5);

/// The shortest time that a shut guard is waited for, whatever the interval: a server takes a while to start again.
const LEAST_PATIENCE: Duration = Duration::from_secs(300);

/// The cluster, as the guard sees it.
#[derive(Debug)]
pub(super) struct Cluster {
    guard: Mutex<Guard>,
    counts_tasks: bool,
    /// What tasks were made of at the last look, where they are counted: pairs of service and image.
    placed: Mutex<HashSet<(String, String)>>,
    is_asked_for: AtomicBool,
    has_lost_node: AtomicBool,
    looked: Notify,
}

impl Cluster {
    /// Takes the first look, with which later ones are compared.
    pub(super) async fn first_look<S: Swarm, R>(context: &Context<S, R>) -> Self {
        let limit = context.config.updates.max_starting_per_node;
        let patience = context.config.interval.unwrap_or(PATIENCE).clamp(LEAST_PATIENCE, PATIENCE);
        let cluster = Self {
            guard: Mutex::new(Guard::new(limit, patience)),
            counts_tasks: limit.is_some(),
            placed: Mutex::default(),
            is_asked_for: AtomicBool::new(true),
            has_lost_node: AtomicBool::new(false),
            looked: Notify::new(),
        };
        tokio::select! {
            () = cluster.look(context) => {}
            () = context.stop.cancelled() => {}
        }
        cluster
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an update may begin beside these, each a service and the image that it is sent.
    pub(super) fn may_begin<'a>(&self, under_way: impl Iterator<Item = (&'a str, String)>) -> bool {
        if !self.counts_tasks {
            return self.guard().may_begin(0);
        }
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        let unseen = under_way.filter(|(id, image)| !placed.contains(&((*id).to_owned(), image.clone())));
        self.guard().may_begin(unseen.count())
    }

    /// Whether a node was down at the last look.
    pub(super) fn has_lost_node(&self) -> bool {
        self.has_lost_node.load(Ordering::Relaxed)
    }

    /// Why it is not worth while to wait any longer, if so.
    pub(super) fn given_up(&self) -> Option<Shut> {
        self.guard().given_up(Instant::now()).cloned()
    }

    /// Whether updates wait for their turn. Without any, the cluster need not be looked at.
    pub(super) fn ask(&self, has_waiting: bool) {
        self.is_asked_for.store(has_waiting, Ordering::Relaxed);
    }

    /// Returns after the next look.
    pub(super) async fn looked(&self) {
        self.looked.notified().await;
    }

    /// Looks for as long as it is polled.
    pub(super) async fn keep<S: Swarm, R>(&self, context: &Context<S, R>) {
        loop {
            sleep(if self.counts_tasks { COUNTING_INTERVAL } else { INTERVAL }).await;
            if self.is_asked_for.load(Ordering::Relaxed) {
                self.look(context).await;
                context.beat();
                self.looked.notify_one();
            }
        }
    }

    async fn look<S: Swarm, R>(&self, context: &Context<S, R>) {
        let seen = timeout(SILENCE, async {
            let begun = Instant::now();
            let nodes: Nodes = context.swarm.nodes().await?.into_iter().collect();
            let took = begun.elapsed();
            let tasks = if self.counts_tasks { context.swarm.tasks(&[]).await? } else { Vec::new() };
            Ok::<_, SwarmError>((nodes, took, tasks))
        });
        let sight = match seen.await {
            Ok(Ok((nodes, took, tasks))) => {
                context.standing.is_manager();
                let busiest = self.counts_tasks.then(|| busiest(&tasks, &nodes));
                self.take_tasks(&tasks);
                self.has_lost_node.store(nodes.lost().next().is_some(), Ordering::Relaxed);
                Sight::Answer { nodes, took, busiest }
            }
            Ok(Err(error)) => {
                context.standing.heard(&error);
                Sight::Silence { words: crate::model::cause::words(&error.to_string()) }
            }
            Err(_) => Sight::Silence { words: format!("for {} s", SILENCE.as_secs()) },
        };
        let news = self.guard().look(&sight, Instant::now());
        for news in news {
            context.events.emit(&event(news));
        }
    }

    fn take_tasks(&self, tasks: &[Task]) {
        if self.counts_tasks {
            let placed = tasks.iter().map(|task| (task.service_id.clone(), task.image.clone())).collect();
            *self.placed.lock().unwrap_or_else(PoisonError::into_inner) = placed;
        }
    }
}

/// What happens with every other update is routine.
fn event(news: News) -> Event {
    match news {
        News::Paused { why, is_routine } => Event::Paused { why: why.to_string(), is_routine },
        News::Resumed { was, after, is_routine } => {
            Event::Resumed { was: was.to_string(), after, is_routine }
        }
    }
}
