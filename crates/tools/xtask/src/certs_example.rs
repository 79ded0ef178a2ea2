//! `certs-example/`: certificates and keys to look at, never to be trusted.
//!
//! Every certificate states a policy that `truc_trust::Certificate` refuses to read, is long expired, and says in its names what it is; the
//! anchor is of the instance `EXAMPLE`, which no node accepts. So nothing of this can enter a bus by mistake.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose as Ku, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use truc_directory::{Anchor, EXAMPLE_INSTANCE, PublicKey, RegistryAddress, V1};
use truc_model::Fingerprint;

/// Where they lie.
const FOLDER: &str = "certs-example";
/// In every subject; at most 64 characters (X.520 ub-organization-name).
const MARK: &str = "VÍ DỤ, KHÔNG BAO GIỜ TIN CẬY / EXAMPLE, NEVER TO BE TRUSTED";
/// 1.3.6.1.4.1.32473.2.1, which certificates are refused for (`crates/domain/trust/src/extensions.rs`), as certificatePolicies.
const POLICIES: [u8; 16] = [0x30, 14, 0x30, 12, 6, 10, 0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 2, 1];
const CERTIFICATE_POLICIES: &[u64] = &[2, 5, 29, 32];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const OCSP_NO_CHECK: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];
const REVOCATION_LIST_URL: &str = "http://pki.example.vn:8880/crl";

/// Makes the folder's files anew.
pub(crate) fn run(root: &Path) -> anyhow::Result<String> {
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let files = make().context("certificates")?;
    for (name, text) in &files {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(format!("{FOLDER}: {} files, never to be trusted", files.len()))
}

/// A certificate with its key.
struct Made {
    certificate: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Made {
    fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// Every file by its name.
fn make() -> Result<BTreeMap<String, String>, rcgen::Error> {
    let mut files = BTreeMap::new();
    let root = issue(ca("Root CA", 1), 1, None)?;
    let ca = issue(ca("CA", 0), 2, Some(&root))?;
    put(&mut files, "root", "CA gốc, tự ký / the root CA, self-signed", &root);
    put(&mut files, "ca", "CA cấp chứng thư, do CA gốc ký / the issuing CA, signed by the root", &ca);
    let chain = format!("{}{}", ca.certificate, root.certificate);
    let about = "CA cấp chứng thư rồi CA gốc / the issuing CA, then the root";
    files.insert("ca-chain.pem".into(), format!("{}{chain}", header(about)));
    let about = "danh sách thu hồi: chứng thư số 99 bị thu hồi / revocation list: serial 99 is revoked";
    files.insert("ca.crl.pem".into(), format!("{}{}", header(about), revocation_list(&ca)?));

    let ends = [
        ("ocsp", "máy trả lời OCSP / the OCSP responder", ocsp(), 3),
        ("tsa", "máy cấp dấu thời gian / the time-stamping authority", tsa(), 4),
        ("a-auth", "nút của thành viên A, dùng cho TLS / member A's node, for TLS", auth("A"), 5),
        ("a-sign", "con dấu số của thành viên A / member A's seal", seal("A"), 6),
        ("b-auth", "nút của thành viên B, dùng cho TLS / member B's node, for TLS", auth("B"), 7),
        ("b-sign", "con dấu số của thành viên B / member B's seal", seal("B"), 8),
    ];
    for (name, about, params, serial) in ends {
        let made = issue(params, serial, Some(&ca))?;
        put(&mut files, name, about, &made);
    }

    let bus_root = ed25519()?;
    let about = "khoá gốc của sổ đăng ký (Ed25519), ký danh bạ / the registry's root key (Ed25519), which signs the directory";
    files.insert("anchor-root.key.pem".into(), format!("{}{}", header(about), bus_root.serialize_pem()));
    let anchor = Anchor {
        v: V1,
        instance: EXAMPLE_INSTANCE.to_owned(),
        epoch: None,
        threshold: 1,
        root_keys: PublicKey::from_slice(bus_root.der_bytes()).into_iter().collect(),
        registry: vec![RegistryAddress {
            address: "registry.example.vn:4001".into(),
            tls_certificate: Fingerprint::of(&root.der),
        }],
    };
    files.insert("anchor.json".into(), String::from_utf8_lossy(&anchor.to_json()).into_owned());
    files.insert("README.md".into(), include_str!("certs_example_readme.md").to_owned());
    Ok(files)
}

fn put(files: &mut BTreeMap<String, String>, name: &str, about: &str, made: &Made) {
    files.insert(format!("{name}.pem"), format!("{}{}", header(about), made.certificate));
    let about = format!("khoá riêng của / the private key of {name}.pem");
    files.insert(format!("{name}.key.pem"), format!("{}{}", header(&about), made.key()));
}

/// What stands before each PEM block; PEM readers pass over it (RFC 7468 §2).
fn header(about: &str) -> String {
    format!(
        "VÍ DỤ: KHÔNG BAO GIỜ ĐƯỢC TIN CẬY. Khoá riêng nằm công khai trong kho mã nguồn.\n\
         EXAMPLE: NEVER TO BE TRUSTED. The private key lies open in this repository.\n\
         {about}\n"
    )
}

fn issue(mut params: CertificateParams, serial: u64, by: Option<&Made>) -> Result<Made, rcgen::Error> {
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let made = match by {
        Some(by) => params.signed_by(&key, &by.issuer)?,
        None => params.self_signed(&key)?,
    };
    Ok(Made { certificate: made.pem(), der: made.der().to_vec(), issuer: Issuer::new(params, key) })
}

/// A key in the first form of PKCS#8 (RFC 8410 §7): openssl 3.0 does not read the second, with the public key inside, which ring writes.
fn ed25519() -> Result<KeyPair, rcgen::Error> {
    const HEAD: [u8; 16] = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32];
    let second = KeyPair::generate_for(&PKCS_ED25519)?.serialize_der();
    let seed = second.get(16..48).ok_or(rcgen::Error::CouldNotParseKeyPair)?;
    let first = [&HEAD, seed].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&first.into(), &PKCS_ED25519)
}

fn params(common_name: &str, member: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(member) = member {
        params.distinguished_name.push(DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec()), member);
    }
    params.distinguished_name.push(DnType::OrganizationName, MARK);
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Long past, and the same whenever they are made.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 12, 31);
    params.use_authority_key_identifier_extension = true;
    let mut policies = CustomExtension::from_oid_content(CERTIFICATE_POLICIES, POLICIES.to_vec());
    policies.set_criticality(true);
    params.custom_extensions.push(policies);
    params
}

fn ca(name: &str, path_length: u8) -> CertificateParams {
    let mut params = params(&format!("EXAMPLE {name}, never to be trusted"), None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params
}

fn end(common_name: &str, member: Option<&str>, usages: Vec<Ku>) -> CertificateParams {
    let mut params = params(common_name, member);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = usages;
    params.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec![REVOCATION_LIST_URL.to_owned()] }];
    params
}

fn auth(member: &str) -> CertificateParams {
    let member = format!("{EXAMPLE_INSTANCE}/GOV/{member}");
    let mut params = end(&format!("{member}/ss1"), Some(&member), vec![Ku::DigitalSignature]);
    params.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth];
    params
}

fn seal(member: &str) -> CertificateParams {
    let member = format!("{EXAMPLE_INSTANCE}/GOV/{member}");
    end("EXAMPLE seal, never to be trusted", Some(&member), vec![Ku::DigitalSignature, Ku::ContentCommitment])
}

fn ocsp() -> CertificateParams {
    let mut params = end("EXAMPLE OCSP, never to be trusted", None, vec![Ku::DigitalSignature]);
    params.extended_key_usages = vec![Eku::OcspSigning];
    params.custom_extensions.push(CustomExtension::from_oid_content(OCSP_NO_CHECK, vec![5, 0]));
    params
}

fn tsa() -> CertificateParams {
    let usages = vec![Ku::DigitalSignature, Ku::ContentCommitment];
    let mut params = end("EXAMPLE TSA, never to be trusted", None, usages);
    // RFC 3161 §2.3: timeStamping alone, critical, which rcgen's own list cannot be.
    let stamping = vec![0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
    let mut critical = CustomExtension::from_oid_content(EXTENDED_KEY_USAGE, stamping);
    critical.set_criticality(true);
    params.custom_extensions.push(critical);
    params
}

fn revocation_list(ca: &Made) -> Result<String, rcgen::Error> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(99),
        revocation_time: date_time_ymd(2020, 6, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 6, 1),
        next_update: date_time_ymd(2020, 12, 31),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&ca.issuer)?.pem()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other keys each time, but the same files; those in the repository are what the command makes.
    #[test]
    fn the_command_makes_the_files_that_are_there() {
        let made = make().unwrap();
        let folder = crate::root().join(FOLDER);
        let mut there: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort_unstable();
        assert_eq!(there, made.keys().cloned().collect::<Vec<_>>());
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(readme, made["README.md"], "run cargo xtask certs-example");
        for (name, text) in &made {
            assert!(text.contains("EXAMPLE"), "{name} is not marked");
            assert!(
                !name.ends_with(".pem") || text.contains("KHÔNG BAO GIỜ"),
                "{name} is not marked in Vietnamese"
            );
            assert!(
                name == "README.md" || readme.contains(name.as_str()),
                "the README says nothing of {name}"
            );
            let committed = std::fs::read_to_string(folder.join(name)).unwrap();
            let head = |text: &str| text.lines().take(4).map(str::to_owned).collect::<Vec<_>>();
            assert!(
                !name.ends_with(".pem") || head(&committed) == head(text),
                "{name}: run cargo xtask certs-example"
            );
        }
    }
}
