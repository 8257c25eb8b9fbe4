use std::path::Path;
use std::time::Instant;

use super::*;

/// The shells that hooks meet, as far as they are here: of Debian, and of Gantry's own image.
fn shells() -> Vec<&'static str> {
    let mut shells = vec!["/bin/dash", "/bin/busybox"];
    shells.retain(|shell| Path::new(shell).exists());
    assert!(!shells.is_empty(), "neither dash nor busybox is here, and without a shell nothing is shown");
    shells
}

/// A folder in which `sh` is that shell.
fn path_of(shell: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(shell, folder.path().join("sh")).unwrap();
    folder
}

fn hook<'a>(when: When, command: &'a str, variables: &[(&str, &str)]) -> Hook<'a> {
    let mut environment: Environment =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".into(), "/usr/bin:/bin".into()));
    }
    Hook { when, command, environment, timeout: Some(Duration::from_secs(30)), leader: Leader::default() }
}

async fn pre_run(command: &str) -> Result<Option<Environment>, HookError> {
    hook(When::PreRun, command, &[]).run(&CancellationToken::new()).await
}

fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap())
}

#[tokio::test]
async fn what_the_pre_run_command_sets_is_known_in_whatever_way_it_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gantry.env");
    std::fs::write(&file, "GANTRY_A=from-file\nexport GANTRY_B='two\nlines, \"quoted\" = ä'\n").unwrap();
    let source = format!(". {}", file.display());
    for shell in shells() {
        let bin = path_of(shell);
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        for (command, a) in [
            ("export GANTRY_A=1", Some("1")),
            ("export GANTRY_A=1; exit 0", Some("1")),
            ("GANTRY_A=1", Some("1")),
            ("unset GANTRY_A", None),
            ("set -eu; export GANTRY_A=; PATH=", Some("")),
            ("trap 'rm -f nothing' EXIT; GANTRY_A=1", Some("1")),
            ("(export GANTRY_A=inner); true", Some("before")),
            ("sleep 0.01 & GANTRY_A=1; wait", Some("1")),
            (source.as_str(), Some("from-file")),
        ] {
            let hook = hook(When::PreRun, command, &[("GANTRY_A", "before"), ("PATH", &path)]);
            let left = hook.run(&CancellationToken::new()).await.unwrap();
            let left = left.unwrap_or_else(|| panic!("{shell} does not tell after {command}"));
            assert_eq!(value(&left, "GANTRY_A"), a, "{shell}: {command}");
            if command == source {
                assert_eq!(value(&left, "GANTRY_B"), Some("two\nlines, \"quoted\" = ä"), "{shell}");
            }
        }
    }
}

#[tokio::test]
async fn an_environment_larger_than_a_pipe_is_read_whole() {
    let long = "GANTRY_A=$(head -c 100000 /dev/zero | tr '\\0' x)";
    let left = pre_run(long).await.unwrap().unwrap();
    assert_eq!(value(&left, "GANTRY_A").unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_shell_that_cannot_tell_has_set_nothing() {
    for command in ["exec true", "trap : EXIT; exit 0"] {
        assert!(pre_run(command).await.unwrap().is_none(), "{command}");
    }
}

#[tokio::test]
async fn an_end_that_is_not_a_good_one_is_told_in_words() {
    for (command, words) in [
        ("exit 3", "the pre-run command failed: exit code 3"),
        ("false", "the pre-run command failed: exit code 1"),
        ("no-such-command", "the pre-run command failed: exit code 127"),
        ("if then", "the pre-run command failed: exit code 2"),
        ("kill -9 $$", "the pre-run command failed: ended by signal 9"),
        ("trap 'exit 7' EXIT; true", "the pre-run command failed: exit code 7"),
    ] {
        assert_eq!(pre_run(command).await.unwrap_err().to_string(), words, "{command}");
    }
    let nowhere = hook(When::PostRun, "true", &[("PATH", "/nowhere")]);
    let error = nowhere.run(&CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.starts_with("the post-run command cannot be run: "), "{error}");
}

/// How many processes of this group there are that are not dead.
fn alive(group: &str) -> usize {
    let is_one = |stat: &str| {
        let mut fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let (state, group_of_it) = (fields.next().unwrap(), fields.nth(1).unwrap());
        state != "Z" && group_of_it == group
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("stat")).ok())
        .filter(|stat| is_one(stat))
        .count()
}

/// Runs a command that writes its process id to `$PIDS`, and returns that and how it ended.
async fn run_and_look(
    command: &str,
    limit: Duration,
    stop: &CancellationToken,
) -> (String, Result<Option<Environment>, HookError>) {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let command = format!("echo $$ >{}; {command}", pids.display());
    let hook = Hook { timeout: Some(limit), ..hook(When::PreRun, &command, &[]) };
    let result = hook.run(stop).await;
    (std::fs::read_to_string(&pids).unwrap().trim().to_owned(), result)
}

#[tokio::test]
async fn what_takes_too_long_is_ended_with_all_its_processes() {
    for command in [
        "sleep 1000",
        "trap '' TERM; sleep 1000 & sleep 1000; sleep 1000",
        "(sleep 1000 | sleep 1000) & wait",
    ] {
        let begun = Instant::now();
        let (group, result) = run_and_look(command, Duration::from_secs(2), &CancellationToken::new()).await;
        assert!(matches!(result, Err(HookError::TimedOut { .. })), "{command}: {result:?}");
        assert_eq!(alive(&group), 0, "{command}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{command}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_stays_behind_in_the_background_is_ended_and_not_waited_for() {
    let begun = Instant::now();
    for command in ["sleep 1000 &", "(trap '' TERM; sleep 1000) & sleep 0.2", "nohup sleep 1000 >/dev/null &"]
    {
        let (group, result) = run_and_look(command, Duration::from_secs(60), &CancellationToken::new()).await;
        assert!(result.unwrap().is_some(), "{command}");
        assert_eq!(alive(&group), 0, "{command}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stop_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let command = format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 1000", pid.display());
    let (stop, mut told) = (CancellationToken::new(), Instant::now());
    let run = hook(When::PreRun, &command, &[]).run(&stop);
    let tell = async {
        while !pid.exists() {
            sleep(Duration::from_millis(10)).await;
        }
        told = Instant::now();
        stop.cancel();
    };
    let (result, ()) = tokio::join!(run, tell);
    assert!(matches!(result, Err(HookError::Stopped { .. })), "{result:?}");
    assert_eq!(alive(std::fs::read_to_string(&pid).unwrap().trim()), 0);
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());

    // What comes after the cycle has a moment, even when Gantry was told to stop before.
    let after = hook(When::PostRun, "sleep 0.1", &[]);
    assert!(after.run(&stop).await.is_ok());
}

#[tokio::test]
async fn a_hook_that_nobody_waits_for_any_more_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let command = format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 1000", pid.display());
    let stop = CancellationToken::new();
    let run = hook(When::PostRun, &command, &[]).run(&stop);
    let begun = async {
        while !pid.exists() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = run => panic!("it has ended"),
        () = begun => {}
    }
    let group = std::fs::read_to_string(&pid).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(group.trim()) > 0 {
        assert!(Instant::now() < deadline, "it lives on");
        sleep(Duration::from_millis(10)).await;
    }
}
