//! Page and API behind a real nginx, with the block of docs/behind-a-proxy.md.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::support::{Stage, free_port};

const TOKEN: &str = "a-token-for-steering";

/// A running nginx. Ended when dropped.
struct Nginx(Child);

impl Nginx {
    fn start(stage: &Stage, port: u16, gantry: u16) -> Self {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/behind-a-proxy.md");
        let page = std::fs::read_to_string(page).unwrap();
        let block = page.split("```nginx").nth(1).unwrap().split("```").next().unwrap();
        let block = block.replace("gantry:8080", &format!("127.0.0.1:{gantry}"));
        let config = stage.write("nginx.conf", "");
        let folder = config.parent().unwrap().display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        stage.write(
            "nginx.conf",
            &format!(
                "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n\
                 events {{}}\n\
                 http {{\naccess_log off;\n{temporary}server {{\nlisten 127.0.0.1:{port};\n{block}\n}}\n}}\n"
            ),
        );
        Self(Command::new("nginx").arg("-c").arg(&config).spawn().unwrap())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_page_works_below_a_path_of_nginx() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &[]);
    let (port, own) = (free_port(), free_port());
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{own}"))
        .set("GANTRY_HTTP_READ_TOKEN", "a-token-for-reading")
        .set("GANTRY_HTTP_STEER_TOKEN", TOKEN)
        .start();
    daemon.wait_for("1 service: 1 up to date", 60);
    gantry::tls::install_crypto_provider();
    let _nginx = Nginx::start(&stage, port, own);
    let new = stage.image("web", "2", &[]);

    Runtime::new().unwrap().block_on(async {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let site = format!("http://127.0.0.1:{port}");
        let get = |path: &str| client.get(format!("{site}/gantry{path}")).bearer_auth(TOKEN).send();
        let deadline = Instant::now() + Duration::from_secs(30);
        let moved = loop {
            match get("").await {
                Ok(answer) => break answer,
                Err(error) => assert!(Instant::now() < deadline, "nginx does not answer: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
        // The page and what it asks for, by the addresses that it has.
        let page = get("/").await.unwrap().text().await.unwrap();
        for asked in ["href=\"page.css\"", "src=\"page.js\""] {
            assert!(page.contains(asked), "{page}");
            let name = asked.split('"').nth(1).unwrap();
            assert_eq!(get(&format!("/{name}")).await.unwrap().status(), StatusCode::OK, "{name}");
        }
        // The stream comes through as it is made, and so does what a button of the page asks for.
        let mut stream = get("/api/v1/events").await.unwrap().bytes_stream();
        let mut seen = String::new();
        while !seen.contains("event: state") {
            let piece =
                timeout(Duration::from_secs(5), stream.next()).await.expect("nginx keeps the stream back");
            seen.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()));
        }
        let asked = client
            .post(format!("{site}/gantry/api/v1/run"))
            .bearer_auth(TOKEN)
            .header("origin", &site)
            .header("sec-fetch-site", "same-origin")
            .body(json!({ "wait": 50 }).to_string());
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let run: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((status, &run["services"][0]["outcome"]), (StatusCode::OK, &"updated".into()), "{run:#}");
        while !seen.contains("\"updating\"") {
            let piece =
                timeout(Duration::from_secs(5), stream.next()).await.expect("nginx keeps changes back");
            seen.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()));
        }
    });
    web.runs(&new, 1);
}
