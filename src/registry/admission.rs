//! Accounts that a registry does not let in are left alone for a while: twenty images whose password has run out
//! should not be twenty failed logins in each cycle, for which registries ban addresses and lock accounts.
//!
//! Whoever comes first with an account tries it alone, and the others wait for what comes of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::failure::Failure;

/// At how many accounts those are forgotten of which nothing is known any more: some helpers give a new password
/// each time.
const PRUNE_AT: usize = 1024;

/// What a look-up learnt of its account.
#[derive(Debug)]
pub(super) enum Learnt<'a> {
    /// It was let in just now, by its password.
    LetIn,
    /// It was refused.
    Refused(&'a Failure),
    /// Its password was not needed: there was a token from earlier, or anybody is let in.
    NotNeeded,
    /// There was no answer, or one about something else.
    Nothing,
}

/// What a registry last said of an account itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    LetIn,
    Refused,
}

/// How an account stands with a registry. Pure: time is a parameter.
#[derive(Debug, Default)]
struct Standing {
    last: Option<Word>,
    /// Until when it may be tried by many at once.
    open: Option<Instant>,
    /// Until when it is not tried, and what is told meanwhile.
    refused: Option<(Instant, Failure)>,
}

impl Standing {
    /// Whether it may be tried by many at once or not at all; nothing where one should try alone.
    fn known(&self, now: Instant) -> Option<Result<(), Failure>> {
        match &self.refused {
            Some((until, failure)) if *until > now => Some(Err(failure.clone())),
            _ => self.open.filter(|until| *until > now).map(|_| Ok(())),
        }
    }

    fn learn(&mut self, learnt: &Learnt<'_>, now: Instant, hold: Duration) {
        match learnt {
            Learnt::LetIn => {
                *self = Self { last: Some(Word::LetIn), open: Some(now + hold), refused: None };
            }
            // Some servers say 401 where an account may not have this one image: that they let it in before
            // counts for as much, and the next image decides.
            Learnt::Refused(_) if self.last == Some(Word::LetIn) => {
                *self = Self { last: Some(Word::Refused), ..Self::default() };
            }
            Learnt::Refused(failure) => {
                let refused = Some((now + hold, (*failure).clone()));
                *self = Self { last: Some(Word::Refused), open: None, refused };
            }
            // As long as there are such tokens, the password is still in doubt.
            Learnt::NotNeeded if self.last == Some(Word::Refused) => {}
            // A registry that hangs should not do so for one look-up after the other.
            Learnt::NotNeeded | Learnt::Nothing => self.open = Some(now + hold),
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    standing: Mutex<Standing>,
    /// Who holds it tries alone.
    alone: Arc<tokio::sync::Mutex<()>>,
}

impl Account {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accounts at all registries, by whatever tells them apart.
#[derive(Debug)]
pub(super) struct Admissions<K>(Mutex<HashMap<K, Arc<Account>>>);

impl<K> Default for Admissions<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Admissions<K> {
    /// Waits until `key` may be tried; the refusal where it may not.
    pub(super) async fn enter(&self, key: K) -> Result<Entrance, Failure> {
        let account = self.account(key);
        let known = account.standing().known(Instant::now());
        if let Some(known) = known {
            return known.map(|()| Entrance { account, alone: None });
        }
        let alone = Arc::clone(&account.alone).lock_owned().await;
        // Who was first has learnt something, as a rule.
        let known = account.standing().known(Instant::now());
        match known {
            Some(known) => known.map(|()| Entrance { account, alone: None }),
            None => Ok(Entrance { account, alone: Some(alone) }),
        }
    }

    fn account(&self, key: K) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= PRUNE_AT && !accounts.contains_key(&key) {
            let now = Instant::now();
            accounts.retain(|_, account| {
                Arc::strong_count(account) > 1 || account.standing().known(now).is_some()
            });
        }
        Arc::clone(accounts.entry(key).or_default())
    }
}

/// Leave to try an account, once. Dropped, it has learnt nothing.
#[derive(Debug)]
pub(super) struct Entrance {
    account: Arc<Account>,
    alone: Option<OwnedMutexGuard<()>>,
}

impl Entrance {
    /// Whether the others who have this account wait for what comes of it.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// What came of it counts for `hold`.
    pub(super) fn ends(self, learnt: &Learnt<'_>, hold: Duration) {
        self.account.standing().learn(learnt, Instant::now(), hold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::failure::About;

    const HOLD: Duration = Duration::from_secs(15);

    fn refusal(cause: &str) -> Failure {
        Failure::Refused { cause: cause.to_owned(), about: About::Account }
    }

    fn told(standing: &Standing, now: Instant) -> &'static str {
        match standing.known(now) {
            Some(Ok(())) => "open",
            Some(Err(_)) => "refused",
            None => "alone",
        }
    }

    #[test]
    fn an_account_is_left_alone_after_a_refusal_and_after_a_second_one_where_it_was_let_in_before() {
        let refused = refusal("401");
        let (yes, no, old) = (&Learnt::LetIn, &Learnt::Refused(&refused), &Learnt::NotNeeded);
        let nothing = &Learnt::Nothing;
        for (learnt, then, later) in [
            (&[][..], "alone", "alone"),
            (&[yes], "open", "alone"),
            (&[old], "open", "alone"),
            (&[nothing], "open", "alone"),
            (&[no], "refused", "alone"),
            (&[no, old], "refused", "alone"),
            (&[no, nothing], "refused", "alone"),
            (&[no, yes], "open", "alone"),
            (&[yes, no], "alone", "alone"),
            (&[yes, old, no], "alone", "alone"),
            (&[yes, no, old], "alone", "alone"),
            (&[yes, no, nothing], "open", "alone"),
            (&[yes, no, yes], "open", "alone"),
            (&[yes, no, yes, no], "alone", "alone"),
            (&[yes, no, no], "refused", "alone"),
            (&[yes, no, old, no], "refused", "alone"),
            (&[yes, no, nothing, no], "refused", "alone"),
        ] {
            let (mut standing, now) = (Standing::default(), Instant::now());
            for one in learnt {
                standing.learn(one, now, HOLD);
            }
            assert_eq!(told(&standing, now), then, "{learnt:?}");
            assert_eq!(told(&standing, now + HOLD), later, "{learnt:?}");
        }
    }

    #[test]
    fn after_the_hold_one_more_refusal_is_enough() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        standing.learn(&Learnt::Refused(&refusal("first")), now, HOLD);
        standing.learn(&Learnt::Refused(&refusal("second")), now + HOLD, HOLD);
        assert_eq!(standing.known(now + HOLD), Some(Err(refusal("second"))));
    }

    #[tokio::test]
    async fn of_many_accounts_those_are_forgotten_of_which_nothing_is_known() {
        let admissions = Admissions::default();
        let size = || admissions.0.lock().unwrap().len();
        let refused = refusal("401");
        admissions.enter(0).await.unwrap().ends(&Learnt::Refused(&refused), HOLD);
        let under_way = admissions.enter(1).await.unwrap();
        for key in 2..PRUNE_AT {
            drop(admissions.enter(key).await.unwrap());
        }
        assert_eq!(size(), PRUNE_AT);
        drop(admissions.enter(PRUNE_AT).await.unwrap());
        assert_eq!(size(), 3);
        assert_eq!(admissions.enter(0).await.unwrap_err(), refused);
        drop(under_way);
    }
}
