//! The list of what was issued and revoked: one JSON object a line, appended and synced before a certificate leaves.
//!
//! Several processes may share the file (`truc pki run` and `truc pki revoke`): writers hold a lock, readers read on from where they were.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use truc_model::{Digest, Fingerprint, Timestamp};

use crate::certificates::Usage;
use crate::error::PkiError;

/// A serial number: 1 to 20 bytes, written in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// 127 random bits, never zero, as certificates of public trust carry (at least 64 from a random source).
    pub(crate) fn random(mut bytes: [u8; 16]) -> Self {
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Self(bytes.to_vec())
    }

    /// Takes the content of an INTEGER; leading zeros do not count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(bytes.iter().skip(start).copied().collect())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain: String = text.chars().filter(|c| *c != ':').collect();
        let bytes = hex::decode(&plain).ok().filter(|b| (1..=20).contains(&b.len()));
        bytes
            .map(|b| Self::from_bytes(&b))
            .ok_or_else(|| "a serial number is 1 to 20 bytes in hexadecimal".into())
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// Not said.
    #[default]
    Unspecified,
    /// The private key may be in other hands.
    KeyCompromise,
    /// The organisation's name or relation changed.
    AffiliationChanged,
    /// A newer certificate replaces it.
    Superseded,
    /// The node or member stopped working.
    CessationOfOperation,
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// From when on.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// One certificate of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// `ca`, `ocsp`, `tsa`, `sign` or `auth`.
    pub usage: &'static str,
    /// Whom it names: a member or node id, or the service's name.
    pub subject: String,
    /// The end of its validity.
    pub not_after: Timestamp,
    /// SHA-256 over its DER.
    pub fingerprint: Fingerprint,
    /// Set when it was revoked.
    pub revoked: Option<Revocation>,
    /// What lies behind it; not known of what was issued before this was recorded.
    pub(crate) origin: Origin,
}

/// Which key a certificate is for, and for which request over HTTP it was issued.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Origin {
    /// SHA-256 of the public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Digest>,
    /// SHA-256 of the request's DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Digest>,
    /// The certificate, DER in base64, so that the same request is answered with it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

impl Origin {
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub(crate) enum Event {
    Issued {
        at: Timestamp,
        serial: Serial,
        usage: Usage,
        subject: String,
        not_after: Timestamp,
        fingerprint: Fingerprint,
        #[serde(default, skip_serializing_if = "Origin::is_unknown")]
        origin: Origin,
    },
    Revoked {
        at: Timestamp,
        serial: Serial,
        reason: RevocationReason,
    },
}

#[derive(Default)]
struct State {
    /// Bytes of whole lines read so far; also tells how old a view is.
    read: u64,
    certificates: BTreeMap<Serial, IssuedCertificate>,
}

pub(crate) struct Ledger {
    path: PathBuf,
    state: Mutex<State>,
}

impl Ledger {
    /// Opens or creates the file. Like everything here it blocks on the disk.
    pub(crate) fn open(path: &Path) -> Result<Self, PkiError> {
        let ledger = Self { path: path.to_owned(), state: Mutex::default() };
        ledger.file()?;
        ledger.revision()?;
        Ok(ledger)
    }

    fn file(&self) -> Result<File, PkiError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        options.open(&self.path).map_err(|e| PkiError::io(&self.path, e))
    }

    /// Appends what `event` makes of the current list, durably; nothing when it makes `None`.
    pub(crate) fn append(
        &self,
        event: impl FnOnce(&BTreeMap<Serial, IssuedCertificate>) -> Result<Option<Event>, PkiError>,
    ) -> Result<(), PkiError> {
        let io = |e| PkiError::io(&self.path, e);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.file()?;
        file.lock().map_err(io)?;
        self.read_on(&mut state, &mut file)?;
        // What follows the last whole line was never acknowledged: a crash tore it.
        file.set_len(state.read).map_err(io)?;
        let Some(event) = event(&state.certificates)? else { return Ok(()) };
        let mut line = serde_json::to_vec(&event).map_err(|e| io(e.into()))?;
        line.push(b'\n');
        file.write_all(&line).map_err(io)?;
        file.sync_all().map_err(io)?;
        self.read_on(&mut state, &mut file)
    }

    /// Reads what others appended; the number grows with each event.
    pub(crate) fn revision(&self) -> Result<u64, PkiError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_on(&mut state, &mut self.file()?)?;
        Ok(state.read)
    }

    pub(crate) fn find(&self, serial: &Serial) -> Option<IssuedCertificate> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).certificates.get(serial).cloned()
    }

    pub(crate) fn all(&self) -> Vec<IssuedCertificate> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).certificates.values().cloned().collect()
    }

    fn read_on(&self, state: &mut State, file: &mut File) -> Result<(), PkiError> {
        let io = |e| PkiError::io(&self.path, e);
        let length = file.metadata().map_err(io)?.len();
        if length < state.read {
            return Err(PkiError::damaged(&self.path, "it became shorter"));
        }
        if length == state.read {
            return Ok(());
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(state.read)).map_err(io)?;
        file.take(length - state.read).read_to_end(&mut bytes).map_err(io)?;
        for line in bytes.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n")) {
            let event: Event = serde_json::from_slice(line)
                .map_err(|e| PkiError::damaged(&self.path, format!("at byte {}: {e}", state.read)))?;
            apply(&mut state.certificates, event);
            state.read += line.len() as u64;
        }
        Ok(())
    }
}

fn apply(certificates: &mut BTreeMap<Serial, IssuedCertificate>, event: Event) {
    match event {
        Event::Issued { serial, usage, subject, not_after, fingerprint, origin, .. } => {
            let entry = IssuedCertificate {
                serial: serial.clone(),
                usage: usage.as_str(),
                subject,
                not_after,
                fingerprint,
                revoked: None,
                origin,
            };
            certificates.insert(serial, entry);
        }
        Event::Revoked { at, serial, reason } => {
            if let Some(certificate) = certificates.get_mut(&serial) {
                certificate.revoked.get_or_insert(Revocation { at, reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(serial: &str) -> Event {
        Event::Issued {
            at: Timestamp::from_millis(1),
            serial: serial.parse().unwrap(),
            usage: Usage::Sign,
            subject: "VN/GOV/H26".into(),
            not_after: Timestamp::from_millis(2),
            fingerprint: Fingerprint::of(b"x"),
            origin: Origin::default(),
        }
    }

    #[test]
    fn two_processes_see_each_others_lines_and_a_torn_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let (one, two) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        one.append(|_| Ok(Some(issued("40")))).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"event\":\"iss").unwrap();
        assert!(two.revision().unwrap() > 0);
        assert!(two.find(&"40".parse().unwrap()).is_some());
        let at = Timestamp::from_millis(5);
        let revoked =
            Event::Revoked { at, serial: "40".parse().unwrap(), reason: RevocationReason::KeyCompromise };
        two.append(|known| Ok((known.len() == 1).then_some(revoked))).unwrap();
        one.revision().unwrap();
        assert_eq!(one.find(&"00:40".parse().unwrap()).unwrap().revoked.unwrap().at, at);
        assert_eq!(Ledger::open(&path).unwrap().all().len(), 1);
    }

    #[test]
    fn a_line_without_an_origin_is_written_and_read_as_ever() {
        let old = r#"{"event":"issued","at":"1970-01-01T00:00:00.001Z","serial":"40","usage":"sign","subject":"VN/GOV/H26","not-after":"1970-01-01T00:00:00.002Z","fingerprint":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}"#;
        assert_eq!(serde_json::to_string(&issued("40")).unwrap(), old);
        assert!(
            matches!(serde_json::from_str(old).unwrap(), Event::Issued { origin, .. } if origin.is_unknown())
        );
    }

    #[test]
    fn a_changed_ledger_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(matches!(Ledger::open(&path), Err(PkiError::Damaged { .. })));
    }
}
