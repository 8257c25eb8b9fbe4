//! The JSON of events: leniently read, as its senders change it as they like. Pure.

use serde_json::Value;

use super::hint::{Delivery, Reading};

/// The body as JSON, or what is wrong with it.
pub(super) fn json(delivery: &Delivery<'_>) -> Result<Value, Reading> {
    let kind = delivery.header("content-type").to_ascii_lowercase();
    if kind.starts_with("application/x-www-form-urlencoded") || delivery.body.starts_with(b"payload=") {
        return Err(Reading::Malformed {
            error: "the body is a form, not JSON".to_owned(),
            remedy: "choose the content type application/json for this webhook",
        });
    }
    serde_json::from_slice(delivery.body).map_err(|error| {
        let is_empty = delivery.body.iter().all(u8::is_ascii_whitespace);
        let error =
            if is_empty { "the body is empty".to_owned() } else { format!("the body is no JSON: {error}") };
        Reading::Malformed {
            error,
            remedy: "send the event as JSON; docs/webhooks.md has an example for each sender",
        }
    })
}

/// The text at this place; empty: there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().trim()
}

/// The list at this place; empty: there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The host of a URL, with its port; empty: it has none.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_told_with_its_port() {
        for (url, host) in [
            ("https://git.test:3000/a/b", "git.test:3000"),
            ("http://u:p@r.test", "r.test"),
            ("r.test/a/b:1", "r.test"),
            ("", ""),
            ("://", ""),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
