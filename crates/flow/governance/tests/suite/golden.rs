//! The journal format of every decision. A line, once released, must be readable for ever; a change here breaks
//! registries in use. `TRUC_BLESS=1` writes the file anew.

use std::path::{Path, PathBuf};

use truc_directory::{GroupMember, SuccessionStep};
use truc_evidence::Decision;
use truc_governance::{Command, Event, NewSuccession};
use truc_model::MemberId;

use crate::office::{Office, ROOT, certificate, signed_by};

#[tokio::test]
async fn decisions_have_not_moved() {
    let mut office = Office::furnished().await;
    let state = office.governance.state().unwrap().clone();
    let (h26, g01): (MemberId, MemberId) = ("VN/GOV/H26".parse().unwrap(), "VN/GOV/G01".parse().unwrap());
    let (own, other) = (h26.subsystem("he-thong").unwrap(), g01.subsystem("he-thong").unwrap());
    let node = h26.node("ss1").unwrap();
    let mut root = state.root().clone();
    root.version = 2;
    let mut trust = state.trust_services().clone();
    trust.version = 2;
    let member = GroupMember::Subsystem(other.clone());
    let successor = NewSuccession {
        member: h26.clone(),
        subsystems: vec![SuccessionStep { from: other.clone(), to: own }],
    };
    for command in [
        Command::InstallRoot { root: signed_by(&[ROOT], root.to_bytes()).await, trust: None },
        Command::InstallTrustServices { trust: signed_by(&[ROOT], trust.to_bytes()).await },
        Command::RenameMember { id: h26.clone(), name_vi: "Hà Nội".into(), name_en: "Hanoi".into() },
        Command::MoveNode { node: node.clone(), address: "ss1.hanoi.gov.vn:5500".into() },
        Command::Serve { node: node.clone(), subsystem: other.clone() },
        Command::StopServing { node, subsystem: other },
        Command::RevokeCertificate { fingerprint: certificate("VN/GOV/H26").fingerprint() },
        Command::CreateGroup { code: "mot-cua".into(), name: "Một cửa".into() },
        Command::AddToGroup { code: "mot-cua".into(), member: member.clone() },
        Command::RemoveFromGroup { code: "mot-cua".into(), member },
        Command::AddAlias { alias: "000.00.00.H26".into(), member: h26 },
        Command::CloseMember { id: g01, successor: Some(successor) },
    ] {
        office.run(command).await.unwrap();
    }
    let mut office = office.reopened().await;
    office.publish().await;

    // As the first version wrote them: still read, and understood as the same.
    let first = std::fs::read_to_string(folder().join("decisions.jsonl")).unwrap();
    first.lines().for_each(reads_back);
    compare("decisions-2.jsonl", &office);
}

#[tokio::test]
async fn decisions_about_requests_have_not_moved() {
    let office = crate::requests::a_long_day().await;
    compare("decisions-requests.jsonl", &office);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn compare(name: &str, office: &Office) {
    let decisions = office.log.decisions.lock().unwrap().clone();
    let lines: String =
        decisions.iter().map(|d| format!("{}\n", serde_json::to_string(d).unwrap())).collect();
    let path = folder().join(name);
    if std::env::var_os("TRUC_BLESS").is_some() {
        std::fs::write(&path, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(golden, lines);
    golden.lines().for_each(reads_back);
}

fn reads_back(line: &str) {
    let decision: Decision = serde_json::from_str(line).unwrap();
    let event = Event::from_decision(&decision).unwrap();
    assert_eq!(event.to_decision(&decision.actor, decision.at).unwrap(), decision);
}
