//! What somebody sees who starts the program wrongly, or only asks it something.

use std::process::{Command, Output, Stdio};

/// The program with nothing but these variables.
fn gantry(environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    // An engine that is nowhere: whatever goes wrong here, nothing is touched.
    command.env_clear().env("DOCKER_HOST", "unix:///nowhere/docker.sock").args(arguments);
    command.envs(environment.iter().copied());
    command
}

fn run(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = gantry(environment, arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    (status.code(), String::from_utf8(stdout).unwrap())
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
    let (code, said) = run(&[], &["--hlep"]);
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
        let (code, said) = run(&[], arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with(&format!("gantry: {words}")), "{said}");
    }
    let (code, said) = run(&[("GANTRY_LEDGER_NAME", "two words")], &["release", "web"]);
    assert!(code == Some(2) && said.contains("GANTRY_LEDGER_NAME=\"two words\": expected"), "{said}");
}

#[test]
fn a_release_without_an_engine_ends_with_1_and_says_where_it_looked() {
    for arguments in [&["quarantine"][..], &["release", "web"], &["release", "--all"]] {
        let (code, said) = run(&[], arguments);
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
    let (code, said) = run(&wrong, &[]);
    assert_eq!(code, Some(2));
    let event: serde_json::Value = serde_json::from_str(said.trim_end()).unwrap();
    for name in ["GANTRY_SLEEP_SECONDS=\"soon\"", "GANTRY_UPDATE_NUM_WORKERS=\"0\"", "TZ=\"Europe/Atlantis\""]
    {
        assert!(event["message"].as_str().unwrap().contains(name), "{said}");
    }

    let (code, said) = run(&wrong[1..], &[]);
    assert_eq!((code, said.lines().count()), (Some(2), 4), "{said}");

    let silent = [&wrong[1..], &[("GANTRY_LOG_LEVEL", "NONE")]].concat();
    assert_eq!(run(&silent, &[]), (Some(2), String::new()));
}

#[test]
fn unknown_variables_are_named_at_start() {
    let (code, said) = run(&[("GANTRY_UPDATE_WORKERS", "5")], &[]);
    assert_eq!(code, Some(1), "there is no engine");
    assert!(
        said.contains("WARN  - GANTRY_UPDATE_WORKERS is not a variable of Gantry; did you mean"),
        "{said}"
    );
}

#[test]
fn variables_of_shepherd_are_named_at_start_with_ours() {
    let (code, said) = run(&[("SLEEP_TIME", "5m"), ("WITH_REGISTRY_AUTH", "true"), ("TZ", "UTC")], &[]);
    assert_eq!(code, Some(1), "there is no engine");
    let hint = "WARN  - variables of Shepherd have no effect: SLEEP_TIME (here: GANTRY_SLEEP_SECONDS), \
                WITH_REGISTRY_AUTH (here: nothing)\n";
    assert!(said.contains(hint), "{said}");

    let (_, said) = run(&[("TIMEOUT", "5m"), ("SLEEP_TIME", "")], &[]);
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
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(expected));
    }
}
