//! The image remover: what runs on one node to remove the images that a cycle replaced.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::image::{Digest, ImageRef};
use crate::swarm::{Container, LocalImage, Swarm, SwarmError};

/// How long a replaced image's last containers may take to stop. Start-first updates end before the old
/// container has: it still has its stop grace period, 10 s unless the service says otherwise. Where that is longer, the
/// next cleaning tries again ([`super::cleanup::Leftovers`]).
const STOPPING_TIME: Duration = Duration::from_secs(30);

/// From one look at a container that is stopping to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What was removed on one node and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removal {
    /// Images that are gone.
    pub removed: Vec<String>,
    /// Images that are still needed, with the reason.
    pub kept: Vec<(String, String)>,
    /// Those of them that a container of the swarm uses, perhaps not for long.
    pub in_use: Vec<String>,
    /// Images that could not be removed, with the cause.
    pub failed: Vec<(String, String)>,
}

/// The line that a remover prints for the manager that started it.
#[derive(Serialize, Deserialize)]
struct Line {
    gantry_image_removal: Removal,
}

/// What stands for the images where the remover itself failed.
const ALL_IMAGES: &str = "all images";

/// An order to a remover: the image to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalOrder {
    /// The image.
    pub image: ImageRef,
    /// For an image without a digest: what tells on a node which image that was.
    pub traces: Option<Traces>,
}

/// What tells on a node which image a tag stood for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The tasks that ran the image last.
    pub tasks: BTreeSet<String>,
    /// The digests that services need of the image's repository.
    pub needed: BTreeSet<Digest>,
}

impl fmt::Display for RemovalOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.image)?;
        let Some(Traces { tasks, needed }) = &self.traces else { return Ok(()) };
        let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
        let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
        write!(f, "?tasks={}&needed={}", tasks.join(","), needed.join(","))
    }
}

impl FromStr for RemovalOrder {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let (image, told) = words.split_once('?').map_or((words, None), |(image, told)| (image, Some(told)));
        let image = image.parse::<ImageRef>().map_err(|error| error.to_string())?;
        let mut traces = told.map(|_| Traces::default());
        for (key, value) in told.unwrap_or_default().split('&').filter_map(|word| word.split_once('=')) {
            let Some(traces) = &mut traces else { break };
            let values = value.split(',').filter(|value| !value.is_empty());
            match key {
                "tasks" => traces.tasks = values.map(str::to_owned).collect(),
                "needed" => {
                    let read = |digest: &str| digest.parse::<Digest>().map_err(|error| error.to_string());
                    traces.needed = values.map(read).collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        Ok(Self { image, traces })
    }
}

/// What stands for the images where there is no remover.
const ANY_IMAGE: &str = "any image";

impl Removal {
    /// A removal of nothing, because the remover itself failed.
    pub fn failed(cause: &str) -> Self {
        Self { failed: vec![(ALL_IMAGES.to_owned(), cause.to_owned())], ..Self::default() }
    }

    /// A removal of nothing, because the remover is none: it would do no better another time.
    pub fn none(cause: &str) -> Self {
        Self { failed: vec![(ANY_IMAGE.to_owned(), cause.to_owned())], ..Self::default() }
    }

    /// Why the remover itself failed, if it did.
    pub fn own_failure(&self) -> Option<&str> {
        self.failed.iter().find(|(what, _)| what == ALL_IMAGES).map(|(_, why)| why.as_str())
    }

    /// Whether another try may remove this image: what uses it may soon end, or the remover itself failed.
    pub fn is_worth_another_try(&self, image: &str) -> bool {
        self.in_use.iter().any(|in_use| in_use == image) || self.own_failure().is_some()
    }

    /// The line to print, for [`Self::from_line`] to read.
    pub fn to_line(&self) -> String {
        serde_json::json!(Line { gantry_image_removal: self.clone() }).to_string()
    }

    /// Reads a line of a remover's output; `None` for any other line.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str::<Line>(line).ok().map(|line| line.gantry_image_removal)
    }
}

/// What becomes of one image.
enum Fate {
    Removed,
    Kept(String),
    /// A container of the swarm still uses it, perhaps not for long.
    InUse(String),
    NotHere,
}

/// An image of this node that may be removed.
struct RemovableImage {
    /// What it is called in the report.
    order: RemovalOrder,
    /// Its id, or a name that tells it from all others.
    key: String,
}

/// Removes images from the engine's own node. An image that is tagged, used by a container or not there is left alone.
/// `orders` are [`RemovalOrder`]s in words, and `own_name` is the name of the service that the remover runs as.
pub async fn remove<S: Swarm>(swarm: &S, orders: &[String], own_name: &str) -> Removal {
    let begun = Instant::now();
    let mut removal = Removal::default();
    let mut pending = Vec::new();
    for words in orders {
        let Ok(order) = words.parse::<RemovalOrder>() else {
            removal.kept.push((words.clone(), "not an image reference".to_owned()));
            continue;
        };
        let shown = order.image.to_string();
        match targets(swarm, order).await {
            Ok(targets) => pending.extend(targets),
            Err(error) => removal.failed.push((shown, error.to_string())),
        }
    }
    loop {
        let is_last_look = begun.elapsed() >= STOPPING_TIME;
        let mut in_use = Vec::new();
        for target in pending {
            let shown = target.order.image.to_string();
            match remove_one(swarm, &target).await {
                Ok(Fate::Removed) => removal.removed.push(shown),
                Ok(Fate::NotHere) => {}
                Ok(Fate::InUse(_)) if !is_last_look => in_use.push(target),
                Ok(Fate::InUse(why)) => {
                    removal.in_use.push(shown.clone());
                    removal.kept.push((shown, why));
                }
                Ok(Fate::Kept(why)) => removal.kept.push((shown, why)),
                Err(error) => removal.failed.push((shown, error.to_string())),
            }
        }
        if in_use.is_empty() {
            break;
        }
        pending = in_use;
        sleep(LOOK_INTERVAL).await;
    }
    if let Err(error) = forget_removers(swarm, own_name).await {
        tracing::warn!(%error, "cannot remove the containers of earlier image removers");
    }
    removal
}

/// What an order means on this node. A tag means the images that the named tasks ran here, wherever it stands by now.
async fn targets<S: Swarm>(swarm: &S, order: RemovalOrder) -> Result<Vec<RemovableImage>, SwarmError> {
    let Some(digest) = order.image.digest() else {
        let Some(Traces { tasks, .. }) = &order.traces else { return Ok(Vec::new()) };
        let containers = swarm.task_containers().await?;
        let is_its = |container: &&Container| container.task().is_some_and(|task| tasks.contains(task));
        let ids: BTreeSet<String> =
            containers.iter().filter(is_its).map(|container| container.image_id.clone()).collect();
        return Ok(ids.into_iter().map(|key| RemovableImage { order: order.clone(), key }).collect());
    };
    let key = format!("{}@{digest}", order.image.name());
    Ok(vec![RemovableImage { order, key }])
}

async fn remove_one<S: Swarm>(swarm: &S, target: &RemovableImage) -> Result<Fate, SwarmError> {
    let RemovableImage { order: RemovalOrder { image, traces }, key } = target;
    let Some(local) = swarm.local_image(key).await? else {
        return Ok(Fate::NotHere);
    };
    if let Some(digest) = traces.as_ref().and_then(|traces| needed_digest(&local, image, &traces.needed)) {
        return Ok(Fate::Kept(format!("a service needs {}", digest.short())));
    }
    if let Some(tag) = other_tag(&local, image) {
        return Ok(Fate::Kept(format!("it is also called {tag}")));
    }
    if let Some(other) = other_repository(&local, image) {
        // Its own name goes all the same: where both are replaced, the last name takes the image with it.
        if image.digest().is_some() {
            swarm.remove_image(key).await?;
        }
        return Ok(Fate::Kept(format!("it is also called {other}")));
    }
    let containers = swarm.containers_of(&local.id).await?;
    if let Some(user) = containers.iter().find(|container| !container.is_finished()) {
        let fate = if user.is_swarm_task() { Fate::InUse } else { Fate::Kept };
        return Ok(fate(format!("container {} uses it", short(user))));
    }
    if let Some(stopped) = containers.iter().find(|container| !container.is_swarm_task()) {
        return Ok(Fate::Kept(format!("container {} needs it to be started again", short(stopped))));
    }
    for container in &containers {
        swarm.remove_container(&container.id).await?;
    }
    swarm.remove_image(&local.id).await?;
    Ok(Fate::Removed)
}

/// A digest of the image that services need.
fn needed_digest<'a>(
    local: &LocalImage,
    image: &ImageRef,
    needed: &'a BTreeSet<Digest>,
) -> Option<&'a Digest> {
    let names = || local.repo_digests.iter().filter_map(|name| name.parse::<ImageRef>().ok());
    let is_same =
        |other: &ImageRef| (other.registry(), other.repository()) == (image.registry(), image.repository());
    needed.iter().find(|digest| names().any(|name| is_same(&name) && name.digest() == Some(digest)))
}

/// A tag of the image other than the one that it is to be removed by.
fn other_tag<'a>(local: &'a LocalImage, image: &ImageRef) -> Option<&'a str> {
    let is_other = |tag: &&String| image.digest().is_some() || **tag != image.tagged();
    local.repo_tags.iter().find(is_other).map(String::as_str)
}

/// The image's name in another repository. In its own one, an image that was pulled by its tag has the
/// digest's name as well.
fn other_repository<'a>(local: &'a LocalImage, image: &ImageRef) -> Option<&'a str> {
    let is_other = |name: &&String| {
        name.parse::<ImageRef>().is_ok_and(|other| {
            (other.registry(), other.repository()) != (image.registry(), image.repository())
        })
    };
    local.repo_digests.iter().find(is_other).map(String::as_str)
}

/// Removes what an earlier remover may have left: its container on a node that was down.
async fn forget_removers<S: Swarm>(swarm: &S, own_name: &str) -> Result<(), SwarmError> {
    for container in swarm.containers_of_service(own_name).await? {
        if container.is_finished() {
            swarm.remove_container(&container.id).await?;
        }
    }
    Ok(())
}

/// What the swarm says of a remover that could not be started, for people.
pub fn plain_words(error: &str, socket: &str) -> String {
    let missing = error.split_once("bind source path does not exist: ").map(|(_, path)| path.trim());
    match missing {
        Some(path) if path == socket => format!("the Docker socket {path} does not exist there"),
        Some(path) => format!("the path {path} of a mount does not exist there"),
        None => error.to_owned(),
    }
}

fn short(container: &Container) -> &str {
    container.id.get(..12).unwrap_or(&container.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_words() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse::<Digest>().unwrap();
        let pinned: ImageRef = format!("r.test:5000/app:1@{}", digest("a")).parse().unwrap();
        let traces = Traces {
            tasks: ["t1", "t2"].map(str::to_owned).into(),
            needed: [digest("b"), digest("c")].into(),
        };
        for (image, traces) in [
            (pinned, None),
            ("app".parse().unwrap(), Some(Traces::default())),
            ("r.test/app:1".parse().unwrap(), Some(traces)),
        ] {
            let order = RemovalOrder { image, traces };
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for words in ["", "?tasks=t1", "app:1?needed=latest"] {
            assert!(words.parse::<RemovalOrder>().is_err(), "{words}");
        }
    }

    #[test]
    fn a_missing_socket_is_said_in_words_for_people() {
        let error = |path: &str| {
            format!("invalid mount config for type \"bind\": bind source path does not exist: {path}")
        };
        let socket = "/var/run/docker.sock";
        for (error, words) in [
            (error(socket), "the Docker socket /var/run/docker.sock does not exist there"),
            (error("/srv/x"), "the path /srv/x of a mount does not exist there"),
            ("No such image: app:1".to_owned(), "No such image: app:1"),
        ] {
            assert_eq!(plain_words(&error, socket), words);
        }
    }
}
