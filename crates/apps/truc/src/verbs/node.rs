//! `truc node …`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use truc_model::{Clock as _, Digest, MemberId, NodeId, SubsystemId, SystemClock};
use truc_node::InitOptions;
use truc_node::config::NodeConfig;

use super::node_backup::{Backup, Restore};
use super::node_enroll::{Enroll, Renew};
use super::node_request::Ask;
use super::{blocking, clock};
use crate::out;
use crate::stop::Until;

/// A node: the gateway a member runs
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc node run --config node.toml")]
pub(crate) enum Node {
    /// Make a new node: folder, keys, configuration file, certificate requests
    #[command(
        after_help = "Example:\n  truc node init --dir /var/lib/truc --node VN/GOV/H26/ss1 --subsystem VN/GOV/H26/mot-cua-so-1 --anchor anchor.json"
    )]
    Init {
        /// Folder for everything; node.toml must not be there yet
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The node's id
        #[arg(long, value_name = "NODE")]
        node: NodeId,
        /// A subsystem it speaks for; several may be given, of several members
        #[arg(long = "subsystem", value_name = "SUBSYSTEM")]
        subsystems: Vec<SubsystemId>,
        /// The registry's anchor file, to be copied into the folder
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
        /// The anchor file's SHA-256 as the registry's operator told it by another way; another file is refused
        #[arg(long, value_name = "HEX", requires = "anchor")]
        anchor_sha256: Option<Digest>,
        /// Where other nodes connect [default: 127.0.0.1:5500]
        #[arg(long, value_name = "ADDRESS")]
        peer_listen: Option<SocketAddr>,
        /// Where information systems call [default: 127.0.0.1:8080]
        #[arg(long, value_name = "ADDRESS")]
        edge_listen: Option<SocketAddr>,
        /// Where the admin API answers [default: 127.0.0.1:4000]
        #[arg(long, value_name = "ADDRESS")]
        admin_listen: Option<SocketAddr>,
        /// Print what was made as one JSON object
        #[arg(long)]
        json: bool,
    },
    #[command(
        after_help = "Example:\n  truc node enroll --config node.toml --invitation-file invitation --address ss1.hanoi.gov.vn:5500"
    )]
    Enroll(Enroll),
    #[command(subcommand)]
    Request(Ask),
    #[command(after_help = "Example:\n  truc node renew --config node.toml --auth")]
    Renew(Renew),
    /// Run a node until it is told to stop
    #[command(after_help = "Example:\n  truc node run --config node.toml")]
    Run {
        /// The configuration file
        #[arg(long, default_value = "node.toml", value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        until: Until,
        /// Once every door is open, print their addresses as one JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    Export(super::node_apply::Export),
    Apply(super::node_apply::Apply),
    Status(super::node_status::Status),
    /// Check a configuration file and everything it names; every mistake is told at once
    #[command(after_help = "Example:\n  truc node check-config --config node.toml")]
    CheckConfig {
        /// The configuration file
        #[arg(long, default_value = "node.toml", value_name = "FILE")]
        config: PathBuf,
        /// Look at the file alone, not at the files it names
        #[arg(long)]
        text_only: bool,
        /// Print the mistakes as one JSON object
        #[arg(long)]
        json: bool,
    },
    Backup(Backup),
    Restore(Restore),
}

impl Node {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Init {
                dir,
                node,
                subsystems,
                anchor,
                anchor_sha256,
                peer_listen,
                edge_listen,
                admin_listen,
                json,
            } => {
                let options = InitOptions {
                    folder: dir,
                    node,
                    members: by_member(subsystems),
                    anchor,
                    anchor_sha256,
                    peer_listen,
                    edge_listen,
                    admin_listen,
                };
                init(options, json).await
            }
            Self::Enroll(verb) => verb.run().await,
            Self::Request(verb) => verb.run().await,
            Self::Renew(verb) => verb.run().await,
            Self::Run { config, until, json } => run(config, &until, json).await,
            Self::Export(verb) => verb.run().await,
            Self::Apply(verb) => verb.run().await,
            Self::Status(verb) => verb.run().await.map(|()| ExitCode::SUCCESS),
            Self::CheckConfig { config, text_only, json } => check(config, text_only, json).await,
            Self::Backup(verb) => verb.run().await.map(|()| ExitCode::SUCCESS),
            Self::Restore(verb) => verb.run().await.map(|()| ExitCode::SUCCESS),
        }
    }
}

fn by_member(subsystems: Vec<SubsystemId>) -> Vec<(MemberId, Vec<SubsystemId>)> {
    let mut members: BTreeMap<MemberId, Vec<SubsystemId>> = BTreeMap::new();
    for subsystem in subsystems {
        members.entry(subsystem.member()).or_default().push(subsystem);
    }
    members.into_iter().collect()
}

async fn init(options: InitOptions, json: bool) -> anyhow::Result<ExitCode> {
    let made = blocking(move || truc_node::init(&options)).await?;
    let log_key = hex::encode(&made.log_key);
    if json {
        let requests: BTreeMap<String, _> =
            made.sign_requests.iter().map(|(member, file)| (member.to_string(), file)).collect();
        out::json(&json!({
            "config": made.config.path, "node": made.config.node.to_string(), "logKey": log_key,
            "anchorSha256": made.anchor_sha256, "authRequest": made.auth_request, "signRequests": requests,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line(format!("configuration  {}", made.config.path.display()))?;
    out::line(format!("log key        {log_key}"))?;
    if let Some(digest) = made.anchor_sha256 {
        out::line(format!("anchor SHA-256 {digest}"))?;
    }
    out::line(format!("auth request   {}", made.auth_request.display()))?;
    for (member, file) in &made.sign_requests {
        out::line(format!("sign request   {} ({member})", file.display()))?;
    }
    out::note(
        "Next: truc node enroll with the registrar's invitation. With an external CA, first have the requests signed by it and",
    );
    out::note("put the certificates where node.toml says. (docs/operate/enrol-node.md)");
    Ok(ExitCode::SUCCESS)
}

async fn run(config: PathBuf, until: &Until, json: bool) -> anyhow::Result<ExitCode> {
    let config = blocking(move || NodeConfig::load(&config)).await?;
    let node = config.node.clone();
    let ready = move |open: truc_node::Addresses| {
        let edge: Vec<String> =
            [open.edge, open.edge_https].into_iter().flatten().map(|address| address.to_string()).collect();
        out::note(format!(
            "{node} is up: peer {}, edge {}, admin {}",
            open.peer,
            edge.join(" and "),
            open.admin
        ));
        if json
            && let Err(error) = out::json(
                &json!({ "peer": open.peer, "edge": open.edge, "edgeHttps": open.edge_https, "admin": open.admin }),
            )
        {
            out::note(error);
        }
    };
    Box::pin(truc_node::run(config, clock(), ready, until.token()?)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn check(path: PathBuf, text_only: bool, json: bool) -> anyhow::Result<ExitCode> {
    let checked = tokio::task::spawn_blocking(move || {
        let config = NodeConfig::load(&path)?;
        if text_only { Ok(()) } else { config.check(SystemClock.now()) }
    });
    let mistakes = match checked.await? {
        Ok(()) => vec![],
        Err(errors) if json => errors.mistakes,
        Err(errors) => {
            out::note(errors);
            return Ok(ExitCode::FAILURE);
        }
    };
    if json {
        let list: Vec<_> = mistakes.iter().map(|m| json!({ "key": m.key, "problem": m.problem })).collect();
        out::json(&json!({ "ok": list.is_empty(), "mistakes": list }))?;
    } else {
        out::note("the configuration is in order");
    }
    Ok(if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
