//! A node in memory behind the real API.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_admin::{
    AdminBackend, AdminCode, AdminFault, DirectoryStatus, DirectoryView, MemberView, NodeStatus, Role,
    TokenEntry, TokenTable, serve,
};
use truc_evidence::{
    Direction, ExchangeSummary, LocalPart, Outcome, Query, RecordKind, StoreError, StoredRecord,
};
use truc_model::{Digest, MessageId, Timestamp};
use truc_policy::{Policy, PolicyEvent, ServiceDefinition};
use zeroize::Zeroizing;

pub(crate) const EXCHANGE: &str = "0199aaaa-bbbb-7ccc-8ddd-000000000001";

pub(crate) fn token(role: Role) -> String {
    format!("{}-{}", role.as_str(), "0123456789".repeat(4))
}

pub(crate) struct Node {
    policy: Mutex<Arc<Policy>>,
    journal: Mutex<Vec<(String, String)>>,
    full: AtomicBool,
    document: Mutex<Option<String>>,
    begun: Semaphore,
    gate: Semaphore,
}

impl Node {
    pub(crate) fn decisions(&self) -> Vec<(String, String)> {
        self.journal.lock().unwrap().clone()
    }
}

fn time() -> Timestamp {
    "2026-11-21T03:04:05.678Z".parse().unwrap()
}

fn record() -> StoredRecord {
    let id: MessageId = EXCHANGE.parse().unwrap();
    let local = LocalPart {
        v: 1,
        at: time(),
        role: truc_evidence::Role::Provider,
        direction: Direction::Received,
        request: id,
        client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
        peer: "VN/GOV/H26/ss1".parse().unwrap(),
        directory: Digest::of(b"directory"),
        trust: None,
        officer: None,
        subject: None,
        outcome: None,
        fault: None,
    };
    StoredRecord {
        sequence: 7,
        kind: RecordKind::Request,
        owner: "VN/GOV/G01".parse().unwrap(),
        header: Bytes::from_static(b"{\"v\": 1}"),
        manifest_digest: Digest::of(b"manifest"),
        cms: Bytes::from_static(b"cms"),
        statuses: vec![Digest::of(b"ocsp")],
        local_bytes: Bytes::from(serde_json::to_vec(&local).unwrap()),
        local,
        has_body: true,
    }
}

fn head() -> DirectoryStatus {
    DirectoryStatus {
        epoch: 1,
        version: 3,
        digest: Digest::of(b"head"),
        issued: time(),
        expires: time(),
        freshness: "fresh".into(),
    }
}

#[async_trait]
impl AdminBackend for Node {
    async fn status(&self) -> Result<NodeStatus, AdminFault> {
        Ok(NodeStatus {
            node: "VN/GOV/G01/ss1".parse().unwrap(),
            instance: "VN".into(),
            version: "0".into(),
            pid: 1,
            started: time(),
            uptime_seconds: 60,
            directory: Some(head()),
            hosted: self.policy().hosted().iter().cloned().collect(),
        })
    }

    async fn directory(&self) -> Result<DirectoryView, AdminFault> {
        let member = MemberView {
            id: "VN/GOV/G01".parse().unwrap(),
            name_vi: "Bộ Công an".into(),
            name_en: "Ministry of Public Security".into(),
            status: "active".into(),
            successor: None,
            subsystems: vec![],
            nodes: vec![],
        };
        Ok(DirectoryView { instance: "VN".into(), head: head(), members: vec![member], groups: vec![] })
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.lock().unwrap())
    }

    async fn read_description(&self, _: &ServiceDefinition) -> Result<Bytes, AdminFault> {
        let document = self.document.lock().unwrap().clone();
        document
            .map(Bytes::from)
            .ok_or_else(|| AdminFault::new(AdminCode::DescriptionUnusable, "nobody answers"))
    }

    async fn decide(&self, event: PolicyEvent, actor: &str) -> Result<(), AdminFault> {
        let next = self.policy().apply(&event)?;
        if self.full.load(Ordering::SeqCst) {
            return Err(AdminFault::not_recorded(&StoreError::Full));
        }
        self.begun.add_permits(1);
        drop(self.gate.acquire().await.unwrap());
        self.journal.lock().unwrap().push((event.kind().to_owned(), actor.to_owned()));
        *self.policy.lock().unwrap() = Arc::new(next);
        Ok(())
    }

    async fn evidence_list(&self, query: Query) -> Result<Vec<ExchangeSummary>, AdminFault> {
        let local = record().local;
        if query.client.is_some_and(|client| client != local.client) {
            return Ok(vec![]);
        }
        Ok(vec![ExchangeSummary {
            id: local.request,
            time: local.at,
            role: local.role,
            client: local.client,
            service: local.service,
            outcome: Outcome::Ok,
            fault: None,
            records: vec![7],
        }])
    }

    async fn evidence_show(&self, id: MessageId) -> Result<Vec<StoredRecord>, AdminFault> {
        Ok(if id.to_string() == EXCHANGE { vec![record()] } else { vec![] })
    }

    async fn evidence_body(&self, sequence: u64) -> Result<Option<Bytes>, AdminFault> {
        Ok((sequence == 7).then(|| Bytes::from_static("xin chào".as_bytes())))
    }

    async fn evidence_container(&self, id: MessageId) -> Result<Bytes, AdminFault> {
        if id.to_string() == EXCHANGE {
            Ok(Bytes::from_static(b"PK container"))
        } else {
            Err(AdminFault::new(AdminCode::NotFound, "no such exchange"))
        }
    }
}

/// The node with its API on a port of its own.
pub(crate) struct Running {
    pub(crate) url: String,
    node: Arc<Node>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub(crate) async fn start() -> Running {
    let node = Arc::new(Node {
        policy: Mutex::new(Arc::new(Policy::empty(["VN/GOV/G01/csdl-dancu".parse().unwrap()]))),
        journal: Mutex::default(),
        full: AtomicBool::new(false),
        document: Mutex::default(),
        begun: Semaphore::new(0),
        gate: Semaphore::new(1),
    });
    let entry = |role: &Role| TokenEntry {
        name: format!("ten-{}", role.as_str()),
        role: *role,
        token: Zeroizing::new(token(*role)),
    };
    let tokens = TokenTable::new(Role::ALL.iter().map(entry)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let backend = Arc::clone(&node);
    let task = tokio::spawn(serve(listener, backend, tokens, stop.clone()));
    Running { url, node, stop, task }
}

impl Running {
    pub(crate) fn decisions(&self) -> Vec<(String, String)> {
        self.node.decisions()
    }
    pub(crate) fn publish(&self, document: &str) {
        *self.node.document.lock().unwrap() = Some(document.to_owned());
    }
    pub(crate) fn fill_the_disk(&self) {
        self.node.full.store(true, Ordering::SeqCst);
    }
    pub(crate) fn hold_decisions(&self) {
        self.node.gate.forget_permits(1);
    }
    pub(crate) async fn decision_has_begun(&self) {
        self.node.begun.acquire().await.unwrap().forget();
    }
    pub(crate) fn release_decisions(&self) {
        self.node.gate.add_permits(1);
    }
    pub(crate) async fn stop(self) -> Arc<Node> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.node
    }
}
