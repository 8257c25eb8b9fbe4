//! The routes by which users approve digests, and take approvals back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{JsonBody, cannot_now, problem};
use super::shared::{Operator, Routes, show_at_once};
use crate::daemon::board::render;
use crate::daemon::steering::approving::{ApprovalRequest, ApprovalTarget, Approved, NotApproved};
use crate::image::Digest;

/// What `POST approve` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApproveBody {
    image: Option<String>,
    service: Option<String>,
    digest: String,
    why: String,
    /// Who approves; counts over the daemon's socket only.
    by: Option<String>,
}

/// What `POST revoke` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RevokeBody {
    image: Option<String>,
    service: Option<String>,
}

/// Lets a digest be rolled out that waits for a user's word, or for its age.
pub(super) async fn approve(
    State(routes): State<Routes>,
    Extension(Operator(operator)): Extension<Operator>,
    JsonBody(read): JsonBody<ApproveBody>,
) -> Response {
    let ApproveBody { image, service, digest, why, by } = read;
    let Some(target) = target(image, service) else { return no_target() };
    if digest.trim().is_empty() {
        return problem(
            StatusCode::BAD_REQUEST,
            "an approval is for one digest",
            r#"send it, as {"image": "shop:live", "digest": "sha256:..."}"#,
        );
    }
    // With a token, its name says who it was.
    let (by, via) = match routes.owner {
        Some(_) => (by.filter(|by| !by.trim().is_empty()).unwrap_or(operator), "cli"),
        None => (operator, "api"),
    };
    match routes.shared.steering.approve(ApprovalRequest { target, digest, by, via, why }).await {
        Ok(Approved { approval, newer }) => {
            show_at_once(&routes);
            let newer = newer.as_ref().map(Digest::as_str);
            let answer = json!({ "approved": render::approval(&approval), "newer": newer });
            (StatusCode::CREATED, Json(answer)).into_response()
        }
        Err(NotApproved::Unknown(why)) => {
            problem(StatusCode::NOT_FOUND, why, "api/v1/services lists services and images")
        }
        Err(NotApproved::DoesNotWait(why, remedy)) => problem(StatusCode::CONFLICT, why, remedy),
        Err(NotApproved::NotWritten(why)) => cannot_now(why),
    }
}

/// Takes approvals back that were not used yet.
pub(super) async fn revoke(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    JsonBody(RevokeBody { image, service }): JsonBody<RevokeBody>,
) -> Response {
    let Some(target) = target(image, service) else { return no_target() };
    match routes.shared.steering.revoke(by, target).await {
        Ok(revoked) if revoked.is_empty() => {
            problem(StatusCode::NOT_FOUND, "there is no such approval", "api/v1/state lists the approvals")
        }
        Ok(revoked) => {
            show_at_once(&routes);
            let revoked: Vec<Value> = revoked.iter().map(render::approval).collect();
            Json(json!({ "revoked": revoked })).into_response()
        }
        Err(why) => cannot_now(why),
    }
}

fn target(image: Option<String>, service: Option<String>) -> Option<ApprovalTarget> {
    match (image, service) {
        (Some(image), None) if !image.trim().is_empty() => Some(ApprovalTarget::Image(image)),
        (None, Some(service)) if !service.trim().is_empty() => Some(ApprovalTarget::Service(service)),
        _ => None,
    }
}

fn no_target() -> Response {
    problem(
        StatusCode::BAD_REQUEST,
        "an approval is for one image or one service",
        r#"send {"image": "shop:live", ...} or {"service": "shop", ...}"#,
    )
}
