//! The second tier: from options to typed values, with the rules between them.

mod edge;
mod evidence;
mod keeping;
mod time_stamping;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use truc_admin::Role;
use truc_keys::KeyLabel;
use truc_model::{MemberId, NodeId};
use truc_provider::ClientIdentity;

use edge::{clients, edge};
use evidence::evidence;
use time_stamping::time_stamping;

use super::mistakes::Mistakes;
use super::raw::{Opt, RawConfig, RawMember, RawToken};
use super::units::Span;
use super::{
    AdminSettings, AdminToken, HealthSettings, HostedMember, KeyAndCertificate, NodeConfig, PeerSettings,
    PolicySettings, ProviderSettings, RenewalSettings, SuccessionPolicy, TrustSettings, default_sign_key,
};
use crate::keyring::dashed;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
/// Names that stand in the decision journal for the machine itself.
const RESERVED: [&str; 2] = ["init", "node"];

/// Takes the options for what they mean; `None` when something without which there is no node is missing.
pub(super) fn typed(raw: &RawConfig, path: &Path, m: &mut Mistakes) -> Option<NodeConfig> {
    version(&raw.config_version, m);
    let node: Option<NodeId> = raw.node.identified("node = \"VN/GOV/H26/ss1\"", m);
    let base = path.parent().unwrap_or(Path::new(""));
    let file = |opt: &Opt<String>, default: &str| base.join(opt.get().map_or(default, String::as_str));
    let members = members(&raw.members, base, node.as_ref(), m);
    let auth_key = label(&raw.auth_key, "auth", m);
    let log_key = label(&raw.log_key, "log", m);
    if let (Some(auth), Some(log)) = (&auth_key, &log_key) {
        distinct_keys(auth, log, &members, m);
    }
    let peer = PeerSettings {
        listen: address(&raw.peer_listen, 5500, m),
        max_exchanges: whole(&raw.peer_max_exchanges, 1000, 1..=100_000, m),
    };
    let edge = edge(raw, base, m);
    let clients = clients(raw, base, &members, edge.https.is_some(), m);
    let admin = admin(raw, base, &members, m);
    let trust = trust(raw, m);
    let health_off = raw.health_listen.get().is_none_or(|text| text == "off");
    let health = HealthSettings { listen: (!health_off).then(|| address(&raw.health_listen, 4005, m)) };
    distinct_addresses(
        &[
            (&raw.peer_listen, Some(peer.listen)),
            (&raw.edge_listen, edge.listen),
            (&raw.edge_https_listen, edge.https.as_ref().map(|https| https.listen)),
            (&raw.admin_listen, Some(admin.listen)),
            (&raw.health_listen, health.listen),
        ],
        m,
    );
    Some(NodeConfig {
        path: path.to_owned(),
        node: node?,
        data_folder: file(&raw.data_folder, "data"),
        passphrase_file: file(&raw.passphrase_file, "passphrase"),
        anchor_file: file(&raw.anchor_file, "anchor.json"),
        auth: KeyAndCertificate {
            key: auth_key?,
            certificate_file: file(&raw.auth_certificate_file, "certs/auth.pem"),
        },
        log_key: log_key?,
        members,
        peer,
        edge,
        clients,
        admin,
        provider: provider(raw, base, m),
        trust,
        renewal: RenewalSettings {
            automatic: raw.renewal_automatic.get().copied().unwrap_or(true),
            overlap: span(&raw.renewal_overlap, 24 * HOUR, 1..=30 * 24 * HOUR, m),
            settle: span(&raw.renewal_settle, MINUTE, 0..=24 * HOUR, m),
        },
        policy: policy(raw, m),
        evidence: evidence(raw, base, m),
        time_stamping: time_stamping(raw, m),
        health,
    })
}

fn provider(raw: &RawConfig, base: &Path, m: &mut Mistakes) -> ProviderSettings {
    let file = |opt: &Opt<String>| opt.get().map(|f| base.join(f));
    let identity = match (file(&raw.provider_certificate_file), file(&raw.provider_key_file)) {
        (Some(certificate_file), Some(key_file)) => Some(ClientIdentity { certificate_file, key_file }),
        (None, None) => None,
        _ => {
            m.add(
                "provider.certificate-file",
                "certificate-file and key-file go together: give both or none",
            );
            None
        }
    };
    ProviderSettings { ca_file: file(&raw.provider_ca_file), identity }
}

fn version(opt: &Opt<i64>, m: &mut Mistakes) {
    match opt.required("config-version = 1", m) {
        Some(1) | None => {}
        Some(other) => {
            m.add(&opt.key, format!("is {other}; this program reads version 1, write config-version = 1"))
        }
    }
}

fn label(opt: &Opt<String>, default: &str, m: &mut Mistakes) -> Option<KeyLabel> {
    let text = opt.get().map_or(default, String::as_str);
    KeyLabel::new(text).map_err(|e| m.add(&opt.key, format!("{e}; write key = {default:?}"))).ok()
}

fn address(opt: &Opt<String>, port: u16, m: &mut Mistakes) -> SocketAddr {
    let like = format!("an address with a port, listen = \"127.0.0.1:{port}\" (port 0 takes any free one)");
    opt.parsed(SocketAddr::from(([127, 0, 0, 1], port)), &like, m)
}

fn whole(opt: &Opt<i64>, default: usize, range: RangeInclusive<usize>, m: &mut Mistakes) -> usize {
    let Some(value) = opt.get() else { return default };
    usize::try_from(*value).ok().filter(|v| range.contains(v)).unwrap_or_else(|| {
        m.add(
            &opt.key,
            format!(
                "{value} is out of bounds; write a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        );
        default
    })
}

fn span(opt: &Opt<String>, default: u64, seconds: RangeInclusive<u64>, m: &mut Mistakes) -> Duration {
    let default = Span(Duration::from_secs(default));
    let (low, high) =
        (Span(Duration::from_secs(*seconds.start())), Span(Duration::from_secs(*seconds.end())));
    let like = format!("a number with a unit (ms, s, m, h, d) like \"{default}\"");
    let value = opt.parsed(default, &like, m);
    if value.0 < low.0 || value.0 > high.0 {
        m.add(&opt.key, format!("{value} is out of bounds; write a duration from \"{low}\" to \"{high}\""));
        return default.0;
    }
    value.0
}

fn admin(raw: &RawConfig, base: &Path, members: &[HostedMember], m: &mut Mistakes) -> AdminSettings {
    let listen = address(&raw.admin_listen, 4000, m);
    let allow_network = raw.admin_allow_network.get().copied().unwrap_or(false);
    if !allow_network && !listen.ip().is_loopback() {
        let problem = format!(
            "{listen} can be reached from the network; bind the admin API to a loopback address such as \
             listen = \"127.0.0.1:4000\", or set allow-network = true if that network is closed"
        );
        m.add(&raw.admin_listen.key, problem);
    }
    let tokens: Vec<AdminToken> =
        raw.admin_tokens.iter().filter_map(|t| token(t, base, members, m)).collect();
    let mut names = BTreeSet::new();
    for (raw, token) in raw.admin_tokens.iter().filter(|t| t.name.get().is_some()).zip(&tokens) {
        if !names.insert(&token.name) {
            m.add(&raw.name.key, format!("the name {:?} is used twice; give each token its own", token.name));
        }
    }
    AdminSettings { listen, allow_network, tokens }
}

fn token(raw: &RawToken, base: &Path, members: &[HostedMember], m: &mut Mistakes) -> Option<AdminToken> {
    let name = raw.name.required("name = \"ops\"", m);
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if let Some(name) = name.filter(|n| n.len() > 64 || !n.bytes().all(fit) || RESERVED.contains(&n.as_str()))
    {
        let reserved = RESERVED.join(" and ");
        m.add(
            &raw.name.key,
            format!("{name:?} cannot name a token; write 1 to 64 characters of A-Z a-z 0-9 . _ - @, but not {reserved}"),
        );
    }
    let role = raw.role.required("role = \"administrator\"", m).and_then(|text| {
        let found = Role::ALL.iter().copied().find(|role| role.as_str() == text);
        if found.is_none() {
            let known: Vec<String> =
                Role::ALL.iter().map(|role| format!("role = {:?}", role.as_str())).collect();
            m.add(&raw.role.key, format!("{text:?} is not a role; write {}", known.join(" or ")));
        }
        found
    });
    let file = raw.token_file.required("token-file = \"admin-token\"", m);
    let member = member_of_token(raw, members, m)?;
    Some(AdminToken { name: name?.clone(), role: role?, member, token_file: base.join(file?) })
}

/// The member to which the token is limited. `None` is a mistake: a limit that is not understood must not be none.
fn member_of_token(raw: &RawToken, members: &[HostedMember], m: &mut Mistakes) -> Option<Option<MemberId>> {
    if !raw.member.is_given() {
        return Some(None);
    }
    let member: MemberId = raw.member.identified("member = \"VN/GOV/H26\"", m)?;
    if !members.iter().any(|hosted| hosted.id == member) {
        m.add(&raw.member.key, format!("{member} is not a [[member]] of this node"));
    }
    Some(Some(member))
}

fn policy(raw: &RawConfig, m: &mut Mistakes) -> PolicySettings {
    let all = [SuccessionPolicy::Ask, SuccessionPolicy::Automatic];
    let succession = match raw.policy_succession.get() {
        None => SuccessionPolicy::default(),
        Some(text) => all.into_iter().find(|policy| policy.as_str() == text).unwrap_or_else(|| {
            let like = "write succession = \"ask\" or succession = \"automatic\"";
            m.add(&raw.policy_succession.key, format!("{text:?} is not understood; {like}"));
            SuccessionPolicy::default()
        }),
    };
    PolicySettings { succession }
}

fn trust(raw: &RawConfig, m: &mut Mistakes) -> TrustSettings {
    let settings = TrustSettings {
        status_freshness: span(&raw.status_freshness, HOUR, MINUTE..=24 * HOUR, m),
        status_grace: span(&raw.status_grace, 12 * HOUR, MINUTE..=7 * 24 * HOUR, m),
        status_fetch_interval: span(&raw.status_fetch_interval, 20 * MINUTE, 10..=12 * HOUR, m),
    };
    if settings.status_fetch_interval >= settings.status_freshness {
        m.add(
            &raw.status_fetch_interval.key,
            format!(
                "{} is not shorter than status-freshness ({}), so statuses would go stale between fetches; \
                 write a third of it",
                Span(settings.status_fetch_interval),
                Span(settings.status_freshness)
            ),
        );
    }
    if settings.status_grace < settings.status_freshness {
        let freshness = Span(settings.status_freshness);
        m.add(
            &raw.status_grace.key,
            format!("is shorter than status-freshness ({freshness}); write at least that"),
        );
    }
    settings
}

fn members(raw: &[RawMember], base: &Path, node: Option<&NodeId>, m: &mut Mistakes) -> Vec<HostedMember> {
    if raw.is_empty() {
        m.add("member", "is missing; write at least one [[member]] with an id, like id = \"VN/GOV/H26\"");
    }
    let mut seen = BTreeSet::new();
    let mut all: Vec<HostedMember> = Vec::new();
    for raw in raw {
        let Some(member) = member(raw, base, m) else { continue };
        let same = |other: &&HostedMember| other.id != member.id && dashed(&other.id) == dashed(&member.id);
        if let Some(other) = all.iter().find(same) {
            m.add(
                &raw.id.key,
                format!(
                    "{} and {} cannot be members of one node: the names of their evidence keys would be the same; \
                     host one of them at another node",
                    other.id, member.id
                ),
            );
        }
        if !seen.insert(member.id.clone()) {
            m.add(&raw.id.key, format!("{} stands here twice; keep one [[member]] for it", member.id));
        }
        if let Some(node) = node.filter(|node| node.instance() != member.id.instance()) {
            let (own, other) = (node.instance(), member.id.instance());
            m.add(
                &raw.id.key,
                format!("is of instance {other}, the node is of {own}; a node serves one instance"),
            );
        }
        all.push(member);
    }
    all
}

fn member(raw: &RawMember, base: &Path, m: &mut Mistakes) -> Option<HostedMember> {
    let id: Option<MemberId> = raw.id.identified("id = \"VN/GOV/H26\"", m);
    let mut subsystems = Vec::new();
    let codes = raw.subsystems.get().map(Vec::as_slice).unwrap_or_default();
    // Codes are looked at even when the member's own id is wrong: `VN/GOV/X` stands in for it.
    let stand_in = id.clone().or_else(|| "VN/GOV/X".parse().ok())?;
    for code in codes {
        match stand_in.subsystem(code) {
            Ok(subsystem) if subsystems.contains(&subsystem) => {
                m.add(&raw.subsystems.key, format!("{code:?} is named twice; keep one"));
            }
            Ok(subsystem) => subsystems.push(subsystem),
            Err(e) => m.add(
                &raw.subsystems.key,
                format!(
                    "{code:?} is not a subsystem code: {e}; write only the last part, like \"mot-cua-so-1\""
                ),
            ),
        }
    }
    let id = id?;
    let default = default_sign_key(&id);
    let sign_key = label(&raw.sign_key, &default, m)?;
    let file = raw.sign_certificate_file.get().cloned().unwrap_or_else(|| format!("certs/{default}.pem"));
    Some(HostedMember { id, sign_key, sign_certificate_file: base.join(file), subsystems })
}

/// One key has one use: a member's seal must not be another member's, nor a node's TLS identity.
fn distinct_keys(auth: &KeyLabel, log: &KeyLabel, members: &[HostedMember], m: &mut Mistakes) {
    let mut seen = BTreeSet::from([auth.clone()]);
    if !seen.insert(log.clone()) {
        m.add("log.key", format!("{log} is also auth.key; every use has a key of its own"));
    }
    for member in members {
        if !seen.insert(member.sign_key.clone()) {
            let key = &member.sign_key;
            m.add(
                "member",
                format!(
                    "{}: the sign-key {key} is used elsewhere too; every use has a key of its own",
                    member.id
                ),
            );
        }
    }
}

fn distinct_addresses(listens: &[(&Opt<String>, Option<SocketAddr>)], m: &mut Mistakes) {
    let listens: Vec<_> = listens.iter().filter_map(|(opt, address)| address.map(|a| (opt, a))).collect();
    for (i, (opt, address)) in listens.iter().enumerate() {
        if let Some((other, _)) = listens.iter().take(i).find(|(_, a)| a == address && a.port() != 0) {
            m.add(&opt.key, format!("{address} is also {}; choose another port", other.key));
        }
    }
}
