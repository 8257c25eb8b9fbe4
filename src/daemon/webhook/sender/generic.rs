//! What a program sends that is no registry: `{"image": "host/name:tag"}`. Pure.

use serde_json::Value;

use super::super::hint::{Delivery, Hint, Reading};
use super::super::json::json;
use crate::words::printable;

/// Reads an image, or a list of images.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let body = match json(delivery) {
        Ok(body) => body,
        Err(malformed) => return malformed,
    };
    let mut names = Vec::new();
    let is_known = match &body {
        Value::Array(entries) => entries.iter().all(|entry| names_of(entry, &mut names)),
        body => names_of(body, &mut names),
    };
    if !is_known || names.is_empty() {
        return malformed("the body names no image".to_owned());
    }
    let mut hints = Vec::new();
    for name in names {
        let Some(hint) = Hint::of_reference(name) else {
            let shown: String = name.chars().take(100).collect();
            return malformed(format!("{} is no image", printable(&shown)));
        };
        hints.push(hint);
    }
    Reading::of(hints, "")
}

/// Adds the names of `"image"`, `{"image": "image"}` or `{"image": ["image"]}`. Returns whether it was one of these.
fn names_of<'a>(value: &'a Value, names: &mut Vec<&'a str>) -> bool {
    let value =
        if value.is_object() { value.get("image").or_else(|| value.get("images")) } else { Some(value) };
    match value {
        Some(Value::String(name)) => names.push(name),
        Some(Value::Array(listed)) => {
            let texts: Option<Vec<&str>> = listed.iter().map(Value::as_str).collect();
            let Some(texts) = texts else { return false };
            names.extend(texts);
        }
        _ => return false,
    }
    true
}

fn malformed(error: String) -> Reading {
    Reading::Malformed { error, remedy: r#"send {"image": "host/name:tag"}, or a list of images"# }
}
