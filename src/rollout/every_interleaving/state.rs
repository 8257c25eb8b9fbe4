//! The states of the model, and the steps that lead from one to another.

use std::rc::Rc;

use super::gantry::{Gantry, LeaseRole, Look, Stage, put_lease};
use super::key::Key;
use super::library::NAMES;
use super::rolling::index_of;
use super::scene::{Answer, Model, Scene, Verdict};
use super::world::{Budget, Phase, World};
use crate::ledger::Permission;
use crate::model::update::Update;

/// So many runs of one Gantry overlap at most.
const MAX_RUNS: u8 = 2;

/// Two Gantrys and the world.
#[derive(Clone)]
pub(super) struct State {
    world: World,
    gantrys: [Rc<Gantry>; 2],
    /// The part of the key that tells of each Gantry alone.
    keys: [Rc<Key>; 2],
}

/// A step. Numbers tell which Gantry, and which of its updates.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    LookBegins(usize),
    Decide(usize),
    Lease(usize, Answer),
    GiveUpWaiting(usize),
    Tend(usize, Answer),
    RunEnds(usize),
    GiveBack(usize, Answer),
    Send(usize, usize, Answer),
    Judge(usize, usize, bool),
    TakeBack(usize, usize, Answer),
    IsBack(usize, usize),
    SeesTakenBack(usize, usize),
    /// The swarm ends an update that no Gantry watches.
    Completes(usize),
    /// Ten seconds pass.
    Tick,
    Push,
    KillAndRestart(usize),
    /// A user gives a service an image of another tag.
    UserChanges(usize),
    /// A user rolls a service back.
    UserRollsBack(usize),
}

impl Action {
    /// Whether this is what goes wrong, and not what follows.
    pub(super) fn is_trouble(self) -> bool {
        let is_from_outside = matches!(
            self,
            Self::Push | Self::KillAndRestart(_) | Self::UserChanges(_) | Self::UserRollsBack(_)
        );
        is_from_outside || !self.answer().is_heard()
    }

    /// What becomes of its write.
    fn answer(self) -> Answer {
        match self {
            Self::Lease(_, answer)
            | Self::Tend(_, answer)
            | Self::GiveBack(_, answer)
            | Self::Send(_, _, answer)
            | Self::TakeBack(_, _, answer) => answer,
            _ => Answer::Heard,
        }
    }

    /// Which Gantry takes it.
    fn gantry(self) -> Option<usize> {
        match self {
            Self::LookBegins(at)
            | Self::Decide(at)
            | Self::Lease(at, _)
            | Self::GiveUpWaiting(at)
            | Self::Tend(at, _)
            | Self::RunEnds(at)
            | Self::GiveBack(at, _)
            | Self::Send(at, ..)
            | Self::Judge(at, ..)
            | Self::TakeBack(at, ..)
            | Self::IsBack(at, _)
            | Self::SeesTakenBack(at, _) => Some(at),
            _ => None,
        }
    }
}

impl State {
    pub(super) fn first(budget: Budget) -> Self {
        let gantrys = [0, 1].map(|number| Rc::new(Gantry::new(number)));
        let keys = std::array::from_fn(|at| key_of(&gantrys[at]));
        Self { world: World::new(budget), gantrys, keys }
    }

    /// What tells it from other states. The two Gantrys are alike: which of them is the first does not matter.
    pub(super) fn key(&self) -> u64 {
        self.key_in_order(0, 1).min(self.key_in_order(1, 0))
    }

    fn key_in_order(&self, first: usize, second: usize) -> u64 {
        let names = [first, second].map(|at| self.gantrys[at].id.as_str());
        // The third is a process that was killed.
        let rank = |id: &str| names.iter().position(|name| *name == id).unwrap_or(2) as u64;
        let mut key = Key::default();
        self.world.put(&mut key);
        put_lease(&mut key, self.world.ledger.lease.as_ref(), &rank);
        for at in [first, second] {
            key.add(&self.keys[at]);
            self.gantrys[at].put_beside(&mut key, &self.world, &rank);
        }
        key.finish()
    }

    /// All steps that may follow.
    pub(super) fn actions(&self, model: &Model) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, gantry) in self.gantrys.iter().enumerate() {
            self.of_gantry(model, at, gantry, &mut actions);
        }
        self.of_world(&mut actions);
        actions
    }

    /// A write, with all that may become of it.
    fn write(&self, of: impl Fn(Answer) -> Action, actions: &mut Vec<Action>) {
        actions.push(of(Answer::Heard));
        if self.world.budget.may(|budget| budget.lost) {
            actions.push(of(Answer::Lost));
            actions.push(of(Answer::NotSent));
        }
    }

    fn of_gantry(&self, model: &Model, at: usize, gantry: &Rc<Gantry>, actions: &mut Vec<Action>) {
        match &gantry.look {
            Look::None if gantry.runs >= MAX_RUNS || !self.may_look(at) => {}
            Look::None | Look::Again => actions.push(Action::LookBegins(at)),
            Look::Listed(_) => actions.push(Action::Decide(at)),
            // A lease is given back first.
            Look::Decided(_) if gantry.gives_back => {}
            Look::Decided(_) => {
                self.write(|answer| Action::Lease(at, answer), actions);
                let is_taken = self.world.ledger.lease.as_ref().is_some_and(|it| it.holder.id != gantry.id);
                if is_taken {
                    actions.push(Action::GiveUpWaiting(at));
                }
            }
        }
        if gantry.has_to_tend(&self.world) {
            self.write(|answer| Action::Tend(at, answer), actions);
        }
        if gantry.ending > 0 {
            actions.push(Action::RunEnds(at));
        }
        if gantry.gives_back {
            self.write(|answer| Action::GiveBack(at, answer), actions);
        }
        let Some(session) = &gantry.session else { return };
        for (number, worker) in &session.workers {
            match worker.stage {
                Stage::ToSend(_) if gantry.permission(self.world.now) == Permission::Unsure => {}
                Stage::ToSend(_) => self.write(|answer| Action::Send(at, *number, answer), actions),
                Stage::Watched => actions.extend(self.of_watched(model, at, *number, &worker.update)),
                Stage::ToTakeBack => self.write(|answer| Action::TakeBack(at, *number, answer), actions),
                Stage::GoingBack => actions.push(Action::IsBack(at, *number)),
            }
        }
        for (number, update) in &session.updated {
            let place = self.world.services[index_of(&update.id)];
            if place.phase == Some(Phase::WentBack) {
                actions.push(Action::SeesTakenBack(at, *number));
            }
        }
    }

    /// Whether a look has a reason: nothing is under way, or a tag has moved. A few others may begin as well.
    fn may_look(&self, at: usize) -> bool {
        !self.is_idle_look(at) || self.world.budget.looks > 0
    }

    fn is_idle_look(&self, at: usize) -> bool {
        let (gantry, other) = (&self.gantrys[at], &self.gantrys[1 - at]);
        let is_ours = gantry.session.is_some();
        let is_taken = matches!(other.role, LeaseRole::Holder { .. });
        let is_news = is_ours && gantry.seen.iter().zip(self.world.tags).any(|(seen, tag)| *seen < tag);
        matches!(gantry.look, Look::None) && (is_ours || is_taken) && !is_news
    }

    fn of_watched(&self, model: &Model, at: usize, number: usize, update: &Update) -> Vec<Action> {
        let (index, image) = (index_of(&update.id), model.library.place_of(&update.to));
        let (good, bad) = (Action::Judge(at, number, true), Action::Judge(at, number, false));
        if !self.world.still_has(index, image) || self.world.has_judged(index, image) {
            vec![good]
        } else if self.world.is_bad(index, image) {
            vec![bad]
        } else if self.world.budget.failures > 0 {
            vec![good, bad]
        } else {
            vec![good]
        }
    }

    fn of_world(&self, actions: &mut Vec<Action>) {
        let (world, budget) = (&self.world, self.world.budget);
        let is_watched = |index: usize| {
            let id = NAMES[index];
            self.gantrys.iter().any(|gantry| gantry.worker_of(id).is_some())
        };
        for (index, place) in world.services.iter().enumerate() {
            if place.phase == Some(Phase::Updating) && !is_watched(index) {
                actions.push(Action::Completes(index));
            }
            if budget.may(|budget| budget.users) {
                actions.push(Action::UserChanges(index));
                if place.phase == Some(Phase::Completed) && place.previous.is_some() {
                    actions.push(Action::UserRollsBack(index));
                }
            }
        }
        let lease = world.ledger.lease.as_ref();
        let waits = |gantry: &Rc<Gantry>| {
            let is_taken = lease.is_some_and(|lease| lease.holder.id != gantry.id);
            is_taken
                && matches!(gantry.look, Look::Decided(_))
                && !matches!(gantry.role, LeaseRole::Holder { .. })
        };
        let is_alive = lease.is_some_and(|lease| self.gantrys.iter().any(|it| it.id == lease.holder.id));
        // While both are alive, time passes between two steps only when one of them is slow.
        if self.gantrys.iter().any(waits) && (!is_alive || budget.ticks > 0) {
            actions.push(Action::Tick);
        }
        if budget.may(|budget| budget.pushes) {
            actions.push(Action::Push);
        }
        if budget.may(|budget| budget.kills) {
            actions.extend([0, 1].map(Action::KillAndRestart));
        }
    }

    /// The state after a step. An error says which promise the step breaks.
    pub(super) fn after(&self, model: &Model, action: Action) -> Result<Self, String> {
        let mut next = self.clone();
        let answer = action.answer();
        if !answer.is_heard() {
            next.world.budget.spend(|budget| &mut budget.lost);
        }
        if let Action::LookBegins(at) = action
            && self.is_idle_look(at)
        {
            next.world.budget.looks -= 1;
        }
        match action.gantry() {
            Some(at) => next.step(model, at, action, answer),
            None => next.world_goes_on(model, action),
        }?;
        Ok(next)
    }

    /// A Gantry takes a step. Without an action of its own, its session only looks whether it may go on.
    fn step(&mut self, model: &Model, at: usize, action: Action, answer: Answer) -> Verdict {
        let [first, second] = &mut self.gantrys;
        let (me, other) = if at == 0 { (first, second) } else { (second, first) };
        let mut scene = Scene { model, world: &mut self.world, me: Rc::make_mut(me), other };
        let verdict = match action {
            Action::LookBegins(_) => scene.look_begins(),
            Action::Decide(_) => scene.decide(),
            Action::Lease(..) => scene.lease(answer),
            Action::GiveUpWaiting(_) => {
                scene.give_up_waiting();
                Ok(())
            }
            Action::Tend(..) => scene.tend(answer),
            Action::RunEnds(_) => {
                scene.run_ends();
                Ok(())
            }
            Action::GiveBack(..) => {
                scene.give_back(answer);
                Ok(())
            }
            Action::Send(_, number, _) => scene.send(number, answer),
            Action::Judge(_, number, is_good) => scene.judge(number, is_good),
            Action::TakeBack(_, number, _) => scene.take_back(number, answer),
            Action::IsBack(_, number) => scene.is_back(number),
            Action::SeesTakenBack(_, number) => scene.sees_taken_back(number),
            _ => scene.session_goes_on(),
        };
        self.keys[at] = key_of(&self.gantrys[at]);
        verdict
    }

    fn world_goes_on(&mut self, model: &Model, action: Action) -> Verdict {
        let world = &mut self.world;
        match action {
            Action::Completes(index) => world.go_on(index, Phase::Completed),
            Action::Tick => {
                world.now += 1;
                let lease = world.ledger.lease.as_ref();
                if lease.is_some_and(|lease| self.gantrys.iter().any(|it| it.id == lease.holder.id)) {
                    world.budget.ticks -= 1;
                }
                for at in [0, 1] {
                    self.step(model, at, action, Answer::Heard)?;
                }
            }
            Action::Push => {
                world.budget.spend(|budget| &mut budget.pushes);
                world.tags[0] += 1;
            }
            Action::KillAndRestart(at) => {
                world.budget.spend(|budget| &mut budget.kills);
                self.gantrys[at] = Rc::new(Gantry::new(world.processes));
                self.keys[at] = key_of(&self.gantrys[at]);
                world.processes += 1;
            }
            Action::UserChanges(index) => {
                world.budget.spend(|budget| &mut budget.users);
                world.by_user[index] = true;
                world.change(index, (2, 0), Phase::Completed);
            }
            Action::UserRollsBack(index) => {
                world.budget.spend(|budget| &mut budget.users);
                world.by_user[index] = true;
                if let Some(previous) = world.services[index].previous {
                    world.change(index, previous, Phase::WentBack);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing is left to do, with all services as they should be. An error says which service is not.
    pub(super) fn is_done(&self, model: &Model) -> Result<bool, String> {
        let lease = self.world.ledger.lease.as_ref();
        let is_held = lease.is_some_and(|lease| self.gantrys.iter().any(|it| it.id == lease.holder.id));
        if is_held || !self.gantrys.iter().all(|gantry| gantry.is_at_rest()) {
            return Ok(false);
        }
        let mut world = self.world.clone();
        let [first, second] = &self.gantrys;
        for (me, other) in [(first, second), (second, first)] {
            let mut me = Gantry::clone(me);
            if !(Scene { model, world: &mut world, me: &mut me, other }.is_done()?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn key_of(gantry: &Gantry) -> Rc<Key> {
    let mut key = Key::default();
    gantry.put(&mut key);
    Rc::new(key)
}
