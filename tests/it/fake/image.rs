//! What images do when they are run, as tests script it.

use std::time::Duration;

/// What a task of an image does.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// How long a node that does not have it takes to pull it.
    pub pull: Duration,
    /// What keeps nodes from getting it.
    pub pull_error: Option<String>,
    /// The account with which nodes get it; `None`: they need none.
    pub account: Option<String>,
    /// How long a task is `starting`, on top of the swarm's own time.
    pub start: Duration,
    /// How long it takes to end when told to.
    pub stop: Duration,
    pub fate: Fate,
    /// What it writes to its log.
    pub log: Vec<String>,
    /// How long after its task's latest step the log is there.
    pub log_delay: Duration,
    /// What its health check says.
    pub health: Option<String>,
    /// Why no node fits.
    pub unschedulable: Option<String>,
}

/// What a task does that runs for so long and ends with this exit code.
pub fn ends_after(after: Duration, exit_code: i64) -> Behaviour {
    Behaviour { fate: Fate::Ends { after, exit_code }, ..Behaviour::default() }
}

/// How a task of an image ends.
#[derive(Clone, Debug, Default)]
pub enum Fate {
    /// It runs until it is stopped; in a job, it completes.
    #[default]
    Runs,
    /// It runs for so long and ends by itself.
    Ends { after: Duration, exit_code: i64 },
    /// Its container cannot be started.
    CannotStart { error: String },
    /// Its program takes a lock, and ends at once where another task of its place has it.
    NeedsLock { exit_code: i64 },
    /// It stays `starting` for ever.
    NeverHealthy,
    /// It is `starting` for so long and fails then; or ends as `complete` with an empty error.
    Unhealthy { after: Duration, as_complete: bool },
}

#[derive(Clone, Debug)]
struct Rule {
    /// A whole reference, a digest or `name:tag`; the most exact one counts.
    image: String,
    node: Option<String>,
    /// For so many tasks; `None`: all.
    left: Option<usize>,
    behaviour: Behaviour,
}

/// All scripted images; what is not scripted is good.
#[derive(Debug, Default)]
pub struct Images(Vec<Rule>);

impl Images {
    pub fn set(&mut self, image: &str, node: Option<&str>, times: Option<usize>, behaviour: Behaviour) {
        let node = node.map(str::to_owned);
        self.0.retain(|rule| !(rule.image == image && rule.node == node));
        self.0.push(Rule { image: image.to_owned(), node, left: times, behaviour });
    }

    /// What a new task of this image does on this node. Counts the tasks, once per task, when `takes`.
    pub fn behaviour(&mut self, image: &str, node: Option<&str>, takes: Takes) -> Behaviour {
        let (name, digest) = image.split_once('@').map_or((image, None), |(name, d)| (name, Some(d)));
        for wanted in [Some(image), digest, Some(name)].into_iter().flatten() {
            let fits = |rule: &&mut Rule| {
                rule.image == wanted
                    && rule.left != Some(0)
                    && (rule.node.is_none() || rule.node.as_deref() == node)
            };
            // A rule for one node is more exact than one for all.
            let mut found: Vec<&mut Rule> = self.0.iter_mut().filter(fits).collect();
            found.sort_by_key(|rule| rule.node.is_none());
            if let Some(rule) = found.into_iter().next() {
                if let (Takes::One, Some(left)) = (takes, rule.left.as_mut()) {
                    *left -= 1;
                }
                return rule.behaviour.clone();
            }
        }
        Behaviour::default()
    }
}

/// Whether a look at the script counts as a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    One,
    None,
}
