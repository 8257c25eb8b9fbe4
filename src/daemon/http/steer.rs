//! The routes that steer.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{JsonBody, cannot_now, passing, problem};
use super::shared::{Operator, Routes, show_at_once};
use crate::config::Filter;
use crate::context::RunScope;
use crate::daemon::board::render::{self, whole_run};
use crate::daemon::steering::Released;
use crate::ledger::release::ReleaseTarget;

/// The longest that a request waits for the end of a run, in seconds: proxies give up after a minute.
pub(super) const MAX_WAIT: u64 = 55;

/// The error where a run waits so long for another one that its request is answered first.
const NOT_BEGUN: &str = "the run has not begun yet";

/// How long a pause lasts where its user does not say, and at most: a pause that is forgotten keeps fixes away.
const PAUSE: SignedDuration = SignedDuration::from_hours(24);
pub(super) const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(31 * 24);

/// What `POST run` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunBody {
    pub(super) images: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) filters: Vec<String>,
    /// Whether windows and minimum ages do not count.
    pub(super) now: bool,
    /// Seconds.
    pub(super) wait: u64,
}

pub(super) async fn begin_run(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    JsonBody(RunBody { images, services, filters, now, wait: seconds }): JsonBody<RunBody>,
) -> Response {
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
    let scope = RunScope { services, images, filters, now, ..RunScope::default() };
    run_and_wait(&routes, by, scope, seconds, "runs/").await
}

/// Starts a run and waits for so many seconds, at most [`MAX_WAIT`], for its end. No request takes longer than that, also where
/// the run does not begin, as with hooks runs follow one another. `runs` is the path of all runs as seen from the request's.
pub(super) async fn run_and_wait(
    routes: &Routes,
    by: String,
    scope: RunScope,
    seconds: u64,
    runs: &str,
) -> Response {
    let mut changes = routes.shared.board.changes();
    let begun = Instant::now();
    let id = match timeout(Duration::from_secs(MAX_WAIT), routes.shared.steering.run(by, scope)).await {
        Ok(Ok(id)) => id,
        Ok(Err(why)) => return cannot_now(why),
        Err(_) => {
            let remedy =
                "it begins after the run under way; ask again to learn its number: that starts no second run";
            return passing(StatusCode::SERVICE_UNAVAILABLE, NOT_BEGUN, remedy, 1);
        }
    };
    let is_done = |routes: &Routes| {
        let board = routes.shared.board.look();
        board.run(id).filter(|run| run.ended.is_some()).map(|run| (run.failed, whole_run(run)))
    };
    let wait = async {
        loop {
            if let Some(done) = is_done(routes) {
                return done;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    match timeout_at(begun + Duration::from_secs(seconds.min(MAX_WAIT)), wait).await {
        Ok((true, run)) => (StatusCode::CONFLICT, Json(run)).into_response(),
        Ok((false, run)) => Json(run).into_response(),
        Err(_) => {
            let run = routes.shared.board.look().run(id).map_or(Value::Null, whole_run);
            let mut response = (StatusCode::ACCEPTED, Json(run)).into_response();
            if let Ok(location) = HeaderValue::from_str(&format!("{runs}{id}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
    }
}

/// What `POST release` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReleaseBody {
    service: Option<String>,
    image: Option<String>,
    all: bool,
}

pub(super) async fn release(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    JsonBody(body): JsonBody<ReleaseBody>,
) -> Response {
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
            show_at_once(&routes);
            Json(json!({ "released": released, "words": words })).into_response()
        }
        Err(why) => cannot_now(why),
    }
}

/// What `POST pause` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PauseBody {
    pub(super) why: String,
    #[serde(rename = "for")]
    pub(super) lasts: Option<String>,
}

/// Lets no update begin.
pub(super) async fn pause(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    JsonBody(PauseBody { why, lasts }): JsonBody<PauseBody>,
) -> Response {
    let Some(lasts) = lasts.as_deref().map_or(Some(PAUSE), pause_of) else {
        let error = format!("a pause cannot last {:?}", lasts.unwrap_or_default());
        let remedy =
            r#"send a time of at most 31 days, as {"for": "90m"}, {"for": "2h 30m"} or {"for": "7d"}"#;
        return problem(StatusCode::BAD_REQUEST, error, remedy);
    };
    match routes.shared.steering.pause(by, why, lasts).await {
        Ok(pause) => {
            show_at_once(&routes);
            Json(json!({ "paused": render::pause(&pause) })).into_response()
        }
        Err(why) => cannot_now(why),
    }
}

/// Lets updates begin again.
pub(super) async fn resume(
    State(routes): State<Routes>,
    Extension(Operator(by)): Extension<Operator>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Response {
    if !fields.is_empty() {
        let error = "there is nothing to choose at the end of a pause";
        return problem(StatusCode::BAD_REQUEST, error, "send no body, or {}");
    }
    match routes.shared.steering.resume(by).await {
        Ok(Some(_)) => {
            show_at_once(&routes);
            Json(json!({ "resumed": true })).into_response()
        }
        Ok(None) => problem(StatusCode::NOT_FOUND, "updates are not paused", "there is nothing to do"),
        Err(why) => cannot_now(why),
    }
}

/// How long a pause lasts, as a user wrote it: `90m`, `2h 30m`, `7d`, or seconds. `None`: no time, or no time that a pause may
/// last.
pub(super) fn pause_of(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(SignedDuration::from_secs);
    let written = || text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
    seconds.or_else(written).filter(|lasts| (SignedDuration::from_secs(1)..=MAX_PAUSE).contains(lasts))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tower_service::Service as _;

    use super::*;
    use crate::config::Config;
    use crate::daemon::board::LiveBoard;
    use crate::daemon::http::{Shared, routes};
    use crate::daemon::steering::Steering;
    use crate::daemon::steering::approving::{ApprovalRequest, ApprovalTarget, Approved, NotApproved};
    use crate::gate::approval::Approval;
    use crate::heartbeat::Heartbeat;
    use crate::ledger::Ledger;
    use crate::ledger::steered::UserPause;
    use crate::meters::Meters;
    use crate::model::row::Row;

    type Steered<T> = BoxFuture<'static, Result<T, String>>;

    /// Another run never ends, as with a hook that takes hours.
    struct AnotherRun;

    impl Steering for AnotherRun {
        fn run(&self, _: String, _: RunScope) -> Steered<u64> {
            pending().boxed()
        }
        fn look(&self, _: String, _: RunScope) {}
        fn release(&self, _: String, _: ReleaseTarget) -> Steered<Released> {
            pending().boxed()
        }
        fn pause(&self, _: String, _: String, _: SignedDuration) -> Steered<UserPause> {
            pending().boxed()
        }
        fn resume(&self, _: String) -> Steered<Option<UserPause>> {
            pending().boxed()
        }
        fn plan(&self, _: RunScope) -> Steered<Vec<Row>> {
            pending().boxed()
        }
        fn approve(&self, _: ApprovalRequest) -> BoxFuture<'static, Result<Approved, NotApproved>> {
            pending().boxed()
        }
        fn revoke(&self, _: String, _: ApprovalTarget) -> Steered<Vec<Approval>> {
            pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_no_minute_for_a_run_that_does_not_begin() {
        let shared = Shared {
            board: LiveBoard::default(),
            config: Arc::new(Config::load([]).unwrap().config),
            ledger: Arc::new(Ledger::new("gantry")),
            heartbeat: Heartbeat::new(Instant::now()),
            meters: Meters::default(),
            steering: Arc::new(AnotherRun),
        };
        let mut router = routes::router_of_socket(shared, "docker-exec");
        let asked = Instant::now();
        let request = Request::post("/api/v1/run").body(Body::from("{}")).unwrap();
        let answer = router.call(request).await.unwrap();
        assert_eq!(asked.elapsed().as_secs(), MAX_WAIT);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        let body = to_bytes(answer.into_body(), 1 << 10).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "the run has not begun yet", "what the command line looks for");
    }

    #[test]
    fn pauses_are_written_in_many_ways() {
        for (text, seconds) in [
            ("90", 90),
            ("90m", 5_400),
            ("2h", 7_200),
            ("2h 30m", 9_000),
            ("1d", 86_400),
            ("7 days", 604_800),
            ("PT15M", 900),
            (" 31d ", 2_678_400),
        ] {
            assert_eq!(pause_of(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "0", "0s", "-2h", "32d", "1 month", "soon", "2h ago", "1e9", "9999999999999999999"]
        {
            assert_eq!(pause_of(wrong), None, "{wrong}");
        }
    }
}
