//! Stage 1: which services there are, and which of them are ours to update.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::back_off::BackOff;
use crate::config::{OnContainers, PREFIX, ServicePolicy};
use crate::context::{Context, Events};
use crate::hosts::EngineRegistries;
use crate::image::{ImageRef, ImageRefError};
use crate::ledger::book::Book;
use crate::ledger::entry::image_name;
use crate::model::candidate::{Candidate, image_of};
use crate::model::history::History;
use crate::model::order;
use crate::model::ours::ANSWERS_FOR;
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::unfinished::Unfinished;
use crate::options::{Ids, Name, Options};
use crate::rollout::rollouts::Known;
use crate::swarm::tasks::{by_service, tasks_of_any};
use crate::swarm::{EngineView, Listing, Role, Service, Swarm, SwarmError, Task};

/// What the swarm has for us.
#[derive(Debug)]
pub struct Found {
    /// Our own service, when it is among those to update. It comes first.
    pub itself: Vec<Candidate>,
    /// All others, by name.
    pub others: Vec<Candidate>,
    /// The latest version of any of them.
    pub newest: u64,
    /// How the engine talks to registries.
    pub hosts: Arc<EngineRegistries>,
}

/// How long an engine that does not answer is asked again before the cycle fails for it: managers that elect a leader,
/// or an engine that is restarted, are back well before.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest wait after the engine did not answer.
const BACK_OFF: BackOff = BackOff::new(Duration::from_secs(1), Duration::from_secs(10));

/// Looks at the swarm, again after a while where the engine does not answer. Only a single cycle whose engine has not
/// answered at all fails at once: waiting for an address that may be wrong helps no user.
///
/// The engine is not asked what is `known`.
pub(crate) async fn discover<S: Swarm, R>(context: &Context<S, R>, known: &Known) -> Result<Found> {
    let begun = Instant::now();
    let mut back_off = BACK_OFF;
    let mut is_reached = context.config.starts_again();
    loop {
        let error = match look(context, known, &mut is_reached).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let may_pass = is_reached && error.downcast_ref().is_some_and(SwarmError::is_transient);
        let is_first = back_off.is_fresh();
        let wait = back_off.wait();
        if !may_pass || begun.elapsed() + wait > PATIENCE {
            return Err(error);
        }
        if is_first {
            let what = format!("the cycle waits for the engine, for {} s at most", PATIENCE.as_secs());
            context.events.trouble(what, "", &format!("{error:#}"));
        }
        context.beat();
        tokio::select! {
            () = sleep(wait) => {}
            () = context.stop.cancelled() => return Err(error),
        }
    }
}

/// Reads the ledger and lists the services: one request each, one more for filters that are not about labels, one for the
/// tasks of those that may have ended, and a few where something is unfinished.
async fn look<S: Swarm, R>(context: &Context<S, R>, known: &Known, is_reached: &mut bool) -> Result<Found> {
    let selection = &context.config.services;
    let is_busy = !known.in_hand.is_empty();
    let engine = context.engine_role.view(&*context.swarm, is_busy).await;
    let engine = engine.context("cannot ask the engine about itself")?;
    *is_reached = true;
    must_be_manager(context, &engine)?;

    context.ledger.read(&*context.swarm, &engine).await.with_context(|| {
        format!("cannot read the ledger (the config {}, GANTRY_LEDGER_NAME)", context.config.ledger_name)
    })?;

    let listed = context.swarm.services(Listing::Filters(&selection.filters)).await.with_context(|| {
        let filters: Vec<String> = selection.filters.iter().map(ToString::to_string).collect();
        format!("cannot list the services (GANTRY_SERVICES_FILTERS={:?})", filters.join(" "))
    })?;
    let newest = listed.iter().map(|service| service.version).max().unwrap_or_default();
    let graph = super::order::graph(&context.config, &listed);
    let listed = within_scope(context, listed).await?;
    let excluded = excluded(context, &listed).await?;

    warn_of_labels_without_effect(context, &listed).await;
    let itself = context.itself_name();
    let (left_behind, book) = (context.ledger.left_behind(), context.ledger.book());
    let now = context.ledger.now();
    let ended = tasks_of_ended(context, &listed).await?;
    let lifecycle = |service: &Service| {
        TaskLifecycle::listed(service)
            .unwrap_or_else(|| TaskLifecycle::of(service.spec.facts(), tasks_of(&ended, service)))
    };
    let candidates = listed.into_iter().map(|service| {
        let lifecycle = lifecycle(&service);
        let image = image_of(service.spec.facts());
        let read = image.as_ref().and_then(|image| image.as_ref().ok());
        let was_offered = read.is_some_and(|image| was_offered(&book, image, now));
        let unfinished = Unfinished::of(&service, &left_behind, was_offered, now);
        candidate(context, (service, image), lifecycle, &excluded, unfinished, itself)
    });
    let mut candidates: Vec<Candidate> = candidates.collect();
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    for candidate in &mut candidates {
        super::order::apply(&graph, candidate);
    }
    complete(context, known, &mut candidates, now).await;
    warn(&context.events, &candidates);
    let (itself, others) = candidates.into_iter().partition(|candidate| candidate.is_itself);
    Ok(Found { itself, others, newest, hosts: Arc::new(engine.registries) })
}

/// The services that this run looks at.
async fn within_scope<S: Swarm, R>(context: &Context<S, R>, listed: Vec<Service>) -> Result<Vec<Service>> {
    let scope = &context.scope;
    if scope.is_everything() {
        return Ok(listed);
    }
    let mut passing = None;
    if !scope.filters.is_empty() {
        let asked = context.swarm.services(Listing::Filters(&scope.filters)).await;
        let asked = asked.context("cannot list the services that the run was asked for")?;
        passing = Some(asked.into_iter().map(|service| service.id).collect::<HashSet<String>>());
    }
    let mut excluded = HashSet::new();
    if !scope.excluded_filters.is_empty() {
        let asked = context.swarm.services(Listing::Filters(&scope.excluded_filters)).await;
        let asked = asked.context("cannot list the services that the run was asked to leave out")?;
        excluded.extend(asked.into_iter().map(|service| service.id));
    }
    let is_meant = |service: &Service| {
        scope.has(service)
            && !excluded.contains(&service.id)
            && passing.as_ref().is_none_or(|passing| passing.contains(&service.id))
    };
    Ok(listed.into_iter().filter(is_meant).collect())
}

/// The ids of the services that filters exclude. The engine is asked only where labels do not tell.
async fn excluded<S: Swarm, R>(context: &Context<S, R>, listed: &[Service]) -> Result<HashSet<String>> {
    let selection = &context.config.services;
    if selection.excluded_filters.iter().all(|filter| filter.label().is_some()) {
        let excluded = listed.iter().filter(|service| selection.excludes(&service.spec.facts().labels));
        return Ok(excluded.map(|service| service.id.clone()).collect());
    }
    let asked = context.swarm.services(Listing::Filters(&selection.excluded_filters)).await;
    let excluded = asked.context("cannot list the excluded services (GANTRY_SERVICES_EXCLUDED_FILTERS)")?;
    Ok(excluded.into_iter().map(|service| service.id).collect())
}

/// An error where the engine is no manager. The health check says so as long as that lasts.
fn must_be_manager<S: Swarm, R>(context: &Context<S, R>, engine: &EngineView) -> Result<()> {
    let name = &engine.host_name;
    let why = match engine.role {
        Role::Manager => {
            context.engine_role.note_manager();
            context.heartbeat.see_engine();
            context.heartbeat.diagnose(None);
            return Ok(());
        }
        // It is about to be one, or not: it is asked again.
        Role::Pending => {
            let words = format!("{name} has just started and is not back in its swarm yet");
            return Err(SwarmError::Unavailable(words).into());
        }
        Role::Worker => format!("{name} is a worker; run Gantry on a manager node"),
        Role::Locked => format!("the swarm of {name} is locked; unlock it with docker swarm unlock"),
        Role::None => format!("{name} is not in a swarm; run Gantry on a manager node"),
    };
    context.heartbeat.diagnose(Some(why.clone()));
    bail!(why)
}

/// Asks for what the list does not tell of unfinished services: their tasks, in one request, and the ids of what
/// their options name.
async fn complete<S: Swarm, R>(
    context: &Context<S, R>,
    known: &Known,
    candidates: &mut [Candidate],
    now: Timestamp,
) {
    let swarm = &*context.swarm;
    let mut unfinished: Vec<(&mut Unfinished, &Options)> = candidates
        .iter_mut()
        .filter(|candidate| !candidate.is_excluded && !known.in_hand.contains(&candidate.id))
        .filter_map(|Candidate { unfinished, policy, .. }| {
            Some((Arc::make_mut(unfinished.as_mut()?), &policy.as_ref().ok()?.update_options))
        })
        .collect();
    let is_asked = |unfinished: &Unfinished| {
        let is_skipped = known.skips_recent && unfinished.is_over && !unfinished.is_left_behind;
        unfinished.needs_tasks() && !is_skipped
    };
    let untold = unfinished.iter().filter(|(unfinished, _)| is_asked(unfinished));
    let untold: Vec<String> = untold.map(|(unfinished, _)| unfinished.service.id.clone()).collect();
    if !untold.is_empty() {
        match tasks_of_any(swarm, &untold).await {
            Ok(tasks) => {
                let tasks = by_service(tasks);
                for (unfinished, _) in unfinished.iter_mut().filter(|(unfinished, _)| is_asked(unfinished)) {
                    let own = tasks_of(&tasks, &unfinished.service);
                    unfinished.take_tasks(own, now);
                }
            }
            // These services are left to the next cycle, which asks again.
            Err(error) => context.events.trouble("cannot tell what became of unfinished updates", "", &error),
        }
    }
    // Each name once for all services. Whose change it was matters only until it is over.
    let under_way = unfinished.iter().filter(|(unfinished, _)| !unfinished.is_over);
    let names: BTreeSet<Name> = under_way.flat_map(|(_, options)| options.names()).collect();
    let mut ids = Ids::new();
    for name in names {
        match swarm.id_of(&name).await {
            Ok(id) => ids.extend(id.map(|id| (name, id))),
            Err(error) => {
                let what = format!("cannot tell whether an update is ours, as {name} cannot be looked up");
                context.events.trouble(what, "", &error);
            }
        }
    }
    for (unfinished, _) in &mut unfinished {
        unfinished.ids.clone_from(&ids);
    }
}

/// The tasks of the services of which only these tell whether they have ended, by service.
async fn tasks_of_ended<S: Swarm, R>(
    context: &Context<S, R>,
    listed: &[Service],
) -> Result<HashMap<String, Vec<Task>>> {
    let unknown = listed.iter().filter(|service| TaskLifecycle::listed(service).is_none());
    let ids: Vec<String> = unknown.map(|service| service.id.clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let asked = tasks_of_any(&*context.swarm, &ids).await;
    Ok(by_service(asked.context("cannot list the tasks of services that may have ended")?))
}

fn tasks_of<'a>(tasks: &'a HashMap<String, Vec<Task>>, service: &Service) -> &'a [Task] {
    tasks.get(&service.id).map_or(&[], Vec::as_slice)
}

fn candidate<S, R>(
    context: &Context<S, R>,
    (service, image): (Service, Option<Result<ImageRef, ImageRefError>>),
    lifecycle: TaskLifecycle,
    excluded: &HashSet<String>,
    unfinished: Option<Unfinished>,
    itself: Option<&str>,
) -> Candidate {
    let facts = service.spec.facts();
    let policy = ServicePolicy::of(&context.config, &facts.labels).map(Arc::new);
    let on_containers =
        OnContainers::of(&context.config, &facts.labels, &service.spec.container_labels_like(PREFIX));
    if let Some(OnContainers { warning, .. }) = &on_containers
        && context.said.is_news(&format!("{}: {warning}", service.id))
    {
        context.events.notice(&[&facts.name], "", warning);
    }
    let history = History::of(&service);
    Candidate {
        name: facts.name.clone(),
        image,
        mode: facts.mode,
        lifecycle,
        version: service.version,
        is_excluded: context.config.services.excluded.contains(&facts.name)
            || excluded.contains(&service.id)
            || on_containers.is_some_and(|on_containers| on_containers.excludes),
        is_itself: itself == Some(&facts.name),
        history,
        rank: Rank::of(facts, lifecycle, service.status, policy.as_ref().is_ok_and(|policy| policy.canary)),
        policy,
        tasks: service.status,
        unfinished: unfinished.map(Arc::new),
        order: facts.update.and_then(|update| update.order),
        may_collide: order::may_collide(facts),
        id: service.id,
    }
}

/// Whether Gantry offered this image to the services of its tag in the last hours.
fn was_offered(book: &Book, image: &ImageRef, now: Timestamp) -> bool {
    let entry = image_name(image).and_then(|name| book.image(&name));
    entry.is_some_and(|entry| {
        image.digest() == Some(&entry.digest) && now.duration_since(entry.at) < ANSWERS_FOR
    })
}

/// Says once which services lose their exclusion, and which of those that were not `listed` have the label by which
/// services opt in on their containers only.
async fn warn_of_labels_without_effect<S: Swarm, R>(context: &Context<S, R>, listed: &[Service]) {
    let config = &context.config;
    let ignored = listed.iter().filter(|service| config.ignores_exclusion(&service.spec.facts().labels));
    let ignored: Vec<&str> = ignored.map(Service::name).collect();
    if !ignored.is_empty() {
        let warning = config.ignored_exclusions(&ignored);
        if context.said.is_news(&warning) {
            context.events.notice(&[], "", warning);
        }
    }
    if config.opt_in_filters().next().is_none() || !context.said.is_news("looked for misplaced labels") {
        return;
    }
    // One request in the life of a process; where it fails, nothing else depends on it.
    let Ok(all) = context.swarm.services(Listing::Filters(&[])).await else { return };
    let listed_ids: HashSet<&str> = listed.iter().map(|service| service.id.as_str()).collect();
    for service in all.iter().filter(|service| !listed_ids.contains(service.id.as_str())) {
        let (labels, on_containers) = (&service.spec.facts().labels, service.spec.container_labels());
        if config.opt_in_filters().any(|filter| filter.passes(&on_containers) == Some(true))
            && let Some(OnContainers { warning, .. }) = OnContainers::of(config, labels, &on_containers)
        {
            context.events.notice(&[service.name()], "", format_args!("not updated: {warning}"));
        }
    }
}

/// Says what is wrong with labels, once for all services that have the same.
fn warn(events: &Events, candidates: &[Candidate]) {
    let mut services: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for candidate in candidates {
        for warning in candidate.policy.iter().flat_map(|policy| &policy.warnings) {
            services.entry(warning).or_default().push(&candidate.name);
        }
    }
    for (warning, names) in services {
        events.notice(&names, "", warning);
    }
}
