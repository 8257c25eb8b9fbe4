//! The status page of the real program, in a real browser: tests/page/real.mjs drives it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::{Stage, free_port};

const TOKEN: &str = "a-token-for-steering";

/// The browser's driver. Ended when dropped.
struct Driver(Child);

impl Driver {
    fn start(url: &str) -> Self {
        let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page"));
        let prepared = Command::new(tests.join("run")).arg("install").status().unwrap();
        assert!(prepared.success(), "Chromium and its driver cannot be installed");
        let mut node = Command::new("node");
        node.arg(tests.join("real.mjs")).args([url, TOKEN]).current_dir(tests.join("../../target/page"));
        Self(node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_user_sees_a_rollout_a_failure_and_steers_by_the_page() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    for number in 1..=6 {
        stage.service(&format!("web{number}"), &old, &[]);
    }
    let port = free_port();
    let operators = stage.write("operators", &format!("anna {TOKEN}\n")).display().to_string();
    let gantry = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"))
        .set("GANTRY_HTTP_READ_TOKEN", "a-token-for-reading")
        .set("GANTRY_HTTP_STEER_TOKEN_FILE", &operators);
    let mut daemon = Some(gantry.start());
    daemon.as_ref().unwrap().wait_for("6 services: 6 up to date", 60);
    let mut driver = Driver::start(&format!("http://127.0.0.1:{port}/"));
    let mut input = driver.0.stdin.take().unwrap();
    let mut seen = Vec::new();
    for line in BufReader::new(driver.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.strip_prefix("need ") {
            Some("good") => _ = stage.image("web", "2", &[]),
            Some("bad") => _ = stage.crashing_image("web", "3"),
            Some("away") => assert_eq!(daemon.take().unwrap().stop().code, Some(0)),
            Some("back") => daemon = Some(gantry.start()),
            Some(other) => panic!("what is {other}?"),
            None => {
                seen.push(line);
                continue;
            }
        }
        writeln!(input, "done").unwrap();
    }
    assert_eq!(seen.last().map(String::as_str), Some("done"), "{seen:#?}");
    assert_eq!(daemon.unwrap().stop().code, Some(0));
}
