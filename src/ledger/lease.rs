//! One at a time: who may begin updates. Pure.
//!
//! The lease is a label of the ledger, which is changed by compare-and-set. It is taken when there is something
//! to update and given back afterwards: two writes, and nothing in between while no other Gantry wants it. A Gantry that
//! wants it and finds it taken writes a *claim* beside it. The holder looks at the ledger every few seconds
//! and answers a claim by removing it. A claim that stays is a holder that is dead.
//!
//! ```text
//!           free ------ take -----> held ------ give back -----> free
//!                                   |  ^
//!                          claim    |  | answer
//!                                   v  |
//!                                 claimed -- unanswered for UNANSWERED --> held by who took it over
//! ```
//!
//! No clock of the day is compared with another. How long a claim stands is the sum of the steps of the
//! engine's clock from look to look, each no longer than `MAX_STEP`: a clock that is set, or a process that was
//! frozen, does not make a live holder dead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// From one look at the ledger to the next, for holders and for those that wait.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// How long a claim stands until its holder counts as dead.
pub const UNANSWERED: Duration = Duration::from_secs(20);

/// How long after an answer the holder is asked again. With [`UNANSWERED`], a dead holder is replaced within a
/// minute.
pub const ASK_AGAIN: Duration = Duration::from_secs(15);

/// How long a holder may begin updates after it was last sure of its lease. Half of [`UNANSWERED`], so that it has
/// stopped to do so well before another Gantry takes over.
pub const SURE: Duration = Duration::from_secs(10);

/// The most that counts between two looks.
const MAX_STEP: Duration = Duration::from_secs(10);

/// Who holds, or wants, the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Random; another one for each process.
    pub id: String,
    /// A name for people: our service, or the host and the process.
    pub who: String,
    /// Our service's id, when we run as one; else empty.
    pub service: String,
    /// Our task's id, when we run as one; else empty.
    pub task: String,
    /// A version that the swarm had reached when it took the lease: what it has begun since has a later one. As the ledger
    /// itself has such a version, nothing counts that is older than the last rollout that ended well.
    pub since: Option<u64>,
}

/// A question to the holder: are you alive?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub by: String,
    /// Which of its questions this is.
    pub number: u32,
}

/// The lease as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: Party,
    /// The question that stands, if one does.
    pub claim: Option<Claim>,
}

/// What a holder finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It holds the lease, and no other Gantry asks.
    Undisputed,
    /// It holds the lease, and another Gantry asks whether it is alive.
    Asked,
    /// It does not hold the lease (any more).
    Lost,
}

/// What the ledger says to the party of this id.
pub fn holding(lease: Option<&Lease>, me: &str) -> Holding {
    match lease {
        Some(lease) if lease.holder.id == me && lease.claim.is_none() => Holding::Undisputed,
        Some(lease) if lease.holder.id == me => Holding::Asked,
        _ => Holding::Lost,
    }
}

/// The next step of a Gantry process that wants the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Nothing: this process holds the lease. Its write arrived, and only the answer was lost.
    Ours,
    /// Take it, if nothing has changed since the look.
    Take,
    /// Ask the holder, if nothing has changed since the look.
    Ask(Claim),
    /// Look again later.
    Wait,
}

/// A wait for the lease: what previous looks showed.
#[derive(Clone, Debug, Default)]
pub struct LeaseWait {
    last_look: Option<Timestamp>,
    /// The question that stands, and for how long.
    asked: Option<(Claim, Duration)>,
    /// Since the holder last answered.
    quiet: Option<Duration>,
    questions: u32,
}

impl LeaseWait {
    /// Decides after a look. `is_gone`: the swarm itself says that the holder's task has ended. `now` is
    /// the engine's clock.
    pub fn step(&mut self, lease: Option<&Lease>, is_gone: bool, me: &str, now: Timestamp) -> LeaseStep {
        let step = self.last_look.map_or(SignedDuration::ZERO, |last| now.duration_since(last));
        let elapsed = Duration::try_from(step).unwrap_or_default().min(MAX_STEP);
        self.last_look = Some(now);

        let Some(lease) = lease else { return LeaseStep::Take };
        if lease.holder.id == me {
            return LeaseStep::Ours;
        }
        if is_gone {
            return LeaseStep::Take;
        }
        match (&lease.claim, &mut self.asked) {
            (Some(claim), Some((asked, stands))) if claim == asked => {
                *stands += elapsed;
                if *stands >= UNANSWERED { LeaseStep::Take } else { LeaseStep::Wait }
            }
            // Another Gantry's question is as good as ours.
            (Some(claim), asked) => {
                *asked = Some((claim.clone(), Duration::ZERO));
                LeaseStep::Wait
            }
            (None, asked) => {
                let quiet = match asked.take() {
                    Some(_) => Duration::ZERO,
                    None => self.quiet.map_or(ASK_AGAIN, |quiet| quiet + elapsed),
                };
                self.quiet = Some(quiet);
                if quiet < ASK_AGAIN {
                    return LeaseStep::Wait;
                }
                self.questions += 1;
                LeaseStep::Ask(Claim { by: me.to_owned(), number: self.questions })
            }
        }
    }
}

#[cfg(test)]
impl LeaseWait {
    /// All that decides the next step: the time since the last look, and the question that stands with its age.
    pub(crate) fn summary(&self, lease: Option<&Lease>, now: Timestamp) -> [u64; 4] {
        let since =
            self.last_look.map(|last| Duration::try_from(now.duration_since(last)).unwrap_or_default());
        let claim = lease.and_then(|lease| lease.claim.as_ref());
        let seconds = |time: Option<Duration>| time.map_or(u64::MAX, |time| time.as_secs());
        [
            seconds(since.map(|since| since.min(MAX_STEP))),
            seconds(self.asked.as_ref().map(|(_, stands)| (*stands).min(UNANSWERED))),
            u64::from(self.asked.as_ref().is_some_and(|(asked, _)| Some(asked) == claim)),
            seconds(self.quiet.map(|quiet| quiet.min(ASK_AGAIN))),
        ]
    }
}

#[cfg(test)]
mod tests;
