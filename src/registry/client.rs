//! The registry protocol over HTTP, as little of it as an updater needs.
//!
//! In the steady state a tag costs one `HEAD`: how a registry wants to be asked is remembered per host, and
//! tokens until they expire. `GET /v2/` is never asked, and `GET` of a manifest only where `HEAD` leaves the
//! digest open: Docker Hub counts those.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::answer::RegistryAnswer;
use super::auth::Exchange;
use super::call::Call;
use super::clients::Clients;
use super::endpoints::{Endpoint, EndpointRole, endpoints};
use super::failure::{Failure, Reached};
use super::limits::LookupLimits;
use super::manifest::{ManifestKind, accepted, digest_of, is_content_of, platform, read};
use super::outage::{Outage, RequestCost};
use super::retry::Retries;
use super::transport::HttpTransport;
use super::{Credentials, HubRate, Lookup, Manifest, Registry, RegistryError};
use crate::image::{DOCKER_HUB, Digest, ImageRefError};
use crate::meters::RegistryMeter;
use crate::proxy::Proxies;

/// The image by which Docker Hub tells how many pulls are left.
const HUB_RATE_IMAGE: &str = "ratelimitpreview/test:latest";

/// The settings of a [`HttpRegistry`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds on every look-up.
    pub limits: LookupLimits,
    /// The folder with certificates by host, as the engine's `/etc/docker/certs.d`.
    pub certificates: PathBuf,
    /// The URL of Docker Hub's registry.
    pub docker_hub: String,
    /// The proxies of this process.
    pub proxies: Proxies,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: LookupLimits::default(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
            docker_hub: "https://registry-1.docker.io".to_owned(),
            proxies: Proxies::default(),
        }
    }
}

/// Registries, asked over HTTP. One for the whole process: it remembers connections, tokens and manifests.
#[derive(Debug)]
pub struct HttpRegistry {
    docker_hub: String,
    transport: HttpTransport,
    manifests: Mutex<ManifestCache>,
    meter: RegistryMeter,
}

impl HttpRegistry {
    /// What its questions came to.
    pub fn meter(&self) -> &RegistryMeter {
        &self.meter
    }

    /// With the settings of a real machine: `HttpRegistry::new(Settings::default())`.
    pub fn new(settings: Settings) -> Self {
        let clients = Clients::new(&settings.limits, settings.certificates);
        Self {
            docker_hub: settings.docker_hub,
            manifests: Mutex::new(ManifestCache::up_to(
                settings.limits.manifests,
                settings.limits.manifest_bytes,
            )),
            transport: HttpTransport::new(settings.limits, clients, settings.proxies),
            meter: RegistryMeter::default(),
        }
    }

    /// Every registry may name these hosts for tokens and as targets of redirects, at any address: names or addresses,
    /// with a port or for all ports, with `*` for any characters.
    pub fn trusting(self, hosts: Vec<String>) -> Self {
        Self { transport: self.transport.trusting(hosts), ..self }
    }

    fn limits(&self) -> &LookupLimits {
        &self.transport.limits
    }

    /// Asks the registry's mirrors and then the registry itself, within the time for a whole look-up.
    async fn bounded<T, F>(&self, lookup: &Lookup, ask: impl Fn(Call) -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let asking = async {
            let host = lookup.image.registry();
            let insecure = self.transport.dns().insecure_hosts(lookup).await;
            let endpoints = endpoints(host, &lookup.hosts, &self.docker_hub, |host| insecure.contains(host));
            let mut result = Err(Failure::nonsense("it has no address"));
            for endpoint in endpoints {
                let role = endpoint.role;
                let answer = ask(Call::new(endpoint, lookup)).await;
                result = answer.map_err(|failure| failure.told(lookup.credentials.as_deref()));
                match &result {
                    Err(failure) if role == EndpointRole::Mirror => {
                        tracing::debug!(?failure, registry = host, "a mirror has no answer");
                    }
                    _ => break,
                }
            }
            result
        };
        let limit = self.limits().total;
        let result = tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(no_answer(limit)));
        let result = result.map_err(|failure| with_engines_proxy(failure, lookup).into_error(lookup));
        let word = result.as_ref().err().map_or("ok", RegistryError::name);
        self.meter.asked(lookup.image.registry(), word);
        result
    }

    /// Asks one server until it answers, or no attempt is left.
    pub(super) async fn ask(
        &self,
        call: &Call,
        method: &Method,
        path: &str,
        accept: &str,
    ) -> Result<RegistryAnswer, Failure> {
        let cost = RequestCost::of(method);
        let question = Exchange { transport: &self.transport, call, method, path, accept };
        if let Some(failure) = self.outage(call, |outage| outage.current(cost, Instant::now())) {
            return Err(failure);
        }
        let mut retries = Retries::new(self.limits());
        loop {
            let failure = match question.ask().await {
                Ok(answer) => {
                    self.outage(call, |outage| outage.answered(cost));
                    return Ok(answer);
                }
                Err(failure) => failure.told(call.credentials.as_deref()),
            };
            if matches!(failure, Failure::OfHead(_)) {
                self.outage(call, |outage| outage.answered(cost));
                return Err(failure);
            }
            let wait = (failure.is_transient() && call.endpoint.role == EndpointRole::Upstream)
                .then(|| retries.wait(failure.retry_after()))
                .flatten();
            let Some(wait) = wait else {
                self.outage(call, |outage| outage.gave_up(cost, &failure, Instant::now(), self.limits()));
                return Err(failure);
            };
            tracing::debug!(?failure, host = call.endpoint.host, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    /// The digest of a tag: by `HEAD`, and by one `GET` where `HEAD` does not tell it, as the engine does. Some
    /// registries and the proxies before them answer `HEAD` with any error, or not at all.
    async fn digest_at(&self, call: &Call, tag: &str) -> Result<Digest, Failure> {
        let path = format!("{}/manifests/{tag}", call.repository);
        match self.ask(call, &Method::HEAD, &path, &accepted()).await {
            Ok(answer) if answer.status == StatusCode::OK && !answer.is_html() => {
                if let Some(digest) = promised_digest(&answer)? {
                    return Ok(digest);
                }
            }
            Ok(answer) => tracing::debug!(status = %answer.status, path, "HEAD does not tell the digest"),
            Err(Failure::OfHead(failure)) => tracing::debug!(?failure, path, "HEAD fails"),
            Err(failure) => return Err(failure),
        }
        let answer = self.ask(call, &Method::GET, &path, &accepted()).await?;
        let body = manifest_body(&answer)?;
        read(body).map_err(Failure::nonsense)?;
        match promised_digest(&answer)? {
            Some(digest) if is_content_of(body, &digest) => Ok(digest),
            Some(digest) => {
                Err(Failure::nonsense(format!("its manifest is not what its digest {digest} promises")))
            }
            None => digest_of(body).ok_or_else(|| Failure::nonsense("its manifest has no digest")),
        }
    }

    async fn manifest_at(&self, call: &Call, digest: &Digest) -> Result<(Manifest, Complete), Failure> {
        let path = format!("{}/manifests/{digest}", call.repository);
        let answer = self.ask(call, &Method::GET, &path, &accepted()).await?;
        let body = manifest_body(&answer)?;
        let content = read(body);
        // The digest of a manifest with schema version 1 is not that of its text.
        let is_old = content.as_ref().is_err_and(|words| words.contains("schema version 1"));
        if !is_old && !is_content_of(body, digest) {
            return Err(Failure::nonsense(format!("its manifest is not what its digest {digest} promises")));
        }
        let configuration = match content.map_err(Failure::nonsense)? {
            ManifestKind::Index(manifest) => return Ok((manifest, Complete::Yes)),
            ManifestKind::Image { configuration: None } => return Ok((Manifest::default(), Complete::Yes)),
            ManifestKind::Image { configuration: Some(digest) } => digest,
        };
        // The platform of a single image is good to know and no reason to fail.
        let path = format!("{}/blobs/{configuration}", call.repository);
        match self.ask(call, &Method::GET, &path, "*/*").await {
            Ok(answer) if answer.status == StatusCode::OK && is_content_of(&answer.body, &configuration) => {
                let platforms = platform(&answer.body).into_iter().collect();
                Ok((Manifest { platforms, ..Manifest::default() }, Complete::Yes))
            }
            answer => {
                let answer = answer.map(|answer| answer.status);
                tracing::debug!(?answer, "the image's configuration cannot be read");
                Ok((Manifest::default(), Complete::No))
            }
        }
    }

    /// Reads the headers of the image that Docker Hub keeps for this question. Mirrors do not know the answer, and Gantry
    /// does not ask twice.
    async fn hub_rate_of(&self, lookup: &Lookup) -> Result<Option<HubRate>, Failure> {
        let hub = Endpoint::at(&self.docker_hub, EndpointRole::Upstream, |_| false);
        let hub = hub.ok_or_else(|| Failure::nonsense("it has no address"))?;
        let call = Call::new(hub, lookup);
        let path = format!("{}/manifests/latest", call.repository);
        let (transport, accept) = (&self.transport, &accepted());
        let question = Exchange { transport, call: &call, method: &Method::HEAD, path: &path, accept };
        let answer = question.ask().await?;
        if answer.status == StatusCode::OK {
            Ok(HubRate::read(&answer.headers))
        } else {
            Err(unexpected(&answer))
        }
    }

    fn outage<T>(&self, call: &Call, work: impl FnOnce(&mut Outage) -> T) -> T {
        self.transport.memory.account(call, |account| work(&mut account.outage))
    }

    fn remembered(&self) -> MutexGuard<'_, ManifestCache> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for HttpRegistry {
    async fn digest(&self, lookup: &Lookup) -> Result<Digest, RegistryError> {
        let tag = match (lookup.image.tag(), lookup.image.digest()) {
            (None, Some(digest)) => return Ok(digest.clone()),
            (tag, _) => tag.unwrap_or("latest"),
        };
        self.bounded(lookup, |call| async move { self.digest_at(&call, tag).await }).await
    }

    async fn manifest(&self, lookup: &Lookup, digest: &Digest) -> Result<Arc<Manifest>, RegistryError> {
        if let Some(manifest) = self.remembered().get(digest) {
            return Ok(manifest);
        }
        let (manifest, complete) =
            self.bounded(lookup, |call| async move { self.manifest_at(&call, digest).await }).await?;
        let manifest = Arc::new(manifest);
        if complete == Complete::Yes {
            self.remembered().insert(digest, &manifest);
        }
        Ok(manifest)
    }

    async fn has(&self, lookup: &Lookup, digest: &Digest) -> Result<bool, RegistryError> {
        let ask = |call| async move { self.digest_at(&call, digest.as_str()).await };
        match self.bounded(lookup, ask).await {
            Ok(found) => Ok(found == *digest),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn tags(&self, lookup: &Lookup) -> Result<Vec<String>, RegistryError> {
        self.bounded(lookup, |call| async move { self.tags_at(&call).await }).await
    }

    async fn hub_rate(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Option<HubRate>, RegistryError> {
        let image = HUB_RATE_IMAGE.parse().map_err(|error: ImageRefError| RegistryError::Nonsense {
            registry: DOCKER_HUB.to_owned(),
            cause: error.to_string(),
        })?;
        let lookup = Lookup {
            image,
            credentials: credentials.cloned(),
            missing: None,
            hosts: Arc::default(),
            insecure: false,
        };
        let limit = self.limits().hub_rate;
        let answer = tokio::time::timeout(limit, self.hub_rate_of(&lookup)).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer(limit)));
        answer.map_err(|failure| failure.told(lookup.credentials.as_deref()).into_error(&lookup))
    }
}

/// Whether a manifest is known completely; only then it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complete {
    Yes,
    No,
}

/// The digest that an answer's header gives, where there is one.
fn promised_digest(answer: &RegistryAnswer) -> Result<Option<Digest>, Failure> {
    let header = answer.header("docker-content-digest").map(str::trim).filter(|text| !text.is_empty());
    let parsed = header.map(str::parse::<Digest>).transpose();
    parsed.map_err(|error| {
        let is_quoted = !answer.is_foreign;
        let told = is_quoted.then(|| error.to_string());
        Failure::nonsense(told.unwrap_or_else(|| "its Docker-Content-Digest is not a digest".to_owned()))
    })
}

/// The body of an answer that should be a manifest.
fn manifest_body(answer: &RegistryAnswer) -> Result<&[u8], Failure> {
    match answer.status {
        StatusCode::OK if answer.is_html() => Err(web_page()),
        StatusCode::OK => Ok(&answer.body),
        _ => Err(unexpected(answer)),
    }
}

fn no_answer(limit: Duration) -> Failure {
    Failure::unreachable(Reached::Silence, format!("no answer within {limit:?}"))
}

fn web_page() -> Failure {
    Failure::nonsense("it sends a web page (text/html) where a manifest should be")
}

/// An answer with a status that does not fit the question.
pub(super) fn unexpected(answer: &RegistryAnswer) -> Failure {
    match answer.status {
        StatusCode::NOT_FOUND => Failure::NotFound,
        _ => Failure::nonsense(answer.explained()),
    }
}

/// The manifests of digests, within bounds: the oldest is dropped first.
#[derive(Debug)]
struct ManifestCache {
    /// The most manifests, and the most bytes that they take together.
    most: (usize, usize),
    bytes: usize,
    manifests: HashMap<Digest, Arc<Manifest>>,
    order: VecDeque<Digest>,
}

impl ManifestCache {
    fn up_to(manifests: usize, bytes: usize) -> Self {
        Self { most: (manifests, bytes), bytes: 0, manifests: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.manifests.get(digest).map(Arc::clone)
    }

    /// A known manifest stays as it is: the same digest means the same content.
    fn insert(&mut self, digest: &Digest, manifest: &Arc<Manifest>) {
        if self.manifests.contains_key(digest) {
            return;
        }
        self.bytes += size(digest, manifest);
        self.manifests.insert(digest.clone(), Arc::clone(manifest));
        self.order.push_back(digest.clone());
        while self.order.len() > self.most.0 || self.bytes > self.most.1 {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(manifest) = self.manifests.remove(&oldest) {
                self.bytes -= size(&oldest, &manifest);
            }
        }
    }
}

/// How many bytes it takes to remember a manifest, with what maps and the allocator need.
fn size(digest: &Digest, manifest: &Manifest) -> usize {
    const OVERHEAD: usize = 32;
    let text = |text: &str| size_of::<String>() + text.len() + OVERHEAD;
    let children = manifest.children.iter().map(|child| text(child.as_str()));
    let platforms = manifest.platforms.iter().map(|it| text(&it.os) + text(&it.architecture));
    2 * text(digest.as_str()) + size_of::<Manifest>() + children.chain(platforms).sum::<usize>()
}

/// Adds to the failure of a registry that cannot be reached directly that the engine uses a proxy for it.
fn with_engines_proxy(mut failure: Failure, lookup: &Lookup) -> Failure {
    let proxy_of = |scheme: &str| {
        let url = Url::parse(&format!("{scheme}://{}/", lookup.image.registry())).ok()?;
        lookup.hosts.proxies.of(&url)
    };
    if let Failure::Unreachable { cause, reached, proxy: None, .. } = &mut failure
        && *reached != Reached::Server
        && let Some(proxy) = proxy_of("https").or_else(|| proxy_of("http"))
    {
        let _ = write!(
            cause,
            "; the engine goes {proxy} here and Gantry does not: set {} and NO_PROXY for Gantry as for the engine",
            proxy.variable()
        );
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Platform;

    #[test]
    fn only_so_many_manifests_are_remembered() {
        let digests: Vec<Digest> = (0..5).filter_map(|n: u8| digest_of(&[n])).collect();
        let mut remembered = ManifestCache::up_to(3, usize::MAX);
        for digest in digests.iter().chain(&digests[4..]) {
            remembered.insert(digest, &Arc::default());
        }
        let known: Vec<bool> = digests.iter().map(|digest| remembered.get(digest).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
        assert_eq!(remembered.manifests.len(), 3);
    }

    #[test]
    fn ninety_huge_indexes_are_remembered_within_their_bound() {
        let limits = LookupLimits::default();
        let mut remembered = ManifestCache::up_to(limits.manifests, limits.manifest_bytes);
        for tag in 0..90 {
            let children = (0..1000).filter_map(|child| digest_of(format!("{tag} {child}").as_bytes()));
            let name = |n| format!("{n:064}");
            let platforms = (0..100).map(|n| Platform { os: name(n), architecture: name(n) });
            let manifest = Manifest { children: children.collect(), platforms: platforms.collect() };
            remembered.insert(&digest_of(&[tag]).unwrap(), &Arc::new(manifest));
            let taken: usize =
                remembered.manifests.iter().map(|(digest, manifest)| size(digest, manifest)).sum();
            assert_eq!(taken, remembered.bytes);
            assert!(taken <= 8 << 20, "{taken}");
        }
        assert!(remembered.manifests.len() > 50, "{}", remembered.manifests.len());
        assert!(remembered.get(&digest_of(&[89]).unwrap()).is_some());
        let known = remembered.manifests.keys().chain(&remembered.order).count();
        assert_eq!(known, 2 * remembered.manifests.len());
    }
}
