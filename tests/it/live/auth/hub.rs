//! Docker Hub: its name in `config.json`, and how much of it is left. A stand-in takes its names and its
//! certificate within the program's own view of `/etc`; the program itself knows nothing of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use super::super::support::{Gantry, PULLER, Served, Stage, sha256};
use super::{folder, is_discreet, without_tasks};
use crate::support::http::{Answer, Request};

/// What the tag of the tests points at.
const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// What the tag pointed at before.
const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// The digest of [`INDEX`].
fn new_digest() -> String {
    sha256(INDEX.as_bytes())
}

/// An address of this machine that no other stand-in has, in whichever process: the port is the same for all.
fn own_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, SeqCst));
    format!("127.{}.{}.{}", 77 + count % 100, process / 256 % 256, process % 256)
}

/// A stand-in for Docker Hub.
struct Hub {
    served: Served,
    /// A shell script that puts it into the place of the real one.
    mounts: String,
}

impl Hub {
    fn start(stage: &Stage) -> Self {
        gantry::tls::install_crypto_provider();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names = ["registry-1.docker.io", "auth.docker.io"];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names.map(str::to_owned)).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let tls =
            tls.with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap());

        let address = own_address();
        let left = AtomicI64::new(76);
        let served = Served::at(&format!("{address}:443"), Some(Arc::new(tls.unwrap())), move |request| {
            answer(request, &left)
        });
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        stage.write("etc/hosts", &format!("{hosts}\n{address} {}\n", names.join(" ")));
        let file = stage.write("etc/docker/certs.d/registry-1.docker.io/ca.crt", &authority.pem());
        let etc = file.ancestors().nth(4).unwrap().display();
        let mounts = format!("mount -n -t overlay -o lowerdir={etc}:/etc overlay /etc");
        Self { served, mounts }
    }

    fn gantry(&self, stage: &Stage) -> Gantry {
        stage.gantry().with_mounts(&self.mounts)
    }

    /// The requests so far: method, path, and who asked.
    fn take(&self) -> Vec<String> {
        let requests = self.served.server.requests();
        self.served.server.take();
        let who = |request: &Request| match request.header("authorization") {
            "" => "nobody".to_owned(),
            sent => sent.strip_prefix("Bearer ").unwrap_or("a password").to_owned(),
        };
        requests.iter().map(|it| format!("{} {} {}", it.method, it.path, who(it))).collect()
    }
}

/// Answers as Docker Hub does. Each look-up of a service's tag is as if somebody had pulled meanwhile.
fn answer(request: &Request, left: &AtomicI64) -> Answer {
    let rate = "/v2/ratelimitpreview/test/manifests/latest";
    let limits = |remaining: i64, limit: i64| {
        Answer::new(200, INDEX)
            .with("content-type", "application/vnd.oci.image.index.v1+json")
            .with("docker-content-digest", &new_digest())
            .with("ratelimit-limit", &format!("{limit};w=21600"))
            .with("ratelimit-remaining", &format!("{remaining};w=21600"))
    };
    match (request.path.as_str(), request.header("authorization")) {
        ("/token", "") => Answer::json(200, r#"{"token":"anybody"}"#),
        ("/token", sent) if sent.ends_with(&PULLER.encoded()) => Answer::json(200, r#"{"token":"member"}"#),
        ("/token", _) => Answer::json(401, r#"{"details":"incorrect username or password"}"#),
        (path, "Bearer anybody") if path == rate => limits(left.load(SeqCst), 100),
        (path, "Bearer member") if path == rate => limits(100 + left.load(SeqCst), 200),
        (_, "Bearer anybody" | "Bearer member") => {
            left.fetch_sub(i64::from(request.method == "HEAD"), SeqCst);
            limits(0, 0)
        }
        _ => Answer::json(401, "{}").with(
            "www-authenticate",
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
        ),
    }
}

#[test]
fn what_docker_hub_still_allows_is_told_before_and_after_in_the_accounts_own_name() {
    let stage = Stage::new();
    let hub = Hub::start(&stage);
    let service = without_tasks(&stage, "app", &format!("docker.io/team/app:1@{OLD}"), None);

    // Nobody's name: the address counts.
    let run = hub.gantry(&stage).run();
    assert!(
        run.says(&["Docker Hub before the cycle: 76 of 100 pulls left in 6 h for this address"]),
        "{run}"
    );
    let after = "Docker Hub after the cycle: 75 of 100 pulls left in 6 h for this address (76 before)";
    assert!(run.says(&[after]), "{run}");
    assert_eq!(service.image().split('@').nth(1), Some(new_digest().as_str()), "{run}");
    let (rate, tag) = ("HEAD /v2/ratelimitpreview/test/manifests/latest", "HEAD /v2/team/app/manifests/1");
    let token = "GET /token nobody";
    assert_eq!(
        hub.take(),
        [
            format!("{rate} nobody"),
            token.to_owned(),
            format!("{rate} anybody"),
            token.to_owned(),
            format!("{tag} anybody"),
            format!("GET /v2/team/app/manifests/{} anybody", new_digest()),
            format!("{rate} anybody"),
        ]
    );

    // Docker Hub's own key, under which `docker login` without a server writes.
    let config = json!({ "auths": { "https://index.docker.io/v1/": { "auth": PULLER.encoded() } } });
    let run = hub.gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "hub", &config)).run();
    assert!(run.says(&["Docker Hub before the cycle: 175 of 200 pulls left in 6 h for puller"]), "{run}");
    let after = "Docker Hub after the cycle: 174 of 200 pulls left in 6 h for puller (175 before)";
    assert!(run.says(&[after]), "{run}");
    assert!(hub.take().iter().all(|request| !request.ends_with("anybody")));
    is_discreet(&run);

    // A login without a host is one for Docker Hub.
    let gantry = hub.gantry(&stage).set("GANTRY_REGISTRY_USER", PULLER.user);
    let run = gantry.set("GANTRY_REGISTRY_PASSWORD", PULLER.password).run();
    assert!(run.says(&["Docker Hub before the cycle: 174 of 200 pulls left in 6 h for puller"]), "{run}");
    is_discreet(&run);
}

#[test]
fn an_account_for_another_registry_is_not_shown_to_docker_hub_which_is_not_asked_without_need() {
    let stage = Stage::new();
    let hub = Hub::start(&stage);
    let elsewhere = stage.image("web", "1", &[]);
    let other = without_tasks(&stage, "elsewhere", &elsewhere.name, None);
    let config = json!({ "auths": { "ghcr.io": { "auth": PULLER.encoded() } } });
    let gantry = hub.gantry(&stage).set("DOCKER_CONFIG", &folder(&stage, "config", &config));
    let run = gantry.run();
    assert!(!run.says(&["Docker Hub"]) && hub.take().is_empty(), "{run}");

    let service = without_tasks(&stage, "app", "docker.io/team/app:1", None);
    let run = gantry.run();
    assert!(
        run.says(&["Docker Hub before the cycle: 76 of 100 pulls left in 6 h for this address"]),
        "{run}"
    );
    assert!(hub.take().iter().all(|request| !request.ends_with("member") && !request.ends_with("password")));
    assert!(service.image().ends_with(&new_digest()) && other.image().contains(&elsewhere.name));
}
