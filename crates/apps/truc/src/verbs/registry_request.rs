//! `truc registry request …`, `… invitation …` and `… audit …`: what officers decide, and what was decided.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use truc_governance::{InvitationId, SecurityLevel};
use truc_registry::{
    Approve, AttachLevel, Certify, Refuse, RegistryConfig, WithdrawInvitation, audit_log, shown_decision,
    verify_audit,
};

use super::registry::{At, plain};
use super::{clock, read};
use crate::out;

/// The security level of an agency's system.
#[derive(Args)]
pub(crate) struct LevelArgs {
    /// The security level (cấp độ an toàn) that the agency's system was approved for, 1 to 5
    #[arg(long, value_name = "LEVEL", requires = "security_decision", value_parser = clap::value_parser!(u8).range(1..=5))]
    security_level: Option<u8>,
    /// Number and date of the decision that says so
    #[arg(long, value_name = "TEXT", requires = "security_level")]
    security_decision: Option<String>,
}

impl LevelArgs {
    pub(crate) fn level(self) -> Option<SecurityLevel> {
        self.security_level
            .zip(self.security_decision)
            .map(|(level, decision)| SecurityLevel { level, decision })
    }
}

/// Requests of nodes and members
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry request list --waiting")]
pub(crate) enum Request {
    /// List the requests
    #[command(after_help = "Example:\n  truc registry request list --waiting")]
    List {
        /// Only those that wait for an officer
        #[arg(long)]
        waiting: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show one request with all that must be seen before deciding
    #[command(after_help = "Example:\n  truc registry request show 7")]
    Show {
        /// Its number
        number: u64,
        #[command(flatten)]
        at: At,
    },
    /// Attach the security level of the agency's system
    #[command(
        after_help = "Example:\n  truc registry request level 7 --security-level 3 --security-decision '12/QĐ-UBND 01/11/2026'"
    )]
    Level {
        /// Its number
        number: u64,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        at: At,
    },
    /// Write the certificate requests into a folder, for an external CA
    #[command(after_help = "Example:\n  truc registry request export 7 --out to-ca/")]
    Export {
        /// Its number
        number: u64,
        /// A folder; existing files are not overwritten
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Bring certificates that an external CA issued
    #[command(after_help = "Example:\n  truc registry request certify 7 from-ca/auth.pem from-ca/sign.pem")]
    Certify {
        /// Its number
        number: u64,
        /// Files with certificates in PEM
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// Approve a request, after comparing its code with the node's operator
    #[command(
        after_help = "Example:\n  truc registry request approve 7 --code 0A1B-2C3D-4E5F --security-level 3 --security-decision '12/QĐ-UBND 01/11/2026'"
    )]
    Approve {
        /// Its number
        number: u64,
        /// The comparison code that the node's operator reads out; a wrong one stops the approval
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
        /// A remark for the audit log
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        level: LevelArgs,
        #[command(flatten)]
        at: At,
    },
    /// Refuse a request
    #[command(
        after_help = "Example:\n  truc registry request refuse 7 --reason 'chưa có quyết định phê duyệt cấp độ'"
    )]
    Refuse {
        /// Its number
        number: u64,
        /// Why; the node's operator is told
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
}

/// Invitations of nodes
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry invitation list")]
pub(crate) enum Invitation {
    /// List the invitations and what became of them
    #[command(after_help = "Example:\n  truc registry invitation list --json")]
    List {
        #[command(flatten)]
        at: At,
    },
    /// Take an invitation back
    #[command(
        after_help = "Example:\n  truc registry invitation withdraw 0A1B2C3D --reason 'gửi nhầm người'"
    )]
    Withdraw {
        /// The part of the code before the point
        id: InvitationId,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
}

/// The audit log: every decision with who, when and why
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry audit verify")]
pub(crate) enum Audit {
    /// List the decisions
    #[command(after_help = "Example:\n  truc registry audit list --json")]
    List {
        /// The registry's configuration file
        #[arg(long, default_value = "registry.toml", value_name = "FILE")]
        config: PathBuf,
        /// Only decisions from this sequence on
        #[arg(long, default_value_t = 0, value_name = "N")]
        from: u64,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Check that no decision was changed, dropped or slipped in since it was published
    #[command(
        after_help = "Example:\n  truc registry audit verify\n  truc registry audit verify --head /var/lib/truc/node/data/directory/head.json"
    )]
    Verify {
        /// The registry's configuration file
        #[arg(long, default_value = "registry.toml", value_name = "FILE")]
        config: PathBuf,
        /// A signed head that was kept elsewhere, e.g. by a node; several may be given
        #[arg(long = "head", value_name = "FILE")]
        heads: Vec<PathBuf>,
        /// Print what was found as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Request {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { waiting, at } => list(waiting, &at).await,
            Self::Show { number, at } => {
                let found = at.door().await?.request(number).await?;
                if at.json { out::json(&found) } else { out::pretty(&found) }
            }
            Self::Level { number, level, at } => {
                let Some(level) = level.level() else {
                    bail!("give --security-level and --security-decision")
                };
                at.apply(AttachLevel { number, level }).await
            }
            Self::Export { number, out, at } => {
                let found = at.door().await?.request(number).await?;
                export(&found, &out, at.json).await
            }
            Self::Certify { number, files, at } => {
                let mut pem = String::new();
                for file in &files {
                    let text = String::from_utf8(read(file).await?);
                    pem.push_str(&text.with_context(|| file.display().to_string())?);
                }
                at.apply(Certify { number, pem }).await
            }
            Self::Approve { number, code, reason, level, at } => {
                let mut door = at.door().await?;
                if let Some(code) = code {
                    compare(&code, &door.request(number).await?)?;
                }
                let outcome = door.apply(Approve { number, reason, level: level.level() }).await?;
                at.tell(&outcome)
            }
            Self::Refuse { number, reason, at } => at.apply(Refuse { number, reason }).await,
        }
    }
}

async fn list(waiting: bool, at: &At) -> anyhow::Result<()> {
    let found = at.door().await?.requests(waiting).await?;
    for one in found.as_array().cloned().unwrap_or_default() {
        if at.json {
            out::json(&one)?;
        } else {
            let text = |key: &str| plain(&one[key]);
            out::line(format!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                one["number"],
                text("state"),
                text("kind"),
                text("node"),
                text("comparisonCode"),
                text("made")
            ))?;
        }
    }
    Ok(())
}

/// What the node's operator read out, however it was written down.
fn compare(read_out: &str, found: &Value) -> anyhow::Result<()> {
    let plain = |text: &str| text.to_ascii_uppercase().replace(['-', ' '], "").replace('O', "0");
    let ours = found["comparisonCode"].as_str().unwrap_or_default();
    if plain(read_out) == plain(ours) {
        return Ok(());
    }
    bail!(
        "mã đối chiếu không khớp: KHÔNG duyệt, có thể người khác đã dùng lời mời; xem lại với cán bộ vận hành nút / \
         the comparison code does not match: do NOT approve, somebody else may have used the invitation; go over it with the node's operator"
    )
}

async fn export(found: &Value, folder: &Path, as_json: bool) -> anyhow::Result<()> {
    tokio::fs::create_dir_all(folder).await.with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for one in found["certificateRequests"].as_array().cloned().unwrap_or_default() {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let path = folder.join(format!("{}-{}.csr", text("usage"), text("holder").replace('/', "-")));
        let mut file = tokio::fs::OpenOptions::new();
        let file = file.write(true).create_new(true).open(&path).await;
        let mut file = file.with_context(|| {
            format!(
                "{} không ghi được; hãy chọn thư mục khác / cannot be written; choose another folder",
                path.display()
            )
        })?;
        tokio::io::AsyncWriteExt::write_all(&mut file, text("pem").as_bytes()).await?;
        file.sync_all().await?;
        if !as_json {
            out::line(path.display())?;
        }
        files.push(path);
    }
    if as_json {
        return out::json(&json!({ "files": files }));
    }
    if files.is_empty() {
        out::note("yêu cầu này không có CSR nào / this request holds no certificate request");
    }
    Ok(())
}

impl Invitation {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { at } => {
                let found = at.door().await?.invitations(clock().now()).await?;
                for one in found.as_array().cloned().unwrap_or_default() {
                    if at.json {
                        out::json(&one)?;
                    } else {
                        let text = |key: &str| plain(&one[key]);
                        let shown = ["id", "state", "node", "expires", "by"].map(text);
                        out::line(shown.join("\t"))?;
                    }
                }
                Ok(())
            }
            Self::Withdraw { id, reason, at } => at.apply(WithdrawInvitation { id, reason }).await,
        }
    }
}

impl Audit {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { config, from, json } => {
                let log = audit_log(&RegistryConfig::load(&config)?).await?;
                for one in log.iter().filter(|one| one.sequence >= from) {
                    if json {
                        out::json(&shown_decision(one))?;
                    } else {
                        let decision = &one.decision;
                        let (at, by, kind) = (decision.at, &decision.actor, &decision.kind);
                        out::line(format!("{}\t{at}\t{by}\t{kind}", one.sequence))?;
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify { config, heads, json } => {
                let report = verify_audit(&RegistryConfig::load(&config)?, &heads).await?;
                if json {
                    let heads: Vec<Value> = report
                        .heads
                        .iter()
                        .map(|(from, version, problem)| json!({ "from": from, "version": version, "problem": problem }))
                        .collect();
                    out::json(&json!({
                        "ok": report.holds(), "decisions": report.decisions, "chain": report.chain, "heads": heads,
                    }))?;
                } else {
                    out::line(format!("{} decisions, chain unbroken", report.decisions))?;
                    for (from, version, problem) in &report.heads {
                        let found = problem.as_deref().unwrap_or("the journal is what was published");
                        out::line(format!("{from} (version {version}): {found}"))?;
                    }
                }
                Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}
