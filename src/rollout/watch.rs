//! One look for all: a snapshot of the services that are being updated, or are about to be, taken for every worker at once.
//!
//! The number of requests does not grow with the number of workers. Events only say that a look may pay;
//! what counts is the snapshot. The nodes that a look reads are those that the guard of the [`Cluster`] is shown.
//!
//! The ledger is not read here: its lease must be kept also while a list of services hangs, and outside rollouts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::budget::Budget;
use super::cluster::Cluster;
use super::machine::ServiceView;
use super::ordering::Surroundings;
use crate::back_off::BackOff;
use crate::context::Context;
use crate::swarm::tasks::{by_service, tasks_of_any};
use crate::swarm::{Listing, Nodes, Service, Swarm, SwarmError, Task};

/// Shortest time from one snapshot to the next, where only an event asks for it.
const FLOOR: Duration = Duration::from_millis(500);

/// Longest time from one snapshot to the next: tasks change without an event.
const CEILING: Duration = Duration::from_secs(2);

/// How long an update that is about to be sent waits for others: updates begin together, when those before them have ended.
const GATHER: Duration = Duration::from_millis(20);

/// How far requests may be ahead of the time that they use up.
const BURST: Duration = Duration::from_millis(1_500);

/// How often services are looked at that were called updated, where they are many. Each look costs the engine their list.
const UPDATED_INTERVAL: Duration = Duration::from_secs(5);

/// So many services are part of every look.
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
    pub(super) fn of(&self, id: &str) -> ServiceView<'_> {
        ServiceView {
            service: self.services.get(id),
            tasks: self.tasks.get(id).map_or(&[], Vec::as_slice),
            nodes: &self.nodes,
        }
    }
}

/// The snapshot that a look took, or why it took none.
type LookResult = Result<Arc<Snapshot>, SwarmError>;

/// The shared look-out.
#[derive(Debug)]
pub(super) struct LookOut {
    look_request: Mutex<LookRequest>,
    has_work: Notify,
    latest: watch::Sender<Option<LookResult>>,
    pub(super) cluster: Arc<Cluster>,
    /// What updates know of the cluster when they choose their order.
    pub(super) surroundings: Surroundings,
}

/// The services that the next look is to show, and when it is due.
#[derive(Debug, Default)]
struct LookRequest {
    /// Watched services, each with the number of its watchers.
    watched: BTreeMap<String, usize>,
    updated: UpdatedServices,
    /// Services whose updates come next.
    next: Vec<String>,
    /// When a look is due that an event, or an update that is about to be sent, asks for.
    asked_for: Option<Instant>,
}

/// The services that were called updated and are still looked at.
#[derive(Debug, Default)]
struct UpdatedServices {
    ids: BTreeSet<String>,
    /// When the services were last looked at.
    looked: Option<Instant>,
    /// Whether only a look at them is waited for.
    is_urgent: bool,
}

/// One worker's place at the look-out. Given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    look_out: Arc<LookOut>,
    id: String,
    latest: watch::Receiver<Option<LookResult>>,
}

impl LookOut {
    /// A look-out that watches nothing yet.
    pub(super) fn new<S, R>(context: &Context<S, R>, budget: Arc<Budget>) -> Arc<Self> {
        let cluster = Arc::new(Cluster::new(&context.config, budget));
        Arc::new(Self {
            look_request: Mutex::default(),
            has_work: Notify::new(),
            latest: watch::Sender::new(None),
            surroundings: Surroundings::new(cluster.clone()),
            cluster,
        })
    }

    /// Starts to watch a service.
    pub(super) fn place(self: &Arc<Self>, id: &str) -> Place {
        *self.look_request().watched.entry(id.to_owned()).or_default() += 1;
        self.has_work.notify_one();
        Place { look_out: self.clone(), id: id.to_owned(), latest: self.latest.subscribe() }
    }

    /// Says which services were called updated, and whether only a look at them is waited for.
    pub(super) fn keep_an_eye_on(&self, ids: BTreeSet<String>, is_urgent: bool) {
        let mut look_request = self.look_request();
        (look_request.updated.ids, look_request.updated.is_urgent) = (ids, is_urgent);
        drop(look_request);
        self.has_work.notify_one();
    }

    /// Says which services come next: where a look shows them as well, their updates need not wait for another one.
    pub(super) fn expect(&self, ids: Vec<String>) {
        self.look_request().next = ids;
    }

    /// What every look to come has come to.
    pub(super) fn snapshots(&self) -> watch::Receiver<Option<LookResult>> {
        self.latest.subscribe()
    }

    fn look_request(&self) -> MutexGuard<'_, LookRequest> {
        self.look_request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for as long as it is polled: for the workers while something is watched, and for the guard while updates wait.
    pub(super) async fn keep<S: Swarm, R>(&self, context: &Context<S, R>) {
        tokio::join!(self.take_snapshots(context), self.cluster.keep(context));
    }

    async fn take_snapshots<S: Swarm, R>(&self, context: &Context<S, R>) {
        let mut changes = std::pin::pin!(wake_ups(&*context.swarm));
        let mut last = Instant::now();
        let mut back_off = BACK_OFF;
        let mut is_demotion_told = false;
        loop {
            let Some(due) = self.due(last) else {
                self.has_work.notified().await;
                continue;
            };
            let is_watching = !self.look_request().watched.is_empty();
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.has_work.notified() => continue,
                _ = changes.next(), if is_watching => {
                    self.look_request().ask_for(last + FLOOR);
                    continue;
                }
            }
            last = Instant::now();
            match self.look(context, last).await {
                Ok(snapshot) => {
                    back_off.answered();
                    context.engine_role.note_manager();
                    is_demotion_told = false;
                    context.beat();
                    self.latest.send_replace(Some(Ok(Arc::new(snapshot))));
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
                    context.engine_role.note_error(&error);
                    context.beat();
                    self.latest.send_replace(Some(Err(error)));
                    sleep(back_off.wait()).await;
                }
            }
        }
    }

    /// When the next look is due. Looks wait for the time that requests use up, though no longer than the longest time
    /// between two.
    fn due(&self, last: Instant) -> Option<Instant> {
        let look_request = self.look_request();
        let rhythm = if self.cluster.counts_tasks() {
            // So long may an update wait that could begin.
            Some(last + FLOOR)
        } else if look_request.watched.is_empty() {
            // Nothing is under way: what was called updated can wait, unless it is all that is waited for.
            look_request.updated.next_look(last)
        } else {
            Some(last + CEILING)
        };
        let due = rhythm.into_iter().chain(look_request.asked_for).min()?;
        let free = self.cluster.spent().checked_sub(BURST).unwrap_or(due);
        Some(due.max(free.min(last + CEILING)))
    }

    async fn look<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        began: Instant,
    ) -> Result<Snapshot, SwarmError> {
        let (ids, is_whole) = self.look_request().begin(began);
        let counts = self.cluster.counts_tasks();
        self.cluster.spend(2);
        let services = context.swarm.services(Listing::Ids(&ids)).await?;
        // A service that is gone would make the engine refuse to list the tasks of all. It may go at any moment.
        let present: Vec<String> = services.iter().map(|service| service.id.clone()).collect();
        let tasks = match present[..] {
            _ if counts => context.swarm.tasks(&[]).await?,
            [] => Vec::new(),
            _ => tasks_of_any(&*context.swarm, &present).await?,
        };
        let nodes = self.cluster.nodes(context, NODES_AGE, counts.then_some(&tasks[..])).await?;
        if is_whole {
            self.look_request().updated.looked = Some(began);
        }
        Ok(Snapshot {
            began,
            is_whole,
            services: services.into_iter().map(|service| (service.id.clone(), service)).collect(),
            tasks: by_service(tasks),
            nodes,
        })
    }
}

impl LookRequest {
    /// Asks for a look at this time, if none is due before.
    fn ask_for(&mut self, due: Instant) {
        self.asked_for = Some(self.asked_for.map_or(due, |earlier| earlier.min(due)));
    }

    /// The services that a look is to show which begins now, and whether those are part of them that were called updated.
    fn begin(&mut self, now: Instant) -> (Vec<String>, bool) {
        // What is asked for from now on, this look may not show.
        self.asked_for = self.asked_for.filter(|due| *due > now);
        let is_whole = self.updated.is_due(now);
        let mut ids: BTreeSet<&String> = self.watched.keys().collect();
        ids.extend(self.updated.ids.iter().filter(|_| is_whole));
        let next = self.next.iter().take(FEW.saturating_sub(ids.len()));
        ids.extend(next.filter(|_| !self.watched.is_empty()));
        (ids.into_iter().cloned().collect(), is_whole)
    }
}

impl UpdatedServices {
    fn is_due(&self, now: Instant) -> bool {
        let is_due = || self.looked.is_none_or(|looked| now.duration_since(looked) >= UPDATED_INTERVAL);
        !self.ids.is_empty() && (self.is_urgent || self.ids.len() <= FEW || is_due())
    }

    /// When the next look at them is due, after the last look at anything.
    fn next_look(&self, last: Instant) -> Option<Instant> {
        let wait = if self.is_urgent { FLOOR } else { UPDATED_INTERVAL };
        (!self.ids.is_empty()).then_some(last + wait)
    }
}

/// What the next look comes to.
async fn next(snapshots: &mut watch::Receiver<Option<LookResult>>) -> LookResult {
    loop {
        if snapshots.changed().await.is_err() {
            // The look-out is gone only together with the rollout.
            std::future::pending::<()>().await;
        }
        if let Some(answer) = &*snapshots.borrow_and_update() {
            return answer.clone();
        }
    }
}

/// The next snapshot that shows the services that were called updated.
pub(super) async fn next_whole(snapshots: &mut watch::Receiver<Option<LookResult>>) -> Arc<Snapshot> {
    loop {
        if let Ok(snapshot) = next(snapshots).await
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
            if let Ok(snapshot) = next(&mut self.latest).await
                && snapshot.began > since
            {
                return snapshot;
            }
        }
    }

    /// A snapshot of the service for its update, no older than this. Without one, a look begins soon, and all updates that
    /// begin meanwhile share it.
    pub(super) async fn soon(&mut self, age: Duration) -> LookResult {
        let since = Instant::now();
        if let Some(Ok(latest)) = &*self.look_out.latest.borrow()
            && since.duration_since(latest.began) < age
            && latest.services.contains_key(&self.id)
        {
            return Ok(latest.clone());
        }
        self.look_out.look_request().ask_for(since + GATHER);
        self.look_out.has_work.notify_one();
        loop {
            match next(&mut self.latest).await {
                // One that began at the same moment may have been asked for without this service.
                Ok(snapshot) if snapshot.began <= since => {}
                answer => return answer,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let watched = &mut self.look_out.look_request().watched;
        if let Some(watchers) = watched.get_mut(&self.id) {
            *watchers -= 1;
            if *watchers == 0 {
                watched.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_answers_what_was_asked_for_before_it_and_nothing_else() {
        let now = Instant::now();
        for (due, is_left) in [(now, false), (now + GATHER, true)] {
            let mut look_request = LookRequest::default();
            look_request.ask_for(due);
            look_request.begin(now);
            assert_eq!(look_request.asked_for.is_some(), is_left, "{due:?}");
        }
    }
}
