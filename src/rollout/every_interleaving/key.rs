//! Tells one state of the model from another. Pure.
//!
//! Two states are the same when nothing that follows can differ. Versions and numbers only grow, and only their order
//! matters, so a key holds their ranks.

use crate::image::ImageRef;

/// What tells a state from the others, as numbers.
#[derive(Debug, Default)]
pub(in crate::rollout) struct Key {
    words: Vec<u64>,
    /// Which of them are versions in the swarm.
    versions: Vec<usize>,
}

impl Key {
    /// Adds a number.
    pub(in crate::rollout) fn put(&mut self, word: impl TryInto<u64>) {
        self.words.push(word.try_into().unwrap_or(u64::MAX));
    }

    /// Adds a list, which ends with a mark of its own.
    pub(in crate::rollout) fn put_all<T: TryInto<u64>>(&mut self, words: impl IntoIterator<Item = T>) {
        words.into_iter().for_each(|word| self.put(word));
        self.end();
    }

    /// Adds a text.
    pub(in crate::rollout) fn text(&mut self, text: &str) {
        self.words.push(hash(text));
    }

    /// Adds an image.
    pub(in crate::rollout) fn image(&mut self, image: &ImageRef) {
        // The digits of a digest of the model are all the same.
        let digest = image.digest().map_or("", |digest| &digest.as_str()[..8]);
        self.words.push(hash(image.repository()).wrapping_add(hash(digest)));
    }

    /// Adds what another key holds.
    pub(super) fn add(&mut self, other: &Self) {
        let first = self.words.len();
        self.versions.extend(other.versions.iter().map(|at| at + first));
        self.words.extend_from_slice(&other.words);
    }

    /// Adds a version of an object in the swarm.
    pub(in crate::rollout) fn version(&mut self, version: u64) {
        self.versions.push(self.words.len());
        self.words.push(version);
    }

    /// Ends a list.
    pub(in crate::rollout) fn end(&mut self) {
        self.words.push(u64::MAX - 1);
    }

    /// The whole key in one number.
    pub(super) fn finish(mut self) -> u64 {
        let mut known: Vec<u64> = self.versions.iter().map(|at| self.words[*at]).collect();
        known.sort_unstable();
        known.dedup();
        for at in &self.versions {
            self.words[*at] = known.binary_search(&self.words[*at]).unwrap_or_default() as u64;
        }
        self.words.iter().fold(0, |sum, word| mix(sum ^ *word).wrapping_add(sum.rotate_left(23)))
    }
}

/// A number for a text (FNV-1a).
pub(super) fn hash(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    text.bytes().fold(start, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads the bits of a number (the finalizer of `splitmix64`).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
