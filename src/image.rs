//! Image references and digests, as they stand in a service's specification. Pure.
//!
//! The grammar is Docker's (`distribution/reference`). What an updater needs beyond [`oci_client::Reference`]:
//! the name *as the user wrote it* survives (`nginx:1` stays `nginx:1` and does not become
//! `docker.io/library/nginx:1`), a pin by digest alone is told apart from a resolved tag, and
//! it costs no memory (that type's regular expression takes 15 MB once compiled; a test holds the two
//! against each other).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The registry that names without a host belong to.
pub const DOCKER_HUB: &str = "docker.io";

/// The content address of a manifest or an index: `sha256:` and 64 hexadecimal digits.
///
/// Other algorithms of the OCI specification (`sha512`) are accepted; anything that is not
/// `algorithm:hex` is not, so a registry's garbage never reaches a specification.
///
/// Cheap to clone: each look compares and keeps the digests of all services.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The whole digest, algorithm included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits: enough for people to tell two digests apart.
    pub fn short(&self) -> &str {
        let hex = self.0.split_once(':').map_or("", |(_, hex)| hex);
        &hex[..hex.len().min(12)]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest (expected sha256: and 64 hexadecimal digits)")]
pub struct DigestError(String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DigestError(text.chars().take(100).collect());
        let (algorithm, hex) = text.split_once(':').ok_or_else(error)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(error()),
        };
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() == length && hex.bytes().all(is_hex) { Ok(Self(text.into())) } else { Err(error()) }
    }
}

/// A parsed image reference that remembers how its name was written. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    tag: Arc<ImageTag>,
    /// Always there where there is no tag.
    digest: Option<Digest>,
}

/// Where an image is found, whatever it is at present.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ImageTag {
    name: String,
    registry: String,
    repository: String,
    /// `latest` for `name`; `None` for `name@digest`: there is no tag that could move.
    tag: Option<String>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{image:?} is not an image reference: {cause}")]
pub struct ImageRefError {
    image: String,
    cause: String,
}

impl ImageRefError {
    /// The text.
    pub fn image(&self) -> &str {
        &self.image
    }
}

impl ImageRef {
    /// The name as written, without tag and digest: `nginx`, `registry:5000/team/app`.
    pub fn name(&self) -> &str {
        &self.tag.name
    }

    /// The registry's host and port; [`DOCKER_HUB`] for names without a host.
    pub fn registry(&self) -> &str {
        &self.tag.registry
    }

    /// The repository within its registry; official Docker Hub images carry their `library/`.
    pub fn repository(&self) -> &str {
        &self.tag.repository
    }

    /// The tag, `latest` when nothing was written; `None` for a pin by digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.tag.as_deref()
    }

    /// The digest, where one was recorded.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether the image lives on Docker Hub.
    pub fn is_on_docker_hub(&self) -> bool {
        self.registry() == DOCKER_HUB
    }

    /// `name:tag` as written, without the digest: what people call the image.
    pub fn tagged(&self) -> String {
        match self.tag() {
            Some(tag) => format!("{}:{tag}", self.name()),
            None => self.to_string(),
        }
    }

    /// Whether both are the same tag, whatever their digests.
    pub fn is_same_tag_as(&self, other: &Self) -> bool {
        self.name() == other.name() && self.tag().is_some() && self.tag() == other.tag()
    }

    /// The same tag at another digest, name as written: what a service is sent.
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { tag: self.tag.clone(), digest: Some(digest.clone()) }
    }

    /// Another tag of the same repository, without a digest; `None`: the text is not a tag.
    pub fn with_tag(&self, tag: &str) -> Option<Self> {
        let ImageTag { name, registry, repository, .. } = &*self.tag;
        let (name, registry, repository) = (name.clone(), registry.clone(), repository.clone());
        let found = || ImageTag { name, registry, repository, tag: Some(tag.to_owned()) };
        is_tag(tag).then(|| Self { tag: Arc::new(found()), digest: None })
    }

    /// The same tag with the digest of another image, if that has one.
    pub fn with_digest_of(&self, other: &Self) -> Self {
        other.digest().map_or_else(|| self.unpinned(), |digest| self.pinned(digest))
    }

    /// Whether both are of the same repository, however the names are written.
    pub fn is_same_repository_as(&self, other: &Self) -> bool {
        self.registry() == other.registry() && self.repository() == other.repository()
    }

    /// The same tag without its digest: what a service is sent when no registry is asked.
    pub fn unpinned(&self) -> Self {
        let digest = self.digest.clone().filter(|_| self.tag().is_none());
        Self { tag: self.tag.clone(), digest }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest() {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            |cause: &str| ImageRefError { image: text.chars().take(300).collect(), cause: cause.to_owned() };
        let (undigested, digest) = match text.split_once('@') {
            Some((undigested, digest)) => {
                let digest = digest.parse::<Digest>().map_err(|cause| error(&cause.to_string()))?;
                (undigested, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash starts the tag; before it, it is the registry's port.
        let last_part = undigested.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match undigested[last_part..].split_once(':') {
            Some((base, tag)) => (&undigested[..last_part + base.len()], Some(tag)),
            None => (undigested, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error("its tag is not one to 128 letters, digits, _ . or -"));
        }
        if name.len() > MAX_NAME_LENGTH {
            return Err(error("its name is longer than 255 characters"));
        }

        let (registry, path) = split_registry(name);
        if !is_registry(registry) {
            return Err(error("its registry is not a host name, with or without a port"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(error(
                "its name may only have lower-case letters and digits, with . _ or - between them",
            ));
        }
        let is_official = registry == DOCKER_HUB && !path.contains('/');
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
        let tag = ImageTag {
            name: name.to_owned(),
            registry: registry.to_owned(),
            repository: if is_official { format!("library/{path}") } else { path.to_owned() },
            tag: tag.map(str::to_owned),
        };
        Ok(Self { tag: Arc::new(tag), digest })
    }
}

/// The longest name with its registry (`distribution/reference`, `RepositoryNameTotalLengthMax`).
const MAX_NAME_LENGTH: usize = 255;

/// The registry and the path within it. The first part is a registry only if it cannot be anything else.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DOCKER_HUB, path),
        Some((first, path))
            if first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase) =>
        {
            (first, path)
        }
        _ => (DOCKER_HUB, name),
    }
}

/// `host.name`, `10.0.0.1`, `[::1]`, each with or without `:port`.
fn is_registry(registry: &str) -> bool {
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = registry.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let is_address = address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') && !address.is_empty();
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_number));
    }
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

/// Lower-case letters and digits; between them one dot, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |s: &str| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    component.starts_with(is_plain)
        && component.ends_with(is_plain)
        && component.split(is_plain).filter(|between| !between.is_empty()).all(is_separator)
}

/// Whether a text is a tag: 1 to 128 letters, digits, `_`, `.` or `-`, the first one a letter, digit or `_`.
pub(crate) fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_normalised_for_look_ups_and_kept_as_written_for_specifications() {
        for (written, registry, repository, tag, digest) in [
            ("nginx", "docker.io", "library/nginx", Some("latest"), false),
            ("nginx:1.27", "docker.io", "library/nginx", Some("1.27"), false),
            ("team/app:1", "docker.io", "team/app", Some("1"), false),
            ("docker.io/nginx", "docker.io", "library/nginx", Some("latest"), false),
            ("index.docker.io/library/nginx:1", "docker.io", "library/nginx", Some("1"), false),
            ("localhost/app", "localhost", "app", Some("latest"), false),
            ("ghcr.io/a/b/c:x", "ghcr.io", "a/b/c", Some("x"), false),
            ("10.0.0.1:5000/app", "10.0.0.1:5000", "app", Some("latest"), false),
            ("host:5000/app:v1", "host:5000", "app", Some("v1"), false),
            ("[::1]:5000/app:v1", "[::1]:5000", "app", Some("v1"), false),
            ("HOST/a__b-c---d.e_f", "HOST", "a__b-c---d.e_f", Some("latest"), false),
            (&format!("nginx:1@{D}"), "docker.io", "library/nginx", Some("1"), true),
            (&format!("nginx@{D}"), "docker.io", "library/nginx", None, true),
            (&format!("host:5000/app@{D}"), "host:5000", "app", None, true),
        ] {
            let image = parse(written);
            assert_eq!(image.registry(), registry, "{written}");
            assert_eq!(image.repository(), repository, "{written}");
            assert_eq!(image.tag(), tag, "{written}");
            assert_eq!(image.digest().is_some(), digest, "{written}");
        }
    }

    #[test]
    fn a_pinned_image_keeps_the_name_and_tag_that_the_user_wrote() {
        let digest: Digest = D.parse().unwrap();
        assert_eq!(parse("nginx").pinned(&digest).to_string(), format!("nginx:latest@{D}"));
        assert_eq!(parse("h:5/a:1").pinned(&digest).to_string(), format!("h:5/a:1@{D}"));
        assert_eq!(parse(&format!("h:5/a:1@{D}")).unpinned().to_string(), "h:5/a:1");
        assert_eq!(parse(&format!("h:5/a:1@{D}")).tagged(), "h:5/a:1");
    }

    #[test]
    fn another_tag_keeps_the_name_and_drops_the_digest() {
        for (written, tag, other) in [
            (format!("nginx:1.2@{D}"), "1.3", Some("nginx:1.3")),
            (format!("h:5/a@{D}"), "1.3", Some("h:5/a:1.3")),
            ("nginx".to_owned(), "1.3@sha256:0", None),
            ("nginx".to_owned(), "", None),
            ("nginx".to_owned(), "-1", None),
        ] {
            let image = parse(&written).with_tag(tag);
            assert_eq!(image.map(|image| image.to_string()).as_deref(), other, "{written} {tag}");
        }
        assert!(parse("nginx:1").is_same_repository_as(&parse("docker.io/library/nginx:2")));
        assert!(!parse("nginx:1").is_same_repository_as(&parse("h:5/nginx:1")));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "sha256:",
            "sha256:abc",
            "md5:0123456789abcdef0123456789abcdef",
            &D.to_uppercase(),
            &format!("{D}0"),
            "<html>",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert_eq!(D.parse::<Digest>().unwrap().short(), "0123456789ab");
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_text_in_the_message() {
        for text in [
            "",
            "a b",
            "nginx@sha256:short",
            "nginx:",
            "nginx:-1",
            "Nginx",
            "UPPER/Case",
            "a//b",
            "/a",
            "a/",
            "-a/b",
            "a.-b",
            "a___b",
            "a..b",
            "host:port/a",
            "host:/a",
            "[::1/a",
            ":5000/a",
            "-h.io/a",
            "a:b:c",
            "a@b@c",
        ] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn printing_a_parsed_reference_and_parsing_it_again_changes_nothing(
            host in "([a-z]{1,8}\\.[a-z]{2,3}(:[1-9][0-9]{1,3})?/)?",
            path in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,10})?",
            with_digest: bool,
        ) {
            let digest = if with_digest { format!("@{D}") } else { String::new() };
            let image = parse(&format!("{host}{path}{tag}{digest}"));
            prop_assert_eq!(&parse(&image.to_string()), &image);
        }

        #[test]
        fn what_is_a_reference_here_is_the_same_reference_for_the_oci_client(
            text in "([a-z0-9.-]{1,6}(:[0-9]{1,4})?/)?[a-z0-9._-]{1,6}(/[a-z0-9._-]{1,6})?(:[A-Za-z0-9_.-]{1,5})?",
        ) {
            if let Ok(image) = text.parse::<ImageRef>() {
                let reference: oci_client::Reference = text.parse().unwrap();
                prop_assert_eq!(image.registry(), reference.registry());
                prop_assert_eq!(image.repository(), reference.repository());
                prop_assert_eq!(image.tag(), reference.tag());
            } else if let Ok(reference) = text.parse::<oci_client::Reference>() {
                // It takes some hosts that no host can be called.
                prop_assert!(!is_registry(reference.registry()), "{}", text);
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<ImageRef>();
            let _ = text.parse::<Digest>();
        }
    }
}
