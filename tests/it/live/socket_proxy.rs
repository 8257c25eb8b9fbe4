//! Gantry behind a socket proxy that lets through what docs/socket-proxy.md lists, and nothing else.

use super::deployed::own_image;
use super::support::{SocketProxy, Stage};

const PAGE: &str = include_str!("../../../docs/socket-proxy.md");

/// The routes of the page's table.
fn routes() -> Vec<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').nth(1).unwrap());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut routes: Vec<String> = quoted.map(str::to_owned).collect();
    routes.sort();
    routes
}

/// The routes of wollomatic's options, which are regular expressions.
fn of_wollomatic() -> Vec<String> {
    let mut routes = Vec::new();
    for (option, method) in
        [("- -allowGET=", "GET"), ("- -allowPOST=", "POST"), ("- -allowDELETE=", "DELETE")]
    {
        let line = PAGE.lines().find_map(|line| line.trim().strip_prefix(option)).unwrap();
        let paths =
            line.strip_prefix(r"(/v1\.[0-9]+)?/").unwrap().trim_start_matches('(').trim_end_matches(')');
        routes.extend(paths.split('|').map(|path| format!("{method} /{}", path.replace("[^/]+", "ID"))));
    }
    routes.sort();
    routes
}

#[test]
fn behind_a_proxy_that_allows_what_the_page_lists_everything_works() {
    let routes = routes();
    assert_eq!(routes, of_wollomatic(), "the page's table and its rules");
    let stage = Stage::new();
    let (network, secret) = (stage.name("net"), stage.name("secret"));
    stage.lab.docker(&["network", "create", "--driver", "overlay", &network]);
    let file = stage.write("secret", "x").display().to_string();
    stage.lab.docker(&["secret", "create", &secret, &file]);
    let old = stage.image("web", "1", &[]);
    let options = format!("gantry.update.options=--network-add {network} --secret-add {secret}");
    let web = stage.service("web", &old, &[]);
    // Networks of the swarm carry nothing in the lab, so this one has no tasks.
    let connected = stage.create("connected", &old.name, &["--replicas", "0", "--label", &options]);
    let other = stage.image("other", "1", &[]);
    let optioned = ["--label", "gantry.rollback.options=--env-add ROLLED_BACK=1"];
    let (bad, worse) = (stage.service("bad", &other, &[]), stage.service("worse", &other, &optioned));
    let new = stage.image("web", "2", &[]);
    stage.crashing_image("other", "2");

    let proxy = SocketProxy::start(&stage);
    proxy.allow_only(&routes);
    let run = stage
        .gantry()
        .set("DOCKER_HOST", &proxy.docker_host())
        .set("GANTRY_CLEANUP_IMAGES", "true")
        .set("GANTRY_CLEANUP_IMAGES_REMOVER", &own_image(&stage))
        .run();

    assert_eq!(run.outcome(&web), "updated", "{run}");
    web.runs(&new, 1);
    assert!(run.outcome(&connected).starts_with("started"), "{run}");
    let template = &connected.spec()["TaskTemplate"];
    assert_eq!(template["Networks"].as_array().map(Vec::len), Some(1), "{run}");
    assert_eq!(template["ContainerSpec"]["Secrets"].as_array().map(Vec::len), Some(1), "{run}");
    for service in [&bad, &worse] {
        assert!(run.outcome(service).starts_with("rolled back: "), "{run}");
        service.runs(&other, 1);
    }
    assert!(run.says(&["removed image"]), "{run}");
    assert_eq!(proxy.to_others_than(&routes), [""; 0], "{run}");
    // What is listed is needed: but for what finds out which service Gantry is, as it runs as none here.
    let unused = proxy.without_request(&routes);
    assert!(unused.iter().all(|route| route.contains("/containers/")), "{unused:?}: {run}");
}
