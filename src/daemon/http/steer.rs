//! The routes that steer.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::{body, problem};
use super::shared::{Operator, Routes};
use crate::config::Filter;
use crate::context::RunScope;
use crate::daemon::board::render::whole_run;
use crate::daemon::steering::Released;
use crate::ledger::release::ReleaseTarget;

/// The longest that a request waits for the end of a run, in seconds: proxies give up after a minute.
const MAX_WAIT: u64 = 55;

/// What `POST run` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunBody {
    images: Vec<String>,
    services: Vec<String>,
    filters: Vec<String>,
    /// Seconds.
    wait: u64,
}

pub(super) async fn begin_run(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    request: Request,
) -> Response {
    let RunBody { images, services, filters, wait: seconds } = match body(request.into_body()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let wrong: Vec<&str> =
        filters.iter().map(String::as_str).filter(|filter| Filter::parse(filter).is_none()).collect();
    if !wrong.is_empty() {
        let error = format!("{} is not of the form key=value", wrong.join(", "));
        return problem(StatusCode::BAD_REQUEST, error, "filters read as those of GANTRY_SERVICES_FILTERS");
    }
    let filters = filters.iter().filter_map(|filter| Filter::parse(filter)).collect();
    let unknown = {
        let board = routes.shared.board.look();
        let has_image = |image: &String| {
            let scope = RunScope { images: vec![image.clone()], ..RunScope::default() };
            board.services.values().any(|shown| scope.has_image(&shown.image))
        };
        let services = services.iter().filter(|name| !board.services.contains_key(*name));
        let unknown: Vec<String> =
            services.chain(images.iter().filter(|image| !has_image(image))).cloned().collect();
        if board.services.is_empty() { Vec::new() } else { unknown }
    };
    if !unknown.is_empty() {
        let error = format!("no service that Gantry updates matches {}", unknown.join(", "));
        return problem(StatusCode::NOT_FOUND, error, "api/v1/services lists services and images");
    }
    let mut changes = routes.shared.board.changes();
    let scope = RunScope { services, images, filters };
    let id = match routes.shared.steering.run(by, scope).await {
        Ok(id) => id,
        Err(why) => return problem(StatusCode::SERVICE_UNAVAILABLE, why, "try again later"),
    };
    let is_done = |routes: &Routes| {
        let board = routes.shared.board.look();
        board.run(id).filter(|run| run.ended.is_some()).map(|run| (run.failed, whole_run(run)))
    };
    let wait = async {
        loop {
            if let Some(done) = is_done(&routes) {
                return done;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    match timeout(Duration::from_secs(seconds.min(MAX_WAIT)), wait).await {
        Ok((true, run)) => (StatusCode::CONFLICT, Json(run)).into_response(),
        Ok((false, run)) => Json(run).into_response(),
        Err(_) => {
            let run = routes.shared.board.look().run(id).map_or(Value::Null, whole_run);
            let mut response = (StatusCode::ACCEPTED, Json(run)).into_response();
            if let Ok(location) = HeaderValue::from_str(&format!("runs/{id}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
    }
}

/// What `POST release` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReleaseBody {
    service: Option<String>,
    image: Option<String>,
    all: bool,
}

pub(super) async fn release(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    request: Request,
) -> Response {
    let body: ReleaseBody = match body(request.into_body()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let target = match body {
        ReleaseBody { service: Some(name), image: None, all: false }
        | ReleaseBody { service: None, image: Some(name), all: false }
            if !name.trim().is_empty() =>
        {
            ReleaseTarget::Named(name)
        }
        ReleaseBody { service: None, image: None, all: true } => ReleaseTarget::All,
        _ => {
            let remedy = r#"send {"service": NAME}, {"image": NAME} or {"all": true}"#;
            return problem(StatusCode::BAD_REQUEST, "it must be said what is to be released", remedy);
        }
    };
    match routes.shared.steering.release(by, target).await {
        Ok(Released { released, words }) if released.is_empty() => {
            problem(StatusCode::NOT_FOUND, words, "api/v1/quarantine lists what there is to release")
        }
        Ok(Released { released, words }) => {
            // Open pages show the quarantine without it.
            routes.shared.board.change(|board, _| board.revision += 1);
            Json(json!({ "released": released, "words": words })).into_response()
        }
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, why, "try again later; the log tells more"),
    }
}
