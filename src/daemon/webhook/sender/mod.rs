//! What each sender sends, one file each. Pure.
//!
//! The facts behind them are those of the senders' documentation and source. [`SENDERS`] is the list.

use super::hint::{Delivery, Reading};

mod acr;
mod distribution;
mod dockerhub;
mod ecr;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod google;
mod harbor;
mod jfrog;
mod nexus;
mod quay;
mod zot;

/// How a sender signs the body, with the token as the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// HMAC-SHA256 in hexadecimal digits, after `sha256=` or bare, in the first of these headers that is not empty.
    Sha256(&'static [&'static str]),
    /// HMAC-SHA1 in hexadecimal digits.
    Sha1(&'static [&'static str]),
    /// HMAC-SHA256, or the token itself, as the owner has chosen.
    Sha256OrToken(&'static [&'static str]),
    /// It does not sign.
    None,
}

/// A kind of sender.
#[derive(Clone, Copy, Debug)]
pub struct SenderKind {
    /// Its name in the route, in answers and in metrics.
    pub name: &'static str,
    /// How it signs.
    pub signature: Signature,
    /// Reads what it sends.
    pub read: fn(&Delivery<'_>) -> Reading,
}

/// All kinds of senders.
pub const SENDERS: &[SenderKind] = &[
    SenderKind { name: "distribution", signature: Signature::None, read: distribution::read },
    SenderKind { name: "dockerhub", signature: Signature::None, read: dockerhub::read },
    SenderKind { name: "github", signature: Signature::Sha256(&["x-hub-signature-256"]), read: github::read },
    SenderKind { name: "gitlab", signature: Signature::None, read: gitlab::read },
    SenderKind {
        name: "gitea",
        signature: Signature::Sha256(&["x-gitea-signature", "x-forgejo-signature", "x-hub-signature-256"]),
        read: gitea::read,
    },
    SenderKind { name: "harbor", signature: Signature::None, read: harbor::read },
    SenderKind { name: "quay", signature: Signature::None, read: quay::read },
    SenderKind { name: "acr", signature: Signature::None, read: acr::read },
    SenderKind { name: "ecr", signature: Signature::None, read: ecr::read },
    SenderKind { name: "google", signature: Signature::None, read: google::read },
    SenderKind {
        name: "jfrog",
        signature: Signature::Sha256OrToken(&["x-jfrog-event-auth"]),
        read: jfrog::read,
    },
    SenderKind {
        name: "nexus",
        signature: Signature::Sha1(&["x-nexus-webhook-signature"]),
        read: nexus::read,
    },
    SenderKind { name: "zot", signature: Signature::None, read: zot::read },
    SenderKind { name: "generic", signature: Signature::None, read: generic::read },
];

impl SenderKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SENDERS.iter().find(|kind| kind.name == name)
    }
}
