//! Why one attempt failed, and whether another one makes sense. Pure.

use std::time::Duration;

use super::{Credentials, Lookup, RegistryError};
use crate::proxy::Proxy;
use crate::words::foreign;

/// How far an attempt without an answer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// There is no connection: name, address, TLS.
    Nothing,
    /// Nothing came in time.
    Silence,
    /// It was cut.
    Connection,
    /// The server says itself that it cannot answer now (5xx).
    Server,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The account itself: its name, password or token.
    Account,
    /// The image, which may not exist: registries do not tell clients without access.
    Image,
    /// The account, or its rights for this image.
    AccountOrImage,
    /// Something else, or it cannot be told.
    Other,
}

/// Why an attempt brought no usable answer. Its words come from other programs as they are, until [`Failure::told`] has
/// made them fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    NotFound,
    Refused {
        cause: String,
        about: About,
    },
    RateLimited {
        retry_after: Option<Duration>,
    },
    Unreachable {
        cause: String,
        reached: Reached,
        retry_after: Option<Duration>,
        /// The proxy that was used.
        proxy: Option<Proxy>,
    },
    Nonsense {
        cause: String,
    },
    /// The answer is not HTTP: nonsense, or TLS where plain HTTP was tried.
    NotHttp {
        cause: String,
    },
    /// A `HEAD` failed, and a `GET` may still succeed.
    OfHead(Box<Failure>),
}

impl Failure {
    /// There is no answer, and no proxy is involved.
    pub(super) fn unreachable(reached: Reached, cause: impl Into<String>) -> Self {
        Self::Unreachable { cause: cause.into(), reached, retry_after: None, proxy: None }
    }

    pub(super) fn nonsense(cause: impl Into<String>) -> Self {
        Self::Nonsense { cause: cause.into() }
    }

    /// Whether a second attempt may succeed soon.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unreachable { .. })
    }

    /// The failure of a `HEAD`, marked where a `GET` may be answered: the failure came from the registry itself, or from
    /// the connection to it.
    pub(super) fn of_head(self) -> Self {
        let may_be_of_head_alone = match &self {
            Self::Unreachable { reached, .. } => matches!(reached, Reached::Connection | Reached::Server),
            Self::Nonsense { .. } => true,
            Self::NotFound
            | Self::Refused { .. }
            | Self::RateLimited { .. }
            | Self::NotHttp { .. }
            | Self::OfHead(_) => false,
        };
        if may_be_of_head_alone { Self::OfHead(Box::new(self)) } else { self }
    }

    /// The words of a refusal that may be about the account or about its rights for one image.
    pub(super) fn account_or_image(&self) -> Option<&str> {
        match self {
            Self::Refused { cause, about: About::AccountOrImage } => Some(cause),
            Self::OfHead(failure) => failure.account_or_image(),
            _ => None,
        }
    }

    /// The wait that the server asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unreachable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same failure as one of the registry's token server.
    pub(super) fn of_token_server(self, name: &str) -> Self {
        let of = |cause: &str| format!("its token server {name}: {cause}");
        match self {
            Self::NotFound => Self::Refused { cause: of("404 Not Found"), about: About::Other },
            mut other => {
                other.reword(of);
                other
            }
        }
    }

    /// The same failure as one of a further page of a list. The page is in its words, whatever the failure is.
    pub(super) fn of_page(self, list: &str, page: usize) -> Self {
        let of = |cause: &str| format!("{list} broke off at page {page}: {cause}");
        match self {
            Self::NotFound => Self::nonsense(of("404 Not Found")),
            Self::RateLimited { retry_after } => Self::Unreachable {
                cause: of("429 Too Many Requests"),
                reached: Reached::Server,
                retry_after,
                proxy: None,
            },
            mut other => {
                other.reword(of);
                other
            }
        }
    }

    /// The same failure in words that can be shown. Some servers repeat what they were sent, so secrets are taken out
    /// before the words are cut.
    pub(super) fn told(mut self, credentials: Option<&Credentials>) -> Self {
        self.reword(|cause| match credentials {
            Some(credentials) => foreign(&credentials.redact(cause)),
            None => foreign(cause),
        });
        self
    }

    fn reword(&mut self, change: impl FnOnce(&str) -> String) {
        match self {
            Self::NotFound | Self::RateLimited { .. } => {}
            Self::Refused { cause, .. }
            | Self::Unreachable { cause, .. }
            | Self::Nonsense { cause }
            | Self::NotHttp { cause } => *cause = change(cause),
            Self::OfHead(failure) => failure.reword(change),
        }
    }

    /// The error that users see.
    pub(super) fn into_error(self, lookup: &Lookup) -> RegistryError {
        let registry = lookup.image.registry().to_owned();
        let image = lookup.image.tagged();
        match self {
            Self::NotFound => RegistryError::NotFound { image, registry },
            Self::Refused { cause, about } => {
                let who = lookup.credentials.as_ref().map_or_else(
                    || match &lookup.missing {
                        Some(missing) => format!("without credentials ({})", foreign(missing)),
                        None => "without credentials".to_owned(),
                    },
                    |credentials| {
                        let user = credentials.username().map(|user| format!("of {} ", foreign(user)));
                        format!("with credentials {}from {}", user.unwrap_or_default(), credentials.source)
                    },
                );
                let hint = if about == About::Image {
                    "; it may be private, misspelt, or a local image (which needs gantry.manifest.cmd=none)"
                } else {
                    ""
                };
                RegistryError::Refused { image, registry, who, cause: format!("{cause}{hint}") }
            }
            Self::RateLimited { retry_after } => RegistryError::RateLimited { registry, retry_after },
            Self::Unreachable { cause, reached: Reached::Server, .. } => {
                RegistryError::Failing { registry, cause }
            }
            Self::Unreachable { cause, proxy, .. } => RegistryError::Unreachable { registry, proxy, cause },
            Self::Nonsense { cause } | Self::NotHttp { cause } => RegistryError::Nonsense { registry, cause },
            Self::OfHead(failure) => failure.into_error(lookup),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::credentials::Account;
    use crate::secret::Secret;

    #[test]
    fn a_secret_is_taken_out_before_the_words_are_cut_and_put_on_one_line() {
        let secret = "hunter2  hunter3\thunter4";
        let account = Account::Password { username: "me".to_owned(), password: Secret::new(secret) };
        let credentials = Credentials { source: "test".to_owned(), server: "r".to_owned(), account };
        for before in 0..400 {
            let cause = format!("{}{secret} is wrong", "x".repeat(before));
            let Failure::Nonsense { cause } = Failure::nonsense(cause).told(Some(&credentials)) else {
                unreachable!()
            };
            assert!(!cause.contains("hunt") && cause.len() <= 300, "{before}: {cause}");
        }
    }

    #[test]
    fn a_strangers_words_are_one_line_without_control_characters() {
        let told = Failure::nonsense("a\nb\u{1b}[31m  c\t").told(None);
        assert_eq!(told, Failure::nonsense("a b c"));
    }
}
