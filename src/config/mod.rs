//! What Gantry was told: raw variables -> validated [`Config`], every mistake at once.
//!
//! Nothing here reads the environment, the clock or a file, and nothing here logs: the environment comes in
//! as pairs, mistakes and warnings go out as values.

mod engine;
mod filter;
mod mistakes;
mod policy;
mod settings;

pub use engine::EngineAddress;
pub use filter::Filter;
pub use mistakes::{LabelMistakes, Mistake, Mistakes};
pub use policy::ServicePolicy;
pub use settings::{
    Cleanup, Config, Hooks, LogFormat, LogLevel, LogSettings, Login, Logins, LookupMethod, Lookups,
    Notification, NotificationCondition, Quarantine, Rollback, Rollout, Selection, Source, UpdateOrder,
    Updates,
};

/// A configuration that can be used, and what should be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// To be logged once at start: unknown variables, variables that are not in effect yet.
    pub warnings: Vec<String>,
}
