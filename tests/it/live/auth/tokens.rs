//! A registry that believes a token server.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use super::super::support::{JUERGEN, PULLER, PrivateRegistry, Run, Stage, TokenServer, wait};
use super::{fails_with, folder, is_discreet, logged_in, on_all_nodes, reached_all_nodes, without_tasks};

#[test]
fn a_password_buys_a_token_for_the_look_up_and_for_every_node() {
    let stage = Stage::new();
    let tokens = TokenServer::start(&stage, &[(JUERGEN, "-")]);
    let private = PrivateRegistry::with_tokens(&stage, &tokens);
    let old = private.push(&stage, "team", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    let new = private.push(&stage, "team", "2");

    let run = stage.cycle();
    fails_with(&run, &service, &["refuses access", "without credentials"]);
    let wrong = json!({ "auths": { &private.host: { "username": "puller", "password": "wrong-password" } } });
    let before = tokens.asked_by_gantry();
    let run = stage.gantry().set("DOCKER_CONFIG", &folder(&stage, "wrong", &wrong)).run();
    let server = format!("its token server {}: 401 Unauthorized", stage.lab.host);
    fails_with(&run, &service, &["with credentials of puller", &server, "incorrect username or password"]);
    // Too many wrong passwords lock an account.
    assert_eq!(tokens.asked_by_gantry(), before + 1);

    let right = folder(&stage, "right", &logged_in(&private.host, &JUERGEN));
    let run = stage.gantry().set("DOCKER_CONFIG", &right).run();
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn an_identity_token_is_exchanged_by_us_and_by_every_node() {
    let stage = Stage::new();
    let tokens = TokenServer::start(&stage, &[(JUERGEN, "identity-token/+?~")]);
    let private = PrivateRegistry::with_tokens(&stage, &tokens);
    let old = private.push(&stage, "team", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    let new = private.push(&stage, "team", "2");
    let config = |token: &str| {
        let auth = json!({ "auth": "PHRva2VuPjo=", "identitytoken": token });
        json!({ "auths": { &private.host: auth } })
    };

    let run = stage.gantry().set("DOCKER_CONFIG", &folder(&stage, "wrong", &config("identity-token"))).run();
    fails_with(&run, &service, &["refuses access", "incorrect username or password"]);
    let run =
        stage.gantry().set("DOCKER_CONFIG", &folder(&stage, "right", &config("identity-token/+?~"))).run();
    reached_all_nodes(&run, &service, &new);
}

#[test]
fn a_token_server_that_is_away_is_named_and_what_needs_it_is_updated_when_it_is_back() {
    let stage = Stage::new();
    let mut tokens = TokenServer::start(&stage, &[(JUERGEN, "-")]);
    let private = PrivateRegistry::with_tokens(&stage, &tokens);
    let old = private.push(&stage, "team", "1");
    let service = without_tasks(&stage, "app", &old.name, None);
    let open = stage.image("web", "1", &[]);
    let other = without_tasks(&stage, "other", &open.name, None);
    let (new, open) = (private.push(&stage, "team", "2"), stage.image("web", "2", &[]));
    let right = folder(&stage, "right", &logged_in(&private.host, &JUERGEN));

    tokens.go_away();
    let daemon = stage.gantry().set("DOCKER_CONFIG", &right).set("GANTRY_SLEEP_SECONDS", "1").start();
    let told = daemon.wait_for("cannot be reached", 60);
    let server = format!("its token server {}: ", stage.lab.host);
    assert!(told.message().contains(&service.name) && told.message().contains(&server), "{}", told.message());
    other.wait_for(&open, 30);
    assert_eq!(service.image(), old.name);
    tokens.come_back();
    service.wait_for(&new, 60);
    is_discreet(&daemon.stop());
}

/// What became of tokens of which the registry and we are told different things.
struct Tokens {
    run: Run,
    /// The registry's answers.
    answers: Vec<u16>,
    asked: usize,
}

/// A daemon that has asked for so many tokens, of so many seconds, and updates its service then. `told` is how long the
/// tokens are said to last.
fn tokens_of(seconds: i64, told: Option<i64>, asked: usize) -> Tokens {
    let stage = Stage::new();
    let tokens = TokenServer::start(&stage, &[(PULLER, "-")]);
    let private = PrivateRegistry::with_tokens(&stage, &tokens);
    let old = private.push(&stage, "team", "1");
    let service = without_tasks(&stage, "app", &old.name, None);
    let right = folder(&stage, "right", &logged_in(&private.host, &PULLER));
    if let Some(told) = told {
        tokens.issuer.told_life.store(told, SeqCst);
    }
    tokens.issuer.life.store(seconds, SeqCst);

    let daemon = stage.gantry().set("DOCKER_CONFIG", &right).set("GANTRY_SLEEP_SECONDS", "1").start();
    wait("enough tokens", 60, || (tokens.asked_by_gantry() >= asked).then_some(()));
    let new = private.push(&stage, "team", "2");
    service.wait_for(&new, 30);
    let run = daemon.stop();
    is_discreet(&run);
    Tokens { run, answers: private.answers(), asked: tokens.asked_by_gantry() }
}

#[test]
fn a_token_that_is_about_to_expire_is_replaced_without_being_refused_first() {
    // The registry takes it a little longer than we are told.
    let Tokens { answers, asked, .. } = tokens_of(20, Some(2), 3);
    // Refused once, to learn what the registry wants; and the others are more than the tokens.
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 1, "{answers:?}");
    assert!(answers.len() > 1 + asked, "{answers:?}");
}

#[test]
fn a_token_that_the_registry_takes_no_longer_is_replaced_at_once() {
    // Told to last five minutes, it lasts three seconds.
    let Tokens { run, answers, asked } = tokens_of(3, None, 2);
    assert!(!run.says(&["refuses access"]), "{run}");
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), asked, "{answers:?}");
}
