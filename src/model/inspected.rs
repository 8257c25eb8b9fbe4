//! A service with the answer of its registry. Pure.

use std::sync::Arc;

use super::candidate::Candidate;
use crate::image::Digest;
use crate::registry::{Credentials, Manifest};

/// A service and the answer of its registry; without an answer where the registry was not to be asked.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The service.
    pub candidate: Candidate,
    /// The answer, or in words why there is none.
    pub answer: Option<Result<ResolvedTag, String>>,
    /// The account that the nodes pull with, where only the account was to be found out.
    pub account: Option<Arc<Credentials>>,
}

/// The digest that a registry has for a tag, and what was read with it.
#[derive(Clone, Debug)]
pub struct ResolvedTag {
    /// The tag's digest.
    pub digest: Digest,
    /// The manifest of the digest; fetched only when a service has another digest.
    pub manifest: Option<Arc<Manifest>>,
    /// The account that the registry was asked with; the nodes pull with the same account.
    pub credentials: Option<Arc<Credentials>>,
    /// Whether the registry answered with another digest a moment later: some of its servers have a newer one.
    pub alternates: bool,
}
