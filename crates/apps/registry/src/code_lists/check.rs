//! What a code list may say, alone and after the version before it.

use std::collections::{BTreeMap, BTreeSet};

use truc_model::Timestamp;

use super::{CodeEntry, CodeListError, CodeStatus};

/// Most codes in a list.
const CODES: usize = 100_000;
/// Longest name, in characters.
const NAME: usize = 200;
/// Most mistakes told at once.
const TOLD: usize = 30;

/// Mistakes found, told up to a bound.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn tell(&mut self, mistake: String) {
        match self.0.len() {
            TOLD => self.0.push("there are more".to_owned()),
            n if n < TOLD => self.0.push(mistake),
            _ => {}
        }
    }
    fn finish(self) -> Result<(), CodeListError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodeListError::Refused(self.0)) }
    }
}

/// Checks a list for itself: codes, names, dates, successors that exist and end somewhere, aliases that name one code.
///
/// # Errors
/// [`CodeListError::Refused`] with every mistake.
pub fn check_entries(entries: &[CodeEntry]) -> Result<(), CodeListError> {
    let mut mistakes = Mistakes::default();
    if entries.is_empty() || entries.len() > CODES {
        mistakes.tell(format!("a list has 1 to {CODES} codes, this has {}", entries.len()));
    }
    let mut by_code = BTreeMap::new();
    for entry in entries {
        if by_code.insert(entry.code.as_str(), entry).is_some() {
            mistakes.tell(format!("{}: is listed twice", entry.code));
        }
    }
    let mut aliases = BTreeSet::new();
    for entry in entries {
        let mut wrong = |what: String| mistakes.tell(format!("{}: {what}", entry.code));
        if !is_code(&entry.code) {
            wrong("a code has 1 to 64 printable ASCII characters and no '/'".to_owned());
        }
        for (name, what) in [(&entry.name_vi, "name_vi"), (&entry.name_en, "name_en")] {
            if !is_name(name) {
                wrong(format!("{what} has 1 to {NAME} characters and no line breaks"));
            }
        }
        if entry.kind.as_deref().is_some_and(|kind| !is_name(kind)) {
            wrong(format!("kind has 1 to {NAME} characters and no line breaks"));
        }
        if let Err(why) = dates(entry) {
            wrong(why);
        }
        if let Err(why) = succession(entry, &by_code) {
            wrong(why);
        }
        for alias in &entry.aliases {
            if !is_code(alias) || by_code.contains_key(alias.as_str()) || !aliases.insert(alias.as_str()) {
                wrong(format!("the alias {alias:?} is no code, or names something else already"));
            }
        }
    }
    mistakes.finish()
}

fn is_code(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && b != b'/';
    (1..=64).contains(&text.len()) && text.bytes().all(fits) && text != "." && text != ".."
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME && !text.chars().any(char::is_control)
}

fn dates(entry: &CodeEntry) -> Result<(), String> {
    let read = |day: &Option<String>| match day {
        None => Ok(None),
        Some(day) => format!("{day}T00:00:00.000Z")
            .parse::<Timestamp>()
            .map(Some)
            .map_err(|_| format!("{day:?} is not a day like 2025-07-01")),
    };
    match (read(&entry.valid_from)?, read(&entry.valid_to)?) {
        (Some(from), Some(to)) if to < from => Err("it ends before it begins".to_owned()),
        _ => Ok(()),
    }
}

fn succession(entry: &CodeEntry, by_code: &BTreeMap<&str, &CodeEntry>) -> Result<(), String> {
    let Some(successor) = &entry.successor else { return Ok(()) };
    if entry.status == CodeStatus::Active {
        return Err(format!("it is active, so it has no successor ({successor}); close it first"));
    }
    let mut seen = BTreeSet::from([entry.code.as_str()]);
    let mut next = Some(successor.as_str());
    while let Some(code) = next {
        let Some(found) = by_code.get(code) else {
            return Err(format!("its successor {code} is not in the list"));
        };
        if !seen.insert(code) {
            return Err(format!("its successors lead round in a circle at {code}"));
        }
        next = found.successor.as_deref();
    }
    Ok(())
}

/// Checks what comes after a published version: no code is dropped, none is reopened, and none means something else, unless it
/// is among those `amended` on purpose.
///
/// # Errors
/// [`CodeListError::Refused`] with every mistake.
pub(super) fn check_change(
    before: &[CodeEntry],
    after: &[CodeEntry],
    amended: &[String],
) -> Result<(), CodeListError> {
    let mut mistakes = Mistakes::default();
    let known: BTreeMap<&str, &CodeEntry> = after.iter().map(|e| (e.code.as_str(), e)).collect();
    for old in before {
        let mut wrong = |what: &str| mistakes.tell(format!("{}: {what}", old.code));
        let Some(new) = known.get(old.code.as_str()) else {
            wrong("is dropped; keep it with status closed, and its successor if there is one");
            continue;
        };
        if old.status == CodeStatus::Closed && new.status == CodeStatus::Active {
            wrong("was closed and cannot come back; give what is meant a new code");
        }
        let amends = amended.contains(&old.code);
        if !amends && (&old.name_vi, &old.name_en, &old.kind) != (&new.name_vi, &new.name_en, &new.kind) {
            wrong(
                "means something else now; close it and add a new code, or, when the same unit is only called \
                   differently or a mistake is corrected, say so with --amend",
            );
        }
        if !amends && old.successor.is_some() && old.successor != new.successor {
            wrong("had another successor; correct a mistake with --amend");
        }
        if !amends && old.aliases.iter().any(|alias| !new.aliases.contains(alias)) {
            wrong("loses an alias; correct a mistake with --amend");
        }
    }
    let old: BTreeMap<&str, &str> =
        before.iter().flat_map(|e| e.aliases.iter().map(|a| (a.as_str(), e.code.as_str()))).collect();
    for new in after {
        if let Some(owner) = old.get(new.code.as_str()) {
            mistakes.tell(format!("{}: was an alias of {owner}, so it cannot become a code", new.code));
        }
        for alias in &new.aliases {
            let moved =
                old.get(alias.as_str()).filter(|owner| **owner != new.code && !amended.contains(&new.code));
            if let Some(owner) = moved {
                mistakes.tell(format!(
                    "{}: the alias {alias} was {owner}'s; correct a mistake with --amend",
                    new.code
                ));
            }
        }
    }
    if let Some(stranger) = amended.iter().find(|code| !known.contains_key(code.as_str())) {
        mistakes.tell(format!("{stranger}: is to be amended and is not in the list"));
    }
    mistakes.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_lists::read_entries;

    const HEADER: &str = "code,name_vi,name_en,status,successor,valid_from,valid_to,aliases\n";

    fn list(rows: &str) -> Vec<CodeEntry> {
        read_entries(format!("{HEADER}{rows}").as_bytes()).unwrap()
    }

    fn told(outcome: Result<(), CodeListError>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_told_together() {
        let rows = "H1,,b,,,,,\nH1,a,b,,,,,\na/b,a,b,,,,,\nH3,a,b,active,H1,,,\nH4,a,b,closed,H9,,,\nH5,a,b,closed,H6,,,\n\
            H6,a,b,closed,H5,,,\nH7,a,b,,,2025-02-30,,\nH8,a,b,,,2025-07-01,2025-06-30,\nH9x,a,b,,,,,H1 old\nH10,a,b,,,,,old\n";
        let text = told(check_entries(&list(rows)));
        for part in [
            "H1: name_vi",
            "H1: is listed twice",
            "a/b: a code",
            "H3: it is active",
            "H4: its successor H9",
            "H5: its successors",
            "H7: \"2025-02-30\"",
            "H8: it ends before",
            "H9x: the alias \"H1\"",
            "H10: the alias \"old\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(check_entries(&[]).is_err());
        check_entries(&list("H5,a,b,,,,,\nH2,a,b,closed,H5,2004-01-01,2025-06-30,000.00.00.H2\n")).unwrap();
    }

    #[test]
    fn the_past_stays_as_it_was() {
        let before = list("H1,a,b,,,,,x1\nH2,c,d,closed,H1,,,\n");
        for (after, part) in [
            ("H1,a,b,,,,,x1\n", "H2: is dropped"),
            ("H1,a,b,,,,,x1\nH2,c,d,,,,,\n", "H2: was closed"),
            ("H1,z,b,,,,,x1\nH2,c,d,closed,H1,,,\n", "H1: means something else"),
            ("H1,a,b,,,,,x1\nH2,c,d,closed,,,,\n", "H2: had another successor"),
            ("H1,a,b,,,,,\nH2,c,d,closed,H1,,,\n", "H1: loses an alias"),
            ("H1,a,b,,,,,\nH2,c,d,closed,H1,,,x1\n", "alias x1 was H1's"),
            ("H1,a,b,,,,,\nH2,c,d,closed,H1,,,\nx1,e,f,,,,,\n", "x1: was an alias of H1"),
        ] {
            let text = told(check_change(&before, &list(after), &[]));
            assert!(text.contains(part), "{part}: {text}");
        }
        check_change(&before, &list("H1,a,b,closed,H3,,,x1\nH2,c,d,closed,H1,,,\nH3,e,f,,,,,\n"), &[])
            .unwrap();
        let renamed = list("H1,z,b,,,,,x1\nH2,c,d,closed,H1,,,\n");
        check_change(&before, &renamed, &["H1".to_owned()]).unwrap();
        assert!(told(check_change(&before, &renamed, &["H1".into(), "H9".into()])).contains("H9: is to be"));
        // Not even on purpose.
        let reopened = list("H1,a,b,,,,,x1\nH2,c,d,,,,,\n");
        assert!(check_change(&before, &reopened, &["H2".to_owned()]).is_err());
    }
}
