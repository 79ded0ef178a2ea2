use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use truc_directory::{Directory, MemberEntry, MemberStatus, Succession, SuccessionStep, V1};
use truc_directory_sync::DirectoryHandle;
use truc_evidence::{Receipt, StoreError};
use truc_model::{ManualClock, ServiceId};
use truc_policy::{Declared, Right, ServiceDefinition};
use truc_testkit::memory_store::MemoryStore;
use truc_testkit::registry::Registry;

use truc_evidence::Decisions;

use super::*;
use crate::config::SuccessionPolicy;
use crate::succession::Successions;

const OWNER: &str = "VN/GOV/G01/csdl-dancu";

fn now() -> Timestamp {
    "2026-11-23T03:00:00.000Z".parse().unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(now()))
}

/// A log that dies at its next append: before anything of it is kept, or right after.
#[derive(Default)]
struct Dying {
    kept: MemoryStore,
    before: AtomicBool,
    after: AtomicBool,
}

#[async_trait]
impl DecisionLog for Dying {
    async fn append(&self, decision: Decision) -> Result<Receipt, StoreError> {
        let dead = || StoreError::Failed("the power is out".to_owned());
        if self.before.load(Ordering::SeqCst) {
            return Err(dead());
        }
        let receipt = self.kept.append(decision).await?;
        if self.after.load(Ordering::SeqCst) { Err(dead()) } else { Ok(receipt) }
    }
    async fn replay(&self) -> Result<Vec<Decision>, StoreError> {
        self.kept.replay().await
    }
    async fn end(&self) -> Result<Option<Decisions>, StoreError> {
        self.kept.end().await
    }
}

async fn desk(log: &Arc<Dying>) -> Arc<Desk> {
    let hosted = vec![OWNER.parse().unwrap()];
    Arc::new(Desk::open(Arc::clone(log) as _, clock(), hosted).await.unwrap())
}

fn service() -> ServiceId {
    format!("{OWNER}/tra-cuu").parse().unwrap()
}

fn right(subject: &str) -> Right {
    let (method, path) = ("GET".parse().unwrap(), "/a/*".parse().unwrap());
    Right::new(subject.parse().unwrap(), service(), method, path)
}

async fn decide(desk: &Desk, event: PolicyEvent) -> Result<Option<PolicyEvent>, AdminFault> {
    desk.decide(Box::new(move |_| Ok(Some(event))), "ops").await
}

/// A misspelt class would keep its bodies for ever, and nobody would know.
#[tokio::test]
async fn a_service_with_a_retention_class_that_nobody_declared_is_refused_and_one_on_the_journal_stays() {
    let log = Arc::default();
    let of = |class: &str| {
        let mut definition = ServiceDefinition::rest(service(), "http://127.0.0.1:9000".parse().unwrap());
        definition.evidence.retention = class.parse().unwrap();
        definition
    };
    let declaring = |classes: &[&str]| {
        let classes: Vec<BodyClass> = classes.iter().map(|class| class.parse().unwrap()).collect();
        let (log, hosted) = (Arc::clone(&log) as Arc<Dying>, vec![OWNER.parse().unwrap()]);
        async move { Desk::open(log as _, clock(), hosted).await.unwrap().declaring(classes) }
    };
    let desk = declaring(&["ngan"]).await;
    let refused = decide(&desk, PolicyEvent::ServiceAdded(of("ngam"))).await.unwrap_err();
    assert_eq!(refused.code, AdminCode::UndeclaredClass);
    assert!(refused.detail.contains("declared are default, ngan"), "{}", refused.detail);
    assert!(desk.policy().load().service(&service()).is_none(), "nothing has changed");
    decide(&desk, PolicyEvent::ServiceAdded(of("ngan"))).await.unwrap();

    // The declaration was taken out of node.toml: the service goes on, and everything else about it can be changed.
    let desk = declaring(&[]).await;
    let slower = ServiceDefinition { timeout: std::time::Duration::from_secs(7), ..of("ngan") };
    decide(&desk, PolicyEvent::ServiceChanged(slower)).await.unwrap();
    let refused = decide(&desk, PolicyEvent::ServiceChanged(of("ngam"))).await.unwrap_err();
    assert_eq!(refused.code, AdminCode::UndeclaredClass);
}

fn text(desk: &Desk) -> String {
    Declared::of(&desk.policy().load(), None).to_toml()
}

const WANTED: &str = r#"format = 1
[[group]]
owner = "VN/GOV/G01/csdl-dancu"
code = "ban"
members = ["MEMBER:VN/GOV/H26"]
[[service]]
id = "VN/GOV/G01/csdl-dancu/tra-cuu"
url = "http://127.0.0.1:9000"
[[service.right]]
to = "LOCALGROUP:ban"
[[service.right]]
to = "MEMBER:VN/GOV/H49"
hours = "mon-fri 07:30-17:00"
"#;

/// All of a text is one entry of the journal: a node killed while it is applied is before it or after it.
#[tokio::test]
async fn a_node_killed_while_a_text_is_applied_is_before_it_or_after_it() {
    for after in [false, true] {
        let log = Arc::new(Dying::default());
        let killed = desk(&log).await;
        let before = text(&killed);
        log.before.store(!after, Ordering::SeqCst);
        log.after.store(after, Ordering::SeqCst);
        let declared = Declared::parse(WANTED, &killed.policy().load(), None).unwrap();
        let wanted = declared.clone();
        let make: Decide = Box::new(move |policy| Ok(wanted.plan(policy, &Default::default()).event()));
        assert!(killed.decide(make, "ops").await.is_err());
        assert_eq!(text(&killed), before, "what is not known to be durable is not in force");
        let again = desk(&log).await;
        assert_eq!(text(&again), if after { declared.to_toml() } else { before });
        assert_eq!(log.kept.replay().await.unwrap().len(), usize::from(after));
    }
}

#[tokio::test]
async fn nothing_to_decide_leaves_no_trace() {
    let log = Arc::new(Dying::default());
    let desk = desk(&log).await;
    assert_eq!(desk.decide(Box::new(|_| Ok(None)), "ops").await.unwrap(), None);
    assert!(log.kept.replay().await.unwrap().is_empty());
}

fn member(id: &str, succession: Option<Succession>) -> MemberEntry {
    MemberEntry {
        v: V1,
        id: id.parse().unwrap(),
        name_vi: id.to_owned(),
        name_en: id.to_owned(),
        valid_from: Timestamp::from_millis(0),
        valid_to: None,
        status: if succession.is_some() { MemberStatus::Closed } else { MemberStatus::Active },
        succession,
        subsystems: vec![truc_directory::SubsystemEntry {
            code: "mot-cua".to_owned(),
            name: "Một cửa".to_owned(),
            disabled: false,
        }],
        sign_certificates: vec![],
        nodes: vec![],
    }
}

fn succession(from: &str, to: &str) -> Option<Succession> {
    let step = |id: &str| format!("{id}/mot-cua").parse().unwrap();
    Some(Succession {
        member: to.parse().unwrap(),
        subsystems: vec![SuccessionStep { from: step(from), to: step(to) }],
        at: now(),
    })
}

/// H02 is closed for H05, and H05 in its turn for H06.
fn merged() -> Arc<Directory> {
    let members = vec![
        member("VN/GOV/H02", succession("VN/GOV/H02", "VN/GOV/H05")),
        member("VN/GOV/H05", succession("VN/GOV/H05", "VN/GOV/H06")),
        member("VN/GOV/H06", None),
    ];
    Registry::new(vec![], members).publish(now())
}

async fn watched(desk: &Arc<Desk>, policy: SuccessionPolicy) {
    let (stop, directory) = (CancellationToken::new(), DirectoryHandle::fixed(merged()));
    // It looks once before it waits for anything.
    stop.cancel();
    Successions { desk: Arc::clone(desk), directory, clock: clock(), policy }.run(stop).await;
}

#[tokio::test]
async fn rights_are_carried_over_by_the_nodes_own_policy() {
    let log = Arc::new(Dying::default());
    let desk = desk(&log).await;
    let url = "http://127.0.0.1:9000".parse().unwrap();
    decide(&desk, PolicyEvent::ServiceAdded(ServiceDefinition::rest(service(), url))).await.unwrap();
    for subject in ["VN/GOV/H02", "VN/GOV/H02/mot-cua", "VN/GOV/H26"] {
        decide(&desk, PolicyEvent::RightGranted(right(subject))).await.unwrap();
    }
    watched(&desk, SuccessionPolicy::Ask).await;
    assert_eq!(desk.policy().load().rights().count(), 3, "the operator is asked");
    watched(&desk, SuccessionPolicy::Automatic).await;
    let rights: Vec<String> = desk.policy().load().rights().map(ToString::to_string).collect();
    assert_eq!(
        rights[3..],
        [
            "MEMBER:VN/GOV/H05 GET /a/* by succession of VN/GOV/H02",
            "SUBSYSTEM:VN/GOV/H05/mot-cua GET /a/* by succession of VN/GOV/H02",
            "MEMBER:VN/GOV/H06 GET /a/* by succession of VN/GOV/H05",
            "SUBSYSTEM:VN/GOV/H06/mot-cua GET /a/* by succession of VN/GOV/H05",
        ]
    );
    let decisions = log.kept.replay().await.unwrap();
    let kinds: Vec<_> = decisions.iter().map(|d| (d.kind.as_str(), d.actor.as_str())).collect();
    assert_eq!(kinds[4..], [("access.succession", "node"), ("access.succession", "node")]);
    // After a restart nothing more is to do, also when one was taken back.
    let taken_back = desk.policy().load().rights().nth(3).cloned().unwrap();
    decide(&desk, PolicyEvent::RightRevoked(taken_back)).await.unwrap();
    let again = super::tests::desk(&log).await;
    assert_eq!(text(&again), text(&desk));
    watched(&again, SuccessionPolicy::Automatic).await;
    assert_eq!(log.kept.replay().await.unwrap().len(), 7);
}
