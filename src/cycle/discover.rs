//! Stage 1: which services there are, and which of them are ours to update.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::Context;
use super::resume::Unfinished;
use crate::config::{LabelMistakes, ServicePolicy};
use crate::hosts::EngineRegistries;
use crate::swarm::{Listing, Mode, Role, Service, ServiceStatus, Swarm};

/// What the swarm has for us.
#[derive(Debug)]
pub struct Found {
    /// Our own service, when it is among those to update. It comes first.
    pub itself: Vec<Candidate>,
    /// All others, by name.
    pub others: Vec<Candidate>,
    /// How the engine talks to registries.
    pub hosts: Arc<EngineRegistries>,
}

/// A service that matches the filters, as far as the next stages need it. The specification is read again
/// when its turn comes, which may be an hour later.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as written.
    pub image: Option<String>,
    /// How many tasks it has.
    pub mode: Mode,
    /// Excluded by name or by the filters of excluded services.
    pub is_excluded: bool,
    /// Whether it is our own service.
    pub is_itself: bool,
    /// Its settings.
    pub policy: Result<ServicePolicy, LabelMistakes>,
    /// How many of its tasks run.
    pub tasks: Option<ServiceStatus>,
    /// What an earlier run, or somebody else, has not brought to an end.
    pub unfinished: Option<Arc<Unfinished>>,
}

impl Candidate {
    /// Its image without the digest, as people call it.
    pub fn image_name(&self) -> String {
        let written = self.image.as_deref().unwrap_or_default();
        written.split_once('@').map_or(written, |(name, _)| name).to_owned()
    }
}

/// Lists the services: one request, one more for those that filters exclude, and one more where the swarm
/// itself is rolling services back.
pub async fn discover<S: Swarm, R>(context: &Context<S, R>) -> Result<Found> {
    let selection = &context.config.services;
    let engine = context.swarm.engine().await.context("cannot ask the engine about itself")?;
    match engine.role {
        Role::Manager => {}
        Role::Worker => bail!("{} is a worker; run Gantry on a manager node", engine.host_name),
        Role::None => bail!("{} is not in a swarm; run Gantry on a manager node", engine.host_name),
    }

    let listed = context.swarm.services(Listing::Filters(&selection.filters)).await.with_context(|| {
        let filters: Vec<String> = selection.filters.iter().map(ToString::to_string).collect();
        format!("cannot list the services (GANTRY_SERVICES_FILTERS={:?})", filters.join(" "))
    })?;
    let excluded: HashSet<String> = if selection.excluded_filters.is_empty() {
        HashSet::new()
    } else {
        let listing = Listing::Filters(&selection.excluded_filters);
        let excluded = context
            .swarm
            .services(listing)
            .await
            .context("cannot list the excluded services (GANTRY_SERVICES_EXCLUDED_FILTERS)")?;
        excluded.into_iter().map(|service| service.id).collect()
    };

    let itself = context.itself_name();
    let unfinished = find_unfinished(&*context.swarm, &listed).await;
    let mut candidates: Vec<Candidate> = listed
        .into_iter()
        .zip(unfinished)
        .map(|(service, unfinished)| candidate(context, service, unfinished, &excluded, itself))
        .collect();
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    warn(&candidates);
    let (itself, others) = candidates.into_iter().partition(|candidate| candidate.is_itself);
    Ok(Found { itself, others, hosts: Arc::new(engine.registries) })
}

/// What is unfinished, in the order of the services.
async fn find_unfinished<S: Swarm>(swarm: &S, listed: &[Service]) -> Vec<Option<Unfinished>> {
    let mut unfinished: Vec<Option<Unfinished>> = listed.iter().map(Unfinished::of).collect();
    let untold = unfinished.iter().flatten().filter(|unfinished| unfinished.needs_tasks());
    let untold: Vec<String> = untold.map(|unfinished| unfinished.service.id.clone()).collect();
    if untold.is_empty() {
        return unfinished;
    }
    match swarm.tasks(&untold).await {
        Ok(tasks) => unfinished
            .iter_mut()
            .flatten()
            .filter(|unfinished| unfinished.needs_tasks())
            .for_each(|unfinished| unfinished.take_tasks(&tasks)),
        // They are left alone then; the next cycle asks again.
        Err(error) => tracing::warn!(%error, "cannot tell what the swarm is rolling back"),
    }
    unfinished
}

fn candidate<S, R>(
    context: &Context<S, R>,
    service: Service,
    unfinished: Option<Unfinished>,
    excluded: &HashSet<String>,
    itself: Option<&str>,
) -> Candidate {
    let facts = service.spec.facts();
    let policy = ServicePolicy::of(&context.config, &facts.labels);
    Candidate {
        name: facts.name.clone(),
        image: facts.image.clone(),
        mode: facts.mode,
        is_excluded: context.config.services.excluded.contains(&facts.name) || excluded.contains(&service.id),
        is_itself: itself == Some(&facts.name),
        policy,
        tasks: service.status,
        unfinished: unfinished.map(Arc::new),
        id: service.id,
    }
}

/// Says what is wrong with labels, once for all services that have the same.
fn warn(candidates: &[Candidate]) {
    let mut services: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for candidate in candidates {
        for warning in candidate.policy.iter().flat_map(|policy| &policy.warnings) {
            services.entry(warning).or_default().push(&candidate.name);
        }
    }
    for (warning, names) in services {
        tracing::warn!(service = names[0], services = names.len(), "{warning}");
    }
}
