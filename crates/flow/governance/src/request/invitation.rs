//! Invitations: a secret that keys a MAC over the enrolment and is never sent (protocol P7).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::base64_bytes;

/// Crockford's base32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bytes of an invitation's id; also the digits' group of the code that people may read aloud.
const ID: usize = 5;
/// Bytes of its secret: 160 bits.
const SECRET: usize = 20;
/// Bytes of the check value: a slip of the pen is told before anything is sent.
const CHECK: usize = 2;

/// Names an invitation; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InvitationId(String);

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InvitationId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = unbase32(text).filter(|bytes| bytes.len() == ID);
        bytes.map(|bytes| Self(base32(&bytes))).ok_or_else(|| format!("{text:?} is no invitation's id"))
    }
}

impl TryFrom<String> for InvitationId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<InvitationId> for String {
    fn from(id: InvitationId) -> Self {
        id.0
    }
}

/// What the registry keeps of an invitation's secret: the key of its MAC.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationKey(#[serde(with = "base64_bytes")] Bytes);

impl fmt::Debug for InvitationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationKey(…)")
    }
}

impl InvitationKey {
    /// Whether `mac` is this key's over `text`; takes the same time whatever differs.
    pub(crate) fn verify(&self, text: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), text, mac).is_ok()
    }
}

/// The code that a registrar hands to a node's operator, once: `<id>.<secret and check value>`, in groups of five.
pub struct InvitationCode {
    id: InvitationId,
    secret: Zeroizing<[u8; SECRET]>,
}

impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvitationCode({}, …)", self.id)
    }
}

impl InvitationCode {
    /// A new code; `random` must be fresh random bytes.
    pub fn new(random: &Zeroizing<[u8; ID + SECRET]>) -> Self {
        let mut secret = Zeroizing::new([0; SECRET]);
        secret.copy_from_slice(&random[ID..]);
        Self { id: InvitationId(base32(&random[..ID])), secret }
    }

    /// The invitation's name.
    pub const fn id(&self) -> &InvitationId {
        &self.id
    }

    /// The text that is handed over.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.secret.to_vec());
        bytes.extend_from_slice(&self.check());
        let text = Zeroizing::new(base32(&bytes));
        let groups: Vec<&str> =
            text.as_bytes().chunks(6).filter_map(|group| std::str::from_utf8(group).ok()).collect();
        Zeroizing::new(format!("{}.{}", self.id, groups.join("-")))
    }

    /// The key that the registry keeps: HKDF-SHA256 (RFC 5869) of the secret under the id. One block of output is the hash's own
    /// length, so that it is two HMACs, neither of which can fail.
    pub fn key(&self) -> InvitationKey {
        let mac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let extracted = mac(self.id.0.as_bytes(), self.secret.as_slice());
        InvitationKey(Bytes::copy_from_slice(mac(extracted.as_ref(), b"truc-enrolment-1\x01").as_ref()))
    }

    /// The proof for a request's signed text.
    pub fn mac(&self, text: &[u8]) -> InvitationMac {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key().0);
        let mac = Bytes::copy_from_slice(hmac::sign(&key, text).as_ref());
        InvitationMac { id: self.id.clone(), mac }
    }

    fn check(&self) -> [u8; CHECK] {
        let digest = truc_model::Digest::of(&[self.id.0.as_bytes(), self.secret.as_slice()].concat());
        let mut check = [0; CHECK];
        check.copy_from_slice(&digest.as_bytes()[..CHECK]);
        check
    }
}

impl FromStr for InvitationCode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "mã mời không đúng; hãy chép lại cả mã / this is no invitation code, or a character is wrong; copy the whole code again"
                .to_owned()
        };
        let (id, rest) = text.trim().split_once('.').ok_or_else(wrong)?;
        let id: InvitationId = id.parse().map_err(|_| wrong())?;
        let bytes = Zeroizing::new(unbase32(rest).filter(|b| b.len() == SECRET + CHECK).ok_or_else(wrong)?);
        let mut secret = Zeroizing::new([0; SECRET]);
        secret.copy_from_slice(&bytes[..SECRET]);
        let code = Self { id, secret };
        if code.check() == bytes[SECRET..] { Ok(code) } else { Err(wrong()) }
    }
}

/// The proof of an invitation in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InvitationMac {
    /// Which invitation.
    pub id: InvitationId,
    /// HMAC-SHA256 over the signed text.
    #[serde(with = "base64_bytes")]
    pub mac: Bytes,
}

/// Crockford's base32, without padding; the last digit's unused bits are zero.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// Reads it: either case, hyphens left out, O as 0, I and L as 1.
fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for c in text.chars().filter(|c| *c != '-') {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        };
        let digit = ALPHABET.iter().position(|known| char::from(*known) == c)?;
        held = (held << 5) | u32::try_from(digit).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (held == 0 && bits < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(byte: u8) -> InvitationCode {
        InvitationCode::new(&Zeroizing::new([byte; ID + SECRET]))
    }

    #[test]
    fn a_code_reads_back_however_it_is_typed_and_a_slip_is_told() {
        for byte in 0..=255 {
            let text = code(byte).reveal();
            let read: InvitationCode =
                text.to_lowercase().replace('-', "").replace('0', "o").parse().unwrap();
            assert_eq!((read.id(), read.key()), (code(byte).id(), code(byte).key()));
        }
        let text = code(7).reveal();
        let mut noticed = 0;
        for (place, old) in text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()) {
            let new = if old == '7' { '8' } else { '7' };
            let mut slip = text.to_string();
            slip.replace_range(place..=place, &new.to_string());
            noticed += usize::from(slip.parse::<InvitationCode>().is_err());
        }
        assert!(noticed + 1 >= text.chars().filter(char::is_ascii_alphanumeric).count(), "{noticed}");
        assert!("".parse::<InvitationCode>().is_err() && "A.B".parse::<InvitationCode>().is_err());
    }

    #[test]
    fn the_key_is_what_another_hkdf_makes_of_it() {
        use ring::hkdf::{HKDF_SHA256, Salt};
        for byte in [0, 7, 255] {
            let code = code(byte);
            let extracted = Salt::new(HKDF_SHA256, code.id.0.as_bytes()).extract(code.secret.as_slice());
            let mut key = [0; 32];
            extracted.expand(&[b"truc-enrolment-1"], HKDF_SHA256).unwrap().fill(&mut key).unwrap();
            assert_eq!(code.key().0, key.as_slice());
        }
    }

    #[test]
    fn the_mac_is_of_one_text_and_one_invitation() {
        let mac = code(1).mac(b"text");
        assert!(code(1).key().verify(b"text", &mac.mac));
        assert!(!code(1).key().verify(b"texts", &mac.mac));
        assert!(!code(2).key().verify(b"text", &mac.mac));
        assert!(!format!("{:?} {:?}", code(1), code(1).key()).contains(&code(1).reveal()[9..]));
    }
}
