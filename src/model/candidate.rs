//! A service that the filters select. Pure.

use std::sync::Arc;

use super::course::Course;
use super::history::History;
use super::rank::Rank;
use super::unfinished::Unfinished;
use crate::config::{LabelMistakes, ServicePolicy};
use crate::swarm::{Mode, Order, ServiceStatus};

/// A service that matches the filters, as far as the next stages need it. The specification is read again
/// when its turn comes, which may be an hour later.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as written.
    pub image: Option<String>,
    /// How many tasks it has.
    pub mode: Mode,
    /// What becomes of its tasks by themselves.
    pub course: Course,
    /// Its version, as it was listed.
    pub version: u64,
    /// Excluded by name or by the filters of excluded services.
    pub is_excluded: bool,
    /// Whether it is our own service.
    pub is_itself: bool,
    /// What it was before.
    pub history: History,
    /// How early its turn comes within its image's rollout.
    pub rank: Rank,
    /// Its settings.
    pub policy: Result<ServicePolicy, LabelMistakes>,
    /// How many of its tasks run.
    pub tasks: Option<ServiceStatus>,
    /// What an earlier run, or somebody else, has not brought to an end.
    pub unfinished: Option<Arc<Unfinished>>,
    /// The order that its specification has.
    pub order: Option<Order>,
    /// Whether its old and its new task may run into each other.
    pub may_collide: bool,
}

impl Candidate {
    /// Its image without the digest, as people call it.
    pub fn image_name(&self) -> String {
        let written = self.image.as_deref().unwrap_or_default();
        written.split_once('@').map_or(written, |(name, _)| name).to_owned()
    }
}
