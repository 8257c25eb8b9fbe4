//! How many files and connections this process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer, a cycle waits for its own connections to end, and may do so for ever.
const NEEDED: u64 = 24;

/// What is asked for where more than the present limit is allowed.
const ENOUGH: u64 = 1024;

/// What is open besides requests to the engine: outputs, signals, health checks, the engine's events, registries, hooks.
const OTHERS: u64 = 16;

/// Raises the limit to what is useful and allowed.
///
/// # Errors
/// The limit is too low to work with, in words.
pub fn raise_limit() -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let useful = maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if current.is_some_and(|current| current < useful) {
        // Where that is not allowed after all, the present limit counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(useful), maximum });
    }
    match limit() {
        limit if limit < NEEDED => Err(format!(
            "expected a limit of at least {NEEDED} open files, found {limit}; raise it (ulimits.nofile in the stack file, \
             or ulimit -n)"
        )),
        _ => Ok(()),
    }
}

/// How many requests to the engine may be under way at once, so that there are descriptors for all of them.
pub fn requests_at_once() -> usize {
    usize::try_from(limit().saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX).clamp(1, 1024)
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
