//! Whether the engine that Gantry asks is still a manager.
//!
//! Silence is waited for: an engine that is restarted or elects a leader is back soon. That it is no manager is a definite
//! answer. It ends the run when it lasts, as nothing that is under way can be seen or changed from here any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::heartbeat::Heartbeat;
use crate::swarm::SwarmError;

/// How long the engine may say that it is no manager: one that is promoted again soon is no reason to end the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the engine says of its own role while a cycle works. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Standing {
    state: Arc<Mutex<State>>,
    /// Ends the run.
    stop: CancellationToken,
    heartbeat: Heartbeat,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it says that it is no manager.
    since: Option<Instant>,
    /// Why the run has ended.
    lost: Option<String>,
}

impl Standing {
    /// A manager, as far as is known.
    pub fn new(stop: CancellationToken, heartbeat: Heartbeat) -> Self {
        Self { state: Arc::default(), stop, heartbeat }
    }

    /// The engine could be read: it is a manager.
    pub(crate) fn is_manager(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }

    /// Takes note of why the engine could not be read or changed.
    pub(crate) fn heard(&self, error: &SwarmError) {
        let SwarmError::NotManager(words) = error else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = *state.since.get_or_insert(now);
        if now.duration_since(since) < PATIENCE || state.lost.is_some() {
            return;
        }
        let lost = format!(
            "this engine is not a manager of the swarm any more: its node was demoted, has left the swarm, or is locked. The \
             run ends here; Swarm goes on with the updates under way by itself. Run Gantry on a manager node (the engine says: {words})"
        );
        tracing::error!("{lost}");
        self.heartbeat.diagnose(Some("the engine is not a manager of the swarm any more".to_owned()));
        state.lost = Some(lost);
        self.stop.cancel();
    }

    /// Why the run has ended before its time, if the engine is the reason.
    pub(crate) fn lost(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }
}
