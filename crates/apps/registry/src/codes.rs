//! Agency codes as the registry has them: what a list of codes would add to it, adding that, and whom a code names.
//!
//! Loading is a batch of ordinary decisions (admit, record an old code, close), each of them in the journal, with one publication
//! behind them. It only adds: who is registered already keeps its name, and who is in use is not closed by a list.

mod plan;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use truc_directory::{Alias, Aliases, Directory, MemberEntry, part, resolve_member};
use truc_governance::{Command, GovernanceError, Officer};
use truc_model::MemberId;

use crate::code_lists::{CodeEntry, read_entries};
use crate::door::{Door, call, odd};
use crate::error::RegistryError;
use crate::office::Office;
use crate::verbs::Verb as _;

pub use plan::{LoadOptions, LoadPlan, PlannedRow, Step, plan_codes};

/// The built-in list: level-1 agency codes (`data/agency-codes.csv`; its origin is told in `data/README.md`).
pub const AGENCY_CODES: &str = include_str!("../data/agency-codes.csv");

/// Name under which the built-in list is published as a code list.
pub const AGENCY_CODES_NAME: &str = "agency-codes";

/// The entries of the built-in list.
///
/// # Errors
/// None, unless it was built in with a mistake.
pub fn agency_codes() -> Result<Vec<CodeEntry>, RegistryError> {
    Ok(read_entries(AGENCY_CODES.as_bytes())?)
}

/// What the registry has of codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    instance: String,
    members: BTreeMap<MemberId, MemberEntry>,
    aliases: BTreeMap<String, MemberId>,
}

impl Registered {
    /// From the directory as [`Door::directory`] shows it.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`]: another version of the registry wrote it.
    pub fn read(directory: &Value) -> Result<Self, RegistryError> {
        let odd = |e: serde_json::Error| RegistryError::Invalid(format!("the directory cannot be read: {e}"));
        let members: Vec<MemberEntry> = serde_json::from_value(directory["members"].clone()).map_err(odd)?;
        let aliases: Vec<Alias> = serde_json::from_value(directory["aliases"].clone()).map_err(odd)?;
        Ok(Self {
            instance: directory["head"]["instance"].as_str().unwrap_or_default().to_owned(),
            members: members.into_iter().map(|m| (m.id.clone(), m)).collect(),
            aliases: aliases.into_iter().map(|a| (a.alias, a.member)).collect(),
        })
    }

    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = &MemberEntry> {
        self.members.values()
    }

    /// The old codes of a member, as the alias table has them.
    pub fn aliases_of<'a>(&'a self, id: &'a MemberId) -> impl Iterator<Item = &'a str> {
        self.aliases.iter().filter(move |(_, member)| *member == id).map(|(alias, _)| alias.as_str())
    }

    /// Whom a code names: a bare one (`H26`, `000.00.00.H26`) in `class`, or a whole id (`VN/GOV/H26`). Never a successor.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] says why it names nobody.
    pub fn resolve(&self, code: &str, class: &str) -> Result<&MemberEntry, RegistryError> {
        let invalid = |why: String| RegistryError::Invalid(why);
        let given = match code.contains('/') {
            true => code.parse::<MemberId>(),
            false => MemberId::new(&self.instance, class, code),
        };
        let given = given.map_err(|e| invalid(e.to_string()))?;
        let alias = |code: &str| self.aliases.get(code).cloned();
        let found = resolve_member(&given, alias, |id| self.members.contains_key(id));
        let found = found.map_err(|why| invalid(why.to_string()))?;
        self.members.get(&found).ok_or_else(|| invalid(format!("{found} is not a member, and no alias")))
    }
}

/// The alias table, as the directory shows it.
pub(crate) fn aliases(directory: &Directory) -> Vec<Alias> {
    let part = directory.raw().part(part::ALIASES).and_then(|bytes| Aliases::parse(bytes).ok());
    part.map(|table| table.aliases).unwrap_or_default()
}

/// A batch of decisions with one publication behind it: `POST` to [`LoadCodes::PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadCodes {
    /// The decisions, in order.
    pub steps: Vec<Step>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodesLoaded {
    /// Decisions taken.
    pub decided: u64,
    /// Steps that somebody had taken already.
    pub already: u64,
    /// Version of the directory that carries them.
    pub version: u64,
    /// Why it stopped before the end; what was decided until then is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl LoadCodes {
    /// Route of its API request.
    pub const PATH: &'static str = "/api/v1/codes/load";

    /// What governance is asked.
    ///
    /// # Errors
    /// A sentence: an identifier cannot be read. Nothing is decided then.
    pub(crate) fn commands(self) -> Result<Vec<Command>, String> {
        let command = |step| match step {
            Step::AddMember(verb) => verb.command(),
            Step::AddAlias(verb) => verb.command(),
            Step::CloseMember(verb) => verb.command(),
        };
        self.steps.into_iter().map(command).collect()
    }
}

/// Takes the decisions in order until one is refused; publishing is the caller's, who fills in the version.
pub(crate) async fn decide_all(
    office: &mut Office,
    commands: Vec<Command>,
    officer: &Officer,
) -> CodesLoaded {
    let mut loaded = CodesLoaded { decided: 0, already: 0, version: 0, refused: None };
    for command in commands {
        match office.execute_as(command, officer).await {
            Ok(_) => loaded.decided += 1,
            Err(RegistryError::Refused(GovernanceError::Duplicate(_))) => loaded.already += 1,
            Err(error) => {
                loaded.refused = Some(error.to_string());
                break;
            }
        }
    }
    loaded
}

impl Door {
    /// Takes a batch of decisions and publishes them together.
    ///
    /// # Errors
    /// [`RegistryError`]; a decision that was refused is told in [`CodesLoaded::refused`].
    pub async fn load_codes(&mut self, batch: LoadCodes) -> Result<CodesLoaded, RegistryError> {
        match self {
            Self::Folder(office) => {
                let commands = batch.commands().map_err(RegistryError::Invalid)?;
                let loaded = decide_all(office, commands, &Officer::machine("command-line")).await;
                Ok(CodesLoaded { version: office.publish().await?.directory.version(), ..loaded })
            }
            Self::Api { address, token } => {
                let body = serde_json::to_vec(&batch).map_err(|e| RegistryError::Invalid(e.to_string()))?;
                let answer = call(*address, token, http::Method::POST, LoadCodes::PATH, body).await?;
                serde_json::from_value(answer).map_err(|e| odd(*address, &e))
            }
        }
    }
}

#[cfg(test)]
mod tests;
