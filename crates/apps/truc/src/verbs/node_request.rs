//! `truc node request …`: what a node or its members ask of the registry (docs/registry.md §3).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use truc_model::{Fingerprint, MemberId, NodeId, SubsystemId};
use truc_node::enrolment::{self, NodeRequest, Patience, Progress};

use super::clock;
use super::node_enroll::{Teller, finish, limited, load};

/// How it is asked.
#[derive(Args)]
pub(crate) struct How {
    /// The configuration file
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    config: PathBuf,
    /// Wait until an officer has decided
    #[arg(long)]
    wait: bool,
    /// Print where the request stands as one JSON object
    #[arg(long)]
    json: bool,
}

/// Ask the registry for a change, signed by the node and the members that it binds; works while the node runs
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc node request maintenance-on --message 'Bảo trì đến 22:00'")]
pub(crate) enum Ask {
    /// Register a subsystem of a member of this node, served by it
    #[command(
        after_help = "Example:\n  truc node request register-subsystem VN/GOV/H26/mot-cua-so-2 --name 'Một cửa số 2' --wait"
    )]
    RegisterSubsystem {
        /// Which
        subsystem: SubsystemId,
        /// What people call it
        #[arg(long)]
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// No node is to speak for a subsystem for now
    #[command(after_help = "Example:\n  truc node request disable-subsystem VN/GOV/H26/mot-cua-so-1")]
    DisableSubsystem {
        /// Which
        subsystem: SubsystemId,
        #[command(flatten)]
        how: How,
    },
    /// Nodes speak for the subsystem again
    #[command(after_help = "Example:\n  truc node request enable-subsystem VN/GOV/H26/mot-cua-so-1")]
    EnableSubsystem {
        /// Which
        subsystem: SubsystemId,
        #[command(flatten)]
        how: How,
    },
    /// This node stops serving a subsystem; its registration ends when no node serves it
    #[command(after_help = "Example:\n  truc node request delete-subsystem VN/GOV/H26/mot-cua-so-1")]
    DeleteSubsystem {
        /// Which
        subsystem: SubsystemId,
        #[command(flatten)]
        how: How,
    },
    /// Register a further TLS identity of this node, for a new key
    #[command(after_help = "Example:\n  truc node request register-auth-certificate --wait")]
    RegisterAuthCertificate {
        #[command(flatten)]
        how: How,
    },
    /// An auth certificate of this node, or a seal of a member of it, is not to count any more
    #[command(
        after_help = "Example:\n  truc node request delete-certificate 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    )]
    DeleteCertificate {
        /// SHA-256 of the certificate, as the node's /healthz lists it
        fingerprint: Fingerprint,
        /// The member whose seal it is, unless it is the one in use
        #[arg(long, value_name = "MEMBER")]
        seal_of: Option<MemberId>,
        #[command(flatten)]
        how: How,
    },
    /// Other nodes are to connect elsewhere
    #[command(after_help = "Example:\n  truc node request change-address ss2.hanoi.gov.vn:5500")]
    ChangeAddress {
        /// Host and port of the peer door
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        how: How,
    },
    /// This node goes on under another member, signed by both
    #[command(after_help = "Example:\n  truc node request change-owner VN/GOV/H27/ss1 --wait")]
    ChangeOwner {
        /// The new id
        node: NodeId,
        #[command(flatten)]
        how: How,
    },
    /// Callers are to be sent to another node, or told the message
    #[command(after_help = "Example:\n  truc node request maintenance-on --message 'Bảo trì đến 22:00'")]
    MaintenanceOn {
        /// What callers are told
        #[arg(long, default_value = "")]
        message: String,
        #[command(flatten)]
        how: How,
    },
    /// Ends that
    #[command(after_help = "Example:\n  truc node request maintenance-off")]
    MaintenanceOff {
        #[command(flatten)]
        how: How,
    },
}

/// An officer may take days: who waits longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

impl Ask {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let (what, How { config, wait, json }) = match self {
            Self::RegisterSubsystem { subsystem, name, how } => {
                (NodeRequest::RegisterSubsystem(subsystem, name), how)
            }
            Self::DisableSubsystem { subsystem, how } => (NodeRequest::DisableSubsystem(subsystem), how),
            Self::EnableSubsystem { subsystem, how } => (NodeRequest::EnableSubsystem(subsystem), how),
            Self::DeleteSubsystem { subsystem, how } => (NodeRequest::DeleteSubsystem(subsystem), how),
            Self::RegisterAuthCertificate { how } => (NodeRequest::RegisterAuthCertificate, how),
            Self::DeleteCertificate { fingerprint, seal_of, how } => {
                (NodeRequest::DeleteCertificate(fingerprint, seal_of), how)
            }
            Self::ChangeAddress { address, how } => (NodeRequest::ChangeAddress(address), how),
            Self::ChangeOwner { node, how } => (NodeRequest::ChangeOwner(node), how),
            Self::MaintenanceOn { message, how } => (NodeRequest::MaintenanceOn(message), how),
            Self::MaintenanceOff { how } => (NodeRequest::MaintenanceOff, how),
        };
        let (config, clock, mut teller) = (load(config).await?, clock(), Teller::default());
        let asking = async {
            let mut tell = |progress: Progress<'_>| teller.tell(&progress);
            enrolment::request(&config, what, &clock, (Patience::default(), wait), &mut tell).await
        };
        let settled = limited(asking, LONGEST_WAIT).await;
        finish(settled, teller, !wait, "the same command with --wait", json)
    }
}
