//! `truc registry codes …`: agency codes in the registry.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use truc_directory::{AgencyCode, MemberEntry, MemberStatus};
use truc_registry::{
    CodeStatus, CodesLoaded, Confidence, LoadCodes, LoadOptions, LoadPlan, PlannedRow, Registered,
    RegistryError, Step, agency_codes, plan_codes, read_entries,
};

use super::read;
use super::registry::At;
use crate::out;

/// Most decisions in one request to a running registry.
const BATCH: usize = 1_000;

/// Agency codes: load a list of them, look them up
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc registry codes load --dry-run")]
pub(crate) enum Codes {
    /// Load a list of codes: what is missing is added, what is there stays as it is
    #[command(
        after_help = "Example:\n  truc registry codes load --dry-run\n  truc registry codes load --unconfirmed\n  truc registry codes load units.csv --config registry.toml\n\nThe list is a table with the columns code, name_vi, name_en and, where there is something to say, status (active, closed), successor, confidence (confirmed, unconfirmed) and aliases."
    )]
    Load {
        /// The list (CSV, or a JSON array); without one, the built-in list of level-1 codes
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Show what would be added, and add nothing
        #[arg(long)]
        dry_run: bool,
        /// Also load rows whose code or name awaits confirmation
        #[arg(long)]
        unconfirmed: bool,
        #[command(flatten)]
        which: Which,
    },
    /// List the members with their codes, old and new
    #[command(after_help = "Example:\n  truc registry codes list --json")]
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show what is known of one code
    #[command(after_help = "Example:\n  truc registry codes show H26")]
    Show {
        /// The code in any form, or a whole id
        code: String,
        #[command(flatten)]
        which: Which,
    },
    /// Say which member a code names, its status and its successor; exit code 1 when it names nobody
    #[command(
        after_help = "Example:\n  truc registry codes resolve 000.00.00.H26\n  truc registry codes resolve VN/GOV/00.14.H29 --json"
    )]
    Resolve {
        /// The code in any form, or a whole id
        code: String,
        #[command(flatten)]
        which: Which,
    },
}

/// Which registry, and the class of its agencies.
#[derive(Args)]
pub(crate) struct Which {
    /// The class of the members that codes without one are read in
    #[arg(long, default_value = "GOV", value_name = "CLASS")]
    class: String,
    #[command(flatten)]
    at: At,
}

impl Which {
    async fn registered(&self) -> anyhow::Result<Registered> {
        Ok(Registered::read(&self.at.door().await?.directory().await?)?)
    }
}

impl Codes {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Load { file, dry_run, unconfirmed, which } => {
                return load(file, dry_run, unconfirmed, &which).await;
            }
            Self::List { which } => {
                let registered = which.registered().await?;
                for member in registered.members() {
                    tell(&registered, member, which.at.json)?;
                }
            }
            Self::Show { code, which } => {
                let registered = which.registered().await?;
                match registered.resolve(&code, &which.class) {
                    Ok(member) => show(&registered, member, which.at.json)?,
                    Err(error) => return Ok(nobody(&error)),
                }
            }
            Self::Resolve { code, which } => {
                let registered = which.registered().await?;
                match registered.resolve(&code, &which.class) {
                    Ok(member) if which.at.json => out::json(&described(&registered, member))?,
                    Ok(member) => {
                        out::line(format!("{}\t{}\t{}", member.id, status(member), successor(member)))?;
                    }
                    Err(error) => return Ok(nobody(&error)),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn nobody(error: &RegistryError) -> ExitCode {
    out::note(format!("truc: {error}"));
    ExitCode::FAILURE
}

const fn status(member: &MemberEntry) -> &'static str {
    match member.status {
        MemberStatus::Active => "active",
        MemberStatus::Suspended => "suspended",
        MemberStatus::Closed => "closed",
    }
}

/// The successor's id, or `-`.
fn successor(member: &MemberEntry) -> String {
    member.succession.as_ref().map_or_else(|| "-".to_owned(), |s| s.member.to_string())
}

fn described(registered: &Registered, member: &MemberEntry) -> Value {
    let code = member.id.code().parse::<AgencyCode>().ok();
    json!({
        "member": member.id.to_string(), "nameVi": member.name_vi, "nameEn": member.name_en, "status": status(member),
        "successor": member.succession.as_ref().map(|s| s.member.to_string()),
        "validFrom": member.valid_from, "validTo": member.valid_to,
        "oldForm": code.as_ref().and_then(AgencyCode::old_form),
        "above": code.as_ref().and_then(AgencyCode::parent).map(|c| c.to_string()),
        "aliases": registered.aliases_of(&member.id).collect::<Vec<_>>(),
    })
}

fn tell(registered: &Registered, member: &MemberEntry, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&described(registered, member));
    }
    let aliases: Vec<&str> = registered.aliases_of(&member.id).collect();
    let names = format!("{}\t{}", member.name_vi, member.name_en);
    Ok(out::line(format!(
        "{}\t{}\t{}\t{names}\t{}",
        member.id,
        status(member),
        successor(member),
        aliases.join(" ")
    ))?)
}

fn show(registered: &Registered, member: &MemberEntry, json: bool) -> anyhow::Result<()> {
    let described = described(registered, member);
    if json { out::json(&described) } else { out::pretty(&described) }
}

async fn load(
    file: Option<PathBuf>,
    dry_run: bool,
    unconfirmed: bool,
    which: &Which,
) -> anyhow::Result<ExitCode> {
    let entries = match &file {
        Some(file) => read_entries(&read(file).await?)?,
        None => agency_codes()?,
    };
    let mut door = which.at.door().await?;
    let registered = Registered::read(&door.directory().await?)?;
    let options = LoadOptions { class: which.class.clone(), unconfirmed };
    let LoadPlan { rows, steps } = plan_codes(&entries, &registered, &options)?;
    let json = which.at.json;
    if !json || dry_run {
        rows.iter().try_for_each(|row| plan_row(row, json))?;
    }
    let left_out = rows.iter().filter(|row| !row.notes.is_empty()).count();
    if dry_run {
        out::note(format!("{} decisions would be taken; {left_out} rows have notes", steps.len()));
        return Ok(ExitCode::SUCCESS);
    }
    let mut loaded = CodesLoaded { decided: 0, already: 0, version: 0, refused: None };
    for batch in steps.chunks(BATCH) {
        let done = door.load_codes(LoadCodes { steps: batch.to_vec() }).await?;
        loaded = CodesLoaded {
            decided: loaded.decided + done.decided,
            already: loaded.already + done.already,
            ..done
        };
        if loaded.refused.is_some() {
            break;
        }
    }
    if json {
        out::json(&loaded)?;
    } else if steps.is_empty() {
        out::note(format!("everything that can be loaded is there already; {left_out} rows have notes"));
    } else {
        out::note(format!(
            "{} decisions taken, {} were there already; published as directory version {}; {left_out} rows have notes",
            loaded.decided, loaded.already, loaded.version
        ));
    }
    Ok(match loaded.refused {
        None => ExitCode::SUCCESS,
        Some(why) => {
            out::note(format!(
                "truc: stopped before the end: {why}; load the list again when that is mended"
            ));
            ExitCode::FAILURE
        }
    })
}

/// One row of the plan; rows that are as they should be are left out for people.
fn plan_row(row: &PlannedRow, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(row);
    }
    let does = row.steps.iter().map(|step| match step {
        Step::AddMember(_) => "add".to_owned(),
        Step::AddAlias(alias) => format!("alias {}", alias.alias),
        Step::CloseMember(close) => match &close.successor {
            Some(successor) => format!("close, successor {successor}"),
            None => "close".to_owned(),
        },
    });
    let does: Vec<String> = does.chain(row.notes.iter().map(|note| format!("({note})"))).collect();
    if does.is_empty() {
        return Ok(());
    }
    let entry = &row.entry;
    let mark = if entry.confidence == Confidence::Unconfirmed { "unconfirmed" } else { "confirmed" };
    let status = if entry.status == CodeStatus::Closed { "closed" } else { "active" };
    let names = format!("{}\t{}", entry.name_vi, entry.name_en);
    Ok(out::line(format!("{}\t{status}\t{mark}\t{names}\t{}", row.member, does.join("; ")))?)
}
