//! What officers say to a decision; it stands in the audit log, in one line.

use crate::error::GovernanceError as Refusal;

/// Longest reason or remark, in characters.
const LIMIT: usize = 1000;

/// Why: something must be said.
pub(crate) fn reason(why: String) -> Result<String, Refusal> {
    let why = remark(why)?;
    if why.is_empty() {
        return Err(Refusal::Invalid("phải nêu lý do / say why: --reason '…'".into()));
    }
    Ok(why)
}

/// A remark; may be empty.
pub(crate) fn remark(text: String) -> Result<String, Refusal> {
    let text = text.trim().to_owned();
    if text.chars().count() > LIMIT || text.chars().any(char::is_control) {
        return Err(Refusal::Invalid(format!(
            "lý do dài tối đa {LIMIT} ký tự, một dòng / a reason has at most {LIMIT} characters and no line breaks"
        )));
    }
    Ok(text)
}
