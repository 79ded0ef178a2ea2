//! Time-stamp responses and tokens.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use truc_fuzz::authority::{CA, noon};
use truc_fuzz::der;
use truc_model::Digest;
use truc_trust::timestamp::{
    SIZE_LIMIT, TimeStampAuthority, TimeStampRequest, TimeStampToken, judge_response, judge_token,
};

static AUTHORITY: LazyLock<TimeStampAuthority> = LazyLock::new(|| TimeStampAuthority {
    name: "TSA".into(),
    certificate: CA.clone(),
    url: "http://tsa.invalid/".into(),
});

const IMPRINT: Digest = Digest([7; 32]);

/// The token around statements and signers that are whatever they are.
fn around(content: &[u8], rest: &[u8]) -> Vec<u8> {
    const TST_INFO: [u8; 13] = [0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
    const SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    const SHA256: [u8; 13] = [0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    let octets = der::tlv(0xa0, &[&der::tlv(0x04, &[content])]);
    let data = der::tlv(
        der::SEQUENCE,
        &[
            &der::tlv(der::INTEGER, &[&[3]]),
            &der::tlv(0x31, &[&SHA256]),
            &der::tlv(der::SEQUENCE, &[&TST_INFO, &octets]),
            rest,
        ],
    );
    der::tlv(der::SEQUENCE, &[&SIGNED_DATA, &der::tlv(0xa0, &[&data])])
}

fn judge(token: &[u8]) {
    if let Ok(read) = TimeStampToken::read(token) {
        assert!(token.len() <= SIZE_LIMIT && read.der() == token);
    }
    // Nobody here has the key: nothing is believed.
    assert!(judge_token(token, IMPRINT, &AUTHORITY).is_err());
}

fuzz_target!(|data: &[u8]| {
    let request = TimeStampRequest::new(IMPRINT, 0x1234_5678);
    assert!(judge_response(data, &request, &AUTHORITY, noon()).is_err());
    judge(data);
    let (content, rest) = data.split_at(data.len() / 2);
    judge(&around(content, rest));
    judge(&around(&der::tlv(der::SEQUENCE, &[content]), &der::tlv(0x31, &[rest])));
});
