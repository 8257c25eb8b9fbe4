//! How far rollouts are. Pure.

use crate::image::ImageRef;

/// How far a rollout is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many of its updates may be under way at once.
    pub width: usize,
    /// How many are under way.
    pub under_way: usize,
    /// How many services were offered the image.
    pub touched: usize,
    /// How many of them run it.
    pub succeeded: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many services there are to update.
    pub total: usize,
}

impl Counts {
    /// How many services still wait for the image.
    pub fn waiting(&self) -> usize {
        self.total.saturating_sub(self.touched)
    }
}

/// A rollout at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The image, as services are sent it.
    pub image: ImageRef,
    /// The image that its first service had.
    pub from: ImageRef,
    /// The services that were offered the image before it had succeeded once, in that order.
    pub canary: Vec<String>,
    /// How far it is.
    pub counts: Counts,
    /// Grows with each change of the rollout: of two moments the one with the greater number is the later one.
    pub step: u64,
}
