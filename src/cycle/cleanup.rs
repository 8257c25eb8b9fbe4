//! Stage 5: the replaced images are removed, on every node.
//!
//! A manager's socket shows only its own node, so our own image is run once on every node, with that node's
//! socket. It does the work (see [`super::remover`]), prints what it did and waits to be removed.
//!
//! It is a *global service* rather than a global job. Tried on 20.10: the finished containers of a job
//! stay on the nodes when the job is removed, and running ones are not even stopped; those of a service
//! are stopped and removed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Context;
use super::remover::{self, Removal};
use super::rollout::{Finished, Outcome};
use crate::config::ServicePolicy;
use crate::image::ImageRef;
use crate::options::Ids;
use crate::registry::Keyring;
use crate::secret::Secret;
use crate::swarm::{Listing, Node, Nodes, Spec, Swarm, SwarmError, Task, TaskState};

/// The name of the service that removes images.
pub const REMOVER_NAME: &str = "gantry-image-remover";

/// How long all nodes together may take. A node that is slower is named, and the next cleaning tries again.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// From one look at the removers to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long an engine that does not answer is asked again to end the remover: managers that elect a leader, or an engine that
/// is restarted, are back well before.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one of these questions to the next.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How many lines of a remover's output are read.
const LOG_LINES: usize = 200;

/// How long after a task's end its output may arrive.
const LOG_DELAY: Duration = Duration::from_secs(2);

/// In how many cycles an image is tried again that could not be removed everywhere.
const MORE_TRIES: u32 = 3;

/// Images that a cleaning could not remove everywhere: a container was slow to stop, or a node to answer, or its remover
/// failed. The next cycles try them again.
#[derive(Debug, Default)]
pub struct Leftovers(BTreeMap<ImageRef, u32>);

impl Leftovers {
    /// The images.
    pub fn images(&self) -> BTreeSet<ImageRef> {
        self.0.keys().cloned().collect()
    }

    /// Takes note of what a cycle's cleaning has left; `None`: it did not clean.
    pub fn follow(&mut self, cleaned: Option<&Cleaned>) {
        let Some(cleaned) = cleaned else { return };
        let before = std::mem::take(&mut self.0);
        for image in cleaned.unfinished().filter_map(|image| image.parse::<ImageRef>().ok()) {
            let tries = before.get(&image).map_or(0, |tries| tries + 1);
            if tries < MORE_TRIES {
                self.0.insert(image, tries);
            }
        }
    }
}

/// What a cleaning did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The images to remove.
    pub images: Vec<String>,
    /// What was done, by node.
    pub nodes: BTreeMap<String, Removal>,
    /// Ready nodes that did not report in time.
    pub silent: Vec<String>,
    /// Why it could not be done at all, or not everywhere.
    pub problem: Option<String>,
}

/// Removes the images that this cycle replaced, or that broke a service, from all nodes. A failure is only a warning.
pub async fn clean_up<S: Swarm, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    finished: &[Finished],
) -> Option<Cleaned> {
    if !context.config.cleanup.enabled || context.stop.is_cancelled() {
        return None;
    }
    let updated = finished
        .iter()
        .filter(|finished| {
            matches!(finished.outcome, Outcome::Updated | Outcome::UpdatedBut(_) | Outcome::Started(_))
        })
        .filter(|finished| finished.from != finished.to)
        .map(|finished| &finished.from);
    // An image that broke a service is not offered again, so it is of no use on the nodes that pulled it.
    let broken = finished.iter().filter(|finished| match &finished.outcome {
        Outcome::RolledBack { cause, .. } => context.config.quarantine.enabled && cause.blames_image(),
        _ => false,
    });
    let broken = broken.map(|finished| &finished.to).filter(|image| image.digest().is_some());
    let own = context.itself.as_ref().and_then(|itself| itself.replaced.as_ref());
    let replaced: BTreeSet<&ImageRef> = updated.chain(broken).chain(own).chain(&context.leftovers).collect();
    if replaced.is_empty() {
        return None;
    }
    let mut cleaned = Cleaned::default();
    if let Err(error) = everywhere(context, keyring, &replaced, &mut cleaned).await {
        cleaned.problem = Some(format!("{error:#}"));
    }
    cleaned.announce();
    Some(cleaned)
}

async fn everywhere<S: Swarm, R>(
    context: &Context<S, R>,
    keyring: &Keyring,
    replaced: &BTreeSet<&ImageRef>,
    cleaned: &mut Cleaned,
) -> Result<()> {
    // All of them, until it is known which of them somebody needs.
    cleaned.images = replaced.iter().map(ToString::to_string).collect();
    let services = context.swarm.services(Listing::Filters(&[])).await.context("cannot list the services")?;
    // A remover that a killed Gantry has left needs nothing: it goes before the new one comes.
    let others = services.iter().filter(|service| service.name() != REMOVER_NAME);
    let needed: BTreeSet<String> = others.filter_map(|service| service.spec.facts().image.clone()).collect();
    cleaned.images =
        replaced.iter().filter(|image| !is_needed(image, &needed)).map(ToString::to_string).collect();
    if cleaned.images.is_empty() {
        return Ok(());
    }

    let itself = services.iter().find(|service| context.itself_name() == Some(service.name()));
    let facts = itself.map(|service| service.spec.facts());
    let found = context.itself.as_ref().and_then(|itself| itself.image.as_ref());
    let own = found.or_else(|| facts.and_then(|facts| facts.image.as_ref()));
    // Our own image is pulled with our own service's login; another one with its registry's.
    let login = facts
        .filter(|_| context.config.cleanup.remover.is_none())
        .and_then(|facts| ServicePolicy::of(&context.config, &facts.labels).ok()?.auth_config);
    let Some(image) = context.config.cleanup.remover.as_ref().or(own) else {
        let removal = remover::remove(&*context.swarm, &cleaned.images).await;
        cleaned.nodes.insert("this node".to_owned(), removal);
        cleaned.problem = Some(
            "only this node was cleaned: Gantry knows of no service that it runs as, so there is no image to run on \
             the others (set GANTRY_SERVICES_SELF if it runs as one, else GANTRY_CLEANUP_IMAGES_REMOVER)"
                .to_owned(),
        );
        return Ok(());
    };
    let spec = remover_spec(context, image, &cleaned.images).await?;
    let reference: ImageRef = image.parse().context("the image remover's image")?;
    let credentials = keyring.find(reference.registry(), login.as_deref()).await?.credentials;
    let auth = credentials.map(|credentials| credentials.registry_auth());
    let id = create(&*context.swarm, &spec, auth.as_ref()).await.context("cannot start the image remover")?;
    let gathered = gather(context, &id, cleaned).await;
    dismiss(context, &id).await.context("cannot remove the image remover's service")?;
    gathered
}

/// Whether a service needs the image: by digest, whatever the tag, or by tag where there is no digest.
fn is_needed(image: &ImageRef, needed: &BTreeSet<String>) -> bool {
    needed.iter().filter_map(|written| written.parse::<ImageRef>().ok()).any(|other| {
        let is_same_repository =
            (other.registry(), other.repository()) == (image.registry(), image.repository());
        is_same_repository
            && match (image.digest(), other.digest()) {
                (Some(digest), Some(other)) => digest == other,
                (None, None) => image.tag() == other.tag(),
                _ => false,
            }
    })
}

/// Starts the remover; one that a killed Gantry left behind goes first.
async fn create<S: Swarm>(swarm: &S, spec: &Spec, auth: Option<&Secret>) -> Result<String, SwarmError> {
    match swarm.create_service(spec, auth).await {
        Err(SwarmError::NameTaken(_)) => {
            swarm.remove_service(REMOVER_NAME).await?;
            swarm.create_service(spec, auth).await
        }
        created => created,
    }
}

/// Ends the remover. An engine that is away for a while is asked again: nobody else would do it before the next cleaning.
async fn dismiss<S: Swarm, R>(context: &Context<S, R>, id: &str) -> Result<(), SwarmError> {
    let begun = Instant::now();
    loop {
        let answer = context.swarm.remove_service(id).await;
        let may_pass = answer.as_ref().is_err_and(SwarmError::is_transient);
        if !may_pass || begun.elapsed() >= PATIENCE {
            return answer;
        }
        context.beat();
        tokio::select! {
            () = sleep(RETRY_INTERVAL) => {}
            () = context.stop.cancelled() => return answer,
        }
    }
}

/// The specification of the service that removes images: what it needs, and what the options make of that.
async fn remover_spec<S: Swarm, R>(context: &Context<S, R>, image: &str, images: &[String]) -> Result<Spec> {
    const SOCKET: &str = "/var/run/docker.sock";
    let socket = context.itself.as_ref().and_then(|itself| itself.socket.as_deref()).unwrap_or(SOCKET);
    let level = match context.config.log.level {
        crate::config::LogLevel::Debug => "DEBUG",
        _ => "INFO",
    };
    let spec = json!({
        "Name": REMOVER_NAME,
        "Labels": { "gantry.services.excluded": "true" },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Env": [
                    format!("GANTRY_IMAGES_TO_REMOVE={}", images.join(" ")),
                    format!("GANTRY_LOG_LEVEL={level}"),
                ],
                "ReadOnly": true,
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

/// Collects the removers' reports until every ready node has given one. An engine that is away meanwhile is asked again.
async fn gather<S: Swarm, R>(context: &Context<S, R>, id: &str, cleaned: &mut Cleaned) -> Result<()> {
    let begun = Instant::now();
    let mut ended = BTreeMap::new();
    loop {
        sleep(LOOK_INTERVAL).await;
        context.beat();
        let is_last_look = begun.elapsed() >= TIME_LIMIT || context.stop.is_cancelled();
        let (nodes, tasks) = match look(&*context.swarm, id).await {
            Err(error) if error.is_transient() && !is_last_look => continue,
            seen => seen?,
        };
        for task in tasks.iter().filter(|task| task.state >= TaskState::Running) {
            let node = nodes.name(&task.node_id);
            if !cleaned.nodes.contains_key(node)
                && let Some(removal) = report_of(&*context.swarm, task, &mut ended).await
            {
                cleaned.nodes.insert(node.to_owned(), removal);
            }
        }
        // With constraints, the swarm makes tasks for some nodes only, all of them at once.
        let is_chosen = |node: &Node| {
            !context.config.cleanup.options.has("constraint")
                || tasks.is_empty()
                || tasks.iter().any(|task| task.node_id == node.id)
        };
        cleaned.silent = nodes
            .iter()
            .filter(|node| node.is_ready && node.is_active && is_chosen(node))
            .filter(|node| !cleaned.nodes.contains_key(&node.name))
            .map(|node| node.name.clone())
            .collect();
        if cleaned.silent.is_empty() {
            return Ok(());
        }
        if is_last_look {
            cleaned.silent.sort();
            let why: BTreeSet<&str> =
                tasks.iter().map(|task| task.error.as_str()).filter(|error| !error.is_empty()).collect();
            let silent = cleaned.silent.join(", ");
            let told: Vec<&str> = std::iter::once(silent.as_str()).chain(why).collect();
            anyhow::bail!("no report from {}", told.join("; "));
        }
    }
}

async fn look<S: Swarm>(swarm: &S, id: &str) -> Result<(Nodes, Vec<Task>), SwarmError> {
    let nodes = swarm.nodes().await?.into_iter().collect();
    Ok((nodes, swarm.tasks(&[id.to_owned()]).await?))
}

/// What a node's remover has printed; `None`: nothing yet. `ended` says since when tasks are seen to have ended.
async fn report_of<S: Swarm>(
    swarm: &S,
    task: &Task,
    ended: &mut BTreeMap<String, Instant>,
) -> Option<Removal> {
    if task.has_failed() {
        return Some(Removal::failed(&task.error));
    }
    let lines = swarm.task_log(&task.id, LOG_LINES).await.ok()?;
    if let Some(removal) = lines.iter().find_map(|line| Removal::from_line(line)) {
        return Some(removal);
    }
    // Ours stays until it is removed.
    if task.state != TaskState::Complete
        || ended.entry(task.id.clone()).or_insert_with(Instant::now).elapsed() < LOG_DELAY
    {
        return None;
    }
    let why = "the image remover has ended without a report; is that an image of Gantry";
    Some(Removal::none(&format!("{why} (GANTRY_CLEANUP_IMAGES_REMOVER)? {}", task.image)))
}

impl Cleaned {
    /// The images that may be gone soon, and are not everywhere.
    fn unfinished(&self) -> impl Iterator<Item = &String> {
        let is_left = |image: &String| self.nodes.values().any(|removal| removal.is_worth_another_try(image));
        let is_unknown = !self.silent.is_empty() || self.nodes.is_empty();
        self.images.iter().filter(move |image| is_unknown || is_left(image))
    }

    fn announce(&self) {
        for (node, removal) in &self.nodes {
            for image in &removal.removed {
                tracing::info!(on = node, image, "removed image");
            }
            for (image, why) in &removal.kept {
                tracing::info!(on = node, image, why, "kept image");
            }
            for (image, why) in &removal.failed {
                tracing::warn!(on = node, image, why, "cannot remove image");
            }
        }
        if let Some(problem) = &self.problem {
            tracing::warn!(problem, "cleaning up images");
        }
    }
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed: usize = self.nodes.values().map(|removal| removal.removed.len()).sum();
        write!(f, "removed {removed} images on {} nodes", self.nodes.len())
    }
}
