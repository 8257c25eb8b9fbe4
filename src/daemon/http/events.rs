//! The stream of changes (SSE).
//!
//! A stream has no queue: it tells what has changed since it told last. A slow reader gets fewer and larger events, costs
//! no memory, and holds nothing up.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::shared::{Shared, around};

/// The shortest time between two events of a stream.
const PACE: Duration = Duration::from_millis(250);

/// How long a stream is silent at most.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream of changes to one reader.
struct EventStream {
    shared: Shared,
    may_steer: bool,
    changes: watch::Receiver<u64>,
    /// The revision that the reader knows; `None`: none, or one of another process.
    known: Option<u64>,
    /// The parts that the reader knows, by their hashes.
    parts: HashMap<&'static str, u64>,
    _permit: OwnedSemaphorePermit,
}

/// The events for a reader that knows the moment `last`, if any.
pub(super) fn stream_of(
    shared: Shared,
    may_steer: bool,
    last: Option<&str>,
    permit: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<String, std::convert::Infallible>> + Send + use<> {
    let changes = shared.board.changes();
    let known = last.and_then(|last| shared.board.look().revision_of(last));
    let reader = EventStream { shared, may_steer, changes, known, parts: HashMap::new(), _permit: permit };
    stream::unfold((reader, true), |(mut reader, is_first)| async move {
        let event = reader.next(is_first).await;
        Some((Ok(event), (reader, false)))
    })
}

impl EventStream {
    /// The next event, or a line that keeps the connection alive.
    async fn next(&mut self, is_first: bool) -> String {
        if is_first {
            self.changes.mark_unchanged();
            return self.event().unwrap_or_else(|| ":\n\n".to_owned());
        }
        loop {
            match timeout(KEEP_ALIVE, self.changes.changed()).await {
                Ok(Ok(())) => {}
                // The quarantine may have changed by itself.
                Err(_) => return self.event().unwrap_or_else(|| ":\n\n".to_owned()),
                Ok(Err(_)) => std::future::pending().await,
            }
            sleep(PACE).await;
            self.changes.mark_unchanged();
            if let Some(event) = self.event() {
                return event;
            }
        }
    }

    /// What the reader does not know yet; `None`: nothing.
    fn event(&mut self) -> Option<String> {
        let around = around(&self.shared);
        let board = self.shared.board.look();
        let known = self.known.replace(board.revision);
        let id = board.id();
        let hash = |value: &Value| {
            let mut hasher = DefaultHasher::new();
            value.to_string().hash(&mut hasher);
            hasher.finish()
        };
        let Some(known) = known.filter(|known| board.removed <= *known) else {
            let state = board.state(&around, self.may_steer, Timestamp::now());
            self.parts = board.parts(&around).iter().map(|(key, value)| (*key, hash(value))).collect();
            return Some(event("state", &id, &state));
        };
        let mut change = Map::new();
        for (key, value) in board.parts(&around) {
            let hash = hash(&value);
            if self.parts.insert(key, hash) != Some(hash) {
                change.insert(key.to_owned(), value);
            }
        }
        let services = board.changed_since(known);
        if !services.is_empty() {
            change.insert("services".to_owned(), services.into());
        }
        if change.is_empty() {
            return None;
        }
        change.insert("id".to_owned(), id.clone().into());
        Some(event("change", &id, &Value::Object(change)))
    }
}

fn event(kind: &str, id: &str, data: &Value) -> String {
    // JSON has no line ends.
    format!("event: {kind}\nid: {id}\ndata: {data}\n\n")
}
