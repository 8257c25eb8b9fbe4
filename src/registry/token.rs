//! Bearer tokens, and what they are for. Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::call::Call;
use super::challenge::Bearer;
use super::credentials::Credentials;
use super::failure::Failure;
use crate::secret::Secret;

/// How long a token is valid when its server does not say; so the token specification.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The longest time for which a token is kept, even if its server allows more. A revoked password must not work for a
/// year.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The longest token, in bytes. Longer ones fit no header that servers accept.
const MAX_TOKEN: usize = 64 << 10;

/// More characters than a number of seconds has.
const MAX_NUMBER: usize = 40;

/// How much earlier a token is replaced, at most: requests take time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5);

/// The purpose of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purpose {
    /// The registry's host.
    pub host: String,
    /// The token server, and the registry's name there.
    pub bearer: Bearer,
    /// The repository to pull from; `None`: only to log in.
    pub repository: Option<String>,
    pub credentials: Option<Arc<Credentials>>,
}

impl Purpose {
    /// To pull the repository of a call, or `None`: only to log in.
    pub(super) fn of(call: &Call, bearer: Bearer, repository: Option<&str>) -> Self {
        let (host, credentials) = (call.endpoint.host.clone(), call.credentials.clone());
        Self { host, bearer, repository: repository.map(str::to_owned), credentials }
    }
}

/// A token, and how long it is used.
#[derive(Debug)]
pub(super) struct Token {
    pub text: Secret,
    until: Instant,
}

/// The place for the token of one purpose. The look-up that holds the lock fetches the token, the others wait for it.
pub(super) type TokenSlot = Arc<tokio::sync::Mutex<Slot>>;

/// What came of the last fetch.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub token: Option<Token>,
    /// When and why the last fetch failed: the answer for all look-ups that were already waiting then.
    pub failed: Option<(Instant, Failure)>,
}

impl Slot {
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        self.token.as_ref().is_some_and(|token| token.until > now)
    }
}

#[derive(Deserialize)]
struct TokenAnswer<'a> {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    /// Not read before its length is known: as a value of any kind it could take a hundred megabytes.
    #[serde(default, borrow)]
    expires_in: Option<&'a RawValue>,
}

pub(super) fn read(answer: &RegistryAnswer, asked: Instant) -> Result<Token, Failure> {
    let nonsense = || {
        let kind = answer.content_type().filter(|_| !answer.is_foreign);
        let kind = kind.map_or_else(String::new, |kind| format!(" ({kind})"));
        Failure::nonsense(format!("its answer{kind} holds no token"))
    };
    let parsed: TokenAnswer<'_> = serde_json::from_slice(&answer.body).map_err(|_| nonsense())?;
    // The engine prefers it in this order.
    let text = [parsed.access_token, parsed.token].into_iter().flatten().find(|text| !text.is_empty());
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(nonsense)?;
    if text.len() > MAX_TOKEN {
        return Err(Failure::nonsense(format!("its token is longer than {MAX_TOKEN} bytes")));
    }
    Ok(Token { text: Secret::new(text), until: asked + life(parsed.expires_in) })
}

/// How long a token is used. Some servers write the number as text.
fn life(expires_in: Option<&RawValue>) -> Duration {
    let number = expires_in.map(|value| value.get().trim_matches('"'));
    let seconds = number.filter(|number| number.len() < MAX_NUMBER).and_then(|number| number.parse().ok());
    let whole = seconds
        .filter(|seconds: &f64| *seconds > 0.0)
        .map_or(DEFAULT_LIFE, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFE))
        .min(LONGEST_LIFE);
    whole.saturating_sub(MARGIN.min(whole / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_for_a_little_less_than_its_life() {
        for (expires_in, milliseconds) in [
            ("null", 55_000),
            ("60", 55_000),
            ("300", 295_000),
            ("10", 9_000),
            ("1", 900),
            ("0", 55_000),
            ("-5", 55_000),
            ("\"300\"", 295_000),
            ("\"soon\"", 55_000),
            ("299.5", 294_500),
            ("1e300", 86_395_000),
            ("[]", 55_000),
        ] {
            let value: &RawValue = serde_json::from_str(expires_in).unwrap();
            assert_eq!(life(Some(value)), Duration::from_millis(milliseconds), "{expires_in}");
        }
        assert_eq!(life(None), Duration::from_secs(55));
    }
}
