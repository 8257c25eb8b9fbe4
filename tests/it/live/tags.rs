//! Services that follow newer tags, with a real registry behind a proxy that pages its tag list, truly or not.

use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, Runtime};

use super::support::{Image, Registry, Stage, free_port};
use crate::support::http::{Answer, Request, Server};

/// How the proxy says where the next page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Relative,
    Absolute,
    Foreign,
    Looping,
    BrokenOff,
}

/// What the proxy tells of the repository.
struct Told {
    tags: Vec<String>,
    next: Next,
}

/// The lab's registry behind a proxy that lists 12,000 tags more than there are, a thousand a page. It ends when it is dropped.
struct PagingProxy<'a> {
    stage: &'a Stage,
    server: Server,
    /// Another server, which no request may reach.
    foreign: Server,
    told: Arc<Mutex<Told>>,
    runtime: Option<Runtime>,
}

impl<'a> PagingProxy<'a> {
    fn start(stage: &'a Stage) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let told = Arc::new(Mutex::new(Told { tags: Vec::new(), next: Next::Relative }));
        let address = format!("{}:0", stage.lab.host);
        let foreign = runtime.block_on(Server::start_at(&address, None, |_| page(&["9.9.9".to_owned()])));
        let (shared, registry, elsewhere) = (Arc::clone(&told), stage.lab.registry.clone(), foreign.url(""));
        let answer = move |request: &Request| {
            if request.path.ends_with("/tags/list") {
                return list(&shared.lock().unwrap(), request, &elsewhere);
            }
            Answer::new(307, "").with("location", &format!("http://{registry}{}", request.path))
        };
        let server = runtime.block_on(Server::start_at(&address, None, answer));
        Self { stage, server, foreign, told, runtime: Some(runtime) }
    }

    fn set_next(&self, next: Next) {
        self.told.lock().unwrap().next = next;
    }

    /// Makes an image with this tag; of the same version, it is the same image.
    fn publish(&self, tag: &str, version: &str) -> Image {
        self.publish_with(tag, version, &[])
    }

    fn publish_with(&self, tag: &str, version: &str, options: &[&str]) -> Image {
        let image = self.stage.image(&format!("shop:{tag}"), version, options);
        self.tell(tag, image.digest)
    }

    /// Lets a tag point to what another one points to.
    fn point(&self, tag: &str, to: &str) -> Image {
        let (registry, repository) = (Registry::at(&self.stage.lab.registry), self.stage.repository("shop"));
        let manifest = registry.manifest(&repository, to);
        let kind: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let digest = registry.put_manifest(&repository, tag, kind["mediaType"].as_str().unwrap(), &manifest);
        self.tell(tag, digest)
    }

    fn tell(&self, tag: &str, digest: String) -> Image {
        self.told.lock().unwrap().tags.push(tag.to_owned());
        Image { name: self.name(tag), digest }
    }

    /// The name of an image, by way of the proxy.
    fn name(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.server.authority(), self.stage.repository("shop"))
    }

    /// How many pages were asked for.
    fn pages(&self) -> usize {
        self.server.requests().iter().filter(|request| request.path.ends_with("/tags/list")).count()
    }
}

impl Drop for PagingProxy<'_> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn page(tags: &[String]) -> Answer {
    Answer::json(200, serde_json::json!({ "name": "shop", "tags": tags }).to_string())
}

fn list(told: &Told, request: &Request, foreign: &str) -> Answer {
    let of = |part: &str| part.strip_prefix("page=").and_then(|number| number.parse().ok());
    let number: usize = request.query.split('&').find_map(of).unwrap_or(1);
    if told.next == Next::BrokenOff && number == 3 {
        return Answer::Cut;
    }
    let begin = (number - 1) * 1000;
    let mut tags: Vec<String> = (begin..begin + 1000).map(|patch| format!("0.1.{patch}")).collect();
    if number == 12 {
        tags.extend(told.tags.iter().cloned());
        return page(&tags);
    }
    let next = if told.next == Next::Looping && number == 4 { 2 } else { number + 1 };
    let path = format!("{}?page={next}&last=b%2Fc%3D", request.path);
    let link = match told.next {
        Next::Absolute => format!("http://{}{path}", request.header("host")),
        Next::Foreign => format!("{foreign}{path}"),
        Next::Relative | Next::Looping | Next::BrokenOff => path,
    };
    page(&tags).with("link", &format!("<{link}>; rel=\"next\""))
}

/// Options of a service that follows newer tags.
fn policy(policy: &str) -> [String; 2] {
    ["--label".to_owned(), format!("gantry.update.tags={policy}")]
}

#[test]
fn a_patch_line_is_followed_by_canary_and_never_left() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let (old, alpine) = (proxy.publish("1.2.3", "1"), proxy.publish("1.2.3-alpine", "a"));
    let [label, patch] = policy("patch");
    let options = [&*label, &*patch];
    let canary =
        stage.service("a-shop", &old, &[&options[..], &["--label", "gantry.rollout.canary=true"]].concat());
    let shop = stage.service("shop", &old, &options);
    let [label, major] = policy("major");
    let small = stage.service("alpine", &alpine, &[&label, &major]);
    let gantry = stage.gantry().set("GANTRY_ROLLOUT_INITIAL_WORKERS", "1");
    for next in [Next::Relative, Next::Absolute] {
        proxy.set_next(next);
        let before = proxy.pages();
        let run = gantry.run();
        assert_eq!((run.code, proxy.pages() - before), (Some(0), 12), "{next:?}: {run}");
        assert!(run.says(&["3 services: 3 up to date"]), "{run}");
    }

    let new = proxy.publish("1.2.4", "2");
    proxy.publish("1.2.5-rc.1", "3");
    proxy.publish("1.3.0", "4");
    let run = gantry.run();
    assert_eq!(run.code, Some(0), "{run}");
    canary.runs(&new, 1);
    shop.runs(&new, 1);
    small.runs(&alpine, 1);
    assert_eq!(shop.image(), new.pinned());
    assert!(
        run.says(&["1.2.4 is the newest that gantry.update.tags=patch accepts", "1.3.0 exists"]),
        "{run}"
    );
    let end = |image: &Image, tag: &str| format!("{tag}@{}", &image.digest[7..19]);
    let updates: Vec<_> = run.lines.iter().filter(|line| line.text("to") == end(&new, "1.2.4")).collect();
    assert!(
        updates.iter().any(|line| line.is_about(&canary) && line.text("from") == end(&old, "1.2.3")),
        "{run}"
    );
    let first = updates.iter().find(|line| !line.text("service").is_empty()).unwrap();
    assert!(first.is_about(&canary), "the canary comes first: {updates:?}");

    // A second cycle sends nothing.
    let versions = [canary.version(), shop.version(), small.version()];
    assert!(gantry.run().says(&["3 services: 3 up to date"]));
    assert_eq!([canary.version(), shop.version(), small.version()], versions);

    // The page's own explanation names the gate, and says that the line may have ended.
    let address = format!("127.0.0.1:{}", free_port());
    let trigger = stage.write("trigger", "");
    let daemon = gantry
        .set("GANTRY_SLEEP_SECONDS", "3600")
        .set("GANTRY_TRIGGER_PATH", &trigger.display().to_string())
        .set("GANTRY_HTTP_ADDRESS", &address)
        .start();
    daemon.wait_for("3 services: 3 up to date", 60);
    let explanation = format!("/api/v1/services/{}", shop.name);
    let ask = super::support::Request { method: "GET", path: &explanation, ..Default::default() };
    let explained = ask.to_host(&address).unwrap().good().json();
    let gates = explained["gates"].as_array().unwrap();
    let tags = gates.iter().find(|gate| gate["gate"] == "tags").unwrap_or_else(|| panic!("{explained:#}"));
    let why = tags["why"].as_str().unwrap();
    assert!(why.ends_with("1.3.0 exists: the line may have ended"), "{why}");

    // A run that a user starts lists the tags at once.
    let newest = proxy.publish("1.2.6", "5");
    stage.write("trigger", "now");
    daemon.wait_for("2 updated", 120);
    shop.settles_on(&newest);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_broken_tag_is_in_quarantine_under_every_name() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let old = proxy.publish("1.2.4", "1");
    let [label, patch] = policy("patch");
    let shop = stage.service("shop", &old, &[&label, &patch]);
    let line = proxy.point("1.2", "1.2.4");
    let rolling = stage.service("rolling", &line, &[]);
    let gantry =
        stage.gantry().set("GANTRY_ROLLOUT_MAX_FAILURE_RATIO", "0").set("GANTRY_ROLLOUT_MIN_FAILURES", "1");
    assert!(gantry.run().says(&["2 services: 2 up to date"]));

    proxy.publish_with("1.2.5", "2", &["--cmd", "echo no database; sleep 0.2; exit 3"]);
    let run = gantry.run();
    assert!(run.says(&["rolled back"]), "{run}");
    shop.runs(&old, 1);
    // The rolling tag of the line gets the same broken image.
    proxy.point("1.2", "1.2.5");
    let versions = [shop.version(), rolling.version()];
    let run = gantry.run();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.says(&["is in quarantine for all services"]), "{run}");
    assert_eq!([shop.version(), rolling.version()], versions);

    let good = proxy.publish("1.2.6", "3");
    gantry.run();
    shop.runs(&good, 1);
}

#[test]
fn a_list_that_lies_changes_nothing_and_no_request_leaves_the_registry() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let old = proxy.publish("1.2.3", "1");
    let [label, patch] = policy("patch");
    let shop = stage.service("shop", &old, &[&label, &patch]);
    proxy.publish("1.2.4", "2");
    for (next, words) in [
        (Next::Foreign, "and no account follows"),
        (Next::Looping, "broke off at page 5: its Link leads back to a page that was read already"),
        (Next::BrokenOff, "broke off at page 3"),
    ] {
        proxy.set_next(next);
        let run = stage.cycle();
        assert_eq!(run.code, Some(1), "{next:?}: {run}");
        assert!(run.says(&[words]), "{next:?}: {run}");
        assert_eq!(shop.image(), old.pinned(), "{next:?}");
    }
    assert!(proxy.foreign.requests().is_empty());
    proxy.set_next(Next::Relative);
    assert_eq!(stage.cycle().code, Some(0));
    assert_eq!(shop.image(), format!("{}@{}", proxy.name("1.2.4"), digest_of(&shop.image())));
}

fn digest_of(image: &str) -> &str {
    image.split_once('@').unwrap().1
}

#[test]
fn a_stack_file_with_the_old_tag_is_followed_once() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let old = proxy.publish("1.2.3", "1");
    let new = proxy.publish("1.2.4", "2");
    let file = format!(
        "version: \"3.8\"\nservices:\n  shop:\n    image: {}\n    networks: [host]\n    stop_grace_period: 1s\n    deploy:\n      \
         update_config: {{monitor: 1s, order: start-first}}\n      labels:\n        gantry.update.tags: patch\n        \
         {}: \"{}\"\nnetworks: {{host: {{external: true, name: host}}}}\n",
        proxy.name("1.2.3"),
        super::support::LABEL,
        stage.prefix,
    );
    let file = stage.write("stack.yml", &file);
    let name = stage.name("st");
    let deploy =
        || stage.lab.docker(&["stack", "deploy", "--compose-file", &file.display().to_string(), &name]);
    deploy();
    let service = format!("{name}_shop");
    let id = stage.lab.docker(&["service", "inspect", "--format", "{{.ID}}", &service]);
    let shop = super::support::Service { stage: &stage, name: service, id: id.trim().to_owned() }.running();
    for _ in 0..2 {
        shop.settles_on(&old);
        let run = stage.cycle();
        assert_eq!(run.code, Some(0), "{run}");
        shop.settles_on(&new);
        let version = shop.version();
        assert!(stage.cycle().says(&["1 service: 1 up to date"]));
        assert_eq!(shop.version(), version);
        deploy();
    }
}

#[test]
fn a_rollback_by_hand_holds_until_a_higher_tag_exists() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let old = proxy.publish("6.10.4", "1");
    let [label, patch] = policy("patch");
    let shop = stage.service("shop", &old, &[&label, &patch]);
    let new = proxy.publish("6.10.5", "2");
    stage.cycle();
    shop.settles_on(&new);
    shop.roll_back();
    shop.settles_on(&old);
    let version = shop.version();
    for _ in 0..2 {
        assert!(stage.cycle().says(&["rolled back by hand from"]));
        assert_eq!(shop.version(), version);
    }
    let newer = proxy.publish("6.10.6", "3");
    stage.cycle();
    shop.settles_on(&newer);
}

#[test]
fn a_tag_that_no_policy_fits_is_held_and_its_digest_is_followed() {
    let stage = Stage::new();
    let proxy = PagingProxy::start(&stage);
    let old = proxy.publish("2024", "1");
    let pre = proxy.publish("2.0.0-rc.1", "p");
    let year = stage.service("year", &old, &[]);
    let next = stage.service("next", &pre, &["--label", "gantry.update.tags.prereleases=true"]);
    // The variable is for all services, and `patch` means nothing for a year.
    let gantry = stage.gantry().set("GANTRY_UPDATE_TAGS", "patch");
    let run = gantry.run();
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.says(&["no tag of", ":2024 fits gantry.update.tags=patch (the tag has 1 number)"]), "{run}");
    let rebuilt = proxy.publish("2024", "2");
    let newer = proxy.publish("2.0.0-rc.2", "q");
    gantry.run();
    year.runs(&rebuilt, 1);
    next.runs(&newer, 1);
}
