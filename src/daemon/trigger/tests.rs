use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::daemon::hooks::Leader;

/// How long a change may take to be noticed: far more than it does, as the machine may be busy.
const SOON: Duration = Duration::from_secs(20);

/// Long enough for a change to be noticed that must not be.
const A_WHILE: Duration = Duration::from_secs(1);

async fn is_noticed(trigger: &mut Trigger) -> bool {
    timeout(SOON, trigger.changed()).await.is_ok()
}

async fn is_quiet(trigger: &mut Trigger) -> bool {
    timeout(A_WHILE, trigger.changed()).await.is_err()
}

/// A change, by its name.
type Change = (&'static str, fn(&Path));

#[tokio::test]
async fn whatever_changes_at_a_file_is_noticed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trigger");
    let changes: [Change; 9] = [
        ("created", |path| fs::write(path, "1").unwrap()),
        ("written", |path| fs::write(path, "2").unwrap()),
        ("touched", |path| fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap()),
        ("other rights", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap()),
        ("replaced by rename", |path| {
            let new = path.with_extension("new");
            fs::write(&new, "2").unwrap();
            fs::rename(new, path).unwrap();
        }),
        ("written after that", |path| fs::write(path, "3").unwrap()),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("made and removed at once", |path| {
            fs::write(path, "").unwrap();
            fs::remove_file(path).unwrap();
        }),
        ("made again as a folder", |path| fs::create_dir(path).unwrap()),
    ];
    let mut trigger = Trigger::new(path.clone()).await;
    for (what, change) in changes {
        change(&path);
        assert!(is_noticed(&mut trigger).await, "{what}");
    }
    assert!(is_quiet(&mut trigger).await);
}

#[tokio::test]
async fn a_change_outlives_a_wait_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trigger");
    let mut trigger = Trigger::new(path.clone()).await;
    fs::write(&path, "1").unwrap();
    // A user's request, or a registry's event, comes before the change is noticed, and while it comes to rest.
    for milliseconds in [0, 1, 20, 100, 150] {
        assert!(timeout(Duration::from_millis(milliseconds), trigger.changed()).await.is_err());
    }
    assert!(is_noticed(&mut trigger).await);
    assert!(is_quiet(&mut trigger).await, "and once");
}

#[tokio::test]
async fn whatever_changes_in_a_folder_is_noticed_however_deep() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    fs::create_dir(path.join("old")).unwrap();
    let changes: [Change; 8] = [
        ("a file in it", |path| fs::write(path.join("file"), "").unwrap()),
        ("a file below it", |path| fs::write(path.join("old/file"), "1").unwrap()),
        ("more in that", |path| fs::write(path.join("old/file"), "2").unwrap()),
        ("a tree", |path| fs::create_dir_all(path.join("new/a/b")).unwrap()),
        ("a file in the tree", |path| fs::write(path.join("new/a/b/file"), "").unwrap()),
        ("moved within", |path| fs::rename(path.join("new/a/b"), path.join("b")).unwrap()),
        ("a file in what was moved", |path| fs::write(path.join("b/file"), "x").unwrap()),
        ("all removed", |path| fs::remove_dir_all(path).unwrap()),
    ];
    let mut trigger = Trigger::new(path.clone()).await;
    for (what, change) in changes {
        change(&path);
        assert!(is_noticed(&mut trigger).await, "{what}");
    }
    fs::create_dir(&path).unwrap();
    assert!(is_noticed(&mut trigger).await);
}

#[tokio::test]
async fn reading_is_no_change_and_neither_is_what_happens_beside_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), "text").unwrap();
    let mut trigger = Trigger::new(path.clone()).await;
    fs::read(path.join("file")).unwrap();
    fs::read_dir(&path).unwrap().for_each(drop);
    fs::write(folder.path().join("neighbour"), "").unwrap();
    fs::create_dir(folder.path().join("another")).unwrap();
    assert!(is_quiet(&mut trigger).await);
    // And the watch has survived what did not matter.
    fs::write(path.join("file"), "other text").unwrap();
    assert!(is_noticed(&mut trigger).await);
}

#[tokio::test]
async fn a_path_of_which_nothing_exists_yet_is_watched_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/trigger");
    let mut trigger = Trigger::new(path.clone()).await;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(is_quiet(&mut trigger).await, "it is only on the way");
    fs::write(&path, "").unwrap();
    assert!(is_noticed(&mut trigger).await);
    fs::rename(folder.path().join("a"), folder.path().join("z")).unwrap();
    assert!(is_noticed(&mut trigger).await, "it is gone with its folder");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    assert!(is_noticed(&mut trigger).await);
}

#[tokio::test]
async fn a_link_that_is_turned_to_another_folder_is_a_change() {
    // As a volume of Kubernetes: trigger -> ..data/trigger, ..data -> a folder that is exchanged.
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    for version in ["1", "2"] {
        fs::create_dir_all(volume.join(version)).unwrap();
        fs::write(volume.join(version).join("trigger"), version).unwrap();
    }
    symlink("1", volume.join("..data")).unwrap();
    symlink("..data/trigger", volume.join("trigger")).unwrap();
    let mut file = Trigger::new(volume.join("trigger")).await;
    let mut behind = Trigger::new(volume.join("..data/trigger")).await;
    let mut whole = Trigger::new(volume.clone()).await;
    assert!(is_quiet(&mut file).await);
    symlink("2", volume.join("..new")).unwrap();
    fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    for trigger in [&mut file, &mut behind, &mut whole] {
        assert!(is_noticed(trigger).await, "{trigger:?}");
    }
    fs::write(volume.join("2/trigger"), "3").unwrap();
    for trigger in [&mut file, &mut behind, &mut whole] {
        assert!(is_noticed(trigger).await, "{trigger:?}");
    }
}

#[tokio::test]
async fn what_happens_while_nobody_waits_is_noticed_then_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut trigger = Trigger::new(path.clone()).await;
    for number in 0..500 {
        fs::create_dir_all(path.join(format!("{number}/deep"))).unwrap();
        fs::write(path.join(format!("{number}/deep/file")), "").unwrap();
    }
    assert!(is_noticed(&mut trigger).await);
    assert!(is_quiet(&mut trigger).await);
    // What a cycle that begins now sees anyway is no reason for another one.
    fs::write(path.join("0/deep/file"), "new").unwrap();
    trigger.forget().await;
    assert!(is_quiet(&mut trigger).await);
}

#[tokio::test]
async fn many_changes_in_a_row_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trigger");
    let mut trigger = Trigger::new(path.clone()).await;
    // A time that stands still while the machine is busy with something else: else a stall would be a pause.
    tokio::time::pause();
    let writes = async {
        for number in 0..20 {
            fs::write(&path, number.to_string()).unwrap();
            sleep(QUIET / 10).await;
        }
        Instant::now()
    };
    let changed = async {
        trigger.changed().await;
        Instant::now()
    };
    let (written, noticed) = tokio::join!(writes, changed);
    tokio::time::resume();
    assert!(noticed > written, "it was over before it was told");
    assert!(is_quiet(&mut trigger).await);
}

#[tokio::test]
async fn without_the_kernel_s_help_it_is_looked_at_every_few_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trigger");
    let none = |_: &Path| Err(io::Error::other("too many"));
    let mut trigger = Trigger::with(path.clone(), none).await;
    for change in ["create", "write"] {
        fs::write(&path, change).unwrap();
        assert!(is_noticed(&mut trigger).await, "{change}");
    }
    fs::remove_file(&path).unwrap();
    assert!(is_noticed(&mut trigger).await);
    assert!(timeout(POLL * 2, trigger.changed()).await.is_err());
}

/// What a hook is that waits, and what it is that runs.
fn at_rest() -> Option<Activity> {
    Leader::default().activity()
}

#[tokio::test]
async fn what_a_hook_changes_itself_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut trigger = Trigger::new(path.clone()).await;
    let hook = async {
        for name in ["a", "b", "c"] {
            fs::create_dir(path.join(name)).unwrap();
            fs::write(path.join(name).join("file"), name).unwrap();
            sleep(Duration::from_millis(30)).await;
        }
    };
    trigger.apart_from(hook, || None).await;
    assert!(is_quiet(&mut trigger).await);
    fs::write(path.join("a/file"), "again").unwrap();
    assert!(is_noticed(&mut trigger).await, "what comes afterwards is one, however deep");
}

#[tokio::test]
async fn what_another_program_changes_while_a_hook_waits_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut trigger = Trigger::new(path.clone()).await;
    let waiting = async {
        sleep(Duration::from_millis(200)).await;
        fs::write(path.join("file"), "").unwrap();
        sleep(Duration::from_millis(200)).await;
    };
    trigger.apart_from(waiting, at_rest).await;
    assert!(is_noticed(&mut trigger).await);
    assert!(is_quiet(&mut trigger).await, "once");
}

#[tokio::test]
async fn what_has_changed_before_a_hook_is_not_lost_and_is_forgotten_with_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mut trigger = Trigger::new(path.clone()).await;
    fs::write(path.join("file"), "").unwrap();
    trigger.apart_from(async {}, || None).await;
    assert!(is_noticed(&mut trigger).await);
    fs::write(path.join("file"), "2").unwrap();
    trigger.apart_from(async {}, || None).await;
    trigger.forget().await;
    assert!(is_quiet(&mut trigger).await);
}
