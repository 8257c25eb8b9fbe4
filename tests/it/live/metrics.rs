//! The metrics, with a real Prometheus that reads them: every rule and every query of docs/monitoring.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::support::{Stage, free_port};

const TOKEN: &str = "a-token-for-prometheus";

/// Metrics that are there only in certain settings: Docker Hub among the registries, or a sender of webhooks.
const CONDITIONAL: [&str; 3] = [
    "gantry_registry_ratelimit_remaining",
    "gantry_registry_ratelimit_limit",
    "gantry_webhook_requests_total",
];

/// A running Prometheus. Ended when dropped.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(stage: &Stage, gantry: u16) -> Self {
        let (port, rules) = (free_port(), folder().join("rules.yml"));
        let config = stage.write(
            "prometheus.yml",
            &format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
                 rule_files: [{rules}]\n\
                 scrape_configs:\n\
                 - job_name: gantry\n  \
                   authorization: {{credentials: {TOKEN}}}\n  \
                   static_configs: [{{targets: ['127.0.0.1:{gantry}']}}]\n",
                rules = rules.display(),
            ),
        );
        let checked = Command::new("promtool").args(["check", "config"]).arg(&config).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let data = config.with_file_name("prometheus");
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Asks its API; nothing before it listens.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let request = Client::new().get(format!("http://{}/api/v1/{path}", self.address)).query(query);
        let work = async { request.send().await.ok()?.text().await.ok() };
        serde_json::from_str(&Runtime::new().unwrap().block_on(work)?).ok()
    }

    /// How many series an expression has now.
    fn count(&self, expression: &str) -> usize {
        let answer = self.ask("query", &[("query", expression)]).unwrap_or_default();
        assert!(answer.is_null() || answer["status"] == "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The expressions of the dashboard, as Grafana would send them.
fn of_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let all = targets.chain(annotations).map(|it| it["expr"].as_str().unwrap());
    all.map(|expression| expression.replace("$__rate_interval", "1m")).collect()
}

/// The rules, as Prometheus has read and evaluated them.
fn of_rules(prometheus: &Prometheus) -> Vec<Value> {
    let rules = prometheus.ask("rules", &[]).unwrap_or_default();
    rules["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default()
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("gantry_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_real_prometheus_can_evaluate_every_rule_and_every_query() {
    let stage = Stage::new();
    let image = stage.image("web", "1", &[]);
    stage.service("web", &image, &[]);
    let wrong = stage.service("wrong", &image, &["--label", "gantry.update.order=sideways"]);
    let port = free_port();
    let daemon = stage
        .gantry()
        .set("GANTRY_SLEEP_SECONDS", "5")
        .set("GANTRY_HTTP_ADDRESS", &format!("127.0.0.1:{port}"))
        .set("GANTRY_HTTP_READ_TOKEN", TOKEN)
        .set("GANTRY_METRICS_SERVICES", "true")
        .start();
    daemon.wait_for("1 up to date", 60);
    gantry::tls::install_crypto_provider();
    let prometheus = Prometheus::start(&stage, port);

    until("scrape", || prometheus.count("up{job=\"gantry\"} == 1") == 1);
    until("run that a scrape has seen", || {
        prometheus.count("gantry_cycle_last_end_timestamp_seconds > 0") == 1
    });
    let attention = format!("gantry_service_attention{{service=\"{}\",reason=\"error\"}} == 1", wrong.name);
    until("service that needs attention", || prometheus.count(&attention) == 1);
    until("second scrape", || prometheus.count("rate(process_cpu_seconds_total[1m]) >= 0") == 1);

    // The rules are evaluated without an error, and the one that has a reason says so.
    until("evaluation of all rules", || {
        let rules = of_rules(&prometheus);
        let is_pending = |rule: &Value| rule["name"] == "GantryNeedsAttention" && rule["state"] == "pending";
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
        rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok") && rules.iter().any(is_pending)
    });

    // Each query can be evaluated, and names only what is there.
    let known = prometheus.ask("label/__name__/values", &[]).unwrap();
    let known: BTreeSet<&str> = known["data"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for expression in of_dashboard() {
        prometheus.count(&expression);
    }
    let rules = of_rules(&prometheus).into_iter().map(|rule| rule["query"].as_str().unwrap().to_owned());
    let queries = named(&of_dashboard().into_iter().chain(rules).collect::<Vec<_>>().join("\n"));
    assert!(queries.len() > 20, "{queries:?}");
    let unknown: Vec<_> =
        queries.iter().filter(|name| !known.contains(&***name) && !CONDITIONAL.contains(&&***name)).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");

    // The page names each metric, and no other.
    let page = std::fs::read_to_string(folder().with_file_name("metrics.md")).unwrap();
    let table = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let told = named(&table.collect::<String>());
    let base = |name: &str| {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        stem.unwrap_or(name).to_owned()
    };
    let given: BTreeSet<String> = known
        .iter()
        .filter(|name| name.starts_with("gantry_") || name.starts_with("process_"))
        .map(|name| base(name))
        .collect();
    let conditional: BTreeSet<String> = CONDITIONAL.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(told, given.union(&conditional).cloned().collect(), "docs/metrics.md");
}
