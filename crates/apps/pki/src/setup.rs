//! Making a pilot PKI's folder, and opening it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use der::{Decode as _, EncodePem as _};
use truc_keys::{KeyInfo, KeyKind, KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Clock;

use crate::certificates::{self, Issuer, Subject, Usage, pilot_name, public_key};
use crate::config::{IssuingConfig, PkiConfig};
use crate::encoding::public_key_info;
use crate::error::{PkiError, blocking};
use crate::ledger::Ledger;
use crate::pki::{BACKDATED, Pki, Service, fresh_serial, read_back, record, status_urls};

/// The services' own certificates live as long as a pilot may.
const SERVICE_VALIDITY: Duration = Duration::from_secs(5 * 365 * 86_400);
/// What every file's name is within the folder.
const SERVICES: [(Usage, &str, &str); 2] = [(Usage::Ocsp, "ocsp", "OCSP"), (Usage::Tsa, "tsa", "TSA")];

/// What `pki init` may choose.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Common name of the CA; tell several pilot CAs apart by it.
    pub name: String,
    /// Kind of the CA's, the responder's and the TSA's keys: P-256 or P-384.
    pub key_kind: KeyKind,
    /// How long the CA's certificate is valid.
    pub validity: Duration,
    /// Where to issue over HTTP; a token file `issuing-token` is made beside the keys. `None`: certificates are issued by hand.
    pub issuing: Option<SocketAddr>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            name: "Trục Pilot CA".into(),
            key_kind: KeyKind::EcP256,
            validity: Duration::from_secs(10 * 365 * 86_400),
            issuing: None,
        }
    }
}

impl Pki {
    /// Makes a whole folder: `pki.toml`, a passphrase file (read when it is there already), and what [`Pki::init`] makes.
    ///
    /// # Errors
    /// As [`Pki::init`], or a file cannot be written.
    pub async fn init_folder(
        dir: &Path,
        listen: SocketAddr,
        public_url: &str,
        options: &InitOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PkiError> {
        let file = dir.join("pki.toml");
        let issuing = options.issuing.map(|listen| IssuingConfig {
            listen,
            token_file: dir.join("issuing-token"),
            tls_in_front: false,
        });
        let text = PkiConfig { issuing, ..PkiConfig::new(dir, listen, public_url) }.to_toml();
        // Read back before anything is made: a mistake in the address or URL is told now.
        let config = PkiConfig::parse(&text, &file)?;
        let (made, passphrase_file) = (dir.to_owned(), config.passphrase_file.clone());
        let token_file = config.issuing.as_ref().map(|issuing| issuing.token_file.clone());
        let passphrase = blocking(move || {
            std::fs::create_dir_all(&made).map_err(|e| PkiError::io(&made, e))?;
            if file.exists() {
                return Err(PkiError::AlreadyThere(made));
            }
            let passphrase = Passphrase::from_file_or_create(&passphrase_file)?;
            if let Some(token_file) = token_file {
                // A random line of 43 characters that nobody else can read is what a token is, too.
                Passphrase::from_file_or_create(&token_file)?;
            }
            std::fs::write(&file, text).map_err(|e| PkiError::io(&file, e))?;
            Ok(passphrase)
        })
        .await?;
        Self::init(&config, &passphrase, options, clock).await
    }

    /// Makes keys, certificates and ledger in the configuration's folder.
    ///
    /// # Errors
    /// [`PkiError::AlreadyThere`] when the folder holds a PKI; the disk or the options do not allow it.
    pub async fn init(
        config: &PkiConfig,
        passphrase: &Passphrase,
        options: &InitOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PkiError> {
        if config.dir.join("ca.pem").exists() || config.dir.join("keys").exists() {
            return Err(PkiError::AlreadyThere(config.dir.clone()));
        }
        let keys = make_keys(config, passphrase, options.key_kind).await?;
        let ledger = open_ledger(&config.dir).await?;
        let ca_key = key_named(&keys, "ca", &config.dir)?;
        let name = pilot_name(&options.name)?;
        let issuer = Issuer { signer: &keys, key: &ca_key, name: &name };
        let from = clock.now().minus(BACKDATED).whole_second();
        let subject = Subject { usage: Usage::Ca, name: name.clone(), key: public_key_info(&ca_key)? };
        let (serial, validity) = (fresh_serial()?, (from, from.plus(options.validity)));
        let certificate = certificates::issue(&issuer, subject, &serial, validity, None).await?;
        record(&ledger, Usage::Ca, &options.name, &serial, validity, &certificate).await?;
        write_pem(&config.dir, "ca", &certificate).await?;
        for (usage, file, title) in SERVICES {
            let key = key_named(&keys, file, &config.dir)?;
            let title = format!("{} {title}", options.name);
            let subject = Subject { usage, name: pilot_name(&title)?, key: public_key_info(&key)? };
            let to = from.plus(SERVICE_VALIDITY.min(options.validity));
            let serial = fresh_serial()?;
            let certificate =
                certificates::issue(&issuer, subject, &serial, (from, to), Some(&status_urls(config)))
                    .await?;
            record(&ledger, usage, &title, &serial, (from, to), &certificate).await?;
            write_pem(&config.dir, file, &certificate).await?;
        }
        drop(keys);
        Self::open(config, passphrase, clock).await
    }

    /// Opens the PKI of the configuration's folder.
    ///
    /// # Errors
    /// A file is missing or does not fit the others, or the passphrase does not open the keys.
    pub async fn open(
        config: &PkiConfig,
        passphrase: &Passphrase,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PkiError> {
        let (dir, passphrase) = (config.dir.clone(), passphrase.clone());
        let (keys, ca, ocsp, tsa) = blocking(move || {
            let keys = FileKeyStore::open(&dir.join("keys"), &passphrase)?;
            let service = |name: &str| open_service(&dir, &keys, name);
            let (ca, ocsp, tsa) = (service("ca")?, service("ocsp")?, service("tsa")?);
            Ok((keys, ca, ocsp, tsa))
        })
        .await?;
        let ledger = open_ledger(&config.dir).await?;
        Ok(Self { config: config.clone(), keys, ca, ocsp, tsa, ledger, clock })
    }
}

async fn make_keys(
    config: &PkiConfig,
    passphrase: &Passphrase,
    kind: KeyKind,
) -> Result<FileKeyStore, PkiError> {
    if !matches!(kind, KeyKind::EcP256 | KeyKind::EcP384) {
        return Err(PkiError::UnusableKey);
    }
    let (dir, passphrase) = (config.dir.join("keys"), passphrase.clone());
    blocking(move || {
        for name in ["ca", "ocsp", "tsa"] {
            FileKeyStore::generate(&dir, &passphrase, &KeyLabel::new(name)?, kind)?;
        }
        Ok(FileKeyStore::open(&dir, &passphrase)?)
    })
    .await
}

fn key_named(keys: &FileKeyStore, name: &str, dir: &Path) -> Result<KeyInfo, PkiError> {
    keys.key(&KeyLabel::new(name)?)
        .ok_or_else(|| PkiError::damaged(&dir.join("keys"), format!("no key named {name}")))
}

async fn open_ledger(dir: &Path) -> Result<Arc<Ledger>, PkiError> {
    let path = dir.join("ledger.jsonl");
    blocking(move || Ledger::open(&path).map(Arc::new)).await
}

fn open_service(dir: &Path, keys: &FileKeyStore, name: &str) -> Result<Service, PkiError> {
    let path = dir.join(format!("{name}.pem"));
    let pem = std::fs::read(&path).map_err(|e| PkiError::io(&path, e))?;
    let (_, der) = der::pem::decode_vec(&pem).map_err(|e| PkiError::damaged(&path, e.to_string()))?;
    let certificate =
        x509_cert::Certificate::from_der(&der).map_err(|e| PkiError::damaged(&path, e.to_string()))?;
    let key = key_named(keys, name, dir)?;
    if public_key(&certificate) != key.public_key {
        return Err(PkiError::damaged(&path, "it is for another key"));
    }
    let trusted = read_back(&certificate, &path)?;
    Ok(Service { key, certificate, trusted })
}

async fn write_pem(dir: &Path, name: &str, certificate: &x509_cert::Certificate) -> Result<(), PkiError> {
    let path = dir.join(format!("{name}.pem"));
    let pem = certificate.to_pem(der::pem::LineEnding::LF)?;
    blocking(move || {
        let write = || {
            let mut file = std::fs::File::create_new(&path)?;
            std::io::Write::write_all(&mut file, pem.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|e| PkiError::io(&path, e))
    })
    .await
}
