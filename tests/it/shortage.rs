//! How the program works where something is missing that it cannot do without for ever: a reader of its log, or file
//! descriptors.

use std::io::{BufRead as _, BufReader, PipeReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::fake::{FakeSwarm, Front, millis};

/// How long a stop may take, as docs/how-it-works.md says.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Far more than anything here takes, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A swarm behind an engine.
struct Engine {
    front: Front,
    swarm: FakeSwarm,
    _folder: TempDir,
}

impl Engine {
    fn new() -> Self {
        let swarm = FakeSwarm::with_nodes(1);
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
        Self { front, swarm, _folder: folder }
    }

    /// The program, run by a shell after `prelude`.
    fn gantry(&self, prelude: &str, arguments: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{prelude} exec {} {arguments}", env!("CARGO_BIN_EXE_gantry"))])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DOCKER_HOST", self.front.address().to_string())
            // No registry is asked, and each service is sent its image again.
            .env("GANTRY_MANIFEST_CMD", "none")
            .env("GANTRY_CLEANUP_IMAGES", "false")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        command
    }

    /// Waits until the engine has been asked about itself so many times more.
    async fn is_asked(&self, times: usize) {
        let asked = || self.front.seen().iter().filter(|seen| seen.path.starts_with("/info")).count();
        let enough = asked() + times;
        let wait = async {
            while asked() < enough {
                sleep(millis(20)).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no cycle any more after {} requests", asked()));
    }

    /// Waits until the tasks of an update have been listed twice.
    async fn is_watched(&self) {
        let looks = || self.front.seen().iter().filter(|seen| seen.path.starts_with("/tasks?")).count();
        let enough = looks() + 2;
        timeout(PATIENCE, async {
            while looks() < enough {
                sleep(millis(20)).await;
            }
        })
        .await
        .unwrap();
    }

    fn is_healthy(&self) {
        let check = self.gantry("", "healthcheck", &[]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

/// Ends with the test.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    /// Lowers or raises its limit of open files.
    fn may_open(&self, files: u64) {
        let limit = Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
    }

    /// Tells it to end, and says with which exit code it did and after which time.
    async fn stop(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        kill_process(self.pid(), Signal::TERM).unwrap();
        (self.end(PATIENCE).await, begun.elapsed())
    }

    async fn end(&mut self, limit: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < limit, "it has not ended after {limit:?}");
            sleep(millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that logs a thousand lines in each cycle, a second apart, to a small pipe.
fn talkative(engine: &Engine) -> (Running, PipeReader) {
    engine.swarm.new_service("web").replicas(0).create();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let variables = [
        ("GANTRY_LOG_LEVEL", "DEBUG"),
        ("GANTRY_SLEEP_SECONDS", "1"),
        ("GANTRY_PRE_RUN_CMD", "seq -f 'line %.0f of a thousand' 1000"),
    ];
    let child = engine.gantry("", "", &variables).stderr(writer).spawn().unwrap();
    (Running(child), reader)
}

#[tokio::test]
async fn a_log_that_is_not_read_stops_neither_the_work_nor_a_stop() {
    let engine = Engine::new();
    let (mut gantry, _reader) = talkative(&engine);
    engine.is_asked(8).await;
    engine.is_healthy();
    let (code, took) = gantry.stop().await;
    assert!(code == Some(0) && took < STOP_LIMIT, "{code:?} after {took:?}");
}

#[tokio::test]
async fn a_reader_that_comes_back_learns_how_much_was_dropped() {
    let engine = Engine::new();
    let (mut gantry, reader) = talkative(&engine);
    engine.is_asked(8).await;

    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        let is_wanted = |line: &String| line.contains(" dropped: the reader of the log is too slow");
        let mut lines = lines.skip_while(|line| !is_wanted(line));
        // The reader goes away after that, with what it has not read.
        tell.send([lines.next(), lines.next()]).unwrap();
    });
    let [dropped, next] = timeout(PATIENCE, async {
        loop {
            match told.try_recv() {
                Ok(lines) => return lines.map(Option::unwrap),
                Err(_) => sleep(millis(20)).await,
            }
        }
    })
    .await
    .unwrap();
    let number = dropped.split("WARN").nth(1).unwrap().split_whitespace().nth(1).unwrap();
    assert!(number.parse::<u64>().unwrap() > 100, "{dropped}");
    assert!(
        dropped.ends_with(" lines of the log were dropped: the reader of the log is too slow"),
        "{dropped}"
    );
    assert!(next.contains(" INFO ") || next.contains(" DEBUG "), "{next}");

    engine.is_asked(4).await;
    engine.is_healthy();
    let (code, took) = gantry.stop().await;
    assert!(code == Some(0) && took < STOP_LIMIT, "{code:?} after {took:?}");
}

#[tokio::test]
async fn a_single_cycle_loses_no_line_of_its_log() {
    let engine = Engine::new();
    engine.swarm.new_service("web").replicas(0).create();
    let variables = [("GANTRY_POST_RUN_CMD", "seq -f 'line %.0f of 900' 900")];
    let mut command = engine.gantry("", "", &variables);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" of 900 ")).collect();
    assert_eq!(lines.len(), 900, "{log}");
    assert!(log.lines().last().unwrap().contains("1 service: 1 started"), "{log}");
}

/// The exit code and the log of a single cycle of 200 services with so many descriptors.
async fn with_descriptors(number: u32) -> (Option<i32>, String) {
    let engine = Engine::new();
    for number in 0..200 {
        engine
            .swarm
            .new_service(&format!("site-{number}"))
            .image(&format!("r.test/site-{number}:1"))
            .create();
    }
    let mut child =
        engine.gantry(&format!("ulimit -n {number};"), "", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let read = std::thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    });
    let code = Running(child).end(PATIENCE).await;
    (code, read.join().unwrap())
}

#[tokio::test]
async fn too_few_file_descriptors_end_in_an_error() {
    let (code, log) = with_descriptors(16).await;
    assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
    assert!(log.contains("expected a limit of at least 24 open files, found 16; raise it"), "{log}");
}

#[tokio::test]
async fn a_cycle_does_not_use_more_file_descriptors_than_there_are() {
    let (code, log) = with_descriptors(24).await;
    assert!(code == Some(0) && log.contains("200 services: 200 updated"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

/// What a process says when its limit of open files is reached.
const SHORTAGE: &str = "Too many open files (os error 24); raise the limit of open files (ulimits.nofile in the stack file, or \
                        ulimit -n)";

/// A service whose update takes ten minutes.
fn slow_engine() -> Engine {
    let engine = Engine::new();
    engine.swarm.new_service("web").image("r.test/web:1").create();
    engine.swarm.image("r.test/web:1").starts_after(Duration::from_secs(600));
    engine
}

/// The lines of a log as they come.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    std::thread::spawn(move || lines.map_while(|line| tell.send(line).ok()).for_each(drop));
    told
}

/// Waits for a line with these words, and returns all lines up to it.
async fn wait_for(lines: &mpsc::Receiver<String>, words: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let begun = Instant::now();
    while seen.last().is_none_or(|line| !line.contains(words)) {
        assert!(begun.elapsed() < PATIENCE, "no {words:?} in {seen:#?}");
        match lines.try_recv() {
            Ok(line) => seen.push(line),
            Err(_) => sleep(millis(20)).await,
        }
    }
    seen
}

#[tokio::test]
async fn a_run_that_cannot_open_connections_any_more_fails() {
    let engine = slow_engine();
    let mut gantry = Running(engine.gantry("", "", &[]).stderr(Stdio::piped()).spawn().unwrap());
    let lines = lines_of(&mut gantry.0);
    wait_for(&lines, "updating").await;
    engine.is_watched().await;
    gantry.may_open(3);
    let seen = wait_for(&lines, "cycle failed").await;
    assert!(seen.last().unwrap().contains(SHORTAGE), "{seen:#?}");
    assert_eq!(gantry.end(PATIENCE).await, Some(1), "{seen:#?}");
}

#[tokio::test]
async fn a_daemon_without_descriptors_tries_again_at_its_next_run() {
    let engine = slow_engine();
    let variables = [("GANTRY_SLEEP_SECONDS", "5")];
    let mut gantry = Running(engine.gantry("", "", &variables).stderr(Stdio::piped()).spawn().unwrap());
    let lines = lines_of(&mut gantry.0);
    wait_for(&lines, "updating").await;
    engine.is_watched().await;
    gantry.may_open(3);
    let seen = wait_for(&lines, "cycle failed").await;
    assert!(seen.last().unwrap().contains(SHORTAGE), "{seen:#?}");
    // A run that begins without any descriptor fails at once.
    let seen = wait_for(&lines, "cycle failed").await;
    assert!(seen.last().unwrap().contains(SHORTAGE), "{seen:#?}");
    let check = engine.gantry("", "healthcheck", &[]).output().unwrap();
    assert!(!check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));

    gantry.may_open(64);
    engine.is_asked(1).await;
    let begun = Instant::now();
    while !engine.gantry("", "healthcheck", &[]).output().unwrap().status.success() {
        assert!(begun.elapsed() < PATIENCE, "it stays ill");
        sleep(millis(100)).await;
    }
    assert_eq!(gantry.stop().await.0, Some(0));
}
