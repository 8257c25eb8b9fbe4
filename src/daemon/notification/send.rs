//! Sends a message to the Apprise server.

use std::fmt;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, sleep, timeout_at};

use super::address;
use super::message::Message;
use crate::proxy::Proxies;
use crate::words::{self, foreign};

/// How long the server may take. It passes the message on to others before it answers.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long a connection to it may take.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// From one try within [`LIMIT`] to the next. A server that is started again is back by the last one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_millis(2500)];

/// How much of an answer is read, in bytes.
const ANSWER: usize = 16 * 1024;

/// How much of the server's answer is shown, in characters.
const WORDS: usize = 200;

/// Why a message was not delivered. The address is not shown: it may have a password or a key in it.
#[derive(Debug)]
pub(super) enum Fault {
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

/// Delivers a message. A server that is away is tried again, as long as [`LIMIT`] allows.
pub(super) async fn deliver(url: &str, proxies: &Proxies, message: &Message) -> Result<(), Fault> {
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

pub(super) async fn post(
    url: &str,
    proxies: &Proxies,
    message: &Message,
    deadline: Instant,
) -> Result<(), Fault> {
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
