//! What a look means in each state. Pure.

use tokio::time::Instant;

use super::patience::{recovery_time, stall_limit, stalled};
use super::sent_update::Restoring;
use super::side_by_side::{lacks_room, no_room};
use super::view::View;
use super::watch::{Watch, Watched};
use crate::model::cause::Cause;
use crate::model::outcome::Outcome;
use crate::model::task_spec_id::TaskSpecId;
use crate::model::timing::settling_time;
use crate::rollout::convergence::Exception;
use crate::swarm::UpdateState;

/// What a look means.
pub(super) enum Verdict {
    Wait,
    Over(Outcome),
    RolledBackBySwarm(Cause),
    Failed(Cause),
    /// The swarm has stopped for something that is no failure.
    SendAgain(String),
    /// The swarm's updater waits for ever.
    GoOn(String),
    /// The nodes cannot get the old image; another account may help.
    RenewAccount,
}

/// What a look at an update means.
pub(super) fn updating(view: &View<'_>, watch: &mut Watch) -> Verdict {
    let View { sent_update, service, facts, .. } = *view;
    if let Some(status) = service.rollback_by_swarm() {
        let cause = view.cause_by(&sent_update.sent, &status.message);
        // When a user has changed a label in the middle of the update, it goes back to the same image.
        return if sent_update.is_sent(facts) {
            Verdict::Failed(cause)
        } else {
            Verdict::RolledBackBySwarm(cause)
        };
    }
    if !sent_update.is_sent(facts) {
        let is_rollback = service.update.as_ref().is_some_and(|status| status.state.is_rollback());
        let how = if is_rollback {
            "a user or another program rolled it back".to_owned()
        } else {
            view.changed_to()
        };
        return Verdict::Over(Outcome::Superseded(how));
    }
    let sent = view.kept.or(sent_update.whole.as_ref().map(|whole| &whole.sent));
    if let Some(fields) = view.change_since(sent) {
        let how = format!("a user or another program changed {fields} during the update");
        return Verdict::Over(Outcome::Superseded(how));
    }
    if let Some(pause) = view.pause() {
        return if view.is_paused_for_a_node(pause) {
            Verdict::SendAgain("Swarm paused the update because of a node".to_owned())
        } else {
            Verdict::Failed(view.cause_by(&TaskSpecId::of(facts), &pause.message))
        };
    }
    match watch.look(view) {
        _ if lacks_room(view, watch) => Verdict::Failed(no_room(watch)),
        Watched::Steady(but) => Verdict::Over(updated(&but)),
        Watched::Nothing(why) => Verdict::Over(Outcome::Started(why.to_owned())),
        Watched::Unsteady => match within_ratio(view, watch) {
            Some(outcome) => Verdict::Over(outcome),
            None => Verdict::Failed(
                view.task_cause(&TaskSpecId::of(facts)).unwrap_or_else(|| view.weighed(watch.not_running())),
            ),
        },
        Watched::Stuck(why) => match updating_late(view, watch) {
            Verdict::Wait => Verdict::GoOn(why.to_string()),
            late => late,
        },
        Watched::NotYet => updating_late(view, watch),
    }
}

/// Whether an update that has not come to its end has had its time.
fn updating_late(view: &View<'_>, watch: &Watch) -> Verdict {
    let View { sent_update, facts, now, .. } = *view;
    let elapsed = now.duration_since(sent_update.sent_at);
    match sent_update.timeout {
        Some(timeout) if elapsed >= timeout => {
            if watch.has_held(facts, now) {
                Verdict::Over(Outcome::Updated)
            } else if watch.is_monitored(facts, elapsed, timeout) {
                Verdict::Wait
            } else {
                Verdict::Failed(view.timed_out(watch, timeout))
            }
        }
        None if watch.has_stalled(facts, now) => {
            Verdict::Failed(stalled(view.timed_out(watch, stall_limit(facts))))
        }
        _ => Verdict::Wait,
    }
}

/// An update with which all is well but for these tasks.
fn updated(but: &[Exception]) -> Outcome {
    if but.is_empty() {
        return Outcome::Updated;
    }
    Outcome::UpdatedBut(but.iter().map(Exception::after_update).collect::<Vec<_>>().join("; "))
}

/// The outcome where the service's owner allows for so many failed tasks, and the swarm calls the update completed.
fn within_ratio(view: &View<'_>, watch: &Watch) -> Option<Outcome> {
    let View { service, facts, now, .. } = *view;
    let ratio = facts.max_failure_ratio;
    let is_completed =
        service.update.as_ref().is_some_and(|status| matches!(status.state, UpdateState::Completed));
    let (held, desired) = (watch.held(facts, now), watch.waiting.desired);
    #[expect(clippy::cast_precision_loss, reason = "there are fewer tasks than that")]
    let is_enough = held > 0 && held as f64 >= desired as f64 * (1.0 - ratio);
    if !is_completed || ratio <= 0.0 || !is_enough || view.has_old_tasks() {
        return None;
    }
    let cause = view.task_cause(&TaskSpecId::of(facts)).unwrap_or_else(|| watch.not_running());
    Some(Outcome::UpdatedBut(format!(
        "{held} of {desired} tasks run, and --update-max-failure-ratio {ratio} allows that: {cause}"
    )))
}

/// What a look at a rollback means.
pub(super) fn rolling_back(view: &View<'_>, restoring: &Restoring, watch: &mut Watch) -> Verdict {
    let View { sent_update, service, facts, now, .. } = *view;
    let Restoring { by, cause, .. } = restoring;
    let failed = |why: Cause| Verdict::Over(rollback_failed(cause, why));
    let overtaken = |how| Verdict::Over(Outcome::Overtaken { cause: cause.clone(), how });
    if !sent_update.is_replaced(facts) {
        return match service.rollback_by_swarm() {
            // What was restored by an update of its own has failed as well, and the swarm has taken it back.
            Some(status) if sent_update.is_sent(facts) => {
                failed(view.cause_by(&sent_update.replaced, &status.message))
            }
            _ => overtaken(view.changed_to()),
        };
    }
    if let Some(fields) = view.change_since(restoring.spec.as_ref()) {
        return overtaken(format!("a user or another program changed {fields} during the rollback"));
    }
    let rolled_back = || Verdict::Over(Outcome::RolledBack { by: *by, cause: cause.clone() });
    let watched = watch.look(view);
    let old_image = || view.pause_cause().or_else(|| view.task_cause(&TaskSpecId::of(facts)));
    match &watched {
        Watched::Steady(_) | Watched::Nothing(_) => return rolled_back(),
        Watched::Stuck(_) | Watched::Unsteady | Watched::NotYet => {}
    }
    if view.pause().is_some() && view.has_old_tasks() && watch.held(facts, now) > 0 {
        return Verdict::SendAgain("the old image runs again, and Swarm has paused the rollback".to_owned());
    }
    if restoring.may_renew
        && matches!(old_image(), Some(Cause::ImageNotFound { .. }))
        && is_stopped(view, watch)
    {
        return Verdict::RenewAccount;
    }
    // Swarm starts failed tasks again, also after it has paused: only when they keep failing it has failed.
    if watch.has_failed_for(recovery_time(facts), now) {
        return if is_as_before(view, watch) {
            rolled_back()
        } else {
            failed(old_image().unwrap_or_else(|| watch.not_running()))
        };
    }
    match (rolling_back_late(view, restoring.since, watch), watched) {
        (Late::WellInTime, _) => rolled_back(),
        (Late::Failed(why), _) => failed(why),
        (Late::No, Watched::Stuck(why)) => Verdict::GoOn(why.to_string()),
        (Late::No, _) => Verdict::Wait,
    }
}

/// Whether a rollback has come to a stop.
fn is_stopped(view: &View<'_>, watch: &Watch) -> bool {
    view.pause().is_some() || watch.has_failed_for(settling_time(view.facts), view.now)
}

/// Whether as much runs as before the update, when not all ran.
fn is_as_before(view: &View<'_>, watch: &Watch) -> bool {
    let before = &view.sent_update.before;
    let ran = before.ran().filter(|ran| *ran > 0);
    before.was_in_trouble()
        && !view.has_old_tasks()
        && ran.is_some_and(|ran| watch.held(view.facts, view.now) >= ran)
}

/// Whether a rollback has had its time.
enum Late {
    /// Not yet.
    No,
    /// Its time is over, and all has run through the monitor period.
    WellInTime,
    /// Its time is over, and it has failed.
    Failed(Cause),
}

/// Whether a rollback has had its time.
fn rolling_back_late(view: &View<'_>, since: Instant, watch: &Watch) -> Late {
    let View { sent_update, facts, now, .. } = *view;
    let elapsed = now.duration_since(since);
    let waiting = watch.waiting.activity.clone();
    match sent_update.timeout {
        Some(timeout) if elapsed >= timeout && watch.has_held(facts, now) => Late::WellInTime,
        Some(timeout) if elapsed >= timeout && !watch.is_monitored(facts, elapsed, timeout) => {
            Late::Failed(Cause::TimedOut { after: timeout, waiting, blames_image: false })
        }
        None if watch.has_stalled(facts, now) => {
            let cause = Cause::TimedOut { after: stall_limit(facts), waiting, blames_image: false };
            Late::Failed(stalled(cause))
        }
        _ => Late::No,
    }
}

/// Where the old image fails in the same way, the new one is not to blame.
fn rollback_failed(cause: &Cause, why: Cause) -> Outcome {
    Outcome::RollbackFailed { cause: cause.clone().excused_by(&why), why }
}
