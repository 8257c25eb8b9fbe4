//! How the program ends that is told to stop while something holds it up: an engine that does not answer, or a
//! command that does not obey.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{sleep, timeout};

use crate::fake::{FakeSwarm, Front, Instead, millis, secs};

/// How long a stop may take, as README says.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Far more than anything here takes, on whatever machine, and less than the program waits for an engine's answer.
const PATIENCE: Duration = Duration::from_secs(20);

const OVERDUE: &str = "stopped without waiting for what is under way";
const AT_ONCE: &str = "stopped at once by a second signal";

/// A swarm with one service, behind an engine.
struct Engine {
    front: Front,
    folder: TempDir,
}

impl Engine {
    fn new() -> Self {
        let swarm = FakeSwarm::with_nodes(1);
        // Without tasks, an update of it is over at once.
        swarm.new_service("web").replicas(0).create();
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
        Self { front, folder }
    }

    /// From now on, the lease can be taken and never be given back: that is not answered.
    fn keeps_the_lease(self) -> Self {
        self.front
            .tamper(|seen| is_change_of_the_ledger(&seen.method, &seen.path).then_some(Instead::Silence));
        self
    }

    /// The program, with an update to make in its first cycle.
    fn gantry(&self, variables: &[(&str, &str)]) -> Gantry {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DOCKER_HOST", self.front.address().to_string())
            // No registry is asked, and the service is sent its image again.
            .env("GANTRY_MANIFEST_CMD", "none")
            .env("GANTRY_CLEANUP_IMAGES", "false")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Gantry { child, lines, log: String::new() }
    }

    /// Waits until the lease is being given back.
    async fn waits_for_its_answer(&self) {
        let asked = async {
            while !self.front.seen().iter().any(|seen| is_change_of_the_ledger(&seen.method, &seen.path)) {
                sleep(millis(10)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("the lease was taken and is to be given back");
    }
}

fn is_change_of_the_ledger(method: &Method, path: &str) -> bool {
    method == Method::POST && path.starts_with("/configs/") && path.contains("/update?")
}

/// The program while it runs. Killed when dropped.
struct Gantry {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: String,
}

impl Gantry {
    async fn read(&mut self) -> bool {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("it says nothing more after\n{}", self.log)).unwrap();
        line.is_some_and(|line| {
            self.log += &line;
            self.log.push('\n');
            true
        })
    }

    /// Waits until it has said these words.
    async fn says(&mut self, words: &str) {
        while !self.log.contains(words) {
            assert!(self.read().await, "it has ended without {words:?}:\n{}", self.log);
        }
    }

    fn send(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for its end: the exit code and all that it has said.
    async fn end(mut self) -> (Option<i32>, String) {
        while self.read().await {}
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends when its output does");
        (status.unwrap().code(), self.log)
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_waited_for_no_longer_than_a_stop_may_take() {
    // Whatever would begin another cycle makes a daemon, which has done what it was told; a single cycle was not
    // completed.
    let daemon = [("GANTRY_SLEEP_SECONDS", "3600")];
    let triggered = [("GANTRY_TRIGGER_PATH", "/nonexistent/trigger")];
    let ends = [(&daemon[..], 0), (&triggered, 0), (&[], 1)].map(async |(variables, expected)| {
        let engine = Engine::new().keeps_the_lease();
        let mut gantry = engine.gantry(variables);
        engine.waits_for_its_answer().await;
        let told = Instant::now();
        gantry.send(Signal::TERM);
        gantry.says("told to stop").await;
        let (code, log) = gantry.end().await;
        let took = told.elapsed();
        assert!(code == Some(expected) && log.contains(OVERDUE), "{variables:?}: {code:?}\n{log}");
        assert!(!log.contains(AT_ONCE), "{log}");
        assert!((STOP_LIMIT..PATIENCE).contains(&took), "{variables:?}: it took {took:?}\n{log}");
    });
    join_all(ends).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_whichever_it_is() {
    let ends = [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)].map(async |(first, second)| {
        let engine = Engine::new().keeps_the_lease();
        let gantry = engine.gantry(&[("GANTRY_SLEEP_SECONDS", "3600")]);
        engine.waits_for_its_answer().await;
        let told = Instant::now();
        gantry.send(first);
        gantry.send(second);
        let (code, log) = gantry.end().await;
        let took = told.elapsed();
        // Told once it would have ended with 0, and later.
        assert!(code == Some(1) && log.contains(AT_ONCE), "{code:?}\n{log}");
        assert!(!log.contains(OVERDUE) && took < STOP_LIMIT, "it took {took:?}\n{log}");
    });
    join_all(ends).await;
}

/// Whether there is a process with the id that a hook has written to this file.
fn lives(file: &Path) -> bool {
    let id = std::fs::read_to_string(file).unwrap();
    // A zombie that nobody has waited for has no memory, hence no command line.
    std::fs::read(format!("/proc/{}/cmdline", id.trim())).is_ok_and(|words| !words.is_empty())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_no_less_of_its_commands() {
    let ends = ["GANTRY_PRE_RUN_CMD", "GANTRY_POST_RUN_CMD"].map(async |variable| {
        let engine = Engine::new();
        let child = engine.folder.path().join("child");
        // Deaf to what it is asked, so that ending it takes its time.
        let command = format!(
            "trap '' TERM; (trap '' TERM; sleep 1000) & echo $! >{0}.new; mv {0}.new {0}; echo deaf; wait",
            child.display()
        );
        let mut gantry = engine.gantry(&[(variable, &command), ("GANTRY_SLEEP_SECONDS", "3600")]);
        gantry.says("deaf hook=").await;
        assert!(lives(&child));
        gantry.send(Signal::TERM);
        gantry.send(Signal::INT);
        let (code, log) = gantry.end().await;
        assert!(code == Some(1) && log.contains(AT_ONCE), "{variable}: {code:?}\n{log}");
        let gone = async {
            while lives(&child) {
                sleep(millis(10)).await;
            }
        };
        timeout(secs(10), gone).await.unwrap_or_else(|_| panic!("{variable}: what it has started lives on"));
    });
    join_all(ends).await;
}
