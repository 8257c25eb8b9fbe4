//! What people are told of a cycle: through the real Apprise, and when that does not do its part.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::{Apprise, Gantry, HttpServer, RealMail, Run, Stage, wait};
use crate::support::http::Answer;

/// What the tests of this file need of the program: where to tell, and what to add to the title.
fn telling(stage: &Stage, url: &str) -> Gantry {
    stage.gantry().set("GANTRY_NOTIFICATION_APPRISE_URL", url)
}

/// Checks that a cycle went well but that nobody could be told of it, and that this was said once.
#[track_caller]
fn was_not_sent(run: &Run, cause: &str) {
    assert_eq!(run.code, Some(0), "{run}");
    let is_about = |message: &&str| message.contains("GANTRY_NOTIFICATION_APPRISE_URL");
    let said: Vec<&str> = run.messages().into_iter().filter(is_about).collect();
    assert_eq!(said.len(), 1, "{run}");
    assert!(said[0].contains("was not sent: ") && said[0].contains(cause), "{cause}: {run}");
    let line = run.lines.iter().find(|line| line.message() == said[0]).unwrap();
    assert_eq!(line.level(), "WARN", "{run}");
}

#[test]
fn apprise_delivers_what_was_updated_and_with_on_change_nothing_of_a_cycle_that_changed_nothing() {
    const TITLE: &str = "(production) <b>Größe</b> &amp; \"50 %\" \\n ✓";
    let stage = Stage::new();
    let apprise = Apprise::start(&stage);
    let image = stage.image("app", "1", &[]);
    let (api, web) = (stage.service("api", &image, &[]), stage.service("web", &image, &[]));
    let gantry = telling(&stage, &apprise.url("team")).set("GANTRY_NOTIFICATION_TITLE", TITLE);

    // The default is `all`.
    let run = gantry.run();
    assert_eq!(run.code, Some(0), "{run}");
    let told = apprise.delivered_once();
    assert_eq!(told.title, format!("Gantry: nothing to update {TITLE}"));
    assert_eq!((told.body.as_str(), told.kind.as_str()), ("2 services: 2 up to date", "success"));

    let on_change = gantry.clone().set("GANTRY_NOTIFICATION_CONDITION", "On-Change");
    let run = on_change.run();
    assert_eq!((run.code, apprise.delivered()), (Some(0), Vec::new()), "{run}");
    assert!(!run.says(&["notified"]), "{run}");

    stage.image("app", "2", &[]);
    let run = on_change.run();
    assert_eq!(run.code, Some(0), "{run}");
    let told = apprise.delivered_once();
    assert_eq!(told.title, format!("Gantry: 2 updated {TITLE}"));
    let (name, kind) = (&image.name, told.kind.as_str());
    let mut names = [api.name.as_str(), web.name.as_str()];
    let body = |names: [&str; 2]| format!("2 services: 2 updated\n\nupdated ({name}): {}", names.join(", "));
    // They stand in the order in which they were done.
    if told.body != body(names) {
        names.reverse();
    }
    assert_eq!((told.body.as_str(), kind), (body(names).as_str(), "success"));

    // Without its key, and with somebody behind it who does not want to hear it.
    was_not_sent(
        &telling(&stage, &apprise.url("nobody")).run(),
        "Apprise has no service to tell under this key (204)",
    );
    apprise.is_answered_with(500);
    let words = "Apprise answers 424 Failed Dependency: One or more notification could not be sent";
    was_not_sent(&telling(&stage, &apprise.url("team")).run(), words);
    was_not_sent(&telling(&stage, &apprise.url("")).run(), "Apprise answers 404 Not Found");
}

#[test]
fn apprise_delivers_failures_with_names_causes_and_counts() {
    let stage = Stage::new();
    let apprise = Apprise::start(&stage);
    let (bad, good) = (stage.image("bad", "1", &[]), stage.image("good", "1", &[]));
    let bads = ["bad-1", "bad-2", "bad-3", "bad-4"].map(|name| stage.service(name, &bad, &[]));
    let fine = stage.service("fine", &good, &[]);
    let local = stage.local_image("local", "1");
    let unknown = stage.create("unknown", &local, &["--network", "host", "--no-resolve-image"]).running();
    stage.image("bad", "2", &["--cmd", "echo no database; sleep 0.2; exit 3"]);
    stage.image("good", "2", &[]);
    let gantry = telling(&stage, &apprise.url("team")).set("GANTRY_NOTIFICATION_CONDITION", "on-change");

    let run = gantry.clone().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1").run();

    assert_eq!(run.code, Some(1), "{run}");
    let told = apprise.delivered_once();
    assert_eq!(told.kind, "failure");
    let stopped = format!("rollout of {} stopped", bad.name);
    assert_eq!(told.title, format!("Gantry: 2 rolled back, 1 updated, 1 error, {stopped}"));
    let lines: Vec<&str> = told.body.lines().collect();
    let says = |words: &[&str]| lines.iter().any(|line| words.iter().all(|words| line.contains(words)));
    let counts = ["6 services: ", "2 rolled back", "1 updated", "2 held back", "1 error"];
    assert!(counts.iter().all(|count| lines[0].contains(count)), "{told:#?}");
    let stopped = format!("the rollout of {} was stopped after 2 of 4 ", bad.name);
    assert!(says(&[&stopped, "2 failed: a task failed on node", "(3)"]), "{told:#?}");
    for service in bads.iter().filter(|service| run.outcome(service).starts_with("rolled back")) {
        assert!(says(&[&service.name, "rolled back: a task failed on node", "(3)", &bad.name]), "{told:#?}");
    }
    let cause = format!("{}: error: {local}: ", unknown.name);
    assert!(says(&[&cause, "is not known to", "gantry.manifest.cmd=none"]), "{told:#?}");
    assert!(says(&[&format!("updated ({}): {}", good.name, fine.name)]), "{told:#?}");

    // What keeps the cycle from updating anything.
    let run = gantry.set("GANTRY_SERVICES_FILTERS", "colour=blue").run();
    assert_eq!(run.code, Some(1), "{run}");
    let told = apprise.delivered_once();
    assert_eq!(told.title, "Gantry: cycle failed, nothing was updated");
    assert!(told.body.starts_with("Cycle failed, nothing was updated: cannot list the services"), "{told:?}");
    assert!(told.body.contains("colour=blue") && told.kind == "failure", "{told:?}");
}

#[test]
fn a_stopped_rollout_is_told_while_its_run_goes_on() {
    let stage = Stage::new();
    let apprise = Apprise::start(&stage);
    let (bad, slow) = (stage.image("bad", "1", &[]), stage.image("slow", "1", &[]));
    let bads = ["bad-1", "bad-2", "bad-3", "bad-4"].map(|name| stage.service(name, &bad, &[]));
    stage.service("slow", &slow, &[]);
    stage.crashing_image("bad", "2");
    stage.slow_image("slow", "2", 75);

    let gantry = telling(&stage, &apprise.url("team"))
        .set("GANTRY_NOTIFICATION_CONDITION", "on-change")
        .set("GANTRY_NOTIFICATION_PROGRESS", "25")
        .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    let run = gantry.run();

    assert_eq!(run.code, Some(1), "{run}");
    let told = apprise.delivered();
    let (end, before) = told.split_last().unwrap();
    let stopped = format!("rollout of {} stopped", bad.name);
    assert_eq!(end.title, format!("Gantry: 2 rolled back, 1 updated, {stopped}"), "{told:#?}");
    // How far it is, and apart from that the stop alone.
    let (progress, stops): (Vec<_>, Vec<_>) = before.iter().partition(|message| message.kind == "info");
    assert_eq!(stops.len(), 1, "{told:#?}");
    assert_eq!(stops[0].title, format!("Gantry: {stopped} after 2 of {}", bads.len()), "{told:#?}");
    assert_eq!(stops[0].kind, "failure", "{told:#?}");
    assert!(stops[0].body.contains(", as 2 failed: a task failed on node"), "{told:#?}");
    let most = run.took.as_secs() / 25;
    assert!(!progress.is_empty() && progress.len() as u64 <= most, "{told:#?} {run}");
    for message in progress {
        let is_progress = message.title.starts_with("Gantry: run 1: 0 of 5 updated, ")
            && message.body.contains("Run 1 has lasted ");
        assert!(is_progress, "{told:#?}");
    }
}

#[test]
fn a_server_that_is_broken_or_away_is_a_warning_without_its_password_and_the_next_cycle_comes() {
    let stage = Stage::new();
    let broken = HttpServer::start(|request| match request.path.as_str() {
        "/notify/broken-k3y" => Answer::json(500, r#"{"error": "the\ndisk is full"}"#),
        "/notify/page-k3y" => Answer::new(502, "<html>a page</html>"),
        "/notify/endless-k3y" => Answer::endless(500),
        "/notify/moved-k3y" => Answer::new(302, "").with("location", "/notify/other-k3y"),
        _ => Answer::Cut,
    });
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let broken_at = broken.authority();
    let cases = [
        (&broken_at, "broken", "Apprise answers 500 Internal Server Error: the disk is full"),
        (&broken_at, "page", "Apprise answers 502 Bad Gateway"),
        (&broken_at, "endless", "Apprise answers 500 Internal Server Error"),
        (&broken_at, "moved", "Apprise answers 302 Found"),
        (&broken_at, "cut", "connection closed before message completed"),
        (&nobody, "away", "onnection refused"),
    ];
    for (host, what, cause) in cases {
        let url = format!("http://gantry:p4ssw0rd@{host}/notify/{what}-k3y");
        let run = telling(&stage, &url).run();
        was_not_sent(&run, cause);
        let secrets =
            run.messages().into_iter().filter(|said| said.contains("p4ssw0rd") || said.contains("k3y"));
        assert_eq!(secrets.count(), 0, "{run}");
    }
    let requests = broken.requests();
    let times = |what: &str| requests.iter().filter(|one| one.path == format!("/notify/{what}-k3y")).count();
    let tries = ["broken", "page", "endless", "moved", "cut"].map(times);
    assert!(matches!(tries, [3..=5, 3..=5, 3..=5, 1, 3..=5]), "a few times where it may help: {tries:?}");
    assert_eq!(requests.len(), tries.iter().sum::<usize>(), "nowhere else: {requests:?}");
    // gantry:p4ssw0rd
    assert!(
        requests.iter().all(|one| one.header("authorization") == "Basic Z2FudHJ5OnA0c3N3MHJk"),
        "{requests:?}"
    );

    let url = format!("http://{broken_at}/notify/broken-k3y");
    let mut daemon = telling(&stage, &url).set("GANTRY_SLEEP_SECONDS", "1").start();
    for _ in 0..2 {
        daemon.wait_for("was not sent: Apprise answers 500", 30);
        daemon.forget();
    }
    assert!(daemon.is_alive());
}

#[test]
fn a_server_that_does_not_answer_costs_its_time_limit_and_when_gantry_is_told_to_stop_a_second() {
    let stage = Stage::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let at = asked.clone();
    let silent = HttpServer::start_slow(move |_| {
        at.lock().unwrap().push(Instant::now());
        std::future::pending()
    });
    let url = format!("http://{}/notify/team", silent.authority());
    let run = telling(&stage, &url).run();
    was_not_sent(&run, "no answer within 10 s");
    let took = asked.lock().unwrap()[0].elapsed();
    // It is asked a moment after its time began.
    assert!(run.took >= Duration::from_secs(10) && took < Duration::from_secs(25), "{took:?} {run}");

    let daemon = telling(&stage, &url).set("GANTRY_SLEEP_SECONDS", "3600").start();
    wait("second notification", 60, || (asked.lock().unwrap().len() == 2).then_some(()));
    was_not_sent(&daemon.stop(), "Gantry was told to stop");
}

/// `GANTRY_NOTIFICATION_URL` and `GANTRY_NOTIFICATION_URL_FILE` on the real swarm, with a real mail server.
#[test]
fn a_run_is_told_by_mail_and_as_json_without_an_apprise_server() {
    let stage = Stage::new();
    let mail = RealMail::start(&stage);
    let endpoint = HttpServer::start(|_| Answer::new(200, ""));
    let image = stage.image("app", "1", &[]);
    let service = stage.service("web", &image, &[]);
    let urls = format!(
        "http://{}/hook?key=k3y smtp://gantry:{}@{}/?from=Gantry%20<gantry@a.test>&to=ops@b.test,dev@b.test&tls=required",
        endpoint.authority(),
        RealMail::PASSWORD,
        mail.authority(),
    );
    let gantry = stage
        .gantry()
        .set("SSL_CERT_FILE", &mail.trusted().display().to_string())
        .set("GANTRY_NOTIFICATION_CONDITION", "on-change");
    let given = gantry.clone().set("GANTRY_NOTIFICATION_URL", &urls);

    let run = given.run();
    assert_eq!((run.code, endpoint.requests().len(), mail.delivered().len()), (Some(0), 0, 0), "{run}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &urls).unwrap();
    let in_file = gantry.set("GANTRY_NOTIFICATION_URL_FILE", &file.path().display().to_string());
    for (tag, gantry) in [("2", given), ("3", in_file)] {
        stage.image("app", tag, &[]);
        let before = endpoint.requests().len();
        let run = gantry.run();
        assert_eq!(run.code, Some(0), "{run}");
        let secret = |said: &&str| said.contains("k3y") || said.contains("w0rd");
        assert_eq!(run.messages().into_iter().filter(secret).count(), 0, "{run}");
        let text = format!("1 service: 1 updated\n\nupdated ({}): {}", image.name, service.name);

        let told = &endpoint.requests()[before..];
        assert_eq!(told.len(), 1, "{run}");
        let told: serde_json::Value = serde_json::from_slice(&told[0].body).unwrap();
        assert_eq!((&told["title"], &told["type"]), (&"Gantry: 1 updated".into(), &"success".into()));
        assert_eq!((&told["text"], &told["run"]["id"]), (&text.as_str().into(), &1.into()));
        let one = &told["run"]["services"][0];
        assert_eq!((&one["service"], &one["outcome"]), (&service.name.as_str().into(), &"updated".into()));

        let mails = mail.delivered();
        assert_eq!(mails.len(), 1, "{run}");
        let mail = &mails[0];
        assert_eq!(
            (&mail["user"], &mail["tls"], &mail["from"]),
            (&"gantry".into(), &true.into(), &"gantry@a.test".into())
        );
        assert_eq!(mail["to"], serde_json::json!(["ops@b.test", "dev@b.test"]));
        assert_eq!(mail["subject"], "Gantry: 1 updated");
        assert_eq!(mail["text"].as_str().unwrap().trim_end().replace("\r\n", "\n"), text);
    }
}
