//! When updates may begin: weekly windows and freezes, in a time zone. Pure.
//!
//! Windows follow the wall clock. What that means on the days on which clocks are changed:
//!
//! | a time | start of a window | end of a window |
//! |---|---|---|
//! | does not exist (clocks go forward) | the first instant after the gap | the same |
//! | exists twice (clocks go back) | the first one | the second one |
//!
//! A window that starts and ends in the same gap vanishes: it is skipped, and [`NotOpen::skipped`] names it.
//!
//! The days of a window are those on which it begins. Windows that touch or overlap are one: [`MayBegin::Open`] tells the end
//! of the last one.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _, Zoned};

use super::{Gate, Refusal};

mod read;

/// Windows that touch one another for so many days have no end that is worth telling: the pattern is a weekly one.
const ENDLESS_DAYS: i32 = 9;

/// A window that is not found within so many days is none. A weekly one may vanish for one week.
const FAR_DAYS: i32 = 21;

/// Why a list of windows cannot be read.
pub const WINDOWS_EXPECTED: &str = "days and times such as mon-fri 22:00-06:00";

/// Why a list of freezes cannot be read.
pub const FREEZES_EXPECTED: &str = "dates such as 2026-12-20/2027-01-03, separated by white space";

/// A window of each week.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WeeklyWindow {
    /// The days on which it begins, Monday first.
    days: [bool; 7],
    /// Minutes after midnight, less than a day.
    start: i32,
    /// Minutes after the midnight that `start` counts from; more than a day where it ends on the next day.
    end: i32,
}

/// The windows in which updates may begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpdateWindows {
    /// At any time.
    #[default]
    Always,
    /// Each week at these times.
    Weekly(WeeklyWindows),
}

/// Windows of each week, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeeklyWindows {
    /// As a user wrote them.
    text: String,
    windows: Vec<WeeklyWindow>,
}

/// Dates on which no update begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateFreezes {
    /// First and last day, in order of the first days.
    freezes: Vec<(Date, Date)>,
}

/// When the updates of a service may begin.
#[derive(Clone, PartialEq, Eq)]
pub struct UpdateTimes {
    /// The windows.
    pub windows: UpdateWindows,
    /// The freezes, which beat every window.
    pub freezes: UpdateFreezes,
    /// The zone of both.
    pub zone: TimeZone,
}

impl fmt::Debug for UpdateTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} but {} ({})", self.windows, self.freezes, self.zone_name())
    }
}

impl Default for UpdateTimes {
    fn default() -> Self {
        Self { windows: UpdateWindows::default(), freezes: UpdateFreezes::default(), zone: TimeZone::UTC }
    }
}

/// Whether an update may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MayBegin {
    /// It may, until this instant; `None`: no end is in sight.
    Open(Option<Timestamp>),
    /// It may not.
    Closed(NotOpen),
}

/// Why no update may begin, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpen {
    /// The next instant at which an update may begin; `None`: none is in sight.
    pub opens: Option<Timestamp>,
    /// What keeps updates away now.
    pub by: ShutBy,
    /// The start of a window that would be open before, and that vanishes as clocks go forward.
    pub skipped: Option<DateTime>,
    /// The zone in which it is told.
    zone: TimeZone,
    /// Whether the next opening is told with its date, as it may be further away than a week.
    is_dated: bool,
}

/// What keeps updates away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutBy {
    /// No window is open.
    Window,
    /// A freeze; its first and its last day.
    Freeze(Date, Date),
}

impl UpdateTimes {
    /// These windows and freezes in a zone.
    pub fn new(windows: UpdateWindows, freezes: UpdateFreezes, zone: TimeZone) -> Self {
        Self { windows, freezes, zone }
    }

    /// Whether an update may begin at any time, so that nothing has to be asked.
    pub fn is_always(&self) -> bool {
        self.windows == UpdateWindows::Always && self.freezes.freezes.is_empty()
    }

    /// The name of the zone; how it is written where it has none.
    pub fn zone_name(&self) -> String {
        self.zone.iana_name().map_or_else(|| "by TZ".to_owned(), str::to_owned)
    }

    /// Whether an update may begin now.
    pub fn may_begin(&self, now: Timestamp) -> MayBegin {
        self.may_begin_by(now, false)
    }

    /// The same for a user who passes windows. Freezes count.
    pub fn may_begin_at_once(&self, now: Timestamp) -> MayBegin {
        self.may_begin_by(now, true)
    }

    /// Until when an update may begin that begins now; `None`: no end is in sight. The error is why it may not.
    /// `at_once`: a user passes windows.
    pub fn ask(&self, now: Timestamp, at_once: bool) -> Result<Option<Timestamp>, Refusal> {
        if self.is_always() {
            return Ok(None);
        }
        match self.may_begin_by(now, at_once) {
            MayBegin::Open(until) => Ok(until),
            MayBegin::Closed(shut) => {
                Err(Refusal { gate: Gate::Window, why: shut.to_string(), until: shut.opens })
            }
        }
    }

    fn may_begin_by(&self, now: Timestamp, passes_windows: bool) -> MayBegin {
        let always = UpdateWindows::Always;
        let windows = if passes_windows { &always } else { &self.windows };
        let freeze = self.freezes.at(&self.zone, now);
        let mut skipped = None;
        let by = match freeze {
            Some((first, last)) => ShutBy::Freeze(first, last),
            None => match windows.at(&self.zone, now, &mut skipped) {
                WindowState::OpenUntil(until) => {
                    let frozen = self.freezes.next(&self.zone, now);
                    return MayBegin::Open(until.into_iter().chain(frozen).min());
                }
                WindowState::OpensAt(_) => ShutBy::Window,
            },
        };
        let opens = self.opens(windows, now, &mut skipped);
        // Words are the same at each look: what is left of the time does not change them.
        let frozen_before =
            self.freezes.next(&self.zone, now).is_some_and(|frozen| opens.is_none_or(|opens| frozen < opens));
        let is_dated = by != ShutBy::Window || skipped.is_some() || frozen_before;
        MayBegin::Closed(NotOpen { opens, by, skipped, zone: self.zone.clone(), is_dated })
    }

    /// The first instant from now on at which a window is open and no freeze lasts.
    fn opens(
        &self,
        windows: &UpdateWindows,
        now: Timestamp,
        skipped: &mut Option<DateTime>,
    ) -> Option<Timestamp> {
        let mut at = now;
        // Each freeze is passed once: after it comes a window, or a later freeze.
        for _ in 0..=self.freezes.freezes.len() {
            while let Some((_, last)) = self.freezes.at(&self.zone, at) {
                at = first_instant(&self.zone, last.tomorrow().ok()?)?;
            }
            match windows.at(&self.zone, at, skipped) {
                WindowState::OpenUntil(_) => return Some(at),
                WindowState::OpensAt(next) => at = next?,
            }
            if self.freezes.at(&self.zone, at).is_none() {
                return Some(at);
            }
        }
        None
    }
}

/// How windows stand at an instant.
enum WindowState {
    /// One is open until then; `None`: no end is in sight.
    OpenUntil(Option<Timestamp>),
    /// None is open; the next one is then, where one is in sight.
    OpensAt(Option<Timestamp>),
}

impl UpdateWindows {
    /// How windows stand at an instant. `skipped` is filled with a window that would come next and vanishes.
    fn at(&self, zone: &TimeZone, now: Timestamp, skipped: &mut Option<DateTime>) -> WindowState {
        let Self::Weekly(WeeklyWindows { windows, .. }) = self else { return WindowState::OpenUntil(None) };
        if let Some(until) = open_until(windows, zone, now) {
            let endless = now.checked_add((24 * ENDLESS_DAYS).hours()).unwrap_or(Timestamp::MAX);
            return WindowState::OpenUntil(Some(until).filter(|until| *until <= endless));
        }
        let today = zone.to_datetime(now).date();
        let (mut next, mut vanished): (Option<Timestamp>, Option<(Timestamp, DateTime)>) = (None, None);
        for days in -1..=FAR_DAYS {
            let Ok(day) = today.checked_add(days.days()) else { break };
            for window in on(windows, day) {
                match window.span(zone, day) {
                    Some((start, _)) if start > now => next = Some(next.map_or(start, |it| it.min(start))),
                    Some(_) => {}
                    None => vanished = vanished.or_else(|| window.vanishes(zone, day, now)),
                }
            }
            if next.is_some() && days > 1 {
                break;
            }
        }
        if let Some((at, start)) = vanished
            && next.is_none_or(|next| at < next)
        {
            skipped.get_or_insert(start);
        }
        WindowState::OpensAt(next)
    }
}

/// Until when windows are open that are open at an instant, with those that touch them; `None`: none is open.
fn open_until(windows: &[WeeklyWindow], zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let today = zone.to_datetime(now).date();
    let days = (-2..=ENDLESS_DAYS + 1).filter_map(|days| today.checked_add(days.days()).ok());
    let spans = days.flat_map(|day| on(windows, day).filter_map(move |window| window.span(zone, day)));
    let mut spans: Vec<(Timestamp, Timestamp)> = spans.collect();
    spans.sort_unstable();
    spans.into_iter().fold(None, |until, (start, end)| {
        let reach = until.unwrap_or(now);
        if start <= reach && reach < end { Some(end) } else { until }
    })
}

/// The windows that begin on a day.
fn on(windows: &[WeeklyWindow], day: Date) -> impl Iterator<Item = &WeeklyWindow> {
    let index = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
    windows.iter().filter(move |window| window.days[index])
}

impl WeeklyWindow {
    /// Start and end of the window that begins on this day; `None`: it vanishes, or the calendar ends.
    fn span(&self, zone: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
        let start = instant(zone, time_on(day, self.start)?, Which::First)?;
        let end = instant(zone, time_on(day, self.end)?, Which::Last)?;
        (start < end).then_some((start, end))
    }

    /// When the window of this day, which vanishes, would be, and how its start is written. `None`: that is past.
    fn vanishes(&self, zone: &TimeZone, day: Date, now: Timestamp) -> Option<(Timestamp, DateTime)> {
        let start = time_on(day, self.start)?;
        let at = instant(zone, start, Which::First)?;
        (at > now).then_some((at, start))
    }
}

/// The wall clock's time so many minutes after the first midnight of a day.
fn time_on(day: Date, minutes: i32) -> Option<DateTime> {
    day.at(0, 0, 0, 0).checked_add(minutes.minutes()).ok()
}

/// Which of two instants is meant where the wall clock shows a time twice.
#[derive(Clone, Copy)]
enum Which {
    First,
    Last,
}

/// When the wall clock shows this. A time that it leaves out stands for the first instant after the gap.
fn instant(zone: &TimeZone, time: DateTime, which: Which) -> Option<Timestamp> {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(time).ok();
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Fold { before, after } => match which {
            Which::First => at(before),
            Which::Last => at(after),
        },
        AmbiguousOffset::Gap { after, .. } => {
            // With the later offset, the time lies before the change of clocks.
            let before_change = at(after)?;
            zone.following(before_change).next().map(|change| change.timestamp())
        }
    }
}

/// When a date begins.
fn first_instant(zone: &TimeZone, date: Date) -> Option<Timestamp> {
    instant(zone, date.at(0, 0, 0, 0), Which::First)
}

impl UpdateFreezes {
    /// The freeze in effect at an instant. Where several are, that with the latest end.
    fn at(&self, zone: &TimeZone, now: Timestamp) -> Option<(Date, Date)> {
        let today = zone.to_datetime(now).date();
        let lasting = self.freezes.iter().filter(|(first, last)| *first <= today && today <= *last);
        lasting.copied().max_by_key(|(_, last)| *last)
    }

    /// When the next freeze begins.
    fn next(&self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let starts = self.freezes.iter().filter_map(|(first, _)| first_instant(zone, *first));
        starts.filter(|start| *start > now).min()
    }
}

impl fmt::Display for NotOpen {
    /// `waiting for its window (opens Mon 22:00 CEST)`, `frozen until 2027-01-03`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            ShutBy::Window => f.write_str("waiting for its window")?,
            ShutBy::Freeze(_, last) => write!(f, "frozen until {last}")?,
        }
        let skipped = self.skipped.map(|start| {
            format!("the window of {} is left out, as clocks go forward then", start.strftime("%a %F %H:%M"))
        });
        let opens = match (self.opens, self.by) {
            (Some(opens), _) => {
                Some(format!("opens {}", time_words(&opens.to_zoned(self.zone.clone()), self.is_dated)))
            }
            (None, ShutBy::Window) => Some("no opening is in sight".to_owned()),
            (None, ShutBy::Freeze(..)) => None,
        };
        let notes: Vec<String> = opens.into_iter().chain(skipped).collect();
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join("; ")) }
    }
}

/// A time as people write it: `Mon 22:00 CEST`, with or without its date.
pub fn time_words(time: &Zoned, is_dated: bool) -> String {
    time.strftime(if is_dated { "%a %F %H:%M %Z" } else { "%a %H:%M %Z" }).to_string()
}

/// How long it takes from one instant to another, in days, hours and minutes: `3 d 4 h`.
pub fn distance(from: Timestamp, to: Timestamp) -> String {
    let minutes = (to.as_second() - from.as_second()).max(0).div_euclid(60);
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match (days, hours, minutes) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
