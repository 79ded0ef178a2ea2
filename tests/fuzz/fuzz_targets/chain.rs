//! Paths of certificates whose extensions are anything, but whose signatures hold.
//!
//! Input: a shape, the length of the end certificate's extensions (u16), those, and those of the one between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_fuzz::authority::{CA, certificate, name, noon};
use truc_trust::{Certificate, Purpose, check_path};

fuzz_target!(|data: &[u8]| {
    let [shape, high, low, extensions @ ..] = data else { return };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(extensions.len());
    let (of_end, of_middle) = extensions.split_at(length);
    let (middle_name, end_name) = (name("middle"), name("end"));
    let middle = certificate(CA.subject_raw(), &middle_name, 2, of_middle);
    let above = if shape & 1 == 0 { CA.subject_raw() } else { middle_name.as_slice() };
    let end = certificate(above, &end_name, 3, of_end);
    let Ok(end) = Certificate::from_der(&end) else { return };
    let middle: Vec<Certificate> = Certificate::from_der(&middle).into_iter().collect();
    for purpose in [Purpose::Auth, Purpose::Sign, Purpose::TimeStamping] {
        let Ok(path) = check_path(&end, &middle, std::slice::from_ref(&CA), purpose, noon()) else {
            continue;
        };
        assert_eq!(path.anchor, *CA);
        assert!(path.issuer.is_ca() && path.issuer.subject_raw() == end.issuer_raw() && end.may_sign());
        assert!(purpose != Purpose::Auth || end.for_client_auth() && end.for_server_auth());
        assert!(purpose != Purpose::TimeStamping || end.for_time_stamping());
    }
});
