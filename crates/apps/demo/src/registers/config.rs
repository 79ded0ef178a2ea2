//! The configuration file of a register (protocol P10.5): text → raw options → typed values.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::{Table, Value};

/// Below this the edge cases are not all there.
pub const MIN_CITIZENS: usize = 300;
/// As many as have personal serials under one province.
pub const MAX_CITIZENS: usize = super::citizen::SERIALS as usize;
/// The story needs two; a hundred show every kind.
pub const MIN_PARCELS: usize = 100;
/// As many as have demo ids `ZZDEMO000001` …
pub const MAX_PARCELS: usize = 999_999;

const KEYS: [&str; 7] =
    ["config-version", "kind", "listen", "seed", "citizens", "parcels", "mismatch-cap-per-minute"];

/// Which of the two registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterKind {
    /// `csdl-dancu`, the population database: `kind = "dan-cu"`.
    DanCu,
    /// `csdl-datdai`, the land database: `kind = "dat-dai"`.
    DatDai,
}

impl RegisterKind {
    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DanCu => "dan-cu",
            Self::DatDai => "dat-dai",
        }
    }
}

/// What a register is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterConfig {
    /// Which register.
    pub kind: RegisterKind,
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The same seed makes the same people in both registers.
    pub seed: u64,
    /// How many citizens; both registers must agree.
    pub citizens: usize,
    /// How many parcels; the population register ignores it.
    pub parcels: usize,
    /// Look-ups that match nothing, per client and minute, before it has to wait.
    pub mismatch_cap_per_minute: u32,
}

impl RegisterConfig {
    /// The demo's sizes: 100,000 citizens, 50,000 parcels, 30 mismatches a minute.
    pub const fn new(kind: RegisterKind, listen: SocketAddr, seed: u64) -> Self {
        Self { kind, listen, seed, citizens: 100_000, parcels: 50_000, mismatch_cap_per_minute: 30 }
    }

    /// Reads TOML. `citizens`, `parcels` and `mismatch-cap-per-minute` may be left out.
    ///
    /// # Errors
    /// Every mistake at once, each a sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| vec![format!("not valid TOML: {e}")])?;
        let mut mistakes = Vec::new();
        for key in table.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            mistakes.push(format!("unknown option `{key}`; known are {}", KEYS.join(", ")));
        }
        if table.get("config-version").and_then(Value::as_integer) != Some(1) {
            mistakes.push("write `config-version = 1`".to_owned());
        }
        let kind = match table.get("kind").and_then(Value::as_str) {
            Some("dan-cu") => Some(RegisterKind::DanCu),
            Some("dat-dai") => Some(RegisterKind::DatDai),
            _ => {
                mistakes.push("`kind` must be \"dan-cu\" or \"dat-dai\"".to_owned());
                None
            }
        };
        let listen = table.get("listen").and_then(Value::as_str).and_then(|t| t.parse().ok());
        if listen.is_none() {
            mistakes.push("`listen` must be an address with a port, like \"127.0.0.1:8101\"".to_owned());
        }
        let seed = whole(&table, "seed", 0..=i64::MAX as u64, None, &mut mistakes);
        let sizes = MIN_CITIZENS as u64..=MAX_CITIZENS as u64;
        let citizens = whole(&table, "citizens", sizes, Some(100_000), &mut mistakes);
        let sizes = MIN_PARCELS as u64..=MAX_PARCELS as u64;
        let parcels = whole(&table, "parcels", sizes, Some(50_000), &mut mistakes);
        let cap = whole(&table, "mismatch-cap-per-minute", 1..=1_000_000, Some(30), &mut mistakes);
        match (kind, listen, seed, citizens, parcels, cap) {
            (Some(kind), Some(listen), Some(seed), Some(citizens), Some(parcels), Some(cap))
                if mistakes.is_empty() =>
            {
                Ok(Self {
                    kind,
                    listen,
                    seed,
                    citizens: citizens as usize,
                    parcels: parcels as usize,
                    mismatch_cap_per_minute: cap as u32,
                })
            }
            _ => Err(mistakes),
        }
    }

    /// The file that [`RegisterConfig::parse`] reads back, with comments.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# A register of the demo: synthetic data only.\nconfig-version = 1\n");
        let _ = writeln!(
            text,
            "# \"dan-cu\" (population) or \"dat-dai\" (land)\nkind = \"{}\"",
            self.kind.as_str()
        );
        let _ = writeln!(text, "listen = \"{}\"", self.listen);
        let _ =
            writeln!(text, "# The same seed and number of citizens in both registers.\nseed = {}", self.seed);
        let _ = writeln!(text, "citizens = {}\nparcels = {}", self.citizens, self.parcels);
        let _ = writeln!(
            text,
            "# Look-ups that match nothing, per client and minute.\nmismatch-cap-per-minute = {}",
            self.mismatch_cap_per_minute
        );
        text
    }
}

fn whole(
    table: &Table,
    key: &str,
    range: RangeInclusive<u64>,
    default: Option<u64>,
    mistakes: &mut Vec<String>,
) -> Option<u64> {
    let read = match table.get(key) {
        None => default,
        Some(value) => value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| range.contains(n)),
    };
    if read.is_none() {
        mistakes.push(format!("`{key}` must be a whole number from {} to {}", range.start(), range.end()));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_back() {
        let listen = "127.0.0.1:8101".parse().unwrap();
        for kind in [RegisterKind::DanCu, RegisterKind::DatDai] {
            let config = RegisterConfig::new(kind, listen, 42);
            assert_eq!(RegisterConfig::parse(&config.to_toml()), Ok(config));
        }
        let short = "config-version = 1\nkind = 'dan-cu'\nlisten = '127.0.0.1:8101'\nseed = 42";
        assert_eq!(RegisterConfig::parse(short), Ok(RegisterConfig::new(RegisterKind::DanCu, listen, 42)));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "config-version = 2\nkind = 'x'\nlisten = 'here'\nseed = -1\ncitizens = 5\nparcels = 'many'\ncolour = 1";
        let mistakes = RegisterConfig::parse(text).unwrap_err();
        assert_eq!(mistakes.len(), 7, "{mistakes:#?}");
        for word in ["colour", "config-version", "kind", "listen", "seed", "citizens", "parcels"] {
            assert!(mistakes.iter().any(|m| m.contains(&format!("`{word}")) || m.contains(word)), "{word}");
        }
        assert_eq!(RegisterConfig::parse("= 1").unwrap_err().len(), 1);
    }
}
