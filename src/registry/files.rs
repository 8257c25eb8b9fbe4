//! Reads small files that labels, variables and hosts name. None of them can stop the program.
//!
//! A file must be a regular file of at most 1 MiB. A file system that hangs costs a time limit and one thread.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Error, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::descriptors::explained;
use crate::words::shown_path;

/// The longest file that is read, in bytes. A thousand logins are a tenth of it.
const MAX_BYTES: u64 = 1 << 20;

/// The longest time for one file, or for the few files of one folder.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many reads may hang at once. Each of them occupies a thread.
const MAX_HANGING: usize = 16;

/// The paths whose reading has taken longer than [`PATIENCE`] and has not ended.
static HANGING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn hanging() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a file. It blocks as long as its file system hangs: see [`off_the_thread`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    read_regular(path).map_err(explained)
}

fn read_regular(path: &Path) -> Result<Vec<u8>> {
    // To open a device may be an action of its own, so the first look is from outside.
    must_be_regular(&std::fs::metadata(path)?)?;
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Another file may have taken its place since.
    must_be_regular(&file.metadata()?)?;
    contents(file)
}

fn must_be_regular(metadata: &std::fs::Metadata) -> Result<()> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(Error::from(std::io::ErrorKind::IsADirectory)),
        _ => Err(Error::other("it is a pipe, a socket or a device; put a regular file there")),
    }
}

/// Reads to the end and ignores the size of the file: files of `/proc` have none, and others grow.
fn contents(file: File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::other(format!("it is longer than {MAX_BYTES} bytes; remove what is not needed")));
    }
    Ok(bytes)
}

/// Works with files below `path` on another thread. The error says that it takes too long: a network mount without its
/// server blocks for ever.
pub(super) async fn off_the_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, String> {
    within(PATIENCE, path, work).await
}

async fn within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, String> {
    const REMEDY: &str = "is it on a network mount whose server is away?";
    {
        let hanging = hanging();
        if hanging.contains(path) {
            return Err(format!("its file system has not answered an earlier question yet; {REMEDY}"));
        }
        if hanging.len() >= MAX_HANGING {
            let first = hanging.first().map(|path| shown_path(path)).unwrap_or_default();
            return Err(format!("it is not read while {MAX_HANGING} other files do not answer ({first})"));
        }
    }
    let mut working = tokio::task::spawn_blocking(work);
    if let Ok(done) = tokio::time::timeout(limit, &mut working).await {
        return done.map_err(|error| format!("reading it failed: {error}"));
    }
    hanging().insert(path.to_owned());
    let path = path.to_owned();
    tokio::spawn(async move {
        let _ = working.await;
        hanging().remove(&path);
    });
    Err(format!("no answer from its file system within {} s; {REMEDY}", limit.as_secs_f32()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustix::fs::{CWD, Mode};

    use super::*;

    #[test]
    fn only_regular_files_up_to_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let most = usize::try_from(MAX_BYTES).unwrap();
        std::fs::write(path("fits"), vec![b'x'; most]).unwrap();
        std::fs::write(path("too long"), vec![b'x'; most + 1]).unwrap();
        rustix::fs::mknodat(CWD, path("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zeros")).unwrap();
        std::os::unix::fs::symlink("fits", path("link")).unwrap();
        assert_eq!(read(&path("fits")).unwrap().len(), most);
        assert_eq!(read(&path("link")).unwrap().len(), most);
        for (name, words) in [
            ("too long", "it is longer than 1048576 bytes; remove"),
            ("pipe", "it is a pipe, a socket or a device; put a regular file there"),
            ("zeros", "it is a pipe, a socket or a device; put a regular file there"),
            ("missing", "No such file"),
            (".", "is a directory"),
        ] {
            let error = read(&path(name)).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_costs_one_thread_and_a_time_limit() {
        let path = Path::new("/hangs/config.json");
        let limit = Duration::from_millis(50);
        let (release, hangs) = mpsc::channel::<()>();
        let error = within(limit, path, move || hangs.recv()).await.unwrap_err();
        assert!(error.starts_with("no answer from its file system within 0.05 s; is it on a"), "{error}");
        let error = within(limit, path, || ()).await.unwrap_err();
        assert!(error.starts_with("its file system has not answered an earlier question yet"), "{error}");
        within(limit, Path::new("/other"), || ()).await.unwrap();

        drop(release);
        while within(limit, path, || ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn when_many_files_hang_no_more_threads_are_spent() {
        let limit = Duration::from_millis(5);
        let mut releases = Vec::new();
        for number in 0..MAX_HANGING {
            let (release, hangs) = mpsc::channel::<()>();
            releases.push(release);
            within(limit, Path::new(&format!("/all/{number}")), move || hangs.recv()).await.unwrap_err();
        }
        let error = within(limit, Path::new("/next"), || ()).await.unwrap_err();
        assert!(error.starts_with("it is not read while 16 other files do not answer (/all/"), "{error}");
        drop(releases);
    }
}
