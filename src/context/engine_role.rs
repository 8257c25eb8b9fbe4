//! Whether Gantry can still steer the swarm: the engine is a manager, and a connection to it can be opened.
//!
//! Silence is waited for: an engine that is restarted or elects a leader is back soon. That it is no manager is a definite
//! answer, and that no file descriptor is left passes only when a user raises the limit. Each of the two ends the run when
//! it lasts, as nothing that is under way can be seen or changed from here any more.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events::Events;
use crate::heartbeat::Heartbeat;
use crate::model::event::Event;
use crate::swarm::{EngineView, Role, Swarm, SwarmError};

/// How long the engine may say that it is no manager: one that is promoted again soon is no reason to end the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long no connection to the engine can be opened for want of a file descriptor: other work may close its files. With
/// the longest wait between two requests, the run ends within a minute.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(30);

/// How long overlapping runs share what the engine said of itself.
const VIEW_AGE: Duration = Duration::from_secs(10);

/// Whether the engine is still a manager while a cycle works. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct EngineRole {
    state: Arc<Mutex<RoleState>>,
    /// Ends the run.
    stop: CancellationToken,
    heartbeat: Heartbeat,
    events: Events,
}

#[derive(Debug, Default)]
struct RoleState {
    /// Which lasting error there is, and since when.
    since: Option<(Discriminant<SwarmError>, Instant)>,
    /// Why the run has ended.
    lost: Option<String>,
    /// What the engine last said of itself, as a manager, and when.
    view: Option<(Instant, EngineView)>,
}

impl EngineRole {
    /// The role of a manager, until the engine says otherwise.
    pub fn new(stop: CancellationToken, heartbeat: Heartbeat, events: Events) -> Self {
        Self { state: Arc::default(), stop, heartbeat, events }
    }

    /// What the engine says of itself. Where updates are under way (`is_busy`), runs share an answer of a manager for a few
    /// seconds: that it is one, each of their other requests shows as well.
    pub(crate) async fn view<S: Swarm>(&self, swarm: &S, is_busy: bool) -> Result<EngineView, SwarmError> {
        let known = self.state.lock().unwrap_or_else(PoisonError::into_inner).view.clone();
        if let Some((asked, view)) = known.filter(|(asked, _)| is_busy && asked.elapsed() < VIEW_AGE) {
            let since = SignedDuration::try_from(asked.elapsed()).unwrap_or_default();
            let time = view.time.and_then(|time| time.checked_add(since).ok());
            return Ok(EngineView { time, ..view });
        }
        let asked = Instant::now();
        let view = swarm.engine().await?;
        let kept = (view.role == Role::Manager).then(|| (asked, view.clone()));
        self.state.lock().unwrap_or_else(PoisonError::into_inner).view = kept;
        Ok(view)
    }

    /// Notes that the engine could be read, so it is a manager.
    pub(crate) fn note_manager(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }

    /// Notes why the engine could not be read or changed.
    pub(crate) fn note_error(&self, error: &SwarmError) {
        let (patience, lost, illness) = match error {
            SwarmError::NotManager(words) => (
                PATIENCE,
                format!(
                    "this engine is not a manager of the swarm any more: its node was demoted, has left the swarm, or is \
                     locked. The run ends here; Swarm goes on with the updates under way by itself. Run Gantry on a manager \
                     node (the engine says: {words})"
                ),
                "the engine is not a manager of the swarm any more".to_owned(),
            ),
            SwarmError::NoDescriptor(_) => (
                DESCRIPTOR_PATIENCE,
                format!("{error}. The run ends here; Swarm goes on with the updates under way by itself"),
                error.to_string(),
            ),
            _ => return,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.view = None;
        let (kind, now) = (discriminant(error), Instant::now());
        let (_, since) = *match &mut state.since {
            Some(since) if since.0 == kind => since,
            other => other.insert((kind, now)),
        };
        if now.duration_since(since) < patience || state.lost.is_some() {
            return;
        }
        self.events.emit(&Event::EngineLost(lost.clone()));
        self.heartbeat.diagnose(Some(illness));
        state.lost = Some(lost);
        self.stop.cancel();
    }

    /// Why the run has ended before its time, if the engine is the reason.
    pub(crate) fn lost(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }
}
