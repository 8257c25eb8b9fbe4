//! Tags that go back to a digest that their services had before. Pure, but for what is logged.
//!
//! Some registries and caches answer now with an old digest, now with a new one. So a tag that goes back is followed only when
//! it has stood there for a while, at each look, and longer each time that it goes back again. The ledger remembers since
//! when, so that single runs follow it too.
//!
//! ```text
//!            an older digest                          stands there long enough
//!   latest ------------------> doubted, since then -----------------------------> followed: the latest
//!          <------------------
//!            the latest again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::context::Context;
use crate::image::Digest;
use crate::ledger::book::LedgerChange;
use crate::ledger::entry::{DigestVerdict, Entry, Subject, image_name};
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held_back::Doubt;
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::model::quarantine::Quarantine;

/// How long a tag has to stand at an older digest the first time.
const FIRST_WAIT: Duration = Duration::from_secs(5 * 60);

/// How many times as long each further time.
const WAIT_FACTOR: u32 = 6;

/// The longest that it has to.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How long a tag has to stand still until it is forgotten that it ever went back.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is known of the tags of a cycle that have gone back.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    doubts: BTreeMap<String, Doubt>,
    changes: Vec<LedgerChange>,
    /// What is to be said once, by image, with the number of services concerned.
    news: BTreeMap<String, (Doubt, usize)>,
}

/// What a look at one tag tells.
struct Look<'a> {
    name: &'a str,
    digest: &'a Digest,
    alternates: bool,
    /// How many services have another digest of it.
    others: usize,
}

/// Takes a look at the tags of these services, says what is new, and remembers it.
pub(super) fn look<S, R>(context: &Context<S, R>, inspected: &[Inspected], quarantine: &Quarantine) -> Tags {
    let tags = judge(inspected, quarantine);
    tags.tell(context);
    tags
}

/// Takes a look at the tags of these services.
pub fn judge(inspected: &[Inspected], quarantine: &Quarantine) -> Tags {
    let mut tags = Tags::default();
    let present = present(inspected);
    for (name, answers) in answers(inspected) {
        let Some((digest, _)) = answers.first() else { continue };
        let look = Look {
            name: &name,
            digest,
            alternates: answers.iter().any(|(other, alternates)| *alternates || other != digest),
            others: present.get(&name).map_or(0, |digests| others(digests, digest)),
        };
        tags.take(&look, quarantine);
    }
    tags
}

/// The digests of each tag, as the registries answered. It is asked once for each account.
fn answers(inspected: &[Inspected]) -> BTreeMap<String, BTreeSet<(&Digest, bool)>> {
    let mut answers: BTreeMap<String, BTreeSet<(&Digest, bool)>> = BTreeMap::new();
    for Inspected { candidate, answer, .. } in inspected {
        if let (Some(name), Some(Ok(ResolvedTag { digest, alternates, .. }))) =
            (candidate.image().and_then(image_name), answer)
        {
            answers.entry(name).or_default().insert((digest, *alternates));
        }
    }
    answers
}

/// The digests that services have of each tag; `None`: without one.
fn present(inspected: &[Inspected]) -> BTreeMap<String, Vec<Option<Digest>>> {
    let mut present: BTreeMap<String, Vec<Option<Digest>>> = BTreeMap::new();
    for image in inspected.iter().filter_map(|inspected| inspected.candidate.image()) {
        if let Some(name) = image_name(image) {
            present.entry(name).or_default().push(image.digest().cloned());
        }
    }
    present
}

fn others(present: &[Option<Digest>], digest: &Digest) -> usize {
    present.iter().filter(|other| other.as_ref() != Some(digest)).count()
}

/// How long a tag has to stand at an older digest that has gone back so many times before.
fn wait(flips: u32) -> Duration {
    let factor = WAIT_FACTOR.checked_pow(flips).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

impl Tags {
    fn take(&mut self, look: &Look<'_>, quarantine: &Quarantine) {
        let (book, now) = (&quarantine.book, quarantine.now);
        let remembered = book.tag(look.name);
        let age = |entry: &Entry| Duration::try_from(now.duration_since(entry.at)).unwrap_or_default();
        let Some(offered) = book.image(look.name) else { return };
        if !offered.is_behind(look.digest) {
            match remembered {
                // The latest again, or one that is newer.
                Some(entry) if entry.digest != *look.digest => {
                    self.changes.push(LedgerChange::Put(Self::entry(look, quarantine, entry.flips)));
                }
                Some(entry) if age(entry) >= FORGOTTEN_AFTER => {
                    self.changes.push(LedgerChange::Forget(entry.clone()));
                }
                _ => {}
            }
            return;
        }
        let stands = remembered.filter(|entry| entry.digest == *look.digest);
        let (entry, is_new) = match stands {
            // Each look would move the time on, and none would be worth a write.
            Some(entry) if look.alternates && age(entry) < wait(entry.flips) / 2 => (entry.clone(), false),
            Some(entry) if look.alternates => {
                let entry = Self::entry(look, quarantine, entry.flips.max(1));
                self.changes.push(LedgerChange::Put(entry.clone()));
                (entry, false)
            }
            Some(entry) => (entry.clone(), false),
            None => {
                let flips =
                    remembered.map_or(u32::from(look.alternates), |entry| entry.flips.saturating_add(1));
                let entry = Self::entry(look, quarantine, flips);
                self.changes.push(LedgerChange::Put(entry.clone()));
                (entry, remembered.is_none())
            }
        };
        let (waited, wait) = (age(&entry), wait(entry.flips));
        if !look.alternates && waited >= wait {
            return;
        }
        let doubt = Doubt { digest: look.digest.clone(), since: entry.at, wait };
        if is_new && look.others > 0 {
            self.news.insert(look.name.to_owned(), (doubt.clone(), look.others));
        }
        self.doubts.insert(look.name.to_owned(), doubt);
    }

    fn entry(look: &Look<'_>, quarantine: &Quarantine, flips: u32) -> Entry {
        let name = look.name.to_owned();
        let entry = quarantine.entry("", "", name.clone(), look.digest, DigestVerdict::GoneBack, "");
        Entry { subject: Subject::Tag(name), flips, ..entry }
    }

    /// Whether it is not believed where the tag of this image stands.
    pub fn doubts(&self, name: &str) -> bool {
        self.doubts.contains_key(name)
    }

    /// Holds back the updates to digests that are not believed.
    pub fn hold(&self, planned: Vec<Planned>) -> Vec<Planned> {
        let hold = |planned: Planned| {
            let Decision::Update(update) = &planned.decision else { return planned };
            let doubt = image_name(&update.to).and_then(|name| self.doubts.get(&name));
            match doubt.filter(|doubt| update.begun.is_none() && update.to.digest() == Some(&doubt.digest)) {
                Some(doubt) => {
                    let decision = Decision::LeftAlone(Reason::GoneBack(doubt.clone()));
                    Planned { decision, ..planned }
                }
                None => planned,
            }
        };
        planned.into_iter().map(hold).collect()
    }

    /// Says what is new, and remembers it.
    fn tell<S, R>(&self, context: &Context<S, R>) {
        for (image, (doubt, services)) in &self.news {
            context.events.notice(
                &[],
                image,
                format_args!("{doubt} ({services} services have another digest)"),
            );
        }
        for change in &self.changes {
            context.ledger.note(change.clone());
        }
    }
}

#[cfg(test)]
mod tests;
