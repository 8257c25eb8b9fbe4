//! Every interleaving of two Gantrys in a small world.
//!
//! `any_sequence` and the cycle tests try some orders of events. Here a search tries all of them, and shows the shortest way
//! to a broken promise.
//!
//! The world: three services of two images. Of the first image, a second digest is pushed. An update fails. A Gantry is killed
//! and starts again, or is slow. A user changes a service or rolls it back. A write arrives and its answer does not, or the
//! write does not arrive. How often each of these happens is the budget of a search.
//!
//! The promises:
//!
//! - No service has two updates at a time, and no service is sent the same digest twice.
//! - No update begins with a digest that a finished look of its process has seen replaced.
//! - No update begins, and none is sent, without the lease.
//! - Each run has one report, which names each of its services once.
//! - From each state the work comes to its end without more trouble. Then each service has the newest digest, or the plan
//!   names it for a reason: the digest has failed, or a user has changed a service of that image.
//!
//! Real code: `Queue` with `Pace`, the services that `Rollouts` has in hand, `Waiting` and `holding`, `Book`, `Quarantine`,
//! `ImageHistory`, `Unfinished`, `History`, the plan with the resume decision, `dispatch`, `other_hand`, and `has_arrived`.
//!
//! Written once more, in the same order: the loops of `session`, `look`, `acquire` and `keep`. The session's loop has one request
//! at most, and follows each step at once here.
//!
//! Left out: the update machine (an update is under way, then updated, or failed and rolled back), late failures, the guard,
//! a tag that goes back, Gantry's own service, and a permission that is lost between its check and the arrival of the write.

pub(super) use self::key::Key;

mod gantry;
mod key;
mod library;
mod looking;
mod memory;
mod rolling;
mod scene;
mod search;
mod state;
mod tests;
mod world;
