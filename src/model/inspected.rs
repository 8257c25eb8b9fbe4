//! A service with the answer of its registry. Pure.

use std::sync::Arc;

use super::candidate::Candidate;
use super::held::Held;
use crate::image::{Digest, ImageRef};
use crate::registry::{Credentials, Lookup, Manifest};

/// A service and the answer of its registry; without an answer where the registry was not to be asked.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The service.
    pub candidate: Candidate,
    /// The answer, or in words why there is none.
    pub answer: Option<Result<ResolvedTag, String>>,
    /// The account that the nodes pull with, where only the account was to be found out.
    pub account: Option<Arc<Credentials>>,
    /// What the registry was asked.
    pub lookup: Option<Arc<Lookup>>,
    /// What the registry's list of tags says of its tag; `None`: the service accepts its own tag alone.
    pub tags: Option<TagLook>,
    /// What gates make of the answer; `None`: the service has no gates, or they let pass what its tag stands at.
    pub gated: Option<Gated>,
}

/// What a registry's list of tags says of a service's tag.
#[derive(Clone, Debug, Default)]
pub struct TagLook {
    /// The newest tag that the service accepts and that is newer than its own.
    pub newest: Option<NewestTag>,
    /// What there is to tell of the choice, in words that are the same at each look.
    pub words: String,
    /// Why no tag can be chosen, in words.
    pub refusal: Option<String>,
}

/// A newer tag that a service accepts.
#[derive(Clone, Debug)]
pub struct NewestTag {
    /// The image, without a digest.
    pub image: ImageRef,
    /// What the registry was asked.
    pub lookup: Arc<Lookup>,
    /// What the tag stands at.
    pub resolved: ResolvedTag,
}

/// What gates make of what a service's tag stands at.
#[derive(Clone, Debug)]
pub enum Gated {
    /// The service is offered this image instead.
    Offer(Box<Offer>),
    /// A newer image is there, and does not pass yet.
    Held(Box<Held>),
}

/// An image that a service is offered in place of what its tag stands at.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The image, without a digest.
    pub image: ImageRef,
    /// Its digest, and what was read with it.
    pub resolved: ResolvedTag,
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

impl Inspected {
    /// A service whose registry was not asked.
    pub fn new(candidate: Candidate) -> Self {
        Self { candidate, answer: None, account: None, lookup: None, tags: None, gated: None }
    }

    /// The digest that the service is offered: its tag's, or that which gates let pass.
    pub fn offered(&self) -> Option<&ResolvedTag> {
        match (&self.gated, &self.answer) {
            (Some(Gated::Offer(offer)), Some(Ok(_))) => Some(&offer.resolved),
            (_, Some(Ok(answer))) => Some(answer),
            _ => None,
        }
    }

    /// The newest tag that the service accepts.
    pub fn newest_tag(&self) -> Option<&NewestTag> {
        self.tags.as_ref()?.newest.as_ref()
    }
}

impl ResolvedTag {
    /// Whether a digest is this one, or one of the platforms that the index lists.
    pub fn is_current(&self, recorded: Option<&Digest>) -> bool {
        recorded.is_some_and(|recorded| {
            *recorded == self.digest
                || self.manifest.as_deref().is_some_and(|manifest| manifest.children.contains(recorded))
        })
    }
}
