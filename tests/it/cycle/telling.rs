//! Notifications, with a server that does not always do its part. The sockets are real, so time is hurried.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use gantry::config::Config;
use gantry::cycle::Report;
use gantry::daemon::End;
use gantry::daemon::notification::Notifier;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::daemon::daemon;
use super::{APP, Scene};
use crate::fake::{millis, secs};
use crate::support::clock::hurried;
use crate::support::http::{Answer, Server};
use crate::support::log::Log;
use crate::support::way::Way;

/// Where nobody listens, yet.
pub(super) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub(super) fn telling(address: &str) -> Scene {
    Scene::new()
        .with("GANTRY_NOTIFICATION_APPRISE_URL", format!("http://{address}/notify/team"))
        .with("GANTRY_NOTIFICATION_CONDITION", "on-change")
}

/// A cycle with news: something in it failed.
fn news(what: &str) -> Report {
    Report { post_run: Some(what.to_owned()), ..Report::default() }
}

/// The messages that a server was sent.
pub(super) fn told(server: &Server) -> Vec<Value> {
    server.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

pub(super) fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().unwrap()
}

/// A server whose status can be changed at any time.
async fn server_with(status: &Arc<AtomicU16>) -> Server {
    let status = status.clone();
    Server::start(move |_| Answer::new(status.load(SeqCst), "")).await
}

async fn tell(notifier: &mut Notifier, config: &Config, report: &Report) {
    notifier.tell(config, report, None, &CancellationToken::new()).await;
}

#[tokio::test]
async fn a_server_that_is_started_again_for_five_seconds_is_told_once() {
    let address = free_address();
    let config = telling(&address).config();
    let log = Log::from_level("INFO");
    let (mut notifier, report) = (Notifier::new(), news("disk full"));
    let server = hurried(async {
        let start = async {
            sleep(secs(5)).await;
            Server::start_at(&address, None, |_| Answer::new(200, "")).await
        };
        tokio::join!(start, tell(&mut notifier, &config, &report)).0
    })
    .await;
    let told = told(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(text(&told[0], "body").contains("disk full") && !text(&told[0], "title").contains("late"));
    assert!(log.lines_with("not sent").is_empty());
}

#[tokio::test]
async fn a_server_that_is_down_when_an_image_has_broken_a_service_is_told_with_the_next_cycle() {
    let address = free_address();
    let scene = telling(&address).with("GANTRY_SLEEP_SECONDS", 60);
    let log = Log::from_level("INFO");
    let server = hurried(async {
        scene.service("web").create();
        let bad = scene.registry.release(APP, "bad");
        scene.swarm.image(&bad).crashes_after(millis(10), 1);
        let begun = Instant::now();
        let restart = async {
            sleep(secs(55)).await;
            let server = Server::start_at(&address, None, |_| Answer::new(200, "")).await;
            tokio::time::sleep_until(begun + secs(170)).await;
            scene.stop.cancel();
            server
        };
        let daemon = daemon(&scene);
        let (server, end) = tokio::join!(restart, daemon.run(|_| {}));
        assert_eq!(end, End::Good);
        server
    })
    .await;
    // The second cycle and the third find the service in quarantine, which is no news.
    let told = told(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(text(&told[0], "title"), "Gantry: 1 rolled back (late)");
    assert!(text(&told[0], "body").starts_with("Of the cycle that ended at 20"), "{told:?}");
    assert!(text(&told[0], "body").contains("web: rolled back") && text(&told[0], "type") == "failure");
    let not_sent = log.lines_with("was not sent");
    assert!(not_sent.len() == 1 && not_sent[0].contains("it is sent with the next cycle's"), "{not_sent:?}");
}

#[tokio::test]
async fn of_what_could_not_be_delivered_the_newest_few_are_kept_and_only_where_there_is_news() {
    let status = Arc::new(AtomicU16::new(503));
    let server = server_with(&status).await;
    let scene = telling(&server.authority()).with("GANTRY_NOTIFICATION_CONDITION", "all");
    let config = scene.with("GANTRY_SLEEP_SECONDS", 60).config();
    let log = Log::from_level("INFO");
    let mut notifier = Notifier::new();
    hurried(async {
        for number in 0..7 {
            tell(&mut notifier, &config, &news(&format!("fault {number}"))).await;
            tell(&mut notifier, &config, &Report::default()).await;
        }
        assert_eq!(log.lines_with("was not sent").len(), 14, "once for each cycle");
        assert_eq!(log.lines_with("given up").len(), 2);
        status.store(200, SeqCst);
        server.take();
        tell(&mut notifier, &config, &Report::default()).await;
        let told = told(&server);
        assert_eq!(text(&told[0], "title"), "Gantry: no service matches", "what is new comes first");
        let late: Vec<bool> =
            (2..7).map(|n| text(&told[n - 1], "body").contains(&format!("fault {n}"))).collect();
        assert_eq!((late, told.len()), (vec![true; 5], 6), "{told:?}");
        tell(&mut notifier, &config, &Report::default()).await;
        assert_eq!(server.requests().len(), 7, "what was delivered is not sent again");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_and_a_single_run_keeps_nothing() {
    hurried(async {
        // The seconds from one cycle to the next, whether it is tried again at once, and in the second cycle.
        for (status, seconds, at_once, later) in [
            (404, 60, false, false),
            (424, 60, false, false),
            (204, 60, false, false),
            (302, 60, false, false),
            (429, 60, true, true),
            (500, 60, true, true),
            (404, 0, false, false),
            (503, 0, true, false),
        ] {
            let code = Arc::new(AtomicU16::new(status));
            let server = server_with(&code).await;
            let config = telling(&server.authority()).with("GANTRY_SLEEP_SECONDS", seconds).config();
            let (mut notifier, log) = (Notifier::new(), Log::from_level("INFO"));
            let begun = Instant::now();
            tell(&mut notifier, &config, &news("disk full")).await;
            assert!(begun.elapsed() < secs(11), "{status}: {:?}", begun.elapsed());
            let tries = server.take().len();
            assert!(if at_once { (3..=5).contains(&tries) } else { tries == 1 }, "{status}: {tries}");
            code.store(200, SeqCst);
            tell(&mut notifier, &config, &Report::default()).await;
            assert_eq!(server.take().len(), usize::from(later), "{status}");
            let said = log.lines_with("was not sent");
            assert_eq!((said.len(), said[0].contains("next cycle")), (1, later), "{said:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_that_may_have_been_delivered_is_sent_once_more_and_no_oftener() {
    let asked = Arc::new(Mutex::new(0));
    let counter = asked.clone();
    let silent = Server::start_slow(move |_| {
        *counter.lock().unwrap() += 1;
        std::future::pending()
    })
    .await;
    let config = telling(&silent.authority()).with("GANTRY_SLEEP_SECONDS", 60).config();
    let mut notifier = Notifier::new();
    let log = Log::from_level("INFO");
    let mut counts = Vec::new();
    hurried(async {
        tell(&mut notifier, &config, &news("disk full")).await;
        for _ in 0..3 {
            counts.push(*asked.lock().unwrap());
            tell(&mut notifier, &config, &Report::default()).await;
        }
    })
    .await;
    assert_eq!(counts, [1, 2, 2]);
    assert_eq!(log.lines_with("was not sent: no answer within 10 s; it is").len(), 1);
    assert_eq!(log.lines_with("given up: no answer").len(), 1);
}

#[tokio::test]
async fn told_to_stop_it_does_not_wait_for_a_server_that_is_away() {
    let config = telling(&free_address()).config();
    let stop = CancellationToken::new();
    let log = Log::from_level("INFO");
    let (mut notifier, report) = (Notifier::new(), news("disk full"));
    hurried(async {
        let begun = Instant::now();
        let stopping = async {
            sleep(secs(2)).await;
            stop.cancel();
        };
        tokio::join!(stopping, notifier.tell(&config, &report, None, &stop));
        assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
    })
    .await;
    assert_eq!(log.lines_with("was not sent: Gantry was told to stop").len(), 1);
}

#[tokio::test]
async fn a_notification_goes_through_the_proxy_by_the_rules_of_registries() {
    let server = Server::start(|_| Answer::new(200, "")).await;
    let way = Way::to(&server, "").await;
    let proxy = format!("http://me:hunter2@{}", way.address);
    let post = "POST http://apprise.test:8000/notify/team Basic bWU6aHVudGVyMg==";
    let cases = [
        ("HTTP_PROXY", "", &[post][..]),
        ("http_proxy", "apprise.test:8001", &[post]),
        // That is for other addresses.
        ("HTTPS_PROXY", "", &[]),
        ("HTTP_PROXY", "*.test", &[]),
        ("http_proxy", "test:8000", &[]),
    ];
    hurried(async {
        for (variable, no_proxy, asked) in cases {
            let scene = telling("apprise.test:8000").with(variable, &proxy).with("NO_PROXY", no_proxy);
            tell(&mut Notifier::new(), &scene.config(), &news("disk full")).await;
            assert_eq!(way.taken(), asked, "{variable} {no_proxy}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named_and_its_password_is_not() {
    let address = free_address();
    let scene = telling("apprise.test:8000").with("HTTP_PROXY", format!("http://me:hunter2@{address}"));
    let log = Log::from_level("DEBUG");
    hurried(tell(&mut Notifier::new(), &scene.config(), &news("disk full"))).await;
    let not_sent = log.lines_with("was not sent");
    let words = format!("cannot reach Apprise through the proxy http://{address} (HTTP_PROXY): ");
    assert!(not_sent.len() == 1 && not_sent[0].contains(&words), "{not_sent:?}");
    assert!(log.lines_with("hunter2").is_empty());
}
