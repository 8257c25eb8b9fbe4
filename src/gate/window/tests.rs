//! Tables of windows and freezes on days on which clocks change, and what holds at any instant.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

fn times(zone: &str, windows: &str, freezes: &str) -> UpdateTimes {
    UpdateTimes {
        windows: UpdateWindows::read(windows).unwrap_or_else(|| panic!("{windows}")),
        freezes: UpdateFreezes::read(freezes).unwrap_or_else(|| panic!("{freezes}")),
        zone: TimeZone::get(zone).unwrap(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `open UNTIL` or `shut OPENS`, with the zone's wall clock and offset.
fn told(times: &UpdateTimes, now: &str) -> String {
    let wall = |at: Option<Timestamp>| {
        at.map_or("never".to_owned(), |at| {
            at.to_zoned(times.zone.clone()).strftime("%a %F %H:%M%:z").to_string()
        })
    };
    match times.may_begin(at(now)) {
        MayBegin::Open(until) => format!("open {}", wall(until)),
        MayBegin::Closed(shut) => format!("shut {}", wall(shut.opens)),
    }
}

fn check(zone: &str, windows: &str, table: &[(&str, &str)]) {
    let times = times(zone, windows, "");
    for (now, expected) in table {
        assert_eq!(told(&times, now), *expected, "{windows} in {zone} at {now}");
    }
}

#[test]
fn the_day_of_a_window_is_the_day_on_which_it_begins() {
    // The trap of others: they ask for the day of now, so that Saturday 01:00 is shut, and Monday 01:00 open.
    check(
        "Europe/Berlin",
        "mon-fri 21:00-05:00",
        &[
            ("2026-06-05T21:00+02:00", "open Sat 2026-06-06 05:00+02:00"),
            ("2026-06-06T01:00+02:00", "open Sat 2026-06-06 05:00+02:00"),
            ("2026-06-06T05:00+02:00", "shut Mon 2026-06-08 21:00+02:00"),
            ("2026-06-08T01:00+02:00", "shut Mon 2026-06-08 21:00+02:00"),
            ("2026-06-08T20:59:59+02:00", "shut Mon 2026-06-08 21:00+02:00"),
            ("2026-06-09T00:00+02:00", "open Tue 2026-06-09 05:00+02:00"),
        ],
    );
}

#[test]
fn windows_that_touch_are_one() {
    check(
        "UTC",
        "mon-fri 22:00-06:00; sat,sun 00:00-24:00",
        &[
            ("2026-06-05T23:00Z", "open Mon 2026-06-08 00:00+00:00"),
            ("2026-06-08T00:00Z", "shut Mon 2026-06-08 22:00+00:00"),
        ],
    );
    check("UTC", "daily 00:00-24:00", &[("2026-06-05T23:00Z", "open never")]);
    check("UTC", "daily 12:00-12:00", &[("2026-06-05T12:00Z", "open never")]);
    check(
        "UTC",
        "sun 12:00-12:00",
        &[
            ("2026-06-08T11:59Z", "open Mon 2026-06-08 12:00+00:00"),
            ("2026-06-08T12:00Z", "shut Sun 2026-06-14 12:00+00:00"),
        ],
    );
    check("UTC", "always", &[("2026-06-05T23:00Z", "open never")]);
}

#[test]
fn berlin_keeps_to_the_wall_clock_on_both_days() {
    check(
        "Europe/Berlin",
        "sat 22:00-06:00",
        &[
            ("2026-03-28T21:30Z", "open Sun 2026-03-29 06:00+02:00"),
            ("2026-10-24T20:30Z", "open Sun 2026-10-25 06:00+01:00"),
        ],
    );
    check(
        "Europe/Berlin",
        "daily 02:30-04:00",
        &[
            // 02:30 does not exist: the first instant after the gap.
            ("2026-03-29T00:59:59Z", "shut Sun 2026-03-29 03:00+02:00"),
            ("2026-03-29T01:00Z", "open Sun 2026-03-29 04:00+02:00"),
            // 02:30 exists twice: the first one starts.
            ("2026-10-25T00:29Z", "shut Sun 2026-10-25 02:30+02:00"),
            ("2026-10-25T00:30Z", "open Sun 2026-10-25 04:00+01:00"),
            ("2026-10-25T01:15Z", "open Sun 2026-10-25 04:00+01:00"),
        ],
    );
    check(
        "Europe/Berlin",
        "daily 01:00-02:30",
        &[
            ("2026-03-29T00:30Z", "open Sun 2026-03-29 03:00+02:00"),
            // 02:30 exists twice: the second one ends.
            ("2026-10-25T00:45Z", "open Sun 2026-10-25 02:30+01:00"),
            ("2026-10-25T01:29:59Z", "open Sun 2026-10-25 02:30+01:00"),
            ("2026-10-25T01:30Z", "shut Mon 2026-10-26 01:00+01:00"),
        ],
    );
}

#[test]
fn a_window_within_a_gap_vanishes_and_is_named() {
    let berlin = times("Europe/Berlin", "sun 02:00-03:00", "");
    assert_eq!(told(&berlin, "2026-03-28T12:00Z"), "shut Sun 2026-04-05 02:00+02:00");
    let words = |now: &str| match berlin.may_begin(at(now)) {
        MayBegin::Closed(shut) => shut.to_string(),
        MayBegin::Open(_) => unreachable!("{now}"),
    };
    assert_eq!(
        words("2026-03-28T12:00Z"),
        "waiting for its window (opens Sun 2026-04-05 02:00 CEST; the window of Sun 2026-03-29 02:00 is left out, as \
         clocks go forward then)"
    );
    assert_eq!(words("2026-03-29T12:00Z"), "waiting for its window (opens Sun 02:00 CEST)", "that is past");
    assert_eq!(
        words("2026-03-21T12:00Z"),
        "waiting for its window (opens Sun 02:00 CET)",
        "another comes first"
    );
}

#[test]
fn new_york_keeps_to_the_wall_clock_on_both_days() {
    check(
        "America/New_York",
        "sun 01:30-02:30",
        &[
            ("2026-03-08T06:29Z", "shut Sun 2026-03-08 01:30-05:00"),
            ("2026-03-08T06:30Z", "open Sun 2026-03-08 03:00-04:00"),
            ("2026-03-08T07:00Z", "shut Sun 2026-03-15 01:30-04:00"),
            ("2026-11-01T05:29Z", "shut Sun 2026-11-01 01:30-04:00"),
            ("2026-11-01T06:45Z", "open Sun 2026-11-01 02:30-05:00"),
        ],
    );
}

#[test]
fn santiago_loses_a_midnight_and_shows_an_hour_twice() {
    check(
        "America/Santiago",
        "daily 00:00-02:00",
        &[
            // The clock goes from 23:59 on Saturday to 01:00 on Sunday.
            ("2026-09-06T03:59Z", "shut Sun 2026-09-06 01:00-03:00"),
            ("2026-09-06T04:00Z", "open Sun 2026-09-06 02:00-03:00"),
        ],
    );
    check(
        "America/Santiago",
        "sat 00:00-24:00",
        &[
            ("2026-09-05T12:00Z", "open Sun 2026-09-06 01:00-03:00"),
            // In April, 23:00 to 24:00 of Saturday is there twice.
            ("2026-04-05T02:30Z", "open Sun 2026-04-05 00:00-04:00"),
            ("2026-04-05T03:30Z", "open Sun 2026-04-05 00:00-04:00"),
            ("2026-04-05T04:00Z", "shut Sat 2026-04-11 00:00-04:00"),
        ],
    );
    let frozen = times("America/Santiago", "always", "2026-09-05");
    assert_eq!(told(&frozen, "2026-09-05T12:00Z"), "shut Sun 2026-09-06 01:00-03:00");
    let frozen = times("America/Santiago", "always", "2026-09-06");
    assert_eq!(told(&frozen, "2026-09-05T12:00Z"), "open Sun 2026-09-06 01:00-03:00");
}

#[test]
fn havana_has_a_midnight_twice_and_a_freeze_ends_with_its_day() {
    let frozen = times("America/Havana", "always", "2026-10-31");
    assert_eq!(told(&frozen, "2026-10-31T12:00Z"), "shut Sun 2026-11-01 00:00-04:00");
    check("America/Havana", "sat 22:00-24:00", &[("2026-11-01T03:00Z", "open Sun 2026-11-01 00:00-05:00")]);
}

#[test]
fn lord_howe_changes_its_clocks_by_half_an_hour() {
    check(
        "Australia/Lord_Howe",
        "sun 02:10-03:00",
        &[
            ("2026-10-03T15:29Z", "shut Sun 2026-10-04 02:30+11:00"),
            ("2026-10-03T15:30Z", "open Sun 2026-10-04 03:00+11:00"),
        ],
    );
    check(
        "Australia/Lord_Howe",
        "sun 01:00-01:45",
        &[
            ("2026-04-04T14:10Z", "open Sun 2026-04-05 01:45+10:30"),
            ("2026-04-04T15:10Z", "open Sun 2026-04-05 01:45+10:30"),
            ("2026-04-04T15:15Z", "shut Sun 2026-04-12 01:00+10:30"),
        ],
    );
    check(
        "Australia/Lord_Howe",
        "sun 02:00-02:30",
        &[("2026-10-03T12:00Z", "shut Sun 2026-10-11 02:00+11:00")],
    );
}

#[test]
fn a_freeze_beats_every_window() {
    let times = times(
        "Europe/Berlin",
        "mon-fri 22:00-06:00",
        "2026-12-20/2027-01-03 2026-11-27 2026-12-30/2027-01-05",
    );
    for (now, expected) in [
        ("2026-11-26T22:30+01:00", "open Fri 2026-11-27 00:00+01:00"),
        ("2026-11-27T00:00+01:00", "shut Sat 2026-11-28 00:00+01:00"),
        ("2026-11-28T00:00+01:00", "open Sat 2026-11-28 06:00+01:00"),
        ("2026-12-19T12:00+01:00", "shut Wed 2027-01-06 00:00+01:00"),
        ("2027-01-05T23:59:59+01:00", "shut Wed 2027-01-06 00:00+01:00"),
        ("2027-01-06T00:00+01:00", "open Wed 2027-01-06 06:00+01:00"),
    ] {
        assert_eq!(told(&times, now), expected, "{now}");
    }
    let words = |now: &str| match times.may_begin(at(now)) {
        MayBegin::Closed(shut) => shut.to_string(),
        MayBegin::Open(_) => unreachable!("{now}"),
    };
    assert_eq!(words("2026-12-21T12:00Z"), "frozen until 2027-01-03 (opens Wed 2027-01-06 00:00 CET)");
    assert_eq!(words("2026-12-19T12:00Z"), "waiting for its window (opens Wed 2027-01-06 00:00 CET)");
    assert_eq!(words("2026-06-05T12:00Z"), "waiting for its window (opens Fri 22:00 CEST)");
    let for_ever = self::times("UTC", "always", "2026-01-01/9999-12-31");
    assert_eq!(told(&for_ever, "2026-06-05T23:00Z"), "shut never");
    let before = self::times("UTC", "mon 22:00-23:00", "2026-06-08/9999-12-31");
    let MayBegin::Closed(closed) = before.may_begin(at("2026-06-05T23:00Z")) else { unreachable!() };
    assert_eq!(closed.to_string(), "waiting for its window (no opening is in sight)");
}

#[test]
fn a_user_passes_windows_and_no_freeze() {
    let times = times("UTC", "mon 22:00-23:00", "2026-06-07");
    assert_eq!(
        times.may_begin_at_once(at("2026-06-05T12:00Z")),
        MayBegin::Open(Some(at("2026-06-07T00:00Z")))
    );
    assert!(matches!(times.may_begin_at_once(at("2026-06-07T12:00Z")), MayBegin::Closed(_)));
}

#[test]
fn windows_and_freezes_are_read_strictly() {
    for wrong in [
        "0 2-6 * * *",
        "",
        ";",
        "mon",
        "mon-fri",
        "22:00-06:00",
        "monday 22:00-06:00",
        "mon 22-06",
        "mon 22:00-06:0",
        "mon 24:00-06:00",
        "mon 22:00-24:01",
        "mon 22:60-23:00",
        "mon 22:00-06:00 UTC",
        "mon,,tue 22:00-06:00",
        "mon 22:00-06:00;; tue 22:00-06:00",
        "mon -1:00-06:00",
        "mon +1:00-06:00",
        "daily,mon 1:00-2:00",
        "mon 22:00",
        "always; mon 22:00-23:00",
        "mon\u{a0}22:00",
    ] {
        assert_eq!(UpdateWindows::read(wrong), None, "{wrong:?}");
    }
    for right in [
        "Mon-Fri 22:00-06:00;",
        " sat,sun  0:00-24:00 ",
        "daily 1:30-1:30",
        "fri-mon,wed 22:00-23:00",
        "ALWAYS",
    ] {
        assert!(UpdateWindows::read(right).is_some(), "{right:?}");
    }
    assert_eq!(UpdateWindows::read("Mon 22:00-23:00").unwrap().to_string(), "mon 22:00-23:00");
    assert_eq!(UpdateWindows::read(&"mon 22:00-23:00;".repeat(31)), None, "more than any service needs");
    check(
        "UTC",
        "fri-mon,wed 22:00-23:00",
        &[
            ("2026-06-08T23:00Z", "shut Wed 2026-06-10 22:00+00:00"),
            ("2026-06-10T23:00Z", "shut Fri 2026-06-12 22:00+00:00"),
        ],
    );
    for wrong in [
        "christmas",
        "2026-12",
        "2026-12-24/",
        "2026-12-24/2026-12-23",
        "20261224",
        "2026-02-30",
        "2026-12-24,2026-12-25",
    ] {
        assert_eq!(UpdateFreezes::read(wrong), None, "{wrong:?}");
    }
    assert_eq!(UpdateFreezes::read("None"), Some(UpdateFreezes::default()));
    let freezes = UpdateFreezes::read("2026-12-24/2026-12-26 2026-11-27").unwrap();
    assert_eq!(freezes.to_string(), "2026-11-27 2026-12-24/2026-12-26");
    assert_eq!(UpdateFreezes::read(&"2026-12-24 ".repeat(31)), None);
}

#[test]
fn a_distance_is_told_in_two_units() {
    for (seconds, words) in
        [(-5, "0 min"), (59, "0 min"), (3_540, "59 min"), (11_100, "3 h 5 min"), (273_600, "3 d 4 h")]
    {
        let to = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        assert_eq!(distance(Timestamp::UNIX_EPOCH, to), words);
    }
}

fn any_times() -> impl Strategy<Value = UpdateTimes> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Santiago",
        "Australia/Lord_Howe",
        "America/Havana",
    ];
    let days = prop::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..7);
    let window = (days, 0..24, 0..60, 0..24, 0..60)
        .prop_map(|(days, h, m, to_h, to_m)| format!("{} {h:02}:{m:02}-{to_h:02}:{to_m:02}", days.join(",")));
    let windows = prop::collection::vec(window, 1..4).prop_map(|windows| windows.join("; "));
    let freeze = (1_i8..=12, 1_i8..=28, 0_i32..20).prop_map(|(month, day, days)| {
        let first = jiff::civil::date(2026, month, day);
        format!("{first}/{}", first.checked_add(days.days()).unwrap())
    });
    let freezes = prop::collection::vec(freeze, 0..4).prop_map(|freezes| freezes.join(" "));
    (prop::sample::select(zones.to_vec()), windows, freezes)
        .prop_map(|(zone, windows, freezes)| times(zone, &windows, &freezes))
}

/// Whether the wall clock says that an update may begin, on a day on which clocks stay: days and minutes alone.
fn by_the_wall_clock(times: &UpdateTimes, now: Timestamp) -> bool {
    let wall = now.to_zoned(times.zone.clone()).datetime();
    let UpdateWindows::Weekly(WeeklyWindows { windows, .. }) = &times.windows else { return true };
    let minute = i32::from(wall.hour()) * 60 + i32::from(wall.minute());
    let day = |date: Date| usize::try_from(date.weekday().to_monday_zero_offset()).unwrap();
    let is_frozen =
        times.freezes.freezes.iter().any(|(first, last)| *first <= wall.date() && wall.date() <= *last);
    let is_in = windows.iter().any(|window| {
        let today = window.days[day(wall.date())] && (window.start..window.end).contains(&minute);
        let yesterday = window.days[day(wall.date().yesterday().unwrap())]
            && (window.start..window.end).contains(&(minute + 1_440));
        today || yesterday
    });
    is_in && !is_frozen
}

proptest! {
    /// Whatever the windows, and whatever the instant.
    #[test]
    fn each_instant_is_open_or_shut_until_a_later_one(times in any_times(), second in 1_767_225_600_i64..1_798_761_600) {
        let now = Timestamp::from_second(second).unwrap();
        let a_second = SignedDuration::from_secs(1);
        match times.may_begin(now) {
            MayBegin::Open(until) => {
                if let Some(until) = until {
                    prop_assert!(until > now, "{until} after {now}");
                    let at_end = times.may_begin(until);
                    prop_assert!(matches!(at_end, MayBegin::Closed(_)), "touching windows are one: {at_end:?}");
                    let last = times.may_begin(until - a_second);
                    prop_assert_eq!(last, MayBegin::Open(Some(until)), "the end is the same up to itself");
                }
            }
            MayBegin::Closed(shut) => {
                let opens = shut.opens.unwrap();
                prop_assert!(opens > now, "{opens} after {now}");
                prop_assert!(matches!(times.may_begin(opens), MayBegin::Open(_)));
                let MayBegin::Closed(before) = times.may_begin(opens - a_second) else {
                    return Err(TestCaseError::fail("it is shut right before it opens"));
                };
                prop_assert_eq!(before.opens, Some(opens));
            }
        }
    }

    /// Where clocks stay from two days before to two days after, days and minutes say the same.
    #[test]
    fn on_other_days_the_wall_clock_decides(times in any_times(), second in 1_767_225_600_i64..1_798_761_600) {
        let now = Timestamp::from_second(second).unwrap();
        let offset = |hours| times.zone.to_offset(now + SignedDuration::from_hours(hours));
        prop_assume!(offset(-48) == offset(48));
        let is_open = matches!(times.may_begin(now), MayBegin::Open(_));
        prop_assert_eq!(is_open, by_the_wall_clock(&times, now));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,40}|[a-z,;:0-9 /-]{0,60}") {
        let _ = UpdateWindows::read(&text);
        let _ = UpdateFreezes::read(&text);
    }
}
