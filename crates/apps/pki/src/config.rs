//! The configuration file of the pilot PKI, `pki.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use der::asn1::ObjectIdentifier;
use toml::{Table, Value};

/// What `pki.toml` says. Paths in the file are relative to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiConfig {
    /// Folder of keys, certificates and ledger.
    pub dir: PathBuf,
    /// File with the passphrase of the keys, mode 0600.
    pub passphrase_file: PathBuf,
    /// Address the server listens on.
    pub listen: SocketAddr,
    /// What clients reach the server under; written into every certificate.
    pub public_url: String,
    /// How far ahead an OCSP answer's nextUpdate lies.
    pub ocsp_validity: Duration,
    /// How far ahead a revocation list's nextUpdate lies.
    pub crl_validity: Duration,
    /// Policy the TSA stamps under.
    pub tsa_policy: ObjectIdentifier,
}

/// Why the configuration is not usable: all reasons at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be used:\n{}", .mistakes.iter().map(|m| format!("  - {m}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// One sentence a mistake.
    pub mistakes: Vec<String>,
}

/// An enterprise number set aside for examples (RFC 5612): nobody's policy but a pilot's.
const PILOT_POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");
const KNOWN: [&str; 8] = [
    "config-version",
    "dir",
    "passphrase-file",
    "listen",
    "public-url",
    "ocsp-validity-minutes",
    "crl-validity-hours",
    "tsa-policy",
];

impl PkiConfig {
    /// A configuration with everything but the place left as it is by default.
    pub fn new(dir: &Path, listen: SocketAddr, public_url: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            passphrase_file: dir.join("passphrase"),
            listen,
            public_url: public_url.to_owned(),
            ocsp_validity: Duration::from_secs(3600),
            crl_validity: Duration::from_secs(24 * 3600),
            tsa_policy: PILOT_POLICY,
        }
    }

    /// Reads a file. Blocks on the disk.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |mistake: String| ConfigError { path: path.to_owned(), mistakes: vec![mistake] };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let base = path.parent().unwrap_or(Path::new(""));
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(e) => return Err(ConfigError { path: path.to_owned(), mistakes: vec![e.to_string()] }),
        };
        let mut keys = Keys { table: &table, mistakes: Vec::new() };
        keys.version();
        keys.unknown();
        let dir = base.join(keys.text("dir", Some(".")));
        let config = Self {
            passphrase_file: dir.join(keys.text("passphrase-file", Some("passphrase"))),
            dir,
            listen: keys.parsed(
                "listen",
                SocketAddr::from(([127, 0, 0, 1], 8880)),
                "an address and port like 127.0.0.1:8880",
            ),
            public_url: keys.url(),
            ocsp_validity: Duration::from_secs(60 * keys.number("ocsp-validity-minutes", 60, 5..=10_080)),
            crl_validity: Duration::from_secs(3600 * keys.number("crl-validity-hours", 24, 1..=720)),
            tsa_policy: keys.parsed(
                "tsa-policy",
                PILOT_POLICY,
                "an object identifier like 1.3.6.1.4.1.32473.1.1",
            ),
        };
        if keys.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { path: path.to_owned(), mistakes: keys.mistakes })
        }
    }

    /// The text of a `pki.toml` that says this, for a file placed in the folder itself.
    pub fn to_toml(&self) -> String {
        format!(
            "# Pilot PKI (truc pki): for tests and training, not for production.\nconfig-version = 1\nlisten = {:?}\npublic-url = {:?}\n\
             ocsp-validity-minutes = {}\ncrl-validity-hours = {}\ntsa-policy = {:?}\n",
            self.listen.to_string(),
            self.public_url,
            self.ocsp_validity.as_secs() / 60,
            self.crl_validity.as_secs() / 3600,
            self.tsa_policy.to_string(),
        )
    }
}

/// Takes values out of the table and notes what is wrong, so that all mistakes are told at once.
struct Keys<'a> {
    table: &'a Table,
    mistakes: Vec<String>,
}

impl Keys<'_> {
    fn version(&mut self) {
        match self.table.get("config-version") {
            Some(Value::Integer(1)) => {}
            Some(other) => self.mistakes.push(format!("config-version is {other}; this program knows 1")),
            None => self.mistakes.push("config-version is missing: write config-version = 1".into()),
        }
    }

    fn unknown(&mut self) {
        for key in self.table.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
            self.mistakes.push(format!("{key} is not a known key; known are {}", KNOWN.join(", ")));
        }
    }

    fn text(&mut self, key: &str, default: Option<&str>) -> String {
        match (self.table.get(key), default) {
            (Some(Value::String(text)), _) if !text.is_empty() => return text.clone(),
            (None, Some(text)) => return text.to_owned(),
            (None, None) => self.mistakes.push(format!("{key} is missing")),
            (Some(_), _) => self.mistakes.push(format!("{key} must be a text in quotes that is not empty")),
        }
        String::new()
    }

    /// The value of a text; when it is wrong, the mistake is noted and the default stands in.
    fn parsed<T: FromStr>(&mut self, key: &str, default: T, like: &str) -> T {
        let Some(value) = self.table.get(key) else { return default };
        value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            self.mistakes.push(format!("{key} = {value} is not {like}"));
            default
        })
    }

    fn url(&mut self) -> String {
        let noted = self.mistakes.len();
        let text = self.text("public-url", None);
        let good = text.starts_with("http://")
            && text.len() > 7
            && text.is_ascii()
            && !text.contains(char::is_whitespace);
        if !good && self.mistakes.len() == noted {
            self.mistakes
                .push(format!("public-url = {text:?} must start with http:// (what it serves is signed)"));
        }
        text
    }

    fn number(&mut self, key: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        let value = match self.table.get(key) {
            None => return default,
            Some(Value::Integer(value)) => u64::try_from(*value).ok(),
            Some(_) => None,
        };
        value.filter(|v| range.contains(v)).unwrap_or_else(|| {
            self.mistakes.push(format!(
                "{key} must be a whole number from {} to {}",
                range.start(),
                range.end()
            ));
            default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PkiConfig, ConfigError> {
        PkiConfig::parse(text, Path::new("/etc/truc/pki.toml"))
    }

    #[test]
    fn the_example_is_valid_and_its_comments_show_the_defaults() {
        let example = include_str!("../../../../deploy/pki.toml");
        let config = parse(example).unwrap();
        assert_eq!(config.dir, Path::new("/var/lib/truc/pki"));
        assert_eq!(config.passphrase_file, Path::new("/var/lib/truc/pki/passphrase"));
        let keys = |line: &&str| KNOWN.iter().any(|k| line.starts_with(&format!("# {k} = ")));
        let uncommented: String =
            example.lines().map(|l| format!("{}\n", if keys(&l) { &l[2..] } else { l })).collect();
        assert_eq!(parse(&uncommented).unwrap(), config);
        for key in KNOWN {
            assert!(example.contains(&format!("{key} = ")), "{key} is not in the example");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let error = parse("config-version = 2\nlisten = \"here\"\npublic-url = \"https://x\"\ncrl-validity-hours = 0\nport = 1\n")
            .unwrap_err();
        assert_eq!(error.mistakes.len(), 5, "{error}");
        let text = error.to_string();
        for key in ["config-version", "listen", "public-url", "crl-validity-hours", "port"] {
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = PkiConfig::new(Path::new("/etc/truc"), ([127, 0, 0, 1], 1).into(), "http://127.0.0.1:1");
        assert_eq!(parse(&config.to_toml()).unwrap(), PkiConfig { dir: "/etc/truc/.".into(), ..config });
    }
}
