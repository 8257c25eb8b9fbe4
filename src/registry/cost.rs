//! What a registry's answers and the files of accounts cost: see [`crate::cost`].

use std::hint::black_box;

use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::credentials::{Account, Credentials, logins};
use super::{fuzz, manifest, token};
use crate::cost::{assert_in_proportion, many};
use crate::secret::Secret;

fn answer(body: &str) -> RegistryAnswer {
    RegistryAnswer::to_account(403, body.as_bytes(), "secret").unwrap()
}

fn read_manifest(text: &str) {
    fuzz::manifest(text.as_bytes());
}

fn read_token(text: &str) {
    let _ = black_box(token::read(&answer(text), Instant::now()));
}

fn explain(text: &str) {
    black_box(answer(text).explained());
}

fn read_config(text: &str) {
    fuzz::config_json(text.as_bytes());
}

#[test]
fn a_registrys_answers_cost_in_proportion() {
    assert_in_proportion(&[
        (
            "children",
            |n| format!(r#"{{"manifests":[{}]}}"#, many(n, ",", |_| "{}".to_owned())),
            read_manifest,
        ),
        (
            "platforms",
            |n| {
                let child = |i| format!(r#"{{"platform":{{"os":"linux","architecture":"a{i}"}}}}"#);
                format!(r#"{{"manifests":[{}]}}"#, many(n, ",", child))
            },
            read_manifest,
        ),
        (
            "layers",
            |n| format!(r#"{{"layers":[{}]}}"#, many(n, ",", |i| format!(r#"{{"s":{i}}}"#))),
            read_manifest,
        ),
        ("other fields", |n| format!("{{{}}}", many(n, ",", |i| format!(r#""f{i}":1"#))), read_manifest),
        (
            "configuration",
            |n| format!(r#"{{"os":"linux","h":[{}]}}"#, many(n, ",", |i| i.to_string())),
            |text| {
                black_box(manifest::platform(text.as_bytes()));
            },
        ),
        ("parameters", |n| format!("Bearer {}", many(n, ",", |i| format!("p{i}=\"x\""))), fuzz::challenge),
        ("challenges", |n| many(n, ", ", |i| format!("Scheme{i} a=b")), fuzz::challenge),
        ("quotes", |n| format!("Bearer realm=\"{}", "\\\"".repeat(n)), fuzz::challenge),
        ("token", |n| format!(r#"{{"token":"{}"}}"#, "t".repeat(n)), read_token),
        ("scopes", |n| format!(r#"{{"s":[{}]}}"#, many(n, ",", |i| i.to_string())), read_token),
        (
            "life",
            |n| format!(r#"{{"token":"t","expires_in":[{}]}}"#, many(n, ",", |i| i.to_string())),
            read_token,
        ),
        (
            "errors",
            |n| {
                let error = |i| format!(r#"{{"code":"C{i}","message":"no secret"}}"#);
                format!(r#"{{"errors":[{}]}}"#, many(n, ",", error))
            },
            explain,
        ),
        ("error", |n| format!(r#"{{"details":"{}"}}"#, "secret ".repeat(n)), explain),
        (
            "echo",
            |n| "hunter2 ".repeat(n),
            |text| {
                let account =
                    Account::Password { username: "u".to_owned(), password: Secret::new("hunter2") };
                let credentials = Credentials { source: String::new(), server: String::new(), account };
                black_box(credentials.redact(text));
            },
        ),
    ]);
}

#[test]
fn files_of_accounts_cost_in_proportion() {
    assert_in_proportion(&[
        (
            "config.json",
            |n| format!(r#"{{"auths":{{{}}}}}"#, many(n, ",", |i| format!(r#""r{i}":{{"auth":"dTpw"}}"#))),
            read_config,
        ),
        (
            "helpers",
            |n| format!(r#"{{"credHelpers":{{{}}}}}"#, many(n, ",", |i| format!(r#""r{i}":"x""#))),
            read_config,
        ),
        ("nothing", |n| format!(r#"{{"x":[{}]}}"#, many(n, ",", |i| i.to_string())), read_config),
        ("logins", |n| many(n, "\n", |i| format!("n{i} r{i} u p")), fuzz::logins),
        ("wrong lines", |n| many(n, "\n", |i| format!("n{i} r{i}")), fuzz::logins),
        (
            "logins of one registry",
            |n| many(n.min(10_000), "\n", |i| format!("n{i} r u p{i}")),
            |text| {
                let logins = logins::KnownLogins::of(text);
                let none = logins::Refused::new();
                let names = logins.names("r", &none);
                black_box((logins.unnamed("r", &[], &none), logins.named("other", "r", &none), names));
            },
        ),
    ]);
}
