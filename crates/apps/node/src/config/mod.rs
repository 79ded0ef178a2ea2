//! The node's configuration file (protocol P10.5; `deploy/node.toml` explains every key).
//!
//! Text → raw options → typed values. Every mistake is reported at once. Secrets are only named as files and not read
//! here, except by [`NodeConfig::check`], which looks at their permissions.

mod check;
mod keeping;
mod mistakes;
mod raw;
#[cfg(test)]
mod tests;
mod text;
mod typed;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use truc_admin::Role;
use truc_keys::KeyLabel;
use truc_model::{MemberId, NodeId, SubsystemId};
use truc_policy::{Bodies, BodyClass};

pub(crate) use check::exposed;
pub use keeping::{ArchiveSettings, KeepingSettings};
use mistakes::Mistakes;
pub use mistakes::{ConfigErrors, Mistake};

/// What `node.toml` says. Paths are already relative to the working directory, not to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The file this was read from.
    pub path: PathBuf,
    /// Which node this is.
    pub node: NodeId,
    /// Everything the node keeps (protocol P10.4): `FORMAT keys/ journal/ bodies/ index/ directory/ spool/ tmp/`.
    pub data_folder: PathBuf,
    /// File with the passphrase of the keys, mode 0600.
    pub passphrase_file: PathBuf,
    /// The anchor by which the node first trusts the registry.
    pub anchor_file: PathBuf,
    /// The node's TLS identity.
    pub auth: KeyAndCertificate,
    /// The Ed25519 key of the evidence log's heads.
    pub log_key: KeyLabel,
    /// The members this node speaks for; at least one.
    pub members: Vec<HostedMember>,
    /// The door to other nodes.
    pub peer: PeerSettings,
    /// The door for the members' information systems.
    pub edge: EdgeSettings,
    /// How subsystems must be connected to the edge; the others as [`ClientConnection::Http`].
    pub clients: Vec<ClientSettings>,
    /// The door for operators.
    pub admin: AdminSettings,
    /// Calls to the services behind this node.
    pub provider: ProviderSettings,
    /// Certificate statuses.
    pub trust: TrustSettings,
    /// Renewal of keys.
    pub renewal: RenewalSettings,
    /// What the node decides by itself.
    pub policy: PolicySettings,
    /// What is kept of exchanges.
    pub evidence: EvidenceSettings,
    /// Time-stamps on what is recorded.
    pub time_stamping: TimeStampingSettings,
    /// Health and metrics.
    pub health: HealthSettings,
}

/// A key of the key store and the certificate for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAndCertificate {
    /// The key's name in `DATA-FOLDER/keys`.
    pub key: KeyLabel,
    /// PEM: the leaf first, then intermediates.
    pub certificate_file: PathBuf,
}

/// A member hosted by this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedMember {
    /// Which member.
    pub id: MemberId,
    /// Its own sign key.
    pub sign_key: KeyLabel,
    /// PEM: the sign certificate first, then intermediates.
    pub sign_certificate_file: PathBuf,
    /// Its subsystems that may call or be called through this node.
    pub subsystems: Vec<SubsystemId>,
}

/// `[peer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where other nodes connect.
    pub listen: SocketAddr,
    /// Exchanges of other nodes under way at once; one more is answered BUSY.
    pub max_exchanges: usize,
}

/// `[edge]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSettings {
    /// Where information systems call over plain HTTP; `None` when that is off.
    pub listen: Option<SocketAddr>,
    /// Where they call over HTTPS, if they can.
    pub https: Option<HttpsSettings>,
    /// Longest request body, bytes.
    pub max_body: u64,
    /// Whether plain HTTP may be offered beyond this machine.
    pub allow_plain_http_from_network: bool,
}

/// `[edge]`, its HTTPS part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsSettings {
    /// Where information systems call.
    pub listen: SocketAddr,
    /// PEM: the certificate by which they know this node, then intermediates.
    pub certificate_file: PathBuf,
    /// PEM: its private key, mode 0600.
    pub key_file: PathBuf,
}

/// `[[client]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Which subsystem of a hosted member.
    pub subsystem: SubsystemId,
    /// How its information system must be connected.
    pub connection: ClientConnection,
}

/// X-Road's connection types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientConnection {
    /// Plain HTTP or HTTPS.
    Http,
    /// HTTPS.
    Https,
    /// HTTPS with one of the certificates in these PEM files.
    HttpsClientCertificate(Vec<PathBuf>),
}

impl ClientConnection {
    /// The word in the file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::HttpsClientCertificate(_) => "https-client-certificate",
        }
    }
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where the admin API answers.
    pub listen: SocketAddr,
    /// Whether it may be offered beyond this machine.
    pub allow_network: bool,
    /// Who may use it.
    pub tokens: Vec<AdminToken>,
}

/// `[[admin.token]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// What the audit log calls its holder.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// The hosted member to whose affairs it is limited; none for the whole node.
    pub member: Option<MemberId>,
    /// File with the token, one line, mode 0600.
    pub token_file: PathBuf,
}

/// `[provider]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// PEM of the CAs that https services are trusted by.
    pub ca_file: Option<PathBuf>,
    /// What the node shows to services that ask for a client certificate: `certificate-file` and `key-file`.
    pub identity: Option<truc_provider::ClientIdentity>,
}

/// `[trust]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustSettings {
    /// A carried status counts so long from its `thisUpdate` (protocol P3.5).
    pub status_freshness: Duration,
    /// A status past freshness counts so long from its `thisUpdate`, if our own query failed.
    pub status_grace: Duration,
    /// How often the node fetches the status of its own certificates.
    pub status_fetch_interval: Duration,
}

/// `[time-stamping]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStampingSettings {
    /// The directory's time-stamp authorities that are asked, by name, in this order; all of them in the directory's when it
    /// is empty.
    pub authorities: Vec<String>,
    /// Between two batches.
    pub every: Duration,
    /// How old a record without a time-stamp may become before new exchanges are refused; `None` for ever.
    pub grace: Option<Duration>,
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// Where `/healthz` and `/metrics` answer besides the admin listener, if anywhere.
    pub listen: Option<SocketAddr>,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// What happens when a closed member has a successor (protocol P6.4).
    pub succession: SuccessionPolicy,
}

/// `[evidence]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceSettings {
    /// What the consumer's half keeps of bodies; of its services the provider's half keeps what they say.
    pub consumer_bodies: Bodies,
    /// How long it keeps them.
    pub consumer_retention: BodyClass,
    /// Archive, retention and space.
    pub keeping: KeepingSettings,
}

/// Who gives a successor the rights of the closed member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SuccessionPolicy {
    /// The operator, who is told.
    #[default]
    Ask,
    /// The node, as soon as the directory says so.
    Automatic,
}

impl SuccessionPolicy {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Automatic => "automatic",
        }
    }
}

/// `[renewal]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalSettings {
    /// Whether the node renews its keys by itself before their certificates end.
    pub automatic: bool,
    /// How long the old certificates stay registered after the switch.
    pub overlap: Duration,
    /// How long the new certificates are listed before the node uses them, so that other nodes have them too.
    pub settle: Duration,
}

/// Reads a duration as configuration files write it: `250ms`, `90s`, `10m`, `1h`, `3d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    text.parse::<units::Span>().ok().map(|span| span.0)
}

/// Reads a size as configuration files write it, in bytes: `512 KiB`, `16 MiB`, `1 GiB`, `1500 B`.
pub fn parse_size(text: &str) -> Option<u64> {
    text.parse::<units::Size>().ok().map(|size| size.0)
}

/// Writes a size as configuration files do, so that [`parse_size`] reads it back.
pub fn show_size(bytes: u64) -> String {
    units::Size(bytes).to_string()
}

/// What a member's sign key is called when the file does not say: `sign-VN-GOV-H26`.
pub fn default_sign_key(member: &MemberId) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("sign-{}", member.as_str().chars().map(safe).take(90).collect::<String>())
}

impl NodeConfig {
    /// Reads the file. Blocks on the disk.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every mistake. The files it names are not looked at: that is [`NodeConfig::check`].
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(e) => {
                let mut mistakes = Mistakes::default();
                mistakes.add("", format!("the file cannot be read: {e}; give its path with --config"));
                mistakes.into_result(path, None)
            }
        }
    }

    /// Reads `text` as the content of the file at `path`.
    ///
    /// # Errors
    /// As [`NodeConfig::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let mut mistakes = Mistakes::default();
        let config =
            raw::RawConfig::read(text, &mut mistakes).and_then(|r| typed::typed(&r, path, &mut mistakes));
        mistakes.into_result(path, config)
    }

    /// A configuration with everything but the names left as it is by default, for a file at `path`.
    ///
    /// # Errors
    /// As [`NodeConfig::load`]: the names break the file's rules, e.g. there is no member.
    pub fn draft(
        path: &Path,
        node: &NodeId,
        members: &[(MemberId, Vec<SubsystemId>)],
    ) -> Result<Self, ConfigErrors> {
        let mut text = format!("config-version = 1\nnode = \"{node}\"\n");
        for (id, subsystems) in members {
            text.push_str(&text::member(id, None, subsystems));
        }
        Self::parse(&text, path)
    }

    /// The folder of keys and at-rest secrets.
    pub fn key_folder(&self) -> PathBuf {
        self.data_folder.join("keys")
    }

    /// The hosted member, if it is one.
    pub fn member(&self, id: &MemberId) -> Option<&HostedMember> {
        self.members.iter().find(|m| &m.id == id)
    }
}
