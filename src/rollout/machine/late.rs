//! An update that fails after it was called updated. Pure.

use super::{Machine, Phase, SentUpdate};
use crate::model::cause::Cause;

impl Machine {
    /// Starts with an update that was called updated and has failed since: it is to be rolled back.
    pub fn failed(sent_update: SentUpdate, cause: Cause) -> Self {
        Self { phase: Phase::Failed(cause), ..Self::new(sent_update) }
    }
}
