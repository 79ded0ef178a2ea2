//! Whatever bytes arrive, reading them ends in a value or an error, and a changed directory is never believed.

use bytes::Bytes;
use proptest::prelude::*;
use truc_directory::*;

use crate::bus::Bus;

fn read_everything(bytes: &[u8]) {
    let _ = Anchor::parse(bytes);
    let _ = Endorsed::parse(bytes);
    let _ = Root::parse(bytes);
    let _ = TrustServices::parse(bytes);
    let _ = MemberEntry::parse(bytes);
    let _ = Groups::parse(bytes);
    let _ = Aliases::parse(bytes);
    let _ = Head::parse(bytes);
    let _ = SignedHead::parse(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_everything(&bytes);
    }

    #[test]
    fn documents_with_a_changed_byte_are_read_without_a_panic(which in 0usize..8, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let bus = Bus::new();
        let documents = [bus.anchor.to_json(), bus.chain[0].clone(), bus.parts[0].1.clone(), bus.parts[1].1.clone(),
            bus.parts[2].1.clone(), bus.parts[3].1.clone(), bus.head.to_bytes(), bus.signed().to_bytes()];
        let mut bytes = documents[which].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        read_everything(&bytes);
    }

    #[test]
    fn a_changed_envelope_or_root_is_never_believed_as_something_else(root in any::<bool>(), at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let mut bus = Bus::new();
        let good = bus.assemble().unwrap().head().clone();
        let store = bus.store();
        let mut signed = bus.signed().to_bytes().to_vec();
        let mut chain = bus.chain[0].to_vec();
        let target = if root { &mut chain } else { &mut signed };
        let at = at.index(target.len());
        target[at] ^= flip;
        bus.chain[0] = Bytes::from(chain);
        if let Ok(head) = SignedHead::parse(&signed)
            && let Ok(directory) = Directory::assemble(&bus.anchor, &bus.chain, &head, |d| store.get(d).cloned())
        {
            prop_assert_eq!(directory.head(), &good);
        }
    }
}
