//! Users say that a digest may be rolled out, or take that back.

use jiff::{SignedDuration, Timestamp};

use crate::context::RunScope;
use crate::daemon::board::Board;
use crate::gate::age::KnownDigest;
use crate::gate::approval::Approval;
use crate::image::{Digest, ImageRef};
use crate::ledger::approved::kept;
use crate::ledger::book::Book;
use crate::ledger::entry::{Entry, Subject, image_name};
use crate::ledger::seen::{SeenBook, SeenImage};

/// The shortest beginning of a digest that names one, in hexadecimal digits.
pub const MIN_DIGITS: usize = 12;

/// What a user says of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// What it is for.
    pub target: ApprovalTarget,
    /// The digest, or its first [`MIN_DIGITS`] digits or more.
    pub digest: String,
    /// The user's name.
    pub by: String,
    /// The way it came.
    pub via: &'static str,
    /// Why; may be empty.
    pub why: String,
}

/// What an approval is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalTarget {
    /// All services with this image and tag.
    Image(String),
    /// One service.
    Service(String),
}

/// Why a digest cannot be approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApproved {
    /// No service matches; in words.
    Unknown(String),
    /// The digest does not wait; in words, and what to do.
    DoesNotWait(String, &'static str),
    /// The ledger cannot be written; in words.
    NotWritten(String),
}

/// An approval, and what stands at the tag by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// The approval.
    pub approval: Approval,
    /// The digest that the tag has moved on to.
    pub newer: Option<Digest>,
}

/// Where approvals are decided: what is known of services, of digests, and of what broke them.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalGround<'a> {
    /// The services.
    pub board: &'a Board,
    /// The digests.
    pub seen: &'a SeenBook,
    /// The ledger.
    pub book: &'a Book,
    /// The time, by the engine's clock.
    pub now: Timestamp,
    /// How long the approval holds.
    pub lasts: SignedDuration,
}

impl ApprovalTarget {
    /// The services that it names, with their images.
    fn services<'a>(&self, board: &'a Board) -> Vec<(&'a str, ImageRef, Option<Digest>)> {
        let scope = match self {
            Self::Image(image) => RunScope { images: vec![image.clone()], ..RunScope::default() },
            Self::Service(_) => RunScope::default(),
        };
        let is_meant = |name: &str, image: &str| match self {
            Self::Image(_) => scope.has_image(image),
            Self::Service(service) => service == name,
        };
        let found = board.services.iter().filter(|(name, shown)| is_meant(name, &shown.image));
        found
            .filter_map(|(name, shown)| {
                Some((name.as_str(), shown.image.parse().ok()?, shown.digest.clone()))
            })
            .collect()
    }

    /// As users name it.
    pub fn name(&self) -> &str {
        match self {
            Self::Image(name) | Self::Service(name) => name,
        }
    }
}

/// Decides on an approval: what is remembered of it, and what to tell.
///
/// # Errors
/// The digest does not wait for any of these services.
pub fn approve(request: &ApprovalRequest, ground: &ApprovalGround<'_>) -> Result<Approved, NotApproved> {
    let services = request.target.services(ground.board);
    let Some(image) = services.first().and_then(|(_, image, _)| image_name(image)) else {
        let name = request.target.name();
        return Err(NotApproved::Unknown(format!("no service that Gantry updates matches {name}")));
    };
    let candidates = ground.seen.image(&image).map(SeenImage::candidates).unwrap_or_default();
    let digits = request.digest.trim().trim_start_matches("sha256:");
    let is_meant =
        |known: &&KnownDigest| known.digest.as_str().trim_start_matches("sha256:").starts_with(digits);
    let mut meant = candidates.iter().filter(is_meant);
    let refused = |why: String| Err(NotApproved::DoesNotWait(why, "gantry approve IMAGE lists what waits"));
    if digits.len() < MIN_DIGITS {
        return refused(format!(
            "{digits:?} is too short to name a digest: give {MIN_DIGITS} digits or more"
        ));
    }
    let (Some(known), None) = (meant.next(), meant.next()) else {
        return refused(format!(
            "{digits} of {image} does not wait: Gantry does not know it, or it was recalled"
        ));
    };
    let is_newer = |has: &Option<Digest>| {
        let own = candidates.iter().position(|it| Some(&it.digest) == has.as_ref());
        let place = candidates.iter().position(|it| it.digest == known.digest);
        own.is_none_or(|own| place < Some(own))
    };
    let short = known.digest.short();
    if !services.iter().any(|(_, _, has)| is_newer(has)) {
        return refused(format!("{short} of {image} does not wait: the services have it, or a newer one"));
    }
    let holds = |entry: &&Entry| entry.holds_back(&known.digest, ground.now, None);
    let is_held = |(name, _, _): &(&str, ImageRef, Option<Digest>)| {
        ground.book.entries().filter(holds).any(|entry| entry.subject == Subject::Service((*name).to_owned()))
    };
    if ground.book.image(&image).as_ref().is_some_and(holds) || services.iter().all(is_held) {
        let why = format!("{short} of {image} is in quarantine, which an approval does not lift");
        return Err(NotApproved::DoesNotWait(why, "gantry release lets it be offered again"));
    }
    let until = ground.now.checked_add(ground.lasts).unwrap_or(Timestamp::MAX);
    let service = match &request.target {
        ApprovalTarget::Image(_) => None,
        ApprovalTarget::Service(name) => Some(name.clone()),
    };
    let approval = kept(Approval {
        image,
        service,
        digest: known.digest.clone(),
        by: request.by.clone(),
        via: request.via.to_owned(),
        at: ground.now,
        until,
        why: request.why.clone(),
    });
    let newer = candidates.first().filter(|first| first.digest != known.digest);
    Ok(Approved { approval, newer: newer.map(|first| first.digest.clone()) })
}

/// The approvals that a target names.
pub fn approvals_of(target: &ApprovalTarget, ground: &ApprovalGround<'_>) -> Vec<Approval> {
    let images: Vec<String> =
        target.services(ground.board).iter().filter_map(|(_, image, _)| image_name(image)).collect();
    let is_meant = |approval: &&Approval| match target {
        ApprovalTarget::Image(name) => {
            approval.service.is_none() && (approval.image == *name || images.contains(&approval.image))
        }
        ApprovalTarget::Service(name) => approval.service.as_ref() == Some(name),
    };
    ground.book.approvals.iter().filter(is_meant).cloned().collect()
}
