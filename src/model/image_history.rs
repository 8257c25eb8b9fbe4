//! Failures and successes of images in previous cycles. Pure.
//!
//! A rollout may go on after Gantry was killed, stopped or held up. Failures and successes before that count like those
//! after it.

use std::collections::HashMap;

use crate::image::{Digest, ImageRef};
use crate::ledger::entry::{DigestVerdict, Subject, image_name};
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held_back::Why;
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::model::quarantine::Quarantine;
use crate::model::rank::Rank;

/// The record of each image before its rollout, by [`image_name`] and digest.
#[derive(Clone, Debug, Default)]
pub struct ImageHistory(HashMap<(String, Digest), ImageRecord>);

/// Failures and successes of one image before its rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRecord {
    /// The cause of each failure in words, one for each service that the image broke; may be empty.
    pub causes: Vec<String>,
    /// How many of these services do not run with their present image either.
    pub ailing: usize,
    /// How many services run the image.
    pub succeeded: usize,
}

impl ImageRecord {
    /// How many failures speak against the image. Where the image runs elsewhere, failures of services that do not run with
    /// their present image either do not count.
    pub(crate) fn failures(&self) -> usize {
        self.causes.len() - if self.succeeded > 0 { self.ailing } else { 0 }
    }
}

impl ImageHistory {
    /// The records from the decisions of this cycle, each with the service that was inspected.
    pub fn of(inspected: &[Inspected], planned: &[Planned], quarantine: &Quarantine) -> Self {
        let mut image_history = Self::default();
        for (inspected, Planned { decision, .. }) in inspected.iter().zip(planned) {
            let candidate = &inspected.candidate;
            let Some(image) = candidate.image().and_then(image_name) else { continue };
            match decision {
                Decision::LeftAlone(Reason::HeldBack(held)) if held.why == Why::BrokeService => {
                    // A service that is offered a stopped or released digest is offered it by a person's word.
                    let is_by_hand = quarantine.book.entries().any(|entry| {
                        let is_image = entry.subject == Subject::Image(image.clone());
                        entry.image == image
                            && entry.digest == held.digest
                            && match entry.verdict {
                                DigestVerdict::Quarantined => is_image,
                                DigestVerdict::Released => true,
                                _ => false,
                            }
                    });
                    if !is_by_hand {
                        let record = image_history.0.entry((image, held.digest.clone())).or_default();
                        record.causes.push(held.cause.clone());
                        record.ailing += usize::from(candidate.rank == Rank::Ailing);
                    }
                }
                Decision::UpToDate
                    if candidate.tasks.is_some_and(|tasks| (1..=tasks.running).contains(&tasks.desired)) =>
                {
                    if let Some(ResolvedTag { digest, .. }) = inspected.offered() {
                        image_history.0.entry((image, digest.clone())).or_default().succeeded += 1;
                    }
                }
                _ => {}
            }
        }
        image_history
    }

    /// The record of this image.
    pub(crate) fn of_image(&self, image: &ImageRef) -> Option<&ImageRecord> {
        self.0.get(&(image_name(image)?, image.digest()?.clone()))
    }
}
