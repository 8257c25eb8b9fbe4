//! Bearer tokens: fetched once for all who need the same one, and kept until they expire.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::auth::Call;
use super::challenge::Bearer;
use super::credentials::{Account, Credentials};
use super::failure::{About, Failure};
use super::transport::{Answer, Request, Transport};
use crate::secret::Secret;

/// How long a token is valid when its server does not say; so the token specification.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The longest that a token is kept, whatever its server says: a password that was revoked should not
/// work for a year.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The longest token, in bytes. Longer ones fit no header that servers accept.
const MAX_TOKEN: usize = 64 << 10;

/// More characters than a number of seconds has.
const MAX_NUMBER: usize = 40;

/// How much earlier a token is replaced, at most: for the way of the request and clocks that differ.
const MARGIN: Duration = Duration::from_secs(5);

/// At how many tokens the expired ones are thrown away.
const PRUNE_AT: usize = 4096;

/// What a token is for.
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

/// A token that may be used now.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub token: Secret,
    /// Whether it came just now; the registry's word against it is then final.
    pub is_fresh: bool,
}

#[derive(Debug)]
pub(super) struct Token {
    text: Secret,
    until: Instant,
}

/// One purpose's token. Who holds the lock fetches it, the others wait for it.
#[derive(Debug, Default)]
struct Slot {
    token: Option<Token>,
    /// When and why the last fetch failed: the answer for all who were already waiting then.
    failed: Option<(Instant, Failure)>,
}

/// All tokens of this process.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<Purpose, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl Tokens {
    /// A token for `purpose`, other than the `rejected` one.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        call: &Call,
        purpose: &Purpose,
        rejected: Option<&Secret>,
    ) -> Result<Issued, Failure> {
        let came = Instant::now();
        let slot = self.slot(purpose);
        let mut slot = slot.lock().await;
        if let Some(token) = &slot.token
            && token.until > Instant::now()
            && rejected != Some(&token.text)
        {
            return Ok(Issued { token: token.text.clone(), is_fresh: false });
        }
        if let Some((at, failure)) = &slot.failed
            && *at >= came
        {
            return Err(failure.clone());
        }
        slot.token = None;
        match fetch(transport, call, purpose).await {
            Ok(token) => {
                let text = token.text.clone();
                *slot = Slot { token: Some(token), failed: None };
                Ok(Issued { token: text, is_fresh: true })
            }
            Err(failure) => {
                slot.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    fn slot(&self, purpose: &Purpose) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(purpose) {
            return Arc::clone(slot);
        }
        if slots.len() >= PRUNE_AT && slots.len().is_power_of_two() {
            let now = Instant::now();
            slots.retain(|_, slot| {
                slot.try_lock()
                    .map_or(true, |slot| slot.token.as_ref().is_some_and(|token| token.until > now))
            });
        }
        Arc::clone(slots.entry(purpose.clone()).or_default())
    }
}

async fn fetch(transport: &Transport, call: &Call, purpose: &Purpose) -> Result<Token, Failure> {
    let realm = Url::parse(&purpose.bearer.realm).ok().filter(|realm| {
        matches!(realm.scheme(), "http" | "https") && realm.host_str().is_some_and(|host| !host.is_empty())
    });
    let Some(realm) = realm else {
        return Err(Failure::nonsense("the address that it names for tokens is no web address"));
    };
    let server = realm.host_str().unwrap_or_default().to_owned();
    let asked = Instant::now();
    let answer =
        ask(transport, call, purpose, realm).await.map_err(|failure| failure.of_token_server(&server))?;
    read(&answer, asked).map_err(|failure| failure.of_token_server(&server))
}

async fn ask(transport: &Transport, call: &Call, purpose: &Purpose, realm: Url) -> Result<Answer, Failure> {
    let origin = purpose.bearer.origin;
    let endpoint = transport.realm(&call.endpoint, &call.engine, &realm, origin).await?;
    let send = async |request: Request| transport.send_to(&endpoint, &request, Some(origin.network)).await;
    let by_name = |username: &str, secret: &Secret| {
        let mut url = query(&realm, purpose);
        if !username.is_empty() {
            url.query_pairs_mut().append_pair("account", username);
        }
        Request::get(url).with_authorization(basic(username, secret))
    };
    let Some(credentials) = &purpose.credentials else {
        return answered(send(Request::get(query(&realm, purpose))).await?, Who::Nobody);
    };
    let answer = match &credentials.account {
        Account::Password { username, password } => send(by_name(username, password)).await?,
        Account::IdentityToken { username, token } => {
            let mut form = realm.clone();
            form.set_query(None);
            let mut form = query(&form, purpose);
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "gantry")
                .append_pair("refresh_token", token.reveal());
            let form = Secret::new(form.query().unwrap_or_default());
            let answer = send(Request::form(realm.clone(), form)).await?;
            match answer.status {
                // Token servers without OAuth2 take the token as a password. One that says 401 has refused it, and
                // would count a second try as one more failed login.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    send(by_name(username, token)).await?
                }
                _ => answer,
            }
        }
        Account::RegistryToken(token) => {
            // Never asked for: such a token goes to the registry itself.
            send(by_name("", token)).await?
        }
    };
    answered(answer, Who::Account)
}

/// Who asked a token server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Account,
}

fn answered(answer: Answer, who: Who) -> Result<Answer, Failure> {
    let answer = answer.unless_busy()?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status if status.is_client_error() => {
            let about = match who {
                Who::Nobody => About::Image,
                Who::Account if status == StatusCode::UNAUTHORIZED => About::Account,
                Who::Account if status == StatusCode::FORBIDDEN => About::AccountOrImage,
                Who::Account if is_invalid_grant(&answer) => About::Account,
                Who::Account => About::Other,
            };
            Err(Failure::Refused { cause: answer.explained(), about })
        }
        _ => Err(Failure::nonsense(answer.explained())),
    }
}

/// Whether an identity token is refused for good, as `OAuth2` says it.
fn is_invalid_grant(answer: &Answer) -> bool {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == StatusCode::BAD_REQUEST
        && body.get("error").is_some_and(|error| error == "invalid_grant")
}

/// Whether the account itself is refused, whatever it is for: `None` where that cannot be told.
pub(super) async fn is_account_refused(
    transport: &Transport,
    call: &Call,
    purpose: &Purpose,
) -> Option<bool> {
    let realm = Url::parse(&purpose.bearer.realm).ok()?;
    match ask(transport, call, purpose, realm).await {
        Ok(_) => Some(false),
        Err(Failure::Refused { about: About::Account | About::AccountOrImage, .. }) => Some(true),
        Err(_) => None,
    }
}

/// The realm, asked for this purpose. Its own query stays.
fn query(realm: &Url, purpose: &Purpose) -> Url {
    let mut url = realm.clone();
    {
        let mut pairs = url.query_pairs_mut();
        if !purpose.bearer.service.is_empty() {
            pairs.append_pair("service", &purpose.bearer.service);
        }
        if let Some(repository) = &purpose.repository {
            pairs.append_pair("scope", &format!("repository:{repository}:pull"));
        }
    }
    url
}

/// The value of `Authorization` for a name and a password.
pub(super) fn basic(username: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
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

pub(super) fn read(answer: &Answer, asked: Instant) -> Result<Token, Failure> {
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

    #[test]
    fn the_realms_own_query_stays_and_names_are_escaped() {
        let purpose = Purpose {
            host: "r".to_owned(),
            bearer: Bearer { realm: String::new(), service: "a b&c".to_owned(), ..Bearer::default() },
            repository: Some("team/app".to_owned()),
            credentials: None,
        };
        let realm = Url::parse("https://t/token?x=1").unwrap();
        assert_eq!(
            query(&realm, &purpose).as_str(),
            "https://t/token?x=1&service=a+b%26c&scope=repository%3Ateam%2Fapp%3Apull"
        );
    }

    #[test]
    fn a_name_and_password_are_packed_as_basic_authentication() {
        // RFC 7617, with its example in UTF-8.
        assert_eq!(
            basic("Aladdin", &Secret::new("open sesame")).reveal(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(basic("test", &Secret::new("123£")).reveal(), "Basic dGVzdDoxMjPCow==");
    }
}
