//! Signed notes and what lies in them: checkpoints, presentations, what a witness holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use truc_log::{Checkpoint, Head, LogView, NoteKey, Presentation, SignedNote, log_of, log_origin};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(SignedNote::parse(&note.to_string()).as_ref(), Ok(&note));
    }
    if let Some((node, log)) = log_of(text) {
        assert_eq!(log_origin(&node, log), text);
    }
    if let Ok(view) = serde_json::from_str::<LogView>(text) {
        let written = serde_json::to_string(&view).expect("a view is written");
        assert_eq!(serde_json::from_str::<LogView>(&written).expect("and read again"), view);
    }
    let checkpoint = Checkpoint::parse(text);
    if let Ok(checkpoint) = &checkpoint {
        assert_eq!(checkpoint.to_string(), text);
    }
    // The same as the text of a note that is signed: what a node may show.
    let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&[1; 32]) else { return };
    let name = checkpoint.as_ref().map_or("NODE:VN/GOV/H26/ss1", |checkpoint| &checkpoint.origin);
    let Ok(key) = NoteKey::new(name, pair.public_key().as_ref()) else { return };
    let signature = pair.sign(data).as_ref().to_vec();
    let Ok(note) = SignedNote::assemble(text.to_owned(), &key, signature) else { return };
    let written = note.to_string();
    assert_eq!(SignedNote::parse(&written).as_ref(), Ok(&note));
    if let Ok(head) = Head::verify(&written, &key) {
        assert_eq!((head.checkpoint().to_string().as_str(), head.note().to_string()), (text, written.clone()));
        assert_eq!(Head::claimed_origin(&written).as_deref(), Ok(name));
    }
    if let Ok(shown) = Presentation::verify(&written, &key) {
        assert_eq!(shown.to_string(), text);
    }
});
