//! Until when a certificate is valid, read out of its DER (RFC 5280, 4.1) as far as that; and when to warn.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last moment.
    pub until: Timestamp,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a certificate in DER; nothing where it is not one.
pub fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (signed, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = expect(rest, INTEGER)?;
    let (_algorithm, rest) = expect(rest, SEQUENCE)?;
    let (_issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some(Validity { from, until })
}

/// The content of an element of this kind, and what comes after it.
fn expect(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == kind).then_some((content, rest))
}

fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // More than four bytes of length would be more than any file here has.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((kind, content, rest))
}

/// `YYMMDDHHMMSSZ` (until 2049) or `YYYYMMDDHHMMSSZ`, the only forms that RFC 5280 allows.
fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (kind, content, rest) = element(der)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = match (kind, text.len()) {
        (UTC_TIME, 12) if text < "50" => format!("20{text}"),
        (UTC_TIME, 12) => format!("19{text}"),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    let moment = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((moment.timestamp(), rest))
}

/// How urgent a certificate's renewal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// More than 30 days are left.
    None,
    /// At most 30 days are left.
    Month,
    /// At most 7 days are left.
    Week,
    /// At most one day is left.
    Day,
    /// It is valid no more.
    Expired,
}

impl Urgency {
    /// The urgency at a moment.
    pub fn at(now: Timestamp, until: Timestamp) -> Self {
        let left = until.duration_since(now);
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        match left {
            left if left < SignedDuration::ZERO => Self::Expired,
            left if left <= days(1) => Self::Day,
            left if left <= days(7) => Self::Week,
            left if left <= days(30) => Self::Month,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(until_year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 2, 29);
        params.not_after = date_time_ymd(until_year, 12, 31);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_validity_is_read_in_both_forms_of_time() {
        for year in [2049, 2050, 2999] {
            let validity = validity(&certificate(year)).unwrap();
            assert_eq!(validity.from, "2020-02-29T00:00:00Z".parse().unwrap());
            assert_eq!(validity.until, format!("{year}-12-31T00:00:00Z").parse().unwrap());
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let der = certificate(2030);
        for end in 0..der.len() {
            assert_eq!(validity(&der[..end]), None, "cut at {end}");
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }

    #[test]
    fn urgency_grows_as_the_end_comes_near() {
        let until: Timestamp = "2026-03-31T00:00:00Z".parse().unwrap();
        for (now, urgency) in [
            ("2026-02-28T23:59:59Z", Urgency::None),
            ("2026-03-01T00:00:00Z", Urgency::Month),
            ("2026-03-24T00:00:00Z", Urgency::Week),
            ("2026-03-30T00:00:00Z", Urgency::Day),
            ("2026-03-31T00:00:00Z", Urgency::Day),
            ("2026-03-31T00:00:01Z", Urgency::Expired),
        ] {
            assert_eq!(Urgency::at(now.parse().unwrap(), until), urgency, "{now}");
        }
    }
}
