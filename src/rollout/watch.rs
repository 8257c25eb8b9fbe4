//! One look for all: a snapshot of the services that are being updated, taken for every worker at once.
//!
//! The number of requests does not grow with the number of workers. Events only say that a look may pay;
//! what counts is the snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::listings::Listings;
use super::machine::Seen;
use super::ordering::Surroundings;
use crate::back_off::BackOff;
use crate::context::Context;
use crate::swarm::tasks::tasks_of_any;
use crate::swarm::{Listing, Node, Nodes, Service, Swarm, SwarmError, Task};

/// Shortest time from one snapshot to the next.
const FLOOR: Duration = Duration::from_millis(500);

/// Longest time from one snapshot to the next: tasks change without an event.
const CEILING: Duration = Duration::from_secs(2);

/// How often services are looked at that were called updated, where they are many. Each look costs the engine their list.
const KEPT: Duration = Duration::from_secs(5);

/// So many of them are part of every look.
const FEW: usize = 100;

/// How old the list of nodes may be. A node that is down may be back soon after it was missed, and what its tasks
/// then say of their end is not the image's fault, so that it was down must not be overlooked.
const NODES_AGE: Duration = Duration::from_secs(1);

/// First and longest wait after the engine did not answer.
const BACK_OFF: BackOff = BackOff::new(Duration::from_secs(1), Duration::from_secs(15));

/// What the swarm showed at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    began: Instant,
    /// Whether it shows the services that were called updated, too.
    is_whole: bool,
    services: HashMap<String, Service>,
    tasks: HashMap<String, Vec<Task>>,
    nodes: Arc<Nodes>,
}

impl Snapshot {
    /// When it was begun.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// What it shows of one service.
    pub(super) fn of(&self, id: &str) -> Seen<'_> {
        Seen {
            service: self.services.get(id),
            tasks: self.tasks.get(id).map_or(&[], Vec::as_slice),
            nodes: &self.nodes,
        }
    }
}

/// The shared look-out.
#[derive(Debug)]
pub(super) struct LookOut {
    /// Watched services, each with the number of its watchers.
    watched: Mutex<BTreeMap<String, usize>>,
    kept: Mutex<Kept>,
    has_work: Notify,
    latest: watch::Sender<Option<Arc<Snapshot>>>,
    listings: Listings,
    /// The nodes, as they were asked for before anything was watched.
    nodes: tokio::sync::Mutex<Option<(Instant, Arc<Nodes>)>>,
    /// What updates know of the cluster when they choose their order.
    pub(super) surroundings: Surroundings,
}

/// The services that were called updated.
#[derive(Debug, Default)]
struct Kept {
    ids: BTreeSet<String>,
    /// When they were last looked at.
    looked: Option<Instant>,
    /// Whether only a look at them is waited for.
    is_urgent: bool,
}

/// One worker's place at the look-out. Given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    look_out: Arc<LookOut>,
    id: String,
    latest: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl LookOut {
    /// A look-out that watches nothing yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            watched: Mutex::default(),
            kept: Mutex::default(),
            has_work: Notify::new(),
            latest: watch::Sender::new(None),
            listings: Listings::default(),
            nodes: tokio::sync::Mutex::default(),
            surroundings: Surroundings::default(),
        })
    }

    /// The tasks of a service that is not watched yet.
    pub(super) async fn tasks_before<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        id: &str,
    ) -> Result<Vec<Task>, SwarmError> {
        self.listings.tasks(context, id).await
    }

    /// The nodes, as the latest snapshot shows them if it is a recent one. Workers that begin together share one request.
    pub(super) async fn nodes_before<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
    ) -> Result<Arc<Nodes>, SwarmError> {
        let latest = self.latest.borrow().clone();
        if let Some(snapshot) = latest.filter(|snapshot| snapshot.began.elapsed() <= CEILING * 2) {
            return Ok(snapshot.nodes.clone());
        }
        let mut asked = self.nodes.lock().await;
        if let Some((taken, nodes)) = &*asked
            && taken.elapsed() <= CEILING
        {
            return Ok(nodes.clone());
        }
        let taken = Instant::now();
        let nodes: Arc<Nodes> = Arc::new(context.swarm.nodes().await?.into_iter().collect());
        *asked = Some((taken, nodes.clone()));
        Ok(nodes)
    }

    /// Starts to watch a service.
    pub(super) fn place(self: &Arc<Self>, id: &str) -> Place {
        *self.lock().entry(id.to_owned()).or_default() += 1;
        self.has_work.notify_one();
        Place { look_out: self.clone(), id: id.to_owned(), latest: self.latest.subscribe() }
    }

    /// Says which services were called updated, and whether only a look at them is waited for.
    pub(super) fn keep_an_eye_on(&self, ids: BTreeSet<String>, is_urgent: bool) {
        let mut kept = self.kept();
        (kept.ids, kept.is_urgent) = (ids, is_urgent);
        drop(kept);
        self.has_work.notify_one();
    }

    /// Every snapshot to come.
    pub(super) fn snapshots(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.latest.subscribe()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Takes snapshots for as long as it is polled, while something is watched.
    pub(super) async fn keep<S: Swarm, R>(&self, context: &Context<S, R>) {
        let mut changes = std::pin::pin!(wake_ups(&*context.swarm));
        let mut nodes: (Option<Instant>, Arc<Nodes>) = (None, Arc::default());
        let mut last = Instant::now();
        let mut back_off = BACK_OFF;
        let mut is_demotion_told = false;
        loop {
            if self.ids().is_empty() {
                // Nothing is under way: what was called updated can wait, unless it is all that is waited for.
                let due = self.kept().next_look(last);
                if let Some(due) = due {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.has_work.notified() => continue,
                    }
                } else {
                    self.has_work.notified().await;
                    continue;
                }
            } else {
                tokio::select! {
                    () = sleep_until(last + CEILING) => {}
                    _ = changes.next() => sleep_until(last + FLOOR).await,
                }
            }
            last = Instant::now();
            match self.look(context, &mut nodes).await {
                Ok(snapshot) => {
                    back_off.answered();
                    context.standing.is_manager();
                    is_demotion_told = false;
                    context.beat();
                    self.latest.send_replace(Some(Arc::new(snapshot)));
                }
                Err(error) => {
                    if matches!(error, SwarmError::NotManager(_)) {
                        if !std::mem::replace(&mut is_demotion_told, true) {
                            let what = "the engine is no manager at the moment; the updates are watched on when it is one again";
                            context.events.trouble(what, "", &error);
                        }
                    } else if back_off.is_fresh() {
                        let what = "the engine does not answer; the updates are watched on when it does";
                        context.events.trouble(what, "", &error);
                    }
                    context.standing.heard(&error);
                    context.beat();
                    sleep(back_off.wait()).await;
                }
            }
        }
    }

    async fn look<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        nodes: &mut (Option<Instant>, Arc<Nodes>),
    ) -> Result<Snapshot, SwarmError> {
        let began = Instant::now();
        let mut ids = self.ids();
        let is_whole = self.kept().is_due(began);
        if is_whole {
            let kept = self.kept().ids.clone();
            ids.extend(kept);
            ids.sort();
            ids.dedup();
        }
        let services = context.swarm.services(Listing::Ids(&ids)).await?;
        // A service that is gone would make the engine refuse to list the tasks of all. It may go at any moment.
        let present: Vec<String> = services.iter().map(|service| service.id.clone()).collect();
        let listed =
            if present.is_empty() { Vec::new() } else { tasks_of_any(&*context.swarm, &present).await? };
        if nodes.0.is_none_or(|taken| began.duration_since(taken) >= NODES_AGE) {
            let listed: Vec<Node> = context.swarm.nodes().await?;
            *nodes = (Some(began), Arc::new(listed.into_iter().collect()));
        }
        let mut tasks: HashMap<String, Vec<Task>> = HashMap::new();
        for task in listed {
            tasks.entry(task.service_id.clone()).or_default().push(task);
        }
        if is_whole {
            self.kept().looked = Some(began);
        }
        Ok(Snapshot {
            began,
            is_whole,
            services: services.into_iter().map(|service| (service.id.clone(), service)).collect(),
            tasks,
            nodes: nodes.1.clone(),
        })
    }
}

impl Kept {
    fn is_due(&self, now: Instant) -> bool {
        let is_due = || self.looked.is_none_or(|looked| now.duration_since(looked) >= KEPT);
        !self.ids.is_empty() && (self.is_urgent || self.ids.len() <= FEW || is_due())
    }

    /// When the next look at them is due, after the last look at anything.
    fn next_look(&self, last: Instant) -> Option<Instant> {
        let wait = if self.is_urgent { FLOOR } else { KEPT };
        (!self.ids.is_empty()).then_some(last + wait)
    }
}

/// The next snapshot that shows the services that were called updated.
pub(super) async fn next_whole(snapshots: &mut watch::Receiver<Option<Arc<Snapshot>>>) -> Arc<Snapshot> {
    loop {
        if snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let latest = snapshots.borrow_and_update().clone();
        if let Some(snapshot) = latest
            && snapshot.is_whole
        {
            return snapshot;
        }
    }
}

/// The swarm's changes, listened to again whenever the connection ends.
fn wake_ups<S: Swarm>(swarm: &S) -> impl futures_util::Stream<Item = ()> {
    futures_util::stream::repeat_with(|| swarm.changes())
        .then(|changes| async move {
            // Not all at once while the engine is away.
            sleep(FLOOR).await;
            changes
        })
        .flatten()
        .filter_map(|change| async move { change.ok() })
}

impl Place {
    /// A snapshot that was begun after `since` and that this place has not been shown yet.
    pub(super) async fn next(&mut self, since: Instant) -> Arc<Snapshot> {
        loop {
            if self.latest.changed().await.is_err() {
                // The look-out is gone only together with the rollout.
                std::future::pending::<()>().await;
            }
            let latest = self.latest.borrow_and_update().clone();
            if let Some(snapshot) = latest
                && snapshot.began > since
            {
                return snapshot;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut watched = self.look_out.lock();
        if let Some(watchers) = watched.get_mut(&self.id) {
            *watchers -= 1;
            if *watchers == 0 {
                watched.remove(&self.id);
            }
        }
    }
}
