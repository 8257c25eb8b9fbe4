//! The machine's rules, checked against its answer to each look.

use proptest::prelude::*;

use super::*;
use crate::rollout::convergence::{Convergence, judge};
use crate::swarm::{Facts, Nodes, Service, Task};

/// One update with what has happened to it so far, as the rules see it.
#[derive(Debug)]
pub(super) struct WatchedUpdate {
    pub(super) machine: Machine,
    sent_update: SentUpdate,
    /// The latest moment by which a time limit ends it.
    deadline: Option<Instant>,
    /// A rollback was seen, by the swarm or on request, that took the sent image away.
    saw_rollback: bool,
    saw_rollback_by_swarm: bool,
    rollbacks: usize,
    /// How often the swarm was told to go on.
    resumed: u32,
    /// Whether the swarm turns out to have been faster with the rollback that was asked for.
    swarm_is_faster: bool,
}

impl WatchedUpdate {
    pub(super) fn new(sent_update: SentUpdate, swarm_is_faster: bool) -> Self {
        Self {
            machine: Machine::new(sent_update.clone()),
            deadline: sent_update.timeout.map(|timeout| sent_update.sent_at + timeout),
            sent_update,
            saw_rollback: false,
            saw_rollback_by_swarm: false,
            rollbacks: 0,
            resumed: 0,
            swarm_is_faster,
        }
    }

    /// Shows the machine this look and holds what it does against the rules. A rollback that it asks for is sent at once.
    pub(super) fn look(
        &mut self,
        service: &Service,
        is_there: bool,
        (tasks, nodes): (&[Task], &Nodes),
        now: Instant,
    ) -> Result<Step, TestCaseError> {
        let facts = service.spec.facts();
        let convergence = judge(service, tasks, nodes, &self.sent_update.before);
        if is_there {
            let is_rollback = service.update.as_ref().is_some_and(|status| status.state.is_rollback());
            let is_by_swarm = service.rollback_by_swarm().is_some();
            self.saw_rollback |= is_by_swarm || (is_rollback && !self.sent_update.is_sent(facts));
            self.saw_rollback_by_swarm |= is_by_swarm;
        }
        let was_rolling_back = self.machine.is_rolling_back();
        let seen = ServiceView { service: is_there.then_some(service), tasks, nodes };

        let step = self.machine.step(&seen, now);

        match &step {
            Step::Wait => {}
            Step::RollBack => {
                prop_assert!(self.sent_update.may_roll_back);
                self.rollbacks += 1;
                prop_assert_eq!(self.rollbacks, 1, "never a second time");
                prop_assert!(self.sent_update.is_sent(facts), "never over somebody else's image");
                prop_assert!(self.machine.cause().is_some());
                let by = if self.swarm_is_faster { By::Swarm } else { By::Gantry };
                self.machine.rollback_sent(by, now);
            }
            Step::SendAgain(_) | Step::GoOn(_) => {
                self.resumed += 1;
                let desired = service.status.map_or(0, |status| status.desired);
                prop_assert!(
                    u64::from(self.resumed) <= MAX_RESUMED + desired,
                    "the swarm is not told for ever"
                );
                let is_paused = service.update.as_ref().is_some_and(|status| status.state.is_paused());
                prop_assert_eq!(is_paused, matches!(step, Step::SendAgain(_)));
                prop_assert!(
                    self.sent_update.is_sent(facts) || self.sent_update.is_replaced(facts),
                    "never over another image"
                );
                self.machine.resumed();
                return Ok(step);
            }
            Step::RenewAccount => prop_assert!(false, "there is no account"),
            Step::Finish(outcome) => {
                self.judge(outcome, facts, is_there, &convergence)?;
                return Ok(step);
            }
        }
        if self.machine.is_rolling_back() && !was_rolling_back {
            self.deadline = self.sent_update.timeout.map(|timeout| now + timeout);
        } else {
            // Where all run at the deadline, it is waited until it is known whether they stay up.
            let is_monitored = matches!(convergence, Convergence::Converged { .. });
            let more = if is_monitored { facts.monitor() } else { Duration::ZERO };
            prop_assert!(self.deadline.is_none_or(|deadline| now < deadline + more), "a time limit ends it");
        }
        Ok(step)
    }

    fn judge(
        &self,
        outcome: &Outcome,
        facts: &Facts,
        is_there: bool,
        convergence: &Convergence,
    ) -> Result<(), TestCaseError> {
        match outcome {
            Outcome::Updated => {
                prop_assert!(!self.saw_rollback && self.rollbacks == 0);
                prop_assert!(self.sent_update.is_sent(facts));
                prop_assert!(matches!(convergence, Convergence::Converged { .. }), "{convergence:?}");
            }
            Outcome::UpdatedBut(_) => {
                prop_assert!(!self.saw_rollback && self.rollbacks == 0);
                prop_assert!(self.sent_update.is_sent(facts));
                prop_assert!(!matches!(convergence, Convergence::Nothing(_)), "{convergence:?}");
            }
            Outcome::RolledBack { by, .. } => {
                prop_assert!(self.sent_update.is_replaced(facts));
                prop_assert!(!matches!(convergence, Convergence::Waiting(_)));
                match by {
                    By::Gantry => prop_assert!(self.rollbacks == 1 && !self.swarm_is_faster),
                    By::Swarm => prop_assert!(self.saw_rollback_by_swarm || self.rollbacks == 1),
                    By::Other => prop_assert!(self.rollbacks == 1),
                }
            }
            Outcome::RollbackFailed { .. } => {
                prop_assert!(self.rollbacks == 1 || self.saw_rollback_by_swarm);
            }
            Outcome::Failed { .. } => prop_assert!(!self.sent_update.may_roll_back && self.rollbacks == 0),
            Outcome::Superseded(_) => {
                let is_ours = self.sent_update.is_sent(facts) && self.rollbacks == 0;
                prop_assert!(!is_ours || self.saw_rollback_by_swarm);
            }
            Outcome::Started(_) => {
                prop_assert!(matches!(convergence, Convergence::Nothing(_)));
                prop_assert!(self.sent_update.is_sent(facts) && !self.saw_rollback);
            }
            Outcome::Overtaken { .. } => {
                prop_assert!(!is_there || !self.sent_update.is_replaced(facts) || self.rollbacks == 0);
            }
            Outcome::Removed => prop_assert!(!is_there && self.machine.cause().is_none()),
            Outcome::Unchanged(_) | Outcome::Postponed(_) | Outcome::TakenBack(_) | Outcome::Interrupted => {
                prop_assert!(false, "not its to say");
            }
        }
        Ok(())
    }
}
