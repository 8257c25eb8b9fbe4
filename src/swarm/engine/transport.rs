//! Raw calls through bollard.
//!
//! bollard brings the transports (unix, tcp, TLS) and the mapping of errors. Its typed calls are not
//! used: they lose fields of specifications, fail on values they do not know, encode registry
//! credentials in the wrong alphabet and log bodies. Its `export_image` is the one call that returns a
//! body as it comes, and a request modifier can turn it into any other request; see [`Transport::open`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use http_body_util::{Either, Full};

use crate::config::EngineAddress;
use crate::secret::Secret;
use crate::swarm::SwarmError;
use crate::words::without_markup;

/// Longest wait for an answer's headers, seconds. A leader election takes up to ten.
const HEADER_TIMEOUT_SECONDS: u64 = 30;

/// Longest time for a whole answer. 10,000 services are about 7 MB.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read. 10,000 tasks are about 12 MB.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: Method,
    path: String,
    body: Bytes,
    auth: Option<Secret>,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>, json: &str) -> Self {
        Self { body: Bytes::copy_from_slice(json.as_bytes()), ..Self::new(Method::POST, path) }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: Bytes::new(), auth: None }
    }

    pub(super) fn with_auth(mut self, auth: Option<&Secret>) -> Self {
        self.auth = auth.cloned();
        self
    }
}

/// A way to one engine. Connections are made per request, so an engine that comes back is found again.
pub(super) struct Transport {
    address: EngineAddress,
    docker: Mutex<Option<Docker>>,
}

impl Transport {
    pub(super) fn new(address: EngineAddress) -> Self {
        Self { address, docker: Mutex::new(None) }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn call(&self, request: Request) -> Result<Bytes, SwarmError> {
        let what = format!("{} {}", request.method, path_only(&request.path));
        let read = async {
            let mut chunks = std::pin::pin!(self.open(request)?);
            let mut answer = BytesMut::new();
            while let Some(chunk) = chunks.next().await {
                answer.extend_from_slice(&chunk?);
                if answer.len() > MAX_ANSWER_BYTES {
                    return Err(SwarmError::Unreadable(format!("more than {MAX_ANSWER_BYTES} bytes")));
                }
            }
            Ok(answer.freeze())
        };
        tokio::time::timeout(ANSWER_TIMEOUT, read).await.unwrap_or_else(|_| {
            Err(SwarmError::Unavailable(format!("no answer to {what} in {} s", ANSWER_TIMEOUT.as_secs())))
        })
    }

    /// Sends a request and returns its answer as it comes.
    pub(super) fn open(
        &self,
        request: Request,
    ) -> Result<impl Stream<Item = Result<Bytes, SwarmError>> + Send + use<>, SwarmError> {
        let path = PathAndQuery::try_from(request.path.as_str())
            .map_err(|error| SwarmError::Refused(format!("{error} in {:?}", request.path)))?;
        let auth = request
            .auth
            .as_ref()
            .map(|auth| HeaderValue::from_str(auth.reveal()))
            .transpose()
            .map_err(|_| SwarmError::Refused("the credentials make no header".to_owned()))?;
        let docker = self.docker()?.with_request_modifier(move |mut raw| {
            let mut uri = raw.uri().clone().into_parts();
            // No version prefix: the engine then speaks its newest API and strips no field.
            uri.path_and_query = Some(path.clone());
            if let Ok(uri) = Uri::from_parts(uri) {
                *raw.uri_mut() = uri;
            }
            raw.method_mut().clone_from(&request.method);
            if let Some(auth) = auth.clone() {
                raw.headers_mut().insert("X-Registry-Auth", auth);
            }
            *raw.body_mut() = Either::Left(Full::new(request.body.clone()));
            raw
        });
        let chunks = docker.export_image("-");
        let address = self.address.to_string();
        Ok(chunks.map(move |chunk| chunk.map_err(|error| translate(&error, &address))))
    }

    fn docker(&self) -> Result<Docker, SwarmError> {
        let mut known = self.docker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(docker) = known.as_ref() {
            return Ok(docker.clone());
        }
        let docker = connect(&self.address)
            .map_err(|error| SwarmError::Unavailable(format!("{}: {error}", self.address)))?;
        Ok(known.insert(docker).clone())
    }
}

fn connect(address: &EngineAddress) -> Result<Docker, bollard::errors::Error> {
    let version = bollard::API_DEFAULT_VERSION;
    match address {
        EngineAddress::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), HEADER_TIMEOUT_SECONDS, version)
        }
        EngineAddress::Tcp { host, tls: None } => {
            Docker::connect_with_http(host, HEADER_TIMEOUT_SECONDS, version)
        }
        EngineAddress::Tcp { host, tls: Some(folder) } => Docker::connect_with_ssl(
            host,
            &folder.join("key.pem"),
            &folder.join("cert.pem"),
            &folder.join("ca.pem"),
            HEADER_TIMEOUT_SECONDS,
            version,
        ),
    }
}

fn path_only(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// What the engine's statuses and texts mean. The texts are swarmkit's and moby's; the live tests hold
/// them against a real engine.
fn translate(error: &bollard::errors::Error, address: &str) -> SwarmError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            // A socket proxy answers in pages of its own.
            let message = without_markup(message.trim());
            match *status_code {
                // The engine answers 500, as it does to everything that it has no word for.
                500 if message.contains("out of sequence") => SwarmError::Conflict,
                404 => SwarmError::NotFound(message),
                // swarmkit's words for services, and for everything else.
                409 if message.contains("AlreadyExists") => SwarmError::NameTaken(message),
                // What a socket proxy or an authorization plugin answers to what it does not let through.
                401 | 403 | 405 => SwarmError::Forbidden(message),
                400 | 406 | 409 | 501 => SwarmError::Refused(message),
                503 if message.contains("not a swarm manager") => SwarmError::NotManager(message),
                status => SwarmError::Unavailable(format!("{message} (status {status})")),
            }
        }
        other => SwarmError::Unavailable(format!("{address}: {}", deepest(other))),
    }
}

/// The innermost cause; those around it only say which of our libraries met it.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(inner) = deepest.source() {
        deepest = inner;
    }
    deepest.to_string()
}
