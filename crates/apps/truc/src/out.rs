//! Standard output for data, standard error for the rest. What strangers wrote steers nobody's terminal: lines show unseen characters
//! ([`truc_model::visible_lines`]), JSON escapes them.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;
use truc_model::{is_unseen, visible_lines};

/// Writes bytes of data. A reader that went away (`truc … | head`) is no error.
pub(crate) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line of data, or lines. A text from outside goes through [`truc_model::visible`] first: here line feeds and tabs stay.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    data(format!("{}\n", visible_lines(&text.to_string())).as_bytes())
}

/// Writes a JSON object in one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(data(format!("{}\n", escaped(&serde_json::to_string(value)?)).as_bytes())?)
}

/// Writes JSON for people, indented.
pub(crate) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(data(format!("{}\n", escaped(&serde_json::to_string_pretty(value)?)).as_bytes())?)
}

/// Tells people something, on standard error. That nobody can read it is no reason to fail.
pub(crate) fn note(text: impl Display) {
    let told = writeln!(io::stderr().lock(), "{}", visible_lines(&text.to_string()));
    drop(told);
}

/// Tells why a verb failed. An error may quote others, and have lines of its own: they stand away from the margin, so that none can
/// be taken for a line of a report.
pub(crate) fn failed(error: &anyhow::Error) {
    note(format!("truc: {}", format!("{error:#}").replace('\n', "\n      ")));
}

/// JSON text with what is unseen written as `\uXXXX`, which means the same: such characters stand in strings alone.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unseen(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_and_steers_nothing() {
        let text = "Xác minh\u{202e}\u{9b}\u{2028}\n\u{e0041}\"\u{7f}";
        for written in
            [serde_json::to_string(&[text]).unwrap(), serde_json::to_string_pretty(&[text]).unwrap()]
        {
            let safe = escaped(&written);
            assert!(!safe.chars().any(|c| c != '\n' && is_unseen(c)), "{safe:?}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [text]);
        }
    }
}
