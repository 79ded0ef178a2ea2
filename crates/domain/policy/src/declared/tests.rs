use proptest::prelude::*;
use truc_directory::GroupMember;
use truc_model::SubsystemId;

use super::*;
use crate::{
    Bodies, Conditions, Endpoint, EvidenceSettings, PolicyEvent, ServiceKind, Subject, SubjectPlace,
    TimeStamp,
};

const OURS: &str = "VN/GOV/G01/csdl-dancu";
const THEIRS: &str = "VN/GOV/G10/csdl-datdai";

fn sub(text: &str) -> SubsystemId {
    text.parse().unwrap()
}

fn empty() -> Policy {
    Policy::empty([sub(OURS), sub(THEIRS)])
}

fn read(text: &str) -> Result<Declared, Vec<String>> {
    Declared::parse(text, &empty(), None)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn apply(policy: &Policy, declared: &Declared) -> Policy {
    let read = declared.to_read(policy).into_iter().map(|d| (d.id.clone(), Vec::new())).collect();
    match declared.plan(policy, &read).event() {
        Some(event) => policy.apply(&event).unwrap(),
        None => policy.clone(),
    }
}

const FULL: &str = r#"# Services, local groups and rights. Read back with: truc node apply FILE
format = 1

[[group]]
owner = "VN/GOV/G01/csdl-dancu"
code = "doi-tac"
description = "Đối tác"
members = ["SUBSYSTEM:VN/GOV/H26/mot-cua-so-1", "MEMBER:VN/GOV/H49"]

[[service]]
id = "VN/GOV/G01/csdl-dancu/ho-tich"
url = "https://10.0.0.6/api"
description-url = "http://10.0.0.6/openapi.yaml"
pinned-certificates = ["0000000000000000000000000000000000000000000000000000000000000000"]
timeout = "250ms"
max-body = "2 GiB"
require-officer = true
require-legal-basis = true
secret-headers = ["x-api-key"]
disabled = 'Bảo trì đến "18 giờ"'

[[service]]
id = "VN/GOV/G01/csdl-dancu/tra-cuu"
url = "http://10.0.0.5:9000"
side-effect-free = true
[[service.endpoint]]
method = "GET"
path = "/suc-khoe"
[[service.right]]
to = "SUBSYSTEM:VN/GOV/H26/mot-cua-so-1"
method = "GET"
path = "/cong-dan/*"
require-purpose = true
hours = "mon-fri 07:30-17:00"
expires = "2027-01-01T00:00:00.000Z"
by-succession-of = "VN/GOV/H02"
[[service.right]]
to = "LOCALGROUP:doi-tac"
"#;

/// Golden: people keep such files.
#[test]
fn one_state_has_one_text() {
    let declared = read(FULL).unwrap();
    assert_eq!(declared.to_toml(), FULL);
    let policy = apply(&empty(), &declared);
    assert_eq!(Declared::of(&policy, None).to_toml(), FULL);
    let service = policy.service(&"VN/GOV/G01/csdl-dancu/ho-tich".parse().unwrap()).unwrap();
    assert_eq!((service.kind, service.disabled.is_some()), (ServiceKind::OpenApi, true));
    assert!(declared.plan(&policy, &BTreeMap::new()).is_empty());
    let only: MemberId = "VN/GOV/G10".parse().unwrap();
    let theirs = Declared::of(&policy, Some(&only));
    assert!(theirs.services.is_empty() && theirs.to_toml().contains("member = \"VN/GOV/G10\""));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = r#"format = 2
member = "VN/GOV/G01"
colour = "red"
[[group]]
owner = "VN/GOV/G10/csdl-datdai"
code = "doi tac"
[[group]]
owner = "VN/GOV/G10/csdl-datdai"
code = "ban"
members = ["MEMBER:VN/GOV/H26", "MEMBER:VN/GOV/H26", "VN/GOV/H26"]
[[service]]
id = "VN/GOV/H26/mot-cua/a"
url = "ftp://x"
[[service.right]]
to = "nobody"
[[service]]
id = "VN/GOV/H26/mot-cua/a"
url = "http://x"
timeout = "5 hours"
requires-officer = true
[[service.right]]
to = "LOCALGROUP:khong-co"
hours = "always"
[[service.right]]
to = "XX/GOV/H26"
[[service]]
id = "VN/GOV/G01/csdl-dancu/s"
url = "http://x"
timeout = "300s"
[[service.right]]
to = "VN/GOV/H26"
[[service.right]]
to = "VN/GOV/H26"
"#;
    let told = read(text).unwrap_err();
    for (line, word) in [
        (1, "format: this program reads format 1"),
        (3, "colour: is not known here; known are format, member, group, service"),
        (6, "code: "),
        (8, "is not of VN/GOV/G01"),
        (10, "is named twice"),
        (10, "members: "),
        (13, "url: "),
        (15, "to: a subject is"),
        (16, "VN/GOV/H26/mot-cua is not hosted by this node"),
        (19, "timeout: write a number with a unit"),
        (20, "requires-officer: is not known here"),
        (21, "no [[group]] khong-co"),
        (23, "hours: "),
        (24, "is of another instance"),
        (26, "timeoutMs: "),
        (32, "declared twice"),
    ] {
        let found = told.iter().any(|t| t.starts_with(&format!("line {line}: ")) && t.contains(word));
        assert!(found, "line {line}: {word}\n{told:#?}");
    }
    assert_eq!(told.len(), 16, "{told:#?}");
    let told = read("format = 1\n[[service]\nid = 3\n[[group]]\n").unwrap_err();
    assert!(told[0].starts_with("line 2: this is not TOML"), "{told:#?}");
    let told = read("format = 1\nmember = \"VN/GOV/H49\"").unwrap_err();
    assert!(told[0].contains("hosts no subsystem of VN/GOV/H49"), "{told:#?}");
    let only = "VN/GOV/G10".parse().unwrap();
    assert!(Declared::parse("format = 1\nmember = \"VN/GOV/G01\"", &empty(), Some(&only)).is_err());
}

#[test]
fn a_plan_says_what_changes_and_leaves_other_members_alone() {
    let before = read(FULL).unwrap();
    let theirs = "format = 1\n[[service]]\nid = \"VN/GOV/G10/csdl-datdai/thua-dat\"\nurl = \"http://x\"\n";
    let mut both = before.clone();
    both.services.extend(read(theirs).unwrap().services);
    let policy = apply(&empty(), &both);
    let text = FULL
        .replace("format = 1", "format = 1\nmember = \"VN/GOV/G01\"")
        .replace("timeout = \"250ms\"\n", "")
        .replace("disabled = 'Bảo trì đến \"18 giờ\"'\n", "")
        .replace("Đối tác", "Bạn")
        .replace(", \"MEMBER:VN/GOV/H49\"", "")
        .replace("07:30", "08:00")
        + "[[service]]\nid = \"VN/GOV/G01/csdl-dancu/moi\"\nurl = \"http://y\"\n";
    let wanted = read(&text).unwrap();
    let plan = wanted.plan(&policy, &BTreeMap::new());
    let told: Vec<String> = plan
        .items
        .iter()
        .map(|i| format!("{} {} {} {}", i.step.as_str(), i.kind, i.what, i.details.join("; ")))
        .collect();
    assert_eq!(
        told,
        [
            "change group VN/GOV/G01/csdl-dancu doi-tac description: \"Đối tác\" → \"Bạn\"; - MEMBER:VN/GOV/H49",
            "change service VN/GOV/G01/csdl-dancu/ho-tich disabled: \"Bảo trì đến \\\"18 giờ\\\"\" → none; timeoutMs: 250 → 60000",
            "add service VN/GOV/G01/csdl-dancu/moi ",
            "remove right VN/GOV/G01/csdl-dancu/tra-cuu: SUBSYSTEM:VN/GOV/H26/mot-cua-so-1 GET /cong-dan/* (purpose, mon-fri 07:30-17:00, until 2027-01-01T00:00:00.000Z) by succession of VN/GOV/H02 ",
            "add right VN/GOV/G01/csdl-dancu/tra-cuu: SUBSYSTEM:VN/GOV/H26/mot-cua-so-1 GET /cong-dan/* (purpose, mon-fri 08:00-17:00, until 2027-01-01T00:00:00.000Z) by succession of VN/GOV/H02 ",
        ]
    );
    let after = apply(&policy, &wanted);
    assert_eq!(Declared::of(&after, wanted.member.as_ref()), wanted);
    assert_eq!(after.services().count(), 4);
    // The whole node's text without theirs takes theirs away.
    assert_eq!(apply(&after, &before).services().count(), 2);
}

/// What a service says about its evidence, in the text that people keep.
#[test]
fn what_is_said_about_evidence_is_kept_and_checked() {
    let service = "format = 1\n[[service]]\nid = \"VN/GOV/G01/csdl-dancu/s\"\nurl = \"http://x\"\n";
    let said = "subject-pointer = \"/a\"\nbodies = \"digest\"\nretention = \"ho-tich-50y\"\ntime-stamp = \"immediate\"\n";
    let declared = read(&format!("{service}{said}")).unwrap();
    assert!(declared.to_toml().contains(said), "golden: {}", declared.to_toml());
    assert_eq!(read(&declared.to_toml()), Ok(declared.clone()));
    for said in ["subject-segment = 2\n", "subject-query = \"số\"\n"] {
        let text = read(&format!("{service}{said}")).unwrap().to_toml();
        assert!(text.contains(said) && !text.contains("bodies"), "{text}");
    }
    let before = apply(&empty(), &read(service).unwrap());
    let plan = declared.plan(&before, &BTreeMap::new());
    assert!(plan.items[0].details[0].starts_with("evidence: none → {"), "{plan:?}");
    let wrong = "subject-pointer = \"a\"\nsubject-segment = \"2\"\nbodies = \"some\"\nretention = \"10 Y\"\ntime-stamp = \"now\"\n";
    let told = read(&format!("{service}{wrong}")).unwrap_err();
    for (told, words) in told.iter().zip([
        "line 5: subject-pointer: a JSON pointer begins with /",
        "line 6: subject-segment: a path segment is a number",
        "line 7: bodies: write full or digest",
        "line 8: retention: a retention class is",
        "line 9: time-stamp: write batch or immediate",
    ]) {
        assert!(told.starts_with(words), "{told}");
    }
    assert_eq!(told.len(), 5, "{told:?}");
    let told = read(&format!("{service}subject-query = \"a\"\nsubject-segment = 1\n")).unwrap_err();
    assert!(told[0].contains("name one of them"), "{told:?}");
}

fn evidence() -> impl Strategy<Value = EvidenceSettings> {
    let place = prop_oneof![
        "(/([a-zà-ỹ\"]|~0|~1){0,5}){0,4}".prop_map(|text| SubjectPlace::JsonPointer(text.parse().unwrap())),
        (1..=64_u64).prop_map(|n| SubjectPlace::PathSegment(n.try_into().unwrap())),
        "[a-zà-ỹ '\"&=]{1,20}".prop_map(|text| SubjectPlace::Query(text.parse().unwrap())),
    ];
    (proptest::option::of(place), any::<bool>(), proptest::option::of("[a-z0-9-]{1,32}"), any::<bool>())
        .prop_map(|(subject, digest, class, immediate)| EvidenceSettings {
            subject,
            bodies: if digest { Bodies::Digest } else { Bodies::Full },
            retention: class.map(|class| class.parse().unwrap()).unwrap_or_default(),
            time_stamp: if immediate { TimeStamp::Immediate } else { TimeStamp::Batch },
        })
}

fn policy() -> impl Strategy<Value = Declared> {
    let conditions = (any::<[bool; 3]>(), proptest::option::of(0..24_u16), any::<bool>()).prop_map(
        |([require_officer, require_purpose, require_legal_basis], hour, ends)| Conditions {
            require_officer,
            require_purpose,
            require_legal_basis,
            hours: hour.map(|h| format!("mon,wed-fri {h:02}:00-{:02}:30", h).parse().unwrap()),
            expires: ends.then(|| "2027-01-01T00:00:00.000Z".parse().unwrap()),
        },
    );
    let right = (0..5_usize, 0..3_usize, 0..3_usize, conditions, any::<bool>());
    let texts = "[a-zà-ỹ \"'\\\\#=\\[\\]]{0,12}";
    let service = (
        0..2_usize,
        0..3_usize,
        any::<[bool; 4]>(),
        1..300_000_u64,
        0..1_u64 << 41,
        proptest::option::of("[a-z\"\\\\\n\r\tà-ỹ']{1,40}"),
        proptest::option::of(texts),
        proptest::collection::vec(right, 0..5),
        0..3_usize,
        evidence(),
    );
    let group = (0..2_usize, 0..2_usize, texts, proptest::collection::btree_set(0..4_usize, 0..4));
    (proptest::collection::vec(service, 0..5), proptest::collection::vec(group, 0..4)).prop_map(
        |(services, groups)| {
            let owners = [sub(OURS), sub(THEIRS)];
            let mut all = Declared::default();
            for (owner, code, description, members) in groups {
                let who = [
                    "MEMBER:VN/GOV/H26",
                    "MEMBER:VN/GOV/H49",
                    "SUBSYSTEM:VN/GOV/H26/a",
                    "SUBSYSTEM:VN/GOV/H49/b",
                ];
                let members =
                    members.iter().map(|i| GroupMember::try_from(who[*i].to_owned()).unwrap()).collect();
                let (owner, code): (_, GroupCode) =
                    (owners[owner].clone(), ["ban", "doi-tac"][code].parse().unwrap());
                let group = LocalGroup { owner: owner.clone(), code: code.clone(), description, members };
                all.groups.insert((owner, code), group);
            }
            for service in services {
                let (owner, code, flags, timeout, max_body, document, disabled, rights, endpoints, evidence) =
                    service;
                let id = owners[owner].service(["a", "b", "c"][code]).unwrap();
                let mut d = ServiceDefinition::rest(id.clone(), "http://x".parse().unwrap());
                [d.require_officer, d.require_purpose, d.require_legal_basis, d.side_effect_free] = flags;
                d.timeout = std::time::Duration::from_millis(timeout.min(270_000));
                d.max_body = max_body.min(crate::MAX_BODY);
                d.kind = if document.is_some() { ServiceKind::OpenApi } else { ServiceKind::Rest };
                d.document = document;
                d.evidence = evidence;
                d.disabled = disabled.filter(|notice| !notice.trim().is_empty());
                d.endpoints = (0..endpoints)
                    .map(|i| Endpoint {
                        method: "GET".parse().unwrap(),
                        path: format!("/họ \"tên\"/{i}\\*").parse().unwrap(),
                        generated: false,
                    })
                    .collect();
                let mut given = BTreeMap::new();
                for (subject, method, path, conditions, carried) in rights {
                    let subject =
                        ["VN/GOV/H26", "VN/GOV/H26/a", "GROUP:x", "LOCALGROUP:ban", "LOCALGROUP:doi-tac"]
                            [subject];
                    let subject: Subject = subject.parse().unwrap();
                    if let Subject::LocalGroup(code) = &subject
                        && !all.groups.contains_key(&(owners[owner].clone(), code.clone()))
                    {
                        continue;
                    }
                    let (method, path) =
                        (["*", "GET", "POST"][method], ["**", "/a/*", "/b c/\\\\**"][path.min(1)]);
                    let right =
                        Right::new(subject, id.clone(), method.parse().unwrap(), path.parse().unwrap())
                            .under(conditions);
                    let right =
                        if carried { right.by_succession("VN/GOV/H02".parse().unwrap()) } else { right };
                    given.insert(right.id(), right);
                }
                all.services.insert(id, DeclaredService { definition: d, rights: given });
            }
            all
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_applying_it_changes_nothing(declared in policy()) {
        let in_force = apply(&empty(), &declared);
        let text = Declared::of(&in_force, None).to_toml();
        let back = Declared::parse(&text, &in_force, None);
        prop_assert_eq!(back.as_ref(), Ok(&declared), "{}", text);
        prop_assert!(declared.plan(&in_force, &BTreeMap::new()).is_empty());
        for member in ["VN/GOV/G01", "VN/GOV/G10"] {
            let member: MemberId = member.parse().unwrap();
            let part = Declared::of(&in_force, Some(&member));
            let back = Declared::parse(&part.to_toml(), &in_force, None).unwrap();
            prop_assert_eq!(&back, &part);
            prop_assert!(back.plan(&in_force, &BTreeMap::new()).is_empty());
        }
    }

    #[test]
    fn a_plan_leads_from_any_state_to_any_other_in_one_event(from in policy(), to in policy()) {
        let nothing = empty();
        let before = apply(&nothing, &from);
        let after = apply(&before, &to);
        let reached = Declared::of(&after, None);
        // The mark of a succession is no part of a right: one that is there keeps its own.
        let plain = |d: &Declared| {
            d.to_toml().lines().filter(|l| !l.starts_with("by-succession-of")).collect::<Vec<_>>().join("\n")
        };
        prop_assert_eq!(plain(&reached), plain(&to));
        prop_assert!(to.plan(&after, &BTreeMap::new()).is_empty());
        // What the journal holds makes the same again.
        let events = [&from, &to].map(|d| PolicyEvent::Applied {
            changes: d.plan(if std::ptr::eq(d, &from) { &nothing } else { &before }, &BTreeMap::new()).changes,
        });
        let hosted = [sub(OURS), sub(THEIRS)];
        prop_assert_eq!(Declared::of(&Policy::replay(hosted, &events).unwrap(), None), reached);
    }
}
