//! Shared by the fuzz targets: DER by hand, a CA with a key that everyone knows, small directories, edits of valid bytes.
//!
//! A target feeds one parser and asserts what must hold of whatever it accepts; that nothing panics, hangs or eats memory
//! is watched by libFuzzer. Not shipped, and nothing here protects anything.

pub mod authority;
pub mod bus;
pub mod der;

use arbitrary::Arbitrary;

/// Some changes to bytes that are valid.
#[derive(Debug, Arbitrary)]
pub struct Edits(pub Vec<Edit>);

/// One change, somewhere.
#[derive(Debug, Arbitrary)]
pub enum Edit {
    /// Overwrites.
    Set(u16, Vec<u8>),
    /// Inserts.
    Insert(u16, Vec<u8>),
    /// Takes out.
    Remove(u16, u8),
    /// Cuts the rest off.
    Cut(u16),
}

impl Edits {
    /// Applies them in order; at most eight, of at most 4 KiB.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        for edit in self.0.iter().take(8) {
            edit.apply(bytes);
        }
    }
}

impl Edit {
    /// Applies it.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u16, length: usize| usize::from(at) % (length + 1);
        match self {
            Self::Set(at, with) => {
                let at = place(*at, bytes.len());
                for (to, from) in bytes[at..].iter_mut().zip(with) {
                    *to = *from;
                }
            }
            Self::Insert(at, with) => {
                let at = place(*at, bytes.len());
                bytes.splice(at..at, with.iter().copied().take(4096));
            }
            Self::Remove(at, n) => {
                let at = place(*at, bytes.len());
                let end = (at + usize::from(*n)).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Cut(at) => bytes.truncate(place(*at, bytes.len())),
        }
    }
}
