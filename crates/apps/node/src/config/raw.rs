//! The first tier: from TOML to options that are present or not and of the right TOML type. Unknown keys are mistakes.

use std::str::FromStr;

use toml::{Table, Value};

use super::mistakes::Mistakes;

/// One option with its key, so that a later mistake can name it.
#[derive(Debug)]
pub(super) struct Opt<T> {
    pub(super) key: String,
    value: Found<T>,
}

#[derive(Debug)]
enum Found<T> {
    Absent,
    /// Of the wrong type; that was reported already.
    Wrong,
    Value(T),
}

impl<T> Opt<T> {
    /// The value; when it is absent, the mistake says to write `write`.
    pub(super) fn required(&self, write: &str, mistakes: &mut Mistakes) -> Option<&T> {
        if matches!(self.value, Found::Absent) {
            mistakes.add(&self.key, format!("is missing; write {write}"));
        }
        self.get()
    }
    /// Whether something stands there, understood or not.
    pub(super) const fn is_given(&self) -> bool {
        !matches!(self.value, Found::Absent)
    }
    pub(super) fn get(&self) -> Option<&T> {
        if let Found::Value(value) = &self.value { Some(value) } else { None }
    }
}

impl Opt<String> {
    /// The value as a `U`, or `default` when absent; `like` shows what to write.
    pub(super) fn parsed<U: FromStr>(&self, default: U, like: &str, mistakes: &mut Mistakes) -> U {
        let Some(text) = self.get() else { return default };
        text.parse().unwrap_or_else(|_| {
            mistakes.add(&self.key, format!("{text:?} is not understood; write {like}"));
            default
        })
    }
    /// The value as a `U`, required, with the type's own words about what is wrong with it.
    pub(super) fn identified<U: FromStr<Err: std::fmt::Display>>(
        &self,
        like: &str,
        mistakes: &mut Mistakes,
    ) -> Option<U> {
        let text = self.required(like, mistakes)?;
        text.parse()
            .map_err(|e| mistakes.add(&self.key, format!("{text:?} is not understood: {e}; write {like}")))
            .ok()
    }
}

/// One table of the file.
struct Section {
    path: String,
    table: Table,
}

impl Section {
    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn take<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl Fn(Value) -> Option<T>,
        m: &mut Mistakes,
    ) -> Opt<T> {
        let key = self.key(name);
        let value = match self.table.remove(name) {
            None => Found::Absent,
            Some(value) => match read(value) {
                Some(value) => Found::Value(value),
                None => {
                    m.add(&key, format!("must be {wanted}"));
                    Found::Wrong
                }
            },
        };
        Opt { key, value }
    }

    fn text(&mut self, name: &str, m: &mut Mistakes) -> Opt<String> {
        let read = |v| if let Value::String(text) = v { Some(text).filter(|t| !t.is_empty()) } else { None };
        self.take(name, "a text in quotes that is not empty", read, m)
    }

    /// A text with a number and its unit, like `example`.
    fn with_unit(&mut self, name: &str, example: &str, m: &mut Mistakes) -> Opt<String> {
        let read = |v| if let Value::String(text) = v { Some(text).filter(|t| !t.is_empty()) } else { None };
        self.take(name, &format!("a text with a unit; write {name} = \"{example}\""), read, m)
    }

    fn whole(&mut self, name: &str, m: &mut Mistakes) -> Opt<i64> {
        self.take(name, "a whole number without quotes", |v| v.as_integer(), m)
    }

    fn flag(&mut self, name: &str, m: &mut Mistakes) -> Opt<bool> {
        self.take(name, "true or false without quotes", |v| v.as_bool(), m)
    }

    /// A list of texts, like `example`.
    fn texts(&mut self, name: &str, example: &str, m: &mut Mistakes) -> Opt<Vec<String>> {
        let read = |v: Value| v.as_array()?.iter().map(|t| t.as_str().map(str::to_owned)).collect();
        self.take(name, &format!("a list of texts like {example}"), read, m)
    }

    /// The table `name`; an empty one when it is absent.
    fn section(&mut self, name: &str, m: &mut Mistakes) -> Self {
        let read = |v| if let Value::Table(table) = v { Some(table) } else { None };
        let found = self.take(name, &format!("a table: write [{}]", self.key(name)), read, m);
        let table = found.get().cloned().unwrap_or_default();
        Self { path: found.key, table }
    }

    /// The tables `[[name]]`, numbered from 1.
    fn sections(&mut self, name: &str, m: &mut Mistakes) -> Vec<Self> {
        let wanted = format!("tables: write [[{}]] with two brackets", self.key(name));
        let read = |v: Value| v.as_array()?.iter().map(|t| t.as_table().cloned()).collect::<Option<Vec<_>>>();
        let found = self.take(name, &wanted, read, m);
        let numbered = |(i, table): (usize, &Table)| Self {
            path: format!("{}[{}]", found.key, i + 1),
            table: table.clone(),
        };
        found.get().into_iter().flatten().enumerate().map(numbered).collect()
    }

    /// What was not asked for is not known.
    fn finish(self, known: &[&str], m: &mut Mistakes) {
        for name in self.table.keys() {
            let meant =
                known.iter().copied().filter(|k| near(name, bare(k))).min_by_key(|k| distance(name, bare(k)));
            let meant = meant.map_or_else(String::new, |key| format!("; did you mean {key}?"));
            m.add(&self.key(name), format!("is not a known key here{meant}; known are {}", known.join(", ")));
        }
    }
}

/// A key without the brackets of a section.
fn bare(key: &str) -> &str {
    key.trim_matches(['[', ']'])
}

/// Whether `written` is likely a slip of `key`.
fn near(written: &str, key: &str) -> bool {
    let squeezed = |text: &str| text.to_ascii_lowercase().replace(['_', '-', ' '], "");
    distance(written, key) <= key.len().div_ceil(4).min(3) || squeezed(written) == squeezed(key)
}

/// How many letters have to be put in, left out or changed to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        let mut left = i + 1;
        for ((to, above), corner) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            left = (left + 1).min(above + 1).min(corner + usize::from(from != *to));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct RawConfig {
    pub(super) config_version: Opt<i64>,
    pub(super) node: Opt<String>,
    pub(super) data_folder: Opt<String>,
    pub(super) passphrase_file: Opt<String>,
    pub(super) anchor_file: Opt<String>,
    pub(super) auth_key: Opt<String>,
    pub(super) auth_certificate_file: Opt<String>,
    pub(super) log_key: Opt<String>,
    pub(super) members: Vec<RawMember>,
    pub(super) peer_listen: Opt<String>,
    pub(super) peer_max_exchanges: Opt<i64>,
    pub(super) edge_listen: Opt<String>,
    pub(super) edge_https_listen: Opt<String>,
    pub(super) edge_certificate_file: Opt<String>,
    pub(super) edge_key_file: Opt<String>,
    pub(super) edge_max_body: Opt<String>,
    pub(super) edge_allow_network: Opt<bool>,
    pub(super) clients: Vec<RawClient>,
    pub(super) admin_listen: Opt<String>,
    pub(super) admin_allow_network: Opt<bool>,
    pub(super) admin_tokens: Vec<RawToken>,
    pub(super) provider_ca_file: Opt<String>,
    pub(super) provider_certificate_file: Opt<String>,
    pub(super) provider_key_file: Opt<String>,
    pub(super) health_listen: Opt<String>,
    pub(super) policy_succession: Opt<String>,
    pub(super) consumer_bodies: Opt<String>,
    pub(super) consumer_retention: Opt<String>,
    pub(super) keeping: RawKeeping,
    pub(super) stamping_authorities: Opt<Vec<String>>,
    pub(super) stamping_every: Opt<String>,
    pub(super) stamping_grace: Opt<String>,
    pub(super) status_freshness: Opt<String>,
    pub(super) status_grace: Opt<String>,
    pub(super) status_fetch_interval: Opt<String>,
    pub(super) renewal_automatic: Opt<bool>,
    pub(super) renewal_overlap: Opt<String>,
    pub(super) renewal_settle: Opt<String>,
}

#[derive(Debug)]
pub(super) struct RawMember {
    pub(super) id: Opt<String>,
    pub(super) sign_key: Opt<String>,
    pub(super) sign_certificate_file: Opt<String>,
    pub(super) subsystems: Opt<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct RawClient {
    pub(super) subsystem: Opt<String>,
    pub(super) connection: Opt<String>,
    pub(super) certificate_files: Opt<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct RawToken {
    pub(super) name: Opt<String>,
    pub(super) role: Opt<String>,
    pub(super) member: Opt<String>,
    pub(super) token_file: Opt<String>,
}

impl RawConfig {
    /// Reads the text; `None` when it is not TOML at all.
    pub(super) fn read(text: &str, m: &mut Mistakes) -> Option<Self> {
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(e) => {
                m.add("", format!("this is not TOML: {}", e.to_string().trim_end()));
                return None;
            }
        };
        let mut root = Section { path: String::new(), table };
        let [mut auth, mut log, mut peer, mut edge, mut admin, mut provider, mut trust] =
            ["auth", "log", "peer", "edge", "admin", "provider", "trust"].map(|name| root.section(name, m));
        let mut health = root.section("health", m);
        let mut policy = root.section("policy", m);
        let mut evidence = root.section("evidence", m);
        let mut stamping = root.section("time-stamping", m);
        let keeping = RawKeeping::read(&mut evidence, m);
        let mut renewal = root.section("renewal", m);
        let members = root.sections("member", m).into_iter().map(|s| RawMember::read(s, m)).collect();
        let clients = root.sections("client", m).into_iter().map(|s| RawClient::read(s, m)).collect();
        let admin_tokens = admin.sections("token", m).into_iter().map(|s| RawToken::read(s, m)).collect();
        let raw = Self {
            config_version: root.whole("config-version", m),
            node: root.text("node", m),
            data_folder: root.text("data-folder", m),
            passphrase_file: root.text("passphrase-file", m),
            anchor_file: root.text("anchor-file", m),
            auth_key: auth.text("key", m),
            auth_certificate_file: auth.text("certificate-file", m),
            log_key: log.text("key", m),
            members,
            peer_listen: peer.text("listen", m),
            peer_max_exchanges: peer.whole("max-exchanges", m),
            edge_listen: edge.text("listen", m),
            edge_https_listen: edge.text("https-listen", m),
            edge_certificate_file: edge.text("certificate-file", m),
            edge_key_file: edge.text("key-file", m),
            clients,
            edge_max_body: edge.with_unit("max-body", "16 GiB", m),
            edge_allow_network: edge.flag("allow-plain-http-from-network", m),
            admin_listen: admin.text("listen", m),
            admin_allow_network: admin.flag("allow-network", m),
            admin_tokens,
            provider_ca_file: provider.text("ca-file", m),
            provider_certificate_file: provider.text("certificate-file", m),
            provider_key_file: provider.text("key-file", m),
            health_listen: health.text("listen", m),
            policy_succession: policy.text("succession", m),
            consumer_bodies: evidence.text("consumer-bodies", m),
            consumer_retention: evidence.text("consumer-retention", m),
            keeping,
            stamping_authorities: stamping.texts("authorities", "[\"Trục Pilot TSA\"]", m),
            stamping_every: stamping.with_unit("every", "60s", m),
            stamping_grace: stamping.with_unit("grace", "48h", m),
            status_freshness: trust.with_unit("status-freshness", "1h", m),
            status_grace: trust.with_unit("status-grace", "12h", m),
            status_fetch_interval: trust.with_unit("status-fetch-interval", "20m", m),
            renewal_automatic: renewal.flag("automatic", m),
            renewal_overlap: renewal.with_unit("overlap", "24h", m),
            renewal_settle: renewal.with_unit("settle", "1m", m),
        };
        stamping.finish(&["authorities", "every", "grace"], m);
        renewal.finish(&["automatic", "overlap", "settle"], m);
        root.finish(&ROOT_KEYS, m);
        auth.finish(&["key", "certificate-file"], m);
        log.finish(&["key"], m);
        peer.finish(&["listen", "max-exchanges"], m);
        let edge_keys = [
            "listen",
            "https-listen",
            "certificate-file",
            "key-file",
            "max-body",
            "allow-plain-http-from-network",
        ];
        edge.finish(&edge_keys, m);
        admin.finish(&["listen", "allow-network", "[[token]]"], m);
        provider.finish(&["ca-file", "certificate-file", "key-file"], m);
        health.finish(&["listen"], m);
        policy.finish(&["succession"], m);
        let evidence_keys = [
            "consumer-bodies",
            "consumer-retention",
            "alarm-free",
            "refuse-free",
            "[[retention]]",
            "[archive]",
        ];
        evidence.finish(&evidence_keys, m);
        trust.finish(&["status-freshness", "status-grace", "status-fetch-interval"], m);
        Some(raw)
    }
}

const ROOT_KEYS: [&str; 19] = [
    "config-version",
    "node",
    "data-folder",
    "passphrase-file",
    "anchor-file",
    "[auth]",
    "[log]",
    "[[member]]",
    "[peer]",
    "[edge]",
    "[[client]]",
    "[admin]",
    "[provider]",
    "[trust]",
    "[policy]",
    "[evidence]",
    "[time-stamping]",
    "[health]",
    "[renewal]",
];

/// What `[evidence]` says of keeping.
#[derive(Debug)]
pub(super) struct RawKeeping {
    pub(super) alarm_free: Opt<String>,
    pub(super) refuse_free: Opt<String>,
    pub(super) retention: Vec<RawRetention>,
    pub(super) archive: Option<RawArchive>,
}

#[derive(Debug)]
pub(super) struct RawRetention {
    pub(super) class: Opt<String>,
    pub(super) bodies: Opt<String>,
}

#[derive(Debug)]
pub(super) struct RawArchive {
    pub(super) folder: Opt<String>,
    pub(super) endpoint: Opt<String>,
    pub(super) bucket: Opt<String>,
    pub(super) prefix: Opt<String>,
    pub(super) region: Opt<String>,
    pub(super) access_key_file: Opt<String>,
    pub(super) secret_key_file: Opt<String>,
    pub(super) ca_file: Opt<String>,
}

impl RawKeeping {
    fn read(evidence: &mut Section, m: &mut Mistakes) -> Self {
        let given = evidence.table.contains_key("archive");
        let archive = evidence.section("archive", m);
        let retention = evidence.sections("retention", m);
        Self {
            alarm_free: evidence.text("alarm-free", m),
            refuse_free: evidence.with_unit("refuse-free", "256 MiB", m),
            retention: retention.into_iter().map(|section| RawRetention::read(section, m)).collect(),
            archive: given.then(|| RawArchive::read(archive, m)),
        }
    }
}

impl RawRetention {
    fn read(mut section: Section, m: &mut Mistakes) -> Self {
        let raw = Self { class: section.text("class", m), bodies: section.text("bodies", m) };
        section.finish(&["class", "bodies"], m);
        raw
    }
}

impl RawArchive {
    fn read(mut section: Section, m: &mut Mistakes) -> Self {
        let raw = Self {
            folder: section.text("folder", m),
            endpoint: section.text("endpoint", m),
            bucket: section.text("bucket", m),
            prefix: section.text("prefix", m),
            region: section.text("region", m),
            access_key_file: section.text("access-key-file", m),
            secret_key_file: section.text("secret-key-file", m),
            ca_file: section.text("ca-file", m),
        };
        let bucket = ["bucket", "prefix", "region", "access-key-file", "secret-key-file", "ca-file"];
        section.finish(&[&["folder", "endpoint"], &bucket[..]].concat(), m);
        raw
    }
}

impl RawMember {
    fn read(mut section: Section, m: &mut Mistakes) -> Self {
        let raw = Self {
            id: section.text("id", m),
            sign_key: section.text("sign-key", m),
            sign_certificate_file: section.text("sign-certificate-file", m),
            subsystems: section.texts("subsystems", "[\"mot-cua-so-1\", \"mot-cua-so-2\"]", m),
        };
        section.finish(&["id", "sign-key", "sign-certificate-file", "subsystems"], m);
        raw
    }
}

impl RawClient {
    fn read(mut section: Section, m: &mut Mistakes) -> Self {
        let raw = Self {
            subsystem: section.text("subsystem", m),
            connection: section.text("connection", m),
            certificate_files: section.texts("certificate-files", "[\"certs/mot-cua-so-1.pem\"]", m),
        };
        section.finish(&["subsystem", "connection", "certificate-files"], m);
        raw
    }
}

impl RawToken {
    fn read(mut section: Section, m: &mut Mistakes) -> Self {
        let raw = Self {
            name: section.text("name", m),
            role: section.text("role", m),
            member: section.text("member", m),
            token_file: section.text("token-file", m),
        };
        section.finish(&["name", "role", "member", "token-file"], m);
        raw
    }
}
