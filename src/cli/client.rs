//! Asks a daemon, and says what to do where it does not answer as it should.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde_json::Value;

use super::target::{DaemonAddress, Trouble};
use crate::config::{TOKEN, TOKEN_FILE, URL};
use crate::secret::Secret;
use crate::words;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may take that comes at once.
const SOON: Duration = Duration::from_secs(30);

/// How long a stream of events may be silent. The daemon writes each 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// The longest answer, in bytes.
const MAX_BODY: usize = 64 << 20;

/// What the daemon says of a path that it does not have.
const NO_ROUTE: &str = "there is no such route";

/// A way to one daemon.
pub(super) struct ApiClient {
    http: reqwest::Client,
    /// With a slash at its end.
    base: Url,
    token: Option<Secret>,
    /// The place, in words.
    place: String,
    is_socket: bool,
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub(super) struct ApiAnswer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Value,
}

impl ApiAnswer {
    /// The body of a good answer, else what the daemon says of its mistake.
    pub(super) fn good(self) -> Result<Value, Trouble> {
        match self.status {
            200..=299 => Ok(self.body),
            400 | 413 => Err(Trouble::mistake(self.problem())),
            _ => Err(Trouble::new(self.problem())),
        }
    }

    /// Error and remedy of an answer that is no good one.
    pub(super) fn problem(&self) -> String {
        let text = |key: &str| self.body[key].as_str().unwrap_or_default();
        match (text("error"), text("remedy")) {
            ("", _) => format!("the daemon answers {}", self.status),
            (error, "") => error.to_owned(),
            (error, remedy) => format!("{error}; {remedy}"),
        }
    }
}

impl ApiClient {
    /// A way to this daemon. Nothing is asked yet.
    pub(super) fn new(target: &DaemonAddress) -> Result<Self, Trouble> {
        crate::tls::install_crypto_provider();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
            // Where the token would go as well.
            .redirect(redirect::Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_LIMIT);
        let (builder, base, token, place) = match target {
            DaemonAddress::Socket(path) => {
                // Certificates are not read where none is needed.
                let builder = builder.unix_socket(path.as_path()).no_proxy().tls_certs_only([]);
                let base = Url::parse("http://localhost/").map_err(Trouble::new)?;
                (builder, base, None, path.display().to_string())
            }
            DaemonAddress::Url { url, token } => (builder, url.clone(), token.clone(), url.to_string()),
        };
        let is_socket = matches!(target, DaemonAddress::Socket(_));
        let http = builder.build();
        let http =
            http.map_err(|error| Trouble::new(format!("no HTTP on this machine: {}", deepest(error))))?;
        Ok(Self { http, base, token, place, is_socket })
    }

    /// Asks for a path below `api/v1/`.
    pub(super) async fn get(&self, path: &str) -> Result<ApiAnswer, Trouble> {
        self.query(path, &[], SOON).await
    }

    /// Asks for a name below such a path. The name may have anything in it.
    pub(super) async fn get_segment(&self, path: &str, name: &str) -> Result<ApiAnswer, Trouble> {
        let mut url = self.url(path)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(name);
        }
        self.call(path, self.http.get(url).timeout(SOON)).await
    }

    /// The same with parameters, and with another limit.
    pub(super) async fn query(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        patience: Duration,
    ) -> Result<ApiAnswer, Trouble> {
        let mut url = self.url(path)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        self.call(path, self.http.get(url).timeout(patience)).await
    }

    /// Steers.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<ApiAnswer, Trouble> {
        let request = self.http.request(Method::POST, self.url(path)?).timeout(patience);
        let request = request.header("content-type", "application/json").body(body.to_string());
        self.call(path, request).await
    }

    /// The stream of events from this one on.
    pub(super) async fn events(
        &self,
        last: Option<&str>,
    ) -> Result<BoxStream<'static, Result<Bytes, Trouble>>, Trouble> {
        let mut request = self.http.get(self.url("events")?);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let sent = tokio::time::timeout(SOON, self.authorized(request).send()).await;
        let answer = sent.map_err(|_| self.away("no answer"))?.map_err(|error| self.away(&deepest(error)))?;
        if !answer.status().is_success() {
            let answer = self.read("events", answer).await?;
            // Too many streams, or a daemon that ends.
            let is_passing = answer.status >= 500;
            return Err(Trouble { is_passing, ..Trouble::new(answer.problem()) });
        }
        let place = self.place.clone();
        let chunks = futures_util::stream::unfold(answer, move |mut answer| {
            let place = place.clone();
            async move {
                let broken =
                    |why: &str| Trouble::passing(format!("the connection to {place} is lost: {why}"));
                let chunk = match tokio::time::timeout(SILENCE, answer.chunk()).await {
                    Ok(Ok(Some(chunk))) => Ok(chunk),
                    Ok(Ok(None)) => return None,
                    Ok(Err(error)) => Err(broken(&deepest(error))),
                    Err(_) => Err(broken(&format!("silence for {} s", SILENCE.as_secs()))),
                };
                Some((chunk, answer))
            }
        });
        Ok(chunks.boxed())
    }

    fn url(&self, path: &str) -> Result<Url, Trouble> {
        self.base.join(&format!("api/v1/{path}")).map_err(Trouble::new)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    async fn call(&self, path: &str, request: RequestBuilder) -> Result<ApiAnswer, Trouble> {
        let answer = self.authorized(request).send().await.map_err(|error| self.away(&deepest(error)))?;
        let answer = self.read(path, answer).await?;
        if answer.status == 404 && answer.body["error"] == NO_ROUTE {
            return Err(self.no_route(path).await);
        }
        Ok(answer)
    }

    /// Reads an answer, and refuses one that is not Gantry's.
    async fn read(&self, path: &str, mut answer: Response) -> Result<ApiAnswer, Trouble> {
        let (status, place) = (answer.status(), &self.place);
        if let Some(to) = answer.headers().get("location").filter(|_| status.is_redirection()) {
            let to = to.to_str().unwrap_or_default().split('?').next().unwrap_or_default();
            let to = to.strip_suffix(&format!("api/v1/{path}")).unwrap_or(to);
            return Err(Trouble::new(format!("{place} sends elsewhere: set {URL}={to}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.away(&deepest(error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                return Err(Trouble::new(format!("{place} answers with more than {MAX_BODY} bytes")));
            }
        }
        let body = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
        let is_error = !status.is_success();
        let is_gantrys =
            |body: &Value| !is_error || body.get("error").is_some() || body.get("services").is_some();
        match (status.as_u16(), body.filter(is_gantrys)) {
            (401, Some(_)) if self.token.is_none() => {
                let words = format!("{place} asks for a token; set {TOKEN} or {TOKEN_FILE}");
                Err(Trouble::new(words))
            }
            (401, Some(_)) => {
                let words = format!(
                    "{place} does not know the token of {TOKEN} or {TOKEN_FILE}; the daemon has its tokens from \
                     GANTRY_HTTP_READ_TOKEN and GANTRY_HTTP_STEER_TOKEN"
                );
                Err(Trouble::new(words))
            }
            (403, Some(body)) if body["error"] == "this token may only read" => {
                let words = format!(
                    "the token of {TOKEN} or {TOKEN_FILE} may only read; steering needs a token of the daemon's \
                     GANTRY_HTTP_STEER_TOKEN"
                );
                Err(Trouble::new(words))
            }
            (status, Some(body)) => Ok(ApiAnswer { status, body }),
            (502..=504, None) => {
                let words = format!("the proxy at {place} answers {status}: is Gantry there, and running?");
                Err(Trouble::passing(words))
            }
            (_, None) => Err(self.not_gantry(&format!("answers {status}"))),
        }
    }

    fn not_gantry(&self, how: &str) -> Trouble {
        Trouble::new(format!(
            "{} {how}, not as Gantry does; {URL} must be the address of GANTRY_HTTP_ADDRESS, with the path that a proxy puts \
             before it",
            self.place
        ))
    }

    fn away(&self, why: &str) -> Trouble {
        let remedy = if self.is_socket {
            "docker logs of this container tells more".to_owned()
        } else {
            format!("check {URL}, and that the daemon has GANTRY_HTTP_ADDRESS")
        };
        Trouble::passing(format!("cannot ask the daemon at {}: {why}; {remedy}", self.place))
    }

    /// Why the daemon does not have a route: steering is off, or it has another version.
    async fn no_route(&self, path: &str) -> Trouble {
        let read = async |path: &str| {
            let request = self.authorized(self.http.get(self.url(path).ok()?).timeout(SOON));
            let answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
            serde_json::from_slice::<Value>(&answer.bytes().await.ok()?).ok()
        };
        let Some(description) = read("openapi.json").await else {
            return self.not_gantry(&format!("has no api/v1/{path}"));
        };
        let route = format!("/api/v1/{}", path.split('/').next().unwrap_or_default());
        let is_route = |known: &String| *known == route || known.starts_with(&format!("{route}/"));
        if description["paths"].as_object().is_some_and(|paths| paths.keys().any(is_route)) {
            return Trouble::new(format!(
                "steering is off at {}; set GANTRY_HTTP_STEER_TOKEN or GANTRY_HTTP_STEER_TOKEN_FILE for the daemon",
                self.place
            ));
        }
        let state = read("state").await.unwrap_or_default();
        let theirs = state["version"].as_str().unwrap_or("another version");
        Trouble::new(format!(
            "the daemon at {} ({theirs}) does not know this command of gantry {}; use the same version: docker exec \
             CONTAINER gantry ...",
            self.place,
            env!("CARGO_PKG_VERSION")
        ))
    }
}

/// The innermost cause, without the address.
fn deepest(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    words::deepest(&error.without_url())
}
