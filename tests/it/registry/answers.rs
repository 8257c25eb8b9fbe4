//! Registries that behave: which requests they get, and what is made of their answers.

use super::*;

#[tokio::test]
async fn a_tag_costs_one_head_request_every_time() {
    let server = Server::start(|_| known()).await;
    let registry = registry();
    let lookup = lookup(&server, "team/app:v1");
    for _ in 0..3 {
        assert_eq!(registry.digest(&lookup).await, Ok(digest()));
        assert_eq!(server.requests().len(), 1);
        let request = &server.requests()[0];
        for kind in [
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ] {
            assert!(request.header("accept").contains(kind), "{kind}");
        }
        assert!(request.header("user-agent").starts_with("gantry/"));
        assert_eq!(server.take(), ["HEAD /v2/team/app/manifests/v1"]);
    }
}

#[tokio::test]
async fn an_old_digest_in_the_reference_does_not_matter_and_a_pin_by_digest_asks_nobody() {
    let server = Server::start(|_| known()).await;
    let old = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    let pinned = lookup(&server, &format!("app:v1@{old}"));
    assert_eq!(registry().digest(&pinned).await, Ok(digest()));
    assert_eq!(server.take(), ["HEAD /v2/app/manifests/v1"]);
    let without_tag = lookup(&server, &format!("app@{old}"));
    assert_eq!(registry().digest(&without_tag).await, Ok(old.parse().unwrap()));
    assert!(server.take().is_empty());
}

#[tokio::test]
async fn the_manifest_is_fetched_only_where_head_gives_no_digest() {
    for (head, header) in [(200, ""), (405, ""), (501, ""), (405, "right")] {
        let server = Server::start(move |request| match (request.method.as_str(), header) {
            ("HEAD", _) => Answer::new(head, ""),
            (_, "") => Answer::json(200, IMAGE),
            _ => Answer::json(200, IMAGE).with("docker-content-digest", sha256(IMAGE).as_str()),
        })
        .await;
        assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)), "{head}");
        assert_eq!(server.take(), ["HEAD /v2/app/manifests/latest", "GET /v2/app/manifests/latest"]);
    }
}

#[tokio::test]
async fn an_unknown_image_is_not_found_and_not_asked_for_again() {
    let server = Server::start(|_| Answer::json(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)).await;
    let error = registry().digest(&lookup(&server, "app:v9")).await.unwrap_err();
    let expected = RegistryError::NotFound {
        image: format!("{}/app:v9", server.authority()),
        registry: server.authority(),
    };
    assert_eq!(error, expected);
    assert!(error.to_string().contains("gantry.manifest.cmd=none"), "{error}");
    // HEAD says nothing of why, and some registries answer it with 404 for images that they have.
    assert_eq!(server.take(), ["HEAD /v2/app/manifests/v9", "GET /v2/app/manifests/v9"]);
}

#[tokio::test]
async fn whatever_head_is_answered_the_manifest_is_asked_for_once() {
    // One that says 401 and asks for nothing has not refused an account.
    for status in [400, 401, 403, 404, 405, 406, 410, 418, 500, 501, 502, 503, 504] {
        let server = Server::start(move |request| match request.method.as_str() {
            "HEAD" => Answer::new(status, "").with("content-type", "text/html"),
            _ => manifest(),
        })
        .await;
        for image in ["app", "other"] {
            assert_eq!(registry().digest(&lookup(&server, image)).await, Ok(sha256(IMAGE)), "{status}");
            let path = format!("/v2/{image}/manifests/latest");
            assert_eq!(server.take(), [format!("HEAD {path}"), format!("GET {path}")], "{status}");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_cut_or_sent_astray_is_no_reason_to_fail() {
    for location in ["", "ftp://x/", "/v2/app/manifests/latest"] {
        let server = Server::start(move |request| match (request.method.as_str(), location) {
            ("HEAD", "") => Answer::Cut,
            ("HEAD", _) => Answer::new(307, "").with("location", location),
            _ => manifest(),
        })
        .await;
        assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)), "{location}");
    }
    // An address that is signed for GET alone, as object stores give it.
    let store = Server::start(|request| match request.method.as_str() {
        "HEAD" => Answer::new(403, "<Error/>").with("content-type", "application/xml"),
        _ => manifest(),
    })
    .await;
    let to = store.url("/bucket/manifest?signature=x");
    let server = Server::start(move |_| Answer::new(307, "").with("location", &to)).await;
    assert_eq!(registry().digest(&lookup(&server, "app")).await, Ok(sha256(IMAGE)));
}

#[tokio::test]
async fn a_limit_or_a_refused_login_is_not_asked_around() {
    for status in [401, 429] {
        let server = Server::start(move |request| match request.method.as_str() {
            "HEAD" => Answer::new(status, "")
                .with("retry-after", "3600")
                .with("www-authenticate", "Basic realm=\"r\""),
            _ => manifest(),
        })
        .await;
        registry().digest(&lookup(&server, "app")).await.unwrap_err();
        assert_eq!(server.take(), ["HEAD /v2/app/manifests/latest"], "{status}");
    }
}

#[tokio::test]
async fn an_index_tells_its_children_and_platforms_and_is_remembered() {
    let (amd64, arm64) = (sha256("amd64"), sha256("arm64"));
    let attestation = sha256("attestation");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[
        {{"digest":"{amd64}","platform":{{"os":"linux","architecture":"amd64"}}}},
        {{"digest":"{arm64}","platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}},
        {{"digest":"{attestation}","platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
    );
    let of = sha256(&index);
    let server = Server::start(move |_| Answer::json(200, index.clone())).await;
    let registry = registry();
    for image in ["app:v1", "app:v2"] {
        let manifest = registry.manifest(&lookup(&server, image), &of).await.unwrap();
        assert_eq!(manifest.children, [amd64.clone(), arm64.clone(), attestation.clone()].into());
        let platforms: Vec<String> =
            manifest.platforms.iter().map(|p| format!("{}/{}", p.os, p.architecture)).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    }
    assert_eq!(server.take(), [format!("GET /v2/app/manifests/{of}")]);
}

#[tokio::test]
async fn a_single_image_is_asked_for_its_platform_also_at_a_blob_store() {
    let configuration = r#"{"os":"linux","architecture":"riscv64"}"#;
    let image =
        format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[]}}"#, sha256(configuration));
    let of = sha256(&image);
    let store = Server::start(move |_| Answer::new(200, configuration)).await;
    let blob = store.url("/bucket/blob?signature=x");
    let body = image.clone();
    let server = Server::start(move |request| {
        if request.header("authorization").is_empty() {
            return Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\"");
        }
        if request.path.contains("/blobs/") {
            Answer::new(307, "").with("location", &blob)
        } else {
            Answer::json(200, body.clone())
        }
    })
    .await;
    let registry = registry();
    let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app:v1") };
    let manifest = registry.manifest(&lookup, &of).await.unwrap();
    assert!(manifest.children.is_empty());
    assert_eq!(manifest.platforms[0].architecture, "riscv64");
    let asked = store.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].header("authorization"), asked[0].query.as_str()), ("", "signature=x"));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_costs_only_the_platforms() {
    let image = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[]}}"#, sha256("{}"));
    let of = sha256(&image);
    for blob in [404, 200] {
        let body = image.clone();
        let server = Server::start(move |request| {
            if request.path.contains("/blobs/") {
                Answer::new(blob, "not what the digest promises")
            } else {
                Answer::json(200, body.clone())
            }
        })
        .await;
        let manifest = registry().manifest(&lookup(&server, "app"), &of).await.unwrap();
        assert_eq!(*manifest, Manifest::default());
    }
}

#[tokio::test]
async fn redirects_are_followed_and_the_account_stays_behind() {
    let target = Server::start(|_| known()).await;
    let to = target.url("/elsewhere/app/manifests/v1");
    let server = Server::start(move |request| match request.header("authorization") {
        "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
        _ => Answer::new(302, "").with("location", &to),
    })
    .await;
    let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app:v1") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
    let arrived = target.requests();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].method, "HEAD");
    assert_eq!(arrived[0].header("authorization"), "");
}

#[tokio::test]
async fn a_redirect_within_a_registry_keeps_the_account() {
    let server =
        Server::start(move |request| match (request.header("authorization"), request.path.as_str()) {
            ("", _) => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
            (_, "/v2/app/manifests/v1") => Answer::new(308, "").with("location", "/v2/moved/manifests/v1"),
            _ => known(),
        })
        .await;
    let lookup = Lookup { credentials: Some(password("me", "secret")), ..lookup(&server, "app:v1") };
    assert_eq!(registry().digest(&lookup).await, Ok(digest()));
}
