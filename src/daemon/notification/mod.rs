//! Telling people of cycles, through an Apprise server or without one: at their ends, and while they are under way.
//!
//! A notification that cannot be delivered is a warning: it neither fails the cycle nor holds up the next. One with news
//! is kept for the next cycle's end, as the cycles after one that stopped a rollout have nothing to tell of it. Each address
//! has its own fate: what one does not take is kept for that address alone.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::fault::{CONNECT_LIMIT, Fault, LIMIT};
use self::message::Message;
use self::named::AddressList;
pub use self::named::checked;
use self::send::{deliver, try_once};
use crate::config::{Config, Destination, Mistakes};
use crate::cycle::Report;
use crate::daemon::board::{LiveBoard, NotificationResult};

mod address;
mod fault;
mod fit;
mod letter;
mod mail;
mod message;
mod named;
mod post;
mod progress;
mod send;
pub mod teller;
pub mod trial;
mod untold;
mod urgent;

/// How long it may take when Gantry has been told to stop.
const LIMIT_WHEN_STOPPED: Duration = Duration::from_secs(1);

/// How many messages are kept for an address that could not be delivered to it.
const MOST_KEPT: usize = 5;

/// Sends notifications of cycles, and keeps those that could not be delivered.
#[derive(Debug, Default)]
pub struct Notifier {
    /// Those of addresses for which something is kept.
    backlogs: Vec<Backlog>,
    board: LiveBoard,
}

/// What one address is still to be told.
#[derive(Debug)]
struct Backlog {
    destination: Destination,
    /// The oldest first.
    kept: VecDeque<UndeliveredMessage>,
}

/// A message that could not be delivered.
#[derive(Debug)]
struct UndeliveredMessage {
    message: Message,
    /// When its cycle ended.
    end: String,
    /// Whether it may have been delivered all the same: it is sent once more, but not with every cycle.
    is_doubtful: bool,
}

/// The end of a cycle, as all addresses are told of it.
struct CycleEnd<'a> {
    config: &'a Config,
    /// `None`: the condition asks for no message.
    message: Option<Message>,
    /// Whether a message that could not be delivered is kept.
    is_kept: bool,
    board: &'a LiveBoard,
}

/// Tells that nothing was started, because of mistakes in the configuration, at the addresses that are right.
pub async fn tell_of_mistakes(mistakes: &Mistakes) {
    let message = Message::of_mistakes(mistakes);
    let named = named::of(&mistakes.notification).await;
    let sent = named.list.iter().map(|destination| async {
        if let Err(fault) = deliver(destination, &mistakes.proxies, &message).await {
            not_sent(destination, &fault.to_string());
        }
    });
    join_all(sent).await;
}

impl Notifier {
    /// One that has told everything so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same. What becomes of its messages is counted on this board.
    pub fn on(board: LiveBoard) -> Self {
        Self { board, ..Self::default() }
    }

    /// Tells of a cycle, if the condition asks for it, and then of the cycles that could not be told of before. `run` is the
    /// cycle's run, as the API has it.
    pub async fn tell(
        &mut self,
        config: &Config,
        report: &Report,
        run: Option<Value>,
        stop: &CancellationToken,
    ) {
        let settings = &config.notification;
        if settings.is_off() {
            return;
        }
        let named = named::of(settings).await;
        let is_due = message::is_due(settings.condition, report);
        if is_due {
            warn_of(&named, &self.board);
        }
        let has_next = config.starts_again();
        let end = CycleEnd {
            config,
            message: is_due.then(|| Message::of(report, settings.title.as_deref()).about(run)),
            is_kept: has_next && message::is_news(report),
            board: &self.board,
        };
        let mut before = std::mem::take(&mut self.backlogs);
        let work = named.list.into_iter().map(|destination| {
            let known = before.iter().position(|backlog| backlog.destination.is_same(&destination));
            let kept = known.map(|at| before.swap_remove(at).kept).unwrap_or_default();
            Backlog { destination, kept }.tell(&end, stop)
        });
        let work: Vec<_> = work.collect();
        let backlogs = join_all(work).await.into_iter().filter(|backlog| !backlog.kept.is_empty());
        self.backlogs.extend(backlogs);
        // A file that cannot be read now may name them again.
        if named.mistakes.is_empty() {
            for backlog in &before {
                backlog.give_up(&self.board);
            }
        } else {
            self.backlogs.append(&mut before);
        }
    }
}

/// Says which addresses of the file are not told.
fn warn_of(named: &AddressList, board: &LiveBoard) {
    for mistake in &named.mistakes {
        tracing::warn!("the notification (GANTRY_NOTIFICATION_URL_FILE) was not sent: {mistake}");
        board.look().notified(NotificationResult::GivenUp);
    }
}

impl Backlog {
    /// Tells of the end of a cycle, for a second at most once Gantry is to stop.
    async fn tell(mut self, end: &CycleEnd<'_>, stop: &CancellationToken) -> Self {
        let stopped = async {
            stop.cancelled().await;
            sleep(LIMIT_WHEN_STOPPED).await;
        };
        let destination = self.destination.clone();
        tokio::select! {
            () = self.tell_all(end) => {}
            () = stopped => {
                not_sent(&destination, "Gantry was told to stop");
                end.count(NotificationResult::GivenUp);
            }
        }
        self
    }

    async fn tell_all(&mut self, end: &CycleEnd<'_>) {
        if let Some(message) = &end.message {
            if let Err(fault) = deliver(&self.destination, &end.config.proxies, message).await {
                return self.keep(message, &fault, end);
            }
            tracing::debug!(to = self.destination.to(), "notified");
            end.count(NotificationResult::Sent);
        }
        self.catch_up(end).await;
    }

    /// Keeps a message for the next cycle's end, where there is one and it is worth it.
    fn keep(&mut self, message: &Message, fault: &Fault, end: &CycleEnd<'_>) {
        if !end.is_kept || matches!(fault, Fault::Refused(_)) {
            end.count(NotificationResult::GivenUp);
            return not_sent(&self.destination, &fault.to_string());
        }
        not_sent(&self.destination, &format!("{fault}; it is sent with the next cycle's"));
        end.count(NotificationResult::Failed);
        let time = Timestamp::now().to_zoned(end.config.log.time_zone.clone());
        self.kept.push_back(UndeliveredMessage {
            message: message.clone(),
            end: time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            is_doubtful: matches!(fault, Fault::Unanswered),
        });
        if self.kept.len() > MOST_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            let (end_of_it, to) = (oldest.end, self.destination.to());
            tracing::warn!(end = end_of_it, to, "a notification is given up, as {MOST_KEPT} newer ones wait");
            end.count(NotificationResult::GivenUp);
        }
    }

    /// Tries once more to deliver what was kept.
    async fn catch_up(&mut self, end: &CycleEnd<'_>) {
        let deadline = Instant::now() + LIMIT;
        for mut late in std::mem::take(&mut self.kept) {
            if Instant::now() + CONNECT_LIMIT > deadline {
                self.kept.push_back(late);
                continue;
            }
            let (message, to) = (late.message.late(&late.end), self.destination.to());
            let result = match try_once(&self.destination, &end.config.proxies, &message, deadline).await {
                Ok(_) => {
                    tracing::info!(end = late.end, to, "a notification was sent late");
                    NotificationResult::Sent
                }
                Err(Fault::Unanswered) if !late.is_doubtful => {
                    late.is_doubtful = true;
                    self.kept.push_back(late);
                    NotificationResult::Failed
                }
                Err(Fault::Away(cause)) => {
                    tracing::debug!(end = late.end, to, cause, "a notification waits on");
                    self.kept.push_back(late);
                    NotificationResult::Failed
                }
                Err(fault) => {
                    tracing::warn!(end = late.end, to, "a notification is given up: {fault}");
                    NotificationResult::GivenUp
                }
            };
            end.count(result);
        }
    }

    /// Says that nothing of it will be sent, as no variable names its address any more.
    fn give_up(&self, board: &LiveBoard) {
        for late in &self.kept {
            let (end, to) = (&late.end, &self.destination.shown);
            tracing::warn!(end, to, "a notification is given up: its address is no longer configured");
            board.look().notified(NotificationResult::GivenUp);
        }
    }
}

impl CycleEnd<'_> {
    fn count(&self, result: NotificationResult) {
        self.board.look().notified(result);
    }
}

fn not_sent(destination: &Destination, cause: &str) {
    tracing::warn!("the notification ({destination}) was not sent: {cause}");
}
