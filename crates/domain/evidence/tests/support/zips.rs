//! Containers as files: taken apart, put together, and checked by hand.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use truc_trust::Certificate;

use super::Scene;

/// An entry's name and content.
pub(crate) type Entry = (String, Vec<u8>);

/// All entries, in order.
pub(crate) fn entries(container: &[u8]) -> Vec<Entry> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(container)).unwrap();
    (0..archive.len())
        .map(|i| {
            let mut file = archive.by_index(i).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (file.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// A correct ZIP of any entries, duplicates and odd names included.
pub(crate) fn zipped(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let offset = out.len() as u32;
        let mut shared = vec![10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend(crc32(bytes).to_le_bytes());
        shared.extend((bytes.len() as u32).to_le_bytes());
        shared.extend((bytes.len() as u32).to_le_bytes());
        shared.extend((name.len() as u16).to_le_bytes());
        shared.extend([0, 0]);
        out.extend(0x0403_4b50u32.to_le_bytes());
        out.extend(&shared);
        out.extend(name.as_bytes());
        out.extend(bytes);
        central.extend(0x0201_4b50u32.to_le_bytes());
        central.extend([10, 3]);
        central.extend(&shared);
        central.extend([0; 10]);
        central.extend(offset.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (count, start) = (entries.len() as u16, out.len() as u32);
    out.extend(&central);
    out.extend(0x0605_4b50u32.to_le_bytes());
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// True when the program is there; required and absent is a failure.
pub(crate) fn installed(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).output().is_ok();
    if !found {
        assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "{program} is required and was not found");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Runs the container's own note; its result and what it said.
pub(crate) fn by_hand(unpacked: &Path) -> (bool, String) {
    let out =
        Command::new("sh").args(["-e", "META-INF/notes/README.txt"]).current_dir(unpacked).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), said)
}

/// A folder with the container, the certificates that come from outside, and the container unpacked.
pub(crate) fn unpack(scene: &Scene, container: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("container.asice"), container).unwrap();
    let pem = |name: &str, certificate: &Certificate| {
        let text = truc_trust::pem("CERTIFICATE", certificate.der());
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    pem("ca.pem", &scene.ca);
    if let Some(tsa) = &scene.tsa {
        pem("tsa.pem", tsa);
    }
    let out = Command::new("unzip")
        .args(["-q", "container.asice", "-d", "unpacked"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let unpacked = dir.path().join("unpacked");
    (dir, unpacked)
}
