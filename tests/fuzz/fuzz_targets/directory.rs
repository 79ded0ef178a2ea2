//! Every document of the directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_directory::{
    Aliases, Anchor, Endorsed, Groups, Head, MemberEntry, Root, SignedHead, TrustServices, verify_root_chain,
};

const ANCHOR: &[u8] = include_bytes!("../../../crates/domain/directory/tests/golden/anchor.json");

fuzz_target!(|bytes: &[u8]| {
    /// What is read is written and read again as the same, and writing settles at once.
    macro_rules! stable {
        ($type:ident, $write:ident) => {
            if let Ok(read) = $type::parse(bytes) {
                let written = read.$write();
                assert_eq!($type::parse(&written).as_ref(), Ok(&read), stringify!($type));
                assert_eq!($type::parse(&written).map(|again| again.$write()), Ok(written));
            }
        };
    }
    stable!(Anchor, to_json);
    stable!(Endorsed, to_bytes);
    stable!(Root, to_bytes);
    stable!(TrustServices, to_bytes);
    stable!(MemberEntry, to_bytes);
    stable!(Groups, to_bytes);
    stable!(Aliases, to_bytes);
    stable!(Head, to_bytes);
    stable!(SignedHead, to_bytes);
    if let Ok(head) = Head::parse(bytes) {
        for part in &head.parts {
            assert_eq!(head.part(&part.name), Some(part));
        }
        assert!(head.root_parts().count() <= head.parts.len());
    }
    let anchor = Anchor::parse(ANCHOR).expect("golden");
    let chain = [bytes::Bytes::copy_from_slice(bytes)];
    let _ = verify_root_chain(&anchor, &chain);
});
