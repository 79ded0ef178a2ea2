//! `DIR/demo.json`: where everything of the running demo is (design §12).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bus::{BusError, Layout, Processes};

/// The file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoFile {
    /// The instance code.
    pub instance: String,
    /// The registry.
    pub registry: DemoRegistry,
    /// The nodes.
    pub nodes: Vec<DemoNode>,
    /// The services with their descriptions.
    pub services: Vec<DemoService>,
    /// The subsystems that call.
    pub clients: Vec<String>,
    /// The anchor file.
    pub anchor: String,
    /// The CA certificates, PEM files.
    pub ca_certificates: Vec<String>,
}

/// The registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoRegistry {
    /// Its admin API.
    pub admin_url: String,
    /// Its console; none yet.
    pub console_url: Option<String>,
    /// Its configuration file.
    pub config: String,
    /// Its process id.
    pub pid: Option<u32>,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoNode {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub member: String,
    /// Where information systems call.
    pub edge_url: String,
    /// Its admin API.
    pub admin_url: String,
    /// Its console; none yet.
    pub console_url: Option<String>,
    /// An administrator's token.
    pub admin_token: String,
    /// Its process id.
    pub pid: Option<u32>,
    /// Its configuration file.
    pub config: String,
}

/// One service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoService {
    /// Its id.
    pub id: String,
    /// Where its OpenAPI document lies.
    pub description_url: String,
}

/// Writes the file.
///
/// # Errors
/// [`BusError::File`].
pub(crate) fn write(layout: &Layout, processes: &Processes) -> Result<(), BusError> {
    let shown = |path: &Path| path.display().to_string();
    let mut nodes = Vec::new();
    for plan in layout.enrolled() {
        let token_file = layout.node_folder(plan).join("admin-token");
        let token = std::fs::read_to_string(&token_file).map_err(|e| BusError::file(&token_file, e))?;
        nodes.push(DemoNode {
            id: plan.id.to_string(),
            member: plan.member().to_string(),
            edge_url: plan.edge_url(),
            admin_url: plan.admin_url(),
            console_url: None,
            admin_token: token.trim().to_owned(),
            pid: processes.pid(&format!("node {}", plan.folder)),
            config: shown(&layout.node_config(plan)),
        });
    }
    let service = |member: &str, port: u16, codes: &[&str]| -> Vec<DemoService> {
        let description_url = format!("http://127.0.0.1:{port}/openapi.json");
        codes
            .iter()
            .map(|code| DemoService {
                id: format!("VN/GOV/{member}/{code}"),
                description_url: description_url.clone(),
            })
            .collect()
    };
    let mut services =
        service("G01", layout.registers.0, &["csdl-dancu/tra-cuu-cong-dan", "csdl-dancu/ho-gia-dinh"]);
    services.extend(service("G10", layout.registers.1, &["csdl-datdai/tra-cuu-thua-dat"]));
    let clients = layout.enrolled().flat_map(|plan| &plan.subsystems);
    let file = DemoFile {
        instance: "VN".to_owned(),
        registry: DemoRegistry {
            admin_url: format!("http://127.0.0.1:{}", layout.registry.1),
            console_url: None,
            config: shown(&layout.registry_folder().join("registry.toml")),
            pid: processes.pid("registry"),
        },
        nodes,
        services,
        clients: clients
            .filter(|(id, _)| id.code().starts_with("mot-cua"))
            .map(|(id, _)| id.to_string())
            .collect(),
        anchor: shown(&layout.anchor()),
        ca_certificates: vec![shown(&layout.pki_folder().join("ca.pem"))],
    };
    let path = layout.dir.join("demo.json");
    let text = serde_json::to_vec_pretty(&file).map_err(|e| BusError::file(&path, e))?;
    write_private(&path, &text)
}

/// The file holds admin tokens: only its owner may read it.
fn write_private(path: &Path, text: &[u8]) -> Result<(), BusError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(text)).map_err(|e| BusError::file(path, e))
}
