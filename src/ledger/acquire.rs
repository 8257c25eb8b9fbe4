//! Takes the lease, or waits for it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::book::{self, LedgerChange};
use super::lease::{Holding, LOOK_INTERVAL, Lease, LeaseStep, LeaseWait, Party, holding};
use super::left_behind::LeftBehind;
use super::{Hold, LeaseRole, Ledger, MAX_CONFLICTS, codec, forbidden, was_another_faster};
use crate::swarm::{ConfigObject, Swarm, SwarmError, TaskState};

/// A request for the lease.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// A name for users: Gantry's own service, or the host.
    pub who: String,
    /// The ids of Gantry's own service and task, when it runs as a service.
    pub task: Option<(String, String)>,
    /// The latest version of any service that was listed.
    pub since: u64,
    /// Changes to be written together with the lease.
    pub changes: Vec<LedgerChange>,
    /// The longest wait for the lease.
    pub patience: Duration,
    /// Ends the wait.
    pub stop: CancellationToken,
}

/// The answer to a request for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// This process holds the lease, which was free.
    Ours,
    /// This process holds the lease after a wait: what was planned before may be wrong by now.
    OursAfterWait,
    /// Another Gantry process holds the lease and is alive, and the patience has run out.
    NotOurs {
        /// The name of the holder.
        holder: String,
    },
    /// Gantry was told to stop.
    Stopped,
    /// The engine refused to write the ledger, for another reason than a write by another Gantry process.
    Failed {
        /// The answer of the engine.
        cause: SwarmError,
    },
}

/// How long a ledger that cannot be read or written is tried again before the cycle fails for it. An engine that is
/// restarted, or managers that elect a leader, are back well before.
const TROUBLE_LIMIT: Duration = Duration::from_secs(180);

impl Ledger {
    /// Takes the lease, or waits until that can be done. A process that holds the lease keeps it.
    pub async fn take<S: Swarm>(
        &self,
        swarm: &S,
        request: &LeaseRequest,
        on_look: impl Fn(),
    ) -> LeaseOutcome {
        // A write that is under way ends before the ledger is read here.
        let mut writing = Some(self.writing.lock().await);
        let object = {
            let mut state = self.state();
            match (&state.role, state.is_memory_only) {
                (LeaseRole::Alone, _) | (_, true) => {
                    state.role = LeaseRole::Alone;
                    state.labels = book::change(&state.labels, &request.changes);
                    return LeaseOutcome::Ours;
                }
                (LeaseRole::Holder { .. }, _) => None,
                _ => Some(state.object.clone()),
            }
        };
        let Some(object) = object else {
            drop(writing);
            return self.write_as_holder(swarm, request, on_look).await;
        };
        let (mut object, mut is_stale) = self.without_own(swarm, object).await;
        let (service, task) = request.task.clone().unwrap_or_default();
        let since = Some(request.since);
        let mut me = Party { id: self.id.clone(), who: request.who.clone(), service, task, since };
        let begun = Instant::now();
        let mut wait = Wait { is_outdated: self.state().is_overtaken, ..Wait::default() };
        let mut conflicts = 0;
        loop {
            on_look();
            let looked_at = Instant::now();
            let known = object.as_ref().filter(|_| !is_stale);
            let holder = known.and_then(|object| book::lease(&object.labels)).map(|lease| lease.holder);
            let tried = if is_stale {
                Ok(false)
            } else {
                self.try_once(swarm, &mut me, request, object.as_ref(), &mut wait).await
            };
            match tried {
                Ok(true) => {
                    wait.end_trouble();
                    self.state().role = LeaseRole::Holder { me, sure: looked_at };
                    self.news.notify_one();
                    return if wait.is_outdated { LeaseOutcome::OursAfterWait } else { LeaseOutcome::Ours };
                }
                Ok(false) => {
                    conflicts = 0;
                    wait.end_trouble();
                    wait.is_outdated = true;
                    wait.tell_of(holder.as_ref());
                }
                Err(SwarmError::Forbidden(words)) => {
                    self.go_on_alone(&forbidden(&words));
                    self.state().role = LeaseRole::Alone;
                    return LeaseOutcome::Ours;
                }
                // Swarm compares config names case-insensitively: the name exists in another case.
                Err(SwarmError::NameTaken(words)) if object.is_none() && conflicts >= MAX_CONFLICTS => {
                    let remedy = "give Gantry another name with GANTRY_LEDGER_NAME";
                    self.go_on_alone(&format!("the config {} cannot be made ({words}); {remedy}", self.name));
                    self.state().role = LeaseRole::Alone;
                    return LeaseOutcome::Ours;
                }
                Err(error) if was_another_faster(&error) && conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    // Its previous holder may have rolled out since the plan was made.
                    wait.is_outdated = true;
                    if let Ok(seen) = self.look(swarm).await {
                        object = seen;
                        continue;
                    }
                }
                // Many processes write at once; a later try will succeed.
                Err(error) if was_another_faster(&error) => conflicts = 0,
                Err(cause) => {
                    conflicts = 0;
                    wait.is_outdated = true;
                    if wait.is_hopeless(&cause) || begun.elapsed() >= request.patience {
                        return LeaseOutcome::Failed { cause };
                    }
                    wait.tell_of_trouble(&self.name, &cause);
                }
            }
            if begun.elapsed() >= request.patience {
                let holder = holder.map_or_else(|| "another process".to_owned(), |holder| holder.who);
                return LeaseOutcome::NotOurs { holder };
            }
            drop(writing.take());
            tokio::select! {
                () = sleep(LOOK_INTERVAL) => {}
                () = request.stop.cancelled() => return LeaseOutcome::Stopped,
            }
            writing = Some(self.writing.lock().await);
            match self.look(swarm).await {
                Ok(seen) => (object, is_stale) = (seen, false),
                Err(SwarmError::Forbidden(words)) => self.go_on_alone(&forbidden(&words)),
                // What follows asks the engine again, and meets the same.
                Err(error) => tracing::debug!(%error, "cannot read the ledger now"),
            }
            if self.state().is_memory_only {
                self.state().role = LeaseRole::Alone;
                return LeaseOutcome::OursAfterWait;
            }
        }
    }

    /// The config as it was last read, and whether that may be outdated. Where this process could not give the lease back,
    /// another Gantry may have taken the lease over since: it is read again.
    async fn without_own<S: Swarm>(
        &self,
        swarm: &S,
        object: Option<ConfigObject>,
    ) -> (Option<ConfigObject>, bool) {
        let lease = object.as_ref().and_then(|object| book::lease(&object.labels));
        if lease.is_none_or(|lease| lease.holder.id != self.id) {
            return (object, false);
        }
        match self.look(swarm).await {
            Ok(seen) => (seen, false),
            Err(_) => (object, true),
        }
    }

    /// Writes changes while a previous run of this process holds the lease.
    async fn write_as_holder<S: Swarm>(
        &self,
        swarm: &S,
        request: &LeaseRequest,
        on_look: impl Fn(),
    ) -> LeaseOutcome {
        if request.changes.is_empty() {
            return LeaseOutcome::Ours;
        }
        // They are written here, so `keep` need not hear of them.
        self.remember(&request.changes);
        if self.write_what_was_read(swarm).await {
            return LeaseOutcome::Ours;
        }
        let begun = Instant::now();
        loop {
            on_look();
            match self.tend(swarm).await {
                Ok(()) => return LeaseOutcome::Ours,
                Err(cause)
                    if !cause.is_transient() || begun.elapsed() >= TROUBLE_LIMIT.min(request.patience) =>
                {
                    return LeaseOutcome::Failed { cause };
                }
                Err(error) => tracing::debug!(%error, "cannot write the ledger now"),
            }
            tokio::select! {
                () = sleep(LOOK_INTERVAL) => {}
                () = request.stop.cancelled() => return LeaseOutcome::Stopped,
            }
        }
    }

    /// Writes what is to be remembered to the config as this run's look has read it, if it is still that one. Returns whether
    /// that is done.
    async fn write_what_was_read<S: Swarm>(&self, swarm: &S) -> bool {
        let _writing = self.writing.lock().await;
        let (object, role) = {
            let state = self.state();
            (state.object.clone(), state.role.clone())
        };
        let (Some(object), LeaseRole::Holder { me, .. }) = (object, role) else { return false };
        let looked_at = Instant::now();
        if holding(book::lease(&object.labels).as_ref(), &me.id) != Holding::Undisputed
            || self.write(swarm, Some(&object), Hold::By(&me), &[]).await.is_err()
        {
            return false;
        }
        self.state().role = LeaseRole::Holder { me, sure: looked_at };
        true
    }

    /// Records the unjudged updates of the previous lease holder.
    fn inherit(&self, since: Option<u64>) {
        let mut state = self.state();
        state.left_behind =
            std::mem::take(&mut state.left_behind).and(LeftBehind { since, ..LeftBehind::default() });
    }

    /// Looks once at the lease and acts on it. `true`: this process holds the lease.
    async fn try_once<S: Swarm>(
        &self,
        swarm: &S,
        me: &mut Party,
        request: &LeaseRequest,
        object: Option<&ConfigObject>,
        wait: &mut Wait,
    ) -> Result<bool, SwarmError> {
        let lease = object.and_then(|object| book::lease(&object.labels));
        let (is_gone, now) = match &lease {
            None => (false, self.now()),
            Some(lease) => {
                let time = swarm.engine().await?.time;
                (is_gone(swarm, lease).await?, time.unwrap_or_else(|| self.now()))
            }
        };
        match wait.waiting.step(lease.as_ref(), is_gone, &me.id, now) {
            LeaseStep::Ours => {
                // Our write arrived, and only its answer was lost.
                me.since = lease.and_then(|lease| lease.holder.since);
                if let Some(inherited) = wait.taking_over.take() {
                    self.inherit(Some(inherited));
                    wait.is_outdated = true;
                }
                Ok(true)
            }
            LeaseStep::Take => {
                // If this process dies too, its successor also has to judge the updates of the previous holder.
                let mine = me.since.max(object.map(|object| object.version));
                me.since = lease.as_ref().map_or(mine, |lease| lease.holder.since.min(mine));
                wait.taking_over = lease.as_ref().and_then(|lease| lease.holder.since);
                self.write(swarm, object, Hold::By(me), &request.changes)
                    .await
                    .inspect_err(|_| me.since = mine)?;
                if let Some(lease) = lease {
                    // The plan does not have the updates that the previous holder sent after the plan was made.
                    wait.is_outdated = true;
                    self.inherit(lease.holder.since);
                    let from = lease.holder.who;
                    tracing::warn!(from, "took over from a Gantry that does not answer any more");
                }
                Ok(true)
            }
            LeaseStep::Ask(claim) => {
                if let Some(object) = object {
                    let mut labels = object.labels.clone();
                    labels.insert(codec::CLAIM.to_owned(), codec::write_claim(&claim));
                    swarm.update_config_object(object, &labels).await?;
                }
                Ok(false)
            }
            LeaseStep::Wait => Ok(false),
        }
    }
}

/// A wait for the lease.
#[derive(Default)]
struct Wait {
    waiting: LeaseWait,
    is_told: bool,
    /// Whether the plan was made before something that may matter to it.
    is_outdated: bool,
    /// The unjudged updates of the holder whose lease we try to take over.
    taking_over: Option<u64>,
    /// Since when the engine does not do what is asked of it.
    trouble: Option<Instant>,
}

impl Wait {
    /// Says once which Gantry we wait for.
    fn tell_of(&mut self, holder: Option<&Party>) {
        if let Some(Party { who: holder, .. }) = holder
            && !std::mem::replace(&mut self.is_told, true)
        {
            tracing::info!(holder, "another Gantry is rolling out; waiting for it");
        }
    }

    /// Says that the engine does again what is asked of it.
    fn end_trouble(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the ledger can be used again");
        }
    }

    /// Whether waiting longer makes no sense.
    fn is_hopeless(&mut self, cause: &SwarmError) -> bool {
        !cause.is_transient() || self.trouble.is_some_and(|since| since.elapsed() >= TROUBLE_LIMIT)
    }

    /// Says, once for each time, what keeps us from the lease.
    fn tell_of_trouble(&mut self, config: &str, error: &SwarmError) {
        if self.trouble.is_none() {
            self.trouble = Some(Instant::now());
            tracing::warn!(
                %error,
                config,
                "cannot write the ledger, and without it no update begins; trying again for {} s. Is the swarm in good \
                 order (docker node ls), and does whatever stands before its engine let /configs through?",
                TROUBLE_LIMIT.as_secs()
            );
        }
    }
}

/// Whether the swarm itself says that the holder has ended. Only for one that runs as a service.
async fn is_gone<S: Swarm>(swarm: &S, lease: &Lease) -> Result<bool, SwarmError> {
    let Party { service, task, .. } = &lease.holder;
    if service.is_empty() || task.is_empty() {
        return Ok(false);
    }
    match swarm.tasks(std::slice::from_ref(service)).await {
        Ok(tasks) => {
            Ok(tasks.iter().find(|one| one.id == *task).is_none_or(|one| one.state > TaskState::Running))
        }
        Err(SwarmError::NotFound(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
