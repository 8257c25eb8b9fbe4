//! Numbers in Docker's notation: sizes, lengths of time, CPUs, and Go's whole numbers. Pure.

/// Nanoseconds per unit of a length of time, the longer names first.
const TIME_UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The most that the engine can hold: its numbers have a sign.
const MOST: u128 = i64::MAX as u128;

/// Bytes: `512m`, `1.5GiB`, `100 kb`; units are powers of 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let prefix = match unit.strip_suffix("ib").filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => prefix,
        None => unit.strip_suffix('b').unwrap_or(&unit),
    };
    let power = match prefix {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    scaled(number, 1 << (10 * power))
}

/// Nanoseconds: `1m30s`, `500ms`, `1.5h`, `0`.
pub(super) fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total = None;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = Some(total.unwrap_or(0_u64).checked_add(scaled(number, *factor)?)?);
        rest = after;
    }
    total.filter(|&total| u128::from(total) <= MOST)
}

/// Billionths of a CPU: `0.5`, `2`, `1/4`. What needs more than nine decimals is too precise for Docker.
pub(super) fn nano_cpus(text: &str) -> Option<u64> {
    const NANO: u128 = 1_000_000_000;
    if let Some((above, below)) = text.split_once('/') {
        let (above, below) = (whole(above)?, whole(below).filter(|&below| below > 0)?);
        let nano = u128::from(above) * NANO;
        return nano
            .is_multiple_of(u128::from(below))
            .then(|| u64::try_from(nano / u128::from(below)).ok())?;
    }
    let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
    if decimals.trim_end_matches('0').len() > 9 {
        return None;
    }
    scaled(text, NANO)
}

fn whole(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// A decimal number times `factor`, rounded down.
fn scaled(number: &str, factor: u128) -> Option<u64> {
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let integer = if before.is_empty() { 0 } else { whole(before)? };
    // Eighteen decimals are more than any unit has.
    let after = if after.is_empty() { "0" } else { after };
    let decimals =
        whole(&after[..after.len().min(18)]).filter(|_| after.bytes().all(|b| b.is_ascii_digit()))?;
    let places = u32::try_from(after.len().min(18)).ok()?;
    let fraction = u128::from(decimals) * factor / 10_u128.pow(places);
    let total = u128::from(integer).checked_mul(factor)?.checked_add(fraction)?;
    u64::try_from(total).ok().filter(|_| total <= MOST)
}

/// A whole number as Go reads one with base 0: also `0x10`, `0b1`, `0o7` and, as it begins with 0, `010`.
pub(super) fn go_unsigned(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
    is_number.then(|| u64::from_str_radix(digits, radix).ok())?
}

/// The same with a sign.
pub(super) fn go_integer(text: &str) -> Option<i64> {
    let (digits, is_negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let number = i64::try_from(go_unsigned(digits)?).ok()?;
    Some(if is_negative { -number } else { number })
}

/// A truth value as Go reads one.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_that_are_powers_of_1024() {
        for (text, expected) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1 << 10)),
            ("512m", Some(512 << 20)),
            ("512MB", Some(512 << 20)),
            ("512MiB", Some(512 << 20)),
            ("512 mb", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            (".5k", Some(512)),
            ("2T", Some(2 << 40)),
            ("1p", Some(1 << 50)),
            ("8191p", Some(8191 << 50)),
            ("9000p", None),
            ("-1m", None),
            ("m", None),
            ("", None),
            ("12x", None),
            ("12mm", None),
            ("12ib", None),
            ("1  m", None),
            ("1.2.3m", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_numbers_each_with_its_unit() {
        const S: u64 = 1_000_000_000;
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("5s", Some(5 * S)),
            ("1m30s", Some(90 * S)),
            ("1.5h", Some(5400 * S)),
            ("100ms", Some(S / 10)),
            ("3us", Some(3_000)),
            ("3\u{b5}s", Some(3_000)),
            ("1h2m3s4ms5us6ns", Some(3_723_004_005_006)),
            ("+1s", Some(S)),
            ("5", None),
            ("5 s", None),
            ("s", None),
            (".s", None),
            ("", None),
            ("-5s", None),
            ("5d", None),
            ("9999999999h", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn cpus_are_decimals_or_fractions_of_at_most_nine_places() {
        for (text, expected) in [
            ("0.5", Some(500_000_000)),
            ("2", Some(2_000_000_000)),
            ("1/4", Some(250_000_000)),
            ("0.123456789", Some(123_456_789)),
            ("0.1234567890", Some(123_456_789)),
            ("0.1234567891", None),
            ("1/3", None),
            ("1/0", None),
            ("-1", None),
            ("two", None),
            ("", None),
        ] {
            assert_eq!(nano_cpus(text), expected, "{text:?}");
        }
    }

    #[test]
    fn whole_numbers_and_truth_values_are_those_of_go() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("08", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(go_unsigned(text), expected, "{text:?}");
        }
        for (text, expected) in [("-5", Some(-5)), ("+5", Some(5)), ("-0x1F", Some(-31)), ("--5", None)] {
            assert_eq!(go_integer(text), expected, "{text:?}");
        }
        for (text, expected) in [("T", Some(true)), ("0", Some(false)), ("yes", None), ("tRUE", None)] {
            assert_eq!(go_bool(text), expected, "{text:?}");
        }
    }
}
