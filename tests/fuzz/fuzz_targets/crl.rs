//! Revocation lists: any bytes, and any entries under a signature that holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_fuzz::authority::{CA, noon, signed};
use truc_fuzz::der;
use truc_trust::{Verdict, crl};

fn judge(bytes: &[u8]) {
    let Ok(list) = crl::read(bytes, &CA) else { return };
    if let Ok(status) = list.judge(&CA, noon()) {
        assert!(status.verdict != Verdict::Unknown && list.next_update() >= noon());
    }
}

fuzz_target!(|data: &[u8]| {
    judge(data);
    judge(&signed(data));
    // Past the name of the CA, which a fuzzer would have to guess.
    let head: [&[u8]; 3] = [&[0x02, 1, 1], der::ECDSA_SHA256, CA.subject_raw()];
    judge(&signed(&der::tlv(der::SEQUENCE, &[&head.concat(), data])));
    let times = [der::time("261121000000Z"), der::time("261122000000Z")].concat();
    judge(&signed(&der::tlv(der::SEQUENCE, &[&head.concat(), &times, data])));
});
