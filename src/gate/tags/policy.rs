//! Which tags a service accepts: the values of `gantry.update.tags`. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::pattern::{PatternError, TagPattern};

/// Which tags a service accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TagPolicy {
    /// Its own tag alone.
    #[default]
    Same,
    /// Tags of the same family whose numbers are equal but for the last one.
    Patch,
    /// Tags of the same family whose first number is equal.
    Minor,
    /// Every tag of the same family.
    Major,
    /// Tags that match a regular expression, ordered by its groups.
    Pattern(Arc<TagPattern>),
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagPolicyError {
    /// It is no word of a policy.
    #[error("same, patch, minor, major or /REGEX/")]
    Word,
    /// Its regular expression cannot be used.
    #[error("{0}")]
    Pattern(PatternError),
}

impl FromStr for TagPolicy {
    type Err = TagPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(pattern) = text.strip_prefix('/').and_then(|text| text.strip_suffix('/')) {
            let pattern = TagPattern::new(pattern).map_err(TagPolicyError::Pattern)?;
            return Ok(Self::Pattern(Arc::new(pattern)));
        }
        match text.to_ascii_lowercase().as_str() {
            "same" => Ok(Self::Same),
            "patch" => Ok(Self::Patch),
            "minor" => Ok(Self::Minor),
            "major" => Ok(Self::Major),
            _ => Err(TagPolicyError::Word),
        }
    }
}

impl fmt::Display for TagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Pattern(pattern) => return pattern.fmt(f),
        })
    }
}

/// What a service says of the tags that it accepts.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TagRules {
    /// Which tags it accepts.
    pub policy: TagPolicy,
    /// Whether pre-releases are among them.
    pub prereleases: bool,
}

impl TagRules {
    /// Whether other tags than the service's own one matter, so that the registry has to list them.
    pub fn needs_list(&self) -> bool {
        self.policy != TagPolicy::Same
    }
}

impl fmt::Display for TagRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.policy, if self.prereleases { " with pre-releases" } else { "" })
    }
}

impl fmt::Debug for TagRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
