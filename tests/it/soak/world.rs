//! The swarm of a soak: what there is, what happens to it, and what Gantry has sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry::context::Context;
use gantry::cycle::Report;
use gantry::model::finished::NotBegunReason;
use gantry::model::outcome::Outcome;
use gantry::registry::RegistryError;
use gantry::swarm::{SwarmError, TaskState, UpdateState};

use super::Chance;
use crate::cycle::Scene;
use crate::fake::{FakeRegistry, FakeSwarm, Fault, millis, pinned, secs};

/// How many updates run at once.
pub(super) const WORKERS: usize = 6;

/// How many services a broken image may reach.
pub(super) const MIN_FAILURES: usize = 2;

/// How many tags there are.
const TAGS: usize = 8;

/// How many services there are.
const SERVICES: usize = 40;

/// A tag in the registry.
struct Tag {
    name: String,
    /// The name of the digest that it stands at.
    at: String,
    is_broken: bool,
}

/// The swarm, with Gantry.
pub(super) struct Soak {
    pub(super) context: Arc<Context<FakeSwarm, FakeRegistry>>,
    scene: Scene,
    chance: Chance,
    tags: Vec<Tag>,
    /// The services and their tags.
    services: BTreeMap<String, usize>,
    /// Those that somebody makes or changes while a cycle is under way.
    by_hand: BTreeSet<String>,
    /// All images that ever were broken.
    broken: BTreeSet<String>,
    /// How often the engine took an update of a service to one of them.
    offers: BTreeMap<String, BTreeMap<String, usize>>,
    made: usize,
    has_trouble: bool,
    tally: BTreeMap<String, usize>,
}

impl Soak {
    pub(super) fn new(chance: Chance) -> Self {
        let scene = Scene::new()
            .with("GANTRY_UPDATE_NUM_WORKERS", WORKERS)
            .with("GANTRY_UPDATE_TIMEOUT_SECONDS", 300)
            .with("GANTRY_SLEEP_SECONDS", 600);
        let mut soak = Self {
            context: scene.context(),
            scene,
            chance,
            tags: Vec::new(),
            services: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            broken: BTreeSet::new(),
            offers: BTreeMap::new(),
            made: 0,
            has_trouble: false,
            tally: BTreeMap::new(),
        };
        for number in 0..TAGS {
            let tag =
                Tag { name: format!("registry.test/app{number}:1"), at: "first".into(), is_broken: false };
            soak.scene.registry.release(&tag.name, &tag.at);
            soak.tags.push(tag);
        }
        for _ in 0..SERVICES {
            soak.make_service();
        }
        soak
    }

    pub(super) fn swarm(&self) -> &FakeSwarm {
        &self.scene.swarm
    }

    /// How often this has happened.
    pub(super) fn times(&self, what: &str) -> usize {
        self.tally.get(what).copied().unwrap_or_default()
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    /// What happened so far, in numbers.
    pub(super) fn told(&self) -> String {
        let all: Vec<String> = self.tally.iter().map(|(what, times)| format!("{times} {what}")).collect();
        all.join(", ")
    }

    fn make_service(&mut self) {
        self.made += 1;
        let name = format!("web-{:04}", self.made);
        let tag = self.chance.below(TAGS);
        // What it is made with works: people do not begin with what is known to be broken.
        let with = if self.tags[tag].is_broken { "first" } else { &self.tags[tag].at };
        let image = pinned(&self.tags[tag].name, with);
        let service = self.scene.swarm.new_service(&name).image(&image).label("gantry.enable", "true");
        let service = match self.chance.below(4) {
            0 => service.global(),
            replicas => service.replicas(replicas as u64),
        };
        let service = match self.chance.below(4) {
            0 => service,
            1 => service.order("start-first"),
            2 => service.failure_action("rollback").order("start-first"),
            _ => service.failure_action("continue").parallelism(0),
        };
        service.monitor(secs(2)).rollback_monitor(secs(2)).restart_delay(secs(1)).create();
        self.by_hand.insert(name.clone());
        self.services.insert(name, tag);
    }

    /// Somebody pushes images.
    pub(super) fn push(&mut self) {
        self.by_hand.clear();
        for number in 0..TAGS {
            if !self.chance.percent(30) {
                continue;
            }
            self.made += 1;
            let is_broken = self.chance.percent(40);
            let at = format!("{number}-{}", self.made);
            let image = self.scene.registry.release(&self.tags[number].name, &at);
            self.tags[number].at = at;
            self.tags[number].is_broken = is_broken;
            self.count(if is_broken { "broken images" } else { "good images" });
            let script = self.scene.swarm.image(&image);
            if is_broken {
                self.broken.insert(image);
                match self.chance.below(3) {
                    0 => script.crashes_after(millis(300), 3),
                    1 => script.turns_unhealthy_after(secs(3)),
                    _ => script.crashes_after(millis(1), 127),
                };
            } else if self.chance.percent(30) {
                let wait = self.chance.seconds(20);
                script.starts_after(wait);
            }
        }
    }

    /// People change things, some of them while Gantry is at work.
    pub(super) fn meet_people(&mut self) {
        for _ in 0..self.chance.below(3) {
            self.count("services made");
            self.make_service();
        }
        let names: Vec<String> = self.services.keys().cloned().collect();
        while self.services.len() > SERVICES {
            self.count("services removed");
            let name = self.chance.one_of(&names).clone();
            if self.services.remove(&name).is_some() {
                let when = self.chance.seconds(60);
                self.scene.swarm.later(when, move |world| _ = world.remove(&name));
            }
        }
        for _ in 0..self.chance.below(4) {
            self.count("changes by hand");
            let name = self.chance.one_of(&names).clone();
            let (when, deed, number) =
                (self.chance.seconds(90), self.chance.below(3), self.chance.below(1000));
            let broken = self.broken.clone();
            self.by_hand.insert(name.clone());
            self.scene.swarm.later(when, move |world| {
                let Some(service) = world.find(&name) else { return };
                let mode = service.plan.mode().to_owned();
                let previous = service.previous.as_ref().map(|plan| plan.template.image.clone());
                match deed {
                    0 if mode == "replicated" => world.scale(&name, 1 + number as u64 % 3),
                    1 if previous.is_some_and(|image| !broken.contains(&image)) => world.roll_back(&name),
                    _ => world.set_label(&name, "number", &number.to_string()),
                }
            });
        }
    }

    /// The engine, registries and nodes fail.
    pub(super) fn break_things(&mut self) {
        self.has_trouble = self.chance.percent(60);
        if !self.has_trouble {
            return;
        }
        for _ in 0..self.chance.below(5) {
            self.count("failing requests");
            let number = self.chance.below(150);
            let fault = match self.chance.below(6) {
                0 => Fault::Error(SwarmError::Unavailable("status 500".to_owned())),
                1 => Fault::Error(SwarmError::Unreadable("EOF while parsing".to_owned())),
                2 => Fault::CutAfterwards,
                3 => Fault::Hangs,
                4 => Fault::Takes(self.chance.seconds(55)),
                _ => Fault::Away(self.chance.seconds(90)),
            };
            self.scene.swarm.fail_at(number, fault);
        }
        if self.chance.percent(20) {
            self.count("lost nodes");
            let node = *self.chance.one_of(&["node2", "node3"]);
            let (from, lasts) = (self.chance.seconds(60), self.chance.seconds(300));
            self.scene.swarm.later(from, move |world| world.set_ready(node, false));
            self.scene.swarm.later(from + lasts, move |world| world.set_ready(node, true));
        }
        if self.chance.percent(10) {
            self.count("steps of the clock");
            let (when, hours) = (self.chance.seconds(60), *self.chance.one_of(&[-1, 1]));
            self.scene.swarm.later(when, move |world| {
                world.clock_step = world.clock_step.saturating_add(jiff::SignedDuration::from_hours(hours));
            });
        }
        for number in 0..TAGS {
            if !self.chance.percent(10) {
                continue;
            }
            self.count("failing look-ups");
            let (tag, registry) = (self.tags[number].name.clone(), "registry.test".to_owned());
            match self.chance.below(3) {
                0 => self.scene.registry.hang(&tag),
                1 => {
                    let error = RegistryError::RateLimited { registry, retry_after: None };
                    self.scene.registry.fail(&tag, error);
                }
                _ => {
                    let cause = "connection refused".to_owned();
                    self.scene
                        .registry
                        .fail(&tag, RegistryError::Unreachable { registry, proxy: None, cause });
                }
            }
        }
    }

    /// All that is broken works again, but for images.
    pub(super) fn heal(&self) {
        self.tags.iter().for_each(|tag| self.scene.registry.heal(&tag.name));
        for node in ["node2", "node3"] {
            self.scene.swarm.node_is_ready(node, true);
        }
    }

    /// Nothing of what was asked and answered is needed any more.
    pub(super) fn forget(&mut self) {
        self.has_trouble = false;
        self.scene.swarm.clear_log();
        self.scene.registry.clear_log();
    }

    /// Takes note of what the swarm was sent, and of how it ended.
    pub(super) fn take_account(&mut self, report: &Report) {
        // Swarm pauses an update for a lost node as well, and Gantry sends it again: that is one offer.
        let mut offered = BTreeSet::new();
        for asked in self.scene.swarm.update_log() {
            let is_offer = asked.answer.is_ok() && !asked.is_rollback && self.broken.contains(asked.image());
            if is_offer && offered.insert((asked.image().to_owned(), asked.service.clone())) {
                let services = self.offers.entry(asked.image().to_owned()).or_default();
                *services.entry(asked.service.clone()).or_default() += 1;
            }
        }
        // A person's hand does not go through requests, so all of these are Gantry's.
        let requests = self.scene.swarm.call_log().len();
        *self.tally.entry("requests".to_owned()).or_default() += requests;
        self.count(if report.error.is_some() { "failed cycles" } else { "good cycles" });
        for finished in report.finished() {
            self.count(finished.outcome.name());
            // A person was faster, or a node was down: nothing was learned of the image.
            let is_excused = finished.outcome.cause().is_some_and(|cause| !cause.blames_image());
            let is_taken =
                matches!(finished.outcome, Outcome::Removed | Outcome::Superseded(_) | Outcome::TakenBack(_));
            if (is_excused || is_taken)
                && let Some(services) = self.offers.get_mut(&finished.to.to_string())
            {
                services.remove(&finished.service);
            }
            if let Outcome::Failed { cause } = &finished.outcome {
                self.count(&format!("({cause})"));
            }
        }
        for row in report.held() {
            self.count(match row.why_held() {
                Some(NotBegunReason::RolloutStopped) => "held back",
                Some(NotBegunReason::Unproven) => "unproved",
                _ => "postponed",
            });
        }
        self.scene.swarm.now(|world| world.script.asked.clear());
    }

    pub(super) fn has_trouble(&self) -> bool {
        self.has_trouble
    }

    pub(super) fn is_broken(&self, image: &str) -> bool {
        self.broken.contains(image)
    }

    /// Whether somebody has made or changed it since the cycle began.
    pub(super) fn is_by_hand(&self, name: &str) -> bool {
        self.by_hand.contains(name)
    }

    /// How many services people have made or changed since the cycle began.
    pub(super) fn changed_by_hand(&self) -> usize {
        self.by_hand.len()
    }

    pub(super) fn offers_of_broken(&self) -> &BTreeMap<String, BTreeMap<String, usize>> {
        &self.offers
    }

    /// All services with the image that their tag stands for.
    pub(super) fn services_with_their_image(&self) -> impl Iterator<Item = (String, String)> {
        self.services
            .iter()
            .map(|(name, tag)| (name.clone(), pinned(&self.tags[*tag].name, &self.tags[*tag].at)))
    }

    /// Every service has the image of its tag, if that works and nobody has left it by hand, and runs; nothing is
    /// half-way.
    pub(super) fn is_in_order(&self, when: &str) {
        let labels = self.swarm().config("gantry").map(|config| config.labels).unwrap_or_default();
        for (name, image) in self.services_with_their_image() {
            let service = self.swarm().see(&name).unwrap();
            let has = service.spec.facts().image.clone().unwrap_or_default();
            let is_left =
                labels.get(&format!("gantry.service.{name}")).is_some_and(|t| t.starts_with("left-by-hand"));
            assert!(!self.broken.contains(&has), "{when}: {name} has a broken image: {has}");
            let is_right = has == image || self.broken.contains(&image) || is_left;
            assert!(is_right, "{when}: {name} has {has} instead of {image}: {labels:?}");
            let state = service.update.map(|update| update.state);
            let is_over = !matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
            assert!(is_over, "{when}: {name} is {state:?}");
            let tasks = self.swarm().tasks_of(&name);
            let running: Vec<_> =
                tasks.iter().filter(|task| task.is_wanted() && task.state == TaskState::Running).collect();
            let status = service.status.unwrap_or_default();
            assert!(
                running.len() as u64 == status.desired && running.iter().all(|task| task.image == has),
                "{when}: of {name}, which has {has}, there run {running:?}"
            );
        }
    }
}
