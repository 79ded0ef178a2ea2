//! Strict DER (X.690 §10), just enough for certificates, CMS, OCSP and CRLs: a reader that borrows and never copies,
//! and a writer that cannot fail.

use std::time::Duration;

use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Encode};
use truc_model::Timestamp;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag of `[n]` with content that is itself elements.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// The tag of `[n]` over a primitive value.
pub(crate) const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

/// Input that is not the strict DER that was expected; the text names the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) type Read<T> = Result<T, Malformed>;

/// One element: tag, content, and the two together as they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    pub(crate) raw: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The one element that `bytes` are, with the given tag and nothing after it.
    pub(crate) fn only(bytes: &'a [u8], tag: u8, what: &'static str) -> Read<Self> {
        let mut reader = Reader::new(bytes);
        let tlv = reader.take(tag, what)?;
        reader.end(what)?;
        Ok(tlv)
    }

    /// The elements inside.
    pub(crate) fn open(self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

/// Reads elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, what: &'static str) -> Read<Tlv<'a>> {
        let (tag, length, header) = header(self.0).ok_or(Malformed(what))?;
        let end = header.checked_add(length).ok_or(Malformed(what))?;
        let raw = self.0.get(..end).ok_or(Malformed(what))?;
        self.0 = &self.0[end..];
        Ok(Tlv { tag, value: &raw[header..], raw })
    }

    /// The next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8, what: &'static str) -> Read<Tlv<'a>> {
        let tlv = self.any(what)?;
        if tlv.tag == tag { Ok(tlv) } else { Err(Malformed(what)) }
    }

    /// The next element if it has this tag.
    pub(crate) fn take_if(&mut self, tag: u8, what: &'static str) -> Read<Option<Tlv<'a>>> {
        if self.0.first() == Some(&tag) { self.any(what).map(Some) } else { Ok(None) }
    }

    /// Opens the SEQUENCE that comes next.
    pub(crate) fn sequence(&mut self, what: &'static str) -> Read<Self> {
        Ok(self.take(SEQUENCE, what)?.open())
    }

    /// Opens `[n] EXPLICIT` around exactly one element of this tag, if it comes next.
    pub(crate) fn explicit(&mut self, n: u8, tag: u8, what: &'static str) -> Read<Option<Tlv<'a>>> {
        match self.take_if(context(n), what)? {
            None => Ok(None),
            Some(outer) => Tlv::only(outer.value, tag, what).map(Some),
        }
    }

    /// Content octets of an INTEGER in its shortest form.
    pub(crate) fn integer(&mut self, what: &'static str) -> Read<&'a [u8]> {
        match self.take(INTEGER, what)?.value {
            [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Malformed(what)),
            value => Ok(value),
        }
    }

    /// An INTEGER from 0 to 127, as versions are.
    pub(crate) fn small(&mut self, what: &'static str) -> Read<u8> {
        match self.integer(what)? {
            [value @ 0..=0x7f] => Ok(*value),
            _ => Err(Malformed(what)),
        }
    }

    pub(crate) fn oid(&mut self, what: &'static str) -> Read<ObjectIdentifier> {
        ObjectIdentifier::from_bytes(self.take(OID, what)?.value).map_err(|_| Malformed(what))
    }

    pub(crate) fn octets(&mut self, what: &'static str) -> Read<&'a [u8]> {
        Ok(self.take(OCTET_STRING, what)?.value)
    }

    /// A BIT STRING of whole octets.
    pub(crate) fn bits(&mut self, what: &'static str) -> Read<&'a [u8]> {
        match self.take(BIT_STRING, what)?.value {
            [0, rest @ ..] => Ok(rest),
            _ => Err(Malformed(what)),
        }
    }

    /// A UTCTime or GeneralizedTime in whole seconds, `Z` (RFC 5280 §4.1.2.5).
    pub(crate) fn time(&mut self, what: &'static str) -> Read<Timestamp> {
        let tlv = self.any(what)?;
        read_time(tlv).ok_or(Malformed(what))
    }

    /// Nothing may be left.
    pub(crate) fn end(self, what: &'static str) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }
}

/// The time an element holds, if it is one.
pub(crate) fn read_time(tlv: Tlv<'_>) -> Option<Timestamp> {
    let since_epoch = match tlv.tag {
        UTC_TIME => UtcTime::from_der(tlv.raw).ok()?.to_unix_duration(),
        GENERALIZED_TIME => GeneralizedTime::from_der(tlv.raw).ok()?.to_unix_duration(),
        _ => return None,
    };
    Some(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?))
}

/// Tag, content length and header length; refuses long tags, indefinite and non-minimal lengths.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    if first < 0x80 {
        return Some((tag, usize::from(first), 2));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let octets = rest.get(..count)?;
    let length = octets.iter().fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
    let minimal = length >= 0x80 && octets.first() != Some(&0);
    minimal.then_some((tag, length, 2 + count))
}

/// Writes one element around `parts`, one after the other.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if let (true, Ok(short)) = (length < 0x80, u8::try_from(length)) {
        out.push(short);
    } else {
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        out.push(0x80 | u8::try_from(octets.len() - skip).unwrap_or(8));
        out.extend_from_slice(&octets[skip..]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

/// A SET OF in DER order (X.690 §11.6).
pub(crate) fn set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    tlv(SET, &parts)
}

pub(crate) fn oid(id: ObjectIdentifier) -> Vec<u8> {
    tlv(OID, &[id.as_bytes()])
}

/// A GeneralizedTime in whole seconds.
pub(crate) fn generalized_time(at: Timestamp) -> Vec<u8> {
    // No `Timestamp` lies outside the years a GeneralizedTime can write.
    GeneralizedTime::from_unix_duration(since_epoch(at)).and_then(|time| time.to_der()).unwrap_or_default()
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5652 §11.3).
pub(crate) fn time(at: Timestamp) -> Vec<u8> {
    UtcTime::from_unix_duration(since_epoch(at))
        .and_then(|time| time.to_der())
        .unwrap_or_else(|_| generalized_time(at))
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.seconds()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_form() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let written = tlv(OCTET_STRING, &[&content]);
            assert_eq!(Tlv::only(&written, OCTET_STRING, "test").unwrap().value, content);
        }
        for bad in [
            &[0x04, 0x81, 0x01, 0x00][..],
            &[0x04, 0x80, 0, 0],
            &[0x04, 0x82, 0, 0x80],
            &[0x04, 2, 0],
            &[0x04],
            &[0x1f, 1, 0],
            &[],
        ] {
            assert!(Reader::new(bad).any("test").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_cross_the_year_2050() {
        for (text, tag) in
            [("2049-12-31T23:59:59.000Z", UTC_TIME), ("2050-01-01T00:00:00.000Z", GENERALIZED_TIME)]
        {
            let at: Timestamp = text.parse().unwrap();
            let written = time(at);
            assert_eq!(written[0], tag);
            assert_eq!(Reader::new(&written).time("test").unwrap(), at);
        }
    }
}
