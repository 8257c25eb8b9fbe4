//! One Gantry process of the model: its look, its lease, its updates.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::key::Key;
use super::library::Listed;
use super::memory::{Memory, Pending};
use super::world::{SERVICES, World, put_place};
use crate::ledger::Permission;
use crate::ledger::lease::{Lease, LeaseWait, Party, SURE};
use crate::model::image_history::ImageHistory;
use crate::model::update::Update;
use crate::rollout::queue::Queue;
use crate::rollout::queue::summary::put_update;
use crate::rollout::rollouts::Rollouts;

/// How many seconds one step of the time has: a holder of the lease is not sure of it any more after one.
const SECONDS: i64 = 10;

/// One process.
#[derive(Clone)]
pub(super) struct Gantry {
    /// The id of its party.
    pub(super) id: String,
    pub(super) look: Look,
    /// How many runs are under way, and how many of those are over but for their end.
    pub(super) runs: u8,
    pub(super) ending: u8,
    /// Whether the lease is to be given back, or what is pending written.
    pub(super) gives_back: bool,
    pub(super) role: LeaseRole,
    pub(super) ledger_copy: LedgerCopy,
    /// Updates of earlier processes that may not be judged.
    pub(super) left_behind: Option<u64>,
    pub(super) pending: Pending,
    /// The digests that its finished looks have seen under the tags.
    pub(super) seen: [u8; 3],
    pub(super) hands: Hands,
    pub(super) session: Option<Rc<Session>>,
}

/// The services that it has in hand, as the real code keeps them.
pub(super) struct Hands(pub(super) Rollouts<(), ()>);

impl Clone for Hands {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

/// What it is to the lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LeaseRole {
    Bystander,
    /// It was sure of it at this time.
    Holder {
        me: Party,
        sure: i64,
    },
    Lost,
}

/// The ledger as it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct LedgerCopy {
    pub(super) version: u64,
    pub(super) lease: Option<Lease>,
    pub(super) memory: Memory,
    /// Whether another write was seen since the look began.
    pub(super) is_overtaken: bool,
}

/// Where its look is.
#[derive(Clone)]
pub(super) enum Look {
    /// There is none.
    None,
    /// Another one follows, of the same run.
    Again,
    /// The services are listed.
    Listed([Listed; SERVICES]),
    /// It is decided, and wants the lease.
    Decided(Rc<Decided>),
}

/// What a look has decided.
#[derive(Clone)]
pub(super) struct Decided {
    pub(super) updates: Vec<Update>,
    pub(super) image_history: ImageHistory,
    /// To be remembered together with the lease.
    pub(super) changes: Pending,
    /// The latest version of the services that were listed.
    pub(super) since: u64,
    pub(super) waiting: LeaseWait,
    /// Whether an earlier run had the lease already.
    pub(super) writes_as_holder: bool,
    /// Whether the ledger has to be read before the next step.
    pub(super) reads_first: bool,
    pub(super) is_outdated: bool,
    pub(super) taking_over: Option<u64>,
}

/// The updates of all its runs.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) queue: Queue,
    pub(super) runs: BTreeMap<u64, Run>,
    pub(super) next_run: u64,
    pub(super) workers: BTreeMap<usize, Worker>,
    /// The updates that were called good.
    pub(super) updated: BTreeMap<usize, Rc<Update>>,
}

/// A run that waits for its updates: the services that it has handed in, and those that an earlier run has in hand.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) handed_in: BTreeSet<String>,
    pub(super) in_hand: BTreeSet<String>,
}

/// An update under way.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) update: Rc<Update>,
    pub(super) stage: Stage,
}

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// It is to be sent. It may have been sent to the service at this version, without an answer.
    ToSend(Option<u64>),
    Watched,
    /// It has failed, and its rollback is to be sent.
    ToTakeBack,
    GoingBack,
}

/// The engine's clock at a time of the model.
pub(super) fn clock(now: i64) -> Timestamp {
    Timestamp::from_second(now * SECONDS).unwrap()
}

impl Gantry {
    /// A process that has just started.
    pub(super) fn new(number: u8) -> Self {
        Self {
            id: format!("g{number}"),
            look: Look::None,
            runs: 0,
            ending: 0,
            gives_back: false,
            role: LeaseRole::Bystander,
            ledger_copy: LedgerCopy::default(),
            left_behind: None,
            pending: Pending::default(),
            seen: [0; 3],
            hands: Hands(Rollouts::default()),
            session: None,
        }
    }

    /// Whether a new update may begin, as `Ledger::permission` says.
    pub(super) fn permission(&self, now: i64) -> Permission {
        match &self.role {
            LeaseRole::Holder { sure, .. } => {
                let since = Duration::from_secs(u64::try_from((now - sure) * SECONDS).unwrap_or_default());
                if since < SURE { Permission::Granted } else { Permission::Unsure }
            }
            LeaseRole::Bystander | LeaseRole::Lost => Permission::Refused,
        }
    }

    /// What is remembered, as far as it knows.
    pub(super) fn memory(&self) -> Memory {
        self.ledger_copy.memory.with(self.pending.changes())
    }

    /// Reads the ledger.
    pub(super) fn read(&mut self, world: &World) {
        let ledger = &world.ledger;
        let is_overtaken = self.ledger_copy.is_overtaken || self.ledger_copy.version != ledger.version;
        let (lease, memory) = (ledger.lease.clone(), ledger.memory.clone());
        self.ledger_copy = LedgerCopy { version: ledger.version, lease, memory, is_overtaken };
    }

    /// The worker of a service.
    pub(super) fn worker_of(&self, id: &str) -> Option<&Worker> {
        self.session.as_ref()?.workers.values().find(|worker| worker.update.id == id)
    }

    /// The updates of its runs, to be changed.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut().map(Rc::make_mut)
    }

    /// Whether nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.look, Look::None) && self.session.is_none() && self.runs == 0 && !self.gives_back
    }

    /// Adds all that decides what it does next, but for what depends on the world.
    pub(super) fn put(&self, key: &mut Key) {
        key.put_all([self.runs, self.ending, u8::from(self.gives_back)]);
        key.put_all(self.seen);
        self.left_behind.iter().for_each(|since| key.version(*since));
        key.put(self.pending.hash());
        // Between runs, the ledger is read again before anything depends on it.
        if self.runs > 0 || self.gives_back {
            key.version(self.ledger_copy.version);
            key.put(self.ledger_copy.memory.hash());
            key.put(u8::from(self.ledger_copy.is_overtaken));
        }
        self.put_look(key);
        let (under_way, ended) = self.hands.0.all_in_hand();
        for (id, to) in &under_way {
            key.text(id);
            key.image(to);
        }
        key.end();
        // A look begins with none of these.
        if matches!(self.look, Look::Listed(_) | Look::Decided(_)) {
            for id in &ended {
                key.text(id);
            }
        }
        key.end();
        if let Some(session) = &self.session {
            session.put(key);
        }
        key.end();
    }

    /// Adds what depends on the world. `rank` tells the two processes apart in leases.
    pub(super) fn put_beside(&self, key: &mut Key, world: &World, rank: &impl Fn(&str) -> u64) {
        match &self.role {
            LeaseRole::Bystander => key.put(0_u64),
            LeaseRole::Lost => key.put(1_u64),
            LeaseRole::Holder { me, sure } => {
                key.put(2 + (world.now - sure).min(1));
                me.since.iter().for_each(|since| key.version(*since));
            }
        }
        if self.runs > 0 || self.gives_back {
            put_lease(key, self.ledger_copy.lease.as_ref(), rank);
        }
        if let Look::Decided(decided) = &self.look {
            let now = clock(world.now);
            key.put_all(decided.waiting.summary(world.ledger.lease.as_ref(), now));
            key.put_all(decided.waiting.summary(self.ledger_copy.lease.as_ref(), now));
        }
        key.end();
    }

    fn put_look(&self, key: &mut Key) {
        match &self.look {
            Look::None => key.put(0_u64),
            Look::Again => key.put(1_u64),
            Look::Listed(listed) => {
                key.put(2_u64);
                for listed in listed {
                    put_place(key, &listed.place);
                    key.put_all([listed.is_left_behind, listed.was_offered].map(u8::from));
                }
            }
            Look::Decided(decided) => {
                key.put(3_u64);
                // Another look follows anyway.
                if !decided.is_outdated || decided.writes_as_holder {
                    decided.updates.iter().for_each(|update| put_update(key, update));
                }
                key.end();
                key.put(decided.changes.hash());
                key.version(decided.since);
                let flags = [decided.writes_as_holder, decided.reads_first, decided.is_outdated];
                key.put_all(flags.map(u8::from));
                decided.taking_over.iter().for_each(|since| key.version(*since));
            }
        }
        key.end();
    }
}

impl Session {
    fn put(&self, key: &mut Key) {
        self.queue.summary(key);
        let (numbers, _) = self.queue.numbers();
        let rank = |number: &usize| numbers.binary_search(number).unwrap_or(usize::MAX);
        for (number, worker) in &self.workers {
            key.put(rank(number));
            put_update(key, &worker.update);
            match worker.stage {
                Stage::ToSend(None) => key.put(0_u64),
                Stage::ToSend(Some(version)) => {
                    key.put(4_u64);
                    key.version(version);
                }
                Stage::Watched => key.put(1_u64),
                Stage::ToTakeBack => key.put(2_u64),
                Stage::GoingBack => key.put(3_u64),
            }
            key.end();
        }
        key.put_all(self.updated.keys().map(rank));
        for run in self.runs.values() {
            run.handed_in.iter().for_each(|id| key.text(id));
            key.end();
            run.in_hand.iter().for_each(|id| key.text(id));
            key.end();
        }
    }
}

/// Adds a lease to a key.
pub(super) fn put_lease(key: &mut Key, lease: Option<&Lease>, rank: &impl Fn(&str) -> u64) {
    if let Some(Lease { holder, claim }) = lease {
        key.put(rank(&holder.id));
        holder.since.iter().for_each(|since| key.version(*since));
        if let Some(claim) = claim {
            key.put(rank(&claim.by));
        }
    }
    key.end();
}
