//! `truc registry member …` and `truc registry subsystem …`.

use clap::Subcommand;
use truc_model::{MemberId, SubsystemId, Timestamp};
use truc_registry::{
    AddMember, AddSubsystem, CloseMember, Continuation, DisableSubsystem, EnableSubsystem, ReinstateMember,
    RemoveSubsystem, RenameMember, SetValidity, SuspendMember,
};

use super::registry::{At, plain};
use crate::out;

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
    /// Take a member out of service for now
    #[command(
        after_help = "Example:\n  truc registry member suspend VN/GOV/H49 --reason 'sự cố an toàn thông tin'"
    )]
    Suspend {
        /// Its id
        id: MemberId,
        /// Why; the audit log says it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// End a member's suspension
    #[command(after_help = "Example:\n  truc registry member reinstate VN/GOV/H49 --reason 'đã khắc phục'")]
    Reinstate {
        /// Its id
        id: MemberId,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// State from when until when a member takes part
    #[command(
        after_help = "Example:\n  truc registry member validity VN/COM/9901000019 --to 2027-12-31T17:00:00.000Z"
    )]
    Validity {
        /// Its id
        id: MemberId,
        /// From when (RFC 3339, UTC, with milliseconds) [default: unchanged]
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Until when [default: open-ended]
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
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

impl Member {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
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
            Self::Suspend { id, reason, at } => at.apply(SuspendMember { id: id.to_string(), reason }).await,
            Self::Reinstate { id, reason, at } => {
                at.apply(ReinstateMember { id: id.to_string(), reason }).await
            }
            Self::Validity { id, from, to, at } => {
                at.apply(SetValidity { id: id.to_string(), valid_from: from, valid_to: to }).await
            }
            Self::Close { id, successor, continuations, at } => {
                let successor = successor.map(|s| s.to_string());
                at.apply(CloseMember { id: id.to_string(), successor, subsystems: continuations }).await
            }
        }
    }
}

fn continuation(text: &str) -> Result<Continuation, String> {
    let Some((from, to)) = text.split_once('=') else {
        return Err("write FROM=TO, like VN/GOV/H10/mot-cua=VN/GOV/H19/mot-cua".to_owned());
    };
    let read = |text: &str| text.parse::<SubsystemId>().map_err(|e| e.to_string());
    let (from, to) = (read(from)?, read(to)?);
    Ok(Continuation { from: from.to_string(), to: to.to_string() })
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
    /// No node is to speak for it for now
    #[command(after_help = "Example:\n  truc registry subsystem disable VN/GOV/H26/mot-cua-so-1")]
    Disable {
        /// Its id
        id: SubsystemId,
        #[command(flatten)]
        at: At,
    },
    /// End that
    #[command(after_help = "Example:\n  truc registry subsystem enable VN/GOV/H26/mot-cua-so-1")]
    Enable {
        /// Its id
        id: SubsystemId,
        #[command(flatten)]
        at: At,
    },
    /// End its registration; no node may serve it any more
    #[command(after_help = "Example:\n  truc registry subsystem remove VN/GOV/H26/mot-cua-so-1")]
    Remove {
        /// Its id
        id: SubsystemId,
        #[command(flatten)]
        at: At,
    },
}

impl Subsystem {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { id, name, at } => at.apply(AddSubsystem { id: id.to_string(), name }).await,
            Self::Disable { id, at } => at.apply(DisableSubsystem { id: id.to_string() }).await,
            Self::Enable { id, at } => at.apply(EnableSubsystem { id: id.to_string() }).await,
            Self::Remove { id, at } => at.apply(RemoveSubsystem { id: id.to_string() }).await,
        }
    }
}
