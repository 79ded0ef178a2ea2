//! OCSP answers and requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_fuzz::authority::{CA, certificate, name, noon, signed};
use truc_fuzz::der;
use truc_trust::{Certificate, ocsp};

/// The answer around response data that are signed, whatever they are.
fn around(data: &[u8]) -> Vec<u8> {
    const BASIC: [u8; 11] = [0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let bytes = der::tlv(der::SEQUENCE, &[&BASIC, &der::tlv(0x04, &[&signed(data)])]);
    der::tlv(der::SEQUENCE, &[&[0x0a, 1, 0], &der::tlv(0xa0, &[&bytes])])
}

fn judge(bytes: &[u8]) {
    let Ok(answer) = ocsp::read(bytes) else { return };
    assert!(bytes.len() <= ocsp::SIZE_LIMIT);
    let leaf = Certificate::from_der(&certificate(CA.subject_raw(), &name("leaf"), 3, &[])).ok();
    for certificate in leaf.iter().chain([&*CA]) {
        if let Ok(status) = answer.judge(certificate, &CA, noon()) {
            let latest = noon().plus(std::time::Duration::from_secs(60));
            assert!(status.this_update <= latest && status.produced_at <= latest);
            assert!(status.next_update.is_none_or(|next| next >= status.this_update));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    judge(data);
    judge(&around(data));
    judge(&around(&der::tlv(der::SEQUENCE, &[data])));
    if let Ok(ids) = ocsp::read_request(data) {
        assert!((1..=ocsp::ENTRIES_LIMIT).contains(&ids.len()));
        let _ = ids.iter().filter(|id| id.is_of(&CA)).count();
    }
});
