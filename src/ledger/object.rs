//! The configs in which Gantry remembers: how they are told from others, and how writes that meet are told. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::swarm::{ConfigObject, SwarmError};

/// What tells our configs from a user's config of the same name.
const MARK: &str = "Gantry remembers";

/// How often a write is tried again that found another version, before it is left to the next time.
pub(crate) const MAX_CONFLICTS: u32 = 5;

/// Whether a write failed because another process has changed the config since it was read.
pub(crate) fn was_another_faster(error: &SwarmError) -> bool {
    matches!(error, SwarmError::Conflict | SwarmError::NameTaken(_) | SwarmError::NotFound(_))
}

/// Whether a config is Gantry's.
pub fn is_ours(object: &ConfigObject) -> bool {
    STANDARD.decode(&object.data).is_ok_and(|data| data.starts_with(MARK.as_bytes()))
}
