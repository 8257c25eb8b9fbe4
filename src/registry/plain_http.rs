//! Insecure registries that speak plain HTTP: how Gantry recognizes one, and why it found none. Pure.
//!
//! A failure of TLS proves nothing: a handshake may be slow, a proxy may be starting. So plain HTTP is remembered
//! only after an answer that no other server gives, and no secret is sent before.

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;

use super::answer::RegistryAnswer;
use super::endpoints::Scheme;
use super::failure::Failure;

/// Whether this answer shows that the server is a registry, and not a server that wants to be asked with TLS.
pub(super) fn is_a_registrys(answer: &RegistryAnswer) -> bool {
    let is_registrys_own = match answer.status {
        status if status.is_success() => !answer.is_html(),
        StatusCode::UNAUTHORIZED => answer.headers.contains_key(WWW_AUTHENTICATE),
        _ => false,
    };
    answer.is_first_hand && (is_registrys_own || names_its_version(answer))
}

fn names_its_version(answer: &RegistryAnswer) -> bool {
    answer.headers.contains_key("docker-distribution-api-version")
}

/// Why this answer shows that the server does not speak plain HTTP. Most servers with TLS answer 400 to a request
/// without TLS; the others answer in TLS.
pub(super) fn needs_tls(result: &Result<RegistryAnswer, Failure>) -> Option<String> {
    match result {
        Ok(answer) if answer.status == StatusCode::BAD_REQUEST && !names_its_version(answer) => {
            Some(format!("it answers {}", answer.explained()))
        }
        Err(Failure::NotHttp { cause }) => Some(cause.clone()),
        _ => None,
    }
}

/// Why no registry answered, by scheme.
#[derive(Debug, Default)]
pub(super) struct CauseByScheme {
    with_tls: Option<String>,
    without: Option<String>,
}

impl CauseByScheme {
    pub(super) fn add(&mut self, scheme: Scheme, cause: String) {
        match scheme {
            Scheme::Https => self.with_tls = Some(cause),
            Scheme::Http => self.without = Some(cause),
        }
    }

    /// All causes in words.
    pub(super) fn told(self) -> String {
        match (self.with_tls, self.without) {
            (Some(with_tls), Some(without)) if with_tls != without => {
                format!("{with_tls}, and without TLS: {without}")
            }
            (with_tls, without) => with_tls.or(without).unwrap_or_default(),
        }
    }
}
