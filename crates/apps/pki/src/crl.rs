//! The revocation list (RFC 5280 §5).

use der::Encode as _;
use der::asn1::OctetString;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlReason};
use x509_cert::serial_number::SerialNumber;

use crate::encoding::{algorithm_identifier, extension, key_identifier, sign, time};
use crate::error::PkiError;
use crate::ledger::{IssuedCertificate, RevocationReason};
use crate::pki::Pki;

impl Pki {
    /// The revocation list (RFC 5280 §5), freshly signed.
    ///
    /// # Errors
    /// Reading the ledger or signing failed.
    pub async fn crl(&self) -> Result<Vec<u8>, PkiError> {
        let entries = self.issued().await?;
        let now = self.clock.now();
        let signature =
            algorithm_identifier(self.ca.key.kind.default_algorithm()).ok_or(PkiError::UnusableKey)?;
        let revoked = entries.iter().filter_map(revoked_entry).collect::<Result<Vec<_>, der::Error>>()?;
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(key_identifier(&self.ca.key.public_key))?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        // The number has to grow with each list; milliseconds do.
        let number = u64::try_from(now.millis()).unwrap_or(0);
        let tbs = TbsCertList {
            version: x509_cert::Version::V2,
            signature: signature.clone(),
            issuer: self.ca_name().clone(),
            this_update: time(now)?,
            next_update: Some(time(now.plus(self.config.crl_validity))?),
            // RFC 5280 §5.1.2.6: left out when empty.
            revoked_certificates: (!revoked.is_empty()).then_some(revoked),
            crl_extensions: Some(vec![
                extension("2.5.29.35", false, &authority)?,
                extension("2.5.29.20", false, &number)?,
            ]),
        };
        let value = sign(&self.keys, &self.ca.key, tbs.to_der()?).await?;
        let list = CertificateList { tbs_cert_list: tbs, signature_algorithm: signature, signature: value };
        Ok(list.to_der()?)
    }
}

fn revoked_entry(entry: &IssuedCertificate) -> Option<Result<RevokedCert, der::Error>> {
    let revocation = entry.revoked?;
    let build = || {
        let reason =
            reason_code(revocation.reason).map(|code| extension("2.5.29.21", false, &code)).transpose()?;
        Ok(RevokedCert {
            serial_number: SerialNumber::new(entry.serial.as_bytes())?,
            revocation_date: time(revocation.at)?,
            crl_entry_extensions: reason.map(|r| vec![r]),
        })
    };
    Some(build())
}

/// `None` for "unspecified", which is not written (RFC 5280 §5.3.1).
pub(crate) const fn reason_code(reason: RevocationReason) -> Option<CrlReason> {
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(CrlReason::KeyCompromise),
        RevocationReason::AffiliationChanged => Some(CrlReason::AffiliationChanged),
        RevocationReason::Superseded => Some(CrlReason::Superseded),
        RevocationReason::CessationOfOperation => Some(CrlReason::CessationOfOperation),
    }
}
