//! Keeping the lease, and writing what is to be remembered, while a cycle runs.

use tokio::time::{Instant, sleep_until, timeout_at};

use super::book::{self, LedgerChange};
use super::lease::{Holding, LOOK_INTERVAL, SURE, holding};
use super::{Hold, LeaseRole, Ledger, MAX_CONFLICTS, WRITE_INTERVAL, forbidden, was_another_faster};
use crate::swarm::{Swarm, SwarmError};

impl Ledger {
    /// [Keeps](Self::keep) the lease while runs are under way, for as long as it is polled.
    pub async fn keep_for_runs<S: Swarm>(&self, swarm: &S) {
        let mut runs = self.runs.subscribe();
        loop {
            if runs.wait_for(|runs| *runs > 0).await.is_err() {
                return;
            }
            tokio::select! {
                // The last run gives the lease back itself.
                biased;
                () = async { drop(runs.wait_for(|runs| *runs == 0).await) } => {}
                () = self.keep(swarm) => {}
            }
        }
    }

    /// Keeps the lease, if we hold it, and writes what is to be remembered, for as long as it is polled.
    pub async fn keep<S: Swarm>(&self, swarm: &S) {
        // Since when it does not work, and whether that was said.
        let mut trouble: Option<(Instant, bool)> = None;
        loop {
            let (sure, has_pending, last_attempt) = {
                let state = self.state();
                let sure = match state.role {
                    LeaseRole::Holder { sure, .. } => Some(sure),
                    _ => None,
                };
                (sure, !state.pending.is_empty(), state.last_attempt)
            };
            match (has_pending, sure) {
                (false, None) => {
                    self.news.notified().await;
                    continue;
                }
                (true, _) => {
                    if let Some(last) = last_attempt {
                        sleep_until(last + WRITE_INTERVAL).await;
                    }
                }
                (false, Some(sure)) => {
                    // Where it does not work, no sooner than this after the last try.
                    let since = if trouble.is_some() { Instant::now() } else { sure };
                    if timeout_at(since + LOOK_INTERVAL, self.news.notified()).await.is_err()
                        && self.is_sure_since(since)
                    {
                        continue;
                    }
                }
            }
            match self.tend(swarm).await {
                Ok(()) => {
                    if let Some((_, true)) = trouble.take() {
                        tracing::info!(config = self.name, "the ledger can be used again");
                    }
                }
                Err(SwarmError::Forbidden(words)) => self.go_on_alone(&forbidden(&words)),
                Err(error) => {
                    self.state().last_attempt = Some(Instant::now());
                    let (since, is_told) = trouble.get_or_insert((Instant::now(), false));
                    if since.elapsed() >= SURE && !std::mem::replace(is_told, true) {
                        tracing::warn!(
                            %error,
                            config = self.name,
                            "cannot keep the ledger; no new update begins until it can be read and written again"
                        );
                    } else {
                        tracing::debug!(%error, config = self.name, "cannot keep the ledger now");
                    }
                }
            }
        }
    }

    /// Writes these changes now, whatever others write at the same time. Where configs are forbidden, this process alone
    /// remembers them.
    ///
    /// # Errors
    /// The engine's, or that others have written again and again meanwhile. Then nothing is remembered.
    pub async fn amend<S: Swarm>(&self, swarm: &S, changes: &[LedgerChange]) -> Result<(), SwarmError> {
        let _writing = self.writing.lock().await;
        for _ in 0..MAX_CONFLICTS {
            let written = match self.look(swarm).await {
                Ok(_) if self.state().is_memory_only => {
                    self.remember_alone(changes);
                    Ok(())
                }
                Ok(object) => {
                    let written = self.write(swarm, object.as_ref(), Hold::AsItIs, changes).await;
                    if written.is_ok() {
                        self.look_after_write(swarm).await;
                    }
                    written
                }
                Err(SwarmError::Forbidden(words)) => {
                    self.go_on_alone(&forbidden(&words));
                    self.remember_alone(changes);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match written {
                Err(error) if was_another_faster(&error) => {}
                written => return written,
            }
        }
        Err(SwarmError::Conflict)
    }

    /// Reads what others have written since the latest look.
    ///
    /// # Errors
    /// The engine's.
    pub async fn refresh<S: Swarm>(&self, swarm: &S) -> Result<(), SwarmError> {
        if self.state().is_memory_only {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        self.look(swarm).await.map(|_| ())
    }

    fn remember_alone(&self, changes: &[LedgerChange]) {
        let mut state = self.state();
        state.labels = book::change(&state.labels, changes);
    }

    /// Whether a look of a run has shown meanwhile that the lease is ours, and nothing is to be written.
    fn is_sure_since(&self, since: Instant) -> bool {
        let state = self.state();
        let is_sure = matches!(state.role, LeaseRole::Holder { sure, .. } if sure > since);
        is_sure && state.pending.is_empty()
    }

    /// Looks again after a write of our own, which has given the config another version: that is not another process's
    /// write.
    async fn look_after_write<S: Swarm>(&self, swarm: &S) {
        let (written, was_overtaken) = {
            let state = self.state();
            (state.labels.clone(), state.is_overtaken)
        };
        if let Ok(Some(object)) = self.look(swarm).await
            && object.labels == written
        {
            self.state().is_overtaken = was_overtaken;
        }
    }

    /// One look at the ledger, with what follows from it.
    pub(super) async fn tend<S: Swarm>(&self, swarm: &S) -> Result<(), SwarmError> {
        let _writing = self.writing.lock().await;
        for _ in 0..MAX_CONFLICTS {
            let looked_at = Instant::now();
            let object = self.look(swarm).await?;
            let (role, has_pending) = {
                let state = self.state();
                (state.role.clone(), !state.pending.is_empty())
            };
            let written = match role {
                LeaseRole::Holder { me, .. } => {
                    let lease = object.as_ref().and_then(|object| book::lease(&object.labels));
                    let is_removed = object.is_none();
                    let written = match holding(lease.as_ref(), &me.id) {
                        Holding::Lost if !is_removed => {
                            self.lose(lease.as_ref().map(|lease| lease.holder.who.as_str()));
                            continue;
                        }
                        Holding::Undisputed if !has_pending => Ok(()),
                        _ => self.write(swarm, object.as_ref(), Hold::By(&me), &[]).await,
                    };
                    if written.is_ok() {
                        if is_removed {
                            tracing::warn!(config = self.name, "the ledger was removed; made it anew");
                        }
                        self.state().role = LeaseRole::Holder { me, sure: looked_at };
                    }
                    written
                }
                _ if has_pending => {
                    let written = self.write(swarm, object.as_ref(), Hold::AsItIs, &[]).await;
                    if written.is_ok() {
                        // What comes next may be the lease, which is written over what was read.
                        self.look_after_write(swarm).await;
                    }
                    written
                }
                _ => Ok(()),
            };
            match written {
                Err(error) if was_another_faster(&error) => {}
                written => return written,
            }
        }
        Err(SwarmError::Conflict)
    }

    fn lose(&self, to: Option<&str>) {
        let to = to.unwrap_or("no other process");
        tracing::warn!(
            to,
            "another Gantry has taken over, as this one did not answer; no new update begins here"
        );
        self.state().role = LeaseRole::Lost;
    }
}
