//! What a swarm does: one set of tests for the fake and for the real one, so that the fake stays true.
//!
//! Every rule is a function over any [`Stage`]. In paused time it runs against the fake; with the feature
//! `live` also against the engine of the lab.

use std::time::Duration;

use gantry::secret::Secret;
use gantry::swarm::spec::Edits;
use gantry::swarm::{Listing, Service, ServiceChange, Spec, Swarm, SwarmError, Task, TaskState, UpdateState};
use tokio::time::{Instant, sleep};

use crate::fake::{FakeSwarm, ServiceBuilder};

mod accounts;
mod configs;
#[cfg(feature = "live")]
mod live;
mod nodes;
mod paused;
mod requests;
mod tasks;
mod updates;

/// What an image does when it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Runs, until it is stopped. Numbers tell several apart.
    Good(u8),
    /// Says `boom` and fails with exit code 3 a second after it started.
    Crashes,
    /// Ends with exit code 0 a second after it started.
    Exits,
    /// Its health check fails, after about a second.
    Sick,
    /// No registry has it.
    Unknown,
    /// It names a program that it does not hold.
    CannotStart,
    /// Runs, and nodes get it with one account only: [`Stage::account`].
    Private,
}

/// Where a rule is tried.
pub(crate) trait Stage: Sync {
    /// The kind of swarm.
    type Swarm: Swarm;
    fn swarm(&self) -> &Self::Swarm;
    /// An image of this kind, pinned.
    fn image(&self, kind: Kind) -> String;
    /// What kind an image is that was asked for already.
    fn kind(&self, image: &str) -> Option<Kind>;
    /// A name that no other rule uses.
    fn name(&self, name: &str) -> String;
    /// The account with which nodes get [`Kind::Private`], or another one.
    fn account(&self, is_right: bool) -> Secret;
    /// The power of a node fails; the swarm misses it a while later.
    fn lose(&self, node: &str);
    /// A node that was lost has power again.
    fn restore(&self, node: &str);
    /// The managers get another leader.
    fn change_leader(&self);
    /// A node hands its tasks over and takes no more, or takes them again.
    fn drain(&self, node: &str, is_drained: bool);
    /// A node keeps its tasks and takes no more.
    fn pause(&self, node: &str);
}

/// Each rule becomes a test per stage; `apart`: on a stage that no other rule stands on.
macro_rules! rules {
    ($($rule:ident),+ $(,)?) => { rules! { new: $($rule),+ } };
    ($stage:ident: $($rule:ident),+ $(,)?) => {
        mod fake {
            $(#[tokio::test(start_paused = true)]
            async fn $rule() {
                super::$rule(&crate::contract::paused::Paused::new()).await;
            })+
        }
        #[cfg(feature = "live")]
        mod live {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&crate::contract::live::Live::$stage(stringify!($rule))).await;
            })+
        }
    };
}
pub(crate) use rules;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one look to the next: shorter than any state that a rule asks for.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A service that a rule works on.
pub(crate) struct Subject<'a, S: Stage> {
    pub stage: &'a S,
    pub id: String,
}

/// A service of the good image 1, monitored for longer than a crash takes on a busy machine, restarted after a second.
pub(crate) fn plain<S: Stage>(stage: &S, name: &str) -> ServiceBuilder {
    FakeSwarm::with_nodes(1)
        .new_service(&stage.name(name))
        .image(&stage.image(Kind::Good(1)))
        .monitor(Duration::from_secs(4))
        .restart_delay(Duration::from_secs(1))
}

impl<'a, S: Stage> Subject<'a, S> {
    /// Creates the service.
    pub(crate) async fn new(stage: &'a S, builder: ServiceBuilder) -> Self {
        Self::with_account(stage, builder, None).await
    }

    /// The same, with what its nodes are to pull with.
    pub(crate) async fn with_account(
        stage: &'a S,
        builder: ServiceBuilder,
        account: Option<&Secret>,
    ) -> Self {
        let id = stage.swarm().create_service(&builder.spec(), account).await.unwrap();
        Self { stage, id }
    }

    /// Creates the service and waits until all its tasks run.
    pub(crate) async fn running(stage: &'a S, builder: ServiceBuilder) -> Self {
        let subject = Self::new(stage, builder).await;
        subject
            .until("all tasks run", async |subject| {
                let status = subject.listed().await.status.unwrap();
                status.running == status.desired && status.running > 0
            })
            .await;
        subject
    }

    pub(crate) async fn see(&self) -> Service {
        self.stage.swarm().service(&self.id).await.unwrap().expect("the service is there")
    }

    pub(crate) async fn listed(&self) -> Service {
        let ids = [self.id.clone()];
        self.stage.swarm().services(Listing::Ids(&ids)).await.unwrap().remove(0)
    }

    /// All tasks, oldest first.
    pub(crate) async fn tasks(&self) -> Vec<Task> {
        let mut tasks = self.stage.swarm().tasks(std::slice::from_ref(&self.id)).await.unwrap();
        tasks.sort_by_key(|task| task.created_at);
        tasks
    }

    /// The images of the tasks that run.
    pub(crate) async fn running_images(&self) -> Vec<String> {
        let tasks = self.tasks().await.into_iter();
        tasks.filter(|task| task.state == TaskState::Running).map(|task| task.image).collect()
    }

    /// Changes the specification as it is now.
    pub(crate) async fn edit(&self, edits: &Edits) {
        self.post(|spec| spec.edited(edits).unwrap()).await;
    }

    /// Sends the service another image.
    pub(crate) async fn send(&self, kind: Kind) {
        self.edit(&Edits { image: Some(self.stage.image(kind)), ..Edits::default() }).await;
    }

    /// Posts what becomes of the present specification. The orchestrator writes too, so more than once if
    /// need be.
    pub(crate) async fn post(&self, change: impl Fn(&Spec) -> Spec) {
        self.update(|service| (change(&service.spec), false), None).await.unwrap();
    }

    /// Posts the present specification with another account.
    pub(crate) async fn send_account(&self, account: &Secret) {
        self.update(|service| (service.spec.clone(), false), Some(account)).await.unwrap();
    }

    /// `rollback=previous`.
    pub(crate) async fn roll_back(&self) -> Result<(), SwarmError> {
        self.roll_back_with(None).await
    }

    /// The same, with an account sent along.
    pub(crate) async fn roll_back_with(&self, account: Option<&Secret>) -> Result<(), SwarmError> {
        self.update(|service| (service.spec.clone(), true), account).await
    }

    async fn update(
        &self,
        change: impl Fn(&Service) -> (Spec, bool),
        account: Option<&Secret>,
    ) -> Result<(), SwarmError> {
        loop {
            let service = self.see().await;
            let (spec, is_rollback) = change(&service);
            let change = if is_rollback { ServiceChange::Back(&spec) } else { ServiceChange::To(&spec) };
            match self.stage.swarm().update_service(&self.id, service.version, change, account).await {
                Err(SwarmError::Conflict) => {}
                answer => return answer.map(|_| ()),
            }
        }
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self).await {
            assert!(
                began.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}; {:?}, {:#?}",
                self.see().await.update,
                self.tasks().await
            );
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Writes down how the service changes, until its update has reached this state: the update's state,
    /// the kind of image that is to run and the one before. What was before the first state is left out.
    pub(crate) async fn history(&self, last: UpdateState) -> Vec<(UpdateState, String)> {
        self.history_until(|state| *state == last).await
    }

    /// The same, until its update has reached a state like this.
    pub(crate) async fn history_until(
        &self,
        is_over: impl Fn(&UpdateState) -> bool,
    ) -> Vec<(UpdateState, String)> {
        let began = Instant::now();
        let mut history: Vec<(UpdateState, String)> = Vec::new();
        loop {
            let service = self.see().await;
            if let Some(update) = &service.update {
                let step = (update.state.clone(), self.images(&service));
                if history.last() != Some(&step) {
                    history.push(step);
                }
                if is_over(&update.state) {
                    return history;
                }
            }
            assert!(began.elapsed() < PATIENCE, "no end: {history:?}, {:#?}", self.tasks().await);
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// `Good(2) after Good(1)`: the image of the specification and of the previous one.
    pub(crate) fn images(&self, service: &Service) -> String {
        let name = |spec: &Spec| {
            let image = spec.facts().image.clone().unwrap();
            self.stage.kind(&image).map_or(image, |kind| format!("{kind:?}"))
        };
        let previous = service.previous.as_ref().map_or_else(|| "nothing".to_owned(), name);
        format!("{} after {previous}", name(&service.spec))
    }

    /// Looks for so long, and asserts each time that this is so.
    pub(crate) async fn stays(&self, time: Duration, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while began.elapsed() < time {
            assert!(is_so(self).await, "{what}: {:?}, {:#?}", self.see().await.update, self.tasks().await);
            sleep(LOOK_INTERVAL).await;
        }
    }
}
