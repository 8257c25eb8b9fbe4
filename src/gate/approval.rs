//! What a user has said of a digest: it may be rolled out. Pure.
//!
//! An approval is bound to the digest, never to a tag or to whatever comes next.

use jiff::Timestamp;

use crate::image::Digest;

/// A user's word that a digest may be rolled out, although it is young or waits for that word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The image, as the ledger names it.
    pub image: String,
    /// The service that it is for; `None`: all services of the image.
    pub service: Option<String>,
    /// The digest.
    pub digest: Digest,
    /// The user's name: that of the token.
    pub by: String,
    /// The way it came: `api`, or `cli` over the daemon's socket.
    pub via: String,
    /// When, by the engine's clock.
    pub at: Timestamp,
    /// When it is void.
    pub until: Timestamp,
    /// The reason; may be empty.
    pub why: String,
}

impl Approval {
    /// Whether it is about this digest of this service's image.
    pub fn is_about(&self, image: &str, service: &str, digest: &Digest) -> bool {
        self.image == image
            && self.digest == *digest
            && self.service.as_deref().is_none_or(|approved| approved == service)
    }

    /// Whether it holds at this time.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.until
    }
}
