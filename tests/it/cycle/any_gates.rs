//! Any combination of gates, and any story of pushes, recalls, approvals and failures, each look by another process: nothing
//! begins that a gate holds, and nothing is held for ever.

use std::collections::{BTreeMap, BTreeSet};

use gantry::gate::Gate;
use gantry::gate::approval::Approval;
use gantry::ledger::Ledger;
use gantry::ledger::book::LedgerChange;
use gantry::model::decision::Reason;
use gantry::model::row::State;
use gantry::swarm::Swarm;
use jiff::{SignedDuration, Timestamp};

use super::overlapping::Random;
use super::{APP, Scene};
use crate::fake::{digest, pinned, secs};

/// The age that services with that gate ask for.
const AGE: SignedDuration = SignedDuration::from_hours(6);

/// The gates of a service, by its number from 0 to 7.
fn has(service: usize, gate: Gate) -> bool {
    let bit = match gate {
        Gate::Age => 1,
        Gate::Approval => 2,
        Gate::Window => 4,
        _ => return false,
    };
    service & bit != 0
}

fn is_open(at: Timestamp) -> bool {
    at.as_second() / 3_600 % 24 < 12
}

/// What is known of a story.
struct Story {
    scene: Scene,
    random: Random,
    /// Where the tag stands, and stood before.
    tag: String,
    before: String,
    names: usize,
    /// When a look first found the tag there.
    seen: BTreeMap<String, Timestamp>,
    approved: BTreeMap<String, Timestamp>,
    /// Services and what broke them.
    broken: BTreeSet<(String, String)>,
    /// How often each gate has held a service.
    held: BTreeMap<Gate, usize>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let scene = Scene::new().with("GANTRY_ROLLOUT_MIN_FAILURES", 20);
        for service in 0..8 {
            let mut builder = scene.service(&format!("s{service}")).replicas(1);
            for (gate, label, value) in [
                (Gate::Age, "gantry.update.min_age", "6h"),
                (Gate::Approval, "gantry.update.approval", "true"),
                (Gate::Window, "gantry.update.windows", "daily 00:00-12:00"),
            ] {
                if has(service, gate) {
                    builder = builder.label(label, value);
                }
            }
            builder.create();
        }
        Self {
            scene,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            tag: "old".to_owned(),
            before: "old".to_owned(),
            names: 0,
            seen: BTreeMap::new(),
            approved: BTreeMap::new(),
            broken: BTreeSet::new(),
            held: BTreeMap::new(),
        }
    }

    async fn now(&self) -> Timestamp {
        self.scene.swarm.engine().await.unwrap().time.unwrap()
    }

    fn wait(&self, hours: i64) {
        self.scene.swarm.now(|world| world.clock_step += SignedDuration::from_hours(hours));
    }

    fn push(&mut self, is_good: bool) {
        self.names += 1;
        let name = format!("push-{}", self.names);
        let image = self.scene.registry.release(APP, &name);
        if !is_good {
            self.scene.swarm.image(&image).crashes_after(secs(1), 3);
        }
        self.before = std::mem::replace(&mut self.tag, name);
    }

    fn recall(&mut self) {
        self.scene.registry.release(APP, &self.before);
        std::mem::swap(&mut self.before, &mut self.tag);
    }

    async fn approve(&mut self, hours: i64) {
        let ledger = Ledger::new("gantry");
        ledger.refresh(&self.scene.swarm).await.unwrap();
        let at = self.now().await;
        let until = at + SignedDuration::from_hours(hours);
        let (by, via, why) = ("anna".to_owned(), "api".to_owned(), String::new());
        let digest = digest(&self.tag);
        let approval = Approval { image: APP.to_owned(), service: None, digest, by, via, at, until, why };
        ledger.amend(&self.scene.swarm, &[LedgerChange::Approve(approval)]).await.unwrap();
        // One approval for each image: the newer takes the place of the older.
        self.approved = BTreeMap::from([(self.tag.clone(), until)]);
    }

    /// A look, and all updates that it begins. Checks each of them.
    async fn look(&mut self, seed: u64) {
        let (before, known) = (self.now().await, self.scene.swarm.update_log().len());
        self.seen.entry(self.tag.clone()).or_insert(before);
        let report = self.scene.cycle().await;
        for row in &report.rows {
            if let State::LeftAlone(Reason::Held(held)) = &row.state {
                *self.held.entry(held.gate()).or_default() += 1;
            }
        }
        let after = self.now().await;
        let names: BTreeMap<String, &String> =
            self.seen.keys().map(|name| (pinned(APP, name), name)).collect();
        let mut begun: BTreeMap<String, String> = BTreeMap::new();
        for asked in &self.scene.swarm.update_log()[known..] {
            let service: usize = asked.service[1..].parse().unwrap();
            let name = names[asked.image()].clone();
            let story = format!("seed {seed}: {} to {name} at {before}", asked.service);
            if asked.is_rollback || begun.contains_key(&asked.service) {
                let bad = begun.get(&asked.service).cloned().unwrap_or_default();
                self.broken.insert((asked.service.clone(), bad));
                continue;
            }
            let is_approved = self.approved.get(&name).is_some_and(|until| before < *until);
            let age = after.duration_since(self.seen[&name]);
            assert!(!self.broken.contains(&(asked.service.clone(), name.clone())), "{story}: in quarantine");
            assert!(!has(service, Gate::Approval) || is_approved, "{story}: not approved");
            assert!(!has(service, Gate::Age) || is_approved || age >= AGE, "{story}: {age} old");
            assert!(!has(service, Gate::Window) || is_open(before) || is_open(after), "{story}: window");
            begun.insert(asked.service.clone(), name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_that_a_gate_holds_and_nothing_is_held_for_ever() {
    let mut held: BTreeMap<Gate, usize> = BTreeMap::new();
    let mut broken = 0;
    for seed in 1..=25 {
        let mut story = Story::new(seed);
        story.look(seed).await;
        for _ in 0..24 {
            match story.random.below(10) {
                0..=2 => story.push(true),
                3 => story.push(false),
                4 => story.recall(),
                5 => story.approve(12).await,
                _ => {}
            }
            let hours = story.random.below(6);
            story.wait(i64::try_from(hours).unwrap());
            story.look(seed).await;
        }
        story.push(true);
        story.look(seed).await;
        story.approve(100).await;
        for _ in 0..14 {
            story.wait(3);
            story.look(seed).await;
        }
        for service in 0..8 {
            let image = story.scene.swarm.image_of(&format!("s{service}"));
            assert_eq!(image, pinned(APP, &story.tag), "seed {seed}: s{service}");
        }
        broken += story.broken.len();
        for (gate, times) in story.held {
            *held.entry(gate).or_default() += times;
        }
    }
    // Each gate has held often enough for the rest to mean something.
    for gate in [Gate::Age, Gate::Approval, Gate::Window] {
        assert!(held.get(&gate).is_some_and(|times| *times >= 50), "{held:?}");
    }
    assert!(broken >= 10, "{broken}");
}
