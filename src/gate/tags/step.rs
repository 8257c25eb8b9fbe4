//! How large the step from one version to a newer one is. Pure.

/// How large the step from one version to a newer one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagStep {
    /// The last number differs.
    Patch,
    /// A number between the first and the last one differs.
    Minor,
    /// The first number differs.
    Major,
}

impl TagStep {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }
}
