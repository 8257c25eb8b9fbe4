//! The digest that each image's registry gave last. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::Digest;

/// The digest that each image's registry gave last, by the image without digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownDigests(BTreeMap<String, Digest>);

impl KnownDigests {
    /// Takes over what a registry gave. Returns whether the tag has moved since it gave another digest.
    pub fn take(&mut self, image: &str, digest: &Digest) -> bool {
        if self.0.get(image) == Some(digest) {
            return false;
        }
        self.0.insert(image.to_owned(), digest.clone()).is_some()
    }

    /// The digest of an image.
    pub fn of(&self, image: &str) -> Option<&Digest> {
        self.0.get(image)
    }

    /// Forgets all but these images.
    pub(super) fn keep<'a>(&mut self, images: impl Iterator<Item = &'a str>) {
        let images: BTreeSet<&str> = images.collect();
        self.0.retain(|image, _| images.contains(&**image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_moved_where_its_digest_was_another() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse::<Digest>().unwrap();
        let mut known = KnownDigests::default();
        assert!(!known.take("app:1", &digest("0")), "nothing is known of what it was");
        assert!(!known.take("app:1", &digest("0")) && known.take("app:1", &digest("1")));
        assert_eq!((known.of("app:1"), known.of("app:2")), (Some(&digest("1")), None));
        known.keep(["app:2"].into_iter());
        assert_eq!(known, KnownDigests::default());
    }
}
