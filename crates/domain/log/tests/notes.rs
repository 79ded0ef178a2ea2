//! Signed notes, checkpoints, heads and presentations: other people's notes, their one form, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_log::{
    Checkpoint, Head, HeadError, NoteError, NoteKey, Presentation, SignedNote, chain_line, log_of, log_origin,
};
use truc_model::{Digest, NodeId, Timestamp};

/// The example of golang.org/x/mod/sumdb/note, which C2SP's signed notes are.
const PETER: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const PETERS_KEY: &str = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

const NAME: &str = "NODE:VN/GOV/H26/ss1";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key(seed: u8, name: &str) -> NoteKey {
    NoteKey::new(name, pair(seed).public_key().as_ref()).unwrap()
}

fn signed(text: &str, seed: u8, name: &str) -> SignedNote {
    let signature = pair(seed).sign(text.as_bytes()).as_ref().to_vec();
    SignedNote::assemble(text.to_owned(), &key(seed, name), signature).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: NAME.into(), size, root: Digest::of(b"root"), extensions: vec![] }
}

#[test]
fn a_note_of_other_peoples_tools() {
    let key = STANDARD.decode(PETERS_KEY).unwrap();
    let key = NoteKey::new("PeterNeumann", &key[1..]).unwrap();
    assert_eq!(key.id(), [0xc7, 0x4f, 0x20, 0xa3]);
    let note = SignedNote::parse(PETER).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_string(), PETER);
    let changed = PETER.replace("answer", "answar");
    let wrong = SignedNote::parse(&changed).unwrap().verify(&key);
    assert_eq!(wrong, Err(NoteError::Signature("PeterNeumann".into())));
}

#[test]
fn a_head_is_what_the_documentation_shows() {
    let node: NodeId = "VN/GOV/H26/ss1".parse().unwrap();
    assert_eq!(log_origin(&node, None), NAME);
    let head = signed(&checkpoint(1234).to_string(), 1, NAME).to_string();
    let root = STANDARD.encode(Digest::of(b"root").as_bytes());
    assert!(head.starts_with(&format!("{NAME}\n1234\n{root}\n\n— {NAME} ")), "{head}");
    let read = Head::verify(&head, &key(1, NAME)).unwrap();
    assert_eq!(*read.checkpoint(), checkpoint(1234));
    assert_eq!(read.note().to_string(), head);
    assert_eq!(Head::verify(&head, &key(2, NAME)), Err(NoteError::Unsigned(NAME.into()).into()));
    let other = signed(&checkpoint(1).to_string(), 1, "NODE:VN/GOV/H26/ss2").to_string();
    let other = Head::verify(&other, &key(1, "NODE:VN/GOV/H26/ss2"));
    assert_eq!(other, Err(HeadError::Origin(NAME.into())), "one log's key speaks of another");
    let long = format!("{}x\n", head.trim_end().replace("1234\n", &format!("1234\n{}", "y".repeat(5000))));
    assert_eq!(Head::verify(&long, &key(1, NAME)), Err(HeadError::Long));
}

#[test]
fn other_signatures_are_ignored_and_a_wrong_one_of_the_key_is_not() {
    let text = checkpoint(5).to_string();
    let (ours, theirs) = (signed(&text, 1, NAME).to_string(), signed(&text, 2, "witness").to_string());
    let line = |note: &str| note.lines().last().unwrap().to_owned();
    let both = format!("{ours}{}\n", line(&theirs));
    let read = SignedNote::parse(&both).unwrap();
    assert_eq!(read.signatures().len(), 2);
    assert_eq!((read.verify(&key(1, NAME)), read.verify(&key(2, "witness"))), (Ok(()), Ok(())));
    let stranger = SignedNote::parse(&both).unwrap().verify(&key(3, NAME));
    assert_eq!(stranger, Err(NoteError::Unsigned(NAME.into())), "same name, another key");
    let wrong = line(&signed(&checkpoint(6).to_string(), 1, NAME).to_string());
    let with_wrong = SignedNote::parse(&format!("{ours}{wrong}\n")).unwrap();
    assert_eq!(with_wrong.verify(&key(1, NAME)), Err(NoteError::Signature(NAME.into())));
    assert_eq!(with_wrong.verify(&key(2, "witness")), Err(NoteError::Unsigned("witness".into())));
}

#[test]
fn a_text_may_have_empty_lines() {
    for text in ["\n", "\n\n", "a\n\nb\n", "a\n\n\n", "— no signature\n\n— x AAAAAAA=\n"] {
        let note = signed(text, 1, NAME);
        let read = SignedNote::parse(&note.to_string()).unwrap();
        assert_eq!((read.text(), read.verify(&key(1, NAME))), (text, Ok(())), "{text:?}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let good = signed(&checkpoint(5).to_string(), 1, NAME).to_string();
    let bad = [
        String::new(),
        "\n\n".into(),
        "text\n".into(),
        "text\n\n".into(),
        good.trim_end().into(),
        format!("{good}\n"),
        format!("{good}x\n"),
        good.replace("— ", "- "),
        good.replace("— ", "—  "),
        good.replace('—', "–"),
        good.replacen('\n', "\r\n", 1),
        good.replace("5\n", "5\t\n"),
        good.replace("=\n\n", "=\n"),
        format!("{}=\n", good.trim_end()),
        "text\n\n— name AAAA\n".into(),
        "text\n\n— name AAAAAA==\n".into(),
        "text\n\n— na+me AAAAAAA=\n".into(),
        "text\n\n— na\u{a0}me AAAAAAA=\n".into(),
        "text\n\n—  AAAAAAA=\n".into(),
        format!("text\n\n{}", "— x AAAAAAA=\n".repeat(101)),
        format!("{}\n\n— x AAAAAAA=\n", "x".repeat(1 << 20)),
    ];
    for note in bad {
        assert!(SignedNote::parse(&note).is_err(), "{note:.200}");
    }
    assert!(SignedNote::parse(&format!("text\n\n{}", "— x AAAAAAA=\n".repeat(100))).is_ok());
    for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb"] {
        assert!(matches!(NoteKey::new(name, &[0; 32]), Err(NoteError::Name(_))), "{name:?}");
    }
    assert!(matches!(NoteKey::new("a", &[0; 33]), Err(NoteError::Key(_))));
    let unfit = SignedNote::assemble("no newline".into(), &key(1, NAME), vec![0; 64]);
    assert!(matches!(unfit, Err(NoteError::Form(_))));
}

#[test]
fn a_checkpoint_has_one_form() {
    let good = "log\n10\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let read = Checkpoint::parse(good).unwrap();
    assert_eq!((read.size, read.root, read.to_string().as_str()), (10, Digest::of(b""), good));
    let extended = format!("{good}restored-from unknown\nmore\n");
    let read = Checkpoint::parse(&extended).unwrap();
    assert_eq!((read.extensions.len(), read.to_string()), (2, extended.clone()));
    assert_eq!(read.chain(), None);
    let chain = chain_line(Digest::of(b""));
    let chained = format!("{good}restored-from unknown\n{chain}\n");
    let read = Checkpoint::parse(&chained).unwrap();
    assert_eq!((read.chain(), read.to_string()), (Some(Digest::of(b"")), chained));
    assert_eq!(Checkpoint::parse(&format!("{good}chained up\n")).unwrap().chain(), None);
    let bad = [
        String::new(),
        good.trim_end().into(),
        good.replace("log", ""),
        good.replace("10", "010"),
        good.replace("10", "+10"),
        good.replace("10", "-1"),
        good.replace("10", ""),
        good.replace("10", "18446744073709551616"),
        good.replace("47DE", ""),
        good.replace("FU=", "FV="),
        good.replace("FU=", "FU"),
        format!("{good}\n"),
        format!("{extended}\n"),
        format!("{good}a\tb\n"),
        format!("{good}chain \n"),
        format!("{good}{chain}A\n"),
        format!("{good}{chain}\n{chain}\n"),
        format!("{good}{}\n", "x".repeat(5000)),
    ];
    for text in bad {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
}

#[test]
fn an_origin_names_one_log_of_one_node() {
    let id = "0123456789abcdef0123456789abcdef";
    let node: NodeId = "VN/GOV/H26/a+b".parse().unwrap();
    assert_eq!(log_origin(&node, Some(id)), format!("NODE:VN/GOV/H26/a%2Bb/log-{id}"));
    for log in [None, Some(id)] {
        assert_eq!(log_of(&log_origin(&node, log)), Some((node.clone(), log)));
    }
    for wrong in [
        "VN/GOV/H26/ss1",
        "NODE:VN/GOV/H26",
        "NODE:VN/GOV/H26/a+b",
        "NODE:VN/GOV/H26/ss1/",
        "NODE:VN/GOV/H26/ss1/log-",
        "NODE:VN/GOV/H26/ss1/log-0123456789ABCDEF0123456789ABCDEF",
        "NODE:VN/GOV/H26/ss1/log-0123456789abcdef0123456789abcdef/x",
        "NODE:VN/GOV/H26/ss1/0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(log_of(wrong), None, "{wrong}");
    }
}

#[test]
fn a_presentation_has_one_form_and_is_signed() {
    let shown = Presentation {
        head: Digest::of(b"head"),
        at: Timestamp::from_millis(1_790_000_000_000),
        known: 7,
        proof: vec![Digest::of(b"1"), Digest::of(b"2")],
    };
    let note = signed(&shown.to_string(), 1, NAME).to_string();
    assert_eq!(Presentation::verify(&note, &key(1, NAME)), Ok(shown.clone()));
    assert!(Presentation::verify(&note, &key(2, NAME)).is_err());
    let text = shown.to_string();
    for wrong in [
        text.replace("witness 1", "witness 2"),
        text.replace("\n7\n", "\n+7\n"),
        text.replace("\n7\n", "\n07\n"),
        text.replace("1790", "x"),
        format!("{text}\n"),
        format!("{text}AAAA\n"),
        checkpoint(3).to_string(),
    ] {
        let note = signed(&wrong, 1, NAME).to_string();
        assert!(Presentation::verify(&note, &key(1, NAME)).is_err(), "{wrong:?}");
    }
    assert!(Head::verify(&note, &key(1, NAME)).is_err(), "a presentation is no head");
    let long = Presentation { proof: vec![Digest([0; 32]); 66], ..shown };
    let note = signed(&long.to_string(), 1, NAME).to_string();
    assert!(Presentation::verify(&note, &key(1, NAME)).is_err(), "no proof is so long");
}
