//! What became of the updates of a rollout. Pure.

use super::guard::Shut;
use crate::model::finished::{StoppedRollout, Superseded};
use crate::model::row::Row;

/// What became of the updates.
#[derive(Clone, Debug, Default)]
pub struct RolledOut {
    /// Their services: how the updates ended, and why others did not begin.
    pub rows: Vec<Row>,
    /// The images whose rollout was stopped.
    pub stopped: Vec<StoppedRollout>,
    /// The images whose rollout gave way to a newer digest.
    pub superseded: Vec<Superseded>,
    /// Why the cluster was not fit for more updates, where that lasted too long.
    pub shut: Option<Shut>,
}
