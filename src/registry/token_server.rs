//! Token servers: one look-up fetches a bearer token for all that need the same one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{StatusCode, Url};
use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::call::Call;
use super::credentials::Account;
use super::failure::{About, Failure};
use super::token::{self, Purpose, Slot, Token};
use super::transport::{HttpRequest, HttpTransport};
use crate::secret::Secret;

/// A token that may be used now.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub token: Secret,
    /// Whether it came just now; the registry's word against it is then final.
    pub is_fresh: bool,
}

/// A token for `purpose`, other than the `rejected` one.
pub(super) async fn token(
    transport: &HttpTransport,
    call: &Call,
    purpose: &Purpose,
    rejected: Option<&Secret>,
) -> Result<Issued, Failure> {
    let came = Instant::now();
    let slot = transport.memory.of(&purpose.host, |host| host.token(purpose));
    let mut slot = slot.lock().await;
    if slot.is_valid(Instant::now())
        && let Some(token) = &slot.token
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

async fn fetch(transport: &HttpTransport, call: &Call, purpose: &Purpose) -> Result<Token, Failure> {
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
    token::read(&answer, asked).map_err(|failure| failure.of_token_server(&server))
}

async fn ask(
    transport: &HttpTransport,
    call: &Call,
    purpose: &Purpose,
    realm: Url,
) -> Result<RegistryAnswer, Failure> {
    let origin = purpose.bearer.origin;
    let endpoint = transport.realm(&call.endpoint, &call.engine, &realm, origin).await?;
    let send =
        async |request: HttpRequest| transport.send_to(&endpoint, &request, Some(origin.network)).await;
    let by_name = |username: &str, secret: &Secret| {
        let mut url = query(&realm, purpose);
        if !username.is_empty() {
            url.query_pairs_mut().append_pair("account", username);
        }
        HttpRequest::get(url).with_authorization(basic(username, secret))
    };
    let Some(credentials) = &purpose.credentials else {
        return answered(send(HttpRequest::get(query(&realm, purpose))).await?, AskedBy::NoAccount);
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
            let answer = send(HttpRequest::form(realm.clone(), form)).await?;
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
    answered(answer, AskedBy::Account)
}

/// Who asked a token server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AskedBy {
    NoAccount,
    Account,
}

fn answered(answer: RegistryAnswer, who: AskedBy) -> Result<RegistryAnswer, Failure> {
    let answer = answer.unless_busy()?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status if status.is_client_error() => {
            let about = match who {
                AskedBy::NoAccount => About::Image,
                AskedBy::Account if status == StatusCode::UNAUTHORIZED => About::Account,
                AskedBy::Account if status == StatusCode::FORBIDDEN => About::AccountOrImage,
                AskedBy::Account if is_invalid_grant(&answer) => About::Account,
                AskedBy::Account => About::Other,
            };
            Err(Failure::Refused { cause: answer.explained(), about })
        }
        _ => Err(Failure::nonsense(answer.explained())),
    }
}

/// Whether an identity token is refused for good, as `OAuth2` says it.
fn is_invalid_grant(answer: &RegistryAnswer) -> bool {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == StatusCode::BAD_REQUEST
        && body.get("error").is_some_and(|error| error == "invalid_grant")
}

/// Whether the token server refuses the account itself; `None`: unknown.
pub(super) async fn is_account_refused(
    transport: &HttpTransport,
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

#[cfg(test)]
mod tests {
    use super::super::challenge::Bearer;
    use super::*;

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
