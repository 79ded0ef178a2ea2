//! The storeys of the house (docs/architecture.md): an import points down, and domain and flow own no socket and no wire format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Folders below `crates/`, from the bottom up. `tools` stands beside the house.
const STOREYS: [&str; 5] = ["base", "domain", "flow", "adapters", "apps"];
const TOOLS: &str = "tools";

/// What an app may import of its own storey.
const BETWEEN_APPS: [(&str, &[&str]); 2] = [
    ("truc", &["truc-node", "truc-registry", "truc-pki", "truc-demo"]),
    ("truc-demo", &["truc-node", "truc-registry", "truc-pki"]),
];

/// Libraries of sockets and wire formats that domain and flow must not see.
const WIRE: [&str; 12] = [
    "truc-wire",
    "tonic",
    "tonic-prost",
    "prost",
    "rustls",
    "tokio-rustls",
    "hyper",
    "hyper-util",
    "hyper-rustls",
    "axum",
    "tower",
    "sled",
];

/// Modules of std and tokio that own a socket, a file or a process; domain and flow must not name them. (Cargo unifies tokio's features
/// over the workspace, so its manifests cannot tell.)
const IMPURE_MODULES: [&str; 9] = [
    "tokio::net",
    "tokio::fs",
    "tokio::process",
    "tokio::signal",
    "std::fs",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
];

/// One dependency of one crate.
#[derive(Debug, Clone)]
struct Dependency {
    name: String,
    /// True for `[dev-dependencies]`.
    dev: bool,
}

/// One crate of the workspace.
#[derive(Debug, Clone)]
struct Package {
    name: String,
    storey: String,
    folder: PathBuf,
    dependencies: Vec<Dependency>,
}

/// Fails when an import points up or sideways, or something pure sees the wire.
pub(crate) fn check(root: &Path) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = read(&metadata)?;
    let mut mistakes = mistakes(&packages);
    for package in packages.iter().filter(|p| is_pure(p)) {
        mistakes.extend(source_mistakes(package)?);
    }
    if !mistakes.is_empty() {
        bail!("the storeys are not kept (docs/architecture.md):\n  - {}", mistakes.join("\n  - "));
    }
    Ok(format!("layers: {} crates, every import points down", packages.len()))
}

fn read(metadata: &Value) -> anyhow::Result<Vec<Package>> {
    let root = text(&metadata["workspace_root"]);
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages.iter().map(|package| read_package(package, &root)).collect()
}

fn read_package(package: &Value, root: &str) -> anyhow::Result<Package> {
    let name = text(&package["name"]);
    let manifest = text(&package["manifest_path"]);
    let place = manifest.strip_prefix(root).and_then(|p| p.strip_prefix("/crates/"));
    let storey = place
        .and_then(|p| p.split('/').next())
        .with_context(|| format!("{name} does not lie under crates/STOREY/"))?;
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let dependency = |d: &Value| Dependency { name: text(&d["name"]), dev: text(&d["kind"]) == "dev" };
    let folder = Path::new(&manifest).parent().unwrap_or(Path::new("")).to_owned();
    Ok(Package {
        name,
        storey: storey.to_owned(),
        folder,
        dependencies: dependencies.iter().map(dependency).collect(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Storeys that own no socket, file or wire format.
fn is_pure(package: &Package) -> bool {
    ["domain", "flow"].contains(&package.storey.as_str())
}

fn height(storey: &str) -> Option<usize> {
    STOREYS.iter().position(|s| *s == storey)
}

fn mistakes(packages: &[Package]) -> Vec<String> {
    let storeys: BTreeMap<&str, &str> =
        packages.iter().map(|p| (p.name.as_str(), p.storey.as_str())).collect();
    let mut mistakes = Vec::new();
    for package in packages {
        if package.storey != TOOLS && height(&package.storey).is_none() {
            mistakes.push(format!("{} lies in crates/{}, which is no storey", package.name, package.storey));
        }
        for dependency in &package.dependencies {
            let problem = match storeys.get(dependency.name.as_str()) {
                Some(to) => import(package, dependency, to),
                None => None,
            };
            mistakes.extend(problem.or_else(|| purity(package, dependency)));
        }
    }
    mistakes
}

/// What is wrong with an import of another crate of ours, which lies in the storey `to`.
fn import(package: &Package, dependency: &Dependency, to: &str) -> Option<String> {
    let (from, name, other) = (package.storey.as_str(), &package.name, &dependency.name);
    if from == TOOLS {
        return None;
    }
    if to == TOOLS {
        return (!dependency.dev).then(|| {
            format!("{name} imports {other}: tools are never shipped, only [dev-dependencies] may name them")
        });
    }
    let (here, there) = (height(from)?, height(to)?);
    if there > here {
        // A test may stand a room above its own: it ships nothing.
        return (!dependency.dev)
            .then(|| format!("{name} ({from}) imports {other} ({to}): an import points down"));
    }
    let sideways = there == here && !dependency.dev;
    match from {
        "adapters" | "flow" if sideways => {
            Some(format!("{name} imports {other}: rooms of {from} do not know each other; an app wires them"))
        }
        "apps" if sideways => {
            let allowed = BETWEEN_APPS.iter().find(|(app, _)| app == name).map_or(&[][..], |(_, may)| may);
            (!allowed.contains(&other.as_str()))
                .then(|| format!("{name} imports {other}: only truc and truc-demo know other apps"))
        }
        _ => None,
    }
}

/// What is wrong with a library that a crate of domain or flow uses.
fn purity(package: &Package, dependency: &Dependency) -> Option<String> {
    let (name, other) = (&package.name, &dependency.name);
    let wrong = is_pure(package) && !dependency.dev && WIRE.contains(&other.as_str());
    wrong.then(|| {
        format!(
            "{name} ({}) uses {other}: domain and flow own no socket, file or wire format",
            package.storey
        )
    })
}

/// What the sources of one crate of domain or flow name that they must not.
fn source_mistakes(package: &Package) -> anyhow::Result<Vec<String>> {
    let mut mistakes = Vec::new();
    let mut folders = vec![package.folder.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test_file(&path) {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let told = |(line, module)| {
                    format!(
                        "{}:{line} names {module}: domain and flow own no socket, file or process",
                        path.display()
                    )
                };
                mistakes.extend(impure_lines(&text).into_iter().map(told));
            }
        }
    }
    Ok(mistakes)
}

fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let in_tests = path.parent().and_then(|p| p.file_name()).is_some_and(|name| name == "tests");
    in_tests || stem == "tests" || stem == "testing" || stem.ends_with("_tests")
}

/// Line numbers and modules; comments and what follows `#[cfg(test)] mod … {` do not count.
fn impure_lines(text: &str) -> Vec<(usize, &'static str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let tests = lines
        .windows(2)
        .position(|w| w[0] == "#[cfg(test)]" && w[1].starts_with("mod ") && w[1].ends_with('{'));
    let shipped =
        lines.iter().take(tests.unwrap_or(lines.len())).enumerate().filter(|(_, l)| !l.starts_with("//"));
    let named = |(i, line): (usize, &&str)| {
        IMPURE_MODULES.into_iter().find(|module| line.contains(module)).map(|module| (i + 1, module))
    };
    shipped.filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, storey: &str, dependencies: &[&str]) -> Package {
        let plain = |name: &&str| Dependency { name: (*name).to_owned(), dev: false };
        let dependencies = dependencies.iter().map(plain).collect();
        Package { name: name.to_owned(), storey: storey.to_owned(), folder: PathBuf::new(), dependencies }
    }

    fn house() -> Vec<Package> {
        vec![
            package("truc-model", "base", &["serde"]),
            package("truc-wire", "base", &["tonic"]),
            package("truc-keys", "domain", &["truc-model"]),
            package("truc-trust", "domain", &["truc-model", "truc-keys"]),
            package("truc-exchange", "flow", &["truc-trust"]),
            package("truc-governance", "flow", &["truc-trust"]),
            package("truc-edge", "adapters", &["truc-exchange", "hyper"]),
            package("truc-peer", "adapters", &["truc-exchange", "truc-wire"]),
            package("truc-node", "apps", &["truc-edge", "truc-peer"]),
            package("truc-registry", "apps", &["truc-governance"]),
            package("truc-demo", "apps", &["truc-node", "truc-registry"]),
            package("truc", "apps", &["truc-node", "truc-demo"]),
            package("truc-testkit", "tools", &["truc-exchange"]),
        ]
    }

    #[test]
    fn a_sound_house_stands() {
        assert_eq!(mistakes(&house()), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_edge_is_reported() {
        for (from, to, told) in [
            ("truc-keys", "truc-exchange", "an import points down"),
            ("truc-model", "truc-keys", "an import points down"),
            ("truc-exchange", "truc-edge", "an import points down"),
            ("truc-edge", "truc-node", "an import points down"),
            ("truc-edge", "truc-peer", "do not know each other"),
            ("truc-exchange", "truc-governance", "do not know each other"),
            ("truc-node", "truc-registry", "only truc and truc-demo"),
            ("truc-demo", "truc", "only truc and truc-demo"),
            ("truc-edge", "truc-testkit", "never shipped"),
            ("truc-trust", "truc-wire", "no socket"),
            ("truc-exchange", "hyper", "no socket"),
        ] {
            let mut house = house();
            let at = house.iter().position(|p| p.name == from).unwrap();
            house[at].dependencies.push(Dependency { name: to.to_owned(), dev: false });
            let mistakes = mistakes(&house);
            assert!(mistakes.len() == 1 && mistakes[0].contains(told), "{from} -> {to}: {mistakes:?}");
        }
    }

    #[test]
    fn tests_may_look_around() {
        let mut house = house();
        let dev = |name: &str| Dependency { name: name.to_owned(), dev: true };
        house[6].dependencies.extend([dev("truc-testkit"), dev("truc-peer"), dev("truc-node")]);
        assert_eq!(mistakes(&house), Vec::<String>::new());
    }

    #[test]
    fn sources_are_read_for_sockets_and_files() {
        let text = "//! tokio::net is not for us\nuse tokio::sync::mpsc;\nuse tokio::net::TcpStream;\nlet x = std::fs::read(y);\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(impure_lines(text), [(3, "tokio::net"), (4, "std::fs")]);
        assert!(is_test_file(Path::new("src/cms/tests.rs")) && !is_test_file(Path::new("src/cms/read.rs")));
    }

    #[test]
    fn this_repository_keeps_the_rules() {
        check(&crate::root()).unwrap();
    }
}
