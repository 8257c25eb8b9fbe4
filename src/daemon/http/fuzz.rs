//! The readers of requests, for `make fuzz` and for tests of any bytes.

use std::hint::black_box;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::access::{is_known_host, token_of};
use super::answer::read;
use super::hooks::NarrowingBody;
use super::plan::scope_of;
use super::steer::{MAX_PAUSE, PauseBody, ReleaseBody, RunBody, pause_of};
use crate::config::{Filter, Narrowing};

/// Gives any bytes to each reader: as a body, and its first line as a query, a host and a token.
pub(crate) fn requests(data: &[u8]) {
    if let Ok(RunBody { filters, .. }) = read(data) {
        for filter in filters {
            let _ = black_box(Filter::parse(&filter));
        }
    }
    let _ = black_box(read::<ReleaseBody>(data));
    let _ = black_box(read::<Map<String, Value>>(data));
    if let Ok(PauseBody { lasts: Some(lasts), .. }) = read(data) {
        is_a_pause(&lasts);
    }
    if let Ok(NarrowingBody { filters, excluded, excluded_filters }) = read(data) {
        let _ = black_box(Narrowing::parse(&filters, &excluded, &excluded_filters));
    }
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    is_a_pause(&text);
    if let Ok(uri) = format!("/api/v1/plan?{text}").parse::<Uri>() {
        let _ = black_box(scope_of(&uri));
    }
    let hosts = ["gantry.test".to_owned()];
    black_box(is_known_host(Some(&text), &hosts));
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(line) {
        headers.insert(header::AUTHORIZATION, value);
    }
    black_box(token_of(&headers));
}

fn is_a_pause(text: &str) {
    if let Some(lasts) = pause_of(text) {
        assert!((SignedDuration::from_secs(1)..=MAX_PAUSE).contains(&lasts), "{text}: {lasts}");
    }
}
