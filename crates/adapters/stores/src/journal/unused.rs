//! What an unclean stop leaves behind a segment: room that was taken and never written.
//!
//! At a start no segment is written any more, so the zeros behind the last byte that is no zero are no content, whoever looks. They
//! are given back; everything else stays as it is, the torn tail of a crash included.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use truc_evidence::StoreError;

use super::format::{HEADER, HeaderFault, Parsed, SegmentHeader, parse};
use super::scan::{find_frame, list_names};
use crate::files::{NO_WAITING, io, plain};
use crate::options::Hooks;

/// A frame ends with a tag of so many bytes, which are never all zero: a segment that ends with them was closed in order.
const TELLING: u64 = super::format::TAG as u64;

/// Gives back the unused room of the journal `stem` in the folder `dir`. Only before a writer has begun, and after the journal
/// was found to be whole. A segment of which that fails is as good as before.
pub(crate) fn give_back_journal(dir: &Path, stem: &str, hooks: &Hooks) {
    match list_names(dir, stem) {
        Ok(names) => names.iter().for_each(|(_, path)| tell(path, give_back(path, hooks))),
        Err(error) => tracing::warn!(%error, "unused room of segments could not be given back"),
    }
}

/// The same of one segment, and tells it.
pub(crate) fn give_back_one(path: &Path, hooks: &Hooks) {
    tell(path, give_back(path, hooks));
}

fn tell(path: &Path, outcome: Result<Option<GivenBack>, StoreError>) {
    let path = path.display();
    match outcome {
        Ok(None) => {}
        Ok(Some(GivenBack { bytes, torn: 0 })) => {
            tracing::info!(%path, bytes, "the unused end of a segment was given back, after an unclean stop");
        }
        Ok(Some(GivenBack { bytes, torn })) => tracing::info!(%path, bytes, torn,
            "the unused end of a segment was given back, after an unclean stop; its torn end, never acknowledged, stays"),
        Err(error) => tracing::warn!(%path, %error, "the unused end of a segment could not be given back"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct GivenBack {
    bytes: u64,
    /// Bytes behind the last whole frame that stay.
    torn: u64,
}

fn give_back(path: &Path, hooks: &Hooks) -> Result<Option<GivenBack>, StoreError> {
    let failed = |e: std::io::Error| io(path, e);
    let opened = OpenOptions::new().read(true).write(true).custom_flags(NO_WAITING).open(path);
    let file = match opened.and_then(plain) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let length = file.metadata().map_err(failed)?.len();
    if !ends_with_zeros(&file, length).map_err(failed)? {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let Some((frames, used)) = used(&bytes).filter(|(_, used)| *used < length) else { return Ok(None) };
    file.set_len(used).map_err(failed)?;
    hooks.sync_surely(&file, None).map_err(failed)?;
    Ok(Some(GivenBack { bytes: length - used, torn: used.saturating_sub(frames) }))
}

fn ends_with_zeros(file: &File, length: u64) -> std::io::Result<bool> {
    let Some(from) = length.checked_sub(TELLING) else { return Ok(false) };
    let mut end = [0; TELLING as usize];
    file.read_exact_at(&mut end, from)?;
    Ok(end.iter().all(|b| *b == 0))
}

/// Where the last whole frame ends, and where the file may end. None when that cannot be said: a segment of a later version, or one in
/// which frames can be read behind some that cannot, whose zeros may belong to the last of them.
fn used(bytes: &[u8]) -> Option<(u64, u64)> {
    let written = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    match SegmentHeader::decode(bytes) {
        Ok(_) => {}
        Err(HeaderFault::Version(_)) => return None,
        // Made, and never used.
        Err(HeaderFault::Broken) => return (written <= HEADER).then_some((written as u64, written as u64)),
    }
    let (mut end, mut number) = (HEADER, 0);
    while let Parsed::Frame(frame) = parse(bytes.get(end..)?)
        && frame.number == number
    {
        end += frame.bytes.len();
        number += 1;
    }
    if find_frame(bytes.get(end..)?, number).is_some() {
        return None;
    }
    Some((end as u64, end.max(written) as u64))
}

#[cfg(test)]
mod tests {
    use super::super::cipher::{Ciphers, FrameHead};
    use super::super::format::{FrameType, SegmentKind, VERSION};
    use super::*;
    use crate::keys::RecordKey;
    use truc_model::Digest;
    use zeroize::Zeroizing;

    /// A segment of so many frames, each a batch of its own, and where each ends.
    fn segment(frames: u32) -> (Vec<u8>, Vec<usize>) {
        let (salt, key) = ([7; 32], RecordKey::new("k", Zeroizing::new([1; 32])));
        let chain = Digest([0; 32]);
        let header = SegmentHeader { version: VERSION, kind: SegmentKind::Journal, salt, first: 0, chain };
        let (mut bytes, mut ends, mut ciphers) = (header.encode(), vec![HEADER], Ciphers::new(salt));
        for number in 0..frames {
            let head =
                FrameHead { kind: FrameType::Record, number, batch: number, sequence: u64::from(number) };
            ciphers.seal(&mut bytes, &head, &key, &[b"content"]).unwrap();
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn of(bytes: &[u8]) -> (Option<GivenBack>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.seg");
        std::fs::write(&path, bytes).unwrap();
        let given = give_back(&path, &Hooks::default()).unwrap();
        (given, std::fs::read(path).unwrap())
    }

    fn with_zeros(bytes: &[u8]) -> Vec<u8> {
        [bytes, &[0; 5000]].concat()
    }

    #[test]
    fn no_byte_of_a_frame_is_taken_for_room() {
        let (bytes, ends) = segment(2000);
        let mut by_zero = 0;
        for end in ends {
            let whole = &bytes[..end];
            by_zero += u32::from(whole.ends_with(&[0]));
            let filled = with_zeros(whole);
            assert_eq!(used(&filled), Some((end as u64, end as u64)));
            if end % 10 == 0 {
                assert_eq!(of(&filled), (Some(GivenBack { bytes: 5000, torn: 0 }), whole.to_vec()));
                assert_eq!(of(whole), (None, whole.to_vec()));
            }
        }
        assert!(by_zero > 0, "some frame ends with a zero of its own");
    }

    #[test]
    fn what_is_torn_or_damaged_stays() {
        let (bytes, ends) = segment(5);
        let (last, end) = (ends[4], ends[5]);
        for cut in last + 1..end {
            let torn = &bytes[..cut];
            let kept = torn.iter().rposition(|b| *b != 0).unwrap() + 1;
            let (given, left) = of(&with_zeros(torn));
            // Of the first three bytes of its length none is set.
            let (kept, torn) = (kept.max(last), kept.saturating_sub(last) as u64);
            assert_eq!(given.unwrap().torn, torn, "cut at {cut}");
            assert_eq!(left, bytes[..kept]);
        }
        let mut damaged = with_zeros(&bytes);
        damaged[ends[2] + 30] ^= 1;
        assert_eq!(of(&damaged), (None, damaged.clone()), "later frames can be read: that is for fsck");
        let mut later = with_zeros(&bytes);
        later[9] = 99;
        assert_eq!(of(&later), (None, later.clone()), "a version that this program does not know");
    }

    #[test]
    fn a_segment_that_was_made_and_never_used_holds_nothing() {
        let (header, _) = segment(0);
        assert_eq!(of(&with_zeros(&header)).1, header);
        assert!(of(&with_zeros(&[])).1.is_empty());
        assert_eq!(of(&with_zeros(&header[..44])).1, &header[..44]);
        assert_eq!(of(&[]), (None, vec![]));
        let missing = Path::new("/nonexistent/a.seg");
        assert_eq!(give_back(missing, &Hooks::default()).unwrap(), None);
    }
}
