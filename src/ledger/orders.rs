//! Which services have an update order from Gantry, and what their own was. Pure.
//!
//! An order stays in a service's specification after the update. Without a note of it the next update would take it for
//! the user's wish. One label holds all notes, each a word:
//!
//! ```text
//! gantry.orders = 3f8a9c1b:none>start x2k9v0aa:start>stop!
//! ```
//!
//! In front of the colon is the beginning of the service's id; what follows is its own order, and Gantry's. An
//! exclamation mark says that its old and its new task have run into each other.

use std::collections::BTreeMap;

use crate::swarm::UpdateOrder;

/// So much of an id tells services apart: ids are random.
const KEY_CHARS: usize = 8;

/// Most notes that are kept. One has 20 bytes, or a few more.
const MAX_NOTES: usize = 2_048;

/// What is remembered of a service's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderNote {
    /// The service's own order.
    pub own: Option<UpdateOrder>,
    /// The order that Gantry has written instead, if it has.
    pub written: Option<UpdateOrder>,
    /// Whether an old and a new task have run into each other.
    pub has_collided: bool,
}

impl OrderNote {
    /// The service's own order, where its specification has this one.
    pub fn own(&self, present: Option<UpdateOrder>) -> Option<UpdateOrder> {
        if self.written.is_some() && self.written == present { self.own } else { present }
    }

    /// What is left of the note for a service that has this order: another one than Gantry's is the user's.
    #[must_use]
    pub fn of_present(self, present: Option<UpdateOrder>) -> Self {
        if self.written == present { self } else { Self { own: None, written: None, ..self } }
    }
}

/// The notes, by the beginning of the service's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders(BTreeMap<String, OrderNote>);

/// The key of a service's note.
fn key(id: &str) -> String {
    id.chars().take(KEY_CHARS).collect()
}

impl Orders {
    /// Reads the label. A word that cannot be read is left out.
    pub fn read(text: &str) -> Self {
        let note = |word: &str| {
            let (key, rest) = word.split_once(':')?;
            let (own, written) = rest.trim_end_matches('!').split_once('>')?;
            let note = OrderNote {
                own: order(own).ok()?,
                written: order(written).ok()?,
                has_collided: rest.ends_with('!'),
            };
            Some((key.to_owned(), note))
        };
        Self(text.split_whitespace().filter_map(note).collect())
    }

    /// Writes the label; empty: there are no notes.
    pub fn write(&self) -> String {
        let word = |(key, note): (&String, &OrderNote)| {
            let mark = if note.has_collided { "!" } else { "" };
            format!("{key}:{}>{}{mark}", name(note.own), name(note.written))
        };
        self.0.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// The note of a service.
    pub fn of(&self, id: &str) -> OrderNote {
        self.0.get(&key(id)).copied().unwrap_or_default()
    }

    /// Replaces a service's note. Where there is no room for one more, it is not kept.
    pub fn put(&mut self, id: &str, note: OrderNote) {
        let key = key(id);
        if note == OrderNote::default() {
            self.0.remove(&key);
        } else if self.0.len() < MAX_NOTES || self.0.contains_key(&key) {
            self.0.insert(key, note);
        }
    }

    /// The beginnings of the ids of all services that have a note.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn name(order: Option<UpdateOrder>) -> &'static str {
    match order {
        None => "none",
        Some(UpdateOrder::StartFirst) => "start",
        Some(UpdateOrder::StopFirst) => "stop",
    }
}

fn order(name: &str) -> Result<Option<UpdateOrder>, ()> {
    match name {
        "none" => Ok(None),
        "start" => Ok(Some(UpdateOrder::StartFirst)),
        "stop" => Ok(Some(UpdateOrder::StopFirst)),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Option<UpdateOrder> = Some(UpdateOrder::StartFirst);
    const STOP: Option<UpdateOrder> = Some(UpdateOrder::StopFirst);

    #[test]
    fn notes_are_a_line_for_people_and_can_be_read_back() {
        let mut orders = Orders::default();
        orders.put("3f8a9c1b2d", OrderNote { own: None, written: START, has_collided: false });
        orders.put("x2k9v0aaqq", OrderNote { own: START, written: STOP, has_collided: true });
        orders.put("gone", OrderNote::default());
        insta::assert_snapshot!(orders.write(), @"3f8a9c1b:none>start x2k9v0aa:start>stop!");
        assert_eq!(Orders::read(&orders.write()), orders);
        assert_eq!(Orders::read(" rubbish a:b c:none>sideways 3f8a9c1b:none>start").0.len(), 1);
    }

    #[test]
    fn an_order_that_is_not_gantrys_any_more_is_the_users() {
        let note = OrderNote { own: START, written: STOP, has_collided: true };
        assert_eq!(note.own(STOP), START);
        assert_eq!(note.own(None), None);
        assert_eq!(note.own(START), START);
        assert_eq!(OrderNote::default().own(STOP), STOP);
        assert_eq!(OrderNote::default().own(None), None);
        assert_eq!(note.of_present(STOP), note);
        assert_eq!(note.of_present(START), OrderNote { has_collided: true, ..OrderNote::default() });
    }

    #[test]
    fn notes_have_a_bound_and_those_that_are_there_can_be_changed() {
        let mut orders = Orders::default();
        let note = OrderNote { own: None, written: START, has_collided: false };
        for number in 0..3_000 {
            orders.put(&format!("{number:08}"), note);
        }
        assert_eq!(orders.0.len(), MAX_NOTES);
        orders.put("00000000", OrderNote { has_collided: true, ..note });
        assert!(orders.of("00000000").has_collided && orders.write().len() < 42_000);
    }
}
