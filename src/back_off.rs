//! How soon an engine that did not answer is asked again. Pure.

use std::time::Duration;

/// Waits that double from the first to the longest, and begin anew once the engine has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl BackOff {
    /// No wait was needed yet.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Whether no wait was needed since the engine last answered.
    pub(crate) fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// How long to wait now.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }

    /// The engine has answered.
    pub(crate) fn answered(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_until_there_is_an_answer() {
        let mut back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(10));
        assert!(back_off.is_fresh());
        let waits: Vec<u64> = (0..6).map(|_| back_off.wait().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert!(!back_off.is_fresh());
        back_off.answered();
        assert!(back_off.is_fresh());
        assert_eq!(back_off.wait(), Duration::from_secs(1));
    }
}
