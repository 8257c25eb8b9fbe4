//! Between inspect and plan: which images the gates of the services let pass. What they remember is read and written here, and
//! a registry is asked only for a digest that its tag has left.
//!
//! No service without a gate costs a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::accept::{self, AcceptQuestion};
use super::newest::{self, Newest};
use super::offer::{self, GateQuestion, Passed};
use crate::config::LookupMethod;
use crate::context::Context;
use crate::image::{Digest, ImageRef};
use crate::ledger::book::LedgerChange;
use crate::ledger::entry::image_name;
use crate::ledger::seen::{SeenBook, SeenChange};
use crate::model::held::Held;
use crate::model::inspected::{Gated, Inspected, NewestTag, Offer, ResolvedTag};
use crate::model::quarantine::Quarantine;
use crate::registry::{Lookup, Registry};
use crate::swarm::Swarm;
use crate::words::some_of;

/// Whether what is seen is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remember {
    /// It is.
    Yes,
    /// It counts for this once: for a plan, which writes nothing.
    No,
}

/// Asks the gates of each service which image it may have.
pub(super) async fn pass<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    inspected: &mut [Inspected],
    remember: Remember,
) {
    let mut gated: Vec<&mut Inspected> = inspected.iter_mut().filter(|it| has_gates(it)).collect();
    let book = if gated.is_empty() { None } else { pass_own(context, &mut gated, remember).await };
    let book = book.unwrap_or_default();
    pass_newest(context, inspected, &book).await;
    if let (Remember::Yes, Some(command)) = (remember, &context.config.updates.accept_command) {
        ask_command(context, command, inspected).await;
    }
}

/// Asks the gates which digest of its own tag each service may have. Returns all that is known of digests; `None`: it cannot be
/// read.
async fn pass_own<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    gated: &mut [&mut Inspected],
    remember: Remember,
) -> Option<SeenBook> {
    for inspected in gated.iter_mut() {
        // Ours is asked in any case.
        let asks_none = inspected.answer.is_none() && !inspected.candidate.is_itself;
        if asks_none && policy_of(inspected).is_some_and(|policy| policy.lookup == LookupMethod::None) {
            let why = "no registry is asked, so no age is known and nothing can be approved; take gantry.manifest.cmd=none \
                       or the gates (gantry.update.min_age, gantry.update.approval) away";
            inspected.answer = Some(Err(why.to_owned()));
        }
    }
    let book = match seen(context, gated, remember).await {
        Ok(book) => book,
        Err(error) => {
            for inspected in gated {
                let why = format!("cannot tell since when digests are known: {error}");
                inspected.answer = inspected.answer.take().map(|answer| answer.and(Err(why)));
            }
            return None;
        }
    };
    let quarantine = context.quarantine();
    if remember == Remember::Yes {
        void_approvals(context, gated, &quarantine);
    }
    let mut found = BTreeMap::new();
    for inspected in gated.iter_mut() {
        let decided = decide(inspected, &book, &quarantine, context.scope.now);
        let Some((name, passed)) = decided else { continue };
        inspected.gated = match passed {
            Passed::Tag => None,
            Passed::Held(held) => Some(Gated::Held(held)),
            Passed::Offer(digest) => find_offer(context, inspected, (name, digest), &mut found).await,
        };
    }
    Some(book)
}

/// Asks the gates what becomes of the newest tags.
async fn pass_newest<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    inspected: &mut [Inspected],
    book: &SeenBook,
) {
    let quarantine = context.quarantine();
    for inspected in inspected.iter_mut().filter(|inspected| inspected.tags.is_some()) {
        let outlook = newest::pass(inspected, book, &quarantine, context.scope.now);
        let gated = match outlook {
            Newest::None => continue,
            // A digest of its own tag is the next best.
            Newest::HeldBack | Newest::Held(_) if newest::own_passes(inspected, &quarantine) => continue,
            Newest::Passes | Newest::HeldBack => newest::offer(inspected),
            Newest::Held(held) => Some(Gated::Held(held)),
            Newest::Older(digest) => older(context, inspected, &digest).await,
        };
        inspected.gated = gated;
    }
}

/// The offer of an older digest of the newest tag.
async fn older<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    inspected: &mut Inspected,
    digest: &Digest,
) -> Option<Gated> {
    let NewestTag { image, lookup, .. } = inspected.newest_tag()?.clone();
    match look_up(context, Some(&lookup), digest).await {
        Ok(resolved) => Some(Gated::Offer(Box::new(Offer { image, resolved }))),
        Err(why) => {
            inspected.answer = Some(Err(why));
            None
        }
    }
}

/// The offer of a digest that the tag has left. Each is looked up once.
async fn find_offer<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    inspected: &mut Inspected,
    key: (String, Digest),
    found: &mut BTreeMap<(String, Digest), Result<ResolvedTag, String>>,
) -> Option<Gated> {
    if !found.contains_key(&key) {
        let answer = look_up(context, inspected.lookup.as_ref(), &key.1).await;
        found.insert(key.clone(), answer);
    }
    match found.get(&key)? {
        Ok(resolved) => offer_of(context, inspected, resolved),
        Err(why) => {
            inspected.answer = Some(Err(why.clone()));
            None
        }
    }
}

/// Asks the user's command about each digest that would begin otherwise.
async fn ask_command<S: Swarm, R>(context: &Context<S, R>, command: &str, inspected: &mut [Inspected]) {
    let quarantine = context.quarantine();
    let mut groups: BTreeMap<ImageRef, Vec<&mut Inspected>> = BTreeMap::new();
    for inspected in inspected {
        let Some(from) = inspected.candidate.image() else { continue };
        let Some(offered) = inspected.offered() else { continue };
        let image = match &inspected.gated {
            Some(Gated::Held(_)) => continue,
            Some(Gated::Offer(offer)) => offer.image.pinned(&offered.digest),
            None => from.pinned(&offered.digest),
        };
        let is_asked = policy_of(inspected).is_some_and(|policy| policy.accept)
            && crate::model::eligible::may_be_updated(&inspected.candidate)
            && !offered.is_current(from.digest())
            && quarantine.holds_back(&inspected.candidate, from, &offered.digest).is_none();
        if is_asked {
            groups.entry(image).or_default().push(inspected);
        }
    }
    for (image, members) in groups {
        let (Some(name), Some(digest)) = (image_name(&image), image.digest().cloned()) else { continue };
        let services = members
            .iter()
            .map(|it| (it.candidate.name.as_str(), it.candidate.image().and_then(|image| image.digest())));
        let question = AcceptQuestion {
            name: &name,
            image: image.unpinned(),
            digest: &digest,
            services: services.collect(),
        };
        let answer = accept::ask(context, command, &question).await;
        for inspected in members {
            match &answer {
                Ok(None) => {}
                Ok(Some(refusal)) => {
                    let held = Held::by(image.clone(), vec![refusal.clone()]);
                    inspected.gated = held.map(|held| Gated::Held(Box::new(held)));
                }
                Err(why) => inspected.answer = Some(Err(why.clone())),
            }
        }
    }
}

fn policy_of(inspected: &Inspected) -> Option<&crate::config::ServicePolicy> {
    inspected.candidate.policy.as_deref().ok()
}

fn has_gates(inspected: &Inspected) -> bool {
    policy_of(inspected).is_some_and(offer::has_gates)
        && crate::model::eligible::may_be_updated(&inspected.candidate)
}

fn decide(
    inspected: &Inspected,
    book: &SeenBook,
    quarantine: &Quarantine,
    passes_age: bool,
) -> Option<(String, Passed)> {
    let Inspected { candidate, answer: Some(Ok(tag)), .. } = inspected else { return None };
    let from = candidate.image()?;
    let name = image_name(from)?;
    let policy = policy_of(inspected)?;
    let asked = GateQuestion { candidate, policy, from, name: &name, tag, seen: book.image(&name)? };
    let passed = offer::pass(&asked, quarantine, passes_age);
    Some((name, passed))
}

fn offer_of<S, R>(context: &Context<S, R>, inspected: &Inspected, resolved: &ResolvedTag) -> Option<Gated> {
    let image = inspected.candidate.image()?.unpinned();
    if let Some(Ok(tag)) = &inspected.answer {
        let (moved, offered) = (tag.digest.short(), resolved.digest.short());
        let words = format!(
            "{} has moved on to {moved}; {offered} is rolled out as it may be by now",
            image.tagged()
        );
        if context.said.is_news(&words) {
            context.events.gate_news(&image.tagged(), words);
        }
    }
    Some(Gated::Offer(Box::new(Offer { image, resolved: resolved.clone() })))
}

/// Takes note of where the tags stand now. Returns all that is known.
async fn seen<S: Swarm, R>(
    context: &Context<S, R>,
    gated: &[&mut Inspected],
    remember: Remember,
) -> Result<SeenBook, String> {
    let store = &context.ledger.seen;
    let known = store.read(&*context.swarm).await.map_err(|error| error.to_string())?;
    let mut book = SeenBook::clone(&known);
    let at = context.ledger.now();
    let mut changes: BTreeMap<String, SeenChange> = BTreeMap::new();
    for inspected in gated {
        let Inspected { candidate, answer, .. } = &**inspected;
        if let Some(newest) = inspected.newest_tag()
            && let Some(image) = image_name(&newest.image)
        {
            let digest = newest.resolved.digest.clone();
            changes.insert(image.clone(), SeenChange::Stands { image, digest, at });
        }
        if let (Some(image), Some(Ok(tag))) = (candidate.image().and_then(image_name), answer) {
            let digest = tag.digest.clone();
            changes.insert(image.clone(), SeenChange::Stands { image, digest, at });
        }
    }
    for (image, change) in &changes {
        let struck = book.struck_out_by(change);
        book.apply(change);
        if !struck.is_empty() && remember == Remember::Yes {
            let digests: Vec<&str> = struck.iter().map(Digest::short).collect();
            let words = format!("{} was recalled: the tag went back", some_of(&digests, ", "));
            context.events.gate_news(image, words);
        }
    }
    if remember == Remember::Yes {
        let used: BTreeSet<String> = changes.keys().cloned().collect();
        let changes: Vec<SeenChange> = changes.into_values().collect();
        store.note(&*context.swarm, &changes, &used).await.map_err(|error| error.to_string())?;
    }
    Ok(book)
}

/// Forgets approvals that are used up, because each service that they are for has the digest.
fn void_approvals<S, R>(context: &Context<S, R>, gated: &[&mut Inspected], quarantine: &Quarantine) {
    for approval in quarantine.book.approvals.iter() {
        let services = gated.iter().filter_map(|Inspected { candidate, .. }| {
            let image = candidate.image()?;
            let is_its = image_name(image).as_deref() == Some(&approval.image)
                && approval.service.as_ref().is_none_or(|service| *service == candidate.name);
            is_its.then(|| image.digest() == Some(&approval.digest))
        });
        let has: Vec<bool> = services.collect();
        if !has.is_empty() && has.iter().all(|has| *has) {
            context.ledger.note(LedgerChange::Revoke(approval.clone()));
        }
    }
}

/// Asks the registry for a digest that its tag has left.
async fn look_up<S: Swarm, R: Registry>(
    context: &Context<S, R>,
    lookup: Option<&Arc<Lookup>>,
    digest: &Digest,
) -> Result<ResolvedTag, String> {
    let Some(lookup) = lookup else { return Err("its registry was not asked".to_owned()) };
    let image = lookup.image.tagged();
    let asked = async {
        if !context.registry.has(lookup, digest).await? {
            return Ok(None);
        }
        context.registry.manifest(lookup, digest).await.map(Some)
    };
    let short = digest.short();
    match context.beating(asked).await {
        Ok(Some(manifest)) => Ok(ResolvedTag {
            digest: digest.clone(),
            manifest: Some(manifest),
            credentials: lookup.credentials.clone(),
            alternates: false,
        }),
        Ok(None) => {
            if let Some(name) = image_name(&lookup.image) {
                let change = SeenChange::Gone { image: name.clone(), digest: digest.clone() };
                let used = BTreeSet::from([name]);
                if let Err(error) = context.ledger.seen.note(&*context.swarm, &[change], &used).await {
                    context.events.trouble(format!("cannot remember that {short} is gone"), "", &error);
                }
            }
            Err(format!("{short} of {image} is gone from the registry; the next look chooses again"))
        }
        Err(error) => Err(format!("cannot look up {short} of {image}: {error}")),
    }
}
