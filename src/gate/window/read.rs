//! How users write windows and freezes. Pure.

use std::fmt;

use jiff::civil::Date;

use super::{UpdateFreezes, UpdateWindows, WeeklyWindow, WeeklyWindows};

/// More windows, or freezes, than any service needs: each is looked at for each update.
const MOST: usize = 30;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes of a day.
const DAY: i32 = 24 * 60;

impl UpdateWindows {
    /// Reads `mon-fri 22:00-06:00; sat,sun 00:00-24:00`, or `always`. `None`: it cannot be read.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "always" {
            return Some(Self::Always);
        }
        let written: Vec<&str> = text.trim_end_matches(';').split(';').collect();
        if written.len() > MOST {
            return None;
        }
        let windows: Option<Vec<WeeklyWindow>> = written.into_iter().map(WeeklyWindow::read).collect();
        Some(Self::Weekly(WeeklyWindows { windows: windows?, text }))
    }
}

impl fmt::Display for UpdateWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Weekly(weekly) => &weekly.text,
        })
    }
}

impl WeeklyWindow {
    /// Reads `mon-fri 22:00-06:00`. An end at or before the start is on the next day.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (days, times) = (words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let (start, end) = times.split_once('-')?;
        let (start, end) = (minutes(start)?, minutes(end)?);
        if start == DAY {
            return None;
        }
        let end = if end <= start { end + DAY } else { end };
        Some(Self { days: read_days(days)?, start, end })
    }
}

/// Reads `daily`, `sat,sun`, `mon-fri`, `fri-mon,wed`.
fn read_days(text: &str) -> Option<[bool; 7]> {
    if text == "daily" {
        return Some([true; 7]);
    }
    let index = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (index(first)?, index(last)?);
        days[day] = true;
        while day != last {
            day = (day + 1) % days.len();
            days[day] = true;
        }
    }
    Some(days)
}

/// Reads `22:00` as minutes after midnight, up to `24:00`.
fn minutes(text: &str) -> Option<i32> {
    let (hours, minutes) = text.split_once(':')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(hours.len(), 1 | 2) || minutes.len() != 2 || !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60).then_some(hours * 60 + minutes).filter(|minutes| *minutes <= DAY)
}

impl UpdateFreezes {
    /// Reads `2026-12-20/2027-01-03 2026-11-27`: dates, or first and last dates, separated by white space. `none` stands for
    /// no freeze. `None`: it cannot be read.
    pub fn read(text: &str) -> Option<Self> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Some(Self::default());
        }
        let words: Vec<&str> = text.split_whitespace().take(MOST + 1).collect();
        let freezes: Option<Vec<(Date, Date)>> = words.iter().map(|word| freeze(word)).collect();
        let mut freezes = freezes.filter(|freezes| freezes.len() <= MOST)?;
        freezes.sort_unstable();
        Some(Self { freezes })
    }
}

impl fmt::Display for UpdateFreezes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.freezes.is_empty() {
            return f.write_str("none");
        }
        for (index, (first, last)) in self.freezes.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}/{last}")?;
            }
        }
        Ok(())
    }
}

/// Reads a date, or a first and a last date.
fn freeze(text: &str) -> Option<(Date, Date)> {
    let (first, last) = text.split_once('/').unwrap_or((text, text));
    let (first, last) = (date(first)?, date(last)?);
    (first <= last).then_some((first, last))
}

/// Reads `2026-12-20`, and no other form.
fn date(text: &str) -> Option<Date> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_plain.then(|| text.parse().ok()).flatten()
}
