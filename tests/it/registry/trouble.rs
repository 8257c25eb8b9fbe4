//! Registries that do not behave: an error within bounds of time, requests and memory, and its cause.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use super::*;
use crate::support::http::Request;

/// Answers `first` until it was asked so often, then as a registry should.
async fn recovering(times: usize, first: impl Fn() -> Answer + Send + Sync + 'static) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |_: &Request| if asked.fetch_add(1, SeqCst) < times { first() } else { manifest() })
        .await
}

async fn error_of(server: &Server) -> RegistryError {
    registry().digest(&lookup(server, "app")).await.unwrap_err()
}

fn assert_nonsense(error: &RegistryError, word: &str) {
    assert!(matches!(error, RegistryError::Nonsense { .. }), "{error:?}");
    assert!(error.to_string().contains(word), "{error} should say {word}");
}

fn assert_unreachable(error: &RegistryError, word: &str) {
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(word), "{error} should say {word}");
}

#[tokio::test]
async fn a_passing_trouble_is_survived() {
    for status in [429, 500, 502, 503, 504] {
        let server = recovering(2, move || Answer::new(status, "")).await;
        assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)), "{status}");
        assert_eq!(server.take().len(), 3);
    }
    // An interrupted connection may have been closed while it was idle, so the count is not exact.
    let server = recovering(2, || Answer::Cut).await;
    assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)));
}

#[tokio::test]
async fn a_lasting_trouble_ends_after_three_attempts_with_its_cause() {
    let server = Server::start(|_| Answer::new(503, "")).await;
    let error = error_of(&server).await;
    assert!(matches!(error, RegistryError::Failing { .. }), "{error}");
    // It was reached, and HEAD is one request more.
    assert!(error.to_string().ends_with("cannot answer now: 503 Service Unavailable"), "{error}");
    assert_eq!(server.take().len(), 4);

    let server = Server::start(|_| Answer::Cut).await;
    assert_unreachable(&error_of(&server).await, "closed");

    let server = Server::start(|_| Answer::new(429, "")).await;
    let expected = RegistryError::RateLimited { registry: server.authority(), retry_after: None };
    assert_eq!(error_of(&server).await, expected);
    assert_eq!(server.take().len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for_and_a_long_one_is_not() {
    let server = recovering(1, || Answer::new(429, "").with("retry-after", "1")).await;
    let started = Instant::now();
    assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)));
    assert!(started.elapsed() >= Duration::from_secs(1));

    let server = Server::start(|_| Answer::new(429, "").with("retry-after", "3600")).await;
    let error = error_of(&server).await;
    let retry_after = Some(Duration::from_secs(3600));
    assert_eq!(error, RegistryError::RateLimited { registry: server.authority(), retry_after });
    assert!(error.to_string().contains("3600 s"), "{error}");
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn a_registry_that_limits_our_rate_is_left_alone_for_a_while() {
    let server = Server::start(|_| Answer::new(429, "").with("retry-after", "3600")).await;
    let registry = registry();
    for image in ["a", "b", "c"] {
        let error = registry.digest(&lookup(&server, image)).await.unwrap_err();
        assert!(matches!(error, RegistryError::RateLimited { retry_after: Some(_), .. }), "{error}");
    }
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn a_limit_on_what_counts_as_a_pull_does_not_end_what_does_not() {
    let server = Server::start(|request| match request.method.as_str() {
        "GET" => Answer::new(429, "").with("retry-after", "3600"),
        _ => known(),
    })
    .await;
    let registry = registry();
    for (image, requests) in [("a", 2), ("b", 1), ("c", 1)] {
        assert_eq!(registry.digest(&lookup(&server, image)).await, Ok(digest()));
        let error = registry.manifest(&lookup(&server, image), &digest()).await.unwrap_err();
        assert!(matches!(error, RegistryError::RateLimited { retry_after: Some(_), .. }), "{error}");
        assert_eq!(server.take().len(), requests, "{image}");
    }
}

#[tokio::test]
async fn a_limit_on_what_does_not_even_count_ends_everything() {
    let server = Server::start(|_| Answer::new(429, "").with("retry-after", "3600")).await;
    let registry = registry();
    registry.digest(&lookup(&server, "a")).await.unwrap_err();
    let error = registry.manifest(&lookup(&server, "a"), &digest()).await.unwrap_err();
    assert!(matches!(error, RegistryError::RateLimited { .. }), "{error}");
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn a_hanging_registry_costs_its_time_out_and_soon_nothing_at_all() {
    let server = Server::start_slow(|_| std::future::pending()).await;
    let registry = registry_with(LookupLimits { request: Duration::from_millis(300), ..limits() });
    let started = Instant::now();
    for image in ["a", "b", "c"] {
        let error = registry.digest(&lookup(&server, image)).await.unwrap_err();
        assert_unreachable(&error, "no answer within 300ms");
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    let asked = server.take().len();
    assert_eq!(asked, 9);
    assert_unreachable(&registry.digest(&lookup(&server, "d")).await.unwrap_err(), "no answer within 300ms");
    assert!(server.take().is_empty());
}

#[tokio::test]
async fn a_whole_look_up_is_bounded_in_time() {
    let server = Server::start(|_| Answer::new(503, "").with("retry-after", "10")).await;
    let registry = registry_with(LookupLimits { total: Duration::from_millis(300), ..limits() });
    let started = Instant::now();
    assert_unreachable(&registry.digest(&lookup(&server, "a")).await.unwrap_err(), "no answer within 300ms");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_with_a_hint_where_it_is_loopback() {
    let error = registry().digest(&lookup_of("127.0.0.1:1/app")).await.unwrap_err();
    assert_unreachable(&error, "Connection refused");
    assert_unreachable(&error, "inside a container");
    let error = registry().digest(&lookup_of("no-such-registry.invalid/app")).await.unwrap_err();
    assert_unreachable(&error, "no-such-registry.invalid cannot be reached");
}

#[tokio::test]
async fn a_web_page_is_nonsense() {
    let page = || Answer::new(200, "<html>log in</html>").with("content-type", "text/html; charset=utf-8");
    let server = Server::start(move |_| page()).await;
    assert_nonsense(&error_of(&server).await, "text/html");
    let server = Server::start(move |_| page().with("docker-content-digest", DIGEST)).await;
    assert_nonsense(&error_of(&server).await, "text/html");
    let server = Server::start(|_| Answer::json(200, "<html>log in</html>")).await;
    assert_nonsense(&error_of(&server).await, "not JSON");
}

#[tokio::test]
async fn a_wrong_digest_is_nonsense() {
    for header in ["sha256:abc", "<script>", "md5:0123456789abcdef0123456789abcdef"] {
        let server = Server::start(move |_| known_as(header)).await;
        assert_nonsense(&error_of(&server).await, "is not a digest");
        assert_eq!(server.take().len(), 1);
    }
    // A digest that the body does not have.
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(405, ""),
        _ => Answer::json(200, r#"{"manifests":[]}"#).with("docker-content-digest", DIGEST),
    })
    .await;
    assert_nonsense(&error_of(&server).await, "promises");
    let server = Server::start(|_| Answer::json(200, r#"{"manifests":[]}"#)).await;
    let error = registry().manifest(&lookup(&server, "app"), &digest()).await.unwrap_err();
    assert_nonsense(&error, "promises");
}

fn known_as(digest: &str) -> Answer {
    Answer::new(200, "").with("docker-content-digest", digest)
}

#[tokio::test]
async fn other_nonsense_is_named_too() {
    for (answer, word) in [
        (r"[1,2]", "not JSON"),
        (r"{}", "neither an image nor an index"),
        (r#"{"schemaVersion":1}"#, "schema version 1"),
    ] {
        let server = Server::start(move |_| Answer::json(200, answer)).await;
        assert_nonsense(&error_of(&server).await, word);
    }
    let server = Server::start(|_| Answer::new(418, "")).await;
    assert_nonsense(&error_of(&server).await, "418");
    let server = Server::start(|_| Answer::new(302, "")).await;
    assert_nonsense(&error_of(&server).await, "redirects to nowhere");
    let server = Server::start(|_| Answer::new(302, "").with("location", "ftp://x/")).await;
    assert_nonsense(&error_of(&server).await, "redirects to nowhere");
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(405, ""),
        _ => Answer::endless(200),
    })
    .await;
    let error = registry_with(LookupLimits { request: Duration::from_secs(20), ..limits() })
        .digest(&lookup(&server, "app"))
        .await
        .unwrap_err();
    assert_nonsense(&error, "longer than 4194304 bytes");
    // Of an error's page only the beginning is read.
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(405, ""),
        _ => Answer::endless(500),
    })
    .await;
    let error = error_of(&server).await;
    assert!(matches!(&error, RegistryError::Failing { cause, .. } if cause.contains("500")), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(405, ""),
        _ => Answer::broken_off(200, r#"{"manifests":["#),
    })
    .await;
    let error = error_of(&server).await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert_eq!(server.take().len(), 1 + 3);
}

#[tokio::test]
async fn ten_megabytes_of_headers_are_not_read() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
    bytes.resize(bytes.len() + 10 * 1024 * 1024, b'a');
    bytes.extend(b"\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start_raw(bytes).await;
    assert_nonsense(&error_of(&server).await, "not HTTP");
}

#[tokio::test]
async fn what_is_no_http_is_nonsense_and_may_be_tls_where_that_is_spoken_too() {
    let server = Server::start_raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec()).await;
    let plain = HttpRegistry::new(Settings {
        limits: limits(),
        certificates: "/nonexistent".into(),
        docker_hub: server.url(""),
        proxies: Proxies::default(),
    });
    assert_nonsense(&plain.digest(&lookup_of("app")).await.unwrap_err(), "not HTTP");
    assert_unreachable(&error_of(&server).await, ", and without TLS: its answer is not HTTP");
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let server = Server::start(|request| Answer::new(307, "").with("location", &request.path)).await;
    assert_nonsense(&error_of(&server).await, "redirects more than 10 times");
    assert_eq!(server.take().len(), 2 * 11);
}

#[tokio::test]
async fn a_challenge_loop_ends() {
    // Each refusal names another service: there is always something new to try.
    let count = AtomicUsize::new(0);
    let tokens = Server::start(|_| Answer::json(200, r#"{"token":"t"}"#)).await;
    let realm = tokens.url("/");
    let server = Server::start(move |_| {
        let number = count.fetch_add(1, SeqCst);
        let challenge = format!(r#"Bearer realm="{realm}",service="{number}""#);
        Answer::new(401, "").with("www-authenticate", &challenge)
    })
    .await;
    assert!(matches!(error_of(&server).await, RegistryError::Refused { .. }));
    assert_eq!(server.take().len(), 2);
}
