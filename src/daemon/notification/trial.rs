//! `gantry notify --test`: one message to all addresses, and what came back from each.

use futures_util::future::join_all;

use super::message::{Kind, Message};
use super::{named, send};
use crate::config::Config;

/// The text of the message.
const BODY: &str =
    "This message comes from gantry notify --test. It tells of no cycle, and no service was changed.";

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Trial {
    /// A line for each address, without its secrets.
    pub lines: Vec<String>,
    /// Whether each address took the message.
    pub is_taken: bool,
}

/// Sends a test message to all addresses of a configuration; `None`: there is none.
pub async fn run(config: &Config) -> Option<Trial> {
    let settings = &config.notification;
    if settings.is_off() {
        return None;
    }
    let named = named::of(settings).await;
    let message = Message::new("test message", settings.title.as_deref(), BODY, Kind::Info);
    let message = &message;
    let sent = named.list.iter().map(|destination| async move {
        let answer = send::deliver(destination, &config.proxies, message).await;
        (destination, answer)
    });
    let mut trial = Trial { lines: Vec::new(), is_taken: named.mistakes.is_empty() };
    trial
        .lines
        .extend(named.mistakes.iter().map(|mistake| format!("GANTRY_NOTIFICATION_URL_FILE: {mistake}")));
    for (destination, answer) in join_all(sent).await {
        trial.lines.push(match answer {
            Ok(answer) => format!("{destination}: sent ({answer})"),
            Err(fault) => {
                trial.is_taken = false;
                format!("{destination}: not sent: {fault}")
            }
        });
    }
    Some(trial)
}
