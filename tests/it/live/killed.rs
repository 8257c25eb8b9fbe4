//! The program is killed, at random moments or at the worst ones, and started again: nothing is lost, nothing is
//! done twice, nothing stays half-way.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::support::{Daemon, Gantry, Image, Run, Service, Stage, wait};

/// Long enough for the swarm to see a crash while the machine is busy.
const PATIENT: &str = "5s";

/// How often a program is killed before it may work to the end. Its successor waits for about twenty seconds each
/// time, until it is sure of that.
const KILLS: usize = 3;

/// Longest cycle: it begins with that wait.
const CYCLE_SECONDS: u64 = 300;

/// Numbers that come out the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    /// From `GANTRY_TEST_SEED`, or else another one each time, which is printed.
    fn new() -> Self {
        let given = std::env::var("GANTRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let seed: u64 = given.unwrap_or_else(|| u64::from(nanos()) | 1);
        println!("GANTRY_TEST_SEED={seed}");
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn up_to(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.next() % milliseconds)
    }
}

/// What happened to services, as the engine tells everybody who listens.
struct Events {
    client: Child,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Events {
    fn listen(stage: &Stage) -> Self {
        let mut command = stage.lab.docker_command(1);
        command.args(["events", "--filter", "type=service", "--format", "{{json .}}"]);
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (into, lines) = (seen.clone(), BufReader::new(client.stdout.take().unwrap()).lines());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let events = Self { client, seen };
        // It listens once it has seen something.
        let witness = stage.create("witness", "nothing", &["--replicas", "0", "--no-resolve-image"]);
        wait("an event", 30, || {
            witness.update(&["--label-add", "a=b"]);
            (!events.seen.lock().unwrap().is_empty()).then_some(())
        });
        witness.remove();
        events
    }

    /// How often each service was given this image, by name.
    fn offers(&self, image: &Image) -> BTreeMap<String, usize> {
        let mut offers = BTreeMap::new();
        for event in self.seen.lock().unwrap().iter() {
            let attributes = &event["Actor"]["Attributes"];
            if attributes["image.new"] == image.pinned().as_str() {
                *offers.entry(attributes["name"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        offers
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// Kills it, unless it has come to its end already.
fn kill(mut daemon: Daemon) -> Run {
    if daemon.is_alive() {
        daemon.signal("KILL");
    }
    daemon.end(10)
}

/// Whether it has begun to do something to a service.
fn is_at_work(daemon: &Daemon) -> bool {
    daemon.lines().iter().any(|line| {
        let message = line.message();
        message == "updating" || message.starts_with("found a") || message.starts_with("update failed")
    })
}

/// Starts it and kills it at random moments, of its start or of its work, a few times, and then lets it come to the
/// end. Returns what it said each time.
fn killed_at_random(gantry: &Gantry, random: &mut Random) -> Vec<Run> {
    let mut runs = Vec::new();
    for _ in 0..KILLS {
        let mut daemon = gantry.start();
        if !random.next().is_multiple_of(4) {
            let deadline = Instant::now() + Duration::from_secs(CYCLE_SECONDS);
            while daemon.is_alive() && !is_at_work(&daemon) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        std::thread::sleep(random.up_to(4_000));
        runs.push(kill(daemon));
    }
    runs.push(gantry.start().end(CYCLE_SECONDS));
    runs
}

/// All that was said.
fn told(runs: &[Run]) -> String {
    runs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn nothing_is_under_way(services: &[Service<'_>], told: &str) {
    for service in services {
        let state = service.state();
        let is_over = ["completed", "rollback_completed"].contains(&state.as_str());
        assert!(is_over || state.is_empty(), "{} is {state}\n{told}", service.name);
    }
}

#[test]
fn killed_at_random_moments_it_brings_a_good_image_to_every_service_once() {
    let stage = Stage::new();
    let mut random = Random::new();
    let old = stage.image("web", "1", &[]);
    let services: Vec<_> = (0..6)
        .map(|index| {
            stage.service(&format!("web{index}"), &old, &["--replicas", if index == 0 { "3" } else { "1" }])
        })
        .collect();
    let events = Events::listen(&stage);
    let new = stage.image("web", "2", &[]);

    let runs = killed_at_random(&stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1"), &mut random);

    let told = told(&runs);
    assert_eq!(runs.last().unwrap().code, Some(0), "{told}");
    for (index, service) in services.iter().enumerate() {
        service.runs(&new, if index == 0 { 3 } else { 1 });
    }
    nothing_is_under_way(&services, &told);
    let each_once: BTreeMap<_, _> = services.iter().map(|service| (service.name.clone(), 1)).collect();
    assert_eq!(events.offers(&new), each_once, "{told}");
    let tasks = services.iter().flat_map(Service::tasks);
    let made = tasks.filter(|task| task["Spec"]["ContainerSpec"]["Image"] == new.pinned().as_str());
    assert_eq!(made.count(), 8, "no task was replaced by its like\n{told}");
}

#[test]
fn killed_at_random_moments_it_leaves_no_service_on_a_broken_image_and_offers_it_to_none_again() {
    let stage = Stage::new();
    let mut random = Random::new();
    let old = stage.image("web", "1", &[]);
    let actions = ["pause", "rollback", "continue", "pause", "rollback"];
    let with = |(index, action): (usize, &&str)| {
        let options = ["--update-failure-action", action, "--update-monitor", PATIENT];
        stage.service(&format!("web{index}"), &old, &options)
    };
    let services: Vec<_> = actions.iter().enumerate().map(with).collect();
    let events = Events::listen(&stage);
    let bad = stage.crashing_image("web", "2");
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");

    let mut runs = killed_at_random(&gantry, &mut random);

    let is_restored =
        |service: &Service<'_>| service.image() == old.pinned() && service.running_images() == [old.pinned()];
    for service in &services {
        wait(&format!("the old image on {}", service.name), 60, || is_restored(service).then_some(()));
    }
    runs.push(gantry.start().end(CYCLE_SECONDS));
    let told = told(&runs);
    nothing_is_under_way(&services, &told);
    let offers = events.offers(&bad);
    assert!(!offers.is_empty() && offers.values().all(|times| *times == 1), "{offers:?}\n{told}");
    assert!(offers.len() <= 2, "failures before a kill count after it: {offers:?}\n{told}");

    let fixed = stage.image("web", "3", &[]);
    let run = gantry.start().end(CYCLE_SECONDS);
    assert_eq!(run.code, Some(0), "{run}");
    for service in &services {
        service.runs(&fixed, 1);
    }
}

#[test]
fn what_was_under_way_is_watched_to_its_end_and_not_sent_again() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    let slow = stage.slow_image("web", "2", 45);
    let daemon = stage.gantry().start();
    service.wait_for(&slow, 60);
    kill(daemon);
    assert_eq!(service.state(), "updating");

    let run = stage.gantry().start().end(CYCLE_SECONDS);

    assert!(run.says(&["found an update that an earlier run began, watching it to its end"]), "{run}");
    assert_eq!((run.outcome(&service), run.code), ("updated", Some(0)), "{run}");
    service.runs(&slow, 1);
    let tasks = service.tasks();
    let made = tasks.iter().filter(|task| task["Spec"]["ContainerSpec"]["Image"] == slow.pinned().as_str());
    assert_eq!(made.count(), 1, "{run}");
}

#[test]
fn what_stands_paused_on_our_change_is_rolled_back_and_on_anothers_is_named() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let monitored = ["--update-monitor", PATIENT];
    let [ours, theirs] = ["ours", "theirs"].map(|name| stage.service(name, &old, &monitored));
    let options = ["--env-add", "COLOUR=blue", "--image"];
    let bad = stage.crashing_image("web", "2");
    theirs.update(&[&options[..], &[&bad.pinned()]].concat());
    wait("somebody else's failure", 60, || (theirs.state() == "paused").then_some(()));
    let daemon = stage.gantry().start();
    ours.wait_for(&bad, 60);
    kill(daemon);
    wait("our failure", 60, || (ours.state() == "paused").then_some(()));
    let version = theirs.version();

    let run = stage.gantry().start().end(CYCLE_SECONDS);

    let outcome = run.outcome(&ours);
    assert!(outcome.starts_with("rolled back: a task failed on node") && outcome.contains("(3)"), "{run}");
    assert_eq!((ours.image(), ours.running_images()), (old.pinned(), vec![old.pinned()]), "{run}");
    let named =
        ["needs attention: ", &theirs.name, "a change by a user or another program has failed and is paused"];
    assert!(run.says(&named), "{run}");
    assert_eq!((run.outcome(&theirs), theirs.version()), ("", version), "{run}");
    assert!(run.code == Some(1) && run.summary().contains("1 needs attention"), "{run}");

    let run = stage.cycle();
    assert!(run.says(&["left alone: ", &ours.name, "is in quarantine here"]) && run.says(&named), "{run}");
    assert_eq!(run.code, Some(0), "what others did is theirs to judge: {run}");
}
