//! What a person asks of the ledger: what is in it, and to release something. Pure.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::book::{Book, Change};
use super::entry::{Entry, Subject, Verdict, image_name};
use crate::image::ImageRef;
use crate::swarm::Service;

/// What is to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service, by name or id, or an image with its tag.
    Named(String),
    /// Everything.
    All,
}

/// Something that is not offered, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The service; empty: all services with this image.
    pub service: String,
    /// The image.
    pub image: String,
    /// The digest's short form.
    pub digest: String,
    /// Why.
    pub why: String,
}

/// What a release would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The changes to the ledger.
    pub changes: Vec<Change>,
    /// What is offered again.
    pub released: Vec<Held>,
    /// What stays as it is.
    pub left: Vec<Held>,
}

/// What is held back, by the ledger and by what services show.
pub fn held(book: &Book, services: &[Service]) -> Vec<Held> {
    let mut held: Vec<Held> = everything(book, services).into_iter().map(|entry| describe(&entry)).collect();
    held.sort();
    held
}

/// What it takes to release this.
pub fn release(target: &Target, book: &Book, services: &[Service], now: Timestamp) -> Release {
    let names: BTreeMap<&str, &Service> = services.iter().map(|service| (service.name(), service)).collect();
    let mut release = Release::default();
    let all = everything(book, services);
    for entry in &all {
        if !is_meant(target, entry) {
            release.left.push(describe(entry));
            continue;
        }
        release.released.push(describe(entry));
        let is_gone = matches!(&entry.subject, Subject::Service(name) if !names.contains_key(name.as_str()));
        // What the service itself shows goes on speaking against the digest, so the release is remembered.
        release.changes.push(if is_gone {
            Change::Forget(entry.clone())
        } else {
            Change::Put(Entry { verdict: Verdict::Released, at: now, cause: String::new(), ..entry.clone() })
        });
    }
    // A service that is held back only together with all others of its image.
    if let Target::Named(name) = target
        && release.released.is_empty()
        && let Some(service) = services.iter().find(|service| service.name() == name || service.id == *name)
        && let Some(image) = image_of(service).as_ref().and_then(image_name)
        && let Some(entry) = all.iter().find(|entry| entry.subject == Subject::Image(image.clone()))
    {
        let own = Entry {
            subject: Subject::Service(service.name().to_owned()),
            service_id: service.id.clone(),
            verdict: Verdict::Released,
            at: now,
            before: Vec::new(),
            cause: String::new(),
            ..entry.clone()
        };
        release.released.push(describe(&own));
        release.changes.push(Change::Put(own));
    }
    release.released.sort();
    release.left.sort();
    release
}

/// Entries that hold something back, and those that would be made of what services show.
fn everything(book: &Book, services: &[Service]) -> Vec<Entry> {
    let holds_back = |entry: &&Entry| matches!(entry.verdict, Verdict::Quarantined | Verdict::LeftByHand);
    let mut all: Vec<Entry> = book.entries().filter(holds_back).cloned().collect();
    let shown = services.iter().filter(|service| book.service(service.name(), &service.id).is_none());
    all.extend(shown.filter_map(left_by_hand));
    all
}

/// What a service shows that was rolled back on request.
fn left_by_hand(service: &Service) -> Option<Entry> {
    let is_rollback = service.update.as_ref().is_some_and(|update| update.state.is_rollback());
    let (present, previous) = (image_of(service)?, service.previous.as_ref()?.facts().image.as_deref()?);
    let previous: ImageRef = previous.parse().ok()?;
    let image = image_name(&present)?;
    let is_left = is_rollback
        && image_name(&previous).as_ref() == Some(&image)
        && previous.digest() != present.digest();
    Some(Entry {
        subject: Subject::Service(service.name().to_owned()),
        verdict: Verdict::LeftByHand,
        image,
        digest: previous.digest().filter(|_| is_left)?.clone(),
        service_id: service.id.clone(),
        at: Timestamp::UNIX_EPOCH,
        node: String::new(),
        before: Vec::new(),
        cause: String::new(),
    })
}

fn image_of(service: &Service) -> Option<ImageRef> {
    service.spec.facts().image.as_deref()?.parse().ok()
}

fn is_meant(target: &Target, entry: &Entry) -> bool {
    let Target::Named(name) = target else { return true };
    let is_service = match &entry.subject {
        Subject::Service(service) => service == name || entry.service_id == *name,
        Subject::Image(_) => false,
    };
    let image = name.parse::<ImageRef>().ok().as_ref().and_then(image_name);
    // `app` is a service before it is `app:latest`.
    let names_image = image.as_ref() == Some(&entry.image) && name.contains([':', '/']);
    is_service || names_image
}

fn describe(entry: &Entry) -> Held {
    let why = match entry.verdict {
        Verdict::LeftByHand => "rolled back by hand".to_owned(),
        _ if entry.cause.is_empty() => "quarantined".to_owned(),
        _ => format!("quarantined: {}", entry.cause),
    };
    let service = match &entry.subject {
        Subject::Service(name) => name.clone(),
        Subject::Image(_) => String::new(),
    };
    Held { service, image: entry.image.clone(), digest: entry.digest.short().to_owned(), why }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = if self.service.is_empty() { "all services" } else { &self.service };
        write!(f, "{whom}: {} at {}", self.image, self.digest)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, " ({})", self.why) }
    }
}

#[cfg(test)]
mod tests;
