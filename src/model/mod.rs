//! The values that stages and rollouts take and return. Pure.
//!
//! A stage never imports another stage: what one makes and another takes is here.

pub mod absences;
pub mod answer;
pub mod attention;
pub mod before;
pub mod candidate;
pub mod cause;
pub mod change;
pub mod course;
pub mod decision;
pub mod earlier;
pub mod eligible;
pub mod event;
pub mod finished;
pub mod held_back;
pub mod history;
pub mod mark;
pub mod order;
pub mod ours;
pub mod outcome;
pub mod progress;
pub mod quarantine;
pub mod rank;
pub mod rollout;
pub mod row;
pub mod task_history;
pub mod timing;
pub mod unfinished;
pub mod update;
pub mod world;
