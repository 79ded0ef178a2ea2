//! No banned crate in Cargo.lock. Reads the lock file alone, so it needs neither network nor cargo-deny (whose `.deny.toml` bans the same).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Crates that must not be in the graph, and why (docs/adr/0002).
pub(crate) const BANNED: [(&str, &str); 7] = [
    ("aws-lc-sys", "one crypto provider, ring: two of them panic at run time"),
    ("aws-lc-rs", "one crypto provider, ring: two of them panic at run time"),
    ("rsa", "RUSTSEC-2023-0071 (timing side channel) has no fix; ring verifies RSA"),
    ("openssl", "no C library of TLS beside rustls"),
    ("openssl-sys", "no C library of TLS beside rustls"),
    ("native-tls", "no C library of TLS beside rustls"),
    ("rustls-pemfile", "unmaintained (RUSTSEC-2025-0134); rustls-pki-types reads PEM"),
];

/// Families that must not be mixed: their types of the same name do not fit together.
const ONE_VERSION: [(&str, &str); 4] =
    [("der", "0.7"), ("spki", "0.7"), ("x509-cert", "0.2"), ("rustls", "0.23")];

/// Fails when the lock file holds what it must not.
pub(crate) fn check(root: &Path) -> anyhow::Result<String> {
    let file = root.join("Cargo.lock");
    let lock = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let packages = packages(&lock);
    if packages.is_empty() {
        bail!("{} lists no package", file.display());
    }
    let mistakes = mistakes(&packages);
    if !mistakes.is_empty() {
        bail!(
            "Cargo.lock holds what it must not; `cargo tree -i NAME` shows who brings it:\n  - {}",
            mistakes.join("\n  - ")
        );
    }
    Ok(format!("deps: {} packages, none of them banned", packages.len()))
}

/// Names and versions of the `[[package]]` tables.
fn packages(lock: &str) -> BTreeSet<(String, String)> {
    let value = |line: &str, key: &str| {
        line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned)
    };
    let mut found = BTreeSet::new();
    let mut name = None;
    for line in lock.lines() {
        if let Some(text) = value(line, "name") {
            name = Some(text);
        } else if let (Some(version), Some(name)) =
            (value(line, "version"), name.take_if(|_| line.starts_with("version")))
        {
            found.insert((name, version));
        }
    }
    found
}

fn mistakes(packages: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, version) in packages {
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
            mistakes.push(format!("{name} {version}: {why}"));
        }
        if let Some((_, family)) = ONE_VERSION.iter().find(|(one, _)| one == name)
            && !version.starts_with(&format!("{family}."))
        {
            mistakes.push(format!("{name} {version}: only the {family} family is used here"));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_crate_and_a_second_family_are_found() {
        let lock = "version = 4\n\n[[package]]\nname = \"ring\"\nversion = \"0.17.14\"\n\n[[package]]\nname = \"aws-lc-sys\"\nversion = \"0.30.0\"\n\n\
                    [[package]]\nname = \"der\"\nversion = \"0.8.0\"\ndependencies = [\n \"rsa\",\n]\n\n[[package]]\nname = \"der\"\nversion = \"0.7.10\"\n";
        let packages = packages(lock);
        assert_eq!(packages.len(), 4, "{packages:?}");
        let mistakes = mistakes(&packages);
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        assert!(mistakes[0].starts_with("aws-lc-sys 0.30.0") && mistakes[1].starts_with("der 0.8.0"));
    }

    #[test]
    fn cargo_deny_bans_the_same() {
        let deny = std::fs::read_to_string(crate::root().join(".deny.toml")).unwrap();
        for (name, _) in BANNED {
            assert!(deny.contains(&format!("crate = \"{name}\"")), "{name} is not banned in .deny.toml");
        }
    }

    #[test]
    fn this_repository_keeps_the_rules() {
        check(&crate::root()).unwrap();
    }
}
