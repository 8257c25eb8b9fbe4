use std::time::Duration;

use super::*;
use crate::rollout::samples::{NEW, crashed, nodes, shut_down, task};

fn cause(task: &Task) -> Option<Cause> {
    Cause::of_task(task, &Facts::default(), &nodes())
}

fn ended(state: TaskState, error: &str, exit_code: Option<i64>) -> Task {
    let error = error.to_owned();
    Task { state, desired: TaskState::Shutdown, error, exit_code, ..task("1", NEW, 1) }
}

/// What an engine says of tasks that came to their end, each as seen on a real one.
#[test]
fn every_bad_end_is_told_in_words() {
    let pulled_in_vain = "No such image: app:1@sha256:new";
    for (task, words) in [
        (
            ended(TaskState::Failed, "task: non-zero exit (3)", Some(3)),
            "a task failed on node1: task: non-zero exit (3)",
        ),
        (ended(TaskState::Failed, "", Some(3)), "a task failed on node1 with exit code 3"),
        (
            ended(TaskState::Failed, "starting container failed: exec: \"nope\": not found", Some(127)),
            "a task failed on node1 with exit code 127: starting container failed: exec: \"nope\": not found",
        ),
        (
            ended(TaskState::Failed, "task: non-zero exit (137): dockerexec: unhealthy container", Some(137)),
            "a task was unhealthy on node1",
        ),
        (
            ended(TaskState::Complete, "", Some(0)),
            "a task ended on node1 with exit code 0: it was unhealthy, or its program was done",
        ),
        (
            ended(TaskState::Rejected, pulled_in_vain, None),
            "node1 cannot get the image (No such image: app:1@sha256:new); the engine says so too when \
             credentials are refused or the registry cannot be reached from there",
        ),
        (
            ended(TaskState::Rejected, "invalid mount config for type \"bind\": no such path", None),
            "a task failed on node1: invalid mount config for type \"bind\": no such path",
        ),
        (ended(TaskState::Orphaned, "", None), "a task failed on node1"),
    ] {
        assert_eq!(cause(&task).unwrap().to_string(), words, "{task:?}");
    }
}

#[test]
fn a_task_that_does_what_it_should_is_no_cause() {
    let on_its_way = |state| Task { state, ..task("1", NEW, 1) };
    for task in [
        on_its_way(TaskState::New),
        on_its_way(TaskState::Pending),
        on_its_way(TaskState::Preparing),
        on_its_way(TaskState::Starting),
        on_its_way(TaskState::Running),
    ] {
        assert_eq!(cause(&task), None, "{task:?}");
    }
}

#[test]
fn a_task_that_was_told_to_end_is_no_cause_however_it_did() {
    for exit_code in [None, Some(0), Some(1), Some(137), Some(143)] {
        let told = Task { exit_code, ..shut_down(task("1", NEW, 1)) };
        assert_eq!(cause(&told), None, "{exit_code:?}");
        let limited = Facts { memory_limit: 64 << 20, ..Facts::default() };
        assert_eq!(Cause::of_task(&told, &limited, &nodes()), None, "{exit_code:?}");
    }
}

#[test]
fn a_pending_task_tells_the_schedulers_reason() {
    let pending = Task {
        node_id: String::new(),
        state: TaskState::Pending,
        error: "no suitable node (host-mode port already in use on 3 nodes)".to_owned(),
        ..task("1", NEW, 1)
    };
    assert_eq!(
        cause(&pending).unwrap().to_string(),
        "no suitable node: host-mode port already in use on 3 nodes"
    );
}

#[test]
fn killed_with_a_memory_limit_is_probably_out_of_memory_and_without_one_just_killed() {
    let killed = ended(TaskState::Failed, "task: non-zero exit (137)", Some(137));
    let limited = Facts { memory_limit: 64 << 20, ..Facts::default() };
    let words = Cause::of_task(&killed, &limited, &nodes()).unwrap().to_string();
    assert_eq!(
        words,
        "a task was killed on node1 (exit code 137), probably out of memory: its limit is 64 MiB"
    );
    assert!(matches!(cause(&killed), Some(Cause::TaskFailed { exit_code: Some(137), .. })));
    // With a limit too, an unhealthy task was killed for its health.
    let unhealthy =
        Task { error: "task: non-zero exit (137): dockerexec: unhealthy container".into(), ..killed };
    assert!(matches!(Cause::of_task(&unhealthy, &limited, &nodes()), Some(Cause::Unhealthy { .. })));
}

#[test]
fn a_node_without_a_name_is_called_by_its_id() {
    let lost = Task { node_id: "0xyz".to_owned(), ..crashed(task("1", NEW, 1)) };
    assert!(cause(&lost).unwrap().to_string().contains("on 0xyz"));
}

#[test]
fn the_engines_words_are_kept_on_one_line_and_short() {
    assert_eq!(words("  plain "), "plain");
    assert_eq!(words("two\nlines\r\nand\ta tab"), "two lines and a tab");
    assert_eq!(words("\u{1b}[31mred\u{7}"), "red");
    // Control characters of more than one byte are not a cut.
    assert_eq!(words("a\u{85}b"), "a b");
    assert_eq!(words(&"x".repeat(300)), "x".repeat(300));
    assert_eq!(words(&"x".repeat(301)), format!("{}...", "x".repeat(300)));
    assert_eq!(words(&"ä".repeat(300)), "ä".repeat(300));
    assert_eq!(words(&"ä".repeat(301)), format!("{}...", "ä".repeat(300)));
    assert_eq!(words(""), "");
}

#[test]
fn the_other_causes_read_as_sentences() {
    let after = Duration::from_secs(90);
    for (cause, words) in [
        (
            Cause::TimedOut { after, waiting: "1 of 2 tasks run".into(), blames_image: true },
            "timed out after 90 s while 1 of 2 tasks run",
        ),
        (
            Cause::NotRunning { running: 1, desired: 3 },
            "the swarm calls the update completed, but 1 of 3 tasks run",
        ),
        (
            Cause::NodeDown { node: "node2".into() },
            "node2 is down, and the swarm waits for the task that was about to start there",
        ),
        (Cause::Stopped { message: String::new() }, "the swarm stopped the update"),
        (Cause::Stopped { message: "why".into() }, "the swarm stopped the update: why"),
        (Cause::Refused { message: "bad mount".into() }, "the engine refused the update: bad mount"),
        (Cause::Internal { message: "oh".into() }, "internal error: oh"),
    ] {
        assert_eq!(cause.to_string(), words);
    }
}

/// An image is blamed when every service would fare the same with it, now and later.
#[test]
fn an_image_is_blamed_for_what_is_its_fault_and_in_doubt_not() {
    let node = || "node1".to_owned();
    let failed = |error: &str| Cause::TaskFailed { node: node(), exit_code: None, error: error.to_owned() };
    let no_node = |reason: &str| Cause::NoSuitableNode { reason: reason.to_owned() };
    let timed_out =
        |blames_image| Cause::TimedOut { after: Duration::ZERO, waiting: String::new(), blames_image };
    let message = String::new;
    for (cause, is_blamed) in [
        (failed("task: non-zero exit (1)"), true),
        (failed("starting container failed: exec: \"nope\": executable file not found"), true),
        (failed("starting container failed: exec: \"/app\": permission denied: unknown"), true),
        (failed("OCI runtime create failed: exec: \"/app\": stat /app: no such file or directory"), true),
        (failed("failed to create shim task: exec /app: exec format error: unknown"), true),
        (failed("unable to find user app: no matching entries in passwd file"), true),
        (failed("No command specified"), true),
        (failed(""), true),
        (Cause::Ended { node: node() }, true),
        (Cause::Unhealthy { node: node() }, true),
        (Cause::OutOfMemory { node: node(), limit: 1 }, true),
        (Cause::NotRunning { running: 0, desired: 1 }, true),
        (Cause::Stopped { message: message() }, false),
        (timed_out(true), true),
        (timed_out(false), false),
        (no_node("no suitable node (unsupported platform on 3 nodes)"), true),
        (no_node("no suitable node (insufficient resources on 3 nodes)"), false),
        (
            no_node("no suitable node (insufficient resources on 2 nodes; unsupported platform on 1 node)"),
            false,
        ),
        (no_node("no suitable node (host-mode port already in use on 3 nodes)"), false),
        (failed("invalid mount config for type \"bind\": bind source path does not exist: /data"), false),
        (failed("failed to create task: No space left on device"), false),
        (
            failed("starting container failed: no available IPv4 addresses on this network's address pools"),
            false,
        ),
        (
            failed(
                "failed to initialize logging driver: dial tcp 10.0.0.7:24224: connect: connection refused",
            ),
            false,
        ),
        (
            failed(
                "error while mounting volume '/v': failed to mount local volume: no such file or directory",
            ),
            false,
        ),
        (
            failed("OCI runtime create failed: fork/exec /proc/self/exe: resource temporarily unavailable"),
            false,
        ),
        (failed("could not find network a1: network a1 not found"), false),
        (failed("OCI runtime create failed: mkdir /data: permission denied"), false),
        (
            failed(
                "driver failed programming external connectivity: Bind for :80 failed: port is already allocated",
            ),
            false,
        ),
        (Cause::ImageNotFound { node: node(), error: "No such image: app:1".to_owned() }, false),
        (Cause::NodeDown { node: node() }, false),
        (failed("task: non-zero exit (255)"), true),
        (Cause::Refused { message: message() }, false),
        (Cause::Internal { message: message() }, false),
    ] {
        assert_eq!(cause.blames_image(), is_blamed, "{cause}");
    }
}
