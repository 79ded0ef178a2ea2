//! The container: good ones verify, spoiled ones do not, and a stranger's tools agree.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "a skipped test says so aloud")]

#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use support::{Entry, Plan, Scene, Stamping, by_hand, entries, installed, sent, unpack, zipped};
use truc_directory::Anchor;
use truc_evidence::container::{self, CheckName, ContainerError, ExportError, Report, State, Verdict};
use truc_evidence::{LocalPart, Outcome, RecordKind, Role};
use truc_model::{Digest, MessageId};
use truc_trust::Verdict as Standing;

async fn export(scene: &Scene) -> Vec<u8> {
    scene.export().await
}

async fn made(plan: Plan) -> (Vec<u8>, Anchor) {
    let scene = plan.play().await;
    (export(&scene).await, scene.anchor)
}

async fn judged(plan: Plan) -> Report {
    let (bytes, anchor) = made(plan).await;
    container::verify(&bytes, &anchor).unwrap()
}

fn states(report: &Report, name: CheckName) -> Vec<State> {
    report.checks.iter().filter(|c| c.name == name).map(|c| c.state).collect()
}

fn only_failed(report: &Report) -> Vec<CheckName> {
    report.failed().map(|c| c.name).collect()
}

#[tokio::test]
async fn a_good_exchange_holds_at_both_ends() {
    for role in [Role::Consumer, Role::Provider] {
        for intermediate in [false, true] {
            let report = judged(Plan { role, intermediate, ..Plan::default() }).await;
            assert_eq!(report.verdict, Verdict::Holds, "{report}");
            let provider = if role == Role::Provider { State::Ok } else { State::NotShown };
            assert_eq!(states(&report, CheckName::ProviderLeaf), [provider]);
            assert_eq!(states(&report, CheckName::Timestamp), [State::NotShown]);
            assert_eq!(states(&report, CheckName::Status), [State::Ok, State::Ok]);
            assert_eq!(states(&report, CheckName::Registered), [State::Ok, State::Ok]);
        }
    }
}

#[tokio::test]
async fn members_hang_on_the_head_through_their_index_parts() {
    let indexed = Plan { indexed: true, ..Plan::default() };
    let report = judged(indexed.clone()).await;
    assert_eq!(report.verdict, Verdict::Holds, "{report}");
    assert_eq!(states(&report, CheckName::Node), [State::Ok, State::Ok]);
    assert_eq!(states(&report, CheckName::Registered), [State::Ok, State::Ok]);
    let (bytes, _) = made(indexed.clone()).await;
    let files = entries(&bytes);
    assert_eq!(files.iter().filter(|(name, _)| name.contains("/index-")).count(), 2);
    // Whose index part was not stored is not shown, and not claimed to be absent.
    let hosted = judged(Plan { hosted: true, ..indexed.clone() }).await;
    assert!(states(&hosted, CheckName::Node).contains(&State::NotShown), "{hosted}");
    assert_eq!(hosted.verdict, Verdict::Holds, "{hosted}");
    let unregistered = judged(Plan { registered: false, ..indexed }).await;
    assert_eq!(only_failed(&unregistered), [CheckName::Registered], "{unregistered}");
}

#[tokio::test]
async fn the_report_is_told_in_both_languages_and_in_json() {
    let report = judged(Plan::default()).await;
    let text = report.to_string();
    for said in [
        "HỒ SƠ BẰNG CHỨNG HỢP LỆ / THE EVIDENCE HOLDS",
        "things that it does not show: ",
        "giờ Việt Nam",
        "cb-0042",
        "POST /cong-dan?chiTiet=1",
        "Đăng ký khai sinh",
        "NOT SHOWN",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let summary = report.summary.unwrap();
    assert_eq!((summary.status, summary.outcome.as_str()), (Some(200), "ok"));
}

#[tokio::test]
async fn the_same_exchange_gives_the_same_bytes() {
    let scene = Plan::default().play().await;
    assert_eq!(export(&scene).await, export(&scene).await);
}

/// Strict readers of ASiC sort files by such words, whatever else the name says.
#[tokio::test]
async fn names_do_not_mislead_readers_of_asic() {
    let (bytes, _) = made(Plan { intermediate: true, second_head: true, ..Plan::default() }).await;
    assert_eq!(&bytes[30..38], b"mimetype");
    assert_eq!(&bytes[26..30], [8, 0, 0, 0], "no extra field");
    for (name, _) in entries(&bytes) {
        let real = name.contains("/ASiCManifest-") || name.contains("/signature-");
        let word = ["signature", "timestamp", "evidencerecord", "manifest"]
            .iter()
            .find(|w| name.to_lowercase().contains(*w));
        assert!(real || word.is_none(), "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_world_is_named() {
    let revoked = |at| Plan { verdict: Standing::Revoked { at }, ..Plan::default() };
    let hours = |h: u64| Duration::from_secs(3600 * h);
    let cases = [
        (Plan { anchor_seed: 9, ..Plan::default() }, vec![CheckName::Directory; 2]),
        (Plan { registered: false, ..Plan::default() }, vec![CheckName::Registered]),
        (Plan { other_name: true, ..Plan::default() }, vec![CheckName::Registered]),
        (revoked(sent().minus(hours(1))), vec![CheckName::Status]),
        (Plan { verdict: Standing::Unknown, ..Plan::default() }, vec![CheckName::Status]),
        (Plan { status_age: hours(13), ..Plan::default() }, vec![CheckName::Status]),
        (Plan { answers: Some(Digest::of(b"another request")), ..Plan::default() }, vec![CheckName::Answer]),
        (Plan { head_issued: sent().minus(hours(73)), ..Plan::default() }, vec![CheckName::Directory; 2]),
        (Plan { head_issued: sent().plus(hours(1)), ..Plan::default() }, vec![CheckName::Directory; 2]),
    ];
    for (plan, expected) in cases {
        let report = judged(plan).await;
        assert_eq!(only_failed(&report), expected, "{report}");
        assert_eq!(report.verdict, Verdict::Fails);
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_said() {
    let hours = |h: u64| Duration::from_secs(3600 * h);
    let revoked_later = Plan { verdict: Standing::Revoked { at: sent().plus(hours(1)) }, ..Plan::default() };
    let cases = [
        (Plan { hosted: true, ..Plan::default() }, CheckName::Node, Verdict::Holds),
        (Plan { digest_only: true, ..Plan::default() }, CheckName::Body, Verdict::Holds),
        (Plan { unsigned: true, ..Plan::default() }, CheckName::Fault, Verdict::Holds),
        (Plan { no_status: true, ..Plan::default() }, CheckName::Status, Verdict::Incomplete),
        (revoked_later, CheckName::Status, Verdict::Incomplete),
    ];
    for (plan, name, verdict) in cases {
        let report = judged(plan).await;
        assert!(states(&report, name).contains(&State::NotShown), "{report}");
        assert_eq!(report.verdict, verdict, "{report}");
    }
    let both = judged(Plan { both: true, digest_only: true, ..Plan::default() }).await;
    assert_eq!(both.verdict, Verdict::Holds, "{both}");
    assert_eq!(states(&both, CheckName::Record), [State::Ok; 4]);
    assert_eq!(states(&both, CheckName::ProviderLeaf), [State::Ok; 2]);
    assert_eq!(states(&both, CheckName::Body), [State::Ok; 2], "one of the two records holds the body");
    let graced = judged(Plan { status_age: hours(11), ..Plan::default() }).await;
    assert!(graced.to_string().contains("by grace"), "{graced}");
    let two_heads = judged(Plan { second_head: true, ..Plan::default() }).await;
    assert_eq!(two_heads.verdict, Verdict::Holds, "{two_heads}");
}

const NO_RIGHT: &[u8] = br#"{"code":"NO_RIGHT","detail":"d","vi":"v","en":"e"}"#;

fn refused(body: &'static [u8], noted: fn(RecordKind, &mut LocalPart)) -> Plan {
    Plan { refusal: Some(body), noted, ..Plan::default() }
}

fn end(report: &Report) -> (Outcome, Option<&str>) {
    let summary = report.summary.as_ref().unwrap();
    (summary.outcome, summary.fault.as_deref())
}

fn note(local: &mut LocalPart, outcome: Outcome, fault: Option<&str>) {
    local.outcome = Some(outcome);
    local.fault = fault.map(Into::into);
}

#[tokio::test]
async fn the_end_is_told_by_what_is_signed() {
    const UNKNOWN: &[u8] = br#"{"code":"OUTCOME_UNKNOWN","detail":"d","vi":"v","en":"e"}"#;
    const LATER: &[u8] = br#"{"code":"OF_A_LATER_VERSION","detail":"d","vi":"v","en":"e"}"#;
    let honest = refused(NO_RIGHT, |kind, local| {
        if kind == RecordKind::Refusal {
            note(local, Outcome::Refused, Some("NO_RIGHT"));
        }
    });
    let digest_only = Plan { digest_only: true, ..honest.clone() };
    let later = refused(LATER, |kind, local| {
        if kind == RecordKind::Refusal {
            note(local, Outcome::Failed, Some("INTERNAL"));
        }
    });
    let cases = [
        (Plan::default(), Outcome::Ok, None),
        (honest, Outcome::Refused, Some("NO_RIGHT")),
        (digest_only, Outcome::Unknown, None),
        (refused(UNKNOWN, |_, _| {}), Outcome::Unknown, Some("OUTCOME_UNKNOWN")),
        (refused(b"[1]", |_, _| {}), Outcome::Failed, Some("INTERNAL")),
        (later, Outcome::Unknown, Some("OF_A_LATER_VERSION")),
        (Plan { unsigned: true, ..Plan::default() }, Outcome::Unknown, None),
    ];
    for (plan, outcome, fault) in cases {
        let report = judged(plan).await;
        assert_eq!(report.verdict, Verdict::Holds, "{report}");
        assert_eq!(end(&report), (outcome, fault), "{report}");
    }
    let unsigned = judged(Plan { unsigned: true, ..Plan::default() }).await;
    let told = unsigned.checks.iter().find(|c| c.name == CheckName::Fault).unwrap();
    assert!(told.detail.starts_with("UNAVAILABLE (failed)"), "{}", told.detail);
    let spoiled = judged(Plan { answers: Some(Digest::of(b"another request")), ..Plan::default() }).await;
    assert_eq!((spoiled.verdict, end(&spoiled)), (Verdict::Fails, (Outcome::Unknown, None)), "{spoiled}");
}

/// A body that is not in the container was compared by nobody, and an end that is not in it is no OUTCOME_UNKNOWN.
#[tokio::test]
async fn what_is_not_here_is_not_claimed() {
    let (bytes, anchor) = made(Plan { digest_only: true, ..Plan::default() }).await;
    let report = container::verify(&bytes, &anchor).unwrap();
    let manifests: Vec<_> = report.checks.iter().filter(|c| c.name == CheckName::Manifest).collect();
    let claims = |c: &&&truc_evidence::container::Check| c.what.en.contains("was not compared");
    assert_eq!(
        manifests.iter().filter(claims).count(),
        states(&report, CheckName::Body).len() - count_ok(&report)
    );
    let text = report.to_string();
    let head = text.split("\n\n").next().unwrap();
    assert!(head.contains("THE EVIDENCE HOLDS") && head.contains("was not compared"), "{text}");
    let readme = entries(&bytes).into_iter().find(|(name, _)| name.ends_with("README.txt")).unwrap().1;
    let readme = String::from_utf8(readme).unwrap();
    let stated =
        report.checks.iter().find(|c| c.name == CheckName::Body && c.state == State::NotShown).unwrap();
    let digest = stated.detail.rsplit(' ').next().unwrap();
    assert!(
        readme.contains(&format!("#   {digest}\n")) && readme.contains("openssl dgst -sha256 -r TỆP/FILE"),
        "{readme}"
    );
    assert!(
        !readme.contains("no longer holds") && readme.contains("it is not here, only its digest"),
        "{readme}"
    );

    let open = judged(Plan { unsigned: true, ..Plan::default() }).await.to_string();
    assert!(open.contains("outcome: không có trong hồ sơ này / not in this container"), "{open}");
    let whole = judged(Plan::default()).await.to_string();
    assert!(whole.contains("outcome: ok") && !whole.contains("was not compared"), "{whole}");
}

fn count_ok(report: &Report) -> usize {
    states(report, CheckName::Body).iter().filter(|state| **state == State::Ok).count()
}

/// Nobody signs a record's local part, and its leaf can be computed anew: it may not say otherwise than the answer.
#[tokio::test]
async fn a_forged_end_is_noticed() {
    let cases: [(Plan, Outcome); 7] = [
        (Plan { noted: |_, l| note(l, Outcome::Failed, Some("TIMEOUT")), ..Plan::default() }, Outcome::Ok),
        (
            Plan {
                noted: |kind, l| {
                    if kind == RecordKind::Response {
                        note(l, Outcome::Refused, Some("NO_RIGHT"));
                    }
                },
                ..Plan::default()
            },
            Outcome::Ok,
        ),
        (
            Plan {
                noted: |kind, l| {
                    if kind == RecordKind::Request {
                        note(l, Outcome::Ok, None);
                    }
                },
                ..Plan::default()
            },
            Outcome::Ok,
        ),
        (refused(NO_RIGHT, |_, l| note(l, Outcome::Ok, None)), Outcome::Refused),
        (refused(NO_RIGHT, |_, l| l.fault = Some("TIMEOUT".into())), Outcome::Refused),
        (refused(NO_RIGHT, |_, l| l.outcome = Some(Outcome::Unknown)), Outcome::Refused),
        (
            Plan { digest_only: true, ..refused(NO_RIGHT, |_, l| note(l, Outcome::Ok, None)) },
            Outcome::Unknown,
        ),
    ];
    for (plan, outcome) in cases {
        let report = judged(plan).await;
        assert_eq!(report.verdict, Verdict::Fails, "{report}");
        assert!(only_failed(&report).iter().all(|name| *name == CheckName::Record), "{report}");
        assert_eq!(end(&report).0, outcome, "{report}");
    }
}

#[tokio::test]
async fn a_local_part_has_one_form() {
    let spellings: [fn(&str) -> String; 3] = [
        |text| text.replacen('{', "{ ", 1),
        |text| text.replacen("\"v\":1", "\"v\":1,\"fault\":null", 1),
        |text| {
            let object: serde_json::Value = serde_json::from_str(text).unwrap();
            serde_json::Value::from_iter(object.as_object().unwrap().values().cloned()).to_string()
        },
    ];
    for spell in spellings {
        let scene = Plan::default().play().await;
        scene.store.respell(0, spell);
        let (bytes, anchor) = (export(&scene).await, scene.anchor);
        let report = container::verify(&bytes, &anchor).unwrap();
        assert_eq!(only_failed(&report), [CheckName::Record], "{report}");
    }
}

/// When a record was made is its node's own word: put late, it lets nothing later vouch for the time of sending.
#[tokio::test]
async fn a_forged_time_of_recording_widens_nothing() {
    let hours = |h: u64| Duration::from_secs(3600 * h);
    fn late(_: RecordKind, local: &mut LocalPart) {
        local.at = sent().plus(Duration::from_secs(3600 * 24 * 365));
    }
    let later_head = Plan { head_issued: sent().plus(hours(1)), noted: late, ..Plan::default() };
    let report = judged(later_head).await;
    assert_eq!(states(&report, CheckName::Directory), [State::NotShown; 2], "{report}");
    assert_eq!(report.verdict, Verdict::Incomplete, "{report}");
    for verdict in [Standing::Good, Standing::Unknown] {
        let later = Plan { status_later: Some(hours(2)), noted: late, verdict, ..Plan::default() };
        let report = judged(later).await;
        assert_eq!(states(&report, CheckName::Status), [State::NotShown, State::Ok], "{report}");
        assert_eq!(report.verdict, Verdict::Incomplete, "{report}");
    }
    let report = judged(Plan { noted: late, ..Plan::default() }).await;
    assert_eq!(report.verdict, Verdict::Holds, "{report}");
}

#[tokio::test]
async fn a_store_with_gaps_gives_no_container() {
    let scene = Plan::default().play().await;
    let other = MessageId::new(sent(), [1; 10]);
    assert_eq!(container::collect(&scene.store, other).await.unwrap_err(), ExportError::NotFound(other));
    let head = scene.store.records()[0].local.directory;
    scene.store.forget(head);
    let missing = container::collect(&scene.store, scene.id).await.unwrap_err();
    assert_eq!(missing, ExportError::Missing { what: "the directory head", digest: head });
}

// ---- what someone may do to the file afterwards ----

fn not_believed(entries: &[Entry], anchor: &Anchor, what: &str) {
    if let Ok(report) = container::verify(&zipped(entries), anchor) {
        assert_eq!(report.verdict, Verdict::Fails, "{what}\n{report}");
    }
}

#[tokio::test]
async fn whatever_is_changed_afterwards_is_noticed() {
    let (bytes, anchor) = made(Plan::default()).await;
    let good = entries(&bytes);
    assert_eq!(container::verify(&zipped(&good), &anchor).unwrap().verdict, Verdict::Holds);
    for at in 0..good.len() {
        let name = &good[at].0;
        let length = good[at].1.len();
        for place in [0, 1, length / 3, length / 2, 2 * length / 3, length - 2, length - 1] {
            let mut other = good.clone();
            other[at].1[place] ^= 1;
            not_believed(&other, &anchor, &format!("byte {place} of {name} flipped"));
        }
        let mut other = good.clone();
        other[at].1.push(b'\n');
        not_believed(&other, &anchor, &format!("{name} made longer"));
        let mut other = good.clone();
        other[at].1.pop();
        not_believed(&other, &anchor, &format!("{name} made shorter"));
        let mut other = good.clone();
        other.remove(at);
        not_believed(&other, &anchor, &format!("{name} dropped"));
        let mut other = good.clone();
        other[at].0.push('x');
        not_believed(&other, &anchor, &format!("{name} renamed"));
        let mut other = good.clone();
        other.push(good[at].clone());
        not_believed(&other, &anchor, &format!("{name} doubled"));
        for with in at + 1..good.len() {
            let mut other = good.clone();
            other[at].1 = good[with].1.clone();
            other[with].1 = good[at].1.clone();
            not_believed(&other, &anchor, &format!("{name} swapped with {}", good[with].0));
        }
    }
    for stray in [
        "a.txt",
        "META-INF/x.xml",
        "META-INF/certs/x.pem",
        "META-INF/notes/more.txt",
        "META-INF/signature-2.p7s",
    ] {
        let mut other = good.clone();
        other.push((stray.into(), b"x".to_vec()));
        let error = container::verify(&zipped(&other), &anchor).unwrap_err();
        assert_eq!(error, ContainerError::Unexpected(stray.into()));
    }
    for hostile in ["/etc/passwd", "../x", "a/../b", "a\\b", "META-INF//x", "C:x", ""] {
        let mut other = good.clone();
        other.push((hostile.into(), b"x".to_vec()));
        let error = container::verify(&zipped(&other), &anchor).unwrap_err();
        assert_eq!(error, ContainerError::Unexpected(hostile.into()));
    }
    let mut other = good.clone();
    other.push(("META-INF/evidencerecord-1.ers".into(), b"x".to_vec()));
    assert!(matches!(container::verify(&zipped(&other), &anchor), Err(ContainerError::Newer(_))));
    let mut other = good.clone();
    other.swap(0, 1);
    assert!(container::verify(&zipped(&other), &anchor).is_err(), "mimetype comes first");
    let upper = good[1].0.to_uppercase();
    let mut other = good;
    other.push((upper, b"x".to_vec()));
    assert!(container::verify(&zipped(&other), &anchor).is_err(), "one file on some disks");
}

/// A careful forger keeps the notes in step with what is removed: then the report must say what is missing.
#[tokio::test]
async fn what_is_removed_with_care_is_not_shown() {
    let (bytes, anchor) = made(Plan::default()).await;
    let mut files = entries(&bytes);
    let dropped: Vec<String> =
        files.iter().map(|(n, _)| n.clone()).filter(|n| n.starts_with("META-INF/directory/")).collect();
    files.retain(|(n, _)| !dropped.contains(n));
    let notes = files.iter_mut().find(|(n, _)| n.ends_with("records.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&notes.1).unwrap();
    json["files"].as_array_mut().unwrap().retain(|f| !dropped.iter().any(|d| f["name"] == d.as_str()));
    let text = String::from_utf8(notes.1.clone()).unwrap();
    let kept: Vec<&serde_json::Value> = json["files"].as_array().unwrap().iter().collect();
    let start = text.find("  \"files\": [").unwrap();
    let listed: Vec<String> = kept
        .iter()
        .map(|f| format!("    {{\n      \"name\": {},\n      \"sha256\": {}\n    }}", f["name"], f["sha256"]))
        .collect();
    notes.1 = format!("{}  \"files\": [\n{}\n  ]\n}}\n", &text[..start], listed.join(",\n")).into_bytes();
    let report = container::verify(&zipped(&files), &anchor).unwrap();
    assert_eq!(states(&report, CheckName::Directory), [State::NotShown; 2]);
    assert_eq!(
        states(&report, CheckName::Notes),
        [State::Failed],
        "the by-hand steps are no longer those of the files"
    );
}

#[tokio::test]
async fn bombs_are_refused() {
    let (bytes, anchor) = made(Plan::default()).await;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let packed = stored.compression_method(zip::CompressionMethod::Deflated);
    for (index, (name, content)) in entries(&bytes).into_iter().enumerate() {
        writer.start_file(name.as_str(), if index == 0 { stored } else { packed }).unwrap();
        std::io::Write::write_all(&mut writer, &content).unwrap();
    }
    let repacked = writer.finish().unwrap().into_inner();
    assert_eq!(
        container::verify(&repacked, &anchor).unwrap().verdict,
        Verdict::Holds,
        "deflated by another tool"
    );

    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("mimetype", stored).unwrap();
    std::io::Write::write_all(&mut writer, b"application/vnd.etsi.asic-e+zip").unwrap();
    writer.start_file("META-INF/notes/records.json", packed).unwrap();
    std::io::Write::write_all(&mut writer, &vec![b' '; 40 << 20]).unwrap();
    let bomb = writer.finish().unwrap().into_inner();
    assert!(matches!(container::verify(&bomb, &anchor), Err(ContainerError::TooLarge(_))));

    let many: Vec<Entry> =
        std::iter::once(("mimetype".to_owned(), b"application/vnd.etsi.asic-e+zip".to_vec()))
            .chain((0..2000).map(|n| (format!("f{n}"), vec![])))
            .collect();
    assert!(matches!(container::verify(&zipped(&many), &anchor), Err(ContainerError::TooLarge(_))));
}

#[test]
fn mutated_bytes_never_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (bytes, anchor) = runtime.block_on(made(Plan::default()));
    let files = entries(&bytes);
    proptest!(ProptestConfig::with_cases(400), |(
        raw in any::<bool>(),
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        replacement in prop::collection::vec(any::<u8>(), 0..9),
        cut in 0usize..9,
    )| {
        let splice = |target: &mut Vec<u8>| {
            let start = at.index(target.len());
            let end = (start + cut).min(target.len());
            target.splice(start..end, replacement.iter().copied());
        };
        let spoiled = if raw {
            let mut spoiled = bytes.clone();
            splice(&mut spoiled);
            spoiled
        } else {
            let mut spoiled = files.clone();
            let chosen = file.index(spoiled.len());
            splice(&mut spoiled[chosen].1);
            if spoiled[chosen].1 != files[chosen].1 {
                not_believed(&spoiled, &anchor, &spoiled[chosen].0);
            }
            zipped(&spoiled)
        };
        let _ = container::verify(&spoiled, &anchor);
    });
}

// ---- a container of each version must verify for ever ----

/// Each was written once, by the version it is of, and has an anchor of its own.
#[tokio::test]
async fn the_golden_containers_of_every_version_verify() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    if std::env::var_os("TRUC_WRITE_GOLDEN").is_some() {
        let plan = Plan { stamping: Some(Stamping::default()), intermediate: true, ..Plan::default() };
        let scene = plan.play().await;
        std::fs::write(folder.join("container-v3.asice"), export(&scene).await).unwrap();
        std::fs::write(folder.join("anchor-v3.json"), scene.anchor.to_json()).unwrap();
    }
    for (version, anchor) in [("v1", "anchor"), ("v2", "anchor-v2"), ("v3", "anchor-v3")] {
        let container = format!("container-{version}");
        let read = |name: String| std::fs::read(folder.join(name)).unwrap();
        let anchor = Anchor::parse(&read(format!("{anchor}.json"))).unwrap();
        let report = container::verify(&read(format!("{container}.asice")), &anchor).unwrap();
        assert_eq!(report.verdict, Verdict::Holds, "{container}: {report}");
    }
}

// ---- by hand ----

#[tokio::test]
async fn a_stranger_with_openssl_comes_to_the_same_result() {
    if !installed("openssl", "version") || !installed("unzip", "-v") || !installed("cmp", "--version") {
        return;
    }
    for plan in [
        Plan::default(),
        Plan { intermediate: true, role: Role::Provider, ..Plan::default() },
        Plan { digest_only: true, ..Plan::default() },
        Plan { unsigned: true, ..Plan::default() },
        Plan { indexed: true, ..Plan::default() },
    ] {
        let scene = plan.play().await;
        let signed = if plan.unsigned { 1 } else { 2 };
        let (dir, unpacked) = unpack(&scene, &export(&scene).await);
        let run = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).current_dir(dir.path()).output().unwrap();
            assert!(out.status.success(), "{args:?}");
        };
        let (good, said) = by_hand(&unpacked);
        assert!(good, "{said}");
        let away = dir.path().join("away.asice");
        std::fs::rename(dir.path().join("container.asice"), &away).unwrap();
        let (good, told) = by_hand(&unpacked);
        assert!(!good && told.contains("not found: ../container.asice"), "{told}");
        std::fs::rename(&away, dir.path().join("container.asice")).unwrap();
        assert_eq!(said.matches("CAdES Verification successful").count(), signed, "{said}");
        // Every certificate here has expired: openssl says that the answer is old, and between that "good".
        assert_eq!(said.lines().filter(|l| *l == "good" || l.ends_with(": good")).count(), signed, "{said}");
        assert_eq!(
            said.matches("Signature Verified Successfully").count(),
            3,
            "head, root and trust part: {said}"
        );
        assert_eq!(said.matches("Response verify OK").count(), signed, "{said}");

        // Another body, or another CA, and the same steps say no.
        let request = std::fs::read_dir(&unpacked).unwrap().map(|e| e.unwrap().path());
        let body = request.map(|p| p.join("body.bin")).find(|p| p.exists()).unwrap();
        let before = std::fs::read(&body).unwrap();
        std::fs::write(&body, b"{}").unwrap();
        assert!(!by_hand(&unpacked).0, "a changed body");
        std::fs::write(&body, before).unwrap();
        assert!(by_hand(&unpacked).0);
        let other = Plan::default().play().await;
        std::fs::write(dir.path().join("ca.der"), other.ca.der()).unwrap();
        run("openssl", &["x509", "-inform", "DER", "-in", "ca.der", "-out", "ca.pem"]);
        assert!(!by_hand(&unpacked).0, "another CA");
    }
}
