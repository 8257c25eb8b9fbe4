//! Which newer tags services accept: one list of each repository where a label or variable asks for it, and one look-up of each tag
//! that is chosen.
//!
//! No service without a tag policy costs a request.

#![expect(clippy::mutable_key_type, reason = "a pattern is compared and hashed by its text")]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::inspect::{Group, GroupKey, ask_all};
use crate::context::{Choices, Chosen, Context, ListKey};
use crate::gate::tags::{NoTagFits, TagChoice, TagRules, choose};
use crate::image::ImageRef;
use crate::ledger::entry::image_name;
use crate::model::inspected::{Inspected, NewestTag, TagLook};
use crate::registry::{Lookup, Registry};

/// A repository whose tags are asked for, with the account and the services that want them.
struct Wanted {
    lookup: Arc<Lookup>,
    /// The services' tags and rules, each with the places of the services.
    by: HashMap<(String, TagRules), Vec<usize>>,
}

/// Looks for newer tags for the services that accept them.
pub(super) async fn look<S, R: Registry>(context: &Context<S, R>, inspected: &mut [Inspected]) {
    let wanted = wanted(inspected);
    if wanted.is_empty() {
        return;
    }
    let listed: Vec<(Wanted, Result<Choices, String>)> = stream::iter(wanted)
        .map(|(key, wanted)| async {
            let choices = context.beating(choices(context, key, &wanted)).await;
            (wanted, choices)
        })
        .buffer_unordered(context.config.lookups.workers.max(1))
        .take_until(context.stop.cancelled())
        .collect()
        .await;
    let mut groups: HashMap<GroupKey, Group> = HashMap::new();
    for (wanted, choices) in listed {
        match choices {
            Ok(choices) => take(context, inspected, &wanted, &choices, &mut groups),
            Err(error) => {
                for member in wanted.by.into_values().flatten() {
                    inspected[member].answer = Some(Err(error.clone()));
                }
            }
        }
    }
    for (group, answer) in ask_all(context, groups).await {
        let lookup = Arc::new(group.lookup);
        for member in group.members {
            match &answer {
                Ok(resolved) => {
                    let (image, resolved, lookup) = (lookup.image.clone(), resolved.clone(), lookup.clone());
                    let newest = Some(NewestTag { image, lookup, resolved });
                    inspected[member].tags.get_or_insert_default().newest = newest;
                }
                Err(error) => inspected[member].answer = Some(Err(error.clone())),
            }
        }
    }
}

/// The repositories to be listed. A service whose registry has not answered is an error already.
fn wanted(inspected: &[Inspected]) -> HashMap<ListKey, Wanted> {
    let mut wanted: HashMap<ListKey, Wanted> = HashMap::new();
    for (index, Inspected { candidate, answer, lookup, .. }) in inspected.iter().enumerate() {
        let Ok(policy) = &candidate.policy else { continue };
        let (true, Some(Ok(_)), Some(lookup)) = (policy.tags.needs_list(), answer, lookup) else { continue };
        let Some(tag) = candidate.image().and_then(ImageRef::tag) else { continue };
        let repository = wanted
            .entry(ListKey::of(lookup))
            .or_insert_with(|| Wanted { lookup: lookup.clone(), by: HashMap::new() });
        repository.by.entry((tag.to_owned(), policy.tags.clone())).or_default().push(index);
    }
    wanted
}

/// The choices for all services of a repository: those that are remembered, or those of a new list.
async fn choices<S, R: Registry>(
    context: &Context<S, R>,
    key: ListKey,
    wanted: &Wanted,
) -> Result<Choices, String> {
    if let Some(choices) = context.tag_memory.recall(&key, wanted.by.keys(), Instant::now()) {
        return Ok(choices);
    }
    let image = wanted.lookup.image.name();
    let tags = context.registry.tags(&wanted.lookup).await.map_err(|error| {
        tracing::debug!(image, %error, "the tag list cannot be read");
        format!("cannot tell which tags there are: {error}")
    })?;
    let (own, count): (Vec<(String, TagRules)>, usize) = (wanted.by.keys().cloned().collect(), tags.len());
    // A pattern of a user over a list of a registry may take seconds of a processor, and this thread serves all else.
    let chosen = move || -> Choices {
        let choose = |own: &(String, TagRules)| choose(&own.0, &own.1, tags.iter().map(String::as_str));
        own.iter().map(|own| (own.clone(), choose(own))).collect()
    };
    let choices = spawn_blocking(chosen).await.map_err(|error| format!("cannot choose a tag: {error}"))?;
    tracing::debug!(image, tags = count, choices = choices.len(), "listed");
    context.tag_memory.learn(key, &choices, Instant::now());
    Ok(choices)
}

/// Notes what was chosen for the services of a repository, and which tags are to be looked up.
fn take<S, R>(
    context: &Context<S, R>,
    inspected: &mut [Inspected],
    wanted: &Wanted,
    choices: &Choices,
    groups: &mut HashMap<GroupKey, Group>,
) {
    for (own, members) in &wanted.by {
        let Some(chosen) = choices.get(own) else { continue };
        let image = wanted.lookup.image.with_tag(&own.0).unwrap_or_else(|| wanted.lookup.image.unpinned());
        let look = told(&image, own, chosen);
        if let Ok(TagChoice { beyond: Some(_), .. }) = chosen
            && context.said.is_news(&look.words)
        {
            context.events.gate_news(&image.tagged(), &look.words);
        }
        let newest = chosen.as_ref().ok().and_then(|choice| image.with_tag(choice.newest.as_deref()?));
        for &member in members {
            inspected[member].tags = Some(look.clone());
            let (Some(newest), Some(own)) = (&newest, inspected[member].candidate.image()) else { continue };
            // The name as the service has it.
            let Some(image) = newest.tag().and_then(|tag| own.with_tag(tag)) else { continue };
            let group = group_of(context, groups, &wanted.lookup, image);
            group.members.push(member);
            match own.digest() {
                Some(digest) => _ = group.recorded.insert(digest.clone()),
                None => group.has_unpinned = true,
            }
        }
    }
}

/// The group of services that are offered the same image.
fn group_of<'a, S, R>(
    context: &Context<S, R>,
    groups: &'a mut HashMap<GroupKey, Group>,
    lookup: &Lookup,
    image: ImageRef,
) -> &'a mut Group {
    let key = GroupKey {
        registry: image.registry().to_owned(),
        // Two ways to write a name are two images in specifications.
        repository: image.name().to_owned(),
        tag: image.tag().unwrap_or_default().to_owned(),
        credentials: lookup.credentials.clone(),
        insecure: lookup.insecure,
        is_label_void: false,
    };
    groups.entry(key).or_insert_with(|| Group {
        offered: image_name(&image).and_then(|name| context.ledger.book().image(&name).cloned()),
        lookup: Lookup { image, ..lookup.clone() },
        is_label_void: false,
        recorded: BTreeSet::new(),
        has_unpinned: false,
        members: Vec::new(),
    })
}

/// What there is to tell of a choice.
fn told(image: &ImageRef, (tag, rules): &(String, TagRules), chosen: &Chosen) -> TagLook {
    let policy = &rules.policy;
    match chosen {
        Ok(TagChoice { newest, beyond, .. }) => {
            let accepted = newest.as_ref().unwrap_or(tag);
            let mut words = format!("{accepted} is the newest that gantry.update.tags={policy} accepts");
            if let Some(beyond) = beyond {
                let _ = write!(words, "; {beyond} exists: the line may have ended");
            }
            TagLook { words, ..TagLook::default() }
        }
        Err(refusal) => {
            let (image, tag, policy) = (image.tagged(), tag.clone(), policy.clone());
            let refusal = NoTagFits { image, tag, policy, refusal: *refusal }.to_string();
            TagLook { refusal: Some(refusal), ..TagLook::default() }
        }
    }
}
