//! Directories with good signatures over parts that are anything.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use truc_directory::{MemberEntry, TrustServices, part};
use truc_fuzz::{Edits, bus};

const GOLDEN: [&[u8]; 3] = [
    include_bytes!("../../../crates/domain/directory/tests/golden/groups.json"),
    include_bytes!("../../../crates/domain/directory/tests/golden/aliases.json"),
    include_bytes!("../../../crates/domain/directory/tests/golden/member.json"),
];

fuzz_target!(|input: (Edits, Edits, Edits, Option<Edits>, Option<&[u8]>)| {
    let (groups, aliases, member, second, trust) = input;
    let edited = |golden: &[u8], edits: &Edits| {
        let mut bytes = golden.to_vec();
        edits.apply(&mut bytes);
        Bytes::from(bytes)
    };
    let name = |bytes: &Bytes| {
        MemberEntry::parse(bytes).map(|m| part::member(&m.id)).unwrap_or("member/VN/GOV/X".into())
    };
    let mut parts = vec![
        (part::GROUPS.to_owned(), edited(GOLDEN[0], &groups)),
        (part::ALIASES.to_owned(), edited(GOLDEN[1], &aliases)),
    ];
    for edits in [Some(&member), second.as_ref()].into_iter().flatten() {
        let bytes = edited(GOLDEN[2], edits);
        parts.push((name(&bytes), bytes));
    }
    let empty = TrustServices::empty("VN").to_bytes();
    let Ok(directory) = bus::assemble(trust.unwrap_or(&empty), parts) else { return };
    assert_eq!(directory.instance(), "VN");
    for member in directory.members() {
        assert_eq!(directory.member(&member.id), Some(member));
        assert_eq!(member.id.instance(), "VN");
        for certificate in &member.sign_certificates {
            assert!(
                directory.has_sign_certificate(&member.id, &certificate.fingerprint),
                "one seal, one member"
            );
        }
        for node in &member.nodes {
            assert_eq!(directory.node(&node.id), Some(node));
            for certificate in &node.auth_certificates {
                assert_eq!(
                    directory.node_of_auth_certificate(certificate),
                    Some(node),
                    "one identity, one node"
                );
            }
            for subsystem in &node.serves {
                assert!(directory.speaks_for(&node.id, subsystem));
            }
        }
    }
});
