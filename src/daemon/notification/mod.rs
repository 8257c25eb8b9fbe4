//! Telling people of cycles, through an Apprise server: at their ends, and while they are under way.
//!
//! A notification that cannot be delivered is a warning: it neither fails the cycle nor holds up the next. One with news
//! is kept for the next cycle's end, as the cycles after one that stopped a rollout have nothing to tell of it.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::message::Message;
use self::send::{CONNECT_LIMIT, Fault, LIMIT, deliver, post};
use crate::config::{Config, Mistakes};
use crate::cycle::Report;
use crate::proxy::Proxies;

mod address;
mod message;
mod progress;
mod send;
pub mod teller;
mod urgent;

/// How long it may take when Gantry has been told to stop.
const LIMIT_WHEN_STOPPED: Duration = Duration::from_secs(1);

/// How many messages are kept that could not be delivered.
const MOST_KEPT: usize = 5;

/// Sends notifications of cycles, and keeps those that could not be delivered.
#[derive(Debug, Default)]
pub struct Notifier {
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

/// Tells that nothing was started, because of mistakes in the configuration, if the address for it is right.
pub async fn tell_of_mistakes(mistakes: &Mistakes) {
    let Some(url) = &mistakes.notification.apprise_url else { return };
    if let Err(fault) = deliver(url.reveal(), &mistakes.proxies, &Message::of_mistakes(mistakes)).await {
        not_sent(&fault.to_string());
    }
}

impl Notifier {
    /// One that has told everything so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells of a cycle, if the condition asks for it, and then of the cycles that could not be told of before.
    pub async fn tell(&mut self, config: &Config, report: &Report, stop: &CancellationToken) {
        let stopped = async {
            stop.cancelled().await;
            sleep(LIMIT_WHEN_STOPPED).await;
        };
        tokio::select! {
            () = self.tell_all(config, report) => {}
            () = stopped => not_sent("Gantry was told to stop"),
        }
    }

    async fn tell_all(&mut self, config: &Config, report: &Report) {
        let settings = &config.notification;
        let Some(url) = settings.apprise_url.as_ref() else { return };
        if message::is_due(settings.condition, report) {
            let message = Message::of(report, settings.title.as_deref());
            if let Err(fault) = deliver(url.reveal(), &config.proxies, &message).await {
                return self.keep(message, &fault, config, report);
            }
            tracing::debug!("notified");
        }
        self.catch_up(url.reveal(), &config.proxies).await;
    }

    /// Keeps a message for the next cycle's end, where there is one and it is worth it.
    fn keep(&mut self, message: Message, fault: &Fault, config: &Config, report: &Report) {
        let has_next = config.interval.is_some() || config.trigger_path.is_some();
        let is_refused = matches!(fault, Fault::Refused(_));
        if !has_next || is_refused || !message::is_news(report) {
            return not_sent(&fault.to_string());
        }
        not_sent(&format!("{fault}; it is sent with the next cycle's"));
        let end = Timestamp::now().to_zoned(config.log.time_zone.clone());
        let end = end.strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        self.kept.push_back(UndeliveredMessage {
            message,
            end,
            is_doubtful: matches!(fault, Fault::Unanswered),
        });
        if self.kept.len() > MOST_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            tracing::warn!(end = oldest.end, "a notification is given up, as {MOST_KEPT} newer ones wait");
        }
    }

    /// Tries once more to deliver what was kept.
    async fn catch_up(&mut self, url: &str, proxies: &Proxies) {
        let deadline = Instant::now() + LIMIT;
        for mut late in std::mem::take(&mut self.kept) {
            if Instant::now() + CONNECT_LIMIT > deadline {
                self.kept.push_back(late);
                continue;
            }
            match post(url, proxies, &late.message.late(&late.end), deadline).await {
                Ok(()) => tracing::info!(end = late.end, "a notification was sent late"),
                Err(Fault::Unanswered) if !late.is_doubtful => {
                    late.is_doubtful = true;
                    self.kept.push_back(late);
                }
                Err(Fault::Away(cause)) => {
                    tracing::debug!(end = late.end, cause, "a notification waits on");
                    self.kept.push_back(late);
                }
                Err(fault) => tracing::warn!(end = late.end, "a notification is given up: {fault}"),
            }
        }
    }
}

fn not_sent(cause: &str) {
    tracing::warn!("the notification (GANTRY_NOTIFICATION_APPRISE_URL) was not sent: {cause}");
}
