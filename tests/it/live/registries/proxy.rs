//! Registries that are reached through a proxy alone.

use gantry::proxy::Proxy;

use super::*;
use crate::support::way::Way;

#[test]
fn an_engines_proxy_is_used_by_the_same_rules_and_named_where_it_is_missing() {
    let (stage, runtime) = (Stage::new(), Runtime::new().unwrap());
    let content = Content::of("behind a proxy", site::MANIFEST, None);
    let (answers, right) = (content.clone(), Ok(content.digest()));
    let address = format!("{}:0", stage.lab.host);
    let server = runtime.block_on(Server::start_at(&address, None, move |request| answers.good(request)));
    let way = runtime.block_on(Way::at(&address, &server, "200 OK"));
    let proxy = format!("http://me:hunter2@{}", way.address);
    // A name that nobody resolves but the proxy.
    let host = "registry.corp.test:5078";
    let config = stage.write("none/config.json", "{}").parent().unwrap().display().to_string();
    let site = Site { content, other: String::new(), tokens: String::new() };
    let row = rows().remove(0);
    let running = Running { row, site, host: host.to_owned(), config };
    let insecure = [format!("--insecure-registry={host}")];
    for (no_proxy, is_proxied) in [("registry.corp.test:5079, other.test", true), ("*.corp.test", false)] {
        let variables =
            [("HTTP_PROXY", proxy.as_str()), ("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", no_proxy)];
        let engine = PullEngine::start(&stage, "proxy", &insecure, &variables);
        let hosts = runtime.block_on(Engine::new(engine.address()).engine()).unwrap().registries;
        let hosts = Arc::new(hosts);
        let read = |variable| Some(Proxy::read(variable, &proxy).unwrap());
        let same = registry_of(&stage, Proxies::new(read("HTTP_PROXY"), read("HTTPS_PROXY"), no_proxy));
        let none = registry_of(&stage, Proxies::default());

        let pulled = engine.pull(&running.config, &running.image());
        let found = runtime.block_on(running.found(&same, &hosts));
        assert_eq!((pulled == right, found == right), (is_proxied, is_proxied), "{pulled:?} {found:?}");
        let error = runtime.block_on(running.found(&none, &hosts)).unwrap_err();
        let names_it = error.contains(&format!("the engine goes through the proxy http://{}", way.address));
        assert_eq!(names_it, is_proxied, "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
