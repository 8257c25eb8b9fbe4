//! The rollout of one image, as it stands. Pure.

use super::event::Event;
use super::finished::Superseded;
use super::progress::{Counts, Progress};
use crate::image::{Digest, ImageRef};

/// The rollout of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The latest moment known.
    pub at: Progress,
    /// Whether too many of its updates have failed: no more of them begin.
    pub is_stopped: bool,
    /// The service that a user or another program rolled back, so that no more updates begin.
    pub held_for: Option<String>,
    /// The digest at which the tag stands now, where services that waited get that one.
    pub superseded_by: Option<Digest>,
    /// Whether each of its updates has ended or does not begin.
    pub is_over: bool,
}

impl Rollout {
    /// The rollout that an event is about, by the image with its digest.
    pub fn of(event: &Event) -> Option<(String, &ImageRef)> {
        let (Event::RolloutMoved(Progress { image, .. })
        | Event::RolloutStopped { image, .. }
        | Event::RolloutSuperseded(Superseded { image, .. })
        | Event::RolloutHeld { image, .. }
        | Event::RolloutEnded { image }) = event
        else {
            return None;
        };
        Some((image.to_string(), image))
    }

    /// A rollout without any event so far.
    pub fn new(image: &ImageRef) -> Self {
        let (from, image, counts) = (image.unpinned(), image.clone(), Counts::default());
        Self {
            at: Progress { image, from, canary: Vec::new(), counts, step: 0 },
            is_stopped: false,
            held_for: None,
            superseded_by: None,
            is_over: false,
        }
    }

    /// Takes an event of this rollout into account. The events may come in any order.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::RolloutMoved(progress) if progress.step >= self.at.step => self.at = progress.clone(),
            Event::RolloutStopped { .. } => self.is_stopped = true,
            Event::RolloutSuperseded(superseded) => self.superseded_by = Some(superseded.by.clone()),
            Event::RolloutHeld { service, .. } => self.held_for = Some(service.clone()),
            Event::RolloutEnded { .. } => self.is_over = true,
            _ => {}
        }
    }

    /// How it stands, in the words of the API.
    pub fn state(&self) -> &'static str {
        let counts = &self.at.counts;
        match self {
            Self { superseded_by: Some(_), .. } => "superseded",
            Self { is_stopped: true, .. } => "stopped",
            Self { held_for: Some(_), .. } => "held",
            Self { is_over: false, .. } => "running",
            // The cluster, a pause or a stop of Gantry kept services from it.
            _ if counts.waiting() > 0 => "postponed",
            // There was nothing left to stop.
            _ if counts.succeeded == 0 && counts.failed > 0 => "stopped",
            _ => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_done_only_where_an_update_succeeded_and_none_waits() {
        for (touched, succeeded, failed, state) in [
            (3, 3, 0, "done"),
            (3, 2, 1, "done"),
            (3, 0, 3, "stopped"),
            (2, 2, 0, "postponed"),
            (1, 0, 1, "postponed"),
            (3, 0, 0, "done"),
        ] {
            let image: ImageRef = "app:1".parse().unwrap();
            let mut rollout = Rollout::new(&image);
            let counts = Counts { touched, succeeded, failed, total: 3, ..Counts::default() };
            let (from, canary) = (image.clone(), Vec::new());
            rollout.apply(&Event::RolloutMoved(Progress {
                image: image.clone(),
                from,
                canary,
                counts,
                step: 1,
            }));
            assert_eq!(rollout.state(), "running");
            rollout.apply(&Event::RolloutEnded { image });
            assert_eq!(rollout.state(), state, "{counts:?}");
        }
    }
}
