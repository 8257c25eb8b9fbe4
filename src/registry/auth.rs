//! The account and the scheme with which a registry is asked.

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode, Url};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::call::Call;
use super::challenge::{self, Challenge, Challenges};
use super::challenge_cache::ChallengeCache;
use super::credentials::Account;
use super::failure::{About, Failure};
use super::login_back_off::LoginResult;
use super::token::Purpose;
use super::token_server::{self, basic};
use super::transport::{HttpRequest, HttpTransport};
use crate::secret::Secret;

/// The value of the header `Authorization`.
#[derive(Clone, Debug)]
struct Authorization {
    header: Secret,
    /// The token in it, where it may be replaced by a new one.
    token: Option<Secret>,
    /// Whether there is nothing better to send: a refusal is final.
    is_final: bool,
}

impl Authorization {
    fn fixed(header: Secret) -> Self {
        Self { header, token: None, is_final: true }
    }
}

/// An answer that was not refused.
struct Accepted {
    answer: RegistryAnswer,
    /// Whether it shows that the account's password, or token, is right now.
    is_login: bool,
}

impl Accepted {
    fn with(authorization: Option<&Authorization>, answer: RegistryAnswer) -> Self {
        let is_login = answer.sent.is_some() && authorization.is_some_and(|sent| sent.is_final);
        Self { answer, is_login }
    }
}

/// One question to a registry, and all that it takes to ask it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<'a> {
    pub transport: &'a HttpTransport,
    pub call: &'a Call,
    pub method: &'a Method,
    /// Below `/v2/`.
    pub path: &'a str,
    pub accept: &'a str,
}

impl Exchange<'_> {
    /// Asks, unless the registry has refused the account lately.
    pub(super) async fn ask(self) -> Result<RegistryAnswer, Failure> {
        if self.call.credentials.is_none() {
            return Ok(self.try_to_ask().await?.answer);
        }
        let is_first = self.wait_for_login().await?;
        let mut result = self.try_to_ask().await;
        let mut is_let_in = result.as_ref().is_ok_and(|accepted| accepted.is_login);
        if is_first.is_some()
            && let Err(failure) = &result
            && let Some(about) = failure.account_or_image()
        {
            // The refusal may be about this image alone: then the other images of this account are asked for.
            match self.is_account_refused().await {
                Some(true) => {
                    result = Err(Failure::Refused { cause: about.to_owned(), about: About::Account });
                }
                Some(false) => is_let_in = true,
                None => {}
            }
        }
        let learnt = match &result {
            _ if is_let_in => LoginResult::LetIn,
            Ok(_) => LoginResult::NotNeeded,
            Err(failure @ Failure::Refused { about: About::Account, .. }) => LoginResult::Refused(failure),
            Err(_) => LoginResult::Nothing,
        };
        let (now, hold) = (Instant::now(), self.transport.limits.outage_hold);
        self.transport.memory.account(self.call, |account| account.login.learn(&learnt, now, hold));
        Ok(result?.answer)
    }

    /// Waits until the account may be tried; the refusal where it may not. The look-up that gets the lock tries it alone.
    async fn wait_for_login(self) -> Result<Option<OwnedMutexGuard<()>>, Failure> {
        let memory = &self.transport.memory;
        let result = || memory.account(self.call, |account| account.login.last_result(Instant::now()));
        if let Some(result) = result() {
            return result.map(|()| None);
        }
        let first_try = memory.account(self.call, |account| account.first_try.clone());
        let first_try = first_try.lock_owned().await;
        // The look-up that was first has learnt something, as a rule.
        result().map_or(Ok(Some(first_try)), |result| result.map(|()| None))
    }

    /// Logs in without asking for an image: whether the registry, or its token server, refuses the account itself.
    /// `None` where that cannot be told.
    async fn is_account_refused(self) -> Option<bool> {
        let account = self.call.credentials.as_ref().map(|credentials| &credentials.account);
        match (self.expected_challenge()?, account?) {
            (Challenge::Bearer(bearer), _) => {
                let purpose = Purpose::of(self.call, bearer, None);
                token_server::is_account_refused(self.transport, self.call, &purpose).await
            }
            (Challenge::Basic, account) => {
                let (username, secret) = account.name_and_secret()?;
                let request = |url| HttpRequest::get(url).with_authorization(basic(username, secret));
                match self.transport.ask(&self.call.endpoint, "", request).await.ok()?.status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(true),
                    status if status.is_success() => Some(false),
                    _ => None,
                }
            }
        }
    }

    fn expected_challenge(self) -> Option<Challenge> {
        self.challenges(|challenges| challenges.expected(&self.call.repository))
    }

    fn challenges<T>(self, work: impl FnOnce(&mut ChallengeCache) -> T) -> T {
        self.transport.memory.of(&self.call.endpoint.host, |host| work(&mut host.challenges))
    }

    /// Asks once, and once more where the registry asks for another login.
    async fn try_to_ask(self) -> Result<Accepted, Failure> {
        let repository = &self.call.repository;
        let expected = self.expected_challenge();
        let (first, refusal) = match self.authorize(expected.as_ref(), None).await {
            Ok(first) => (first, None),
            Err(failure) => {
                // The registry may have another token server by now, or for this repository.
                if let Some(expected) = &expected {
                    self.challenges(|challenges| challenges.forget(repository, expected));
                }
                if failure.is_transient() {
                    return Err(failure);
                }
                (None, Some(failure))
            }
        };
        let answer = match self.send(first.as_ref()).await {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && answer.is_first_hand => answer,
            answer => {
                let answer = self.accepted(answer)?;
                if let Some(expected) = expected.filter(|_| refusal.is_none()) {
                    self.challenges(|challenges| challenges.confirm(repository, &expected));
                }
                return Ok(Accepted::with(first.as_ref(), answer));
            }
        };
        let Some(challenge) = challenges(&answer).best else {
            let refused = refused(&answer);
            let is_of_head = *self.method == Method::HEAD && answer.sent.is_none();
            return Err(if is_of_head { Failure::OfHead(Box::new(refused)) } else { refused });
        };
        self.challenges(|challenges| challenges.learn(repository, &challenge));
        if expected.as_ref() == Some(&challenge) {
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            if first.as_ref().is_some_and(|first| first.is_final) {
                return Err(refused(&answer));
            }
        }
        self.ask_again(&answer, first.and_then(|first| first.token)).await
    }

    /// Asks again with the login that the registry asks for, and without the `rejected` token.
    async fn ask_again(
        self,
        refusal: &RegistryAnswer,
        rejected: Option<Secret>,
    ) -> Result<Accepted, Failure> {
        let offered = challenges(refusal);
        let ask = async |challenge: &Challenge| {
            let authorization = self.authorize(Some(challenge), rejected.as_ref()).await?;
            if authorization.is_none() {
                return Err(refused(refusal));
            }
            let answer = self.send(authorization.as_ref()).await;
            Ok(Accepted::with(authorization.as_ref(), self.accepted(answer)?))
        };
        let Some(challenge) = offered.best else { return Err(refused(refusal)) };
        let has_alternative =
            offered.has_basic && challenge != Challenge::Basic && self.call.credentials.is_some();
        match ask(&challenge).await {
            // Some registries name a token server that serves other clients only.
            Err(Failure::Refused { .. } | Failure::Nonsense { .. }) if has_alternative => {
                let accepted = ask(&Challenge::Basic).await?;
                self.challenges(|challenges| challenges.learn(&self.call.repository, &Challenge::Basic));
                Ok(accepted)
            }
            result => result,
        }
    }

    /// Sends one request, and another one where the registry redirects to a server that asks for a token of its own.
    async fn send(self, authorization: Option<&Authorization>) -> Result<RegistryAnswer, Failure> {
        let request = |url| self.request(url, authorization);
        let answer = self.transport.ask(&self.call.endpoint, self.path, request).await?;
        if answer.status == StatusCode::UNAUTHORIZED && !answer.is_first_hand {
            return self.ask_elsewhere(answer).await;
        }
        Ok(answer)
    }

    /// Asks the target of a redirect again, with a token of that server. It gets no account: the account is for the
    /// registry.
    async fn ask_elsewhere(self, answer: RegistryAnswer) -> Result<RegistryAnswer, Failure> {
        let Some(Challenge::Bearer(bearer)) = challenges(&answer).best else { return Ok(answer) };
        let purpose = Purpose {
            host: answer.url.authority().to_owned(),
            bearer,
            repository: Some(repository_at(&answer.url).unwrap_or_else(|| self.call.repository.clone())),
            credentials: None,
        };
        let issued = token_server::token(self.transport, self.call, &purpose, None).await?;
        let authorization = Authorization::fixed(bearer_header(&issued.token));
        let named_by = answer.named_by;
        let request = self.request(answer.url, Some(&authorization));
        let answer = self.transport.send_to(&self.call.endpoint, &request, named_by).await?;
        Ok(RegistryAnswer { is_first_hand: false, ..answer })
    }

    /// The value of `Authorization` for a challenge; `None`: there is none.
    async fn authorize(
        self,
        challenge: Option<&Challenge>,
        rejected: Option<&Secret>,
    ) -> Result<Option<Authorization>, Failure> {
        let account = self.call.credentials.as_ref().map(|credentials| &credentials.account);
        match (challenge, account) {
            (None, _) => Ok(None),
            (Some(Challenge::Basic), account) => {
                let account = account.and_then(Account::name_and_secret);
                Ok(account.map(|(username, secret)| Authorization::fixed(basic(username, secret))))
            }
            (Some(Challenge::Bearer(_)), Some(Account::RegistryToken(token))) => {
                Ok(Some(Authorization::fixed(bearer_header(token))))
            }
            (Some(Challenge::Bearer(bearer)), _) => {
                let purpose = Purpose::of(self.call, bearer.clone(), Some(&self.call.repository));
                let issued = token_server::token(self.transport, self.call, &purpose, rejected).await?;
                Ok(Some(Authorization {
                    header: bearer_header(&issued.token),
                    token: Some(issued.token),
                    is_final: issued.is_fresh,
                }))
            }
        }
    }

    fn request(self, url: Url, authorization: Option<&Authorization>) -> HttpRequest {
        HttpRequest {
            accept: Some(self.accept.to_owned()),
            authorization: authorization.map(|authorization| authorization.header.clone()),
            ..HttpRequest::new(self.method.clone(), url)
        }
    }

    /// The answer, unless it is a refusal or no answer at all.
    fn accepted(self, answer: Result<RegistryAnswer, Failure>) -> Result<RegistryAnswer, Failure> {
        let is_head = *self.method == Method::HEAD;
        let accepted = answer.and_then(RegistryAnswer::unless_busy).and_then(|answer| match answer.status {
            StatusCode::FORBIDDEN if is_head => Err(Failure::OfHead(Box::new(refused(&answer)))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused(&answer)),
            _ => Ok(answer),
        });
        if is_head { accepted.map_err(Failure::of_head) } else { accepted }
    }
}

fn bearer_header(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

fn challenges(answer: &RegistryAnswer) -> Challenges {
    let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenge::parse(headers.filter_map(|header| header.to_str().ok()), answer.origin)
}

/// The repository in an address of the registry protocol.
fn repository_at(url: &Url) -> Option<String> {
    let (_, rest) = url.path().split_once("/v2/")?;
    let end = rest.rfind("/manifests/").or_else(|| rest.rfind("/blobs/"))?;
    Some(rest[..end].to_owned()).filter(|repository| !repository.is_empty())
}

fn refused(answer: &RegistryAnswer) -> Failure {
    if !answer.is_first_hand {
        let host = answer.url.host_str().unwrap_or_default();
        let cause = format!(
            "it redirects to {host}, which answers {} (accounts of one registry are not sent to another)",
            answer.explained()
        );
        return Failure::Refused { cause, about: About::Other };
    }
    let challenges = challenges(answer);
    let about = match (answer.status, &challenges.best, &answer.sent) {
        (StatusCode::UNAUTHORIZED, Some(Challenge::Basic), Some(_)) => About::Account,
        (StatusCode::UNAUTHORIZED, Some(Challenge::Basic), None) => About::Other,
        (StatusCode::FORBIDDEN, _, Some(_)) if answer.sent_password => About::AccountOrImage,
        _ => About::Image,
    };
    let said = challenges.words.map_or_else(String::new, |said| format!(" ({})", answer.without_sent(&said)));
    Failure::Refused { cause: format!("{}{said}", answer.explained()), about }
}
