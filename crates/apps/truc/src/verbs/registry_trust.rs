//! `truc registry authority …` and `truc registry group …`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use truc_directory::{ApprovedAuthority, Der, Profile, TimestampAuthority, TrustServices, Usage};
use truc_governance::TrustChange;
use truc_registry::{AddToGroup, CreateGroup, RemoveFromGroup};
use truc_trust::Certificate;

use super::read;
use super::registry::{At, UsageArg};
use super::registry_root::draft_trust;
use crate::out;

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
        /// The certificate its time-stamps are signed with, or that of the CA which issued it, PEM
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// Where it answers
        #[arg(long)]
        url: String,
        #[command(flatten)]
        root: Root,
    },
    /// List the approved certificate and time-stamp authorities
    #[command(after_help = "Example:\n  truc registry authority list --json")]
    List {
        #[command(flatten)]
        at: At,
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
    /// Write the list to this file, to be signed by root keys that are elsewhere [default: trust-N.json when no root key is at hand]
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    draft: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

impl Root {
    async fn change(&self, change: TrustChange) -> anyhow::Result<()> {
        let beside = || self.at.config.parent().unwrap_or(Path::new("")).join("root");
        let root = self.root.clone().unwrap_or_else(beside);
        if self.draft.is_some() || (self.root.is_none() && !root.exists()) {
            return draft_trust(&self.at, change, self.draft.clone()).await;
        }
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
    /// How its certificates name members and nodes: truc-1 (ids as they are, as the pilot CA writes them), vn-state (UID or serialNumber
    /// MDD:<agency code>), vn-enterprise (UID MST:<tax number>). The last two name no nodes: their auth certificates count for the node
    /// that they are registered to
    #[arg(long, default_value = "truc-1", value_parser = profile, value_name = "PROFILE")]
    profile: Profile,
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
                    profile: add.profile,
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
            Self::List { at } => list(&at).await,
            Self::Remove { name, root } => root.change(TrustChange::Remove(name)).await,
        }
    }
}

/// One line for each authority, or one JSON object a line.
async fn list(at: &At) -> anyhow::Result<()> {
    let directory = at.door().await?.directory().await?;
    let services = directory.get("trustServices").cloned().unwrap_or_default();
    let services: TrustServices =
        serde_json::from_value(services).context("the registry's trust services")?;
    for ca in &services.authorities {
        let fingerprint = ca.certificate.fingerprint();
        let usages: Vec<&str> = ca.usages.iter().map(|usage| usage_word(*usage)).collect();
        if at.json {
            out::json(&json!({
                "name": ca.name, "kind": "ca", "usages": usages, "profile": ca.profile, "fingerprint": fingerprint,
                "intermediates": ca.intermediates.len(), "ocsp": ca.ocsp, "crl": ca.crl,
            }))?;
        } else {
            let (usages, profile, ocsp) = (usages.join(","), ca.profile.as_str(), ca.ocsp.join(","));
            out::line(format!("{}\tca\t{usages}\t{profile}\t{ocsp}\t{fingerprint}", ca.name))?;
        }
    }
    for tsa in &services.timestamp_authorities {
        let fingerprint = tsa.certificate.fingerprint();
        if at.json {
            let shown =
                json!({ "name": tsa.name, "kind": "tsa", "url": tsa.url, "fingerprint": fingerprint });
            out::json(&shown)?;
        } else {
            out::line(format!("{}\ttsa\t\t\t{}\t{fingerprint}", tsa.name, tsa.url))?;
        }
    }
    Ok(())
}

const fn usage_word(usage: Usage) -> &'static str {
    match usage {
        Usage::Sign => "sign",
        Usage::Auth => "auth",
    }
}

/// For clap.
fn profile(text: &str) -> Result<Profile, String> {
    let known = || Profile::ALL.map(Profile::as_str).join(", ");
    Profile::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| format!("known are {}", known()))
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
