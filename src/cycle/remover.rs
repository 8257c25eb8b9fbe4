//! The image remover: what runs on one node to remove the images that a cycle replaced.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::cleanup::REMOVER_NAME;
use crate::image::ImageRef;
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

    /// Whether another try may remove this image: what uses it may soon end, or the remover itself failed.
    pub fn is_worth_another_try(&self, image: &str) -> bool {
        self.in_use.iter().any(|in_use| in_use == image)
            || self.failed.iter().any(|(what, _)| what == ALL_IMAGES)
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

/// Removes images from the engine's own node. Those that are tagged, used by a container or not there are
/// left alone.
pub async fn remove<S: Swarm>(swarm: &S, images: &[String]) -> Removal {
    let begun = Instant::now();
    let mut removal = Removal::default();
    let mut pending: Vec<&String> = images.iter().collect();
    loop {
        let is_last_look = begun.elapsed() >= STOPPING_TIME;
        let mut in_use = Vec::new();
        for image in pending {
            match remove_one(swarm, image).await {
                Ok(Fate::Removed) => removal.removed.push(image.clone()),
                Ok(Fate::NotHere) => {}
                Ok(Fate::InUse(_)) if !is_last_look => in_use.push(image),
                Ok(Fate::InUse(why)) => {
                    removal.in_use.push(image.clone());
                    removal.kept.push((image.clone(), why));
                }
                Ok(Fate::Kept(why)) => removal.kept.push((image.clone(), why)),
                Err(error) => removal.failed.push((image.clone(), error.to_string())),
            }
        }
        if in_use.is_empty() {
            break;
        }
        pending = in_use;
        sleep(LOOK_INTERVAL).await;
    }
    if let Err(error) = forget_removers(swarm).await {
        tracing::warn!(%error, "cannot remove the containers of earlier image removers");
    }
    removal
}

async fn remove_one<S: Swarm>(swarm: &S, written: &str) -> Result<Fate, SwarmError> {
    let Ok(image) = written.parse::<ImageRef>() else {
        return Ok(Fate::Kept("not an image reference".to_owned()));
    };
    let name = image.digest().map_or_else(|| image.tagged(), |digest| format!("{}@{digest}", image.name()));
    let Some(local) = swarm.local_image(&name).await? else {
        return Ok(Fate::NotHere);
    };
    if let Some(tag) = other_tag(&local, &image) {
        return Ok(Fate::Kept(format!("it is also called {tag}")));
    }
    if let Some(other) = other_repository(&local, &image) {
        // Its own name goes all the same: where both are replaced, the last name takes the image with it.
        swarm.remove_image(&name).await?;
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
async fn forget_removers<S: Swarm>(swarm: &S) -> Result<(), SwarmError> {
    for container in swarm.containers_of_service(REMOVER_NAME).await? {
        if container.is_finished() {
            swarm.remove_container(&container.id).await?;
        }
    }
    Ok(())
}

fn short(container: &Container) -> &str {
    container.id.get(..12).unwrap_or(&container.id)
}
