//! `truc registry authority …` and `truc registry group …`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use truc_directory::{ApprovedAuthority, Der, Profile, TimestampAuthority, Usage};
use truc_governance::TrustChange;
use truc_registry::{AddToGroup, CreateGroup, RemoveFromGroup};
use truc_trust::Certificate;

use super::read;
use super::registry::{At, UsageArg};

/// Approved trust services; a change is signed by the root key
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry authority remove --name 'Pilot CA'")]
pub(crate) enum Authority {
    /// Approve a certificate authority
    #[command(
        after_help = "Example:\n  truc registry authority add --name 'Pilot CA' --certificate ca.pem --usage sign --usage auth --ocsp http://pki.example.vn:8880/ocsp --crl http://pki.example.vn:8880/crl"
    )]
    Add(Box<AddAuthority>),
    /// Approve a time-stamp authority
    #[command(
        after_help = "Example:\n  truc registry authority add-tsa --name 'Pilot TSA' --certificate tsa.pem --url http://pki.example.vn:8880/tsa"
    )]
    AddTsa {
        /// What people call it
        #[arg(long)]
        name: String,
        /// The certificate its time-stamps are signed with, PEM
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Where it answers
        #[arg(long)]
        url: String,
        #[command(flatten)]
        root: Root,
    },
    /// Withdraw the approval of a certificate or time-stamp authority
    #[command(after_help = "Example:\n  truc registry authority remove --name 'Pilot CA'")]
    Remove {
        /// Its name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        root: Root,
    },
}

/// Where the root key is.
#[derive(Args)]
pub(crate) struct Root {
    /// Folder of the root key [default: root beside the configuration file]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

impl Root {
    async fn change(&self, change: TrustChange) -> anyhow::Result<()> {
        let beside = || self.at.config.parent().unwrap_or(Path::new("")).join("root");
        let root = self.root.clone().unwrap_or_else(beside);
        let mut door = self.at.door().await?;
        let outcome = door.change_trust(&root, change).await;
        self.at.tell(&outcome.with_context(|| format!("with the root key in {}", root.display()))?)
    }
}

#[derive(Args)]
pub(crate) struct AddAuthority {
    /// What people call it
    #[arg(long)]
    name: String,
    /// The CA certificate at which chains end, PEM
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Intermediate CA certificates, PEM
    #[arg(long, value_name = "FILE")]
    intermediates: Option<PathBuf>,
    /// What its certificates may be used for; both may be given
    #[arg(long = "usage", required = true, value_name = "USAGE")]
    usages: Vec<UsageArg>,
    /// An OCSP responder; several may be given, they are tried in order
    #[arg(long, value_name = "URL")]
    ocsp: Vec<String>,
    /// Where its revocation list lies
    #[arg(long, value_name = "URL")]
    crl: Option<String>,
    #[command(flatten)]
    root: Root,
}

impl Authority {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => {
                let mut usages: Vec<Usage> = add.usages.iter().map(|u| Usage::from(*u)).collect();
                usages.sort_unstable();
                usages.dedup();
                let intermediates = match &add.intermediates {
                    Some(file) => Certificate::all_from_pem(&read(file).await?)
                        .with_context(|| file.display().to_string())?
                        .iter()
                        .map(der)
                        .collect(),
                    None => vec![],
                };
                let authority = ApprovedAuthority {
                    name: add.name,
                    certificate: certificate(&add.certificate).await?,
                    intermediates,
                    usages,
                    profile: Profile::Truc1,
                    ocsp: add.ocsp,
                    crl: add.crl,
                };
                add.root.change(TrustChange::AddAuthority(authority)).await
            }
            Self::AddTsa { name, certificate: file, url, root } => {
                let certificate = certificate(&file).await?;
                root.change(TrustChange::AddTimestampAuthority(TimestampAuthority { name, certificate, url }))
                    .await
            }
            Self::Remove { name, root } => root.change(TrustChange::Remove(name)).await,
        }
    }
}

async fn certificate(file: &Path) -> anyhow::Result<Der> {
    let certificate =
        Certificate::from_pem(&read(file).await?).with_context(|| file.display().to_string())?;
    Ok(der(&certificate))
}

fn der(certificate: &Certificate) -> Der {
    Der::from(certificate.der().to_vec())
}

/// Global groups
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry group add mot-cua VN/GOV/H26/mot-cua-so-1")]
pub(crate) enum Group {
    /// Open a group
    #[command(after_help = "Example:\n  truc registry group create mot-cua --name 'Các hệ thống một cửa'")]
    Create {
        /// Its code
        code: String,
        /// What people call it
        #[arg(long)]
        name: String,
        #[command(flatten)]
        at: At,
    },
    /// Put a member or a subsystem in a group
    #[command(after_help = "Example:\n  truc registry group add mot-cua VN/GOV/H26/mot-cua-so-1")]
    Add {
        /// The group's code
        code: String,
        /// A member or a subsystem
        member: String,
        #[command(flatten)]
        at: At,
    },
    /// Take one out
    #[command(after_help = "Example:\n  truc registry group remove mot-cua VN/GOV/H26/mot-cua-so-1")]
    Remove {
        /// The group's code
        code: String,
        /// A member or a subsystem
        member: String,
        #[command(flatten)]
        at: At,
    },
}

impl Group {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create { code, name, at } => at.apply(CreateGroup { code, name }).await,
            Self::Add { code, member, at } => at.apply(AddToGroup { code, member }).await,
            Self::Remove { code, member, at } => at.apply(RemoveFromGroup { code, member }).await,
        }
    }
}
