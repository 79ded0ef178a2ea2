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
    AdminBackend, AdminCode, AdminFault, Decide, DirectoryStatus, DirectoryView, MemberView, NodeStatus,
    Role, TokenEntry, TokenTable, serve,
};
use truc_directory::Directory;
use truc_evidence::{
    Direction, ExchangeSummary, Found, KeyedHash, LocalPart, Outcome, Query, RecordKind, StoreError,
    StoredRecord,
};
use truc_model::{Digest, MemberId, MessageId, Timestamp};
use truc_policy::{Policy, PolicyEvent, ServiceDefinition};
use zeroize::Zeroizing;

pub(crate) const EXCHANGE: &str = "0199aaaa-bbbb-7ccc-8ddd-000000000001";

/// The exchange of another hosted member, VN/GOV/G10.
pub(crate) const THEIR_EXCHANGE: &str = "0199aaaa-bbbb-7ccc-8ddd-000000000002";

pub(crate) fn token(role: Role) -> String {
    format!("{}-{}", role.as_str(), "0123456789".repeat(4))
}

/// The token of this role that is limited to VN/GOV/G01.
pub(crate) fn limited(role: Role) -> String {
    format!("limited-{}-{}", role.as_str(), "0123456789".repeat(4))
}

pub(crate) struct Node {
    policy: Mutex<Arc<Policy>>,
    journal: Mutex<Vec<(String, String)>>,
    full: AtomicBool,
    document: Mutex<Option<String>>,
    begun: Semaphore,
    gate: Semaphore,
    searches_begun: Semaphore,
    searches: Semaphore,
}

impl Node {
    fn hosts_two(&self) -> bool {
        self.policy().hosted().len() > 1
    }
    pub(crate) fn decisions(&self) -> Vec<(String, String)> {
        self.journal.lock().unwrap().clone()
    }
}

fn time() -> Timestamp {
    "2026-11-21T03:04:05.678Z".parse().unwrap()
}

fn record() -> StoredRecord {
    record_of(EXCHANGE, "VN/GOV/G01", "VN/GOV/G01/csdl-dancu/tra-cuu", 7)
}

fn their_record() -> StoredRecord {
    record_of(THEIR_EXCHANGE, "VN/GOV/G10", "VN/GOV/G10/csdl-datdai/thua-dat", 8)
}

/// The subject of every record.
pub(crate) const SUBJECT: &str = "001099012345";

fn keyed(member: &MemberId, text: &str) -> KeyedHash {
    KeyedHash { key_id: format!("index-{member}"), hash: Digest::of(format!("{member} {text}").as_bytes()) }
}

fn record_of(id: &str, owner: &str, service: &str, sequence: u64) -> StoredRecord {
    let id: MessageId = id.parse().unwrap();
    let local = LocalPart {
        v: 1,
        at: time(),
        role: truc_evidence::Role::Provider,
        direction: Direction::Received,
        request: id,
        client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: service.parse().unwrap(),
        peer: "VN/GOV/H26/ss1".parse().unwrap(),
        directory: Digest::of(b"directory"),
        trust: None,
        officer: None,
        subject: Some(keyed(&owner.parse().unwrap(), SUBJECT)),
        dossier: None,
        outcome: None,
        fault: None,
    };
    StoredRecord {
        sequence,
        kind: RecordKind::Request,
        owner: owner.parse().unwrap(),
        header: Bytes::from_static(b"{\"v\": 1}"),
        manifest_digest: Digest::of(b"manifest"),
        cms: Bytes::from_static(b"cms"),
        statuses: vec![Digest::of(b"ocsp")],
        local_bytes: Bytes::from(serde_json::to_vec(&local).unwrap()),
        local,
        has_body: true,
        body_digest: None,
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

    fn now(&self) -> Timestamp {
        time()
    }

    fn directory_in_force(&self) -> Option<Arc<Directory>> {
        None
    }

    async fn decide(&self, make: Decide, actor: &str) -> Result<Option<PolicyEvent>, AdminFault> {
        let policy = self.policy();
        let Some(event) = make(&policy)? else { return Ok(None) };
        let next = policy.apply(&event)?;
        if self.full.load(Ordering::SeqCst) {
            return Err(AdminFault::not_recorded(&StoreError::Full));
        }
        self.begun.add_permits(1);
        drop(self.gate.acquire().await.unwrap());
        self.journal.lock().unwrap().push((event.kind().to_owned(), actor.to_owned()));
        *self.policy.lock().unwrap() = Arc::new(next);
        Ok(Some(event))
    }

    async fn evidence_list(&self, query: Query) -> Result<Found, AdminFault> {
        self.searches_begun.add_permits(1);
        drop(self.searches.acquire().await.unwrap());
        let summary = |record: StoredRecord| ExchangeSummary {
            id: record.local.request,
            time: record.local.at,
            role: record.local.role,
            client: record.local.client,
            service: record.local.service,
            outcome: Outcome::Ok,
            fault: None,
            records: vec![record.sequence],
        };
        let mut records = if self.hosts_two() { vec![their_record(), record()] } else { vec![record()] };
        records.retain(|record| {
            let one_of =
                |hashes: &Vec<KeyedHash>| record.local.subject.as_ref().is_some_and(|s| hashes.contains(s));
            query.owner.as_ref().is_none_or(|owner| *owner == record.owner)
                && query.client.as_ref().is_none_or(|client| *client == record.local.client)
                && query.subject.as_ref().is_none_or(one_of)
                && query.after.is_none_or(|after| record.sequence < after)
        });
        let next = records.get(query.limit.saturating_sub(1)).map(|record| record.sequence);
        let next = next.filter(|_| records.len() > query.limit);
        let exchanges = records.into_iter().take(query.limit).map(summary).collect();
        Ok(Found { exchanges, next })
    }

    fn person_hashes(&self, text: &str, member: Option<&MemberId>) -> Vec<KeyedHash> {
        let members = ["VN/GOV/G01", "VN/GOV/G10"].map(|id| id.parse::<MemberId>().unwrap());
        let asked = members.iter().filter(|id| member.is_none_or(|member| member == *id));
        asked.map(|member| keyed(member, text)).collect()
    }

    async fn evidence_show(&self, id: MessageId) -> Result<Vec<StoredRecord>, AdminFault> {
        let all = [record(), their_record()].into_iter();
        Ok(all.filter(|record| record.local.request == id).collect())
    }

    async fn evidence_body(&self, sequence: u64) -> Result<Option<Bytes>, AdminFault> {
        Ok((sequence == 7).then(|| Bytes::from_static("xin chào".as_bytes())))
    }

    async fn evidence_container(&self, id: MessageId) -> Result<Bytes, AdminFault> {
        if [EXCHANGE, THEIR_EXCHANGE].contains(&id.to_string().as_str()) {
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
    start_hosting(&["VN/GOV/G01/csdl-dancu"]).await
}

pub(crate) async fn start_hosting(subsystems: &[&str]) -> Running {
    let hosted = subsystems.iter().map(|subsystem| subsystem.parse().unwrap());
    let node = Arc::new(Node {
        policy: Mutex::new(Arc::new(Policy::empty(hosted))),
        journal: Mutex::default(),
        full: AtomicBool::new(false),
        document: Mutex::default(),
        begun: Semaphore::new(0),
        gate: Semaphore::new(1),
        searches_begun: Semaphore::new(0),
        searches: Semaphore::new(1),
    });
    let entry = |role: &Role| TokenEntry {
        name: format!("ten-{}", role.as_str()),
        role: *role,
        member: None,
        token: Zeroizing::new(token(*role)),
    };
    let one_member = |role: &Role| TokenEntry {
        name: format!("g01-{}", role.as_str()),
        role: *role,
        member: Some("VN/GOV/G01".parse().unwrap()),
        token: Zeroizing::new(limited(*role)),
    };
    let tokens =
        TokenTable::new(Role::ALL.iter().map(entry).chain(Role::ALL.iter().map(one_member))).unwrap();
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
    pub(crate) fn hold_searches(&self) {
        self.node.searches.forget_permits(1);
    }
    /// Waits until so many searches have begun since the last time.
    pub(crate) async fn searches_have_begun(&self, number: usize) {
        self.node.searches_begun.acquire_many(number as u32).await.unwrap().forget();
    }
    pub(crate) fn another_search_has_begun(&self) -> bool {
        self.node.searches_begun.available_permits() > 0
    }
    pub(crate) fn release_searches(&self) {
        self.node.searches.add_permits(1);
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
