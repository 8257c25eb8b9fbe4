//! Whether the processes of a hook have run between two moments.
//!
//! The kernel counts for each thread how often it was switched away from. A thread that has run and waits again has a higher
//! count than before. So two equal pictures mean that nothing of the hook has run in between, and that another program
//! has made the changes of that time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// The process group of a hook, once it has started: its number.
#[derive(Clone, Debug, Default)]
pub struct Leader(Arc<AtomicI32>);

/// How often each thread of a process group was switched away from, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity(BTreeMap<i32, (u64, u64)>);

impl Leader {
    /// Says which process leads the group.
    pub(super) fn set(&self, id: Option<u32>) {
        self.0.store(id.and_then(|id| i32::try_from(id).ok()).unwrap_or(0), Ordering::Relaxed);
    }

    /// A picture of what the group has done so far; `None` where one of its threads runs right now, or cannot be looked at.
    pub fn activity(&self) -> Option<Activity> {
        match self.0.load(Ordering::Relaxed) {
            0 => Some(Activity(BTreeMap::new())),
            group => of_group(group).map(Activity),
        }
    }
}

fn of_group(group: i32) -> Option<BTreeMap<i32, (u64, u64)>> {
    let mut threads = BTreeMap::new();
    for process in processes_of(group)? {
        for thread in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let number = thread.file_name().to_str()?.parse().ok()?;
            threads.insert(number, switches_in(&status)?);
        }
    }
    Some(threads)
}

/// The processes of a group: the leader with its descendants, and orphans, which belong to this process or to the first.
fn processes_of(group: i32) -> Option<BTreeSet<i32>> {
    let own = i32::try_from(std::process::id()).ok()?;
    let mut found = BTreeSet::new();
    let mut next = vec![group];
    for adopter in [own, 1] {
        // What cannot be looked at is not ours.
        next.extend(children_of(adopter).into_iter().flatten());
    }
    while let Some(process) = next.pop() {
        // One that has just ended belongs to no group any more; its parent is told, and runs.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        if group_in(&stat) == Some(group) && found.insert(process) {
            next.extend(children_of(process)?);
        }
    }
    Some(found)
}

/// The children of a process, where the kernel tells them.
fn children_of(process: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).ok()?;
        children.extend(listed.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
    }
    Some(children)
}

/// The process group in `/proc/N/stat`. The name before it may hold anything.
fn group_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// How often a thread was switched away from, by itself and by force; `None` where it runs or is about to.
fn switches_in(status: &str) -> Option<(u64, u64)> {
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    if matches!(value("State:")?.chars().next()?, 'R' | 'D') {
        return None;
    }
    let number = |key: &str| value(key)?.parse().ok();
    Some((number("voluntary_ctxt_switches:")?, number("nonvoluntary_ctxt_switches:")?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(group_in("12 (a) b) S 1 7 7 0 -1 4194560"), Some(7));
        let status =
            "Name:\tsh\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t1\n";
        assert_eq!(switches_in(status), Some((3, 1)));
        assert_eq!(switches_in(&status.replace("S (sleeping)", "R (running)")), None);
        assert_eq!(switches_in(""), None);
    }

    #[test]
    fn a_process_that_waits_shows_the_same_picture_and_one_that_has_run_another() {
        use std::io::{BufRead as _, BufReader, Write as _};
        use std::os::unix::process::CommandExt as _;
        let mut shell = Command::new("sh");
        shell.args(["-c", "while read line; do echo $line; done"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let (mut into, mut from) =
            (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let leader = Leader::default();
        assert_eq!(leader.activity(), Some(Activity(BTreeMap::new())), "nothing has been started");
        leader.set(Some(shell.id()));
        let mut answer = String::new();
        let mut speak = || {
            into.write_all(b"x\n").unwrap();
            from.read_line(&mut answer).unwrap();
        };
        speak();
        let at_rest = || loop {
            let before = leader.activity();
            std::thread::sleep(Duration::from_millis(50));
            if before.is_some() && leader.activity() == before {
                return before;
            }
        };
        let rest = at_rest();
        speak();
        assert_ne!(at_rest(), rest);
        drop(into);
        shell.wait().unwrap();
    }
}
