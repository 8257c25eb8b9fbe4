//! Nobody learns a password who looks at logs, errors or the list of processes.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use serde_json::json;

use super::super::support::{JUERGEN, PULLER, PrivateRegistry, Served, Stage};
use super::{folder, is_discreet, on_all_nodes, reached_all_nodes, secrets, without_tasks};
use crate::support::http::Answer;

/// Looks at the command lines of all processes of this machine, again and again.
struct Onlooker {
    is_over: Arc<AtomicBool>,
    seen: JoinHandle<(usize, Vec<String>)>,
}

impl Onlooker {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let seen = std::thread::spawn(move || {
            let (mut helpers, mut found) = (0, Vec::new());
            while !over.load(SeqCst) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let bytes = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
                    helpers += usize::from(line.contains("docker-credential-seen"));
                    if secrets().iter().any(|secret| line.contains(secret)) {
                        found.push(line);
                    }
                }
                sleep(Duration::from_millis(100));
            }
            (helpers, found)
        });
        Self { is_over, seen }
    }

    /// How many times the helper was seen, and all command lines with something secret in them.
    fn end(self) -> (usize, Vec<String>) {
        self.is_over.store(true, SeqCst);
        self.seen.join().unwrap()
    }
}

#[test]
fn no_process_has_a_password_in_its_command_line_and_no_log_of_any_format_and_level() {
    let stage = Stage::new();
    let private = PrivateRegistry::with_passwords(&stage);
    let old = private.push(&stage, "app", "1");
    let service = on_all_nodes(&stage, "app", &old, &JUERGEN, None);
    let helper = format!(
        "#!/bin/sh\ncat >/dev/null\nsleep 1\n\
         printf '%s' '{{\"Username\":\"{}\",\"Secret\":\"{}\"}}'\n",
        JUERGEN.user, JUERGEN.password
    );
    let helper = stage.write("bin/docker-credential-seen", &helper);
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", helper.parent().unwrap().display());
    let config = folder(&stage, "config", &json!({ "credHelpers": { &private.host: "seen" } }));
    let lines = stage.write("logins", &format!("other example.com {} {}\n", PULLER.user, PULLER.password));
    let gantry = stage
        .gantry()
        .set("PATH", &path)
        .set("DOCKER_CONFIG", &config)
        .set("GANTRY_REGISTRY_CONFIGS_FILE", &lines.display().to_string())
        .set("GANTRY_REGISTRY_HOST", "single.example.com")
        .set("GANTRY_REGISTRY_USER", PULLER.user)
        .set("GANTRY_REGISTRY_PASSWORD", PULLER.password);
    let new = private.push(&stage, "app", "2");

    let onlooker = Onlooker::start();
    let run = gantry.run();
    reached_all_nodes(&run, &service, &new);
    for (format, level) in [("text", "DEBUG"), ("json", "INFO"), ("text", "ERROR"), ("text", "NONE")] {
        is_discreet(&gantry.clone().set("GANTRY_LOG_FORMAT", format).set("GANTRY_LOG_LEVEL", level).run());
    }
    let (helpers, found) = onlooker.end();
    assert!(helpers > 0, "the onlooker did not see the helper, which ran for a second");
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_registry_that_repeats_what_it_was_sent_is_quoted_without_it() {
    let stage = Stage::new();
    let address = format!("{}:0", stage.lab.host);
    // So long that a cut would fall into what is secret; HEAD has no body, so it also says it in a header.
    let echo = Served::at(&address, None, |request| {
        let sent = request.header("authorization");
        let words = format!("{} {sent} {} is wrong", "x".repeat(190), JUERGEN.password);
        let body = json!({ "errors": [{ "code": "DENIED", "message": words }] }).to_string();
        let ascii: String = words.chars().filter(char::is_ascii).collect();
        let challenge = format!("Basic realm=\"lab\",error_description=\"{ascii}\"");
        let status = if sent.is_empty() { 401 } else { 403 };
        Answer::json(status, body).with("www-authenticate", &challenge)
    });
    let host = echo.server.authority();
    let service = without_tasks(&stage, "app", &format!("{host}/app:1"), None);
    let config = json!({ "auths": { &host: { "auth": JUERGEN.encoded() } } });
    let gantry = stage.gantry().set("DOCKER_CONFIG", &folder(&stage, "config", &config));
    for format in ["json", "text"] {
        let run = gantry.clone().set("GANTRY_LOG_FORMAT", format).run();
        assert!(run.to_string().contains("***"), "{run}");
        assert!(run.says(&[&service.name, "refuses access", "xxx"]) || format == "text", "{run}");
        is_discreet(&run);
    }
}
