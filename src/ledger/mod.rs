//! What must outlive this process: which digests broke which services, and who is rolling out.
//!
//! It lives in the labels of one Docker config of the swarm, so it needs no volume and follows us to another
//! manager; `docker config inspect` shows it. The labels are changed by compare-and-set. What is to be remembered
//! is a list of changes that can be made to any state of them, so two that write at once lose nothing.
//!
//! [`entry`] is what is remembered, [`codec`] how it reads, [`book`] all of it, [`lease`] who may begin updates. All
//! four are pure, and so is [`release`]; this file, `keep` and [`acquire`] read and write.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::book::{Book, Labels, LedgerChange};
use self::lease::{Holding, Party, SURE, holding};
use self::steered::UserPause;
use crate::gate::command::CommandMemory;
use crate::swarm::{ConfigObject, EngineView, Swarm, SwarmError};
use crate::words::{piece, some_of};

pub mod acquire;
pub mod approved;
pub mod book;
pub mod codec;
#[cfg(test)]
mod cost;
pub mod entry;
mod keep;
pub mod lease;
mod left_behind;
mod object;
pub mod orders;
pub mod release;
pub mod seen;
mod seen_store;
pub mod steered;

pub use self::left_behind::LeftBehind;
pub use self::object::is_ours;
pub(crate) use self::object::{MAX_CONFLICTS, was_another_faster};
pub use self::seen_store::SeenStore;

/// What the config says of itself. Its labels say the rest.
pub const TEXT: &str = "Gantry remembers in the labels of this config which images broke which services, and who is \
     rolling out. Read it with `gantry quarantine`, change it with `gantry release`.\n";

/// Shortest time from one attempt to write what is to be remembered to the next.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// From one line about what was forgotten for want of room to the next.
const FORGOTTEN_INTERVAL: Duration = Duration::from_secs(60);

/// The memory of one process, and its connection to the ledger in the swarm.
#[derive(Debug)]
pub struct Ledger {
    name: String,
    id: String,
    state: Mutex<LedgerState>,
    news: Notify,
    /// Held from a look at the config to the write that follows: [`Ledger::keep`] and [`Ledger::take`] run side by side.
    writing: tokio::sync::Mutex<()>,
    /// Whether the image remover of an earlier cleaning may still be there.
    suspects_remover: AtomicBool,
    /// How many runs are under way.
    runs: watch::Sender<usize>,
    /// Held while images are removed.
    pub cleaning: tokio::sync::Mutex<()>,
    /// Since when digests are known.
    pub seen: SeenStore,
    /// What the user's command said of digests. Never written.
    answers: Mutex<CommandMemory>,
}

/// The ledger as this process has it.
#[derive(Debug, Default)]
struct LedgerState {
    /// The labels as they were last read or written; where configs are forbidden, the only copy.
    labels: Labels,
    /// The config as it was last read.
    object: Option<ConfigObject>,
    /// Whether another process has written the config since the cycle began: what was planned may be wrong by now.
    is_overtaken: bool,
    /// What is to be remembered and is not written yet.
    pending: Vec<LedgerChange>,
    /// The book of the last question.
    book: Option<KnownBook>,
    role: LeaseRole,
    /// Updates of other runs, or of this one, that are not judged yet.
    left_behind: LeftBehind,
    /// What the runs that have ended since the lease was taken have left.
    left: LeftBehind,
    is_memory_only: bool,
    last_attempt: Option<Instant>,
    /// What was forgotten for want of room and is not told of yet, and when that was last done.
    forgotten: Vec<String>,
    told_forgotten: Option<Instant>,
    /// The engine's clock, and when it said so.
    clock: Option<(Timestamp, Instant)>,
    /// The engine's host.
    node: String,
    /// The swarm's id.
    swarm_id: String,
    said: BTreeSet<String>,
}

/// A book, and what it was read from: every look and every update asks for it many times.
#[derive(Debug)]
struct KnownBook {
    labels: Labels,
    pending: Vec<LedgerChange>,
    book: Arc<Book>,
}

/// The relation of this process to the lease.
#[derive(Clone, Debug, Default, PartialEq)]
enum LeaseRole {
    /// It neither holds the lease nor did.
    #[default]
    Bystander,
    /// There is no ledger, so there is no lease: it updates without one.
    Alone,
    /// It holds the lease. `sure`: when a look last showed that.
    Holder { me: Party, sure: Instant },
    /// It held the lease, and another Gantry process took the lease over.
    Lost,
}

/// Whether a new update may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// Not until we are sure of the lease again.
    Unsure,
    /// Not any more: another Gantry holds the lease.
    Refused,
}

/// What a write does to the lease.
#[derive(Clone, Copy, Debug)]
enum Hold<'a> {
    /// Nothing.
    AsItIs,
    /// This party holds it, and no question stands.
    By(&'a Party),
    /// No party holds it, if the party of this id did, which leaves this behind.
    NotBy(&'a str, &'a LeftBehind),
}

impl Ledger {
    /// The ledger in the config of this name. Nothing is read yet.
    pub fn new(name: &str) -> Self {
        // A random number that needs no library: the keys of a new hash map are random.
        let random = RandomState::new().build_hasher().finish();
        let id = format!("{random:016x}");
        Self {
            name: name.to_owned(),
            id,
            state: Mutex::default(),
            news: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            suspects_remover: AtomicBool::default(),
            runs: watch::Sender::default(),
            cleaning: tokio::sync::Mutex::default(),
            seen: SeenStore::beside(name),
            answers: Mutex::default(),
        }
    }

    /// The name of the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Random; another one for each process.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the image remover of an earlier cleaning, of this process or another one, may still be there.
    pub fn suspects_remover(&self) -> bool {
        self.suspects_remover.load(Ordering::Relaxed)
    }

    /// The end of a remover is not known, or what an earlier process has left.
    pub fn suspect_remover(&self) {
        self.suspects_remover.store(true, Ordering::Relaxed);
    }

    /// No remover is left.
    pub fn clear_remover(&self) {
        self.suspects_remover.store(false, Ordering::Relaxed);
    }

    /// What the user's command said of digests, to this process.
    pub fn answers(&self) -> MutexGuard<'_, CommandMemory> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered, as far as is known.
    pub fn book(&self) -> Arc<Book> {
        let mut state = self.state();
        if let Some(known) = &state.book
            && known.labels == state.labels
            && known.pending == state.pending
        {
            return known.book.clone();
        }
        let mut book = Book::read(&state.labels);
        state.pending.iter().for_each(|change| book.apply(change));
        let book = Arc::new(book);
        let (labels, pending) = (state.labels.clone(), state.pending.clone());
        state.book = Some(KnownBook { labels, pending, book: book.clone() });
        book
    }

    /// The engine's clock.
    pub fn now(&self) -> Timestamp {
        let clock = self.state().clock;
        clock.map_or_else(Timestamp::now, |(time, at)| {
            let since = SignedDuration::try_from(at.elapsed()).unwrap_or_default();
            time.saturating_add(since).unwrap_or(time)
        })
    }

    /// To be remembered. It is written soon, as long as the ledger is [kept](Self::keep).
    pub fn note(&self, change: LedgerChange) {
        if self.remember(&[change]) {
            self.news.notify_one();
        }
    }

    /// Takes note of changes. Returns whether they are to be written.
    fn remember(&self, changes: &[LedgerChange]) -> bool {
        let mut state = self.state();
        if state.is_memory_only {
            state.labels = book::change(&state.labels, changes);
        } else {
            state.pending.extend_from_slice(changes);
            book::drop_old_actions(&mut state.pending);
        }
        !state.is_memory_only
    }

    /// Whether a new update may begin now.
    pub fn permission(&self) -> Permission {
        match &self.state().role {
            LeaseRole::Alone => Permission::Granted,
            LeaseRole::Holder { sure, .. } if sure.elapsed() < SURE => Permission::Granted,
            LeaseRole::Holder { .. } => Permission::Unsure,
            LeaseRole::Bystander | LeaseRole::Lost => Permission::Refused,
        }
    }

    /// Updates of other runs that may not be judged yet.
    pub fn left_behind(&self) -> LeftBehind {
        let state = self.state();
        let lease = book::lease(&state.labels).filter(|lease| lease.holder.id != self.id);
        let holder =
            LeftBehind { since: lease.and_then(|lease| lease.holder.since), ..LeftBehind::default() };
        state.left_behind.clone().and(book::left(&state.labels)).and(holder)
    }

    /// A user's word that no update begins now.
    pub fn pause(&self) -> Option<UserPause> {
        let pause = {
            let state = self.state();
            let pending = state.pending.iter().rev().find_map(|change| match change {
                LedgerChange::Pause(pause) => Some(pause.clone()),
                _ => None,
            });
            pending.unwrap_or_else(|| state.labels.get(codec::PAUSE).and_then(|text| UserPause::read(text)))
        };
        pause.filter(|pause| self.now() < pause.until)
    }

    /// The engine's host, as the last cycle found it.
    pub fn node(&self) -> String {
        self.state().node.clone()
    }

    /// The swarm's id; empty before the first look.
    pub fn swarm_id(&self) -> String {
        self.state().swarm_id.clone()
    }

    /// Reads the ledger, at the beginning of a cycle. The engine has just told its name and its clock.
    pub async fn read<S: Swarm>(&self, swarm: &S, engine: &EngineView) -> Result<(), SwarmError> {
        {
            let mut state = self.state();
            state.node.clone_from(&engine.host_name);
            state.swarm_id.clone_from(&engine.swarm_id);
            state.clock = engine.time.map(|time| (time, Instant::now()));
        }
        if self.state().is_memory_only {
            return Ok(());
        }
        let looked_at = Instant::now();
        let answer = self.look(swarm).await;
        self.state().is_overtaken = false;
        if let Ok(object) = &answer {
            self.see(object.as_ref(), looked_at);
        }
        match answer {
            Err(SwarmError::Forbidden(words)) => {
                self.go_on_alone(&forbidden(&words));
                Ok(())
            }
            answer => answer.map(|_| ()),
        }
    }

    /// A look at the lease without more: if this process holds the lease undisputed, it is sure of that.
    fn see(&self, object: Option<&ConfigObject>, looked_at: Instant) {
        let lease = object.and_then(|object| book::lease(&object.labels));
        if let LeaseRole::Holder { me, sure } = &mut self.state().role
            && holding(lease.as_ref(), &me.id) == Holding::Undisputed
        {
            *sure = looked_at;
        }
    }

    /// Reads the config. `None`: there is none, or none of ours.
    async fn look<S: Swarm>(&self, swarm: &S) -> Result<Option<ConfigObject>, SwarmError> {
        let object = swarm.config_object(&self.name).await?;
        if object.as_ref().is_some_and(|object| !is_ours(object)) {
            let name = &self.name;
            let remedy = "give Gantry another name with GANTRY_LEDGER_NAME";
            self.go_on_alone(&format!("the config {name} is not a ledger of Gantry's; {remedy}"));
            return Ok(None);
        }
        let mut state = self.state();
        let place = |object: &Option<ConfigObject>| object.as_ref().map(|it| (it.id.clone(), it.version));
        state.is_overtaken |= place(&state.object) != place(&object);
        state.labels = object.as_ref().map(|object| object.labels.clone()).unwrap_or_default();
        state.object.clone_from(&object);
        let damaged = Book::read(&state.labels).damaged;
        for key in damaged {
            if state.said.insert(key.clone()) {
                tracing::warn!(
                    config = self.name,
                    label = piece(&key),
                    "an entry that cannot be read is ignored and kept as it is"
                );
            }
        }
        Ok(object)
    }

    /// Says once that there is no ledger, and keeps what is to be remembered in memory.
    fn go_on_alone(&self, why: &str) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_memory_only, true) {
            tracing::warn!(
                "{why}: images that break services are remembered only until this process ends, and another \
                 Gantry is not waited for"
            );
        }
        let pending = std::mem::take(&mut state.pending);
        state.labels = book::change(&state.labels, &pending);
        if matches!(state.role, LeaseRole::Holder { .. }) {
            state.role = LeaseRole::Alone;
        }
    }

    /// Writes what is to be remembered, and the lease, if `read` is still what there is. Nothing is sent when nothing
    /// changes.
    async fn write<S: Swarm>(
        &self,
        swarm: &S,
        read: Option<&ConfigObject>,
        hold: Hold<'_>,
        also: &[LedgerChange],
    ) -> Result<(), SwarmError> {
        let pending = self.state().pending.clone();
        let before = read.map(|object| object.labels.clone()).unwrap_or_default();
        let mut labels = book::change(&book::change(&before, &pending), also);
        let surplus = Book::read(&labels).surplus();
        let forgotten: Vec<String> = surplus.iter().map(|entry| piece(&codec::key(&entry.subject))).collect();
        if !surplus.is_empty() {
            let surplus: Vec<LedgerChange> = surplus.into_iter().map(LedgerChange::Forget).collect();
            labels = book::change(&labels, &surplus);
        }
        labels = match hold {
            Hold::By(party) => book::with_lease(labels, Some(party)),
            Hold::NotBy(id, left) if book::lease(&labels).is_some_and(|lease| lease.holder.id == id) => {
                book::with_left(book::with_lease(labels, None), left)
            }
            Hold::AsItIs | Hold::NotBy(..) => labels,
        };
        if labels != before {
            self.state().last_attempt = Some(Instant::now());
            match read {
                Some(object) => swarm.update_config_object(object, &labels).await?,
                None => {
                    _ = swarm.create_config_object(&self.name, &labels, &STANDARD.encode(TEXT)).await?;
                }
            }
        }
        self.tell_forgotten(forgotten);
        let mut state = self.state();
        // While the answer was on its way, others may have written some of it, and noted more.
        let mut written = pending.into_iter();
        state.pending.retain(|change| !written.any(|written| written == *change));
        state.labels = labels;
        Ok(())
    }

    /// Says what was forgotten as there was no room for it, but no more than once a minute: each write may forget some.
    fn tell_forgotten(&self, names: Vec<String>) {
        let mut state = self.state();
        state.forgotten.extend(names);
        let is_told = state.told_forgotten.is_some_and(|told| told.elapsed() < FORGOTTEN_INTERVAL);
        if state.forgotten.is_empty() || is_told {
            return;
        }
        state.told_forgotten = Some(Instant::now());
        let forgotten = some_of(&std::mem::take(&mut state.forgotten), " ");
        tracing::warn!(config = self.name, forgotten, "the ledger is full; forgot what is oldest");
    }

    /// A run begins, which may take the lease.
    pub fn run_begins(&self) {
        self.runs.send_modify(|runs| *runs += 1);
    }

    /// A run is over, and leaves this behind. With the last run the lease is given back.
    pub async fn run_ends<S: Swarm>(&self, swarm: &S, left: LeftBehind) {
        if let Some(left) = self.without_run(left) {
            let _writing = self.writing.lock().await;
            self.give_back(swarm, &left).await;
        }
    }

    /// What all runs have left, after the last one.
    fn without_run(&self, left: LeftBehind) -> Option<LeftBehind> {
        let mut state = self.state();
        state.left = std::mem::take(&mut state.left).and(left);
        self.runs.send_modify(|runs| *runs -= 1);
        (*self.runs.borrow() == 0).then(|| std::mem::take(&mut state.left))
    }

    /// Writes what is left to write and gives the lease back, with what is `left` behind.
    pub async fn give_back<S: Swarm>(&self, swarm: &S, left: &LeftBehind) {
        {
            let mut state = self.state();
            match std::mem::take(&mut state.role) {
                LeaseRole::Bystander => {}
                LeaseRole::Alone | LeaseRole::Holder { .. } => state.left_behind.clone_from(left),
                // The new holder has it from the lease.
                LeaseRole::Lost => state.left_behind = LeftBehind::default(),
            }
            // Also one that an earlier cycle could not give back.
            let is_ours = book::lease(&state.labels).is_some_and(|lease| lease.holder.id == self.id);
            if state.is_memory_only || (state.pending.is_empty() && !is_ours) {
                return;
            }
        }
        let mut last = SwarmError::Conflict;
        for _ in 0..MAX_CONFLICTS {
            let answer = match self.look(swarm).await {
                Ok(None) if self.state().pending.is_empty() => return,
                Ok(object) => self.write(swarm, object.as_ref(), Hold::NotBy(&self.id, left), &[]).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(()) => {
                    self.state().told_forgotten = None;
                    return self.tell_forgotten(Vec::new());
                }
                Err(error) if was_another_faster(&error) => last = error,
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        tracing::warn!(error = %last, config = self.name, "cannot write the ledger; what is left is written with the next cycle");
    }
}

/// Why there is no ledger, where the engine or a proxy forbids configs.
fn forbidden(words: &str) -> String {
    format!("configs are forbidden to Gantry ({words})")
}

#[cfg(test)]
mod tests;
