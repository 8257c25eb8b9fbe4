//! All entries, as one value: what the plan asks, and how the labels change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::approved::Approvals;
use super::codec;
pub use super::codec::Labels;
use super::entry::{DigestVerdict, Entry, Subject, repository};
use super::lease::{Lease, Party};
use super::left_behind::LeftBehind;
use super::orders::{OrderNote, Orders};
use super::steered::{MAX_ACTIONS, SteeringAction, UserPause, read_actions, with_action};
use crate::gate::approval::Approval;
use crate::image::Digest;

/// Most entries that are kept.
const MAX_ENTRIES: usize = 128;

/// Most bytes of entries that are kept. Every change writes all of them to the swarm's log (Raft), which is made for
/// small entries.
const MAX_BYTES: usize = 32 << 10;

/// So many entries of one repository hold something back, at most: the failures of one are not to push out those of others.
const SHARE: usize = 24;

/// With so many entries that hold something back, there is no room for more: those of updates under way must fit as well.
const FULL_ENTRIES: usize = 96;

/// The same in bytes.
const FULL_BYTES: usize = 24 << 10;

/// More bytes than most entries have.
const ENTRY_BYTES: usize = 512;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    entries: BTreeMap<Subject, Entry>,
    /// Which services have an update order from Gantry.
    pub orders: Orders,
    /// A user's word that no update begins, also one whose time is over.
    pub pause: Option<UserPause>,
    /// What users have approved, also what has run out.
    pub approvals: Approvals,
    /// When the latest cycle of the schedule began, as far as that was worth a note.
    pub scheduled: Option<Timestamp>,
    /// The latest steering actions, the oldest first.
    pub actions: Vec<SteeringAction>,
    /// Labels that look like entries and cannot be read.
    pub damaged: Vec<String>,
}

/// A change to the ledger. It can be made to any state of the ledger, so that two that write at once
/// lose nothing of each other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChange {
    /// Remember this entry in place of the earlier one about the same subject.
    Put(Entry),
    /// Forget, if it is still this.
    Forget(Entry),
    /// Remember this of the order of the service with this id; a note that says nothing is forgotten.
    Order(String, OrderNote),
    /// No update begins; `None`: updates may begin again.
    Pause(Option<UserPause>),
    /// A user has approved a digest.
    Approve(Approval),
    /// This approval is used up or void.
    Revoke(Approval),
    /// A user has steered.
    Steered(SteeringAction),
    /// A cycle that looks at all services has begun, where cycles follow a schedule.
    Scheduled(Timestamp),
}

/// Leaves out the steering actions that would be forgotten as soon as these changes are written: users may steer without end
/// while the ledger cannot be written.
pub(super) fn drop_old_actions(changes: &mut Vec<LedgerChange>) {
    let is_action = |change: &LedgerChange| matches!(change, LedgerChange::Steered(_));
    let mut surplus = changes.iter().filter(|change| is_action(change)).count().saturating_sub(MAX_ACTIONS);
    changes.retain(|change| {
        let is_old = surplus > 0 && is_action(change);
        surplus -= usize::from(is_old);
        !is_old
    });
}

/// What is known of the present, to tell entries that have had their time.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// The digest that each image's tag has now, where its registry was asked.
    pub tags: BTreeMap<String, Digest>,
    /// The digest that each service has, by its id, where it was looked at.
    pub services: BTreeMap<String, Option<Digest>>,
    /// Ids of services that do not exist any more.
    pub gone: BTreeSet<String>,
}

impl Book {
    /// Reads the labels. What is no entry is left out.
    pub fn read(labels: &Labels) -> Self {
        let orders = labels.get(codec::ORDERS).map(|text| Orders::read(text)).unwrap_or_default();
        let pause = labels.get(codec::PAUSE).and_then(|text| UserPause::read(text));
        let actions = labels.get(codec::STEERED).map(|text| read_actions(text)).unwrap_or_default();
        let approvals = Approvals::read(labels);
        let scheduled = labels.get(codec::SCHEDULED).and_then(|text| text.parse().ok());
        let mut book = Self { orders, pause, approvals, scheduled, actions, ..Self::default() };
        for (key, text) in labels {
            let Some(subject) = codec::subject(key) else { continue };
            match codec::read(&subject, text) {
                Some(entry) => _ = book.entries.insert(subject, entry),
                None => book.damaged.push(key.clone()),
            }
        }
        book
    }

    /// All entries, services first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What is remembered of a service, if it is still the same one.
    pub fn service(&self, name: &str, id: &str) -> Option<&Entry> {
        self.entries.get(&Subject::Service(name.to_owned())).filter(|entry| entry.service_id == id)
    }

    /// What is remembered of an image.
    pub fn image(&self, name: &str) -> Option<&Entry> {
        self.entries.get(&Subject::Image(name.to_owned()))
    }

    /// Where the tag of an image stands, if it has gone back.
    pub fn tag(&self, name: &str) -> Option<&Entry> {
        self.entries.get(&Subject::Tag(name.to_owned()))
    }

    /// Changes what is remembered.
    pub fn apply(&mut self, change: &LedgerChange) {
        match change {
            LedgerChange::Put(entry) => _ = self.entries.insert(entry.subject.clone(), self.following(entry)),
            LedgerChange::Forget(entry) => {
                if self.entries.get(&entry.subject) == Some(entry) {
                    self.entries.remove(&entry.subject);
                }
            }
            LedgerChange::Order(id, note) => self.orders.put(id, *note),
            LedgerChange::Pause(pause) => self.pause.clone_from(pause),
            LedgerChange::Approve(approval) => self.approvals.put(approval.clone()),
            LedgerChange::Revoke(approval) => self.approvals.remove(approval),
            LedgerChange::Steered(action) => self.actions.push(action.clone()),
            LedgerChange::Scheduled(at) => self.scheduled = Some(*at),
        }
    }

    /// Whether a change would make a difference.
    pub fn is_changed_by(&self, change: &LedgerChange) -> bool {
        let mut changed = self.clone();
        changed.apply(change);
        changed != *self
    }

    /// The entry with the history of what it replaces. That a digest is in quarantine for all is not forgotten
    /// because a user releases it for one service.
    fn following(&self, entry: &Entry) -> Entry {
        match self.entries.get(&entry.subject) {
            Some(old) if matches!(entry.subject, Subject::Image(_)) => {
                let is_kept = entry.verdict == DigestVerdict::Offered
                    && old.verdict == DigestVerdict::Quarantined
                    && old.digest == entry.digest;
                let kept = if is_kept { old.clone() } else { entry.clone() };
                let (before, had) = (old.before_then(&entry.digest), old.had_then(&entry.had));
                // With a release, a user lets the image have a new start.
                let is_released = entry.verdict == DigestVerdict::Released;
                let stopped = if is_released { Vec::new() } else { old.stopped_then(&entry.digest) };
                Entry { before, had, stopped, ..kept }
            }
            // Gates may offer an older digest next, which must not be one that broke the service before.
            Some(old)
                if matches!(entry.subject, Subject::Service(_)) && old.service_id == entry.service_id =>
            {
                let is_released = entry.verdict == DigestVerdict::Released;
                let stopped = if is_released { Vec::new() } else { old.stopped_then(&entry.digest) };
                Entry { stopped, ..entry.clone() }
            }
            _ => entry.clone(),
        }
    }

    /// The entries that have had their time: the tag has moved on, the service has the digest that was released
    /// for it, or it is gone.
    pub fn outdated(&self, present: &Present) -> Vec<Entry> {
        let is_outdated = |entry: &&Entry| match &entry.subject {
            Subject::Service(_) => {
                let has_moved_on = present.tags.get(&entry.image).is_some_and(|tag| *tag != entry.digest);
                let has_it = matches!(present.services.get(&entry.service_id), Some(Some(digest)) if *digest == entry.digest);
                // One that has run out is kept: it tells that the service may be offered the digest again, though what the
                // service shows speaks against that.
                has_moved_on || has_it || present.gone.contains(&entry.service_id)
            }
            // Of an image, the digest is remembered for as long as there is room.
            Subject::Image(_) | Subject::Tag(_) => false,
        };
        self.entries().filter(is_outdated).cloned().collect()
    }

    /// How many more entries there is room for.
    pub fn room(&self) -> usize {
        let bytes: usize = self.entries().map(size).sum();
        MAX_ENTRIES.saturating_sub(self.entries.len()).min(MAX_BYTES.saturating_sub(bytes) / ENTRY_BYTES)
    }

    /// Why a failure of this image could not be remembered, in words; `None`: there is room for it. What could not be
    /// remembered would be offered again and again, so it is not offered at all.
    pub fn lacks_room_for(&self, image: &str) -> Option<String> {
        let holding = || self.entries().filter(|entry| entry.is_for_good());
        let repository = repository(image);
        let own = holding().filter(|entry| self::repository(&entry.image) == repository).count();
        if own >= SHARE {
            return Some(format!(
                "{own} services or tags of {repository} are in quarantine, and the ledger remembers no more of one repository"
            ));
        }
        let is_full = holding().count() >= FULL_ENTRIES || holding().map(size).sum::<usize>() >= FULL_BYTES;
        is_full.then(|| "the ledger is full of what is in quarantine".to_owned())
    }

    /// The entries that there is no room for: those that say least first, then the oldest of the repository that has most,
    /// so that the failures of one do not push out those of another.
    pub fn surplus(&self) -> Vec<Entry> {
        let (mut entries, mut bytes) = (self.entries.len(), self.entries().map(size).sum::<usize>());
        let (mut good, mut cheap): (Vec<&Entry>, Vec<&Entry>) =
            self.entries().partition(|entry| entry.is_for_good());
        cheap.sort_by_key(|entry| (worth(entry), entry.at));
        // The last of each list goes first.
        good.sort_by_key(|entry| std::cmp::Reverse((worth(entry), entry.at)));
        let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in good {
            groups.entry(repository(&entry.image)).or_default().push(entry);
        }
        let mut largest: BTreeSet<(usize, &str)> =
            groups.iter().map(|(name, of)| (of.len(), *name)).collect();
        let mut cheap = cheap.into_iter();
        let mut surplus = Vec::new();
        while entries > MAX_ENTRIES || bytes > MAX_BYTES {
            let next = cheap.next().or_else(|| {
                let (count, name) = largest.pop_last()?;
                let entry = groups.get_mut(name)?.pop()?;
                largest.insert((count - 1, name));
                Some(entry)
            });
            let Some(entry) = next else { break };
            entries -= 1;
            bytes -= size(entry);
            surplus.push(entry.clone());
        }
        surplus
    }
}

/// How much an entry says: of those of the same rank, the oldest is forgotten first.
fn worth(entry: &Entry) -> u8 {
    match (entry.verdict, &entry.subject) {
        (DigestVerdict::Offered | DigestVerdict::Excused, _) => 0,
        (_, Subject::Service(_)) => 1,
        (_, Subject::Image(_) | Subject::Tag(_)) => 2,
    }
}

/// How many bytes an entry takes.
fn size(entry: &Entry) -> usize {
    codec::key(&entry.subject).len() + codec::write(entry).len()
}

/// Makes changes to labels. Labels that are not concerned stay as they are, read or not.
pub fn change(labels: &Labels, changes: &[LedgerChange]) -> Labels {
    let (mut book, mut after) = (Book::read(labels), labels.clone());
    for change in changes {
        let mut put = |key: &str, text: String| {
            after.remove(key);
            after.extend((!text.is_empty()).then(|| (key.to_owned(), text)));
        };
        let subject = match change {
            LedgerChange::Put(Entry { subject, .. }) | LedgerChange::Forget(Entry { subject, .. }) => subject,
            LedgerChange::Order(..) => {
                book.apply(change);
                put(codec::ORDERS, book.orders.write());
                continue;
            }
            LedgerChange::Approve(_) | LedgerChange::Revoke(_) => {
                book.apply(change);
                book.approvals.write(&mut after);
                continue;
            }
            LedgerChange::Pause(pause) => {
                put(codec::PAUSE, pause.as_ref().map(UserPause::write).unwrap_or_default());
                continue;
            }
            LedgerChange::Scheduled(at) => {
                put(codec::SCHEDULED, format!("{at:.0}"));
                continue;
            }
            LedgerChange::Steered(action) => {
                let text = after.get(codec::STEERED).map(String::as_str).unwrap_or_default();
                let text = with_action(text, action);
                after.insert(codec::STEERED.to_owned(), text);
                continue;
            }
        };
        let had = book.entries.contains_key(subject);
        book.apply(change);
        match book.entries.get(subject) {
            Some(entry) => _ = after.insert(codec::key(subject), codec::write(entry)),
            None if had => _ = after.remove(&codec::key(subject)),
            None => {}
        }
    }
    after
}

/// The lease in the labels.
pub fn lease(labels: &Labels) -> Option<Lease> {
    let holder = codec::read_party(labels.get(codec::LEASE)?);
    Some(Lease { holder, claim: labels.get(codec::CLAIM).map(|text| codec::read_claim(text)) })
}

/// The labels with this lease, or with none.
pub fn with_lease(mut labels: Labels, holder: Option<&Party>) -> Labels {
    labels.remove(codec::CLAIM);
    match holder {
        Some(party) => _ = labels.insert(codec::LEASE.to_owned(), codec::write_party(party)),
        None => _ = labels.remove(codec::LEASE),
    }
    labels
}

/// What the labels name as left behind.
pub fn left(labels: &Labels) -> LeftBehind {
    labels.get(codec::LEFT).map(|text| codec::read_left(text)).unwrap_or_default()
}

/// The labels with this left behind, or nothing.
pub fn with_left(mut labels: Labels, left: &LeftBehind) -> Labels {
    if *left == LeftBehind::default() {
        labels.remove(codec::LEFT);
    } else {
        labels.insert(codec::LEFT.to_owned(), codec::write_left(left));
    }
    labels
}

#[cfg(test)]
mod tests;
