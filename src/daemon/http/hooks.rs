//! The routes of webhooks: who sends, what it means, and what follows.
//!
//! No query string is logged, as it may hold the token.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::answer::{bytes, problem, read, unreadable};
use super::shared::{Routes, address_of};
use super::steer::{MAX_WAIT, run_and_wait};
use crate::config::Narrowing;
use crate::context::RunScope;
use crate::daemon::webhook::desk::Heard;
use crate::daemon::webhook::hint::{Delivery, Hint, Reading};
use crate::daemon::webhook::proof::{is_signed, prover};
use crate::daemon::webhook::sender::{SenderKind, Signature};

/// The longest body of an event, in bytes.
const MAX_EVENT: usize = 256 << 10;

/// The sender of metrics for all that is no registry.
const OTHER: &str = "other";

/// A request to a webhook whose sender has proved who it is.
struct Proved {
    by: String,
    parts: Parts,
    query: Vec<(String, String)>,
    body: Bytes,
}

/// A request to a webhook, counted under the name of its sender.
struct WebhookCount<'a> {
    routes: &'a Routes,
    sender: &'static str,
}

impl WebhookCount<'_> {
    fn result(&self, result: &'static str) {
        self.routes.shared.board.look().metrics.webhook(self.sender, result);
    }
}

/// An event of a sender.
pub(super) async fn event(
    State(routes): State<Routes>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let Some(kind) = SenderKind::named(&name) else {
        return problem(
            StatusCode::NOT_FOUND,
            "there is no such sender",
            "docs/webhooks.md lists the senders",
        );
    };
    let sender = if kind.name == "generic" { OTHER } else { kind.name };
    let count = WebhookCount { routes: &routes, sender };
    let proved = match proved(&count, kind.signature, request).await {
        Ok(proved) => proved,
        Err(response) => return response,
    };
    let Proved { by, parts, query, body } = proved;
    let delivery = Delivery { headers: &parts.headers, query: &query, body: &body };
    let (hints, host) = match (kind.read)(&delivery) {
        Reading::Hints(hints) => (hints, delivery.query("host")),
        Reading::Ignored(why) => {
            count.result("ignored");
            tracing::debug!(sender = kind.name, why, "an event of a sender is ignored");
            return Json(json!({ "result": "ignored", "why": why })).into_response();
        }
        Reading::Malformed { error, remedy } => {
            count.result("malformed");
            tracing::debug!(sender = kind.name, error, "an event of a sender cannot be read");
            return problem(StatusCode::BAD_REQUEST, error, remedy);
        }
    };
    let hints: BTreeSet<Hint> =
        if host.is_empty() { hints } else { hints.iter().filter_map(|hint| hint.at(host)).collect() };
    if hints.is_empty() {
        count.result("malformed");
        let remedy = "write the host as in the names of images: ?host=registry.example.com:5000";
        return problem(StatusCode::BAD_REQUEST, "the host in the URL is no host of a registry", remedy);
    }
    let names: Vec<String> = hints.iter().map(|hint| hint.name().into_owned()).collect();
    match routes.desk.hear(&routes.shared.board, &by, &hints) {
        Heard::Looks(images) => {
            count.result("triggered");
            let is_by_path = hints.iter().any(|hint| hint.host.is_none());
            let note =
                is_by_path.then_some("no host is known, so any registry's repository of this name is meant");
            let answer =
                json!({ "result": "triggered", "repositories": names, "images": images, "note": note });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Heard::Unknown => {
            count.result("unknown_image");
            tracing::debug!(
                sender = kind.name,
                repositories = names.join(" "),
                "no service uses what was pushed"
            );
            let remedy = "add ?host= where services call the registry by another name";
            let why = "no service that Gantry updates uses the repository";
            let answer =
                json!({ "result": "unknown_image", "repositories": names, "why": why, "remedy": remedy });
            Json(answer).into_response()
        }
    }
}

/// What `run-gantry` takes: the texts of the variables of these names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NarrowingBody {
    #[serde(rename = "GANTRY_SERVICES_FILTERS")]
    pub(super) filters: String,
    #[serde(rename = "GANTRY_SERVICES_EXCLUDED")]
    pub(super) excluded: String,
    #[serde(rename = "GANTRY_SERVICES_EXCLUDED_FILTERS")]
    pub(super) excluded_filters: String,
}

/// A run of the services that pass the configured and these filters, waited for.
pub(super) async fn run_gantry(State(routes): State<Routes>, request: Request) -> Response {
    let count = WebhookCount { routes: &routes, sender: OTHER };
    let Proved { by, query, body, .. } = match proved(&count, Signature::None, request).await {
        Ok(proved) => proved,
        Err(response) => return response,
    };
    let read: NarrowingBody = match read(&body) {
        Ok(read) => read,
        Err(error) => {
            count.result("malformed");
            return unreadable::<NarrowingBody>(&body, &error);
        }
    };
    let narrowing = Narrowing::parse(&read.filters, &read.excluded, &read.excluded_filters);
    let Narrowing { filters, excluded, excluded_filters } = match narrowing {
        Ok(narrowing) => narrowing,
        Err(mistakes) => {
            count.result("malformed");
            let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            let remedy = "write the values as those of the variables of these names";
            return problem(StatusCode::BAD_REQUEST, told.join("; "), remedy);
        }
    };
    count.result("triggered");
    let wait = query.iter().find(|(name, _)| name == "wait").and_then(|(_, seconds)| seconds.parse().ok());
    let scope = RunScope { filters, excluded, excluded_filters, ..RunScope::default() };
    run_and_wait(&routes, by, scope, wait.unwrap_or(MAX_WAIT), "../api/v1/runs/").await
}

/// Reads the body, and lets nothing through that does not prove to know the token. The answer is the same for a missing and a
/// wrong proof.
async fn proved(
    count: &WebhookCount<'_>,
    signature: Signature,
    request: Request,
) -> Result<Proved, Response> {
    let address = address_of(&request);
    let (parts, body) = request.into_parts();
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let query = query.map(|Query(pairs)| pairs).unwrap_or_default();
    let tokens = count.routes.tokens.hook_tokens().await;
    let head = Delivery { headers: &parts.headers, query: &query, body: &[] };
    // No body is read of a stranger who does not even sign.
    if is_signed(signature, &head) || prover(&tokens, signature, &head).is_some() {
        let body = match bytes(body, MAX_EVENT).await {
            Ok(body) => body,
            Err(response) => {
                count.result("malformed");
                return Err(response);
            }
        };
        let delivery = Delivery { body: &body, ..head };
        if let Some(by) = prover(&tokens, signature, &delivery).map(str::to_owned) {
            return Ok(Proved { by, parts, query, body });
        }
    }
    count.result("unauthorized");
    count.routes.tokens.note_refused(&address);
    let remedy = "sign with the token of GANTRY_HTTP_HOOK_TOKEN, or send it as `Authorization: Bearer TOKEN`, in the header \
                  X-Webhook-Secret or as ?token= in the URL";
    let mut response =
        problem(StatusCode::UNAUTHORIZED, "the signature or the token is missing or wrong", remedy);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Err(response)
}
