//! An update that fails after it was called updated. Pure.

use super::{Machine, State, Terms};
use crate::model::cause::Cause;

impl Machine {
    /// Starts with an update that was called updated and has failed since: it is to be rolled back.
    pub fn failed(terms: Terms, cause: Cause) -> Self {
        Self { state: State::Failed(cause), ..Self::new(terms) }
    }
}
