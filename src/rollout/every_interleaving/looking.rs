//! The steps of a look, of the lease and of the end of a run, in the order of `cycle::look` and `ledger::acquire`.

use std::rc::Rc;

use super::gantry::{Decided, Gantry, LeaseRole, Look, clock};
use super::library::{Listed, quarantine};
use super::memory::Pending;
use super::scene::{Answer, Fault, Scene, Verdict};
use super::world::{SERVICES, World};
use crate::ledger::LeftBehind;
use crate::ledger::lease::{Holding, Lease, LeaseStep, LeaseWait, Party, holding};
use crate::model::decision::Decision;
use crate::model::image_history::ImageHistory;
use crate::model::quarantine as of_quarantine;
use crate::model::update::Update;
use crate::rollout::rollouts::RunRequest;

impl Scene<'_> {
    /// A look begins: it reads the ledger and lists the services.
    ///
    /// Where the process has no update under way, the rest follows at once. What is listed is as old when the lease is taken,
    /// and nothing before depends on it.
    pub(super) fn look_begins(&mut self) -> Verdict {
        if matches!(self.me.look, Look::None) {
            self.me.runs += 1;
        }
        self.me.hands.0.look_begins();
        self.me.read(self.world);
        self.me.ledger_copy.is_overtaken = false;
        // As `Ledger::see`.
        if let LeaseRole::Holder { me, sure } = &mut self.me.role
            && holding(self.me.ledger_copy.lease.as_ref(), &me.id) == Holding::Undisputed
        {
            *sure = self.world.now;
        }
        self.me.look = Look::Listed(self.list());
        if self.me.session.is_none() { self.decide() } else { Ok(()) }
    }

    fn list(&self) -> [Listed; SERVICES] {
        let lease = self.me.ledger_copy.lease.as_ref().filter(|lease| lease.holder.id != self.me.id);
        let of = |since| LeftBehind { since, ..LeftBehind::default() };
        let left = of(self.me.left_behind).and(of(lease.and_then(|lease| lease.holder.since)));
        let memory = self.me.memory();
        std::array::from_fn(|index| {
            self.model.library.list(index, self.world.services[index], &left, &memory)
        })
    }

    /// A look asks the registry, decides, and takes out what waits and is outdated.
    pub(super) fn decide(&mut self) -> Verdict {
        let Look::Listed(listed) = std::mem::replace(&mut self.me.look, Look::None) else { return Ok(()) };
        let memory = self.me.memory();
        let (inspected, planned) = self.model.library.decide(&listed, self.world, &memory);
        for (index, listed) in listed.iter().enumerate() {
            let image = usize::from(listed.place.image.0);
            self.me.seen[image] = self.me.seen[image].max(self.world.tags[image]);
            debug_assert_eq!(inspected[index].candidate.version, listed.place.version);
        }
        let ids: Vec<String> = inspected.iter().map(|inspected| inspected.candidate.id.clone()).collect();
        let (inspected, _) = if self.model.fault == Some(Fault::ForgetsUnderWay) {
            (inspected, Vec::new())
        } else {
            self.me.hands.0.set_apart(inspected)
        };
        let is_left = |id: &String| inspected.iter().any(|inspected| inspected.candidate.id == *id);
        let left = ids.iter().zip(planned).filter(|(id, _)| is_left(id));
        let planned: Vec<_> = left.map(|(_, planned)| planned).collect();

        self.me.hands.0.take_out(&inspected, &planned);
        let requests = self.me.hands.0.take_requests();
        let quarantine = quarantine(&memory);
        let image_history = ImageHistory::of(&inspected, &planned, &quarantine);
        self.me.pending.note(of_quarantine::news(&planned));
        let updates = planned.into_iter().filter_map(|planned| match planned.decision {
            Decision::Update(update) => Some(*update),
            _ => None,
        });
        let updates: Vec<Update> = updates.collect();
        if updates.is_empty() {
            self.me.ending += 1;
        } else {
            let mut decided = Decided {
                changes: Pending::default(),
                since: listed.iter().map(|listed| listed.place.version).max().unwrap_or_default(),
                waiting: LeaseWait::default(),
                writes_as_holder: false,
                reads_first: false,
                is_outdated: self.me.ledger_copy.is_overtaken,
                taking_over: None,
                image_history,
                updates,
            };
            decided.changes.note(quarantine.outdated(&of_quarantine::present(&inspected)));
            decided.changes.note(quarantine.offers(decided.updates.iter()));
            self.me.look = Look::Decided(Rc::new(decided));
        }
        for request in requests {
            if let RunRequest::TakeOut(wanted) = request
                && self.model.fault != Some(Fault::SkipsTakeOut)
            {
                self.take_out(&wanted);
            }
        }
        self.session_goes_on()
    }

    /// A look takes the lease, or waits for it. With the lease it hands in its updates.
    pub(super) fn lease(&mut self, answer: Answer) -> Verdict {
        let Look::Decided(decided) = std::mem::replace(&mut self.me.look, Look::None) else { return Ok(()) };
        let mut decided = Decided::clone(&decided);
        if !decided.writes_as_holder && !decided.reads_first {
            decided.writes_as_holder = matches!(self.me.role, LeaseRole::Holder { .. });
        }
        let is_ours = if decided.writes_as_holder {
            let is_first = !std::mem::replace(&mut decided.reads_first, true);
            let changes = decided.changes.take();
            self.me.pending.note(changes.iter().cloned());
            (is_first && changes.is_empty()) || self.tend_once(answer)
        } else {
            self.try_once(&mut decided, answer)
        };
        if !is_ours {
            self.me.look = Look::Decided(Rc::new(decided));
            return Ok(());
        }
        if decided.is_outdated && !decided.writes_as_holder {
            self.me.look = Look::Again;
            return Ok(());
        }
        self.hand_in(decided.updates, decided.image_history);
        self.session_goes_on()
    }

    /// One step towards the lease, as `Ledger::try_once`. Whether the lease is ours.
    fn try_once(&mut self, decided: &mut Decided, answer: Answer) -> bool {
        let is_own = self.me.ledger_copy.lease.as_ref().is_some_and(|lease| lease.holder.id == self.me.id);
        // What could not be given back may have been, or another process may have taken it over.
        if std::mem::replace(&mut decided.reads_first, true) || is_own {
            self.me.read(self.world);
        }
        let lease = self.me.ledger_copy.lease.clone();
        let now = clock(self.world.now);
        match decided.waiting.step(lease.as_ref(), false, &self.me.id, now) {
            LeaseStep::Ours => {
                let since = lease.and_then(|lease| lease.holder.since);
                if let Some(inherited) = decided.taking_over.take() {
                    self.inherit(Some(inherited));
                    decided.is_outdated = true;
                }
                self.hold(since);
                true
            }
            LeaseStep::Take => {
                let mine = Some(decided.since.max(self.me.ledger_copy.version));
                let since = lease.as_ref().map_or(mine, |lease| lease.holder.since.min(mine));
                decided.taking_over = lease.as_ref().and_then(|lease| lease.holder.since);
                let me = self.party(since);
                if !self.write(Some(Lease { holder: me, claim: None }), decided, answer) {
                    decided.is_outdated = true;
                    return false;
                }
                if let Some(lease) = lease {
                    decided.is_outdated = true;
                    self.inherit(lease.holder.since);
                }
                self.hold(since);
                true
            }
            LeaseStep::Ask(claim) => {
                decided.is_outdated = true;
                let memory = self.me.ledger_copy.memory.clone();
                let asked = lease.map(|lease| Lease { claim: Some(claim), ..lease });
                if answer.arrives() {
                    self.world.write(self.me.ledger_copy.version, asked, memory);
                }
                false
            }
            LeaseStep::Wait => {
                decided.is_outdated = true;
                false
            }
        }
    }

    fn party(&self, since: Option<u64>) -> Party {
        Party { id: self.me.id.clone(), since, ..Party::default() }
    }

    fn hold(&mut self, since: Option<u64>) {
        self.me.role = LeaseRole::Holder { me: self.party(since), sure: self.world.now };
    }

    fn inherit(&mut self, since: Option<u64>) {
        self.me.left_behind = [self.me.left_behind, since].into_iter().flatten().min();
    }

    /// Writes the lease with all that is to be remembered. Whether that was heard to be done.
    fn write(&mut self, lease: Option<Lease>, decided: &Decided, answer: Answer) -> bool {
        let memory = self.me.memory().with(decided.changes.changes());
        let is_written = answer.arrives() && self.world.write(self.me.ledger_copy.version, lease, memory);
        if is_written && answer.is_heard() {
            let is_overtaken = self.me.ledger_copy.is_overtaken;
            self.me.pending.take();
            self.me.read(self.world);
            self.me.ledger_copy.is_overtaken = is_overtaken;
        }
        is_written && answer.is_heard()
    }

    /// The holder waits no longer for another Gantry: its updates are postponed.
    pub(super) fn give_up_waiting(&mut self) {
        self.me.look = Look::None;
        self.me.ending += 1;
    }

    /// Keeps the lease and writes what is to be remembered, as `Ledger::tend`.
    pub(super) fn tend(&mut self, answer: Answer) -> Verdict {
        self.tend_once(answer);
        self.session_goes_on()
    }

    fn tend_once(&mut self, answer: Answer) -> bool {
        self.me.read(self.world);
        let mut lease = self.me.ledger_copy.lease.clone();
        let mut holder = None;
        if let LeaseRole::Holder { me, .. } = self.me.role.clone() {
            match holding(lease.as_ref(), &me.id) {
                Holding::Lost => self.me.role = LeaseRole::Lost,
                Holding::Undisputed if self.me.pending.is_empty() => {
                    self.hold(me.since);
                    return true;
                }
                Holding::Undisputed | Holding::Asked => {
                    lease = Some(Lease { holder: me.clone(), claim: None });
                    holder = Some(me);
                }
            }
        }
        if holder.is_none() && self.me.pending.is_empty() {
            return true;
        }
        let memory = self.me.memory();
        let is_written = answer.arrives() && self.world.write(self.me.ledger_copy.version, lease, memory);
        if !is_written || !answer.is_heard() {
            return false;
        }
        self.me.pending.take();
        let is_overtaken = self.me.ledger_copy.is_overtaken;
        self.me.read(self.world);
        if let Some(me) = holder {
            self.hold(me.since);
        } else {
            self.me.ledger_copy.is_overtaken = is_overtaken;
        }
        true
    }

    /// A run ends. The last one gives the lease back.
    pub(super) fn run_ends(&mut self) {
        self.me.ending -= 1;
        self.me.runs -= 1;
        if self.me.runs > 0 {
            return;
        }
        match std::mem::replace(&mut self.me.role, LeaseRole::Bystander) {
            LeaseRole::Bystander => {}
            // All its updates were judged.
            LeaseRole::Holder { .. } | LeaseRole::Lost => self.me.left_behind = None,
        }
        let is_ours = self.me.ledger_copy.lease.as_ref().is_some_and(|lease| lease.holder.id == self.me.id);
        self.me.gives_back = is_ours || !self.me.pending.is_empty();
    }

    /// Gives the lease back, as `Ledger::give_back`. Where the answer is lost, it goes on without.
    pub(super) fn give_back(&mut self, answer: Answer) {
        self.me.gives_back = false;
        self.me.read(self.world);
        let lease = self.me.ledger_copy.lease.clone().filter(|lease| lease.holder.id != self.me.id);
        let memory = self.me.memory();
        if answer.arrives()
            && self.world.write(self.me.ledger_copy.version, lease, memory)
            && answer.is_heard()
        {
            self.me.pending.take();
            self.me.read(self.world);
        }
    }

    /// Whether a look would find nothing more to do, and each service is where it belongs or is named. An error says which
    /// service is not.
    pub(super) fn is_done(&self) -> Result<bool, String> {
        let memory = self.world.ledger.memory.clone();
        let of = |since| LeftBehind { since, ..LeftBehind::default() };
        let left = of(self.world.ledger.lease.as_ref().and_then(|lease| lease.holder.since));
        let listed = std::array::from_fn(|index| {
            self.model.library.list(index, self.world.services[index], &left, &memory)
        });
        let (inspected, planned) = self.model.library.decide(&listed, self.world, &memory);
        let hands = self.me.hands.0.copy();
        hands.look_begins();
        let (_, apart) = hands.set_apart(inspected);
        let mut is_done = apart.is_empty();
        for (index, planned) in planned.iter().enumerate() {
            let is_named = match &planned.decision {
                Decision::UpToDate => false,
                Decision::LeftAlone(reason) if !reason.is_for_now() => true,
                Decision::NeedsAttention { .. } => true,
                _ => {
                    is_done = false;
                    continue;
                }
            };
            if let Some(wrong) = self.is_wrong(index, is_named) {
                return Err(format!("{wrong}: {planned:?}"));
            }
        }
        Ok(is_done)
    }

    /// What is wrong with a service for which there is nothing more to do.
    fn is_wrong(&self, index: usize, is_named: bool) -> Option<&'static str> {
        let (image, digest) = self.world.services[index].image;
        let tag = self.world.tags[usize::from(image)];
        let same_tag = |other: &usize| self.world.services[*other].image.0 == image;
        // A service that failed may have another tag by now.
        let had_tag = |other: &usize| World::new(self.world.budget).services[*other].image.0 == image;
        let has_failed = (0..SERVICES).filter(had_tag).any(|other| self.world.is_bad(other, (image, tag)));
        let is_moved = (0..SERVICES).filter(same_tag).any(|other| self.world.by_user[other]);
        if is_named && !has_failed && !is_moved {
            return Some("a service is left alone without a reason");
        }
        if !is_named && digest != tag {
            return Some("a service has neither the newest digest nor a name");
        }
        self.world.is_bad(index, (image, digest)).then_some("a service is left with a digest that breaks it")
    }
}

impl Gantry {
    /// Whether there is something to do for `tend`.
    pub(super) fn has_to_tend(&self, world: &World) -> bool {
        let is_unsure = match &self.role {
            LeaseRole::Holder { me, sure } => {
                let lease = world.ledger.lease.as_ref();
                *sure != world.now || holding(lease, &me.id) != Holding::Undisputed
            }
            _ => false,
        };
        self.runs > 0 && !self.gives_back && (is_unsure || !self.pending.is_empty())
    }
}
