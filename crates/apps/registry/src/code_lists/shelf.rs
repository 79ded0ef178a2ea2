//! Where the versions of code lists lie, and how a new one is published. Everything here blocks on the disk.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use truc_directory::{AgencyCode, V1};
use truc_model::{Digest, Timestamp};

use super::check::{check_change, check_entries};
use super::{CodeEntry, CodeListDocument, CodeListError};

/// Most lists that are offered at once.
const LISTS: usize = 1_000;

/// One published version.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    /// What it says.
    pub document: CodeListDocument,
    /// SHA-256 over its bytes.
    pub digest: Digest,
    /// Its exact bytes.
    pub bytes: Bytes,
    /// Where a code, or an alias of one, stands.
    places: HashMap<String, usize>,
}

impl Version {
    fn new(document: CodeListDocument, bytes: Bytes) -> Self {
        let mut places = HashMap::new();
        for (place, entry) in document.codes.iter().enumerate() {
            places.extend(entry.aliases.iter().chain([&entry.code]).map(|code| (code.clone(), place)));
        }
        Self { digest: Digest::of(&bytes), document, bytes, places }
    }

    /// The entry of a code: of the code itself, of one of its aliases, or of what it means by the rule for old agency codes.
    pub fn find(&self, code: &str) -> Option<&CodeEntry> {
        let at = |code: &str| self.places.get(code).and_then(|place| self.document.codes.get(*place));
        at(code).or_else(|| at(code.parse::<AgencyCode>().ok()?.as_str()))
    }
}

/// What came of publishing.
#[derive(Debug, Clone)]
pub struct PublishedList {
    /// The version that says what was given.
    pub version: Arc<Version>,
    /// False when the latest version said so already.
    pub new: bool,
}

/// The versions of one list, from 1 on.
type Versions = Vec<Arc<Version>>;

/// The code lists of a folder. Versions never change, so each is read once; a new one is seen at the next question.
#[derive(Debug)]
pub struct CodeLists {
    dir: PathBuf,
    read: Mutex<BTreeMap<String, Arc<Versions>>>,
}

impl CodeLists {
    /// The lists of `dir`; nothing is read yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, read: Mutex::default() }
    }

    fn cache(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Versions>>> {
        // What it holds is only ever replaced whole.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the lists, sorted.
    ///
    /// # Errors
    /// [`CodeListError::File`] when the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, CodeListError> {
        let entries = fs::read_dir(&self.dir).map_err(|e| file(&self.dir, &e))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_name(name) && self.path(name, 1).exists())
            .take(LISTS)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Every version of a list, from 1 on; none when there is no such list.
    ///
    /// # Errors
    /// [`CodeListError::Spoilt`] when a version is not what was published, [`CodeListError::File`].
    pub fn versions(&self, name: &str) -> Result<Option<Arc<Versions>>, CodeListError> {
        if !is_name(name) {
            return Ok(None);
        }
        let known = self.cache().get(name).cloned().unwrap_or_default();
        let mut versions = (*known).clone();
        while let Some(version) = self.next(name, &versions)? {
            versions.push(Arc::new(version));
        }
        if versions.len() == known.len() {
            return Ok((!known.is_empty()).then_some(known));
        }
        let versions = Arc::new(versions);
        self.cache().insert(name.to_owned(), Arc::clone(&versions));
        Ok(Some(versions))
    }

    fn path(&self, name: &str, version: u64) -> PathBuf {
        self.dir.join(name).join(format!("{version:06}.json"))
    }

    /// The version after those in `versions`, if it is there.
    fn next(&self, name: &str, versions: &Versions) -> Result<Option<Version>, CodeListError> {
        let due = versions.len() as u64 + 1;
        let path = self.path(name, due);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(file(&path, &e)),
        };
        let spoilt = |why: String| CodeListError::Spoilt { path: path.clone(), why };
        let document: CodeListDocument = serde_json::from_slice(&bytes)
            .map_err(|e| spoilt(format!("it is no version of a code list: {e}")))?;
        if document.name != name || document.version != due {
            return Err(spoilt(format!("it is version {} of {}", document.version, document.name)));
        }
        if document.previous != versions.last().map(|before| before.digest) {
            return Err(spoilt("it does not follow the version before it, one of them was changed".into()));
        }
        check_entries(&document.codes).map_err(|e| spoilt(e.to_string()))?;
        Ok(Some(Version::new(document, bytes)))
    }

    /// Publishes a new version, unless the latest one says the same. `amended` are codes whose entry is changed on purpose.
    ///
    /// # Errors
    /// [`CodeListError`]; nothing was published then.
    pub fn publish(
        &self,
        name: &str,
        mut codes: Vec<CodeEntry>,
        valid_from: Timestamp,
        amended: &[String],
    ) -> Result<PublishedList, CodeListError> {
        if !is_name(name) {
            return Err(CodeListError::Name(name.chars().take(80).collect()));
        }
        check_entries(&codes)?;
        codes.sort_by(|a, b| a.code.cmp(&b.code));
        let versions = self.versions(name)?.unwrap_or_default();
        if let Some(latest) = versions.last() {
            if latest.document.codes == codes {
                return Ok(PublishedList { version: Arc::clone(latest), new: false });
            }
            check_change(&latest.document.codes, &codes, amended)?;
            if valid_from < latest.document.valid_from {
                let why = format!(
                    "version {} is valid from {} on, the next one cannot begin before it",
                    latest.document.version, latest.document.valid_from
                );
                return Err(CodeListError::Refused(vec![why]));
            }
        }
        let document = CodeListDocument {
            v: V1,
            name: name.to_owned(),
            version: versions.len() as u64 + 1,
            previous: versions.last().map(|latest| latest.digest),
            valid_from,
            codes,
        };
        let bytes = truc_directory::encode(&document);
        self.keep(&document, &bytes)?;
        Ok(PublishedList { version: Arc::new(Version::new(document, bytes)), new: true })
    }

    /// Writes a version durably; it is there as a whole or not at all, and never in another's place.
    fn keep(&self, document: &CodeListDocument, bytes: &[u8]) -> Result<(), CodeListError> {
        let path = self.path(&document.name, document.version);
        let folder = self.dir.join(&document.name);
        let draft = folder.join(format!(".publishing-{}", std::process::id()));
        let written = fs::create_dir_all(&folder).and_then(|()| {
            let mut file = File::create(&draft)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            let linked = fs::hard_link(&draft, &path);
            fs::remove_file(&draft)?;
            linked?;
            File::open(&folder)?.sync_all()?;
            File::open(&self.dir)?.sync_all()
        });
        match written {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(CodeListError::Raced(document.version)),
            written => written.map_err(|e| file(&path, &e)),
        }
    }
}

/// The version that counts at `now`.
pub(super) fn current(versions: &Versions, now: Timestamp) -> Option<&Arc<Version>> {
    versions.iter().rev().find(|version| version.document.valid_from <= now)
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('-')
}

fn file(path: &Path, why: &std::io::Error) -> CodeListError {
    CodeListError::File { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_lists::read_entries;

    fn at(day: u32) -> Timestamp {
        format!("2026-11-{day:02}T00:00:00.000Z").parse().unwrap()
    }

    fn list(rows: &str) -> Vec<CodeEntry> {
        read_entries(format!("code,name_vi,name_en,status,successor\n{rows}").as_bytes()).unwrap()
    }

    #[test]
    fn versions_follow_each_other_and_stay() {
        let place = tempfile::tempdir().unwrap();
        let lists = CodeLists::new(place.path().join("lists"));
        assert!(lists.names().is_err(), "there is no folder");
        let one = lists.publish("codes", list("H02,a,b,,\nH05,c,d,,\n"), at(1), &[]).unwrap();
        assert!(one.new && one.version.document.version == 1 && one.version.document.previous.is_none());
        let same = lists.publish("codes", list("H05,c,d,,\nH02,a,b,,\n"), at(2), &[]).unwrap();
        assert!(!same.new && same.version.digest == one.version.digest, "the order of rows is no change");
        let closed = || list("H02,a,b,closed,H05\nH05,c,d,,\n");
        assert!(lists.publish("codes", list("H05,c,d,,\n"), at(3), &[]).is_err());
        assert!(lists.publish("codes", closed(), Timestamp::from_millis(0), &[]).is_err());
        let two = lists.publish("codes", closed(), at(9), &[]).unwrap();
        assert_eq!(two.version.document.previous, Some(one.version.digest));
        // Another process sees both, and which one counts when.
        let versions = CodeLists::new(place.path().join("lists")).versions("codes").unwrap().unwrap();
        assert_eq!(versions.len(), 2);
        let counts = |day| current(&versions, at(day)).map(|v| v.document.version);
        assert_eq!((counts(1), counts(8), counts(9)), (Some(1), Some(1), Some(2)));
        assert!(current(&versions, Timestamp::from_millis(0)).is_none());
        assert_eq!(lists.names().unwrap(), ["codes"]);
        assert!(lists.versions("other").unwrap().is_none() && lists.versions("../x").unwrap().is_none());
        for name in ["", "A", "a/b", "..", "-a"] {
            assert!(
                matches!(lists.publish(name, closed(), at(9), &[]), Err(CodeListError::Name(_))),
                "{name}"
            );
        }
        let found = |code| two.version.find(code).map(|e| e.code.as_str());
        assert_eq!((found("H02"), found("000.00.00.H05"), found("H99")), (Some("H02"), Some("H05"), None));
    }

    #[test]
    fn a_changed_or_foreign_version_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let lists = CodeLists::new(place.path().to_owned());
        lists.publish("codes", list("H02,a,b,,\n"), at(1), &[]).unwrap();
        lists.publish("codes", list("H02,a,b,,\nH05,c,d,,\n"), at(2), &[]).unwrap();
        let one = place.path().join("codes/000001.json");
        let text = fs::read_to_string(&one).unwrap();
        fs::write(&one, text.replace("\"a\"", "\"z\"")).unwrap();
        let read = CodeLists::new(place.path().to_owned()).versions("codes");
        assert!(matches!(read, Err(CodeListError::Spoilt { .. })), "{read:?}");
        fs::write(&one, "{}").unwrap();
        assert!(CodeLists::new(place.path().to_owned()).versions("codes").is_err());
        fs::write(&one, text).unwrap();
        fs::create_dir(place.path().join("other")).unwrap();
        fs::copy(&one, place.path().join("other/000001.json")).unwrap();
        assert!(lists.versions("other").is_err(), "the name is part of it");
        // Who published first stays.
        let late = CodeListDocument {
            v: V1,
            name: "codes".into(),
            version: 2,
            previous: None,
            valid_from: at(3),
            codes: vec![],
        };
        assert_eq!(lists.keep(&late, b"x"), Err(CodeListError::Raced(2)));
        assert!(lists.versions("codes").unwrap().is_some());
    }
}
