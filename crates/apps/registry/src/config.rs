//! `registry.toml`: text → raw table → typed values, every mistake collected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

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
}

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
            data,
        };
        if config.resign_every < Duration::from_secs(1) || config.resign_every > Duration::from_secs(300) {
            publishing
                .mistake("resign-every", "must lie between 1s and 5m, or nodes call the directory stale");
        }
        let mut mistakes = Vec::new();
        for section in [top, admin, keys, publishing] {
            mistakes.extend(section.finish());
        }
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError { path: path.to_owned(), mistakes }) }
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
                Some(setting) if setting.contains(" = ") => format!("{setting}\n"),
                _ => format!("{l}\n"),
            })
            .collect();
        assert_eq!(RegistryConfig::parse(Path::new("/etc/truc/registry.toml"), &all).unwrap(), example);
        for setting in ["data", "listen", "token-file", "passphrase-file", "resign-every"] {
            assert!(all.contains(&format!("\n{setting} = ")), "{setting}");
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
