//! Server-sent events, as `api/v1/events` writes them. Pure.

/// The longest event that is kept, in bytes.
const MAX_EVENT: usize = 64 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerEvent {
    /// What it is: `state` or `change`.
    pub(super) kind: String,
    /// Where a stream goes on after it.
    pub(super) id: String,
    /// What it says.
    pub(super) data: String,
}

/// Takes a stream apart.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    event: ServerEvent,
}

impl EventReader {
    /// The events that are whole with these bytes; `None`: an event is too long.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Vec<ServerEvent>> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.event.data.len() > MAX_EVENT {
                return None;
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.take(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Some(events)
    }

    /// Takes a line; an empty one ends an event.
    fn take(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event.kind),
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ":\n\nevent: state\nid: 1-2\ndata: {\"ä\":1}\n\n: still here\n\nevent: change\r\nid:1-3\r\n\
                          data: a\r\ndata: b\r\n\r\nid: 9\n\ndata: cut off";

    #[test]
    fn events_are_the_same_however_their_bytes_come() {
        let event = |kind: &str, id: &str, data: &str| ServerEvent {
            kind: kind.to_owned(),
            id: id.to_owned(),
            data: data.to_owned(),
        };
        let expected = [event("state", "1-2", "{\"ä\":1}"), event("change", "1-3", "a\nb")];
        for size in [1, 2, 3, 7, 1_000] {
            let mut reader = EventReader::default();
            let events: Vec<ServerEvent> =
                STREAM.as_bytes().chunks(size).flat_map(|bytes| reader.push(bytes).unwrap()).collect();
            assert_eq!(events, expected, "{size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut reader = EventReader::default();
        let part = vec![b'x'; 1 << 20];
        assert!((0..100).any(|_| reader.push(&part).is_none()));
    }
}
