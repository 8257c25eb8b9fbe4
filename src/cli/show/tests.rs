use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::parts::bar;
use super::*;

fn full(state: &Value) -> Value {
    let mut all = json!({
        "id": "1764417600000-7", "version": "0.1.0", "node": "manager1", "now": "2026-11-29T12:00:00Z", "steer": true,
        "verdict": { "level": "ok", "words": "all 3 services are on the newest image" },
        "look": { "began": "2026-11-29T12:00:00.120Z", "seconds": 1.26, "next": "2026-11-29T12:05:00.000Z" },
        "guard": { "paused": [], "by_hand": null },
        "counts": { "up_to_date": 3, "needs_attention": 0 },
        "runs": [], "rollouts": [], "attention": [], "attention_omitted": 0, "quarantine": [], "history": [], "images": []
    });
    all.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
    all
}

fn rollout(succeeded: u64, failed: u64, state: &str) -> Value {
    json!({
        "image": "registry.test/web:1", "from": "sha256:82bf0123456789abcdef", "to": "sha256:373a0123456789abcdef",
        "canary": ["web-1"], "width": 4, "under_way": 2, "touched": 6, "succeeded": succeeded, "failed": failed,
        "waiting": 4, "total": 10, "state": state, "superseded_by": null, "held_for": null,
        "since": "2026-11-29T12:00:01Z"
    })
}

fn troubled() -> Value {
    full(&json!({
        "verdict": { "level": "attention", "words": "1 service needs attention" },
        "guard": {
            "paused": [{ "why": "node3 is down", "since": "2026-11-29T12:00:02.000Z" }],
            "by_hand": {
                "by": "anna", "why": "new switch", "since": "2026-11-29T11:00:00.000Z", "until": "2026-11-29T13:00:00.000Z"
            }
        },
        "counts": { "up_to_date": 1, "updating": 2, "needs_attention": 1 },
        "runs": [{
            "id": 17, "state": "under_way", "failed": false, "trigger": "api", "by": "anna",
            "began": "2026-11-29T12:00:00.000Z", "ended": null, "summary": ""
        }],
        "rollouts": [rollout(3, 1, "running")],
        "attention": [{
            "service": "shop_web", "image": "shop:2", "state": "needs_attention",
            "why": "rolled back: a task failed on node3 (exit code 3)", "since": "2026-11-29T12:00:09.000Z",
            "log": ["no disk \u{1b}[31mleft"], "health": "503"
        }],
        "quarantine": [
            {
                "service": "shop_web", "image": "registry.test/shop:2", "digest": "sha256:99aa0123456789abcdef",
                "cause": "a task failed on node3 (exit code 3)", "by_hand": false,
                "since": "2026-11-29T12:00:09.000Z", "until": null
            },
            {
                "service": null, "image": "registry.test/db:1", "digest": "sha256:11bb0123456789abcdef", "cause": "",
                "by_hand": true, "since": "2026-11-29T12:00:09.000Z", "until": null
            }
        ]
    }))
}

#[test]
fn a_calm_status_is_two_lines() {
    let (text, needs_attention) = status(&full(&json!({})), &TimeZone::UTC);
    assert!(!needs_attention);
    insta::assert_snapshot!(text);
}

#[test]
fn a_status_tells_trouble_with_its_cause() {
    let (text, needs_attention) = status(&troubled(), &TimeZone::UTC);
    assert!(needs_attention && !text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}

#[test]
fn a_status_of_many_services_stays_one_screen() {
    let attention: Vec<Value> = (0..90)
        .map(|index| json!({ "service": format!("web-{index}"), "why": "broken", "log": [] }))
        .collect();
    let (text, _) = status(&full(&json!({ "attention": attention })), &TimeZone::UTC);
    assert!(text.ends_with("  and 70 more\n") && text.lines().count() < 30, "{text}");
}

fn a_run() -> Value {
    json!({
        "id": 17, "state": "done", "failed": true, "trigger": "api", "by": "ci", "began": "2026-11-29T12:00:00.000Z",
        "ended": "2026-11-29T12:00:09.000Z", "summary": "2 services: 1 updated, 1 rolled back",
        "services": [
            {
                "service": "shop_web", "image": "shop:2", "from": "sha256:82bf0123456789abcdef",
                "to": "sha256:373a0123456789abcdef", "outcome": "rolled back",
                "cause": "a task failed on node3 (exit code 3)", "log": ["cannot find my configuration"],
                "health": null, "seconds": 7
            },
            {
                "service": "web", "image": "web:1", "from": null, "to": "sha256:373a0123456789abcdef",
                "outcome": "updated", "cause": "", "log": [], "health": null, "seconds": 3
            }
        ],
        "errors": ["the rollout of shop:2 was stopped: 1 services failed"]
    })
}

#[test]
fn a_run_tells_each_service_and_why() {
    insta::assert_snapshot!(run(&a_run(), &TimeZone::UTC));
}

#[test]
fn the_history_is_a_line_for_each_run() {
    let under_way = json!({
        "id": 18, "state": "under_way", "failed": false, "trigger": "interval", "by": null,
        "began": "2026-11-29T12:05:00.000Z", "ended": null, "summary": ""
    });
    insta::assert_snapshot!(history(&json!({ "runs": [under_way, a_run()] }), &TimeZone::UTC));
    assert!(history(&json!({ "runs": [] }), &TimeZone::UTC).starts_with("no run had news"));
}

#[test]
fn a_plan_says_what_a_run_would_do_and_its_exit_code() {
    let service = |name: &str, action: &str, why: &str| {
        json!({
            "service": name, "image": "web:1", "state": "x", "why": why, "action": action,
            "digest": "sha256:82bf0123456789abcdef", "newest": "sha256:373a0123456789abcdef"
        })
    };
    let services = [
        service("web-1", "update", ""),
        service("db", "held", "in quarantine"),
        service("web-2", "update", ""),
        service("odd", "error", "no such tag"),
        service("calm", "none", ""),
    ];
    let answer =
        |updates: u64, errors: u64| json!({ "services": services, "updates": updates, "errors": errors });
    let (text, code) = plan(&answer(2, 1));
    assert_eq!(code, 1);
    insta::assert_snapshot!(text);
    assert_eq!([plan(&answer(0, 0)).1, plan(&answer(2, 0)).1, plan(&answer(0, 1)).1], [0, 3, 1]);
    assert_eq!(plan(&json!({ "services": [], "updates": 0, "errors": 0 })).0, "nothing to do");
}

#[test]
fn a_service_is_explained_gate_by_gate() {
    let service = json!({
        "service": "shop_web", "image": "shop:2", "state": "needs_attention", "why": "rolled back: a task failed",
        "since": "2026-11-29T12:00:09.000Z", "digest": "sha256:82bf", "newest": "sha256:373a",
        "tasks": { "running": 2, "desired": 3 }, "log": ["no disk left"], "health": null,
        "policy": { "order": "auto", "options": ["--with", "x"], "timeout": 300, "canary": false },
        "account": "registry.test as ci", "next": "2026-11-29T12:05:00.000Z",
        "gates": [
            { "gate": "filters", "verdict": "pass", "why": "label=gantry.enable" },
            { "gate": "quarantine", "verdict": "hold", "why": "this digest broke it" }
        ]
    });
    insta::assert_snapshot!(explain(&service, &TimeZone::UTC));
    // An older daemon has no gates.
    let bare = json!({ "service": "web", "state": "up_to_date", "why": "x", "tasks": null });
    assert_eq!(explain(&bare, &TimeZone::UTC), "web: up to date\n  why  x");
}

#[test]
fn the_quarantine_reads_as_at_the_ledger() {
    insta::assert_snapshot!(quarantine(&troubled()));
    assert_eq!(quarantine(&json!({ "quarantine": [] })), "nothing is in quarantine");
}

#[test]
fn a_pause_is_told_with_its_end() {
    let answer = json!({ "paused": troubled()["guard"]["by_hand"] });
    assert_eq!(
        paused(&answer, &TimeZone::UTC),
        "paused by anna until 2026-11-29 13:00:00 UTC: new switch; what is under way is watched to its end"
    );
}

#[test]
fn a_bar_shows_a_single_failure_among_many() {
    for (done, failed, total, expected) in [
        (0, 0, 0, "[..........]"),
        (5, 0, 10, "[#####.....]"),
        (899, 1, 900, "[#########x]"),
        (10, 0, 10, "[##########]"),
        (0, 10, 10, "[xxxxxxxxxx]"),
        (99, 99, 10, "[xxxxxxxxxx]"),
    ] {
        assert_eq!(bar(done, failed, total, 10), expected);
    }
}

fn told(known: &mut Progressed, kind: &str, data: Value) -> Vec<String> {
    known.apply(kind, data).into_iter().map(|news| news.words).collect()
}

#[test]
fn progress_is_told_once_and_failures_with_their_last_words() {
    let mut known = Progressed::new(TimeZone::UTC);
    let mut first = full(&json!({ "history": [a_run()] }));
    first["history"][0]["id"] = 3.into();
    let mut lines = told(&mut known, "state", first);
    lines.extend(told(
        &mut known,
        "change",
        json!({ "id": "1764417600000-8", "rollouts": [rollout(1, 0, "running")] }),
    ));
    assert_eq!(told(&mut known, "change", json!({ "rollouts": [rollout(1, 0, "running")] })), [""; 0]);
    let troubled = troubled();
    let parts = ["verdict", "guard", "attention"].map(|part| (part.to_owned(), troubled[part].clone()));
    lines.extend(told(&mut known, "change", Value::Object(parts.into_iter().collect())));
    let end = json!({
        "rollouts": [rollout(9, 1, "done")], "history": [a_run()], "attention": [],
        "guard": { "paused": [], "by_hand": null }
    });
    lines.extend(told(&mut known, "change", end));
    // Another process, whose first run had news.
    let mut restarted = full(&json!({ "id": "1764417700000-1", "history": [a_run()] }));
    restarted["history"][0]["id"] = 1.into();
    lines.extend(told(&mut known, "state", restarted));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_screen_fits_its_terminal() {
    let mut known = Progressed::new(TimeZone::UTC);
    known.apply("state", troubled());
    insta::assert_snapshot!(known.screen(100, 24, None).join("\n"));
    let rollouts: Vec<Value> = (0..50).map(|_| rollout(1, 0, "running")).collect();
    known.apply("change", json!({ "rollouts": rollouts }));
    for (columns, rows) in [(100, 24), (20, 24), (100, 6), (1, 1), (0, 0)] {
        let screen = known.screen(columns, rows, Some("the connection is lost"));
        assert!(screen.len() < rows.max(1), "{rows} {screen:#?}");
        assert!(screen.iter().all(|line| line.chars().count() <= columns), "{columns} {screen:#?}");
    }
    assert!(known.screen(100, 24, None).iter().any(|line| line.ends_with("rollouts more")));
}

#[test]
fn strange_answers_are_no_reason_to_panic() {
    for strange in
        [json!(null), json!([]), json!({}), json!({ "services": 7, "runs": "x", "rollouts": [1, null] })]
    {
        let zone = &TimeZone::UTC;
        status(&strange, zone);
        run(&strange, zone);
        history(&strange, zone);
        plan(&strange);
        explain(&strange, zone);
        quarantine(&strange);
        paused(&strange, zone);
        let mut known = Progressed::new(zone.clone());
        known.apply("state", strange.clone());
        known.screen(80, 24, None);
    }
}
