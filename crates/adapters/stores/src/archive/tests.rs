use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use truc_evidence::{Decision, DecisionLog as _};
use truc_model::MemberId;

use super::*;
use crate::{DataFolder, DecisionJournal, RecordKey, RecordKeys, fsck};

struct OneKey;

impl RecordKeys for OneKey {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        None
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        (id == "node-1").then(|| self.node_key())
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node-1", Zeroizing::new([7; 32]))
    }
}

/// As good as Argon2id where nobody guesses.
fn stretcher(passphrase: &'static str) -> impl Fn(&Stretch) -> Result<Zeroizing<[u8; 32]>, String> {
    move |how| {
        let text = [passphrase.as_bytes(), &how.salt, &how.memory_kib.to_be_bytes()].concat();
        Ok(Zeroizing::new(*Digest::of(&text).as_bytes()))
    }
}

fn manifest(collection: &Collection) -> Manifest {
    Manifest {
        v: 1,
        kind: "node".into(),
        holder: "VN/GOV/H26/ss1".into(),
        made: Timestamp::from_millis(1_800_000_000_000),
        config: "node.toml".into(),
        data: "data".into(),
        with_evidence: false,
        journals: collection.journals(),
        head: None,
        outside: collection.outside(),
    }
}

fn decision(n: u64) -> Decision {
    let at = Timestamp::from_millis(1_800_000_000_000);
    Decision { kind: "tested".into(), actor: "test".into(), at, payload: serde_json::json!({ "n": n }) }
}

/// A folder with a little of everything, and its backup.
fn small(place: &Path, filler: usize) -> PathBuf {
    let base = place.join("source");
    std::fs::create_dir_all(base.join("data/keys")).unwrap();
    std::fs::write(base.join("node.toml"), b"config-version = 1\n").unwrap();
    std::fs::write(base.join("data/keys/auth.key"), vec![5; filler]).unwrap();
    std::fs::write(place.join("token"), b"outside").unwrap();
    let out = place.join("backup.truc");
    let mut collection = Collection::new(&base).unwrap();
    collection.file(&base.join("node.toml")).unwrap();
    collection.file(&place.join("token")).unwrap();
    collection.file_if_there(&base.join("nothing")).unwrap();
    collection.folder(&base.join("data/keys")).unwrap();
    collection.folder(&base.join("data/keys")).unwrap();
    write_archive(&out, &manifest(&collection), collection, &stretcher("secret")).unwrap();
    out
}

fn restore(file: &Path, dir: &Path) -> Result<Manifest, ArchiveError> {
    restore_archive(file, "node", &stretcher("secret"), dir, |_, _| Ok(()))
}

/// Nothing of a failed restore may be left, neither the folder nor what was made beside it.
fn nothing_beside(place: &Path, before: usize) {
    assert_eq!(std::fs::read_dir(place).unwrap().count(), before);
}

#[test]
fn what_was_backed_up_is_there_again() {
    let place = tempfile::tempdir().unwrap();
    let out = small(place.path(), 300_000);
    let dir = place.path().join("new/restored");
    let told = restore(&out, &dir).unwrap();
    assert_eq!(std::fs::read(dir.join("node.toml")).unwrap(), b"config-version = 1\n");
    assert_eq!(std::fs::read(dir.join("data/keys/auth.key")).unwrap(), vec![5; 300_000]);
    assert_eq!(told.outside, [place.path().join("token").display().to_string()]);
    let kept = dir.join("outside").join(place.path().strip_prefix("/").unwrap()).join("token");
    assert_eq!(std::fs::read(kept).unwrap(), b"outside");
    assert_eq!(verify_archive(&out, "node", &stretcher("secret")).unwrap(), told);
    // An empty folder is taken, another is not.
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    restore(&out, &empty).unwrap();
    assert_eq!(restore(&out, &empty), Err(ArchiveError::NotEmpty(empty)));
}

#[test]
fn refusals_say_what_is_wrong_and_leave_nothing() {
    let place = tempfile::tempdir().unwrap();
    let out = small(place.path(), 10);
    let dir = place.path().join("restored");
    let before = std::fs::read_dir(place.path()).unwrap().count();
    let wrong = restore_archive(&out, "node", &stretcher("guess"), &dir, |_, _| Ok(()));
    assert_eq!(wrong, Err(ArchiveError::NotOpened));
    let other = restore_archive(&out, "registry", &stretcher("secret"), &dir, |_, _| Ok(()));
    assert!(matches!(other, Err(ArchiveError::OtherKind { .. })), "{other:?}");
    let unfit = restore_archive(&out, "node", &stretcher("secret"), &dir, |_, _| Err("no".into()));
    assert_eq!(unfit, Err(ArchiveError::Contents("no".into())));
    nothing_beside(place.path(), before);
    let again = Collection::new(place.path()).unwrap();
    let exists = write_archive(&out, &manifest(&again), again, &stretcher("secret"));
    assert_eq!(exists, Err(ArchiveError::Exists(out.clone())));
    let mut newer = std::fs::read(&out).unwrap();
    newer[9] = 2;
    let file = place.path().join("newer");
    std::fs::write(&file, newer).unwrap();
    assert_eq!(restore(&file, &dir), Err(ArchiveError::Newer { found: 2, known: 1 }));
    std::fs::write(&file, b"something else").unwrap();
    assert_eq!(restore(&file, &dir), Err(ArchiveError::NotABackup(file.clone())));
    nothing_beside(place.path(), before + 1);
    // A passphrase that cannot be stretched, and a disk that has no such folder.
    let none = Collection::new(place.path()).unwrap();
    let failing = |_: &Stretch| Err("no memory".to_owned());
    let nowhere = place.path().join("nowhere/backup");
    assert!(matches!(
        write_archive(&nowhere, &manifest(&none), none, &failing),
        Err(ArchiveError::Io { .. })
    ));
}

#[test]
fn no_byte_can_be_changed() {
    let place = tempfile::tempdir().unwrap();
    let out = small(place.path(), 100);
    let good = std::fs::read(&out).unwrap();
    let (file, dir) = (place.path().join("changed"), place.path().join("restored"));
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, bytes).unwrap();
        assert!(restore(&file, &dir).is_err(), "byte {at}");
    }
    assert!(!dir.exists());
    for length in 0..good.len() {
        std::fs::write(&file, &good[..length]).unwrap();
        assert!(verify_archive(&file, "node", &stretcher("secret")).is_err(), "cut at {length}");
    }
}

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

#[test]
fn ten_thousand_mutations_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let good = std::fs::read(small(place.path(), 2 * cipher::CHUNK)).unwrap();
    let sealed = cipher::CHUNK + 16;
    let head = 12 + usize::from(u16::from_be_bytes([good[10], good[11]]));
    let chunks = (good.len() - head) / sealed;
    assert!(chunks >= 2);
    let file = place.path().join("changed");
    let mut dice = Dice(20_261_122);
    for round in 0..10_000 {
        let mut bytes = good.clone();
        let at = dice.below(bytes.len());
        match dice.below(7) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, vec![0; 1 + dice.below(40)])),
            3 => drop(bytes.drain(at..good.len().min(at + 1 + dice.below(sealed)))),
            4 => bytes.extend_from_slice(&good[at..]),
            // Whole chunks: another order, or one left out.
            5 => {
                let (first, second) = bytes[head..].split_at_mut(sealed);
                first.swap_with_slice(&mut second[..sealed]);
            }
            _ => drop(bytes.drain(head..head + sealed * (1 + dice.below(chunks)))),
        }
        if bytes == good {
            continue;
        }
        std::fs::write(&file, &bytes).unwrap();
        assert!(verify_archive(&file, "node", &stretcher("secret")).is_err(), "round {round}");
    }
}

#[test]
fn what_is_authentic_but_no_backup_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let seal = |entries: &[(&str, tar::EntryType, &[u8])]| {
        let file = place.path().join("odd");
        let made = Timestamp::from_millis(0);
        let out = std::fs::File::create(&file).unwrap();
        let sealer = Sealer::begin(out, "node", made, &stretcher("secret")).unwrap();
        let mut tar = tar::Builder::new(sealer);
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // The library would not write such names by itself.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
        restore(&file, &place.path().join("restored")).unwrap_err().to_string()
    };
    let collection = Collection::new(place.path()).unwrap();
    let good = serde_json::to_vec(&manifest(&collection)).unwrap();
    let newer = String::from_utf8(good.clone()).unwrap().replace("\"v\":1", "\"v\":2");
    let regular = tar::EntryType::Regular;
    let with = |name, kind| seal(&[(MANIFEST, regular, &good[..]), (name, kind, b"x")]);
    assert!(with("../escaped", regular).contains("no plain file"));
    assert!(with("/etc/escaped", regular).contains("no plain file"));
    assert!(with("link", tar::EntryType::Symlink).contains("no plain file"));
    assert!(seal(&[("node.toml", regular, b"x")]).contains("does not begin with its manifest"));
    assert!(seal(&[]).contains("empty"));
    assert!(seal(&[(MANIFEST, regular, newer.as_bytes())]).contains("format 2"));
    assert!(seal(&[(MANIFEST, regular, b"{}")]).contains("manifest"));
    assert!(!place.path().join("escaped").exists());
}

#[test]
fn a_journal_is_backed_up_while_it_is_written() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("source/data");
    let folder = DataFolder::open(&data).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let journal = Arc::new(DecisionJournal::open(&data, "decisions", Arc::new(OneKey)).unwrap());
    runtime.block_on(journal.append(decision(0))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (journal, stop) = (Arc::clone(&journal), Arc::clone(&stop));
        runtime.spawn(async move {
            let mut n = 1;
            while !stop.load(Ordering::Relaxed) {
                journal.append(decision(n)).await.unwrap();
                n += 1;
            }
            n
        })
    };
    let mut backups = Vec::new();
    for round in 0..6 {
        let out = place.path().join(format!("backup-{round}"));
        let mut collection = Collection::new(&place.path().join("source")).unwrap();
        collection.file(&data.join("FORMAT")).unwrap();
        let end = collection.journal(&data, "decisions").unwrap();
        let none = collection.journal_end(&data, "evidence").unwrap();
        assert_eq!(none.records, 0);
        write_archive(&out, &manifest(&collection), collection, &stretcher("secret")).unwrap();
        backups.push((out, end));
    }
    stop.store(true, Ordering::Relaxed);
    let written = runtime.block_on(writer).unwrap();
    let all = runtime.block_on(journal.replay()).unwrap();
    assert_eq!(all.len() as u64, written);
    drop((journal, folder));
    for (round, (file, end)) in backups.into_iter().enumerate() {
        let dir = place.path().join(format!("restored-{round}"));
        let told = restore(&file, &dir).unwrap();
        assert_eq!(told.journals["decisions"], end);
        let data = dir.join("data");
        let report = fsck(&data, Some(&OneKey)).unwrap();
        assert_eq!((report.problems, report.torn, report.decisions), (vec![], vec![], end.records));
        let folder = DataFolder::open(&data).unwrap();
        let journal = DecisionJournal::open(&data, "decisions", Arc::new(OneKey)).unwrap();
        let replayed = runtime.block_on(journal.replay()).unwrap();
        assert_eq!(replayed, all[..usize::try_from(end.records).unwrap()]);
        // It goes on where it ended, in a segment of its own: no nonce of the lost ones is used again.
        let next = runtime.block_on(journal.append(decision(9))).unwrap();
        assert_eq!(next.sequence, end.records);
        drop((journal, folder));
        assert_eq!(fsck(&data, Some(&OneKey)).unwrap().problems, []);
    }
}
