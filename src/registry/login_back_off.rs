//! The login back-off: an account that a registry refuses is not tried for a while. Pure: time is a parameter.
//!
//! Twenty images with an expired password must not be twenty failed logins in each cycle: registries ban addresses and
//! lock accounts for that.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;

/// The result of a look-up for its account.
#[derive(Debug)]
pub(super) enum LoginResult<'a> {
    /// The registry let it in just now, by its password.
    LetIn,
    /// The registry refused it.
    Refused(&'a Failure),
    /// Its password was not needed: there was a token from earlier, or the registry is open to all.
    NotNeeded,
    /// There was no answer, or one about something else.
    Nothing,
}

/// The last answer of a registry about an account itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLogin {
    LetIn,
    Refused,
}

/// Whether look-ups may use one account at one registry.
#[derive(Debug, Default)]
pub(super) struct LoginBackOff {
    last: Option<LastLogin>,
    /// Until when many look-ups may try it at once.
    open: Option<Instant>,
    /// Until when it is not tried, and the failure of look-ups meanwhile.
    refused: Option<(Instant, Failure)>,
}

impl LoginBackOff {
    /// Whether many look-ups may try the account at once, or none; `None` where one look-up should try alone.
    pub(super) fn last_result(&self, now: Instant) -> Option<Result<(), Failure>> {
        match &self.refused {
            Some((until, failure)) if *until > now => Some(Err(failure.clone())),
            _ => self.open.filter(|until| *until > now).map(|_| Ok(())),
        }
    }

    /// Takes note of what came of a look-up; it counts for `hold`.
    pub(super) fn learn(&mut self, result: &LoginResult<'_>, now: Instant, hold: Duration) {
        match result {
            LoginResult::LetIn => {
                *self = Self { last: Some(LastLogin::LetIn), open: Some(now + hold), refused: None };
            }
            // Some servers say 401 where an account may not have this one image: that they let it in before
            // counts for as much, and the next image decides.
            LoginResult::Refused(_) if self.last == Some(LastLogin::LetIn) => {
                *self = Self { last: Some(LastLogin::Refused), ..Self::default() };
            }
            LoginResult::Refused(failure) => {
                let refused = Some((now + hold, (*failure).clone()));
                *self = Self { last: Some(LastLogin::Refused), open: None, refused };
            }
            // As long as there are such tokens, the password is still in doubt.
            LoginResult::NotNeeded if self.last == Some(LastLogin::Refused) => {}
            // A registry that hangs should not do so for one look-up after the other.
            LoginResult::NotNeeded | LoginResult::Nothing => self.open = Some(now + hold),
        }
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

    fn told(login: &LoginBackOff, now: Instant) -> &'static str {
        match login.last_result(now) {
            Some(Ok(())) => "open",
            Some(Err(_)) => "refused",
            None => "alone",
        }
    }

    #[test]
    fn an_account_is_left_alone_after_a_refusal_and_after_a_second_one_where_it_was_let_in_before() {
        let refused = refusal("401");
        let (yes, no, old) = (&LoginResult::LetIn, &LoginResult::Refused(&refused), &LoginResult::NotNeeded);
        let nothing = &LoginResult::Nothing;
        for (result, then, later) in [
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
            let (mut login, now) = (LoginBackOff::default(), Instant::now());
            for one in result {
                login.learn(one, now, HOLD);
            }
            assert_eq!(told(&login, now), then, "{result:?}");
            assert_eq!(told(&login, now + HOLD), later, "{result:?}");
        }
    }

    #[test]
    fn after_the_hold_one_more_refusal_is_enough() {
        let (mut login, now) = (LoginBackOff::default(), Instant::now());
        login.learn(&LoginResult::Refused(&refusal("first")), now, HOLD);
        login.learn(&LoginResult::Refused(&refusal("second")), now + HOLD, HOLD);
        assert_eq!(login.last_result(now + HOLD), Some(Err(refusal("second"))));
    }
}
