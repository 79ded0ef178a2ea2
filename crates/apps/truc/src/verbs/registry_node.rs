//! `truc registry node …`.

use std::time::Duration;

use clap::Subcommand;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use truc_directory::PublicKey;
use truc_governance::InvitationCode;
use truc_model::{NodeId, SubsystemId};
use truc_registry::{
    Invite, MoveNode, RegisterNode, ReinstateNode, RemoveNode, Serve, SetMaintenance, StopServing,
    SuspendNode,
};
use zeroize::Zeroizing;

use super::registry::{At, list, plain};
use super::registry_request::LevelArgs;
use super::{clock, host_port};
use crate::out;

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
    /// Invite a node to enrol: prints a code, once, for its operator
    #[command(
        after_help = "Example:\n  truc registry node invite VN/GOV/H49/ss1 --security-level 3 --security-decision '12/QĐ-UBND 01/11/2026'"
    )]
    Invite {
        /// The id that the node is to have; its owner must be a member
        id: NodeId,
        /// For how long the code counts
        #[arg(long, default_value = "72h", value_name = "DURATION", value_parser = super::duration)]
        valid: Duration,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        at: At,
    },
    /// Take a node out of service for now: its certificates do not count, its connections are cut
    #[command(after_help = "Example:\n  truc registry node suspend VN/GOV/H49/ss1 --reason 'nghi lộ khóa'")]
    Suspend {
        /// Its id
        id: NodeId,
        /// Why; the audit log says it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// End a node's suspension
    #[command(after_help = "Example:\n  truc registry node reinstate VN/GOV/H49/ss1 --reason 'đã kiểm tra'")]
    Reinstate {
        /// Its id
        id: NodeId,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Say that a node is being worked on, or no longer is
    #[command(
        after_help = "Example:\n  truc registry node maintenance VN/GOV/H49/ss1 --message 'Bảo trì đến 18:00'\n  truc registry node maintenance VN/GOV/H49/ss1 --end"
    )]
    Maintenance {
        /// Its id
        id: NodeId,
        /// What callers are told
        #[arg(long, default_value = "", conflicts_with = "end")]
        message: String,
        /// The work is done
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        at: At,
    },
    /// End a node's registration
    #[command(after_help = "Example:\n  truc registry node remove VN/GOV/H49/ss1")]
    Remove {
        /// Its id
        id: NodeId,
        #[command(flatten)]
        at: At,
    },
}

impl NodeVerb {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
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
            Self::Invite { id, valid, level, at } => invite(id, valid, level, at).await,
            Self::Suspend { id, reason, at } => at.apply(SuspendNode { node: id.to_string(), reason }).await,
            Self::Reinstate { id, reason, at } => {
                at.apply(ReinstateNode { node: id.to_string(), reason }).await
            }
            Self::Maintenance { id, message, end, at } => {
                let message = (!end).then_some(message);
                at.apply(SetMaintenance { node: id.to_string(), message }).await
            }
            Self::Remove { id, at } => at.apply(RemoveNode { node: id.to_string() }).await,
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

/// The code is made here and shown once; the registry keeps only what checks it.
async fn invite(node: NodeId, valid: Duration, level: LevelArgs, at: At) -> anyhow::Result<()> {
    let mut random = Zeroizing::new([0; 25]);
    SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    let code = InvitationCode::new(&random);
    let expires = clock().now().plus(valid);
    let verb = Invite {
        id: code.id().clone(),
        key: code.key(),
        node: node.to_string(),
        expires,
        level: level.level(),
    };
    at.door().await?.apply(verb).await?;
    if at.json {
        let text = code.reveal();
        return out::json(&json!({
            "invitation": code.id(), "code": text.as_str(), "node": node.to_string(), "expires": expires,
        }));
    }
    out::line(code.reveal().as_str())?;
    out::note(format!("Mã mời cho nút {node}, có giá trị đến {expires}; chỉ hiện một lần."));
    out::note(format!("Invitation for node {node}, valid until {expires}; it is shown this once."));
    out::note(
        "Giao mã và SHA-256 của tệp neo cho cán bộ vận hành nút theo đường an toàn; họ làm theo docs/operate/enrol-node.md.",
    );
    out::note(
        "Give it, and the anchor's SHA-256, to the node's operator by a safe way; they run: truc node enroll --invitation-file FILE",
    );
    Ok(())
}

fn log_key(text: &str) -> Result<PublicKey, String> {
    let bytes = hex::decode(text).ok();
    bytes
        .and_then(|b| PublicKey::from_slice(&b))
        .ok_or_else(|| "a log key is 32 bytes in hexadecimal, as truc node init tells it".to_owned())
}
