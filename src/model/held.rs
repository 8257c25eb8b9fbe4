//! An image that gates keep from a service. Pure.

use std::fmt;

use crate::gate::{Gate, Refusal};
use crate::image::ImageRef;

/// An image that gates keep from a service for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The image, pinned to its digest.
    pub image: ImageRef,
    /// The refusal of the first gate that holds it.
    pub first: Refusal,
    /// Those of the other gates that hold it too.
    pub others: Vec<Refusal>,
}

impl Held {
    /// The first gate that holds the image.
    pub fn gate(&self) -> Gate {
        self.first.gate
    }

    /// The refusals, in the order of the gates.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// This image, held by these gates; `None`: no gate holds it.
    pub fn by(image: ImageRef, mut refusals: Vec<Refusal>) -> Option<Self> {
        refusals.sort_by_key(|refusal| refusal.gate);
        let mut refusals = refusals.into_iter();
        Some(Self { image, first: refusals.next()?, others: refusals.collect() })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.why)
    }
}
