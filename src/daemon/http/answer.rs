//! What routes have in common: bodies, and errors with what to do.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

/// The longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;

/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// An error, with what to do.
pub(super) fn problem(status: StatusCode, error: impl fmt::Display, remedy: impl fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string(), "remedy": remedy.to_string() }))).into_response()
}

/// The body of a request, as this type.
pub(super) async fn body<T: for<'de> Deserialize<'de> + Default>(body: Body) -> Result<T, Response> {
    let bytes = timeout(BODY_LIMIT, axum::body::to_bytes(body, MAX_BODY)).await;
    let bytes = match bytes {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let remedy = format!("a body may have {MAX_BODY} bytes");
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broke off", remedy));
        }
        Err(_) => {
            let remedy = format!("a body may take {} s", BODY_LIMIT.as_secs());
            return Err(problem(StatusCode::REQUEST_TIMEOUT, "the body took too long", remedy));
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        problem(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be read: {error}"),
            "docs/api.md has examples",
        )
    })
}
