//! Stage 2: what the registries have. Services with the same image and credentials make one group, and
//! each group's registry is asked once, some at a time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use crate::config::Insecure;
use crate::context::Context;
use crate::hosts::EngineRegistries;
use crate::image::{Digest, ImageRef};
use crate::ledger::entry::{Entry, image_name};
use crate::model::candidate::Candidate;
use crate::model::eligible::{may_be_updated, needs_answer};
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::registry::credentials::{Asker, FoundAccount, LoginQuery};
use crate::registry::{Credentials, Keyring, Lookup, Registry, RegistryError};

/// How often a registry is asked again whose tag has gone back to an older digest, and how long after the answer before.
const MORE_QUESTIONS: usize = 3;
const QUESTION_INTERVAL: Duration = Duration::from_millis(500);

/// Services that one question answers.
pub(super) struct Group {
    pub lookup: Lookup,
    /// Whether its services ask for a look-up without valid TLS, which they do not get as there is an account.
    pub is_label_void: bool,
    /// Digests that its services have.
    pub recorded: BTreeSet<Digest>,
    /// Whether one of its services has no digest yet.
    pub has_unpinned: bool,
    pub members: Vec<usize>,
    /// What is remembered of the digests that the tag had before.
    pub offered: Option<Entry>,
}

#[derive(PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub registry: String,
    pub repository: String,
    pub tag: String,
    pub credentials: Option<Arc<Credentials>>,
    pub insecure: bool,
    pub is_label_void: bool,
}

/// Asks for all services that need it. One that cannot be told is an answer of its own.
pub async fn inspect<S, R: Registry>(
    context: &Context<S, R>,
    keyring: &Keyring,
    hosts: &Arc<EngineRegistries>,
    candidates: Vec<Candidate>,
) -> Vec<Inspected> {
    let mut inspected: Vec<Inspected> = candidates.into_iter().map(Inspected::new).collect();

    for (group, answer) in ask_all(context, group(context, keyring, hosts, &mut inspected).await).await {
        let lookup = Arc::new(group.lookup);
        for member in group.members {
            inspected[member].answer = Some(answer.clone());
            inspected[member].lookup = Some(lookup.clone());
        }
    }
    inspected
}

/// What is to be found out for a service.
pub(super) struct Question<'a> {
    service: &'a str,
    /// The image that it may get.
    pub image: ImageRef,
    /// The login that its label names.
    login: Option<&'a str>,
    insecure: Insecure,
}

impl Question<'_> {
    /// The account in whose name it is asked.
    pub(super) fn account(&self, keyring: &Keyring) -> LoginQuery {
        keyring.wanted(Asker { service: self.service, image: &self.image, login: self.login })
    }
}

/// Finds the account for each of these once, some at a time: a credential helper that hangs costs its time
/// limit, and two that hang should not cost it twice.
async fn find_accounts<S, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    wanted: HashSet<LoginQuery>,
) -> HashMap<LoginQuery, Result<FoundAccount, String>> {
    stream::iter(wanted)
        .map(|wanted| async {
            let found = keyring.search(&wanted).await;
            context.beat();
            (wanted, found.map_err(|error| error.to_string()))
        })
        .buffer_unordered(context.config.lookups.workers.max(1))
        .take_until(context.stop.cancelled())
        .collect()
        .await
}

async fn group<S, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    hosts: &Arc<EngineRegistries>,
    inspected: &mut [Inspected],
) -> HashMap<GroupKey, Group> {
    let wanted: Vec<Option<(ImageRef, LoginQuery, Insecure)>> = inspected
        .iter()
        .map(|Inspected { candidate, .. }| {
            wanted(candidate).map(|question| {
                let wanted = question.account(keyring);
                (question.image, wanted, question.insecure)
            })
        })
        .collect();
    let distinct = wanted.iter().flatten().map(|(_, wanted, _)| wanted.clone()).collect();
    let accounts = find_accounts(context, keyring, distinct).await;

    let book = context.ledger.book();
    let mut groups: HashMap<GroupKey, Group> = HashMap::new();
    for (index, wanted) in wanted.into_iter().enumerate() {
        let Some((image, wanted, insecure)) = wanted else { continue };
        let FoundAccount { credentials, missing } = match accounts.get(&wanted) {
            Some(Ok(found)) => found.clone(),
            Some(Err(error)) => {
                inspected[index].answer = Some(Err(error.clone()));
                continue;
            }
            // Stopped meanwhile.
            None => continue,
        };
        if !needs_answer(&inspected[index].candidate) {
            inspected[index].account = credentials;
            continue;
        }
        // A person who sets labels may not own the account.
        let is_label_void = insecure == Insecure::ByLabel && credentials.is_some();
        let insecure = insecure != Insecure::No && !is_label_void;
        let key = GroupKey {
            registry: image.registry().to_owned(),
            repository: image.repository().to_owned(),
            tag: image.tag().unwrap_or_default().to_owned(),
            credentials: credentials.clone(),
            insecure,
            is_label_void,
        };
        let recorded = image.digest().cloned();
        let group = groups.entry(key).or_insert_with(|| Group {
            lookup: Lookup { image: image.clone(), credentials, missing, hosts: hosts.clone(), insecure },
            recorded: BTreeSet::new(),
            is_label_void,
            has_unpinned: false,
            members: Vec::new(),
            offered: image_name(&image).and_then(|name| book.image(&name).cloned()),
        });
        group.members.push(index);
        match recorded {
            Some(digest) => _ = group.recorded.insert(digest),
            None => group.has_unpinned = true,
        }
    }
    groups
}

/// What is to be asked for a service; nothing where no registry is to be asked.
pub(super) fn question(candidate: &Candidate) -> Option<Question<'_>> {
    wanted(candidate).filter(|_| needs_answer(candidate))
}

/// What is to be found out for a service, also where only its account is needed; nothing for what is left alone.
fn wanted(candidate: &Candidate) -> Option<Question<'_>> {
    let policy = candidate.policy.as_ref().ok().filter(|_| may_be_updated(candidate))?;
    let image = candidate.image()?.clone();
    let login = policy.auth_config.as_deref();
    Some(Question { service: &candidate.name, image, login, insecure: policy.insecure })
}

pub(super) async fn ask_all<S, R: Registry>(
    context: &Context<S, R>,
    groups: HashMap<GroupKey, Group>,
) -> Vec<(Group, Result<ResolvedTag, String>)> {
    let workers = context.config.lookups.workers.max(1);
    stream::iter(groups.into_values())
        .map(|group| async {
            let answer = context.beating(ask(&*context.registry, &group)).await;
            context.beat();
            let image = group.lookup.image.tagged();
            let login = group.lookup.credentials.as_ref().map_or("none", |login| login.source.as_str());
            match &answer {
                Ok(answer) => tracing::debug!(image, login, digest = %answer.digest, services = group.members.len(), "looked up"),
                Err(error) => tracing::debug!(image, login, %error, "look-up failed"),
            }
            {
                let answer = answer.map_err(|error| told(&group, &error));
                (group, answer)
            }
        })
        .buffer_unordered(workers)
        // Stopped: what was not asked yet is not asked any more, and nothing is updated.
        .take_until(context.stop.cancelled())
        .collect()
        .await
}

/// A failed look-up in words, with the remedy where the service's label was to prevent it.
fn told(group: &Group, error: &RegistryError) -> String {
    if !group.is_label_void || !matches!(error, RegistryError::Unreachable { .. }) {
        return error.to_string();
    }
    format!(
        "{error}; the label gantry.manifest.options=--insecure does not count here, as there is an account, which no label \
         sends without valid TLS: set GANTRY_MANIFEST_OPTIONS=--insecure for Gantry, or add {} to insecure-registries of \
         every node's engine",
        group.lookup.image.registry()
    )
}

async fn ask<R: Registry>(registry: &R, group: &Group) -> Result<ResolvedTag, RegistryError> {
    let digest = registry.digest(&group.lookup).await?;
    let is_needed = group.has_unpinned || group.recorded.iter().any(|recorded| *recorded != digest);
    let manifest = if is_needed { Some(registry.manifest(&group.lookup, &digest).await?) } else { None };
    let is_behind = group.offered.as_ref().is_some_and(|offered| offered.is_behind(&digest));
    let alternates = is_behind && does_alternate(registry, group, &digest).await;
    Ok(ResolvedTag { digest, manifest, credentials: group.lookup.credentials.clone(), alternates })
}

/// Whether the registry answers with another digest when it is asked again: of several servers, or of a cache and what is
/// behind it, one may know of the older digest only.
async fn does_alternate<R: Registry>(registry: &R, group: &Group, digest: &Digest) -> bool {
    for _ in 0..MORE_QUESTIONS {
        sleep(QUESTION_INTERVAL).await;
        if registry.digest(&group.lookup).await.is_ok_and(|other| other != *digest) {
            return true;
        }
    }
    false
}
