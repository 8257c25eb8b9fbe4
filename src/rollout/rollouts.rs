//! The rollouts of all runs that are under way. Each run hands in its updates and learns how they ended.
//!
//! Runs may overlap. They share the workers, the look-out and the guard, so that the bounds hold for all of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::budget::Budget;
use super::openings::Openings;
use super::rolled_out::RolledOut;
use crate::context::Context;
use crate::image::{Digest, ImageRef};
use crate::model::decision::{Decision, Planned};
use crate::model::finished::{NotBegun, NotBegunReason};
use crate::model::image_history::ImageHistory;
use crate::model::inspected::Inspected;
use crate::model::row::Row;
use crate::model::update::Update;

/// Shortest time from one look to the next while updates are under way, however often Gantry is woken. With what a change
/// of the trigger path waits for, an update begins within two seconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(1_500);

/// How often looks see the tasks of all services that were updated in the last hours, where looks are more frequent: they
/// may be thousands, and only tell of an image that fails late.
const RECENT_INTERVAL: Duration = Duration::from_secs(5);

/// How many requests to the engine a look with updates makes as a rule: it reads the ledger, lists the services and writes
/// what it has found.
const LOOK_REQUESTS: u32 = 3;

/// The rollouts of all runs that are under way.
pub struct Rollouts<S, R> {
    /// What looks and rollouts ask of the engine.
    pub(super) budget: Arc<Budget>,
    state: Mutex<RolloutsState<S, R>>,
    /// There are requests, or updates may begin again.
    news: Notify,
    /// When the gates that hold services open.
    pub openings: Openings,
    /// Nothing is under way any more.
    idle: Notify,
    /// A look would find something: a service that was under way can get a newer digest now.
    wake: Notify,
}

struct RolloutsState<S, R> {
    requests: Vec<RunRequest<S, R>>,
    /// The services whose updates have begun and not ended, by id, each with the image that it gets.
    under_way: BTreeMap<String, ImageRef>,
    /// The services whose updates ended since the latest look began: that look has listed them as they were before.
    ended: BTreeSet<String>,
    /// At which digest the tags of services under way stood at the latest look, by the service's id.
    newest: BTreeMap<String, Digest>,
    /// How many want that no update begins.
    pauses: usize,
    /// When the latest look began.
    looked: Option<Instant>,
    /// When a look last saw the tasks of all services that were updated in the last hours.
    looked_at_recent: Option<Instant>,
}

/// What a look need not ask the engine.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The services whose updates are under way, by id: their workers see what is unfinished.
    pub(crate) in_hand: BTreeSet<String>,
    /// Whether a look has just seen the tasks of services that have come to their end in the last hours.
    pub(crate) skips_recent: bool,
}

/// A request of a run to the rollouts.
pub(super) enum RunRequest<S, R> {
    /// To take out what waits and is outdated, by what the services are to get: ids with images.
    TakeOut(BTreeMap<String, Option<ImageRef>>),
    /// To roll out these updates.
    Join(Join<S, R>),
    /// To know the images that services may need beside those that they have.
    Needed(oneshot::Sender<BTreeSet<ImageRef>>),
}

/// Updates that a run hands in.
pub(super) struct Join<S, R> {
    pub(super) context: Arc<Context<S, R>>,
    pub(super) updates: Vec<Update>,
    /// Those whose service an earlier run has changed since the look began, or is at work on.
    pub(super) moved: Vec<Update>,
    pub(super) image_history: ImageHistory,
    pub(super) reply: oneshot::Sender<RolledOut>,
}

impl<S, R> Default for Rollouts<S, R> {
    fn default() -> Self {
        let state = RolloutsState {
            requests: Vec::new(),
            under_way: BTreeMap::new(),
            ended: BTreeSet::new(),
            newest: BTreeMap::new(),
            pauses: 0,
            looked: None,
            looked_at_recent: None,
        };
        let (news, idle, wake) = (Notify::new(), Notify::new(), Notify::new());
        let openings = Openings::default();
        Self { budget: Arc::default(), state: Mutex::new(state), news, openings, idle, wake }
    }
}

impl<S, R> fmt::Debug for Rollouts<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollouts").field("under_way", &self.state().under_way.keys()).finish_non_exhaustive()
    }
}

impl<S, R> Rollouts<S, R> {
    fn state(&self) -> MutexGuard<'_, RolloutsState<S, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the next look may begin: while updates are under way, looks keep a distance from one another.
    pub async fn look_may_begin(&self) {
        let due = {
            let state = self.state();
            state.looked.filter(|_| !state.under_way.is_empty()).map(|looked| looked + LOOK_INTERVAL)
        };
        if let Some(due) = due {
            sleep_until(due).await;
        }
    }

    /// What a look that begins now need not ask the engine.
    pub(crate) fn known(&self) -> Known {
        let (mut state, now) = (self.state(), Instant::now());
        let looked = state.looked_at_recent;
        let skips_recent = looked.is_some_and(|looked| now.duration_since(looked) < RECENT_INTERVAL);
        if !skips_recent {
            state.looked_at_recent = Some(now);
        }
        Known { in_hand: state.under_way.keys().cloned().collect(), skips_recent }
    }

    /// A look begins: from now on it counts which updates end.
    pub(crate) fn look_begins(&self) {
        self.budget.spend(LOOK_REQUESTS);
        let mut state = self.state();
        state.looked = Some(Instant::now());
        state.ended.clear();
        state.newest.clear();
    }

    /// Sets apart the services whose updates are under way, or have been since the look began. They are left to the runs
    /// that update them.
    pub(crate) fn set_apart(&self, inspected: Vec<Inspected>) -> (Vec<Inspected>, Vec<Row>) {
        let mut state = self.state();
        let mut apart = Vec::new();
        let mut rest = Vec::with_capacity(inspected.len());
        for inspected in inspected {
            let Inspected { candidate, answer, .. } = &inspected;
            let to = state.under_way.get(&candidate.id).cloned();
            if to.is_none() && !state.ended.contains(&candidate.id) {
                rest.push(inspected);
                continue;
            }
            if let Some(Ok(own)) = answer {
                let newest = inspected.newest_tag().map_or(own, |newest| &newest.resolved);
                state.newest.insert(candidate.id.clone(), newest.digest.clone());
            }
            if let Some(from) = candidate.image().cloned() {
                let to = to.unwrap_or_else(|| from.clone());
                apart.push(Row::not_begun(
                    candidate.name.clone(),
                    NotBegun { from, to, why: NotBegunReason::UnderWay },
                ));
            }
        }
        (rest, apart)
    }

    /// Takes out what waits and is outdated by what a look has decided. From now on, no service gets a digest that the look
    /// has seen replaced.
    pub(crate) fn take_out(&self, inspected: &[Inspected], planned: &[Planned]) {
        let seen = inspected.iter().zip(planned);
        let wanted = seen.filter_map(|(Inspected { candidate, .. }, Planned { decision, .. })| {
            let wanted = match decision {
                Decision::Update(update) | Decision::Later(update, _) => Some(update.to.clone()),
                // Nothing new is known of it.
                Decision::Error(_) => return None,
                Decision::UpToDate | Decision::NeedsAttention { .. } | Decision::LeftAlone(_) => None,
            };
            Some((candidate.id.clone(), wanted))
        });
        self.request(RunRequest::TakeOut(wanted.collect()));
    }

    /// Hands in the updates of a run, to be rolled out beside those of the others, each at its image's
    /// [`pace`](super::pace). What services show of the images from [earlier](crate::model::image_history) runs counts.
    ///
    /// The answer comes when all of them have ended, or as soon as Gantry is stopped; none where there are no updates. Updates
    /// of stopped rollouts do not begin, nor updates that the [`guard`](super::guard) held up for too long.
    pub(crate) fn hand_in(
        &self,
        context: &Arc<Context<S, R>>,
        updates: Vec<Update>,
        image_history: ImageHistory,
    ) -> Option<oneshot::Receiver<RolledOut>> {
        if updates.is_empty() {
            return None;
        }
        let (moved, updates) = self.part(updates);
        let (reply, answer) = oneshot::channel();
        self.request(RunRequest::Join(Join {
            context: context.clone(),
            updates,
            moved,
            image_history,
            reply,
        }));
        Some(answer)
    }

    /// Parts updates into those of services that an earlier run has in hand, or had since the look began, and the others.
    pub(super) fn part(&self, updates: Vec<Update>) -> (Vec<Update>, Vec<Update>) {
        let state = self.state();
        let has_moved = |id: &String| state.under_way.contains_key(id) || state.ended.contains(id);
        updates.into_iter().partition(|update| has_moved(&update.id))
    }

    /// The images that services are about to get, or may be rolled back to. To be awaited while [`drive`](Self::drive) is
    /// polled.
    pub(crate) async fn needed(&self) -> BTreeSet<ImageRef> {
        let (reply, answer) = oneshot::channel();
        self.request(RunRequest::Needed(reply));
        // Where nothing is under way, nothing more is needed.
        answer.await.unwrap_or_default()
    }

    fn request(&self, request: RunRequest<S, R>) {
        self.state().requests.push(request);
        self.news.notify_one();
    }

    /// Lets no update begin until the returned value is dropped, and waits, no longer than `limit`, for those under way.
    pub(crate) async fn pause(&self, limit: Duration) -> PauseHandle<'_, S, R> {
        self.state().pauses += 1;
        let pause = PauseHandle(self);
        let deadline = Instant::now() + limit;
        while !self.state().under_way.is_empty() && timeout_at(deadline, self.idle.notified()).await.is_ok() {
        }
        pause
    }

    /// Returns when a look would find something: a service that was under way can get a newer digest now.
    pub async fn look_pays(&self) {
        self.wake.notified().await;
    }

    /// Puts requests before those that have come meanwhile.
    pub(super) fn put_back(&self, requests: Vec<RunRequest<S, R>>) {
        self.state().requests.splice(0..0, requests);
    }

    pub(super) fn take_requests(&self) -> Vec<RunRequest<S, R>> {
        std::mem::take(&mut self.state().requests)
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.state().requests.is_empty()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state().pauses > 0
    }

    /// Returns when there may be requests.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// An update begins.
    pub(super) fn begins(&self, id: &str, to: &ImageRef) {
        self.state().under_way.insert(id.to_owned(), to.clone());
    }

    /// An update has ended.
    pub(super) fn ended(&self, id: &str) {
        let mut state = self.state();
        let to = state.under_way.remove(id);
        state.ended.insert(id.to_owned());
        let newest = state.newest.remove(id);
        if let (Some(to), Some(newest)) = (to, newest)
            && to.digest() != Some(&newest)
        {
            self.wake.notify_one();
        }
        if state.under_way.is_empty() {
            self.idle.notify_waiters();
        }
    }
}

/// A pause: no update begins until this is dropped.
pub(crate) struct PauseHandle<'a, S, R>(&'a Rollouts<S, R>);

impl<S, R> Drop for PauseHandle<'_, S, R> {
    fn drop(&mut self) {
        self.0.state().pauses -= 1;
        self.0.news.notify_one();
    }
}

#[cfg(test)]
impl Rollouts<(), ()> {
    /// The same services under way and ended, without requests.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        {
            let (mut new, old) = (copy.state(), self.state());
            new.under_way.clone_from(&old.under_way);
            new.ended.clone_from(&old.ended);
            new.newest.clone_from(&old.newest);
        }
        copy
    }

    /// The services under way with their images, and those whose updates have ended since the latest look began.
    pub(super) fn all_in_hand(&self) -> (BTreeMap<String, ImageRef>, BTreeSet<String>) {
        let state = self.state();
        (state.under_way.clone(), state.ended.clone())
    }
}
