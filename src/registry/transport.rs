//! One request and its answer: schemes, certificates, redirects, time-outs, sizes. Knows nothing of
//! accounts or manifests.

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};

use super::clients::Clients;
use super::endpoints::{Endpoint, Scheme};
use super::failure::{About, Failure, Reached};
use super::limits::Limits;
use super::plain::{Causes, PlainHosts};
use super::{plain, retry};
use crate::hosts::is_loopback;
use crate::proxy::{Proxies, Proxy};
use crate::secret::Secret;

/// How much of an error's page is read: registries explain themselves in a few hundred bytes.
const ERROR_BODY: usize = 16 * 1024;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub accept: Option<String>,
    /// The whole value of the header.
    pub authorization: Option<Secret>,
    /// A form, already encoded.
    pub form: Option<Secret>,
}

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, accept: None, authorization: None, form: None }
    }

    pub(super) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(super) fn form(url: Url, form: Secret) -> Self {
        Self { form: Some(form), ..Self::new(Method::POST, url) }
    }

    pub(super) fn with_authorization(self, authorization: Secret) -> Self {
        Self { authorization: Some(authorization), ..self }
    }
}

/// What came back: a status, and for `GET` a body within bounds.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether it came from the server that was asked and not from one that it redirected to.
    pub is_first_hand: bool,
    /// What was sent as `Authorization`, without its scheme.
    pub sent: Option<Secret>,
    /// Whether that was a name and a password.
    pub sent_password: bool,
    /// Whether it is the answer to a `HEAD`.
    pub is_to_head: bool,
    /// Where it came from.
    pub url: Url,
    /// The proxy that it came through.
    pub proxy: Option<Proxy>,
}

impl Answer {
    /// A header's value, where there is one and it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }

    /// Whether this is a web page: a login form, a proxy's error, a captive portal.
    pub(super) fn is_html(&self) -> bool {
        self.content_type()
            .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
    }

    /// The status, and what the server said about it, as it came.
    pub(super) fn explained(&self) -> String {
        let said =
            said(&self.body).map_or_else(String::new, |said| format!(": {}", self.without_sent(&said)));
        format!("{}{said}", self.status)
    }

    /// A text of the server's without the token or password that it was sent, should it repeat it.
    pub(super) fn without_sent(&self, text: &str) -> String {
        match &self.sent {
            Some(sent) if !sent.reveal().is_empty() => text.replace(sent.reveal(), "***"),
            _ => text.to_owned(),
        }
    }

    /// The answer, unless it is that the server cannot give one now.
    pub(super) fn unless_busy(self) -> Result<Self, Failure> {
        let retry_after = || {
            let header = self.header(RETRY_AFTER.as_str())?;
            retry::retry_after(header, Timestamp::now())
        };
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Err(Failure::RateLimited { retry_after: retry_after() }),
            StatusCode::NOT_IMPLEMENTED => Ok(self),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(Failure::Unreachable {
                cause: format!("the proxy answers {}", self.explained()),
                reached: Reached::Nothing,
                retry_after: None,
                proxy: self.proxy,
            }),
            status
                if status.is_server_error()
                    || status == StatusCode::REQUEST_TIMEOUT
                    || status == StatusCode::TOO_EARLY =>
            {
                let (mut cause, retry_after) = (self.explained(), retry_after());
                // Without TLS a proxy answers in the registry's place.
                if let Some(proxy) = self.proxy.as_ref().filter(|_| self.url.scheme() == "http") {
                    cause = format!("{cause} ({proxy})");
                }
                Err(Failure::Unreachable { cause, reached: Reached::Server, retry_after, proxy: self.proxy })
            }
            _ => Ok(self),
        }
    }
}

/// What an error's body says, in the forms that registries and token servers use.
fn said(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = body.get("errors").and_then(|errors| errors.get(0));
    let texts = [
        first.and_then(|error| error.get("message")),
        first.and_then(|error| error.get("code")),
        body.get("error_description"),
        body.get("details"),
        body.get("message"),
        body.get("error"),
    ];
    let text = texts.into_iter().flatten().find_map(|text| text.as_str().filter(|text| !text.is_empty()))?;
    Some(text.to_owned())
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Transport {
    pub limits: Limits,
    clients: Clients,
    proxies: Proxies,
    plain: PlainHosts,
}

impl Transport {
    pub(super) fn new(limits: Limits, clients: Clients, proxies: Proxies) -> Self {
        Self { limits, clients, proxies, plain: PlainHosts::default() }
    }

    /// Asks an endpoint for something below its `/v2/`, by the scheme that it speaks: with TLS, and where that
    /// finds nobody and it may be, without; the other way round where it is known to have none.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: impl Fn(Url) -> Request,
    ) -> Result<Answer, Failure> {
        let host = &endpoint.host;
        let is_known_plain = self.plain.knows(host);
        let order = endpoint.order(is_known_plain.then_some(Scheme::Http));
        let has_choice = order.len() > 1;
        let mut causes = Causes::default();
        let (mut proxy, mut is_undecided) = (None, false);
        for scheme in order {
            let url = endpoint
                .url(*scheme, path)
                .ok_or_else(|| Failure::nonsense("its name and the image's make no web address"))?;
            let is_plain = has_choice && *scheme == Scheme::Http;
            let result = if is_plain && !is_known_plain {
                self.try_plain(endpoint, &request(url)).await
            } else {
                self.send(endpoint, &request(url)).await
            };
            if is_plain && let Some(cause) = plain::nobody(&result) {
                causes.add(*scheme, cause);
                // A registry may say the same to HEAD, and answer GET.
                is_undecided = result.is_ok_and(|answer| answer.is_to_head);
                continue;
            }
            match result {
                Err(Failure::Unreachable { cause, reached: Reached::Nothing, proxy: used, .. }) => {
                    causes.add(*scheme, cause);
                    proxy = used.or(proxy);
                }
                result => {
                    self.plain.note(host, is_plain && result.as_ref().is_ok_and(plain::is_a_registrys));
                    return result;
                }
            }
        }
        self.plain.note(host, false);
        let mut cause = causes.told();
        if is_loopback(host) && !cause.contains("certificate") {
            cause.push_str(" (inside a container this address is the container itself, not the node)");
        }
        let failure = Failure::Unreachable { cause, reached: Reached::Nothing, retry_after: None, proxy };
        Err(if is_undecided { Failure::OfHead(Box::new(failure)) } else { failure })
    }

    /// Sends a request without TLS to a server that may well have TLS: what is secret only once it has answered
    /// as a registry without.
    async fn try_plain(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer, Failure> {
        if request.authorization.is_none() {
            return self.send(endpoint, request).await;
        }
        let answer = self.send(endpoint, &Request { authorization: None, ..request.clone() }).await?;
        if plain::is_a_registrys(&answer) { self.send(endpoint, request).await } else { Ok(answer) }
    }

    /// Sends one request and follows where it is sent, with the certificates and within the trust of
    /// `endpoint`. What is secret goes only to the server of the request's own address.
    pub(super) async fn send(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut is_first_hand = true;
        for _ in 0..=self.limits.redirects {
            let response = self.once(endpoint, request, &url, is_first_hand).await?;
            tracing::debug!(
                method = %request.method,
                host = url.host_str(),
                path = url.path(),
                status = response.status().as_u16(),
                "asked"
            );
            match next(&response, request, &url, endpoint)? {
                None => {
                    let authorization = request.authorization.as_ref().map(Secret::reveal);
                    let sent = authorization.and_then(|header| header.split_once(' '));
                    let sent_password = sent.is_some_and(|(scheme, _)| scheme == "Basic");
                    let sent = sent.map(|(_, sent)| Secret::new(sent));
                    let (status, headers, body) = self.read(response).await?;
                    let proxy = self.proxies.of(&url).cloned();
                    let is_to_head = request.method == Method::HEAD;
                    return Ok(Answer {
                        status,
                        headers,
                        body,
                        is_first_hand,
                        sent,
                        sent_password,
                        is_to_head,
                        url,
                        proxy,
                    });
                }
                Some(target) => {
                    is_first_hand &= is_same_server(&request.url, &target);
                    url = target;
                }
            }
        }
        Err(Failure::nonsense(format!("it redirects more than {} times", self.limits.redirects)))
    }

    async fn once(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        url: &Url,
        is_first_hand: bool,
    ) -> Result<Response, Failure> {
        let proxy = self.proxies.of(url);
        let client = self.clients.of(endpoint, proxy).await.map_err(Failure::no_connection)?;
        let mut builder = client.request(request.method.clone(), url.clone()).timeout(self.limits.request);
        // Without a word of it, a server may compress what it sends.
        builder = builder.header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = &request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        if let Some(authorization) = request.authorization.as_ref().filter(|_| is_first_hand) {
            let mut value = HeaderValue::from_str(authorization.reveal()).map_err(|_| Failure::Refused {
                cause: "the token cannot be sent: it is no plain text".to_owned(),
                about: About::Other,
            })?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        if let Some(form) = &request.form {
            builder = builder
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.reveal().to_owned());
        }
        let told = |failure: Failure| match failure {
            Failure::Unreachable { cause, reached, retry_after, .. } => {
                let cause = self.remedied(cause, endpoint);
                Failure::Unreachable { cause, reached, retry_after, proxy: proxy.cloned() }
            }
            other => other,
        };
        builder.send().await.map_err(|error| told(self.trouble(error)))
    }

    /// What is wrong with a certificate, in words, and what can be done about it.
    fn remedied(&self, cause: String, endpoint: &Endpoint) -> String {
        let Some(fault) = cause.strip_prefix("invalid peer certificate: ") else { return cause };
        // The last is what is said of one that has the name of a known authority, and another key.
        let is_unknown =
            ["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"].iter().any(|it| fault.contains(it));
        if is_unknown {
            let remedy = self.clients.remedy(&endpoint.host);
            return format!("its certificate is of an authority that is not known here: {remedy}");
        }
        if fault.to_ascii_lowercase().contains("expired") {
            return "its certificate has expired".to_owned();
        }
        if fault.contains("NotValidYet") || fault.contains("not valid yet") {
            return "its certificate is not valid yet".to_owned();
        }
        format!("its certificate is refused: {fault}")
    }

    /// Reads the body to its end or to its limit.
    async fn read(&self, mut response: Response) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let is_answer = status == StatusCode::OK;
        let limit = if is_answer { self.limits.body } else { ERROR_BODY };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
                // An error's page is worth reading, but not worth an error of its own.
                _ if !is_answer => break,
                Ok(Some(_)) => {
                    return Err(Failure::nonsense(format!("its answer is longer than {limit} bytes")));
                }
                Err(error) => return Err(self.trouble(error)),
            }
        }
        Ok((status, headers, body.freeze()))
    }

    /// Says in words what happened to a request, without its address: that may hold a token.
    fn trouble(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let (mut is_http, mut is_nonsense) = (true, error.is_builder());
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            if let Some(inner) = inner.downcast_ref::<hyper::Error>() {
                is_nonsense |= inner.is_parse_too_large();
                is_http &= !inner.is_parse();
            }
            cause = inner.to_string();
            source = inner.source();
        }
        let cause = match (is_timeout, is_connect) {
            (true, true) => format!("no connection within {:?}", self.limits.connect),
            (true, false) => format!("no answer within {:?}", self.limits.request),
            _ => cause,
        };
        if !is_connect && (is_nonsense || !is_http) {
            let cause = format!("its answer is not HTTP as it should be ({cause})");
            return if is_nonsense { Failure::nonsense(cause) } else { Failure::NotHttp { cause } };
        }
        let reached = match (is_connect, is_timeout) {
            (true, _) => Reached::Nothing,
            (false, true) => Reached::Silence,
            (false, false) => Reached::Connection,
        };
        let cause = match cause.as_str() {
            "tunnel error: unsuccessful" => "it refuses to connect to the registry".to_owned(),
            "tunnel error: proxy authorization required" => {
                "it wants an account (407 Proxy Authentication Required)".to_owned()
            }
            _ => cause,
        };
        Failure::Unreachable { cause, reached, retry_after: None, proxy: None }
    }
}

/// Where an answer sends us on to.
fn next(
    response: &Response,
    request: &Request,
    url: &Url,
    endpoint: &Endpoint,
) -> Result<Option<Url>, Failure> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    if !is_redirect {
        return Ok(None);
    }
    let target = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| url.join(location).ok())
        .filter(|target| matches!(target.scheme(), "http" | "https"))
        .ok_or_else(|| Failure::nonsense("it redirects to nowhere"))?;
    if url.scheme() == "https" && target.scheme() == "http" && !endpoint.allows_plain_http() {
        return Err(Failure::nonsense("it redirects from TLS to plain HTTP"));
    }
    // A form holds a secret. By 301 to 303 it would not be sent at all.
    let keeps_form = matches!(response.status().as_u16(), 307 | 308) && is_same_server(&request.url, &target);
    if request.form.is_some() && !keeps_form {
        let host = target.host_str().unwrap_or_default();
        let cause = format!("it redirects to {host}, to which no account is sent");
        return Err(Failure::Refused { cause, about: About::Other });
    }
    Ok(Some(target))
}

/// Whether a secret for the server at `from` may be sent to `to`: the same server, or the same one with TLS.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let gets_tls = from.scheme() == "http" && to.scheme() == "https";
    from.origin() == to.origin()
        || (gets_tls && from.host() == to.host() && from.port().is_none() && to.port().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<reqwest::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: Bytes::from_static(body.as_bytes()),
            is_first_hand: true,
            sent: None,
            sent_password: false,
            is_to_head: false,
            url: Url::parse("https://r/v2/").unwrap(),
            proxy: None,
        }
    }

    #[test]
    fn an_error_is_told_in_the_servers_own_words() {
        for (body, said) in [
            (r#"{"errors":[{"code":"DENIED","message":"no pull for you"}]}"#, ": no pull for you"),
            (r#"{"errors":[{"code":"DENIED"}]}"#, ": DENIED"),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"it expired"}"#, ": it expired"),
            (r#"{"errors":[]}"#, ""),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(answer(403, &[], body).explained(), format!("403 Forbidden{said}"), "{body}");
        }
    }

    #[test]
    fn a_server_that_is_busy_is_told_from_one_that_answers() {
        for (status, busy) in
            [(200, false), (404, false), (405, false), (501, false), (500, true), (503, true), (408, true)]
        {
            assert_eq!(answer(status, &[], "").unless_busy().is_err(), busy, "{status}");
        }
        let limited = answer(429, &[("retry-after", "7")], "").unless_busy().unwrap_err();
        assert_eq!(limited, Failure::RateLimited { retry_after: Some(std::time::Duration::from_secs(7)) });
        let unavailable = answer(503, &[("retry-after", "7")], "").unless_busy().unwrap_err();
        assert_eq!(unavailable.retry_after(), Some(std::time::Duration::from_secs(7)));
    }
}
