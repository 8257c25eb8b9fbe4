//! Commands that ask a daemon: the real program beside itself, over a fake engine and a small registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gantry::config::EngineAddress;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::fake::{FakeSwarm, Front, millis};
use crate::support::http::{Answer, Request, Server};
use crate::support::program::{Gantry, PATIENCE, Told, healthcheck, tell};
use crate::support::sha256;

const READ: &str = "a-token-for-reading";
const STEER: &str = "a-token-for-steering";

/// What the tag's index says, in this version.
fn index(version: &str) -> String {
    let child = sha256(version);
    format!(r#"{{"manifests":[{{"digest":"{child}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#)
}

/// A swarm with two services of one image, whose tag moves as the test says.
struct Place {
    swarm: FakeSwarm,
    front: Front,
    registry: Server,
    version: Arc<Mutex<String>>,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let version = Arc::new(Mutex::new("1".to_owned()));
        let now = version.clone();
        let answer = move |request: &Request| {
            let index = index(&now.lock().unwrap());
            let body = if request.method == "HEAD" { String::new() } else { index.clone() };
            Answer::json(200, body).with("docker-content-digest", sha256(index).as_str())
        };
        let registry = Server::start(answer).await;
        let swarm = FakeSwarm::with_nodes(1);
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
        let place = Self { swarm, front, registry, version, folder };
        for service in ["web", "shop"] {
            place.swarm.new_service(service).replicas(1).image(&place.image("1")).create();
        }
        place
    }

    /// The image in this version.
    fn image(&self, version: &str) -> String {
        format!("{}/app:1@{}", self.registry.authority(), sha256(index(version)))
    }

    /// The tag moves to this version.
    fn release(&self, version: &str) -> String {
        version.clone_into(&mut self.version.lock().unwrap());
        self.image(version)
    }

    fn engine(&self) -> EngineAddress {
        self.front.address()
    }

    /// A daemon that has looked once.
    async fn daemon(&self, variables: &[(&str, &str)]) -> Gantry {
        let own = [("GANTRY_SLEEP_SECONDS", "3600"), ("GANTRY_CLEANUP_IMAGES", "false")];
        let mut daemon = Gantry::start(&self.engine(), &[&own, variables].concat());
        daemon.says("waiting for the next cycle").await;
        daemon
    }

    async fn ask(&self, arguments: &[&str]) -> Told {
        tell(&self.engine(), &[], arguments).await
    }

    #[track_caller]
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// Exit code and answer of a command that has no trouble.
#[track_caller]
fn good(told: &Told) -> &str {
    assert_eq!((told.code, told.errors.as_str()), (Some(0), ""), "{told:?}");
    &told.text
}

/// The address of page and API, as the log of a daemon says it.
fn address(daemon: &Gantry) -> String {
    let (_, rest) = daemon.log.split_once("listen at ").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

/// The socket of the daemon with this process id, by what the kernel knows of it.
fn socket_of(daemon: &Gantry) -> PathBuf {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap();
    let files: Vec<PathBuf> = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect();
    let lock =
        files.iter().find(|file| file.ends_with("lock")).unwrap_or_else(|| panic!("no lock in {files:?}"));
    lock.with_file_name("socket")
}

#[tokio::test]
async fn every_command_is_answered_over_the_socket_without_a_token() {
    let place = Place::new().await;
    // The variables of commands are none of the daemon's mistakes.
    let others = [("GANTRY_URL", "https://other.test/"), ("GANTRY_TOKEN", "hunter2")];
    let daemon = place.daemon(&others).await;
    assert!(!daemon.log.contains("is not a variable") && !daemon.log.contains("hunter2"), "{}", daemon.log);

    let status = place.ask(&["status"]).await;
    assert!(good(&status).starts_with("all 2 services are on the newest image\ngantry "), "{status:?}");
    let state: Value = serde_json::from_str(good(&place.ask(&["status", "--json"]).await)).unwrap();
    assert_eq!(state["steer"], true, "who can open the socket may steer");
    assert_eq!(good(&place.ask(&["quarantine"]).await), "nothing is in quarantine\n");
    assert_eq!(good(&place.ask(&["history"]).await), "no run had news since the daemon was started\n");
    let explained = place.ask(&["explain", "web"]).await;
    assert!(
        good(&explained).starts_with("web: up to date\n")
            && explained.text.contains("\ngates:\n  pass  selection  ")
    );
    assert!(healthcheck(&place.engine()).await.unwrap().starts_with("healthy: last sign of life "));

    place.release("2");
    let run = place.ask(&["run", "--wait", "--service", "web"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.text.starts_with("run 2: 1 service: 1 updated\n  api, by docker-exec; began "), "{run:?}");
    assert!(place.swarm.image_of("web").ends_with(sha256(index("2")).as_str()));
    let run: Value = serde_json::from_str(good(&place.ask(&["run", "--json"]).await)).unwrap();
    assert_eq!((&run["id"], &run["by"]), (&3.into(), &"docker-exec".into()), "not waited for: {run}");
    let history = place.ask(&["history"]).await;
    assert!(good(&history).contains("api, by docker-exec"), "{history:?}");
    assert!(good(&place.ask(&["history", "2"]).await).contains("updated  web "));

    for (arguments, code, words) in [
        (&["history", "99"][..], 1, "there is no such run"),
        (&["explain", "nope"], 1, "Gantry knows no service \"nope\""),
        (&["run", "--service", "nope"], 1, "no service that Gantry updates matches nope"),
        (&["run", "--filter", "nope"], 2, "nope is not of the form key=value"),
    ] {
        let told = place.ask(arguments).await;
        assert_eq!((told.code, told.text.as_str()), (Some(code), ""), "{told:?}");
        assert!(told.errors.starts_with("gantry: ") && told.errors.contains(words), "{told:?}");
        assert_eq!(told.errors.lines().count(), 1, "{told:?}");
    }
    let nothing = place.ask(&["release", "web"]).await;
    assert_eq!((nothing.code, nothing.errors.as_str()), (Some(1), ""), "{nothing:?}");
    assert!(nothing.text.starts_with("nothing was released: web is not in quarantine"), "{nothing:?}");
}

#[tokio::test]
async fn a_run_that_fails_ends_with_1_and_its_release_goes_through_the_daemon() {
    let place = Place::new().await;
    let mut daemon = place.daemon(&[]).await;
    let bad = place.release("bad");
    place.swarm.image(&bad).crashes_after(millis(100), 3).logging(&["no disk \u{1b}[31mleft"]);
    let run = place.ask(&["run", "--wait"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.text.contains("rolled back") && run.text.contains("    | no disk left\n"), "{run:?}");
    assert!(run.errors.contains("needs attention: ") && run.errors.contains(" updated"), "progress: {run:?}");

    let status = place.ask(&["status"]).await;
    assert_eq!((status.code, status.errors.as_str()), (Some(1), ""), "{status:?}");
    assert!(status.text.contains("\nattention:\n") && status.text.contains("\nquarantine:\n"), "{status:?}");
    let held = place.ask(&["quarantine"]).await;
    assert!(good(&held).contains("app:1 at ") && held.text.contains("non-zero exit (3)"), "{held:?}");
    let released = place.ask(&["release", "--all"]).await;
    assert!(good(&released).starts_with("released, and offered again by the next cycle"), "{released:?}");
    daemon.says("released by a user").await;
    assert!(daemon.log.contains("docker-exec"), "{}", daemon.log);

    // Without a daemon, the ledger itself is asked.
    daemon.send(Signal::TERM);
    assert_eq!(daemon.end().await.0, Some(0));
    assert_eq!(good(&place.ask(&["quarantine"]).await), "nothing is in quarantine\n");
    assert_eq!(place.ask(&["release", "--all"]).await.code, Some(1));
    let status = place.ask(&["status"]).await;
    assert_eq!((status.code, status.text.as_str()), (Some(1), ""));
    assert!(
        status.errors.starts_with("gantry: there is no daemon to ask: no daemon runs here. Run"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_pause_holds_what_a_plan_would_do_until_it_is_ended() {
    let place = Place::new().await;
    let daemon = place.daemon(&[]).await;
    assert_eq!(good(&place.ask(&["plan"]).await), "nothing to do\n2 other services need nothing\n");
    place.release("2");
    let plan = place.ask(&["plan", "--service", "web"]).await;
    assert_eq!((plan.code, plan.errors.as_str()), (Some(3), ""), "{plan:?}");
    assert!(plan.text.starts_with("1 update is pending\n  update  web  "), "{plan:?}");

    let paused = place.ask(&["pause", "--for", "2h", "new", "switch"]).await;
    assert!(
        good(&paused).starts_with("paused by docker-exec until ") && paused.text.contains(": new switch;")
    );
    assert!(good(&place.ask(&["status"]).await).starts_with("updates are paused by docker-exec until "));
    assert_eq!(place.ask(&["plan"]).await.code, Some(0), "what is held is no update");
    good(&place.ask(&["run", "--wait"]).await);
    assert!(place.swarm.image_of("web").ends_with(sha256(index("1")).as_str()), "it was paused");
    assert_eq!(good(&place.ask(&["resume"]).await), "updates begin again\n");
    let again = place.ask(&["resume"]).await;
    assert_eq!((again.code, again.text.as_str()), (Some(1), "updates are not paused\n"), "{again:?}");
    let wrong = place.ask(&["pause", "--for", "soon"]).await;
    assert!(wrong.code == Some(2) && wrong.errors.contains("a pause cannot last \"soon\""), "{wrong:?}");

    // Without a daemon, the engine and the registry are asked from here.
    daemon.send(Signal::TERM);
    daemon.end().await;
    place.release("3");
    let plan = place.ask(&["plan"]).await;
    assert_eq!((plan.code, plan.errors.as_str()), (Some(3), ""), "{plan:?}");
    assert!(plan.text.starts_with("2 updates are pending\n"), "{plan:?}");
    let json = place.ask(&["plan", "--json", "--service", "shop"]).await;
    let json: Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((&json["updates"], json["services"].as_array().map(Vec::len)), (&1.into(), Some(1)), "{json}");
    let explained = place.ask(&["explain", "web"]).await;
    assert!(
        good(&explained).starts_with("web: ") && explained.text.contains("gates:\n  pass  selection"),
        "{explained:?}"
    );
    for (arguments, code, words) in [
        (&["explain", "nope"][..], 1, "Gantry knows no service"),
        (&["plan", "--service", "nope"], 1, "no service that Gantry updates matches"),
        (&["plan", "--filter", "nope"], 2, "nope is not of the form key=value"),
    ] {
        let told = place.ask(arguments).await;
        assert!(told.code == Some(code) && told.errors.contains(words), "{told:?}");
    }
}

#[tokio::test]
async fn a_run_that_lasts_longer_than_the_wait_ends_with_4() {
    let place = Place::new().await;
    let _daemon = place.daemon(&[]).await;
    let slow = place.release("slow");
    place.swarm.image(&slow).takes_to_pull(PATIENCE * 10);
    let run = place.ask(&["run", "--wait=2"]).await;
    assert_eq!((run.code, run.errors.as_str()), (Some(4), ""), "{run:?}");
    assert!(run.text.starts_with("run 2 is still under way; gantry history 2 shows"), "{run:?}");
    let mut waiting = Gantry::answering(&place.engine(), &[], &["run", "--wait"]);
    sleep(millis(500)).await;
    waiting.send(Signal::INT);
    assert!(waiting.read().await);
    let (code, said) = waiting.end().await;
    assert!(code == Some(4) && said.contains(" goes on; gantry history "), "{code:?} {said}");
}

#[tokio::test]
async fn a_run_that_has_to_wait_for_another_is_asked_for_again() {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let server = Server::start(move |request: &Request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if request.path == "/api/v1/run" && *count > 3 {
            return Answer::json(200, r#"{"id":7,"state":"done","failed":false,"services":[],"errors":[]}"#);
        }
        Answer::json(503, r#"{"error":"the run has not begun yet","remedy":"ask again"}"#)
    })
    .await;
    let place = Place::new().await;
    let url = server.url("/");
    let run = async |arguments: &[&str]| tell(&place.engine(), &[("GANTRY_URL", &url)], arguments).await;
    let not_waited = run(&["run"]).await;
    assert_eq!((not_waited.code, *asked.lock().unwrap()), (Some(4), 1), "{not_waited:?}");
    assert!(not_waited.text.starts_with("the run has not begun yet; it begins after"), "{not_waited:?}");
    let waited = run(&["run", "--wait"]).await;
    assert_eq!((waited.code, *asked.lock().unwrap()), (Some(0), 4), "{waited:?}");
    assert_eq!(waited.errors.matches("the run has not begun yet").count(), 1, "{waited:?}");
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_that_of_a_killed_daemon_is_replaced() {
    let place = Place::new().await;
    let daemon = place.daemon(&[]).await;
    let socket = socket_of(&daemon);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));

    // A second daemon of the same name does not steal it.
    let mut second = place.daemon(&[]).await;
    second.says("health checks and commands are not answered; trying on").await;
    assert!(second.log.contains("another process listens at"), "{}", second.log);
    good(&place.ask(&["status"]).await);

    daemon.send(Signal::KILL);
    daemon.end().await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while place.ask(&["status"]).await.code != Some(0) {
        assert!(std::time::Instant::now() < deadline, "the second daemon takes over");
    }
    assert_eq!(socket_of(&second), socket);
    second.send(Signal::TERM);
    assert_eq!(second.end().await.0, Some(0));
    assert!(!socket.parent().unwrap().exists(), "nothing is left behind");
}

#[tokio::test]
async fn the_socket_has_no_rule_for_hosts_and_stays_when_the_listener_has_tokens() {
    let place = Place::new().await;
    let tokens = [
        ("GANTRY_HTTP_ADDRESS", "127.0.0.1:0"),
        ("GANTRY_HTTP_READ_TOKEN", READ),
        ("GANTRY_HTTP_STEER_TOKEN", STEER),
    ];
    let daemon = place.daemon(&tokens).await;
    let mut stream = UnixStream::connect(socket_of(&daemon)).await.unwrap();
    let request = "GET /api/v1/state HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    good(&place.ask(&["run"]).await);
}

#[tokio::test]
async fn a_daemon_is_unhealthy_until_it_has_reached_its_engine() {
    let swarm = FakeSwarm::with_nodes(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let engine = EngineAddress::Unix(path.clone());
    let _daemon = Gantry::start(&engine, &[("GANTRY_SLEEP_SECONDS", "1")]);
    let says = async |words: &str| {
        let said = async {
            loop {
                let (Ok(said) | Err(said)) = healthcheck(&engine).await;
                if said.starts_with(words) {
                    return said;
                }
                sleep(millis(50)).await;
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it never says {words}"))
    };
    let ill = says("unhealthy: the engine has not answered yet").await;
    assert!(ill.contains("docker.sock"), "{ill}");
    let front = Front::unix(&swarm, &path);
    says("healthy: last sign of life").await;
    // One that has been there is waited for, as ever.
    drop(front);
    assert!(healthcheck(&engine).await.is_ok());
}

/// Certificate and key of `localhost`, and the authority that signed it, in PEM.
fn certificate() -> [String; 3] {
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    [certificate.pem(), key.serialize_pem(), authority.pem()]
}

#[tokio::test]
async fn a_daemon_elsewhere_is_asked_over_https_with_a_token() {
    let place = Place::new().await;
    let [cert, key, authority] = certificate();
    let (cert, key, authority) = (
        place.write("cert.pem", &cert),
        place.write("key.pem", &key),
        place.write("authority.pem", &authority),
    );
    let operators = place.write("operators", &format!("anna {STEER}\n"));
    let mut daemon = place
        .daemon(&[
            ("GANTRY_HTTP_ADDRESS", "127.0.0.1:0"),
            ("GANTRY_HTTP_READ_TOKEN", READ),
            ("GANTRY_HTTP_STEER_TOKEN_FILE", &operators),
            ("GANTRY_HTTP_TLS_CERT_FILE", &cert),
            ("GANTRY_HTTP_TLS_KEY_FILE", &key),
        ])
        .await;
    let url = address(&daemon).replace("127.0.0.1", "localhost");
    let nowhere = EngineAddress::Unix("/nowhere/docker.sock".into());
    let own = [("GANTRY_URL", url.as_str()), ("SSL_CERT_FILE", authority.as_str())];
    let ask = async |more: &[(&str, &str)], arguments: &[&str]| {
        tell(&nowhere, &[&own, more].concat(), arguments).await
    };
    good(&ask(&[("GANTRY_TOKEN", READ)], &["status"]).await);
    let run = ask(&[("GANTRY_TOKEN_FILE", &operators)], &["run", "--wait"]).await;
    assert!(good(&run).contains("api, by anna"), "{run:?}");
    good(&ask(&[("GANTRY_TOKEN", READ)], &["quarantine"]).await);
    for (token, arguments, words) in [
        ("", &["status"][..], "asks for a token; set GANTRY_TOKEN or GANTRY_TOKEN_FILE"),
        ("a-token-that-is-wrong", &["status"], "does not know the token of GANTRY_TOKEN"),
        ("a-token-that-is-wrong", &["watch"], "does not know the token of GANTRY_TOKEN"),
        (READ, &["run"], "may only read; steering needs a token of the daemon's GANTRY_HTTP_STEER_TOKEN"),
        (READ, &["release", "--all"], "may only read"),
    ] {
        let told = ask(&[("GANTRY_TOKEN", token)], arguments).await;
        assert_eq!((told.code, told.text.as_str()), (Some(1), ""), "{told:?}");
        assert!(told.errors.contains(words) && !told.errors.contains("a-token"), "{told:?}");
    }
    let unknown = tell(&nowhere, &[("GANTRY_URL", &url), ("GANTRY_TOKEN", READ)], &["status"]).await;
    assert!(unknown.code == Some(1) && unknown.errors.contains("certificate"), "{unknown:?}");
    daemon.send(Signal::TERM);
    daemon.says("stopped").await;
    drop(daemon);
    let gone = ask(&[("GANTRY_TOKEN", READ)], &["status"]).await;
    assert!(
        gone.errors.contains("cannot ask the daemon at") && gone.errors.contains("GANTRY_URL"),
        "{gone:?}"
    );
}

#[tokio::test]
async fn steering_that_is_off_is_told_from_a_daemon_of_another_version() {
    let place = Place::new().await;
    let daemon = place.daemon(&[("GANTRY_HTTP_ADDRESS", "127.0.0.1:0")]).await;
    let url = address(&daemon);
    let at = async |url: &str, arguments: &[&str]| {
        let nowhere = EngineAddress::Unix("/nowhere/docker.sock".into());
        let told = tell(&nowhere, &[("GANTRY_URL", url)], arguments).await;
        assert_eq!(told.code, Some(1), "{told:?}");
        told.errors
    };
    let off = at(&url, &["run"]).await;
    assert!(off.contains("steering is off at") && off.contains("set GANTRY_HTTP_STEER_TOKEN"), "{off}");

    let old = Server::start(|request| match request.path.as_str() {
        "/gantry/api/v1/openapi.json" => Answer::json(200, r#"{"paths":{"/api/v1/state":{}}}"#),
        "/gantry/api/v1/state" => {
            Answer::json(200, r#"{"version":"0.0.1","verdict":{"level":"ok","words":"well"}}"#)
        }
        "/elsewhere/api/v1/state" => {
            Answer::new(301, "").with("location", "https://gantry.test/elsewhere/api/v1/state?x=y")
        }
        "/proxy/api/v1/state" => Answer::new(502, "<html>Bad Gateway</html>"),
        path if path.starts_with("/gantry/") => {
            Answer::json(404, r#"{"error":"there is no such route","remedy":"x"}"#)
        }
        _ => Answer::new(404, "<html>not here</html>"),
    })
    .await;
    let url = |path: &str| format!("http://{}{path}", old.authority());
    let version = at(&url("/gantry"), &["quarantine"]).await;
    assert!(version.contains("(0.0.1) does not know this command of gantry"), "{version}");
    let strange = at(&url("/"), &["status"]).await;
    assert!(
        strange.contains("answers 404 Not Found, not as Gantry does; GANTRY_URL must be the address"),
        "{strange}"
    );
    let moved = at(&url("/elsewhere"), &["status"]).await;
    assert!(moved.contains("sends elsewhere: set GANTRY_URL=https://gantry.test/elsewhere/\n"), "{moved}");
    let proxy = at(&url("/proxy"), &["status"]).await;
    assert!(proxy.contains("the proxy at") && proxy.contains("answers 502"), "{proxy}");
    let nowhere = EngineAddress::Unix("/nowhere/docker.sock".into());
    let status = tell(&nowhere, &[("GANTRY_URL", &url("/gantry"))], &["status"]).await;
    assert_eq!((status.code, status.text.lines().next()), (Some(0), Some("well")), "{status:?}");
    assert!(status.errors.contains("the daemon is of version 0.0.1"), "{status:?}");
}

#[tokio::test]
async fn watch_tells_progress_in_plain_lines_and_goes_on_after_a_restart() {
    let place = Place::new().await;
    let daemon = place.daemon(&[]).await;
    let mut watch = Gantry::answering(&place.engine(), &[], &["watch"]);
    watch.says("all 2 services are on the newest image").await;
    let bad = place.release("bad");
    place.swarm.image(&bad).crashes_after(millis(100), 3).logging(&["no disk left"]);
    assert_eq!(place.ask(&["run", "--wait"]).await.code, Some(1));
    watch.says("run 2 is over: failed: ").await;
    for words in ["0 of 2 updated (running)", "needs attention: ", "    | no disk left", "1 failed"] {
        assert!(watch.log.contains(words), "{words}: {}", watch.log);
    }
    assert!(!watch.log.contains('\u{1b}'), "{}", watch.log);

    daemon.send(Signal::KILL);
    daemon.end().await;
    watch.says("; trying again").await;
    let _daemon = place.daemon(&[]).await;
    place.release("good");
    assert_eq!(place.ask(&["run", "--wait"]).await.code, Some(0));
    watch.says("run 2 is over: 2 services: 2 updated").await;
    watch.send(Signal::INT);
    assert_eq!(watch.end().await.0, Some(0));
}

#[tokio::test]
async fn watch_ends_when_its_output_is_read_no_more() {
    let place = Place::new().await;
    let _daemon = place.daemon(&[]).await;
    let mut watch = Gantry::answering(&place.engine(), &[], &["watch"]);
    watch.says("newest image").await;
    let mut ended = watch.read_no_more();
    place.release("2");
    good(&place.ask(&["run"]).await);
    let status = timeout(PATIENCE, ended.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

/// What is held back reads the same from the daemon and from the ledger.
#[tokio::test]
async fn quarantine_reads_the_same_with_and_without_a_daemon() {
    let place = Place::new().await;
    let daemon = place.daemon(&[("GANTRY_ROLLOUT_MIN_FAILURES", "9")]).await;
    let bad = place.release("bad");
    place.swarm.image(&bad).crashes_after(millis(100), 3);
    assert_eq!(place.ask(&["run", "--wait"]).await.code, Some(1));
    let through = place.ask(&["quarantine"]).await;
    daemon.send(Signal::TERM);
    daemon.end().await;
    assert_eq!(good(&through), good(&place.ask(&["quarantine"]).await));
}
