//! What loading a list of codes would add.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use truc_directory::{AgencyCode, CodeForm, MemberEntry, MemberStatus};
use truc_model::MemberId;

use super::Registered;
use crate::code_lists::{CodeEntry, CodeStatus, Confidence, check_entries};
use crate::error::RegistryError;
use crate::verbs::{AddAlias, AddMember, CloseMember};

/// How a list is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// The class of the members, e.g. `GOV`.
    pub class: String,
    /// Also rows whose code or name awaits confirmation.
    pub unconfirmed: bool,
}

/// One decision of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Admits a member.
    AddMember(AddMember),
    /// Records an old code.
    AddAlias(AddAlias),
    /// Closes a member.
    CloseMember(CloseMember),
}

/// What is planned for one row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRow {
    /// The row.
    #[serde(flatten)]
    pub entry: CodeEntry,
    /// The member that it is about.
    pub member: String,
    /// What is to be decided, in order.
    pub steps: Vec<Step>,
    /// Why something is left out or differs; nothing of it is changed.
    pub notes: Vec<String>,
}

/// What loading a list would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPlan {
    /// Row by row, in the list's order.
    pub rows: Vec<PlannedRow>,
    /// The decisions in the order in which they can be taken: members, their old codes, closings.
    pub steps: Vec<Step>,
}

/// Plans loading `entries`.
///
/// # Errors
/// [`RegistryError`]: the list has mistakes, or a code in it is no agency code in its new form.
pub fn plan_codes(
    entries: &[CodeEntry],
    registered: &Registered,
    options: &LoadOptions,
) -> Result<LoadPlan, RegistryError> {
    check_entries(entries)?;
    let by_code: BTreeMap<&str, &CodeEntry> = entries.iter().map(|e| (e.code.as_str(), e)).collect();
    let planner = Planner { registered, options, by_code };
    let rows = entries.iter().map(|entry| planner.row(entry)).collect::<Result<Vec<_>, _>>()?;
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for row in &rows {
        // A closed successor is closed after those whom it succeeds: only an open one can be named.
        let depth = planner.depth(&row.entry);
        steps.extend(row.steps.iter().map(|step| (order(step, depth), step.clone())));
    }
    steps.sort_by_key(|(order, _)| *order);
    Ok(LoadPlan { rows, steps: steps.into_iter().map(|(_, step)| step).collect() })
}

/// Place of a step among all: the deepest in a line of successors are closed first.
const fn order(step: &Step, depth: usize) -> usize {
    match step {
        Step::AddMember(_) => 0,
        Step::AddAlias(_) => 1,
        Step::CloseMember(_) => usize::MAX - depth,
    }
}

struct Planner<'a> {
    registered: &'a Registered,
    options: &'a LoadOptions,
    by_code: BTreeMap<&'a str, &'a CodeEntry>,
}

impl Planner<'_> {
    fn id(&self, code: &str) -> Result<MemberId, RegistryError> {
        let canonical = matches!(AgencyCode::read(code), Ok((_, CodeForm::New)));
        let id = MemberId::new(&self.registered.instance, &self.options.class, code);
        id.ok().filter(|_| canonical).ok_or_else(|| {
            RegistryError::Invalid(format!("{code:?} is no agency code in the new form, like H26 or G12.18"))
        })
    }

    /// How many successors stand behind it; the list is free of circles.
    fn depth(&self, entry: &CodeEntry) -> usize {
        let next = |e: &&CodeEntry| e.successor.as_deref().and_then(|code| self.by_code.get(code).copied());
        std::iter::successors(Some(entry), |e| next(e)).count()
    }

    fn row(&self, entry: &CodeEntry) -> Result<PlannedRow, RegistryError> {
        let id = self.id(&entry.code)?;
        let mut row =
            PlannedRow { entry: entry.clone(), member: id.to_string(), steps: vec![], notes: vec![] };
        let there = self.registered.members.get(&id);
        match there {
            None => match self.obstacle(entry)? {
                Some(why) => {
                    row.notes.push(why);
                    return Ok(row);
                }
                None => row.steps.push(Step::AddMember(AddMember {
                    id: id.to_string(),
                    name_vi: entry.name_vi.clone(),
                    name_en: entry.name_en.clone(),
                })),
            },
            Some(member) => {
                if (member.name_vi.trim(), member.name_en.trim())
                    != (entry.name_vi.trim(), entry.name_en.trim())
                {
                    row.notes
                        .push(format!("is called {} / {} in the registry", member.name_vi, member.name_en));
                }
                if !self.wanted(entry) {
                    return Ok(row);
                }
            }
        }
        if there.is_none_or(|m| m.status == MemberStatus::Active) {
            self.aliases(entry, &id, &mut row);
        }
        self.closing(entry, there, &mut row)?;
        Ok(row)
    }

    fn wanted(&self, entry: &CodeEntry) -> bool {
        self.options.unconfirmed || entry.confidence == Confidence::Confirmed
    }

    /// Why a row cannot be loaded as a new member.
    fn obstacle(&self, entry: &CodeEntry) -> Result<Option<String>, RegistryError> {
        if !self.wanted(entry) {
            return Ok(Some("is unconfirmed: left out, load it with --unconfirmed".to_owned()));
        }
        let Some(successor) = &entry.successor else { return Ok(None) };
        Ok(match self.registered.members.get(&self.id(successor)?) {
            Some(member) if member.status == MemberStatus::Active => None,
            Some(_) => Some(format!("waits: its successor {successor} is not active in the registry")),
            None => match self.by_code.get(successor.as_str()) {
                Some(next) if self.obstacle(next)?.is_none() => None,
                _ => Some(format!("waits for its successor {successor}, which is not loaded")),
            },
        })
    }

    fn aliases(&self, entry: &CodeEntry, id: &MemberId, row: &mut PlannedRow) {
        let old_form = entry.code.parse::<AgencyCode>().ok().and_then(|code| code.old_form());
        for alias in old_form.into_iter().chain(entry.aliases.iter().cloned()) {
            match self.registered.aliases.get(&alias) {
                Some(owner) if owner == id => {}
                Some(owner) => row.notes.push(format!("{alias} is an alias of {owner} in the registry")),
                None => row.steps.push(Step::AddAlias(AddAlias { alias, member: id.to_string() })),
            }
        }
    }

    fn closing(
        &self,
        entry: &CodeEntry,
        there: Option<&MemberEntry>,
        row: &mut PlannedRow,
    ) -> Result<(), RegistryError> {
        let is_open = there.is_none_or(|m| m.status != MemberStatus::Closed);
        match (entry.status, is_open) {
            (CodeStatus::Active, true) | (CodeStatus::Closed, false) => return Ok(()),
            (CodeStatus::Active, false) => {
                row.notes.push("is closed in the registry".to_owned());
                return Ok(());
            }
            (CodeStatus::Closed, true) => {}
        }
        let successor = entry.successor.as_deref().map(|code| self.id(code)).transpose()?;
        if let Some(member) = there {
            let bare = member.status == MemberStatus::Active
                && member.subsystems.is_empty()
                && member.nodes.is_empty()
                && member.sign_certificates.is_empty();
            if !bare {
                row.notes.push("is in use: close it by hand with truc registry member close".to_owned());
                return Ok(());
            }
            if let Some(why) = self.obstacle(entry)? {
                row.notes.push(why);
                return Ok(());
            }
        }
        row.steps.push(Step::CloseMember(CloseMember {
            id: row.member.clone(),
            successor: successor.map(|id| id.to_string()),
            subsystems: vec![],
        }));
        Ok(())
    }
}
