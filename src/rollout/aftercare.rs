//! Services that were called updated, for as long as their image's rollout lasts: an image may die after its monitor period.
//! Pure.
//!
//! The shared look-out lists them in its own requests, a few seconds apart. A task that fails by the image's fault turns the
//! success into a failure. Where one service has failed late, all others of its image are watched until they are older.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::machine::{SentUpdate, ServiceView};
use super::send::Sent;
use crate::model::cause::Cause;
use crate::model::down_nodes::DownNodes;
use crate::model::outcome::Outcome;
use crate::model::rank::Rank;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::update::Update;
use crate::swarm::{Facts, Mode, Nodes, RestartCondition, Task};

/// How much longer than the latest late failure took the other services of its image are watched.
const MARGIN: Duration = Duration::from_secs(10);

/// Longest time after it was sent that a service is watched for a late failure.
const LONGEST: Duration = Duration::from_secs(600);

/// How long the last look of all may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that was called updated.
#[derive(Debug)]
pub(super) struct Updated {
    pub(super) update: Update,
    pub(super) sent: Sent,
    pub(super) sent_update: SentUpdate,
    /// Tasks that had come to an end before the update was called good.
    ended_before: BTreeSet<String>,
    /// How tasks of the update had failed by then: their share was allowed.
    allowed: Vec<Cause>,
    /// Since when it is kept.
    since: Instant,
    /// Since when a task is seen to have failed, and how long its end is doubted.
    doubted: Option<(Instant, Duration)>,
}

/// A change to a service after it was called updated.
#[derive(Debug)]
pub(super) enum LateChange {
    /// A task of its new image has failed.
    Failed(Cause),
    /// The swarm has rolled it back.
    RolledBack,
    /// A person or another program has taken it back to the digest that it had.
    TakenBack,
}

/// The services that were called updated, by the number of the update.
#[derive(Debug, Default)]
pub(super) struct Aftercare {
    updated: BTreeMap<usize, Updated>,
    down_nodes: DownNodes,
    /// For each image, the longest time from an update to its late failure.
    late: BTreeMap<String, Duration>,
    /// When the latest look at all of them began.
    looked: Option<Instant>,
    /// For each image, when the latest update to it came to its end.
    changed: BTreeMap<String, Instant>,
}

impl Updated {
    /// Keeps what it takes to watch a service on, and to take its update back. `None`: its tasks would prove nothing.
    pub(super) fn of(
        update: &Update,
        sent: &Sent,
        sent_update: &SentUpdate,
        seen: &ServiceView<'_>,
    ) -> Option<Self> {
        let facts = sent.spec.facts();
        let may_stay_ended = facts.restart_condition == RestartCondition::None || facts.mode == Mode::Job;
        if update.rank == Rank::Ailing || sent_update.before.was_in_trouble() || may_stay_ended {
            return None;
        }
        let ended = || seen.tasks.iter().filter(|task| task.has_ended());
        let own = ended().filter(|task| sent_update.sent.is_on(task));
        Some(Self {
            update: update.clone(),
            sent: sent.clone(),
            sent_update: sent_update.clone(),
            ended_before: ended().map(|task| task.id.clone()).collect(),
            allowed: own.filter_map(|task| blamed(task, facts, seen.nodes)).collect(),
            since: sent_update.sent_at,
            doubted: None,
        })
    }

    fn news(&mut self, seen: &ServiceView<'_>, down_nodes: &DownNodes, began: Instant) -> Option<LateChange> {
        let facts = seen.service?.spec.facts();
        if seen.service.is_some_and(|service| service.rollback_by_swarm().is_some()) {
            return self.sent_update.is_replaced(facts).then_some(LateChange::RolledBack);
        }
        if !self.sent_update.is_sent(facts) {
            return is_taken_back(&self.update, facts).then_some(LateChange::TakenBack);
        }
        let spec_id = TaskSpecId::of(facts);
        let own =
            seen.tasks.iter().filter(|task| spec_id.is_on(task) && !self.ended_before.contains(&task.id));
        let causes = own.filter_map(|task| blamed(task, facts, seen.nodes));
        let is_allowed = |cause: &Cause| self.allowed.iter().any(|failure| failure.is_like(cause));
        let mut causes = causes.filter(|cause| !is_allowed(cause)).map(|cause| cause.with(down_nodes));
        let cause = causes.find(Cause::blames_image)?;
        let (since, _) = *self.doubted.get_or_insert((began, cause.doubt()));
        (began.duration_since(since) >= cause.doubt()).then_some(LateChange::Failed(cause))
    }

    fn is_still_there(&self, seen: &ServiceView<'_>) -> bool {
        seen.service.is_some_and(|service| self.sent_update.is_sent(service.spec.facts()))
    }
}

impl Aftercare {
    /// Takes note that an update to this image has come to its end, and keeps its service where it was called updated.
    pub(super) fn ended(&mut self, number: usize, image: String, updated: Option<Updated>, now: Instant) {
        self.changed.insert(image, now);
        self.updated.extend(updated.map(|updated| (number, Updated { since: now, ..updated })));
    }

    /// Forgets an image whose rollout is over, with the services that were watched for it.
    pub(super) fn forget(&mut self, image: &str) {
        self.updated.retain(|_, updated| updated.update.to.to_string() != image);
        self.changed.remove(image);
        self.late.remove(image);
    }

    /// A service that gets another image is watched for the older one no longer.
    pub(super) fn forget_service(&mut self, id: &str) {
        self.updated.retain(|_, updated| updated.update.id != id);
    }

    /// The ids of the services that are kept.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        self.updated.values().map(|updated| updated.update.id.clone()).collect()
    }

    /// Takes a look at all of them. Returns those with news, which are kept no longer.
    pub(super) fn look<'a>(
        &mut self,
        began: Instant,
        nodes: &Nodes,
        seen: impl Fn(&str) -> ServiceView<'a>,
    ) -> Vec<(usize, Updated, LateChange)> {
        self.looked = Some(began);
        self.down_nodes.look(nodes);
        let mut news: BTreeMap<usize, LateChange> = BTreeMap::new();
        self.updated.retain(|number, updated| {
            // A look that began before it was kept may not show it.
            if updated.since > began {
                return true;
            }
            let seen = seen(&updated.update.id);
            match updated.news(&seen, &self.down_nodes, began) {
                Some(found) => _ = news.insert(*number, found),
                None => return updated.is_still_there(&seen),
            }
            true
        });
        let mut all = Vec::new();
        for (number, found) in news {
            let Some(updated) = self.updated.remove(&number) else { continue };
            if matches!(found, LateChange::Failed(_) | LateChange::RolledBack) {
                let took = began.duration_since(updated.sent_update.sent_at);
                let late = self.late.entry(updated.update.to.to_string()).or_default();
                *late = took.max(*late);
            }
            all.push((number, updated, found));
        }
        all
    }

    /// Whether nothing has looked at some of these services since the latest update to their image came to its end.
    pub(super) fn lacks_last_look(&self, numbers: &[usize]) -> bool {
        let changed = |updated: &Updated| self.changed.get(&updated.update.to.to_string()).copied();
        self.of(numbers).any(|updated| self.looked <= changed(updated))
    }

    /// Whether all that can be seen of these services has been seen.
    pub(super) fn is_settled(&self, numbers: &[usize], now: Instant) -> bool {
        let is_young = |updated: &Updated| {
            let late = self.late.get(&updated.update.to.to_string());
            // The look after that decides.
            let is_doubted = |(since, doubt): (Instant, Duration)| now.duration_since(since) < doubt + MARGIN;
            updated.doubted.is_some_and(is_doubted)
                || late.is_some_and(|late| {
                    now.duration_since(updated.sent_update.sent_at) < (*late + MARGIN).min(LONGEST)
                })
        };
        if self.of(numbers).any(is_young) {
            return false;
        }
        let is_patient = |updated: &Updated| {
            let changed = self.changed.get(&updated.update.to.to_string());
            changed.is_some_and(|changed| now.duration_since(*changed) < PATIENCE)
        };
        !self.lacks_last_look(numbers) || !self.of(numbers).any(is_patient)
    }

    fn of<'a>(&'a self, numbers: &'a [usize]) -> impl Iterator<Item = &'a Updated> {
        numbers.iter().filter_map(|number| self.updated.get(number))
    }
}

/// Why a task failed, where its image is to blame. Where only what fails is started again, an end with code 0 is none.
fn blamed(task: &Task, facts: &Facts, nodes: &Nodes) -> Option<Cause> {
    if facts.restart_condition != RestartCondition::Any && !task.has_failed() {
        return None;
    }
    let cause = Cause::of_task(task, facts, nodes).filter(|_| task.has_ended())?;
    cause.blames_image().then_some(cause)
}

/// Whether a service has the digest again that an update has replaced.
pub(super) fn is_taken_back(update: &Update, facts: &Facts) -> bool {
    let present = facts.image.as_deref().and_then(|image| image.parse::<crate::image::ImageRef>().ok());
    let present = present.as_ref().and_then(|image| image.digest());
    present.is_some() && present == update.from.digest() && present != update.to.digest()
}

/// The outcome of an update that another party has ended: taking the service back is a word on the image.
pub(super) fn of_another_party(outcome: Outcome, update: &Update, seen: &ServiceView<'_>) -> Outcome {
    match outcome {
        Outcome::Superseded(how)
            if update.begun.is_none()
                && seen.service.is_some_and(|service| is_taken_back(update, service.spec.facts())) =>
        {
            Outcome::TakenBack(how)
        }
        outcome => outcome,
    }
}
