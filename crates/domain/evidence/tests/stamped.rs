//! Containers of exchanges that were stamped: they verify, by `truc verify`, by hand with openssl after every certificate has
//! expired, and by other people's verifiers.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Plan, Stamping, by_hand, installed, sent, unpack};
use truc_evidence::Role;
use truc_evidence::container::{self, CheckName, Report, State, Verdict};
use truc_trust::Verdict as Standing;

fn stamped() -> Plan {
    Plan { stamping: Some(Stamping::default()), ..Plan::default() }
}

fn with(stamping: Stamping) -> Plan {
    Plan { stamping: Some(stamping), ..Plan::default() }
}

async fn judged(plan: Plan) -> Report {
    let scene = plan.play().await;
    container::verify(&scene.export().await, &scene.anchor).unwrap()
}

fn states(report: &Report, name: CheckName) -> Vec<State> {
    report.checks.iter().filter(|c| c.name == name).map(|c| c.state).collect()
}

#[tokio::test]
async fn a_stamped_exchange_holds_and_shows_its_time() {
    for plan in [
        stamped(),
        Plan { role: Role::Provider, intermediate: true, ..stamped() },
        Plan { digest_only: true, indexed: true, second_head: true, ..stamped() },
        with(Stamping { under_ca: true, neighbours: 0, ..Stamping::default() }),
        Plan { list: true, ..stamped() },
    ] {
        let report = judged(plan).await;
        assert_eq!(report.verdict, Verdict::Holds, "{report}");
        for name in [CheckName::Timestamp, CheckName::Authority, CheckName::EvidenceRecord, CheckName::Log] {
            assert_eq!(states(&report, name), [State::Ok; 2], "{report}");
        }
        // The answer's signer has no later status in this scene.
        assert_eq!(states(&report, CheckName::StatusAfter), [State::Ok, State::NotShown], "{report}");
        assert_eq!(states(&report, CheckName::Status), [State::Ok; 2], "{report}");
    }
    // In this scene one journal plays two nodes, whose log it is of one only.
    let both = judged(Plan { both: true, ..stamped() }).await;
    assert_eq!(states(&both, CheckName::EvidenceRecord), [State::Ok; 4], "{both}");
}

/// A request that was sent while OCSP was away carries no status: the one issued after its token shows that the certificate was
/// good, as far as it says so itself.
#[tokio::test]
async fn a_later_status_stands_in_for_one_that_the_record_lacks() {
    let after =
        |after: Option<Standing>| Plan { no_status: true, ..with(Stamping { after, ..Stamping::default() }) };
    let gen_time = Stamping::default().gen_time();
    let hour = Duration::from_secs(3600);
    let revoked = |at| after(Some(Standing::Revoked { at }));
    // Half of what is asked later than the certificate's end of 2022-01-01.
    let at_its_end =
        Stamping { later: Duration::from_secs(((40 * 24 + 20) * 60 + 50) * 60 + 55), ..Stamping::default() };
    let beside = |verdict, stamping| Plan {
        status_later: Some(2 * hour),
        verdict,
        stamping: Some(stamping),
        ..Plan::default()
    };
    let (ok, failed, not_shown) = (State::Ok, State::Failed, State::NotShown);
    for (what, plan, status, later, verdict) in [
        ("good after the token", after(Some(Standing::Good)), ok, ok, Verdict::Holds),
        ("nothing after it", after(None), not_shown, not_shown, Verdict::Incomplete),
        ("revoked before the sending", revoked(sent().minus(hour)), not_shown, failed, Verdict::Fails),
        ("revoked before the token", revoked(sent().plus(hour / 120)), not_shown, failed, Verdict::Fails),
        ("revoked or held since", revoked(gen_time.plus(hour / 12)), not_shown, ok, Verdict::Incomplete),
        ("not known any more", after(Some(Standing::Unknown)), not_shown, failed, Verdict::Fails),
        (
            "asked after it ended",
            Plan { no_status: true, ..with(at_its_end) },
            not_shown,
            ok,
            Verdict::Incomplete,
        ),
        // A status of a later time is one about the signer: nothing stands in for it, whatever it says.
        ("good later", beside(Standing::Good, Stamping::default()), not_shown, ok, Verdict::Incomplete),
        (
            "revoked says the record",
            beside(Standing::Revoked { at: sent() }, Stamping::default()),
            not_shown,
            ok,
            Verdict::Incomplete,
        ),
    ] {
        let report = judged(plan).await;
        let first = |name| states(&report, name)[0];
        assert_eq!(
            (first(CheckName::Status), first(CheckName::StatusAfter)),
            (status, later),
            "{what}: {report}"
        );
        assert_eq!(report.verdict, verdict, "{what}: {report}");
        let told = report.to_string().contains("the record carries none; good (OCSP), as of");
        assert_eq!(told, status == State::Ok, "{what}: {report}");
    }
    let spoilt = Stamping { other_root: true, ..Stamping::default() };
    let report = judged(Plan { no_status: true, ..with(spoilt) }).await;
    assert_eq!(
        states(&report, CheckName::Status)[0],
        State::NotShown,
        "no token, no word of later: {report}"
    );
}

// ---- by hand ----

/// Every certificate of these scenes ended in 2021 or with it: what holds here holds long after.
#[tokio::test]
async fn the_note_of_a_stamped_container_is_followed_to_its_end() {
    if !installed("openssl", "version") || !installed("unzip", "-v") || !installed("cmp", "--version") {
        return;
    }
    for (plan, tokens) in [
        (stamped(), 2),
        (Plan { role: Role::Provider, intermediate: true, ..stamped() }, 2),
        (
            Plan {
                role: Role::Provider,
                both: true,
                ..with(Stamping { under_ca: true, ..Stamping::default() })
            },
            4,
        ),
        (with(Stamping { neighbours: 0, only: 1, ..Stamping::default() }), 1),
        (with(Stamping { neighbours: 200, ..Stamping::default() }), 2),
        (Plan { unsigned: true, list: true, ..stamped() }, 1),
        (Plan { no_status: true, ..stamped() }, 2),
    ] {
        let scene = plan.play().await;
        let (dir, unpacked) = unpack(&scene, &scene.export().await);
        let (good, said) = by_hand(&unpacked);
        assert!(good, "{said}");
        assert_eq!(said.matches("Verification: OK").count(), tokens, "{said}");
        let time = "Time stamp: Nov 21 03:05:15 2021 GMT";
        assert_eq!(said.matches(time).count(), tokens, "{said}");
        // Head, root and trust part of the directory, and the head of the log.
        assert_eq!(said.matches("Signature Verified Successfully").count(), 4, "{said}");
        let good = said.lines().filter(|l| *l == "good" || l.ends_with(": good")).count();
        let lists = said.matches("META-INF/certs/").count();
        assert!(good >= tokens.min(2) || lists > 0, "{said}");

        if plan.role == Role::Provider {
            continue;
        }
        let evidence = std::fs::read_dir(unpacked.join("META-INF")).unwrap().map(|e| e.unwrap().path());
        let ers = evidence.into_iter().find(|p| p.extension().is_some_and(|e| e == "ers")).unwrap();
        spoiled(&unpacked, &ers, "a changed evidence record");
        let other = Plan { stamping: plan.stamping.clone(), ..Plan::default() }.play().await;
        let pem = truc_trust::pem("CERTIFICATE", other.tsa.unwrap().der());
        std::fs::write(dir.path().join("tsa.pem"), pem).unwrap();
        assert!(!by_hand(&unpacked).0, "another time-stamp authority");
    }
}

/// The steps find a flipped bit in the middle of the file even when the list of digests is not asked.
fn spoiled(unpacked: &Path, file: &Path, what: &str) {
    let before = std::fs::read(file).unwrap();
    let note = unpacked.join("META-INF/notes/README.txt");
    let steps = std::fs::read_to_string(&note).unwrap();
    let start = steps.find("\n# 2. ").unwrap();
    let end = start + 1 + steps[start + 1..].find("\n# ").unwrap();
    std::fs::write(&note, format!("{}{}", &steps[..start], &steps[end..])).unwrap();
    for place in [before.len() / 6, before.len() - 9] {
        let mut after = before.clone();
        after[place] ^= 1;
        std::fs::write(file, after).unwrap();
        let (good, said) = by_hand(unpacked);
        assert!(!good, "{what}, byte {place}: {said}");
    }
    std::fs::write(file, before).unwrap();
    std::fs::write(&note, steps).unwrap();
    assert!(by_hand(unpacked).0);
}

// ---- other people's verifiers ----

/// `python3 -m venv target/verifiers && target/verifiers/bin/pip install -r` of the requirements beside the script; `.ci/run`
/// does it.
fn independent() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/verifiers/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "{} is required", python.display());
    eprintln!("SKIPPED: other people's verifiers are not installed in target/verifiers");
    None
}

#[tokio::test]
async fn verifiers_of_others_agree() {
    let Some(python) = independent() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent/verify.py");
    let run = |dir: &Path| {
        let out = Command::new(&python)
            .arg(&script)
            .args(["container.asice", "ca.pem", "tsa.pem"])
            .current_dir(dir)
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.success(), said)
    };
    let chain = |scene: &support::Scene| {
        let mut chain = vec![scene.tsa.clone().unwrap()];
        chain.extend(scene.tsa_ca.clone().filter(|ca| *ca != chain[0]));
        chain.iter().map(|c| truc_trust::pem("CERTIFICATE", c.der())).collect::<String>()
    };
    for plan in [
        stamped(),
        Plan { role: Role::Provider, intermediate: true, digest_only: true, ..stamped() },
        with(Stamping { under_ca: true, neighbours: 100, ..Stamping::default() }),
    ] {
        let scene = plan.play().await;
        let (dir, _) = unpack(&scene, &scene.export().await);
        std::fs::write(dir.path().join("tsa.pem"), chain(&scene)).unwrap();
        let (good, said) = run(dir.path());
        assert!(good, "{said}");
        assert_eq!(said.matches("META-INF/signature-").count(), 2, "{said}");
        assert_eq!(said.matches("2021-11-21T03:05:15").count(), 2, "{said}");
        let other = Plan { stamping: plan.stamping.clone(), ..Plan::default() }.play().await;
        let ca = truc_trust::pem("CERTIFICATE", other.ca.der());
        for (name, pem) in [("ca.pem", ca), ("tsa.pem", chain(&other))] {
            let before = std::fs::read(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name), pem).unwrap();
            assert!(!run(dir.path()).0, "another {name}");
            std::fs::write(dir.path().join(name), before).unwrap();
        }
    }
    for spoilt in [
        Stamping { other_root: true, ..Stamping::default() },
        Stamping { other_authority: true, ..Stamping::default() },
    ] {
        let scene = with(spoilt).play().await;
        let (dir, _) = unpack(&scene, &scene.export().await);
        std::fs::write(dir.path().join("tsa.pem"), chain(&scene)).unwrap();
        let (good, said) = run(dir.path());
        assert!(!good && said.contains("META-INF/signature-response"), "{said}");
    }
}

/// It was written from `docs/evidence.md` and `docs/protocol.md` alone, and judges directory, evidence record and log as well.
#[tokio::test]
async fn a_verifier_written_from_the_pages_alone_agrees() {
    let Some(python) = independent() else { return };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../../../tests/independent/verify_container.py");
    let run = |container: &Path, anchor: &Path| {
        let out = Command::new(&python).arg(&script).args([container, anchor]).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        (out.status.success(), said)
    };
    let golden = here.join("tests/golden");
    for (container, anchor, stamped) in [
        ("container-v1.asice", "anchor.json", 0),
        ("container-v2.asice", "anchor-v2.json", 0),
        ("container-v3.asice", "anchor-v3.json", 2),
    ] {
        let (good, said) = run(&golden.join(container), &golden.join(anchor));
        assert!(good, "{container}: {said}");
        assert_eq!(said.matches("no younger than 2021-11-21 03:05:15").count(), stamped, "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let files = ["container.asice", "anchor.json"].map(|name| dir.path().join(name));
    let revoked = |at| Some(Standing::Revoked { at });
    let (before, since) =
        (revoked(sent()), revoked(Stamping::default().gen_time().plus(Duration::from_secs(300))));
    for (stamping, holds) in [
        (Stamping { neighbours: 100, ..Stamping::default() }, true),
        (Stamping { other_root: true, ..Stamping::default() }, false),
        (Stamping { other_authority: true, ..Stamping::default() }, false),
        (Stamping { other_key: true, ..Stamping::default() }, false),
        (Stamping { other_node: true, ..Stamping::default() }, false),
        (Stamping { other_log: true, ..Stamping::default() }, false),
        (Stamping { after: None, ..Stamping::default() }, true),
        (Stamping { after: since, ..Stamping::default() }, true),
        (Stamping { after: before, ..Stamping::default() }, false),
    ] {
        let own = holds && stamping.after == Some(Standing::Good);
        for no_status in [false, true] {
            let scene = Plan { indexed: true, no_status, ..with(stamping.clone()) }.play().await;
            std::fs::write(&files[0], scene.export().await).unwrap();
            std::fs::write(&files[1], scene.anchor.to_json()).unwrap();
            let (good, said) = run(&files[0], &files[1]);
            assert_eq!(good, if no_status { own } else { holds }, "{said}");
        }
        std::fs::write(&files[1], Plan { anchor_seed: 9, ..Plan::default() }.play().await.anchor.to_json())
            .unwrap();
        assert!(!run(&files[0], &files[1]).0, "another anchor");
    }
}
