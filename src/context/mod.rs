//! What a cycle works with, passed down rather than reached for.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::config::{Config, Selection};
use crate::heartbeat::Heartbeat;
use crate::image::ImageRef;
use crate::ledger::Ledger;
use crate::registry::Sources;

pub use self::engine_role::EngineRole;
pub use self::events::Events;
pub use self::scope::RunScope;
pub use self::tag_memory::{Choices, Chosen, ListKey, TagMemory};

mod engine_role;
mod events;
mod scope;
mod tag_memory;

/// From one sign of life to the next while something is waited for.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How long a single cycle waits for another Gantry, or for the cluster. With an interval it is the interval: the next
/// cycle would try again then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3_600);

/// What a cycle works with.
#[derive(Debug)]
pub struct Context<S, R> {
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// The swarm.
    pub swarm: Arc<S>,
    /// The registries.
    pub registry: Arc<R>,
    /// What outlives this process.
    pub ledger: Arc<Ledger>,
    /// Our own service, when we run as one.
    pub itself: Option<Itself>,
    /// Images that the cycles before could not remove everywhere.
    pub leftovers: BTreeSet<ImageRef>,
    /// Cancelled when no new work is to begin.
    pub stop: CancellationToken,
    /// Beats while work goes on.
    pub heartbeat: Heartbeat,
    /// What was said already.
    pub said: Said,
    /// What was chosen of the tags that registries listed lately.
    pub tag_memory: TagMemory,
    /// The part of the services that this run looks at.
    pub scope: RunScope,
    /// Where its events go.
    pub events: Events,
    /// What the lines of the log that belong to this run are marked with.
    pub span: Span,
    /// Whether the engine is still a manager. Ends the run by `stop` when the engine is no manager for long.
    pub engine_role: EngineRole,
}

/// What this process has said already and does not say in each cycle. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Said(Arc<Mutex<BTreeSet<String>>>);

impl Said {
    /// Whether this is to be said: it is new.
    pub fn is_news(&self, text: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned())
    }
}

/// Our own service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Itself {
    /// Its name.
    pub name: String,
    /// Its image, as its specification has it: what the image remover runs.
    pub image: Option<String>,
    /// The image that our own update replaced, until it is cleaned up: who began the update could not do it.
    pub replaced: Option<ImageRef>,
    /// Its id and that of our own task.
    pub task: Option<(String, String)>,
    /// Where the engine's socket is on the host, when we have it from there.
    pub socket: Option<String>,
}

impl<S, R> Context<S, R> {
    /// Our own service's name, if we run as one.
    pub(crate) fn itself_name(&self) -> Option<&str> {
        let named = self.config.services.itself.as_deref();
        named.or_else(|| self.itself.as_ref().map(|itself| itself.name.as_str()))
    }

    /// Which services are ours to update.
    pub(crate) fn selection(&self) -> Arc<Selection> {
        Arc::new(self.config.services.clone())
    }

    /// Gives a sign of life.
    pub(crate) fn beat(&self) {
        self.heartbeat.beat(Instant::now());
    }

    /// Gives signs of life while something goes on that has a time limit of its own and gives none itself.
    pub(crate) async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.beat();
            if let Ok(done) = timeout(BEAT_INTERVAL, &mut work).await {
                return done;
            }
        }
    }

    /// Where accounts at registries are looked for.
    pub(crate) fn credential_sources(&self) -> Sources {
        Sources {
            logins: self.config.logins.clone(),
            docker_config: self.config.docker_config.clone(),
            home: self.config.home.clone(),
            ..Sources::default()
        }
    }
}
