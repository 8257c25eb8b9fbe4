//! The notification of a cycle: the report, short enough for a telephone. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::config::{Mistakes, NotificationCondition};
use crate::cycle::Report;
use crate::cycle::report::{image_names, plural};
use crate::model::finished::{Finished, NotBegunReason};
use crate::model::outcome::Outcome;
use crate::model::row::{Row, State, groups, names};
use crate::words::beginning;

/// How many names stand in one line.
pub(super) const NAMES: usize = 30;

/// How many lines there are of one kind.
pub(super) const LINES: usize = 15;

/// How much of one cause is shown, in characters. The log has all of it.
pub(super) const CAUSE: usize = 300;

/// For how many causes the last words of a task are shown, and how much of each line, in characters.
const QUOTED: (usize, usize) = (2, 120);

/// What breaks up a mention or a link. No reader sees it.
const BREAK: char = '\u{200b}';

/// A notification, in the form that Apprise takes. Nothing in it is a mention, a link or a tag but what the title's
/// suffix has, which is the operator's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Message {
    title: String,
    body: String,
    #[serde(rename = "type")]
    kind: Kind,
    /// Without it Apprise takes the body for what the receiver prefers: Markdown or HTML.
    format: Format,
    /// The run that it tells of, as the API has it. Apprise is not sent that.
    #[serde(skip)]
    run: Option<Arc<Value>>,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Text,
}

/// How it looks at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Info,
    Success,
    Failure,
}

/// Whether this cycle is one to be told of.
pub(super) fn is_due(condition: NotificationCondition, report: &Report) -> bool {
    match condition {
        NotificationCondition::All => true,
        NotificationCondition::OnChange => is_news(report),
    }
}

/// Whether something happened in this cycle: the services changed, or something failed.
pub(super) fn is_news(report: &Report) -> bool {
    let has_changed = report.finished().any(|one| !matches!(one.outcome, Outcome::Unchanged(_)));
    has_changed || report.has_failed()
}

impl Message {
    /// Tells of a cycle; `suffix` is appended to the title.
    pub(super) fn of(report: &Report, suffix: Option<&str>) -> Self {
        let mut body = sentence(&report.summary());
        for lines in [failures(report), successes(report)] {
            if !lines.is_empty() {
                body.push_str("\n\n");
                body.push_str(&cut(&lines, LINES, "\n", "more lines in the log"));
            }
        }
        let kind = if report.has_failed() { Kind::Failure } else { Kind::Success };
        Self::new(&headline(report), suffix, &body, kind)
    }

    /// A message with this title after Gantry's name; `suffix` is appended to the title.
    pub(super) fn new(title: &str, suffix: Option<&str>, body: &str, kind: Kind) -> Self {
        let mut title = defused(&format!("Gantry: {title}"));
        if let Some(suffix) = suffix {
            let _ = write!(title, " {suffix}");
        }
        Self { title, body: defused(body), kind, format: Format::Text, run: None }
    }

    /// The same, with the run that it tells of.
    pub(super) fn about(self, run: Option<Value>) -> Self {
        Self { run: run.map(Arc::new), ..self }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The run that it tells of, as the API has it.
    pub(super) fn run(&self) -> Option<&Value> {
        self.run.as_deref()
    }

    /// Tells that nothing was started, and why.
    pub(super) fn of_mistakes(mistakes: &Mistakes) -> Self {
        let title = "not started, as its configuration is wrong";
        let lines: Vec<String> = mistakes.lines().collect();
        let body = cut(&lines, LINES, "\n", "more lines in the log");
        Self::new(title, mistakes.notification.title.as_deref(), &body, Kind::Failure)
    }

    /// The same, told later than at its cycle's end, which was then.
    pub(super) fn late(&self, end: &str) -> Self {
        Self {
            title: format!("{} (late)", self.title),
            body: format!("Of the cycle that ended at {end}; it could not be sent then.\n\n{}", self.body),
            ..self.clone()
        }
    }
}

#[cfg(test)]
impl Message {
    /// Its type, title and body.
    pub(super) fn shown(&self) -> String {
        let Self { title, body, kind, .. } = self;
        format!("[{kind:?}] {title}\n\n{body}")
    }
}

/// A text in which no receiver finds a person to mention, an address to link to or a tag: tasks, registries and names of
/// services can say what they like.
fn defused(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        harmless.push(c);
        let rest = &text[at + c.len_utf8()..];
        let is_live = match c {
            // A digest is no mention, and people copy it.
            '@' => !rest.starts_with("sha256:"),
            '<' => true,
            ']' => rest.starts_with('('),
            ':' => rest.starts_with("//"),
            'w' | 'W' => rest.starts_with('.') && is_www(&text[..at]),
            _ => false,
        };
        if is_live && rest.starts_with(|next: char| !next.is_whitespace()) {
            harmless.push(BREAK);
        }
    }
    harmless
}

/// Whether a text ends with the beginning of `www`.
fn is_www(text: &str) -> bool {
    text.len() >= 2
        && text.is_char_boundary(text.len() - 2)
        && text[text.len() - 2..].eq_ignore_ascii_case("ww")
}

/// The counts that matter, the gravest first.
fn headline(report: &Report) -> String {
    match report.error {
        Some(_) if report.rows.is_empty() => return "cycle failed, nothing was updated".to_owned(),
        Some(_) => return "cycle failed".to_owned(),
        None => {}
    }
    let counts = groups(&report.rows, |row| Some((place(&row.state)?, row.state.name())));
    let counted = |is_grave: bool| {
        let counts = counts.iter().filter(move |((place, _), _)| (*place < AFTER_STOPS) == is_grave);
        counts.map(|((_, name), rows)| format!("{} {}", rows.len(), plural(name, rows.len())))
    };
    let mut words: Vec<String> = counted(true).collect();
    words.extend(
        report.stopped.iter().map(|stopped| format!("rollout of {} stopped", stopped.image.tagged())),
    );
    words.extend(report.post_run.as_ref().map(|_| "the post-run command failed".to_owned()));
    words.extend(counted(false));
    if words.is_empty() {
        let nothing = match report.rows.is_empty() {
            true if report.is_interrupted => "interrupted",
            true => "no service matches",
            false => "nothing to update",
        };
        words.push(nothing.to_owned());
    }
    words.join(", ")
}

/// The first place in the title of what comes after the stopped rollouts.
const AFTER_STOPS: u8 = 4;

/// How early the title counts a service, if it does. The updates that a stopped rollout holds back are told with the rollout.
fn place(state: &State) -> Option<u8> {
    Some(match state {
        State::NeedsAttention(what) if what.is_failure() => 0,
        State::Ended(one) if one.outcome.is_failure() => 1,
        State::Ended(_) => 2,
        State::Error(_) => 3,
        State::NeedsAttention(_) => AFTER_STOPS,
        State::Held(held) => match held.why {
            NotBegunReason::Postponed => 5,
            NotBegunReason::Unproven => 6,
            NotBegunReason::Interrupted => 7,
            _ => return None,
        },
        _ => return None,
    })
}

/// What needs a person, with its cause; services with the same one share a line.
fn failures(report: &Report) -> Vec<String> {
    let mut by_cause = groups(&report.rows, |row| match &row.state {
        State::NeedsAttention(what) => Some(format!("needs attention: {what}")),
        State::Ended(one) if one.outcome.is_failure() => {
            Some(format!("{} ({})", one.outcome, one.to.tagged()))
        }
        _ => None,
    });
    let error = |(cause, rows): (&str, Vec<_>)| (format!("error: {}: {cause}", image_names(&rows)), rows);
    by_cause.extend(report.errors().into_iter().map(error));
    let mut lines: Vec<(String, Vec<&Row>)> = by_cause.into_iter().collect();
    lines.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    let mut quoted = 0;
    let line = |(cause, rows): (String, Vec<&Row>)| {
        let mut line = format!("{}: {}", cut(&names(&rows), NAMES, ", ", "more"), beginning(&cause, CAUSE));
        let words = rows.iter().filter_map(|row| row.finished()).find(|one| has_words(one));
        if let Some(one) = words.filter(|_| quoted < QUOTED.0) {
            quoted += 1;
            line.push_str(&last_words(one));
        }
        line
    };
    let stopped = report.stopped.iter().map(ToString::to_string);
    stopped.chain(lines.into_iter().map(line)).collect()
}

fn has_words(one: &Finished) -> bool {
    !(one.log.is_empty() && one.health.is_none())
}

/// What a failed task said last, a line each.
fn last_words(one: &Finished) -> String {
    let health = one.health.iter().map(|health| format!("health check: {health}"));
    let lines = health.chain(one.log.iter().cloned());
    lines.fold(String::new(), |text, line| text + "\n    " + &beginning(&line, QUOTED.1))
}

/// How the other updates ended, by image.
fn successes(report: &Report) -> Vec<String> {
    let by_image = groups(&report.rows, |row| {
        let one = row.finished().filter(|one| !one.outcome.is_failure())?;
        Some((one.outcome.name(), one.to.tagged()))
    });
    let line = |((outcome, image), rows): (&(&str, String), &Vec<&Row>)| {
        format!("{outcome} ({image}): {}", cut(&names(rows), NAMES, ", ", "more"))
    };
    by_image.iter().map(line).collect()
}

/// Joins the first names, and says how many more there are.
pub(super) fn cut(texts: &[impl AsRef<str>], limit: usize, separator: &str, more: &str) -> String {
    let mut text = texts.iter().take(limit).map(AsRef::as_ref).collect::<Vec<_>>().join(separator);
    if texts.len() > limit {
        let _ = write!(text, "{separator}and {} {more}", texts.len() - limit);
    }
    text
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::cause::Cause;
    use crate::model::outcome::By;

    fn row(one: Finished) -> Row {
        one.into()
    }

    fn with(rows: impl IntoIterator<Item = Row>) -> Report {
        Report { rows: rows.into_iter().collect(), ..Report::default() }
    }

    fn up_to_date(count: usize) -> Vec<Row> {
        vec![Row::sample("newest", State::UpToDate); count]
    }

    fn error(service: &str, image: &str, cause: &str) -> Row {
        Row { image: image.to_owned(), ..Row::sample(service, State::Error(cause.to_owned())) }
    }

    fn finished(service: &str, outcome: Outcome) -> Finished {
        Finished {
            service: service.to_owned(),
            from: "registry.test/app:1".parse().unwrap(),
            to: format!("registry.test/app:1@sha256:{}", "1".repeat(64)).parse().unwrap(),
            outcome,
            log: Vec::new(),
            health: None,
            took: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_needs_a_person_is_in_the_title_and_in_the_body() {
        use crate::model::attention::Attention;
        let message = || "update paused due to failure".to_owned();
        let with = |what: Attention| {
            with([up_to_date(2), vec![Row::sample("shop", State::NeedsAttention(what))]].concat())
        };
        for (what, kind, words) in [
            (Attention::Kept { message: message() }, "Failure", "its update has failed and was kept"),
            (Attention::RollbackFailed { message: message() }, "Failure", "its rollback has failed"),
            (Attention::Paused { message: message() }, "Success", "is paused; Gantry sends nothing until"),
            (Attention::NotRunning { running: 1, desired: 2 }, "Success", "but 1 of 2 tasks run"),
        ] {
            let shown = shown(&with(what), None);
            assert!(shown.starts_with(&format!("[{kind}] Gantry: 1 needs attention\n")), "{shown}");
            assert!(shown.contains("\nshop: needs attention: ") && shown.contains(words), "{shown}");
        }
    }

    #[test]
    fn a_failure_is_never_called_nothing_to_update() {
        let failed = |service: &str| finished(service, Outcome::Failed { cause: unhealthy("node1") }).into();
        let report = || with(up_to_date(3));
        let also = |row: Row| with([up_to_date(2), vec![row]].concat());
        for report in [
            Report { error: Some("no manager".to_owned()), ..report() },
            Report { error: Some("no manager".to_owned()), ..Report::default() },
            Report { post_run: Some("it failed".to_owned()), ..report() },
            also(error("a", "b", "c")),
            also(failed("a")),
        ] {
            let shown = shown(&report, None);
            assert!(shown.starts_with("[Failure]") && !shown.contains("nothing to update"), "{shown}");
        }
    }

    #[test]
    fn updates_that_were_not_begun_are_in_the_title() {
        let whys = [NotBegunReason::Postponed, NotBegunReason::Postponed, NotBegunReason::Unproven];
        let postponed = Some("node3 is down".to_owned());
        let report = Report { postponed, ..with(whys.map(|why| Row::sample_held("web", why))) };
        assert_eq!(
            shown(&report, None),
            "[Success] Gantry: 2 postponed, 1 unproved\n\n3 services: 1 unproved, 2 postponed: node3 is down"
        );
    }

    #[test]
    fn a_registry_that_is_down_is_one_line_of_a_message() {
        let down = |n| {
            error(&format!("site-{n:04}"), &format!("registry.test/app{}:1", n % 12), "it cannot be reached")
        };
        let shown = shown(&with((0..1200).map(down)), None);
        assert_eq!(shown.lines().count(), 5, "{shown}");
        assert!(shown.contains("and 9 other images: it cannot be reached"), "{shown}");
    }

    fn unhealthy(node: &str) -> Cause {
        Cause::Unhealthy { node: node.to_owned() }
    }

    fn shown(report: &Report, suffix: Option<&str>) -> String {
        Message::of(report, suffix).shown()
    }

    #[test]
    fn it_has_names_causes_and_counts() {
        let ends = [
            finished("a", Outcome::Updated),
            finished("b", Outcome::RolledBack { by: By::Swarm, cause: unhealthy("node1") }),
            finished("c", Outcome::Updated),
            finished("d", Outcome::Removed),
            finished("e", Outcome::RolledBack { by: By::Swarm, cause: unhealthy("node1") }),
            finished("f", Outcome::RolledBack { by: By::Gantry, cause: unhealthy("node2") }),
        ];
        let decided = [up_to_date(2), vec![error("local", "local:1", "no registry knows it")]].concat();
        let report = Report {
            post_run: Some("the post-run command failed: exit code 3".to_owned()),
            ..with(decided.into_iter().chain(ends.map(row)))
        };
        insta::assert_snapshot!(shown(&report, Some("(production)")));
    }

    #[test]
    fn what_failed_tasks_said_is_quoted_for_the_causes_that_matter_most() {
        let failed = |service: &str, node: &str, lines: usize| Finished {
            log: (0..lines).map(|n| format!("line {n} {}", "x".repeat(200))).collect(),
            health: Some("connection refused".to_owned()),
            ..finished(service, Outcome::RolledBack { by: By::Gantry, cause: unhealthy(node) })
        };
        let failures = [
            failed("a", "node1", 10),
            failed("b", "node1", 10),
            failed("c", "node2", 3),
            failed("d", "node3", 1),
        ];
        let text = shown(&with(failures.map(row)), None);
        assert!(text.len() < 4000, "{} characters", text.len());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_others_say_is_neither_mention_nor_link_nor_tag() {
        const HOSTILE: [(&str, &str); 9] = [
            ("@everyone look", "@\u{200b}everyone look"),
            ("mail root@example.test", "mail root@\u{200b}example.test"),
            ("<!channel> <@U1>", "<\u{200b}!channel> <\u{200b}@\u{200b}U1>"),
            ("[log in](//evil.test)", "[log in]\u{200b}(//evil.test)"),
            ("http://evil.test", "http:\u{200b}//evil.test"),
            ("WWW.evil.test", "WWW\u{200b}.evil.test"),
            ("<a href=x>", "<\u{200b}a href=x>"),
            ("</b>", "<\u{200b}/b>"),
            ("a < b, 5 @ 3, app:1@sha256:00, ww.x", "a < b, 5 @ 3, app:1@sha256:00, ww.x"),
        ];
        for (said, shown) in HOSTILE {
            assert_eq!(defused(said), shown);
            let ended = Finished {
                log: vec![said.to_owned()],
                ..finished(said, Outcome::Failed { cause: unhealthy(said) })
            };
            let report = with([error("web", "app:1", said), ended.into()]);
            let suffix = "<b>(@ops, [log](https://log.test))</b>";
            let message = Message::of(&report, Some(suffix));
            assert!(message.title.ends_with(suffix), "the operator's own words stay: {}", message.title);
            assert!(shown == said || !message.body.contains(said), "{}", message.body);
            assert!(message.body.matches(shown).count() >= 3, "{}", message.body);
        }
    }

    #[test]
    fn a_message_is_plain_text() {
        let json = serde_json::to_value(Message::of(&Report::default(), None)).unwrap();
        assert_eq!((&json["format"], &json["type"]), (&"text".into(), &"success".into()));
    }

    #[test]
    fn nothing_to_update_is_told_in_a_sentence() {
        insta::assert_snapshot!(shown(&with(up_to_date(3)), None));
        insta::assert_snapshot!(shown(&Report::default(), None));
    }

    #[test]
    fn an_error_before_updating_is_the_whole_story() {
        let error = Some("the pre-run command failed: exit code 1".to_owned());
        insta::assert_snapshot!(shown(&Report { error, ..Report::default() }, None));
    }

    #[test]
    fn twelve_hundred_services_are_a_few_lines() {
        let updated = (0..1150).map(|n| finished(&format!("site-{n:04}"), Outcome::Updated));
        let failed = |n: usize| Outcome::Failed { cause: unhealthy(&format!("node{}", n % 40)) };
        let failed = (1150..1200).map(|n| finished(&format!("site-{n:04}"), failed(n)));
        let text = shown(&with(updated.chain(failed).map(row)), None);
        assert!(text.lines().count() < 30 && text.len() < 4000, "{} characters\n{text}", text.len());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn on_change_is_silent_about_a_cycle_in_which_nothing_happened() {
        let quiet = with(up_to_date(3));
        let unchanged = with([finished("a", Outcome::Unchanged(String::new())).into()]);
        let updated = with([finished("a", Outcome::Updated).into()]);
        let failed = Report { post_run: Some("failed".to_owned()), ..Report::default() };
        for (report, is_told) in [(quiet, false), (unchanged, false), (updated, true), (failed, true)] {
            assert_eq!(is_due(NotificationCondition::OnChange, &report), is_told, "{report:?}");
            assert!(is_due(NotificationCondition::All, &report));
        }
    }
}
