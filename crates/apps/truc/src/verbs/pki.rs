//! `truc pki …`: the pilot PKI, for demo, tests and training.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use truc_keystores::Passphrase;
use truc_model::{MemberId, NodeId};
use truc_pki::{InitOptions, IssuedCertificate, Listening, PkiConfig, RevocationReason, Serial};
use truc_trust::Certificate;

use super::{blocking, clock, read};
use crate::out;
use crate::stop::Until;

/// A pilot PKI: CA, OCSP responder and time-stamp authority. Not for production
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc pki run --config pki.toml")]
pub(crate) enum Pki {
    /// Make a new PKI: keys, certificates, configuration
    #[command(
        after_help = "Example:\n  truc pki init --dir /var/lib/truc/pki --public-url http://pki.example.vn:8880 --listen 0.0.0.0:8880"
    )]
    Init {
        /// A new folder
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What nodes reach it under; written into every certificate
        #[arg(long, value_name = "URL", value_parser = public_url)]
        public_url: String,
        /// Where it listens
        #[arg(long, default_value = "127.0.0.1:8880", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Issue over HTTP too, on this address of this machine, with a token file that is made: for the registry, which then has
        /// certificates made while it approves
        #[arg(long, value_name = "ADDRESS")]
        issuing: Option<SocketAddr>,
        /// Common name of the CA
        #[arg(long)]
        name: Option<String>,
        /// Print what was made as one JSON object, instead of the CA's certificate
        #[arg(long)]
        json: bool,
    },
    /// Run CA, OCSP responder and time-stamp authority until told to stop
    #[command(after_help = "Example:\n  truc pki run --config pki.toml")]
    Run {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        until: Until,
        /// Once it answers, print its address as one JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    #[command(subcommand)]
    Issue(Issue),
    /// Revoke a certificate
    #[command(after_help = "Example:\n  truc pki revoke 5f3a90c1d2 --reason key-compromise")]
    Revoke {
        /// Its serial number in hexadecimal, as truc pki list shows it
        serial: Serial,
        /// Why
        #[arg(long, default_value = "unspecified")]
        reason: Reason,
        #[command(flatten)]
        at: At,
    },
    /// List what was issued
    #[command(after_help = "Example:\n  truc pki list --json")]
    List {
        #[command(flatten)]
        at: At,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// Which PKI.
#[derive(Args)]
pub(crate) struct At {
    /// The PKI's configuration file
    #[arg(long, default_value = "pki.toml", value_name = "FILE")]
    config: PathBuf,
}

impl At {
    async fn load(&self) -> anyhow::Result<PkiConfig> {
        let path = self.config.clone();
        blocking(move || PkiConfig::load(&path)).await
    }
    async fn open(&self) -> anyhow::Result<truc_pki::Pki> {
        let config = self.load().await?;
        let file = config.passphrase_file.clone();
        let passphrase = blocking(move || Passphrase::from_file(&file)).await?;
        Ok(truc_pki::Pki::open(&config, &passphrase, clock()).await?)
    }
}

/// Why a certificate is revoked.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// Not said
    Unspecified,
    /// The private key may be in other hands
    KeyCompromise,
    /// The organisation's name or relation changed
    AffiliationChanged,
    /// A newer certificate replaces it
    Superseded,
    /// The node or member stopped working
    CessationOfOperation,
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::AffiliationChanged => Self::AffiliationChanged,
            Reason::Superseded => Self::Superseded,
            Reason::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

/// Issue a certificate for a request
#[derive(Subcommand)]
#[command(
    after_help = "Example:\n  truc pki issue sign VN/GOV/H26 --csr sign.csr --organization Hanoi --out sign.pem"
)]
pub(crate) enum Issue {
    /// A member's seal
    #[command(
        after_help = "Example:\n  truc pki issue sign VN/GOV/H26 --csr sign-VN-GOV-H26.csr --organization 'UBND thành phố Hà Nội' --out sign.pem"
    )]
    Sign {
        /// The member
        member: MemberId,
        #[command(flatten)]
        wish: Wish,
    },
    /// A node's TLS identity
    #[command(
        after_help = "Example:\n  truc pki issue auth VN/GOV/H26/ss1 --csr auth.csr --organization 'UBND thành phố Hà Nội' --out auth.pem"
    )]
    Auth {
        /// The node
        node: NodeId,
        #[command(flatten)]
        wish: Wish,
    },
}

#[derive(Args)]
pub(crate) struct Wish {
    /// The certificate request (PKCS#10, PEM), as truc node init writes it
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The organisation's name in the certificate
    #[arg(long, value_name = "NAME")]
    organization: String,
    /// How many days it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=1825))]
    days: u64,
    /// The file to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

impl Pki {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init { dir, public_url, listen, issuing, name, json } => {
                let mut options = InitOptions { issuing, ..InitOptions::default() };
                options.name = name.unwrap_or(options.name);
                let made = Box::pin(truc_pki::Pki::init_folder(&dir, listen, &public_url, &options, clock()));
                let pki = made.await?;
                if json {
                    let file = |name: &str| dir.join(name);
                    let base = public_url.trim_end_matches('/');
                    out::json(&json!({
                        "config": file("pki.toml"), "ca": file("ca.pem"), "tsa": file("tsa.pem"),
                        "ocspUrl": format!("{base}/ocsp"), "crlUrl": format!("{base}/crl"), "tsaUrl": format!("{base}/tsa"), "issuing": issuing,
                        "issuingToken": issuing.map(|_| file("issuing-token")),
                    }))?;
                } else {
                    out::data(pki.ca_pem()?.as_bytes())?;
                }
                out::note(format!(
                    "made in {}; run it with truc pki run --config {0}/pki.toml",
                    dir.display()
                ));
            }
            Self::Run { at, until, json } => {
                let ready = move |at: Listening| {
                    out::note(format!("the pilot PKI is up: {}", at.public));
                    if let Some(issuing) = at.issuing {
                        out::note(format!("it issues on {issuing}"));
                    }
                    let told = json!({ "listen": at.public, "issuing": at.issuing });
                    if json && let Err(error) = out::json(&told) {
                        out::note(error);
                    }
                };
                Box::pin(truc_pki::run(&at.load().await?, ready, until.token()?)).await?;
            }
            Self::Issue(issue) => Box::pin(issue.run()).await?,
            Self::Revoke { serial, reason, at } => {
                at.open().await?.revoke(&serial, reason.into()).await?;
                out::note(format!("{serial} is revoked; a running responder says so with its next answer"));
            }
            Self::List { at, json } => {
                for certificate in at.open().await?.issued().await? {
                    show(&certificate, json)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Issue {
    async fn run(self) -> anyhow::Result<()> {
        let (Self::Sign { wish, .. } | Self::Auth { wish, .. }) = &self;
        let request = String::from_utf8(read(&wish.csr).await?);
        let request = request.map_err(|_| anyhow!("{} is not PEM", wish.csr.display()))?;
        let (pki, validity) = (wish.at.open().await?, Duration::from_secs(wish.days * 86_400));
        let certificate = match &self {
            Self::Sign { member, .. } => {
                pki.sign_certificate_from_csr(&request, member, &wish.organization, validity).await?
            }
            Self::Auth { node, .. } => {
                pki.auth_certificate_from_csr(&request, node, &wish.organization, validity).await?
            }
        };
        write(wish.out.as_deref(), &certificate).await
    }
}

async fn write(file: Option<&Path>, certificate: &Certificate) -> anyhow::Result<()> {
    let text = truc_trust::pem("CERTIFICATE", certificate.der());
    match file {
        None => Ok(out::data(text.as_bytes())?),
        Some(file) => tokio::fs::write(file, text).await.with_context(|| file.display().to_string()),
    }
}

/// For clap: what the PKI is reached under.
fn public_url(text: &str) -> Result<String, String> {
    truc_pki::check_public_url(text).map(|()| text.to_owned())
}

fn show(certificate: &IssuedCertificate, json: bool) -> anyhow::Result<()> {
    let IssuedCertificate { serial, usage, subject, not_after, fingerprint, revoked, .. } = certificate;
    if json {
        let revoked = revoked.map(|r| json!({ "at": r.at, "reason": r.reason }));
        return out::json(&json!({
            "serial": serial, "usage": usage, "subject": subject, "notAfter": not_after,
            "fingerprint": fingerprint, "revoked": revoked,
        }));
    }
    let state = revoked.map_or_else(|| "valid".to_owned(), |r| format!("revoked {}", r.at));
    Ok(out::line(format!("{serial}\t{usage}\t{subject}\t{not_after}\t{state}"))?)
}
