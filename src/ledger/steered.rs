//! What users have told Gantry to do: that no update begins, until when, and the latest steering actions. Pure.
//!
//! ```text
//! gantry.pause   = by=anna since=2026-01-01T00:00:00Z until=2026-01-02T00:00:00Z cause=the shop's sale
//! gantry.steered = 2026-01-01T00:00:00Z anna paused updates for 24h: the shop's sale
//!                  2026-01-01T08:00:00Z ci released web
//! ```

use jiff::Timestamp;

use super::codec::{Words, add, one_word};
use crate::words::printable;

/// How many actions are remembered.
pub(super) const MAX_ACTIONS: usize = 20;

/// The longest name and the longest words that are written, in characters.
const MAX_NAME_CHARS: usize = 64;
const MAX_WORDS_CHARS: usize = 160;

/// A user's word that no update begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPause {
    /// The user's name: that of the token.
    pub by: String,
    /// The reason; may be empty.
    pub why: String,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl UserPause {
    /// A pause, with what the ledger keeps: texts of a certain length, and whole seconds.
    pub fn new(by: &str, why: &str, since: Timestamp, until: Timestamp) -> Self {
        let second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        Self {
            by: short(&one_word(by), MAX_NAME_CHARS),
            why: short(why, MAX_WORDS_CHARS),
            since: second(since),
            until: second(until),
        }
    }

    /// Writes it as a label.
    pub fn write(&self) -> String {
        let mut text = format!("by={}", one_word(&self.by));
        add(&mut text, "since", &format!("{:.0}", self.since));
        add(&mut text, "until", &format!("{:.0}", self.until));
        add(&mut text, "cause", &self.why);
        text
    }

    /// Reads a label. `None`: nothing that this program would write.
    pub fn read(text: &str) -> Option<Self> {
        let words = Words::of(text);
        let time = |key| words.get(key)?.parse().ok();
        Some(Self::new(words.get("by")?, words.cause, time("since")?, time("until")?))
    }
}

/// A steering action of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeringAction {
    /// When.
    pub at: Timestamp,
    /// The user's name: that of the token.
    pub by: String,
    /// What was done, in words.
    pub what: String,
}

impl SteeringAction {
    /// An action, with texts of a length that the ledger keeps.
    pub fn new(at: Timestamp, by: &str, what: &str) -> Self {
        Self { at, by: short(&one_word(by), MAX_NAME_CHARS), what: short(what, MAX_WORDS_CHARS) }
    }
}

/// The actions of a label, the oldest first. Lines that this program would not write are left out.
pub fn read_actions(text: &str) -> Vec<SteeringAction> {
    let line = |line: &str| {
        let (at, rest) = line.split_once(' ')?;
        let (by, what) = rest.split_once(' ')?;
        Some(SteeringAction::new(at.parse().ok()?, by, what))
    };
    text.lines().filter_map(line).collect()
}

/// The label with one more action, and without what is too old.
pub fn with_action(text: &str, action: &SteeringAction) -> String {
    let mut actions = read_actions(text);
    let SteeringAction { at, by, what } = action;
    actions.push(SteeringAction::new(*at, by, what));
    let surplus = actions.len().saturating_sub(MAX_ACTIONS);
    let lines: Vec<String> =
        actions[surplus..].iter().map(|it| format!("{:.0} {} {}", it.at, it.by, it.what)).collect();
    lines.join("\n")
}

/// The beginning of a text, on one line.
fn short(text: &str, most: usize) -> String {
    printable(text).trim().chars().take(most).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_latest_actions_are_remembered() {
        let mut text = String::new();
        for second in 0..30 {
            text = with_action(&text, &SteeringAction::new(at(second), "anna b", "released web\nand more"));
        }
        let actions = read_actions(&text);
        assert_eq!(actions.len(), MAX_ACTIONS);
        assert_eq!(actions[0].at, at(10));
        assert_eq!((actions[19].by.as_str(), actions[19].at), ("anna_b", at(29)));
        assert!(text.lines().all(|line| line.contains("released web")), "{text}");
        assert!(read_actions("nonsense\n\nnot-a-time anna did").is_empty());
    }

    #[test]
    fn damaged_pauses_are_none() {
        for damaged in ["", "by=anna", "by=anna since=2026-01-01T00:00:00Z until=soon", "since=1 until=2"] {
            assert_eq!(UserPause::read(damaged), None, "{damaged:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pause_survives_its_label(
            by in "\\PC{1,80}", why in "\\PC{0,300}", since in 0_i64..4_000_000_000, lasts in 1_i64..1_000_000,
        ) {
            prop_assume!(!by.trim().is_empty() && !printable(&one_word(&by)).trim().is_empty());
            let pause = UserPause::new(&by, &why, at(since), at(since + lasts));
            prop_assert!(!pause.write().contains('\n'));
            prop_assert_eq!(UserPause::read(&pause.write()), Some(pause));
        }

        #[test]
        fn actions_survive_their_label(by in "[a-z ]{1,9}[a-z]", what in "\\PC{1,300}", second in 0_i64..4_000_000_000) {
            prop_assume!(!printable(&what).trim().is_empty() && !by.trim().is_empty());
            let action = SteeringAction::new(at(second), &by, &what);
            prop_assert_eq!(read_actions(&with_action("", &action)), vec![action]);
        }
    }
}
