//! Which digests a service is not offered, and why. Pure.
//!
//! Evidence, in this order: what the ledger remembers, and what the service itself shows. It shows a digest that it
//! went back from in two ways. A rollback on request, of Gantry or a person, leaves it in the previous
//! specification. A rollback by the swarm leaves no previous specification, but a failed task with it. A failed task
//! also tells a rollback for its sake from a person's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::image::{Digest, ImageRef};
use crate::ledger::book::{Book, LedgerChange, Present};
use crate::ledger::entry::{DigestVerdict, Entry, Subject, image_name};
use crate::ledger::seen::SeenBook;
use crate::model::candidate::Candidate;
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held_back::{HeldBack, Why};
use crate::model::history::{History, RolledBack};
use crate::model::inspected::Inspected;
use crate::model::update::Update;

/// What a cycle knows of broken images.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Whether it counts.
    pub is_on: bool,
    /// What the ledger remembers.
    pub book: Arc<Book>,
    /// The digests that gates may let pass, though their tags have left them.
    pub seen: Arc<SeenBook>,
    /// The time, by the engine's clock.
    pub now: Timestamp,
    /// How long a digest stays; `None`: until its tag moves on, or by hand.
    pub duration: Option<Duration>,
    /// Our node, for new entries.
    pub node: String,
}

impl Quarantine {
    /// Why this digest is not offered to this service, which has `from`; `None`: it is.
    pub fn holds_back(&self, candidate: &Candidate, from: &ImageRef, digest: &Digest) -> Option<HeldBack> {
        let image = image_name(from).filter(|_| self.is_on)?;
        let of_service = self.book.service(&candidate.name, &candidate.id);
        let own = of_service.filter(|entry| entry.digest == *digest);
        let of_image = self.book.image(&image);
        let held = |why, entry: &Entry, release: &str| HeldBack {
            why,
            digest: digest.clone(),
            cause: entry.cause.clone(),
            release: release.to_owned(),
            news: None,
        };
        match own {
            Some(entry) if entry.verdict == DigestVerdict::Released => return None,
            Some(entry) if entry.holds_back(digest, self.now, self.duration) => {
                let is_by_hand = entry.verdict == DigestVerdict::LeftByHand;
                let why = if is_by_hand { Why::LeftByHand } else { Why::BrokeService };
                return Some(held(why, entry, &candidate.name));
            }
            // It has run out, and what the service shows is the same story: so it is remembered on.
            Some(entry) if entry.verdict != DigestVerdict::Excused => return None,
            _ => {}
        }
        // Of what was held back before, the cause is not remembered.
        let earlier = |why, entry: &Entry, release: &str| {
            let is_meant = entry.was_stopped(digest) && self.may_be_offered(&image, digest);
            is_meant.then(|| HeldBack { cause: String::new(), ..held(why, entry, release) })
        };
        let earlier = of_service
            .and_then(|entry| earlier(Why::BrokeService, entry, &candidate.name))
            .or_else(|| earlier(Why::RolloutStopped, of_image?, &image));
        if earlier.is_some() {
            return earlier;
        }
        if let Some(entry) = of_image.filter(|entry| entry.holds_back(digest, self.now, self.duration)) {
            return Some(held(Why::RolloutStopped, entry, &image));
        }
        // A broken digest is so under every tag of its repository, unless the image's own entry says otherwise.
        let is_judged = of_image.is_some_and(|entry| entry.digest == *digest);
        if !is_judged && let Some((entry, name)) = self.stopped_elsewhere(from, digest) {
            return Some(held(Why::RolloutStopped, entry, name));
        }
        if own.is_some() {
            return None;
        }
        let has_choice = self.may_be_offered(&image, digest);
        let (why, cause) = Self::shown(&candidate.history, from, (digest, has_choice), of_image)?;
        if why == Why::LeftByHand && is_written_by_stack(candidate, from) {
            return None;
        }
        let news = self.entry(&candidate.name, &candidate.id, image, digest, verdict_of(why), &cause);
        let release = candidate.name.clone();
        Some(HeldBack { why, digest: digest.clone(), cause, release, news: Some(Box::new(news)) })
    }

    /// The entry of another tag of this repository by which this digest is in quarantine, and its name.
    fn stopped_elsewhere(&self, from: &ImageRef, digest: &Digest) -> Option<(&Entry, &str)> {
        let is_stopped = |entry: &&Entry| {
            (entry.digest == *digest || entry.was_stopped(digest))
                && (entry.was_stopped(digest) || entry.holds_back(digest, self.now, self.duration))
        };
        self.book.entries().filter(is_stopped).find_map(|entry| match &entry.subject {
            Subject::Image(name) => {
                let image: ImageRef = name.parse().ok()?;
                image.is_same_repository_as(from).then_some((entry, name.as_str()))
            }
            _ => None,
        })
    }

    /// Holds the updates of which a failure could not be remembered: they would be offered again and again.
    pub fn hold_what_finds_no_room(
        &self,
        inspected: &[Inspected],
        mut planned: Vec<Planned>,
    ) -> Vec<Planned> {
        if !self.is_on {
            return planned;
        }
        let mut book = Book::clone(&self.book);
        let outdated = book.outdated(&present(inspected)).into_iter();
        let expired = book.entries().filter(|entry| entry.has_expired(self.now, self.duration)).cloned();
        let forgotten: Vec<Entry> = outdated.chain(expired).collect();
        for entry in forgotten {
            book.apply(&LedgerChange::Forget(entry));
        }
        for planned in &mut planned {
            let Decision::Update(update) = &planned.decision else { continue };
            if let Some(why) = finds_no_room(&book, update) {
                planned.decision = Decision::LeftAlone(Reason::LedgerFull(why));
            }
        }
        planned
    }

    /// Why a failure of this update could not be remembered by now, as others have failed since it was planned.
    pub fn finds_no_room(&self, update: &Update) -> Option<String> {
        if self.is_on { finds_no_room(&self.book, update) } else { None }
    }

    /// Whether gates may let this digest of an image pass.
    fn may_be_offered(&self, image: &str, digest: &Digest) -> bool {
        self.seen.image(image).is_some_and(|seen| seen.since(digest).is_some())
    }

    /// What the service itself shows. `has_choice`: gates may offer the digest, wherever its tag stands.
    fn shown(
        history: &History,
        from: &ImageRef,
        (digest, has_choice): (&Digest, bool),
        of_image: Option<&Entry>,
    ) -> Option<(Why, String)> {
        let History { previous, rollback, failed, .. } = history;
        // Where the tag has moved since, or gone back, an older specification tells nothing.
        let is_still_offered = has_choice || of_image.is_none_or(|entry| entry.digest == *digest);
        if *rollback == Some(RolledBack::BySwarm) {
            let error = failed.get(digest)?.as_ref()?;
            return Some((Why::BrokeService, format!("Swarm rolled it back: {error}")));
        }
        let left = previous.as_ref().filter(|image| image_name(image) == image_name(from))?.digest()?;
        let was_offered = of_image.is_some_and(|entry| {
            (entry.digest == *digest && !entry.has_gone_back()) || (has_choice && entry.has_had(digest))
        });
        let is_left = left == digest && from.digest() != Some(digest);
        let is_by_hand = if rollback.is_some() { is_still_offered } else { was_offered };
        // A rollback from a digest that failed is what Gantry does, and maybe it was Gantry: killed before it could
        // write that down.
        let failed = failed.get(digest).filter(|_| rollback.is_some());
        match failed.filter(|_| is_left && is_by_hand) {
            Some(Some(error)) => Some((Why::BrokeService, format!("it was rolled back: {error}"))),
            // For something that is not the image's fault.
            Some(None) => None,
            None => (is_left && is_by_hand).then(|| (Why::LeftByHand, String::new())),
        }
    }

    /// What a service shows that the ledger does not hold yet, by the rule of [`Self::holds_back`]. No registry is asked: the
    /// tag is taken to have the digest that Gantry last offered, or else any that the service went back from.
    pub fn shown_by(&self, candidate: &Candidate) -> Option<Entry> {
        let from = candidate.image()?;
        let left = candidate.history.previous.as_ref().and_then(|image| image.digest());
        let digests = match self.book.image(&image_name(from)?) {
            Some(entry) => vec![&entry.digest],
            None => candidate.history.failed.keys().chain(left).collect(),
        };
        let other = digests.into_iter().filter(|digest| from.digest() != Some(digest));
        other.filter_map(|digest| self.holds_back(candidate, from, digest)?.news).map(|news| *news).next()
    }

    /// Whether only the service's tasks tell which digest it was rolled back from, or that a failure was the reason.
    pub fn needs_tasks(&self, inspected: &Inspected) -> bool {
        let candidate = &inspected.candidate;
        let (Some(image), true) = (candidate.image(), self.is_on && candidate.history.rollback.is_some())
        else {
            return false;
        };
        let own = inspected.offered().map(|answer| (image.clone(), &answer.digest));
        let newest = inspected.newest_tag();
        let newest = newest.map(|newest| (newest.image.with_digest_of(image), &newest.resolved.digest));
        own.into_iter().chain(newest).any(|(from, digest)| {
            image.digest() != Some(digest)
                && self.book.service(&candidate.name, &candidate.id).is_none_or(|own| own.digest != *digest)
                && self.holds_back(candidate, &from, digest).is_none_or(|held| held.why == Why::LeftByHand)
        })
    }

    /// An entry about one service.
    pub fn entry(
        &self,
        service: &str,
        id: &str,
        image: String,
        digest: &Digest,
        verdict: DigestVerdict,
        cause: &str,
    ) -> Entry {
        Entry {
            subject: Subject::Service(service.to_owned()),
            verdict,
            image,
            digest: digest.clone(),
            service_id: id.to_owned(),
            at: self.now,
            node: self.node.clone(),
            before: Vec::new(),
            had: Vec::new(),
            stopped: Vec::new(),
            flips: 0,
            cause: cause.to_owned(),
        }
    }

    /// An entry about an image and the digest that it is pinned to.
    pub fn entry_of_image(&self, image: &ImageRef, verdict: DigestVerdict, cause: &str) -> Option<Entry> {
        let (name, digest) = (image_name(image)?, image.digest()?);
        let entry = self.entry("", "", name.clone(), digest, verdict, cause);
        Some(Entry { subject: Subject::Image(name), ..entry })
    }

    /// What is remembered when these updates begin: which digests are offered.
    pub fn offers<'a>(&self, updates: impl Iterator<Item = &'a Update>) -> Vec<LedgerChange> {
        let mut images: BTreeMap<String, (&ImageRef, BTreeSet<String>)> = BTreeMap::new();
        // What is under way was offered when it was begun, and may be older than what is known by now.
        for update in updates.filter(|update| update.begun.is_none()) {
            if let Some(name) = image_name(&update.to) {
                let (_, had) = images.entry(name).or_insert_with(|| (&update.to, BTreeSet::new()));
                had.extend(update.from.digest().map(|digest| digest.short().to_owned()));
            }
        }
        let entries = images.into_values().filter_map(|(image, had)| {
            let entry = self.entry_of_image(image, DigestVerdict::Offered, "")?;
            Some(Entry { had: had.into_iter().collect(), ..entry })
        });
        // The time of an offer that is remembered already is not worth a write.
        let is_new = |entry: &Entry| {
            let Subject::Image(name) = &entry.subject else { return true };
            // A service that is offered an older digest than others were says nothing of where the image is.
            let is_older = |old: &Entry| {
                self.seen.image(name).is_some_and(|seen| seen.is_older(&entry.digest, &old.digest))
            };
            self.book.image(name).is_none_or(|old| {
                (old.digest != entry.digest && !is_older(old)) || old.verdict == DigestVerdict::Released
            })
        };
        entries.filter(is_new).map(LedgerChange::Put).collect()
    }

    /// Whether an image's digest is one that its services were offered, lately.
    pub fn was_offered(&self, image: &ImageRef) -> bool {
        let entry = image_name(image).and_then(|name| self.book.image(&name));
        entry.zip(image.digest()).is_some_and(|(entry, digest)| entry.has_had(digest))
    }

    /// The entries that have had their time.
    pub fn outdated(&self, present: &Present) -> Vec<LedgerChange> {
        let may_be_offered = |entry: &Entry| {
            let seen = self.seen.image(&entry.image);
            let is_known = |short: &str| seen.is_some_and(|seen| seen.knows(short));
            is_known(entry.digest.short()) || entry.stopped.iter().any(|short| is_known(short))
        };
        let outdated = self.book.outdated(present).into_iter();
        let has_it = |entry: &Entry| matches!(present.services.get(&entry.service_id), Some(Some(has)) if *has == entry.digest);
        let is_gone = |entry: &Entry| present.gone.contains(&entry.service_id);
        outdated
            .filter(|entry| !may_be_offered(entry) || has_it(entry) || is_gone(entry))
            .map(LedgerChange::Forget)
            .collect()
    }

    /// Ids of services that are remembered and were not looked at: they may be gone.
    pub fn unseen(&self, present: &Present) -> Vec<String> {
        let ids = self.book.entries().map(|entry| entry.service_id.clone()).filter(|id| !id.is_empty());
        ids.filter(|id| !present.services.contains_key(id)).collect()
    }
}

/// Whether a service has another tag than `from` because its stack file says so: `docker stack deploy` has written the tag of
/// the file back, and nothing was rolled back. A person who takes an image away does not change the stack's label.
fn is_written_by_stack(candidate: &Candidate, from: &ImageRef) -> bool {
    let Some(own) = candidate.image().filter(|own| !own.is_same_tag_as(from)) else { return false };
    let stack = candidate.policy.as_ref().ok().and_then(|policy| policy.stack_image.as_ref());
    candidate.history.rollback.is_none()
        && stack.is_some_and(|stack| stack.is_same_repository_as(own) && stack.tag() == own.tag())
}

/// What was looked at, as far as entries may depend on it.
pub fn present(inspected: &[Inspected]) -> Present {
    let mut present = Present::default();
    for inspected in inspected {
        let Inspected { candidate, answer, .. } = inspected;
        if let Some(newest) = inspected.newest_tag()
            && let Some(name) = image_name(&newest.image)
        {
            present.tags.insert(name, newest.resolved.digest.clone());
        }
        let image = candidate.image();
        let digest = image.and_then(|image| image.digest().cloned());
        // One that does not run it well yet does not have it.
        let has_it = candidate.unfinished.as_ref().is_none_or(|unfinished| unfinished.has_its_digest());
        let digest = digest.filter(|_| has_it);
        present.services.insert(candidate.id.clone(), digest);
        if let (Some(name), Some(Ok(answer))) = (image.and_then(image_name), answer) {
            present.tags.insert(name, answer.digest.clone());
        }
    }
    present
}

fn finds_no_room(book: &Book, update: &Update) -> Option<String> {
    let has_place = book.service(&update.service, &update.id).is_some_and(Entry::is_for_good);
    if update.begun.is_some() || has_place {
        return None;
    }
    book.lacks_room_for(&image_name(&update.to)?)
}

/// What only services showed so far, to be remembered before they show it no longer: a change of a label is
/// enough for that.
pub fn news(planned: &[Planned]) -> impl Iterator<Item = LedgerChange> {
    planned.iter().filter_map(|planned| match &planned.decision {
        Decision::LeftAlone(Reason::HeldBack(held)) => Some(LedgerChange::Put(*held.news.clone()?)),
        Decision::NeedsAttention { news, .. } => Some(LedgerChange::Put(*news.clone()?)),
        _ => None,
    })
}

fn verdict_of(why: Why) -> DigestVerdict {
    match why {
        Why::LeftByHand => DigestVerdict::LeftByHand,
        Why::BrokeService | Why::RolloutStopped => DigestVerdict::Quarantined,
    }
}

#[cfg(test)]
mod tests;
