//! Standard output for data, standard error for the rest.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;

/// Writes bytes of data. A reader that went away (`truc … | head`) is no error.
pub(crate) fn data(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line of data.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    data(format!("{text}\n").as_bytes())
}

/// Writes a JSON object in one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string(value)?)?)
}

/// Writes JSON for people, indented.
pub(crate) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string_pretty(value)?)?)
}

/// Tells people something, on standard error. That nobody can read it is no reason to fail.
pub(crate) fn note(text: impl Display) {
    let told = writeln!(io::stderr().lock(), "{text}");
    drop(told);
}
