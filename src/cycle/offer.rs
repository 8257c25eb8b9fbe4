//! Which digest the gates of memory let a service have: its age, and what users have approved. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::ServicePolicy;
use crate::gate::age::{self, Aged, KnownDigest};
use crate::gate::approval::Approval;
use crate::gate::{Gate, Refusal};
use crate::image::{Digest, ImageRef};
use crate::ledger::seen::{RECALLED_AFTER, SeenImage};
use crate::model::candidate::Candidate;
use crate::model::held::Held;
use crate::model::inspected::ResolvedTag;
use crate::model::quarantine::Quarantine;
use crate::words::timespan;

/// What is asked of the gates.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateQuestion<'a> {
    /// The service.
    pub candidate: &'a Candidate,
    /// Its settings.
    pub policy: &'a ServicePolicy,
    /// The image that it has.
    pub from: &'a ImageRef,
    /// The ledger's name of that image.
    pub name: &'a str,
    /// What the image's tag stands at.
    pub tag: &'a ResolvedTag,
    /// The digests that the tag has stood at.
    pub seen: &'a SeenImage,
}

/// What the gates answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Passed {
    /// What the tag stands at, or nothing newer than what the service has.
    Tag,
    /// This digest.
    Offer(Digest),
    /// Nothing yet.
    Held(Box<Held>),
}

/// Whether a service has gates that remember.
pub(super) fn has_gates(policy: &ServicePolicy) -> bool {
    policy.min_age.is_some() || policy.approval || policy.accept
}

/// Which digest the service gets. `passes_age` is a user's word that digests need no age this time.
pub(super) fn pass(asked: &GateQuestion<'_>, quarantine: &Quarantine, passes_age: bool) -> Passed {
    let GateQuestion { candidate, policy, from, name, tag, seen } = *asked;
    if tag.is_current(from.digest()) {
        return Passed::Tag;
    }
    let now = quarantine.now;
    let is_own = |known: &&KnownDigest| Some(&known.digest) == from.digest();
    if seen.doubted().iter().any(|known| is_own(&known)) {
        return Passed::Held(Box::new(held_while_back(asked)));
    }
    let newer = seen.candidates().iter().take_while(|known| !is_own(known));
    let newer: Vec<&KnownDigest> =
        newer.filter(|known| quarantine.holds_back(candidate, from, &known.digest).is_none()).collect();
    let approval = |known: &KnownDigest| {
        let about = |it: &&Approval| it.is_about(name, &candidate.name, &known.digest);
        quarantine.book.approvals.iter().find(about)
    };
    let is_approved = |known: &&&KnownDigest| approval(known).is_some_and(|it| it.holds_at(now));
    if let Some(known) = newer.iter().find(is_approved) {
        return passed(known, tag);
    }
    let Some(newest) = newer.first() else { return Passed::Tag };
    let age = policy.min_age.filter(|_| !passes_age).unwrap_or_default();
    if policy.approval {
        let refusal = unapproved(newest, from, approval(newest));
        return Passed::Held(Box::new(Held {
            image: from.pinned(&newest.digest),
            first: refusal,
            others: Vec::new(),
        }));
    }
    match age::choose(&newer, age, now) {
        Aged::None => Passed::Tag,
        Aged::Offer(known) => passed(known, tag),
        Aged::Wait(known, until) => {
            let first = too_young(known, from, (age, until));
            let image = from.pinned(&known.digest);
            Passed::Held(Box::new(Held { image, first, others: Vec::new() }))
        }
    }
}

fn passed(known: &KnownDigest, tag: &ResolvedTag) -> Passed {
    if known.digest == tag.digest { Passed::Tag } else { Passed::Offer(known.digest.clone()) }
}

fn too_young(known: &KnownDigest, from: &ImageRef, (age, until): (Duration, Timestamp)) -> Refusal {
    let (digest, image, age) = (known.digest.short(), from.tagged(), timespan(age));
    let why = format!(
        "cooling down: {digest} of {image} is known since {:.0}; offered from {until:.0} (gantry.update.min_age={age})",
        known.since
    );
    Refusal { gate: Gate::Age, why, until: Some(until) }
}

fn unapproved(known: &KnownDigest, from: &ImageRef, run_out: Option<&Approval>) -> Refusal {
    let (digest, image) = (known.digest.short(), from.tagged());
    let mut why = format!(
        "waits for approval: {digest} of {image}, since {:.0} (gantry approve {image} {digest})",
        known.since
    );
    if let Some(Approval { by, until, .. }) = run_out {
        _ = write!(why, "; the approval of {by} ran out at {until:.0} before it was rolled out");
    }
    Refusal { gate: Gate::Approval, why, until: None }
}

/// The tag has gone back from what the service has, a moment ago.
fn held_while_back(asked: &GateQuestion<'_>) -> Held {
    let since = asked.seen.back_since().unwrap_or_default();
    let until = since.checked_add(RECALLED_AFTER).unwrap_or(since);
    let digest = asked.tag.digest.short();
    let why = format!(
        "the tag has gone back to {digest}; the service follows when it still stands there at {until:.0}"
    );
    Held {
        image: asked.from.pinned(&asked.tag.digest),
        first: Refusal { gate: Gate::Age, why, until: Some(until) },
        others: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
