//! Gates: which images services accept, and when, on the real swarm with the real registry.

use std::time::{Duration, Instant};

use super::support::{Said, Stage};

#[test]
fn a_digest_is_rolled_out_when_it_has_its_age_and_by_its_digest() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &["--label", "gantry.update.min_age=45s"]);
    let now = stage.service("now", &old, &[]);
    let daemon = || stage.gantry().set("GANTRY_SLEEP_SECONDS", "2").start();
    let first_process = daemon();
    first_process.wait_for("2 up to date", 60);
    let aged = stage.image("web", "2", &[]);
    let pushed = Instant::now();
    now.wait_for(&aged, 60);
    first_process.wait_for("cooling down: ", 30);
    assert_eq!(web.image(), old.pinned(), "it waits");
    let Said { code, text } = stage.say(&["explain", &web.name]);
    assert!(code == Some(0) && text.contains("hold") && text.contains("gantry.update.min_age=45s"), "{text}");

    // Another process knows the time on, and the tag moves on meanwhile: so much later that it is not waited for, and that a
    // look of a busy machine comes in between.
    std::thread::sleep(Duration::from_secs(20));
    first_process.stop();
    let young = stage.image("web", "3", &[]);
    let second_process = daemon();
    now.wait_for(&young, 60);
    assert!(pushed.elapsed() < Duration::from_secs(45) || web.image() != old.pinned());
    web.wait_for(&aged, 60);
    assert!(pushed.elapsed() >= Duration::from_secs(45), "{:?}", pushed.elapsed());
    web.wait_for(&young, 90);
    let run = second_process.stop();
    assert!(run.says(&["has moved on to", "is rolled out"]), "{run}");
}

#[test]
fn what_is_approved_is_rolled_out_and_what_was_pushed_after_it_waits() {
    let stage = Stage::new();
    let old = stage.image("shop", "1", &[]);
    let shop = stage.service("shop", &old, &["--label", "gantry.update.approval=true"]);
    let blog = stage.service("blog", &old, &[]);
    let gantry = stage.gantry().set("GANTRY_SLEEP_SECONDS", "2").set("GANTRY_APPROVAL_EXPIRES", "20s");
    let daemon = gantry.start();
    daemon.wait_for("2 up to date", 60);
    let first = stage.image("shop", "2", &[]);
    blog.wait_for(&first, 60);
    daemon.wait_for("waits for approval: ", 30);

    let short = |digest: &str| digest["sha256:".len()..][..12].to_owned();
    let Said { code, text } = stage.say(&["approve", &old.name]);
    assert!(code == Some(1) && text.contains(&short(&first.digest)) && text.contains(&shop.name), "{text}");
    let Said { code, text } = stage.say(&["approve", &old.name, "0123456789ab"]);
    assert!(code != Some(0) && text.contains("does not wait"), "{text}");

    // Pushed before the approval, by a user who has not seen it.
    let second = stage.image("shop", "3", &[]);
    blog.wait_for(&second, 60);
    let arguments = ["approve", &shop.name, &short(&first.digest), "--by", "anna", "--why", "tested"];
    let Said { code, text } = stage.say(&arguments);
    assert!(code == Some(0) && text.contains("anna") && text.contains(&short(&second.digest)), "{text}");
    shop.wait_for(&first, 60);
    shop.settles_on(&first);
    let run = daemon.stop();
    assert!(run.says(&["approved by a user"]), "{run}");

    // Another process: the second digest still waits, and an approval that is not used runs out.
    let daemon = gantry.start();
    daemon.wait_for("waits for approval: ", 60);
    assert_eq!(shop.image(), first.pinned());
    assert_eq!(stage.say(&["pause", "a sale"]).code, Some(0));
    let approve = ["approve", &*shop.name, &short(&second.digest)];
    assert_eq!(stage.say(&approve).code, Some(0));
    std::thread::sleep(Duration::from_secs(21));
    assert_eq!(stage.say(&["resume"]).code, Some(0));
    daemon.wait_for("ran out at", 30);
    assert_eq!(shop.image(), first.pinned());
    assert_eq!(stage.say(&approve).code, Some(0));
    assert_eq!(stage.say(&["revoke", &shop.name]).code, Some(0));
    assert_eq!(stage.say(&["revoke", &shop.name]).code, Some(1), "there is none any more");
    assert_eq!(stage.say(&approve).code, Some(0));
    shop.wait_for(&second, 60);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn what_needs_neither_age_nor_approval_writes_no_second_config() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &[]);
    let new = stage.image("web", "2", &[]);
    let run = stage.gantry().set("GANTRY_UPDATE_MIN_AGE", "0").set("GANTRY_UPDATE_APPROVAL", "false").run();
    assert_eq!(run.outcome(&web), "updated", "{run}");
    web.runs(&new, 1);
    let configs = stage.lab.get_json("/configs").to_string();
    assert!(!configs.contains(&format!("\"{}-seen\"", stage.ledger())), "{configs}");
    let run =
        stage.gantry().set("GANTRY_UPDATE_MIN_AGE", "2w 3d").set("GANTRY_UPDATE_APPROVAL", "maybe").run();
    assert!(run.code == Some(2) && run.says(&["GANTRY_UPDATE_MIN_AGE", "36h"]), "{run}");
    stage.image("web", "3", &[]);
    let run = stage.gantry().set("GANTRY_UPDATE_MIN_AGE", "1h").set("GANTRY_UPDATE_APPROVAL", "true").run();
    assert!(run.code == Some(0) && run.says(&["waits for approval: "]), "{run}");
    assert_eq!(web.image(), new.pinned());
}

#[test]
fn a_command_says_which_digests_are_accepted() {
    let stage = Stage::new();
    let old = stage.image("web", "1", &[]);
    let web = stage.service("web", &old, &[]);
    let free = stage.service("free", &old, &["--label", "gantry.update.accept=false"]);
    let new = stage.image("web", "2", &[]);
    let (asked, verdict) = (stage.folder.path().join("asked"), stage.folder.path().join("verdict"));
    let command = format!(
        "cat >> '{}'; env | grep -q '^GANTRY_REGISTRY_PASSWORD=' && exit 42; cat '{v}'; exit $(head -c 2 '{v}')",
        asked.display(),
        v = verdict.display()
    );
    let run = |words: &str| {
        std::fs::write(&verdict, words).unwrap();
        stage
            .gantry()
            .set("GANTRY_ACCEPT_CMD", &command)
            .set("GANTRY_REGISTRY_USER", "anna")
            .set("GANTRY_REGISTRY_PASSWORD", "hunter2-of-anna")
            .set("GANTRY_REGISTRY_HOST", "elsewhere.test")
            .run()
    };
    let not_yet = run("75 no ticket\n");
    assert!(not_yet.code == Some(0) && not_yet.says(&["does not accept", "no ticket"]), "{not_yet}");
    assert_eq!((web.image(), free.image()), (old.pinned(), new.pinned()), "{not_yet}");
    let failed = run("9\n");
    assert!(failed.code == Some(1) && failed.says(&["cannot say whether", "exit code 9"]), "{failed}");
    assert_eq!(web.image(), old.pinned());
    let accepted = run("0\n");
    assert_eq!(accepted.outcome(&web), "updated", "{accepted}");
    web.runs(&new, 1);
    let questions = std::fs::read_to_string(&asked).unwrap();
    let question: serde_json::Value = serde_json::from_str(questions.lines().next().unwrap()).unwrap();
    assert_eq!(question["digest"], new.digest.as_str(), "{question:#}");
    assert_eq!(question["services"].as_array().map(Vec::len), Some(1), "the label: {question:#}");
    assert_eq!(questions.lines().count(), 3, "once for each process: {questions}");
}
