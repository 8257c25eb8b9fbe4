//! Cycles that are started by a change of the trigger path.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::support::{Daemon, Service, Stage, wait};

/// Long enough for a cycle to begin that must not: a change counts as over after a quarter of a second.
const A_WHILE: Duration = Duration::from_millis(1500);

/// How long a cycle may take to begin and end: far more than it does, as the machine may be busy.
const SOON: u64 = 60;

/// The daemon of a stage without services, watching a path and nothing else; its cycles have nothing to do.
fn watching(stage: &Stage, path: &Path) -> Daemon {
    let daemon = stage.gantry().set("GANTRY_TRIGGER_PATH", path.to_str().unwrap()).start();
    is_at_rest(&daemon, 1, "start");
    daemon
}

/// How many lines begin like this.
fn said(daemon: &Daemon, begin: &str) -> usize {
    daemon.lines().iter().filter(|line| line.message().starts_with(begin)).count()
}

/// Waits until so many cycles are over and the next one is waited for.
#[track_caller]
fn is_at_rest(daemon: &Daemon, cycles: usize, after: &str) {
    wait(&format!("rest after {cycles} cycles (last: {after})"), SOON, || {
        let waits = said(daemon, "waiting for the next cycle");
        (waits.min(said(daemon, "no service matches")) >= cycles).then_some(())
    });
    assert_eq!(said(daemon, "no service matches"), cycles, "{after}: {:#?}", daemon.lines());
}

/// A change, by its name.
type Change = (&'static str, fn(&Path));

/// Checks that each change starts one cycle and no more.
#[track_caller]
fn each_starts_one(daemon: &Daemon, path: &Path, changes: &[Change]) {
    for (index, (what, change)) in changes.iter().enumerate() {
        change(path);
        is_at_rest(daemon, index + 2, what);
    }
    sleep(A_WHILE);
    is_at_rest(daemon, changes.len() + 1, "quiet");
    assert_eq!(said(daemon, &format!("{} has changed", path.display())), changes.len());
}

/// As an editor, or a tool that wants no reader to see half a file, does it.
fn replace(path: &Path, text: &str) {
    let new = path.with_file_name(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_file_that_is_not_there_yet_starts_a_cycle_with_each_change_and_the_cycle_updates() {
    let stage = Stage::new();
    let path = stage.folder.path().join("not/there/yet/trigger");
    let daemon = watching(&stage, &path);
    each_starts_one(
        &daemon,
        &path,
        &[
            ("made with its folders", |path| {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "1").unwrap();
            }),
            ("written", |path| fs::write(path, "2").unwrap()),
            ("touched", |path| fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap()),
            ("replaced by rename", |path| replace(path, "3")),
            ("written after that", |path| fs::write(path, "4").unwrap()),
            ("removed", |path| fs::remove_file(path).unwrap()),
            ("its folder moved away and another in its place", |path| {
                let folder = path.parent().unwrap();
                fs::rename(folder, folder.with_file_name("old")).unwrap();
                fs::create_dir(folder).unwrap();
                fs::write(path, "5").unwrap();
            }),
            ("replaced there by rename", |path| replace(path, "6")),
        ],
    );

    let service = stage.service("web", &stage.image("web", "1", &[]), &[]);
    let new = stage.image("web", "2", &[]);
    fs::write(&path, "7").unwrap();
    daemon.wait_for("1 service: 1 updated", SOON);
    service.runs(&new, 1);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_folder_starts_a_cycle_with_whatever_changes_in_it_however_deep() {
    let stage = Stage::new();
    let path = stage.folder.path().join("folder");
    fs::create_dir(&path).unwrap();
    let daemon = watching(&stage, &path);
    each_starts_one(
        &daemon,
        &path,
        &[
            ("a file", |path| fs::write(path.join("file"), "").unwrap()),
            ("a tree", |path| fs::create_dir_all(path.join("a/b/c")).unwrap()),
            ("a file in the tree", |path| fs::write(path.join("a/b/c/file"), "1").unwrap()),
            ("that replaced by rename", |path| replace(&path.join("a/b/c/file"), "2")),
            ("a tree moved", |path| fs::rename(path.join("a/b"), path.join("b")).unwrap()),
            ("a file in what was moved", |path| fs::write(path.join("b/c/file"), "3").unwrap()),
            ("removed with all that is in it", |path| fs::remove_dir_all(path).unwrap()),
            ("made again", |path| fs::create_dir(path).unwrap()),
            ("a file in that", |path| fs::write(path.join("file"), "").unwrap()),
        ],
    );
}

#[test]
fn what_changes_during_a_cycle_starts_exactly_one_more() {
    let stage = Stage::new();
    let (folder, go) = (stage.folder.path().join("folder"), stage.folder.path().join("go"));
    fs::create_dir(&folder).unwrap();
    // A cycle takes as long as the test wants it to.
    let hook = format!("echo begun; until [ -e {} ]; do sleep 0.3; done", go.display());
    let daemon = stage
        .gantry()
        .set("PATH", "/usr/bin:/bin")
        .set("GANTRY_TRIGGER_PATH", folder.to_str().unwrap())
        .set("GANTRY_PRE_RUN_CMD", &hook)
        .start();
    let begun = |cycles| {
        let lines = || daemon.lines().iter().filter(|line| line.message().ends_with("begun")).count();
        wait(&format!("cycle {cycles}"), SOON, || (lines() >= cycles).then_some(()));
    };
    let change_much = || {
        for number in 0..20 {
            fs::create_dir_all(folder.join(format!("{number}/deep"))).unwrap();
            fs::write(folder.join(format!("{number}/deep/file")), "").unwrap();
            replace(&folder.join("file"), &number.to_string());
            // Longer than the daemon takes for one change, were it not for the cycle.
            sleep(Duration::from_millis(30));
        }
    };

    begun(1);
    change_much();
    fs::write(&go, "").unwrap();
    is_at_rest(&daemon, 2, "changes during the first cycle");
    sleep(A_WHILE);
    is_at_rest(&daemon, 2, "quiet");

    fs::remove_file(&go).unwrap();
    fs::write(folder.join("file"), "once").unwrap();
    begun(3);
    change_much();
    fs::write(&go, "").unwrap();
    is_at_rest(&daemon, 4, "changes during a cycle that was started by a change");
    sleep(A_WHILE);
    is_at_rest(&daemon, 4, "quiet");
}

#[test]
fn what_its_own_hooks_change_starts_no_cycle_and_what_others_change_meanwhile_does() {
    let stage = Stage::new();
    let folder = stage.folder.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let folder_name = folder.display();
    let daemon = stage
        .gantry()
        .set("PATH", "/usr/bin:/bin")
        .set("GANTRY_TRIGGER_PATH", folder.to_str().unwrap())
        .set("GANTRY_PRE_RUN_CMD", &format!("mkdir -p {folder_name}/state; date >{folder_name}/state/begin"))
        .set(
            "GANTRY_POST_RUN_CMD",
            &format!("date >{folder_name}/last-run; sleep 2; date >{folder_name}/state/end"),
        )
        .start();
    is_at_rest(&daemon, 1, "start");
    sleep(A_WHILE);
    is_at_rest(&daemon, 1, "its own hooks");

    fs::write(folder.join("go"), "1").unwrap();
    is_at_rest(&daemon, 2, "a change from outside");
    fs::write(folder.join("go"), "2").unwrap();
    wait("the post-run command of the third cycle", SOON, || {
        (said(&daemon, "running the post-run command") >= 3).then_some(())
    });
    // The command sleeps now: what changes is not its doing.
    sleep(Duration::from_secs(1));
    fs::write(folder.join("go"), "3").unwrap();
    is_at_rest(&daemon, 4, "a change from outside while a hook waits");
    sleep(A_WHILE);
    is_at_rest(&daemon, 4, "quiet");
}

#[test]
fn with_an_interval_it_is_whichever_comes_first() {
    let stage = Stage::new();
    let path = stage.folder.path().join("trigger");
    let with = |seconds| {
        let gantry = stage.gantry().set("GANTRY_TRIGGER_PATH", path.to_str().unwrap());
        gantry.set("GANTRY_SLEEP_SECONDS", seconds).start()
    };
    let by_change = with("3600");
    is_at_rest(&by_change, 1, "start");
    fs::write(&path, "").unwrap();
    is_at_rest(&by_change, 2, "a change");
    drop(by_change);
    let by_time = with("1");
    wait("three cycles", SOON, || (said(&by_time, "no service matches") >= 3).then_some(()));
    assert_eq!(said(&by_time, &path.display().to_string()), 0, "{:#?}", by_time.lines());
}

/// Gantry as a service of its own image that watches `/trigger`, on which this path of its node is mounted.
fn deployed<'a>(stage: &'a Stage, name: &str, path: &Path) -> Service<'a> {
    let image = super::deployed::own_image(stage);
    let mount = format!("type=bind,src={},dst=/trigger,readonly", path.display());
    let filter = format!("GANTRY_SERVICES_FILTERS=name={}", stage.name("none"));
    let options = [
        "--mount",
        "type=bind,src=/var/run/docker.sock,dst=/var/run/docker.sock",
        "--mount",
        &mount,
        "--constraint",
        "node.hostname==node1",
        "--read-only",
        "--env",
        "GANTRY_TRIGGER_PATH=/trigger",
        "--env",
        "GANTRY_CLEANUP_IMAGES=false",
        "--env",
        &filter,
    ];
    stage.create(name, &image, &options)
}

#[test]
fn a_bind_mount_tells_of_what_happens_on_its_node() {
    let stage = Stage::new();
    let folder = stage.folder.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let file = stage.write("file", "1");
    let (by_folder, by_file) = (deployed(&stage, "folder", &folder), deployed(&stage, "file", &file));
    let rests = |service: &Service<'_>, cycles: usize, after: &str| {
        let mut log = String::new();
        let rest = "waiting for the next cycle, or for a change of /trigger";
        wait(&format!("rest of {} after {cycles} cycles ({after})", service.name), 2 * SOON, || {
            log = stage.lab.log_of(&["service", "logs", "--raw", &service.name]);
            (log.matches(rest).count() >= cycles).then_some(())
        });
        assert_eq!(log.matches("no service matches").count(), cycles, "{after}: {log}");
    };
    rests(&by_folder, 1, "start");
    rests(&by_file, 1, "start");

    let trigger = folder.join("a/trigger");
    fs::create_dir(folder.join("a")).unwrap();
    fs::write(&trigger, "1").unwrap();
    rests(&by_folder, 2, "made");
    replace(&trigger, "2");
    rests(&by_folder, 3, "replaced by rename");
    fs::write(&trigger, "3").unwrap();
    rests(&by_folder, 4, "written after that");
    fs::remove_dir_all(folder.join("a")).unwrap();
    rests(&by_folder, 5, "removed");

    fs::write(&file, "2").unwrap();
    rests(&by_file, 2, "written");
    replace(&file, "3");
    rests(&by_file, 3, "replaced by rename");
    // The mount keeps the old file, which nobody can change any more. docs/troubleshooting.md says to mount the folder.
    fs::write(&file, "4").unwrap();
    sleep(A_WHILE);
    rests(&by_file, 3, "out of reach");
    rests(&by_folder, 5, "quiet");
}
