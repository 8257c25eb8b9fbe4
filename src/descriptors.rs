//! How many files and connections this process may have open at once.

use std::error::Error;
use std::io;

use rustix::io::Errno;
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

/// What to do where an error, or one of its causes, says that no file descriptor is left. `None` for any other error.
pub fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        match io.and_then(Errno::from_io_error) {
            Some(Errno::MFILE) => {
                return Some(
                    "raise the limit of open files (ulimits.nofile in the stack file, or ulimit -n)",
                );
            }
            Some(Errno::NFILE) => {
                return Some("the machine has no more; raise its limit of open files (sysctl fs.file-max)");
            }
            _ => {}
        }
        // An error that an `io::Error` wraps is not among its sources.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The same error, with the remedy in its words where no file descriptor is left.
pub fn explained(error: io::Error) -> io::Error {
    match remedy(&error) {
        Some(remedy) => io::Error::other(format!("{error}; {remedy}")),
        None => error,
    }
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_named_however_deep_the_cause() {
        let wrapped = |errno: Errno| io::Error::other(io::Error::other(io::Error::from(errno)));
        assert!(remedy(&wrapped(Errno::MFILE)).is_some_and(|remedy| remedy.contains("ulimit -n")));
        assert!(remedy(&wrapped(Errno::NFILE)).is_some_and(|remedy| remedy.contains("fs.file-max")));
        assert_eq!(remedy(&wrapped(Errno::CONNREFUSED)), None);

        let words = explained(Errno::MFILE.into()).to_string();
        assert!(words.starts_with("Too many open files") && words.contains("ulimit -n"), "{words}");
        assert_eq!(explained(Errno::NOENT.into()).kind(), io::ErrorKind::NotFound);
    }
}
