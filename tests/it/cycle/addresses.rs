//! Notifications to several addresses without an Apprise server: each has its own fate. The sockets are real, so time is hurried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use gantry::cycle::Report;
use gantry::daemon::End;
use gantry::daemon::board::LiveBoard;
use gantry::daemon::board::metrics::Edges;
use gantry::daemon::board::render::Around;
use gantry::daemon::notification::Notifier;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::daemon::daemon;
use super::telling::{free_address, text, told};
use super::telling_early::broken;
use super::{APP, Scene};
use crate::fake::{millis, secs};
use crate::support::clock::hurried;
use crate::support::http::{Answer, Server};
use crate::support::log::Log;
use crate::support::smtp::MailServer;
use crate::support::way::Way;

fn news(what: &str) -> Report {
    Report { post_run: Some(what.to_owned()), ..Report::default() }
}

fn telling(urls: &str) -> Scene {
    Scene::new()
        .with("GANTRY_NOTIFICATION_URL", urls)
        .with("GANTRY_NOTIFICATION_CONDITION", "on-change")
        .with("GANTRY_SLEEP_SECONDS", 60)
}

async fn server_with(status: &Arc<AtomicU16>) -> Server {
    let status = status.clone();
    Server::start(move |_| Answer::new(status.load(SeqCst), "")).await
}

/// The counts of notifications, by result.
fn counts(board: &LiveBoard) -> [String; 3] {
    let text = board.look().metrics(&Around::default(), &Edges::default());
    ["sent", "failed", "given_up"].map(|result| {
        let name = format!("gantry_notifications_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default().to_owned()
    })
}

#[tokio::test]
async fn an_address_that_fails_neither_holds_up_the_others_nor_repeats_them() {
    let (good, bad, gone) =
        (Arc::new(AtomicU16::new(204)), Arc::new(AtomicU16::new(503)), Arc::new(AtomicU16::new(410)));
    let (good, failing, refusing) =
        (server_with(&good).await, server_with(&bad).await, server_with(&gone).await);
    let mail = MailServer::start(|_| None).await;
    let urls = [
        format!("http://{}/good", failing.authority()),
        format!("http://{}/", refusing.authority()),
        format!("gotify+http://{}/?token=hush", good.authority()),
        format!("smtp://{}/?from=a@a.test&to=b@b.test", mail.authority()),
    ];
    let scene = telling(&urls.join(" "));
    let config = scene.config();
    let (board, log) = (LiveBoard::default(), Log::from_level("INFO"));
    let (mut notifier, stop) = (Notifier::on(board.clone()), CancellationToken::new());
    hurried(async {
        let begun = Instant::now();
        notifier.tell(&config, &news("disk full"), Some(json!({ "id": 7 })), &stop).await;
        assert!(begun.elapsed() < secs(11), "{:?}", begun.elapsed());
        assert!((3..=5).contains(&failing.take().len()));
        assert_eq!((good.requests().len(), refusing.requests().len(), mail.mails().len()), (1, 1, 1));
        assert_eq!(counts(&board), ["2", "1", "1"]);
        bad.store(200, SeqCst);
        notifier.tell(&config, &Report::default(), None, &stop).await;
        notifier.tell(&config, &Report::default(), None, &stop).await;
    })
    .await;
    let late = told(&failing);
    assert_eq!(late.len(), 1, "{late:?}");
    assert_eq!(text(&late[0], "title"), "Gantry: the post-run command failed (late)");
    assert_eq!((&late[0]["run"]["id"], text(&late[0], "type")), (&json!(7), "failure"));
    assert_eq!((good.requests().len(), refusing.requests().len(), mail.mails().len()), (1, 1, 1));
    assert_eq!(counts(&board), ["3", "1", "1"]);
    let not_sent = log.lines_with("was not sent");
    assert_eq!(not_sent.len(), 2, "{not_sent:?}");
    let words = "the notification (GANTRY_NOTIFICATION_URL, address 1: http://127.0.0.1) was not sent: http://127.0.0.1 answers 503 Service \
                 Unavailable; see the log of this service; it is sent with the next cycle's";
    assert!(not_sent.iter().any(|line| line.contains(words)), "{not_sent:?}");
    assert!(
        not_sent.iter().any(|line| line.contains("address 2: ") && line.contains("410 Gone; check the path"))
    );
    assert_eq!(log.lines_with("a notification was sent late").len(), 1);
}

#[tokio::test]
async fn a_run_that_is_told_at_its_end_and_at_once_is_part_of_the_json() {
    let server = server_with(&Arc::new(AtomicU16::new(200))).await;
    let away = free_address();
    hurried(async {
        let scene = telling(&format!("http://{} http://{away}", server.authority()));
        let scene = broken(scene.with("GANTRY_SLEEP_SECONDS", 0), 6, 200);
        let late = async {
            sleep(secs(60)).await;
            Server::start_at(&away, None, |_| Answer::new(200, "")).await
        };
        let daemon = daemon(&scene);
        let (late, end) = tokio::join!(late, daemon.run(|_| {}));
        assert_eq!(end, End::Failed);
        for server in [&server, &late] {
            let told = told(server);
            assert_eq!(told.len(), 2, "at once and at the end, each once: {told:#?}");
            let at_once = &told[0];
            assert!(text(at_once, "title").ends_with("stopped after 2 of 6"), "{told:#?}");
            assert_eq!((&at_once["run"]["id"], text(&at_once["run"], "state")), (&json!(1), "under_way"));
            let end = &told[1]["run"];
            assert_eq!(
                (text(end, "state"), &end["failed"], &end["ended"].is_string()),
                ("done", &json!(true), &true)
            );
            let of = |outcome: &str| {
                end["services"].as_array().unwrap().iter().filter(|one| one["outcome"] == outcome).count()
            };
            assert_eq!((of("rolled back"), of("updated")), (2, 1), "{end:#}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_without_news_is_told_with_its_body_where_all_runs_are_told() {
    let server = server_with(&Arc::new(AtomicU16::new(200))).await;
    hurried(async {
        let scene = telling(&format!("http://{}", server.authority()));
        let scene = scene.with("GANTRY_SLEEP_SECONDS", 0).with("GANTRY_NOTIFICATION_CONDITION", "all");
        scene.service("web").create();
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    })
    .await;
    let told = told(&server);
    assert_eq!((told.len(), text(&told[0], "title")), (1, "Gantry: nothing to update"), "{told:#?}");
    assert_eq!((&told[0]["run"]["id"], &told[0]["run"]["services"]), (&json!(1), &json!([])), "{told:#?}");
}

#[tokio::test]
async fn an_address_that_is_gone_from_the_configuration_is_given_up_by_name() {
    let away = free_address();
    let (before, after) = (telling(&format!("ntfy+http://{away}/hush")), telling("http://127.0.0.1:1"));
    let (mut notifier, stop) = (Notifier::new(), CancellationToken::new());
    let log = Log::from_level("INFO");
    hurried(async {
        notifier.tell(&before.config(), &news("disk full"), None, &stop).await;
        notifier.tell(&after.config(), &Report::default(), None, &stop).await;
        notifier.tell(&before.config(), &Report::default(), None, &stop).await;
    })
    .await;
    let given_up = log.lines_with("a notification is given up: its address is no longer configured");
    assert!(given_up.len() == 1 && given_up[0].contains("ntfy+http://127.0.0.1"), "{given_up:?}");
    assert!(log.lines_with("hush").is_empty());
}

#[tokio::test]
async fn a_file_that_has_become_wrong_is_a_warning_and_its_other_addresses_are_told() {
    let server = server_with(&Arc::new(AtomicU16::new(200))).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("addresses");
    std::fs::write(&path, format!("hush://hush http://{}/hush\n", server.authority())).unwrap();
    let scene = Scene::new().with("GANTRY_NOTIFICATION_URL_FILE", path.display());
    let config = scene.config();
    let (board, stop, log) = (LiveBoard::default(), CancellationToken::new(), Log::from_level("INFO"));
    let mut notifier = Notifier::on(board.clone());
    hurried(async {
        notifier.tell(&config, &news("disk full"), None, &stop).await;
        std::fs::remove_file(&path).unwrap();
        notifier.tell(&config, &news("disk full"), None, &stop).await;
    })
    .await;
    assert_eq!((server.requests().len(), counts(&board)), (1, ["1", "0", "2"].map(str::to_owned)));
    let said = log.lines_with("the notification (GANTRY_NOTIFICATION_URL_FILE) was not sent: ");
    assert!(
        said.len() == 2 && said[0].contains("address 1: expected") && said[1].contains("cannot read "),
        "{said:?}"
    );
    assert!(log.lines_with("hush").is_empty());
}

#[tokio::test]
async fn a_mail_server_that_refuses_is_named_with_a_remedy_and_nothing_is_repeated() {
    const URL: &str = "from=a@a.test&to=b@b.test";
    hurried(async {
        for (command, answer, urls, mails, words) in [
            // A full mailbox may have room in a minute.
            (
                "RCPT",
                "452 4.2.2 mailbox full",
                "",
                0,
                "answers 452: 4.2.2 mailbox full; see the log of the mail server; it is sent",
            ),
            (
                "RCPT",
                "550 5.1.1 who is ***",
                "",
                0,
                "answers 550: 5.1.1 who is ***; check from= and to= in the address",
            ),
            (
                "AUTH",
                "535 5.7.8 no",
                "hush:hush@",
                0,
                "answers 535: 5.7.8 no; check user, password and tls= in the address",
            ),
            ("", "", "", 1, ""),
        ] {
            let answer = answer.to_owned();
            let server = MailServer::start(move |line| {
                (!command.is_empty() && line.starts_with(command)).then(|| answer.clone())
            })
            .await;
            let scene = telling(&format!("smtp://{urls}{}/?{URL}", server.authority()));
            let (log, stop) = (Log::from_level("INFO"), CancellationToken::new());
            let mut notifier = Notifier::new();
            notifier.tell(&scene.config(), &news("disk full"), None, &stop).await;
            let said = log.lines_with("was not sent");
            assert_eq!((said.len(), server.mails().len()), (1 - mails, mails), "{said:?}");
            assert!(said.iter().all(|said| said.contains(words)), "{said:?}");
        }
        let server = MailServer::start(|_| None).await;
        let scene = telling(&format!("smtp://{}/?{URL}&tls=required", server.authority()));
        let log = Log::from_level("INFO");
        Notifier::new().tell(&scene.config(), &news("disk full"), None, &CancellationToken::new()).await;
        let said = log.lines_with("was not sent: cannot send to smtp://127.0.0.1: ");
        assert!(said.len() == 1 && said[0].contains("check tls= and the account"), "{said:?}");
        assert!(server.mails().is_empty(), "nothing is sent without TLS where TLS is required");
    })
    .await;
}

#[tokio::test]
async fn a_cycle_is_told_by_mail_as_plain_text() {
    let server = MailServer::start(|_| None).await;
    hurried(async {
        let scene =
            telling(&format!("smtp://{}/?from=Gantry%20<g@a.test>&to=b@b.test,c@c.test", server.authority()));
        let scene = scene.with("GANTRY_SLEEP_SECONDS", 0).with("GANTRY_NOTIFICATION_TITLE", "(Größe)");
        scene.service("web").create();
        scene.swarm.image(&scene.registry.release(APP, "new")).starts_after(millis(10));
        assert_eq!(daemon(&scene).run(|_| {}).await, End::Good);
    })
    .await;
    let mails = server.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(
        (mails[0].from.as_str(), &mails[0].to[..]),
        ("g@a.test", &["b@b.test".to_owned(), "c@c.test".to_owned()][..])
    );
    assert!(mails[0].text.contains("Subject: Gantry: 1 updated =?utf-8?"), "{}", mails[0].text);
    assert!(
        mails[0].text.contains("\nFrom: Gantry <g@a.test>")
            || mails[0].text.starts_with("From: Gantry <g@a.test>")
    );
    assert!(mails[0].text.contains("updated (registry.test/app:1): web"), "{}", mails[0].text);
}

#[tokio::test]
async fn web_addresses_go_through_the_proxy_and_mail_does_not() {
    let server = Server::start(|_| Answer::new(200, "")).await;
    let mail = MailServer::start(|_| None).await;
    let way = Way::to(&server, "").await;
    let scene = telling(&format!(
        "ntfy+http://ntfy.test/ops http://hook.test:81/a smtp://{}/?from=a@a.test&to=b@b.test",
        mail.authority()
    ));
    let scene = scene.with("HTTP_PROXY", format!("http://me:hunter2@{}", way.address));
    let stop = CancellationToken::new();
    hurried(Notifier::new().tell(&scene.config(), &news("disk full"), None, &stop)).await;
    let mut taken = way.taken();
    taken.sort_unstable();
    let account = "Basic bWU6aHVudGVyMg==";
    assert_eq!(
        taken,
        [format!("POST http://hook.test:81/a {account}"), format!("POST http://ntfy.test/ {account}")]
    );
    assert_eq!(mail.mails().len(), 1);
}
