//! `[edge]` and `[[client]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use truc_model::SubsystemId;

use super::super::mistakes::Mistakes;
use super::super::raw::{Opt, RawClient, RawConfig};
use super::super::units::Size;
use super::super::{ClientConnection, ClientSettings, EdgeSettings, HostedMember, HttpsSettings};
use super::address;

/// What stands for no listener.
const OFF: &str = "off";

pub(super) fn edge(raw: &RawConfig, base: &Path, m: &mut Mistakes) -> EdgeSettings {
    let (default, low, high) = (Size(16 << 30), Size(1 << 10), Size(1 << 40));
    let like = "a number with a unit (B, KiB, MiB, GiB) like \"16 GiB\"";
    let mut max_body = raw.edge_max_body.parsed(default, like, m);
    if max_body.0 < low.0 || max_body.0 > high.0 {
        m.add(
            &raw.edge_max_body.key,
            format!("{max_body} is out of bounds; write a size from \"{low}\" to \"{high}\""),
        );
        max_body = default;
    }
    let off = raw.edge_listen.get().is_some_and(|text| text == OFF);
    let listen = (!off).then(|| address(&raw.edge_listen, 8080, m));
    let allowed = raw.edge_allow_network.get().copied().unwrap_or(false);
    if let Some(Err(exposed)) = listen.map(|address| truc_edge::check_plain_http(address, allowed)) {
        m.add(&raw.edge_listen.key, exposed.to_string());
    }
    let https = https(raw, base, m);
    if listen.is_none() && raw.edge_https_listen.get().is_none_or(|text| text == OFF) {
        let told = "is off and there is no https-listen, so nobody could call; write https-listen = \"127.0.0.1:8443\"";
        m.add(&raw.edge_listen.key, told);
    }
    EdgeSettings { listen, https, max_body: max_body.0, allow_plain_http_from_network: allowed }
}

fn https(raw: &RawConfig, base: &Path, m: &mut Mistakes) -> Option<HttpsSettings> {
    let files = [&raw.edge_certificate_file, &raw.edge_key_file];
    if raw.edge_https_listen.get().is_none_or(|text| text == OFF) {
        // Files that wait for HTTPS to be turned on again are no mistake when it says that it is off.
        if raw.edge_https_listen.get().is_none() {
            for file in files.iter().filter(|file| file.get().is_some()) {
                m.add(&file.key, "is for HTTPS, which is off; write https-listen = \"0.0.0.0:8443\" too");
            }
        }
        return None;
    }
    let listen: SocketAddr = address(&raw.edge_https_listen, 8443, m);
    let [certificate, key] = files;
    let certificate = certificate.required("certificate-file = \"certs/edge.pem\"", m);
    let key = key.required("key-file = \"edge-key.pem\"", m);
    Some(HttpsSettings { listen, certificate_file: base.join(certificate?), key_file: base.join(key?) })
}

pub(super) fn clients(
    raw: &RawConfig,
    base: &Path,
    members: &[HostedMember],
    https: bool,
    m: &mut Mistakes,
) -> Vec<ClientSettings> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for raw in &raw.clients {
        let subsystem = subsystem(raw, members, m);
        let connection = connection(raw, base, m);
        if !https && connection.as_ref().is_some_and(|c| *c != ClientConnection::Http) {
            m.add(
                &raw.connection.key,
                "needs HTTPS; write https-listen, certificate-file and key-file under [edge]",
            );
        }
        let (Some(subsystem), Some(connection)) = (subsystem, connection) else { continue };
        if seen.insert(subsystem.clone()) {
            all.push(ClientSettings { subsystem, connection });
        } else {
            m.add(&raw.subsystem.key, format!("{subsystem} stands here twice; keep one [[client]] for it"));
        }
    }
    all
}

fn subsystem(raw: &RawClient, members: &[HostedMember], m: &mut Mistakes) -> Option<SubsystemId> {
    let id: SubsystemId = raw.subsystem.identified("subsystem = \"VN/GOV/H26/mot-cua-so-1\"", m)?;
    if !members.iter().any(|member| member.subsystems.contains(&id)) {
        m.add(
            &raw.subsystem.key,
            format!("{id} is not a subsystem of a [[member]] above; name it there too"),
        );
    }
    Some(id)
}

fn connection(raw: &RawClient, base: &Path, m: &mut Mistakes) -> Option<ClientConnection> {
    let word = raw.connection.required("connection = \"https-client-certificate\"", m)?;
    let files = |opt: &Opt<Vec<String>>| -> Vec<PathBuf> {
        opt.get().into_iter().flatten().map(|file| base.join(file)).collect()
    };
    let certificates = files(&raw.certificate_files);
    let connection = match word.as_str() {
        "http" => ClientConnection::Http,
        "https" => ClientConnection::Https,
        "https-client-certificate" => {
            if certificates.is_empty() {
                m.add(
                    &raw.certificate_files.key,
                    "names no file; write certificate-files = [\"certs/mot-cua-so-1.pem\"]",
                );
            }
            return Some(ClientConnection::HttpsClientCertificate(certificates));
        }
        other => {
            m.add(
                &raw.connection.key,
                format!(
                    "{other:?} is not a connection; write \"http\", \"https\" or \"https-client-certificate\""
                ),
            );
            return None;
        }
    };
    if !certificates.is_empty() {
        m.add(
            &raw.certificate_files.key,
            "is for connection = \"https-client-certificate\" only; leave it out",
        );
    }
    Some(connection)
}
