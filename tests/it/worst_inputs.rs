//! The worst that one label, one answer or one file says, beside an honest service: the program itself updates the honest
//! service in its own time, stays healthy, and obeys its signals.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use gantry::image::Digest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tokio::time::sleep;

use crate::fake::{FakeSwarm, Front, millis, pinned, secs};
use crate::support::http::{Answer, Request, Server};
use crate::support::program::{Gantry, PATIENCE, STOP_LIMIT, healthcheck};
use crate::support::sha256;

/// How many services have an index of their own with as many children as are allowed.
const LARGE: usize = 30;

/// The most memory that the program may have had, in KiB: half of what `stack.yml` allows.
const MOST_MEMORY: u64 = 128 << 10;

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

fn honest_index() -> String {
    let child = sha256("child");
    format!(r#"{{"manifests":[{{"digest":"{child}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#)
}

/// The index that the registry has under this name.
fn index(repository: &str) -> String {
    match repository {
        "children" => format!(r#"{{"manifests":[{}]}}"#, list(4 << 18, |_| "{}".to_owned())),
        "platforms" => {
            let child = |n| format!(r#"{{"platform":{{"os":"linux","architecture":"a{n}"}}}}"#);
            format!(r#"{{"manifests":[{}]}}"#, list(900, child))
        }
        name if name.starts_with("large") => {
            let child = |n| format!(r#"{{"digest":"{}"}}"#, sha256(format!("{name} {n}")));
            let padding = " ".repeat(256 << 10);
            format!(r#"{{"x":"{padding}","manifests":[{}]}}"#, list(1000, child))
        }
        _ => honest_index(),
    }
}

/// A registry with all of these. What it answers is made once: to make it takes longer than to read it.
async fn registry() -> Server {
    let names = ["honest", "children", "platforms", "token"].map(str::to_owned).into_iter();
    let names = names.chain((0..LARGE).map(|n| format!("large{n}")));
    let indexes: HashMap<String, (String, Digest)> = names
        .map(|name| {
            let index = index(&name);
            let digest = sha256(&index);
            (name, (index, digest))
        })
        .collect();
    Server::start(move |request| answer(request, &indexes)).await
}

fn answer(request: &Request, indexes: &HashMap<String, (String, Digest)>) -> Answer {
    let address = request.header("host").to_owned();
    if request.path == "/token" {
        return Answer::json(
            200,
            format!(r#"{{"token":"t","expires_in":[{}]}}"#, list(1 << 20, |_| "[]".to_owned())),
        );
    }
    let repository = request.path.split('/').nth(2).unwrap_or_default();
    match repository {
        "token" if request.header("authorization").is_empty() => {
            let challenge = format!(r#"Bearer realm="http://{address}/token",service="s""#);
            Answer::new(401, "").with("www-authenticate", &challenge)
        }
        "challenge" => {
            let parameters = list(20_000, |n| format!("p{n}=x"));
            Answer::new(401, "").with("www-authenticate", &format!(r#"Bearer realm="",{parameters}"#))
        }
        "error" => Answer::json(403, format!(r#"{{"message":"{}"}}"#, "words ".repeat(600_000))),
        "endless" if request.method == "GET" => Answer::endless(200),
        "endless" => Answer::new(404, ""),
        repository => {
            let Some((index, digest)) = indexes.get(repository) else { return Answer::new(404, "") };
            let body = if request.method == "HEAD" { String::new() } else { index.clone() };
            Answer::json(200, body).with("docker-content-digest", digest.as_str())
        }
    }
}

/// Folders of which each has a `config.json` that no honest user has.
fn make_folders(root: &Path) {
    let path = |name: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        root.join(name).join("config.json")
    };
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zeros")).unwrap();
    std::fs::File::create(path("long")).unwrap().set_len(400 << 20).unwrap();
    let accounts = list(20_000, |n| format!(r#""{n}":{{}}"#));
    std::fs::write(path("accounts"), format!(r#"{{"auths":{{{accounts}}}}}"#)).unwrap();
}

/// All services whose labels, registry or files are hostile.
fn create_worst(swarm: &FakeSwarm, registry: &str, folders: &Path) {
    let service = |name: &str, repository: &str| {
        swarm.new_service(name).replicas(0).image(&pinned(&format!("{registry}/{repository}:1"), "old"))
    };
    for repository in ["children", "platforms", "token", "challenge", "error", "endless"] {
        service(repository, repository).create();
    }
    for n in 0..LARGE {
        service(&format!("large{n}"), &format!("large{n}")).create();
    }
    for folder in ["pipe", "zeros", "long", "accounts"] {
        let folder_path = folders.join(folder);
        service(folder, "honest").label("gantry.auth.config", folder_path.to_str().unwrap()).create();
    }
    service("login", "honest").label("gantry.auth.config", &"x".repeat(128 << 10)).create();
    let options = " --secret-add x".repeat(32 << 10);
    service("options", "honest").label("gantry.update.options", &options).create();
    let ports = "--publish-add 10000-20000:10000-20000/udp";
    service("ports", "honest").label("gantry.update.options", ports).create();
    let mut unknown = service("labels", "honest");
    for n in 0..5000 {
        unknown = unknown.label(&format!("gantry.update.ordr{n}{}", "x".repeat(60)), "x");
    }
    unknown.create();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worst_inputs_do_not_hold_up_an_honest_service() {
    let registry = registry().await;
    let swarm = FakeSwarm::with_nodes(1);
    let folder = tempfile::tempdir().unwrap();
    make_folders(folder.path());
    let name = format!("{}/honest:1", registry.authority());
    swarm.new_service("an-honest-one").replicas(0).image(&pinned(&name, "old")).create();
    create_worst(&swarm, &registry.authority(), folder.path());
    let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
    let variables = [("GANTRY_SLEEP_SECONDS", "3600"), ("GANTRY_CLEANUP_IMAGES", "false")];

    let begun = Instant::now();
    let mut gantry = Gantry::start(&front.address(), &variables);
    let id = gantry.id();
    let honest = format!("{name}@{}", sha256(honest_index()));
    let is_updated = async {
        while swarm.image_of("an-honest-one") != honest {
            assert!(begun.elapsed() < PATIENCE * 2, "{}", swarm.image_of("an-honest-one"));
            sleep(millis(200)).await;
            // Before it has begun to listen there is nothing to check.
            if begun.elapsed() > secs(2) {
                healthcheck(&front.address()).await.unwrap_or_else(|said| panic!("{said}"));
            }
        }
    };
    tokio::select! {
        () = is_updated => {}
        () = async { while gantry.read().await {} } => panic!("it has ended:\n{}", gantry.log),
    }
    gantry.says("waiting for the next cycle").await;
    healthcheck(&front.address()).await.unwrap_or_else(|said| panic!("{said}"));
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let memory: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap();
    let told = Instant::now();
    gantry.send(Signal::TERM);
    let (code, log) = gantry.end().await;
    assert!(code == Some(0) && told.elapsed() < STOP_LIMIT + secs(1), "{code:?} {:?}\n{log}", told.elapsed());
    assert!(memory < MOST_MEMORY, "{memory} KiB");

    for words in [
        "its index lists more than 1000 images; push an index with fewer",
        "its index lists more than 100 platforms; push an index with fewer",
        "its answer is longer than 4194304 bytes",
        "pipe/config.json cannot be read: it is a pipe, a socket or a device",
        "zeros/config.json cannot be read: it is a pipe, a socket or a device",
        "long/config.json cannot be read: it is longer than 1048576 bytes",
        "accounts/config.json cannot be read: more than 1000 registries",
        "label gantry.auth.config=(131072 bytes): expected at most 16384 bytes",
        "label gantry.update.options=(491520 bytes): expected at most 16384 bytes",
        "4990 more names are no labels of Gantry",
    ] {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    assert!(log.lines().all(|line| line.len() < 2000), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_the_program_while_it_reads_the_worst_inputs() {
    let registry = registry().await;
    let swarm = FakeSwarm::with_nodes(1);
    let folder = tempfile::tempdir().unwrap();
    make_folders(folder.path());
    create_worst(&swarm, &registry.authority(), folder.path());
    let front = Front::unix(&swarm, &folder.path().join("docker.sock"));
    let variables = [("GANTRY_SLEEP_SECONDS", "3600"), ("GANTRY_CLEANUP_IMAGES", "false")];
    for wait in [500, 1500] {
        let mut gantry = Gantry::start(&front.address(), &variables);
        let reading = async { while gantry.read().await {} };
        let _ = tokio::time::timeout(millis(wait), reading).await;
        let told = Instant::now();
        gantry.send(Signal::TERM);
        let (code, log) = gantry.end().await;
        assert!(
            code == Some(0) && told.elapsed() < STOP_LIMIT + secs(1),
            "{code:?} {:?}\n{log}",
            told.elapsed()
        );
    }
}
