//! What a registry answered for a service. Pure.

use std::sync::Arc;

use super::candidate::Candidate;
use crate::image::Digest;
use crate::registry::{Credentials, Manifest};

/// A service and what its registry answered; nothing where it was not to be asked.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The service.
    pub candidate: Candidate,
    /// The answer, or in words why there is none.
    pub answer: Option<Result<Answer, String>>,
    /// What the nodes pull with, where that is all that was to be found out.
    pub account: Option<Arc<Credentials>>,
}

/// What a registry has under a tag.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The tag's digest.
    pub digest: Digest,
    /// What stands behind it; fetched only when a service has another digest.
    pub manifest: Option<Arc<Manifest>>,
    /// Whose name it was asked in; the nodes pull with the same.
    pub credentials: Option<Arc<Credentials>>,
    /// Whether the registry has answered with another digest a moment later: some of its servers know a newer one.
    pub by_turns: bool,
}
