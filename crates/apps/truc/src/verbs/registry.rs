//! `truc registry …`: the authority over the directory. The verbs act on its folder while it is stopped, and through its API while
//! it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use truc_directory::{PublicKey, Usage};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId};
use truc_registry::{
    AddAlias, AddMember, AddSubsystem, CloseMember, Continuation, Door, InitOptions, MoveNode, Outcome,
    RegisterCertificate, RegisterNode, RenameMember, RevokeCertificate, Serve, StopServing, Verb,
};

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
        after_help = "Example:\n  truc registry init --dir /var/lib/truc/registry --instance VN --public-address registry.example.vn:4001"
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
    Certificate(Certificate),
    #[command(subcommand)]
    Authority(Authority),
    #[command(subcommand)]
    Group(Group),
    #[command(subcommand)]
    Alias(Alias),
    #[command(subcommand)]
    Directory(DirectoryVerb),
}

/// Which registry.
#[derive(Args)]
pub(crate) struct At {
    /// The registry's configuration file
    #[arg(long, default_value = "registry.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl At {
    pub(crate) async fn door(&self) -> anyhow::Result<Door> {
        Ok(Door::open(&self.config, clock()).await?)
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
    async fn members(&self) -> anyhow::Result<Vec<Value>> {
        let directory = self.door().await?.directory().await?;
        Ok(list(&directory, "members"))
    }
}

/// Members
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry member list")]
pub(crate) enum Member {
    /// Admit a member
    #[command(
        after_help = "Example:\n  truc registry member add VN/GOV/H26 --name-vi 'UBND thành phố Hà Nội' --name-en 'Hanoi'"
    )]
    Add {
        /// Its id
        id: MemberId,
        /// Its name in Vietnamese
        #[arg(long, value_name = "NAME")]
        name_vi: String,
        /// Its name in English
        #[arg(long, value_name = "NAME")]
        name_en: String,
        #[command(flatten)]
        at: At,
    },
    /// Change a member's names
    #[command(
        after_help = "Example:\n  truc registry member rename VN/GOV/G10 --name-vi 'Bộ Nông nghiệp và Môi trường' --name-en 'Ministry of Agriculture and Environment'"
    )]
    Rename {
        /// Its id
        id: MemberId,
        /// Its name in Vietnamese
        #[arg(long, value_name = "NAME")]
        name_vi: String,
        /// Its name in English
        #[arg(long, value_name = "NAME")]
        name_en: String,
        #[command(flatten)]
        at: At,
    },
    /// List the members
    #[command(after_help = "Example:\n  truc registry member list --json")]
    List {
        #[command(flatten)]
        at: At,
    },
    /// Close a member; callers are told its successor
    #[command(
        after_help = "Example:\n  truc registry member close VN/GOV/H10 --successor VN/GOV/H19 --continue VN/GOV/H10/mot-cua=VN/GOV/H19/mot-cua"
    )]
    Close {
        /// Its id
        id: MemberId,
        /// Who takes over
        #[arg(long, value_name = "MEMBER")]
        successor: Option<MemberId>,
        /// Which subsystem continues as which; several may be given
        #[arg(long = "continue", value_name = "FROM=TO", value_parser = continuation)]
        continuations: Vec<Continuation>,
        #[command(flatten)]
        at: At,
    },
}

/// Information systems of members
#[derive(Subcommand)]
#[command(
    after_help = "Example:\n  truc registry subsystem add VN/GOV/H26/mot-cua-so-1 --name 'Một cửa số 1'"
)]
pub(crate) enum Subsystem {
    /// Register an information system
    #[command(
        after_help = "Example:\n  truc registry subsystem add VN/GOV/H26/mot-cua-so-1 --name 'Một cửa số 1'"
    )]
    Add {
        /// Its id
        id: SubsystemId,
        /// What people call it
        #[arg(long)]
        name: String,
        #[command(flatten)]
        at: At,
    },
}

/// Nodes
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry node list")]
pub(crate) enum NodeVerb {
    /// Register a node
    #[command(
        after_help = "Example:\n  truc registry node add VN/GOV/H26/ss1 --address node.hanoi.example.vn:5500 --log-key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c --serves VN/GOV/H26/mot-cua-so-1"
    )]
    Add {
        /// Its id
        id: NodeId,
        /// host:port of its peer door
        #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
        address: String,
        /// Its public log key in hexadecimal, as truc node init tells it
        #[arg(long, value_name = "HEX", value_parser = log_key)]
        log_key: PublicKey,
        /// A subsystem it speaks for; several may be given
        #[arg(long, value_name = "SUBSYSTEM")]
        serves: Vec<SubsystemId>,
        #[command(flatten)]
        at: At,
    },
    /// List the nodes
    #[command(after_help = "Example:\n  truc registry node list --json")]
    List {
        #[command(flatten)]
        at: At,
    },
    /// Change where a node answers
    #[command(
        after_help = "Example:\n  truc registry node move VN/GOV/H26/ss1 --address node2.hanoi.example.vn:5500"
    )]
    Move {
        /// Its id
        id: NodeId,
        /// host:port of its peer door
        #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
        address: String,
        #[command(flatten)]
        at: At,
    },
    /// Let a node speak for a subsystem
    #[command(after_help = "Example:\n  truc registry node serve VN/GOV/H26/ss1 VN/GOV/H26/mot-cua-so-2")]
    Serve {
        /// The node
        id: NodeId,
        /// The subsystem
        subsystem: SubsystemId,
        #[command(flatten)]
        at: At,
    },
    /// End that
    #[command(
        after_help = "Example:\n  truc registry node stop-serving VN/GOV/H26/ss1 VN/GOV/H26/mot-cua-so-2"
    )]
    StopServing {
        /// The node
        id: NodeId,
        /// The subsystem
        subsystem: SubsystemId,
        #[command(flatten)]
        at: At,
    },
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
            Self::Init { dir, instance, public_address, listen, admin_listen, json } => {
                init(InitOptions { folder: dir, instance, listen, public_address, admin_listen }, json)
                    .await?;
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
            Self::Subsystem(Subsystem::Add { id, name, at }) => {
                at.apply(AddSubsystem { id: id.to_string(), name }).await?;
            }
            Self::Node(verb) => Box::pin(verb.run()).await?,
            Self::Certificate(verb) => verb.run().await?,
            Self::Authority(verb) => Box::pin(verb.run()).await?,
            Self::Group(verb) => Box::pin(verb.run()).await?,
            Self::Alias(Alias::Add { alias, member, at }) => {
                at.apply(AddAlias { alias, member: member.to_string() }).await?;
            }
            Self::Directory(DirectoryVerb::Show { at }) => {
                let directory = at.door().await?.directory().await?;
                if at.json { out::json(&directory)? } else { out::pretty(&directory)? }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn init(options: InitOptions, json: bool) -> anyhow::Result<()> {
    let made = Box::pin(truc_registry::init(options, clock())).await?;
    if json {
        return out::json(&json!({ "config": made.config, "anchor": made.anchor, "root": made.root }));
    }
    out::line(format!("configuration  {}", made.config.display()))?;
    out::line(format!("anchor         {}", made.anchor.display()))?;
    out::line(format!("root key       {}", made.root.display()))?;
    out::note(
        "Hand the anchor to every node by a way that can be trusted, and move the root key's folder to a medium that is kept offline:",
    );
    out::note("it is needed only to approve CAs (truc registry authority …) and to change publishing keys.");
    Ok(())
}

impl Member {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { id, name_vi, name_en, at } => {
                at.apply(AddMember { id: id.to_string(), name_vi, name_en }).await
            }
            Self::Rename { id, name_vi, name_en, at } => {
                at.apply(RenameMember { id: id.to_string(), name_vi, name_en }).await
            }
            Self::List { at } => {
                for member in at.members().await? {
                    if at.json {
                        out::json(&member)?;
                    } else {
                        let text = |key: &str| plain(&member[key]);
                        out::line(format!(
                            "{}\t{}\t{}\t{}",
                            text("id"),
                            text("status"),
                            text("nameVi"),
                            text("nameEn")
                        ))?;
                    }
                }
                Ok(())
            }
            Self::Close { id, successor, continuations, at } => {
                let successor = successor.map(|s| s.to_string());
                at.apply(CloseMember { id: id.to_string(), successor, subsystems: continuations }).await
            }
        }
    }
}

fn instance(text: &str) -> Result<String, String> {
    MemberId::new(text, "GOV", "X").map(|_| text.to_owned()).map_err(|e| e.to_string())
}

fn continuation(text: &str) -> Result<Continuation, String> {
    let Some((from, to)) = text.split_once('=') else {
        return Err("write FROM=TO, like VN/GOV/H10/mot-cua=VN/GOV/H19/mot-cua".to_owned());
    };
    let read = |text: &str| text.parse::<SubsystemId>().map_err(|e| e.to_string());
    let (from, to) = (read(from)?, read(to)?);
    Ok(Continuation { from: from.to_string(), to: to.to_string() })
}

impl NodeVerb {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { id, address, log_key, serves, at } => {
                let serves = serves.iter().map(ToString::to_string).collect();
                at.apply(RegisterNode { id: id.to_string(), address, log_key, serves }).await
            }
            Self::List { at } => {
                for node in at.members().await?.iter().flat_map(|member| list(member, "nodes")) {
                    if at.json {
                        out::json(&node)?;
                    } else {
                        let serves: Vec<String> = list(&node, "serves").iter().map(plain).collect();
                        out::line(format!(
                            "{}\t{}\t{}",
                            plain(&node["id"]),
                            plain(&node["address"]),
                            serves.join(" ")
                        ))?;
                    }
                }
                Ok(())
            }
            Self::Move { id, address, at } => at.apply(MoveNode { node: id.to_string(), address }).await,
            Self::Serve { id, subsystem, at } => {
                at.apply(Serve { node: id.to_string(), subsystem: subsystem.to_string() }).await
            }
            Self::StopServing { id, subsystem, at } => {
                at.apply(StopServing { node: id.to_string(), subsystem: subsystem.to_string() }).await
            }
        }
    }
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

fn log_key(text: &str) -> Result<PublicKey, String> {
    let bytes = hex::decode(text).ok();
    bytes
        .and_then(|b| PublicKey::from_slice(&b))
        .ok_or_else(|| "a log key is 32 bytes in hexadecimal, as truc node init tells it".to_owned())
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().cloned().unwrap_or_default()
}

/// An identifier as people write it: without the tag it is stored with.
fn plain(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let tagged = text.split_once(':').filter(|(tag, _)| ["MEMBER", "SUBSYSTEM", "NODE"].contains(tag));
    tagged.map_or(text, |(_, plain)| plain).to_owned()
}
