use serde_json::json;
use truc_directory::MemberStatus;

use super::*;
use crate::code_lists::{CodeStatus, Confidence};

fn registered(members: &[(&str, MemberStatus)], aliases: &[(&str, &str)]) -> Registered {
    let member = |(code, status): &(&str, MemberStatus)| {
        json!({ "v": 1, "id": format!("MEMBER:VN/GOV/{code}"), "nameVi": format!("Tên {code}"), "nameEn": code,
            "validFrom": "2026-01-01T00:00:00.000Z", "status": status, "subsystems": [], "signCertificates": [], "nodes": [] })
    };
    let alias =
        |(alias, code): &(&str, &str)| json!({ "alias": alias, "member": format!("MEMBER:VN/GOV/{code}") });
    Registered::read(&json!({
        "head": { "instance": "VN" },
        "members": members.iter().map(member).collect::<Vec<_>>(),
        "aliases": aliases.iter().map(alias).collect::<Vec<_>>(),
    }))
    .unwrap()
}

fn list(rows: &str) -> Vec<CodeEntry> {
    read_entries(format!("code,name_vi,name_en,status,successor,confidence\n{rows}").as_bytes()).unwrap()
}

fn plan(rows: &str, registered: &Registered, unconfirmed: bool) -> (Vec<String>, Vec<String>) {
    let options = LoadOptions { class: "GOV".into(), unconfirmed };
    let plan = plan_codes(&list(rows), registered, &options).unwrap();
    let step = |step: &Step| match step {
        Step::AddMember(s) => format!("add {}", s.id),
        Step::AddAlias(s) => format!("alias {} {}", s.alias, s.member),
        Step::CloseMember(s) => format!("close {} {}", s.id, s.successor.as_deref().unwrap_or("-")),
    };
    let notes = plan.rows.iter().flat_map(|r| r.notes.iter().map(move |n| format!("{}: {n}", r.entry.code)));
    (plan.steps.iter().map(step).collect(), notes.collect())
}

#[test]
fn the_built_in_list_is_sound_and_known_by_its_confidence() {
    let codes = agency_codes().unwrap();
    assert_eq!(codes.len(), 94);
    let none = registered(&[], &[]);
    let options = |unconfirmed| LoadOptions { class: "GOV".into(), unconfirmed };
    let all = plan_codes(&codes, &none, &options(true)).unwrap();
    assert!(all.rows.iter().all(|row| row.notes.is_empty()));
    let adds = |plan: &LoadPlan| plan.steps.iter().filter(|s| matches!(s, Step::AddMember(_))).count();
    assert_eq!(adds(&all), 94);
    let sure = plan_codes(&codes, &none, &options(false)).unwrap();
    let confirmed = codes.iter().filter(|c| c.confidence == Confidence::Confirmed).count();
    // Hậu Giang is sure, and its successor is not.
    assert_eq!(adds(&sure), confirmed - 1);
    let waiting = sure.rows.iter().find(|row| row.entry.code == "H30").unwrap();
    assert!(waiting.notes[0].contains("H13"), "{:?}", waiting.notes);
    // 34 provinces are left, and each that is closed has a successor among them.
    let open = |c: &&CodeEntry| c.code.starts_with('H') && c.status == CodeStatus::Active;
    assert_eq!(codes.iter().filter(open).count(), 34);
}

#[test]
fn only_what_is_missing_is_planned_in_an_order_that_works() {
    let rows = "H02,Tên H02,H02,closed,H05,\nH05,Tên H05,H05,closed,H06,\nH06,Tên H06,H06,,,\n";
    let (steps, notes) = plan(rows, &registered(&[], &[]), false);
    assert_eq!(
        steps,
        [
            "add VN/GOV/H02",
            "add VN/GOV/H05",
            "add VN/GOV/H06",
            "alias 000.00.00.H02 VN/GOV/H02",
            "alias 000.00.00.H05 VN/GOV/H05",
            "alias 000.00.00.H06 VN/GOV/H06",
            "close VN/GOV/H02 VN/GOV/H05",
            "close VN/GOV/H05 VN/GOV/H06",
        ]
    );
    assert!(notes.is_empty(), "{notes:?}");
    use MemberStatus::{Active, Closed};
    let table = [("000.00.00.H02", "H02"), ("000.00.00.H05", "H05"), ("000.00.00.H06", "H06")];
    let done = registered(&[("H02", Closed), ("H05", Closed), ("H06", Active)], &table);
    assert_eq!(plan(rows, &done, false), (vec![], vec![]), "loading again adds nothing");
    // A load that was broken off goes on where it stood.
    let half = registered(&[("H02", Active), ("H05", Active)], &table[..1]);
    let (steps, _) = plan(rows, &half, false);
    assert_eq!(steps[0], "add VN/GOV/H06");
    assert_eq!(steps.len(), 5, "{steps:?}");
}

#[test]
fn what_is_registered_stays_as_it_is() {
    use MemberStatus::{Active, Closed};
    let mut there =
        registered(&[("H02", Active), ("H05", Closed), ("H06", Active)], &[("000.00.00.H06", "H02")]);
    let seal = serde_json::from_value(json!({ "fingerprint": "ab".repeat(32) })).unwrap();
    there.members.get_mut(&"VN/GOV/H02".parse().unwrap()).unwrap().sign_certificates.push(seal);
    let rows = "H02,Tên H02,H02,closed,H06,\nH05,Tên H05,H05,,,\nH06,Other,H06,,,\nH07,a,b,,,unconfirmed\nH08,a,b,closed,H05,\n";
    let (steps, notes) = plan(rows, &there, false);
    assert_eq!(steps, ["alias 000.00.00.H02 VN/GOV/H02"]);
    for (note, part) in notes.iter().zip([
        "H02: is in use",
        "H05: is closed in the registry",
        "H06: is called Tên H06",
        "H06: 000.00.00.H06 is an alias of VN/GOV/H02",
        "H07: is unconfirmed",
        "H08: waits: its successor H05 is not active",
    ]) {
        assert!(note.starts_with(part), "{note}");
    }
    assert_eq!(notes.len(), 6);
    let options = LoadOptions { class: "GOV".into(), unconfirmed: false };
    let old = plan_codes(&list("000.00.00.H02,a,b,,,\n"), &there, &options);
    assert!(old.unwrap_err().to_string().contains("new form"));
}

#[test]
fn a_code_names_one_member_or_nobody() {
    use MemberStatus::{Active, Closed};
    let there = registered(&[("H10", Closed), ("H26", Active), ("H29.14", Active)], &[("HN", "H26")]);
    for (code, named) in [
        ("H26", "H26"),
        ("HN", "H26"),
        ("000.00.00.H26", "H26"),
        ("VN/GOV/000.00.00.H26", "H26"),
        ("00.14.H29", "H29.14"),
        ("000.00.00.H10", "H10"),
    ] {
        assert_eq!(there.resolve(code, "GOV").unwrap().id.code(), named, "{code}");
    }
    for code in ["H99", "000.00.00.H99", "000.14.00.H29", "VN/COM/H26", "a b", "VN/GOV"] {
        assert!(there.resolve(code, "GOV").is_err(), "{code}");
    }
    let h26 = "VN/GOV/H26".parse().unwrap();
    assert_eq!(there.aliases_of(&h26).collect::<Vec<_>>(), ["HN"]);
}

#[test]
fn a_batch_is_understood_as_it_is_sent() {
    let text = r#"{"steps":[{"addMember":{"id":"VN/GOV/H02","nameVi":"a","nameEn":"b"}},{"addAlias":{"alias":"000.00.00.H02","member":"VN/GOV/H02"}},{"closeMember":{"id":"VN/GOV/H02","successor":null,"subsystems":[]}}]}"#;
    let batch: LoadCodes = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&batch).unwrap(), text);
    assert_eq!(batch.commands().unwrap().len(), 3);
    let wrong = r#"{"steps":[{"addAlias":{"alias":"x","member":"VN/GOV"}}]}"#;
    assert!(serde_json::from_str::<LoadCodes>(wrong).unwrap().commands().is_err());
}
