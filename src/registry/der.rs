//! The fields of a certificate that our TLS library does not show: its issuer, and when it is valid. Pure.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, in which a certificate tells its version.
const VERSION: u8 = 0xa0;

/// Fields of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CertificateFields<'a> {
    /// The issuer's name, as it is encoded.
    pub issuer: &'a [u8],
    /// The first second, since 1970.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// Reads a certificate in DER; `None`: it is not a certificate.
pub(super) fn fields(certificate: &[u8]) -> Option<CertificateFields<'_>> {
    let certificate = Element::first(certificate)?.of(SEQUENCE)?;
    let mut signed = Element::first(certificate.content)?.of(SEQUENCE)?.content;
    let mut next = || {
        let element = Element::first(signed)?;
        signed = element.rest;
        Some(element)
    };
    let first = next()?;
    // The serial number follows where there is a version.
    let _serial = if first.tag == VERSION { next()? } else { first };
    let _algorithm = next()?;
    let issuer = next()?.of(SEQUENCE)?;
    let validity = next()?.of(SEQUENCE)?;
    let not_before = Element::first(validity.content)?;
    let not_after = Element::first(not_before.rest)?;
    Some(CertificateFields {
        issuer: issuer.whole,
        not_before: not_before.time()?,
        not_after: not_after.time()?,
    })
}

/// One element of DER, and what follows it.
#[derive(Clone, Copy, Debug)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&tag, after) = bytes.split_first()?;
        let (&length, after) = after.split_first()?;
        let (length, after) = match length {
            0..=0x7f => (usize::from(length), after),
            0x81..=0x84 => {
                let (digits, after) = after.split_at_checked(usize::from(length & 0x7f))?;
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                (length, after)
            }
            _ => return None,
        };
        let (content, rest) = after.split_at_checked(length)?;
        Some(Self { tag, content, whole: &bytes[..bytes.len() - rest.len()], rest })
    }

    fn of(self, tag: u8) -> Option<Self> {
        (self.tag == tag).then_some(self)
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, in seconds since 1970.
    fn time(self) -> Option<i64> {
        let text = std::str::from_utf8(self.content).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match self.tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i16 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
        let time = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_tells_its_issuer_and_its_time() {
        let mut parameters = rcgen::CertificateParams::new(vec!["r.test".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2001, 2, 3);
        parameters.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let fields = fields(certificate.der()).unwrap();
        // `date --date=2001-02-03Z +%s`, `date --date=2050-01-01Z +%s`
        assert_eq!((fields.not_before, fields.not_after), (981_158_400, 2_524_608_000));
        assert_eq!(fields.issuer[0], SEQUENCE);
        assert!(String::from_utf8_lossy(fields.issuer).contains("rcgen self signed cert"));
    }

    #[test]
    fn what_is_cut_short_is_no_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        assert!(fields(certificate.der()).is_some());
        for end in 0..certificate.der().len() {
            assert_eq!(fields(&certificate.der()[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fields(&bytes);
        }
    }
}
