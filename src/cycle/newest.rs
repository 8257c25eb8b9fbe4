//! What becomes of a service's newest tag: it is offered, or its own tag is, or it is held. Pure.
//!
//! Both pass the other gates separately: where a gate holds the newest tag, a new digest of the service's own tag is still
//! offered.

use super::offer::{self, GateQuestion, Passed};
use crate::gate::{Gate, Refusal};
use crate::image::{Digest, ImageRef};
use crate::ledger::entry::image_name;
use crate::ledger::seen::SeenBook;
use crate::model::held::Held;
use crate::model::inspected::{Gated, Inspected, NewestTag, Offer};
use crate::model::quarantine::Quarantine;

/// What becomes of the newest tag of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Newest {
    /// There is none, or the service has its digest already.
    None,
    /// What it stands at is offered.
    Passes,
    /// An older digest of it is offered, as the newest has not the age yet.
    Older(Digest),
    /// What it stands at is in quarantine, or a person has taken it away.
    HeldBack,
    /// A gate holds it.
    Held(Box<Held>),
}

/// Asks the gates what becomes of the newest tag.
pub(super) fn pass(
    inspected: &Inspected,
    book: &SeenBook,
    quarantine: &Quarantine,
    passes_age: bool,
) -> Newest {
    let Inspected { candidate, answer: Some(Ok(_)), tags: Some(tags), .. } = inspected else {
        return Newest::None;
    };
    let (Some(own), Ok(policy)) = (candidate.image(), &candidate.policy) else { return Newest::None };
    if let Some(why) = &tags.refusal {
        let first = Refusal { gate: Gate::Tags, why: why.clone(), until: None };
        return Newest::Held(Box::new(Held { image: own.clone(), first, others: Vec::new() }));
    }
    let Some(NewestTag { image, resolved: tag, .. }) = &tags.newest else { return Newest::None };
    if tag.is_current(own.digest()) {
        return Newest::None;
    }
    let from = &image.with_digest_of(own);
    if quarantine.holds_back(candidate, from, &tag.digest).is_some() {
        return Newest::HeldBack;
    }
    if !offer::has_gates(policy) {
        return Newest::Passes;
    }
    let Some((name, seen)) = image_name(image).and_then(|name| Some((name.clone(), book.image(&name)?)))
    else {
        return Newest::None;
    };
    match offer::pass(
        &GateQuestion { candidate, policy, from, name: &name, tag, seen },
        quarantine,
        passes_age,
    ) {
        Passed::Tag => Newest::Passes,
        Passed::Offer(digest) => Newest::Older(digest),
        Passed::Held(held) => Newest::Held(held),
    }
}

/// Whether the service's own tag has a digest for it that nothing holds.
pub(super) fn own_passes(inspected: &Inspected, quarantine: &Quarantine) -> bool {
    let (Some(own), Some(offered)) = (inspected.candidate.image(), inspected.offered()) else { return false };
    !matches!(inspected.gated, Some(Gated::Held(_)))
        && !offered.is_current(own.digest())
        && quarantine.holds_back(&inspected.candidate, own, &offered.digest).is_none()
}

/// The offer of what the newest tag stands at.
pub(super) fn offer(inspected: &Inspected) -> Option<Gated> {
    let NewestTag { image, resolved, .. } = inspected.newest_tag()?;
    let image: ImageRef = image.unpinned();
    Some(Gated::Offer(Box::new(Offer { image, resolved: resolved.clone() })))
}
