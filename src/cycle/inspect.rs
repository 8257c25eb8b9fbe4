//! Stage 2: what the registries have. Services with the same image and credentials make one group, and
//! each group's registry is asked once, some at a time.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::Context;
use super::discover::Candidate;
use super::plan::needs_answer;
use crate::hosts::EngineRegistries;
use crate::image::{Digest, ImageRef};
use crate::registry::{Credentials, Keyring, Lookup, Manifest, Registry, RegistryError};

/// A service and what its registry answered; nothing where it was not to be asked.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The service.
    pub candidate: Candidate,
    /// The answer, or in words why there is none.
    pub answer: Option<Result<Answer, String>>,
}

/// What a registry has under a tag.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The tag's digest.
    pub digest: Digest,
    /// What stands behind it; fetched only when a service has another digest.
    pub manifest: Option<Arc<Manifest>>,
    /// Whose name it was asked in; the nodes pull with the same.
    pub credentials: Option<Arc<Credentials>>,
}

/// Services that one question answers.
struct Group {
    lookup: Lookup,
    /// Digests that its services have, each once.
    recorded: Vec<Digest>,
    /// Whether one of its services has no digest yet.
    has_unpinned: bool,
    members: Vec<usize>,
}

#[derive(PartialEq, Eq, Hash)]
struct GroupKey {
    registry: String,
    repository: String,
    tag: String,
    credentials: Option<Arc<Credentials>>,
    insecure: bool,
}

/// Asks for all services that need it. One that cannot be told is an answer of its own.
pub async fn inspect<S, R: Registry>(
    context: &Context<S, R>,
    keyring: &Keyring,
    hosts: &Arc<EngineRegistries>,
    candidates: Vec<Candidate>,
) -> Vec<Inspected> {
    let mut inspected: Vec<Inspected> =
        candidates.into_iter().map(|candidate| Inspected { candidate, answer: None }).collect();

    for (group, answer) in ask_all(context, group(keyring, hosts, &mut inspected).await).await {
        for member in group.members {
            inspected[member].answer = Some(answer.clone());
        }
    }
    inspected
}

async fn group(
    keyring: &Keyring,
    hosts: &Arc<EngineRegistries>,
    inspected: &mut [Inspected],
) -> HashMap<GroupKey, Group> {
    let mut groups: HashMap<GroupKey, Group> = HashMap::new();
    for (index, Inspected { candidate, answer }) in inspected.iter_mut().enumerate() {
        let (true, Ok(policy), Some(Ok(image))) = (
            needs_answer(candidate),
            &candidate.policy,
            candidate.image.as_deref().map(str::parse::<ImageRef>),
        ) else {
            continue;
        };
        let credentials = match keyring.find(image.registry()).await {
            Ok(credentials) => credentials,
            Err(error) => {
                *answer = Some(Err(error.to_string()));
                continue;
            }
        };
        let key = GroupKey {
            registry: image.registry().to_owned(),
            repository: image.repository().to_owned(),
            tag: image.tag().unwrap_or_default().to_owned(),
            credentials: credentials.clone(),
            insecure: policy.insecure,
        };
        let recorded = image.digest().cloned();
        let group = groups.entry(key).or_insert_with(|| Group {
            lookup: Lookup { image, credentials, hosts: hosts.clone(), insecure: policy.insecure },
            recorded: Vec::new(),
            has_unpinned: false,
            members: Vec::new(),
        });
        group.members.push(index);
        match recorded {
            Some(digest) if !group.recorded.contains(&digest) => group.recorded.push(digest),
            Some(_) => {}
            None => group.has_unpinned = true,
        }
    }
    groups
}

async fn ask_all<S, R: Registry>(
    context: &Context<S, R>,
    groups: HashMap<GroupKey, Group>,
) -> Vec<(Group, Result<Answer, String>)> {
    let workers = context.config.lookups.workers.max(1);
    stream::iter(groups.into_values())
        .map(|group| async {
            let answer = ask(&*context.registry, &group).await;
            context.beat();
            let image = group.lookup.image.tagged();
            match &answer {
                Ok(answer) => tracing::debug!(image, digest = %answer.digest, services = group.members.len(), "looked up"),
                Err(error) => tracing::debug!(image, %error, "look-up failed"),
            }
            (group, answer.map_err(|error| error.to_string()))
        })
        .buffer_unordered(workers)
        // Stopped: what was not asked yet is not asked any more, and nothing is updated.
        .take_until(context.stop.cancelled())
        .collect()
        .await
}

async fn ask<R: Registry>(registry: &R, group: &Group) -> Result<Answer, RegistryError> {
    let digest = registry.digest(&group.lookup).await?;
    let is_needed = group.has_unpinned || group.recorded.iter().any(|recorded| *recorded != digest);
    let manifest = if is_needed { Some(registry.manifest(&group.lookup, &digest).await?) } else { None };
    Ok(Answer { digest, manifest, credentials: group.lookup.credentials.clone() })
}
