//! Webhooks of the real program: Debian's registry tells it of a push.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, PrivateRegistry, Request, Stage, free_port, wait};

const READ: &str = "a-token-for-reading";
const HOOK: &str = "a-token-for-registries";

/// Asks Gantry at this port; nothing where it does not answer yet.
fn ask(port: u16, method: &str, path: &str, token: &str, body: &Value) -> Option<Answer> {
    let (authorization, body) = (format!("Bearer {token}"), body.to_string());
    let headers = [("Authorization", &*authorization)];
    let request = Request { method, path, headers: &headers, body: body.as_bytes() };
    request.to_host(&format!("127.0.0.1:{port}")).ok()
}

/// The number at the end of a line of the metrics; 0: there is no such line.
fn metric(port: u16, line: &str) -> u64 {
    let answer = wait("metrics", 60, || ask(port, "GET", "/metrics", READ, &Value::Null)).good();
    let text = String::from_utf8(answer.body).unwrap();
    text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
}

/// How many requests of distribution came to this.
fn counted(port: u16, result: &str) -> u64 {
    metric(port, &format!("gantry_webhook_requests_total{{sender=\"distribution\",result=\"{result}\"}}"))
}

#[test]
fn a_push_to_a_real_registry_starts_the_update() {
    let stage = Stage::new();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/hooks/distribution");
    let registry = PrivateRegistry::notifying(&stage, &url, &format!("Bearer {HOOK}"));
    let old = registry.push(&stage, "web", "1");
    let web = stage.service("web", &old, &[]);
    let hooks = stage.write("hooks", &format!("debian {HOOK}\n"));
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"))
        .set("GANTRY_HTTP_READ_TOKEN", READ)
        .set("GANTRY_HTTP_HOOK_TOKEN_FILE", &hooks.display().to_string())
        .start();
    daemon.wait_for("1 service: 1 up to date", 60);
    // The registry has kept what it could not deliver: the blobs and the tag of the first push.
    wait("events of the first push", 60, || (counted(port, "triggered") == 1).then_some(()));
    assert!(counted(port, "ignored") > 0, "blobs");

    let new = registry.push(&stage, "web", "2");
    daemon.wait_for("1 updated", 60);
    web.runs(&new, 1);
    let runs = ask(port, "GET", "/api/v1/runs", READ, &Value::Null).unwrap().good().json();
    let run = &runs["runs"][0];
    assert_eq!((&run["trigger"], &run["by"]), (&"webhook".into(), &"debian".into()), "{runs:#}");
    assert_eq!(metric(port, "gantry_webhook_to_update_seconds_count"), 1);
    assert_eq!(metric(port, "gantry_new_digests_total{seen_by=\"webhook\"}"), 1);

    // Our own look-ups are events as well, and start nothing.
    let ignored = counted(port, "ignored");
    let body = json!({ "GANTRY_SERVICES_FILTERS": format!("name={}", web.name) });
    let answer = ask(port, "POST", "/hooks/run-gantry", HOOK, &body).unwrap();
    assert_eq!((answer.status, &answer.json()["by"]), (200, &"debian".into()));
    wait("the event of our own look-up", 60, || (counted(port, "ignored") > ignored).then_some(()));
    assert_eq!((counted(port, "triggered"), counted(port, "unauthorized")), (2, 0));
    let all = metric(port, "gantry_cycles_total{result=\"ok\",trigger=\"webhook\"}");
    // Long enough for what a look-up would have started.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(metric(port, "gantry_cycles_total{result=\"ok\",trigger=\"webhook\"}"), all);
    assert!(!format!("{:?}", daemon.lines()).contains("a-token"), "no token in the log");
}

#[test]
fn a_hook_needs_its_token() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    stage.service("web", &old, &[]);
    let port = free_port();
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "3600");
    let gantry = gantry.set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"));
    let event = json!({ "image": old.name });
    let ask = |token: &str| wait("answer", 60, || ask(port, "POST", "/hooks/generic", token, &event)).status;

    let with_token = gantry.clone().set("GANTRY_HTTP_HOOK_TOKEN", HOOK).start();
    with_token.wait_for("1 service: 1 up to date", 60);
    assert_eq!([HOOK, "a-token-that-is-wrong", ""].map(ask), [202, 401, 401]);
    with_token.wait_for("a registry told of a push", 20);
    assert_eq!(with_token.stop().code, Some(0));

    let without = gantry.start();
    assert_eq!(ask(HOOK), 404);
    assert_eq!(without.stop().code, Some(0));
}
