//! webpki as its users call it, around nothing of ours.

use rustls_pki_types::{CertificateDer, UnixTime};
use truc_trust::Purpose;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use crate::build::{self, Ders};

/// A seal needs no extended key usage.
struct Anything;

impl ExtendedKeyUsageValidator for Anything {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

pub(crate) fn judge(ders: &Ders, purpose: Purpose) -> Result<(), String> {
    match purpose {
        Purpose::Auth => {
            verify(ders, KeyUsage::client_auth()).and_then(|()| verify(ders, KeyUsage::server_auth()))
        }
        Purpose::Sign => verify(ders, Anything),
        Purpose::TimeStamping => verify(ders, KeyUsage::required_if_present(TIME_STAMPING)),
    }
}

fn verify(ders: &Ders, usage: impl ExtendedKeyUsageValidator) -> Result<(), String> {
    let told = |error: webpki::Error| format!("{error:?}");
    let end = CertificateDer::from(ders.end.as_slice());
    let end = EndEntityCert::try_from(&end).map_err(told)?;
    let own = |list: &[Vec<u8>]| list.iter().map(|der| CertificateDer::from(der.clone())).collect::<Vec<_>>();
    let (between, anchors) = (own(&ders.between), own(&ders.anchors));
    let anchors =
        anchors.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(told)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(build::NOW));
    end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &between, time, usage, None, None)
        .map(drop)
        .map_err(told)
}
