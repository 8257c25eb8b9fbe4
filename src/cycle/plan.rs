//! Stage 3: exactly one decision for each service. Pure.

use std::sync::Arc;

use super::resume;
use crate::config::Selection;
use crate::gate::Gate;
use crate::image::ImageRef;
use crate::model::attention::Attention;
use crate::model::decision::{Decision, Details, Planned, Reason};
use crate::model::eligible::{asks_registry, start};
use crate::model::held::Held;
use crate::model::inspected::{Gated, Inspected, ResolvedTag};
use crate::model::quarantine::Quarantine;
use crate::model::update::{Start, Update};

/// Decides on all services that were looked at.
pub fn plan(inspected: &[Inspected], selection: &Arc<Selection>, quarantine: &Quarantine) -> Vec<Planned> {
    inspected
        .iter()
        .map(|inspected| Planned {
            service: inspected.candidate.name.clone(),
            image: inspected.candidate.image_name(),
            decision: hold(inspected, decide(inspected, selection, quarantine)),
            is_left_behind: inspected.candidate.unfinished.as_ref().is_some_and(|it| it.is_left_behind),
            details: details(inspected),
        })
        .collect()
}

/// What the look showed of a service.
fn details(inspected: &Inspected) -> Details {
    let Inspected { candidate, answer, account, .. } = inspected;
    let answer = answer.as_ref().and_then(|answer| answer.as_ref().ok());
    let account = answer.and_then(|answer| answer.credentials.as_ref()).or(account.as_ref());
    Details {
        digest: candidate.image().and_then(ImageRef::digest).cloned(),
        newest: answer.map(|answer| answer.digest.clone()),
        tasks: candidate.tasks,
        policy: candidate.policy.as_ref().ok().cloned(),
        account: account.map(|account| account.shown()),
        tags: inspected.tags.as_ref().map(|tags| tags.words.clone()).filter(|words| !words.is_empty()),
    }
}

/// Gates decide about beginning and about nothing else: an update that has begun passes.
fn hold(inspected: &Inspected, decision: Decision) -> Decision {
    match (&inspected.gated, decision) {
        (Some(Gated::Held(held)), Decision::Update(update)) if update.begun.is_none() => {
            Decision::LeftAlone(Reason::Held(held.clone()))
        }
        // Its own tag has nothing new, and a newer tag does not pass yet, or none fits.
        (Some(Gated::Held(held)), Decision::UpToDate) if is_about_tags(inspected, held) => {
            Decision::LeftAlone(Reason::Held(held.clone()))
        }
        (_, decision) => decision,
    }
}

/// Whether what is held is not a digest of the service's own tag.
fn is_about_tags(inspected: &Inspected, held: &Held) -> bool {
    held.gate() == Gate::Tags || inspected.candidate.image().is_some_and(|own| own.tag() != held.image.tag())
}

/// Decides on one service, apart from what gates hold. Where its registry was not asked, the nodes pull with the account that
/// was found for it.
fn decide(inspected: &Inspected, selection: &Arc<Selection>, quarantine: &Quarantine) -> Decision {
    let candidate = &inspected.candidate;
    if candidate.is_excluded {
        return Decision::LeftAlone(Reason::Excluded);
    }
    let policy = match &candidate.policy {
        Ok(policy) if policy.excluded => return Decision::LeftAlone(Reason::Excluded),
        Ok(policy) if policy.stack_pin => return Decision::LeftAlone(Reason::PinnedByStackFile),
        Ok(policy) => policy,
        Err(mistakes) => return Decision::Error(mistakes.to_string()),
    };
    let Some(image) = &candidate.image else {
        return Decision::LeftAlone(Reason::NoContainer);
    };
    let start = match start(candidate, policy) {
        Ok(start) => start,
        Err(reason) => return Decision::LeftAlone(reason),
    };
    let from = match image.clone() {
        Ok(image) if image.tag().is_none() => return Decision::LeftAlone(Reason::PinnedByDigest),
        Ok(image) => image,
        Err(error) => return Decision::Error(error.to_string()),
    };
    let mut held = None;
    let (to, platforms, force, credentials) = match &inspected.answer {
        None if asks_registry(candidate, policy) => return Decision::LeftAlone(Reason::NotAsked),
        None => (from.unpinned(), None, true, inspected.account.clone()),
        Some(Err(cause)) => return Decision::Error(cause.clone()),
        Some(Ok(answer)) => {
            let ResolvedTag { digest, manifest, credentials, .. } = inspected.offered().unwrap_or(answer);
            let platforms = manifest.as_ref().map(|manifest| manifest.platforms.clone());
            let platforms = platforms.filter(|platforms| !platforms.is_empty());
            let image = match &inspected.gated {
                Some(Gated::Offer(offer)) => &offer.image,
                _ => &from,
            };
            held = quarantine.holds_back(candidate, &image.with_digest_of(&from), digest);
            (image.pinned(digest), platforms, false, credentials.clone())
        }
    };
    // Without an answer there is no other digest than the one that a node finds.
    let is_newest =
        |image: &ImageRef| inspected.offered().is_none_or(|answer| answer.is_current(image.digest()));
    let is_up_to_date = !force && is_newest(&from);
    let update = Update {
        id: candidate.id.clone(),
        service: candidate.name.clone(),
        version: candidate.version,
        from,
        to,
        platforms,
        force,
        credentials,
        start,
        rank: candidate.rank,
        policy: policy.clone(),
        selection: selection.clone(),
        begun: None,
        collision: None,
    };
    // Without its tasks, a failed image would look like a new one, or a failure like a person's word.
    if candidate.history.is_untold {
        return Decision::LeftAlone(Reason::TasksUnknown);
    }
    let was_offered = |image: &ImageRef| quarantine.was_offered(image);
    if let Some(decision) = resume::decide(candidate, &update, is_newest, was_offered, held.as_ref()) {
        return decision;
    }
    if let Some(held) = held {
        return Decision::LeftAlone(Reason::HeldBack(Box::new(held)));
    }
    match candidate.tasks {
        // Tasks that have ended are not missing.
        Some(tasks)
            if is_up_to_date
                && tasks.running < tasks.desired
                && matches!(start, Start::Replaced | Start::WithoutNode) =>
        {
            let (running, desired) = (tasks.running, tasks.desired);
            Decision::NeedsAttention { what: Attention::NotRunning { running, desired }, news: None }
        }
        _ if is_up_to_date => Decision::UpToDate,
        _ => Decision::Update(Box::new(update)),
    }
}

#[cfg(test)]
mod tests;
