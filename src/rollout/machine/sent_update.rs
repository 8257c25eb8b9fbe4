//! An update that was sent, and what the swarm shows of its service. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::before::Before;
use crate::model::cause::Cause;
use crate::model::order::Obstacle;
use crate::model::outcome::By;
use crate::model::task_spec_id::TaskSpecId;
use crate::swarm::{Facts, Nodes, Service, Spec, Task};

/// What the swarm showed of one service at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    /// The service; `None`: it is gone.
    pub service: Option<&'a Service>,
    /// Its tasks, ended ones included.
    pub tasks: &'a [Task],
    /// All nodes.
    pub nodes: &'a Nodes,
}

/// An update that was sent, with the conditions under which it is watched.
#[derive(Clone, Debug)]
pub struct SentUpdate {
    /// The id of the specification that was sent.
    pub sent: TaskSpecId,
    /// The id of the specification before the update.
    pub replaced: TaskSpecId,
    /// When the update was sent.
    pub sent_at: Instant,
    /// The time limit of the update; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Whether Gantry rolls the update back when it fails.
    pub may_roll_back: bool,
    /// The whole specifications before and after, where they are known.
    pub whole: Option<Whole>,
    /// What the tasks of the service did before the update.
    pub before: Before,
    /// Whether there is another account that nodes may pull the old image with.
    pub has_account: bool,
    /// What the new task finds beside the old task of its place; `None`: the old task stops first.
    pub side_by_side: Option<SideBySide>,
}

/// The specifications around an update, as far as they are known.
#[derive(Clone, Debug)]
pub struct Whole {
    /// What the service had before, as the engine showed it.
    pub replaced: Spec,
    /// What it was sent.
    pub sent: Spec,
}

impl Whole {
    /// What the engine made of what was sent: it is what the service has, as long as that follows upon what it had before.
    pub(super) fn kept_by(&self, service: &Service) -> Option<Spec> {
        let follows = service.previous.as_ref().is_some_and(|previous| previous.is_same_as(&self.replaced));
        follows.then(|| service.copied_spec())
    }
}

impl SentUpdate {
    /// Whether a service still has the specification that was sent, or a forced update of it by a user.
    pub fn is_sent(&self, facts: &Facts) -> bool {
        let spec_id = TaskSpecId::of(facts);
        spec_id.image == self.sent.image && spec_id.force_update >= self.sent.force_update
    }

    /// Whether a service has the specification before the update.
    pub fn is_replaced(&self, facts: &Facts) -> bool {
        facts.image.as_deref() == Some(&self.replaced.image) && !self.is_sent(facts)
    }
}

/// A rollback under way.
#[derive(Clone, Debug)]
pub(super) struct Restoring {
    pub(super) by: By,
    pub(super) cause: Cause,
    pub(super) since: Instant,
    /// What is restored, as the first look showed it.
    pub(super) spec: Option<Spec>,
    /// Whether another account may still be tried.
    pub(super) may_renew: bool,
}

impl Restoring {
    pub(super) fn new(by: By, cause: Cause, since: Instant, sent_update: &SentUpdate) -> Self {
        Self { by, cause, since, spec: None, may_renew: sent_update.has_account }
    }
}

/// What the new task finds beside the old task of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBySide {
    /// What the two cannot have at once, as far as the specification tells.
    pub obstacle: Option<Obstacle>,
    /// Whether Gantry has chosen to start first: the specification says nothing of an order.
    pub is_our_choice: bool,
}
