//! Evidence records of RFC 4998.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_evidence::ers::{EvidenceRecord, SIZE_LIMIT, Tree};
use truc_fuzz::Edits;
use truc_model::Digest;

fn read(der: &[u8]) {
    let Ok(record) = EvidenceRecord::from_der(der) else { return };
    assert!(der.len() <= SIZE_LIMIT);
    assert_eq!(record.to_der().as_deref(), Ok(der), "one record has one form");
    let layout = record.layout().unwrap();
    assert_eq!(&der[layout.token.clone()], record.token());
    for (place, digest) in
        layout.lists.iter().flatten().zip(record.group().iter().copied().chain(record.siblings()))
    {
        assert_eq!(&der[place.clone()], digest.as_bytes());
    }
    assert!(record.verify(record.group()).is_ok());
}

fuzz_target!(|input: (Edits, u8, u8, Vec<u8>)| {
    let (edits, size, place, bytes) = input;
    read(&bytes);
    // An honest one, changed: nothing but its own digests verify.
    let leaves: Vec<Digest> = (0..=size).map(|n| Digest::of(&[n])).collect();
    let index = usize::from(place) % leaves.len();
    let tree = Tree::new(leaves.clone()).unwrap();
    let group = [Digest::of(b"manifest"), Digest::of(b"cms")];
    let record = EvidenceRecord::new(&group, &tree.path(index).unwrap(), &[0x30, 0x00]).unwrap();
    let root = record.verify(&group).unwrap();
    let mut der = record.to_der().unwrap();
    edits.apply(&mut der);
    read(&der);
    if let Ok(changed) = EvidenceRecord::from_der(&der)
        && changed != record
        && changed.token() == record.token()
    {
        assert_ne!(changed.verify(&group), Ok(root), "another way leads to the same root");
    }
});
