//! Makes every folder and configuration file of the bus, once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use truc_directory::{ApprovedAuthority, Der, GroupMember, Profile, PublicKey, TimestampAuthority, Usage};
use truc_governance::{Command, NewNode, TrustChange};
use truc_model::{Clock, SystemClock};
use truc_node::{InitOptions as NodeInit, Initialised as NodeMade, init as init_node};
use truc_pki::{InitOptions as PkiInit, Pki};
use truc_registry::{Door, InitOptions as RegistryInit, Office, RegistryConfig, init as init_registry};
use truc_trust::Certificate;

use super::BusError;
use super::layout::{Layout, NEWCOMER, NodePlan, local};
use crate::registers::{RegisterConfig, RegisterKind};

/// What the bus is to be.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Where everything lies.
    pub dir: PathBuf,
    /// The first of its ports; free ones when not given.
    pub base_port: Option<u16>,
    /// How many synthetic citizens and parcels.
    pub population: (usize, usize),
    /// How often the first nodes have their records time-stamped, in seconds; a node's own default where nothing is said.
    pub stamp_every: Option<u32>,
}

impl BusOptions {
    /// The demo's sizes, and nodes as they are by default.
    pub const fn new(dir: PathBuf, base_port: Option<u16>) -> Self {
        Self { dir, base_port, population: (100_000, 50_000), stamp_every: None }
    }
}

/// The global group of the desks that may ask the registers.
pub(crate) const DESKS: &str = "mot-cua";

/// The desk that nobody has approved yet.
pub(crate) const UNAPPROVED: &str = "mot-cua-so-10";

const VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// Reads the bus that `options.dir` holds, or makes it. `tell` hears what is being done.
///
/// # Errors
/// [`BusError`] says which part was not made; a folder without a layout is not used as a bus.
pub async fn provision(
    options: &BusOptions,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<Layout, BusError> {
    if let Some(layout) = Layout::load(&options.dir)? {
        return Ok(layout);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    make_folder(&options.dir)?;
    // What an interrupted first start left behind is not a bus yet: it is made again from the beginning.
    for part in ["pki", "registry", "nodes", "registers"] {
        let old = options.dir.join(part);
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(|e| BusError::file(&old, e))?;
        }
    }
    let layout = Layout::choose(&options.dir, options.base_port)?;
    tell("pilot PKI: CA, OCSP responder, TSA");
    let pki = make_pki(&layout, &clock).await?;
    tell("registry: root key, anchor, first directory");
    make_registry(&layout, &clock).await?;
    tell("nodes: keys, certificates, configuration files");
    let mut made = Vec::new();
    for node in layout.nodes.iter().filter(|node| node.member().code() != NEWCOMER) {
        made.push(make_node(&layout, node, &pki).await?);
        if let Some(seconds) = options.stamp_every {
            stamp_every(&layout.node_config(node), seconds)?;
        }
    }
    tell("members, subsystems, nodes and certificates in the directory");
    register(&layout, &pki, &made, &clock).await?;
    make_registers(&layout, options)?;
    layout.save()?;
    Ok(layout)
}

/// Changes how often a node that was just made has its records time-stamped.
fn stamp_every(config: &Path, seconds: u32) -> Result<(), BusError> {
    let text = std::fs::read_to_string(config).map_err(|e| BusError::file(config, e))?;
    let (usual, wanted) = ("\nevery = \"1m\"", format!("\nevery = \"{seconds}s\""));
    if !text.contains(usual) {
        return Err(BusError::file(config, "does not say how often it is time-stamped"));
    }
    std::fs::write(config, text.replace(usual, &wanted)).map_err(|e| BusError::file(config, e))
}

fn make_folder(path: &Path) -> Result<(), BusError> {
    std::fs::create_dir_all(path).map_err(|e| BusError::file(path, e))
}

async fn make_pki(layout: &Layout, clock: &Arc<dyn Clock>) -> Result<Pki, BusError> {
    let options = PkiInit { issuing: Some(local(layout.issuing)), ..PkiInit::default() };
    let (folder, url) = (layout.pki_folder(), layout.pki_url());
    let made = Pki::init_folder(&folder, local(layout.pki), &url, &options, Arc::clone(clock)).await;
    made.map_err(|e| BusError::part("pilot PKI", e))
}

async fn make_registry(layout: &Layout, clock: &Arc<dyn Clock>) -> Result<(), BusError> {
    let options = RegistryInit {
        folder: layout.registry_folder(),
        instance: "VN".to_owned(),
        listen: local(layout.registry.0),
        public_address: local(layout.registry.0).to_string(),
        admin_listen: local(layout.registry.1),
    };
    let made = init_registry(options, Arc::clone(clock)).await.map_err(|e| BusError::part("registry", e))?;
    let issuing = format!(
        "\n[issuing]\nurl = \"http://{}\"\ntoken-file = {:?}\n",
        local(layout.issuing),
        layout.pki_folder().join("issuing-token")
    );
    let text = std::fs::read_to_string(&made.config).map_err(|e| BusError::file(&made.config, e))?;
    std::fs::write(&made.config, text + &issuing).map_err(|e| BusError::file(&made.config, e))
}

/// A node's folder, with what must be registered.
struct Made {
    plan: NodePlan,
    node: NodeMade,
    auth: Certificate,
    sign: Certificate,
}

async fn make_node(layout: &Layout, plan: &NodePlan, pki: &Pki) -> Result<Made, BusError> {
    let failed = |reason: &dyn std::fmt::Display| BusError::part(plan.id.to_string(), reason);
    let options = NodeInit {
        folder: layout.node_folder(plan),
        node: plan.id.clone(),
        members: vec![(plan.member(), plan.subsystems.iter().map(|(id, _)| id.clone()).collect())],
        anchor: Some(layout.anchor()),
        anchor_sha256: None,
        peer_listen: Some(local(plan.ports.0)),
        edge_listen: Some(local(plan.ports.1)),
        admin_listen: Some(local(plan.ports.2)),
    };
    let node =
        spawn_blocking(move || init_node(&options)).await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    let read = |file: &Path| std::fs::read_to_string(file).map_err(|e| BusError::file(file, e));
    let organisation = &plan.names.0;
    let request = read(&node.auth_request)?;
    let auth = pki.auth_certificate_from_csr(&request, &plan.id, organisation, VALIDITY).await;
    let auth = auth.map_err(|e| failed(&e))?;
    write_pem(&node.config.auth.certificate_file, &auth)?;
    let (member, request) = node.sign_requests.first().ok_or_else(|| failed(&"it has no seal"))?;
    let request = read(request)?;
    let sign = pki.sign_certificate_from_csr(&request, member, organisation, VALIDITY).await;
    let sign = sign.map_err(|e| failed(&e))?;
    let hosted = node.config.members.first().ok_or_else(|| failed(&"it hosts no member"))?;
    write_pem(&hosted.sign_certificate_file, &sign)?;
    Ok(Made { plan: plan.clone(), node, auth, sign })
}

fn write_pem(file: &Path, certificate: &Certificate) -> Result<(), BusError> {
    let pem = truc_trust::pem("CERTIFICATE", certificate.der());
    std::fs::write(file, pem).map_err(|e| BusError::file(file, e))
}

fn der(certificate: &Certificate) -> Der {
    Der(bytes::Bytes::copy_from_slice(certificate.der()))
}

/// Approves the CA and admits everybody, through the governance code that enrolment uses.
async fn register(layout: &Layout, pki: &Pki, made: &[Made], clock: &Arc<dyn Clock>) -> Result<(), BusError> {
    let refused = |e: truc_registry::RegistryError| BusError::part("registry", e);
    let config_file = layout.registry_folder().join("registry.toml");
    let mut door = Door::open(&config_file, Arc::clone(clock)).await.map_err(refused)?;
    let root = layout.registry_folder().join("root");
    let authority = ApprovedAuthority {
        name: "Trục Pilot CA".to_owned(),
        certificate: der(pki.ca()),
        intermediates: Vec::new(),
        usages: vec![Usage::Sign, Usage::Auth],
        profile: Profile::Truc1,
        ocsp: vec![format!("{}/ocsp", layout.pki_url())],
        crl: Some(format!("{}/crl", layout.pki_url())),
    };
    door.change_trust(&root, TrustChange::AddAuthority(authority)).await.map_err(refused)?;
    let tsa = TimestampAuthority {
        name: "Trục Pilot TSA".to_owned(),
        certificate: der(pki.tsa()),
        url: format!("{}/tsa", layout.pki_url()),
    };
    door.change_trust(&root, TrustChange::AddTimestampAuthority(tsa)).await.map_err(refused)?;
    drop(door);

    let config = RegistryConfig::load(&config_file).map_err(|e| BusError::part("registry", e))?;
    let mut office = Office::open(&config, Arc::clone(clock)).await.map_err(refused)?;
    for command in commands(made)? {
        office.execute(command, "init").await.map_err(refused)?;
    }
    office.publish().await.map_err(refused)?;
    Ok(())
}

fn commands(made: &[Made]) -> Result<Vec<Command>, BusError> {
    let mut commands = Vec::new();
    for Made { plan, node, auth, sign } in made {
        let (name_vi, name_en) = plan.names.clone();
        commands.push(Command::AddMember { id: plan.member(), name_vi, name_en });
        for (id, name) in &plan.subsystems {
            commands.push(Command::AddSubsystem { id: id.clone(), name: name.clone() });
        }
        let log_key = PublicKey::from_slice(&node.log_key)
            .ok_or_else(|| BusError::part(plan.id.to_string(), "its log key is no Ed25519 key"))?;
        commands.push(Command::RegisterSignCertificate { member: plan.member(), certificate: der(sign) });
        commands.push(Command::RegisterNode(NewNode {
            id: plan.id.clone(),
            address: local(plan.ports.0).to_string(),
            log_key,
            versions: vec![1],
            serves: plan.subsystems.iter().map(|(id, _)| id.clone()).collect(),
        }));
        commands.push(Command::RegisterAuthCertificate { node: plan.id.clone(), certificate: der(auth) });
    }
    commands.push(Command::CreateGroup {
        code: DESKS.to_owned(),
        name: "Bộ phận một cửa được phê duyệt".to_owned(),
    });
    for (id, _) in made.iter().flat_map(|m| &m.plan.subsystems) {
        if id.code().starts_with("mot-cua") && id.code() != UNAPPROVED {
            let member = GroupMember::Subsystem(id.clone());
            commands.push(Command::AddToGroup { code: DESKS.to_owned(), member });
        }
    }
    Ok(commands)
}

fn make_registers(layout: &Layout, options: &BusOptions) -> Result<(), BusError> {
    make_folder(&options.dir.join("registers"))?;
    let registers = [
        ("csdl-dancu", RegisterKind::DanCu, layout.registers.0),
        ("csdl-datdai", RegisterKind::DatDai, layout.registers.1),
    ];
    for (code, kind, port) in registers {
        let mut config = RegisterConfig::new(kind, local(port), layout.seed);
        (config.citizens, config.parcels) = options.population;
        let file = layout.register_config(code);
        std::fs::write(&file, config.to_toml()).map_err(|e| BusError::file(&file, e))?;
    }
    Ok(())
}
