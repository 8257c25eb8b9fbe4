//! What services show of the images that are to be rolled out, from cycles before this one. Pure.
//!
//! A rollout may go on after Gantry was killed, stopped or held up: the failures before that count like those after it,
//! and so do the successes.

use std::collections::HashMap;

use crate::image::{Digest, ImageRef};
use crate::ledger::entry::{Subject, Verdict, image_name};
use crate::model::answer::{Answer, Inspected};
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held_back::Why;
use crate::model::quarantine::Quarantine;
use crate::model::rank::Rank;

/// What is known of images before their rollout, by [`image_name`] and digest.
#[derive(Clone, Debug, Default)]
pub struct Earlier(HashMap<(String, Digest), Shown>);

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Why it is held back from services that it has broken: for each a cause in words, which may be empty.
    pub causes: Vec<String>,
    /// How many of these services do not run as they are either: it may be their own fault.
    pub ailing: usize,
    /// How many services run it.
    pub succeeded: usize,
}

impl Shown {
    /// How many failures speak against the image: where it runs elsewhere, those of services that do not run with the older
    /// one either do not.
    pub(crate) fn failures(&self) -> usize {
        self.causes.len() - if self.succeeded > 0 { self.ailing } else { 0 }
    }
}

impl Earlier {
    /// What these decisions tell, each with what it was made on.
    pub fn of(inspected: &[Inspected], planned: &[Planned], quarantine: &Quarantine) -> Self {
        let mut earlier = Self::default();
        for (Inspected { candidate, answer, .. }, Planned { decision, .. }) in inspected.iter().zip(planned) {
            let Some(image) = candidate.image().and_then(image_name) else { continue };
            match decision {
                Decision::LeftAlone(Reason::HeldBack(held)) if held.why == Why::BrokeService => {
                    // A service that is offered a stopped or released digest is offered it by a person's word.
                    let is_by_hand = quarantine.book.entries().any(|entry| {
                        let is_image = entry.subject == Subject::Image(image.clone());
                        entry.image == image
                            && entry.digest == held.digest
                            && match entry.verdict {
                                Verdict::Quarantined => is_image,
                                Verdict::Released => true,
                                _ => false,
                            }
                    });
                    if !is_by_hand {
                        let shown = earlier.0.entry((image, held.digest.clone())).or_default();
                        shown.causes.push(held.cause.clone());
                        shown.ailing += usize::from(candidate.rank == Rank::Ailing);
                    }
                }
                Decision::UpToDate
                    if candidate.tasks.is_some_and(|tasks| (1..=tasks.running).contains(&tasks.desired)) =>
                {
                    if let Some(Ok(Answer { digest, .. })) = answer {
                        earlier.0.entry((image, digest.clone())).or_default().succeeded += 1;
                    }
                }
                _ => {}
            }
        }
        earlier
    }

    /// What is known of this image.
    pub(crate) fn of_image(&self, image: &ImageRef) -> Option<&Shown> {
        self.0.get(&(image_name(image)?, image.digest()?.clone()))
    }
}
