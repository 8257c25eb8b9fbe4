//! What somebody sees who starts the program wrongly, or only asks it something.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use crate::registry::trust::pki;
use crate::support::http::{Answer, Server};

/// The program with nothing but these variables.
fn gantry(environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    // An engine that is nowhere: whatever goes wrong here, nothing is touched.
    command.env_clear().env("DOCKER_HOST", "unix:///nowhere/docker.sock").args(arguments);
    command.envs(environment.iter().copied());
    command
}

/// The exit code and what is on standard output, which is all that it says.
fn run(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = gantry(environment, arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// The exit code and what is on standard error, which is all that it says: nothing that could be piped.
fn complains(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = gantry(environment, arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_and_version_are_answered_without_an_engine_or_a_valid_configuration() {
    let wrong = [("GANTRY_SLEEP_SECONDS", "soon")];
    assert_eq!(run(&wrong, &["--version"]), (Some(0), format!("gantry {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, help) = run(&wrong, &["--help"]);
    assert_eq!(code, Some(0));
    assert_eq!(help, format!("{}\n", gantry::config::help()));
}

#[test]
fn an_unknown_argument_ends_with_2_and_a_hint() {
    let (code, said) = complains(&[], &["--hlep"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("did you mean gantry --help?"), "{said}");
}

#[test]
fn a_release_without_a_name_or_with_two_ends_with_2_and_nothing_is_asked_of_any_engine() {
    for (arguments, words) in [
        (
            &["release"][..],
            "what is to be released? gantry release takes one service, one image with its tag, or --all",
        ),
        (&["release", "web", "shop"], "\"shop\" is not expected here; gantry release takes one service"),
        (&["release", "--everything"], "\"--everything\" is not expected here; gantry release takes"),
        (&["quarantine", "web"], "\"web\" is not expected here; quarantine stands alone"),
    ] {
        let (code, said) = complains(&[], arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with(&format!("gantry: {words}")), "{said}");
    }
    let (code, said) = complains(&[("GANTRY_LEDGER_NAME", "two words")], &["release", "web"]);
    assert!(code == Some(2) && said.contains("GANTRY_LEDGER_NAME=\"two words\": expected"), "{said}");
}

#[test]
fn a_release_without_an_engine_ends_with_1_and_says_where_it_looked() {
    for arguments in [&["quarantine"][..], &["release", "web"], &["release", "--all"]] {
        let (code, said) = complains(&[], arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("the engine cannot be used") && said.contains("/nowhere/docker.sock"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn all_mistakes_are_told_together_and_end_with_2() {
    let wrong = [
        ("GANTRY_LOG_FORMAT", "json"),
        ("GANTRY_SLEEP_SECONDS", "soon"),
        ("GANTRY_UPDATE_NUM_WORKERS", "0"),
        ("TZ", "Europe/Atlantis"),
    ];
    let (code, said) = complains(&wrong, &[]);
    assert_eq!(code, Some(2));
    let event: serde_json::Value = serde_json::from_str(said.trim_end()).unwrap();
    for name in ["GANTRY_SLEEP_SECONDS=\"soon\"", "GANTRY_UPDATE_NUM_WORKERS=\"0\"", "TZ=\"Europe/Atlantis\""]
    {
        assert!(event["message"].as_str().unwrap().contains(name), "{said}");
    }

    let (code, said) = complains(&wrong[1..], &[]);
    assert_eq!((code, said.lines().count()), (Some(2), 4), "{said}");

    let silent = [&wrong[1..], &[("GANTRY_LOG_LEVEL", "NONE")]].concat();
    assert_eq!(complains(&silent, &[]), (Some(2), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_to_the_address_of_notifications_where_that_is_right() {
    let server = Server::start(|_| Answer::new(200, "")).await;
    let address = format!("http://{}/notify/key", server.authority());
    let wrong = [
        ("GANTRY_SLEEP_SECONDS", "soon"),
        ("GANTRY_REGISTRY_PASSWORD", "hush"),
        ("GANTRY_NOTIFICATION_APPRISE_URL", address.as_str()),
        ("GANTRY_NOTIFICATION_CONDITION", "never"),
        ("GANTRY_NOTIFICATION_TITLE", "(production)"),
    ];
    let said = |environment: Vec<(&'static str, String)>| async move {
        let run = move || {
            let pairs: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
            complains(&pairs, &[])
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let owned = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let (code, log) = said(owned(&wrong)).await;
    assert_eq!(code, Some(2), "{log}");
    let told = server.requests();
    assert_eq!(told.len(), 1, "{log}");
    let message: serde_json::Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(message["title"], "Gantry: not started, as its configuration is wrong (production)");
    assert_eq!(message["type"], "failure");
    let body = message["body"].as_str().unwrap();
    assert!(body.contains("GANTRY_SLEEP_SECONDS=\"soon\": expected") && !body.contains("hush"), "{body}");

    let nowhere = [("GANTRY_SLEEP_SECONDS", "soon"), ("GANTRY_NOTIFICATION_APPRISE_URL", "not an address")];
    assert_eq!(said(owned(&nowhere)).await.0, Some(2));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn unknown_variables_are_named_at_start() {
    let (code, said) = complains(&[("GANTRY_UPDATE_WORKERS", "5")], &[]);
    assert_eq!(code, Some(1), "there is no engine");
    assert!(
        said.contains("WARN  - GANTRY_UPDATE_WORKERS is not a variable of Gantry; did you mean"),
        "{said}"
    );
}

#[test]
fn variables_of_shepherd_are_named_at_start_with_ours() {
    let (code, said) = complains(&[("SLEEP_TIME", "5m"), ("WITH_REGISTRY_AUTH", "true"), ("TZ", "UTC")], &[]);
    assert_eq!(code, Some(1), "there is no engine");
    let hint = "WARN  - variables of Shepherd have no effect: SLEEP_TIME (here: GANTRY_SLEEP_SECONDS), \
                WITH_REGISTRY_AUTH (here: nothing)\n";
    assert!(said.contains(hint), "{said}");

    let (_, said) = complains(&[("TIMEOUT", "5m"), ("SLEEP_TIME", "")], &[]);
    assert!(!said.contains("Shepherd"), "{said}");
}

#[test]
fn a_log_that_nobody_reads_is_no_reason_to_die() {
    for (environment, arguments, expected) in
        [(&[("GANTRY_SLEEP_SECONDS", "soon")][..], &[][..], 2), (&[], &[], 1), (&[], &["--help"], 0)]
    {
        let mut child = gantry(environment, arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(expected));
    }
}

/// What `gantry notify --test` says, and its exit code.
async fn notify(environment: Vec<(&'static str, String)>) -> (Option<i32>, String) {
    let work = move || {
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Output { status, stdout, stderr } = gantry(&pairs, &["notify", "--test"]).output().unwrap();
        let said = [stdout, stderr].concat();
        (status.code(), String::from_utf8(said).unwrap())
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_goes_to_each_address_and_says_what_came_back() {
    let pki = pki();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, &pki.authority).unwrap();
    let taking = Server::start_tls(pki.open(), |request| match request.path.as_str() {
        "/notify/key" => Answer::new(200, ""),
        _ => Answer::new(204, ""),
    })
    .await;
    let refusing = Server::start_tls(pki.open(), |request| match request.path.as_str() {
        "/services/hush" => {
            Answer::new(403, "invalid_token").with("content-type", "text/plain; charset=utf-8")
        }
        "/api/hush" => Answer::json(404, r#"{"message": "Unknown Webhook", "code": 10015}"#),
        "/workflow/hush" => Answer::json(400, r#"{"error": {"code": "x", "message": "no hush-sig"}}"#),
        "/message" => {
            Answer::json(401, r#"{"error": "Unauthorized", "errorDescription": "provide a valid token"}"#)
        }
        _ => Answer::json(403, r#"{"code": 40301, "http": 403, "error": "forbidden: hush-topic"}"#),
    })
    .await;
    let (good, bad) = (taking.authority(), refusing.authority());
    let of = |server: &str| {
        format!(
            "https://hush:hush@{server}/hush slack+https://{server}/services/hush discord+https://{server}/api/hush \
             teams+https://{server}/workflow/hush?sig=hush-sig ntfy+https://hush@{server}/hush-topic \
             gotify+https://{server}/?token=hush"
        )
    };
    let with = |variables: &[(&'static str, String)]| {
        let trusted = ("SSL_CERT_FILE", trusted.display().to_string());
        [&[trusted], variables].concat()
    };
    let apprise = ("GANTRY_NOTIFICATION_APPRISE_URL", format!("https://{good}/notify/key"));
    let title = ("GANTRY_NOTIFICATION_TITLE", "(production)".to_owned());

    let (code, said) = notify(with(&[apprise, title, ("GANTRY_NOTIFICATION_URL", of(&good))])).await;
    assert_eq!((code, said.lines().count()), (Some(0), 7), "{said}");
    assert!(said.starts_with("GANTRY_NOTIFICATION_APPRISE_URL: sent (200 OK)\n"), "{said}");
    assert!(
        said.contains(
            "\nGANTRY_NOTIFICATION_URL, address 5: ntfy+https://127.0.0.1: sent (204 No Content)\n"
        ),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
    let requests = taking.requests();
    let paths: BTreeSet<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    let expected = ["/", "/api/hush", "/hush", "/message", "/notify/key", "/services/hush", "/workflow/hush"];
    assert_eq!(paths, BTreeSet::from(expected), "{requests:?}");
    assert!(
        requests
            .iter()
            .all(|request| request.header("content-type") == "application/json" && request.has_tls)
    );
    let title = "Gantry: test message (production)";
    assert!(requests.iter().all(|request| String::from_utf8_lossy(&request.body).contains(title)));
    let with_header =
        |name: &str, value: &str| requests.iter().find(|request| request.header(name) == value).unwrap();
    assert_eq!(with_header("authorization", "Bearer hush").path, "/");
    assert_eq!(with_header("x-gotify-key", "hush").path, "/message");
    assert_eq!(with_header("authorization", "Basic aHVzaDpodXNo").path, "/hush");

    let (code, said) = notify(with(&[("GANTRY_NOTIFICATION_URL", of(&bad))])).await;
    assert_eq!(code, Some(1), "{said}");
    let said = said.replace(bad.rsplit(':').next().unwrap(), "PORT");
    insta::assert_snapshot!(said);
    // The certificate of a server that is not known here.
    let (code, said) = notify(vec![("GANTRY_NOTIFICATION_URL", format!("https://{good}/"))]).await;
    assert!(code == Some(1) && said.contains("certificate"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_or_with_a_wrong_one_nothing_is_tested() {
    let (code, said) = notify(Vec::new()).await;
    assert!(code == Some(2) && said.contains("set GANTRY_NOTIFICATION_URL or"), "{said}");
    let (code, said) = notify(vec![("GANTRY_NOTIFICATION_URL_FILE", "/nowhere/addresses".to_owned())]).await;
    assert!(code == Some(2) && said.contains("cannot read /nowhere/addresses: No such file"), "{said}");
    let (code, said) = complains(&[("GANTRY_NOTIFICATION_URL", "hush://a hush://b")], &[]);
    assert!(code == Some(2) && said.contains("GANTRY_NOTIFICATION_URL=***: expected addresses"), "{said}");
    assert!(said.contains("; address 2: expected") && !said.contains("hush"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_to_those_addresses_that_are_right() {
    let server = Server::start(|_| Answer::new(200, "")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("addresses");
    std::fs::write(&path, format!("hush://hush http://{}/hush", server.authority())).unwrap();
    let path = path.display().to_string();
    let work = move || complains(&[("GANTRY_NOTIFICATION_URL_FILE", &path)], &[]);
    let (code, said) = tokio::task::spawn_blocking(work).await.unwrap();
    assert!(code == Some(2) && !said.contains("hush"), "{said}");
    let told = server.requests();
    assert_eq!(told.len(), 1, "{said}");
    let message: serde_json::Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!((&message["type"], &message["run"]), (&"failure".into(), &serde_json::Value::Null));
    assert!(message["text"].as_str().unwrap().contains("GANTRY_NOTIFICATION_URL_FILE="), "{message}");
}
