//! Sends a message to one address.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::{CONNECT_LIMIT, Fault, LIMIT, WORDS};
use super::message::Message;
use super::post::{self, HttpPost};
use super::{address, mail};
use crate::config::{Destination, Protocol};
use crate::proxy::Proxies;
use crate::words::{self, foreign};

/// From one try within [`LIMIT`] to the next. A server that is started again is back by the last one.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_millis(2500)];

/// How much of an answer is read, in bytes.
const ANSWER: usize = 16 * 1024;

/// Delivers a message, and returns what the server says of it. A server that is away is tried again, as long as [`LIMIT`]
/// allows.
pub(super) async fn deliver(
    destination: &Destination,
    proxies: &Proxies,
    message: &Message,
) -> Result<String, Fault> {
    let deadline = Instant::now() + LIMIT;
    let mut pauses = PAUSES.into_iter();
    loop {
        let cause = match try_once(destination, proxies, message, deadline).await {
            Err(Fault::Away(cause)) => cause,
            done => return done,
        };
        let is_in_time = |pause: &Duration| Instant::now() + *pause + CONNECT_LIMIT <= deadline;
        let Some(pause) = pauses.next().filter(is_in_time) else { return Err(Fault::Away(cause)) };
        tracing::debug!(to = destination.to(), cause, "the notification is tried again");
        sleep(pause).await;
    }
}

/// Tries once to deliver a message, until the deadline.
pub(super) async fn try_once(
    destination: &Destination,
    proxies: &Proxies,
    message: &Message,
    deadline: Instant,
) -> Result<String, Fault> {
    let work = async {
        match &destination.protocol {
            Protocol::Mail(route) => Box::pin(mail::send(destination, route, message)).await,
            _ => Box::pin(send(destination, proxies, message)).await,
        }
    };
    timeout_at(deadline, work).await.unwrap_or(Err(Fault::Unanswered))
}

async fn send(destination: &Destination, proxies: &Proxies, message: &Message) -> Result<String, Fault> {
    crate::tls::install_crypto_provider();
    let (url, name) = (destination.url.reveal(), &destination.shown);
    let HttpPost { url: to, header, body } = post::of(destination, message)
        .ok_or_else(|| Fault::Refused(format!("{name} is not an address of the web")))?;
    let proxy = Url::parse(&to).ok().and_then(|url| proxies.of(&url).cloned());
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
    let mut request = client.post(to).header(CONTENT_TYPE, "application/json").body(body.to_string());
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let is_apprise = destination.protocol == Protocol::Apprise;
    let fault = |error: reqwest::Error| {
        if error.is_builder() {
            return Fault::Refused(deepest(error, url));
        }
        let cause = deepest(error, url);
        let remedy = match () {
            () if is_apprise => "",
            () if cause.contains("certificate") => "; check the certificate of this host",
            () => "; check the address, and that Gantry's container can reach this host",
        };
        Fault::Away(match &proxy {
            Some(proxy) => format!("cannot reach {name} {proxy}: {cause}{remedy}"),
            None => format!("cannot reach {name}: {cause}{remedy}"),
        })
    };
    let answer = request.send().await.map_err(fault)?;
    match answer.status() {
        // What Apprise says when no service stands behind the address.
        StatusCode::NO_CONTENT if is_apprise => {
            Err(Fault::Refused("Apprise has no service to tell under this key (204)".to_owned()))
        }
        status if status.is_success() => Ok(status.to_string()),
        status => {
            let remedy = if is_apprise { "" } else { remedy(status) };
            let cause = format!("{name} answers {status}{}{remedy}", said(answer, destination).await);
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            Err(if is_passing { Fault::Away(cause) } else { Fault::Refused(cause) })
        }
    }
}

/// What to do about the status of a service.
fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..400 => "; give the address that it leads to",
        401 | 403 => "; check the account or the token in the address",
        404 | 410 => "; check the path of the address, which the service does not know",
        407 => "; check the account in the variable of the proxy",
        429 => "; the service takes no more messages for a while",
        400..500 => "; check that the address begins with the name of this service",
        _ => "; see the log of this service",
    }
}

/// What the server says of an error, without the parts of its address.
async fn said(mut answer: Response, destination: &Destination) -> String {
    let is_text = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/plain"));
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER - body.len())]);
        if body.len() == ANSWER {
            break;
        }
    }
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut words = json.get("error").and_then(Value::as_str);
    if destination.protocol != Protocol::Apprise {
        let others = ["/errorDescription", "/message", "/error/message"];
        let others = others.iter().find_map(|path| json.pointer(path)).and_then(Value::as_str);
        // Slack says it in a word.
        let text = std::str::from_utf8(&body).ok().filter(|_| is_text && json.is_null());
        words = others.or(words).or(text);
    }
    // Before it is cut: a half of a key would not be recognized any more.
    let words = address::without(words.unwrap_or_default().trim(), destination.url.reveal());
    let words: String = foreign(&words).chars().take(WORDS).collect();
    if words.is_empty() { words } else { format!(": {words}") }
}

/// The innermost cause, without the parts of the address; those around it only say that a request failed, and to which
/// address.
fn deepest(error: reqwest::Error, url: &str) -> String {
    address::without(&words::deepest(&error.without_url()), url)
}
