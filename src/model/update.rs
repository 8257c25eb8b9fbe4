//! One update, with nothing left to choose, and what is sent for it. Pure.

use std::sync::Arc;

use super::outcome::By;
use super::rank::Rank;
use super::task_lifecycle::TaskLifecycle;
use super::task_spec_id::TaskSpecId;
use crate::config::{Selection, ServicePolicy};
use crate::image::ImageRef;
use crate::registry::{Credentials, Platform};
use crate::swarm::spec::{Edits, OrderChange};
use crate::swarm::{Mode, Service, Spec};

/// One update, with nothing left to choose.
#[derive(Clone, Debug)]
pub struct Update {
    /// The service's id.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// The version of the service that the decision was made on.
    pub version: u64,
    /// The image that it has, as it stands in its specification.
    pub from: ImageRef,
    /// The image that it gets.
    pub to: ImageRef,
    /// The platforms of the new image, where they are known.
    pub platforms: Option<Vec<Platform>>,
    /// Replace the tasks though the image reads the same.
    pub force: bool,
    /// What the nodes pull with.
    pub credentials: Option<Arc<Credentials>>,
    /// What it starts.
    pub start: Start,
    /// Its place in the rollout of its image.
    pub rank: Rank,
    /// How it is done.
    pub policy: Arc<ServicePolicy>,
    /// What makes it ours to update.
    pub selection: Arc<Selection>,
    /// It is under way already: it is watched, and nothing is sent.
    pub begun: Option<Arc<Begun>>,
    /// How the old and the new task ran into each other when it was tried start-first: it is not tried so again.
    pub collision: Option<String>,
}

/// What an update starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// New tasks in place of those that run.
    Replaced,
    /// Tasks for which there is no node, as there was none for those before: there is nothing to wait for. Looked at again
    /// before it is sent.
    WithoutNode,
    /// Tasks that had ended, once more: that is allowed, and there is nothing to wait for.
    Again,
    /// Nothing: the service gets no replicas, and swarm-cronjob gives it some when its time comes.
    LeftToCronjob {
        /// The version of the service that had ended. At another one it may have been started.
        version: u64,
    },
}

/// What is sent to a service, decided on the service as it was read right before.
#[derive(Clone, Debug, PartialEq)]
pub enum Dispatch {
    /// These changes, to what the options make of its specification.
    Send(Edits),
    /// It has the new image by now.
    AlreadyThere,
    /// Its image is another one than the plan was made for.
    ChangedTo(String),
    /// It does not match the filters any more, or its labels exclude it.
    NotOurs,
    /// Something would be started that was not meant to be, or be stopped; why, in words.
    NotNow(&'static str),
}

impl Update {
    /// Whether new tasks take the place of old ones.
    pub fn replaces_tasks(&self) -> bool {
        matches!(self.start, Start::Replaced | Start::WithoutNode)
    }

    /// Decides again on what is there now. `lifecycle` is what becomes of its tasks, and `order` how its order changes.
    pub fn dispatch(
        &self,
        service: &Service,
        lifecycle: TaskLifecycle,
        order: Option<OrderChange>,
    ) -> Dispatch {
        let facts = service.spec.facts();
        if !self.selection.still_selects(&facts.labels) {
            return Dispatch::NotOurs;
        }
        let present = facts.image.clone().unwrap_or_default();
        if present == self.to.to_string() && !self.force {
            return Dispatch::AlreadyThere;
        }
        if present != self.from.to_string() && present != self.written_from() {
            return Dispatch::ChangedTo(present);
        }
        if let Some(why) = self.not_now(service, lifecycle) {
            return Dispatch::NotNow(why);
        }
        Dispatch::Send(Edits {
            image: Some(self.to.to_string()),
            platforms: self
                .platforms
                .as_ref()
                .map(|platforms| platforms.iter().map(|p| (p.os.clone(), p.architecture.clone())).collect()),
            order,
            force_update: self.force.then(|| facts.force_update + 1),
            replicas: matches!(self.start, Start::LeftToCronjob { .. }).then_some(0),
        })
    }

    /// Whether `image` is one that Gantry may have replaced by the service's present one: the same tag, or another tag of the
    /// repository where the service accepts other tags.
    pub fn may_come_from(&self, image: &ImageRef) -> bool {
        self.from.is_same_tag_as(image)
            || (self.policy.tags.needs_list()
                && image.tag().is_some()
                && self.from.is_same_repository_as(image))
    }

    /// Why the update would now start or stop tasks that the plan did not expect.
    fn not_now(&self, service: &Service, lifecycle: TaskLifecycle) -> Option<&'static str> {
        match (self.start, lifecycle) {
            (Start::LeftToCronjob { version }, _) if service.version != version => {
                Some("it was started or changed meanwhile")
            }
            (Start::Replaced | Start::WithoutNode, TaskLifecycle::Ended)
                if service.spec.facts().mode != Mode::Replicated(0) =>
            {
                Some("its tasks have ended meanwhile, and an update would run them again")
            }
            (Start::Again, TaskLifecycle::UnderWay | TaskLifecycle::WithoutNode) => {
                Some("it was started meanwhile")
            }
            _ => None,
        }
    }

    /// `name` alone means `name:latest`, and may stand so in a specification.
    fn written_from(&self) -> String {
        match (self.from.tag(), self.from.digest()) {
            (Some("latest"), None) => self.from.name().to_owned(),
            _ => self.from.to_string(),
        }
    }
}

/// What a previous run began, and this run watches to its end.
#[derive(Clone, Debug)]
pub enum Begun {
    /// An update that the service was sent.
    Update {
        /// What the service had.
        replaced: Spec,
        /// What it was sent.
        spec: Spec,
    },
    /// A rollback.
    Rollback {
        /// Whose.
        by: By,
        /// What it goes back from.
        failed: TaskSpecId,
        /// What it goes back to.
        restored: TaskSpecId,
        /// The swarm's words on it.
        message: String,
    },
}
