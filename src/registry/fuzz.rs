//! The parsers of registries' answers and of accounts' files, for `make fuzz`.

use std::hint::black_box;
use std::path::Path;

use reqwest::Url;
use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::credentials::config_file::ConfigFile;
use super::reach::Origin;
use super::{challenge, credentials, link, manifest, tag_list, token};

pub(crate) fn manifest(data: &[u8]) {
    let _ = black_box((manifest::read(data), manifest::platform(data)));
}

pub(crate) fn challenge(text: &str) {
    black_box(challenge::parse(std::iter::once(text), Origin::default()));
}

/// A page of a tag list, and the same bytes as the header that says where the next page is. No link leads to another server.
pub(crate) fn tag_list(data: &[u8]) {
    let _ = black_box(tag_list::read(data));
    let text = String::from_utf8_lossy(data);
    let Some(target) = link::target(std::iter::once(text.as_ref())) else { return };
    let (Ok(base), Ok(asked)) =
        (Url::parse("https://r.test:5000/v2/"), Url::parse("https://r.test:5000/v2/a/tags/list?n=2"))
    else {
        return;
    };
    if let Ok(path) = link::below(&base, &asked, target) {
        let next = Url::parse(&format!("{base}{path}"));
        assert!(next.is_ok_and(|next| next.origin() == base.origin()), "{target} leads to another server");
    }
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
    let Some(answer) = RegistryAnswer::to_account(403, data, SECRET) else { return };
    let _ = black_box(token::read(&answer, Instant::now()));
    assert!(!answer.explained().contains(SECRET), "a secret is repeated");
}
