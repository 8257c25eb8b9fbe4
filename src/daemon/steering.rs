//! What users and programs ask of the daemon: runs, plans, pauses, and the release of digests.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use tokio::sync::{Notify, oneshot};

use self::approving::{ApprovalGround, ApprovalRequest, ApprovalTarget, Approved, NotApproved};
use super::board::{LiveBoard, WokenBy};
use crate::config::Config;
use crate::context::RunScope;
use crate::cycle::{by_hand, preview};
use crate::gate::approval::Approval;
use crate::ledger::Ledger;
use crate::ledger::book::LedgerChange;
use crate::ledger::release::ReleaseTarget;
use crate::ledger::steered::{SteeringAction, UserPause};
use crate::model::row::Row;
use crate::registry::Registry;
use crate::swarm::{Swarm, SwarmError};
use crate::words::{printable, some_of};

pub mod approving;

/// How many runs may be asked for before one of them begins.
const MAX_ASKED: usize = 100;

/// What steering does.
pub trait Steering: Send + Sync {
    /// Asks for a run in this user's name. Returns its number once it begins, or why there is none.
    fn run(&self, by: String, scope: RunScope) -> BoxFuture<'static, Result<u64, String>>;

    /// A registry has told of a push, and the token of this name proves it: looks at this part of the services soon.
    fn look(&self, by: String, scope: RunScope);

    /// Releases what is held back, in this user's name.
    fn release(&self, by: String, target: ReleaseTarget) -> BoxFuture<'static, Result<Released, String>>;

    /// Lets no update begin for so long, in this user's name, whatever manager Gantry runs on.
    fn pause(
        &self,
        by: String,
        why: String,
        lasts: SignedDuration,
    ) -> BoxFuture<'static, Result<UserPause, String>>;

    /// Lets updates begin again, in this user's name, and asks for a run. `None`: there was no pause.
    fn resume(&self, by: String) -> BoxFuture<'static, Result<Option<UserPause>, String>>;

    /// Approves a digest, and asks for a run that rolls it out.
    fn approve(&self, request: ApprovalRequest) -> BoxFuture<'static, Result<Approved, NotApproved>>;

    /// Takes approvals back, in this user's name. Returns those that there were.
    fn revoke(&self, by: String, target: ApprovalTarget)
    -> BoxFuture<'static, Result<Vec<Approval>, String>>;

    /// What a run of this scope would do now. Nothing is written, and nothing is updated.
    fn plan(&self, scope: RunScope) -> BoxFuture<'static, Result<Vec<Row>, String>>;
}

/// What a release came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// What was released; empty: nothing was.
    pub released: Vec<String>,
    /// The same, and what follows from it, in words.
    pub words: String,
}

/// A run that users have asked for.
#[derive(Debug)]
pub struct Asked {
    /// The name of the first of them.
    pub by: String,
    /// What it looks at.
    pub scope: RunScope,
    /// What started it: a user's request, or a registry's event.
    pub trigger: WokenBy,
    replies: Vec<oneshot::Sender<u64>>,
}

impl Asked {
    /// The run begins.
    pub(super) fn begins(self, number: u64) {
        let by = self.by;
        if self.trigger == WokenBy::Webhook {
            let images = some_of(&self.scope.images, " ");
            tracing::info!(by, run = number, images, "a registry told of a push");
        } else {
            tracing::info!(by, run = number, "a user asked for a run{}", self.scope.haste());
        }
        for reply in self.replies {
            // A user who has gone does not wait.
            let _ = reply.send(number);
        }
    }
}

/// The runs that users have asked for and that have not begun.
#[derive(Debug, Default)]
pub struct Requests {
    queue: Mutex<VecDeque<Asked>>,
    news: Notify,
}

impl Requests {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a run. Where one waits that does as much, this is the same one.
    fn ask(&self, by: String, scope: RunScope) -> Option<oneshot::Receiver<u64>> {
        let (reply, number) = oneshot::channel();
        let mut queue = self.queue();
        if let Some(asked) = queue.iter_mut().find(|it| it.scope.does_as_much_as(&scope)) {
            if asked.trigger == WokenBy::Webhook {
                // From now on, a user waits for it.
                (asked.trigger, asked.by) = (WokenBy::Api, by);
            }
            // Users who have gone do not wait.
            asked.replies.retain(|reply| !reply.is_closed());
            asked.replies.push(reply);
        } else if queue.len() < MAX_ASKED {
            queue.push_back(Asked { by, scope, trigger: WokenBy::Api, replies: vec![reply] });
        } else {
            return None;
        }
        drop(queue);
        self.news.notify_one();
        Some(number)
    }

    /// A registry has told of news in this part of the services. One run waits for all such news at most, so that they take
    /// no user's place.
    fn hear(&self, by: String, scope: RunScope) {
        let mut queue = self.queue();
        if queue.iter().any(|it| it.scope.is_everything()) {
            return;
        }
        match queue.iter_mut().find(|it| it.trigger == WokenBy::Webhook) {
            Some(asked) if scope.is_everything() => asked.scope = scope,
            Some(asked) => asked.scope.widen(scope.images),
            None => queue.push_back(Asked { by, scope, trigger: WokenBy::Webhook, replies: Vec::new() }),
        }
        drop(queue);
        self.news.notify_one();
    }

    /// The run that was asked for first.
    pub(super) fn take(&self) -> Option<Asked> {
        self.queue().pop_front()
    }

    /// Returns when a run is asked for, with what started it.
    pub(super) async fn asked(&self) -> WokenBy {
        loop {
            if let Some(trigger) = self.queue().front().map(|asked| asked.trigger) {
                return trigger;
            }
            self.news.notified().await;
        }
    }
}

/// Steers this process and, by the ledger, all others.
pub struct Wheel<S, R> {
    /// What Gantry was told.
    pub config: Arc<Config>,
    /// The swarm.
    pub swarm: Arc<S>,
    /// The registries.
    pub registry: Arc<R>,
    /// Where pauses and steering actions are remembered.
    pub ledger: Arc<Ledger>,
    /// Where runs are asked for.
    pub requests: Arc<Requests>,
    /// What is known of services.
    pub board: LiveBoard,
}

impl<S, R> Wheel<S, R> {
    /// How long an approval holds that is not used.
    fn approval_lasts(&self) -> SignedDuration {
        SignedDuration::try_from(self.config.updates.approval_expires).unwrap_or(SignedDuration::MAX)
    }
}

impl<S, R> fmt::Debug for Wheel<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").finish_non_exhaustive()
    }
}

impl<S: Swarm, R: Registry> Steering for Wheel<S, R> {
    fn run(&self, by: String, scope: RunScope) -> BoxFuture<'static, Result<u64, String>> {
        let requests = self.requests.clone();
        let action = SteeringAction::new(self.ledger.now(), &by, &format!("asked for a run{scope}"));
        let ledger = self.ledger.clone();
        async move {
            let number = requests.ask(by, scope);
            let number = number.ok_or_else(|| format!("{MAX_ASKED} runs wait already"))?;
            // The run writes it.
            ledger.note(LedgerChange::Steered(action));
            number.await.map_err(|_| "Gantry is being stopped".to_owned())
        }
        .boxed()
    }

    fn look(&self, by: String, scope: RunScope) {
        self.requests.hear(by, scope);
    }

    fn release(&self, by: String, target: ReleaseTarget) -> BoxFuture<'static, Result<Released, String>> {
        let (config, swarm, ledger) = (self.config.clone(), self.swarm.clone(), self.ledger.clone());
        async move {
            let release = by_hand::release(&config, &swarm, &target).await;
            let release = release.map_err(|error| printable(&format!("{error:#}")))?;
            let released: Vec<String> = release
                .released
                .iter()
                .map(|it| if it.service.is_empty() { it.image.clone() } else { it.service.clone() })
                .collect();
            if !released.is_empty() {
                let names = released.join(", ");
                tracing::info!(by, released = names, "released by a user");
                let action = SteeringAction::new(ledger.now(), &by, &format!("released {names}"));
                if let Err(error) = ledger.amend(&*swarm, &[LedgerChange::Steered(action)]).await {
                    tracing::debug!(%error, "cannot remember who released");
                }
            }
            Ok(Released { released, words: release.to_string() })
        }
        .boxed()
    }

    fn pause(
        &self,
        by: String,
        why: String,
        lasts: SignedDuration,
    ) -> BoxFuture<'static, Result<UserPause, String>> {
        let (swarm, ledger) = (self.swarm.clone(), self.ledger.clone());
        async move {
            let now = ledger.now();
            let until = now.checked_add(lasts).map_err(|error| error.to_string())?;
            let pause = UserPause::new(&by, &why, now, until);
            let what = format!("paused updates until {until:.0}: {}", pause.why);
            let what = SteeringAction::new(now, &by, what.trim_end_matches(": "));
            let changes = [LedgerChange::Pause(Some(pause.clone())), LedgerChange::Steered(what)];
            ledger.amend(&*swarm, &changes).await.map_err(|error| not_written(&error))?;
            tracing::info!(by, why = pause.why, until = %format!("{until:.0}"), "updates are paused by a user");
            Ok(pause)
        }
        .boxed()
    }

    fn resume(&self, by: String) -> BoxFuture<'static, Result<Option<UserPause>, String>> {
        let (swarm, ledger, requests) = (self.swarm.clone(), self.ledger.clone(), self.requests.clone());
        async move {
            let action = SteeringAction::new(ledger.now(), &by, "resumed updates");
            let changes = [LedgerChange::Pause(None), LedgerChange::Steered(action)];
            // Another manager may have written the pause since the latest look.
            ledger.refresh(&*swarm).await.map_err(|error| not_written(&error))?;
            let Some(pause) = ledger.pause() else { return Ok(None) };
            ledger.amend(&*swarm, &changes).await.map_err(|error| not_written(&error))?;
            tracing::info!(by, "updates may begin again, as a user has ended the pause");
            // What was held is looked at now. Where 100 runs wait, one of them does that.
            drop(requests.ask(by, RunScope::default()));
            Ok(Some(pause))
        }
        .boxed()
    }

    fn approve(&self, request: ApprovalRequest) -> BoxFuture<'static, Result<Approved, NotApproved>> {
        let (swarm, ledger, requests) = (self.swarm.clone(), self.ledger.clone(), self.requests.clone());
        let (board, lasts) = (self.board.clone(), self.approval_lasts());
        async move {
            let not_written = |error: &SwarmError| NotApproved::NotWritten(not_written(error));
            // Another manager may have seen or written something since the latest look.
            ledger.refresh(&*swarm).await.map_err(|error| not_written(&error))?;
            let seen = ledger.seen.read(&*swarm).await.map_err(|error| not_written(&error))?;
            let (book, now) = (ledger.book(), ledger.now());
            let approved = {
                let ground = ApprovalGround { board: &board.look(), seen: &seen, book: &book, now, lasts };
                approving::approve(&request, &ground)?
            };
            let Approval { image, service, digest, by, why, .. } = approved.approval.clone();
            let whose = service.as_ref().map_or_else(String::new, |service| format!(" for {service}"));
            let what = format!("approved {} of {image}{whose}: {why}", digest.short());
            let action = SteeringAction::new(now, &by, what.trim_end_matches(": "));
            let changes = [LedgerChange::Approve(approved.approval.clone()), LedgerChange::Steered(action)];
            ledger.amend(&*swarm, &changes).await.map_err(|error| not_written(&error))?;
            tracing::info!(
                audit = "approve",
                by,
                image,
                service,
                digest = digest.short(),
                why,
                "approved by a user"
            );
            let services = service.into_iter().collect();
            // Where 100 runs wait, one of them does that.
            drop(requests.ask(by, RunScope { services, images: vec![image], ..RunScope::default() }));
            Ok(approved)
        }
        .boxed()
    }

    fn revoke(
        &self,
        by: String,
        target: ApprovalTarget,
    ) -> BoxFuture<'static, Result<Vec<Approval>, String>> {
        let (swarm, ledger, board) = (self.swarm.clone(), self.ledger.clone(), self.board.clone());
        let lasts = self.approval_lasts();
        async move {
            ledger.refresh(&*swarm).await.map_err(|error| not_written(&error))?;
            let (book, seen, now) = (ledger.book(), ledger.seen.book(), ledger.now());
            let found = {
                let ground = ApprovalGround { board: &board.look(), seen: &seen, book: &book, now, lasts };
                approving::approvals_of(&target, &ground)
            };
            if found.is_empty() {
                return Ok(found);
            }
            let mut changes: Vec<LedgerChange> = found.iter().cloned().map(LedgerChange::Revoke).collect();
            let what = format!("revoked the approval of {}", target.name());
            changes.push(LedgerChange::Steered(SteeringAction::new(now, &by, &what)));
            ledger.amend(&*swarm, &changes).await.map_err(|error| not_written(&error))?;
            tracing::info!(audit = "revoke", by, target = target.name(), "a user took an approval back");
            Ok(found)
        }
        .boxed()
    }

    fn plan(&self, scope: RunScope) -> BoxFuture<'static, Result<Vec<Row>, String>> {
        let (config, swarm, registry) = (self.config.clone(), self.swarm.clone(), self.registry.clone());
        async move {
            let plan = preview::preview(&config, &swarm, &registry, scope).await;
            plan.map(|preview| preview.rows).map_err(|error| printable(&format!("{error:#}")))
        }
        .boxed()
    }
}

fn not_written(error: &SwarmError) -> String {
    printable(&format!("cannot write the ledger: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(service: &str) -> RunScope {
        RunScope { services: vec![service.to_owned()], ..RunScope::default() }
    }

    #[tokio::test]
    async fn a_request_joins_a_run_that_does_as_much() {
        let requests = Requests::default();
        let ask = |scope| requests.ask("anna".to_owned(), scope).unwrap();
        let (web, same, all, shop) =
            (ask(one("web")), ask(one("web")), ask(RunScope::default()), ask(one("shop")));
        requests.asked().await;
        requests.take().unwrap().begins(7);
        requests.take().unwrap().begins(8);
        assert!(requests.take().is_none());
        assert_eq!((web.await, same.await, all.await, shop.await), (Ok(7), Ok(7), Ok(8), Ok(8)));
    }

    fn images(names: &[&str]) -> RunScope {
        RunScope { images: names.iter().map(|name| (*name).to_owned()).collect(), ..RunScope::default() }
    }

    #[tokio::test]
    async fn news_of_registries_wait_in_one_run_and_displace_no_user() {
        let requests = Requests::default();
        let first = requests.ask("anna".to_owned(), one("web")).unwrap();
        for image in ["a:1", "b:1", "a:1"] {
            requests.hear("harbor".to_owned(), images(&[image]));
        }
        assert_eq!(requests.asked().await, WokenBy::Api);
        requests.take().unwrap().begins(7);
        assert_eq!(first.await, Ok(7));
        assert_eq!(requests.asked().await, WokenBy::Webhook);
        let asked = requests.take().unwrap();
        assert_eq!(
            (&*asked.by, asked.scope, asked.trigger),
            ("harbor", images(&["a:1", "b:1"]), WokenBy::Webhook)
        );
        // What comes while that run looks is looked at by the next one.
        requests.hear("harbor".to_owned(), images(&["a:1"]));
        assert_eq!(requests.take().unwrap().scope, images(&["a:1"]));
        // A user who asks for the same waits for it, and finds it in the history.
        requests.hear("harbor".to_owned(), images(&["a:1"]));
        let same = requests.ask("anna".to_owned(), images(&["a:1"])).unwrap();
        let asked = requests.take().unwrap();
        assert_eq!((&*asked.by, asked.trigger), ("anna", WokenBy::Api));
        asked.begins(9);
        assert_eq!(same.await, Ok(9));
        // A run of all services that has not begun sees the news as well.
        let all = requests.ask("anna".to_owned(), RunScope::default()).unwrap();
        requests.hear("harbor".to_owned(), images(&["a:1"]));
        requests.take().unwrap().begins(8);
        assert!(all.await == Ok(8) && requests.take().is_none());
    }

    #[test]
    fn a_full_queue_of_users_takes_the_news_of_registries() {
        let requests = Requests::default();
        for index in 0..MAX_ASKED {
            requests.ask("ci".to_owned(), one(&index.to_string())).unwrap();
        }
        requests.hear("harbor".to_owned(), images(&["a:1"]));
        let last = std::iter::from_fn(|| requests.take()).last().unwrap();
        assert_eq!(last.scope, images(&["a:1"]));
    }

    #[test]
    fn requests_without_end_are_refused() {
        let requests = Requests::default();
        let asked: Vec<_> =
            (0..=MAX_ASKED).map(|index| requests.ask("ci".to_owned(), one(&index.to_string()))).collect();
        assert!(asked[MAX_ASKED].is_none() && asked[..MAX_ASKED].iter().all(Option::is_some));
    }
}
