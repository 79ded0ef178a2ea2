//! `truc access check`: would this call be permitted? Nothing is called and nothing is recorded.

use std::process::ExitCode;

use clap::Args;
use truc_admin::{CheckAnswer, CheckCall};
use truc_model::{ServiceId, SubsystemId, Timestamp};

use super::access::{moment, right_line};
use super::target::Target;
use crate::out;

/// Say whether a call would be permitted and why; exit code 0 when it would, 1 when not
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc access check --client VN/GOV/H26/mot-cua-so-1 --service VN/GOV/G01/csdl-dancu/tra-cuu --method GET --path /cong-dan/1 --user cb-0123 --legal-basis 'Điều 5' --at 2026-11-23T08:00"
)]
pub(crate) struct Check {
    /// The subsystem that would call
    #[arg(long, value_name = "SUBSYSTEM")]
    client: SubsystemId,
    /// The service it would call; of this node
    #[arg(long, value_name = "SERVICE")]
    service: ServiceId,
    /// The HTTP method
    #[arg(long, default_value = "GET")]
    method: String,
    /// The path after the service's code
    #[arg(long, default_value = "/", value_name = "PATH")]
    path: String,
    /// The officer that the call would name (X-Road-UserId)
    #[arg(long, value_name = "CODE")]
    user: Option<String>,
    /// The purpose that it would state (Truc-Purpose)
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The legal basis that it would state (Truc-Legal-Basis)
    #[arg(long, value_name = "TEXT")]
    legal_basis: Option<String>,
    /// The length of its body, in bytes
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    body_length: u64,
    /// When it would arrive: UTC like 2026-11-23T01:00:00.000Z, or time of Việt Nam like 2026-11-23T08:00; now unless given
    #[arg(long, value_parser = moment, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    target: Target,
    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let call = CheckCall {
            client: self.client,
            service: self.service,
            method: self.method,
            path: self.path,
            officer: self.user.is_some(),
            purpose: self.purpose.is_some(),
            legal_basis: self.legal_basis.is_some(),
            body_length: self.body_length,
            at: self.at,
        };
        let answer = self.target.client().await?.check(&call).await?;
        if self.json {
            out::json(&answer)?;
        } else {
            show(&answer)?;
        }
        Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn show(answer: &CheckAnswer) -> anyhow::Result<()> {
    let at = answer.at;
    match (&answer.code, answer.right) {
        (Some(code), _) => {
            out::line(format!("no\t{code}\t{}", answer.reason.as_deref().unwrap_or_default()))?;
        }
        (None, Some(right)) => out::line(format!("yes\tby right {right}, at {at}"))?,
        (None, None) => out::line("yes\ta service of the bus itself, open to every registered member")?,
    }
    for considered in &answer.rights {
        let verdict =
            if considered.misses.is_empty() { "holds".to_owned() } else { considered.misses.join("; ") };
        out::line(format!("  {}\t{verdict}", right_line(&considered.right)))?;
    }
    if !answer.allowed && answer.rights.is_empty() {
        out::note(
            "no right to this service is given to this client, its member or a group it is in: truc access grant",
        );
    }
    answer.notes.iter().for_each(|note| out::note(format!("note: {note}")));
    Ok(())
}
