//! `truc registry …`: the authority over the directory. The verbs act on its folder while it is stopped, and through its API while
//! it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use truc_directory::{PublicKey, Usage};
use truc_model::{Fingerprint, MemberId};
use truc_registry::{AddAlias, Door, InitOptions, Outcome, RegisterCertificate, RevokeCertificate, Verb};

use super::registry_backup::{Backup, Restore};
use super::registry_codes::Codes;
use super::registry_member::{Member, Subsystem};
use super::registry_node::NodeVerb;
use super::registry_request::{Audit, Invitation, Request};
use super::registry_root::{Root, public_key};
use super::registry_trust::{Authority, Group};
use super::{clock, host_port, read};
use crate::out;
use crate::stop::Until;

/// The registry: who is a member, which node speaks for whom, which certificates count
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry run --config registry.toml")]
pub(crate) enum Registry {
    /// Make a new registry: keys, anchor, configuration, and the first, empty directory
    #[command(
        after_help = "Example:\n  truc registry init --dir /var/lib/truc/registry --instance VN --public-address registry.example.vn:4001\n  truc registry init --dir /var/lib/truc/registry --instance VN --public-address registry.example.vn:4001 --threshold 1 --root-public-key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )]
    Init {
        /// A new or empty folder
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The instance code
        #[arg(long, value_name = "CODE", value_parser = instance)]
        instance: String,
        /// What nodes call it: host:port, written into the anchor
        #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
        public_address: String,
        /// Where it listens for nodes
        #[arg(long, default_value = "0.0.0.0:4001", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Where its admin API listens; a loopback address
        #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS")]
        admin_listen: SocketAddr,
        /// A root key that is kept elsewhere, in hexadecimal; all of them, with --threshold. Without any, a pilot's one root key is made here
        #[arg(long = "root-public-key", value_name = "HEX", value_parser = public_key, requires = "threshold")]
        root_keys: Vec<PublicKey>,
        /// How many of the root keys must sign
        #[arg(long, value_name = "K", requires = "root_keys")]
        threshold: Option<u32>,
        /// Print what was made as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run the registry until it is told to stop
    #[command(after_help = "Example:\n  truc registry run --config registry.toml")]
    Run {
        /// The configuration file
        #[arg(long, default_value = "registry.toml", value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        until: Until,
        /// Once it listens, print its addresses as one JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    #[command(subcommand)]
    Member(Member),
    #[command(subcommand)]
    Subsystem(Subsystem),
    #[command(subcommand)]
    Node(NodeVerb),
    #[command(subcommand)]
    Invitation(Invitation),
    #[command(subcommand)]
    Request(Request),
    #[command(subcommand)]
    Audit(Audit),
    #[command(subcommand)]
    Certificate(Certificate),
    #[command(subcommand)]
    Authority(Authority),
    #[command(subcommand)]
    Group(Group),
    #[command(subcommand)]
    Alias(Alias),
    #[command(subcommand)]
    Codes(Codes),
    #[command(subcommand)]
    Directory(DirectoryVerb),
    #[command(subcommand)]
    Root(Root),
    Backup(Backup),
    Restore(Restore),
}

/// Which registry.
#[derive(Args)]
pub(crate) struct At {
    /// The registry's configuration file
    #[arg(long, default_value = "registry.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The token file of an officer, for a registry that runs [default: the administrator's]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl At {
    pub(crate) async fn door(&self) -> anyhow::Result<Door> {
        Ok(Door::open_as(&self.config, self.token_file.as_deref(), clock()).await?)
    }
    /// Has the verb decided and tells what came of it.
    pub(crate) async fn apply<V: Verb>(&self, verb: V) -> anyhow::Result<()> {
        let outcome = self.door().await?.apply(verb).await?;
        self.tell(&outcome)
    }
    pub(crate) fn tell(&self, outcome: &Outcome) -> anyhow::Result<()> {
        if self.json {
            return out::json(outcome);
        }
        out::note(format!(
            "decided ({}) and published as directory version {}",
            outcome.sequence, outcome.version
        ));
        Ok(())
    }
    pub(crate) async fn members(&self) -> anyhow::Result<Vec<Value>> {
        let directory = self.door().await?.directory().await?;
        Ok(list(&directory, "members"))
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum UsageArg {
    /// A member's seal
    Sign,
    /// A node's TLS identity
    Auth,
}

impl From<UsageArg> for Usage {
    fn from(usage: UsageArg) -> Self {
        match usage {
            UsageArg::Sign => Self::Sign,
            UsageArg::Auth => Self::Auth,
        }
    }
}

/// Certificates of members and nodes
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry certificate add sign VN/GOV/H26 --file sign.pem")]
pub(crate) enum Certificate {
    /// Register a certificate, so that nodes believe it
    #[command(
        after_help = "Example:\n  truc registry certificate add auth VN/GOV/H26/ss1 --file auth.pem\n  truc registry certificate add sign VN/GOV/H26 --file sign.pem"
    )]
    Add {
        /// What it is for
        usage: UsageArg,
        /// The member (sign) or the node (auth)
        holder: String,
        /// The certificate in PEM; only the first one of the file counts
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// End a certificate's registration; nodes stop believing it within a second
    #[command(
        after_help = "Example:\n  truc registry certificate revoke 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    )]
    Revoke {
        /// SHA-256 over its DER, in hexadecimal
        fingerprint: Fingerprint,
        #[command(flatten)]
        at: At,
    },
}

/// Old agency codes
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry alias add 000.00.00.H26 VN/GOV/H26")]
pub(crate) enum Alias {
    /// Record an old agency code
    #[command(after_help = "Example:\n  truc registry alias add 000.00.00.H26 VN/GOV/H26")]
    Add {
        /// The old code
        alias: String,
        /// Whom it names
        member: MemberId,
        #[command(flatten)]
        at: At,
    },
}

/// The published directory
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry directory show")]
pub(crate) enum DirectoryVerb {
    /// Show the directory as JSON
    #[command(after_help = "Example:\n  truc registry directory show --config registry.toml")]
    Show {
        #[command(flatten)]
        at: At,
    },
}

impl Registry {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init {
                dir,
                instance,
                public_address,
                listen,
                admin_listen,
                root_keys,
                threshold,
                json,
            } => {
                let options = InitOptions { folder: dir, instance, listen, public_address, admin_listen };
                match threshold {
                    Some(threshold) => init_offline(options, threshold, root_keys, json).await?,
                    None => init(options, json).await?,
                }
            }
            Self::Run { config, until, json } => {
                let ready = move |open: &truc_registry::Running| {
                    out::note(format!("the registry is up: nodes {}, admin {}", open.listen, open.admin));
                    if json
                        && let Err(error) = out::json(&json!({ "listen": open.listen, "admin": open.admin }))
                    {
                        out::note(error);
                    }
                };
                Box::pin(truc_registry::run(&config, clock(), ready, until.token()?)).await?;
            }
            Self::Member(verb) => Box::pin(verb.run()).await?,
            Self::Subsystem(verb) => Box::pin(verb.run()).await?,
            Self::Request(verb) => Box::pin(verb.run()).await?,
            Self::Invitation(verb) => Box::pin(verb.run()).await?,
            Self::Audit(verb) => return Box::pin(verb.run()).await,
            Self::Node(verb) => Box::pin(verb.run()).await?,
            Self::Certificate(verb) => verb.run().await?,
            Self::Authority(verb) => Box::pin(verb.run()).await?,
            Self::Group(verb) => Box::pin(verb.run()).await?,
            Self::Alias(Alias::Add { alias, member, at }) => {
                at.apply(AddAlias { alias, member: member.to_string() }).await?;
            }
            Self::Codes(verb) => return Box::pin(verb.run()).await,
            Self::Directory(DirectoryVerb::Show { at }) => {
                let directory = at.door().await?.directory().await?;
                if at.json { out::json(&directory)? } else { out::pretty(&directory)? }
            }
            Self::Root(verb) => Box::pin(verb.run()).await?,
            Self::Backup(verb) => Box::pin(verb.run()).await?,
            Self::Restore(verb) => Box::pin(verb.run()).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn init_offline(
    options: InitOptions,
    threshold: u32,
    root_keys: Vec<PublicKey>,
    json: bool,
) -> anyhow::Result<()> {
    let made = Box::pin(truc_registry::init_offline(options, threshold, root_keys, clock())).await?;
    if json {
        return out::json(&json!({ "config": made.config, "draft": made.draft }));
    }
    out::line(format!("configuration  {}", made.config.display()))?;
    out::line(format!("to be signed   {}", made.draft.display()))?;
    out::note(
        "Take that file to the root keys (truc registry root sign), bring it back and install it (truc registry root install):",
    );
    out::note("this opens the instance and writes the anchor.");
    Ok(())
}

async fn init(options: InitOptions, json: bool) -> anyhow::Result<()> {
    let made = Box::pin(truc_registry::init(options, clock())).await?;
    if json {
        return out::json(&json!({ "config": made.config, "anchor": made.anchor, "root": made.root }));
    }
    out::line(format!("configuration  {}", made.config.display()))?;
    out::line(format!("anchor         {}", made.anchor.display()))?;
    out::line(format!("root key       {}", made.root.display()))?;
    out::note("This is a pilot's root: 1 key of 1, made on this machine. For more, see --root-public-key.");
    out::note(
        "Hand the anchor to every node by a way that can be trusted, and move the root key's folder to a medium that is kept offline:",
    );
    out::note("it is needed only to approve CAs (truc registry authority …) and to change publishing keys.");
    Ok(())
}

fn instance(text: &str) -> Result<String, String> {
    MemberId::new(text, "GOV", "X").map(|_| text.to_owned()).map_err(|e| e.to_string())
}

impl Certificate {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { usage, holder, file, at } => {
                let pem = first_certificate(&file).await?;
                at.apply(RegisterCertificate { usage: usage.into(), holder, pem }).await
            }
            Self::Revoke { fingerprint, at } => at.apply(RevokeCertificate { fingerprint }).await,
        }
    }
}

/// The first certificate of a PEM file; intermediates after it are the node's business.
async fn first_certificate(file: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read(file).await?).with_context(|| file.display().to_string())?;
    const END: &str = "-----END CERTIFICATE-----";
    let Some(end) = text.find(END) else { bail!("{} holds no certificate in PEM", file.display()) };
    Ok(text.split_at(end + END.len()).0.to_owned() + "\n")
}

pub(crate) fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().cloned().unwrap_or_default()
}

/// An identifier as people write it: without the tag it is stored with.
pub(crate) fn plain(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let tagged = text.split_once(':').filter(|(tag, _)| ["MEMBER", "SUBSYSTEM", "NODE"].contains(tag));
    tagged.map_or(text, |(_, plain)| plain).to_owned()
}
