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
    /// Issuing over HTTP; off when there is none.
    pub issuing: Option<IssuingConfig>,
}

/// `[issuing]`: certificates over HTTP, for the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuingConfig {
    /// Its own address, on loopback unless [`Self::tls_in_front`].
    pub listen: SocketAddr,
    /// File with the token that every request carries, mode 0600.
    pub token_file: PathBuf,
    /// Stated by the operator: a TLS terminator stands in front, so the token does not cross a network in the clear.
    pub tls_in_front: bool,
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
const KNOWN: [&str; 9] = [
    "issuing",
    "config-version",
    "dir",
    "passphrase-file",
    "listen",
    "public-url",
    "ocsp-validity",
    "crl-validity",
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
            issuing: None,
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
        keys.unknown(&KNOWN);
        let dir = base.join(keys.text("dir", Some(".")));
        let config = Self {
            passphrase_file: dir.join(keys.text("passphrase-file", Some("passphrase"))),
            issuing: keys.issuing(&dir),
            dir,
            listen: keys.parsed(
                "listen",
                SocketAddr::from(([127, 0, 0, 1], 8880)),
                "an address and port like 127.0.0.1:8880",
            ),
            public_url: keys.url(),
            ocsp_validity: keys.duration("ocsp-validity", "60m", "5m", "7d"),
            crl_validity: keys.duration("crl-validity", "24h", "1h", "30d"),
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
        let issuing = self.issuing.as_ref().map(|issuing| {
            let file = issuing.token_file.strip_prefix(&self.dir).unwrap_or(&issuing.token_file);
            let front = if issuing.tls_in_front { "tls-in-front = true\n" } else { "" };
            format!("\n[issuing]\nlisten = {:?}\ntoken-file = {file:?}\n{front}", issuing.listen.to_string())
        });
        format!(
            "# Pilot PKI (truc pki): for tests and training, not for production.\nconfig-version = 1\nlisten = {:?}\npublic-url = {:?}\n\
             ocsp-validity = {:?}\ncrl-validity = {:?}\ntsa-policy = {:?}\n{}",
            self.listen.to_string(),
            self.public_url,
            written(self.ocsp_validity),
            written(self.crl_validity),
            self.tsa_policy.to_string(),
            issuing.unwrap_or_default(),
        )
    }
}

/// Whether `text` can be what clients reach the server under.
///
/// # Errors
/// A sentence that says what to write.
pub fn check_public_url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").unwrap_or_default();
    let good = !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic());
    let wanted = "write http:// (what it serves is signed), host and port, like http://pki.example.vn:8880";
    if good { Ok(()) } else { Err(wanted.to_owned()) }
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

    fn unknown(&mut self, known: &[&str]) {
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.mistakes.push(format!("{key} is not a known key; known are {}", known.join(", ")));
        }
    }

    /// `[issuing]`, if it is there.
    fn issuing(&mut self, dir: &Path) -> Option<IssuingConfig> {
        let Value::Table(table) = self.table.get("issuing")? else {
            self.mistakes.push("issuing is a section: write [issuing]".into());
            return None;
        };
        let mut keys = Keys { table, mistakes: Vec::new() };
        keys.unknown(&["listen", "token-file", "tls-in-front"]);
        let tls_in_front = match table.get("tls-in-front") {
            None => false,
            Some(Value::Boolean(stated)) => *stated,
            Some(_) => {
                keys.mistakes.push("tls-in-front is true or false".into());
                false
            }
        };
        let default = SocketAddr::from(([127, 0, 0, 1], 8881));
        let config = IssuingConfig {
            listen: keys.parsed("listen", default, "an address and port like 127.0.0.1:8881"),
            token_file: dir.join(keys.text("token-file", None)),
            tls_in_front,
        };
        if !config.listen.ip().is_loopback() && !tls_in_front {
            keys.mistakes.push(format!(
                "listen = \"{}\" would carry the token in the clear: listen on 127.0.0.1, or put a TLS terminator in front and state \
                 tls-in-front = true",
                config.listen
            ));
        }
        self.mistakes.extend(keys.mistakes.into_iter().map(|mistake| format!("[issuing] {mistake}")));
        Some(config)
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
        if let Err(problem) = check_public_url(&text)
            && self.mistakes.len() == noted
        {
            self.mistakes.push(format!("public-url = {text:?}: {problem}"));
        }
        text
    }

    /// A duration with its unit, not outside `low` to `high`.
    fn duration(&mut self, key: &str, default: &str, low: &str, high: &str) -> Duration {
        let read = |text: &str| duration(text).unwrap_or_default();
        let Some(value) = self.table.get(key) else { return read(default) };
        let value = value.as_str().and_then(duration);
        value.filter(|v| (read(low)..=read(high)).contains(v)).unwrap_or_else(|| {
            self.mistakes.push(format!(
                "{key} must be a duration with its unit (s, m, h, d) from \"{low}\" to \"{high}\", like {key} = \"{default}\""
            ));
            read(default)
        })
    }
}

/// A duration as every configuration file of Trục writes it (protocol P10.5): `90s`, `60m`, `24h`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let seconds = match unit.trim_start() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// The duration as [`duration`] reads it.
fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(3600, "h"), (60, "m")].into_iter().find(|(factor, _)| seconds.is_multiple_of(*factor));
    units.map_or_else(|| format!("{seconds}s"), |(factor, unit)| format!("{}{unit}", seconds / factor))
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
            let shown = [format!("{key} = "), format!("[{key}]")].iter().any(|form| example.contains(form));
            assert!(shown, "{key} is not in the example");
        }
        // The section as it is shown.
        let section: String =
            example.lines().map(|l| format!("{}\n", l.strip_prefix("#~ ").unwrap_or(l))).collect();
        let issuing = parse(&section).unwrap().issuing.unwrap();
        assert!(issuing.listen.ip().is_loopback());
        assert_eq!(issuing.token_file, Path::new("/var/lib/truc/pki/issuing-token"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let error = parse("config-version = 2\nlisten = \"here\"\npublic-url = \"https://x\"\ncrl-validity = \"0h\"\nport = 1\n")
            .unwrap_err();
        assert_eq!(error.mistakes.len(), 5, "{error}");
        let text = error.to_string();
        for key in ["config-version", "listen", "public-url", "crl-validity", "port"] {
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn a_token_never_crosses_a_network_in_the_clear() {
        let with = |lines: &str| {
            parse(&format!("config-version = 1\npublic-url = \"http://x\"\n[issuing]\n{lines}\n"))
        };
        assert!(with("token-file = \"t\"").unwrap().issuing.unwrap().listen.ip().is_loopback());
        let open = "listen = \"0.0.0.0:8881\"\ntoken-file = \"t\"";
        assert!(with(open).unwrap_err().to_string().contains("in the clear"));
        assert!(with(&format!("{open}\ntls-in-front = true")).unwrap().issuing.unwrap().tls_in_front);
        let error = with("port = 1\ntls-in-front = 1").unwrap_err();
        assert_eq!(error.mistakes.len(), 3, "{error}");
        assert!(error.mistakes.iter().all(|m| m.starts_with("[issuing] ")), "{error}");
    }

    #[test]
    fn durations_have_units() {
        let with = |line: &str| parse(&format!("config-version = 1\npublic-url = \"http://x\"\n{line}\n"));
        let config = with("ocsp-validity = \"90m\"\ncrl-validity = \"2d\"").unwrap();
        assert_eq!((config.ocsp_validity.as_secs(), config.crl_validity.as_secs()), (5400, 172_800));
        for bad in ["60", "\"60\"", "\"1 week\"", "\"4m\"", "\"8d\"", "\"99999999999999999999d\""] {
            let error = with(&format!("ocsp-validity = {bad}")).unwrap_err();
            assert!(error.to_string().contains("like ocsp-validity = \"60m\""), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = PkiConfig::new(Path::new("/etc/truc"), ([127, 0, 0, 1], 1).into(), "http://127.0.0.1:1");
        let same = PkiConfig { dir: "/etc/truc/.".into(), ..config.clone() };
        assert_eq!(parse(&config.to_toml()).unwrap(), same);
        let (listen, token_file) = (([127, 0, 0, 1], 2).into(), config.dir.join("issuing-token"));
        let issuing = Some(IssuingConfig { listen, token_file, tls_in_front: false });
        let config = PkiConfig { issuing: issuing.clone(), ..config };
        assert_eq!(parse(&config.to_toml()).unwrap(), PkiConfig { issuing, ..same });
    }
}
