//! The readers of senders' events, for `make fuzz` and for tests of any bytes.

use http::{HeaderMap, HeaderValue};

use super::hint::{Delivery, Hint, Reading};
use super::proof::{HookToken, prover};
use super::sender::SENDERS;
use crate::secret::Secret;

/// Headers with which each reader looks into the body.
const HEADERS: [(&str, &str); 5] = [
    ("x-github-event", "package"),
    ("x-gitea-event", "package"),
    ("x-nexus-webhook-id", "rm:repository:component"),
    ("x-hub-signature-256", "sha256=00"),
    ("x-nexus-webhook-signature", "00"),
];

/// Gives any bytes to each reader. What comes of them is a part of an image's name, and never proves a token.
pub(crate) fn events(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The first line of the data is a header as well.
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(value) = HeaderValue::from_bytes(line) {
        headers.insert("authorization", value);
    }
    let query = [("repository".to_owned(), String::from_utf8_lossy(line).into_owned())];
    let tokens = [HookToken { name: "a".to_owned(), secret: Secret::new("a-token-that-no-data-has") }];
    for kind in SENDERS {
        let delivery = Delivery { headers: &headers, query: &query, body: data };
        assert_eq!(prover(&tokens, kind.signature, &delivery), None, "{}", kind.name);
        let Reading::Hints(hints) = (kind.read)(&delivery) else { continue };
        for hint in hints {
            let host = hint.host.clone().unwrap_or_default();
            assert_eq!(Hint::new(&host, &hint.repository).as_ref(), Some(&hint), "{}", kind.name);
            let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
            assert!(is_plain(&hint.name()), "{}: {hint:?}", kind.name);
        }
    }
}
