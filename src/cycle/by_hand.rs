//! `gantry quarantine` and `gantry release`: a person reads and changes the ledger.
//!
//! Both decide as the next cycle does: what services show is read by the rule of the plan, and what a release promises is
//! what the plan decides on the changed ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lease::read_failed_tasks;
use super::{discover, gone_back, plan};
use crate::config::Config;
use crate::context::{Context, EngineRole, Events, RunScope, Said, TagMemory};
use crate::heartbeat::Heartbeat;
use crate::ledger::book::{self, Labels};
use crate::ledger::entry::{Entry, Subject, image_name};
use crate::ledger::release::{self, QuarantineList, Release, ReleaseTarget};
use crate::ledger::{Ledger, MAX_CONFLICTS, TEXT, is_ours, was_another_faster};
use crate::model::attention::OtherHand;
use crate::model::candidate::Candidate;
use crate::model::decision::Decision;
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::rollout::rollouts::Known;
use crate::rollout::send::why_not_sent;
use crate::swarm::{ConfigObject, Listing, Service, Swarm};

/// What `gantry quarantine` and `gantry release` decide on.
struct CommandInput<S> {
    /// What decides as a cycle does. Its ledger was read and is never written.
    context: Context<S, ()>,
    object: Option<ConfigObject>,
    labels: Labels,
    /// All services of the swarm.
    services: Vec<Service>,
    /// Those that Gantry may update.
    candidates: Vec<Candidate>,
    /// What services show and the ledger does not hold.
    shown: Vec<Entry>,
}

/// What is held back now.
pub async fn listed<S: Swarm>(config: &Arc<Config>, swarm: &Arc<S>) -> Result<QuarantineList> {
    let CommandInput { context, object, shown, .. } = look(config, swarm).await?;
    let quarantine = context.quarantine();
    let held = release::held(&quarantine.book, &shown, quarantine.now, quarantine.duration);
    let missing = object.is_none().then(|| config.ledger_name.clone());
    Ok(QuarantineList { held, damaged: quarantine.book.damaged.clone(), missing })
}

/// Releases what is meant. A daemon sees it at its next cycle.
pub async fn release<S: Swarm>(
    config: &Arc<Config>,
    swarm: &Arc<S>,
    target: &ReleaseTarget,
) -> Result<Release> {
    let mut conflicts = 0;
    loop {
        let seen = look(config, swarm).await?;
        let (book, now) = (seen.context.ledger.book(), seen.context.ledger.now());
        let mut release = release::release(target, &book, &seen.services, &seen.shown, now);
        let after = book::change(&seen.labels, &release.changes);
        seen.promise(&mut release).await?;
        let written = match &seen.object {
            _ if after == seen.labels => Ok(()),
            Some(object) => swarm.update_config_object(object, &after).await,
            None => {
                let text = STANDARD.encode(TEXT);
                swarm.create_config_object(&config.ledger_name, &after, &text).await.map(|_| ())
            }
        };
        match written {
            Err(error) if was_another_faster(&error) && conflicts < MAX_CONFLICTS => conflicts += 1,
            written => return Ok(written.map(|()| release)?),
        }
    }
}

/// Looks at the swarm and the ledger as a cycle does.
async fn look<S: Swarm>(config: &Arc<Config>, swarm: &Arc<S>) -> Result<CommandInput<S>> {
    let name = &config.ledger_name;
    let object = swarm.config_object(name).await?;
    if object.as_ref().is_some_and(|object| !is_ours(object)) {
        anyhow::bail!(
            "the config {name} is not a ledger of Gantry's; set GANTRY_LEDGER_NAME to the name that the daemon has"
        );
    }
    let context = apart(config, swarm, &Arc::new(()), RunScope::default());
    let found = discover::discover(&context, &Known::default()).await?;
    let mut candidates: Vec<Candidate> = found.itself.into_iter().chain(found.others).collect();
    let services = swarm.services(Listing::Filters(&[])).await.context("cannot list the services")?;
    let quarantine = context.quarantine();
    let rolled_back = candidates.iter_mut().filter(|candidate| candidate.history.rollback.is_some());
    read_failed_tasks(&**swarm, &mut rolled_back.collect::<Vec<_>>()).await?;
    let shown = candidates.iter().filter_map(|candidate| quarantine.shown_by(candidate)).collect();
    let labels = object.as_ref().map(|object| object.labels.clone()).unwrap_or_default();
    Ok(CommandInput { context, object, labels, services, candidates, shown })
}

/// What decides as a cycle does, beside all cycles. Its ledger is read and never written, and its events go nowhere: what is
/// wrong is told by a cycle.
pub(super) fn apart<S, R>(
    config: &Arc<Config>,
    swarm: &Arc<S>,
    registry: &Arc<R>,
    scope: RunScope,
) -> Context<S, R> {
    // A person waits for the answer: an engine that is away is not waited for.
    let config = Arc::new(Config { interval: None, trigger_path: None, ..Config::clone(config) });
    let (stop, heartbeat) = (CancellationToken::new(), Heartbeat::new(Instant::now()));
    let events = Events::unheard();
    Context {
        swarm: swarm.clone(),
        registry: registry.clone(),
        ledger: Arc::new(Ledger::new(&config.ledger_name)),
        config,
        itself: None,
        leftovers: BTreeSet::new(),
        engine_role: EngineRole::new(stop.clone(), heartbeat.clone(), events.clone()),
        events,
        stop,
        scope,
        said: Said::default(),
        tag_memory: TagMemory::default(),
        span: tracing::Span::none(),
        heartbeat,
    }
}

impl<S: Swarm> CommandInput<S> {
    /// Says of each service that is released what the next cycle would not update yet, and why not.
    async fn promise(&self, release: &mut Release) -> Result<()> {
        // Nothing keeps this ledger, so the changes are not written: it reads as it will after them.
        release.changes.iter().for_each(|change| self.context.ledger.note(change.clone()));
        let mut waiting: BTreeMap<String, String> = BTreeMap::new();
        for change in &release.changes {
            let book::LedgerChange::Put(entry) = change else { continue };
            for candidate in self.candidates.iter().filter(|candidate| is_about(entry, candidate)) {
                if let Some(why) = self.obstacle(candidate, entry).await? {
                    waiting.insert(candidate.name.clone(), why);
                }
            }
            let is_managed = |name: &String| self.candidates.iter().any(|candidate| candidate.name == *name);
            if let Subject::Service(name) = &entry.subject
                && !is_managed(name)
            {
                waiting.insert(name.clone(), "GANTRY_SERVICES_FILTERS does not select it".to_owned());
            }
        }
        release.waiting = waiting.into_iter().collect();
        Ok(())
    }

    /// Why plan or rollout would not send the released digest to a service. `None`: they would.
    async fn obstacle(&self, candidate: &Candidate, entry: &Entry) -> Result<Option<String>> {
        let quarantine = self.context.quarantine();
        let answer = ResolvedTag {
            digest: entry.digest.clone(),
            manifest: None,
            credentials: None,
            alternates: false,
        };
        let inspected = [Inspected { answer: Some(Ok(answer)), ..Inspected::new(candidate.clone()) }];
        let planned = plan::plan(&inspected, &self.context.selection(), &quarantine);
        let planned = gone_back::judge(&inspected, &quarantine).hold(planned);
        let planned = quarantine.hold_what_finds_no_room(&inspected, planned);
        let Some(planned) = planned.into_iter().next() else { return Ok(None) };
        Ok(match planned.decision {
            Decision::Update(update) if update.begun.is_none() && self.context.ledger.pause().is_some() => {
                drop(update);
                Some(OtherHand::ByHand.to_string())
            }
            Decision::Update(update) if update.begun.is_none() => {
                why_not_sent(&self.context, &update).await?.map(|outcome| outcome.to_string())
            }
            Decision::Update(_) => Some("its last change has not ended".to_owned()),
            Decision::Later(_, hand) => Some(hand.to_string()),
            // A service of an image that was released for all: it has the digest already.
            Decision::UpToDate if matches!(entry.subject, Subject::Image(_)) => None,
            Decision::UpToDate => Some("it has this digest already".to_owned()),
            Decision::NeedsAttention { what, .. } => Some(what.to_string()),
            Decision::LeftAlone(reason) => Some(reason.to_string()),
            Decision::Error(cause) => Some(cause),
        })
    }
}

/// Whether an entry is about this service, or about its image.
fn is_about(entry: &Entry, candidate: &Candidate) -> bool {
    match &entry.subject {
        Subject::Tag(_) => false,
        Subject::Service(name) => *name == candidate.name && entry.service_id == candidate.id,
        Subject::Image(name) => candidate.image().and_then(image_name).as_ref() == Some(name),
    }
}
