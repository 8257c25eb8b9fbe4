//! What people are still to be told of runs that are under way, and at which addresses. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::message::Message;
use super::urgent::Urgent;
use super::{progress, urgent};
use crate::config::{Config, Destination};
use crate::model::event::Event;
use crate::model::world::World;

/// How long more of the same is waited for. What the end of a run tells by then is not told twice.
const GATHER: Duration = Duration::from_secs(5);

/// From one try to the next where the server is away.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// How many urgent events wait at most. Of more, the message has their number.
const MOST_WAITING: usize = 100;

#[derive(Default)]
pub(super) struct TellerState {
    /// The runs that are under way, by number. One that is over stays while something of it waits.
    runs: BTreeMap<u64, Running>,
    pub(super) waiting: Vec<UntoldEvent>,
    /// How many urgent events came that found no room.
    more: usize,
    next_id: u64,
}

/// A run.
struct Running {
    config: Arc<Config>,
    begun: Instant,
    /// When it tells how far it is.
    due: Option<Instant>,
    world: World,
    is_over: bool,
}

/// An urgent event that is not sent yet.
pub(super) struct UntoldEvent {
    id: u64,
    run: u64,
    pub(super) due: Instant,
    pub(super) what: Urgent,
    /// The addresses that need it no more: they took it, or refused it for good.
    settled: Vec<Destination>,
    /// The addresses that it was tried at already.
    tried: Vec<Destination>,
}

/// Events that are told now.
pub(super) struct Batch {
    pub(super) config: Arc<Config>,
    pub(super) ids: Vec<u64>,
    pub(super) more: usize,
}

/// A message to one address, with the events that it tells.
pub(super) struct Letter {
    pub(super) destination: Destination,
    pub(super) message: Message,
    pub(super) ids: Vec<u64>,
    /// Whether it was tried before.
    pub(super) is_late: bool,
}

impl UntoldEvent {
    /// Whether an address still needs it.
    fn is_open_for(&self, destination: &Destination) -> bool {
        !self.settled.iter().any(|settled| settled.is_same(destination))
    }
}

impl TellerState {
    pub(super) fn begin(&mut self, run: u64, config: &Arc<Config>, now: Instant) {
        let due = config.notification.progress.map(|progress| now + progress);
        let (config, world) = (config.clone(), World::default());
        self.runs.insert(run, Running { config, begun: now, due, world, is_over: false });
    }

    /// Takes an event of a run into account. Returns whether people are to be told of it at once.
    pub(super) fn hear(&mut self, run: u64, event: &Event, now: Instant) -> bool {
        let Some(running) = self.runs.get_mut(&run) else { return false };
        running.world.apply(event);
        if matches!(event, Event::RunEnded) {
            running.is_over = true;
            self.forget(|_| false);
        }
        let Some(what) = Urgent::of(event) else { return false };
        if self.waiting.len() == MOST_WAITING {
            self.more += 1;
            return false;
        }
        let id = self.next_id;
        self.next_id += 1;
        let (settled, tried) = (Vec::new(), Vec::new());
        self.waiting.push(UntoldEvent { id, run, due: now + GATHER, what, settled, tried });
        true
    }

    /// When something is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        let progress = self.runs.values().filter(|run| !run.is_over).filter_map(|run| run.due);
        self.waiting.iter().map(|waiting| waiting.due).chain(progress).min()
    }

    /// The urgent events that are told now, as one message. Events of runs with other settings are another message.
    pub(super) fn batch(&self, now: Instant) -> Option<Batch> {
        let first = self.waiting.iter().find(|waiting| waiting.due <= now)?;
        let config = self.runs.get(&first.run)?.config.clone();
        let is_with_it = |waiting: &&UntoldEvent| {
            self.runs.get(&waiting.run).is_some_and(|run| run.config.notification == config.notification)
        };
        let ids = self.waiting.iter().filter(is_with_it).map(|waiting| waiting.id).collect();
        Some(Batch { config, ids, more: self.more })
    }

    /// What each address is sent of a batch. `run` gives a run as the API has it.
    pub(super) fn letters(
        &self,
        batch: &Batch,
        to: &[Destination],
        run: impl Fn(u64) -> Option<Value>,
    ) -> Vec<Letter> {
        let events = self.waiting.iter().filter(|waiting| batch.ids.contains(&waiting.id));
        let events: Vec<(&UntoldEvent, &World)> =
            events.filter_map(|waiting| Some((waiting, &self.runs.get(&waiting.run)?.world))).collect();
        let letter = |destination: &Destination| {
            let open: Vec<_> =
                events.iter().filter(|(waiting, _)| waiting.is_open_for(destination)).collect();
            let first = open.first()?.0.run;
            let told: Vec<(&Urgent, &World)> =
                open.iter().map(|(waiting, world)| (&waiting.what, *world)).collect();
            let message = urgent::message(&told, batch.more, batch.config.notification.title.as_deref());
            // A message of several runs tells of none in particular.
            let is_of_one = open.iter().all(|(waiting, _)| waiting.run == first);
            Some(Letter {
                destination: destination.clone(),
                message: message.about(is_of_one.then(|| run(first)).flatten()),
                ids: open.iter().map(|(waiting, _)| waiting.id).collect(),
                is_late: open
                    .iter()
                    .any(|(waiting, _)| waiting.tried.iter().any(|tried| tried.is_same(destination))),
            })
        };
        to.iter().filter_map(letter).collect()
    }

    /// Takes note of what became of a message.
    pub(super) fn note(&mut self, letter: &Letter, is_settled: bool) {
        for waiting in self.waiting.iter_mut().filter(|waiting| letter.ids.contains(&waiting.id)) {
            let list = if is_settled { &mut waiting.settled } else { &mut waiting.tried };
            list.push(letter.destination.clone());
        }
    }

    /// Drops what all addresses need no more, and puts off the rest.
    pub(super) fn end_batch(&mut self, batch: &Batch, to: &[Destination], now: Instant) {
        let is_open = |waiting: &UntoldEvent| to.iter().any(|destination| waiting.is_open_for(destination));
        let of_batch = |waiting: &&mut UntoldEvent| batch.ids.contains(&waiting.id);
        let mut is_over = true;
        for waiting in self.waiting.iter_mut().filter(of_batch) {
            if is_open(waiting) {
                waiting.due = now + AGAIN;
                is_over = false;
            }
        }
        if is_over {
            self.more = self.more.saturating_sub(batch.more);
        }
        self.forget(|waiting| batch.ids.contains(&waiting.id) && !is_open(waiting));
    }

    /// The message of a run that tells how far it is now, and the run's number.
    pub(super) fn progress(&mut self, now: Instant) -> Option<(Arc<Config>, Message, u64)> {
        self.runs.iter_mut().filter(|(_, run)| !run.is_over).find_map(|(number, run)| {
            let every = run.config.notification.progress?;
            run.due.filter(|due| *due <= now)?;
            run.due = Some(now + every);
            let title = run.config.notification.title.as_deref();
            let message = progress::message(*number, &run.world, now.duration_since(run.begun), title)?;
            Some((run.config.clone(), message, *number))
        })
    }

    /// Drops the urgent events that were told, and the runs that are over and have none.
    pub(super) fn forget(&mut self, is_told: impl Fn(&UntoldEvent) -> bool) {
        self.waiting.retain(|waiting| !is_told(waiting));
        if self.waiting.is_empty() {
            self.more = 0;
        }
        self.runs.retain(|number, run| !run.is_over || self.waiting.iter().any(|it| it.run == *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageRef;
    use crate::secret::Secret;

    fn config(variables: &[(&str, &str)]) -> Arc<Config> {
        let address = ("GANTRY_NOTIFICATION_APPRISE_URL", "http://apprise.test/notify/team");
        let variables = variables.iter().chain([&address]).map(|(name, value)| (name.into(), value.into()));
        Arc::new(Config::load(variables).unwrap().config)
    }

    fn image(number: usize) -> ImageRef {
        format!("app-{number}:1").parse().unwrap()
    }

    fn stopped(number: usize) -> Event {
        Event::RolloutStopped { image: image(number), touched: 2, failed: 2, total: 9 }
    }

    /// The address of [`config`].
    fn apprise() -> Destination {
        Destination::apprise(Secret::new("http://apprise.test/notify/team"))
    }

    fn url(text: &str) -> Destination {
        Destination::read_all(text).0.remove(0)
    }

    fn letters(state: &TellerState, batch: &Batch, to: &[Destination]) -> Vec<Letter> {
        state.letters(batch, to, |_| None)
    }

    fn shown(state: &TellerState, batch: &Batch) -> String {
        letters(state, batch, &[apprise()])[0].message.shown()
    }

    fn title(state: &TellerState, batch: &Batch) -> String {
        shown(state, batch).lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_waits_is_bounded_and_counted() {
        let now = Instant::now();
        let mut state = TellerState::default();
        state.begin(1, &config(&[]), now);
        let heard = (0..MOST_WAITING + 20).filter(|number| state.hear(1, &stopped(*number), now)).count();
        assert_eq!((heard, state.waiting.len(), state.more), (MOST_WAITING, MOST_WAITING, 20));
        let batch = state.batch(now + GATHER).unwrap();
        let shown = shown(&state, &batch);
        assert!(shown.contains("and 20 more in the log"), "{shown}");
        assert_eq!((batch.ids.len(), batch.more), (MOST_WAITING, 20));
    }

    #[test]
    fn events_of_a_few_seconds_are_one_message() {
        let now = Instant::now();
        let mut state = TellerState::default();
        state.begin(1, &config(&[]), now);
        state.begin(2, &config(&[]), now);
        assert!(state.hear(1, &stopped(1), now) && state.hear(2, &stopped(2), now + GATHER / 2));
        assert_eq!(state.due(), Some(now + GATHER));
        assert!(state.batch(now + GATHER / 2).is_none());
        let batch = state.batch(now + GATHER).unwrap();
        assert_eq!(title(&state, &batch), "[Failure] Gantry: 2 rollouts stopped");
        state.note(&letters(&state, &batch, &[apprise()])[0], false);
        state.end_batch(&batch, &[apprise()], now);
        assert_eq!(state.due(), Some(now + AGAIN));
        let batch = state.batch(now + AGAIN).unwrap();
        assert!(letters(&state, &batch, &[apprise()])[0].is_late);
    }

    #[test]
    fn an_address_that_took_a_message_is_not_sent_it_again() {
        let now = Instant::now();
        let mut state = TellerState::default();
        state.begin(1, &config(&[]), now);
        let to = [url("https://a.test"), url("https://b.test"), apprise()];
        assert!(state.hear(1, &stopped(1), now));
        let batch = state.batch(now + GATHER).unwrap();
        let sent = letters(&state, &batch, &to);
        assert_eq!(sent.len(), 3);
        for (letter, is_settled) in sent.iter().zip([true, false, true]) {
            state.note(letter, is_settled);
        }
        state.end_batch(&batch, &to, now + GATHER);
        // What happens meanwhile is told to all, and only the second address is told both.
        assert!(state.hear(1, &stopped(2), now + GATHER));
        let later = now + GATHER + GATHER;
        let batch = state.batch(later).unwrap();
        let sent = letters(&state, &batch, &to);
        let told: Vec<(usize, bool)> = sent.iter().map(|letter| (letter.ids.len(), letter.is_late)).collect();
        assert_eq!(told, [(1, false), (2, true), (1, false)]);
        for letter in &sent {
            state.note(letter, true);
        }
        state.end_batch(&batch, &to, later);
        assert_eq!((state.waiting.len(), state.due()), (0, None));
    }

    #[test]
    fn runs_with_other_settings_have_a_message_of_their_own() {
        let now = Instant::now();
        let mut state = TellerState::default();
        for (run, title) in [(1, "(a)"), (2, "(b)")] {
            state.begin(run, &config(&[("GANTRY_NOTIFICATION_TITLE", title)]), now);
            assert!(state.hear(run, &stopped(1), now));
        }
        for suffix in ["(a)", "(b)"] {
            let batch = state.batch(now + GATHER).unwrap();
            let title = title(&state, &batch);
            assert!(title.ends_with(suffix), "{title}");
            state.forget(|waiting| batch.ids.contains(&waiting.id));
        }
        assert!(state.batch(now + GATHER).is_none());
    }

    #[test]
    fn a_run_that_is_over_is_kept_while_something_waits() {
        let now = Instant::now();
        let mut state = TellerState::default();
        let config = config(&[("GANTRY_NOTIFICATION_PROGRESS", "60")]);
        state.begin(1, &config, now);
        state.begin(2, &config, now);
        assert!(state.hear(1, &stopped(1), now));
        for run in [1, 2] {
            assert!(!state.hear(run, &Event::RunEnded, now));
        }
        assert_eq!(state.runs.keys().copied().collect::<Vec<_>>(), [1]);
        assert!(state.progress(now + Duration::from_secs(60)).is_none(), "it is over");
        assert!(state.batch(now + GATHER).is_some());
        state.forget(|_| true);
        assert!(state.runs.is_empty() && state.due().is_none());
    }
}
