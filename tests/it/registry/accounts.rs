//! Registries that want to know who asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::support::http::Request;

/// `Authorization: Basic` for a name and a password.
fn basic(account: &str) -> String {
    format!("Basic {}", STANDARD.encode(account))
}

/// A registry that takes `Bearer token-N`, N counting from 1, N at least what `oldest` holds.
async fn bearer_registry(token_server: &Server, oldest: Arc<AtomicUsize>) -> Server {
    let challenge = format!(r#"Bearer realm="{}",service="the registry""#, token_server.url("/token"));
    Server::start(move |request| {
        let number = request.header("authorization").strip_prefix("Bearer token-").map(str::parse::<usize>);
        match number {
            Some(Ok(number)) if number >= oldest.load(SeqCst) => known(),
            _ => Answer::json(401, "{}").with("www-authenticate", &challenge),
        }
    })
    .await
}

/// A token server whose tokens live so many seconds, given to those whom `admit` admits.
async fn token_server(expires_in: u32, admit: fn(&Request) -> bool) -> Server {
    let issued = AtomicUsize::new(0);
    Server::start(move |request| {
        if !admit(request) {
            return Answer::json(401, r#"{"details":"incorrect username or password"}"#);
        }
        let number = issued.fetch_add(1, SeqCst) + 1;
        Answer::json(200, format!(r#"{{"token":"token-{number}","expires_in":{expires_in}}}"#))
    })
    .await
}

fn anybody(_: &Request) -> bool {
    true
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_then_a_tag_is_one_request() {
    let tokens = token_server(300, |request| request.header("authorization").is_empty()).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let (registry, lookup) = (registry(), lookup(&server, "team/app:v1"));

    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
    assert_eq!(server.take(), ["HEAD /v2/team/app/manifests/v1"; 2]);
    assert_eq!(tokens.requests()[0].query, "service=the+registry&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(tokens.take(), ["GET /token"]);

    for _ in 0..3 {
        assert_eq!(registry.digest(&lookup).await, Ok(digest()));
        assert_eq!(server.take(), ["HEAD /v2/team/app/manifests/v1"]);
        assert!(tokens.take().is_empty());
    }
}

#[tokio::test]
async fn another_repository_or_account_gets_its_own_token_without_being_refused_first() {
    let tokens = token_server(300, anybody).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let registry = registry();
    registry.digest(&lookup(&server, "a")).await.unwrap();
    server.take();
    tokens.take();
    for lookup in [
        lookup(&server, "b"),
        Lookup { credentials: Some(password("me", "1")), ..lookup(&server, "a") },
        Lookup { credentials: Some(password("me", "2")), ..lookup(&server, "a") },
    ] {
        registry.digest(&lookup).await.unwrap();
        assert_eq!((server.take().len(), tokens.take().len()), (1, 1));
    }
}

/// Ten look-ups at once of a registry whose token server answers only when all of them have met its challenge; with the
/// number of requests that the token server had.
async fn ten_at_once(
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> (Vec<Result<Digest, RegistryError>>, usize) {
    let (answer, gate) = (Arc::new(answer), Arc::new(Semaphore::new(0)));
    let open = Arc::clone(&gate);
    let tokens = Server::start_slow(move |_| {
        let (answer, gate) = (Arc::clone(&answer), Arc::clone(&gate));
        async move {
            let _ = gate.acquire().await;
            answer()
        }
    })
    .await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let (registry, lookup) = (registry(), lookup(&server, "app"));
    let challenged = async {
        while server.requests().len() < 10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The answers to the last ones reach them before this is over, as all of it is one thread.
        tokio::time::sleep(Duration::from_millis(100)).await;
        open.close();
    };
    let lookups = join_all((0..10).map(|_| registry.digest(&lookup)));
    let (answers, ()) = tokio::join!(lookups, challenged);
    (answers, tokens.take().len())
}

#[tokio::test]
async fn many_at_once_share_one_token_request() {
    let (answers, asked) = ten_at_once(|| Answer::json(200, r#"{"token":"token-1"}"#)).await;
    assert!(answers.into_iter().all(|answer| answer == Ok(digest())));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn many_at_once_share_one_refusal() {
    let refusal = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    let (answers, asked) = ten_at_once(move || Answer::json(403, refusal)).await;
    assert!(answers.into_iter().all(|answer| matches!(answer, Err(RegistryError::Refused { .. }))));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_token_is_replaced_when_it_expires_without_asking_in_vain() {
    let tokens = token_server(300, anybody).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let (registry, lookup) = (registry(), lookup(&server, "app"));
    registry.digest(&lookup).await.unwrap();
    registry.digest(&lookup).await.unwrap();
    assert_eq!((server.take().len(), tokens.take().len()), (3, 1));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    registry.digest(&lookup).await.unwrap();
    assert_eq!((server.take().len(), tokens.take().len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_is_revoked_early_is_replaced_and_one_that_is_never_right_ends_in_a_refusal() {
    let (tokens, oldest) = (token_server(300, anybody).await, Arc::new(AtomicUsize::new(0)));
    let server = bearer_registry(&tokens, Arc::clone(&oldest)).await;
    let (registry, lookup) = (registry(), lookup(&server, "app"));
    registry.digest(&lookup).await.unwrap();
    server.take();
    tokens.take();

    oldest.store(2, SeqCst);
    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
    assert_eq!((server.take().len(), tokens.take().len()), (2, 1));

    oldest.store(usize::MAX, SeqCst);
    let error = registry.digest(&lookup).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("without credentials"), "{error}");
    assert!(error.to_string().contains("private, misspelt, or a local image"), "{error}");
    assert_eq!((server.take().len(), tokens.take().len()), (2, 1));
}

#[tokio::test]
async fn a_name_and_password_buy_a_token_also_with_difficult_characters() {
    fn admit(request: &Request) -> bool {
        request.header("authorization") == basic("jürgen:~?>/+:ß")
            && request.query.contains("account=j%C3%BCrgen")
    }
    let tokens = token_server(300, admit).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let registry = registry();
    let right = Lookup { credentials: Some(password("jürgen", "~?>/+:ß")), ..lookup(&server, "app") };
    assert_eq!(registry.digest(&right).await, Ok(digest()));

    let wrong = Lookup { credentials: Some(password("jürgen", "hunter2")), ..lookup(&server, "app") };
    let error = registry.digest(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("with credentials of jürgen from test"), "{error}");
    assert!(error.contains("incorrect username or password"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_a_form() {
    fn admit(request: &Request) -> bool {
        let form = String::from_utf8_lossy(&request.body);
        request.method == "POST"
            && request.header("content-type") == "application/x-www-form-urlencoded"
            && request.query.is_empty()
            && ["grant_type=refresh_token", "refresh_token=it%2B1", "service=the+registry", "client_id="]
                .iter()
                .all(|part| form.contains(part))
            && form.contains("scope=repository%3Aapp%3Apull")
    }
    let tokens = token_server(300, admit).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let token = Account::IdentityToken { username: "<token>".to_owned(), token: Secret::new("it+1") };
    let lookup = Lookup { credentials: Some(account(token)), ..lookup(&server, "app") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
    assert_eq!(tokens.take(), ["POST /token"]);
}

#[tokio::test]
async fn an_identity_token_is_a_password_where_forms_are_unknown() {
    let tokens = Server::start(|request| match request.method.as_str() {
        "GET" if request.header("authorization") == basic("me:it") => {
            Answer::json(200, r#"{"access_token":"token-1"}"#)
        }
        "GET" => Answer::json(401, "{}"),
        _ => Answer::json(405, "{}"),
    })
    .await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let token = Account::IdentityToken { username: "me".to_owned(), token: Secret::new("it") };
    let lookup = Lookup { credentials: Some(account(token)), ..lookup(&server, "app") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
    assert_eq!(tokens.take(), ["POST /token", "GET /token"]);
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let tokens = token_server(300, anybody).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let token = account(Account::RegistryToken(Secret::new("token-7")));
    let lookup = Lookup { credentials: Some(token), ..lookup(&server, "app") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
    assert!(tokens.take().is_empty());
}

async fn basic_registry() -> Server {
    Server::start(|request| match request.header("authorization") {
        authorization if authorization == basic("me:right") => known(),
        _ => Answer::json(401, r#"{"errors":[{"message":"authentication required"}]}"#)
            .with("www-authenticate", r#"Basic realm="Registry Realm""#),
    })
    .await
}

#[tokio::test]
async fn basic_authentication_costs_no_more_than_one_request_once_it_is_known() {
    let server = basic_registry().await;
    let registry = registry();
    let lookup = Lookup { credentials: Some(password("me", "right")), ..lookup(&server, "app") };
    for requests in [2, 1, 1] {
        assert_eq!(registry.digest(&lookup).await, Ok(digest()));
        assert_eq!(server.take().len(), requests);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_trying_it_over_and_over() {
    let server = basic_registry().await;
    let registry = registry();
    for (credentials, who, requests) in [
        (Some(password("me", "wrong-one")), "with credentials of me from test", 2),
        (Some(password("me", "wrong-two")), "with credentials of me from test", 1),
        (None, "without credentials", 1),
        (Some(account(Account::RegistryToken(Secret::new("x")))), "with credentials from test", 1),
    ] {
        let lookup = Lookup { credentials, ..lookup(&server, "app") };
        let error = registry.digest(&lookup).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(who), "{error}");
        assert!(!format!("{error} {error:?}").contains("wrong-"), "{error}");
        assert_eq!(server.take().len(), requests, "{error}");
    }
}

/// As many look-ups as images, one after the other or all at once; their causes, each once.
async fn causes_of(
    registry: &HttpRegistry,
    server: &Server,
    credentials: &Arc<Credentials>,
    at_once: bool,
) -> Vec<String> {
    let ask = async |image: &str| {
        let lookup = Lookup { credentials: Some(Arc::clone(credentials)), ..lookup(server, image) };
        match registry.digest(&lookup).await.unwrap_err() {
            RegistryError::Refused { cause, .. } => cause,
            other => panic!("{other}"),
        }
    };
    let mut causes = Vec::new();
    if at_once {
        causes = futures_util::future::join_all(["a", "b", "c", "d", "e"].map(ask)).await;
    } else {
        for image in ["a", "b", "c", "d", "e"] {
            causes.push(ask(image).await);
        }
    }
    assert_eq!(causes.len(), 5);
    causes.dedup();
    causes
}

/// How often somebody tried to log in with a password or an identity token, since this was last asked.
fn logins(server: &Server) -> usize {
    let requests = server.requests();
    server.take();
    let is_login = |request: &&Request| {
        request.header("authorization").starts_with("Basic ") || request.method.as_str() == "POST"
    };
    requests.iter().filter(is_login).count()
}

/// A registry that lets in `me` with the password `right` only: by itself, or by a token server; and who checks it.
async fn doors() -> [(Server, Server); 2] {
    let tokens = token_server(300, |request| request.header("authorization") == basic("me:right")).await;
    let basic = basic_registry().await;
    [(bearer_registry(&tokens, Arc::default()).await, tokens), (basic.clone(), basic)]
}

#[tokio::test]
async fn a_refused_password_is_tried_once_for_all_images() {
    for at_once in [false, true] {
        for (server, door) in doors().await {
            let (registry, wrong) = (registry(), password("me", "wrong"));
            let causes = causes_of(&registry, &server, &wrong, at_once).await;
            assert!(causes.len() == 1 && causes[0].contains("401 Unauthorized"), "{causes:?}");
            assert_eq!(logins(&door), 1, "{at_once}");

            let right = Lookup { credentials: Some(password("me", "right")), ..lookup(&server, "a") };
            assert_eq!(registry.digest(&right).await, Ok(digest()));
            assert_eq!(logins(&door), 1);

            server.take();
            assert_eq!(causes_of(&registry, &server, &wrong, at_once).await, causes);
            assert_eq!((logins(&door), server.take().len()), (0, 0));
        }
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_again_after_a_while() {
    let hold = Duration::from_millis(100);
    for (server, door) in doors().await {
        let registry = registry_with(LookupLimits { outage_hold: hold, ..limits() });
        let wrong = Lookup { credentials: Some(password("me", "wrong")), ..lookup(&server, "a") };
        for _ in 0..2 {
            registry.digest(&wrong).await.unwrap_err();
            assert_eq!(logins(&door), 1);
            tokio::time::sleep(hold).await;
        }
    }
}

#[tokio::test]
async fn a_password_that_runs_out_is_tried_twice_at_most() {
    let is_valid = Arc::new(AtomicUsize::new(1));
    let valid = Arc::clone(&is_valid);
    let server = Server::start(move |request| match request.header("authorization") {
        "" => Answer::json(401, "{}").with("www-authenticate", "Basic realm=\"r\""),
        _ if valid.load(SeqCst) == 1 => known(),
        _ => Answer::json(401, "{}").with("www-authenticate", "Basic realm=\"r\""),
    })
    .await;
    let (registry, me) = (registry(), password("me", "secret"));
    let lookup = Lookup { credentials: Some(Arc::clone(&me)), ..lookup(&server, "a") };
    assert_eq!(registry.digest(&lookup).await, Ok(digest()));
    server.take();
    is_valid.store(0, SeqCst);
    causes_of(&registry, &server, &me, false).await;
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn one_image_that_an_account_may_not_have_does_not_cost_it_the_others() {
    // Some servers say 401 where they mean 403, to accounts that they know.
    for (status, images) in [
        (403, ["secret", "a", "secret", "secret", "b", "c"]),
        (401, ["a", "secret", "b", "c", "secret", "d"]),
    ] {
        let tokens = Server::start(move |request| {
            if request.query.contains("secret") {
                Answer::json(status, "{}")
            } else {
                Answer::json(200, r#"{"token":"token-1"}"#)
            }
        })
        .await;
        let basic = Server::start(move |request| {
            let challenge = ("www-authenticate", r#"Basic realm="r""#);
            match request.header("authorization") {
                "" => Answer::json(401, "{}").with(challenge.0, challenge.1),
                _ if request.path.contains("secret") => {
                    Answer::json(status, "{}").with(challenge.0, challenge.1)
                }
                _ => known(),
            }
        })
        .await;
        for server in [basic, bearer_registry(&tokens, Arc::default()).await] {
            let registry = registry();
            for image in images {
                let lookup = Lookup { credentials: Some(password("me", "right")), ..lookup(&server, image) };
                let answer = registry.digest(&lookup).await;
                assert_eq!(answer.is_ok(), image != "secret", "{status} {image}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_identity_token_that_is_refused_is_not_tried_as_a_password() {
    let tokens = Server::start(|_| Answer::json(401, r#"{"details":"it has expired"}"#)).await;
    let server = bearer_registry(&tokens, Arc::default()).await;
    let token = account(Account::IdentityToken { username: "me".to_owned(), token: Secret::new("old") });
    let causes = causes_of(&registry(), &server, &token, true).await;
    assert!(causes.len() == 1 && causes[0].contains("it has expired"), "{causes:?}");
    assert_eq!(tokens.take(), ["POST /token"]);
}

#[tokio::test]
async fn a_token_server_that_moved_is_found_again() {
    let answers = Arc::new(Mutex::new(String::new()));
    let challenge = Arc::clone(&answers);
    let server = Server::start(move |request| match request.header("authorization") {
        "Bearer token-1" => known(),
        _ => Answer::json(401, "{}").with("www-authenticate", &challenge.lock().unwrap()),
    })
    .await;
    let registry = registry();
    let challenge_of = |tokens: &Server| format!(r#"Bearer realm="{}",service="s""#, tokens.url("/token"));

    let gone = Server::start(|_| Answer::json(500, "{}")).await;
    *answers.lock().unwrap() = challenge_of(&gone);
    let error = registry.digest(&lookup(&server, "app")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Failing { .. }), "{error}");
    assert!(error.to_string().contains("its token server 127.0.0.1"), "{error}");

    let tokens = token_server(300, anybody).await;
    *answers.lock().unwrap() = challenge_of(&tokens);
    assert_eq!(registry.digest(&lookup(&server, "app")).await, Ok(digest()));
}

/// A token server that knows only the repositories of one team, and answers `refusal` for all others.
async fn token_server_of(team: &'static str, refusal: u16) -> Server {
    Server::start(move |request| {
        if request.query.contains(&format!("scope=repository%3A{team}%2F")) {
            Answer::json(200, format!(r#"{{"token":"{team}"}}"#))
        } else {
            Answer::json(refusal, "{}")
        }
    })
    .await
}

#[tokio::test]
async fn each_repository_is_asked_as_it_wants_also_where_a_host_has_several_token_servers() {
    // How often the registry and its token servers are asked. A refusal in vain is one of a repository that was
    // never asked for before.
    let (first, other_server, same_server, again) = ((2, 1), (2, 2), (1, 1), (1, 0));
    let me = || Some(password("me", "1"));
    for (refusal, credentials) in [(401, None), (403, None), (404, None), (401, me()), (403, me())] {
        for (order, requests) in [
            (["a/1", "a/2", "b/1"], [first, same_server, other_server]),
            (["b/1", "a/1", "a/2"], [first, other_server, same_server]),
        ] {
            let [of_a, of_b] = [token_server_of("a", refusal).await, token_server_of("b", refusal).await];
            let [a, b] = [&of_a, &of_b].map(|team| format!(r#"Bearer realm="{}""#, team.url("/token")));
            let server = Server::start(move |request| {
                let (token, challenge) =
                    if request.path.starts_with("/v2/a/") { ("Bearer a", &a) } else { ("Bearer b", &b) };
                match request.header("authorization") {
                    sent if sent == token => known(),
                    _ => Answer::json(401, "{}").with("www-authenticate", challenge),
                }
            })
            .await;
            let registry = registry();
            for (image, requests) in order.into_iter().zip(requests).chain(order.map(|image| (image, again)))
            {
                let lookup = Lookup { credentials: credentials.clone(), ..lookup(&server, image) };
                assert_eq!(registry.digest(&lookup).await, Ok(digest()), "{refusal} {image}");
                let asked = (server.take().len(), of_a.take().len() + of_b.take().len());
                assert_eq!(asked, requests, "{refusal} {order:?} {image}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_servers_refusal_stands_where_the_registry_sends_us_there_again() {
    let tokens = token_server_of("a", 403).await;
    let challenge = format!(r#"Bearer realm="{}""#, tokens.url("/token"));
    let server = Server::start(move |request| match request.header("authorization") {
        "" => Answer::json(401, "{}").with("www-authenticate", &challenge),
        _ => known(),
    })
    .await;
    let registry = registry();
    assert_eq!(registry.digest(&lookup(&server, "a/1")).await, Ok(digest()));
    assert_eq!((server.take().len(), tokens.take().len()), (2, 1));
    for _ in 0..2 {
        let error = registry.digest(&lookup(&server, "b/1")).await.unwrap_err().to_string();
        assert!(error.contains("its token server 127.0.0.1: 403 Forbidden"), "{error}");
        assert_eq!((server.take().len(), tokens.take().len()), (1, 1));
    }
    assert_eq!(registry.digest(&lookup(&server, "a/1")).await, Ok(digest()));
    assert_eq!((server.take().len(), tokens.take().len()), (1, 0));
}

#[tokio::test]
async fn nonsense_from_a_token_server_is_named() {
    for (answer, realm, word) in [
        ("<html>", None, "holds no token"),
        (r#"{"token":""}"#, None, "holds no token"),
        (r#"{"token":"a\nb"}"#, None, "holds no token"),
        (r#"{"token":"x"}"#, Some("file:///etc/passwd"), "no web address"),
        (r#"{"token":"x"}"#, Some("nowhere"), "no web address"),
    ] {
        let tokens = Server::start(move |_| Answer::json(200, answer)).await;
        let realm = realm.map_or_else(|| tokens.url("/token"), str::to_owned);
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let server =
            Server::start(move |_| Answer::json(401, "{}").with("www-authenticate", &challenge)).await;
        let error = registry().digest(&lookup(&server, "app")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Nonsense { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(server.take().len() <= 2);
    }
}

#[tokio::test]
async fn a_secret_that_is_repeated_at_the_end_of_long_words_is_not_cut_in_half() {
    let secret = "correct-horse-battery-staple-correct-horse";
    for before in (140..320).step_by(20) {
        let said = format!(r#"{{"errors":[{{"message":"{}{secret} is wrong"}}]}}"#, "x".repeat(before));
        let tokens = Server::start(move |_| Answer::json(403, said.clone())).await;
        let server = bearer_registry(&tokens, Arc::default()).await;
        let lookup = Lookup { credentials: Some(password("me", secret)), ..lookup(&server, "app") };
        let error = registry().digest(&lookup).await.unwrap_err().to_string();
        assert!(error.contains("xxx") && !error.contains("corr"), "{before}: {error}");
    }
}

#[tokio::test]
async fn a_token_that_is_repeated_is_not_told_either() {
    let tokens = token_server(300, anybody).await;
    let challenge = format!(r#"Bearer realm="{}",service="s""#, tokens.url("/token"));
    let server = Server::start(move |request| match request.header("authorization") {
        "" => Answer::json(401, "{}").with("www-authenticate", &challenge),
        sent => {
            let words = format!(r#"Bearer realm="x",error="no",error_description="{sent} is wrong""#);
            Answer::json(403, "{}").with("www-authenticate", &words)
        }
    })
    .await;
    let error = registry().digest(&lookup(&server, "app")).await.unwrap_err().to_string();
    assert!(error.contains("*** is wrong") && !error.contains("token-1"), "{error}");
}

#[tokio::test]
async fn a_server_that_repeats_what_it_was_sent_gives_nothing_away() {
    // Only what is not asked by HEAD has a body.
    for (status, challenge) in
        [(401, "Basic"), (400, "Bearer"), (401, "Bearer"), (403, "Bearer"), (500, "Bearer")]
    {
        let own = Arc::new(Mutex::new(String::new()));
        let realm = Arc::clone(&own);
        let server = Server::start(move |request| {
            let sent = request.header("authorization");
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let said = format!(r#"{{"errors":[{{"message":"{sent} {form} hunter2 is wrong"}}]}}"#);
            let is_token_server = request.path == "/token";
            if sent.is_empty() && !is_token_server {
                let challenge = format!(r#"{challenge} realm="{}""#, realm.lock().unwrap());
                return Answer::json(401, "{}").with("www-authenticate", &challenge);
            }
            Answer::json(status, said)
                .with("www-authenticate", r#"Basic error_description="hunter2 is wrong""#)
        })
        .await;
        *own.lock().unwrap() = server.url("/token");
        for account in [
            password("me", "hunter2"),
            account(Account::IdentityToken { username: "me".to_owned(), token: Secret::new("hunter2") }),
        ] {
            let lookup = Lookup { credentials: Some(account), ..lookup(&server, "app") };
            let error = registry().digest(&lookup).await.unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains("is wrong"), "{status} {challenge}: {told}");
            assert!(!told.contains("hunter2") && !told.contains(&STANDARD.encode("me:hunter2")), "{told}");
        }
    }
}
