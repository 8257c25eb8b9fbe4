//! The kernel's events of a path (inotify).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tree::walk;

/// The events that are changes of the path or in it. Reading and opening are none of them.
const CHANGES: WatchFlags = WAY.union(WatchFlags::ATTRIB).union(WatchFlags::MODIFY);

/// The events after which the path may lead to another file.
const WAY: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// The meaning of the kernel's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathNews {
    /// Something has happened on the way to the path.
    Perhaps,
    /// Something has changed at the path or in it.
    Change,
}

/// What one of the kernel's watches is on. A folder can be both, where a link leads back to it.
#[derive(Debug, Default)]
struct WatchedFolder {
    /// It is the path, or a folder in it.
    is_inside: bool,
    /// It is the folder that the path is in, and there the path has this name.
    name: Option<OsString>,
}

/// The kernel's watches on a path, all that is below it, and the folders on the way to it.
#[derive(Debug)]
pub(super) struct PathWatch {
    events: FolderEvents,
    watched: BTreeMap<i32, WatchedFolder>,
}

#[derive(Debug)]
enum FolderEvents {
    /// Not yet known to the runtime.
    New(OwnedFd),
    Registered(AsyncFd<OwnedFd>),
}

impl PathWatch {
    /// Begins to watch. It may take a while where there is much to watch.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watched: BTreeMap<i32, WatchedFolder> = BTreeMap::new();
        let path = std::path::absolute(path)?;
        for folder in path.ancestors().skip(1) {
            if let Some(id) = add(&fd, folder, WAY)? {
                let name = path.file_name().filter(|_| path.parent() == Some(folder));
                watched.entry(id).or_default().name = name.map(OsStr::to_owned);
            }
        }
        let mut inside = vec![path.clone()];
        if path.is_dir() {
            // A folder's watch also tells of the files in it.
            walk(&path, &mut |path, metadata| {
                inside.extend(metadata.filter(|metadata| metadata.is_dir()).map(|_| path.to_owned()));
            });
        }
        for path in inside {
            if let Some(id) = add(&fd, &path, CHANGES)? {
                watched.entry(id).or_default().is_inside = true;
            }
        }
        Ok(Self { events: FolderEvents::New(fd), watched })
    }

    /// Makes it known to the runtime, in which this has to be called.
    pub(super) fn registered(self) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "it asks for a descriptor that stays open and the same until it is dropped, which an \
                      `OwnedFd` does; the new constructor wants that promise as unsafe code"
        )]
        let events = match self.events {
            FolderEvents::New(fd) => {
                FolderEvents::Registered(AsyncFd::with_interest(fd, Interest::READABLE)?)
            }
            registered @ FolderEvents::Registered(_) => registered,
        };
        Ok(Self { events, ..self })
    }

    /// Waits until the kernel tells something that matters, and takes all that it has to tell.
    pub(super) async fn told(&mut self) -> PathNews {
        let FolderEvents::Registered(fd) = &self.events else { return PathNews::Perhaps };
        loop {
            let Ok(mut ready) = fd.readable().await else { return PathNews::Perhaps };
            let told = self.read(fd.get_ref());
            ready.clear_ready();
            if let Some(told) = told {
                return told;
            }
        }
    }

    /// Takes all that the kernel has to tell at this moment.
    pub(super) fn take_now(&self) -> Option<PathNews> {
        match &self.events {
            FolderEvents::Registered(fd) => self.read(fd.get_ref()),
            FolderEvents::New(_) => None,
        }
    }

    /// Reads until there is nothing more.
    fn read(&self, fd: &OwnedFd) -> Option<PathNews> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(fd, &mut buffer);
        let mut told = None;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    told = told.max(self.weigh(event.wd(), event.events(), name));
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return told,
                Err(_) => return Some(PathNews::Perhaps),
            }
        }
    }

    fn weigh(&self, id: i32, events: ReadFlags, name: Option<&OsStr>) -> Option<PathNews> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            // There was more than the kernel could keep.
            return Some(PathNews::Change);
        }
        let watched = self.watched.get(&id)?;
        // The end of a watch is told besides what has ended it.
        let is_end = events.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT);
        let is_the_path = name.is_some() && name == watched.name.as_deref();
        let is_change = !is_end && (watched.is_inside || is_the_path);
        Some(if is_change { PathNews::Change } else { PathNews::Perhaps })
    }
}

/// Watches one file or folder; links are followed. `None` where there is nothing, or nothing that may be seen.
fn add(fd: &OwnedFd, path: &Path, flags: WatchFlags) -> io::Result<Option<i32>> {
    match inotify::add_watch(fd, path, flags | WatchFlags::MASK_ADD) {
        Ok(id) => Ok(Some(id)),
        Err(Errno::NOSPC | Errno::NOMEM | Errno::MFILE) => {
            Err(io::Error::other("there are too many watches on this machine (fs.inotify.max_user_watches)"))
        }
        Err(_) => Ok(None),
    }
}
