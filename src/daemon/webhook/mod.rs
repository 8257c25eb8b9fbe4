//! Webhooks: registries tell of a push, and Gantry looks.
//!
//! An event is a hint about a repository. Tag and digest of a payload decide nothing: Gantry looks at every tag of the
//! repository that a service uses, by a run of its own. A forged or repeated event costs at most one look per second.

pub mod coalesce;
pub mod desk;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod hint;
mod json;
pub mod proof;
pub mod sender;
#[cfg(test)]
mod tests;
pub mod used;
