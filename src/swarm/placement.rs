//! Which nodes the swarm may put a task on, as far as nodes and specification tell. Pure.

use super::claims::Claims;
use super::node::Node;

/// Whether a node fits constraints and platforms. `None`: a constraint that this program does not know.
pub fn fits(claims: &Claims, node: &Node) -> Option<bool> {
    let is_platform = claims.platforms.is_empty() || claims.platforms.iter().any(|it| has_platform(node, it));
    let met: Vec<Option<bool>> =
        claims.constraints.iter().map(|constraint| meets(node, constraint)).collect();
    match (is_platform, met.contains(&Some(false)), met.contains(&None)) {
        (false, ..) | (_, true, _) => Some(false),
        (_, _, true) => None,
        _ => Some(true),
    }
}

fn has_platform(node: &Node, (os, architecture): &(String, String)) -> bool {
    let is_any_or = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
    let node = &node.traits;
    is_any_or(os, &node.os) && is_any_or(usual(architecture), usual(&node.architecture))
}

/// The name that images have for an architecture; nodes say what their kernel says.
fn usual(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The swarm compares whole values, and takes capital letters for small ones (swarmkit, `manager/constraint`).
fn meets(node: &Node, constraint: &str) -> Option<bool> {
    let (key, value, is_wanted) = match (constraint.split_once("=="), constraint.split_once("!=")) {
        (Some((key, value)), _) => (key, value, true),
        (None, Some((key, value))) => (key, value, false),
        (None, None) => return None,
    };
    let (key, value) = (key.trim(), value.trim());
    let traits = &node.traits;
    let label = |prefix: &str| key.strip_prefix(prefix);
    let has = match key {
        "node.id" => Some(node.id.as_str()),
        "node.hostname" => Some(node.name.as_str()),
        "node.role" => Some(traits.role.as_str()),
        "node.platform.os" => Some(traits.os.as_str()),
        "node.platform.arch" => Some(traits.architecture.as_str()),
        _ => match (label("node.labels."), label("engine.labels.")) {
            (Some(label), _) => traits.labels.get(label).map(String::as_str),
            (_, Some(label)) => traits.engine_labels.get(label).map(String::as_str),
            (None, None) => return None,
        },
    };
    Some(has.is_some_and(|has| has.eq_ignore_ascii_case(value)) == is_wanted)
}

#[cfg(test)]
mod tests {
    use super::super::node::Traits;
    use super::*;

    fn node() -> Node {
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let traits = Traits {
            role: "worker".to_owned(),
            os: "linux".to_owned(),
            architecture: "x86_64".to_owned(),
            labels: label("disk", "SSD"),
            engine_labels: label("rack", "7"),
            capacity: None,
        };
        Node { id: "n1".to_owned(), name: "node1".to_owned(), traits, ..Node::default() }
    }

    #[test]
    fn a_node_fits_constraints_as_swarm_reads_them() {
        for (constraint, expected) in [
            ("node.hostname==node1", Some(true)),
            ("node.hostname == NODE1", Some(true)),
            ("node.hostname!=node1", Some(false)),
            ("node.id==n2", Some(false)),
            ("node.role==manager", Some(false)),
            ("node.role!=manager", Some(true)),
            ("node.platform.os==linux", Some(true)),
            ("node.platform.arch==x86_64", Some(true)),
            ("node.labels.disk==ssd", Some(true)),
            ("node.labels.disk!=ssd", Some(false)),
            ("node.labels.zone==a", Some(false)),
            ("node.labels.zone!=a", Some(true)),
            ("engine.labels.rack==7", Some(true)),
            ("node.ip==10.0.0.0/8", None),
            ("rubbish", None),
        ] {
            let claims = Claims { constraints: vec![constraint.to_owned()], ..Claims::default() };
            assert_eq!(fits(&claims, &node()), expected, "{constraint}");
        }
        let with = |constraints: &[&str]| Claims {
            constraints: constraints.iter().map(|&constraint| constraint.to_owned()).collect(),
            ..Claims::default()
        };
        assert_eq!(fits(&with(&["node.ip==10.0.0.1", "node.id==n2"]), &node()), Some(false));
        assert_eq!(fits(&with(&["node.id==n1", "node.ip==10.0.0.1"]), &node()), None);
    }

    #[test]
    fn a_node_fits_the_platforms_of_an_image() {
        for (os, architecture, expected) in [
            ("linux", "amd64", true),
            ("linux", "arm64", false),
            ("windows", "amd64", false),
            ("linux", "", true),
        ] {
            let claims =
                Claims { platforms: vec![(os.to_owned(), architecture.to_owned())], ..Claims::default() };
            assert_eq!(fits(&claims, &node()), Some(expected), "{os}/{architecture}");
        }
    }
}
