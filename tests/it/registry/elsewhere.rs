//! Whom an account is told: servers that a registry sends us to, schemes to choose from, accounts that are refused.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::support::http::Request;

fn basic(account: &str) -> String {
    format!("Basic {}", STANDARD.encode(account))
}

fn bearer(tokens: &Server) -> String {
    format!(r#"Bearer realm="{}",service="s""#, tokens.url("/token"))
}

/// A look-up with the account `me`.
fn mine(server: &Server, image: &str) -> Lookup {
    Lookup { credentials: Some(password("me", "secret")), ..lookup(server, image) }
}

/// All that a server was told of who asks.
fn told(server: &Server) -> Vec<String> {
    let told = |request: &Request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        format!("{}{form}", request.header("authorization"))
    };
    server.requests().iter().map(told).filter(|told| !told.is_empty()).collect()
}

/// Sends everything on to `other`, after it has seen the account `me`.
async fn sends_on_to(other: &Server, status: u16) -> Server {
    let to = other.url("");
    Server::start(move |request| match request.header("authorization") {
        "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
        _ => Answer::new(status, "").with("location", &format!("{to}{}", request.path)),
    })
    .await
}

#[tokio::test]
async fn a_server_that_the_registry_sends_us_to_gets_a_token_of_its_own_and_no_account() {
    for status in [301, 302, 303, 307, 308] {
        let tokens = Server::start(|_| Answer::json(200, r#"{"token":"own"}"#)).await;
        let challenge = bearer(&tokens);
        let other = Server::start(move |request| match request.header("authorization") {
            "Bearer own" => known(),
            _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
        })
        .await;
        let server = sends_on_to(&other, status).await;
        let (registry, lookup) = (registry(), mine(&server, "team/app:v1"));
        for tokens_asked in [1, 0] {
            assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{status}");
            assert_eq!(told(&other).last().unwrap(), "Bearer own");
            assert!(told(&tokens).is_empty());
            let asked = tokens.requests();
            assert!(asked.iter().all(|request| request.query.contains("repository%3Ateam%2Fapp%3Apull")));
            assert_eq!(tokens.take().len(), tokens_asked, "{status}");
        }
        assert!(told(&server).iter().all(|told| *told == basic("me:secret")));
    }
}

#[tokio::test]
async fn a_server_that_the_registry_sends_us_to_and_wants_a_password_is_told_none() {
    let other =
        Server::start(|_| Answer::json(401, "{}").with("www-authenticate", "Basic realm=\"other\"")).await;
    let server = sends_on_to(&other, 307).await;
    let error = registry().digest(&mine(&server, "app")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    let words =
        "it redirects to 127.0.0.1, which answers 401 Unauthorized (accounts of one registry are not sent";
    assert!(error.to_string().contains(words), "{error}");
    assert!(told(&other).is_empty());
}

#[tokio::test]
async fn a_token_servers_redirect_takes_the_account_along_only_on_the_same_server() {
    let identity =
        || account(Account::IdentityToken { username: String::new(), token: Secret::new("refresh") });
    for credentials in [password("me", "secret"), identity()] {
        let admits = |request: &Request| {
            request.header("authorization") == basic("me:secret")
                || String::from_utf8_lossy(&request.body).contains("refresh_token=refresh")
        };
        let tokens = Server::start(move |request| match request.path.as_str() {
            "/token" => Answer::new(307, "").with("location", "/moved"),
            _ if admits(request) => Answer::json(200, r#"{"access_token":"t"}"#),
            _ => Answer::json(401, "{}"),
        })
        .await;
        let elsewhere = Server::start(|_| Answer::json(200, r#"{"access_token":"t"}"#)).await;
        let to = elsewhere.url("/token");
        let leading = Server::start(move |_| Answer::new(307, "").with("location", &to)).await;
        for (realm, is_found) in [(&tokens, true), (&leading, false)] {
            let challenge = bearer(realm);
            let server = Server::start(move |request| match request.header("authorization") {
                "Bearer t" => known(),
                _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
            })
            .await;
            let lookup = Lookup { credentials: Some(Arc::clone(&credentials)), ..lookup(&server, "app") };
            let answer = registry().digest(&lookup).await;
            assert!(answer.is_ok() || !is_found, "{answer:?}");
        }
        assert!(told(&elsewhere).is_empty());
    }
}

#[tokio::test]
async fn a_password_is_sent_where_the_token_server_is_for_other_clients() {
    for (first, second) in [(0, 1), (1, 0)] {
        let tokens = Server::start(|_| Answer::json(403, "{}")).await;
        let challenges = [bearer(&tokens), "Basic realm=\"r\"".to_owned()];
        let server = Server::start(move |request| match request.header("authorization") {
            authorization if authorization == basic("me:secret") => known(),
            _ => Answer::json(401, "{}")
                .with("www-authenticate", &challenges[first])
                .with("www-authenticate", &challenges[second]),
        })
        .await;
        let registry = registry();
        for requests in [2, 1] {
            assert_eq!(registry.digest(&mine(&server, "app")).await, Ok(digest()));
            assert_eq!(server.take().len(), requests);
        }
    }
}

#[tokio::test]
async fn of_two_tokens_in_one_answer_the_engines_choice_is_used() {
    let tokens = Server::start(|_| Answer::json(200, r#"{"token":"a","access_token":"b"}"#)).await;
    let challenge = bearer(&tokens);
    let server = Server::start(move |request| match request.header("authorization") {
        "Bearer b" => known(),
        _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
    })
    .await;
    assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(digest()));
}

/// Asks for these images with one account, all at once or one after the other; which of them were found.
async fn found_of(server: &Server, images: &[&'static str], at_once: bool) -> Vec<&'static str> {
    let (registry, found) = (registry(), Mutex::new(Vec::new()));
    let ask = async |image: &'static str| {
        if registry.digest(&mine(server, image)).await.is_ok() {
            found.lock().unwrap().push(image);
        }
    };
    if at_once {
        futures_util::future::join_all(images.iter().map(|image| ask(image))).await;
    } else {
        for image in images {
            ask(image).await;
        }
    }
    let mut found = found.into_inner().unwrap();
    found.sort_unstable();
    found
}

const IMAGES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A registry that answers 403 to an account: always, or for the images that are not `open`.
async fn forbidding(open: &'static [&'static str]) -> Server {
    Server::start(move |request| {
        let is_open = open.iter().any(|image| request.path.contains(&format!("/{image}/")));
        match request.header("authorization") {
            "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
            _ if is_open => known(),
            _ if request.path == "/v2/" && !open.is_empty() => Answer::json(200, "{}"),
            _ => Answer::json(403, r#"{"errors":[{"message":"no"}]}"#),
        }
    })
    .await
}

#[tokio::test]
async fn a_forbidden_account_is_tried_once_for_all_images() {
    for at_once in [false, true] {
        let server = forbidding(&[]).await;
        assert!(found_of(&server, &IMAGES, at_once).await.is_empty());
        // Once with an image, and once to see whether the image was the reason.
        assert_eq!(told(&server).len(), 2, "{at_once}");
    }
}

#[tokio::test]
async fn an_account_that_may_not_have_one_image_gets_the_others() {
    for at_once in [false, true] {
        let server = forbidding(&["b", "e"]).await;
        assert_eq!(found_of(&server, &IMAGES, at_once).await, ["b", "e"], "{at_once}");
    }
}

#[tokio::test]
async fn a_token_server_that_forbids_an_account_is_asked_once_for_all_images() {
    for open in [&[][..], &["b", "e"]] {
        for at_once in [false, true] {
            let tokens = Server::start(move |request| {
                let is_login = !request.query.contains("scope");
                let is_open =
                    open.iter().any(|image| request.query.contains(&format!("repository%3A{image}%3A")));
                if is_open || (is_login && !open.is_empty()) {
                    Answer::json(200, r#"{"token":"t"}"#)
                } else {
                    Answer::json(403, r#"{"errors":[{"message":"no"}]}"#)
                }
            })
            .await;
            let challenge = bearer(&tokens);
            let server = Server::start(move |request| match request.header("authorization") {
                "Bearer t" => known(),
                _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
            })
            .await;
            assert_eq!(found_of(&server, &IMAGES, at_once).await, open, "{at_once}");
            if open.is_empty() {
                assert_eq!(told(&tokens).len(), 2, "{at_once}");
            }
        }
    }
}
