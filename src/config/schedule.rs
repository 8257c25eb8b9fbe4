//! When cycles begin by the clock: cron expressions in a time zone.
//!
//! The library knows the days on which clocks change (docs/decisions/0021); the table below holds it to that.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// More expressions than any schedule needs.
const MOST: usize = 20;

/// Why expressions cannot be read.
pub(super) const EXPECTED: &str = "cron expressions such as 0 3 * * mon-fri, of 5 fields, or of 6 with seconds first, \
         separated by ;";

/// When cycles begin.
#[derive(Clone, Debug)]
pub struct Schedule {
    crons: CronList,
    zone: TimeZone,
}

/// Cron expressions, at least one.
#[derive(Clone, Debug)]
pub(super) struct CronList(Vec<Cron>);

impl CronList {
    /// Reads expressions. The error is what was expected.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let written: Vec<&str> = text.trim().trim_end_matches(';').split(';').take(MOST + 1).collect();
        let crons: Result<Vec<Cron>, _> = written.into_iter().map(|cron| parser.parse(cron)).collect();
        let crons = crons.map_err(|_| EXPECTED)?;
        let comes = |cron: &Cron| {
            let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
            cron.find_next_occurrence(&start, false).is_ok()
        };
        if !crons.iter().all(comes) {
            return Err("cron expressions of times that come, unlike 31 February");
        }
        if crons.len() > MOST { Err(EXPECTED) } else { Ok(Self(crons)) }
    }
}

impl Schedule {
    /// These expressions in a zone.
    pub(super) fn new(crons: CronList, zone: TimeZone) -> Self {
        Self { crons, zone }
    }

    /// The first time after an instant at which a cycle begins; `None`: the calendar has ended.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        let next = |cron: &Cron| Some(cron.find_next_occurrence(&after, false).ok()?.timestamp());
        self.crons.0.iter().filter_map(next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str, zone: &str) -> Schedule {
        let crons = CronList::read(text).unwrap_or_else(|expected| panic!("{text}: expected {expected}"));
        Schedule::new(crons, TimeZone::get(zone).unwrap())
    }

    /// The next times, in the zone's own words.
    fn next(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(text, zone);
        let mut at: Timestamp = after.parse().unwrap();
        let mut told = Vec::new();
        for _ in 0..count {
            at = schedule.next(at).unwrap();
            told.push(at.to_zoned(schedule.zone.clone()).strftime("%F %H:%M:%S%:z").to_string());
        }
        told
    }

    #[test]
    fn a_night_without_its_time_has_a_cycle_all_the_same() {
        let next = |text, zone, after| next(text, zone, after, 2);
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z"),
            ["2026-03-29 03:00:00+02:00", "2026-03-30 02:30:00+02:00"]
        );
        assert_eq!(
            next("30 2 * * *", "America/New_York", "2026-03-07T12:00Z"),
            ["2026-03-08 03:00:00-04:00", "2026-03-09 02:30:00-04:00"]
        );
        assert_eq!(
            next("0 0 * * *", "America/Santiago", "2026-09-05T12:00Z"),
            ["2026-09-06 01:00:00-03:00", "2026-09-07 00:00:00-03:00"],
            "once on the day without a midnight"
        );
        assert_eq!(
            next("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z"),
            ["2026-10-04 02:30:00+11:00", "2026-10-05 02:15:00+11:00"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_has_one_cycle() {
        let next = |text, zone, after| next(text, zone, after, 2);
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z"),
            ["2026-10-25 02:30:00+02:00", "2026-10-26 02:30:00+01:00"]
        );
        assert_eq!(
            next("30 1 * * *", "America/New_York", "2026-10-31T12:00Z"),
            ["2026-11-01 01:30:00-04:00", "2026-11-02 01:30:00-05:00"]
        );
        assert_eq!(
            next("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z"),
            ["2026-04-05 01:45:00+11:00", "2026-04-06 01:45:00+10:30"]
        );
    }

    #[test]
    fn what_comes_each_half_hour_comes_so_in_both_hours() {
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45Z", 5),
            [
                "2026-10-25 02:00:00+02:00",
                "2026-10-25 02:30:00+02:00",
                "2026-10-25 02:00:00+01:00",
                "2026-10-25 02:30:00+01:00",
                "2026-10-25 03:00:00+01:00",
            ]
        );
    }

    #[test]
    fn several_expressions_and_seconds_are_read() {
        assert_eq!(
            next("0 3 * * mon-fri; 30 12 * * sat;", "UTC", "2026-06-05T12:00Z", 2),
            ["2026-06-06 12:30:00+00:00", "2026-06-08 03:00:00+00:00"]
        );
        assert_eq!(
            next("*/20 * * * * *", "UTC", "2026-06-05T12:00:01Z", 2),
            ["2026-06-05 12:00:20+00:00", "2026-06-05 12:00:40+00:00"]
        );
        for wrong in
            ["", ";", "5", "* * * *", "0 0 3 * * * 2027", "61 * * * *", "every night", "0 3 * * *;;0 4 * * *"]
        {
            assert!(CronList::read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(
            CronList::read("0 3 31 2 *").err(),
            Some("cron expressions of times that come, unlike 31 February")
        );
        assert!(CronList::read(&"0 3 * * *;".repeat(21)).is_err());
    }
}
