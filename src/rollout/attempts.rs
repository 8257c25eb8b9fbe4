//! The waits between attempts to read and to write one service.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::back_off::BackOff;
use crate::context::{Context, EngineRole, Events};
use crate::model::update::Update;
use crate::swarm::SwarmError;

/// How long an engine that does not answer is asked again before an update is given up of which nothing has
/// been sent: the service is left as it is. Where something was sent, an engine that is away is waited for however long
/// that takes; one that can be read, and goes on without doing what it is told, has this long as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits between attempts, and knows when it has been enough.
pub(super) struct Attempts {
    /// The service.
    service: String,
    engine_role: EngineRole,
    events: Events,
    /// How long the engine may be away; `None`, as soon as something was sent: as long as it wants.
    patience: Option<Duration>,
    conflicts: u32,
    away_since: Option<Instant>,
    /// When a write last had no answer; forgotten where the engine cannot be read afterwards.
    unwilling_since: Option<Instant>,
    /// How long the engine could be read and did not write, in all.
    unwilling: Duration,
    back_off: BackOff,
}

impl Attempts {
    pub(super) fn new<S, R>(context: &Context<S, R>, update: &Update, patience: Option<Duration>) -> Self {
        Self {
            service: update.service.clone(),
            engine_role: context.engine_role.clone(),
            events: context.events.clone(),
            patience,
            conflicts: 0,
            away_since: None,
            unwilling_since: None,
            unwilling: Duration::ZERO,
            back_off: BACK_OFF,
        }
    }

    /// The engine could be read.
    pub(super) fn answered(&mut self) {
        self.away_since = None;
        self.engine_role.note_manager();
        if self.unwilling_since.is_none() {
            self.back_off.answered();
        }
    }

    /// Reads until the engine answers; an error when it makes no sense to try again.
    pub(super) async fn read<S, R, T, A: Future<Output = Result<T, SwarmError>>>(
        &mut self,
        context: &Context<S, R>,
        mut ask: impl FnMut() -> A,
    ) -> Result<T, SwarmError> {
        loop {
            context.beat();
            match ask().await {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
                Err(error) => self.read_again(error).await?,
            }
        }
    }

    /// Waits before it is read again; an error when it makes no sense to try again.
    pub(super) async fn read_again(&mut self, error: SwarmError) -> Result<(), SwarmError> {
        if !error.may_pass() {
            return Err(error);
        }
        self.engine_role.note_error(&error);
        self.unwilling_since = None;
        if self.away_since.is_none() {
            self.events.trouble("the engine cannot be read; trying again", &self.service, &error);
        }
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if self.patience.is_some_and(|patience| since.elapsed() >= patience) {
            return Err(error);
        }
        sleep(self.back_off.wait()).await;
        Ok(())
    }

    /// Waits before the service is read again that could not be written; an error when it makes no sense to try again.
    pub(super) async fn write_again(&mut self, error: SwarmError) -> Result<(), SwarmError> {
        match error {
            SwarmError::Conflict if self.conflicts < MAX_CONFLICTS => {
                self.conflicts += 1;
                sleep(CONFLICT_WAIT * self.conflicts).await;
                Ok(())
            }
            error if error.may_pass() => {
                self.engine_role.note_error(&error);
                let now = Instant::now();
                if self.unwilling_since.is_none() {
                    self.events.trouble(
                        "the engine did not take a change; trying again",
                        &self.service,
                        &error,
                    );
                }
                if let Some(since) = self.unwilling_since.replace(now) {
                    self.unwilling += now.duration_since(since);
                }
                if self.unwilling >= PATIENCE {
                    return Err(error);
                }
                if error.is_transient() {
                    // It may have arrived.
                    self.patience = None;
                }
                sleep(self.back_off.wait()).await;
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// How often a service that another program keeps changing is read again before giving up. Status writes of
/// the orchestrator count as changes, so a few are normal.
const MAX_CONFLICTS: u32 = 20;

/// The wait after the first conflict; it grows by as much with each.
const CONFLICT_WAIT: Duration = Duration::from_millis(50);

/// First and longest wait after the engine did not answer.
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(500), Duration::from_secs(10));
