//! `registry.toml`: text → raw table → typed values, every mistake collected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};
use truc_governance::OfficerRole;
use truc_model::Fingerprint;

/// What the file says, checked. Paths in it count from the file's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The data folder.
    pub data: PathBuf,
    /// Where nodes connect.
    pub listen: SocketAddr,
    /// Where the admin API listens; a loopback address.
    pub admin_listen: SocketAddr,
    /// The file with the admin token.
    pub admin_token_file: PathBuf,
    /// The file with the passphrase of the key files.
    pub passphrase_file: PathBuf,
    /// How often the head is signed again.
    pub resign_every: Duration,
    /// Officers with a token of their own, beside the one of `admin_token_file`.
    pub officers: Vec<OfficerToken>,
    /// Whether two officers must approve a request.
    pub four_eyes: bool,
    /// The pilot CA that issues certificates during an approval; without it they are brought from an external CA.
    pub issuing: Option<IssuingSettings>,
}

/// An officer of the registry (docs/registry.md §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficerToken {
    /// The name that stands in the audit log.
    pub name: String,
    /// What the officer may do.
    pub role: OfficerRole,
    /// The file with the token.
    pub token_file: PathBuf,
}

/// Where certificates come from during an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuingSettings {
    /// `http://` on loopback, or `https://` with a pinned certificate.
    pub url: String,
    /// The file with the CA's token.
    pub token_file: PathBuf,
    /// SHA-256 over the DER of the certificate it shows, with `https://`.
    pub tls_certificate: Option<Fingerprint>,
}

/// Names that stand in the audit log for the machine itself.
const RESERVED: [&str; 5] = ["admin", "command-line", "init", "registry", "invitation"];

/// Every mistake of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has {} mistake(s):{}", path.display(), mistakes.len(), mistakes.iter().map(|m| format!("\n  - {m}")).collect::<String>())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// One sentence each.
    pub mistakes: Vec<String>,
}

impl RegistryConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError { path: path.to_owned(), mistakes: vec![e.to_string()] })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file that lies at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table = text
            .parse::<Table>()
            .map_err(|e| ConfigError { path: path.to_owned(), mistakes: vec![e.to_string()] })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut top = Section { name: String::new(), table, mistakes: vec![] };
        match top.take("config-version") {
            Some(Value::Integer(1)) => {}
            Some(other) => top.mistake("config-version", &format!("{other} is not known, this truc reads 1")),
            None => top.mistake("config-version", "is missing; write config-version = 1"),
        }
        let data = folder.join(top.text("data").unwrap_or_else(|| ".".into()));
        let listen = top.address("listen", 4001);
        let (mut admin, mut keys, mut publishing) =
            (top.section("admin"), top.section("keys"), top.section("publishing"));
        let (mut approval, mut issuing) = (top.section("approval"), top.section("issuing"));
        let officers = officers(&mut admin, &data);
        let four_eyes = approval.flag("four-eyes");
        let issuing_settings = issuing_settings(&mut issuing, folder);
        let admin_listen = admin.address("listen", 4000);
        if !admin_listen.ip().is_loopback() {
            admin.mistake(
                "listen",
                "must be a loopback address, for the API has no TLS; use 127.0.0.1 or [::1]",
            );
        }
        let config = Self {
            listen,
            admin_listen,
            admin_token_file: data.join(admin.text("token-file").unwrap_or_else(|| "admin-token".into())),
            passphrase_file: data.join(keys.text("passphrase-file").unwrap_or_else(|| "passphrase".into())),
            resign_every: publishing.duration("resign-every", truc_governance::RESIGN_EVERY),
            officers,
            four_eyes,
            issuing: issuing_settings,
            data,
        };
        if config.resign_every < Duration::from_secs(1) || config.resign_every > Duration::from_secs(300) {
            publishing
                .mistake("resign-every", "must lie between 1s and 5m, or nodes call the directory stale");
        }
        let mut mistakes = Vec::new();
        for section in [top, admin, keys, publishing, approval, issuing] {
            mistakes.extend(section.finish());
        }
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError { path: path.to_owned(), mistakes }) }
    }
}

fn officers(admin: &mut Section, data: &Path) -> Vec<OfficerToken> {
    let tables = match admin.take("officer") {
        None => return vec![],
        Some(Value::Array(tables)) => tables,
        Some(_) => {
            admin.mistake("officer", "is a list; write [[admin.officer]] before each");
            return vec![];
        }
    };
    let mut officers: Vec<OfficerToken> = Vec::new();
    for (place, table) in tables.into_iter().enumerate() {
        let Value::Table(table) = table else { continue };
        let mut section = Section { name: format!("admin.officer[{place}]."), table, mistakes: vec![] };
        let name = section.text("name");
        let role = section
            .text("role")
            .and_then(|text| text.parse::<OfficerRole>().map_err(|why| section.mistake("role", &why)).ok());
        let file = section.text("token-file");
        if let Some(name) = &name {
            // Two spellings of one name would be two pairs of eyes.
            let same = |other: &str| other.to_lowercase() == name.to_lowercase();
            if RESERVED.iter().any(|taken| same(taken)) || officers.iter().any(|o| same(&o.name)) {
                section.mistake("name", "is taken; give each officer a name of their own");
            }
            if !is_officer_name(name) {
                section.mistake(
                    "name",
                    "has 1 to 64 letters, digits, spaces and . - _ @, and begins and ends with none of the spaces",
                );
            }
        }
        match (name, role, file) {
            (Some(name), Some(role), Some(file)) => {
                officers.push(OfficerToken { name, role, token_file: data.join(file) });
            }
            _ => section.mistake("", "needs name, role and token-file"),
        }
        admin.mistakes.extend(section.finish());
    }
    officers
}

/// What the audit log shows is what stands in it; node ids, which stand there too, contain slashes.
fn is_officer_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || " .-_@".contains(c);
    name.trim() == name && name.chars().count() <= 64 && name.chars().all(fits)
}

fn issuing_settings(section: &mut Section, folder: &Path) -> Option<IssuingSettings> {
    let (url, token) = (section.text("url"), section.text("token-file"));
    let tls_certificate = section.text("tls-certificate").and_then(|text| {
        text.parse().map_err(|_| section.mistake("tls-certificate", "is no SHA-256 in hexadecimal")).ok()
    });
    match (url, token) {
        (None, None) => None,
        (Some(url), Some(token)) => {
            Some(IssuingSettings { url, token_file: folder.join(token), tls_certificate })
        }
        _ => {
            section.mistake("url", "and token-file go together: give both or none");
            None
        }
    }
}

/// One table, emptied key by key; what is left over is a mistake.
struct Section {
    name: String,
    table: Table,
    mistakes: Vec<String>,
}

impl Section {
    fn take(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    fn mistake(&mut self, key: &str, what: &str) {
        self.mistakes.push(format!("{}{key} {what}", self.name));
    }

    fn section(&mut self, name: &str) -> Self {
        let table = match self.take(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.mistake(name, "must be a section");
                Table::new()
            }
        };
        Self { name: format!("{name}."), table, mistakes: vec![] }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.mistake(key, "must be a text in quotes");
                None
            }
        }
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Boolean(value)) => value,
            Some(_) => {
                self.mistake(key, "is true or false");
                false
            }
        }
    }

    fn address(&mut self, key: &str, port: u16) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        let Some(text) = self.text(key) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.mistake(key, &format!("{text:?} is not an address like {default}"));
            default
        })
    }

    fn duration(&mut self, key: &str, default: Duration) -> Duration {
        let text = match self.take(key) {
            None => return default,
            Some(Value::String(text)) => text,
            Some(_) => {
                self.mistake(
                    key,
                    &format!("must be a text with a unit; write {key} = \"{}s\"", default.as_secs()),
                );
                return default;
            }
        };
        duration(&text).unwrap_or_else(|| {
            self.mistake(key, &format!("{text:?} is not a duration like \"60s\", \"5m\" or \"2h\""));
            default
        })
    }

    fn finish(mut self) -> Vec<String> {
        for key in self.table.keys().cloned().collect::<Vec<_>>() {
            self.mistake(&key, "is not a setting of the registry; remove it or check its spelling");
        }
        self.mistakes
    }
}

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_says_what_the_defaults_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../deploy/registry.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let example = RegistryConfig::parse(Path::new("/etc/truc/registry.toml"), &text).unwrap();
        // Every setting is there, most as comments that show the default: uncommented, it still reads.
        let all: String = text
            .lines()
            .map(|l| match l.strip_prefix("# ") {
                // What is indented is an example, not a default.
                Some(setting) if setting.contains(" = ") && !setting.starts_with(' ') => {
                    format!("{setting}\n")
                }
                _ => format!("{l}\n"),
            })
            .collect();
        assert_eq!(RegistryConfig::parse(Path::new("/etc/truc/registry.toml"), &all).unwrap(), example);
        for setting in ["data", "listen", "token-file", "passphrase-file", "resign-every", "four-eyes"] {
            assert!(all.contains(&format!("\n{setting} = ")), "{setting}");
        }
    }

    #[test]
    fn officers_and_the_issuing_ca_are_read_whole_or_refused() {
        let good = "config-version = 1\n[[admin.officer]]\nname = \"lan\"\nrole = \"auditor\"\ntoken-file = \"t\"\n\
                    [issuing]\nurl = \"http://127.0.0.1:1\"\ntoken-file = \"i\"\n[approval]\nfour-eyes = true\n";
        let config = RegistryConfig::parse(Path::new("/x/registry.toml"), good).unwrap();
        assert_eq!((config.officers.len(), config.four_eyes, config.issuing.is_some()), (1, true, true));
        for (bad, word) in [
            ("role = \"auditor\"", "role = \"king\""),
            ("name = \"lan\"", "name = \"admin\""),
            ("name = \"lan\"", "name = \"Admin\""),
            ("name = \"lan\"", "name = \"lan \""),
            ("name = \"lan\"", "name = \"VN/GOV/H49/ss1\""),
            ("name = \"lan\"", "name = \"lan\\u001b[2K\""),
            ("name = \"lan\"", "name = \"l\\u200ban\""),
            ("name = \"lan\"", "name = \"lan\\nminh\""),
            ("token-file = \"i\"", ""),
            ("four-eyes = true", "four-eyes = 2"),
            ("token-file = \"t\"", "token = \"t\""),
        ]
        .map(|(from, to)| (good.replace(from, to), to))
        {
            assert!(RegistryConfig::parse(Path::new("/x/registry.toml"), &bad).is_err(), "{word}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "config-version = 2\nlisten = \"here\"\ncolour = 1\n[admin]\nlisten = \"10.0.0.1:4000\"\n[publishing]\nresign-every = \"60\"\n[keys]\npassphrase = \"secret\"\n";
        let error = RegistryConfig::parse(Path::new("/x/registry.toml"), text).unwrap_err();
        assert_eq!(error.mistakes.len(), 6, "{error}");
        for word in [
            "config-version",
            "listen",
            "colour",
            "admin.listen",
            "publishing.resign-every",
            "keys.passphrase",
        ] {
            assert!(error.mistakes.iter().any(|m| m.starts_with(word)), "{word}: {error}");
        }
        assert!(!error.to_string().contains("secret"), "values of unknown settings are not repeated");
    }
}
