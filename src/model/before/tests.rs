use super::*;
use crate::rollout::samples::{OLD, crashed, replicas, service, spec, task};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A task that crashed at this second.
fn crash(id: &str, slot: u64, second: i64) -> Task {
    Task { since: Some(at(second)), ..crashed(task(id, OLD, slot)) }
}

fn failure(exit_code: i64) -> Cause {
    let error = format!("task: non-zero exit ({exit_code})");
    Cause::TaskFailed { node: "node9".to_owned(), exit_code: Some(exit_code), error }
}

#[test]
fn what_ran_and_what_failed_lately_is_told_by_the_tasks() {
    let three = service(&spec(OLD, &replicas(3)));
    let tasks = [task("a", OLD, 1), task("b", OLD, 2), crash("c", 3, 9_990), task("d", OLD, 3)];
    let before = Before::of(&three, &tasks, at(10_000));
    // The third is between two crashes.
    assert_eq!(before.ran(), Some(2));
    assert!(before.was_in_trouble() && before.had_failed_like(&failure(1)));
    assert!(!before.had_failed_like(&failure(3)), "another exit code is another failure");
    assert_eq!(before.ended().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_crash_of_long_ago_is_no_trouble_now() {
    let one = service(&spec(OLD, &replicas(1)));
    let before = Before::of(&one, &[crash("c", 1, 1_000), task("d", OLD, 1)], at(10_000));
    assert_eq!(before.ran(), Some(1));
    assert!(!before.was_in_trouble() && !before.had_failed_like(&failure(1)));
}

#[test]
fn what_failed_before_with_another_image_is_not_what_the_service_ran() {
    let one = service(&spec(OLD, &replicas(1)));
    let other = Task { image: "app:0".to_owned(), ..crash("c", 1, 9_990) };
    let before = Before::of(&one, &[other, task("d", OLD, 1)], at(10_000));
    assert!(!before.was_in_trouble() && before.ran() == Some(1));
    // Its end counts for nothing all the same: the same image may be sent again.
    assert_eq!(before.ended().collect::<Vec<_>>(), ["c"]);
}
