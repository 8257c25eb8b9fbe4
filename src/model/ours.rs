//! Who made a service's last change. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::image::ImageRef;
use crate::model::attention::OtherHand;
use crate::model::order;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::model::update::{Dispatch, Update};
use crate::options::Ids;
use crate::swarm::spec::{Edits, OrderChange};
use crate::swarm::{Service, Spec, UpdateState};

/// For how long after an update Gantry answers for what its tasks do.
pub(crate) const ANSWERS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Whether Gantry made the present specification of the previous one, or something changed nothing but the digest:
/// Gantry's settings may have been others then. Another tag is Gantry's doing only where the service accepts other tags.
pub(crate) fn is_ours(
    service: &Service,
    ids: &Ids,
    update: &Update,
    previous: &Spec,
    from: &ImageRef,
) -> bool {
    update.may_come_from(from)
        && (is_made_by_us(service, ids, update, previous, from)
            || (*from != update.from && is_same_but_for_image(previous, &service.spec)))
}

pub(crate) fn is_made_by_us(
    service: &Service,
    ids: &Ids,
    update: &Update,
    previous: &Spec,
    from: &ImageRef,
) -> bool {
    let before = Service { spec: previous.clone(), ..service.clone() };
    let sent = Update { from: from.clone(), to: update.from.clone(), platforms: None, ..update.clone() };
    let Ok(optioned) = previous.with_options(&update.policy.update_options, ids) else {
        return false;
    };
    // Which order was right for it then is not known now, and Gantry may have changed it.
    let order = order_between(&optioned, &service.spec);
    let Dispatch::Send(edits) = sent.dispatch(&before, TaskLifecycle::RunsOn, order) else {
        return false;
    };
    // The platforms were those of the new image then, and nothing remembers them now.
    let edits = Edits { platforms: Some(service.spec.platforms()), ..edits };
    optioned.edited(&edits).is_ok_and(|spec| spec.is_same_as(&service.spec))
}

/// Whether its last change gave it another digest of the same tag in the last hours.
pub(crate) fn has_new_digest_since(service: &Service, now: Timestamp) -> bool {
    let Some(status) = service.update.as_ref().filter(|status| status.state == UpdateState::Completed) else {
        return false;
    };
    let is_recent = status.started.is_some_and(|started| now.duration_since(started) < ANSWERS_FOR);
    let present = is_recent.then(|| image_of(&service.spec)).flatten();
    let previous = service.previous.as_ref().filter(|_| is_recent).and_then(image_of);
    present
        .zip(previous)
        .is_some_and(|(present, previous)| present.is_same_tag_as(&previous) && present != previous)
}

/// Whether its last change gave it other tasks.
pub(crate) fn has_other_tasks(service: &Service) -> bool {
    let present = &service.spec;
    service.previous.as_ref().is_some_and(|previous| previous.image_and_force() != present.image_and_force())
}

pub(crate) fn image_of(spec: &Spec) -> Option<ImageRef> {
    spec.image_and_force().0?.parse().ok()
}

/// Whether two specifications differ in nothing but the image and what follows from it.
pub(crate) fn is_same_but_for_image(one: &Spec, other: &Spec) -> bool {
    let facts = other.facts();
    let edits = Edits {
        image: facts.image.clone(),
        platforms: Some(other.platforms()),
        force_update: (facts.force_update != one.facts().force_update).then_some(facts.force_update),
        order: order_between(one, other),
        ..Edits::default()
    };
    one.edited(&edits).is_ok_and(|spec| spec.is_same_as(other))
}

/// The change of the order that leads from one specification to another.
fn order_between(one: &Spec, other: &Spec) -> Option<OrderChange> {
    let order = |spec: &Spec| spec.facts().update.and_then(|update| update.order);
    order::change(order(one), order(other))
}

/// What another party has begun since the plan was made, on a service that was read again. `None`: nothing.
pub(crate) fn other_hand(update: &Update, service: &Service, ids: &Ids) -> Option<OtherHand> {
    // At this version the plan has decided.
    if service.version == update.version {
        return None;
    }
    let state = &service.update.as_ref()?.state;
    let before = service.previous.as_ref().and_then(|previous| Some((previous, image_of(previous)?)));
    let is_ours =
        || before.as_ref().is_some_and(|(previous, from)| is_ours(service, ids, update, previous, from));
    match state {
        UpdateState::RollbackStarted | UpdateState::RollbackPaused => Some(OtherHand::RollingBack),
        UpdateState::Updating if !is_ours() => Some(OtherHand::Updating),
        UpdateState::Paused if !is_ours() => Some(OtherHand::Paused),
        _ => None,
    }
}
