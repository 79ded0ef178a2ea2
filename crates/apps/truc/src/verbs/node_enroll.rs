//! `truc node enroll` and `truc node renew`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use truc_governance::{InvitationCode, Standing};
use truc_model::{MemberId, SubsystemId};
use truc_node::config::NodeConfig;
use truc_node::enrolment::{
    self, EnrolOptions, EnrolmentError, Patience, Progress, RenewOptions, RenewalAsked, Settled,
};
use zeroize::Zeroizing;

use super::{blocking, clock, duration};
use crate::out;
use crate::stop::on_signal;

fn named(text: &str) -> Result<(SubsystemId, String), String> {
    let (id, name) = text.split_once('=').ok_or("write SUBSYSTEM=NAME")?;
    Ok((id.parse().map_err(|e| format!("{e}"))?, name.trim().to_owned()))
}

/// Enrol this node: ask the registry to take it in, and wait for the decision
#[derive(Args)]
pub(crate) struct Enroll {
    /// The configuration file
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    config: PathBuf,
    /// The registrar's code; without one, an enrolment under way goes on
    #[arg(long, value_name = "CODE", conflicts_with = "invitation_file")]
    invitation: Option<String>,
    /// File with the registrar's code, or - for standard input: keeps it out of the list of processes
    #[arg(long, value_name = "FILE")]
    invitation_file: Option<PathBuf>,
    /// Where other nodes connect, if the configuration's peer.listen does not say
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// What people call a subsystem; several may be given
    #[arg(long = "name", value_name = "SUBSYSTEM=NAME", value_parser = named)]
    names: Vec<(SubsystemId, String)>,
    /// Send the request and do not wait for the decision
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the decision
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = duration)]
    timeout: Duration,
    /// Print where the request stands as one JSON object
    #[arg(long)]
    json: bool,
}

impl Enroll {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = load(self.config).await?;
        let invitation = match (self.invitation.map(Zeroizing::new), self.invitation_file) {
            (Some(code), _) => Some(code),
            (None, Some(file)) => Some(read_code(file).await?),
            (None, None) => None,
        };
        let invitation =
            invitation.map(|code| code.parse::<InvitationCode>().map_err(anyhow::Error::msg)).transpose()?;
        let names: BTreeMap<_, _> = self.names.into_iter().collect();
        let options = EnrolOptions { invitation, address: self.address, names };
        let (clock, mut teller) = (clock(), Teller::default());
        let again = format!("truc node enroll --config {}", config.path.display());
        let asking = async {
            let how = (Patience::default(), !self.no_wait);
            let mut tell = |progress: Progress<'_>| teller.tell(&progress);
            enrolment::enrol(&config, options, &clock, how, &mut tell).await
        };
        let settled = limited(asking, self.timeout).await;
        let approved = matches!(&settled, Ok(Some(settled)) if !settled.standing.state.is_open());
        let code = finish(settled, teller, self.no_wait, &again, self.json)?;
        if approved {
            out::note(format!(
                "đã ghi danh; khởi động nút / enrolled; start the node: truc node run --config {}",
                config.path.display()
            ));
        }
        Ok(code)
    }
}

/// Renew keys: new ones, certificates for them, and the running node changes over by itself
#[derive(Args)]
pub(crate) struct Renew {
    /// The configuration file
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    config: PathBuf,
    /// The node's TLS identity; without --auth and --member, everything
    #[arg(long)]
    auth: bool,
    /// The seal of this member; several may be given
    #[arg(long = "member", value_name = "MEMBER")]
    members: Vec<MemberId>,
    /// Only make keys and certificate requests, for an external CA
    #[arg(long, conflicts_with = "certificates")]
    csr: bool,
    /// A certificate that an external CA issued for a new key, PEM; several may be given
    #[arg(long = "certificate", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// How long to try to reach the registry
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = duration)]
    timeout: Duration,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

impl Renew {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = load(self.config).await?;
        let options =
            RenewOptions { auth: self.auth, members: self.members, certificates: self.certificates };
        if self.csr {
            let files = enrolment::new_requests(&config, options).await?;
            if self.json {
                out::json(&json!({ "requests": files }))?;
            } else {
                files.iter().try_for_each(|file| out::line(format!("request  {}", file.display())))?;
                out::note("Next: have them signed by the CA, then: truc node renew --certificate FILE …");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (clock, mut teller) = (clock(), Teller::default());
        let asking = async {
            let mut tell = |progress: Progress<'_>| teller.tell(&progress);
            enrolment::renew(&config, options, &clock, (Patience::default(), true), &mut tell).await
        };
        let Some(RenewalAsked { keys, granted }) = limited(asking, self.timeout).await? else {
            out::note(
                "chưa xong; nút đang chạy sẽ làm tiếp / not done yet; the running node goes on with it",
            );
            return Ok(ExitCode::FAILURE);
        };
        if self.json {
            out::json(&json!({ "keys": keys, "granted": granted }))?;
        } else {
            keys.iter().try_for_each(|key| out::line(format!("new key  {key}")))?;
            out::note(
                "nút đang chạy tự chuyển sang khóa mới / the running node changes over to the new keys by itself",
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) async fn load(path: PathBuf) -> anyhow::Result<NodeConfig> {
    blocking(move || NodeConfig::load(&path)).await
}

async fn read_code(file: PathBuf) -> anyhow::Result<Zeroizing<String>> {
    let reading = move || {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(&file)
        };
        text.map(Zeroizing::new)
            .with_context(|| format!("the invitation cannot be read from {}", file.display()))
    };
    tokio::task::spawn_blocking(reading).await?
}

/// Until the limit or Ctrl-C; `None` then: everything is kept, and the same command goes on.
pub(super) async fn limited<T>(
    work: impl Future<Output = Result<T, EnrolmentError>>,
    limit: Duration,
) -> anyhow::Result<Option<T>> {
    let stop = on_signal()?;
    tokio::select! {
        done = work => Ok(Some(done?)),
        () = stop.cancelled() => Ok(None),
        () = tokio::time::sleep(limit) => Ok(None),
    }
}

/// Tells people where a request stands.
#[derive(Default)]
pub(super) struct Teller {
    last: Option<Standing>,
    away: bool,
}

impl Teller {
    pub(super) fn tell(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Resumed => {
                out::note("tiếp tục yêu cầu đã gửi trước / going on with the request sent before")
            }
            Progress::Away(why) if !self.away => {
                out::note(format!(
                    "chưa liên lạc được sổ đăng ký, thử lại / the registry is away, trying on: {why}"
                ));
                self.away = true;
            }
            Progress::Away(_) => {}
            Progress::Stands(standing) => {
                self.away = false;
                let first = self.last.is_none();
                out::note(format!(
                    "yêu cầu / request {}: {} · mã đối chiếu / comparison code {}",
                    standing.number,
                    standing.state.as_str(),
                    standing.comparison_code
                ));
                if first && standing.state.is_open() {
                    out::note(
                        "đọc mã đối chiếu cho cán bộ đăng ký qua điện thoại / read the comparison code to the registrar by phone",
                    );
                }
                self.last = Some((*standing).clone());
            }
        }
    }
}

/// Prints what came of it, and the exit code.
pub(super) fn finish(
    settled: anyhow::Result<Option<Settled>>,
    teller: Teller,
    no_wait: bool,
    again: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (standing, written, code) = match settled? {
        Some(Settled { standing, written }) => {
            let done = no_wait || !standing.state.is_open();
            (Some(standing), written, if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None => (teller.last, vec![], ExitCode::FAILURE),
    };
    if let Some(standing) = &standing {
        if json {
            out::json(&json!({
                "number": standing.number, "kind": standing.kind, "state": standing.state.as_str(),
                "comparisonCode": standing.comparison_code, "steps": standing.steps, "certificates": written,
            }))?;
        } else {
            out::line(format!("request          {}", standing.number))?;
            out::line(format!("comparison code  {}", standing.comparison_code))?;
            out::line(format!("state            {}", standing.state.as_str()))?;
            written.iter().try_for_each(|file| out::line(format!("certificate      {}", file.display())))?;
        }
    }
    if standing.is_none_or(|standing| standing.state.is_open()) {
        out::note(format!("chưa có quyết định; chạy tiếp / not decided yet; go on with: {again}"));
    }
    Ok(code)
}
