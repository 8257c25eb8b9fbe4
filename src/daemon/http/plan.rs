//! What a run would do now.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::answer::{cannot_now, passing, problem};
use super::shared::Routes;
use crate::config::Filter;
use crate::context::RunScope;
use crate::daemon::board::render;

/// How long a plan waits for another one.
const TURN: Duration = Duration::from_secs(20);

/// How long a plan may take: proxies give up after a minute.
const LIMIT: Duration = Duration::from_secs(55);

/// Asks the registries what a run would do now. Nothing is written.
pub(super) async fn plan(State(routes): State<Routes>, uri: Uri) -> Response {
    let scope = match scope_of(&uri) {
        Ok(scope) => scope,
        Err(error) => {
            let remedy = "api/v1/plan takes image=, service= and filter=, each as often as you like";
            return problem(StatusCode::BAD_REQUEST, error, remedy);
        }
    };
    let is_narrowed = !scope.is_everything();
    let Ok(Ok(_turn)) = timeout(TURN, routes.plans.acquire()).await else {
        let remedy = "ask again in a while";
        return passing(StatusCode::TOO_MANY_REQUESTS, "another plan is being made", remedy, 20);
    };
    match timeout(LIMIT, routes.shared.steering.plan(scope)).await {
        Ok(Ok(rows)) if rows.is_empty() && is_narrowed => {
            let remedy = "api/v1/services lists services and images";
            problem(StatusCode::NOT_FOUND, "no service that Gantry updates matches", remedy)
        }
        Ok(Ok(rows)) => Json(render::plan(&rows)).into_response(),
        Ok(Err(why)) => cannot_now(why),
        Err(_) => {
            let remedy = "ask for a part of the services (image=, service=, filter=)";
            let error = "the engine and the registries took too long";
            passing(StatusCode::SERVICE_UNAVAILABLE, error, remedy, 60)
        }
    }
}

/// The part of the services that a query string asks for.
pub(super) fn scope_of(uri: &Uri) -> Result<RunScope, String> {
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| error.to_string())?;
    let mut scope = RunScope::default();
    for (key, value) in pairs {
        match &*key {
            "image" => scope.images.push(value),
            "service" => scope.services.push(value),
            "filter" => scope
                .filters
                .push(Filter::parse(&value).ok_or_else(|| format!("{value} is not of the form key=value"))?),
            _ => return Err(format!("{key:?} is not known")),
        }
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_narrows_the_plan() {
        let scope_of = |query: &str| scope_of(&format!("/plan?{query}").parse().unwrap());
        let scope = scope_of("image=ghost%3A6&service=web&service=shop&filter=label%3Da%3Db").unwrap();
        assert_eq!(scope.to_string(), " of web, shop, ghost:6, label=a=b");
        assert!(scope_of("").unwrap().is_everything());
        assert_eq!(scope_of("filter=nonsense"), Err("nonsense is not of the form key=value".to_owned()));
        assert_eq!(scope_of("images=x"), Err("\"images\" is not known".to_owned()));
    }
}
