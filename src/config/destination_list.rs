//! The value of `GANTRY_NOTIFICATION_URL`. Pure.

use super::value::Value;
use super::{Destination, Mistake};

/// Addresses that messages go to.
pub(super) struct DestinationList(pub(super) Vec<Destination>);

impl Value for DestinationList {
    const EXPECTED: &'static str = "addresses that begin with https://, http://, slack+https://, discord+https://, \
                                    teams+https://, ntfy+https://, gotify+https://, smtp:// or smtps://, separated by white \
                                    space";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (found, mistakes) = Destination::read_all(text);
        if mistakes.is_empty() { Ok(Self(found)) } else { Err(Self::EXPECTED) }
    }

    fn read(name: &str, text: &str) -> Result<Self, Mistake> {
        let (found, mistakes) = Destination::read_all(text);
        if mistakes.is_empty() {
            return Ok(Self(found));
        }
        Err(Mistake::secret(name, format!("{}; {}", Self::EXPECTED, mistakes.join("; "))))
    }
}
