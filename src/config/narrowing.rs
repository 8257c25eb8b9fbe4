//! What a caller may add to the selection of services for one run. Pure.

use super::value::{Filters, FiltersOrNone, Value, WordList};
use super::{Filter, Mistake};

/// What a caller adds to the selection for one run. It leaves services out, and never adds any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Filters that a service must pass as well.
    pub filters: Vec<Filter>,
    /// Names of services that the run does not look at.
    pub excluded: Vec<String>,
    /// The run does not look at a service that passes all of these; empty: all services are looked at.
    pub excluded_filters: Vec<Filter>,
}

impl Narrowing {
    /// Reads the texts of `GANTRY_SERVICES_FILTERS`, `GANTRY_SERVICES_EXCLUDED` and `GANTRY_SERVICES_EXCLUDED_FILTERS`. The
    /// error has every mistake.
    pub fn parse(filters: &str, excluded: &str, excluded_filters: &str) -> Result<Self, Vec<Mistake>> {
        let filters = Filters::read("GANTRY_SERVICES_FILTERS", filters);
        let excluded = WordList::read("GANTRY_SERVICES_EXCLUDED", excluded);
        let excluded_filters = FiltersOrNone::read("GANTRY_SERVICES_EXCLUDED_FILTERS", excluded_filters);
        match (filters, excluded, excluded_filters) {
            (Ok(filters), Ok(excluded), Ok(excluded_filters)) => {
                Ok(Self { filters: filters.0, excluded: excluded.0, excluded_filters: excluded_filters.0 })
            }
            (filters, excluded, excluded_filters) => {
                Err([filters.err(), excluded.err(), excluded_filters.err()].into_iter().flatten().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_read_as_the_variables_do() {
        let read = Narrowing::parse("name=web label=a=b", " shop  api ", "none").unwrap();
        let filters: Vec<String> = read.filters.iter().map(ToString::to_string).collect();
        assert_eq!(filters, ["name=web", "label=a=b"]);
        assert_eq!((read.excluded, read.excluded_filters), (vec!["shop".into(), "api".into()], Vec::new()));
        assert_eq!(Narrowing::parse("", " ", ""), Ok(Narrowing::default()));
    }

    #[test]
    fn every_mistake_is_told() {
        let mistakes = Narrowing::parse("web", "", "label=").unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("GANTRY_SERVICES_FILTERS=\"web\"") && told[1].contains("EXCLUDED_FILTERS")
        );
    }
}
