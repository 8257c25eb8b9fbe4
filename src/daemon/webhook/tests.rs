//! What each sender sends, from the tables of their documentation and source, and what Gantry makes of it. The pushes are the
//! seeds of `make fuzz` as well.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fuzz;
use super::hint::{Delivery, Reading};
use super::sender::{SENDERS, SenderKind};

macro_rules! pushes {
    ($($kind:literal),+) => {
        /// A push of `team/app:1`, as each sender tells it.
        const PUSHES: &[(&str, &str)] =
            &[$(($kind, include_str!(concat!("../../../tests/fuzz/seeds/webhook/", $kind)))),+];
    };
}

pushes![
    "distribution",
    "dockerhub",
    "github",
    "gitlab",
    "gitea",
    "harbor",
    "quay",
    "acr",
    "ecr",
    "google",
    "jfrog",
    "nexus",
    "zot",
    "generic"
];

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn push(kind: &str) -> Value {
    let (_, text) = PUSHES.iter().find(|(known, _)| *known == kind).unwrap();
    serde_json::from_str(text).unwrap()
}

/// The headers of a push beside those of every request.
fn headers(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "distribution" | "gitlab" => {
            &[("content-type", "application/vnd.docker.distribution.events.v2+json")]
        }
        "github" => &[("content-type", "application/json"), ("x-github-event", "package")],
        "gitea" => &[("content-type", "application/json"), ("x-gitea-event", "package")],
        "nexus" => &[("content-type", "application/json"), ("x-nexus-webhook-id", "rm:repository:component")],
        "zot" => &[("content-type", "application/cloudevents+json")],
        _ => &[("content-type", "application/json")],
    }
}

fn read_bytes(kind: &str, headers: &[(&'static str, &str)], query: &[(&str, &str)], body: &[u8]) -> Reading {
    let parsed = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    let headers: HeaderMap = parsed.collect();
    let query: Vec<(String, String)> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    (SenderKind::named(kind).unwrap().read)(&Delivery { headers: &headers, query: &query, body })
}

/// What a sender's body comes to: the names of repositories, or why there are none.
fn read_with(
    kind: &str,
    headers: &[(&'static str, &str)],
    body: &Value,
) -> Result<Vec<String>, &'static str> {
    match read_bytes(kind, headers, &[], body.to_string().as_bytes()) {
        Reading::Hints(hints) => Ok(hints.iter().map(|hint| hint.name().into_owned()).collect()),
        Reading::Ignored(why) => Err(why),
        Reading::Malformed { error, .. } => panic!("{kind}: {error}"),
    }
}

fn read(kind: &str, body: &Value) -> Result<Vec<String>, &'static str> {
    read_with(kind, headers(kind), body)
}

/// A push with other values at these places; `null` takes the place away.
fn edited(kind: &str, edits: &[(&str, Value)]) -> Value {
    let mut body = push(kind);
    for (place, value) in edits {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(key).unwrap_or_else(|| panic!("{kind} has no {place}"));
        } else {
            parent.insert(key.to_owned(), value.clone());
        }
    }
    body
}

/// A message of Pub/Sub with this event.
fn message(event: &Value) -> Value {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(event.to_string());
    json!({ "message": { "data": data } })
}

#[test]
fn each_senders_push_is_a_hint_about_its_repository() {
    assert_eq!(PUSHES.len(), SENDERS.len());
    for (kind, expected) in [
        ("distribution", &["registry.test:5000/team/app"][..]),
        ("dockerhub", &["docker.io/team/app"]),
        ("github", &["ghcr.io/team/app"]),
        ("gitlab", &["registry.gitlab.test:5000/team/app"]),
        ("gitea", &["git.test:3000/team/app"]),
        ("harbor", &["harbor.test/team/app"]),
        ("quay", &["quay.test/team/app"]),
        ("acr", &["team.azurecr.io/team/app"]),
        ("ecr", &["123456789012.dkr.ecr.us-west-2.amazonaws.com/team/app"]),
        ("google", &["us-east1-docker.pkg.dev/project/team/app"]),
        (
            "jfrog",
            &["docker-local.team.jfrog.test/app", "team.jfrog.test/app", "team.jfrog.test/docker-local/app"],
        ),
        ("nexus", &["team/app"]),
        ("zot", &["team/app"]),
        ("generic", &["registry.test:5000/team/app"]),
    ] {
        assert_eq!(
            read(kind, &push(kind)).as_deref(),
            Ok(&expected.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..]),
            "{kind}"
        );
    }
}

#[test]
fn what_is_no_push_of_a_tag_is_ignored() {
    for (kind, what, edits) in [
        ("distribution", "our own look-up", &[("/events/0/action", json!("pull"))][..]),
        ("distribution", "mount", &[("/events/0/action", json!("mount"))]),
        ("distribution", "delete", &[("/events/0/action", json!("delete"))]),
        ("distribution", "blob", &[("/events/0/target/mediaType", json!("application/octet-stream"))]),
        ("distribution", "child, or a push by digest", &[("/events/0/target/tag", Value::Null)]),
        ("distribution", "no event", &[("/events", json!([]))]),
        ("gitlab", "child", &[("/events/0/target/tag", Value::Null)]),
        ("gitlab", "pull", &[("/events/0/action", json!("pull"))]),
        ("github", "deleted", &[("/action", json!("deleted"))]),
        ("github", "npm", &[("/package/package_type", json!("npm")), ("/package/ecosystem", json!("npm"))]),
        ("gitea", "deleted", &[("/action", json!("deleted"))]),
        ("gitea", "npm", &[("/package/type", json!("npm"))]),
        ("harbor", "pull", &[("/type", json!("PULL_ARTIFACT"))]),
        ("harbor", "deleted", &[("/type", json!("DELETE_ARTIFACT"))]),
        ("harbor", "scanned", &[("/type", json!("SCANNING_COMPLETED"))]),
        ("quay", "a build, or a test", &[("/updated_tags", Value::Null)]),
        ("quay", "no tags", &[("/updated_tags", json!([]))]),
        ("acr", "ping", &[("/action", json!("ping"))]),
        ("acr", "delete", &[("/action", json!("delete"))]),
        ("acr", "chart", &[("/action", json!("chart_push"))]),
        ("acr", "push by digest", &[("/target/tag", Value::Null)]),
        ("ecr", "delete", &[("/detail/action-type", json!("DELETE"))]),
        ("ecr", "failure", &[("/detail/result", json!("FAILURE"))]),
        ("ecr", "scan", &[("/detail-type", json!("ECR Image Scan"))]),
        ("ecr", "push by digest", &[("/detail/image-tag", json!(""))]),
        ("google", "no data", &[("/message/data", Value::Null)]),
        ("google", "no base64", &[("/message/data", json!("***"))]),
        ("jfrog", "deleted", &[("/event_type", json!("deleted"))]),
        ("jfrog", "a file", &[("/domain", json!("artifact"))]),
        ("nexus", "deleted", &[("/action", json!("DELETED"))]),
        ("nexus", "maven", &[("/component/format", json!("maven2"))]),
        ("zot", "deleted", &[("/type", json!("zotregistry.image.deleted"))]),
        ("zot", "lint", &[("/type", json!("zotregistry.image.lint_failed"))]),
    ] {
        assert!(read(kind, &edited(kind, edits)).is_err(), "{kind}: {what}");
    }
    for (action, tag) in [("DELETE", "h.test/a:1"), ("INSERT", "")] {
        assert!(
            read("google", &message(&json!({ "action": action, "tag": tag }))).is_err(),
            "{action} {tag}"
        );
    }
    // Events of other kinds, by their headers.
    for (kind, headers) in [
        ("github", &[("x-github-event", "ping")][..]),
        ("github", &[("x-github-event", "push")]),
        ("github", &[]),
        ("gitea", &[("x-gitea-event", "push")]),
        ("gitea", &[]),
        ("nexus", &[("x-nexus-webhook-id", "rm:repository:asset")]),
        ("nexus", &[]),
        ("zot", &[("ce-type", "zotregistry.repository.created")]),
    ] {
        assert!(read_with(kind, headers, &push(kind)).is_err(), "{kind} {headers:?}");
    }
}

#[test]
fn an_event_without_what_it_should_have_is_ignored() {
    for (kind, _) in PUSHES.iter().filter(|(kind, _)| *kind != "generic") {
        for body in [
            json!({}),
            json!([]),
            json!(null),
            json!("text"),
            json!(5),
            json!({"events": {"x": 1}}),
            json!([[1]]),
        ] {
            assert!(read(kind, &body).is_err(), "{kind} {body}");
        }
    }
    for (kind, place) in [
        ("distribution", "/events/0/target/repository"),
        ("dockerhub", "/repository/repo_name"),
        ("github", "/package/package_version"),
        ("gitea", "/package/owner"),
        ("gitea", "/package/name"),
        ("quay", "/repository"),
        ("acr", "/target/repository"),
        ("ecr", "/detail/repository-name"),
        ("jfrog", "/data/image_name"),
        ("nexus", "/component/name"),
        ("zot", "/data/name"),
    ] {
        assert!(read(kind, &edited(kind, &[(place, Value::Null)])).is_err(), "{kind} without {place}");
        let odd = json!("../\u{1b}[31m'; rm -rf \n");
        assert!(read(kind, &edited(kind, &[(place, odd)])).is_err(), "{kind} with an odd {place}");
    }
    let no_resources = edited("harbor", &[("/event_data", Value::Null)]);
    assert!(read("harbor", &no_resources).is_err());
}

#[test]
fn senders_of_other_versions_and_formats_are_read_as_well() {
    let names = |kind: &str, edits: &[(&str, Value)]| read(kind, &edited(kind, edits)).unwrap().join(" ");
    // distribution: several events in one envelope, of which one has a tag; and both hosts of GitLab.
    let mut envelope = push("distribution");
    let tagged = envelope["events"][0].clone();
    let mut child = tagged.clone();
    child["target"].as_object_mut().unwrap().remove("tag");
    let mut other = tagged.clone();
    other["target"]["repository"] = json!("team/other");
    envelope["events"] = json!([child, tagged, other, tagged]);
    assert_eq!(
        read("distribution", &envelope).unwrap(),
        ["registry.test:5000/team/app", "registry.test:5000/team/other"]
    );
    assert_eq!(read("gitlab", &push("distribution")).unwrap(), ["registry.test:5000/team/app"]);
    assert_eq!(names("distribution", &[("/events/0/request", Value::Null)]), "team/app");
    // Docker Hub: an official image.
    assert_eq!(
        names("dockerhub", &[("/repository/repo_name", json!("library/nginx"))]),
        "docker.io/library/nginx"
    );
    // GitHub: an app's event, a bare colon at the end, an untagged child, another host.
    let app = [("content-type", "application/json"), ("x-github-event", "registry_package")];
    let body = json!({ "action": "updated", "registry_package": push("github")["package"] });
    assert_eq!(read_with("github", &app, &body).unwrap(), ["ghcr.io/team/app"]);
    for url in ["ghcr.io/Team/App:", "https://ghcr.io/team/app:1", "ghcr.io/team/app"] {
        let edits = [("/package/package_version/package_url", json!(url))];
        assert_eq!(names("github", &edits), "ghcr.io/team/app", "{url}");
    }
    let untagged = [("/package/package_version/container_metadata/tag/name", json!(""))];
    assert_eq!(names("github", &untagged), "ghcr.io/team/app", "it may be one of several tags");
    assert_eq!(names("github", &[("/package/package_type", json!("docker"))]), "ghcr.io/team/app");
    assert!(
        read("github", &edited("github", &[("/package/package_version/package_url", json!("team/app"))]))
            .is_err()
    );
    // Gitea: the digest in the tag's place, and Forgejo's header.
    assert_eq!(names("gitea", &[("/package/version", json!(DIGEST))]), "git.test:3000/team/app");
    let forgejo = [("x-forgejo-event", "package")];
    assert_eq!(read_with("gitea", &forgejo, &push("gitea")).unwrap(), ["git.test:3000/team/app"]);
    assert_eq!(names("gitea", &[("/package/html_url", Value::Null)]), "team/app");
    // Harbor: the digest in the tag's place, CloudEvents, version 1, several resources.
    let by_digest = json!([{ "tag": DIGEST, "resource_url": format!("harbor.test/team/app@{DIGEST}") }]);
    assert_eq!(names("harbor", &[("/event_data/resources", by_digest)]), "harbor.test/team/app");
    let cloud = json!({ "specversion": "1.0", "type": "harbor.artifact.pushed", "data": push("harbor")["event_data"] });
    assert_eq!(read("harbor", &cloud).unwrap(), ["harbor.test/team/app"]);
    assert_eq!(names("harbor", &[("/type", json!("pushImage"))]), "harbor.test/team/app");
    let two =
        json!([{ "resource_url": "harbor.test/team/app:1" }, { "resource_url": "mirror.test/team/app:1" }]);
    assert_eq!(
        names("harbor", &[("/event_data/resources", two)]),
        "harbor.test/team/app mirror.test/team/app"
    );
    assert_eq!(names("harbor", &[("/event_data/repository", Value::Null)]), "harbor.test/team/app");
    assert_eq!(names("harbor", &[("/event_data/resources", json!([]))]), "team/app");
    // Quay: tags as an object.
    assert_eq!(names("quay", &[("/updated_tags", json!({ "1": DIGEST }))]), "quay.test/team/app");
    // ECR in China, and without an account.
    let china = names("ecr", &[("/region", json!("cn-north-1"))]);
    assert_eq!(china, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app");
    assert_eq!(names("ecr", &[("/account", Value::Null)]), "team/app");
    // Artifactory without a Custom Base URL; a virtual repository.
    assert_eq!(names("jfrog", &[("/jpd_origin", Value::Null)]), "app docker-local/app");
    let body = push("jfrog").to_string();
    let virtual_repository = [("repository", "docker")];
    match read_bytes("jfrog", headers("jfrog"), &virtual_repository, body.as_bytes()) {
        Reading::Hints(hints) => assert_eq!(hints.first().unwrap().name(), "team.jfrog.test/docker/app"),
        other => panic!("{other:?}"),
    }
    // Nexus: overwritten. Zot: binary mode, and a digest in the tag's place.
    assert_eq!(names("nexus", &[("/action", json!("UPDATED"))]), "team/app");
    let binary = [("content-type", "application/json"), ("ce-type", "zotregistry.image.updated")];
    assert_eq!(read_with("zot", &binary, &push("zot")["data"]).unwrap(), ["team/app"]);
    let own = [("/type", json!("com.test.image.updated")), ("/source", json!("https://zot.test:5000"))];
    assert_eq!(names("zot", &own), "zot.test:5000/team/app");
    assert_eq!(names("zot", &[("/source", json!("the registry"))]), "team/app");
    assert_eq!(names("zot", &[("/data/reference", json!(DIGEST))]), "team/app");
    // A program: lists, without a tag, with a digest.
    for body in [
        json!({ "image": ["h.test/a:1", "h.test/b"] }),
        json!({ "images": ["h.test/a:1", "h.test/b:2"] }),
        json!(["h.test/a:1", { "image": format!("h.test/b@{DIGEST}") }]),
    ] {
        assert_eq!(read("generic", &body).unwrap(), ["h.test/a", "h.test/b"], "{body}");
    }
    assert_eq!(read("generic", &json!({ "image": "nginx" })).unwrap(), ["docker.io/library/nginx"]);
}

#[test]
fn what_cannot_be_read_says_what_to_send() {
    let malformed = |kind: &str, headers: &[(&'static str, &str)], body: &[u8]| match read_bytes(
        kind,
        headers,
        &[],
        body,
    ) {
        Reading::Malformed { error, remedy } => {
            assert!(!remedy.is_empty(), "{kind}");
            error
        }
        other => panic!("{kind}: {other:?}"),
    };
    for kind in SENDERS {
        let own = headers(kind.name);
        assert_eq!(malformed(kind.name, own, b""), "the body is empty");
        assert_eq!(malformed(kind.name, own, b" \n"), "the body is empty");
        for body in [&b"{"[..], b"<xml/>", b"\xff\xfe", b"{\"a\":1}}"] {
            assert!(malformed(kind.name, own, body).starts_with("the body is no JSON"), "{}", kind.name);
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(malformed(kind.name, own, &deep).starts_with("the body is no JSON"), "{}", kind.name);
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        assert_eq!(malformed(kind.name, &form, b"payload=%7B%7D"), "the body is a form, not JSON");
        assert_eq!(malformed(kind.name, own, b"payload=%7B%7D"), "the body is a form, not JSON");
    }
    for (body, error) in [
        (json!({}), "the body names no image"),
        (json!([]), "the body names no image"),
        (json!({ "image": 5 }), "the body names no image"),
        (json!({ "image": ["a", 5] }), "the body names no image"),
        (json!({ "image": "a b\u{1b}" }), "a b\\u{1b} is no image"),
        (json!({ "image": "" }), " is no image"),
    ] {
        assert_eq!(malformed("generic", headers("generic"), body.to_string().as_bytes()), error);
    }
}

proptest! {
    /// No bytes make a reader panic, and what they come to is a part of an image's name.
    #[test]
    fn any_bytes_are_read(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::events(&data);
    }

    /// A push with a piece of it replaced.
    #[test]
    fn spoiled_pushes_are_read(
        index in 0..PUSHES.len(),
        at in 0_usize..1_000,
        length in 0_usize..40,
        piece in "[\\[\\]{}\",:a-zA-Z0-9/@.\\\\ \u{1b}é]{0,20}",
    ) {
        let mut body = PUSHES[index].1.as_bytes().to_vec();
        let at = at.min(body.len());
        let end = (at + length).min(body.len());
        body.splice(at..end, piece.into_bytes());
        fuzz::events(&body);
    }
}
