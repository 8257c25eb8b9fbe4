//! The routes of page and API, as `docs/api.md` has them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::access::{Access, Tokens, is_cross_site, is_known_host};
use super::answer::{MAX_BODY, passing, problem};
use super::shared::{Operator, Routes, Shared, address_of, around};
use super::{approve, events, hooks, page, plan, steer, usage};
use crate::config::Listener;
use crate::daemon::board::metrics::Edges;
use crate::daemon::board::render::{in_short, whole_run};
use crate::daemon::health::MAX_AGE;
use crate::daemon::webhook::desk::Desk;

/// How many streams of events there are at most.
const MAX_STREAMS: usize = 128;

/// The router of page and API.
pub(super) fn router(listener: Listener, shared: Shared, desk: Arc<Desk>) -> Router {
    router_of(Routes {
        shared,
        tokens: Arc::new(Tokens::new(&listener)),
        is_local: listener.address.ip().is_loopback(),
        owner: None,
        hosts: Arc::new(listener.hosts),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        plans: Arc::new(Semaphore::new(1)),
        desk,
    })
}

/// The same routes where only the `owner` can reach them.
pub(super) fn router_of_socket(shared: Shared, owner: &'static str) -> Router {
    router_of(Routes {
        shared,
        tokens: Arc::new(Tokens::none()),
        is_local: false,
        owner: Some(owner),
        hosts: Arc::default(),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        plans: Arc::new(Semaphore::new(1)),
        desk: Arc::default(),
    })
}

fn router_of(routes: Routes) -> Router {
    let can_steer = routes.owner.is_some() || routes.tokens.can_steer();
    let can_hook = routes.tokens.can_hook();
    let read = Router::new()
        .route("/api/v1/state", get(state))
        .route("/api/v1/events", get(stream))
        .route("/api/v1/services", get(services))
        .route("/api/v1/services/{name}", get(service))
        .route("/api/v1/runs", get(runs))
        .route("/api/v1/runs/{id}", get(run))
        .route("/api/v1/quarantine", get(quarantine))
        .route("/api/v1/plan", get(plan::plan))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(routes.clone(), must_read));
    let steering = Router::new()
        .route("/api/v1/run", post(steer::begin_run))
        .route("/api/v1/release", post(steer::release))
        .route("/api/v1/pause", post(steer::pause))
        .route("/api/v1/resume", post(steer::resume))
        .route("/api/v1/approve", post(approve::approve))
        .route("/api/v1/revoke", post(approve::revoke))
        .layer(from_fn_with_state(routes.clone(), must_steer));
    // Each has a proof of its own.
    let webhooks = Router::new()
        .route("/hooks/run-gantry", post(hooks::run_gantry))
        .route("/hooks/{kind}", post(hooks::event));
    let free = Router::new()
        .route("/", get(index))
        .route("/page.css", get(async |headers: HeaderMap| page::style(&headers)))
        .route("/page.js", get(async |headers: HeaderMap| page::script(&headers)))
        .route("/healthz", get(healthz))
        .route("/api/v1/openapi.json", get(openapi));
    let all = free.merge(read);
    let all = if can_steer { all.merge(steering) } else { all };
    let all = if can_hook { all.merge(webhooks) } else { all };
    all.fallback(async || {
        problem(StatusCode::NOT_FOUND, "there is no such route", "docs/api.md lists the routes")
    })
    .layer(from_fn_with_state(routes.clone(), count))
    .layer(DefaultBodyLimit::max(MAX_BODY))
    .layer(from_fn_with_state(routes.clone(), guard))
    .with_state(routes)
}

/// What is true of all requests: who may ask at all, and the headers of each answer.
async fn guard(State(routes): State<Routes>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().host());
    // Senders of webhooks prove who they are, and no browser does so for the page of another site.
    let is_hook = routes.tokens.can_hook() && request.uri().path().starts_with("/hooks/");
    let is_open = routes.is_local || routes.tokens.is_open();
    let is_exposed = routes.owner.is_none() && !is_hook && is_open;
    let mut response = if is_exposed && !is_known_host(host, &routes.hosts) {
        let remedy = "GANTRY_HTTP_HOSTS lists the names by which the page may be called";
        problem(StatusCode::MISDIRECTED_REQUEST, "the page is not known by this name", remedy)
    } else if !is_hook && is_cross_site(request.method(), request.headers()) {
        let remedy = "send the request from the page itself, or from a program that is no browser";
        problem(StatusCode::FORBIDDEN, "the request comes from the page of another site", remedy)
    } else {
        next.run(request).await
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "this route does not know the method",
            "the Allow header lists those that it knows",
        );
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    for (name, value) in [
        ("content-security-policy", page::POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Counts requests by route and class of status code.
async fn count(State(routes): State<Routes>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    routes.shared.meters.requests.answered(route.as_deref(), response.status().as_u16());
    response
}

fn access(routes: &Routes, request: &Request) -> impl Future<Output = Access> + use<> {
    let peer = address_of(request);
    let (tokens, headers) = (routes.tokens.clone(), request.headers().clone());
    let owner = routes.owner;
    async move {
        match owner {
            Some(owner) => Access::Steer(owner.to_owned()),
            None => tokens.access(&headers, &peer).await,
        }
    }
}

fn refused() -> Response {
    let remedy = "send the header `Authorization: Bearer TOKEN` with the token of GANTRY_HTTP_READ_TOKEN or \
                  GANTRY_HTTP_STEER_TOKEN";
    let mut response = problem(StatusCode::UNAUTHORIZED, "the token is missing or wrong", remedy);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn must_read(State(routes): State<Routes>, mut request: Request, next: Next) -> Response {
    match access(&routes, &request).await {
        Access::Refused => refused(),
        access => {
            request.extensions_mut().insert(MaySteer(matches!(access, Access::Steer(_))));
            next.run(request).await
        }
    }
}

async fn must_steer(State(routes): State<Routes>, mut request: Request, next: Next) -> Response {
    match access(&routes, &request).await {
        Access::Steer(name) => {
            let from = address_of(&request);
            let from = if from.is_empty() { "the socket" } else { &*from };
            tracing::info!(by = name, from, "a user steers: {} {}", request.method(), request.uri().path());
            request.extensions_mut().insert(Operator(name));
            next.run(request).await
        }
        Access::Read if request.headers().contains_key(header::AUTHORIZATION) => {
            let remedy = "steering needs the token of GANTRY_HTTP_STEER_TOKEN";
            problem(StatusCode::FORBIDDEN, "this token may only read", remedy)
        }
        Access::Read | Access::Refused => refused(),
    }
}

/// Whether a reader may steer as well.
#[derive(Clone, Copy)]
struct MaySteer(bool);

async fn index(State(routes): State<Routes>, headers: HeaderMap) -> Response {
    let state = routes.tokens.is_open().then(|| {
        let around = around(&routes.shared);
        routes.shared.board.look().state(&around, false, Timestamp::now())
    });
    page::index(state.as_ref(), &headers)
}

async fn healthz(State(routes): State<Routes>) -> Response {
    let heartbeat = &routes.shared.heartbeat;
    let age = heartbeat.age(Instant::now());
    match heartbeat.illness() {
        Some(illness) => passing(StatusCode::SERVICE_UNAVAILABLE, illness, "the log tells more", 15),
        None if age > MAX_AGE => {
            let words = format!("no sign of life from the loop for {} s", age.as_secs());
            passing(StatusCode::SERVICE_UNAVAILABLE, words, "restart Gantry; the log tells more", 15)
        }
        None if !heartbeat.has_seen_engine() => {
            let words = format!("the engine has not answered yet ({})", routes.shared.config.engine);
            let remedy = "DOCKER_HOST names the engine; the log tells more";
            passing(StatusCode::SERVICE_UNAVAILABLE, words, remedy, 15)
        }
        None => Json(json!({ "healthy": true, "last_sign_of_life_seconds": age.as_secs() })).into_response(),
    }
}

async fn openapi() -> Response {
    const DESCRIPTION: &str = include_str!("openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

async fn state(State(routes): State<Routes>, Extension(may): Extension<MaySteer>) -> Json<Value> {
    let around = around(&routes.shared);
    Json(routes.shared.board.look().state(&around, may.0, Timestamp::now()))
}

async fn stream(
    State(routes): State<Routes>,
    Extension(may): Extension<MaySteer>,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = routes.streams.clone().try_acquire_owned() else {
        let remedy = "close another page, or ask for api/v1/state now and then";
        let error = "there are too many streams of events";
        return passing(StatusCode::SERVICE_UNAVAILABLE, error, remedy, 15);
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let stream = events::stream_of(routes.shared.clone(), may.0, last, permit);
    let mut response = Body::from_stream(stream).into_response();
    for (name, value) in [("content-type", "text/event-stream"), ("x-accel-buffering", "no")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn services(State(routes): State<Routes>) -> Json<Value> {
    Json(json!({ "services": routes.shared.board.look().all_services() }))
}

async fn service(State(routes): State<Routes>, Path(name): Path<String>) -> Response {
    let around = around(&routes.shared);
    if let Some(service) = routes.shared.board.look().explained(&name, &around) {
        return Json(service).into_response();
    }
    let error = format!("Gantry knows no service {name:?}");
    let remedy = "api/v1/services lists them; GANTRY_SERVICES_FILTERS selects them";
    problem(StatusCode::NOT_FOUND, error, remedy)
}

async fn runs(State(routes): State<Routes>) -> Json<Value> {
    let board = routes.shared.board.look();
    let under_way = board.runs.values().rev().map(in_short);
    let runs: Vec<Value> = under_way.chain(board.history.iter().map(|run| in_short(run))).collect();
    Json(json!({ "runs": runs }))
}

async fn run(State(routes): State<Routes>, Path(id): Path<String>) -> Response {
    let found = id.parse().ok().and_then(|id| routes.shared.board.look().run(id).map(whole_run));
    if let Some(run) = found {
        return Json(run).into_response();
    }
    let remedy = "api/v1/runs lists the runs that are remembered";
    problem(StatusCode::NOT_FOUND, "there is no such run, or it is forgotten", remedy)
}

async fn quarantine(State(routes): State<Routes>) -> Json<Value> {
    let around = around(&routes.shared);
    let parts = routes.shared.board.look().parts(&around);
    let entries = parts.into_iter().find(|(key, _)| *key == "quarantine").map(|(_, entries)| entries);
    Json(json!({ "quarantine": entries }))
}

async fn metrics(State(routes): State<Routes>) -> Response {
    let around = around(&routes.shared);
    let edges = Edges {
        interval: routes.shared.config.interval.map(|interval| interval.as_secs_f64()),
        usage: usage::own(),
        streams: MAX_STREAMS - routes.streams.available_permits(),
        names_services: routes.shared.config.metrics_services,
        meters: routes.shared.meters.clone(),
    };
    let text = routes.shared.board.look().metrics(&around, &edges);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
