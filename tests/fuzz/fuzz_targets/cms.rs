//! Signatures of messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_trust::cms;

const MANIFEST: &[u8] = include_bytes!("../../../crates/domain/trust/tests/golden/manifest.xml");
const GOLDEN: [&[u8]; 2] = [
    include_bytes!("../../../crates/domain/trust/tests/golden/cades-b.p7s"),
    include_bytes!("../../../crates/domain/trust/tests/golden/cades-b-openssl.p7s"),
];

fuzz_target!(|der: &[u8]| {
    let Ok(message) = cms::read(der) else { return };
    assert!(der.len() <= cms::SIZE_LIMIT && message.intermediates().len() < cms::CERTIFICATES_LIMIT);
    assert_eq!(message.signing_time(), message.signing_time().whole_second());
    // Strict DER without room for anything unsigned: nothing but the known signatures holds over the manifest. (Other
    // certificates may be carried beside the signer's.)
    if message.verify(MANIFEST).is_ok() && message.intermediates().is_empty() {
        assert!(GOLDEN.contains(&der), "another signature over the manifest holds");
    }
});
