//! Distinguished names (RFC 5280 §4.1.2.4) as text.

use std::fmt::Write as _;

use der::asn1::ObjectIdentifier;

use crate::asn1::{Malformed, Read, Reader, SEQUENCE, SET, Tlv};

/// A part of a subject name by which certification authorities tell whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectAttribute {
    /// commonName, CN (2.5.4.3).
    CommonName,
    /// organizationName, O (2.5.4.10).
    Organization,
    /// serialNumber (2.5.4.5): of the subject, not of the certificate.
    SerialNumber,
    /// organizationIdentifier (2.5.4.97, ETSI EN 319 412-1).
    OrganizationIdentifier,
    /// countryName, C (2.5.4.6).
    Country,
    /// userId, UID (RFC 4519 §2.39), in which Vietnamese CAs put typed numbers like `MST:9901000019`.
    UserId,
}

impl SubjectAttribute {
    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::CommonName => ObjectIdentifier::new_unwrap("2.5.4.3"),
            Self::Organization => ObjectIdentifier::new_unwrap("2.5.4.10"),
            Self::SerialNumber => ObjectIdentifier::new_unwrap("2.5.4.5"),
            Self::OrganizationIdentifier => ObjectIdentifier::new_unwrap("2.5.4.97"),
            Self::Country => ObjectIdentifier::new_unwrap("2.5.4.6"),
            Self::UserId => ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
        }
    }
}

/// A name's attributes in the order of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(Vec<(ObjectIdentifier, String)>);

impl Name {
    pub(crate) fn read(raw: &[u8], what: &'static str) -> Read<Self> {
        let mut attributes = Vec::new();
        let mut parts = Tlv::only(raw, SEQUENCE, what)?.open();
        while !parts.is_empty() {
            let mut part = parts.take(SET, what)?.open();
            if part.is_empty() {
                return Err(Malformed(what));
            }
            while !part.is_empty() {
                let mut attribute: Reader<'_> = part.sequence(what)?;
                let id = attribute.oid(what)?;
                let value = attribute.any(what)?;
                attribute.end(what)?;
                attributes.push((id, text(value).ok_or(Malformed(what))?));
            }
        }
        Ok(Self(attributes))
    }

    /// The values of an attribute, in the order of the certificate.
    pub(crate) fn all(&self, attribute: SubjectAttribute) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(id, _)| *id == attribute.oid()).map(|(_, value)| value.as_str())
    }

    /// The value of an attribute that occurs exactly once: a name that says two things says nothing.
    pub(crate) fn get(&self, attribute: SubjectAttribute) -> Option<&str> {
        let mut values = self.0.iter().filter(|(id, _)| *id == attribute.oid());
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// RFC 4514: last part first, special characters escaped.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (id, value)) in self.0.iter().rev().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            match short_name(*id) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{id}")?,
            }
            f.write_char('=')?;
            escaped(f, value)?;
        }
        Ok(())
    }
}

fn escaped(f: &mut std::fmt::Formatter<'_>, value: &str) -> std::fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let at_edge = (index == 0 && (c == ' ' || c == '#')) || (index == last && c == ' ');
        if c.is_control() {
            let mut octets = [0; 4];
            for octet in c.encode_utf8(&mut octets).bytes() {
                write!(f, "\\{octet:02X}")?;
            }
            continue;
        }
        if at_edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

fn short_name(id: ObjectIdentifier) -> Option<&'static str> {
    const NAMES: [(&str, ObjectIdentifier); 11] = [
        ("CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
        ("SN", ObjectIdentifier::new_unwrap("2.5.4.4")),
        ("serialNumber", ObjectIdentifier::new_unwrap("2.5.4.5")),
        ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
        ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
        ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
        ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
        ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
        ("organizationIdentifier", ObjectIdentifier::new_unwrap("2.5.4.97")),
        ("DC", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25")),
        ("UID", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1")),
    ];
    NAMES.iter().find(|(_, known)| *known == id).map(|(name, _)| *name)
}

/// The text of a DirectoryString or a neighbour of it; other types are shown as `#` and hexadecimal digits.
fn text(value: Tlv<'_>) -> Option<String> {
    const UTF8: u8 = 0x0c;
    const NUMERIC: u8 = 0x12;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const BMP: u8 = 0x1e;
    match value.tag {
        UTF8 => String::from_utf8(value.value.to_vec()).ok(),
        NUMERIC | PRINTABLE | IA5 => {
            value.value.is_ascii().then(|| value.value.iter().copied().map(char::from).collect())
        }
        // In practice Latin-1, which is also how openssl shows it.
        TELETEX => Some(value.value.iter().copied().map(char::from).collect()),
        BMP => {
            let (units, rest) = value.value.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<String, _>>().ok())?
        }
        _ => Some(format!("#{}", hex::encode(value.raw))),
    }
}
