//! How the program ends that is told to stop while something holds it up: an engine that does not answer, or a
//! command that does not obey.

use std::path::Path;
use std::time::Instant;

use futures_util::future::join_all;
use http::Method;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::fake::{FakeSwarm, Front, Instead, millis, secs};
use crate::support::program::{Gantry, PATIENCE, STOP_LIMIT};

const OVERDUE: &str = "stopped without waiting for what is under way";
const AT_ONCE: &str = "stopped at once by a second signal";

/// A swarm with one service, behind an engine.
struct Engine {
    front: Front,
    folder: TempDir,
}

impl Engine {
    fn new() -> Self {
        let (engine, swarm) = Self::empty();
        // Without tasks, an update of it is over at once.
        swarm.new_service("web").replicas(0).create();
        engine
    }

    /// The same without the service, and the swarm itself.
    fn empty() -> (Self, FakeSwarm) {
        let swarm = FakeSwarm::with_nodes(1).in_our_time();
        let folder = tempfile::tempdir().unwrap();
        let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
        (Self { front, folder }, swarm)
    }

    /// From now on, the lease can be taken and never be given back: that is not answered.
    fn keeps_the_lease(self) -> Self {
        self.front
            .tamper(|seen| is_change_of_the_ledger(&seen.method, &seen.path).then_some(Instead::Silence));
        self
    }

    /// The program, with an update to make in its first cycle.
    fn gantry(&self, variables: &[(&str, &str)]) -> Gantry {
        // No registry is asked, and the service is sent its image again.
        let own = [("GANTRY_MANIFEST_CMD", "none"), ("GANTRY_CLEANUP_IMAGES", "false")];
        Gantry::start(&self.front.address(), &[&own, variables].concat())
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

/// Starts the program with two runs under way, of two services whose tasks take long to start.
async fn with_two_runs(engine: &Engine, swarm: &FakeSwarm) -> Gantry {
    let slow = |name: &str| {
        // Without a registry, Gantry sends the image without a digest. Each has its own: of one image, the second would wait.
        let image = format!("registry.test/{name}:1");
        swarm.new_service(name).image(&image).order("start-first").create();
        swarm.image(&image).starts_after(secs(600));
    };
    slow("first");
    let mut gantry = engine.gantry(&[("GANTRY_SLEEP_SECONDS", "1")]);
    gantry.says("updating service=first").await;
    slow("second");
    gantry.says("updating service=second").await;
    let run = |service: &str| {
        let line =
            gantry.log.lines().find(|line| line.contains(&format!("updating service={service} "))).unwrap();
        line.split_whitespace().find(|word| word.starts_with("run=")).map(str::to_owned)
    };
    assert!(run("first").is_some() && run("first") != run("second"), "{}", gantry.log);
    gantry
}

#[tokio::test]
async fn with_several_runs_under_way_a_stop_takes_no_longer() {
    let (engine, swarm) = Engine::empty();
    let gantry = with_two_runs(&engine, &swarm).await;
    let told = Instant::now();
    gantry.send(Signal::TERM);
    let (code, log) = gantry.end().await;
    assert!(code == Some(0) && told.elapsed() < STOP_LIMIT, "{code:?} after {:?}\n{log}", told.elapsed());
    assert!(!log.contains(OVERDUE) && !log.contains(AT_ONCE), "{log}");
    let reports = log.lines().filter(|line| line.contains(": 1 interrupted")).count();
    assert_eq!(reports, 2, "each run has one report\n{log}");
    let ledger = swarm.config("gantry").unwrap();
    assert!(!ledger.labels.contains_key("gantry.lease"), "{ledger:?}");
}

#[tokio::test]
async fn with_several_runs_under_way_the_limit_and_a_second_signal_count() {
    for is_twice in [false, true] {
        let (engine, swarm) = Engine::empty();
        let gantry = with_two_runs(&engine, &swarm).await;
        let engine = engine.keeps_the_lease();
        let told = Instant::now();
        gantry.send(Signal::TERM);
        if is_twice {
            engine.waits_for_its_answer().await;
            gantry.send(Signal::TERM);
        }
        let (code, log) = gantry.end().await;
        let took = told.elapsed();
        if is_twice {
            assert!(
                code == Some(1) && log.contains(AT_ONCE) && took < STOP_LIMIT,
                "{code:?} {took:?}\n{log}"
            );
        } else {
            assert!(code == Some(0) && log.contains(OVERDUE) && took < PATIENCE, "{code:?} {took:?}\n{log}");
        }
    }
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
