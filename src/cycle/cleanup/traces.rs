//! What tells, on each node, which image was replaced, where the service named it by its tag alone. Pure.
//!
//! The tag may stand at another image by then, and at different ones on different nodes. What a service had is the image of
//! the containers that its tasks had before the update. So the remover is told these tasks, and what services need now.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycle::remover::{RemovalOrder, Traces};
use crate::image::ImageRef;
use crate::swarm::{Service, Task};

/// How many bytes of tasks and digests the remover is told in all: an environment variable of a process has a limit.
const MAX_BYTES: usize = 64 << 10;

/// The services that had each of these images and have another one of the same tag now: `names` where it is known whose
/// image was replaced, else all of them.
pub(super) fn owners<'a>(
    image: &ImageRef,
    names: &BTreeSet<&str>,
    services: &'a [Service],
) -> impl Iterator<Item = &'a Service> {
    let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    services.iter().filter(move |service| {
        let now = service.spec.facts().image.as_deref().and_then(|image| image.parse::<ImageRef>().ok());
        let has_another = now.is_some_and(|now| now.digest().is_some() && now.is_same_tag_as(image));
        has_another && (names.is_empty() || names.contains(service.name()))
    })
}

/// The last task of each slot that ran the image by its tag alone.
pub(super) fn last_tasks(image: &ImageRef, owners: &BTreeSet<&str>, tasks: &[Task]) -> BTreeSet<String> {
    let mut last: BTreeMap<(&str, u64, &str), &Task> = BTreeMap::new();
    let is_its = |task: &&Task| {
        owners.contains(task.service_id.as_str())
            && task
                .image
                .parse::<ImageRef>()
                .is_ok_and(|of_task| of_task.digest().is_none() && of_task.is_same_tag_as(image))
    };
    for task in tasks.iter().filter(is_its) {
        // A global service has one task for each node.
        let node = if task.slot == 0 { task.node_id.as_str() } else { "" };
        let latest = last.entry((&task.service_id, task.slot, node)).or_insert(task);
        if task.created_at > latest.created_at {
            *latest = task;
        }
    }
    last.into_values().map(|task| task.id.clone()).collect()
}

/// The order to remove what these tasks ran. `needed` are the images that services name now.
pub(super) fn order(image: &ImageRef, tasks: BTreeSet<String>, needed: &BTreeSet<String>) -> RemovalOrder {
    let is_same =
        |other: &ImageRef| (other.registry(), other.repository()) == (image.registry(), image.repository());
    let needed = needed.iter().filter_map(|written| written.parse::<ImageRef>().ok()).filter(is_same);
    let needed: BTreeSet<_> = needed.filter_map(|other| other.digest().cloned()).collect();
    RemovalOrder { image: image.clone(), traces: Some(Traces { tasks, needed }) }
}

/// These orders in words, as many as there is room for.
pub(super) fn words(orders: &[RemovalOrder]) -> Vec<String> {
    let mut bytes = 0;
    let fits = |words: &String| {
        bytes += words.len();
        bytes <= MAX_BYTES
    };
    orders.iter().map(ToString::to_string).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::swarm::TaskState;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn task(id: &str, service: &str, (slot, node): (u64, &str), image: &str, second: i64) -> Task {
        Task {
            id: id.to_owned(),
            service_id: service.to_owned(),
            slot,
            node_id: node.to_owned(),
            image: image.to_owned(),
            force_update: 0,
            desired: TaskState::Shutdown,
            state: TaskState::Shutdown,
            since: None,
            message: String::new(),
            error: String::new(),
            exit_code: Some(0),
            created_at: Timestamp::from_second(second).ok(),
            reserved: crate::swarm::claims::Resources::default(),
        }
    }

    #[test]
    fn the_last_task_of_each_slot_tells_what_was_replaced() {
        let pinned = format!("r.test/app:1@{DIGEST}");
        let tasks = [
            task("older", "web", (1, "n1"), "r.test/app:1", 1),
            task("last", "web", (1, "n2"), "r.test/app:1", 2),
            task("new", "web", (1, "n2"), &pinned, 3),
            task("second", "web", (2, "n1"), "r.test/app:1", 1),
            task("on n1", "all", (0, "n1"), "r.test/app:1", 1),
            task("on n2", "all", (0, "n2"), "r.test/app:1", 1),
            task("tag", "web", (3, "n1"), "r.test/app:2", 1),
            task("stranger", "other", (1, "n1"), "r.test/app:1", 9),
        ];
        let image: ImageRef = "r.test/app:1".parse().unwrap();
        let found = last_tasks(&image, &["web", "all"].into(), &tasks);
        assert_eq!(found, ["last", "second", "on n1", "on n2"].map(str::to_owned).into());
    }

    #[test]
    fn a_remover_is_told_no_more_than_a_variable_can_hold() {
        let image: ImageRef = "r.test/app:1".parse().unwrap();
        let tasks = |count: usize| (0..count).map(|n| format!("{n:025}")).collect::<BTreeSet<_>>();
        let needed = [format!("r.test/app:1@{DIGEST}"), format!("r.test/other:1@{DIGEST}")].into();
        let orders = [order(&image, tasks(2), &needed), order(&image, tasks(4000), &needed)];
        let words = words(&orders);
        assert_eq!(words.len(), 1);
        assert_eq!(words[0].parse::<RemovalOrder>().unwrap(), orders[0]);
    }
}
