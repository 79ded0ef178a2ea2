//! The bus under attack, its honest callers, and what is looked at around an attack.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::meter::{self, Taken};
use crate::raw::{self, Shown};
use crate::support::{Bus, DESK, ECHO, arg, run, truc, until};

/// Attackers, and honest callers beside them and elsewhere.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long anything may take before a test is taken to hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The processes that are attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The node of the callers: its edge and its admin API.
    Consumer,
    /// The node of the service: its peer door.
    Provider,
    Registry,
    Pki,
}

impl Victim {
    const ALL: [Self; 4] = [Self::Consumer, Self::Provider, Self::Registry, Self::Pki];

    const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "node h26",
            Self::Provider => "node g01",
            Self::Registry => "registry",
            Self::Pki => "pki",
        }
    }
}

pub(crate) struct Ground {
    pub(crate) bus: Bus,
    pub(crate) https: SocketAddr,
    /// A certificate of the consumer's node that the registry knows, and one that it does not know.
    pub(crate) registered: Arc<Shown>,
    pub(crate) stranger: Arc<Shown>,
}

impl Ground {
    async fn start() -> Self {
        meter::raise_file_limit();
        let https = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let bus = Bus::start_prepared(|layout| {
            let node = layout.node("H26").unwrap();
            let folder = layout.node_folder(node).join("edge");
            std::fs::create_dir(&folder).unwrap();
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            std::fs::write(folder.join("edge.pem"), cert.pem()).unwrap();
            let key = folder.join("edge.key");
            std::fs::write(&key, signing_key.serialize_pem()).unwrap();
            private(&key);
            let file = layout.node_config(node);
            let text = std::fs::read_to_string(&file).unwrap();
            let edge = text.lines().find(|line| line.starts_with("[edge]")).unwrap().to_owned();
            let more = format!(
                "[edge]\nhttps-listen = \"{https}\"\ncertificate-file = \"edge/edge.pem\"\nkey-file = \"edge/edge.key\""
            );
            std::fs::write(&file, text.replacen(&edge, &more, 1)).unwrap();
        })
        .await;
        let registered = issue(&bus, "registered", true).await;
        let stranger = issue(&bus, "stranger", false).await;
        Self { bus, https, registered, stranger }
    }

    pub(crate) fn edge(&self) -> SocketAddr {
        (HERE, self.bus.layout.node("H26").unwrap().ports.1).into()
    }
    pub(crate) fn peer(&self) -> SocketAddr {
        (HERE, self.bus.layout.node("G01").unwrap().ports.0).into()
    }
    pub(crate) fn admin(&self) -> SocketAddr {
        (HERE, self.bus.layout.node("H26").unwrap().ports.2).into()
    }
    pub(crate) fn registry(&self) -> SocketAddr {
        (HERE, self.bus.layout.registry.0).into()
    }
    pub(crate) fn registry_admin(&self) -> SocketAddr {
        (HERE, self.bus.layout.registry.1).into()
    }
    pub(crate) fn pki(&self) -> SocketAddr {
        (HERE, self.bus.layout.pki).into()
    }

    async fn pid(&self, victim: Victim) -> u32 {
        let processes = self.bus.processes.lock().await;
        processes.pid(victim.name()).unwrap()
    }

    pub(crate) async fn taken(&self, victim: Victim) -> Taken {
        meter::taken(self.pid(victim).await)
    }

    /// One call over a new connection from this address: its status; `None` when there was no answer.
    pub(crate) async fn call_from(&self, from: Ipv4Addr) -> Option<u16> {
        raw::ask(from, self.edge(), &call("honest", "Connection: close\r\n")).await
    }

    /// An honest call during an attack: it is answered, or hears clearly that it may try again and is answered then.
    pub(crate) async fn honest(&self, from: Ipv4Addr) {
        until("an honest call is answered", || async {
            match self.call_from(from).await {
                Some(200) => true,
                Some(503 | 429) => false,
                other => panic!("an honest call during an attack was told {other:?}"),
            }
        })
        .await;
    }
}

/// A whole call as it goes over the wire.
pub(crate) fn call(path: &str, more: &str) -> String {
    format!("GET /r1/{ECHO}/doc/{path} HTTP/1.1\r\nHost: n\r\nX-Road-Client: {DESK}\r\n{more}\r\n")
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn done(args: &[&str]) {
    let ran = truc(args).await;
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
}

/// A certificate that the bus's own CA made out to the consumer's node, for a key of the attacker's.
async fn issue(bus: &Bus, name: &str, register: bool) -> Arc<Shown> {
    let folder = bus.layout.dir.join("attacker");
    std::fs::create_dir_all(&folder).unwrap();
    let (request, file) = (folder.join(format!("{name}.csr")), folder.join(format!("{name}.pem")));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "VN/GOV/H26/ss1");
    std::fs::write(&request, params.serialize_request(&key).unwrap().pem().unwrap()).unwrap();
    let pki = bus.layout.pki_folder().join("pki.toml");
    let registry = bus.layout.registry_folder().join("registry.toml");
    let (node, organisation) = ("VN/GOV/H26/ss1", "UBND thành phố Hà Nội");
    done(&[
        "pki",
        "issue",
        "auth",
        node,
        "--csr",
        arg(&request),
        "--organization",
        organisation,
        "--out",
        arg(&file),
        "--config",
        arg(&pki),
    ])
    .await;
    if register {
        done(&[
            "registry",
            "certificate",
            "add",
            "auth",
            node,
            "--file",
            arg(&file),
            "--config",
            arg(&registry),
        ])
        .await;
    }
    let chain = CertificateDer::pem_file_iter(&file).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(Shown { chain, key })
}

/// The ground, for one attack at a time.
pub(crate) struct Attack {
    ground: Arc<Ground>,
    name: &'static str,
    before: Vec<(Victim, Taken)>,
    /// Whose open files have been looked at, and must come back.
    victims: std::sync::Mutex<Vec<Victim>>,
    _alone: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Attack {
    type Target = Ground;
    fn deref(&self) -> &Ground {
        &self.ground
    }
}

impl Attack {
    async fn begin(name: &'static str) -> Self {
        static GROUND: OnceCell<Arc<Ground>> = OnceCell::const_new();
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let ground = GROUND.get_or_init(|| async { Arc::new(Ground::start().await) }).await;
        let ground = Arc::clone(ground);
        ground.honest(HERE).await;
        let mut before = Vec::new();
        for victim in Victim::ALL {
            before.push((victim, ground.taken(victim).await));
        }
        Self { ground, name, before, victims: std::sync::Mutex::default(), _alone: alone }
    }

    /// Called while the attack is under way: the victim has taken no more than so many MiB and open files.
    pub(crate) async fn bounded(&self, victim: Victim, memory: u64, files: usize) {
        self.victims.lock().unwrap().push(victim);
        let before = self.before.iter().find(|(one, _)| *one == victim).unwrap().1;
        let now = self.ground.taken(victim).await;
        let more = (now.memory.saturating_sub(before.memory), now.files.saturating_sub(before.files));
        eprintln!(
            "{}: {} took {} MiB (of {memory}) and {} files (of {files}) more: {} MiB, {} files",
            self.name,
            victim.name(),
            more.0,
            more.1,
            now.memory,
            now.files
        );
        assert!(more.0 <= memory, "{}: {} took {} MiB more", self.name, victim.name(), more.0);
        assert!(more.1 <= files, "{}: {} opened {} files more", self.name, victim.name(), more.1);
    }

    /// After the attack: everything is alive, nothing has panicked, open files are given back, honest calls are answered.
    async fn over(self) {
        for (victim, before) in &self.before {
            // Connections that a node keeps for its next calls to a service are no leak.
            let attacked = self.victims.lock().unwrap().contains(victim);
            until("open files are given back", || async {
                !attacked || self.ground.taken(*victim).await.files <= before.files + 16
            })
            .await;
            let log = format!("logs/{}.log", victim.name().replace(' ', "-"));
            let log = std::fs::read_to_string(self.ground.bus.layout.dir.join(log)).unwrap();
            let panicked = log.lines().find(|line| line.contains("panicked at"));
            assert_eq!(panicked, None, "{}: {}", self.name, victim.name());
        }
        assert!(self.ground.bus.processes.lock().await.ended().is_empty());
        self.ground.honest(HERE).await;
        assert_eq!(self.ground.call_from(ELSEWHERE).await, Some(200));
    }
}

/// Runs one attack on the bus that all share, alone.
pub(crate) fn attack<F: AsyncFnOnce(&Attack)>(name: &'static str, attack: F) {
    run(async {
        let ground = Attack::begin(name).await;
        let begun = std::time::Instant::now();
        attack(&ground).await;
        ground.over().await;
        eprintln!("{name}: {:.1} s", begun.elapsed().as_secs_f32());
    });
}
