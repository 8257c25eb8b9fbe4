//! `gantry quarantine` and `gantry release`: lists the quarantined images, and releases them. Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;

use super::book::{Book, LedgerChange};
use super::entry::{DigestVerdict, Entry, Subject, image_name};
use crate::image::ImageRef;
use crate::suggest::nearest;
use crate::swarm::Service;
use crate::words::{piece, printable};

/// What a user wants to release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseTarget {
    /// A service, by name or id, or an image with its tag.
    Named(String),
    /// Everything.
    All,
}

/// An image that is not offered to a service, in words for users.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantinedImage {
    /// The service; empty: all services with this image.
    pub service: String,
    /// The image.
    pub image: String,
    /// The digest's short form.
    pub digest: String,
    /// Why.
    pub why: String,
}

/// All quarantined images, in words for users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuarantineList {
    /// The images, sorted by service.
    pub held: Vec<QuarantinedImage>,
    /// Labels of the ledger that look like entries and cannot be read.
    pub damaged: Vec<String>,
    /// The name of the ledger, where there is none.
    pub missing: Option<String>,
}

/// What a release would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The changes to the ledger.
    pub changes: Vec<LedgerChange>,
    /// What is offered again.
    pub released: Vec<QuarantinedImage>,
    /// Services that the next cycle does not update all the same, each with the reason.
    pub waiting: Vec<(String, String)>,
    /// What stays as it is.
    pub left: Vec<QuarantinedImage>,
    /// Why nothing was released.
    pub miss: Option<Miss>,
}

/// Why a release finds nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nothing at all is held back.
    NothingHeld,
    /// There is such a service, or services with such an image, and nothing is held back there.
    NotHeld(String),
    /// There is no service of this name in the swarm, and none with this image.
    Unknown {
        /// The name.
        name: String,
        /// Something with a similar name that is held back.
        nearest: Option<String>,
    },
}

/// What is held back now, by the ledger and by what services have `shown`. A quarantine ends after `duration`, if it has one.
pub fn held(
    book: &Book,
    shown: &[Entry],
    now: Timestamp,
    duration: Option<Duration>,
) -> Vec<QuarantinedImage> {
    let all = everything(book, shown).into_iter().filter(|entry| !entry.has_expired(now, duration));
    let mut held: Vec<QuarantinedImage> = all.map(|entry| describe(&entry)).collect();
    held.sort();
    held
}

/// What it takes to release this. `services` are all that there are.
pub fn release(
    target: &ReleaseTarget,
    book: &Book,
    services: &[Service],
    shown: &[Entry],
    now: Timestamp,
) -> Release {
    let names: BTreeMap<&str, &Service> = services.iter().map(|service| (service.name(), service)).collect();
    let mut release = Release::default();
    let all = everything(book, shown);
    for entry in &all {
        if !is_meant(target, entry) {
            release.left.push(describe(entry));
            continue;
        }
        release.released.push(describe(entry));
        let is_gone = matches!(&entry.subject, Subject::Service(name) if !names.contains_key(name.as_str()));
        // What the service itself shows goes on speaking against the digest, so the release is remembered.
        release.changes.push(if is_gone {
            LedgerChange::Forget(entry.clone())
        } else {
            LedgerChange::Put(Entry {
                verdict: DigestVerdict::Released,
                at: now,
                cause: String::new(),
                ..entry.clone()
            })
        });
    }
    // A service that is held back only together with all others of its image.
    if let ReleaseTarget::Named(name) = target
        && release.released.is_empty()
        && let Some(service) = services.iter().find(|service| service.name() == name || service.id == *name)
        && let Some(image) = image_of(service).as_ref().and_then(image_name)
        && let Some(entry) = all.iter().find(|entry| entry.subject == Subject::Image(image.clone()))
    {
        let own = Entry {
            subject: Subject::Service(service.name().to_owned()),
            service_id: service.id.clone(),
            verdict: DigestVerdict::Released,
            at: now,
            before: Vec::new(),
            had: Vec::new(),
            stopped: Vec::new(),
            flips: 0,
            cause: String::new(),
            ..entry.clone()
        };
        release.released.push(describe(&own));
        release.changes.push(LedgerChange::Put(own));
    }
    release.released.sort();
    release.left.sort();
    if release.released.is_empty() {
        release.miss = Some(miss(target, &release.left, services));
    }
    release
}

/// Why nothing was released.
fn miss(target: &ReleaseTarget, left: &[QuarantinedImage], services: &[Service]) -> Miss {
    let ReleaseTarget::Named(name) = target else { return Miss::NothingHeld };
    let is_service = |service: &Service| service.name() == name || service.id == *name;
    let meant = name.parse::<ImageRef>().ok().as_ref().and_then(image_name);
    let has_image = |service: &Service| image_of(service).as_ref().and_then(image_name) == meant;
    if services.iter().any(|service| is_service(service) || (meant.is_some() && has_image(service))) {
        return Miss::NotHeld(name.clone());
    }
    let subjects = left.iter().flat_map(|held| [held.service.as_str(), held.image.as_str()]);
    // An image without its registry or its tag is a common slip.
    let parts = |subject: &&str| {
        subject.rsplit('/').next().is_some_and(|last| last == name || last.split(':').next() == Some(name))
    };
    let nearest =
        subjects.clone().find(parts).or_else(|| nearest(name, "", subjects.filter(|name| !name.is_empty())));
    Miss::Unknown { name: name.clone(), nearest: nearest.map(str::to_owned) }
}

/// Entries that hold something back, and the entries that the services' own records would give.
fn everything(book: &Book, shown: &[Entry]) -> Vec<Entry> {
    let holds_back =
        |entry: &&Entry| matches!(entry.verdict, DigestVerdict::Quarantined | DigestVerdict::LeftByHand);
    book.entries().filter(holds_back).chain(shown).cloned().collect()
}

fn image_of(service: &Service) -> Option<ImageRef> {
    service.spec.facts().image.as_deref()?.parse().ok()
}

fn is_meant(target: &ReleaseTarget, entry: &Entry) -> bool {
    let ReleaseTarget::Named(name) = target else { return true };
    let is_service = match &entry.subject {
        Subject::Service(service) => service == name || entry.service_id == *name,
        Subject::Image(_) | Subject::Tag(_) => false,
    };
    let image = name.parse::<ImageRef>().ok().as_ref().and_then(image_name);
    // `app` is a service before it is `app:latest`.
    let names_image = image.as_ref() == Some(&entry.image) && name.contains([':', '/']);
    is_service || names_image
}

fn describe(entry: &Entry) -> QuarantinedImage {
    let why = match entry.verdict {
        DigestVerdict::LeftByHand => "rolled back by hand".to_owned(),
        _ if entry.cause.is_empty() => "quarantined".to_owned(),
        _ => format!("quarantined: {}", entry.cause),
    };
    let service = match &entry.subject {
        Subject::Service(name) => name.clone(),
        Subject::Image(_) | Subject::Tag(_) => String::new(),
    };
    QuarantinedImage { service, image: entry.image.clone(), digest: entry.digest.short().to_owned(), why }
}

/// A title, and a line for each.
fn list(title: &str, held: &[QuarantinedImage]) -> String {
    held.iter().fold(title.to_owned(), |mut list, one| {
        let _ = write!(list, "\n  {one}");
        list
    })
}

impl fmt::Display for QuarantineList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held.is_empty() {
            f.write_str("nothing is in quarantine")?;
        } else {
            f.write_str(&list("not offered again:", &self.held))?;
        }
        if let Some(name) = &self.missing {
            write!(
                f,
                "\n(Gantry has not made its config {} yet, or has another name for it: GANTRY_LEDGER_NAME)",
                printable(name)
            )?;
        }
        self.damaged
            .iter()
            .try_for_each(|label| write!(f, "\nnot understood, and ignored: the label {}", piece(label)))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.miss {
            None => {
                let title = "released, and offered again by the next cycle if its tag still has this digest:";
                f.write_str(&list(title, &self.released))?;
                if !self.waiting.is_empty() {
                    f.write_str("\nnot updated by the next cycle:")?;
                }
                self.waiting.iter().try_for_each(|(service, why)| {
                    write!(f, "\n  {}", printable(&format!("{service}: {why}")))
                })?;
            }
            Some(Miss::NothingHeld) => return f.write_str("nothing was released: nothing is in quarantine"),
            Some(Miss::NotHeld(name)) => {
                write!(f, "nothing was released: {} is not in quarantine", printable(name))?;
            }
            Some(Miss::Unknown { name, nearest }) => {
                write!(f, "nothing was released: there is no service and no image {name:?} in this swarm")?;
                if let Some(nearest) = nearest {
                    write!(f, "; did you mean {}?", printable(nearest))?;
                }
            }
        }
        let left = match (self.left.is_empty(), &self.miss) {
            (true, None) => "nothing is left in quarantine",
            (true, Some(_)) => "nothing is in quarantine",
            (false, _) => "still not offered:",
        };
        write!(f, "\n{}", list(left, &self.left))
    }
}

impl fmt::Display for QuarantinedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.service.is_empty() { "all services".to_owned() } else { piece(&self.service) };
        write!(f, "{place}: {} at {}", printable(&self.image), printable(&self.digest))?;
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", printable(&self.why)) }
    }
}

#[cfg(test)]
mod tests;
