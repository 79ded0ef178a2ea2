//! Writing a configuration file, for `truc node init` and for the demo.

use std::fmt::Write as _;
use std::path::Path;

use truc_keeping::Threshold;
use truc_model::{MemberId, SubsystemId};

use super::units::{Size, Span};
use super::{ArchiveSettings, ClientConnection, HostedMember, KeepingSettings, NodeConfig};

/// TOML's basic string with its escapes.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// One `[[member]]`.
pub(super) fn member(
    id: &MemberId,
    keys: Option<(&HostedMember, &Path)>,
    subsystems: &[SubsystemId],
) -> String {
    let codes: Vec<String> = subsystems.iter().map(|s| quoted(s.code())).collect();
    let mut text = format!("\n[[member]]\nid = {}\n", quoted(id.as_str()));
    if let Some((member, base)) = keys {
        let _ = writeln!(text, "sign-key = {}", quoted(member.sign_key.as_str()));
        let file = shortened(&member.sign_certificate_file, base);
        let _ =
            writeln!(text, "sign-certificate-file = {}   # sign certificate first, then intermediates", file);
    }
    let _ = writeln!(text, "subsystems = [{}]", codes.join(", "));
    text
}

/// The path as the file at `base` writes it: relative where it lies below.
fn shortened(path: &Path, base: &Path) -> String {
    quoted(&path.strip_prefix(base).unwrap_or(path).to_string_lossy())
}

impl NodeConfig {
    /// The text of a file that says this, to be placed at [`NodeConfig::path`].
    pub fn to_toml(&self) -> String {
        let base = self.path.parent().unwrap_or(Path::new(""));
        let short = |path: &Path| shortened(path, base);
        let mut t = String::from(
            "# A node of Trục; deploy/node.toml explains every key. Paths are relative to this file.\n",
        );
        // Writing into a String does not fail.
        let _ = writeln!(t, "config-version = 1\nnode = {}", quoted(self.node.as_str()));
        let _ = writeln!(t, "data-folder = {}", short(&self.data_folder));
        let _ = writeln!(t, "passphrase-file = {}   # one line, mode 0600", short(&self.passphrase_file));
        let _ = writeln!(t, "anchor-file = {}", short(&self.anchor_file));
        let _ = writeln!(t, "\n[auth]\nkey = {}", quoted(self.auth.key.as_str()));
        let _ = writeln!(
            t,
            "certificate-file = {}   # leaf first, then intermediates",
            short(&self.auth.certificate_file)
        );
        let _ = writeln!(t, "\n[log]\nkey = {}", quoted(self.log_key.as_str()));
        for hosted in &self.members {
            t.push_str(&member(&hosted.id, Some((hosted, base)), &hosted.subsystems));
        }
        let peer = &self.peer;
        let _ = writeln!(
            t,
            "\n[peer]   # other nodes\nlisten = \"{}\"\nmax-exchanges = {}",
            peer.listen, peer.max_exchanges
        );
        let edge = &self.edge;
        let listen = edge.listen.map_or_else(|| "off".to_owned(), |listen| listen.to_string());
        let _ = writeln!(t, "\n[edge]   # the members' information systems\nlisten = \"{listen}\"");
        if let Some(https) = &edge.https {
            let _ = writeln!(t, "https-listen = \"{}\"", https.listen);
            let _ = writeln!(t, "certificate-file = {}", short(&https.certificate_file));
            let _ = writeln!(t, "key-file = {}   # mode 0600", short(&https.key_file));
        }
        let _ = writeln!(t, "max-body = \"{}\"", Size(edge.max_body));
        let _ = writeln!(t, "allow-plain-http-from-network = {}", edge.allow_plain_http_from_network);
        for client in &self.clients {
            let _ = writeln!(t, "\n[[client]]\nsubsystem = {}", quoted(client.subsystem.as_str()));
            let _ = writeln!(t, "connection = \"{}\"", client.connection.as_str());
            if let ClientConnection::HttpsClientCertificate(files) = &client.connection {
                let files: Vec<String> = files.iter().map(|file| short(file)).collect();
                let _ = writeln!(t, "certificate-files = [{}]", files.join(", "));
            }
        }
        let _ = writeln!(t, "\n[admin]   # operators\nlisten = \"{}\"", self.admin.listen);
        let _ = writeln!(t, "allow-network = {}", self.admin.allow_network);
        for token in &self.admin.tokens {
            let _ = writeln!(
                t,
                "\n[[admin.token]]\nname = {}\nrole = \"{}\"",
                quoted(&token.name),
                token.role.as_str()
            );
            if let Some(member) = &token.member {
                let _ = writeln!(t, "member = {}", quoted(member.as_str()));
            }
            let _ = writeln!(t, "token-file = {}", short(&token.token_file));
        }
        if self.provider.ca_file.is_some() || self.provider.identity.is_some() {
            let _ = writeln!(t, "\n[provider]   # services behind this node");
        }
        if let Some(ca) = &self.provider.ca_file {
            let _ = writeln!(t, "ca-file = {}", short(ca));
        }
        if let Some(own) = &self.provider.identity {
            let _ = writeln!(t, "certificate-file = {}", short(&own.certificate_file));
            let _ = writeln!(t, "key-file = {}", short(&own.key_file));
        }
        let trust = &self.trust;
        let _ = writeln!(t, "\n[trust]\nstatus-freshness = \"{}\"", Span(trust.status_freshness));
        let _ = writeln!(t, "status-grace = \"{}\"", Span(trust.status_grace));
        let _ = writeln!(t, "status-fetch-interval = \"{}\"", Span(trust.status_fetch_interval));
        let renewal = &self.renewal;
        let _ = writeln!(t, "\n[renewal]\nautomatic = {}", renewal.automatic);
        let _ = writeln!(t, "overlap = \"{}\"\nsettle = \"{}\"", Span(renewal.overlap), Span(renewal.settle));
        let _ = writeln!(t, "\n[policy]\nsuccession = \"{}\"", self.policy.succession.as_str());
        let kept = &self.evidence;
        let _ = writeln!(t, "\n[evidence]\nconsumer-bodies = \"{}\"", kept.consumer_bodies);
        let _ = writeln!(t, "consumer-retention = \"{}\"", kept.consumer_retention);
        t.push_str(&keeping_text(&kept.keeping, &short));
        let stamping = &self.time_stamping;
        let names: Vec<String> = stamping.authorities.iter().map(|name| quoted(name)).collect();
        let _ = writeln!(t, "\n[time-stamping]\nauthorities = [{}]", names.join(", "));
        let grace = stamping.grace.map_or_else(|| "off".to_owned(), |grace| Span(grace).to_string());
        let _ = writeln!(t, "every = \"{}\"\ngrace = \"{grace}\"", Span(stamping.every));
        if let Some(listen) = self.health.listen {
            let _ = writeln!(t, "\n[health]   # monitoring\nlisten = \"{listen}\"");
        }
        t
    }
}

/// The rest of `[evidence]`, and its tables.
fn keeping_text(keeping: &KeepingSettings, short: &dyn Fn(&Path) -> String) -> String {
    let mut t = String::new();
    let alarm = match keeping.alarm_free {
        Threshold::Percent(percent) => format!("{percent}%"),
        Threshold::Bytes(bytes) => Size(bytes).to_string(),
    };
    let _ = writeln!(t, "alarm-free = \"{alarm}\"\nrefuse-free = \"{}\"", Size(keeping.refuse_free));
    for (class, bodies) in &keeping.retention {
        let _ = writeln!(t, "\n[[evidence.retention]]\nclass = \"{class}\"\nbodies = \"{bodies}\"");
    }
    match &keeping.archive {
        None => {}
        Some(ArchiveSettings::Folder(folder)) => {
            let _ = writeln!(t, "\n[evidence.archive]\nfolder = {}", short(folder));
        }
        Some(ArchiveSettings::S3(s3)) => {
            let _ = writeln!(t, "\n[evidence.archive]\nendpoint = {}", quoted(&s3.endpoint));
            let _ = writeln!(t, "bucket = {}", quoted(&s3.bucket));
            if !s3.prefix.is_empty() {
                let _ = writeln!(t, "prefix = {}", quoted(&s3.prefix));
            }
            let _ = writeln!(t, "region = {}", quoted(&s3.region));
            let _ = writeln!(t, "access-key-file = {}", short(&s3.access_key_file));
            let _ = writeln!(t, "secret-key-file = {}   # mode 0600", short(&s3.secret_key_file));
            if let Some(ca) = &s3.ca_file {
                let _ = writeln!(t, "ca-file = {}", short(ca));
            }
        }
    }
    t
}
