//! Page and API of the real program: over HTTPS with tokens in files, and open.

use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::support::{Stage, free_port};

const READ: &str = "a-token-for-reading";
const STEER: &str = "a-token-for-steering";

/// Certificate and key of `localhost` in PEM, signed by a new authority, and that authority.
fn certificate() -> (String, String, Certificate) {
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let trusted = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    (certificate.pem(), key.serialize_pem(), trusted)
}

/// Asks, and returns status and answer; nothing from a listener that does not answer yet.
fn ask(
    client: &Client,
    method: &Method,
    url: &str,
    token: &str,
    body: &Value,
) -> Option<(StatusCode, Value)> {
    let request = client.request(method.clone(), url).bearer_auth(token).body(body.to_string());
    let work = async {
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    };
    Runtime::new().unwrap().block_on(work)
}

/// The same, until the listener answers.
#[track_caller]
fn answer(client: &Client, method: &Method, url: &str, token: &str, body: &Value) -> (StatusCode, Value) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask(client, method, url, token, body) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{url} does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_run_is_asked_for_over_https_and_answers_for_each_service() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &[]);
    let (cert, key, authority) = certificate();
    let (cert_file, key_file) = (stage.write("cert.pem", &cert), stage.write("key.pem", &key));
    let readers = stage.write("readers", &format!("wall {READ}\n"));
    let operators = stage.write("operators", &format!("# who may steer\nanna {STEER}\n"));
    let (port, text_of) = (free_port(), |path: &std::path::PathBuf| path.display().to_string());
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"))
        .set("GANTRY_HTTP_READ_TOKEN_FILE", &text_of(&readers))
        .set("GANTRY_HTTP_STEER_TOKEN_FILE", &text_of(&operators))
        .set("GANTRY_HTTP_TLS_CERT_FILE", &text_of(&cert_file))
        .set("GANTRY_HTTP_TLS_KEY_FILE", &text_of(&key_file))
        .start();
    daemon.wait_for("1 service: 1 up to date", 60);
    gantry::tls::install_crypto_provider();
    let trusting = |authority: Certificate| Client::builder().tls_certs_only([authority]).build().unwrap();
    let client = trusting(authority);
    let url = |path: &str| format!("https://localhost:{port}/api/v1/{path}");
    let run = |client: &Client, body: &Value| answer(client, &Method::POST, &url("run"), STEER, body);
    let read = |path: &str| answer(&client, &Method::GET, &url(path), READ, &Value::Null).1;

    assert_eq!(answer(&client, &Method::GET, &url("state"), "a-token-that-is-wrong", &Value::Null).0, 401);
    let shown = read("state");
    assert_eq!(shown["verdict"]["words"], "the service is on the newest image", "{shown:#}");

    let new = stage.image("web", "2", &[]);
    let (status, body) = run(&client, &json!({ "services": [web.name], "wait": 55 }));
    let of_web = &body["services"][0];
    assert_eq!(
        (status, &of_web["outcome"], &body["by"]),
        (StatusCode::OK, &"updated".into(), &"anna".into())
    );
    assert_eq!((of_web["from"].as_str(), of_web["to"].as_str()), (Some(&*old.digest), Some(&*new.digest)));
    web.runs(&new, 1);

    // A new certificate counts without a restart.
    let (cert, key, authority) = certificate();
    stage.write("cert.pem", &cert);
    stage.write("key.pem", &key);
    let renewed = trusting(authority);
    let (status, _) = answer(&renewed, &Method::GET, &url("state"), READ, &Value::Null);
    assert_eq!(status, StatusCode::OK);

    stage.crashing_image("web", "3");
    let (status, body) = run(&renewed, &json!({ "wait": 55 }));
    let of_web = &body["services"][0];
    assert_eq!((status, &of_web["outcome"]), (StatusCode::CONFLICT, &"rolled back".into()), "{body:#}");
    assert!(of_web["cause"].as_str().is_some_and(|cause| cause.contains("a task failed on")), "{body:#}");
    let log = daemon.lines();
    assert!(!format!("{log:?}").contains("a-token"), "no token in the log");
}

#[test]
fn reading_needs_the_token_unless_it_is_open() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    stage.service("web", &old, &[]);
    let get = |port: u16, host: &str, token: &str| {
        let client = Client::builder().build().unwrap();
        let url = format!("http://127.0.0.1:{port}/api/v1/state");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = client.get(&url).header("host", host);
            let request = if token.is_empty() { request } else { request.bearer_auth(token) };
            let work = async { request.send().await.ok().map(|answer| answer.status().as_u16()) };
            if let Some(status) = Runtime::new().unwrap().block_on(work) {
                return status;
            }
            assert!(Instant::now() < deadline, "{url} does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    gantry::tls::install_crypto_provider();
    let port = free_port();
    let every = format!("0.0.0.0:{port}");
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600").set("GANTRY_HTTP_ADDRESS", &every);

    let run = gantry.run();
    assert_eq!(run.code, Some(2), "open by accident: {run}");
    assert!(run.says(&["GANTRY_HTTP_READ_TOKEN", "GANTRY_HTTP_OPEN=true"]), "{run}");

    let with_token =
        gantry.clone().set("GANTRY_HTTP_READ_TOKEN", READ).set("GANTRY_HTTP_STEER_TOKEN", STEER).start();
    assert_eq!(["", READ, STEER].map(|token| get(port, "evil.test", token)), [401, 200, 200]);
    assert_eq!(with_token.stop().code, Some(0));

    let open = gantry.set("GANTRY_HTTP_OPEN", "true").set("GANTRY_HTTP_HOSTS", "gantry.test").start();
    let hosts = ["gantry.test", "10.1.2.3:80", "evil.test"];
    assert_eq!(hosts.map(|host| get(port, host, "")), [200, 200, 421]);
    assert_eq!(open.stop().code, Some(0));
}
