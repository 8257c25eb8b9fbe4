//! The world around the Gantrys: the swarm with its versions, the registry's tags, and what may still go wrong.

use super::key::Key;
use super::memory::Memory;
use crate::ledger::lease::Lease;

/// How many services there are.
pub(super) const SERVICES: usize = 3;

/// What may still go wrong, each so many times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// Pushes of the second digest to the first tag.
    pub(super) pushes: u8,
    /// Gantrys that are killed and start again.
    pub(super) kills: u8,
    /// Changes by a user.
    pub(super) users: u8,
    /// Answers of the engine that are lost.
    pub(super) lost: u8,
    /// Updates that fail.
    pub(super) failures: u8,
    /// Steps of the time while both Gantrys live and one of them waits.
    pub(super) ticks: u8,
    /// Looks for which there is no reason, while updates are under way.
    pub(super) looks: u8,
    /// Whether the second image has a new digest from the start.
    pub(super) has_other: bool,
    /// How many of pushes, kills, changes by users and lost answers may come in one story.
    pub(super) all: u8,
}

impl Budget {
    /// Whether nothing is left.
    pub(super) fn may(self, of: impl Fn(&Self) -> u8) -> bool {
        self.all > 0 && of(&self) > 0
    }

    pub(super) fn spend(&mut self, of: impl Fn(&mut Self) -> &mut u8) {
        self.all -= 1;
        *of(self) -= 1;
    }
}

/// How the last change of a service goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Updating,
    Completed,
    GoingBack,
    WentBack,
}

/// A service of the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Its image and digest.
    pub(super) image: (u8, u8),
    pub(super) previous: Option<(u8, u8)>,
    pub(super) phase: Option<Phase>,
    pub(super) version: u64,
}

/// The config that is Gantry's ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) version: u64,
    pub(super) lease: Option<Lease>,
    pub(super) memory: Memory,
}

/// Everything outside of the Gantrys.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) services: [Place; SERVICES],
    pub(super) ledger: Ledger,
    /// The digest of each tag.
    pub(super) tags: [u8; 3],
    /// The latest version of any object.
    pub(super) version: u64,
    /// The time in steps of ten seconds.
    pub(super) now: i64,
    /// The digests that broke each service, and those that it runs well, as bits.
    pub(super) bad: [u8; SERVICES],
    pub(super) good: [u8; SERVICES],
    /// The digests that each service was sent, as bits.
    pub(super) sent: [u8; SERVICES],
    /// Whether a user has changed the service.
    pub(super) by_user: [bool; SERVICES],
    pub(super) budget: Budget,
    /// How many processes have begun.
    pub(super) processes: u8,
}

impl World {
    /// Three services with old digests, of which all have newer ones.
    pub(super) fn new(budget: Budget) -> Self {
        let place = |image| Place { image: (image, 0), previous: None, phase: None, version: 1 };
        Self {
            services: [place(0), place(0), place(1)],
            ledger: Ledger { version: 2, ..Ledger::default() },
            tags: [1, u8::from(budget.has_other), 0],
            version: 2,
            now: 0,
            bad: [0; SERVICES],
            good: [0; SERVICES],
            sent: [0; SERVICES],
            by_user: [false; SERVICES],
            budget,
            processes: 2,
        }
    }

    /// Whether this image has failed on this service.
    pub(super) fn is_bad(&self, index: usize, (image, digest): (u8, u8)) -> bool {
        image != 2 && self.bad[index] & (1 << digest) != 0
    }

    /// Whether it is known that the service runs well with this image.
    pub(super) fn has_judged(&self, index: usize, (image, digest): (u8, u8)) -> bool {
        image == 2 || digest == 0 || self.good[index] & (1 << digest) != 0
    }

    /// Whether a service still has this image, and is not being rolled back to it.
    pub(super) fn still_has(&self, index: usize, image: (u8, u8)) -> bool {
        let place = self.services[index];
        place.image == image && matches!(place.phase, Some(Phase::Updating | Phase::Completed))
    }

    /// The version of the next change.
    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Gives a service another image. Its last one becomes the previous one.
    pub(super) fn change(&mut self, index: usize, image: (u8, u8), phase: Phase) {
        let version = self.next_version();
        let place = &mut self.services[index];
        *place = Place { image, previous: Some(place.image), phase: Some(phase), version };
    }

    /// The last change of a service goes on.
    pub(super) fn go_on(&mut self, index: usize, phase: Phase) {
        let version = self.next_version();
        let place = &mut self.services[index];
        *place = Place { phase: Some(phase), version, ..*place };
    }

    /// Writes the ledger, if it is still at the version that was read.
    pub(super) fn write(&mut self, read: u64, lease: Option<Lease>, memory: Memory) -> bool {
        if self.ledger.version != read {
            return false;
        }
        let version = self.next_version();
        self.ledger = Ledger { version, lease, memory };
        true
    }

    pub(super) fn put(&self, key: &mut Key) {
        for place in &self.services {
            put_place(key, place);
        }
        key.put_all(self.tags);
        key.put_all(self.bad);
        key.put_all(self.good);
        key.put_all(self.sent);
        key.put_all(self.by_user.map(u8::from));
        let Budget { pushes, kills, users, lost, failures, ticks, looks, all, .. } = self.budget;
        key.put_all([pushes, kills, users, lost, failures, ticks, looks, all]);
        key.version(self.ledger.version);
        key.put(self.ledger.memory.hash());
    }
}

pub(super) fn put_place(key: &mut Key, place: &Place) {
    let code = |(image, digest): (u8, u8)| image * 4 + digest + 1;
    key.put(code(place.image));
    key.put(place.previous.map_or(0, code));
    key.put(place.phase.map_or(0_u64, |phase| phase as u64 + 1));
    key.version(place.version);
}
