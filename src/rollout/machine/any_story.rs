//! Whatever could happen to a service that was sent an update: its tasks go on, or fail; the swarm says something, or rolls
//! back; a person interferes; nodes come and go. The machine's rules hold, and all ends come about.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::rules::WatchedUpdate;
use super::*;
use crate::model::before::Before;
use crate::model::task_spec_id::TaskSpecId;
use crate::rollout::samples::{
    NEW, OLD, crashed, nodes_without, replicas, service_from, shut_down, spec, task,
};
use crate::swarm::{Nodes, Service, Task, TaskState};

const THIRD: &str = "app:2";

/// How often each end has to come about at least in [`STORIES`]: a third of how often they do.
const LEAST: [(&str, usize); 8] = [
    ("updated", 350),
    ("superseded", 240),
    ("removed", 150),
    ("failed", 80),
    ("rolled back", 45),
    ("rollback failed", 10),
    ("updated, but", 10),
    ("overtaken", 10),
];

const STORIES: u32 = 3_000;

/// Something that happens between two looks.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The swarm makes a task of the present specification, or brings it one step further. The old one is ended when it runs.
    Advance(u64),
    /// A task of the present specification comes to a bad end.
    Crash(u64),
    /// The swarm says that all is done, whatever the tasks do.
    SayDone,
    /// The swarm stops, if a task has failed.
    SayPaused,
    /// The swarm rolls back, if a task has failed.
    SwarmRollsBack,
    /// A person asks for a rollback.
    PersonRollsBack,
    /// A person changes the image.
    PersonChangesImage,
    /// A person changes something that starts no task. The swarm forgets what it has said, and what was before.
    PersonChangesLabel,
    /// A person removes it.
    PersonRemoves,
    /// The swarm loses sight of a node, or finds it again.
    Blink(usize),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        60 => (1..3_u64).prop_map(Event::Advance),
        6 => (1..3_u64).prop_map(Event::Crash),
        8 => Just(Event::SayDone),
        4 => Just(Event::SayPaused),
        4 => Just(Event::SwarmRollsBack),
        1 => Just(Event::PersonRollsBack),
        1 => Just(Event::PersonChangesImage),
        1 => Just(Event::PersonChangesLabel),
        1 => Just(Event::PersonRemoves),
        4 => (0..3_usize).prop_map(Event::Blink),
    ]
}

/// A service of so many tasks, as the swarm keeps it.
struct World {
    slots: u64,
    image: &'static str,
    previous: Option<&'static str>,
    status: Option<(&'static str, &'static str)>,
    tasks: Vec<Task>,
    nodes_away: [bool; 3],
    is_there: bool,
    /// Whether the last slot found no node before the update, and finds none now.
    is_short: bool,
}

/// Why the scheduler finds no node.
const NO_ROOM: &str = "no suitable node (insufficient resources on 3 nodes)";

/// A task that finds no node.
fn without_node(task: Task) -> Task {
    Task { node_id: String::new(), state: TaskState::Pending, error: NO_ROOM.to_owned(), ..task }
}

impl World {
    /// The update was sent a moment ago.
    fn new(slots: u64, is_short: bool) -> Self {
        let is_short = is_short && slots > 1;
        let old = |slot| {
            let old = task(&format!("old {slot}"), OLD, slot);
            if is_short && slot == slots { without_node(old) } else { old }
        };
        Self {
            slots,
            is_short,
            image: NEW,
            previous: Some(OLD),
            status: None,
            tasks: (1..=slots).map(old).collect(),
            nodes_away: [false; 3],
            is_there: true,
        }
    }

    fn service(&self) -> Service {
        let mode = replicas(self.slots);
        let mut json = json!({ "Spec": spec(self.image, &mode) });
        if let Some(image) = self.previous {
            json["PreviousSpec"] = spec(image, &mode);
        }
        if let Some((state, message)) = self.status {
            json["UpdateStatus"] = json!({ "State": state, "Message": message });
        }
        service_from(&json)
    }

    fn nodes(&self) -> Nodes {
        let names = ["n1", "n2", "n3"].into_iter().zip(self.nodes_away);
        let away: Vec<&str> = names.filter_map(|(name, is_away)| is_away.then_some(name)).collect();
        nodes_without(3, &away)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Advance(slot) => self.advance(slot.min(self.slots)),
            Event::Crash(slot) => {
                let image = self.image;
                let fits = |task: &&mut Task| {
                    task.slot == slot
                        && task.image == image
                        && task.is_wanted()
                        && task.state > TaskState::Pending
                };
                if let Some(task) = self.tasks.iter_mut().find(fits) {
                    *task = crashed(task.clone());
                }
            }
            Event::SayDone => {
                let is_rollback = self.status.is_some_and(|(state, _)| state == "rollback_started");
                let message = self.status.map_or("", |(_, message)| message);
                self.status = Some((if is_rollback { "rollback_completed" } else { "completed" }, message));
            }
            Event::SayPaused if self.has_crashed() => {
                let is_rollback = self.status.is_some_and(|(state, _)| state == "rollback_started");
                let message = "paused due to failure or early termination of task x";
                self.status = Some((if is_rollback { "rollback_paused" } else { "paused" }, message));
            }
            // It rolls back what it was updating, once.
            Event::SwarmRollsBack
                if self.has_crashed() && self.previous.is_some() && !self.is_rolling_back() =>
            {
                self.image = self.previous.take().unwrap();
                let message = "update rolled back due to failure or early termination of task x";
                self.status = Some(("rollback_started", message));
            }
            Event::SayPaused | Event::SwarmRollsBack => {}
            Event::PersonRollsBack => self.person_rolls_back(),
            Event::PersonChangesImage => self.change_to(THIRD),
            Event::PersonChangesLabel => self.change_to(self.image),
            Event::PersonRemoves => self.is_there = false,
            Event::Blink(node) => self.nodes_away[node] ^= true,
        }
    }

    /// As Gantry does it: to what was replaced, whatever was changed since.
    fn gantry_rolls_back(&mut self) {
        if self.previous == Some(OLD) { self.person_rolls_back() } else { self.change_to(OLD) }
    }

    fn person_rolls_back(&mut self) {
        if let Some(previous) = self.previous.replace(self.image) {
            self.image = previous;
            self.status = Some(("rollback_started", "manually requested rollback"));
        }
    }

    fn change_to(&mut self, image: &'static str) {
        self.previous = Some(std::mem::replace(&mut self.image, image));
        self.status = None;
    }

    fn is_rolling_back(&self) -> bool {
        self.status.is_some_and(|(state, _)| state.starts_with("rollback"))
    }

    fn has_crashed(&self) -> bool {
        self.tasks.iter().any(|task| task.image == self.image && task.state == TaskState::Failed)
    }

    fn advance(&mut self, slot: u64) {
        let image = self.image;
        if self.status.is_none() && self.tasks.iter().any(|task| task.is_wanted() && task.image != image) {
            self.status = Some(("updating", "update in progress"));
        }
        let new =
            self.tasks.iter().position(|task| task.slot == slot && task.image == image && task.is_wanted());
        let has_room = !self.is_short || slot < self.slots;
        let Some(new) = new else {
            let id = format!("task {}", self.tasks.len());
            let new = Task { state: TaskState::Pending, ..task(&id, image, slot) };
            if !has_room {
                let is_old = |task: &Task| task.slot == slot && task.is_wanted();
                self.tasks.retain(|task| !is_old(task));
            }
            self.tasks.push(if has_room { new } else { without_node(new) });
            return;
        };
        if !has_room {
            return;
        }
        let task = &mut self.tasks[new];
        task.state = match task.state {
            TaskState::Pending => TaskState::Preparing,
            TaskState::Preparing => TaskState::Starting,
            _ => TaskState::Running,
        };
        if task.state == TaskState::Running {
            let is_old = |task: &&mut Task| task.slot == slot && task.image != image && task.is_wanted();
            for old in self.tasks.iter_mut().filter(is_old) {
                *old = shut_down(old.clone());
            }
        }
    }
}

/// What happens between two looks, and how many seconds lie between them.
type Chapter = (Vec<Event>, u64);

#[test]
fn the_rules_hold_and_every_end_comes_about() {
    let chapters = prop::collection::vec((prop::collection::vec(any_event(), 0..6), 0..30_u64), 1..60);
    let timeout = prop::option::of(60..600_u64);
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    let stories = (chapters, timeout, 1..3_u64, flags);
    let config = Config { source_file: Some(file!()), ..Config::with_cases(STORIES) };
    let ends: RefCell<BTreeMap<&str, usize>> = RefCell::default();
    let told = TestRunner::new(config).run(&stories, |(chapters, timeout, slots, flags)| {
        let end = tell(&chapters, timeout, slots, flags)?;
        *ends.borrow_mut().entry(end.map_or("none", |end| name(&end))).or_default() += 1;
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
    let ends = ends.into_inner();
    for (name, least) in LEAST {
        let times = ends.get(name).copied().unwrap_or_default();
        assert!(times >= least, "{name} came about {times} times only, which proves little: {ends:?}");
    }
}

/// The end's name, with those apart that share one.
fn name(end: &Outcome) -> &'static str {
    match end {
        Outcome::UpdatedBut(_) => "updated, but",
        Outcome::Overtaken { .. } => "overtaken",
        end => end.name(),
    }
}

fn tell(
    chapters: &[Chapter],
    timeout: Option<u64>,
    slots: u64,
    (may_roll_back, swarm_is_faster, is_short): (bool, bool, bool),
) -> Result<Option<Outcome>, TestCaseError> {
    let mut now = Instant::now();
    let spec_id = |image: &str| TaskSpecId { image: image.to_owned(), force_update: 0 };
    let mut world = World::new(slots, is_short);
    let old = service_from(&json!({ "Spec": spec(OLD, &replicas(slots)) }));
    let before = Before::of(&old, &world.tasks, jiff::Timestamp::UNIX_EPOCH);
    let sent_update = SentUpdate {
        sent: spec_id(NEW),
        replaced: spec_id(OLD),
        sent_at: now,
        timeout: timeout.map(Duration::from_secs),
        may_roll_back,
        whole: None,
        before,
        has_account: false,
        side_by_side: None,
    };
    let mut watched = WatchedUpdate::new(sent_update, swarm_is_faster);
    for (events, seconds) in chapters {
        for event in events {
            world.happens(*event);
        }
        now += Duration::from_secs(*seconds);
        let shown = (&world.tasks[..], &world.nodes());
        match watched.look(&world.service(), world.is_there, shown, now)? {
            Step::Wait | Step::RenewAccount => {}
            Step::SendAgain(_) | Step::GoOn(_) => world.status = None,
            Step::RollBack => world.gantry_rolls_back(),
            Step::Finish(outcome) => return Ok(Some(outcome)),
        }
    }
    Ok(None)
}
