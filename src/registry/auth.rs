//! The account and the scheme with which a registry is asked.

use std::sync::Arc;

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode, Url};

use super::Lookup;
use super::admission::{Admissions, Learnt};
use super::challenge::{self, Challenge, Challenges};
use super::credentials::{Account, Credentials};
use super::endpoints::{Endpoint, Role};
use super::failure::{About, Failure};
use super::known::Known;
use super::token::{self, Purpose, Tokens, basic};
use super::transport::{Answer, Request, Transport};
use crate::hosts::EngineRegistries;
use crate::secret::Secret;

/// The registry endpoint of a look-up and the account used.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub endpoint: Endpoint,
    pub repository: String,
    pub credentials: Option<Arc<Credentials>>,
    /// What the engine says of other hosts.
    pub engine: Arc<EngineRegistries>,
}

impl Call {
    /// A mirror is another host than the registry that the account is for, and is asked without it.
    pub(super) fn new(endpoint: Endpoint, lookup: &Lookup) -> Self {
        let credentials = match endpoint.role {
            Role::Mirror => None,
            Role::Upstream => lookup.credentials.clone(),
        };
        let (repository, engine) = (lookup.image.repository().to_owned(), Arc::clone(&lookup.hosts));
        Self { endpoint, repository, credentials, engine }
    }
}

/// What is sent as `Authorization`.
#[derive(Clone, Debug)]
struct Authorization {
    header: Secret,
    /// The token in it, where it may be replaced by a new one.
    token: Option<Secret>,
    /// Whether there is nothing better: a registry that refuses it refuses us.
    is_final: bool,
}

impl Authorization {
    fn fixed(header: Secret) -> Self {
        Self { header, token: None, is_final: true }
    }
}

/// An answer that was not refused.
struct Accepted {
    answer: Answer,
    /// Whether it shows that the account's password, or token, is right now.
    is_login: bool,
}

impl Accepted {
    fn with(authorization: Option<&Authorization>, answer: Answer) -> Self {
        let is_login = answer.sent.is_some() && authorization.is_some_and(|sent| sent.is_final);
        Self { answer, is_login }
    }
}

/// What is asked of a registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub method: &'a Method,
    /// Below `/v2/`.
    pub path: &'a str,
    pub accept: &'a str,
}

impl Question<'_> {
    fn request(&self, url: Url, authorization: Option<&Authorization>) -> Request {
        Request {
            accept: Some(self.accept.to_owned()),
            authorization: authorization.map(|authorization| authorization.header.clone()),
            ..Request::new(self.method.clone(), url)
        }
    }

    /// The answer, unless it is a refusal or no answer at all.
    fn accepted(&self, answer: Result<Answer, Failure>) -> Result<Answer, Failure> {
        let is_head = *self.method == Method::HEAD;
        let accepted = answer.and_then(Answer::unless_busy).and_then(|answer| match answer.status {
            StatusCode::FORBIDDEN if is_head => Err(Failure::OfHead(Box::new(refused(&answer)))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused(&answer)),
            _ => Ok(answer),
        });
        if is_head { accepted.map_err(Failure::of_head) } else { accepted }
    }
}

/// What is known of how registries want to be asked, and of those who ask.
#[derive(Debug, Default)]
pub(super) struct Authority {
    known: Known,
    tokens: Tokens,
    /// By host and account.
    admissions: Admissions<(String, Arc<Credentials>)>,
}

impl Authority {
    /// Asks, unless the registry does not let the account in.
    pub(super) async fn ask(
        &self,
        transport: &Transport,
        call: &Call,
        question: Question<'_>,
    ) -> Result<Answer, Failure> {
        let asking = self.try_to_ask(transport, call, question);
        let Some(credentials) = &call.credentials else { return Ok(asking.await?.answer) };
        let entrance = self.admissions.enter((call.endpoint.host.clone(), Arc::clone(credentials))).await?;
        let mut result = asking.await;
        let mut is_let_in = result.as_ref().is_ok_and(|accepted| accepted.is_login);
        if entrance.is_alone()
            && let Err(failure) = &result
            && let Some(about) = failure.account_or_image()
        {
            // The refusal may be about this image alone: then the other images of this account are asked for.
            match self.is_account_refused(transport, call).await {
                Some(true) => {
                    result = Err(Failure::Refused { cause: about.to_owned(), about: About::Account });
                }
                Some(false) => is_let_in = true,
                None => {}
            }
        }
        let learnt = match &result {
            _ if is_let_in => Learnt::LetIn,
            Ok(_) => Learnt::NotNeeded,
            Err(failure @ Failure::Refused { about: About::Account, .. }) => Learnt::Refused(failure),
            Err(_) => Learnt::Nothing,
        };
        entrance.ends(&learnt, transport.limits.outage_hold);
        Ok(result?.answer)
    }

    /// Logs in without asking for an image: whether the registry, or its token server, refuses the account itself.
    /// `None` where that cannot be told.
    async fn is_account_refused(&self, transport: &Transport, call: &Call) -> Option<bool> {
        let account = call.credentials.as_ref().map(|credentials| &credentials.account);
        match (self.known.of(call)?, account?) {
            (Challenge::Bearer(bearer), _) => {
                let purpose = Purpose {
                    host: call.endpoint.host.clone(),
                    bearer,
                    repository: None,
                    credentials: call.credentials.clone(),
                };
                token::is_account_refused(transport, call, &purpose).await
            }
            (Challenge::Basic, Account::RegistryToken(_)) => None,
            (
                Challenge::Basic,
                Account::Password { username, password: secret }
                | Account::IdentityToken { username, token: secret },
            ) => {
                let request = |url| Request::get(url).with_authorization(basic(username, secret));
                match transport.ask(&call.endpoint, "", request).await.ok()?.status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(true),
                    status if status.is_success() => Some(false),
                    _ => None,
                }
            }
        }
    }

    /// Asks once; and once more where the registry turns out to want something else than it was given.
    async fn try_to_ask(
        &self,
        transport: &Transport,
        call: &Call,
        question: Question<'_>,
    ) -> Result<Accepted, Failure> {
        let known = self.known.of(call);
        let (first, refusal) = match self.authorize(transport, call, known.as_ref(), None).await {
            Ok(first) => (first, None),
            Err(failure) => {
                // The registry may have another token server by now, or for this repository.
                if let Some(known) = &known {
                    self.known.forget(call, known);
                }
                if failure.is_transient() {
                    return Err(failure);
                }
                (None, Some(failure))
            }
        };
        let answer = match self.send(transport, call, question, first.as_ref()).await {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && answer.is_first_hand => answer,
            answer => {
                let answer = question.accepted(answer)?;
                if let Some(known) = known.filter(|_| refusal.is_none()) {
                    self.known.confirm(call, &known);
                }
                return Ok(Accepted::with(first.as_ref(), answer));
            }
        };
        let Some(challenge) = challenges(&answer).best else {
            let refused = refused(&answer);
            let is_of_head = *question.method == Method::HEAD && answer.sent.is_none();
            return Err(if is_of_head { Failure::OfHead(Box::new(refused)) } else { refused });
        };
        self.known.learn(call, &challenge);
        if known.as_ref() == Some(&challenge) {
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            if first.as_ref().is_some_and(|first| first.is_final) {
                return Err(refused(&answer));
            }
        }
        let rejected = first.and_then(|first| first.token);
        self.ask_again(transport, call, question, (answer, rejected)).await
    }

    /// Asks as the registry wants it, which has refused this token or none.
    async fn ask_again(
        &self,
        transport: &Transport,
        call: &Call,
        question: Question<'_>,
        (refusal, rejected): (Answer, Option<Secret>),
    ) -> Result<Accepted, Failure> {
        let offered = challenges(&refusal);
        let ask = async |challenge: &Challenge| {
            let authorization = self.authorize(transport, call, Some(challenge), rejected.as_ref()).await?;
            if authorization.is_none() {
                return Err(refused(&refusal));
            }
            let answer = self.send(transport, call, question, authorization.as_ref()).await;
            Ok(Accepted::with(authorization.as_ref(), question.accepted(answer)?))
        };
        let Some(challenge) = offered.best else { return Err(refused(&refusal)) };
        let has_alternative =
            offered.has_basic && challenge != Challenge::Basic && call.credentials.is_some();
        match ask(&challenge).await {
            // Some registries name a token server that serves other clients only.
            Err(Failure::Refused { .. } | Failure::Nonsense { .. }) if has_alternative => {
                let accepted = ask(&Challenge::Basic).await?;
                self.known.learn(call, &Challenge::Basic);
                Ok(accepted)
            }
            result => result,
        }
    }

    /// Sends one request, and once more where the registry sends us on to a server that wants a token of its own.
    async fn send(
        &self,
        transport: &Transport,
        call: &Call,
        question: Question<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Answer, Failure> {
        let request = |url| question.request(url, authorization);
        let answer = transport.ask(&call.endpoint, question.path, request).await?;
        if answer.status == StatusCode::UNAUTHORIZED && !answer.is_first_hand {
            return self.ask_elsewhere(transport, call, question, answer).await;
        }
        Ok(answer)
    }

    /// Asks a server that the registry has sent us to once more, with a token of that server's own. It gets no
    /// account: the one that we have is for the registry.
    async fn ask_elsewhere(
        &self,
        transport: &Transport,
        call: &Call,
        question: Question<'_>,
        answer: Answer,
    ) -> Result<Answer, Failure> {
        let Some(Challenge::Bearer(bearer)) = challenges(&answer).best else { return Ok(answer) };
        let purpose = Purpose {
            host: answer.url.authority().to_owned(),
            bearer,
            repository: Some(repository_at(&answer.url).unwrap_or_else(|| call.repository.clone())),
            credentials: None,
        };
        let issued = self.tokens.get(transport, call, &purpose, None).await?;
        let authorization = Authorization::fixed(bearer_header(&issued.token));
        let named_by = answer.named_by;
        let request = question.request(answer.url, Some(&authorization));
        let answer = transport.send_to(&call.endpoint, &request, named_by).await?;
        Ok(Answer { is_first_hand: false, ..answer })
    }

    /// What to send to a registry that asks for `challenge`; nothing where we have nothing for it.
    async fn authorize(
        &self,
        transport: &Transport,
        call: &Call,
        challenge: Option<&Challenge>,
        rejected: Option<&Secret>,
    ) -> Result<Option<Authorization>, Failure> {
        let account = call.credentials.as_ref().map(|credentials| &credentials.account);
        match (challenge, account) {
            (None, _) | (Some(Challenge::Basic), None | Some(Account::RegistryToken(_))) => Ok(None),
            (
                Some(Challenge::Basic),
                Some(
                    Account::Password { username, password: secret }
                    | Account::IdentityToken { username, token: secret },
                ),
            ) => Ok(Some(Authorization::fixed(basic(username, secret)))),
            (Some(Challenge::Bearer(_)), Some(Account::RegistryToken(token))) => {
                Ok(Some(Authorization::fixed(bearer_header(token))))
            }
            (Some(Challenge::Bearer(parameters)), _) => {
                let purpose = Purpose {
                    host: call.endpoint.host.clone(),
                    bearer: parameters.clone(),
                    repository: Some(call.repository.clone()),
                    credentials: call.credentials.clone(),
                };
                let issued = self.tokens.get(transport, call, &purpose, rejected).await?;
                Ok(Some(Authorization {
                    header: bearer_header(&issued.token),
                    token: Some(issued.token),
                    is_final: issued.is_fresh,
                }))
            }
        }
    }
}

fn bearer_header(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

fn challenges(answer: &Answer) -> Challenges {
    let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenge::parse(headers.filter_map(|header| header.to_str().ok()), answer.origin)
}

/// The repository that an address of the registry protocol is about.
fn repository_at(url: &Url) -> Option<String> {
    let (_, rest) = url.path().split_once("/v2/")?;
    let end = rest.rfind("/manifests/").or_else(|| rest.rfind("/blobs/"))?;
    Some(rest[..end].to_owned()).filter(|repository| !repository.is_empty())
}

fn refused(answer: &Answer) -> Failure {
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
