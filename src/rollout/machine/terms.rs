//! What an update is watched by: what was sent, under which conditions, and what the swarm shows. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::before::Before;
use crate::model::cause::Cause;
use crate::model::mark::Mark;
use crate::model::order::Obstacle;
use crate::model::outcome::By;
use crate::swarm::{Facts, Nodes, Service, Spec, Task};

/// What the swarm showed of one service at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The service; `None`: it is gone.
    pub service: Option<&'a Service>,
    /// Its tasks, ended ones included.
    pub tasks: &'a [Task],
    /// All nodes.
    pub nodes: &'a Nodes,
}

/// What was sent, and under which conditions it is watched.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the service was sent.
    pub sent: Mark,
    /// What it had before.
    pub replaced: Mark,
    /// When it was sent.
    pub sent_at: Instant,
    /// How long it may take; `None`: as long as it wants.
    pub timeout: Option<Duration>,
    /// Whether it is rolled back when it fails.
    pub may_roll_back: bool,
    /// The whole specifications, where they are known.
    pub whole: Option<Whole>,
    /// What its tasks did before.
    pub before: Before,
    /// Whether there is an account that nodes may get the old image with.
    pub has_account: bool,
    /// What the new task finds where the old one of its place is still there; `None`: the old one goes first.
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
        follows.then(|| service.spec.clone())
    }
}

impl Terms {
    /// Whether a service still carries what it was sent. A forced update by a user changes nothing about that.
    pub fn is_sent(&self, facts: &Facts) -> bool {
        let mark = Mark::of(facts);
        mark.image == self.sent.image && mark.force_update >= self.sent.force_update
    }

    /// Whether a service carries what it had before.
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
    pub(super) fn new(by: By, cause: Cause, since: Instant, terms: &Terms) -> Self {
        Self { by, cause, since, spec: None, may_renew: terms.has_account }
    }
}

/// What the new task finds where the old one of its place is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBySide {
    /// What the two cannot have at once, as far as the specification tells.
    pub obstacle: Option<Obstacle>,
    /// Whether Gantry has chosen to start first: the specification says nothing of an order.
    pub is_our_choice: bool,
}
