//! Which service we are ourselves: found from our own container, asked of the engine that runs it.

use std::path::Path;

use serde_json::Value;

use crate::config::{Config, EngineAddress};
use crate::context::Itself;
use crate::swarm::{Service, Swarm, SwarmError, TaskState};

/// Where the engine's socket is inside a container, unless `DOCKER_HOST` says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The service that the swarm made a container for.
const SERVICE_LABEL: &str = "com.docker.swarm.service.id";

/// How many tasks have to end in the same way before the next one says nothing of it. The message of a single one may
/// have been lost.
const REPEATED: usize = 2;

/// The search for our own service. It ends with the first answer that can be relied on, and else goes on in the next
/// cycle: behind a proxy, the engine that answers may be another one than ours.
#[derive(Debug, Default)]
pub struct Search {
    /// What may be the id of our container, the surest first.
    ids: Vec<String>,
    is_connected: bool,
    is_warned: bool,
    is_over: bool,
    found: Option<Itself>,
}

impl Search {
    /// A search that has not begun, for the service of the first container that has one of these ids.
    pub fn new(ids: Vec<String>) -> Self {
        Self { ids, ..Self::default() }
    }

    /// What was found so far; nothing when we do not run as a service.
    pub fn found(&self) -> Option<&Itself> {
        self.found.as_ref()
    }

    /// Takes note that a cycle has cleaned up after our own update.
    pub fn cleaned_up(&mut self) {
        if let Some(itself) = &mut self.found {
            itself.replaced = None;
        }
    }

    /// Goes on searching, unless it is over.
    pub async fn go_on<S: Swarm>(&mut self, swarm: &S, config: &Config, on_node_name: &impl Fn(&str)) {
        if self.is_over {
            return;
        }
        if !self.is_connected {
            // An engine that does not answer is reported by the cycle.
            let Ok(view) = swarm.engine().await else { return };
            on_node_name(&view.host_name);
            tracing::info!(engine = view.version, host = view.host_name, "connected");
            self.is_connected = true;
        }
        match self.search(swarm, &config.engine).await {
            Ok(found) => {
                self.is_over = true;
                self.found = found;
                say_which_socket(config, self.found.as_ref());
            }
            Err(error) => self.say(&error, config),
        }
        if let Some(itself) = &self.found {
            tracing::info!(service = itself.name, "running as a service");
        }
    }

    async fn search<S: Swarm>(
        &self,
        swarm: &S,
        engine: &EngineAddress,
    ) -> Result<Option<Itself>, SwarmError> {
        for id in &self.ids {
            let Some(container) = swarm.container(id).await? else {
                continue;
            };
            let Some(service_id) = container.labels.get(SERVICE_LABEL) else {
                return Ok(None);
            };
            let task = container.labels.get("com.docker.swarm.task.id");
            let task = task.map(|task| (service_id.clone(), task.clone()));
            return Ok(swarm.service(service_id).await?.map(|service| describe(&service, engine, task)));
        }
        match (engine, self.ids.first()) {
            // The next request may reach the manager that we run on.
            (EngineAddress::Tcp { .. }, Some(id)) => {
                Err(SwarmError::NotFound(format!("our container {id} on the engine that answered")))
            }
            _ => Ok(None),
        }
    }

    /// Says why nothing was found: once as a warning, where it matters and a user can do something about it.
    fn say(&mut self, error: &SwarmError, config: &Config) {
        let is_lasting = matches!(error, SwarmError::NotFound(_) | SwarmError::Forbidden(_));
        if !is_lasting || config.services.itself.is_some() || std::mem::replace(&mut self.is_warned, true) {
            tracing::debug!(%error, "cannot find our own service yet");
            return;
        }
        tracing::warn!(
            "cannot tell which service Gantry is ({error}); if it runs as one, set GANTRY_SERVICES_SELF to its name"
        );
    }
}

/// Says, where the engine is asked elsewhere, which socket the image remover needs on each node.
fn say_which_socket(config: &Config, itself: Option<&Itself>) {
    let is_default = match &config.engine {
        EngineAddress::Unix(path) => plain(&path.to_string_lossy()) == plain(DEFAULT_SOCKET),
        EngineAddress::Tcp { .. } => false,
    };
    let is_mounted = itself.is_some_and(|itself| itself.socket.is_some());
    let has_remover = itself.is_some() || config.cleanup.remover.is_some();
    if config.cleanup.enabled && has_remover && !is_default && !is_mounted {
        tracing::warn!(
            "DOCKER_HOST is {}; to remove old images, each node needs its Docker socket at {DEFAULT_SOCKET} \
             (GANTRY_CLEANUP_IMAGES=false removes none)",
            config.engine
        );
    }
}

/// Whether the last two tasks of our own service that have ended ended with this exit code. False where
/// that cannot be known.
pub async fn has_ended_so<S: Swarm>(swarm: &S, ids: &[String], exit_code: i64) -> bool {
    for id in ids {
        let Ok(Some(container)) = swarm.container(id).await else { continue };
        let Some(service) = container.labels.get(SERVICE_LABEL) else { return false };
        let Ok(mut tasks) = swarm.tasks(std::slice::from_ref(service)).await else { return false };
        tasks.retain(|task| task.state > TaskState::Running);
        tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        return tasks.len() >= REPEATED
            && tasks[..REPEATED].iter().all(|task| task.exit_code == Some(exit_code));
    }
    false
}

/// A path as every system that Docker supports has it: there, `/var/run` is `/run`.
fn plain(path: &str) -> String {
    path.strip_prefix("/var").unwrap_or(path).to_owned()
}

fn describe(service: &Service, engine: &EngineAddress, task: Option<(String, String)>) -> Itself {
    let inside = match engine {
        EngineAddress::Unix(path) => path.to_string_lossy().into_owned(),
        EngineAddress::Tcp { .. } => DEFAULT_SOCKET.to_owned(),
    };
    let image = service.spec.facts().image.clone();
    let previous = service.previous.as_ref().and_then(|previous| previous.facts().image.as_ref());
    Itself {
        name: service.name().to_owned(),
        replaced: previous
            .filter(|&previous| Some(previous) != image.as_ref())
            .and_then(|it| it.parse().ok()),
        image,
        task,
        socket: mount_source(service.spec.json(), &inside),
    }
}

/// Where on the host the file is that is mounted there.
fn mount_source(spec: &str, target: &str) -> Option<String> {
    let spec: Value = serde_json::from_str(spec).ok()?;
    let mounts = spec.pointer("/TaskTemplate/ContainerSpec/Mounts")?.as_array()?;
    let mount = mounts.iter().find(|mount| {
        mount.get("Target").and_then(Value::as_str).is_some_and(|here| plain(here) == plain(target))
    })?;
    mount.get("Source").and_then(Value::as_str).map(str::to_owned)
}

/// What may be the id of the container that we run in, the surest first: the engine mounts a container's
/// `hostname` file from a folder with the container's id, and names the host after it by default.
pub fn container_ids() -> Vec<String> {
    let mounts = std::fs::read_to_string(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let host_name = gethostname::gethostname().to_string_lossy().into_owned();
    let mut ids: Vec<String> = id_in_mounts(&mounts).into_iter().collect();
    let is_id = host_name.len() == 12 && host_name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id && !ids.iter().any(|id| id.starts_with(&host_name)) {
        ids.push(host_name);
    }
    ids
}

fn id_in_mounts(mounts: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
    mounts
        .lines()
        .filter(|line| line.contains(" /etc/hostname "))
        .find_map(|line| line.split('/').find(is_id).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_container_is_found_in_the_mount_of_its_host_name() {
        let id = "0123456789abcdef".repeat(4);
        let mounts = format!(
            "22 1 0:20 / /proc rw - proc proc rw\n\
             30 1 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
        );
        assert_eq!(id_in_mounts(&mounts), Some(id));
        assert_eq!(id_in_mounts("30 1 8:1 /etc/hostname /etc/hostname rw - ext4 /dev/sda1 rw"), None);
        assert_eq!(id_in_mounts(""), None);
    }

    #[test]
    fn the_socket_is_found_wherever_the_host_has_it() {
        let spec = r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":[
            {"Type":"volume","Source":"x","Target":"/data"},
            {"Type":"bind","Source":"/srv/docker.sock","Target":"/run/docker.sock"}]}}}"#;
        assert_eq!(mount_source(spec, DEFAULT_SOCKET).as_deref(), Some("/srv/docker.sock"));
        assert_eq!(mount_source(spec, "/other.sock"), None);
        assert_eq!(mount_source("{}", DEFAULT_SOCKET), None);
    }
}
