//! Variables that no other file of live tests is about: what each of them changes on the real swarm.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::support::{Gantry, Service, Stage, wait};
use crate::registry::trust::pki;
use crate::support::http::{Answer, Server};

/// The digest of all tags of the servers here that are no real registries.
const ANY_DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A specification with this image and no replicas, as a program posts it: nobody has asked a registry.
fn idle(image: &str) -> Value {
    json!({
        "TaskTemplate": { "ContainerSpec": { "Image": image }, "Networks": [{ "Target": "host" }] },
        "Mode": { "Replicated": { "Replicas": 0 } },
    })
}

#[test]
fn without_manifests_no_registry_is_asked_for_any_service_that_does_not_want_it() {
    let stage = Stage::new();
    let image = stage.image("web", "1", &[]);
    let service = stage.post("web", idle(&image.name));
    let mut asked = idle(&image.name);
    asked["Labels"]["gantry.manifest.cmd"] = "manifest".into();
    let asked = stage.post("asked", asked);
    let run = stage.gantry().set("GANTRY_MANIFEST_CMD", "none").run();
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!((service.image(), asked.image()), (image.name.clone(), image.pinned()), "{run}");
    assert_eq!(service.spec()["TaskTemplate"]["ForceUpdate"], 1);
}

/// An address of this machine that engines do not trust without TLS: neither loopback nor the lab's own.
fn untrusted_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: this only asks the kernel which address it would send from.
    socket.connect("192.0.2.254:9").expect("this test needs a machine with a route out of it");
    socket.local_addr().unwrap().ip().to_string()
}

/// Passes connections on to the lab's registry; returns where it listens. It ends with the test's process.
fn untrusted_registry(registry: &str) -> String {
    let listener = TcpListener::bind((untrusted_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&registry) else { continue };
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far.try_clone().unwrap(), near.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    address
}

#[test]
fn a_registry_without_tls_that_the_engine_does_not_trust_is_asked_only_with_insecure() {
    let stage = Stage::new();
    let image = stage.image("web", "1", &[]);
    let name = format!("{}/{}:latest", untrusted_registry(&stage.lab.registry), stage.repository("web"));
    let pinned = format!("{name}@{}", image.digest);
    let plain = stage.post("plain", idle(&name));
    let mut labelled = idle(&name);
    labelled["Labels"]["gantry.manifest.options"] = "--insecure".into();
    let labelled = stage.post("labelled", labelled);

    let run = stage.cycle();
    assert_eq!((run.code, run.summary()), (Some(1), "2 services: 1 started, 1 error"), "{run}");
    assert_eq!((plain.image(), labelled.image()), (name, pinned.clone()), "{run}");

    let run = stage.gantry().set("GANTRY_MANIFEST_OPTIONS", "--insecure").run();
    assert_eq!((run.code, run.summary()), (Some(0), "2 services: 1 up to date, 1 started"), "{run}");
    assert_eq!(plain.image(), pinned);
}

#[test]
fn no_label_sends_an_account_to_a_registry_that_the_engine_wants_tls_of() {
    let stage = Stage::new();
    let runtime = Runtime::new().unwrap();
    let address = format!("{}:0", untrusted_address());
    let server =
        runtime.block_on(Server::start_at(&address, None, |request| match request.header("authorization") {
            "" => Answer::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
            _ => Answer::new(200, "").with("docker-content-digest", ANY_DIGEST),
        }));
    let host = server.authority();
    let mut spec = idle(&format!("{host}/app:1@{ANY_DIGEST}"));
    spec["Labels"]["gantry.manifest.options"] = "--insecure".into();
    let service = stage.post("web", spec);
    let gantry = stage.gantry().set("GANTRY_REGISTRY_HOST", &host);
    let gantry = gantry.set("GANTRY_REGISTRY_USER", "me").set("GANTRY_REGISTRY_PASSWORD", "hunter2");
    for variable in ["", "--insecure=false"] {
        let run = gantry.clone().set("GANTRY_MANIFEST_OPTIONS", variable).run();
        let words = [
            "error: ",
            &service.name,
            "gantry.manifest.options=--insecure does not count",
            "insecure-registries",
        ];
        assert!(run.says(&words), "{run}");
        assert_eq!(server.requests().len(), 0, "{run}");
    }
    let run = gantry.set("GANTRY_MANIFEST_OPTIONS", "--insecure").run();
    assert_eq!(run.summary(), "1 service: 1 up to date", "{run}");
}

#[test]
fn a_registry_names_servers_inside_only_where_they_are_trusted() {
    let stage = Stage::new();
    let runtime = Runtime::new().unwrap();
    let inside = runtime.block_on(Server::start(|_| Answer::json(200, r#"{"token":"t"}"#)));
    let realm = format!("Bearer realm=\"{}\"", inside.url("/token"));
    let address = format!("{}:0", untrusted_address());
    let server = runtime.block_on(Server::start_at(&address, None, move |request| {
        match request.header("authorization") {
            "Bearer t" => Answer::new(200, "").with("docker-content-digest", ANY_DIGEST),
            _ => Answer::json(401, "{}").with("www-authenticate", &realm),
        }
    }));
    let service = stage.post("web", idle(&format!("{}/app:1@{ANY_DIGEST}", server.authority())));
    let gantry = stage.gantry().set("GANTRY_MANIFEST_OPTIONS", "--insecure");
    let run = gantry.clone().run();
    assert!(run.says(&["error: ", &service.name, "may not send Gantry to 127.0.0.1", "loopback"]), "{run}");
    assert_eq!(inside.requests().len(), 0, "{run}");
    let run = gantry.set("GANTRY_REGISTRY_TRUSTED_HOSTS", "127.0.0.1").run();
    assert_eq!(run.summary(), "1 service: 1 up to date", "{run}");
}

#[test]
fn no_more_images_are_looked_up_at_once_than_there_are_workers() {
    let stage = Stage::new();
    let runtime = Runtime::new().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (now.clone(), most.clone());
    let server = runtime.block_on(Server::start_slow(move |_| {
        let (now, most) = counters.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Answer::new(200, "").with("docker-content-digest", ANY_DIGEST)
        }
    }));
    for index in 0..6 {
        stage
            .post(&format!("web{index}"), idle(&format!("{}/app{index}:1@{ANY_DIGEST}", server.authority())));
    }
    let most_at_once = |workers: &str| {
        most.store(0, Ordering::SeqCst);
        let run = stage.gantry().set("GANTRY_MANIFEST_NUM_WORKERS", workers).run();
        assert_eq!(run.summary(), "6 services: 6 up to date", "{run}");
        most.load(Ordering::SeqCst)
    };
    assert_eq!(most_at_once("2"), 2);
    assert!(most_at_once("10") > 2, "more workers ask more at once");
}

#[test]
fn a_rollout_stops_at_the_ratio_and_number_of_failures_that_it_was_given() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    // The first gets whatever comes to run.
    let good = stage.service("good", &old, &["--env", "GOOD=yes", "--label", "gantry.rollout.canary=true"]);
    let others: Vec<Service<'_>> =
        (1..=4).map(|index| stage.service(&format!("web{index}"), &old, &[])).collect();
    let touched = |version: &str, variable: &str, value: &str| {
        let broken =
            format!("[ -n \"$GOOD\" ] || exit 3; trap exit TERM; while :; do sleep 0.1; done # {version}");
        let new = stage.image("web", version, &["--cmd", &broken]);
        let versions: Vec<_> = others.iter().map(Service::version).collect();
        let run = stage
            .gantry()
            .set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1")
            .set("GANTRY_UPDATE_NUM_WORKERS", "1")
            .set("GANTRY_ROLLOUT_MIN_FAILURES", "1")
            .set(variable, value)
            .run();
        assert_eq!((run.code, good.image()), (Some(1), new.pinned()), "{run}");
        others.iter().zip(versions).filter(|(service, version)| service.version() != *version).count()
    };
    // One of two, two of three, three of four.
    assert_eq!(touched("2", "GANTRY_ROLLOUT_MAX_FAILURE_RATIO", "0.6"), 2);
    assert_eq!(touched("3", "GANTRY_ROLLOUT_MIN_FAILURES", "3"), 3);
}

#[test]
fn what_is_remembered_is_in_the_config_that_was_named() {
    let stage = Stage::new();
    stage.service("web", &stage.image("web", "1", &[]), &[]);
    stage.image("web", "2", &[]);
    let name = stage.name("memory");
    let run = stage.gantry().set("GANTRY_LEDGER_NAME", &name).run();
    assert_eq!(run.summary(), "1 service: 1 updated", "{run}");
    let named = stage.lab.get_json(&format!("/configs/{name}"));
    assert!(named["Spec"]["Labels"].as_object().is_some_and(|labels| !labels.is_empty()), "{named}");
    let default = stage.lab.engine(1, "GET", &format!("/configs/{}", stage.ledger())).unwrap();
    assert_eq!(default.status, 404);
}

#[test]
fn the_variable_for_rollbacks_changes_what_is_restored() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let service = stage.service("web", &old, &[]);
    stage.image("web", "2", &["--cmd", "exit 3"]);
    let run = stage.gantry().set("GANTRY_ROLLBACK_OPTIONS", "--env-add ROLLED=back").run();
    assert!(run.outcome(&service).starts_with("rolled back"), "{run}");
    assert_eq!(service.image(), old.pinned());
    assert_eq!(service.spec()["TaskTemplate"]["ContainerSpec"]["Env"], json!(["ROLLED=back"]));
}

#[test]
fn a_process_that_is_told_what_to_remove_removes_it_from_its_node() {
    let stage = Stage::new();
    let image = stage.image("web", "1", &[]);
    stage.image("web", "2", &[]);
    stage.lab.docker_on(2, &["pull", "--quiet", &image.pinned()]);
    let has_image = || {
        let path = format!("/images/{}/json", image.pinned());
        stage.lab.engine(2, "GET", &path).unwrap().status == 200
    };
    assert!(has_image());
    let remover = Gantry::new()
        .set("DOCKER_HOST", &stage.lab.docker_host(2))
        .set("GANTRY_IMAGES_TO_REMOVE", &image.pinned())
        .start();
    wait("the remover's answer", 60, || remover.answers().first().cloned());
    assert!(!has_image());
    let answers = remover.answers();
    assert!(answers.len() == 1 && answers[0].starts_with("{\"gantry_image_removal\":"), "{answers:?}");
    let log = remover.lines();
    assert!(log.iter().all(|line| !line.message().contains("gantry_image_removal")), "{log:?}");
    assert_eq!(remover.stop().code, Some(0));
    // What it could not do is told by its answer and by its end.
    let nowhere = format!("unix://{}", stage.folder.path().join("nowhere.sock").display());
    let remover =
        Gantry::new().set("DOCKER_HOST", &nowhere).set("GANTRY_IMAGES_TO_REMOVE", &image.pinned()).start();
    wait("the remover's answer", 60, || remover.answers().first().cloned());
    assert_eq!(remover.stop().code, Some(1));
}

/// The manager's engine behind TLS that wants a client's certificate, while the runtime lives: its address.
fn engine_behind_tls(stage: &Stage, runtime: &Runtime, server: Arc<rustls::ServerConfig>) -> String {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (acceptor, socket) = (TlsAcceptor::from(server), stage.lab.socket(1));
    runtime.spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut near = acceptor.accept(connection).await?;
                let mut far = UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    address
}

#[test]
fn an_engine_behind_tls_is_spoken_to_with_the_certificates_of_the_folder_and_with_no_others() {
    let stage = Stage::new();
    let runtime = Runtime::new().unwrap();
    let (ours, others) = (pki(), pki());
    let address = engine_behind_tls(&stage, &runtime, ours.strict_server);
    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let new = stage.image("web", "2", &[]);
    let gantry = |folder: &str, authority: &str| {
        let path = stage.write(&format!("{folder}/ca.pem"), authority);
        stage.write(&format!("{folder}/cert.pem"), &ours.client.0);
        stage.write(&format!("{folder}/key.pem"), &ours.client.1);
        stage
            .gantry()
            .set("DOCKER_HOST", &format!("tcp://{address}"))
            .set("DOCKER_TLS_VERIFY", "1")
            .set("DOCKER_CERT_PATH", &path.parent().unwrap().display().to_string())
    };
    // A server that another authority vouches for may be anybody.
    let stranger = gantry("others", &others.authority).start();
    stranger.wait_for("ertificate", 60);
    drop(stranger);
    let plain = stage.gantry().set("DOCKER_HOST", &format!("tcp://{address}")).start();
    wait("a word on the engine that does not answer", 60, || {
        plain.lines().iter().any(|line| ["WARN", "ERROR"].contains(&line.level())).then_some(())
    });
    drop(plain);
    assert_ne!(service.image(), new.pinned());

    let run = gantry("ours", &ours.authority).run();
    assert_eq!((run.code, run.outcome(&service)), (Some(0), "updated"), "{run}");
    service.runs(&new, 1);
}
