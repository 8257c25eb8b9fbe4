use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::ledger::book::{Book, LedgerChange};
use crate::ledger::entry::{DigestVerdict, Entry, Subject};
use crate::ledger::seen::{SeenBook, SeenChange};
use crate::model::history::History;
use crate::model::rank::Rank;
use crate::model::task_lifecycle::TaskLifecycle;
use crate::swarm::Mode;

const NAME: &str = "registry.test/app:1";

fn digest(digit: char) -> Digest {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A service that has a digest, where its tag has stood, and what the ledger holds.
struct Scene {
    labels: Vec<(&'static str, &'static str)>,
    has: char,
    stood: Vec<(char, i64)>,
    book: Book,
    is_now: bool,
}

impl Scene {
    /// The tag stood at `a`, which the service has, and stands at `b` since 1,000.
    fn new(labels: &[(&'static str, &'static str)]) -> Self {
        let stood = vec![('a', 0), ('b', 1_000)];
        Self { labels: labels.to_vec(), has: 'a', stood, book: Book::default(), is_now: false }
    }

    fn approve(mut self, service: Option<&str>, digit: char, until: i64) -> Self {
        self.book.apply(&LedgerChange::Approve(Approval {
            image: NAME.to_owned(),
            service: service.map(str::to_owned),
            digest: digest(digit),
            by: "anna".to_owned(),
            via: "api".to_owned(),
            at: at(0),
            until: at(until),
            why: String::new(),
        }));
        self
    }

    fn quarantine(mut self, digit: char) -> Self {
        self.book.apply(&LedgerChange::Put(Entry {
            subject: Subject::Service("web".to_owned()),
            verdict: DigestVerdict::Quarantined,
            image: NAME.to_owned(),
            digest: digest(digit),
            service_id: "id-web".to_owned(),
            at: at(0),
            node: String::new(),
            before: Vec::new(),
            had: Vec::new(),
            stopped: Vec::new(),
            flips: 0,
            cause: String::new(),
        }));
        self
    }

    /// What the gates answer at this time, in a word, with the reason.
    fn answer(&self, now: i64) -> String {
        let labels: BTreeMap<String, String> =
            self.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::load([]).unwrap().config;
        let policy = Arc::new(ServicePolicy::of(&config, &labels).unwrap());
        let from: ImageRef = NAME.parse::<ImageRef>().unwrap().pinned(&digest(self.has));
        let candidate = Candidate {
            id: "id-web".to_owned(),
            name: "web".to_owned(),
            image: Some(Ok(from.clone())),
            mode: Mode::Replicated(1),
            lifecycle: TaskLifecycle::RunsOn,
            version: 1,
            is_excluded: false,
            is_itself: false,
            history: History::default(),
            rank: Rank::Single,
            policy: Ok(policy.clone()),
            tasks: None,
            unfinished: None,
            order: None,
            may_collide: false,
        };
        let mut seen = SeenBook::default();
        for (digit, second) in &self.stood {
            seen.apply(&SeenChange::Stands {
                image: NAME.to_owned(),
                digest: digest(*digit),
                at: at(*second),
            });
        }
        let quarantine = Quarantine {
            is_on: true,
            book: self.book.clone().into(),
            seen: Arc::new(seen.clone()),
            now: at(now),
            duration: None,
            node: String::new(),
        };
        let (last, _) = self.stood[self.stood.len() - 1];
        let tag = ResolvedTag { digest: digest(last), manifest: None, credentials: None, alternates: false };
        let seen = seen.image(NAME).unwrap();
        let asked =
            GateQuestion { candidate: &candidate, policy: &policy, from: &from, name: NAME, tag: &tag, seen };
        match pass(&asked, &quarantine, self.is_now) {
            Passed::Tag => "tag".to_owned(),
            Passed::Offer(digest) => format!("offer {}", &digest.short()[..1]),
            Passed::Held(held) => format!("held: {held}"),
        }
    }
}

#[test]
fn an_age_is_waited_for_and_then_the_digest_is_offered() {
    let scene = Scene::new(&[("gantry.update.min_age", "1h")]);
    insta::assert_snapshot!(
        scene.answer(2_000),
        @"held: cooling down: bbbbbbbbbbbb of registry.test/app:1 is known since 1970-01-01T00:16:40Z; offered from 1970-01-01T01:16:40Z (gantry.update.min_age=1h)"
    );
    assert_eq!(scene.answer(4_600), "tag");
    assert_eq!(Scene { is_now: true, ..scene }.answer(2_000), "tag", "a user wants it now");
}

#[test]
fn what_has_aged_is_offered_though_the_tag_has_moved_on() {
    let mut scene = Scene::new(&[("gantry.update.min_age", "1h")]);
    scene.stood.push(('c', 3_000));
    assert_eq!(scene.answer(4_600), "offer b");
    scene.has = 'b';
    assert!(scene.answer(5_000).starts_with("held: cooling down: cccc"), "{}", scene.answer(5_000));
    assert_eq!(scene.answer(6_600), "tag");
    scene.has = 'c';
    assert_eq!(scene.answer(3_001), "tag", "it has the newest");
}

#[test]
fn what_was_recalled_is_not_offered() {
    let mut scene = Scene::new(&[("gantry.update.min_age", "1h")]);
    scene.stood.push(('a', 2_000));
    assert_eq!(scene.answer(9_000), "tag", "the service has what the tag stands at");
    // A service that had it already follows when the tag stays back.
    scene.has = 'b';
    assert!(
        scene.answer(2_001).starts_with("held: the tag has gone back to aaaaaaaaaaaa;"),
        "{}",
        scene.answer(2_001)
    );
    scene.stood.push(('a', 2_300));
    assert_eq!(scene.answer(9_000), "tag");
}

#[test]
fn quarantine_beats_age() {
    let mut scene = Scene::new(&[("gantry.update.min_age", "1h")]).quarantine('c');
    scene.stood.push(('c', 1_100));
    assert_eq!(scene.answer(5_000), "offer b", "the older one is not in quarantine");
    let scene = Scene::new(&[("gantry.update.min_age", "1h")]).quarantine('b');
    assert_eq!(scene.answer(9_000), "tag", "the plan tells of the quarantine");
}

#[test]
fn a_digest_waits_for_its_approval() {
    let scene = Scene::new(&[("gantry.update.approval", "true")]);
    insta::assert_snapshot!(
        scene.answer(2_000),
        @"held: waits for approval: bbbbbbbbbbbb of registry.test/app:1, since 1970-01-01T00:16:40Z (gantry approve registry.test/app:1 bbbbbbbbbbbb)"
    );
    let scene = scene.approve(None, 'b', 5_000);
    assert_eq!(scene.answer(4_999), "tag");
    insta::assert_snapshot!(
        scene.answer(5_000),
        @"held: waits for approval: bbbbbbbbbbbb of registry.test/app:1, since 1970-01-01T00:16:40Z (gantry approve registry.test/app:1 bbbbbbbbbbbb); the approval of anna ran out at 1970-01-01T01:23:20Z before it was rolled out"
    );
    let other = Scene::new(&[("gantry.update.approval", "true")]).approve(Some("shop"), 'b', 5_000);
    assert!(other.answer(2_000).starts_with("held: waits for approval"));
}

#[test]
fn an_approval_is_for_its_digest_wherever_the_tag_is() {
    let mut scene = Scene::new(&[("gantry.update.approval", "true")]).approve(Some("web"), 'b', 90_000);
    scene.stood.push(('c', 2_000));
    assert_eq!(scene.answer(3_000), "offer b");
    scene.has = 'b';
    assert!(scene.answer(3_000).starts_with("held: waits for approval: cccc"));
}

#[test]
fn an_approval_waives_the_age_and_not_the_quarantine() {
    let labels = [("gantry.update.min_age", "1h")];
    assert_eq!(Scene::new(&labels).approve(None, 'b', 90_000).answer(1_001), "tag");
    let scene = Scene::new(&labels).approve(None, 'c', 90_000);
    assert!(scene.answer(1_001).starts_with("held: cooling down: bbbb"));
    let both = [("gantry.update.min_age", "1h"), ("gantry.update.approval", "true")];
    assert_eq!(Scene::new(&both).approve(None, 'b', 90_000).quarantine('b').answer(1_001), "tag");
}

/// A step of a story.
#[derive(Clone, Debug)]
enum Step {
    /// The tag is moved to this digest.
    Push(char),
    /// Time passes, in minutes.
    Wait(i64),
    /// A user approves this digest, for an hour.
    Approve(char),
    /// This digest breaks the service.
    Break(char),
    /// Gantry looks, and what is offered is rolled out.
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let digit = || proptest::char::range('a', 'f');
    let step = prop_oneof![
        2 => digit().prop_map(Step::Push),
        3 => (1_i64..90).prop_map(Step::Wait),
        1 => digit().prop_map(Step::Approve),
        1 => digit().prop_map(Step::Break),
        4 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// For any story of pushes, approvals, failures and looks: nothing begins that a gate holds, and in the end nothing waits
    /// that each gate lets pass.
    #[test]
    fn nothing_begins_too_early_and_nothing_waits_for_ever(
        steps in steps(), gates in 1..4,
    ) {
        const AGE: i64 = 3_600;
        let (has_age, needs_approval) = (gates & 1 != 0, gates & 2 != 0);
        let mut labels = Vec::new();
        labels.extend(has_age.then_some(("gantry.update.min_age", "1h")));
        labels.extend(needs_approval.then_some(("gantry.update.approval", "true")));
        let mut scene = Scene { stood: vec![('a', 0)], ..Scene::new(&labels) };
        let (mut now, mut tag) = (0, 'a');
        let mut approved: BTreeMap<char, i64> = BTreeMap::new();
        // Since when a look has known a digest at the latest: it may have been struck out before.
        let mut first_seen: BTreeMap<char, i64> = BTreeMap::from([('a', 0)]);
        let mut broken = BTreeSet::new();
        let quiet = [Step::Wait(80), Step::Look, Step::Wait(80), Step::Look, Step::Look];
        for step in steps.into_iter().chain(quiet) {
            match step {
                Step::Push(digit) => tag = digit,
                Step::Wait(minutes) => now += minutes * 60,
                Step::Approve(digit) => {
                    approved = BTreeMap::from([(digit, now + AGE)]);
                    scene = scene.approve(None, digit, now + AGE);
                }
                Step::Break(digit) if digit != scene.has => {
                    broken.insert(digit);
                    scene = scene.quarantine(digit);
                }
                Step::Break(_) => {}
                Step::Look => {
                    scene.stood.push((tag, now));
                    first_seen.entry(tag).or_insert(now);
                    let answer = scene.answer(now);
                    let offered = match answer.strip_prefix("offer ") {
                        Some(digit) => digit.chars().next(),
                        None => (answer == "tag" && tag != scene.has && !broken.contains(&tag)).then_some(tag),
                    };
                    let Some(digit) = offered else { continue };
                    prop_assert!(!broken.contains(&digit), "{digit} is in quarantine");
                    let is_approved = approved.get(&digit).is_some_and(|until| now < *until);
                    // A tag that goes back takes its services with it: that is no new image.
                    let is_back = scene.stood[..scene.stood.len() - 1].iter().any(|(stood, _)| *stood == digit);
                    prop_assert!(!needs_approval || is_approved, "{digit} is not approved at {now}");
                    let age = now - first_seen[&digit];
                    prop_assert!(!has_age || is_approved || age >= AGE || is_back, "{digit} has {age} s");
                    scene.has = digit;
                }
            }
        }
        if !needs_approval && !broken.contains(&tag) {
            prop_assert_eq!(scene.has, tag, "it is on the newest when nothing holds it: {:?}", scene.stood);
        }
    }
}
