//! Who takes part in the demo, in which folder and on which ports; chosen once and written down.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use truc_model::{MemberId, NodeId, SubsystemId};

use super::BusError;

/// One node of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodePlan {
    /// Which node.
    pub id: NodeId,
    /// The name of its folder.
    pub folder: String,
    /// Its owner's name, Vietnamese and English.
    pub names: (String, String),
    /// The subsystems it hosts, with their names.
    pub subsystems: Vec<(SubsystemId, String)>,
    /// Ports: peer door, edge, admin API.
    pub ports: (u16, u16, u16),
}

impl NodePlan {
    /// The member that owns it.
    pub fn member(&self) -> MemberId {
        self.id.owner()
    }
    /// Where information systems call.
    pub fn edge_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.1)
    }
    /// Where operators call.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.2)
    }
}

/// The whole demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layout {
    /// Format version.
    pub v: u32,
    /// The seed of the synthetic data.
    pub seed: u64,
    /// The pilot PKI's port.
    pub pki: u16,
    /// The port where it issues certificates for the registry.
    pub issuing: u16,
    /// The registry's ports: for nodes, for operators.
    pub registry: (u16, u16),
    /// The registers' ports: population, land.
    pub registers: (u16, u16),
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// The demo's folder; not written down, so that it may be moved.
    #[serde(skip)]
    pub dir: PathBuf,
}

/// Version of the layout file.
const FORMAT: u32 = 3;

/// The province whose node is enrolled while the story is told.
pub const NEWCOMER: &str = "H49";

/// The demo's seed; any other tells the same story about the same showcase citizen.
const SEED: u64 = 2026;

const FILE: &str = "layout.json";

/// An address on this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Layout {
    /// Reads what was written down in `dir`; `None` when nothing was.
    ///
    /// # Errors
    /// [`BusError::File`] when it cannot be read.
    pub fn load(dir: &Path) -> Result<Option<Self>, BusError> {
        let file = dir.join(FILE);
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(BusError::file(&file, e)),
        };
        let read = serde_json::from_slice(&text).and_then(|value: serde_json::Value| {
            let ours = value["v"] == FORMAT;
            if ours { serde_json::from_value(value).map(Some) } else { Ok(None) }
        });
        // A bus of an older version of the story is made anew: everything in it is synthetic.
        let read: Option<Self> = read.map_err(|e| BusError::file(&file, e))?;
        Ok(read.map(|layout| Self { dir: dir.to_owned(), ..layout }))
    }

    /// Writes it down; last of all, so that a folder with a layout is a whole bus.
    pub(super) fn save(&self) -> Result<(), BusError> {
        let file = self.dir.join(FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| BusError::file(&file, e))?;
        std::fs::write(&file, text).map_err(|e| BusError::file(&file, e))
    }

    /// Chooses ports: from `base_port` up, or free ones.
    ///
    /// # Errors
    /// [`BusError::Part`] when no port is free.
    pub(super) fn choose(dir: &Path, base_port: Option<u16>) -> Result<Self, BusError> {
        let mut ports = Ports::new(base_port)?;
        let (pki, issuing) = (ports.next()?, ports.next()?);
        let (registry, registers) = ((ports.next()?, ports.next()?), (ports.next()?, ports.next()?));
        let mut nodes = Vec::new();
        for (member, vi, en, subsystems) in members() {
            let id = member.node("ss1").map_err(|e| BusError::part("layout", e))?;
            let folder = member.code().to_lowercase();
            let subsystems = subsystems
                .into_iter()
                .map(|(code, name)| Ok((member.subsystem(&code)?, name)))
                .collect::<Result<_, truc_model::InvalidId>>()
                .map_err(|e| BusError::part("layout", e))?;
            let ports = (ports.next()?, ports.next()?, ports.next()?);
            nodes.push(NodePlan { id, folder, names: (vi.into(), en.into()), subsystems, ports });
        }
        Ok(Self { v: FORMAT, seed: SEED, pki, issuing, registry, registers, nodes, dir: dir.to_owned() })
    }

    /// The node of the member with this code.
    ///
    /// # Errors
    /// [`BusError::Part`] when the demo has none.
    pub fn node(&self, member_code: &str) -> Result<&NodePlan, BusError> {
        let found = self.nodes.iter().find(|node| node.id.owner().code() == member_code);
        found.ok_or_else(|| BusError::part("layout", format!("no node of {member_code}")))
    }

    /// The nodes that have their certificates: all but the newcomer before it is enrolled.
    pub fn enrolled(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().filter(|plan| self.is_enrolled(plan))
    }
    /// Whether the node has its certificates.
    pub fn is_enrolled(&self, node: &NodePlan) -> bool {
        self.node_folder(node).join("certs/auth.pem").exists()
    }

    /// A node's folder.
    pub fn node_folder(&self, node: &NodePlan) -> PathBuf {
        self.dir.join("nodes").join(&node.folder)
    }
    /// A node's configuration file.
    pub fn node_config(&self, node: &NodePlan) -> PathBuf {
        self.node_folder(node).join("node.toml")
    }
    /// The registry's folder.
    pub fn registry_folder(&self) -> PathBuf {
        self.dir.join("registry")
    }
    /// The anchor.
    pub fn anchor(&self) -> PathBuf {
        self.registry_folder().join("anchor.json")
    }
    /// The pilot PKI's folder.
    pub fn pki_folder(&self) -> PathBuf {
        self.dir.join("pki")
    }
    /// Where the pilot PKI answers.
    pub fn pki_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.pki)
    }
    /// The configuration file of a register.
    pub fn register_config(&self, code: &str) -> PathBuf {
        self.dir.join("registers").join(format!("{code}.toml"))
    }
}

type Described = (MemberId, &'static str, &'static str, Vec<(String, String)>);

/// Real agencies with their codes (QĐ 09/2025); Hà Nội has its ten one-stop systems of 2017.
fn members() -> Vec<Described> {
    let one = |code: &str, name: &str| vec![(code.to_owned(), name.to_owned())];
    let desks = (1..=10).map(|n| (format!("mot-cua-so-{n}"), format!("Một cửa điện tử số {n}"))).collect();
    let all = [
        ("G01", "Bộ Công an", "Ministry of Public Security", one("csdl-dancu", "CSDL quốc gia về dân cư")),
        (
            "G10",
            "Bộ Nông nghiệp và Môi trường",
            "Ministry of Agriculture and Environment",
            one("csdl-datdai", "CSDL quốc gia về đất đai"),
        ),
        ("H26", "UBND thành phố Hà Nội", "Hà Nội People's Committee", desks),
        ("H49", "UBND tỉnh Quảng Ninh", "Quảng Ninh People's Committee", one("mot-cua", "Một cửa điện tử")),
    ];
    all.into_iter()
        .filter_map(|(code, vi, en, subsystems)| {
            Some((MemberId::new("VN", "GOV", code).ok()?, vi, en, subsystems))
        })
        .collect()
}

/// Where free ports are looked for: below those that the system gives to outgoing connections, which could take one that
/// was chosen before its process listens on it.
const FREE_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Hands out ports.
struct Ports {
    next: u16,
    /// A port that is taken is passed over.
    any: bool,
    /// Kept open until all are chosen, so that none is given twice.
    held: Vec<TcpListener>,
}

impl Ports {
    fn new(base: Option<u16>) -> Result<Self, BusError> {
        match base {
            Some(base) if !(1024..=65_000).contains(&base) => {
                Err(BusError::part("--base-port", "choose a port from 1024 to 65000"))
            }
            Some(next) => Ok(Self { next, any: false, held: Vec::new() }),
            None => {
                let mut random = [0; 2];
                let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
                filled.map_err(|_| BusError::part("ports", "the system gives no random numbers"))?;
                let next =
                    FREE_PORTS.start + u16::from_be_bytes(random) % (FREE_PORTS.end - FREE_PORTS.start);
                Ok(Self { next, any: true, held: Vec::new() })
            }
        }
    }

    fn next(&mut self) -> Result<u16, BusError> {
        loop {
            let port = self.next;
            self.next += 1;
            match TcpListener::bind(local(port)) {
                Ok(listener) => {
                    self.held.push(listener);
                    return Ok(port);
                }
                Err(_) if self.any && port < 60_000 => {}
                Err(e) => {
                    let hint = if self.any { "" } else { "; choose another --base-port" };
                    return Err(BusError::part(format!("port {port}"), format!("{e}{hint}")));
                }
            }
        }
    }
}
