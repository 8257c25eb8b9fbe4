//! What routes have in common: bodies, and errors with what to do.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::words::some_of;

/// The longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;

/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// An error, with what to do.
pub(super) fn problem(status: StatusCode, error: impl fmt::Display, remedy: impl fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string(), "remedy": remedy.to_string() }))).into_response()
}

/// An error that passes, with the seconds after which it pays to ask again.
pub(super) fn passing(
    status: StatusCode,
    error: impl fmt::Display,
    remedy: impl fmt::Display,
    seconds: u32,
) -> Response {
    let mut response = problem(status, error, remedy);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// The answer where Gantry could not do what was asked, because of the engine or the registries.
pub(super) fn cannot_now(why: impl fmt::Display) -> Response {
    passing(StatusCode::SERVICE_UNAVAILABLE, why, "try again later; the log tells more", 10)
}

/// The bytes of a request's body, of which there may be so many.
pub(super) async fn bytes(body: Body, max: usize) -> Result<Bytes, Response> {
    match timeout(BODY_LIMIT, axum::body::to_bytes(body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let remedy = format!("a body may have {max} bytes");
            Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broke off", remedy))
        }
        Err(_) => {
            let remedy = format!("a body may take {} s", BODY_LIMIT.as_secs());
            Err(problem(StatusCode::REQUEST_TIMEOUT, "the body took too long", remedy))
        }
    }
}

/// The JSON body of a request as this type. A body that cannot be read is answered with what is wrong about it.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Sync, T: for<'de> Deserialize<'de> + Default> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let bytes = bytes(request.into_body(), MAX_BODY).await?;
        read(&bytes).map(Self).map_err(|error| unreadable::<T>(&bytes, &error))
    }
}

/// A body as this type. An empty body is the default.
pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(bytes: &[u8]) -> serde_json::Result<T> {
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { serde_json::from_slice(bytes) }
}

/// The answer to a body that cannot be read, with each mistake.
pub(super) fn unreadable<T: for<'de> Deserialize<'de>>(bytes: &[u8], error: &serde_json::Error) -> Response {
    let mistakes = mistakes::<T>(bytes);
    let told = if mistakes.len() > 1 { some_of(&mistakes, "; ") } else { error.to_string() };
    problem(StatusCode::BAD_REQUEST, format!("the body cannot be read: {told}"), "docs/api.md has examples")
}

/// What is wrong with each field of an object.
fn mistakes<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Vec<String> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
    let alone = fields.into_iter().map(|field| T::deserialize(Value::Object(Map::from_iter([field]))));
    alone.filter_map(|read| read.err().map(|error| error.to_string())).collect()
}
