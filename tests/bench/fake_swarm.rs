//! A swarm and a registry in a process of their own, so that the measured one shares nothing with them. The swarm is the
//! tests' fake: its tasks start, and its updates converge, in real time.
//!
//! It prints the registry's address, and then answers each line of its input with one line.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fake::{Call, FakeSwarm, Front};
use crate::no_change::spec;
use crate::server::{Answer, serve_tcp};

/// What the process that measures says.
pub(crate) const PUSH: &str = "push";
/// The same.
pub(crate) const COUNT: &str = "count";

/// An image: the digests that its tag has stood at, the present one last, and what that one stands for.
struct Tag {
    digests: Vec<String>,
    index: Bytes,
}

impl Tag {
    fn push(&mut self, version: usize) {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{version:064x}"), "size": 1234,
                "platform": { "architecture": "amd64", "os": "linux" },
            }],
        });
        self.index = Bytes::from(index.to_string());
        let mut hex = String::new();
        for byte in Sha256::digest(&self.index) {
            let _ = write!(hex, "{byte:02x}");
        }
        self.digests.push(format!("sha256:{hex}"));
    }
}

/// Everything that is pushed, by the number of the image.
#[derive(Clone)]
struct Tags(Arc<Mutex<Vec<Tag>>>);

/// Serves until its input ends.
#[expect(clippy::print_stdout, reason = "its answers")]
pub(crate) fn serve(socket: &Path, services: usize, images: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let tags = Tags::new(images);
    let (registry, _) = runtime.block_on(serve_tcp(tags.answer()));
    let swarm = FakeSwarm::with_nodes(3).in_our_time();
    for index in 0..services {
        let image = format!("{registry}/image-{}:stable@{}", index % images, tags.newest(index % images));
        swarm.new_service("").edit(|whole| *whole = spec(index, &image)).create();
    }
    let _front = Front::unix(&swarm, socket);
    println!("{registry}");
    // The same images in each run (xorshift64).
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for (number, line) in std::io::stdin().lock().lines().map_while(Result::ok).enumerate() {
        match line.as_str() {
            PUSH => {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let image = usize::try_from(random >> 11).unwrap() % images;
                tags.push(image, images + number);
                println!("{image}");
            }
            COUNT => println!("{}", tags.count(&swarm, services)),
            line => panic!("{line}"),
        }
    }
}

impl Tags {
    fn new(images: usize) -> Self {
        let mut tags: Vec<Tag> =
            (0..images).map(|_| Tag { digests: Vec::new(), index: Bytes::new() }).collect();
        tags.iter_mut().enumerate().for_each(|(number, tag)| tag.push(number));
        Self(Arc::new(Mutex::new(tags)))
    }

    fn push(&self, image: usize, version: usize) {
        self.0.lock().unwrap()[image].push(version);
    }

    fn newest(&self, image: usize) -> String {
        self.0.lock().unwrap()[image].digests.last().unwrap().clone()
    }

    /// What the registry answers: each tag and each newest digest, whole or its headers only.
    fn answer(&self) -> Answer {
        let tags = self.clone();
        Arc::new(move |request| {
            let name = request.uri().path().strip_prefix("/v2/image-");
            let number = name.and_then(|name| name.split_once('/')?.0.parse::<usize>().ok());
            let tags = tags.0.lock().unwrap();
            let Some(tag) = number.and_then(|number| tags.get(number)) else {
                return Response::builder().status(404).body(Full::default()).unwrap();
            };
            let body = if request.method() == Method::GET { tag.index.clone() } else { Bytes::new() };
            Response::builder()
                .header("Docker-Content-Digest", tag.digests.last().unwrap())
                .header("Content-Type", "application/vnd.oci.image.index.v1+json")
                .body(Full::new(body))
                .unwrap()
        })
    }

    /// The requests so far by their kind, the updates that were taken, and how the tags and services stand.
    fn count(&self, swarm: &FakeSwarm, services: usize) -> Value {
        let mut requests: BTreeMap<String, usize> = BTreeMap::new();
        for (_, call) in swarm.call_log().into_iter().filter(|(_, call)| *call != Call::Changes) {
            *requests.entry(format!("{call:?}")).or_default() += 1;
        }
        let asked = swarm.update_log();
        let taken = asked.iter().filter(|asked| asked.answer.is_ok());
        let (back, updates): (Vec<_>, Vec<_>) = taken.partition(|asked| asked.is_rollback);
        let mut sent: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for asked in &updates {
            let digest = asked.image().rsplit_once('@').unwrap().1;
            sent.entry(digest).or_default().insert(&asked.service);
        }
        let tags = self.0.lock().unwrap();
        let images = tags.len();
        let reached = |digest: &String| sent.get(digest.as_str()).map_or(0, HashSet::len);
        let replaced = tags.iter().flat_map(|tag| tag.digests.iter().skip(1).rev().skip(1));
        let replaced: Vec<usize> = replaced.map(reached).collect();
        let is_newest = |index: &usize| {
            let running = swarm.running_images(&format!("site-{index}"));
            running.len() == 1 && running[0].ends_with(tags[index % images].digests.last().unwrap())
        };
        json!({
            "requests": requests,
            "updates": updates.len(),
            "rollbacks": back.len(),
            "replaced": replaced.len(),
            "overtaken": replaced.iter().filter(|reached| **reached < services / images).count(),
            "newest": (0..services).filter(is_newest).count(),
        })
    }
}
