//! Since when Gantry has known which digests of a tag. Pure.
//!
//! ```text
//! gantry.seen.r.test/app:1 = sha256:...@2026-11-28T10:44:17Z sha256:...@2026-11-20T03:00:00Z
//! ```
//!
//! The newest digest comes first. `back=sha256:...@TIME` after them: since then the tag stands at this older one again. When it
//! has stood there for a while, the newer ones are struck out: their publisher has recalled them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::codec::Labels;
use super::entry::repository;
use crate::gate::age::KnownDigest;
use crate::image::Digest;

/// The labels; the image's name follows.
const SEEN: &str = "gantry.seen.";

/// Before the digest that a tag has gone back to.
const BACK: &str = "back=";

/// So many digests of an image are remembered.
const MAX_DIGESTS: usize = 8;

/// So many bytes are remembered in all. Each write costs as much in the swarm's log.
const MAX_BYTES: usize = 128 << 10;

/// How long a tag stands at an older digest before newer ones count as recalled. Some caches answer with an older digest for a
/// moment.
pub const RECALLED_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// What is known of the digests of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenImage {
    /// The digests that the tag has stood at, the newest first.
    known: Vec<KnownDigest>,
    /// The older digest that the tag stands at again, and since when.
    back: Option<KnownDigest>,
}

/// The digests of all images, by [`image_name`](super::entry::image_name).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenBook(BTreeMap<String, SeenImage>);

/// What a look tells. It can be applied to any state, so that two Gantrys that write at once lose nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenChange {
    /// The tag of this image stands at this digest at this time.
    Stands {
        /// The image.
        image: String,
        /// The digest.
        digest: Digest,
        /// When.
        at: Timestamp,
    },
    /// The registry does not have this digest of the image any more.
    Gone {
        /// The image.
        image: String,
        /// The digest.
        digest: Digest,
    },
}

impl SeenImage {
    /// The digests that may be offered, the newest first. Those that the tag has gone back from are not among them.
    pub fn candidates(&self) -> &[KnownDigest] {
        let back = self.back.as_ref().and_then(|back| self.position(&back.digest));
        &self.known[back.unwrap_or_default()..]
    }

    /// The digests that the tag has gone back from and that are not struck out yet.
    pub fn doubted(&self) -> &[KnownDigest] {
        let back = self.back.as_ref().and_then(|back| self.position(&back.digest));
        &self.known[..back.unwrap_or_default()]
    }

    /// Since when the tag stands at an older digest again.
    pub fn back_since(&self) -> Option<Timestamp> {
        self.back.as_ref().map(|back| back.since)
    }

    /// Since when this digest is known.
    pub fn since(&self, digest: &Digest) -> Option<Timestamp> {
        self.known.iter().find(|known| known.digest == *digest).map(|known| known.since)
    }

    /// Whether the tag stood at the first digest before it stood at the second.
    pub fn is_older(&self, first: &Digest, second: &Digest) -> bool {
        self.position(first).zip(self.position(second)).is_some_and(|(first, second)| first > second)
    }

    /// Whether a digest with this short form is among those that are known.
    pub fn knows(&self, short: &str) -> bool {
        self.known.iter().any(|known| known.digest.short() == short)
    }

    fn position(&self, digest: &Digest) -> Option<usize> {
        self.known.iter().position(|known| known.digest == *digest)
    }

    fn stands(&mut self, digest: &Digest, at: Timestamp, since: Timestamp) {
        match self.position(digest) {
            None => {
                self.back = None;
                self.known.insert(0, KnownDigest { digest: digest.clone(), since });
                self.known.truncate(MAX_DIGESTS);
            }
            Some(0) => self.back = None,
            Some(place) => match &self.back {
                Some(back) if back.digest == *digest => {
                    if at.duration_since(back.since) >= RECALLED_AFTER {
                        self.known.drain(..place);
                        self.back = None;
                    }
                }
                _ => self.back = Some(KnownDigest { digest: digest.clone(), since: at }),
            },
        }
    }

    fn write(&self) -> String {
        let mut text = String::new();
        let back = self.back.iter().map(|back| (BACK, back));
        for (before, KnownDigest { digest, since }) in self.known.iter().map(|known| ("", known)).chain(back)
        {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{before}{digest}@{since:.0}");
        }
        text
    }

    /// Reads a label. Words that this program would not write are left out.
    fn read(text: &str) -> Self {
        let known = |word: &str| {
            let (digest, since) = word.split_once('@')?;
            Some(KnownDigest { digest: digest.parse().ok()?, since: since.parse().ok()? })
        };
        let mut seen = Self::default();
        for word in text.split(' ') {
            match word.strip_prefix(BACK) {
                Some(word) => seen.back = known(word),
                None => seen.known.extend(known(word)),
            }
        }
        seen.known.truncate(MAX_DIGESTS);
        seen.back.take_if(|back| seen.known.iter().all(|known| known.digest != back.digest));
        seen
    }
}

impl SeenBook {
    /// Reads the labels. What is not about digests is left out.
    pub fn read(labels: &Labels) -> Self {
        let images = labels
            .iter()
            .filter_map(|(key, text)| Some((key.strip_prefix(SEEN)?.to_owned(), SeenImage::read(text))));
        Self(images.collect())
    }

    /// Writes labels.
    pub fn write(&self) -> Labels {
        self.0.iter().map(|(image, seen)| (format!("{SEEN}{image}"), seen.write())).collect()
    }

    /// What is known of an image.
    pub fn image(&self, name: &str) -> Option<&SeenImage> {
        self.0.get(name)
    }

    /// Takes note of a change.
    pub fn apply(&mut self, change: &SeenChange) {
        match change {
            SeenChange::Stands { image, digest, at } => {
                // The same digest under another tag is no news.
                let since = self.earliest(repository(image), digest).map_or(*at, |since| since.min(*at));
                self.0.entry(image.clone()).or_default().stands(digest, *at, since);
            }
            SeenChange::Gone { image, digest } => {
                if let Some(seen) = self.0.get_mut(image) {
                    seen.known.retain(|known| known.digest != *digest);
                    seen.back.take_if(|back| back.digest == *digest);
                }
            }
        }
    }

    /// The digests that a change strikes out.
    pub fn struck_out_by(&self, change: &SeenChange) -> Vec<Digest> {
        let mut after = self.clone();
        after.apply(change);
        let (SeenChange::Stands { image, .. } | SeenChange::Gone { image, .. }) = change;
        let known = |book: &Self| -> Vec<Digest> {
            let known = book.0.get(image).map(|seen| &seen.known[..]).unwrap_or_default();
            known.iter().map(|known| known.digest.clone()).collect()
        };
        let (before, after) = (known(self), known(&after));
        // What falls off the end of a full list is merely old.
        let is_recalled = |place: usize| before[place..].iter().any(|older| after.contains(older));
        let gone = before.iter().enumerate().filter(|(_, digest)| !after.contains(digest));
        let is_gone = matches!(change, SeenChange::Gone { .. });
        gone.filter(|(place, _)| is_gone || is_recalled(*place)).map(|(_, digest)| digest.clone()).collect()
    }

    /// Since when a digest is known under any tag of a repository.
    fn earliest(&self, of: &str, digest: &Digest) -> Option<Timestamp> {
        let images = self.0.iter().filter(|(image, _)| repository(image) == of);
        images.filter_map(|(_, seen)| seen.since(digest)).min()
    }

    /// Forgets what there is no room for: first images that no service uses, then what is oldest of the images that have most.
    pub fn make_room(&mut self, used: &BTreeSet<String>) {
        if self.bytes() > MAX_BYTES {
            self.0.retain(|image, _| used.contains(image));
        }
        let mut surplus = self.bytes().saturating_sub(MAX_BYTES);
        while surplus > 0 {
            let Some(longest) = self.0.values_mut().max_by_key(|seen| seen.known.len()) else { return };
            if longest.known.len() < 2 {
                return;
            }
            let before = longest.write().len();
            longest.known.pop();
            longest.back = None;
            surplus = surplus.saturating_sub(before - longest.write().len());
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(image, seen)| SEEN.len() + image.len() + seen.write().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(name: char) -> Digest {
        format!("sha256:{}", u32::from(name).to_string().repeat(64).chars().take(64).collect::<String>())
            .parse()
            .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn stands(image: &str, name: char, second: i64) -> SeenChange {
        SeenChange::Stands { image: image.to_owned(), digest: digest(name), at: at(second) }
    }

    /// Where the tag of `r.test/app:1` has stood, at these seconds.
    fn story(steps: &[(char, i64)]) -> SeenBook {
        let mut book = SeenBook::default();
        for (name, second) in steps {
            book.apply(&stands("r.test/app:1", *name, *second));
        }
        book
    }

    fn candidates(book: &SeenBook) -> Vec<Digest> {
        let seen = book.image("r.test/app:1").unwrap();
        seen.candidates().iter().map(|known| known.digest.clone()).collect()
    }

    #[test]
    fn each_digest_keeps_its_own_time() {
        let book = story(&[('a', 0), ('a', 5), ('b', 10), ('b', 20), ('c', 30)]);
        assert_eq!(candidates(&book), [digest('c'), digest('b'), digest('a')]);
        let seen = book.image("r.test/app:1").unwrap();
        assert_eq!(seen.since(&digest('b')), Some(at(10)));
    }

    #[test]
    fn what_the_tag_went_back_from_is_struck_out_when_it_stays_back() {
        let mut book = story(&[('a', 0), ('b', 10), ('a', 20)]);
        assert_eq!(candidates(&book), [digest('a')]);
        assert_eq!(book.image("r.test/app:1").unwrap().doubted()[0].digest, digest('b'));
        let stays = stands("r.test/app:1", 'a', 20 + RECALLED_AFTER.as_secs());
        assert_eq!(book.struck_out_by(&stays), [digest('b')]);
        book.apply(&stays);
        assert_eq!(book.image("r.test/app:1").unwrap().doubted(), []);
        // Pushed anew, it begins anew.
        book.apply(&stands("r.test/app:1", 'b', 1_000));
        assert_eq!(book.image("r.test/app:1").unwrap().since(&digest('b')), Some(at(1_000)));
    }

    #[test]
    fn a_cache_that_answers_with_an_older_digest_for_a_moment_changes_nothing() {
        let book = story(&[('a', 0), ('b', 10), ('a', 20), ('b', 30), ('a', 400), ('b', 500)]);
        assert_eq!(book, story(&[('a', 0), ('b', 10)]));
    }

    #[test]
    fn a_digest_under_another_tag_is_no_news() {
        let mut book = story(&[('a', 0), ('b', 10)]);
        book.apply(&stands("r.test/app:2", 'b', 90));
        book.apply(&stands("r.test/other:2", 'b', 90));
        assert_eq!(book.image("r.test/app:2").unwrap().since(&digest('b')), Some(at(10)));
        assert_eq!(book.image("r.test/other:2").unwrap().since(&digest('b')), Some(at(90)));
    }

    #[test]
    fn what_a_full_list_drops_was_not_recalled() {
        let steps: Vec<(char, i64)> = ('a'..='h').zip(0..).collect();
        let book = story(&steps);
        let next = stands("r.test/app:1", 'i', 20);
        assert_eq!(book.struck_out_by(&next), []);
        let gone = SeenChange::Gone { image: "r.test/app:1".to_owned(), digest: digest('c') };
        assert_eq!(book.struck_out_by(&gone), [digest('c')]);
    }

    #[test]
    fn there_is_room_for_what_services_use() {
        let mut book = SeenBook::default();
        for number in 0..400 {
            for name in 'a'..='h' {
                book.apply(&stands(&format!("r.test/app:{number}"), name, 5));
            }
        }
        let used: BTreeSet<String> = (0..300).map(|number| format!("r.test/app:{number}")).collect();
        book.make_room(&used);
        assert!(book.bytes() <= MAX_BYTES, "{}", book.bytes());
        assert!(book.image("r.test/app:399").is_none());
        for number in 0..300 {
            let seen = book.image(&format!("r.test/app:{number}")).unwrap();
            assert_eq!(seen.known[0].digest, digest('h'), "the newest is kept");
        }
    }

    proptest! {
        #[test]
        fn it_survives_its_labels(steps in proptest::collection::vec(
            (proptest::char::range('a', 'k'), 0_i64..2_000), 0..40)) {
            let mut steps = steps;
            steps.sort_by_key(|(_, second)| *second);
            let book = story(&steps);
            prop_assert_eq!(SeenBook::read(&book.write()), book);
        }

        /// Two that look at the same moments and write one after the other know what one of them would know.
        #[test]
        fn two_that_write_lose_nothing(steps in proptest::collection::vec(
            (proptest::char::range('a', 'e'), 1_i64..400), 1..20)) {
            let mut second = 0;
            let mut steps = steps;
            for step in &mut steps {
                second += step.1;
                step.1 = second;
            }
            let twice: Vec<(char, i64)> = steps.iter().flat_map(|step| [*step, *step]).collect();
            prop_assert_eq!(story(&twice), story(&steps));
        }

        #[test]
        fn no_label_makes_it_panic(text in "[ a-f0-9:@=backsh.TZ-]{0,200}|\\PC{0,80}") {
            let mut labels = Labels::new();
            labels.insert("gantry.seen.r.test/app:1".to_owned(), text);
            let mut book = SeenBook::read(&labels);
            book.apply(&stands("r.test/app:1", 'a', 5));
        }
    }
}
