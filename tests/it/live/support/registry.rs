//! A registry, spoken to directly: what `docker` has no command for.

use serde_json::{Value, json};

use super::{Answer, Request};

/// A registry on plain HTTP.
#[derive(Clone)]
pub(crate) struct Registry {
    host: String,
    authorization: Option<String>,
}

/// The type of a manifest of one platform, as `lab image` makes it.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The type of an index.
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let mut digest = "sha256:".to_owned();
    for byte in sha2::Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

impl Registry {
    pub(crate) fn at(host: &str) -> Self {
        Self { host: host.to_owned(), authorization: None }
    }

    /// The same with the value of an `Authorization` header.
    pub(crate) fn authorized(host: &str, authorization: &str) -> Self {
        Self { host: host.to_owned(), authorization: Some(authorization.to_owned()) }
    }

    fn ask(&self, method: &str, path: &str, header: Option<(&str, &str)>, body: &[u8]) -> Answer {
        let authorization = self.authorization.as_deref().map(|value| ("Authorization", value));
        let headers: Vec<(&str, &str)> = header.into_iter().chain(authorization).collect();
        Request { method, path, headers: &headers, body }.to_host(&self.host).unwrap()
    }

    /// Whether it answers at all.
    pub(crate) fn is_answering(&self) -> bool {
        Request { method: "GET", path: "/v2/", ..Request::default() }.to_host(&self.host).is_ok()
    }

    /// A manifest as it is stored.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Vec<u8> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.ask("GET", &path, Some(("Accept", MANIFEST)), &[]).good().body
    }

    /// Stores a manifest or an index under a tag and returns its digest.
    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, kind: &str, manifest: &[u8]) -> String {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.ask("PUT", &path, Some(("Content-Type", kind)), manifest).good();
        answer.header("Docker-Content-Digest").unwrap().to_owned()
    }

    /// Makes an index of images of the same repository, given with their platforms (`linux/amd64`).
    pub(crate) fn put_index(&self, repository: &str, tag: &str, images: &[(&str, &str)]) -> String {
        let listed: Vec<Value> = images
            .iter()
            .map(|(digest, platform)| {
                let (os, architecture) = platform.split_once('/').unwrap();
                let size = self.manifest(repository, digest).len();
                json!({ "mediaType": MANIFEST, "size": size, "digest": digest,
                        "platform": { "os": os, "architecture": architecture } })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        self.put_manifest(repository, tag, INDEX, index.to_string().as_bytes())
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Vec<u8> {
        self.ask("GET", &format!("/v2/{repository}/blobs/{digest}"), None, &[]).good().body
    }

    /// Stores a blob and returns its digest.
    pub(crate) fn put_blob(&self, repository: &str, blob: &[u8]) -> String {
        let digest = sha256(blob);
        let begun = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), None, &[]).good();
        let location = begun.header("Location").unwrap();
        let path = location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]);
        let kind = Some(("Content-Type", "application/octet-stream"));
        self.ask("PUT", &format!("{path}&digest={digest}"), kind, blob).good();
        digest
    }

    /// Takes a blob away, as a registry that was cleaned carelessly has lost it.
    pub(crate) fn lose_blob(&self, repository: &str, digest: &str) {
        self.ask("DELETE", &format!("/v2/{repository}/blobs/{digest}"), None, &[]).good();
    }

    /// Copies an image to another registry or repository, with a change to its configuration that gives it
    /// another digest. Returns that.
    pub(crate) fn copy(
        &self,
        from: &str,
        tag: &str,
        other: &Self,
        to: &str,
        edit: impl FnOnce(&mut Value),
    ) -> String {
        let mut manifest: Value = serde_json::from_slice(&self.manifest(from, tag)).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            other.put_blob(to, &self.blob(from, layer["digest"].as_str().unwrap()));
        }
        let config = self.blob(from, manifest["config"]["digest"].as_str().unwrap());
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        edit(&mut config);
        let config = config.to_string();
        manifest["config"]["digest"] = other.put_blob(to, config.as_bytes()).into();
        manifest["config"]["size"] = config.len().into();
        let kind = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        other.put_manifest(to, tag, &kind, manifest.to_string().as_bytes())
    }
}
