//! What became of the updates of a rollout. Pure.

use super::guard::Shut;
use crate::model::finished::{Finished, NotBegun, StoppedRollout};

/// What became of the updates.
#[derive(Debug, Default)]
pub struct RolledOut {
    /// Those that have come to their end.
    pub finished: Vec<Finished>,
    /// Those that were not begun.
    pub not_begun: Vec<NotBegun>,
    /// The images whose rollout was stopped.
    pub stopped: Vec<StoppedRollout>,
    /// Why the cluster was not fit for more updates, where that lasted too long.
    pub shut: Option<Shut>,
}
