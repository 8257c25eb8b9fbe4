//! What the engine, or what stands before it, means by the status and the text of an answer. Pure.
//!
//! The texts are swarmkit's and moby's; the live tests hold them against a real engine.

use crate::swarm::SwarmError;
use crate::words::{causes, without_markup};

/// The longest text of the engine that is repeated, in characters. Some texts repeat a value of the request.
const LONGEST: usize = 1000;

/// What swarmkit's answers say that refuse a request for what it is: the same request would be refused again. The engine
/// passes some of them on with status 500.
const REFUSALS: [&str; 10] = [
    "code = InvalidArgument",
    "code = FailedPrecondition",
    "code = OutOfRange",
    "code = ResourceExhausted",
    "code = Unimplemented",
    "code = PermissionDenied",
    "code = Unauthenticated",
    // A specification, config or secret that is larger than an entry of the managers' log may be.
    "raft message is too large",
    "message larger than max",
    "request body too large",
];

/// What an error answer means. `request` is its method and route.
pub(super) fn meaning(status: u16, message: &str, request: &str) -> SwarmError {
    // A socket proxy answers in pages of its own.
    let words: String = without_markup(message.trim()).chars().take(LONGEST).collect();
    match status {
        // The engine answers 500, as it does to everything that it has no word for.
        500 if words.contains("out of sequence") => SwarmError::Conflict,
        500 if REFUSALS.iter().any(|refusal| words.contains(refusal)) => SwarmError::Refused(words),
        404 => SwarmError::NotFound(words),
        // swarmkit's words for services, and for everything else.
        409 if words.contains("AlreadyExists") => SwarmError::NameTaken(words),
        401 | 403 | 405 => SwarmError::Forbidden(forbidden(status, &words, request)),
        400 | 406 | 409 | 411..=417 | 501 => SwarmError::Refused(words),
        503 if is_definite(&words) => SwarmError::NotManager(words),
        status => SwarmError::Unavailable(format!("{words} (status {status} to {request})")),
    }
}

/// Whether an engine that cannot act as a manager will not be able to by itself. One that is being started, or has no
/// quorum, says that it is no manager either.
fn is_definite(words: &str) -> bool {
    let is_for_now = words.contains("Manager is being prepared") || words.contains("trouble connecting");
    let is_for_good =
        ["not a swarm manager", "not part of a swarm", "needs to be unlocked", "certificates have expired"];
    !is_for_now && is_for_good.iter().any(|said| words.contains(said))
}

/// Which request was refused, by what, and what there is to do.
fn forbidden(status: u16, words: &str, request: &str) -> String {
    let code = http::StatusCode::from_u16(status).ok();
    let reason = code.and_then(|code| code.canonical_reason()).unwrap_or_default();
    if words.contains("authorization denied by plugin") {
        return format!("an authorization plugin of the engine refuses {request}: {words}");
    }
    let is_news = !words.is_empty() && !format!("{status} {reason}").contains(words);
    let said = if is_news { format!(": {words}") } else { String::new() };
    format!(
        "a proxy in front of the engine refuses {request} ({status} {reason}{said}); let it through, as \
         docs/socket-proxy.md shows"
    )
}

/// A request as rules of proxies name it: without its query, and with ID or NAME for what it is about.
pub(super) fn route(method: &http::Method, path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut segments: Vec<&str> = path.split('/').collect();
    if let [_, "images", .., _] = segments[..] {
        let end = if path.ends_with("/json") { "/json" } else { "" };
        return format!("{method} /images/NAME{end}");
    }
    if let [_, _, id, ..] = &mut segments[..]
        && !["create", "json"].contains(id)
    {
        *id = "ID";
    }
    format!("{method} {}", segments.join("/"))
}

/// Why a request was not answered: what the library wraps around the cause is of no use to a reader.
pub(super) fn silence(error: &(dyn std::error::Error + 'static)) -> String {
    const WRAPPERS: [&str; 3] = ["Error in the hyper legacy client", "client error (", "tcp connect error"];
    let mut causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    let mut told: Vec<&String> = Vec::new();
    for (index, cause) in causes.iter().enumerate() {
        let is_repeated =
            causes[index + 1..].iter().any(|inner| cause.contains(inner.as_str()) && cause != inner)
                && cause.contains(": ");
        let is_wrapper = WRAPPERS.iter().any(|wrapper| cause.starts_with(wrapper));
        if !is_wrapper && !is_repeated && !told.iter().any(|outer| outer.contains(cause.as_str())) {
            told.push(cause);
        }
    }
    if told.is_empty() {
        return causes.swap_remove(0);
    }
    told.into_iter().map(String::as_str).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_refusal_of_the_request_is_no_outage() {
        let is_refused = |words: &str| matches!(meaning(500, words, "POST /x"), SwarmError::Refused(said) if said == words);
        for words in [
            "rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided",
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5 vs. 4)",
            "rpc error: code = FailedPrecondition desc = x",
            "rpc error: code = Unknown desc = raft: raft message is too large and can't be sent",
            "rpc error: code = Unimplemented desc = x",
        ] {
            assert!(is_refused(words), "{words}");
        }
        for words in [
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            "rpc error: code = Unavailable desc = transport is closing",
            "rpc error: code = Canceled desc = context canceled",
            "rpc error: code = Unknown desc = raft: no leader",
            "rpc error: code = Unknown desc = The swarm does not have a leader.",
            "something else",
        ] {
            let meant = meaning(500, words, "POST /x");
            assert!(meant.is_transient() && meant.to_string().contains(words), "{words}: {meant}");
        }
        assert_eq!(
            meaning(500, "rpc error: code = Unknown desc = update out of sequence", ""),
            SwarmError::Conflict
        );
        assert!(matches!(meaning(413, "Request Entity Too Large", ""), SwarmError::Refused(_)));
    }

    #[test]
    fn an_engine_that_is_no_manager_is_told_from_one_that_is_about_to_be() {
        for (words, is_for_good) in [
            (
                "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state.",
                true,
            ),
            (
                "This node is not a swarm manager. Use \"docker swarm init\" to connect this node to swarm.",
                true,
            ),
            ("This node is not part of a swarm", true),
            ("Swarm is encrypted and needs to be unlocked before it can be used.", true),
            ("Swarm certificates have expired. To replace them, leave the swarm and join again.", true),
            (
                "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.",
                false,
            ),
            ("rpc error: code = Unavailable desc = connection error", false),
        ] {
            let meant = meaning(503, words, "GET /nodes");
            assert_eq!(matches!(meant, SwarmError::NotManager(_)), is_for_good, "{words}");
            assert!(meant.to_string().contains(words), "{meant}");
        }
    }

    #[test]
    fn a_request_that_a_proxy_refuses_is_named_and_no_html_is_shown() {
        let page = "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n";
        assert_eq!(
            meaning(403, page, "GET /configs").to_string(),
            "refused before it reached the engine: a proxy in front of the engine refuses GET /configs (403 Forbidden); let \
             it through, as docs/socket-proxy.md shows"
        );
        let methods = meaning(405, "Method Not Allowed", "POST /services/ID/update").to_string();
        assert!(
            methods.contains("refuses POST /services/ID/update (405 Method Not Allowed); let it"),
            "{methods}"
        );
        let plugin = meaning(403, "authorization denied by plugin opa: no", "GET /info").to_string();
        assert!(
            plugin.contains("an authorization plugin of the engine refuses GET /info: authorization"),
            "{plugin}"
        );
        let bad_gateway =
            meaning(502, "<!DOCTYPE html><html><h1>502 Bad Gateway</h1></html>", "GET /info").to_string();
        assert!(bad_gateway.contains("502 Bad Gateway") && !bad_gateway.contains('<'), "{bad_gateway}");
        let template = meaning(400, "invalid template: <no value> at 1 < 2", "GET /info").to_string();
        assert!(template.contains("<no value> at 1 < 2"), "only pages have tags: {template}");
    }

    #[test]
    fn routes_are_those_of_rules() {
        for (method, path, expected) in [
            (Method::GET, "/services?status=true&filters=%7B%7D", "GET /services"),
            (Method::POST, "/services/create", "POST /services/create"),
            (Method::POST, "/services/abc/update?version=3", "POST /services/ID/update"),
            (Method::DELETE, "/services/gantry%2Dimage%2Dremover", "DELETE /services/ID"),
            (Method::GET, "/tasks/abc/logs?stdout=true", "GET /tasks/ID/logs"),
            (Method::GET, "/containers/json?all=true", "GET /containers/json"),
            (Method::GET, "/containers/abc/json", "GET /containers/ID/json"),
            (Method::POST, "/configs/create", "POST /configs/create"),
            (Method::GET, "/networks/web?scope=swarm", "GET /networks/ID"),
            (Method::GET, "/images/registry.test/a/b:1/json", "GET /images/NAME/json"),
            (Method::DELETE, "/images/a@sha256:00", "DELETE /images/NAME"),
            (Method::GET, "/info", "GET /info"),
        ] {
            assert_eq!(route(&method, path), expected);
        }
    }
}
