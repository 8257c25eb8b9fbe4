//! Lists of tags: how they are paged, and the ways in which a registry lies about them.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::support::http::Request;

/// A page with these tags.
fn page<S: AsRef<str>>(tags: &[S]) -> Answer {
    let tags: Vec<String> = tags.iter().map(|tag| format!("\"{}\"", tag.as_ref())).collect();
    Answer::json(200, format!(r#"{{"name":"team/app","tags":[{}]}}"#, tags.join(",")))
}

/// The number of the page that a request asks for; the first one is 1.
fn number(request: &Request) -> usize {
    let of = |part: &str| part.strip_prefix("page=").and_then(|number| number.parse().ok());
    request.query.split('&').find_map(of).unwrap_or(1)
}

/// Answers `last` pages of one tag each. `link` is the address of a page.
async fn paging(last: usize, link: fn(&Request, usize) -> String) -> Server {
    Server::start(move |request| {
        let number = number(request);
        let answer = page(&[format!("1.0.{number}")]);
        if number == last {
            return answer;
        }
        answer.with("link", &format!("<{}>; rel=\"next\"", link(request, number + 1)))
    })
    .await
}

async fn tags(server: &Server) -> Result<Vec<String>, RegistryError> {
    registry().tags(&lookup(server, "team/app:1.0.1")).await
}

fn path(number: usize) -> String {
    format!("/v2/team/app/tags/list?page={number}&cursor=a%2Fb%3D")
}

#[tokio::test]
async fn a_list_of_one_page_is_one_request() {
    let server = Server::start(|_| page(&["1.0", "latest", "0.9", "sha256-12.sig"])).await;
    assert_eq!(tags(&server).await.unwrap(), ["0.9", "1.0", "latest", "sha256-12.sig"]);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].path.as_str(), requests[0].query.as_str()), ("/v2/team/app/tags/list", "n=1000"));
}

#[tokio::test]
async fn links_are_followed_as_they_are_written() {
    let links: [fn(&Request, usize) -> String; 3] = [
        |_, number| path(number),
        |request, number| format!("http://{}{}", request.header("host"), path(number)),
        |_, number| format!("?page={number}&cursor=a%2Fb%3D"),
    ];
    for link in links {
        let server = paging(4, link).await;
        assert_eq!(tags(&server).await.unwrap(), ["1.0.1", "1.0.2", "1.0.3", "1.0.4"]);
        let queries: Vec<String> = server.requests().into_iter().map(|request| request.query).collect();
        let next = |number| format!("page={number}&cursor=a%2Fb%3D");
        assert_eq!(queries, ["n=1000".to_owned(), next(2), next(3), next(4)]);
    }
}

#[tokio::test]
async fn an_account_never_follows_a_link_to_another_server() {
    let other = Server::start(|_| page(&["9.9.9"])).await;
    let foreign = other.url(&path(2));
    let link = foreign.clone();
    let server = Server::start(move |request| match request.header("authorization") {
        "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
        _ => page(&["1.0.1"]).with("link", &format!("<{link}>; rel=\"next\"")),
    })
    .await;
    let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "team/app:1.0.1") };
    let error = registry().tags(&lookup).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("leads from http://{} to http://{}", server.authority(), other.authority())),
        "{error}"
    );
    assert!(other.requests().is_empty());
    let told = format!("Basic {}", STANDARD.encode("me:secret"));
    assert!(server.requests().iter().all(|request| ["", &told].contains(&request.header("authorization"))));
}

#[tokio::test]
async fn a_link_to_another_scheme_port_or_path_is_an_error() {
    let links: [fn(&Request, usize) -> String; 4] = [
        |request, number| format!("https://{}{}", request.header("host"), path(number)),
        |_, number| format!("http://127.0.0.1:1{}", path(number)),
        |_, number| format!("//localhost{}", path(number)),
        |_, number| format!("/admin{}", path(number)),
    ];
    for link in links {
        let server = paging(2, link).await;
        let error = tags(&server).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Nonsense { cause, .. } if cause.contains("Link")), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn pages_that_repeat_or_never_end_are_nonsense() {
    // The link leads back to where the list began, or to the same page.
    for back in [1, 2] {
        let server = Server::start(move |request| {
            let number = number(request);
            let next = if number == 2 { back } else { 2 };
            page(&[format!("1.0.{number}")]).with("link", &format!("<{}>; rel=next", path(next)))
        })
        .await;
        let error = tags(&server).await.unwrap_err().to_string();
        assert!(
            error.contains("broke off at page") && error.contains("read already") | error.contains("repeats"),
            "{error}"
        );
        assert!(server.requests().len() <= 3);
    }
    // New addresses, and the same page again.
    let again = Server::start(|request| {
        page(&["1.0.1", "1.0.2"]).with("link", &format!("<{}>; rel=next", path(number(request) + 1)))
    })
    .await;
    let error = tags(&again).await.unwrap_err().to_string();
    assert!(error.contains("broke off at page 2: it repeats"), "{error}");
    // New pages for ever.
    let endless = paging(usize::MAX, |_, number| path(number)).await;
    let error = tags(&endless).await.unwrap_err().to_string();
    assert!(error.contains("broke off at page 51: its tag list has more than 50 pages"), "{error}");
    assert_eq!(endless.requests().len(), 50);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_an_error_that_names_the_page() {
    type Broken = fn() -> Answer;
    let broken: [(Broken, &str); 8] = [
        (|| Answer::Cut, "broke off at page 3"),
        (|| Answer::broken_off(200, r#"{"name":"team/app","tags":["1.0."#), "broke off at page 3"),
        (|| Answer::json(500, "{}"), "broke off at page 3: 500"),
        (|| Answer::json(404, "{}"), "broke off at page 3: 404"),
        (|| Answer::json(401, "{}"), "broke off at page 3"),
        (|| Answer::new(429, "").with("retry-after", "3600"), "broke off at page 3: 429"),
        (
            || Answer::new(200, "<html>").with("content-type", "text/html"),
            "broke off at page 3: it sends a web page",
        ),
        (|| Answer::json(200, r#"{"errors":[]}"#), "broke off at page 3: its tag list cannot be read"),
    ];
    for (answer, words) in broken {
        let server = Server::start(move |request| match number(request) {
            3 => answer(),
            number => {
                page(&[format!("1.0.{number}")]).with("link", &format!("<{}>; rel=next", path(number + 1)))
            }
        })
        .await;
        let error = tags(&server).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("the tag list of {}/team/app {words}", server.authority())),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_no_list_is_an_error() {
    for body in ["", "[]", "{}", r#"{"tags":"1.0"}"#, r#"{"tags":[1,2]}"#, "<html>"] {
        let server = Server::start(move |_| Answer::json(200, body)).await;
        let error = tags(&server).await.unwrap_err();
        assert!(matches!(error, RegistryError::Nonsense { .. }), "{body}: {error}");
    }
    let huge = Server::start(|_| Answer::endless(200)).await;
    assert!(tags(&huge).await.unwrap_err().to_string().contains("longer than 4194304 bytes"));
    let none = Server::start(|_| Answer::json(200, r#"{"name":"team/app","tags":null}"#)).await;
    assert_eq!(tags(&none).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_registry_that_takes_no_size_is_asked_once_more_without() {
    for (status, body) in [
        (400, r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#),
        (405, ""),
        (501, r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
    ] {
        let server = Server::start(move |request| match request.query.as_str() {
            "" => page(&["1.0"]),
            // By this header a server without TLS is known for a registry whatever it answers.
            _ => Answer::json(status, body).with("docker-distribution-api-version", "registry/2.0"),
        })
        .await;
        assert_eq!(tags(&server).await.unwrap(), ["1.0"], "{status}");
        assert_eq!(server.requests().len(), 2);
    }
    let refusing = Server::start(|_| Answer::json(405, "{}")).await;
    assert!(tags(&refusing).await.is_err());
    assert_eq!(refusing.requests().len(), 2);
}

#[tokio::test]
async fn an_unknown_repository_and_a_limit_are_told_as_for_images() {
    let server = Server::start(|_| Answer::json(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#)).await;
    assert!(matches!(tags(&server).await, Err(RegistryError::NotFound { .. })));
    assert_eq!(server.requests().len(), 1);
    let server = Server::start(|_| Answer::new(429, "").with("retry-after", "3600")).await;
    assert!(matches!(tags(&server).await, Err(RegistryError::RateLimited { .. })));
    let server =
        Server::start(|_| Answer::json(401, "{}").with("www-authenticate", "Basic realm=\"r\"")).await;
    assert!(matches!(tags(&server).await, Err(RegistryError::Refused { .. })));
}

#[tokio::test]
async fn twelve_thousand_tags_come_whole_from_a_registry_that_pages_them() {
    let seen = Arc::new(Mutex::new(0));
    let pages = Arc::clone(&seen);
    let server = Server::start(move |request| {
        *pages.lock().unwrap() += 1;
        let number = number(request);
        let first = (number - 1) * 1000;
        let answer = page(&(first..first + 1000).map(|patch| format!("1.2.{patch}")).collect::<Vec<_>>());
        if number == 12 { answer } else { answer.with("link", &format!("<{}>; rel=next", path(number + 1))) }
    })
    .await;
    let tags = tags(&server).await.unwrap();
    assert_eq!((tags.len(), *seen.lock().unwrap()), (12_000, 12));
    assert!(tags.iter().any(|tag| tag == "1.2.11999"));
    let many: Vec<String> = (0..100_001).map(|tag| tag.to_string()).collect();
    let too_many = Server::start(move |_| page(&many)).await;
    let error = registry().tags(&lookup(&too_many, "a")).await.unwrap_err().to_string();
    assert!(error.contains("its tag list has more than 100000 tags"), "{error}");
}
