//! Reads and writes since when digests are known. A config of its own: each write costs the whole of it in the swarm's log,
//! and what holds images back must stay small.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::codec::Labels;
use super::object::{MAX_CONFLICTS, is_ours, was_another_faster};
use super::seen::{SeenBook, SeenChange};
use crate::swarm::{ConfigObject, Swarm, SwarmError};

/// What the config says of itself. Its labels say the rest.
const TEXT: &str =
    "Gantry remembers in the labels of this config since when it has known which digests of which images.\n";

/// Since when digests are known, as this process has it.
#[derive(Debug)]
pub struct SeenStore {
    name: String,
    state: Mutex<StoreState>,
    /// Held from a look at the config to the write that follows.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct StoreState {
    labels: Labels,
    book: Arc<SeenBook>,
    object: Option<ConfigObject>,
    /// Whether there is no config: what is known lasts as long as this process.
    is_memory_only: bool,
}

impl StoreState {
    fn take(&mut self, labels: Labels) {
        if labels != self.labels {
            self.book = Arc::new(SeenBook::read(&labels));
            self.labels = labels;
        }
    }
}

impl SeenStore {
    /// Beside the ledger of this name. Nothing is read yet.
    pub(super) fn beside(ledger: &str) -> Self {
        Self {
            name: format!("{ledger}-seen"),
            state: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, as it was last read or written.
    pub fn book(&self) -> Arc<SeenBook> {
        self.state().book.clone()
    }

    /// Reads what is known.
    ///
    /// # Errors
    /// The engine's. Where configs are forbidden, this process alone remembers.
    pub async fn read<S: Swarm>(&self, swarm: &S) -> Result<Arc<SeenBook>, SwarmError> {
        if !self.state().is_memory_only {
            match self.look(swarm).await {
                Ok(_) => {}
                Err(SwarmError::Forbidden(words)) => {
                    self.go_on_alone(&format!("configs are forbidden to Gantry ({words})"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.book())
    }

    async fn look<S: Swarm>(&self, swarm: &S) -> Result<Option<ConfigObject>, SwarmError> {
        let object = swarm.config_object(&self.name).await?;
        let name = &self.name;
        if object.as_ref().is_some_and(|object| !is_ours(object)) {
            self.go_on_alone(&format!(
                "the config {name} is not one of Gantry's; remove it, or set GANTRY_LEDGER_NAME"
            ));
            return Ok(None);
        }
        let mut state = self.state();
        if state.object.is_some() && object.is_none() {
            tracing::warn!(config = name, "the config was removed: the ages of all digests start anew");
        }
        let labels = object.as_ref().map(|object| object.labels.clone()).unwrap_or_default();
        state.take(labels);
        state.object.clone_from(&object);
        Ok(object)
    }

    fn go_on_alone(&self, why: &str) {
        if !std::mem::replace(&mut self.state().is_memory_only, true) {
            tracing::warn!("{why}: the ages of digests start anew when Gantry is restarted");
        }
    }

    /// Takes note of changes, and writes them where they are news. Only images in `used` are kept where room is scarce.
    ///
    /// # Errors
    /// The engine's, or that others have written again and again meanwhile.
    pub async fn note<S: Swarm>(
        &self,
        swarm: &S,
        changes: &[SeenChange],
        used: &BTreeSet<String>,
    ) -> Result<(), SwarmError> {
        let _writing = self.writing.lock().await;
        for _ in 0..MAX_CONFLICTS {
            let (before, read, is_memory_only) = {
                let state = self.state();
                (state.labels.clone(), state.object.clone(), state.is_memory_only)
            };
            let mut book = SeenBook::read(&before);
            for change in changes {
                book.apply(change);
            }
            book.make_room(used);
            let labels = book.write();
            if labels == before {
                return Ok(());
            }
            let written = match &read {
                _ if is_memory_only => Ok(()),
                Some(object) => swarm.update_config_object(object, &labels).await,
                None => {
                    swarm.create_config_object(&self.name, &labels, &STANDARD.encode(TEXT)).await.map(drop)
                }
            };
            match written {
                Ok(()) => {
                    self.state().take(labels);
                    if is_memory_only {
                        return Ok(());
                    }
                    // The next write must name the version that this one has made.
                    return self.look(swarm).await.map(drop);
                }
                Err(SwarmError::Forbidden(words)) => {
                    self.go_on_alone(&format!("configs are forbidden to Gantry ({words})"));
                }
                Err(error) if was_another_faster(&error) => drop(self.look(swarm).await?),
                Err(error) => return Err(error),
            }
        }
        Err(SwarmError::Conflict)
    }
}
