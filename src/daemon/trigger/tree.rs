//! A fingerprint of the files at a path, by which a change is recognized.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A fingerprint of a file, or of a folder with everything in it. Reading a file does not change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Option<u64>);

impl Fingerprint {
    /// Takes it. That a file cannot be read is part of the picture.
    pub(super) fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self(None) };
        let mut hasher = DefaultHasher::new();
        add(&metadata, &mut hasher);
        if metadata.is_dir() {
            walk(path, &mut |path, metadata| {
                path.hash(&mut hasher);
                if let Some(metadata) = metadata {
                    add(metadata, &mut hasher);
                }
            });
        }
        Self(Some(hasher.finish()))
    }
}

/// Visits everything below a folder, in an order that stays the same. Symbolic links are not followed.
pub(super) fn walk(folder: &Path, visit: &mut impl FnMut(&Path, Option<&Metadata>)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).ok();
        visit(&path, metadata.as_ref());
        if metadata.is_some_and(|metadata| metadata.is_dir()) {
            walk(&path, visit);
        }
    }
}

/// All that changes when something is changed. No program can set back the time of the last change to
/// the entry itself (`ctime`).
fn add(metadata: &Metadata, hasher: &mut DefaultHasher) {
    metadata.dev().hash(hasher);
    metadata.ino().hash(hasher);
    metadata.mode().hash(hasher);
    metadata.size().hash(hasher);
    (metadata.mtime(), metadata.mtime_nsec()).hash(hasher);
    (metadata.ctime(), metadata.ctime_nsec()).hash(hasher);
}
