//! What Docker Hub still allows, asked of a server that speaks as it does.

use super::*;

/// Docker Hub: a token server that gives `member` and anybody without a name a token, and a registry that
/// tells each how much is left.
async fn hub() -> Server {
    let own = Arc::new(std::sync::Mutex::new(String::new()));
    let realm = Arc::clone(&own);
    let hub = Server::start(move |request| {
        let challenge = format!(r#"Bearer realm="{}",service="registry.docker.io""#, realm.lock().unwrap());
        match (request.path.as_str(), request.header("authorization")) {
            ("/token", "") => Answer::json(200, r#"{"token":"anybody"}"#),
            // member:right
            ("/token", "Basic bWVtYmVyOnJpZ2h0") => Answer::json(200, r#"{"token":"member"}"#),
            ("/token", _) => Answer::json(401, r#"{"details":"incorrect username or password"}"#),
            (_, "Bearer anybody") => limited("76;w=21600", "100;w=21600", "198.51.100.7"),
            (_, "Bearer member") => limited("199;w=21600", "200;w=21600", "0b7e-member"),
            _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
        }
    })
    .await;
    *own.lock().unwrap() = hub.url("/token");
    hub
}

fn limited(remaining: &str, limit: &str, source: &str) -> Answer {
    known()
        .with("ratelimit-remaining", remaining)
        .with("ratelimit-limit", limit)
        .with("docker-ratelimit-source", source)
}

fn registry_at(hub: &str) -> HttpRegistry {
    HttpRegistry::new(Settings {
        limits: limits(),
        certificates: "/nonexistent".into(),
        docker_hub: hub.to_owned(),
        proxies: Proxies::default(),
    })
}

#[tokio::test]
async fn the_rate_is_asked_by_head_of_the_image_that_does_not_count() {
    let hub = hub().await;
    let registry = registry_at(&hub.url(""));
    let rate = registry.hub_rate(None).await.unwrap().unwrap();
    assert_eq!(rate.to_string(), "76 of 100 pulls left in 6 h");
    let head = "HEAD /v2/ratelimitpreview/test/manifests/latest";
    assert_eq!(hub.take(), [head, "GET /token", head]);
    registry.hub_rate(None).await.unwrap();
    assert_eq!(hub.take(), [head]);
}

#[tokio::test]
async fn the_rate_of_an_account_is_asked_in_its_name() {
    let hub = hub().await;
    let registry = registry_at(&hub.url(""));
    let rate = registry.hub_rate(Some(&password("member", "right"))).await.unwrap().unwrap();
    assert_eq!(rate.to_string(), "199 of 200 pulls left in 6 h");
    let error = registry.hub_rate(Some(&password("member", "hunter2"))).await.unwrap_err().to_string();
    assert!(error.contains("incorrect username or password") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_account_without_a_limit_has_no_rate() {
    let hub = Server::start(|_| known()).await;
    assert_eq!(registry_at(&hub.url("")).hub_rate(None).await, Ok(None));
}

#[tokio::test]
async fn a_docker_hub_that_is_busy_away_or_silent_is_asked_once_and_not_for_long() {
    let limited = Server::start(|_| Answer::json(429, "{}").with("retry-after", "60")).await;
    let error = registry_at(&limited.url("")).hub_rate(None).await.unwrap_err();
    assert!(matches!(error, RegistryError::RateLimited { .. }), "{error}");
    let broken = Server::start(|_| Answer::json(503, "{}")).await;
    let error = registry_at(&broken.url("")).hub_rate(None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Failing { .. }), "{error}");
    assert_eq!((limited.take().len(), broken.take().len()), (1, 1));

    let silent = Server::start_slow(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        known()
    })
    .await;
    let limits =
        LookupLimits { hub_rate: Duration::from_millis(300), request: Duration::from_secs(60), ..limits() };
    let registry = HttpRegistry::new(Settings {
        limits,
        certificates: "/nonexistent".into(),
        docker_hub: silent.url(""),
        proxies: Proxies::default(),
    });
    let error = registry.hub_rate(None).await.unwrap_err().to_string();
    assert_eq!(error, "docker.io cannot be reached: no answer within 300ms");
}
