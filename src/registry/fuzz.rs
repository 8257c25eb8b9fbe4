//! The parsers of registries' answers and of accounts' files, for `make fuzz`.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use tokio::time::Instant;

use super::answer::Answer;
use super::credentials::config_file::ConfigFile;
use super::reach::Origin;
use super::{challenge, credentials, manifest, token};
use crate::secret::Secret;

pub(crate) fn manifest(data: &[u8]) {
    let _ = black_box((manifest::read(data), manifest::platform(data)));
}

pub(crate) fn challenge(text: &str) {
    black_box(challenge::parse(std::iter::once(text), Origin::default()));
}

pub(crate) fn config_json(data: &[u8]) {
    if let Ok(file) = ConfigFile::parse(Path::new("/x"), data) {
        let _ = black_box((file.inline("registry.test"), file.helper("registry.test")));
    }
}

pub(crate) fn logins(text: &str) {
    let _ = black_box(credentials::logins::parse(text, Path::new("/x")));
}

/// An error answer, and an answer with a token.
pub(crate) fn answer(data: &[u8]) {
    const SECRET: &str = "s3cr3t-t0k3n";
    let Ok(url) = Url::parse("https://registry.test/v2/") else { return };
    let answer = Answer {
        status: StatusCode::FORBIDDEN,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(data),
        is_first_hand: true,
        sent: Some(Secret::new(SECRET)),
        sent_password: true,
        is_to_head: false,
        url,
        proxy: None,
        is_foreign: false,
        origin: Origin::default(),
        named_by: None,
    };
    let _ = black_box(token::read(&answer, Instant::now()));
    assert!(!answer.explained().contains(SECRET), "a secret is repeated");
}
