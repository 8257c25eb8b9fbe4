//! Names, circles, and graphs of any size.

use proptest::prelude::*;

use super::*;

fn services<'a>(written: &[(&'a str, &str)]) -> Vec<OrderedService<'a>> {
    let of = |(name, after): &(&'a str, &str)| OrderedService {
        name,
        stack: name.split_once('_').map(|(stack, _)| stack),
        after: UpdateAfter::read(after).unwrap(),
    };
    written.iter().map(of).collect()
}

fn names(graph: &UpdateGraph, service: &str) -> Vec<String> {
    let mark = |it: &Predecessor| format!("{}{}", if it.is_strict { "!" } else { "" }, it.name);
    graph.after.get(service).into_iter().flatten().map(mark).collect()
}

#[test]
fn short_names_are_those_of_the_same_stack() {
    let graph = UpdateGraph::of(&services(&[
        ("shop_db", ""),
        ("db", ""),
        ("shop_app", "db"),
        ("web", "db, !shop_app"),
        ("other_app", "shop_db"),
    ]));
    assert_eq!(names(&graph, "shop_app"), ["shop_db"]);
    assert_eq!(names(&graph, "web"), ["db", "!shop_app"]);
    assert_eq!(names(&graph, "other_app"), ["shop_db"]);
    assert_eq!(graph.mistakes, BTreeMap::new());
}

#[test]
fn an_unknown_name_is_the_mistake_of_that_service() {
    let graph = UpdateGraph::of(&services(&[("shop_db", ""), ("app", "db"), ("web", "app")]));
    assert_eq!(graph.mistakes.keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!(graph.mistakes["app"], "names of services that Gantry looks at; there is no service db");
}

#[test]
fn members_of_a_circle_are_named_in_their_order() {
    let graph = UpdateGraph::of(&services(&[
        ("c", "a"),
        ("a", "b"),
        ("b", "c"),
        ("self", "self"),
        ("behind", "a"),
        ("before", ""),
    ]));
    let expected = "no circle; these wait for one another: c -> a -> b -> c";
    for name in ["a", "b", "c"] {
        assert_eq!(graph.mistakes[name], expected);
    }
    assert_eq!(graph.mistakes["self"], "no circle; these wait for one another: self -> self");
    assert_eq!(graph.mistakes.len(), 4, "who comes after a circle is in none: {:?}", graph.mistakes);
}

#[test]
fn ten_thousand_services_in_one_line_or_circle_are_no_matter() {
    let named: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
    let line = |closes: bool| -> Vec<OrderedService<'_>> {
        named
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let next = if number + 1 < named.len() { Some(number + 1) } else { closes.then_some(0) };
                let after = next.map(|next| Predecessor { name: named[next].clone(), is_strict: false });
                OrderedService { name, stack: None, after: UpdateAfter(after.into_iter().collect()) }
            })
            .collect()
    };
    let graph = UpdateGraph::of(&line(false));
    assert_eq!((graph.after.len(), graph.mistakes.len()), (9_999, 0));
    let graph = UpdateGraph::of(&line(true));
    assert_eq!((graph.after.len(), graph.mistakes.len()), (10_000, 10_000));
}

#[test]
fn lists_of_predecessors_are_read_strictly() {
    for wrong in ["db;web", "!", "!!db", "db=1", "dä"] {
        assert_eq!(UpdateAfter::read(wrong), None, "{wrong:?}");
    }
    assert_eq!(UpdateAfter::read(" db,  !queue\tcache ,").unwrap().0.len(), 3);
    assert_eq!(UpdateAfter::read(&"db ".repeat(101)), None);
}

proptest! {
    /// Whatever the graph: who is in a circle can reach itself, and no other service can.
    #[test]
    fn circles_are_found_and_nothing_else(pairs in prop::collection::vec((0_usize..8, 0_usize..8), 0..20)) {
        let named: Vec<String> = (0..8).map(|number| format!("s{number}")).collect();
        let after = |number: usize| {
            let of = pairs.iter().filter(|(from, _)| *from == number);
            UpdateAfter(of.map(|(_, to)| Predecessor { name: named[*to].clone(), is_strict: false }).collect())
        };
        let services: Vec<OrderedService<'_>> = named
            .iter()
            .enumerate()
            .map(|(number, name)| OrderedService { name, stack: None, after: after(number) })
            .collect();
        let graph = UpdateGraph::of(&services);
        for (start, name) in named.iter().enumerate() {
            let mut reached = std::collections::BTreeSet::new();
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                for (_, to) in pairs.iter().filter(|(from, _)| *from == at) {
                    if reached.insert(*to) {
                        open.push(*to);
                    }
                }
            }
            prop_assert_eq!(graph.mistakes.contains_key(name), reached.contains(&start));
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,40}|[a-z!,. _-]{0,60}") {
        let _ = UpdateAfter::read(&text);
    }
}
