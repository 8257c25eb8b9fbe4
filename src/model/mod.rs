//! The values that stages and rollouts take and return. Pure.
//!
//! A stage never imports another stage: what one makes and another takes is here.

pub mod attention;
pub mod before;
pub mod candidate;
pub mod cause;
pub mod change;
pub mod decision;
pub mod down_nodes;
pub mod eligible;
pub mod event;
pub mod finished;
pub mod held;
pub mod held_back;
pub mod history;
pub mod image_history;
pub mod inspected;
pub mod order;
pub mod ours;
pub mod outcome;
pub mod progress;
pub mod quarantine;
pub mod rank;
pub mod rollout;
pub mod row;
pub mod task_history;
pub mod task_lifecycle;
pub mod task_spec_id;
pub mod timing;
pub mod unfinished;
pub mod update;
pub mod world;
