//! Insecure registries that speak plain HTTP: how one is known, and how it is said that nobody is there.
//!
//! That TLS fails proves nothing: a handshake may be slow, a proxy may be starting. So plain HTTP is remembered
//! only after an answer that no other server gives, and nothing secret is said before.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::endpoints::Scheme;
use super::failure::Failure;
use super::transport::Answer;

/// The hosts of registries that spoke plain HTTP when they were last asked.
#[derive(Debug, Default)]
pub(super) struct PlainHosts(Mutex<HashSet<String>>);

impl PlainHosts {
    pub(super) fn knows(&self, host: &str) -> bool {
        self.hosts().contains(host)
    }

    /// What came of asking `host` last: whether a registry answered without TLS.
    pub(super) fn note(&self, host: &str, is_plain: bool) {
        if is_plain == self.knows(host) {
            return;
        }
        if is_plain {
            self.hosts().insert(host.to_owned());
        } else {
            self.hosts().remove(host);
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether only a registry answers so, and no server that has lost its way or wants to be asked with TLS.
pub(super) fn is_a_registrys(answer: &Answer) -> bool {
    let is_registrys_own = match answer.status {
        status if status.is_success() => !answer.is_html(),
        StatusCode::UNAUTHORIZED => answer.headers.contains_key(WWW_AUTHENTICATE),
        _ => false,
    };
    answer.is_first_hand && (is_registrys_own || names_its_version(answer))
}

fn names_its_version(answer: &Answer) -> bool {
    answer.headers.contains_key("docker-distribution-api-version")
}

/// Why nobody is there who speaks plain HTTP, although something answered: most servers with TLS say 400 to who
/// speaks without, the others answer in TLS.
pub(super) fn nobody(result: &Result<Answer, Failure>) -> Option<String> {
    match result {
        Ok(answer) if answer.status == StatusCode::BAD_REQUEST && !names_its_version(answer) => {
            Some(format!("it answers {}", answer.explained()))
        }
        Err(Failure::NotHttp { cause }) => Some(cause.clone()),
        _ => None,
    }
}

/// Why nobody was found, by scheme.
#[derive(Debug, Default)]
pub(super) struct Causes {
    with_tls: Option<String>,
    without: Option<String>,
}

impl Causes {
    pub(super) fn add(&mut self, scheme: Scheme, cause: String) {
        match scheme {
            Scheme::Https => self.with_tls = Some(cause),
            Scheme::Http => self.without = Some(cause),
        }
    }

    /// All of them in words, in whichever order they were found.
    pub(super) fn told(self) -> String {
        match (self.with_tls, self.without) {
            (Some(with_tls), Some(without)) if with_tls != without => {
                format!("{with_tls}, and without TLS: {without}")
            }
            (with_tls, without) => with_tls.or(without).unwrap_or_default(),
        }
    }
}
