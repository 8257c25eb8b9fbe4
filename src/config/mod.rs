//! The configuration: raw variables -> validated [`Config`], every mistake at once.
//!
//! No code here reads the environment, the clock or a file, or logs. The environment comes in as pairs; mistakes and
//! warnings go out as values.

mod client;
#[cfg(test)]
mod cost;
mod destination;
mod destination_list;
mod engine;
mod entry;
mod filter;
mod help;
mod hosts;
mod labels_allowed;
mod listen;
mod load;
mod misplaced;
mod mistake;
mod mistakes;
mod narrowing;
mod of_cycle;
mod policy;
mod schedule;
mod scope;
mod settings;
mod shepherd;
mod tag_policy;
#[cfg(test)]
mod tests;
mod timespan;
mod update_times;
mod value;
mod variables;

pub(crate) use self::variables::PREFIX;
pub use client::{CLIENT_VARIABLES, TOKEN, TOKEN_FILE, URL};
pub use destination::{Destination, MailRoute, MailTls, NotificationUrls, Protocol};
pub use filter::Filter;
pub use help::{help, markdown_labels, markdown_variables, version};
pub use listen::MIN_TOKEN;
pub use load::Loaded;
pub use misplaced::OnContainers;
pub use mistake::{LabelMistakes, Mistake};
pub use mistakes::Mistakes;
pub use narrowing::Narrowing;
pub use of_cycle::{Environment, is_ours, is_withheld};
pub use policy::{STACK, ServicePolicy};
pub use schedule::Schedule;
pub use scope::LoginScope;
pub use settings::{
    Cleanup, Config, EngineAddress, Hooks, Insecure, LabelsAllowed, Listener, LogFormat, LogLevel,
    LogSettings, Login, Logins, LookupMethod, Lookups, Notification, NotificationCondition, OrderPolicy,
    QuarantineSettings, Rollback, RolloutSettings, Selection, Source, Updates,
};
pub use shepherd::markdown_shepherd;
pub use variables::{LABELS, Label, VARIABLES, Variable};
