//! Certificate requests (PKCS#10): DER and PEM, and requests with a valid signature around anything.
#![no_main]

use base64::Engine as _;
use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use rcgen::SigningKey as _;
use truc_directory::Usage;
use truc_fuzz::Edits;
use truc_fuzz::der::{ECDSA_SHA256, INTEGER, SEQUENCE, bits, tlv};
use truc_trust::{CertificateRequest, SubjectAttribute};

thread_local! {
    static KEY: rcgen::KeyPair = rcgen::KeyPair::generate().expect("a key");
}

fuzz_target!(|data: &[u8]| {
    judged(data);
    let _ = CertificateRequest::from_pem(data);
    // With the signature right, the rest is all that stands between the octets and belief.
    KEY.with(|key| {
        let info = tlv(SEQUENCE, &[data]);
        judged(&signed(key, &info));
        let Ok(edits) =
            <Edits as libfuzzer_sys::arbitrary::Arbitrary>::arbitrary(&mut Unstructured::new(data))
        else {
            return;
        };
        let mut subject = rcgen::CertificateParams::default()
            .serialize_request(key)
            .map(|request| request.der().to_vec())
            .unwrap_or_default();
        edits.apply(&mut subject);
        judged(&subject);
        let version = tlv(INTEGER, &[&[0]]);
        let edited = tlv(SEQUENCE, &[&version, &subject]);
        judged(&signed(key, &edited));
    });
});

fn signed(key: &rcgen::KeyPair, info: &[u8]) -> Vec<u8> {
    let signature = key.sign(info).unwrap_or_default();
    tlv(SEQUENCE, &[info, ECDSA_SHA256, &bits(&signature)])
}

fn judged(data: &[u8]) {
    let Ok(read) = CertificateRequest::from_der(data) else { return };
    assert_eq!(read.der(), data);
    let coded = base64::engine::general_purpose::STANDARD.encode(data);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{coded}\n-----END CERTIFICATE REQUEST-----\n");
    assert_eq!(CertificateRequest::from_pem(pem.as_bytes()).as_ref(), Ok(&read));
    let _ = (read.subject(), read.subject_attribute(SubjectAttribute::CommonName));
    for usage in [Usage::Sign, Usage::Auth] {
        let _ = read.named(usage);
    }
}
