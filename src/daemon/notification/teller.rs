//! Tells people of runs: at their ends, and while they are under way.
//!
//! A stopped rollout and a failed rollback are told when they happen. A run that lasts for long tells how far it is. Both are
//! additional: the message at a run's end tells all of it.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::message::Message;
use super::send::deliver;
use super::untold::{AGAIN, Batch, Letter, TellerState};
use super::{Notifier, named, not_sent, warn_of};
use crate::config::Config;
use crate::context::Events;
use crate::cycle::Report;
use crate::daemon::board::render::whole_run;
use crate::daemon::board::{LiveBoard, NotificationResult};
use crate::daemon::log;
use crate::model::event::Event;

/// Tells people of runs.
#[derive(Default)]
pub struct Teller {
    /// Its lock is held while a message is sent, so that messages go out one after the other.
    notifier: tokio::sync::Mutex<Notifier>,
    state: Mutex<TellerState>,
    board: LiveBoard,
    /// Something is to be told at another time than before.
    news: Notify,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// A teller that counts on this board what becomes of its messages.
    pub fn on(board: LiveBoard) -> Self {
        let notifier = tokio::sync::Mutex::new(Notifier::on(board.clone()));
        Self { notifier, board, ..Self::default() }
    }

    /// Where the events of a run go: to the log, to the board, and to people where there is an address.
    pub fn events(self: &Arc<Self>, config: &Arc<Config>, run: u64) -> Events {
        let board = self.board.clone();
        let show = move |event: &Event| {
            log::write(event);
            board.change(|board, at| board.apply(run, event, at));
        };
        if config.notification.is_off() {
            return Events::new(show);
        }
        self.state().begin(run, config, Instant::now());
        self.news.notify_one();
        let teller = self.clone();
        Events::new(move |event| {
            show(event);
            teller.hear(run, event);
        })
    }

    /// Tells of a run at its end. Urgent events that this message tells are not told again. `run` is the run as the API has it.
    pub async fn tell(&self, config: &Config, report: &Report, run: Option<Value>, stop: &CancellationToken) {
        let mut notifier = self.notifier.lock().await;
        self.state().forget(|waiting| waiting.what.is_told_by(report));
        Box::pin(notifier.tell(config, report, run, stop)).await;
    }

    /// Tells what is to be told while runs are under way. It goes on for as long as it is polled; when Gantry is to stop it
    /// tells nothing more, as the ends of the runs follow at once.
    pub async fn go_on(&self, stop: &CancellationToken) {
        let work = async {
            loop {
                let due = self.state().due();
                let wait = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = wait => self.tell_due().await,
                    () = self.news.notified() => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => pending().await,
            () = work => {}
        }
    }

    /// Tells at last what no message has told.
    pub async fn finish(&self, stop: &CancellationToken) {
        self.state().waiting.iter_mut().for_each(|waiting| waiting.due = Instant::now());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.tell_due() => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, TellerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, run: u64, event: &Event) {
        if self.state().hear(run, event, Instant::now()) {
            self.news.notify_one();
        }
    }

    async fn tell_due(&self) {
        let _sending = self.notifier.lock().await;
        // Only now: what waited may have been told at a run's end meanwhile.
        loop {
            let batch = self.state().batch(Instant::now());
            let Some(batch) = batch else { break };
            self.tell_at_once(batch).await;
        }
        loop {
            let progress = self.state().progress(Instant::now());
            let Some((config, message, run)) = progress else { break };
            self.send_once(&config, &message.about(self.run(run))).await;
        }
    }

    /// A run as the API has it now.
    fn run(&self, number: u64) -> Option<Value> {
        self.board.look().run(number).map(whole_run)
    }

    /// Sends a message that is not worth a second try.
    async fn send_once(&self, config: &Config, message: &Message) {
        let named = named::of(&config.notification).await;
        warn_of(&named, &self.board);
        let sent = named.list.iter().map(|destination| async {
            match Box::pin(deliver(destination, &config.proxies, message)).await {
                Ok(_) => self.count(NotificationResult::Sent),
                Err(fault) => {
                    not_sent(destination, &fault.to_string());
                    self.count(NotificationResult::GivenUp);
                }
            }
        });
        join_all(sent).await;
    }

    /// Sends each address what it was not told yet of these events.
    async fn tell_at_once(&self, batch: Batch) {
        let named = named::of(&batch.config.notification).await;
        warn_of(&named, &self.board);
        let letters = self.state().letters(&batch, &named.list, |run| self.run(run));
        let sent = letters.into_iter().map(|letter| async {
            let work = deliver(&letter.destination, &batch.config.proxies, &letter.message);
            let result = Box::pin(work).await;
            (letter, result)
        });
        for (letter, result) in join_all(sent).await {
            let is_settled = self.note(&letter, result.map(drop));
            self.state().note(&letter, is_settled);
        }
        self.state().end_batch(&batch, &named.list, Instant::now());
    }

    /// Says what became of a message. Returns whether its address needs it no more.
    fn note(&self, letter: &Letter, result: Result<(), Fault>) -> bool {
        let to = letter.destination.to();
        let result = match result {
            Ok(()) => {
                tracing::debug!(events = letter.ids.len(), to, "notified while the run goes on");
                NotificationResult::Sent
            }
            Err(Fault::Away(cause)) if letter.is_late => {
                tracing::debug!(cause, to, "a notification waits on");
                NotificationResult::Failed
            }
            Err(Fault::Away(cause)) => {
                let again = format!("{cause}; it is sent again in {} s", AGAIN.as_secs());
                not_sent(&letter.destination, &again);
                NotificationResult::Failed
            }
            Err(fault) => {
                not_sent(&letter.destination, &fault.to_string());
                NotificationResult::GivenUp
            }
        };
        self.count(result);
        result != NotificationResult::Failed
    }

    fn count(&self, result: NotificationResult) {
        self.board.look().notified(result);
    }
}
