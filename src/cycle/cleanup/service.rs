//! The service that removes images on all nodes: its name, its specification, how it comes and how it goes.
//!
//! It has the Docker socket of every node, so none may be left behind. Only the holder of the lease makes one, so what
//! another process of the same ledger has made is of no use any more when it is found. Gantrys with ledgers of their
//! own have removers of their own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::cycle::lease;
use crate::ledger::acquire::LeaseOutcome;
use crate::model::event::Event;
use crate::options::Ids;
use crate::secret::Secret;
use crate::swarm::{Service, Spec, Swarm, SwarmError};

/// The name of the service that removes images, of a Gantry with the default ledger.
pub const REMOVER_NAME: &str = "gantry-image-remover";

/// The name of the default ledger.
const DEFAULT_LEDGER: &str = "gantry";

/// The longest name that a service may have.
const MAX_NAME: usize = 63;

/// The label with the name of the ledger whose Gantry has made the remover.
const LEDGER_LABEL: &str = "gantry-image-remover.ledger";

/// The label that tells one cleaning's remover from another's.
const CLEANING_LABEL: &str = "gantry-image-remover.cleaning";

/// The label of all removers, also of those that earlier versions made.
const EXCLUDED_LABEL: &str = "gantry.services.excluded";

/// Where the remover finds its node's engine.
const SOCKET: &str = "/var/run/docker.sock";

/// How long an engine that does not answer is asked again to make or to end the remover: twice as long as one request may
/// take. Managers that elect a leader, or an engine that is restarted, are back well before.
const PATIENCE: Duration = Duration::from_secs(150);

/// How long a cleaning waits for the lease: a holder that is dead is replaced before.
const LEASE_PATIENCE: Duration = Duration::from_secs(60);

/// From the end of a remover that is in the way to the next attempt.
const MOMENT: Duration = Duration::from_millis(200);

/// From one of these questions to the next.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The name of the service that removes images, of a Gantry with this ledger. A service's name may have fewer characters
/// than a ledger's, and no dots.
pub fn remover_name(ledger: &str) -> String {
    if ledger == DEFAULT_LEDGER {
        return REMOVER_NAME.to_owned();
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let room = MAX_NAME - REMOVER_NAME.len() - 1;
    if ledger.chars().all(is_plain) && ledger.len() <= room {
        return format!("{REMOVER_NAME}-{ledger}");
    }
    let hash = Sha256::digest(ledger.as_bytes());
    let hash = format!("{:08x}", u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
    let plain: String = ledger.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let kept = &plain[..plain.len().min(room - hash.len() - 1)];
    format!("{REMOVER_NAME}-{kept}-{hash}")
}

/// Where a node has the socket of its engine.
pub(super) fn socket<S, R>(context: &Context<S, R>) -> &str {
    context.itself.as_ref().and_then(|itself| itself.socket.as_deref()).unwrap_or(SOCKET)
}

/// Whether a service of the remover's name is a remover of this ledger. Earlier versions gave it no name of a ledger.
fn is_ours(service: &Service, ledger: &str) -> bool {
    let labels = &service.spec.facts().labels;
    match labels.get(LEDGER_LABEL) {
        Some(of) => of == ledger,
        None => labels.get(EXCLUDED_LABEL).is_some_and(|value| value == "true"),
    }
}

/// One cleaning's remover.
#[derive(Debug)]
pub(super) struct Remover {
    /// Its name.
    pub(super) name: String,
    /// What its label says, unlike that of any other.
    cleaning: String,
}

impl Remover {
    /// A remover that is not made yet.
    pub(super) fn new<S, R>(context: &Context<S, R>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (ledger, process) = (context.ledger.name(), context.ledger.id());
        Self { name: remover_name(ledger), cleaning: format!("{process}-{count}") }
    }

    /// The specification: what it needs, and what the options make of that. `orders` are the images to remove.
    pub(super) async fn spec<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        image: &str,
        orders: &[String],
    ) -> Result<Spec> {
        let socket = socket(context);
        let level = match context.config.log.level {
            crate::config::LogLevel::Debug => "DEBUG",
            _ => "INFO",
        };
        let ledger = context.ledger.name();
        let spec = json!({
            "Name": self.name,
            "Labels": { EXCLUDED_LABEL: "true", LEDGER_LABEL: ledger, CLEANING_LABEL: self.cleaning },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image,
                    "Env": [
                        format!("GANTRY_IMAGES_TO_REMOVE={}", orders.join(" ")),
                        format!("GANTRY_LEDGER_NAME={ledger}"),
                        format!("GANTRY_LOG_LEVEL={level}"),
                    ],
                    "ReadOnly": true,
                    "CapabilityDrop": ["ALL"],
                    "Healthcheck": { "Test": ["NONE"] },
                    "Mounts": [{ "Type": "bind", "Source": socket, "Target": SOCKET }],
                    "StopGracePeriod": 2_000_000_000_u64,
                },
                "LogDriver": { "Name": "json-file" },
                "RestartPolicy": { "Condition": "none" },
            },
            "Mode": { "Global": {} },
        });
        let spec = Spec::from_json(&spec.to_string())?;
        let options = &context.config.cleanup.options;
        let mut ids = Ids::new();
        for name in options.names() {
            ids.extend(context.swarm.id_of(&name).await?.map(|id| (name, id)));
        }
        spec.with_options(options, &ids).context("GANTRY_CLEANUP_IMAGES_OPTIONS")
    }

    /// Makes the service and returns its id. A remover that a killed Gantry has left goes first. Where the answer is lost,
    /// the service may be there all the same: the next request tells, as the name is taken then.
    pub(super) async fn start<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        spec: &Spec,
        auth: Option<&Secret>,
    ) -> Result<String> {
        let begun = Instant::now();
        let mut may_be_made = false;
        loop {
            let answer = match context.swarm.create_service(spec, auth).await {
                Err(SwarmError::NameTaken(words)) => self.give_way(context, &words).await,
                answer => answer.map(Some),
            };
            let error = match answer {
                Ok(Some(id)) => return Ok(id),
                Ok(None) if begun.elapsed() < PATIENCE => {
                    sleep(MOMENT).await;
                    continue;
                }
                Ok(None) => bail!("the name {} stays taken", self.name),
                Err(error) => error,
            };
            let may_pass = error.is_transient();
            may_be_made |= may_pass;
            if may_pass && begun.elapsed() < PATIENCE && !context.stop.is_cancelled() {
                context.beat();
                tokio::select! {
                    () = sleep(RETRY_INTERVAL) => {}
                    () = context.stop.cancelled() => {}
                }
                if !context.stop.is_cancelled() {
                    continue;
                }
            }
            if may_be_made {
                self.withdraw(context).await;
            }
            return Err(error.into());
        }
    }

    /// What to do about the service that has our name: it is ours, as only the answer was lost, or it goes (`None`), or it
    /// is no remover.
    async fn give_way<S: Swarm, R>(
        &self,
        context: &Context<S, R>,
        words: &str,
    ) -> Result<Option<String>, SwarmError> {
        let Some(found) = context.swarm.service(&self.name).await? else { return Ok(None) };
        if self.is_it(&found) {
            return Ok(Some(found.id));
        }
        if !is_ours(&found, context.ledger.name()) {
            return Err(SwarmError::NameTaken(format!(
                "{words}; the service {} is no image remover of this Gantry, and is left alone",
                self.name
            )));
        }
        context.swarm.remove_service(&found.id).await?;
        Ok(None)
    }

    fn is_it(&self, service: &Service) -> bool {
        service.spec.facts().labels.get(CLEANING_LABEL) == Some(&self.cleaning)
    }

    /// Removes the service if the engine made it and the answer was lost.
    async fn withdraw<S: Swarm, R>(&self, context: &Context<S, R>) {
        let removed = match context.swarm.service(&self.name).await {
            Ok(Some(found)) if self.is_it(&found) => context.swarm.remove_service(&found.id).await,
            // A request whose answer was lost may still be done: a later look tells.
            Ok(_) => return context.ledger.suspect_remover(),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            self.tell_left(context, &error);
        }
    }

    /// Ends the service. An engine that is away for a while is asked again.
    pub(super) async fn end<S: Swarm, R>(&self, context: &Context<S, R>, id: &str) -> Result<(), SwarmError> {
        let answer = patiently(context, || context.swarm.remove_service(id)).await;
        answer.inspect_err(|error| self.tell_left(context, error))
    }

    fn tell_left<S, R>(&self, context: &Context<S, R>, error: &SwarmError) {
        context.ledger.suspect_remover();
        let name = &self.name;
        let what = format!(
            "the image remover may be left on all nodes; the next cycle removes it, or `docker service rm {name}`"
        );
        context.events.trouble(what, "", error);
    }
}

/// Asks the engine, and asks again while it does not answer, until it has been away for too long.
pub(super) async fn patiently<S, R, T, F>(
    context: &Context<S, R>,
    ask: impl Fn() -> F,
) -> Result<T, SwarmError>
where
    F: Future<Output = Result<T, SwarmError>>,
{
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        let may_pass = answer.as_ref().is_err_and(SwarmError::is_transient);
        if !may_pass || begun.elapsed() >= PATIENCE || context.stop.is_cancelled() {
            return answer;
        }
        context.beat();
        tokio::select! {
            () = sleep(RETRY_INTERVAL) => {}
            () = context.stop.cancelled() => {}
        }
    }
}

/// Removes a remover that an earlier run may have left behind, once for each process and after each cleaning whose end is
/// unknown.
pub(super) async fn sweep<S: Swarm, R>(context: &Context<S, R>) {
    if !context.ledger.suspects_remover() {
        return;
    }
    let name = remover_name(context.ledger.name());
    let found = match context.swarm.service(&name).await {
        Ok(found) => found.filter(|found| is_ours(found, context.ledger.name())),
        Err(error) => return tracing::debug!(%error, "cannot see whether an image remover is left behind"),
    };
    let Some(found) = found else { return context.ledger.clear_remover() };
    if let Err(error) = hold(context, found.version).await {
        return tracing::debug!("the image remover {name} is left to the Gantry that has made it: {error:#}");
    }
    match context.swarm.remove_service(&found.id).await {
        Ok(()) => {
            context.ledger.clear_remover();
            context.events.emit(&Event::RemoverRemoved { service: name });
        }
        Err(error) => {
            context.events.trouble("cannot remove an image remover that was left behind", &name, &error);
        }
    }
}

/// Holds the lease, or waits for it for a while. `newest` is the latest version of any service that was seen.
pub(super) async fn hold<S: Swarm, R>(context: &Context<S, R>, newest: u64) -> Result<()> {
    match lease::take_for_cleaning(context, newest, LEASE_PATIENCE).await {
        LeaseOutcome::Ours | LeaseOutcome::OursAfterWait => Ok(()),
        LeaseOutcome::NotOurs { holder } => bail!("another Gantry is at work ({holder})"),
        LeaseOutcome::Stopped => bail!("Gantry was stopped"),
        LeaseOutcome::Failed { cause } => Err(cause).context("cannot write the ledger"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ledger_has_a_remover_of_its_own() {
        let long = "x".repeat(64);
        let names: Vec<String> =
            ["gantry", "gantry-2", "a.b", "a-b", "a_b", &long, &long[..63], &long[..42], "é"]
                .into_iter()
                .map(remover_name)
                .collect();
        assert_eq!(&names[..2], ["gantry-image-remover", "gantry-image-remover-gantry-2"]);
        let is_good = |name: &String| {
            name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        assert!(names.iter().all(is_good), "{names:?}");
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}
