//! Tells people of runs: at their ends, and while they are under way.
//!
//! A stopped rollout and a failed rollback are told when they happen. A run that lasts for long tells how far it is. Both are
//! additional: the message at a run's end tells all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::send::{Fault, deliver};
use super::urgent::Urgent;
use super::{Notifier, not_sent, progress, urgent};
use crate::config::Config;
use crate::context::Events;
use crate::cycle::Report;
use crate::daemon::board::LiveBoard;
use crate::daemon::log;
use crate::model::event::Event;
use crate::model::world::World;

/// How long more of the same is waited for. What the end of a run tells by then is not told twice.
const GATHER: Duration = Duration::from_secs(5);

/// From one try to the next where the server is away.
const AGAIN: Duration = Duration::from_secs(60);

/// How many urgent events wait at most. Of more, the message has their number.
const MOST_WAITING: usize = 100;

/// Tells people of runs.
#[derive(Default)]
pub struct Teller {
    /// Its lock is held while a message is sent, so that messages go out one after the other.
    notifier: tokio::sync::Mutex<Notifier>,
    state: Mutex<TellerState>,
    /// Something is to be told at another time than before.
    news: Notify,
}

#[derive(Default)]
struct TellerState {
    /// The runs that are under way, by number. One that is over stays while something of it waits.
    runs: BTreeMap<u64, Running>,
    waiting: Vec<UntoldEvent>,
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
struct UntoldEvent {
    id: u64,
    run: u64,
    due: Instant,
    what: Urgent,
    /// Whether it was tried already.
    is_late: bool,
}

/// A message, with the events that it tells.
struct Batch {
    config: Arc<Config>,
    message: Message,
    ids: Vec<u64>,
    more: usize,
    is_late: bool,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// Where the events of a run go: to the log, to the board, and to people where there is an address.
    pub fn events(self: &Arc<Self>, config: &Arc<Config>, run: u64, board: &LiveBoard) -> Events {
        let board = board.clone();
        let show = move |event: &Event| {
            log::write(event);
            board.change(|board, at| board.apply(run, event, at));
        };
        if config.notification.apprise_url.is_none() {
            return Events::new(show);
        }
        self.state().begin(run, config, Instant::now());
        self.news.notify_one();
        let teller = self.clone();
        Events::new(move |event| {
            show(event);
            teller.hear(run, event);
        })
    }

    /// Tells of a run at its end. Urgent events that this message tells are not told again.
    pub async fn tell(&self, config: &Config, report: &Report, stop: &CancellationToken) {
        let mut notifier = self.notifier.lock().await;
        self.state().forget(|waiting| waiting.what.is_told_by(report));
        Box::pin(notifier.tell(config, report, stop)).await;
    }

    /// Tells what is to be told while runs are under way. It goes on for as long as it is polled; when Gantry is to stop it
    /// tells nothing more, as the ends of the runs follow at once.
    pub async fn go_on(&self, stop: &CancellationToken) {
        let work = async {
            loop {
                let due = self.state().due();
                let wait = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = wait => self.tell_due().await,
                    () = self.news.notified() => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => pending().await,
            () = work => {}
        }
    }

    /// Tells at last what no message has told.
    pub async fn finish(&self, stop: &CancellationToken) {
        self.state().waiting.iter_mut().for_each(|waiting| waiting.due = Instant::now());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.tell_due() => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, TellerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, run: u64, event: &Event) {
        if self.state().hear(run, event, Instant::now()) {
            self.news.notify_one();
        }
    }

    async fn tell_due(&self) {
        let _sending = self.notifier.lock().await;
        // Only now: what waited may have been told at a run's end meanwhile.
        loop {
            let batch = self.state().batch(Instant::now());
            let Some(batch) = batch else { break };
            self.tell_at_once(batch).await;
        }
        loop {
            let progress = self.state().progress(Instant::now());
            let Some((config, message)) = progress else { break };
            if let Err(fault) = send(&config, &message).await {
                not_sent(&fault.to_string());
            }
        }
    }

    async fn tell_at_once(&self, batch: Batch) {
        match send(&batch.config, &batch.message).await {
            Ok(()) => tracing::debug!(events = batch.ids.len(), "notified while the run goes on"),
            Err(Fault::Away(cause)) => {
                if batch.is_late {
                    tracing::debug!(cause, "a notification waits on");
                } else {
                    not_sent(&format!("{cause}; it is sent again in {} s", AGAIN.as_secs()));
                }
                return self.state().put_off(&batch.ids, Instant::now() + AGAIN);
            }
            Err(fault) => not_sent(&fault.to_string()),
        }
        let mut state = self.state();
        state.more = state.more.saturating_sub(batch.more);
        state.forget(|waiting| batch.ids.contains(&waiting.id));
    }
}

async fn send(config: &Config, message: &Message) -> Result<(), Fault> {
    let Some(url) = &config.notification.apprise_url else { return Ok(()) };
    Box::pin(deliver(url.reveal(), &config.proxies, message)).await
}

impl TellerState {
    fn begin(&mut self, run: u64, config: &Arc<Config>, now: Instant) {
        let due = config.notification.progress.map(|progress| now + progress);
        let (config, world) = (config.clone(), World::default());
        self.runs.insert(run, Running { config, begun: now, due, world, is_over: false });
    }

    /// Takes an event of a run into account. Returns whether people are to be told of it at once.
    fn hear(&mut self, run: u64, event: &Event, now: Instant) -> bool {
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
        self.waiting.push(UntoldEvent { id, run, due: now + GATHER, what, is_late: false });
        true
    }

    /// When something is to be told.
    fn due(&self) -> Option<Instant> {
        let progress = self.runs.values().filter(|run| !run.is_over).filter_map(|run| run.due);
        self.waiting.iter().map(|waiting| waiting.due).chain(progress).min()
    }

    /// The urgent events that are told now, as one message. Events of runs with other settings are another message.
    fn batch(&self, now: Instant) -> Option<Batch> {
        let first = self.waiting.iter().find(|waiting| waiting.due <= now)?;
        let config = self.runs.get(&first.run)?.config.clone();
        let with_run =
            self.waiting.iter().filter_map(|waiting| Some((waiting, self.runs.get(&waiting.run)?)));
        let told: Vec<(&UntoldEvent, &Running)> =
            with_run.filter(|(_, run)| run.config.notification == config.notification).collect();
        let (ids, is_late) =
            (told.iter().map(|(it, _)| it.id).collect(), told.iter().any(|(it, _)| it.is_late));
        let told: Vec<(&Urgent, &World)> = told.iter().map(|(it, run)| (&it.what, &run.world)).collect();
        let message = urgent::message(&told, self.more, config.notification.title.as_deref());
        Some(Batch { config, message, ids, more: self.more, is_late })
    }

    /// The message of a run that tells how far it is now.
    fn progress(&mut self, now: Instant) -> Option<(Arc<Config>, Message)> {
        self.runs.iter_mut().filter(|(_, run)| !run.is_over).find_map(|(number, run)| {
            let every = run.config.notification.progress?;
            run.due.filter(|due| *due <= now)?;
            run.due = Some(now + every);
            let title = run.config.notification.title.as_deref();
            let message = progress::message(*number, &run.world, now.duration_since(run.begun), title)?;
            Some((run.config.clone(), message))
        })
    }

    fn put_off(&mut self, ids: &[u64], due: Instant) {
        for waiting in self.waiting.iter_mut().filter(|waiting| ids.contains(&waiting.id)) {
            waiting.due = due;
            waiting.is_late = true;
        }
    }

    /// Drops the urgent events that were told, and the runs that are over and have none.
    fn forget(&mut self, is_told: impl Fn(&UntoldEvent) -> bool) {
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

    fn titles(batch: &Batch) -> String {
        batch.message.shown().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_waits_is_bounded_and_counted() {
        let now = Instant::now();
        let mut state = TellerState::default();
        state.begin(1, &config(&[]), now);
        let heard = (0..MOST_WAITING + 20).filter(|number| state.hear(1, &stopped(*number), now)).count();
        assert_eq!((heard, state.waiting.len(), state.more), (MOST_WAITING, MOST_WAITING, 20));
        let batch = state.batch(now + GATHER).unwrap();
        assert!(batch.message.shown().contains("and 20 more in the log"), "{:?}", batch.message);
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
        assert_eq!(titles(&batch), "[Failure] Gantry: 2 rollouts stopped");
        state.put_off(&batch.ids, now + AGAIN);
        assert_eq!(state.due(), Some(now + AGAIN));
        assert!(state.batch(now + AGAIN).unwrap().is_late);
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
            assert!(titles(&batch).ends_with(suffix), "{:?}", batch.message);
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
