//! What Gantry remembers of each registry host, behind one lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::challenge_cache::ChallengeCache;
use super::credentials::Credentials;
use super::host_files::HostFiles;
use super::login_back_off::LoginBackOff;
use super::outage::Outage;
use super::token::{Purpose, TokenSlot};

/// Number of hosts, and of accounts and tokens of one host, at which idle ones are dropped; and at each doubling of it.
/// Some credential helpers give a new password each time, and a registry may redirect to ever new hosts.
const PRUNE_AT: usize = 1024;

/// How long addresses and certificate files count. Registries move rarely, certificates are renewed every few weeks, and
/// a thousand look-ups ask for the same host.
pub(super) const REREAD: Duration = Duration::from_secs(60);

/// What Gantry remembers of all hosts.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<String, Host>>);

/// What Gantry remembers of one host.
#[derive(Default)]
pub(super) struct Host {
    pub challenges: ChallengeCache,
    /// Whether a registry answered without TLS when the host was last asked.
    pub is_plain: bool,
    /// What the host's name resolved to, and when.
    pub addresses: Option<(Instant, Vec<IpAddr>)>,
    /// What its folder of certificates holds, and when it was read.
    pub files: Option<(Instant, Arc<HostFiles>)>,
    accounts: HashMap<Option<Arc<Credentials>>, AccountState>,
    tokens: HashMap<Purpose, TokenSlot>,
}

/// What Gantry remembers of one account at one host.
#[derive(Debug, Default)]
pub(super) struct AccountState {
    pub outage: Outage,
    pub login: LoginBackOff,
    /// Held by the look-up that tries the account first; the others wait for its result.
    pub first_try: Arc<tokio::sync::Mutex<()>>,
}

impl Memory {
    /// Reads or changes what is remembered of a host.
    pub(super) fn of<T>(&self, host: &str, work: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = hosts.get_mut(host) {
            return work(memory);
        }
        if is_full(hosts.len()) {
            let now = Instant::now();
            hosts.retain(|_, host| host.prune(now));
        }
        work(hosts.entry(host.to_owned()).or_default())
    }

    /// Reads or changes what is remembered of the account of a call.
    pub(super) fn account<T>(&self, call: &Call, work: impl FnOnce(&mut AccountState) -> T) -> T {
        self.of(&call.endpoint.host, |host| work(host.account(call.credentials.as_ref())))
    }
}

impl Host {
    fn account(&mut self, credentials: Option<&Arc<Credentials>>) -> &mut AccountState {
        let credentials = credentials.cloned();
        if !self.accounts.contains_key(&credentials) {
            self.make_room();
        }
        self.accounts.entry(credentials).or_default()
    }

    /// The place for the token of this purpose. The look-up that locks it fetches the token.
    pub(super) fn token(&mut self, purpose: &Purpose) -> TokenSlot {
        if !self.tokens.contains_key(purpose) {
            self.make_room();
        }
        Arc::clone(self.tokens.entry(purpose.clone()).or_default())
    }

    fn make_room(&mut self) {
        if is_full(self.accounts.len() + self.tokens.len()) {
            self.prune(Instant::now());
        }
    }

    /// Drops what is not worth remembering. Returns whether anything is left.
    fn prune(&mut self, now: Instant) -> bool {
        self.addresses.take_if(|(at, _)| now.duration_since(*at) >= REREAD);
        self.accounts.retain(|_, account| !account.is_idle(now));
        self.tokens.retain(|_, slot| slot.try_lock().map_or(true, |slot| slot.is_valid(now)));
        let is_empty = self.accounts.is_empty() && self.tokens.is_empty() && self.challenges.is_empty();
        !is_empty || self.is_plain || self.addresses.is_some() || self.files.is_some()
    }
}

impl AccountState {
    fn is_idle(&self, now: Instant) -> bool {
        Arc::strong_count(&self.first_try) == 1
            && self.login.last_result(now).is_none()
            && !self.outage.lasts(now)
    }
}

/// Shows no certificates: there may be a private key among them.
impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("challenges", &self.challenges).finish_non_exhaustive()
    }
}

fn is_full(len: usize) -> bool {
    len >= PRUNE_AT && len.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Account;
    use super::super::failure::{About, Failure};
    use super::super::login_back_off::LoginResult;
    use super::*;
    use crate::secret::Secret;

    fn account(n: usize) -> Arc<Credentials> {
        let account = Account::RegistryToken(Secret::new(n.to_string()));
        Arc::new(Credentials { source: String::new(), server: String::new(), account })
    }

    #[test]
    fn idle_accounts_are_dropped_when_there_are_many() {
        let mut host = Host::default();
        let refused = Failure::Refused { cause: "401".to_owned(), about: About::Account };
        let learnt = LoginResult::Refused(&refused);
        host.account(Some(&account(0))).login.learn(&learnt, Instant::now(), Duration::from_secs(15));
        let under_way = Arc::clone(&host.account(Some(&account(1))).first_try);
        for n in 2..PRUNE_AT {
            host.account(Some(&account(n)));
        }
        assert_eq!(host.accounts.len(), PRUNE_AT);
        host.account(Some(&account(PRUNE_AT)));
        assert_eq!(host.accounts.len(), 3);
        assert_eq!(host.account(Some(&account(0))).login.last_result(Instant::now()), Some(Err(refused)));
        drop(under_way);
    }

    #[test]
    fn idle_hosts_are_dropped_when_there_are_many() {
        let memory = Memory::default();
        memory.of("plain", |host| host.is_plain = true);
        for n in 0..PRUNE_AT {
            memory.of(&n.to_string(), |host| host.account(None).first_try.clone());
        }
        assert_eq!(memory.0.lock().unwrap().len(), 2);
        assert!(memory.of("plain", |host| host.is_plain));
    }
}
