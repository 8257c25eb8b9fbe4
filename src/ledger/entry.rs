//! What is remembered, entry by entry. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::image::{Digest, ImageRef};

/// What an entry is about. There is one entry for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One service, by name.
    Service(String),
    /// All services with this image, by [`image_name`].
    Image(String),
    /// Where the tag of an image stands, by [`image_name`].
    Tag(String),
}

/// What the ledger remembers of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestVerdict {
    /// It broke the service, or so many of the image's services that its rollout was stopped.
    Quarantined,
    /// A person moved the service away from it.
    LeftByHand,
    /// A person wants it to be offered to the service again, whatever else speaks against it.
    Released,
    /// The service was rolled back from it for something that the image is not to blame for, so that what the service
    /// shows of this is no person's word.
    Excused,
    /// The tag has gone back to it, and stands there since. Services follow when it has stood there for a while.
    GoneBack,
    /// It was offered to the image's services. A service that has an older digest of the same tag afterwards was moved by
    /// hand, unless the tag itself has gone back.
    Offered,
}

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub subject: Subject,
    /// What is remembered.
    pub verdict: DigestVerdict,
    /// The image, by [`image_name`].
    pub image: String,
    /// The digest that it is about.
    pub digest: Digest,
    /// The id of the service; empty for an image. A service that was made anew is another one.
    pub service_id: String,
    /// When it was written, by the engine's clock.
    pub at: Timestamp,
    /// The node of the Gantry that wrote it.
    pub node: String,
    /// Digests that the tag had before, newest first, in their short form. Only for images.
    pub before: Vec<String>,
    /// Digests that services had when this one was offered to them, in their short form. Only for images.
    pub had: Vec<String>,
    /// Digests that were held back before this one, in their short form. Not for tags.
    pub stopped: Vec<String>,
    /// How often the tag has gone back before, lately. Only for tags.
    pub flips: u32,
    /// Why, in words; may be empty.
    pub cause: String,
}

/// How many previous digests of a tag are remembered.
pub(super) const MAX_BEFORE: usize = 5;

impl Entry {
    /// Whether it holds back this digest at this time. Only what was put into quarantine runs out.
    pub fn holds_back(&self, digest: &Digest, now: Timestamp, duration: Option<Duration>) -> bool {
        self.digest == *digest
            && match self.verdict {
                DigestVerdict::Quarantined => !self.has_expired(now, duration),
                DigestVerdict::LeftByHand => true,
                DigestVerdict::Released
                | DigestVerdict::Excused
                | DigestVerdict::GoneBack
                | DigestVerdict::Offered => false,
            }
    }

    /// Whether it is there to hold a digest back.
    pub fn is_for_good(&self) -> bool {
        matches!(self.verdict, DigestVerdict::Quarantined | DigestVerdict::LeftByHand)
    }

    /// Whether its time in quarantine is over.
    pub fn has_expired(&self, now: Timestamp, duration: Option<Duration>) -> bool {
        let limit = duration.and_then(|duration| SignedDuration::try_from(duration).ok());
        self.verdict == DigestVerdict::Quarantined
            && limit.is_some_and(|limit| now.duration_since(self.at) >= limit)
    }

    /// Whether the digest is one that its tag has gone back to.
    pub fn has_gone_back(&self) -> bool {
        self.before.iter().any(|short| short == self.digest.short())
    }

    /// Whether its tag, or one of its services, had this digest before.
    pub fn is_behind(&self, digest: &Digest) -> bool {
        let short = digest.short();
        self.digest != *digest && self.before.iter().chain(&self.had).any(|had| had == short)
    }

    /// What services had before an entry that names these replaces this one.
    pub fn had_then(&self, had: &[String]) -> Vec<String> {
        let mut all = had.to_vec();
        all.extend(self.had.iter().filter(|digest| !had.contains(digest)).cloned());
        all.truncate(MAX_BEFORE);
        all
    }

    /// Whether this digest was held back before another one was.
    pub fn was_stopped(&self, digest: &Digest) -> bool {
        self.stopped.iter().any(|stopped| stopped == digest.short())
    }

    /// The digests that were held back before an entry about `digest` replaces this one.
    pub fn stopped_then(&self, digest: &Digest) -> Vec<String> {
        let is_stopped = self.is_for_good() && self.digest != *digest;
        let mut stopped: Vec<String> =
            is_stopped.then(|| self.digest.short().to_owned()).into_iter().collect();
        stopped.extend(self.stopped.iter().filter(|old| *old != digest.short()).cloned());
        stopped.truncate(MAX_BEFORE);
        stopped
    }

    /// Whether its tag has, or had, this digest.
    pub fn has_had(&self, digest: &Digest) -> bool {
        self.digest == *digest || self.before.iter().any(|short| short == digest.short())
    }

    /// What an image had before an entry about `digest` replaces this one.
    pub fn before_then(&self, digest: &Digest) -> Vec<String> {
        let mut before = self.before.clone();
        if self.digest != *digest {
            before.insert(0, self.digest.short().to_owned());
            before.truncate(MAX_BEFORE);
        }
        before
    }
}

/// The name by which the ledger knows an image: registry, repository and tag, however they were written.
/// `None`: it has no tag.
pub fn image_name(image: &ImageRef) -> Option<String> {
    let tag = image.tag()?;
    Some(if image.is_on_docker_hub() {
        let repository = image.repository();
        format!("{}:{tag}", repository.strip_prefix("library/").unwrap_or(repository))
    } else {
        format!("{}/{}:{tag}", image.registry(), image.repository())
    })
}

/// The repository of an image's name: the name without its tag.
pub(super) fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_name_however_it_is_written() {
        for (written, name) in [
            ("nginx", Some("nginx:latest")),
            ("docker.io/library/nginx:latest", Some("nginx:latest")),
            ("index.docker.io/team/app:1", Some("team/app:1")),
            ("r.test:5000/a/b:1", Some("r.test:5000/a/b:1")),
            ("nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", None),
        ] {
            assert_eq!(image_name(&written.parse().unwrap()).as_deref(), name, "{written}");
        }
    }
}
