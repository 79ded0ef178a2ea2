//! Certificate extensions (RFC 5280 §4.2), each at most once and none half understood.

use std::collections::HashSet;

use der::asn1::ObjectIdentifier;

use crate::CertificateError;
use crate::asn1::{BIT_STRING, BOOLEAN, Malformed, Read, Reader, SEQUENCE, Tlv, context, context_primitive};
use crate::name::Name;

const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

/// The policy that every certificate of `certs-example/` states (from the range RFC 5612 keeps for examples). Their private keys lie
/// open in the repository.
pub(crate) const EXAMPLE_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.2.1");

/// What a certificate's extensions say, as far as it matters here.
#[derive(Default)]
pub(crate) struct Extensions {
    /// First octet of the key usage.
    pub(crate) key_usage: Option<u8>,
    /// Extended key usages, and whether they are critical.
    pub(crate) extended: Option<(bool, Vec<ObjectIdentifier>)>,
    /// Basic constraints say CA.
    pub(crate) is_ca: bool,
    /// How many CAs may stand below this one; 255 for anything longer than one octet.
    pub(crate) path_length: Option<u8>,
    /// One is critical and nobody here knows what it demands (RFC 5280 §4.2: such a certificate must not be used).
    pub(crate) unknown_critical: bool,
    /// Content of the subject key identifier.
    pub(crate) subject_key_id: Option<Vec<u8>>,
}

/// Reads the list of extensions.
///
/// # Errors
/// One is damaged or stands there twice.
pub(crate) fn read_extensions(list: Tlv<'_>) -> Result<Extensions, CertificateError> {
    let mut found = Extensions::default();
    let mut seen = HashSet::new();
    let mut list = list.open();
    while !list.is_empty() {
        let (id, critical, value) = read_extension(&mut list)?;
        if !seen.insert(id) {
            return Err(CertificateError::DuplicateExtension(id.to_string()));
        }
        match id {
            KEY_USAGE => found.key_usage = Some(read_key_usage(value)?),
            EXTENDED_KEY_USAGE => found.extended = Some((critical, read_extended(value)?)),
            BASIC_CONSTRAINTS => (found.is_ca, found.path_length) = read_constraints(value)?,
            SUBJECT_KEY_IDENTIFIER => {
                let mut inside = Reader::new(value);
                found.subject_key_id = Some(inside.octets("subject key identifier")?.to_vec());
                inside.end("subject key identifier")?;
            }
            SUBJECT_ALT_NAME => check_alternative_names(value)?,
            CERTIFICATE_POLICIES => check_policies(value)?,
            NAME_CONSTRAINTS | AUTHORITY_KEY_IDENTIFIER => {}
            _ => found.unknown_critical |= critical,
        }
    }
    Ok(found)
}

/// One extension: its OID, whether it is critical, and the content of its OCTET STRING (RFC 5280 §4.1).
pub(crate) fn read_extension<'a>(list: &mut Reader<'a>) -> Read<(ObjectIdentifier, bool, &'a [u8])> {
    let mut extension = list.sequence("extension")?;
    let id = extension.oid("extension")?;
    let critical = match extension.take_if(BOOLEAN, "extension")?.map(|flag| flag.value) {
        None | Some([0x00]) => false,
        Some([0xff]) => true,
        Some(_) => return Err(Malformed("extension")),
    };
    let value = extension.octets("extension")?;
    extension.end("extension")?;
    Ok((id, critical, value))
}

fn read_key_usage(value: &[u8]) -> Read<u8> {
    match Tlv::only(value, BIT_STRING, "key usage")?.value {
        [0..=7, first, ..] => Ok(*first),
        _ => Err(Malformed("key usage")),
    }
}

fn read_extended(value: &[u8]) -> Read<Vec<ObjectIdentifier>> {
    let mut list = Tlv::only(value, SEQUENCE, "extended key usage")?.open();
    let mut ids = vec![list.oid("extended key usage")?];
    while !list.is_empty() {
        ids.push(list.oid("extended key usage")?);
    }
    Ok(ids)
}

/// Whether it is a CA, and the length of paths below it.
fn read_constraints(value: &[u8]) -> Read<(bool, Option<u8>)> {
    const WHAT: &str = "basic constraints";
    let mut inside = Tlv::only(value, SEQUENCE, WHAT)?.open();
    let flag = inside.take_if(BOOLEAN, WHAT)?;
    let length = match inside.is_empty() {
        true => None,
        false => match inside.integer(WHAT)? {
            [0x80..=0xff, ..] => return Err(Malformed(WHAT)),
            [length] => Some(*length),
            _ => Some(u8::MAX),
        },
    };
    inside.end(WHAT)?;
    Ok((flag.is_some_and(|flag| flag.value == [0xff]), length))
}

/// A certificate whose key everybody has is not read at all, so that no place can forget to refuse it.
fn check_policies(value: &[u8]) -> Result<(), CertificateError> {
    const WHAT: &str = "certificate policies";
    let mut policies = Tlv::only(value, SEQUENCE, WHAT)?.open();
    while !policies.is_empty() {
        if policies.sequence(WHAT)?.oid(WHAT)? == EXAMPLE_POLICY {
            return Err(CertificateError::Example);
        }
    }
    Ok(())
}

/// Every alternative name must be well formed: a damaged one may mean something else to another reader.
fn check_alternative_names(value: &[u8]) -> Read<()> {
    const WHAT: &str = "subject alternative names";
    const MAIL: u8 = context_primitive(1);
    const DNS: u8 = context_primitive(2);
    const URI: u8 = context_primitive(6);
    const IP: u8 = context_primitive(7);
    const REGISTERED: u8 = context_primitive(8);
    const OTHER: u8 = context(0);
    const DIRECTORY: u8 = context(4);
    let mut names = Tlv::only(value, SEQUENCE, WHAT)?.open();
    if names.is_empty() {
        return Err(Malformed(WHAT));
    }
    while !names.is_empty() {
        let name = names.any(WHAT)?;
        let good = match name.tag {
            MAIL | DNS | URI => !name.value.is_empty() && name.value.iter().all(u8::is_ascii_graphic),
            IP => matches!(name.value.len(), 4 | 16),
            REGISTERED => ObjectIdentifier::from_bytes(name.value).is_ok(),
            DIRECTORY => Name::read(name.value, WHAT).is_ok(),
            OTHER => {
                let mut inside = name.open();
                inside.oid(WHAT)?;
                inside.take(context(0), WHAT)?;
                inside.is_empty()
            }
            _ => false,
        };
        if !good {
            return Err(Malformed(WHAT));
        }
    }
    Ok(())
}
