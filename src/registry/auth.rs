//! In whose name, and by which scheme, a registry is asked.

use std::sync::Arc;

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode};

use super::Lookup;
use super::admission::{Admissions, Learnt};
use super::challenge::{self, Challenge, Challenges};
use super::credentials::{Account, Credentials};
use super::endpoints::{Endpoint, Role};
use super::failure::{About, Failure};
use super::known::Known;
use super::token::{Purpose, Tokens, basic};
use super::transport::{Answer, Request, Transport};
use crate::secret::Secret;

/// Whom a look-up asks, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub endpoint: Endpoint,
    pub repository: String,
    pub credentials: Option<Arc<Credentials>>,
}

impl Call {
    /// A mirror is somebody else than the registry that the account is for, and is asked without it.
    pub(super) fn new(endpoint: Endpoint, lookup: &Lookup) -> Self {
        let credentials = match endpoint.role {
            Role::Mirror => None,
            Role::Upstream => lookup.credentials.clone(),
        };
        Self { endpoint, repository: lookup.image.repository().to_owned(), credentials }
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
        method: &Method,
        path: &str,
        accept: &str,
    ) -> Result<Answer, Failure> {
        let asking = self.try_to_ask(transport, call, method, path, accept);
        let Some(credentials) = &call.credentials else { return Ok(asking.await?.answer) };
        let entrance = self.admissions.enter((call.endpoint.host.clone(), Arc::clone(credentials))).await?;
        let result = asking.await;
        let learnt = match &result {
            Ok(Accepted { is_login: true, .. }) => Learnt::LetIn,
            Ok(_) => Learnt::NotNeeded,
            Err(failure @ Failure::Refused { about: About::Account, .. }) => Learnt::Refused(failure),
            Err(_) => Learnt::Nothing,
        };
        entrance.ends(&learnt, transport.limits.outage_hold);
        Ok(result?.answer)
    }

    /// Asks once; and once more where the registry turns out to want something else than it was given.
    async fn try_to_ask(
        &self,
        transport: &Transport,
        call: &Call,
        method: &Method,
        path: &str,
        accept: &str,
    ) -> Result<Accepted, Failure> {
        let send = async |authorization: Option<&Authorization>| {
            let request = |url| Request {
                accept: Some(accept.to_owned()),
                authorization: authorization.map(|authorization| authorization.header.clone()),
                ..Request::new(method.clone(), url)
            };
            transport.ask(&call.endpoint, path, request).await
        };
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
        let answer = send(first.as_ref()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !answer.is_first_hand {
            let answer = accepted(answer)?;
            if let Some(known) = known.filter(|_| refusal.is_none()) {
                self.known.confirm(call, &known);
            }
            return Ok(Accepted::with(first.as_ref(), answer));
        }

        let Some(challenge) = challenges(&answer).best else { return Err(refused(&answer)) };
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
        let second = self.authorize(transport, call, Some(&challenge), rejected.as_ref()).await?;
        if second.is_none() {
            return Err(refused(&answer));
        }
        Ok(Accepted::with(second.as_ref(), accepted(send(second.as_ref()).await?)?))
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
                Ok(Some(Authorization::fixed(bearer(token))))
            }
            (Some(Challenge::Bearer(parameters)), _) => {
                let purpose = Purpose {
                    host: call.endpoint.host.clone(),
                    bearer: parameters.clone(),
                    repository: call.repository.clone(),
                    credentials: call.credentials.clone(),
                };
                let issued = self.tokens.get(transport, &call.endpoint, &purpose, rejected).await?;
                Ok(Some(Authorization {
                    header: bearer(&issued.token),
                    token: Some(issued.token),
                    is_final: issued.is_fresh,
                }))
            }
        }
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

fn challenges(answer: &Answer) -> Challenges {
    let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenge::parse(headers.filter_map(|header| header.to_str().ok()))
}

/// An answer, unless it is a refusal.
fn accepted(answer: Answer) -> Result<Answer, Failure> {
    let answer = answer.unless_busy()?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused(&answer)),
        _ => Ok(answer),
    }
}

fn refused(answer: &Answer) -> Failure {
    if !answer.is_first_hand {
        return Failure::nonsense(format!("it redirects to a server that answers {}", answer.explained()));
    }
    let challenges = challenges(answer);
    let wants_password =
        answer.status == StatusCode::UNAUTHORIZED && challenges.best == Some(Challenge::Basic);
    let about = match (wants_password, &answer.sent) {
        (true, Some(_)) => About::Account,
        (true, None) => About::Other,
        (false, _) => About::Image,
    };
    let said = challenges.words.map_or_else(String::new, |said| format!(" ({})", answer.without_sent(&said)));
    Failure::Refused { cause: format!("{}{said}", answer.explained()), about }
}
