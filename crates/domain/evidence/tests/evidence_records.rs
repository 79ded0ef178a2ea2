//! Evidence records by hand: openssl takes the hashes and the token out of the file, and they lead from the record's own
//! digests to what the token names.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

use std::ops::Range;
use std::path::Path;
use std::process::Command;

use truc_evidence::ers::{EvidenceRecord, Tree, group_hash};
use truc_model::Digest;

fn shell(dir: &Path, script: &str) -> String {
    let out =
        Command::new("sh").args(["-e", "-c", script]).env("LC_ALL", "C").current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout.as_slice(), &out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{script}\n{said}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A time-stamp authority of openssl's; none, said loudly, where there is no openssl.
fn authority(dir: &Path) -> bool {
    if !Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "openssl is required and was not found");
        eprintln!("SKIPPED: openssl is not installed");
        return false;
    }
    shell(
        dir,
        "openssl ecparam -name prime256v1 -genkey -noout -out tsa.key
         openssl req -x509 -new -key tsa.key -days 2 -subj /O=Pilot/CN=TSA -out tsa.pem -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=critical,timeStamping
         printf '01\\n' > serial
         printf '[tsa]\\ndefault_tsa=t\\n[t]\\nserial=serial\\nsigner_cert=tsa.pem\\nsigner_key=tsa.key\\ndefault_policy=1.2.3.4.1\\ndigests=sha256\\nsigner_digest=sha256\\n' > ts.cnf",
    );
    true
}

/// The token over `root`, as openssl makes it.
fn token(dir: &Path, root: Digest) -> Vec<u8> {
    shell(
        dir,
        &format!(
            "openssl ts -query -digest {root} -sha256 -cert -no_nonce -out request
             openssl ts -reply -config ts.cnf -queryfile request -token_out -out token"
        ),
    );
    std::fs::read(dir.join("token")).unwrap()
}

/// Takes the digests of one list out of the file; names the files by what they hold, so that a list of them is sorted as the
/// hashes are.
fn take_out(dir: &Path, list: &[Range<usize>], name: &str) {
    for place in list {
        let element = place.start - 2;
        shell(
            dir,
            &format!(
                "mkdir -p {name}
                 openssl asn1parse -inform DER -in record.ers -strparse {element} -noout -out one
                 mv one {name}/$(openssl asn1parse -inform DER -in record.ers -offset {element} -length 34 | cut -d: -f4)"
            ),
        );
    }
}

#[test]
fn the_hashes_lead_to_the_token_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    if !authority(dir) {
        return;
    }
    for (size, index, statuses) in [(1usize, 0usize, 0usize), (2, 1, 1), (5, 4, 2), (11, 6, 3)] {
        let parts: Vec<Vec<u8>> = (0..2 + statuses).map(|n| format!("part {n}").into_bytes()).collect();
        let digests: Vec<Digest> = parts.iter().map(|part| Digest::of(part)).collect();
        let mut leaves: Vec<Digest> = (0..size).map(|n| Digest::of(&n.to_be_bytes())).collect();
        leaves[index] = group_hash(digests[0], digests[1], &digests[2..]);
        let tree = Tree::new(leaves).unwrap();
        let record =
            EvidenceRecord::new(&digests, &tree.path(index).unwrap(), &token(dir, tree.root())).unwrap();
        std::fs::write(dir.join("record.ers"), record.to_der().unwrap()).unwrap();
        let layout = record.layout().unwrap();

        // The first list holds the digests of the parts, and nothing else.
        shell(dir, "rm -rf list-* parts; mkdir parts");
        for (number, part) in parts.iter().enumerate() {
            std::fs::write(dir.join("part"), part).unwrap();
            shell(dir, &format!("openssl dgst -sha256 -binary -out parts/{number} part"));
        }
        take_out(dir, &layout.lists[0], "list-0");
        let mut theirs: Vec<Vec<u8>> = files(&dir.join("parts"));
        theirs.sort();
        assert_eq!(files(&dir.join("list-0")), theirs);
        // Its hash goes into the next list, and so on; a list is sorted, joined and hashed.
        let last = layout.lists.len() - 1;
        for (number, list) in layout.lists.iter().enumerate().skip(1) {
            take_out(dir, list, &format!("list-{number}"));
        }
        for number in 0..last {
            shell(
                dir,
                &format!(
                    "cat list-{number}/* > joined
                     hash=$(openssl dgst -sha256 -r joined | cut -d' ' -f1 | tr a-f A-F)
                     openssl dgst -sha256 -binary -out list-{}/$hash joined",
                    number + 1
                ),
            );
        }
        let root = shell(
            dir,
            &format!("cat list-{last}/* > joined; openssl dgst -sha256 -r joined | cut -d' ' -f1"),
        );
        assert_eq!(root, tree.root().to_string());
        // The token, out of the file, is over that.
        let (offset, length) = (layout.token.start, layout.token.len());
        shell(
            dir,
            &format!(
                "openssl asn1parse -inform DER -in record.ers -offset {offset} -length {length} -noout -out taken
                 cmp taken token
                 openssl ts -verify -digest {root} -in taken -token_in -CAfile tsa.pem"
            ),
        );
    }
}

/// The contents of a folder's files, by name.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}
