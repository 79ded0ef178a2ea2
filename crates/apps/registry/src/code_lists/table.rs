//! Reading code lists from tables (CSV, RFC 4180) and JSON.

use std::collections::BTreeMap;

use super::{CodeEntry, CodeListError, CodeStatus, Confidence};

/// Largest file, in bytes.
pub(super) const FILE_LIMIT: usize = 16 * 1024 * 1024;

/// The columns that a table may have; the first three it must have.
const COLUMNS: [&str; 10] = [
    "code",
    "name_vi",
    "name_en",
    "status",
    "kind",
    "successor",
    "confidence",
    "valid_from",
    "valid_to",
    "aliases",
];
const NEEDED: usize = 3;

/// Reads the entries of a list: a JSON array of entries when it begins with `[`, else CSV with a header line whose columns are `code`,
/// `name_vi`, `name_en` and, where there is something to say, `status` (active, closed), `kind`, `successor`, `confidence` (confirmed,
/// unconfirmed), `valid_from`, `valid_to` (YYYY-MM-DD) and `aliases` (separated by spaces).
///
/// # Errors
/// [`CodeListError::Unreadable`] names the line.
pub fn read_entries(bytes: &[u8]) -> Result<Vec<CodeEntry>, CodeListError> {
    if bytes.len() > FILE_LIMIT {
        return Err(unreadable(format!("it is larger than {} MiB", FILE_LIMIT / 1024 / 1024)));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| unreadable(format!("it is not UTF-8: {e}")))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|e| unreadable(e.to_string()));
    }
    let mut records = records(text)?.into_iter();
    let (_, header) = records.next().ok_or_else(|| unreadable("it is empty"))?;
    let columns = columns(&header)?;
    records.map(|(line, record)| entry(&columns, record, line)).collect()
}

fn unreadable(why: impl Into<String>) -> CodeListError {
    CodeListError::Unreadable(why.into())
}

fn columns(header: &[String]) -> Result<Vec<&'static str>, CodeListError> {
    let known = |name: &String| {
        COLUMNS.into_iter().find(|c| *c == name.trim()).ok_or_else(|| {
            unreadable(format!("line 1: no column is called {name:?}; there are {}", COLUMNS.join(", ")))
        })
    };
    let columns = header.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    match COLUMNS.iter().take(NEEDED).find(|c| !columns.contains(c)) {
        Some(missing) => Err(unreadable(format!("line 1: the column {missing} is missing"))),
        None => Ok(columns),
    }
}

fn entry(columns: &[&'static str], record: Vec<String>, line: usize) -> Result<CodeEntry, CodeListError> {
    let at = |why: String| unreadable(format!("line {line}: {why}"));
    if record.len() != columns.len() {
        return Err(at(format!("{} values stand where {} are due", record.len(), columns.len())));
    }
    let mut values: BTreeMap<&str, String> = columns.iter().copied().zip(record).collect();
    let mut take = |name: &str| values.remove(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    let status = match take("status").as_deref() {
        None | Some("active") => CodeStatus::Active,
        Some("closed") => CodeStatus::Closed,
        Some(other) => return Err(at(format!("status is active or closed, not {other:?}"))),
    };
    let confidence = match take("confidence").as_deref() {
        None | Some("confirmed") => Confidence::Confirmed,
        Some("unconfirmed") => Confidence::Unconfirmed,
        Some(other) => return Err(at(format!("confidence is confirmed or unconfirmed, not {other:?}"))),
    };
    Ok(CodeEntry {
        code: take("code").unwrap_or_default(),
        name_vi: take("name_vi").unwrap_or_default(),
        name_en: take("name_en").unwrap_or_default(),
        kind: take("kind"),
        status,
        successor: take("successor"),
        valid_from: take("valid_from"),
        valid_to: take("valid_to"),
        confidence,
        aliases: take("aliases").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    })
}

/// The records of a CSV text with the lines they begin on; empty lines are left out.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, CodeListError> {
    let (mut all, mut record, mut value) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut quoted, mut was_quoted) = (1, 1, false, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' if quoted => quoted = false,
            _ if quoted => value.push(c),
            '"' if value.is_empty() && !was_quoted => (quoted, was_quoted) = (true, true),
            ',' => {
                record.push(std::mem::take(&mut value));
                was_quoted = false;
            }
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                if !record.is_empty() || !value.is_empty() {
                    record.push(std::mem::take(&mut value));
                    all.push((begun, std::mem::take(&mut record)));
                }
                (begun, was_quoted) = (line, false);
            }
            _ if was_quoted || c == '"' => {
                return Err(unreadable(format!(
                    "line {line}: a value in quotation marks is quoted as a whole"
                )));
            }
            _ => value.push(c),
        }
    }
    if quoted {
        return Err(unreadable(format!("line {begun}: a quotation mark is not closed")));
    }
    if !record.is_empty() || !value.is_empty() {
        record.push(value);
        all.push((begun, record));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let text = "\u{FEFF}code,name_en,name_vi,successor,status,aliases,valid_to\r\n\
            H05,Bac Ninh,\"Bắc \"\"Ninh\"\", tỉnh\",,,,\r\n\r\nH02,Bac Giang,\"Bắc\nGiang\",H05,closed,000.00.00.H02 00.00.H02,2025-06-30";
        let read = read_entries(text.as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].name_vi.as_str(), read[0].status), ("Bắc \"Ninh\", tỉnh", CodeStatus::Active));
        assert_eq!(read[1].name_vi, "Bắc\nGiang");
        assert_eq!(read[1].successor.as_deref(), Some("H05"));
        assert_eq!(read[1].aliases, ["000.00.00.H02", "00.00.H02"]);
        let json = serde_json::to_vec(&read).unwrap();
        assert_eq!(read_entries(&json).unwrap(), read);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, told) in [
            ("", "empty"),
            ("code,name_vi\n", "name_en is missing"),
            ("code,name_vi,name_en,colour\n", "colour"),
            ("code,name_vi,name_en\nH1,a\n", "line 2: 2 values"),
            ("code,name_vi,name_en\n\"H\n1\",a,b\nH2,\"a\"x,b\n", "line 4"),
            ("code,name_vi,name_en\nH1,a,\"b\n", "line 2: a quotation mark"),
            ("code,name_vi,name_en\nH1,a\"b,c\n", "line 2"),
            ("code,name_vi,name_en,status\nH1,a,b,dead\n", "dead"),
            ("code,name_vi,name_en,confidence\nH1,a,b,high\n", "high"),
            ("[{\"code\":1}]", "expected a string"),
        ] {
            let error = read_entries(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert!(read_entries(b"code,name_vi,name_en\n\xFF,a,b").unwrap_err().to_string().contains("UTF-8"));
    }
}
