//! A service that the filters select. Pure.

use std::sync::Arc;

use super::history::History;
use super::rank::Rank;
use super::task_lifecycle::TaskLifecycle;
use super::unfinished::Unfinished;
use crate::config::{LabelMistakes, ServicePolicy};
use crate::image::{ImageRef, ImageRefError};
use crate::swarm::{Facts, Mode, ServiceStatus, UpdateOrder};

/// A service that matches the filters, as far as the next stages need it. The specification is read again
/// when its turn comes, which may be an hour later.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, or why that cannot be read; `None` where it runs no container.
    pub image: Option<Result<ImageRef, ImageRefError>>,
    /// How many tasks it has.
    pub mode: Mode,
    /// What becomes of its tasks by themselves.
    pub lifecycle: TaskLifecycle,
    /// Its version, as it was listed.
    pub version: u64,
    /// Excluded by name or by the filters of excluded services.
    pub is_excluded: bool,
    /// Whether it is our own service.
    pub is_itself: bool,
    /// What it was before.
    pub history: History,
    /// Its place in the rollout of its image.
    pub rank: Rank,
    /// Its settings.
    pub policy: Result<Arc<ServicePolicy>, LabelMistakes>,
    /// How many of its tasks run.
    pub tasks: Option<ServiceStatus>,
    /// What an earlier run, a user or another program has not brought to an end.
    pub unfinished: Option<Arc<Unfinished>>,
    /// The order that its specification has.
    pub order: Option<UpdateOrder>,
    /// Whether its old and its new task may run into each other.
    pub may_collide: bool,
}

impl Candidate {
    /// Its image; `None` where it runs no container, or the image cannot be read.
    pub fn image(&self) -> Option<&ImageRef> {
        self.image.as_ref()?.as_ref().ok()
    }

    /// Its image without the digest, as people call it; empty where it runs no container.
    pub fn image_name(&self) -> String {
        match &self.image {
            None => String::new(),
            Some(Ok(image)) if image.tag().is_some() => image.tagged(),
            Some(Ok(image)) => image.name().to_owned(),
            Some(Err(error)) => error.image().to_owned(),
        }
    }
}

/// Reads the image of a specification.
pub fn image_of(facts: &Facts) -> Option<Result<ImageRef, ImageRefError>> {
    facts.image.as_deref().map(str::parse)
}
