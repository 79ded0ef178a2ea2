//! What is wrong with a configuration: everything at once, each with its place and what to write instead.

use std::path::PathBuf;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key, e.g. `edge.max-body` or `member[1].sign-key`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.key, self.problem)
        }
    }
}

/// Why a configuration cannot be used: every mistake, in the order of the file's description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be used; mistakes found: {}\n{}", path.display(), mistakes.len(), lines(mistakes))]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// The mistakes; never empty.
    pub mistakes: Vec<Mistake>,
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|m| format!("  - {m}")).collect::<Vec<_>>().join("\n")
}

/// Gathers mistakes while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.0.push(Mistake { key: key.to_owned(), problem: problem.into() });
    }

    /// `value`, or all that was gathered.
    pub(super) fn into_result<T>(self, path: &std::path::Path, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigErrors { path: path.to_owned(), mistakes: self.0 }),
        }
    }
}
