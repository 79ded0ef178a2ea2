//! Looking at what the configuration names: `truc node check-config`, and the first step of starting a node.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use truc_directory::Anchor;
use truc_keys::{KeyKind, KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Timestamp;
use truc_provider::{HttpServiceDoor, ProviderConfig, ProviderError};
use truc_trust::{Certificate, CertificateError, SubjectAttribute};
use zeroize::Zeroizing;

use super::mistakes::Mistakes;
use super::{ClientConnection, ConfigErrors, NodeConfig};
use crate::edge_tls::pem_certificates;
use crate::enrolment::key_of;

/// No file named by a configuration is longer; a wrong path to a big file is told, not read.
const FILE_LIMIT: u64 = 1 << 20;

impl NodeConfig {
    /// Looks at every file the configuration names: there, readable, secrets not readable by others, certificates valid
    /// at `now`, for the ids they serve and for the keys in the key store. Blocks on disk and key derivation; changes nothing.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that keeps the node from starting.
    pub fn check(&self, now: Timestamp) -> Result<(), ConfigErrors> {
        let mut mistakes = Mistakes::default();
        let m = &mut mistakes;
        self.check_anchor(m);
        let keys = self.check_keys(m);
        self.check_certificates(keys.as_ref(), now, m);
        self.check_tokens(m);
        self.check_edge(now, m);
        self.check_provider(m);
        mistakes.into_result(&self.path, Some(()))
    }

    fn check_provider(&self, m: &mut Mistakes) {
        let identity = self.provider.identity.clone();
        if let Some(key) = identity.as_ref().map(|own| &own.key_file).filter(|file| exposed(file)) {
            let file = key.display();
            m.add(
                "provider.key-file",
                format!("{file} can be read by group or others; run chmod 600 {file}"),
            );
        }
        let door =
            ProviderConfig { ca_file: self.provider.ca_file.clone(), identity, ..ProviderConfig::default() };
        if let Err(error) = HttpServiceDoor::new(&door) {
            let key = match &error {
                ProviderError::CaFile { .. } => "provider.ca-file",
                ProviderError::Identity { .. } => "provider.certificate-file",
                ProviderError::Tls(_) => "provider",
            };
            m.add(key, error.to_string());
        }
    }

    fn check_anchor(&self, m: &mut Mistakes) {
        let Some(bytes) = read("anchor-file", &self.anchor_file, "the registry's operator gives it out", m)
        else {
            return;
        };
        match Anchor::parse(&bytes) {
            Ok(anchor) if anchor.instance == self.node.instance() => {}
            Ok(anchor) => {
                let (its, ours) = (anchor.instance, self.node.instance());
                m.add(
                    "anchor-file",
                    format!("is of instance {its}, the node is of {ours}; take the anchor of {ours}"),
                );
            }
            Err(e) => m.add("anchor-file", format!("{}: {e}", self.anchor_file.display())),
        }
    }

    /// The opened key store, when passphrase and keys are in order.
    fn check_keys(&self, m: &mut Mistakes) -> Option<FileKeyStore> {
        let passphrase = Passphrase::from_file(&self.passphrase_file)
            .map_err(|e| m.add("passphrase-file", e.to_string()))
            .ok()?;
        let store = FileKeyStore::open(&self.key_folder(), &passphrase);
        let store =
            store.map_err(|e| m.add("data-folder", format!("the keys cannot be opened: {e}"))).ok()?;
        let signing = self.members.iter().map(|member| ("member.sign-key", &member.sign_key));
        for (key, label) in
            [("auth.key", &self.auth.key), ("log.key", &self.log_key)].into_iter().chain(signing)
        {
            if store.key(label).is_none() {
                let folder = self.key_folder();
                m.add(
                    key,
                    format!("no key named {label} in {}; truc node init makes the keys", folder.display()),
                );
            }
        }
        if store.key(&self.log_key).is_some_and(|k| k.kind != KeyKind::Ed25519) {
            m.add("log.key", format!("{} must be an Ed25519 key, as truc node init makes", self.log_key));
        }
        Some(store)
    }

    fn check_certificates(&self, keys: Option<&FileKeyStore>, now: Timestamp, m: &mut Mistakes) {
        let (key, file) = ("auth.certificate-file", &self.auth.certificate_file);
        if let Some(leaf) = leaf(key, file, "of the node's TLS identity", now, m) {
            let name = leaf.subject_attribute(SubjectAttribute::CommonName);
            named(key, "commonName", name, self.node.as_str(), m);
            let owner = self.node.owner();
            let organization = leaf.subject_attribute(SubjectAttribute::OrganizationIdentifier);
            named(key, "organizationIdentifier", organization, owner.as_str(), m);
            if !(leaf.for_client_auth() && leaf.for_server_auth()) {
                m.add(
                    key,
                    "is not for TLS server and client authentication; ask the CA for an auth certificate",
                );
            }
            belongs(key, &leaf, &self.auth.key, keys, m);
        }
        for member in &self.members {
            let (key, file) =
                (format!("member {} sign-certificate-file", member.id), &member.sign_certificate_file);
            let Some(leaf) = leaf(&key, file, "of the member's seal", now, m) else { continue };
            let organization = leaf.subject_attribute(SubjectAttribute::OrganizationIdentifier);
            named(&key, "organizationIdentifier", organization, member.id.as_str(), m);
            if !leaf.may_sign() {
                m.add(&key, "its key usage is not for signing; ask the CA for a sign certificate");
            }
            belongs(&key, &leaf, &member.sign_key, keys, m);
        }
    }

    fn check_edge(&self, now: Timestamp, m: &mut Mistakes) {
        if let Some(https) = &self.edge.https {
            for certificate in
                read_any("edge.certificate-file", &https.certificate_file, "of the edge", m).iter().take(1)
            {
                valid("edge.certificate-file", certificate, now, m);
            }
            let hint = "it is the private key of edge.certificate-file in PEM";
            let key = read("edge.key-file", &https.key_file, hint, m).map(Zeroizing::new);
            if key.is_some() && exposed(&https.key_file) {
                let file = https.key_file.display();
                m.add(
                    "edge.key-file",
                    format!("{file} can be read by group or others; run chmod 600 {file}"),
                );
            }
            if let (Some(key), Ok(certificate)) = (key, std::fs::read(&https.certificate_file))
                && let Err(e) = truc_edge::EdgeIdentity::from_pem(&certificate, &key)
            {
                m.add("edge.key-file", format!("{}: {e}", https.key_file.display()));
            }
        }
        for client in &self.clients {
            let ClientConnection::HttpsClientCertificate(files) = &client.connection else { continue };
            for file in files {
                let key = format!("client {} certificate-files", client.subsystem);
                // Their period of validity is not enforced, so it is no mistake either: the node's log tells it.
                read_any(&key, file, "that the subsystem's information system presents", m);
            }
        }
    }

    fn check_tokens(&self, m: &mut Mistakes) {
        for token in &self.admin.tokens {
            let key = format!("admin.token {:?} token-file", token.name);
            let Some(bytes) =
                read(&key, &token.token_file, "write one line of at least 32 random characters", m)
            else {
                continue;
            };
            if exposed(&token.token_file) {
                let file = token.token_file.display();
                m.add(&key, format!("{file} can be read by group or others; run chmod 600 {file}"));
            }
            if bytes.trim_ascii().len() < 32 {
                m.add(
                    &key,
                    "holds fewer than 32 characters, which can be guessed; write at least 32 random ones",
                );
            }
        }
    }
}

pub(crate) fn exposed(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| truc_keystores::exposed(file, meta.permissions().mode()))
}

/// The file's bytes; `hint` says how one comes by it.
fn read(key: &str, file: &Path, hint: &str, m: &mut Mistakes) -> Option<Vec<u8>> {
    let content = std::fs::File::open(file).and_then(|open| {
        let mut bytes = Vec::new();
        open.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    match content {
        Ok(bytes) if bytes.len() as u64 <= FILE_LIMIT => return Some(bytes),
        Ok(_) => m.add(key, format!("{} is longer than 1 MiB, so it is not the file meant", file.display())),
        Err(e) => m.add(key, format!("{} cannot be read: {e}; {hint}", file.display())),
    }
    None
}

fn read_certificates(key: &str, file: &Path, whose: &str, m: &mut Mistakes) -> Vec<Certificate> {
    let hint = format!("it is a PEM file with the certificates {whose}");
    let Some(bytes) = read(key, file, &hint, m) else { return vec![] };
    match Certificate::all_from_pem(&bytes) {
        Ok(all) if all.is_empty() => m.add(key, format!("{} holds no certificate; {hint}", file.display())),
        Ok(all) => return all,
        Err(e) => m.add(key, format!("{}: {e}", file.display())),
    }
    vec![]
}

/// Certificates of any kind, DER: the edge's own and those of information systems are no part of the bus's trust.
fn read_any(key: &str, file: &Path, whose: &str, m: &mut Mistakes) -> Vec<Bytes> {
    let hint = format!("it is a PEM file with the certificates {whose}");
    let Some(bytes) = read(key, file, &hint, m) else { return vec![] };
    let certificates = pem_certificates(&bytes);
    if certificates.is_none() {
        m.add(key, format!("{} does not hold certificates in PEM; {hint}", file.display()));
    }
    let certificates = certificates.unwrap_or_default();
    if certificates.iter().any(|der| Certificate::is_example(der)) {
        m.add(key, format!("{}: {}", file.display(), CertificateError::Example));
    }
    certificates
}

/// That a certificate, where it is of a kind this program reads, is valid at `now`.
fn valid(key: &str, der: &[u8], now: Timestamp, m: &mut Mistakes) {
    let Ok(certificate) = Certificate::from_der(der) else { return };
    if !certificate.valid_at(now) {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        m.add(key, format!("is valid from {from} to {to} and now is {now}; renew it or set the clock"));
    }
}

/// The first certificate, when the file holds certificates; also that it is valid at `now`.
fn leaf(key: &str, file: &Path, whose: &str, now: Timestamp, m: &mut Mistakes) -> Option<Certificate> {
    let leaf = read_certificates(key, file, whose, m).into_iter().next()?;
    if !leaf.valid_at(now) {
        let (from, to) = (leaf.not_before(), leaf.not_after());
        m.add(key, format!("is valid from {from} to {to} and now is {now}; renew it or set the clock"));
    }
    Some(leaf)
}

fn named(key: &str, attribute: &str, found: Option<&str>, wanted: &str, m: &mut Mistakes) {
    if found != Some(wanted) {
        let found = found.unwrap_or("nothing");
        m.add(key, format!("the first certificate's {attribute} is {found}, not {wanted}; put the certificate of {wanted} first"));
    }
}

fn belongs(key: &str, leaf: &Certificate, label: &KeyLabel, keys: Option<&FileKeyStore>, m: &mut Mistakes) {
    let Some(store) = keys.filter(|store| store.key(label).is_some()) else { return };
    if key_of(store, label, leaf.public_key()).is_none() {
        m.add(
            key,
            format!(
                "the first certificate is not for the key {label}; use the certificate issued for this key"
            ),
        );
    }
}
