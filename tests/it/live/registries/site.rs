//! Small registries with one real image, for the table of [`super`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::http::{Answer, Request};
use crate::support::sha256;

pub(super) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The account that a row's client is logged in with.
pub(super) const ACCOUNT: &str = "me:secret";

/// An image that an engine can pull: one layer with nothing in it.
#[derive(Clone, Debug)]
pub(super) struct Content {
    layer: Vec<u8>,
    config: String,
    /// The image's own manifest.
    pub(super) manifest: String,
    pub(super) media_type: &'static str,
    /// What the tag is, where that is an index.
    pub(super) index: Option<(String, &'static str)>,
}

impl Content {
    /// An image that no other row has.
    pub(super) fn of(row: &str, media_type: &'static str, index: Option<&'static str>) -> Self {
        // The end of an archive of no files.
        let layer = vec![0; 1024];
        let layer_digest = sha256(&layer);
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","author":"{row}","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
        );
        let (config_type, layer_type) = if media_type == OCI_MANIFEST {
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
        } else {
            (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"{config_type}","size":{},"digest":"{}"}},"layers":[{{"mediaType":"{layer_type}","size":{},"digest":"{layer_digest}"}}]}}"#,
            config.len(),
            sha256(&config),
            layer.len(),
        );
        let index = index.map(|index_type| {
            let (size, digest) = (manifest.len(), sha256(&manifest));
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{index_type}","manifests":[{{"mediaType":"{media_type}","size":{size},"digest":"{digest}","platform":{{"architecture":"{architecture}","os":"linux"}}}},{{"mediaType":"{media_type}","size":{size},"digest":"sha256:{}","platform":{{"architecture":"unknown","os":"unknown"}},"annotations":{{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"{digest}"}}}}]}}"#,
                "0".repeat(64),
            );
            (text, index_type)
        });
        Self { layer, config, manifest, media_type, index }
    }

    /// What a good registry answers.
    pub(super) fn good(&self, request: &Request) -> Answer {
        let Some((_, reference)) = request.path.rsplit_once('/') else { return Answer::new(404, "") };
        if request.path == "/v2/" {
            return Answer::json(200, "{}");
        }
        if request.path.contains("/blobs/") {
            let blobs = [self.layer.clone(), self.config.clone().into_bytes()];
            let blob = blobs.into_iter().find(|blob| sha256(blob).as_str() == reference);
            return blob.map_or(Answer::new(404, ""), |blob| {
                Answer::new(200, blob).with("content-type", "application/octet-stream")
            });
        }
        let (tagged, tagged_type) = self.tagged();
        let (body, media_type) = match reference {
            "1" => (tagged, tagged_type),
            digest if digest == sha256(tagged).as_str() => (tagged, tagged_type),
            digest if digest == sha256(&self.manifest).as_str() => (self.manifest.as_str(), self.media_type),
            _ => {
                return Answer::json(
                    404,
                    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                );
            }
        };
        let digest = sha256(body);
        Answer::new(200, body.to_owned())
            .with("content-type", media_type)
            .with("docker-content-digest", digest.as_str())
    }

    /// The manifest or index that the tag stands for.
    pub(super) fn tagged(&self) -> (&str, &'static str) {
        match &self.index {
            Some((index, media_type)) => (index, media_type),
            None => (&self.manifest, self.media_type),
        }
    }

    /// The digest that everybody should find.
    pub(super) fn digest(&self) -> String {
        sha256(self.tagged().0).to_string()
    }
}

/// Which of a row's servers is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The registry in the image's name.
    Registry,
    /// Another host that it may send its clients to.
    Other,
    /// A token server.
    Tokens,
}

/// A row's servers.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) content: Content,
    /// `http://host:port` of the two beside the registry.
    pub(super) other: String,
    pub(super) tokens: String,
}

impl Site {
    pub(super) fn good(&self, request: &Request) -> Answer {
        self.content.good(request)
    }

    /// `Bearer` with this row's token server.
    pub(super) fn bearer(&self) -> String {
        format!(r#"Bearer realm="{}/token",service="lab",scope="repository:app:pull""#, self.tokens)
    }

    /// The good answer to a request that says this, the others are challenged.
    pub(super) fn to(&self, authorization: &str, request: &Request, challenges: &[&str]) -> Answer {
        if request.header("authorization") == authorization {
            return self.good(request);
        }
        let refusal =
            Answer::json(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#);
        challenges.iter().fold(refusal, |answer, challenge| answer.with("www-authenticate", challenge))
    }
}

/// The same path at another address.
pub(super) fn on_to(status: u16, base: &str, request: &Request) -> Answer {
    Answer::new(status, "").with("location", &format!("{base}{}", request.path))
}

/// `Basic` with the account of the row's client.
pub(super) fn basic() -> String {
    format!("Basic {}", STANDARD.encode(ACCOUNT))
}
