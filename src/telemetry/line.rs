//! One event as one line.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::str::CharIndices;

use jiff::Zoned;
use serde_json::{Map, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::words::{error_chain, is_printable, push_printable};

/// The keys of a JSON line that are ours. An event's field of that name is called `field_NAME`.
const RESERVED: [&str; 4] = ["time", "level", "node", "message"];

/// How the names of fields begin that stand in JSON lines only: there they stand without it.
const JSON_ONLY: &str = "json.";

/// The fields of an event.
#[derive(Clone, Debug, Default)]
pub(super) struct EventFields {
    message: String,
    /// The others, in their order.
    values: Vec<(&'static str, Value)>,
}

impl EventFields {
    /// Those of an event with nothing but a message.
    pub(super) fn of_message(message: String) -> Self {
        Self { message, values: Vec::new() }
    }

    /// Adds the fields of another one, after its own.
    pub(super) fn add_all(&mut self, others: &Self) {
        self.values.extend(others.values.iter().cloned());
    }

    pub(super) fn add(&mut self, name: &'static str, value: Value) {
        self.values.push((name, value));
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Formatting fails where a value's own `Debug` does; what it wrote until then is still worth a line.
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.add(name, value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no number for infinity.
        let number = serde_json::Number::from_f64(value);
        self.add(field.name(), number.map_or_else(|| value.to_string().into(), Value::Number));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &error_chain(value));
    }
}

/// One event with all that is written of it.
pub(super) struct LogLine<'a> {
    /// When it happened.
    pub(super) time: Zoned,
    /// How severe it is.
    pub(super) level: Level,
    /// Where it happened.
    pub(super) node: Option<&'a str>,
    /// What happened.
    pub(super) fields: &'a EventFields,
}

impl LogLine<'_> {
    /// `2026-11-23T11:20:00+01:00 INFO  node message key=value`, without a line feed.
    ///
    /// The message stands in quotation marks where something in it could be taken for a field.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{} {:<5} ", self.rfc3339(), self.level.as_str());
        push_value(&mut text, self.node.unwrap_or("-"));
        text.push(' ');
        let mut message = String::new();
        push_printable(&mut message, &self.fields.message);
        if has_field(&message) {
            push_quoted(&mut text, &self.fields.message);
        } else {
            text.push_str(&message);
        }
        for (name, value) in self.fields.values.iter().filter(|(name, _)| !name.starts_with(JSON_ONLY)) {
            let _ = write!(text, " {name}=");
            match value {
                Value::String(value) => push_value(&mut text, value),
                value => _ = write!(text, "{value}"),
            }
        }
        text
    }

    /// One JSON object, without a line feed.
    pub(super) fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), self.rfc3339().into());
        object.insert("level".to_owned(), self.level.as_str().into());
        if let Some(node) = self.node {
            object.insert("node".to_owned(), node.into());
        }
        object.insert("message".to_owned(), self.fields.message.as_str().into());
        for (name, value) in &self.fields.values {
            let name = &name.strip_prefix(JSON_ONLY).unwrap_or(name);
            let is_reserved = RESERVED.contains(name);
            let name = if is_reserved { format!("field_{name}") } else { (*name).to_owned() };
            object.insert(name, value.clone());
        }
        // All are below U+10000, so that one escape is enough for each.
        let escape = |mut text: String, c: char| {
            if is_printable(c) {
                text.push(c);
            } else {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            text
        };
        Value::Object(object).to_string().chars().fold(String::new(), escape)
    }

    /// The time to the second, with the offset of its zone.
    fn rfc3339(&self) -> String {
        let mut text = String::new();
        let _ = write!(text, "{}", self.time.strftime("%Y-%m-%dT%H:%M:%S%:z"));
        text
    }
}

/// Whether a reader of the text log could take a part of this message for a field of ours, or for the beginning of a
/// quotation that hides our fields. Messages quote tasks, hooks, registries and engines, which can print what they like.
///
/// What stands in quotation marks is no field, and neither is `GANTRY_NAME=value`: our fields are in small letters.
fn has_field(message: &str) -> bool {
    let mut chars = message.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '=' if is_name_of_field(&message[..at]) => return true,
            // A reader may or may not take the escaped mark for the beginning of a quotation.
            '"' if message[..at].ends_with('\\') || !closes(&mut chars) => return true,
            _ => {}
        }
    }
    false
}

/// Whether a text ends with what could be the name of a field. Parts of longer words (`label.name`, `/path?query`) do not count.
fn is_name_of_field(text: &str) -> bool {
    let before = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let name = &text[before.len()..];
    let is_part = before.ends_with(['.', '-', '/', '?', '&']);
    name.contains(|c: char| c.is_ascii_lowercase()) && !is_part
}

/// Reads the rest of a quotation; false where it has no end.
fn closes(chars: &mut CharIndices<'_>) -> bool {
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return true,
            '\\' => _ = chars.next(),
            _ => {}
        }
    }
    false
}

/// Writes a value: in quotation marks where it would otherwise not be clear where it ends.
fn push_value(line: &mut String, value: &str) {
    let is_clear = |c: char| is_printable(c) && !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(is_clear) {
        line.push_str(value);
    } else {
        push_quoted(line, value);
    }
}

/// Writes a text in quotation marks, with escapes for those within it.
fn push_quoted(line: &mut String, value: &str) {
    line.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            line.push('\\');
        }
        push_printable(line, c.encode_utf8(&mut [0; 4]));
    }
    line.push('"');
}
