//! The commands before and after a cycle: what they may set, what they say, how they end.

use std::path::Path;
use std::time::Duration;

use super::deployed::own_image;
use super::support::{Gantry, LABEL, Line, Run, Stage, wait};

/// What a hook has printed, in the order in which it came.
fn printed<'a>(lines: &'a [Line], hook: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.0["hook"] == hook).map(Line::message).collect()
}

/// Whether there is a process with the id that a hook has written to this file.
fn lives(file: &Path) -> bool {
    let id = std::fs::read_to_string(file).unwrap();
    // A zombie that nobody has waited for has no memory, hence no command line.
    std::fs::read(format!("/proc/{}/cmdline", id.trim())).is_ok_and(|words| !words.is_empty())
}

/// A hook that starts another process, says so, and goes on for long, deaf to what it is asked.
fn endless(stage: &Stage) -> (String, std::path::PathBuf) {
    let child = stage.folder.path().join("child");
    let command = format!(
        "trap '' TERM; (trap '' TERM; sleep 1000) & echo $! >{0}.new; mv {0}.new {0}; echo started; wait",
        child.display()
    );
    (command, child)
}

#[test]
fn what_the_pre_run_command_sets_applies_to_that_cycle_only() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let (first, second) = (stage.service("first", &old, &[]), stage.service("second", &old, &[]));
    let versions = (first.version(), second.version());
    let new = stage.image("web", "2", &[]);
    let settings = stage.write("settings", &format!("GANTRY_SERVICES_EXCLUDED={}\n", second.name));
    let (once, go_on) = (stage.folder.path().join("once"), stage.folder.path().join("go-on"));
    // A filter by `export`, an exclusion by a file that is sourced: one is left, which is excluded.
    let command = format!(
        "[ -e {once} ] && exit; touch {once}\n\
         export GANTRY_SERVICES_FILTERS='name={second}'\n. {settings}",
        once = once.display(),
        second = second.name,
        settings = settings.display()
    );
    let wait_for_us = format!("while [ ! -e {} ]; do sleep 0.05; done", go_on.display());
    let gantry = stage.gantry().set("GANTRY_PRE_RUN_CMD", &command).set("GANTRY_SLEEP_SECONDS", "1");
    let daemon = gantry.set("GANTRY_POST_RUN_CMD", &wait_for_us).start();

    daemon.wait_for("running the post-run command", 30);
    assert_eq!((first.version(), second.version()), versions, "nothing was updated in the first cycle");
    std::fs::write(go_on, "").unwrap();
    daemon.wait_for("2 services: 2 updated", 60);
    first.runs(&new, 1);
    second.runs(&new, 1);
    let run = daemon.stop();
    assert!(run.says(&["1 service: 1 left alone"]), "{run}");
}

#[test]
fn what_it_sets_is_checked_before_anything_is_touched() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_PRE_RUN_CMD", "GANTRY_UPDATE_NUM_WORKERS=many").run();
    assert_eq!((run.code, service.version()), (Some(1), version), "{run}");
    assert!(
        run.says(&[
            "cycle failed, nothing was updated",
            "the pre-run command has set",
            "NUM_WORKERS=\"many\""
        ]),
        "{run}"
    );
}

#[test]
fn a_failing_command_fails_the_cycle_and_only_the_one_before_it_prevents_updates() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    let new = stage.image("web", "2", &[]);
    let report = "echo \"failed=$GANTRY_CYCLE_FAILED summary=$GANTRY_CYCLE_SUMMARY\"";

    let gantry = stage.gantry().set("GANTRY_PRE_RUN_CMD", "echo no backup >&2; exit 3");
    let run = gantry.set("GANTRY_POST_RUN_CMD", report).run();
    assert_eq!((run.code, service.version()), (Some(1), version), "{run}");
    assert_eq!(printed(&run.lines, "pre-run"), ["no backup"], "{run}");
    assert!(run.says(&["nothing was updated", "the pre-run command failed: exit code 3"]), "{run}");
    let [told] = printed(&run.lines, "post-run")[..] else { panic!("{run}") };
    assert!(told.starts_with("failed=true summary=cycle failed"), "{run}");

    let run = stage.gantry().set("GANTRY_POST_RUN_CMD", &format!("{report}; exit 4")).run();
    assert_eq!((run.code, run.outcome(&service)), (Some(1), "updated"), "{run}");
    assert_eq!(printed(&run.lines, "post-run"), ["failed=false summary=1 service: 1 updated"], "{run}");
    assert!(run.says(&["the post-run command failed: exit code 4"]), "{run}");
    service.runs(&new, 1);
}

#[test]
fn what_a_command_prints_is_logged_line_by_line_as_it_comes_and_its_text_is_in_no_process_list() {
    let stage = Stage::new();
    let go_on = stage.folder.path().join("go-on");
    let command = format!(
        "PASSWORD=hush-7351; echo one; printf 'two\\tof \\033[31mthree\\033[0m\\n' >&2\n\
         while [ ! -e {} ]; do sleep 0.05; done\n\
         printf 'torn \\377 \\000 apart\\n\\nlast'",
        go_on.display()
    );
    let daemon = stage.gantry().set("GANTRY_PRE_RUN_CMD", &command).start();
    daemon.wait_for("one", 30);
    daemon.wait_for("two of three", 30);
    let arguments = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let words = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&words).into_owned())
    });
    assert_eq!(arguments.filter(|words| words.contains("hush-7351")).collect::<Vec<_>>(), [""; 0]);
    std::fs::write(go_on, "").unwrap();
    let run = daemon.end(60);
    let lines = printed(&run.lines, "pre-run");
    assert_eq!((lines.len(), lines[3]), (4, "last"), "{run}");
    assert!(lines[2].starts_with("torn \u{fffd} ") && lines[2].ends_with(" apart"), "{run}");
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_that_it_has_started() {
    let stage = Stage::new();
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let version = service.version();
    stage.image("web", "2", &[]);
    let (command, child) = endless(&stage);
    let limited = stage.gantry().set("GANTRY_HOOK_TIMEOUT_SECONDS", "3");
    let run_with = |gantry: Gantry| -> Run {
        let run = gantry.run();
        assert_eq!(run.code, Some(1), "{run}");
        assert!(
            run.says(&["command took longer than 3 s (GANTRY_HOOK_TIMEOUT_SECONDS) and was ended"]),
            "{run}"
        );
        assert!(!lives(&child), "it left a process behind: {run}");
        run
    };
    let run = run_with(limited.clone().set("GANTRY_PRE_RUN_CMD", &command));
    assert!(run.says(&["nothing was updated"]), "{run}");
    assert_eq!(service.version(), version, "{run}");
    let run = run_with(limited.set("GANTRY_POST_RUN_CMD", &command));
    assert_eq!(run.outcome(&service), "updated", "{run}");
}

#[test]
fn a_command_may_leave_nothing_behind() {
    let stage = Stage::new();
    let child = stage.folder.path().join("child");
    let command = format!("sleep 1000 & echo $! >{}", child.display());
    let run = stage.gantry().set("GANTRY_PRE_RUN_CMD", &command).run();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(!lives(&child), "{run}");
    assert!(run.took < Duration::from_secs(60), "nobody waited for what it left behind: {run}");
}

#[test]
fn told_to_stop_the_daemon_ends_its_command_and_all_that_it_has_started() {
    let stage = Stage::new();
    for variable in ["GANTRY_PRE_RUN_CMD", "GANTRY_POST_RUN_CMD"] {
        let (command, child) = endless(&stage);
        let daemon = stage.gantry().set(variable, &command).set("GANTRY_SLEEP_SECONDS", "3600").start();
        daemon.wait_for("started", 60);
        assert!(lives(&child));
        // Within three seconds.
        let run = daemon.stop();
        assert_eq!(run.code, Some(0), "{run}");
        assert!(run.says(&["command was ended, because Gantry was told to stop"]), "{run}");
        wait("the end of the hook's child", 5, || (!lives(&child)).then_some(()));
        std::fs::remove_file(child).unwrap();
    }
}

#[test]
fn in_gantry_s_own_image_they_are_run_by_its_shell_and_leave_nothing_behind() {
    let stage = Stage::new();
    let (image, name) = (own_image(&stage), stage.name("daemon"));
    stage.service("web", &stage.image("web", "1", &[]), &[]);
    let filter = format!("{LABEL}={}", stage.prefix);
    let pre_run = format!(
        "echo 'GANTRY_SERVICES_FILTERS=label={filter}' >/tmp/settings; source /tmp/settings\n\
         (sleep 1000 &); sleep 1001 & echo before"
    );
    let variables = [
        "DOCKER_HOST=unix:///var/run/docker.sock".to_owned(),
        "GANTRY_SERVICES_FILTERS=name=nobody-has-this-name".to_owned(),
        "GANTRY_CLEANUP_IMAGES=false".to_owned(),
        "GANTRY_SLEEP_SECONDS=3600".to_owned(),
        format!("GANTRY_LEDGER_NAME={}", stage.ledger()),
        format!("GANTRY_PRE_RUN_CMD={pre_run}"),
        "GANTRY_POST_RUN_CMD=echo \"after: $GANTRY_CYCLE_SUMMARY\"".to_owned(),
    ];
    let mut arguments = vec!["run", "--detach", "--read-only", "--tmpfs", "/tmp", "--network", "host"];
    arguments.extend(["--name", &name, "--volume", "/var/run/docker.sock:/var/run/docker.sock"]);
    for variable in &variables {
        arguments.extend(["--env", variable]);
    }
    stage.lab.docker(&[&arguments[..], &[&image]].concat());
    let log = || stage.lab.log_of(&["logs", &name]);
    wait("end of the first cycle", 60, || log().contains("waiting for the next cycle").then_some(()));
    let log = log();
    for words in ["before hook=pre-run", "after: 1 service: 1 up to date hook=post-run"] {
        assert!(log.contains(words), "{log}");
    }
    // Dead ones that nobody has waited for would be here, too.
    let processes = stage.lab.docker(&["top", &name, "-o", "pid,stat,args"]);
    assert_eq!(processes.lines().count(), 2, "a heading and Gantry: {processes}");
    stage.lab.docker(&["rm", "--force", &name]);
}
