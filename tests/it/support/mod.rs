//! What several tests need.

pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod smtp;
pub(crate) mod way;

use gantry::image::Digest;

/// The digest of a text.
pub(crate) fn sha256(body: impl AsRef<[u8]>) -> Digest {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let hash = sha2::Sha256::digest(body.as_ref());
    let hex = hash.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("sha256:{hex}").parse().unwrap()
}
