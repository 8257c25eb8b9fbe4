//! Users say that a digest may be rolled out, or take that back.

use jiff::{SignedDuration, Timestamp};

use crate::context::RunScope;
use crate::daemon::board::{Board, ShownService};
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

/// A service that a target names.
struct Meant<'a> {
    name: &'a str,
    image: ImageRef,
    has: Option<Digest>,
    /// What its gates hold.
    offers: Option<&'a ImageRef>,
}

impl ApprovalTarget {
    /// The services that it names: by their image, or by a newer tag that gates hold.
    fn services<'a>(&self, board: &'a Board) -> Vec<Meant<'a>> {
        let scope = match self {
            Self::Image(image) => RunScope { images: vec![image.clone()], ..RunScope::default() },
            Self::Service(_) => RunScope::default(),
        };
        let is_meant = |name: &str, shown: &ShownService| match self {
            Self::Image(_) => {
                let waits = shown.offers.as_ref().is_some_and(|image| scope.has_image(&image.tagged()));
                waits || scope.has_image(&shown.image)
            }
            Self::Service(service) => service == name,
        };
        let found = board.services.iter().filter(|(name, shown)| is_meant(name, shown));
        found
            .filter_map(|(name, shown)| {
                let (image, has) = (shown.image.parse().ok()?, shown.digest.clone());
                Some(Meant { name, image, has, offers: shown.offers.as_ref() })
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
    if services.is_empty() {
        let name = request.target.name();
        return Err(NotApproved::Unknown(format!("no service that Gantry updates matches {name}")));
    }
    let (image, digest) = waiting(&request.digest, &services, ground)?;
    let short = digest.short();
    let holds = |entry: &&Entry| entry.holds_back(&digest, ground.now, None);
    let is_held = |meant: &Meant<'_>| {
        let subject = Subject::Service(meant.name.to_owned());
        ground.book.entries().filter(holds).any(|entry| entry.subject == subject)
    };
    if ground.book.image(&image).as_ref().is_some_and(holds) || services.iter().all(is_held) {
        let why = format!("{short} of {image} is in quarantine, which an approval does not lift");
        return Err(NotApproved::DoesNotWait(why, "gantry release lets it be offered again"));
    }
    let newest = ground.seen.image(&image).and_then(|seen| seen.candidates().first());
    let newer = newest.filter(|first| first.digest != digest).map(|first| first.digest.clone());
    let service = match &request.target {
        ApprovalTarget::Image(_) => None,
        ApprovalTarget::Service(name) => Some(name.clone()),
    };
    let approval = kept(Approval {
        image,
        service,
        digest,
        by: request.by.clone(),
        via: request.via.to_owned(),
        at: ground.now,
        until: ground.now.checked_add(ground.lasts).unwrap_or(Timestamp::MAX),
        why: request.why.clone(),
    });
    Ok(Approved { approval, newer })
}

/// The digest that waits and begins with these digits, with the ledger's name of its image.
fn waiting(
    written: &str,
    services: &[Meant<'_>],
    ground: &ApprovalGround<'_>,
) -> Result<(String, Digest), NotApproved> {
    let refused = |why: String| Err(NotApproved::DoesNotWait(why, "gantry approve IMAGE lists what waits"));
    let digits = written.trim().trim_start_matches("sha256:");
    if digits.len() < MIN_DIGITS {
        return refused(format!(
            "{digits:?} is too short to name a digest: give {MIN_DIGITS} digits or more"
        ));
    }
    let is_meant = |digest: &Digest| digest.as_str().trim_start_matches("sha256:").starts_with(digits);
    // What gates hold now comes first: its tag may be newer than that of the services.
    let held = services.iter().filter_map(|meant| meant.offers);
    let held = held.filter(|image| image.digest().is_some_and(is_meant));
    let mut held: Vec<_> =
        held.filter_map(|image| Some((image_name(image)?, image.digest()?.clone()))).collect();
    held.dedup();
    if let [waits] = &held[..] {
        return Ok(waits.clone());
    }
    let Some(image) = services.first().and_then(|meant| image_name(&meant.image)) else {
        return refused("the services have no tag".to_owned());
    };
    let candidates = ground.seen.image(&image).map(SeenImage::candidates).unwrap_or_default();
    let mut meant = candidates.iter().enumerate().filter(|(_, known)| is_meant(&known.digest));
    let (Some((place, known)), None) = (meant.next(), meant.next()) else {
        return refused(format!(
            "{digits} of {image} does not wait: Gantry does not know it, or it was recalled"
        ));
    };
    let own = |meant: &Meant<'_>| candidates.iter().position(|it| Some(&it.digest) == meant.has.as_ref());
    if services.iter().all(|meant| own(meant).is_some_and(|own| own <= place)) {
        let short = known.digest.short();
        return refused(format!("{short} of {image} does not wait: the services have it, or a newer one"));
    }
    Ok((image, known.digest.clone()))
}

/// The approvals that a target names.
pub fn approvals_of(target: &ApprovalTarget, ground: &ApprovalGround<'_>) -> Vec<Approval> {
    let services = target.services(ground.board);
    let names = services.iter().flat_map(|meant| [Some(&meant.image), meant.offers]);
    let images: Vec<String> = names.flatten().filter_map(image_name).collect();
    let is_meant = |approval: &&Approval| match target {
        ApprovalTarget::Image(name) => {
            approval.service.is_none() && (approval.image == *name || images.contains(&approval.image))
        }
        ApprovalTarget::Service(name) => approval.service.as_ref() == Some(name),
    };
    ground.book.approvals.iter().filter(is_meant).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Gate, Refusal};
    use crate::ledger::seen::SeenChange;
    use crate::model::decision::Reason;
    use crate::model::event::Event;
    use crate::model::held::Held;
    use crate::model::row::{Row, State};

    fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// `web` of `app:1`, for which a gate holds this image.
    fn board(waits: &str, digit: char) -> Board {
        let image = waits.parse::<ImageRef>().unwrap().pinned(&digest(digit));
        let refusal = Refusal { gate: Gate::Approval, why: "it waits".to_owned(), until: None };
        let held = Held::by(image, vec![refusal]).unwrap();
        let row = Row::sample("web", State::LeftAlone(Reason::Held(Box::new(held))));
        let mut board = Board::new(at(0));
        board.apply(1, &Event::Decided(vec![row]), at(0));
        board
    }

    fn ask(board: &Board, target: ApprovalTarget, digest: &str) -> Result<Approved, NotApproved> {
        let mut seen = SeenBook::default();
        for (digit, second) in [('a', 0), ('b', 5), ('c', 9)] {
            let (image, digest) = ("app:1".to_owned(), self::digest(digit));
            seen.apply(&SeenChange::Stands { image, digest, at: at(second) });
        }
        let book = Book::default();
        let ground = ApprovalGround {
            board,
            seen: &seen,
            book: &book,
            now: at(9),
            lasts: SignedDuration::from_hours(1),
        };
        let (by, via, why) = ("anna".to_owned(), "cli", String::new());
        approve(&ApprovalRequest { target, digest: digest.to_owned(), by, via, why }, &ground)
    }

    #[test]
    fn what_a_gate_holds_is_approved_by_its_own_tag() {
        let board = board("app:1.1", 'd');
        for target in [
            ApprovalTarget::Service("web".to_owned()),
            ApprovalTarget::Image("app:1.1".to_owned()),
            ApprovalTarget::Image("app:1".to_owned()),
        ] {
            let approved = ask(&board, target.clone(), &"d".repeat(12)).unwrap();
            assert_eq!(
                (&*approved.approval.image, &approved.approval.digest),
                ("app:1.1", &digest('d')),
                "{target:?}"
            );
            assert_eq!(approved.approval.until, at(9 + 3_600));
        }
    }

    #[test]
    fn an_older_digest_that_waits_can_be_approved_though_the_tag_has_moved_on() {
        let board = board("app:1", 'c');
        let approved = ask(&board, ApprovalTarget::Service("web".to_owned()), &"b".repeat(64)).unwrap();
        assert_eq!((approved.approval.digest, approved.newer), (digest('b'), Some(digest('c'))));
    }

    #[test]
    fn what_does_not_wait_is_not_approved() {
        let board = board("app:1", 'c');
        let web = || ApprovalTarget::Service("web".to_owned());
        let refused = |result| matches!(result, Err(NotApproved::DoesNotWait(..)));
        assert!(refused(ask(&board, web(), "cccccc")), "too short");
        assert!(refused(ask(&board, web(), &"e".repeat(12))), "not known");
        let unknown = ask(&board, ApprovalTarget::Image("other:1".to_owned()), &"c".repeat(12));
        assert!(matches!(unknown, Err(NotApproved::Unknown(_))), "{unknown:?}");
    }
}
