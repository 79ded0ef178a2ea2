//! Certificates: DER and PEM.
#![no_main]

use base64::Engine as _;
use libfuzzer_sys::fuzz_target;
use truc_fuzz::authority::{CA, noon};
use truc_trust::{Certificate, Purpose, SubjectAttribute, check_path};

fuzz_target!(|data: &[u8]| {
    let _ = Certificate::all_from_pem(data);
    let Ok(read) = Certificate::from_der(data) else { return };
    assert_eq!(read.der(), data);
    let coded = base64::engine::general_purpose::STANDARD.encode(data);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{coded}\n-----END CERTIFICATE-----\n");
    assert_eq!(Certificate::from_pem(pem.as_bytes()).as_ref(), Ok(&read));
    let _ = (read.subject(), read.subject_attribute(SubjectAttribute::CommonName), read.is_ca());
    let _ = (read.may_sign(), read.for_time_stamping(), read.valid_at(noon()));
    for purpose in [Purpose::Auth, Purpose::Sign, Purpose::TimeStamping] {
        // As the end, in the middle, and at the top.
        let _ = check_path(&read, &[], std::slice::from_ref(&CA), purpose, noon());
        let _ = check_path(&CA, std::slice::from_ref(&read), std::slice::from_ref(&CA), purpose, noon());
        let _ = check_path(&CA, &[], std::slice::from_ref(&read), purpose, noon());
    }
});
