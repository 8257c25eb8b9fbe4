//! All mistakes of a configuration at once.

use std::fmt;

use super::{Config, EngineAddress, LogSettings, Mistake, Notification};
use crate::proxy::Proxies;

/// All mistakes in the environment.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// The mistakes, in the order of the table of variables; never empty.
    pub list: Vec<Mistake>,
    /// Warnings of variables that Gantry does not know, as a misspelt one may be the cause of a mistake.
    pub unknown: Vec<String>,
    /// The settings of the log, with defaults for those that cannot be read.
    pub log: LogSettings,
    /// The settings of the notification, as far as they can be read.
    pub notification: Box<Notification>,
    /// The proxies for the notification.
    pub proxies: Box<Proxies>,
    /// The engine, if its address could be read.
    pub engine: Option<Box<EngineAddress>>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "the configuration has {} mistake{plural}:", self.list.len())?;
        self.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl Mistakes {
    /// Mistakes in files that a configuration names, which is right apart from them.
    pub fn in_files(config: Config, list: Vec<Mistake>) -> Self {
        Self {
            list,
            unknown: Vec::new(),
            log: config.log,
            notification: Box::new(config.notification),
            proxies: Box::new(config.proxies),
            engine: Some(Box::new(config.engine)),
        }
    }

    /// A line for each mistake, and for each variable that Gantry does not know.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(ToString::to_string).chain(self.unknown.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(variables: &[(&str, &str)]) -> Mistakes {
        Config::load(variables.iter().map(|(name, value)| (name.into(), value.into()))).unwrap_err()
    }

    #[test]
    fn a_wrong_name_in_a_list_of_variables_is_named() {
        let variables = [
            ("GANTRY_LABELS_ALLOWED", "services.excluded,update.ordre colour"),
            ("GANTRY_REGISTRY_SERVICES", "web,"),
        ];
        insta::assert_snapshot!(mistakes(&variables), @r#"
        the configuration has 2 mistakes:
          GANTRY_REGISTRY_SERVICES="web,": expected up to 100 names of services or images, separated by commas, with * for any characters; found an empty name; remove the comma beside it
          GANTRY_LABELS_ALLOWED="services.excluded,update.ordre colour": expected all, none, or names of labels such as update.order, separated by white space or commas; update.ordre is not a label of Gantry; did you mean gantry.update.order?; colour is not a label of Gantry; gantry --help lists them all
        "#);
    }

    #[test]
    fn a_misspelt_variable_is_named_beside_a_wrong_value() {
        let variables = [("GANTRY_SLEEP_SECONDS", "soon"), ("GANTRY_UPDATE_WORKERS", "5")];
        insta::assert_snapshot!(mistakes(&variables), @r#"
        the configuration has 1 mistake:
          GANTRY_SLEEP_SECONDS="soon": expected a whole number of seconds from 0 to 999999999
          GANTRY_UPDATE_WORKERS is not a variable of Gantry; did you mean GANTRY_UPDATE_NUM_WORKERS?
        "#);
    }
}
