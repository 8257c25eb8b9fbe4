//! The services of the model as the engine lists them, and what the real plan decides on them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::memory::Memory;
use super::world::{Phase, Place, SERVICES, World};
use crate::config::{Config, Selection, ServicePolicy};
use crate::image::ImageRef;
use crate::ledger::LeftBehind;
use crate::ledger::entry::image_name;
use crate::model::candidate::{Candidate, image_of};
use crate::model::decision::{Decision, Planned};
use crate::model::history::History;
use crate::model::inspected::{Inspected, ResolvedTag};
use crate::model::quarantine::Quarantine;
use crate::model::rank::Rank;
use crate::model::task_history::TaskHistory;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::unfinished::Unfinished;
use crate::swarm::Service;

/// The names of the services, which are their ids as well.
pub(super) const NAMES: [&str; SERVICES] = ["s0", "s1", "s2"];

/// The images: two services have the first, one has the second, and a user may set the third.
const IMAGES: [&str; 3] = ["app:1", "other:1", "own:1"];

/// How many digests each image may have.
const DIGESTS: usize = 3;

/// `cycle::plan::plan`.
pub(super) type Plan = fn(&[Inspected], &Arc<Selection>, &Quarantine) -> Vec<Planned>;

/// What the plan depends on, besides versions.
type Case = (usize, Place, bool, bool, u8, u8, u64);

/// Everything that is made once and read often.
pub(super) struct Library {
    plan: Plan,
    selection: Arc<Selection>,
    policy: Arc<ServicePolicy>,
    images: Vec<ImageRef>,
    services: RefCell<HashMap<(usize, Place), Service>>,
    planned: RefCell<HashMap<Case, (Inspected, Planned)>>,
}

/// A service as a look has listed it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) place: Place,
    /// Whether a crashed process may have changed it.
    pub(super) is_left_behind: bool,
    /// Whether Gantry has offered its digest lately.
    pub(super) was_offered: bool,
}

impl Library {
    pub(super) fn new(plan: Plan) -> Self {
        let config = Config::load([]).unwrap().config;
        let image = |name: &str, digit: usize| {
            let digits = digit.to_string().repeat(64);
            format!("{name}@sha256:{digits}").parse().unwrap()
        };
        Self {
            plan,
            policy: Arc::new(ServicePolicy::of(&config, &[].into()).unwrap()),
            selection: Arc::new(config.services),
            images: IMAGES.iter().flat_map(|name| (0..DIGESTS).map(|digit| image(name, digit))).collect(),
            services: RefCell::default(),
            planned: RefCell::default(),
        }
    }

    /// An image at a digest.
    pub(super) fn image(&self, (image, digest): (u8, u8)) -> &ImageRef {
        &self.images[usize::from(image) * DIGESTS + usize::from(digest)]
    }

    /// Which image at which digest this is.
    pub(super) fn place_of(&self, image: &ImageRef) -> (u8, u8) {
        let at = self.images.iter().position(|known| known == image).expect("an image of the model");
        (u8::try_from(at / DIGESTS).unwrap(), u8::try_from(at % DIGESTS).unwrap())
    }

    /// A service as the engine tells of it.
    pub(super) fn service(&self, index: usize, place: Place) -> Service {
        let mut services = self.services.borrow_mut();
        let known = services.entry((index, Place { version: 0, ..place }));
        let service = known.or_insert_with(|| self.read(index, place));
        Service { version: place.version, ..service.clone() }
    }

    fn spec(&self, index: usize, image: (u8, u8)) -> Value {
        json!({
            "Name": NAMES[index],
            "TaskTemplate": { "ContainerSpec": { "Image": self.image(image).to_string() }, "ForceUpdate": 0 },
            "Mode": { "Replicated": { "Replicas": 1 } },
        })
    }

    fn read(&self, index: usize, place: Place) -> Service {
        let mut json = json!({
            "ID": NAMES[index], "Version": { "Index": 0 }, "Spec": self.spec(index, place.image),
            "ServiceStatus": { "RunningTasks": 1, "DesiredTasks": 1 },
        });
        if let Some(previous) = place.previous {
            json["PreviousSpec"] = self.spec(index, previous);
        }
        if let Some(phase) = place.phase {
            let (state, message) = match phase {
                Phase::Updating => ("updating", "update in progress"),
                Phase::Completed => ("completed", "update completed"),
                Phase::GoingBack => ("rollback_started", "manually requested rollback"),
                Phase::WentBack => ("rollback_completed", "rollback completed"),
            };
            json["UpdateStatus"] = json!({ "State": state, "Message": message });
        }
        Service::from_json(&json.to_string()).unwrap()
    }

    /// A service as a look lists it.
    pub(super) fn list(&self, index: usize, place: Place, left: &LeftBehind, memory: &Memory) -> Listed {
        let image = self.image(place.image);
        let entry = image_name(image).and_then(|name| memory.book().image(&name).cloned());
        let was_offered = entry.is_some_and(|entry| image.digest() == Some(&entry.digest));
        Listed { place, is_left_behind: left.has(&self.service(index, place)), was_offered }
    }

    /// What the real plan decides on these services, each with what it decides on. The tags stand where the world has them.
    pub(super) fn decide(
        &self,
        listed: &[Listed; SERVICES],
        world: &World,
        memory: &Memory,
    ) -> (Vec<Inspected>, Vec<Planned>) {
        let decided = listed.iter().enumerate().map(|(index, listed)| {
            let place = Place { version: 0, ..listed.place };
            let (bad, tag) = (world.bad[index], world.tags[usize::from(place.image.0)]);
            let good = u8::from(world.has_judged(index, place.image));
            let case =
                (index, place, listed.is_left_behind, listed.was_offered, bad * 2 + good, tag, memory.hash());
            let mut planned = self.planned.borrow_mut();
            let known = planned.entry(case);
            let known = known.or_insert_with(|| self.decide_on(index, listed, world, tag, memory));
            let (mut inspected, mut planned) = known.clone();
            inspected.candidate.version = listed.place.version;
            if let Decision::Update(update) | Decision::Later(update, _) = &mut planned.decision {
                update.version = listed.place.version;
            }
            (inspected, planned)
        });
        decided.unzip()
    }

    fn decide_on(
        &self,
        index: usize,
        listed: &Listed,
        world: &World,
        tag: u8,
        memory: &Memory,
    ) -> (Inspected, Planned) {
        let quarantine = quarantine(memory);
        let candidate = self.candidate(index, listed, world);
        let digest = self.image((listed.place.image.0, tag)).digest().unwrap().clone();
        let answer = ResolvedTag { digest, manifest: None, credentials: None, alternates: false };
        let mut inspected = Inspected { answer: Some(Ok(answer)), ..Inspected::new(candidate) };
        if quarantine.needs_tasks(&inspected)
            && let Some(left) = listed.place.previous.filter(|left| world.is_bad(index, *left))
        {
            let digest = self.image(left).digest().unwrap().clone();
            let words = "task: non-zero exit (1)".to_owned();
            inspected.candidate.history.failed.insert(digest, Some(words));
        }
        let planned = (self.plan)(std::slice::from_ref(&inspected), &self.selection, &quarantine);
        (inspected, planned.into_iter().next().expect("a decision"))
    }

    fn candidate(&self, index: usize, listed: &Listed, world: &World) -> Candidate {
        let service = self.service(index, listed.place);
        // A service with a later version than this was left behind.
        let since = service.version.checked_sub(1).filter(|_| listed.is_left_behind);
        let left = LeftBehind { since, ..LeftBehind::default() };
        let unfinished = Unfinished::of(&service, &left, listed.was_offered, Timestamp::UNIX_EPOCH);
        let unfinished = unfinished.map(|mut unfinished| {
            if unfinished.needs_tasks() {
                unfinished.tasks = Some(tasks(index, &service, listed.place, world));
            }
            Arc::new(unfinished)
        });
        let facts = service.spec.facts();
        Candidate {
            id: service.id.clone(),
            name: facts.name.clone(),
            image: image_of(facts),
            mode: facts.mode,
            lifecycle: TaskLifecycle::RunsOn,
            version: service.version,
            is_excluded: false,
            is_itself: false,
            history: History::of(&service),
            rank: Rank::of(facts, TaskLifecycle::RunsOn, service.status, false),
            policy: Ok(self.policy.clone()),
            tasks: service.status,
            unfinished,
            order: None,
            may_collide: false,
        }
    }
}

/// What the tasks of a service tell of its last change.
fn tasks(index: usize, service: &Service, place: Place, world: &World) -> TaskHistory {
    let replaced = service.previous.as_ref().map(|spec| TaskSpecId::of(spec.facts()));
    let failed = place.previous.filter(|image| world.is_bad(index, *image));
    let has_ended = matches!(place.phase, Some(Phase::Completed | Phase::WentBack));
    let is_judged = world.has_judged(index, place.image);
    TaskHistory {
        failed: replaced.clone().filter(|_| failed.is_some()),
        replaced,
        has_held: has_ended && is_judged,
        runs: has_ended && is_judged,
        is_spent: false,
        failure: None,
    }
}

/// What is known of broken images with this memory. Its clock stands still, and no digest is ever forgotten.
pub(super) fn quarantine(memory: &Memory) -> Quarantine {
    Quarantine {
        is_on: true,
        seen: Arc::default(),
        book: memory.book().clone(),
        now: Timestamp::UNIX_EPOCH,
        duration: None,
        node: String::new(),
    }
}
