//! What the pilot PKI's certificates look like; for members and nodes that is profile `truc-1`.

use der::asn1::{BitString, Ia5String, Null, ObjectIdentifier, OctetString};
use der::{Encode as _, flagset::FlagSet};
use spki::SubjectPublicKeyInfoOwned;
use truc_keys::{KeyInfo, Signer};
use truc_model::{MemberId, NodeId, Timestamp};
use x509_cert::certificate::{CertificateInner, TbsCertificateInner, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
    CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Validity;
use x509_cert::{Certificate, TbsCertificate};

use crate::encoding::{
    COMMON_NAME, ORGANIZATION, ORGANIZATION_IDENTIFIER, algorithm_identifier, extension, key_identifier,
    name, organization_text, sign, time,
};
use crate::error::PkiError;
use crate::ledger::Serial;

/// In the name of everything this PKI issues to itself.
pub(crate) const PILOT: &str = "Trục pilot — CHỈ DÙNG THỬ NGHIỆM, not for production";

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const ACCESS_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Usage {
    Ca,
    Ocsp,
    Tsa,
    Sign,
    Auth,
}

impl Usage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Ocsp => "ocsp",
            Self::Tsa => "tsa",
            Self::Sign => "sign",
            Self::Auth => "auth",
        }
    }

    fn key_usages(self) -> FlagSet<KeyUsages> {
        match self {
            Self::Ca => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            Self::Ocsp | Self::Auth => KeyUsages::DigitalSignature.into(),
            Self::Tsa | Self::Sign => KeyUsages::DigitalSignature | KeyUsages::NonRepudiation,
        }
    }

    fn extended(self) -> Option<Vec<ObjectIdentifier>> {
        match self {
            Self::Ca | Self::Sign => None,
            Self::Ocsp => Some(vec![OCSP_SIGNING]),
            Self::Tsa => Some(vec![TIME_STAMPING]),
            Self::Auth => Some(vec![CLIENT_AUTH, SERVER_AUTH]),
        }
    }
}

/// What is to be certified.
pub(crate) struct Subject {
    pub(crate) usage: Usage,
    pub(crate) name: Name,
    pub(crate) key: SubjectPublicKeyInfoOwned,
}

/// Where the certificate says its status is told.
pub(crate) struct StatusUrls {
    pub(crate) ocsp: String,
    pub(crate) crl: String,
}

/// Who issues: for the CA's own certificate, itself.
pub(crate) struct Issuer<'a> {
    pub(crate) signer: &'a dyn Signer,
    pub(crate) key: &'a KeyInfo,
    pub(crate) name: &'a Name,
}

/// The pilot's own names.
pub(crate) fn pilot_name(common_name: &str) -> Result<Name, der::Error> {
    name(&[(ORGANIZATION, PILOT), (COMMON_NAME, common_name)])
}

/// Profile truc-1, sign certificate: the member's id beside its name.
pub(crate) fn sign_name(member: &MemberId, organization: &str) -> Result<Name, der::Error> {
    let text = organization_text(organization);
    name(&[(ORGANIZATION_IDENTIFIER, member.as_str()), (ORGANIZATION, &text), (COMMON_NAME, &text)])
}

/// Profile truc-1, auth certificate: the owner's id and name, and the node's id as common name.
pub(crate) fn auth_name(node: &NodeId, organization: &str) -> Result<Name, der::Error> {
    let owner = node.owner();
    let text = organization_text(organization);
    name(&[(ORGANIZATION_IDENTIFIER, owner.as_str()), (ORGANIZATION, &text), (COMMON_NAME, node.as_str())])
}

/// Builds and signs one certificate.
pub(crate) async fn issue(
    issuer: &Issuer<'_>,
    subject: Subject,
    serial: &Serial,
    (from, to): (Timestamp, Timestamp),
    urls: Option<&StatusUrls>,
) -> Result<Certificate, PkiError> {
    let signature = algorithm_identifier(issuer.key.kind.default_algorithm()).ok_or(PkiError::UnusableKey)?;
    let extensions = extensions(issuer, &subject, urls)?;
    let tbs: TbsCertificate = TbsCertificateInner {
        version: Version::V3,
        serial_number: SerialNumber::new(serial.as_bytes())?,
        signature: signature.clone(),
        issuer: issuer.name.clone(),
        validity: Validity { not_before: time(from)?, not_after: time(to)? },
        subject: subject.name,
        subject_public_key_info: subject.key,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    };
    let value = sign(issuer.signer, issuer.key, tbs.to_der()?).await?;
    Ok(CertificateInner { tbs_certificate: tbs, signature_algorithm: signature, signature: value })
}

fn extensions(
    issuer: &Issuer<'_>,
    subject: &Subject,
    urls: Option<&StatusUrls>,
) -> Result<Vec<Extension>, der::Error> {
    let ca = subject.usage == Usage::Ca;
    let key = subject.key.subject_public_key.as_bytes().unwrap_or_default();
    let authority = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_identifier(&issuer.key.public_key))?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    let constraints = BasicConstraints { ca, path_len_constraint: ca.then_some(0) };
    let mut list = vec![
        extension("2.5.29.19", true, &constraints)?,
        extension("2.5.29.15", true, &KeyUsage(subject.usage.key_usages()))?,
        extension("2.5.29.14", false, &SubjectKeyIdentifier(OctetString::new(key_identifier(key))?))?,
        extension("2.5.29.35", false, &authority)?,
    ];
    if let Some(purposes) = subject.usage.extended() {
        // RFC 3161 §2.3 wants it critical for a time-stamping authority.
        list.push(extension("2.5.29.37", subject.usage == Usage::Tsa, &ExtendedKeyUsage(purposes))?);
    }
    if subject.usage == Usage::Ocsp {
        // id-pkix-ocsp-nocheck: the responder's own status is not asked for (RFC 6960 §4.2.2.2.1).
        list.push(extension("1.3.6.1.5.5.7.48.1.5", false, &Null)?);
    } else if let Some(urls) = urls {
        list.extend(status_extensions(urls)?);
    }
    Ok(list)
}

fn status_extensions(urls: &StatusUrls) -> Result<[Extension; 2], der::Error> {
    let uri = |url: &str| Ia5String::new(url).map(GeneralName::UniformResourceIdentifier);
    let access = AccessDescription { access_method: ACCESS_OCSP, access_location: uri(&urls.ocsp)? };
    let point = DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![uri(&urls.crl)?])),
        reasons: None,
        crl_issuer: None,
    };
    Ok([
        extension("1.3.6.1.5.5.7.1.1", false, &AuthorityInfoAccessSyntax(vec![access]))?,
        extension("2.5.29.31", false, &CrlDistributionPoints(vec![point]))?,
    ])
}

/// The public key within a certificate, as key stores show it.
pub(crate) fn public_key(certificate: &Certificate) -> &[u8] {
    bits(&certificate.tbs_certificate.subject_public_key_info.subject_public_key)
}

fn bits(value: &BitString) -> &[u8] {
    value.as_bytes().unwrap_or_default()
}
