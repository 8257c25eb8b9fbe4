//! Telling people of a cycle's end, through an Apprise server.
//!
//! A notification that cannot be delivered is a warning: it neither fails the cycle nor holds up the next.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::message::Message;
use crate::config::Notification;
use crate::cycle::Report;

mod message;

/// How long the server may take. It passes the message on to others before it answers.
const LIMIT: Duration = Duration::from_secs(10);

/// How long it may take when Gantry has been told to stop.
const LIMIT_WHEN_STOPPED: Duration = Duration::from_secs(1);

/// How much of an answer is read, in bytes.
const ANSWER: usize = 16 * 1024;

/// How much of what the server says is shown, in characters.
const WORDS: usize = 200;

/// Tells of a cycle, if somebody wants to know of it.
pub async fn notify(settings: &Notification, report: &Report, stop: &CancellationToken) {
    let Some(url) = settings.apprise_url.as_ref().filter(|_| message::is_due(settings.condition, report))
    else {
        return;
    };
    let message = Message::of(report, settings.title.as_deref());
    let stopped = async {
        stop.cancelled().await;
        sleep(LIMIT_WHEN_STOPPED).await;
    };
    let sent = tokio::select! {
        sent = timeout(LIMIT, send(url.reveal(), &message)) => {
            sent.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
        }
        () = stopped => Err("Gantry was told to stop".to_owned()),
    };
    // The address is not shown: it may have a password or a key in it.
    match sent {
        Ok(()) => tracing::debug!("notified"),
        Err(cause) => {
            tracing::warn!("the notification (GANTRY_NOTIFICATION_APPRISE_URL) was not sent: {cause}");
        }
    }
}

async fn send(url: &str, message: &Message) -> Result<(), String> {
    crate::tls::install_crypto_provider();
    let client = Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .http1_only()
        .build()
        .map_err(deepest)?;
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(body);
    let answer = request.send().await.map_err(deepest)?;
    match answer.status() {
        // What Apprise says when no service stands behind the address.
        StatusCode::NO_CONTENT => Err("Apprise has nobody to tell (204)".to_owned()),
        status if status.is_success() => Ok(()),
        status => Err(format!("Apprise answers {status}{}", said(answer).await)),
    }
}

/// What the server says of an error, where it says it in JSON.
async fn said(mut answer: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER - body.len())]);
        if body.len() == ANSWER {
            break;
        }
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// The innermost cause; those around it only say that a request failed, and to which address.
fn deepest(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
