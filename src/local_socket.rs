//! The Unix socket of a daemon: where it is, which process may have it, and how commands find it.
//!
//! The socket is a file in a folder that only its owner can enter. So who can open it needs no token: on this machine that
//! user is the daemon's own, and in a container it is who can `docker exec`. A container has a `/dev/shm` of its own that can be
//! written to even where the root file system is read-only.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// Folders that may hold the folder of the socket, the preferred first.
const FOLDERS: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// The variable that names a folder of the user's own, where there is one.
const OWN_FOLDER: &str = "XDG_RUNTIME_DIR";

/// The PID namespace of the machine itself, as Linux numbers it (`PROC_PID_INIT_INO`).
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// The variables that distinguish several Gantry processes on one machine without containers.
const OWN_VARIABLES: [&str; 2] = ["DOCKER_HOST", "GANTRY_LEDGER_NAME"];

/// The folders in which the socket of this container's daemon may be, the preferred first.
#[expect(
    clippy::disallowed_methods,
    reason = "`gantry healthcheck` is told nothing, and needs no valid settings"
)]
pub fn places() -> Vec<PathBuf> {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let name =
        name_in(&namespace.to_string_lossy(), geteuid().as_raw(), &OWN_VARIABLES.map(std::env::var_os));
    let own = std::env::var_os(OWN_FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    own.into_iter().chain(FOLDERS.map(PathBuf::from)).map(|folder| folder.join(&name)).collect()
}

/// The name of the socket's folder. Containers may share a folder such as `/tmp`; they do not share their PID namespace.
fn name_in(namespace: &str, user: u32, variables: &[Option<OsString>]) -> String {
    if namespace != HOST_NAMESPACE {
        return format!("gantry-{}", namespace.trim_start_matches("pid:[").trim_end_matches(']'));
    }
    // Only here: in a container, the daemon may have been given more of them than those who ask it.
    let mut hasher = DefaultHasher::new();
    for variable in variables {
        // Empty is unset.
        variable
            .as_ref()
            .map_or(String::new(), |it| it.to_string_lossy().trim().to_owned())
            .hash(&mut hasher);
    }
    format!("gantry-{user}-{:x}", hasher.finish())
}

/// The daemon's end of the socket.
#[derive(Debug)]
pub struct SocketClaim {
    /// What accepts connections.
    pub listener: UnixListener,
    place: PathBuf,
    /// Held as long as the process lives: no other process replaces the socket.
    _lock: File,
}

impl Drop for SocketClaim {
    fn drop(&mut self) {
        // What stays here is replaced by the next daemon.
        let files = [socket_in(&self.place), lock_in(&self.place)];
        let _ = files.iter().try_for_each(fs::remove_file).and_then(|()| fs::remove_dir(&self.place));
    }
}

/// Makes the socket in the first of these places that can have one. What a killed process has left behind is replaced.
///
/// # Errors
/// A living process has the socket, or no place can have one: in words.
pub fn claim(places: &[PathBuf]) -> Result<SocketClaim, String> {
    let mut why = Vec::new();
    for place in places {
        match claim_in(place) {
            Ok(claim) => return Ok(claim),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(format!("another process listens at {}", socket_in(place).display()));
            }
            Err(error) => why.push(format!("{}: {error}", place.display())),
        }
    }
    Err(why.join("; "))
}

fn claim_in(place: &Path) -> io::Result<SocketClaim> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(place)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a folder that only this user can enter"));
    }
    let lock = File::options().create(true).append(true).open(lock_in(place))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ErrorKind::AddrInUse.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let path = socket_in(place);
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other(format!("{} is not a socket", path.display())));
        }
        // A process that has not locked is no Gantry; its socket is not taken from it either.
        Ok(_) if UnixStream::connect(&path).is_ok() => return Err(ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(SocketClaim { listener, place: place.to_owned(), _lock: lock })
}

fn socket_in(place: &Path) -> PathBuf {
    place.join("socket")
}

fn lock_in(place: &Path) -> PathBuf {
    place.join("lock")
}

/// Finds the socket of a living daemon in these places, and connects to it.
///
/// # Errors
/// No daemon listens: in words.
pub fn find(places: &[PathBuf]) -> Result<(PathBuf, UnixStream), String> {
    let mut why = None;
    for place in places {
        let Ok(found) = fs::symlink_metadata(place) else { continue };
        // Another user may have made a folder of this name in `/tmp`.
        if found.uid() != geteuid().as_raw() {
            why = Some(format!("{} belongs to the user {}; ask as that user", place.display(), found.uid()));
            continue;
        }
        let path = socket_in(place);
        match UnixStream::connect(&path) {
            Ok(stream) => return Ok((path, stream)),
            // Where none is, or the daemon that had it is gone.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(error) => why = Some(format!("{}: {error}", path.display())),
        }
    }
    Err(why.unwrap_or_else(|| "no daemon runs here".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn the_name_belongs_to_a_container_and_by_hand_to_what_gantry_was_told() {
        let (one, other) = ([None, Some("a".into())], [Some("a".into()), None]);
        let container = name_in("pid:[4026532601]", 0, &one);
        assert_eq!(container, "gantry-4026532601");
        assert_eq!(container, name_in("pid:[4026532601]", 7, &other));
        assert_ne!(name_in(HOST_NAMESPACE, 0, &one), name_in(HOST_NAMESPACE, 0, &other));
        assert_ne!(name_in(HOST_NAMESPACE, 0, &one), name_in(HOST_NAMESPACE, 7, &one));
        assert_eq!(
            name_in(HOST_NAMESPACE, 0, &[None, None]),
            name_in(HOST_NAMESPACE, 0, &[Some("".into()), Some(" ".into())])
        );
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn only_its_owner_can_open_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("gantry");
        let claim = claim(std::slice::from_ref(&place)).unwrap();
        assert_eq!((mode(&place), mode(&place.join("socket"))), (0o700, 0o600));
        let (path, mut stream) = find(std::slice::from_ref(&place)).unwrap();
        assert_eq!(path, place.join("socket"));
        stream.write_all(b"x").unwrap();
        let mut got = [0; 1];
        claim.listener.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    }

    #[test]
    fn a_living_socket_stays_and_that_of_a_killed_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let places = [folder.path().join("gantry")];
        let first = claim(&places).unwrap();
        let why = claim(&places).unwrap_err();
        assert!(why.starts_with("another process listens at "), "{why}");
        assert!(find(&places).is_ok());
        drop(first);
        assert!(!places[0].exists(), "a daemon that ends leaves nothing behind");
        // A process that is killed does.
        DirBuilder::new().mode(0o700).create(&places[0]).unwrap();
        drop(UnixListener::bind(places[0].join("socket")).unwrap());
        assert_eq!(find(&places).unwrap_err(), "no daemon runs here");
        let second = claim(&places).unwrap();
        assert!(find(&places).is_ok());
        drop(second);
        // Of another program, that does not lock.
        DirBuilder::new().mode(0o700).create(&places[0]).unwrap();
        let _other = UnixListener::bind(places[0].join("socket")).unwrap();
        assert!(claim(&places).unwrap_err().starts_with("another process listens at "));
    }

    #[test]
    fn a_place_that_cannot_have_it_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, open, file, good] =
            ["missing/gantry", "open", "file", "good"].map(|name| folder.path().join(name));
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        DirBuilder::new().mode(0o700).create(&file).unwrap();
        fs::write(file.join("socket"), "precious").unwrap();
        let bad = [missing, open, file];
        let why = claim(&bad).unwrap_err();
        assert!(why.contains("only this user can enter") && why.contains("is not a socket"), "{why}");
        assert_eq!(fs::read_to_string(bad[2].join("socket")).unwrap(), "precious");
        let all = [&bad[..], std::slice::from_ref(&good)].concat();
        let _claim = claim(&all).unwrap();
        // A command looks in the same places.
        assert_eq!(find(&all).unwrap().0, good.join("socket"));
    }
}
