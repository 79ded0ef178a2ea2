//! `truc registry root …`: the root ceremony (protocol P6.1). `draft` and `install` are for the registry's machine; `new-key`, `show` and
//! `sign` need neither registry nor network.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use truc_directory::{PublicKey, Root as RootDocument, TrustServices};
use truc_governance::{Draft, TrustChange, shortfall};
use truc_registry::{HeadNumber, Installed, RegistryConfig, RootWishes};

use super::registry::At;
use super::{clock, read};
use crate::out;

/// The root keys: who may say which CAs, which publishing keys and which epoch count
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry root show root-2.json")]
pub(crate) enum Root {
    /// Make a root key on a medium of its own; run it on a machine without network
    #[command(after_help = "Example:\n  truc registry root new-key --dir /media/usb1")]
    NewKey {
        /// The folder for the encrypted key and its passphrase file
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Print the public key as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write what the root keys are to sign: a new root version
    #[command(
        after_help = "Example:\n  truc registry root draft --rotate-publishing --out root-2.json\n  truc registry root draft --new-epoch --above 1.57 --out root-2.json"
    )]
    Draft(Box<DraftArgs>),
    /// Say in words what a file asks to be signed, and who has signed
    #[command(after_help = "Example:\n  truc registry root show root-2.json")]
    Show {
        /// The file
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add a root key's signature to a file; run it on a machine without network
    #[command(after_help = "Example:\n  truc registry root sign root-2.json --key /media/usb1")]
    Sign {
        /// The file; it is replaced by the signed one
        file: PathBuf,
        /// The folder of the root key
        #[arg(long, value_name = "DIR")]
        key: PathBuf,
        /// The key's passphrase [default: the file passphrase in the key's folder]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take over what enough root keys have signed
    #[command(
        after_help = "Example:\n  truc registry root install root-2.json\n  truc registry root install root-2-an.json root-2-binh.json"
    )]
    Install {
        /// The file, or copies of it that were signed apart
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args)]
pub(crate) struct DraftArgs {
    /// Make a new publishing key; it signs once the root is installed, the old ones still count
    #[arg(long)]
    rotate_publishing: bool,
    /// Only the newest publishing key counts from here on
    #[arg(long)]
    retire_publishing: bool,
    /// A root key from here on, in hexadecimal; give all of them, with --threshold
    #[arg(long = "root-public-key", value_name = "HEX", value_parser = public_key, requires = "threshold")]
    root_keys: Vec<PublicKey>,
    /// How many of them must sign
    #[arg(long, value_name = "K", requires = "root_keys")]
    threshold: Option<u32>,
    /// Open a new epoch, for a registry that was restored from a backup
    #[arg(long)]
    new_epoch: bool,
    /// The highest head that any node reports, EPOCH.VERSION (truc node status); several may be given
    #[arg(long, value_name = "EPOCH.VERSION", value_parser = head_number, requires = "new_epoch")]
    above: Vec<HeadNumber>,
    /// A file with such a head: directory/head.json of a node; several may be given
    #[arg(long, value_name = "FILE", requires = "new_epoch")]
    head: Vec<PathBuf>,
    /// Where to write the file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    at: At,
}

impl Root {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::NewKey { dir, json } => {
                let key = truc_registry::new_root_key(&dir).await?;
                if json {
                    return out::json(&json!({ "publicKey": key, "folder": dir }));
                }
                out::line(hexadecimal(&key))?;
                out::note(
                    "That is the public key: give it to `truc registry init --root-public-key`. Keep the folder offline, and a copy of it",
                );
                out::note("at another place; whoever has the folder and its passphrase file has the key.");
                Ok(())
            }
            Self::Draft(args) => args.run().await,
            Self::Show { file, json } => {
                let draft = load(&file).await?;
                if json { out::json(&facts(&draft)?) } else { show(&draft) }
            }
            Self::Sign { file, key, passphrase_file, json } => {
                let mut draft = load(&file).await?;
                let signer = truc_registry::sign_draft(&mut draft, &key, passphrase_file).await?;
                replace(&file, &draft.to_json()?).await?;
                if json {
                    return out::json(&facts(&draft)?);
                }
                show(&draft)?;
                out::note(format!("signed with {} and written to {}", hexadecimal(&signer), file.display()));
                Ok(())
            }
            Self::Install { files, at } => install(&files, &at).await,
        }
    }
}

impl DraftArgs {
    async fn run(self) -> anyhow::Result<()> {
        let config = RegistryConfig::load(&self.at.config)?;
        let mut door = self.at.door().await?;
        let mut above = self.above;
        let mut roots = 0;
        for file in &self.head {
            let (number, stands_on) =
                truc_registry::head_number(&read(file).await?).with_context(|| file.display().to_string())?;
            above.push(number);
            roots = roots.max(stands_on);
        }
        if self.new_epoch && above.is_empty() {
            bail!(
                "say above which head: --above EPOCH.VERSION as nodes report it, or --head FILE with a node's directory/head.json"
            );
        }
        let wishes = RootWishes {
            rotate_publishing: self.rotate_publishing,
            retire_publishing: self.retire_publishing,
            root_keys: self.threshold.map(|k| (k, self.root_keys)),
            new_epoch: above.into_iter().max(),
        };
        let draft = door.draft_root(&config, wishes, clock().as_ref()).await?;
        if let Some(current) = draft.current.as_ref().filter(|c| c.version < roots) {
            bail!(
                "nodes know root version {roots}, this registry version {}: install the files of the lost versions again first",
                current.version
            );
        }
        write(&self.out, &draft, self.at.json).await
    }
}

/// Writes a trust-service list to be signed by root keys that are elsewhere.
pub(crate) async fn draft_trust(at: &At, change: TrustChange, file: Option<PathBuf>) -> anyhow::Result<()> {
    let draft = at.door().await?.draft_trust(change).await?;
    let version = draft.new_trust()?.map_or(0, |t| t.version);
    write(&file.unwrap_or_else(|| format!("trust-{version}.json").into()), &draft, at.json).await
}

async fn write(file: &Path, draft: &Draft, json: bool) -> anyhow::Result<()> {
    if file.exists() {
        bail!("{} exists already; choose another name", file.display());
    }
    tokio::fs::write(file, draft.to_json()?).await.with_context(|| file.display().to_string())?;
    if json {
        return out::json(&json!({ "file": file, "draft": facts(draft)? }));
    }
    show(draft)?;
    out::note(format!(
        "written to {}: take it to the root keys (truc registry root sign), bring it back and install it (truc registry root install)",
        file.display()
    ));
    Ok(())
}

async fn install(files: &[PathBuf], at: &At) -> anyhow::Result<()> {
    let mut whole: Option<Draft> = None;
    for file in files {
        let draft = load(file).await?;
        match &mut whole {
            Some(whole) => whole.merge(&draft).with_context(|| file.display().to_string())?,
            None => whole = Some(draft),
        }
    }
    let Some(draft) = whole else { bail!("name a file") };
    match at.door().await?.install_draft(draft).await? {
        Installed::Published(outcome) => at.tell(&outcome),
        Installed::Opened { anchor } if at.json => out::json(&json!({ "anchor": anchor })),
        Installed::Opened { anchor } => {
            out::line(format!("anchor         {}", anchor.display()))?;
            out::note("The instance is open. Hand the anchor to every node by a way that can be trusted.");
            Ok(())
        }
        Installed::StillClosed if at.json => out::json(&json!({ "closed": true })),
        Installed::StillClosed => {
            out::note(
                "Installed. The restored registry stays closed until a new epoch is installed (truc registry root draft --new-epoch).",
            );
            Ok(())
        }
    }
}

async fn load(file: &Path) -> anyhow::Result<Draft> {
    Draft::parse(&read(file).await?).with_context(|| file.display().to_string())
}

/// Written beside it first: a medium that is pulled out leaves the old file or the new one.
async fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = file.with_extension("signed.tmp");
    let written = async {
        tokio::fs::write(&beside, bytes).await?;
        tokio::fs::File::open(&beside).await?.sync_all().await?;
        tokio::fs::rename(&beside, file).await
    };
    written.await.with_context(|| file.display().to_string())
}

fn facts(draft: &Draft) -> anyhow::Result<serde_json::Value> {
    let needed: Vec<_> = draft
        .needed()?
        .iter()
        .map(|n| {
            json!({ "document": n.document, "by": n.by, "threshold": n.threshold, "signed": n.signed,
                    "unsigned": n.unsigned, "missing": n.missing() })
        })
        .collect();
    Ok(json!({ "instance": draft.instance, "current": draft.current, "root": draft.new_root()?,
               "trustServices": draft.new_trust()?, "needed": needed }))
}

/// What one is about to sign, in words.
fn show(draft: &Draft) -> anyhow::Result<()> {
    out::line(format!("instance {}", draft.instance))?;
    if let (Some(root), Some(envelope)) = (draft.new_root()?, &draft.root) {
        show_root(draft.current.as_ref(), &root)?;
        out::line(format!("  SHA-256 of what is signed: {}", truc_model::Digest::of(&envelope.payload)))?;
    }
    if let (Some(trust), Some(envelope)) = (draft.new_trust()?, &draft.trust) {
        show_trust(&trust)?;
        out::line(format!("  SHA-256 of what is signed: {}", truc_model::Digest::of(&envelope.payload)))?;
    }
    for needed in draft.needed()? {
        if needed.missing() > 0 {
            out::line(shortfall(&needed))?;
        } else {
            out::line(format!("{} is signed by enough of {}", needed.document, needed.by))?;
        }
    }
    Ok(())
}

fn show_root(current: Option<&RootDocument>, root: &RootDocument) -> anyhow::Result<()> {
    out::line(format!("root version {}, drafted {}", root.version, root.issued))?;
    match current {
        Some(current) if current.epoch != root.epoch => out::line(format!(
            "  OPENS EPOCH {} (epoch {} was in force): the registry was restored and begins anew",
            root.epoch, current.epoch
        ))?,
        _ => out::line(format!("  epoch {}", root.epoch))?,
    }
    out::line(format!("  root keys, {} of {} must sign:", root.threshold, root.root_keys.len()))?;
    list(current.map(|c| &c.root_keys[..]), &root.root_keys)?;
    out::line("  publishing keys, one of them signs heads:")?;
    list(current.map(|c| &c.publishing_keys[..]), &root.publishing_keys)
}

fn list(before: Option<&[PublicKey]>, after: &[PublicKey]) -> anyhow::Result<()> {
    for key in after {
        let mark = match before {
            Some(before) if !before.contains(key) => "  NEW",
            _ => "",
        };
        out::line(format!("    {}{mark}", hexadecimal(key)))?;
    }
    for key in before.unwrap_or_default().iter().filter(|k| !after.contains(k)) {
        out::line(format!("    {}  LEAVES", hexadecimal(key)))?;
    }
    Ok(())
}

fn show_trust(trust: &TrustServices) -> anyhow::Result<()> {
    out::line(format!("list of trust services, version {}", trust.version))?;
    for authority in &trust.authorities {
        let digest = truc_model::Fingerprint::of(authority.certificate.as_bytes());
        let usages: Vec<_> = authority.usages.iter().map(|u| format!("{u:?}").to_lowercase()).collect();
        out::line(format!(
            "  CA  {}  for {}  profile {}  certificate {digest}",
            authority.name,
            usages.join(" and "),
            authority.profile.as_str()
        ))?;
        for place in authority.ocsp.iter().chain(&authority.crl) {
            out::line(format!("      status at {place}"))?;
        }
    }
    for authority in &trust.timestamp_authorities {
        let digest = truc_model::Fingerprint::of(authority.certificate.as_bytes());
        out::line(format!("  TSA {}  {}  certificate {digest}", authority.name, authority.url))?;
    }
    if trust.authorities.is_empty() && trust.timestamp_authorities.is_empty() {
        out::line("  nobody")?;
    }
    Ok(())
}

fn hexadecimal(key: &PublicKey) -> String {
    hex::encode(key.0)
}

/// For clap: an Ed25519 public key.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = hex::decode(text).ok().and_then(|bytes| PublicKey::from_slice(&bytes));
    key.ok_or_else(|| {
        "a root key is 64 hexadecimal digits, as truc registry root new-key prints it".to_owned()
    })
}

/// For clap: the number of a head.
fn head_number(text: &str) -> Result<HeadNumber, String> {
    let number = text.split_once('.').and_then(|(epoch, version)| {
        Some(HeadNumber { epoch: epoch.parse().ok()?, version: version.parse().ok()? })
    });
    number.ok_or_else(|| "write EPOCH.VERSION, like 1.57".to_owned())
}
