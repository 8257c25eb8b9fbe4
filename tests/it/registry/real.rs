//! The registry client against a real registry (Debian's `docker-registry`), as users run it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;

use super::*;

/// `htpasswd -Bbn jürgen '~?>/+:ß'`
const HTPASSWD: &str = "jürgen:$2b$05$c8gl8KepGzLWPKzTc3H.0eycbCqALsjPcFjVzuBsLliPUsnSGlQC2\n";

/// A registry process of our own, with its data in a folder that goes with it.
struct RealRegistry {
    process: Child,
    authority: String,
    _folder: tempfile::TempDir,
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl RealRegistry {
    async fn start(htpasswd: Option<&str>) -> Self {
        // Between the look for a free port and the registry's own start, somebody else may take it.
        for _ in 0..5 {
            if let Some(registry) = Self::start_once(htpasswd).await {
                return registry;
            }
        }
        panic!("five registries in a row have ended at once");
    }

    /// `None`: it has ended, and whoever may answer there is somebody else.
    async fn start_once(htpasswd: Option<&str>) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let authority = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        std::fs::write(&config, configuration(folder.path(), &authority, htpasswd)).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed by `make test`");
        let mut registry = Self { process, authority, _folder: folder };
        for _ in 0..100 {
            let is_answering = tokio::net::TcpStream::connect(&registry.authority).await.is_ok();
            if registry.process.try_wait().unwrap().is_some() {
                return None;
            }
            if is_answering {
                return Some(registry);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the registry does not start");
    }

    /// Sends one request; the answer's status and headers.
    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{response:?}");
        response
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        gantry::tls::install_crypto_provider();
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.authority)
        };
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .request(method, url)
            .basic_auth("jürgen", Some("~?>/+:ß"))
    }

    async fn push_blob(&self, body: &'static str) -> Digest {
        let started = self.send(self.request(reqwest::Method::POST, "/v2/team/app/blobs/uploads/")).await;
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let digest = sha256(body);
        let url = format!("{location}&digest={digest}");
        self.send(self.request(reqwest::Method::PUT, &url).body(Bytes::from_static(body.as_bytes()))).await;
        digest
    }

    async fn push_manifest(&self, reference: &str, kind: &str, body: String) -> Digest {
        let path = format!("/v2/team/app/manifests/{reference}");
        let digest = sha256(&body);
        self.send(self.request(reqwest::Method::PUT, &path).header("content-type", kind).body(body)).await;
        digest
    }

    /// Pushes an image for one platform and an index that lists it; the digests of both.
    async fn push(&self) -> (Digest, Digest) {
        let (configuration, layer) = (r#"{"os":"linux","architecture":"riscv64"}"#, "layer");
        let config = self.push_blob(configuration).await;
        let layer_digest = self.push_blob(layer).await;
        let image_type = "application/vnd.docker.distribution.manifest.v2+json";
        let image = format!(
            r#"{{"schemaVersion":2,"mediaType":"{image_type}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{config}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{layer_digest}","size":{}}}]}}"#,
            configuration.len(),
            layer.len()
        );
        let size = image.len();
        let image = self.push_manifest("single", image_type, image).await;
        let index_type = "application/vnd.docker.distribution.manifest.list.v2+json";
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{index_type}","manifests":[{{"mediaType":"{image_type}","digest":"{image}","size":{size},
            "platform":{{"os":"linux","architecture":"riscv64"}}}}]}}"#
        );
        let index = self.push_manifest("multi", index_type, index).await;
        (image, index)
    }

    fn lookup(&self, image: &str, credentials: Option<Arc<Credentials>>) -> Lookup {
        Lookup { credentials, ..lookup_of(&format!("{}/team/{image}", self.authority)) }
    }
}

fn configuration(folder: &Path, authority: &str, htpasswd: Option<&str>) -> String {
    let authentication = htpasswd.map_or_else(String::new, |htpasswd| {
        let file = folder.join("htpasswd");
        std::fs::write(&file, htpasswd).unwrap();
        format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
    });
    let data = folder.join("data");
    format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {authority}\n{authentication}",
        data.display()
    )
}

async fn assert_everything_is_found(registry: &RealRegistry, credentials: Option<Arc<Credentials>>) {
    let (image, index) = registry.push().await;
    let client = super::registry();
    for (name, digest) in [("app:single", &image), ("app:multi", &index)] {
        let lookup = registry.lookup(name, credentials.clone());
        assert_eq!(client.digest(&lookup).await.as_ref(), Ok(digest), "{name}");
        let manifest = client.manifest(&lookup, digest).await.unwrap();
        assert_eq!(manifest.platforms.len(), 1, "{name}");
        assert_eq!(manifest.platforms[0].architecture, "riscv64", "{name}");
        let children: BTreeSet<Digest> = (digest == &index).then(|| image.clone()).into_iter().collect();
        assert_eq!(manifest.children, children, "{name}");
    }
    for unknown in ["app:gone", "nothing:gone"] {
        let error = client.digest(&registry.lookup(unknown, credentials.clone())).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_real_open_registry_tells_digests_children_and_platforms() {
    let registry = RealRegistry::start(None).await;
    assert_everything_is_found(&registry, None).await;
}

#[tokio::test]
async fn a_real_registry_with_htpasswd_admits_the_right_password_only() {
    let registry = RealRegistry::start(Some(HTPASSWD)).await;
    assert_everything_is_found(&registry, Some(password("jürgen", "~?>/+:ß"))).await;
    for credentials in [None, Some(password("jürgen", "hunter2"))] {
        let error = super::registry().digest(&registry.lookup("app:single", credentials)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
