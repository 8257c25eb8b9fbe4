//! Manifests, indexes and configurations, and whether they match their digest. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::bounded::{List, too_many};
use super::{Manifest, Platform};
use crate::image::Digest;

/// How many images an index may list. Those with most platforms list some fifty, attestations included.
const MAX_CHILDREN: usize = 1000;

/// How many platforms an index may name.
const MAX_PLATFORMS: usize = 100;

/// The longest name of an operating system or an architecture, in bytes. A longer name is not known to any node.
const MAX_PLATFORM_NAME: usize = 64;

/// The media types in a request for a manifest. An image for several platforms is an index, and a service is pinned to
/// the digest of the index.
pub(super) fn accepted() -> String {
    [
        OCI_IMAGE_INDEX_MEDIA_TYPE,
        IMAGE_MANIFEST_LIST_MEDIA_TYPE,
        OCI_IMAGE_MEDIA_TYPE,
        IMAGE_MANIFEST_MEDIA_TYPE,
    ]
    .join(", ")
}

/// A manifest as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ManifestKind {
    /// An index: everything is known.
    Index(Manifest),
    /// A single image: its configuration names its platform.
    Image {
        /// The configuration's digest.
        configuration: Option<Digest>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    manifests: Option<List<Descriptor, MAX_CHILDREN>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    digest: String,
    #[serde(default)]
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    os: String,
    #[serde(default, deserialize_with = "crate::hosts::null_is_default")]
    architecture: String,
}

impl RawPlatform {
    /// Attestations are listed as `unknown/unknown`.
    fn into_platform(self) -> Option<Platform> {
        let is_known = |text: &str| !text.is_empty() && text.len() <= MAX_PLATFORM_NAME && text != "unknown";
        (is_known(&self.os) && is_known(&self.architecture))
            .then_some(Platform { os: self.os, architecture: self.architecture })
    }
}

/// Reads a manifest or an index. The error says what the text is instead.
pub(super) fn read(body: &[u8]) -> Result<ManifestKind, String> {
    // serde would take a list for an object with its fields in order.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let unknown = || "its manifest is not JSON of a known form".to_owned();
    if !is_object {
        return Err(unknown());
    }
    let document: Document = serde_json::from_slice(body).map_err(|error| match too_many(&error) {
        Some(most) => format!("its index lists more than {most} images; push an index with fewer"),
        None => unknown(),
    })?;
    if document.schema_version == Some(1) {
        return Err(
            "its manifest has schema version 1, which engines from 26 on do not pull; push the image anew"
                .to_owned(),
        );
    }
    if let Some(List(entries)) = document.manifests {
        let children = entries.iter().filter_map(|entry| entry.digest.parse().ok()).collect();
        let (mut platforms, mut seen) = (Vec::new(), HashSet::new());
        for platform in
            entries.into_iter().filter_map(|entry| entry.platform.and_then(RawPlatform::into_platform))
        {
            if seen.insert(platform.clone()) {
                platforms.push(platform);
            }
            if platforms.len() > MAX_PLATFORMS {
                return Err(format!(
                    "its index lists more than {MAX_PLATFORMS} platforms; push an index with fewer"
                ));
            }
        }
        return Ok(ManifestKind::Index(Manifest { children, platforms }));
    }
    if document.config.is_none() && document.layers.is_none() {
        return Err("its manifest is neither an image nor an index".to_owned());
    }
    let configuration = document.config.and_then(|config| config.digest.parse().ok());
    Ok(ManifestKind::Image { configuration })
}

/// The platform that an image's configuration names.
pub(super) fn platform(configuration: &[u8]) -> Option<Platform> {
    serde_json::from_slice::<RawPlatform>(configuration).ok().and_then(RawPlatform::into_platform)
}

/// Whether `body` has this digest.
pub(super) fn is_content_of(body: &[u8], digest: &Digest) -> bool {
    let (algorithm, promised) = digest.as_str().split_once(':').unwrap_or_default();
    let actual = match algorithm {
        "sha256" => hex(&Sha256::digest(body)),
        "sha384" => hex(&Sha384::digest(body)),
        "sha512" => hex(&Sha512::digest(body)),
        _ => return false,
    };
    actual == promised
}

/// The digest of `body`, as a registry would give it.
pub(super) fn digest_of(body: &[u8]) -> Option<Digest> {
    format!("sha256:{}", hex(&Sha256::digest(body))).parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(fill: char) -> String {
        format!("sha256:{}", fill.to_string().repeat(64))
    }

    fn platform_of(os: &str, architecture: &str) -> Platform {
        Platform { os: os.to_owned(), architecture: architecture.to_owned() }
    }

    #[test]
    fn an_index_lists_all_its_children_and_each_real_platform_once() {
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"digest":"{}","size":1,"platform":{{"architecture":"amd64","os":"linux"}}}},
            {{"digest":"{}","size":1,"platform":{{"architecture":"arm","os":"linux","variant":"v6"}}}},
            {{"digest":"{}","size":1,"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}},
            {{"digest":"{}","size":12345678901234567890123,"annotations":{{"vnd.docker.reference.type":"attestation-manifest"}},
              "platform":{{"architecture":"unknown","os":"unknown"}}}},
            {{"digest":"{}"}},{{"digest":"broken"}},{{"platform":null,"digest":null}}]}}"#,
            digest('a'),
            digest('b'),
            digest('c'),
            digest('d'),
            digest('e'),
        );
        let expected = Manifest {
            children: ['a', 'b', 'c', 'd', 'e'].map(|fill| digest(fill).parse().unwrap()).into(),
            platforms: vec![platform_of("linux", "amd64"), platform_of("linux", "arm")],
        };
        assert_eq!(read(index.as_bytes()), Ok(ManifestKind::Index(expected)));
        assert_eq!(
            read(br#"{"schemaVersion":2,"manifests":[]}"#),
            Ok(ManifestKind::Index(Manifest::default()))
        );
    }

    /// An index with this many children, of which each has a platform of its own.
    fn index_of(children: usize) -> String {
        let child = |n: usize| format!(r#"{{"platform":{{"os":"o","architecture":"a{n}"}}}}"#);
        format!(r#"{{"manifests":[{}]}}"#, (0..children).map(child).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn an_index_that_no_image_needs_is_refused_in_a_line() {
        let platforms = |children| match read(index_of(children).as_bytes()) {
            Ok(ManifestKind::Index(manifest)) => Ok(manifest.platforms.len()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(platforms(MAX_PLATFORMS), Ok(MAX_PLATFORMS));
        let error = "its index lists more than 100 platforms; push an index with fewer";
        assert_eq!(platforms(MAX_PLATFORMS + 1), Err(error.to_owned()));
        let children = |count| format!(r#"{{"manifests":[{}]}}"#, vec!["{}"; count].join(","));
        assert!(read(children(MAX_CHILDREN).as_bytes()).is_ok());
        let error = "its index lists more than 1000 images; push an index with fewer";
        assert_eq!(read(children(MAX_CHILDREN + 1).as_bytes()), Err(error.to_owned()));
        let long =
            format!(r#"{{"manifests":[{{"platform":{{"os":"{}","architecture":"a"}}}}]}}"#, "o".repeat(65));
        assert_eq!(read(long.as_bytes()), Ok(ManifestKind::Index(Manifest::default())));
    }

    #[test]
    fn an_index_of_millions_of_children_takes_no_memory() {
        /// The most memory that this process has had, in KiB.
        fn peak() -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        }
        let index = format!(r#"{{"manifests":[{}{{}}]}}"#, "{},".repeat(4 << 18));
        let before = peak();
        read(index.as_bytes()).unwrap_err();
        let grown = peak() - before;
        assert!(grown < 4 << 10, "{grown} KiB");
    }

    #[test]
    fn a_single_image_names_its_configuration() {
        let image =
            format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[{{}}]}}"#, digest('a'));
        assert_eq!(
            read(image.as_bytes()),
            Ok(ManifestKind::Image { configuration: Some(digest('a').parse().unwrap()) })
        );
        for without in [r#"{"layers":[]}"#, r#"{"config":{"digest":"x"}}"#, r#"{"config":{}}"#] {
            assert_eq!(
                read(without.as_bytes()),
                Ok(ManifestKind::Image { configuration: None }),
                "{without}"
            );
        }
    }

    #[test]
    fn what_is_no_manifest_is_an_error_that_says_so() {
        for (body, word) in [
            ("<html></html>", "not JSON"),
            ("", "not JSON"),
            ("[]", "not JSON"),
            ("null", "not JSON"),
            (r#"{"manifests":"many"}"#, "not JSON"),
            ("{}", "neither"),
            (r#"{"manifests":null,"errors":[]}"#, "neither"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema version 1"),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{body}: {error}");
        }
    }

    #[test]
    fn a_configuration_tells_its_platform() {
        let configuration = br#"{"architecture":"arm64","os":"linux","rootfs":{},"created":"x"}"#;
        assert_eq!(platform(configuration), Some(platform_of("linux", "arm64")));
        for none in ["", "{}", r#"{"os":"linux"}"#, r#"{"os":"","architecture":"amd64"}"#, "[1]"] {
            assert_eq!(platform(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn content_is_checked_against_its_digest() {
        // The digests of the empty text.
        let sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let sha512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        for text in [sha256, sha512] {
            let digest = text.parse().unwrap();
            assert!(is_content_of(b"", &digest), "{text}");
            assert!(!is_content_of(b"x", &digest), "{text}");
        }
        assert_eq!(digest_of(b"").unwrap().as_str(), sha256);
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&body);
            let _ = platform(&body);
        }
    }
}
