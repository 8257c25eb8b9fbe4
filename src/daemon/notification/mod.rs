//! Telling people of cycles, through an Apprise server: at their ends, and while they are under way.
//!
//! A notification that cannot be delivered is a warning: it neither fails the cycle nor holds up the next. One with news
//! is kept for the next cycle's end, as the cycles after one that stopped a rollout have nothing to tell of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use self::message::Message;
use crate::config::{Config, Mistakes};
use crate::cycle::Report;
use crate::proxy::Proxies;
use crate::words::{self, foreign};

mod address;
mod message;
mod progress;
pub mod teller;
mod urgent;

/// How long the server may take. It passes the message on to others before it answers.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a connection to it may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// From one try within [`LIMIT`] to the next. A server that is started again is back by the last one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_millis(2500)];

/// How long it may take when Gantry has been told to stop.
const LIMIT_WHEN_STOPPED: Duration = Duration::from_secs(1);

/// How many messages are kept that could not be delivered.
const MOST_KEPT: usize = 5;

/// How much of an answer is read, in bytes.
const ANSWER: usize = 16 * 1024;

/// How much of the server's answer is shown, in characters.
const WORDS: usize = 200;

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

/// Why a message was not delivered. The address is not shown: it may have a password or a key in it.
#[derive(Debug)]
enum Fault {
    /// It would never be taken.
    Refused(String),
    /// The server is away, or cannot take anything now.
    Away(String),
    /// The server did not say in time what became of it.
    Unanswered,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(cause) | Self::Away(cause) => f.write_str(cause),
            Self::Unanswered => write!(f, "no answer within {} s", LIMIT.as_secs()),
        }
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

/// Delivers a message. A server that is away is tried again, as long as [`LIMIT`] allows.
async fn deliver(url: &str, proxies: &Proxies, message: &Message) -> Result<(), Fault> {
    let deadline = Instant::now() + LIMIT;
    let mut pauses = PAUSES.into_iter();
    loop {
        let cause = match post(url, proxies, message, deadline).await {
            Err(Fault::Away(cause)) => cause,
            done => return done,
        };
        let is_in_time = |pause: &Duration| Instant::now() + *pause + CONNECT_LIMIT <= deadline;
        let Some(pause) = pauses.next().filter(is_in_time) else { return Err(Fault::Away(cause)) };
        tracing::debug!(cause, "the notification is tried again");
        sleep(pause).await;
    }
}

async fn post(url: &str, proxies: &Proxies, message: &Message, deadline: Instant) -> Result<(), Fault> {
    timeout_at(deadline, send(url, proxies, message)).await.unwrap_or(Err(Fault::Unanswered))
}

async fn send(url: &str, proxies: &Proxies, message: &Message) -> Result<(), Fault> {
    crate::tls::install_crypto_provider();
    let proxy = Url::parse(url).ok().and_then(|url| proxies.of(&url).cloned());
    let mut builder = Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT_LIMIT)
        .no_proxy();
    if let Some(proxy) = &proxy {
        let used = reqwest::Proxy::all(proxy.address().reveal());
        builder = builder.proxy(used.map_err(|error| Fault::Refused(deepest(error, url)))?);
    }
    let client = builder.build().map_err(|error| Fault::Refused(deepest(error, url)))?;
    let body = serde_json::to_vec(message).map_err(|error| Fault::Refused(error.to_string()))?;
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(body);
    let fault = |error: reqwest::Error| {
        if error.is_builder() {
            return Fault::Refused(deepest(error, url));
        }
        let cause = deepest(error, url);
        Fault::Away(match &proxy {
            Some(proxy) => format!("cannot reach Apprise {proxy}: {cause}"),
            None => format!("cannot reach Apprise: {cause}"),
        })
    };
    let answer = request.send().await.map_err(fault)?;
    match answer.status() {
        // What Apprise says when no service stands behind the address.
        StatusCode::NO_CONTENT => {
            Err(Fault::Refused("Apprise has no service to tell under this key (204)".to_owned()))
        }
        status if status.is_success() => Ok(()),
        status => {
            let cause = format!("Apprise answers {status}{}", said(answer, url).await);
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            Err(if is_passing { Fault::Away(cause) } else { Fault::Refused(cause) })
        }
    }
}

/// What the server says of an error, where it says it in JSON, without the parts of its address.
async fn said(mut answer: Response, url: &str) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER - body.len())]);
        if body.len() == ANSWER {
            break;
        }
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
    // Before it is cut: a half of a key would not be recognized any more.
    let text: String = foreign(&address::without(text, url)).chars().take(WORDS).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// The innermost cause, without the parts of the address; those around it only say that a request failed, and to which
/// address.
fn deepest(error: reqwest::Error, url: &str) -> String {
    address::without(&words::deepest(&error.without_url()), url)
}
