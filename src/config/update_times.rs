//! How windows, freezes, their time zone, schedules and predecessors are written in variables and labels.

use jiff::tz::TimeZone;

use super::schedule::{self, CronList};
use super::value::{Value, Zone};
use crate::gate::order::{AFTER_EXPECTED, UpdateAfter};
use crate::gate::window::{FREEZES_EXPECTED, UpdateFreezes, UpdateWindows, WINDOWS_EXPECTED};

/// The time zone of windows and schedule.
pub(super) struct KnownZone(pub(super) TimeZone);

impl Value for KnownZone {
    const EXPECTED: &'static str = "a time zone that this machine knows, such as UTC or Europe/Berlin";

    fn parse(text: &str) -> Result<Self, &'static str> {
        Zone::parse(text).map(|zone| Self(zone.0)).map_err(|_| Self::EXPECTED)
    }
}

impl Value for UpdateWindows {
    const EXPECTED: &'static str = WINDOWS_EXPECTED;

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).ok_or(Self::EXPECTED)
    }
}

impl Value for UpdateFreezes {
    const EXPECTED: &'static str = FREEZES_EXPECTED;

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).ok_or(Self::EXPECTED)
    }
}

impl Value for CronList {
    const EXPECTED: &'static str = schedule::EXPECTED;

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text)
    }
}

impl Value for UpdateAfter {
    const EXPECTED: &'static str = AFTER_EXPECTED;

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).ok_or(Self::EXPECTED)
    }
}
