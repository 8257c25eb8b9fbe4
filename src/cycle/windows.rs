//! Holds the updates that may not begin now, by the windows and freezes of their services. Pure.
//!
//! Windows are asked again where an update begins (`rollout::session`): hours may lie between. What is held here takes no
//! lease and waits in no queue.

use jiff::Timestamp;

use crate::gate::Gate;
use crate::model::decision::{Decision, Planned, Reason};
use crate::model::held::Held;
use crate::rollout::openings::Opening;

/// Holds what may not begin now. `at_once`: a user passes windows. What is under way goes on.
pub(super) fn hold(planned: Vec<Planned>, now: Timestamp, at_once: bool) -> Vec<Planned> {
    planned.into_iter().map(|planned| hold_one(planned, now, at_once)).collect()
}

fn hold_one(planned: Planned, now: Timestamp, at_once: bool) -> Planned {
    let Some(policy) = &planned.details.policy else { return planned };
    let Err(refusal) = policy.times.ask(now, at_once) else { return planned };
    let held = match &planned.decision {
        Decision::Update(update) if update.begun.is_none() => Held::by(update.to.clone(), vec![refusal]),
        Decision::LeftAlone(Reason::Held(held)) => {
            Held::by(held.image.clone(), held.refusals().cloned().chain([refusal]).collect())
        }
        _ => None,
    };
    let Some(held) = held else { return planned };
    Planned { decision: Decision::LeftAlone(Reason::Held(Box::new(held))), ..planned }
}

/// When all gates of a service are open, where each of them tells that. A time that is past wakes no further look.
pub(super) fn opens(planned: &Planned, now: Timestamp) -> Option<Opening> {
    let Decision::LeftAlone(Reason::Held(held)) = &planned.decision else { return None };
    let untils: Option<Vec<Timestamp>> = held.refusals().map(|refusal| refusal.until).collect();
    let at = untils?.into_iter().max().filter(|at| *at > now)?;
    Some(Opening { at, is_window: held.gate() == Gate::Window })
}
