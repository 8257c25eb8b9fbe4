//! A registry whose tags can be moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry::image::{Digest, ImageRef};
use gantry::registry::{Credentials, HubRate, Lookup, Manifest, Platform, Registry, RegistryError};
use tokio::time::sleep;

/// All registries there are, in memory. Clones are the same.
#[derive(Clone, Default)]
pub struct FakeRegistry(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By `registry/repository:tag`.
    tags: BTreeMap<String, Digest>,
    manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// Digests with which a tag's servers answer by turns, the next one first.
    by_turns: BTreeMap<String, Vec<Digest>>,
    /// By the same name; the number of times, where it is bounded.
    errors: BTreeMap<String, (Option<usize>, RegistryError)>,
    hanging: Vec<String>,
    latency: Duration,
    lookups: Vec<Lookup>,
    /// The digests that tags had before.
    pushed: BTreeSet<Digest>,
    /// The digests that were asked for by themselves.
    digest_questions: Vec<Digest>,
    /// The look-ups whose repositories were listed.
    lists: Vec<Lookup>,
    manifest_requests: usize,
    at_work: usize,
    most_at_work: usize,
    /// What Docker Hub says of its rate, the next one last.
    hub_rates: Vec<HubRate>,
    hub_questions: Vec<Option<Arc<Credentials>>>,
}

/// How long a look-up of a registry that does not answer takes to give up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(60);

impl FakeRegistry {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a tag to a digest. An image of one platform, unless more is said of the digest.
    pub fn push(&self, tagged: &str, digest: &Digest) {
        let mut state = self.state();
        state.tags.insert(key(tagged), digest.clone());
        state.pushed.insert(digest.clone());
    }

    /// Removes a digest that no tag has.
    pub fn remove(&self, digest: &Digest) {
        self.state().pushed.remove(digest);
    }

    /// How often digests were asked for by themselves.
    pub fn digest_questions(&self) -> usize {
        self.state().digest_questions.len()
    }

    /// Moves a tag to the digest of [`super::digest`]`(name)` and returns the pinned reference.
    pub fn release(&self, tagged: &str, name: &str) -> String {
        self.push(tagged, &super::digest(name));
        super::pinned(tagged, name)
    }

    /// Each look-up of this tag is answered by the next of several servers, which know these digests; none: by one again.
    pub fn answer_alternately(&self, tagged: &str, names: &[&str]) {
        let digests = names.iter().map(|name| super::digest(name)).collect();
        self.state().by_turns.insert(key(tagged), digests);
    }

    /// What stands behind a digest: children of an index, and platforms as `os/architecture`.
    pub fn set_manifest(&self, digest: &Digest, children: &[Digest], platforms: &[&str]) {
        let platforms = platforms.iter().filter_map(|platform| platform.split_once('/'));
        let platforms = platforms
            .map(|(os, architecture)| Platform { os: os.to_owned(), architecture: architecture.to_owned() });
        let manifest =
            Manifest { children: children.iter().cloned().collect(), platforms: platforms.collect() };
        self.state().manifests.insert(digest.clone(), Arc::new(manifest));
    }

    /// Takes a tag away.
    pub fn forget(&self, tagged: &str) {
        self.state().tags.remove(&key(tagged));
    }

    /// Every look-up of this tag fails, until [`Self::heal`].
    pub fn fail(&self, tagged: &str, error: RegistryError) {
        self.state().errors.insert(key(tagged), (None, error));
    }

    /// The next so many look-ups of this tag fail.
    pub fn fail_next(&self, tagged: &str, times: usize, error: RegistryError) {
        self.state().errors.insert(key(tagged), (Some(times), error));
    }

    /// Look-ups of this tag get no answer, until [`Self::heal`].
    pub fn hang(&self, tagged: &str) {
        self.state().hanging.push(key(tagged));
    }

    /// This tag can be looked up again.
    pub fn heal(&self, tagged: &str) {
        let key = key(tagged);
        let mut state = self.state();
        state.errors.remove(&key);
        state.hanging.retain(|hanging| *hanging != key);
    }

    /// How long each look-up takes.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// All look-ups of digests so far.
    pub fn lookups(&self) -> Vec<Lookup> {
        self.state().lookups.clone()
    }

    /// Forgets the look-ups so far.
    pub fn clear_log(&self) {
        let mut state = self.state();
        state.lookups.clear();
        state.lists.clear();
    }

    /// How often this tag was looked up.
    pub fn lookups_of(&self, tagged: &str) -> usize {
        let wanted = key(tagged);
        self.state().lookups.iter().filter(|lookup| key(&lookup.image.tagged()) == wanted).count()
    }

    /// The look-ups whose repositories were listed, as `registry/repository`.
    pub fn lists(&self) -> Vec<String> {
        let name = |lookup: &Lookup| format!("{}/{}", lookup.image.registry(), lookup.image.repository());
        self.state().lists.iter().map(name).collect()
    }

    /// How often a manifest was asked for.
    pub fn manifest_requests(&self) -> usize {
        self.state().manifest_requests
    }

    /// The largest number of requests at the same time.
    pub fn most_at_work(&self) -> usize {
        self.state().most_at_work
    }

    /// What Docker Hub says of its rate: these one after the other, the last for ever.
    pub fn set_hub_rates(&self, rates: &[HubRate]) {
        self.state().hub_rates = rates.iter().rev().cloned().collect();
    }

    /// In whose names Docker Hub was asked for its rate.
    pub fn hub_questions(&self) -> Vec<Option<Arc<Credentials>>> {
        self.state().hub_questions.clone()
    }

    async fn work(&self, key: &str) -> Result<(), RegistryError> {
        let (latency, is_hanging) = {
            let mut state = self.state();
            state.at_work += 1;
            state.most_at_work = state.most_at_work.max(state.at_work);
            (state.latency, state.hanging.iter().any(|hanging| hanging == key))
        };
        let _done = AtWork(self);
        sleep(latency).await;
        if is_hanging {
            sleep(LOOKUP_TIMEOUT).await;
            let cause = format!("no answer in {} s", LOOKUP_TIMEOUT.as_secs());
            return Err(RegistryError::Unreachable { registry: host(key), proxy: None, cause });
        }
        let mut state = self.state();
        let Some((left, error)) = state.errors.get_mut(key) else { return Ok(()) };
        match left {
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
            None => {}
        }
        Err(error.clone())
    }
}

/// Counts a request out, also one that is given up.
struct AtWork<'a>(&'a FakeRegistry);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.state().at_work -= 1;
    }
}

/// One name for all ways to write a tag.
fn key(tagged: &str) -> String {
    let image: ImageRef = tagged.parse().expect("an image reference");
    format!("{}/{}:{}", image.registry(), image.repository(), image.tag().unwrap_or_default())
}

fn host(key: &str) -> String {
    key.split('/').next().unwrap_or_default().to_owned()
}

impl Registry for FakeRegistry {
    async fn digest(&self, lookup: &Lookup) -> Result<Digest, RegistryError> {
        let name = lookup.image.tagged();
        let key = key(&name);
        self.state().lookups.push(lookup.clone());
        self.work(&key).await?;
        if let Some(digests) = self.state().by_turns.get_mut(&key).filter(|digests| !digests.is_empty()) {
            digests.rotate_left(1);
            return Ok(digests[digests.len() - 1].clone());
        }
        let found = self.state().tags.get(&key).cloned();
        found.ok_or_else(|| RegistryError::NotFound { image: name, registry: host(&key) })
    }

    async fn manifest(&self, lookup: &Lookup, digest: &Digest) -> Result<Arc<Manifest>, RegistryError> {
        let name = lookup.image.tagged();
        self.state().manifest_requests += 1;
        self.work(&key(&name)).await?;
        let state = self.state();
        if let Some(manifest) = state.manifests.get(digest) {
            return Ok(manifest.clone());
        }
        if state
            .tags
            .values()
            .chain(&state.pushed)
            .chain(state.by_turns.values().flatten())
            .any(|known| known == digest)
        {
            let amd64 = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned() };
            return Ok(Arc::new(Manifest { children: BTreeSet::new(), platforms: vec![amd64] }));
        }
        Err(RegistryError::NotFound { image: name.clone(), registry: host(&key(&name)) })
    }

    async fn has(&self, lookup: &Lookup, digest: &Digest) -> Result<bool, RegistryError> {
        let name = lookup.image.tagged();
        self.state().digest_questions.push(digest.clone());
        self.work(&key(&name)).await?;
        let state = self.state();
        Ok(state.pushed.contains(digest) || state.tags.values().any(|known| known == digest))
    }

    async fn tags(&self, lookup: &Lookup) -> Result<Vec<String>, RegistryError> {
        let repository = format!("{}/{}:", lookup.image.registry(), lookup.image.repository());
        self.state().lists.push(lookup.clone());
        // A failure of the list is that of a tag with a name of its own.
        self.work(&format!("{repository}tags")).await?;
        let state = self.state();
        let tags = state.tags.keys().filter_map(|key| key.strip_prefix(&repository));
        Ok(tags.map(str::to_owned).collect())
    }

    async fn hub_rate(
        &self,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Option<HubRate>, RegistryError> {
        let mut state = self.state();
        state.hub_questions.push(credentials.cloned());
        let is_last = state.hub_rates.len() == 1;
        Ok(if is_last { state.hub_rates.last().cloned() } else { state.hub_rates.pop() })
    }
}
