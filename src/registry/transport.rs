//! One request and its answer: schemes, certificates, redirects, time-outs, sizes. Knows nothing of
//! accounts or manifests.

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode, Url};

use super::answer::RegistryAnswer;
use super::clients::Clients;
use super::dns::DnsCache;
use super::endpoints::{Certificates, Endpoint, Scheme, Schemes};
use super::failure::{About, Failure, Reached};
use super::limits::LookupLimits;
use super::memory::Memory;
use super::plain_http::{self, CauseByScheme};
use super::reach::{Forbidden, Network, Origin, TrustedHosts, literal};
use crate::descriptors;
use crate::hosts::{EngineRegistries, is_loopback, without_port};
use crate::proxy::Proxies;
use crate::secret::Secret;
use crate::words::{causes, deepest};

/// How much of an error's page is read: registries explain themselves in a few hundred bytes.
const ERROR_BODY: usize = 16 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct HttpRequest {
    pub method: Method,
    pub url: Url,
    pub accept: Option<String>,
    /// The whole value of the header.
    pub authorization: Option<Secret>,
    /// A form, already encoded.
    pub form: Option<Secret>,
}

impl HttpRequest {
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

/// Sends requests.
#[derive(Debug)]
pub(super) struct HttpTransport {
    pub limits: LookupLimits,
    pub memory: Memory,
    clients: Clients,
    proxies: Proxies,
    trusted: TrustedHosts,
}

impl HttpTransport {
    pub(super) fn new(limits: LookupLimits, clients: Clients, proxies: Proxies) -> Self {
        Self { limits, memory: Memory::default(), clients, proxies, trusted: TrustedHosts::default() }
    }

    pub(super) fn dns(&self) -> DnsCache<'_> {
        DnsCache { memory: &self.memory, limit: self.limits.connect }
    }

    /// Every registry may name these hosts, at any address.
    pub(super) fn trusting(self, hosts: Vec<String>) -> Self {
        Self { trusted: TrustedHosts::new(hosts), ..self }
    }

    /// Asks an endpoint for something below its `/v2/`, by the scheme that it speaks: with TLS, and where no server
    /// answers and the endpoint allows it, without. A host that is known to speak plain HTTP is asked without TLS first.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: impl Fn(Url) -> HttpRequest,
    ) -> Result<RegistryAnswer, Failure> {
        let host = &endpoint.host;
        let is_known_plain = self.memory.of(host, |host| host.is_plain);
        let order = endpoint.order(is_known_plain.then_some(Scheme::Http));
        let has_choice = order.len() > 1;
        let mut causes = CauseByScheme::default();
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
            if is_plain && let Some(cause) = plain_http::needs_tls(&result) {
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
                    let is_plain = is_plain && result.as_ref().is_ok_and(plain_http::is_a_registrys);
                    self.memory.of(host, |host| host.is_plain = is_plain);
                    return result;
                }
            }
        }
        self.memory.of(host, |host| host.is_plain = false);
        let mut cause = causes.told();
        if is_loopback(host) && !cause.contains("certificate") {
            cause.push_str(" (inside a container this address is the container itself, not the node)");
        }
        let failure = Failure::Unreachable { cause, reached: Reached::Nothing, retry_after: None, proxy };
        Err(if is_undecided { Failure::OfHead(Box::new(failure)) } else { failure })
    }

    /// Sends a request without TLS to a server that may have TLS. Secrets are sent only after the server has answered as a
    /// registry without TLS.
    async fn try_plain(&self, endpoint: &Endpoint, request: &HttpRequest) -> Result<RegistryAnswer, Failure> {
        if request.authorization.is_none() {
            return self.send(endpoint, request).await;
        }
        let answer = self.send(endpoint, &HttpRequest { authorization: None, ..request.clone() }).await?;
        if plain_http::is_a_registrys(&answer) { self.send(endpoint, request).await } else { Ok(answer) }
    }

    /// Sends one request to the registry's own address, and follows where it is sent.
    async fn send(&self, endpoint: &Endpoint, request: &HttpRequest) -> Result<RegistryAnswer, Failure> {
        self.send_to(endpoint, request, None).await
    }

    /// Sends one request and follows where it is sent, with the certificates and within the trust of
    /// `endpoint`. What is secret goes only to the server of the request's own address. An address that a server of the
    /// network `named_by` has named must be one that it may name, and so must the target of each redirect.
    pub(super) async fn send_to(
        &self,
        endpoint: &Endpoint,
        request: &HttpRequest,
        mut named_by: Option<Network>,
    ) -> Result<RegistryAnswer, Failure> {
        let mut url = request.url.clone();
        let mut is_first_hand = true;
        for _ in 0..=self.limits.redirects {
            let response = self.once(endpoint, request, &url, is_first_hand, named_by).await?;
            let here = self.network(&response, &url);
            let network = named_by.map_or(here, |named_by| named_by.min(here));
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
                    let is_foreign = !is_same_host(&endpoint.host, &url);
                    let origin = Origin { network, has_tls: url.scheme() == "https" };
                    return Ok(RegistryAnswer {
                        status,
                        headers,
                        body,
                        is_first_hand,
                        sent,
                        sent_password,
                        is_to_head,
                        url,
                        is_foreign,
                        origin,
                        named_by,
                        proxy,
                    });
                }
                Some(target) => {
                    is_first_hand &= is_same_server(&request.url, &target);
                    url = target;
                    named_by = Some(network);
                }
            }
        }
        Err(Failure::nonsense(format!("it redirects more than {} times", self.limits.redirects)))
    }

    async fn once(
        &self,
        endpoint: &Endpoint,
        request: &HttpRequest,
        url: &Url,
        is_first_hand: bool,
        named_by: Option<Network>,
    ) -> Result<Response, Failure> {
        let proxy = self.proxies.of(url);
        let named_by = named_by.filter(|_| !self.trusted.have(url));
        if let (Some(network), Some(address)) = (named_by, literal(url)) {
            let host = url.host_str().unwrap_or_default();
            let checked = Forbidden::check(network, host, address);
            checked.map_err(|forbidden| Failure::nonsense(forbidden.to_string()))?;
        }
        let client = self
            .clients
            .of(&self.memory, endpoint, (proxy, named_by))
            .await
            .map_err(|cause| Failure::unreachable(Reached::Nothing, cause))?;
        let mut builder = client.request(request.method.clone(), url.clone()).timeout(self.limits.request);
        // Without this header, a server may compress its answer.
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
        builder.send().await.map_err(|error| {
            let mut failure = self.trouble(error);
            if let Failure::Unreachable { cause, proxy: used, .. } = &mut failure {
                *cause = self.remedied(std::mem::take(cause), endpoint, url);
                *used = proxy.cloned();
            }
            failure
        })
    }

    /// The network of the server that sent a response. Behind a proxy only an address in the URL tells it, and a name
    /// counts as public.
    fn network(&self, response: &Response, url: &Url) -> Network {
        let address = match self.proxies.of(url) {
            Some(_) => literal(url),
            None => response.remote_addr().map(|address| address.ip()),
        };
        address.map_or(Network::Public, Network::of)
    }

    /// The endpoint to ask for tokens at `realm`, which the registry has named on the connection `origin`.
    ///
    /// # Errors
    /// Plain HTTP where the registry itself has TLS: neither an account nor a token is worth anything there.
    pub(super) async fn realm(
        &self,
        endpoint: &Endpoint,
        engine: &EngineRegistries,
        realm: &Url,
        origin: Origin,
    ) -> Result<Endpoint, Failure> {
        let host = realm.host_str().unwrap_or_default();
        let host = realm.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        // That a registry is insecure says nothing of other servers. The engine's entry for the other server decides first.
        let is_lax = endpoint.certificates == Certificates::Any
            && (host == endpoint.host
                || match engine.index_configs.get(&host) {
                    Some(index) => !index.secure,
                    None => {
                        is_same_host(&endpoint.host, realm) || self.dns().is_insecure(engine, &host).await
                    }
                });
        let may_be_plain = endpoint.allows_plain_http() && (is_lax || !origin.has_tls);
        if realm.scheme() == "http" && !may_be_plain {
            let cause = "it speaks plain HTTP, and a registry with TLS must name it with https://".to_owned();
            return Err(Failure::Refused { cause, about: About::Other });
        }
        let schemes = if may_be_plain { Schemes::Either } else { Schemes::Https };
        let certificates = if is_lax { Certificates::Any } else { Certificates::Valid };
        Ok(Endpoint { schemes, certificates, ..endpoint.clone() })
    }

    /// The fault of a certificate in words, and its remedy.
    fn remedied(&self, cause: String, endpoint: &Endpoint, url: &Url) -> String {
        let Some(fault) = cause.strip_prefix("invalid peer certificate: ") else { return cause };
        // The last one means: the authority has a known name and another key.
        let is_unknown =
            ["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"].iter().any(|it| fault.contains(it));
        if is_unknown {
            let remedy = self.clients.remedy(&self.memory, &endpoint.host);
            return format!("its certificate is of an authority that is not known here: {remedy}");
        }
        if fault.to_ascii_lowercase().contains("expired") {
            return "its certificate has expired".to_owned();
        }
        if fault.contains("NotValidYet") || fault.contains("not valid yet") {
            return "its certificate is not valid yet".to_owned();
        }
        if !is_same_host(&endpoint.host, url) {
            return "its certificate is refused".to_owned();
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
                // The page of an error is read as far as possible; a failure to read it is no error.
                _ if !is_answer => break,
                Ok(Some(_)) => {
                    return Err(Failure::nonsense(format!("its answer is longer than {limit} bytes")));
                }
                Err(error) => return Err(self.trouble(error)),
            }
        }
        Ok((status, headers, body.freeze()))
    }

    /// The failure of a request in words, without its address: the address may hold a token.
    fn trouble(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
        let (mut is_http, mut is_nonsense) = (true, error.is_builder());
        for inner in causes(&error) {
            if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
                return Failure::nonsense(forbidden.to_string());
            }
            if let Some(inner) = inner.downcast_ref::<hyper::Error>() {
                is_nonsense |= inner.is_parse_too_large();
                is_http &= !inner.is_parse();
            }
        }
        let cause = deepest(&error);
        let cause = match (is_timeout, is_connect) {
            (true, true) => format!("no connection within {:?}", self.limits.connect),
            (true, false) => format!("no answer within {:?}", self.limits.request),
            _ => cause,
        };
        if !is_connect && (is_nonsense || !is_http) {
            let cause = format!("its answer is not HTTP as it should be ({cause})");
            return if is_nonsense { Failure::nonsense(cause) } else { Failure::NotHttp { cause } };
        }
        let cause = match descriptors::remedy(&error) {
            Some(remedy) => format!("{cause}; {remedy}"),
            None => cause,
        };
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
        Failure::unreachable(reached, cause)
    }
}

/// The target of a redirect; `None`: the answer is not a redirect.
fn next(
    response: &Response,
    request: &HttpRequest,
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
    // A form holds a secret. A redirect by 301 to 303 would drop the form.
    let keeps_form = matches!(response.status().as_u16(), 307 | 308) && is_same_server(&request.url, &target);
    if request.form.is_some() && !keeps_form {
        let host = target.host_str().unwrap_or_default();
        let cause = format!("it redirects to {host}, to which no account is sent");
        return Err(Failure::Refused { cause, about: About::Other });
    }
    Ok(Some(target))
}

/// Whether a URL leads to the host of a registry (`host` or `host:port`), on any port.
fn is_same_host(registry: &str, url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    without_port(registry).eq_ignore_ascii_case(name)
}

/// Whether a secret for the server at `from` may be sent to `to`: the same server, or the same one with TLS.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let gets_tls = from.scheme() == "http" && to.scheme() == "https";
    from.origin() == to.origin()
        || (gets_tls && from.host() == to.host() && from.port().is_none() && to.port().is_none())
}
