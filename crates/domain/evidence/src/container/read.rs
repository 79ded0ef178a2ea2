//! Reads the container strictly: one way to write it, so one way to read it.
//!
//! The ZIP's structure is walked here byte by byte before any unpacking: entries lie one after the other without gaps,
//! the central directory says the same as the local headers, and nothing comes before or after. So no two readers can
//! see two different contents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::ops::Range;

use bytes::Bytes;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use truc_model::{Digest, visible};
use zip::ZipArchive;

use super::notes::Notes;
use super::{ENTRIES_LIMIT, SIZE_LIMIT, names};

/// Why a file is not looked into any further: it is not a container as `truc` writes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Not a ZIP of the strict kind.
    #[error("not a container: {0}; use the file exactly as it was exported")]
    Zip(&'static str),
    /// Bigger than any container here.
    #[error("the container is too big: {0}")]
    TooLarge(&'static str),
    /// An entry with a name that no container has.
    #[error("\"{}\" does not belong in a container; someone has changed the file after its export", brief(.0))]
    Unexpected(String),
    /// Something that later versions of truc write.
    #[error("the container holds {}, which this version of truc cannot check; use a newer one", brief(.0))]
    Newer(String),
    /// An entry that the notes name is not there.
    #[error("{} is missing; someone has changed the file after its export", brief(.0))]
    Missing(String),
    /// An entry that is not what it must be.
    #[error("{}: {}", brief(name), brief(why))]
    Malformed {
        /// The entry.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl ContainerError {
    pub(super) fn malformed(name: impl Into<String>, why: impl ToString) -> Self {
        Self::Malformed { name: name.into(), why: why.to_string() }
    }
}

/// A text out of a file that nobody believes, on one line and not long: an error is read by people, who must not take it for a report.
fn brief(text: &str) -> String {
    const LONGEST: usize = 400;
    let shown = visible(text);
    match shown.char_indices().nth(LONGEST) {
        None => shown,
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
    }
}

/// The entries by name, all of them accounted for.
pub(super) struct Opened {
    pub(super) files: BTreeMap<String, Bytes>,
    pub(super) notes: Notes,
}

impl Opened {
    pub(super) fn get(&self, name: &str) -> Result<&Bytes, ContainerError> {
        self.files.get(name).ok_or_else(|| ContainerError::Missing(name.to_owned()))
    }
}

/// Opens a container: every entry is one that its notes name, and every one they name is there.
pub(super) fn open(bytes: &[u8]) -> Result<Opened, ContainerError> {
    let files = unpack(bytes)?;
    let notes =
        files.get(names::RECORDS).ok_or_else(|| ContainerError::Missing(names::RECORDS.to_owned()))?;
    let notes = Notes::parse(notes).map_err(|why| ContainerError::malformed(names::RECORDS, why))?;
    let opened = Opened { files, notes };
    check_coverage(&opened)?;
    check_lengths(&opened)?;
    Ok(opened)
}

/// Whether every record in the container is under a time-stamp, by the container's own notes; nothing is judged.
///
/// # Errors
/// [`ContainerError`].
pub fn is_stamped(bytes: &[u8]) -> Result<bool, ContainerError> {
    Ok(open(bytes)?.notes.records.iter().all(|record| record.stamped.is_some()))
}

fn check_coverage(opened: &Opened) -> Result<(), ContainerError> {
    let mut expected: BTreeSet<String> =
        [names::MIMETYPE, names::RECORDS, names::README].into_iter().map(str::to_owned).collect();
    for message in opened.notes.messages() {
        let named = message.names();
        let fresh = [named.header, named.manifest, named.signature].map(|name| expected.insert(name));
        if fresh.contains(&false) {
            return Err(ContainerError::malformed(names::RECORDS, "one message is noted in two ways"));
        }
        if message.body {
            expected.insert(named.body);
        }
    }
    let claimed = claimed(&opened.notes);
    for file in &opened.notes.files {
        if !claimed.contains(&file.name) && !is_supporting(&file.name) {
            return Err(ContainerError::Unexpected(file.name.clone()));
        }
        if Digest::of(opened.get(&file.name)?) != file.sha256 {
            return Err(ContainerError::malformed(&file.name, "its bytes are not those that the notes name"));
        }
        expected.insert(file.name.clone());
    }
    if let Some(name) = claimed.iter().find(|name| opened.notes.files.iter().all(|f| f.name != **name)) {
        return Err(ContainerError::Missing(name.clone()));
    }
    expected.extend(claimed);
    if let Some(missing) = expected.iter().find(|name| !opened.files.contains_key(*name)) {
        return Err(ContainerError::Missing(missing.clone()));
    }
    match opened.files.keys().find(|name| !expected.contains(*name)) {
        Some(name) if names::is_reserved(name) => Err(ContainerError::Newer(name.clone())),
        Some(name) => Err(ContainerError::Unexpected(name.clone())),
        None => Ok(()),
    }
}

/// Longest of the files that many records may refer to, each of which has them digested or read again; nothing of their kind is longer.
const SHARED_LIMIT: usize = 64 * 1024;

fn check_lengths(opened: &Opened) -> Result<(), ContainerError> {
    let places = [names::CERTIFICATES, names::STATUSES, names::LISTS, names::HEADS];
    let signed = opened.notes.messages().into_iter().map(|message| message.names());
    let signed = signed.flat_map(|named| [named.manifest, named.signature]);
    let supporting = opened.files.keys().filter(|name| places.iter().any(|place| name.starts_with(place)));
    let mut all = signed.chain(supporting.cloned());
    match all.find(|name| opened.files.get(name).is_some_and(|bytes| bytes.len() > SHARED_LIMIT)) {
        Some(name) => Err(ContainerError::malformed(name, "it is longer than any file of its kind")),
        None => Ok(()),
    }
}

/// What the stamps and heads of the notes stand for; such files lie nowhere else.
fn claimed(notes: &Notes) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for head in &notes.heads {
        names.extend([names::log_head(head.head), names::token(head.head)]);
    }
    for record in notes.records.iter().filter_map(|record| notes.evidence_record(record)) {
        names.extend([record.record, record.manifest]);
    }
    names
}

/// The places for supporting files; the last part of a name is digits, hexadecimal digits and one of a few words.
fn is_supporting(name: &str) -> bool {
    let digest = |text: &str| text.parse::<Digest>().is_ok();
    let stem =
        |place: &str, ending: &str| name.strip_prefix(place).and_then(|n| n.strip_suffix(ending)).map(digest);
    if [(names::CERTIFICATES, ".pem"), (names::STATUSES, ".der"), (names::LISTS, ".crl")]
        .into_iter()
        .any(|(place, ending)| stem(place, ending) == Some(true))
    {
        return true;
    }
    let Some((head, file)) = name.strip_prefix(names::DIRECTORIES).and_then(|n| n.split_once('/')) else {
        return false;
    };
    let numbered = |n: &str| n.parse::<u64>().is_ok_and(|v| names::root(v) == file);
    let part = file.strip_suffix(".json").is_some_and(|stem| {
        let by_digest = stem.strip_prefix("member-").or_else(|| stem.strip_prefix("index-"));
        by_digest.is_some_and(digest) || stem.strip_prefix("root-").is_some_and(numbered)
    });
    digest(head) && (file == names::HEAD || file == names::TRUST || part)
}

fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Bytes>, ContainerError> {
    let entries = walk(bytes)?;
    let unreadable = |_| ContainerError::Zip("an entry cannot be read");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    if archive.len() != entries.len() {
        return Err(ContainerError::Zip("two readers count different entries"));
    }
    let mut files = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let file = archive.by_index(index).map_err(unreadable)?;
        if file.name_raw() != entry.name.as_bytes() {
            return Err(ContainerError::Zip("two readers see different names"));
        }
        let content = entry.content(bytes)?;
        files.insert(entry.name, Bytes::from(content));
    }
    if files.get(names::MIMETYPE).is_none_or(|m| m != names::MEDIA_TYPE.as_bytes()) {
        return Err(ContainerError::malformed(names::MIMETYPE, format!("must be {}", names::MEDIA_TYPE)));
    }
    Ok(files)
}

struct Entry {
    name: String,
    deflated: bool,
    packed: Range<usize>,
    size: u64,
    crc: u32,
}

impl Entry {
    /// What it holds; every byte of the packed form is part of it, so that nothing travels along unseen.
    fn content(&self, container: &[u8]) -> Result<Vec<u8>, ContainerError> {
        let damaged = || ContainerError::malformed(&self.name, "its content is damaged");
        let packed = container.get(self.packed.clone()).ok_or_else(damaged)?;
        let (mut content, mut used) = (Vec::new(), packed.len() as u64);
        if self.deflated {
            let mut unpacking = DeflateDecoder::new(packed);
            let read = unpacking.by_ref().take(self.size + 1).read_to_end(&mut content);
            read.map_err(|_| damaged())?;
            used = unpacking.total_in();
        } else {
            content.extend_from_slice(packed);
        }
        let mut crc = Crc::new();
        crc.update(&content);
        if content.len() as u64 != self.size || crc.sum() != self.crc {
            return Err(damaged());
        }
        if used != packed.len() as u64 {
            return Err(ContainerError::malformed(&self.name, "more bytes lie in it than it unpacks to"));
        }
        Ok(content)
    }
}

/// Reads little-endian numbers one after the other.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], ContainerError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(ContainerError::Zip("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }
    fn u16(&mut self) -> Result<u16, ContainerError> {
        let taken = self.take(2)?;
        Ok(u16::from_le_bytes(taken.try_into().unwrap_or_default()))
    }
    fn u32(&mut self) -> Result<u32, ContainerError> {
        let taken = self.take(4)?;
        Ok(u32::from_le_bytes(taken.try_into().unwrap_or_default()))
    }
    fn usize(&mut self) -> Result<usize, ContainerError> {
        usize::try_from(self.u32()?).map_err(|_| ContainerError::TooLarge("an entry's length"))
    }
}

const LOCAL: u32 = 0x0403_4b50;
/// Bytes of a local header before the name.
const LOCAL_LENGTH: usize = 30;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Flags that change nothing about the reading: how hard the compressor tried, and UTF-8 names.
const HARMLESS_FLAGS: u16 = 0x0006 | 0x0800;
/// An entry may unpack to at most so many times its packed size, beyond a first free part.
const RATIO_LIMIT: u64 = 100;
const RATIO_FREE: u64 = 64 * 1024;

/// What a local header and its central twin share: flags, method, CRC, sizes; times are not looked at.
#[derive(PartialEq, Eq)]
struct Shared {
    flags: u16,
    method: u16,
    crc: u32,
    packed: usize,
    size: usize,
    name: usize,
}

impl Shared {
    fn read(cut: &mut Cut<'_>) -> Result<Self, ContainerError> {
        cut.take(2)?;
        let (flags, method) = (cut.u16()?, cut.u16()?);
        cut.take(4)?;
        let (crc, packed, size) = (cut.u32()?, cut.usize()?, cut.usize()?);
        let (name, extra) = (cut.u16()?, cut.u16()?);
        if flags & !HARMLESS_FLAGS != 0 || !matches!(method, STORED | DEFLATED) {
            return Err(ContainerError::Zip("an entry is encrypted, streamed or packed in an unusual way"));
        }
        if extra != 0 {
            return Err(ContainerError::Zip("an entry has an extra field"));
        }
        if method == STORED && packed != size {
            return Err(ContainerError::Zip("a stored entry has two lengths"));
        }
        if size as u64 > (packed as u64).saturating_mul(RATIO_LIMIT).saturating_add(RATIO_FREE) {
            return Err(ContainerError::TooLarge("an entry unpacks to far more than it holds"));
        }
        Ok(Self { flags, method, crc, packed, size, name: usize::from(name) })
    }
}

/// Walks local headers, central directory and end record, which must be all there is.
fn walk(bytes: &[u8]) -> Result<Vec<Entry>, ContainerError> {
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(ContainerError::TooLarge("the file"));
    }
    let mut cut = Cut(bytes);
    let mut locals: Vec<(usize, Shared, &[u8])> = Vec::new();
    let (mut total, mut signature) = (0u64, cut.u32()?);
    while signature == LOCAL {
        let offset = bytes.len() - cut.0.len() - 4;
        let shared = Shared::read(&mut cut)?;
        let name = cut.take(shared.name)?;
        cut.take(shared.packed)?;
        total = total.saturating_add(shared.size as u64);
        if total > SIZE_LIMIT || locals.len() >= ENTRIES_LIMIT {
            return Err(ContainerError::TooLarge("it unpacks to too much or holds too many entries"));
        }
        locals.push((offset, shared, name));
        signature = cut.u32()?;
    }
    let start = bytes.len() - cut.0.len() - 4;
    for (offset, local, name) in &locals {
        if signature != CENTRAL {
            return Err(ContainerError::Zip("its list of entries is not complete"));
        }
        cut.take(2)?;
        let central = Shared::read(&mut cut)?;
        let comment = cut.u16()?;
        let disk = cut.u16()?;
        cut.take(2)?;
        let plain = is_plain(cut.u32()?);
        let same = central == *local && cut.usize()? == *offset && cut.take(central.name)? == *name;
        if !plain || disk != 0 {
            return Err(ContainerError::Zip("an entry is not a plain file"));
        }
        if !same || comment != 0 {
            return Err(ContainerError::Zip("its list of entries does not say what the entries say"));
        }
        signature = cut.u32()?;
    }
    let length = bytes.len() - cut.0.len() - 4 - start;
    let disks = (cut.u16()?, cut.u16()?);
    let counts = (usize::from(cut.u16()?), usize::from(cut.u16()?));
    let place = (cut.usize()?, cut.usize()?);
    let whole = signature == END
        && disks == (0, 0)
        && counts == (locals.len(), locals.len())
        && place == (length, start)
        && cut.u16()? == 0
        && cut.0.is_empty();
    if !whole {
        return Err(ContainerError::Zip("it is not a ZIP, or something comes after its entries"));
    }
    if locals.first().is_none_or(|(_, s, name)| *name != names::MIMETYPE.as_bytes() || s.method != STORED) {
        return Err(ContainerError::Zip("its first entry is not a stored mimetype"));
    }
    check_names(&locals)
}

/// Whether an entry's external attributes make it a plain file for every unpacker: a symbolic link would be read through, so that
/// somebody who unpacks sees other bytes than these.
const fn is_plain(attributes: u32) -> bool {
    const DOS_FOLDER: u32 = 0x10;
    let kind = (attributes >> 16) & 0o170_000;
    attributes & DOS_FOLDER == 0 && (kind == 0 || kind == 0o100_000)
}

fn check_names(locals: &[(usize, Shared, &[u8])]) -> Result<Vec<Entry>, ContainerError> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    for (offset, shared, name) in locals {
        let text =
            std::str::from_utf8(name).map_err(|_| ContainerError::Zip("an entry's name is no text"))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
        let relative = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !relative || !text.bytes().all(plain) {
            return Err(ContainerError::Unexpected(text.chars().take(200).collect()));
        }
        // Some file systems do not tell upper from lower case: unpacked, two such names would be one file.
        if !seen.insert(text.to_ascii_lowercase()) {
            return Err(ContainerError::Zip("two entries bear one name"));
        }
        let start = offset + LOCAL_LENGTH + name.len();
        entries.push(Entry {
            name: text.to_owned(),
            deflated: shared.method == DEFLATED,
            packed: start..start + shared.packed,
            size: shared.size as u64,
            crc: shared.crc,
        });
    }
    Ok(entries)
}
