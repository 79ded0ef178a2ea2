use std::time::Duration;

use serde_json::json;
use truc_message::CanonicalPath;
use truc_model::FaultCode;

use super::*;
use crate::judge::{Call, ServiceTarget};
use crate::metaservice::Metaservice;
use crate::service::{Endpoint, ServiceKind};
use crate::{Conditions, METASERVICE_BODY_LIMIT, MethodPattern, PathGlob};

const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu";
const DESK: &str = "VN/GOV/H26/mot-cua-so-1";

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}
fn sub(text: &str) -> SubsystemId {
    text.parse().unwrap()
}
fn definition(service: &str) -> ServiceDefinition {
    ServiceDefinition::rest(id(service), "http://127.0.0.1:9000".parse().unwrap())
}
fn right(subject: &str, method: &str, path: &str) -> Right {
    Right::new(subject.parse().unwrap(), id(SERVICE), method.parse().unwrap(), path.parse().unwrap())
}
fn base() -> Policy {
    Policy::empty([sub("VN/GOV/G01/csdl-dancu")])
        .apply(&PolicyEvent::ServiceAdded(definition(SERVICE)))
        .unwrap()
}
fn with(policy: &Policy, events: &[PolicyEvent]) -> Policy {
    events.iter().fold(policy.clone(), |p, e| p.apply(e).unwrap())
}
fn granted(rights: &[(&str, &str, &str)]) -> Policy {
    let events: Vec<_> = rights.iter().map(|(s, m, p)| PolicyEvent::RightGranted(right(s, m, p))).collect();
    with(&base(), &events)
}

struct Try<'a> {
    client: &'a str,
    service: &'a str,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    officer: bool,
    purpose: bool,
    legal_basis: bool,
    at: &'a str,
    body_len: u64,
}
const GOOD: Try<'static> = Try {
    client: DESK,
    service: SERVICE,
    method: "GET",
    path: "/cong-dan/1",
    query: None,
    officer: true,
    purpose: true,
    legal_basis: true,
    at: "2026-11-23T03:00:00.000Z",
    body_len: 0,
};

/// The global group `mot-cua` holds every subsystem of Hà Nội.
fn in_group(code: &str, subsystem: &SubsystemId) -> bool {
    code == "mot-cua" && subsystem.member().code() == "H26"
}
fn judge(policy: &Policy, t: &Try<'_>) -> Result<ServiceTarget, FaultCode> {
    let (client, service) = (sub(t.client), id(t.service));
    let call = Call {
        client: &client,
        service: &service,
        method: t.method,
        path: CanonicalPath::parse(t.path).unwrap(),
        query: t.query,
        officer: t.officer,
        purpose: t.purpose,
        legal_basis: t.legal_basis,
        at: t.at.parse().unwrap(),
        body_len: t.body_len,
    };
    let early = policy.early_with(&call, &in_group).map_err(|f| f.code);
    let judged = policy.judge_with(&call, &in_group);
    match (early, &judged) {
        (Err(early), Err(fault)) => {
            // What is refused early is refused later, though a nearer condition may be named then.
            assert!(early == fault.code || early == FaultCode::TooLarge, "{early} {fault}");
        }
        (Err(early), Ok(_)) => panic!("refused early only: {early}"),
        (Ok(_), _) => {}
    }
    judged.map(|j| j.target).map_err(|f| f.code)
}
fn refused(policy: &Policy, t: &Try<'_>) -> FaultCode {
    judge(policy, t).expect_err("a refusal")
}

#[test]
fn without_a_right_nothing_is_permitted() {
    assert_eq!(refused(&base(), &GOOD), FaultCode::NoRight);
    assert_eq!(
        refused(&base(), &Try { service: "VN/GOV/G01/csdl-dancu/khac", ..GOOD }),
        FaultCode::UnknownService
    );
    assert_eq!(
        refused(&base(), &Try { service: "VN/GOV/G10/csdl-datdai/tra-cuu", ..GOOD }),
        FaultCode::UnknownService
    );
}

#[test]
fn each_kind_of_subject_means_what_it_says() {
    let owner = sub("VN/GOV/G01/csdl-dancu");
    let code: GroupCode = "doi-tac".parse().unwrap();
    let group =
        PolicyEvent::LocalGroupAdded { owner: owner.clone(), code: code.clone(), description: String::new() };
    let member = GroupMember::Subsystem(sub(DESK));
    let joined = PolicyEvent::LocalGroupMemberAdded { owner, code, member };
    let other = Try { client: "VN/GOV/H26/mot-cua-so-2", ..GOOD };
    let foreign = Try { client: "VN/GOV/H49/mot-cua-so-1", ..GOOD };
    for (subject, second_desk) in [
        ("SUBSYSTEM:VN/GOV/H26/mot-cua-so-1", false),
        ("MEMBER:VN/GOV/H26", true),
        ("GROUP:mot-cua", true),
        ("LOCALGROUP:doi-tac", false),
    ] {
        let grouped = with(&base(), &[group.clone(), joined.clone()]);
        let policy = with(&grouped, &[PolicyEvent::RightGranted(right(subject, "*", "**"))]);
        assert!(judge(&policy, &GOOD).is_ok(), "{subject}");
        assert_eq!(judge(&policy, &other).is_ok(), second_desk, "{subject}");
        assert_eq!(refused(&policy, &foreign), FaultCode::NoRight, "{subject}");
    }
}

#[test]
fn method_and_path_must_match_in_one_right() {
    let policy = granted(&[(DESK, "GET", "/cong-dan/*"), (DESK, "POST", "/ho-so")]);
    assert!(judge(&policy, &GOOD).is_ok());
    assert!(judge(&policy, &Try { method: "POST", path: "/ho-so", ..GOOD }).is_ok());
    for (method, path) in [
        ("POST", "/cong-dan/1"),
        ("GET", "/ho-so"),
        ("get", "/cong-dan/1"),
        ("GET", "/cong-dan"),
        ("GET", "/cong-dan/1/x"),
        ("GET", ""),
    ] {
        assert_eq!(refused(&policy, &Try { method, path, ..GOOD }), FaultCode::NoRight, "{method} {path}");
    }
    // An encoded slash is no separator: it neither opens a deeper path nor hides one.
    assert_eq!(refused(&policy, &Try { path: "/cong-dan/1%2Fx", ..GOOD }), FaultCode::NoRight);
    assert_eq!(refused(&policy, &Try { path: "/cong-dan%2F1", ..GOOD }), FaultCode::NoRight);
}

#[test]
fn conditions_come_after_the_right_and_in_order() {
    let mut strict = definition(SERVICE);
    (strict.require_officer, strict.require_purpose, strict.max_body) = (true, true, 10);
    let notice = "Bảo trì đến 12 giờ".to_owned();
    let pause = PolicyEvent::ServiceDisabled { service: id(SERVICE), notice: notice.clone() };
    let open = with(&granted(&[(DESK, "*", "**")]), &[PolicyEvent::ServiceChanged(strict)]);
    let paused = with(&open, &[pause]);
    let all = Try { officer: false, purpose: false, body_len: 11, ..GOOD };
    assert_eq!(refused(&paused, &Try { client: "VN/GOV/H49/mot-cua", ..all }), FaultCode::NoRight);
    assert_eq!(refused(&paused, &all), FaultCode::OfficerRequired);
    assert_eq!(refused(&paused, &Try { officer: true, ..all }), FaultCode::PurposeRequired);
    assert_eq!(refused(&paused, &Try { body_len: 11, ..GOOD }), FaultCode::ServiceDisabled);
    assert_eq!(refused(&open, &Try { body_len: 11, ..GOOD }), FaultCode::TooLarge);
    assert!(judge(&open, &Try { body_len: 10, ..GOOD }).is_ok());
    let (client, service) = (sub(DESK), id(SERVICE));
    let path = CanonicalPath::parse("").unwrap();
    let (officer, purpose) = (true, true);
    let call = Call {
        client: &client,
        service: &service,
        method: "GET",
        path,
        query: None,
        officer,
        purpose,
        legal_basis: true,
        at: GOOD.at.parse().unwrap(),
        body_len: 0,
    };
    assert_eq!(paused.judge_with(&call, &in_group).unwrap_err().detail, notice);
    assert_eq!(paused.early_with(&call, &in_group), Ok(10));
}

#[test]
fn a_change_keeps_rights_and_pause_and_a_removal_takes_the_rights() {
    let policy = granted(&[(DESK, "*", "**")]);
    let pause = PolicyEvent::ServiceDisabled { service: id(SERVICE), notice: "x".into() };
    let mut changed = definition(SERVICE);
    changed.timeout = Duration::from_secs(5);
    let policy = with(&policy, &[pause, PolicyEvent::ServiceChanged(changed)]);
    let service = policy.service(&id(SERVICE)).unwrap();
    assert_eq!((service.timeout, service.disabled.as_deref()), (Duration::from_secs(5), Some("x")));
    assert_eq!(refused(&policy, &GOOD), FaultCode::ServiceDisabled);
    let policy = with(&policy, &[PolicyEvent::ServiceEnabled { service: id(SERVICE) }]);
    assert!(judge(&policy, &GOOD).is_ok());
    let again = [
        PolicyEvent::ServiceRemoved { service: id(SERVICE) },
        PolicyEvent::ServiceAdded(definition(SERVICE)),
    ];
    assert_eq!(refused(&with(&policy, &again), &GOOD), FaultCode::NoRight);
}

#[test]
fn revoking_ends_it_and_the_old_snapshot_stays_as_it_was() {
    let policy = granted(&[(DESK, "*", "**")]);
    let given = right(DESK, "*", "**");
    assert_eq!(policy.right(given.id()), Some(&given));
    let after = with(&policy, &[PolicyEvent::RightRevoked(given.clone())]);
    assert_eq!(refused(&after, &GOOD), FaultCode::NoRight);
    assert!(judge(&policy, &GOOD).is_ok());
    assert_eq!(after.right(given.id()), None);
}

#[test]
fn events_that_do_not_fit_are_refused_with_a_reason() {
    let policy = granted(&[(DESK, "*", "**")]);
    let owner = sub("VN/GOV/G01/csdl-dancu");
    let code: GroupCode = "doi-tac".parse().unwrap();
    let member = GroupMember::Member("VN/GOV/H49".parse().unwrap());
    let grouped = with(
        &policy,
        &[
            PolicyEvent::LocalGroupAdded {
                owner: owner.clone(),
                code: code.clone(),
                description: "x".into(),
            },
            PolicyEvent::LocalGroupMemberAdded {
                owner: owner.clone(),
                code: code.clone(),
                member: member.clone(),
            },
            PolicyEvent::RightGranted(right("LOCALGROUP:doi-tac", "*", "**")),
        ],
    );
    let foreign = GroupMember::Member("XX/GOV/H49".parse().unwrap());
    let elsewhere = "VN/GOV/G10/csdl-datdai/tra-cuu";
    let unknown = right("LOCALGROUP:khong-co", "*", "**");
    let cases = [
        (PolicyEvent::ServiceAdded(definition(elsewhere)), PolicyError::NotHosted(id(elsewhere).subsystem())),
        (PolicyEvent::ServiceAdded(definition(SERVICE)), PolicyError::ServiceExists(id(SERVICE))),
        (
            PolicyEvent::ServiceAdded(definition("VN/GOV/G01/csdl-dancu/listMethods")),
            PolicyError::ReservedCode("listMethods".into()),
        ),
        (
            PolicyEvent::ServiceRemoved { service: id("VN/GOV/G01/csdl-dancu/khac") },
            PolicyError::UnknownService(id("VN/GOV/G01/csdl-dancu/khac")),
        ),
        (
            PolicyEvent::RightGranted(right(DESK, "*", "**")),
            PolicyError::RightExists(right(DESK, "*", "**").id()),
        ),
        (
            PolicyEvent::RightRevoked(right(DESK, "GET", "**")),
            PolicyError::UnknownRight(right(DESK, "GET", "**").id()),
        ),
        (
            PolicyEvent::RightGranted(right("XX/GOV/H26/a", "*", "**")),
            PolicyError::ForeignSubject("SUBSYSTEM:XX/GOV/H26/a".into()),
        ),
        (
            PolicyEvent::RightGranted(unknown),
            PolicyError::UnknownGroup { owner: owner.clone(), code: "khong-co".parse().unwrap() },
        ),
        (
            PolicyEvent::LocalGroupRemoved { owner: owner.clone(), code: code.clone() },
            PolicyError::GroupInUse {
                code: code.clone(),
                right: right("LOCALGROUP:doi-tac", "*", "**").id(),
            },
        ),
        (
            PolicyEvent::LocalGroupMemberAdded { owner: owner.clone(), code: code.clone(), member },
            PolicyError::AlreadyInGroup("MEMBER:VN/GOV/H49".into()),
        ),
        (
            PolicyEvent::LocalGroupMemberRemoved {
                owner: owner.clone(),
                code: code.clone(),
                member: foreign.clone(),
            },
            PolicyError::NotInGroup("MEMBER:XX/GOV/H49".into()),
        ),
        (
            PolicyEvent::LocalGroupMemberAdded { owner, code, member: foreign },
            PolicyError::ForeignSubject("MEMBER:XX/GOV/H49".into()),
        ),
    ];
    for (event, error) in cases {
        assert_eq!(grouped.apply(&event).unwrap_err(), error, "{event:?}");
    }
}

#[test]
fn a_subsystem_hosted_no_longer_offers_nothing_until_it_is_back() {
    let events =
        [PolicyEvent::ServiceAdded(definition(SERVICE)), PolicyEvent::RightGranted(right(DESK, "*", "**"))];
    let gone = Policy::replay([], &events).unwrap();
    assert_eq!(refused(&gone, &GOOD), FaultCode::UnknownService);
    assert_eq!((gone.services().count(), gone.rights().count()), (0, 0));
    assert!(judge(&gone.with_hosted([sub("VN/GOV/G01/csdl-dancu")]), &GOOD).is_ok());
    assert!(Policy::replay([], &events[1..]).is_err());
}

fn described() -> Policy {
    let mut service = definition("VN/GOV/G01/csdl-dancu/petstore");
    service.kind = ServiceKind::OpenApi;
    service.description_url = Some("http://127.0.0.1:9000/openapi.json".parse().unwrap());
    let endpoint = |m: &str, p: &str| Endpoint {
        method: m.parse().unwrap(),
        path: p.parse().unwrap(),
        generated: p.starts_with("/pet/"),
    };
    service.endpoints = vec![endpoint("*", "**"), endpoint("GET", "/pet/*"), endpoint("POST", "/pet")];
    with(&granted(&[(DESK, "GET", "/x")]), &[PolicyEvent::ServiceAdded(service)])
}

#[test]
fn lists_have_the_form_x_road_clients_read() {
    let policy = described();
    let owner = sub("VN/GOV/G01/csdl-dancu");
    let all = policy.list_methods(&owner);
    assert_eq!(
        all["service"][0],
        json!({"object_type":"SERVICE","xroad_instance":"VN","member_class":"GOV","member_code":"G01","subsystem_code":"csdl-dancu",
            "service_code":"petstore","service_type":"OPENAPI",
            "endpoint_list":[{"method":"GET","path":"/pet/*"},{"method":"POST","path":"/pet"}]})
    );
    assert_eq!(all["service"][1]["service_type"], "REST");
    assert_eq!(all["service"][1]["endpoint_list"], json!([]));
    assert_eq!(policy.list_methods(&sub("VN/GOV/G10/csdl-datdai")), json!({ "service": [] }));
}

#[test]
fn allowed_methods_shows_what_the_caller_has_rights_to() {
    let owner = sub("VN/GOV/G01/csdl-dancu");
    let petstore = id("VN/GOV/G01/csdl-dancu/petstore");
    let pet = |subject: &str, method: &str, path: &str| {
        let (method, path): (MethodPattern, PathGlob) = (method.parse().unwrap(), path.parse().unwrap());
        PolicyEvent::RightGranted(Right::new(subject.parse().unwrap(), petstore.clone(), method, path))
    };
    let allowed = |p: &Policy, who: &str| {
        p.allowed_with(&owner, &sub(who), &in_group, GOOD.at.parse().unwrap())["service"].clone()
    };
    let policy = described();
    assert_eq!(allowed(&policy, "VN/GOV/H49/mot-cua"), json!([]));
    assert_eq!(allowed(&policy, DESK)[0]["endpoint_list"], json!([{"method":"GET","path":"/x"}]));
    let policy = with(&policy, &[pet("GROUP:mot-cua", "GET", "/pet/**")]);
    let both = allowed(&policy, DESK);
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!(
        both[0]["endpoint_list"],
        json!([{"method":"GET","path":"/pet/*"},{"method":"GET","path":"/pet/**"}])
    );
    let policy = with(&policy, &[pet("VN/GOV/H49/mot-cua", "*", "**")]);
    assert_eq!(
        allowed(&policy, "VN/GOV/H49/mot-cua")[0]["endpoint_list"],
        json!([{"method":"GET","path":"/pet/*"},{"method":"POST","path":"/pet"}])
    );
}

#[test]
fn metaservices_are_open_to_every_caller_of_a_hosted_subsystem() {
    let policy = described();
    let ask = |code: &str, query: Option<&str>| {
        let service = format!("VN/GOV/G01/csdl-dancu/{code}");
        judge(&policy, &Try { client: "VN/GOV/H49/mot-cua", service: &service, path: "", query, ..GOOD })
    };
    assert_eq!(ask("listMethods", None), Ok(ServiceTarget::Metaservice(Metaservice::ListMethods)));
    assert_eq!(ask("allowedMethods", None), Ok(ServiceTarget::Metaservice(Metaservice::AllowedMethods)));
    let petstore = Arc::clone(policy.service(&id("VN/GOV/G01/csdl-dancu/petstore")).unwrap());
    let open_api = Ok(ServiceTarget::Metaservice(Metaservice::GetOpenApi(petstore)));
    assert_eq!(ask("getOpenAPI", Some("serviceCode=petstore")), open_api);
    assert_eq!(ask("getOpenAPI", Some("a=b&serviceCode=pet%73tore")), open_api);
    for (query, code) in [
        (None, FaultCode::Malformed),
        (Some("service=petstore"), FaultCode::Malformed),
        (Some("serviceCode=petstore&serviceCode=petstore"), FaultCode::Malformed),
        (Some("serviceCode=a%2Fb"), FaultCode::Malformed),
        (Some("serviceCode=khac"), FaultCode::UnknownService),
        (Some("serviceCode=tra-cuu"), FaultCode::Malformed),
    ] {
        assert_eq!(ask("getOpenAPI", query), Err(code), "{query:?}");
    }
    assert_eq!(ask("getWsdl", None), Err(FaultCode::UnknownService));
    let list = "VN/GOV/G01/csdl-dancu/listMethods";
    let of = |t: Try<'_>| refused(&policy, &t);
    assert_eq!(of(Try { service: list, path: "", method: "POST", ..GOOD }), FaultCode::Malformed);
    assert_eq!(of(Try { service: list, path: "/x", ..GOOD }), FaultCode::Malformed);
    assert_eq!(
        of(Try { service: list, path: "", body_len: METASERVICE_BODY_LIMIT + 1, ..GOOD }),
        FaultCode::TooLarge
    );
    assert_eq!(
        of(Try { service: "VN/GOV/G10/csdl-datdai/listMethods", path: "", ..GOOD }),
        FaultCode::UnknownService
    );
}

fn granted_under(conditions: &[Conditions]) -> Policy {
    let events: Vec<_> = conditions
        .iter()
        .map(|c| PolicyEvent::RightGranted(right(DESK, "GET", "/cong-dan/*").under(*c)))
        .collect();
    with(&base(), &events)
}

#[test]
fn the_conditions_of_a_right_are_judged_at_the_moment_of_the_call() {
    let office = Conditions { hours: Some("mon-fri 07:30-17:00".parse().unwrap()), ..Conditions::default() };
    let until =
        Conditions { expires: Some("2026-12-01T00:00:00.000Z".parse().unwrap()), ..Conditions::default() };
    let night = "2026-11-23T14:00:00.000Z";
    let later = "2026-12-01T00:00:00.000Z";
    let policy = granted_under(&[office]);
    assert!(judge(&policy, &GOOD).is_ok());
    assert_eq!(refused(&policy, &Try { at: night, ..GOOD }), FaultCode::NoRight);
    let policy = granted_under(&[until]);
    assert!(judge(&policy, &Try { at: night, ..GOOD }).is_ok());
    assert_eq!(refused(&policy, &Try { at: later, ..GOOD }), FaultCode::NoRight);
    // Rights add up: what one does not give the other may.
    let policy = granted_under(&[office, until]);
    assert!(judge(&policy, &Try { at: night, ..GOOD }).is_ok());
    assert!(judge(&policy, &Try { at: "2026-12-01T03:00:00.000Z", ..GOOD }).is_ok());
    assert_eq!(refused(&policy, &Try { at: "2026-12-05T03:00:00.000Z", ..GOOD }), FaultCode::NoRight);

    let strict = Conditions {
        require_officer: true,
        require_purpose: true,
        require_legal_basis: true,
        ..Conditions::default()
    };
    let policy = granted_under(&[strict]);
    let bare = Try { officer: false, purpose: false, legal_basis: false, ..GOOD };
    assert_eq!(refused(&policy, &bare), FaultCode::OfficerRequired);
    assert_eq!(refused(&policy, &Try { officer: true, ..bare }), FaultCode::PurposeRequired);
    assert_eq!(
        refused(&policy, &Try { officer: true, purpose: true, ..bare }),
        FaultCode::LegalBasisRequired
    );
    assert!(judge(&policy, &GOOD).is_ok());
    // What the caller can mend is told rather than what only time can.
    let policy = granted_under(&[office, strict]);
    assert_eq!(refused(&policy, &Try { at: night, ..bare }), FaultCode::OfficerRequired);
    // The service's own condition counts for every right.
    let mut asks = definition(SERVICE);
    asks.require_legal_basis = true;
    let policy = with(&granted_under(&[office]), &[PolicyEvent::ServiceChanged(asks)]);
    assert_eq!(refused(&policy, &Try { legal_basis: false, ..GOOD }), FaultCode::LegalBasisRequired);
}

#[test]
fn allowed_methods_leaves_out_what_has_ended() {
    let owner = sub("VN/GOV/G01/csdl-dancu");
    let until =
        Conditions { expires: Some("2026-12-01T00:00:00.000Z".parse().unwrap()), ..Conditions::default() };
    let policy = granted_under(&[until]);
    let allowed = |at: &str| {
        policy.allowed_with(&owner, &sub(DESK), &in_group, at.parse().unwrap())["service"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((allowed("2026-11-30T00:00:00.000Z"), allowed("2026-12-01T00:00:00.000Z")), (1, 0));
}

#[test]
fn a_dry_run_says_which_right_lacks_what() {
    let office = Conditions {
        hours: Some("mon-fri 07:30-17:00".parse().unwrap()),
        require_purpose: true,
        ..Conditions::default()
    };
    let policy = with(
        &granted_under(&[office]),
        &[
            PolicyEvent::RightGranted(right("GROUP:mot-cua", "POST", "/ho-so")),
            PolicyEvent::RightGranted(right("VN/GOV/H49", "*", "**")),
        ],
    );
    let (client, service) = (sub(DESK), id(SERVICE));
    let call = |path: &str, purpose: bool, at: &str| {
        let call = Call {
            client: &client,
            service: &service,
            method: "GET",
            path: CanonicalPath::parse(path).unwrap(),
            query: None,
            officer: false,
            purpose,
            legal_basis: false,
            at: at.parse().unwrap(),
            body_len: 0,
        };
        policy.explain(&call, &in_group)
    };
    let yes = call("/cong-dan/1", true, GOOD.at);
    assert_eq!(yes.judged.unwrap().right(), Some(yes.considered[0].right.id()));
    assert!(yes.considered[0].misses.is_empty());
    let no = call("/cong-dan/1", false, "2026-11-22T03:00:00.000Z");
    assert_eq!(no.judged.unwrap_err().code, FaultCode::NoRight);
    let told: Vec<Vec<String>> =
        no.considered.iter().map(|c| c.misses.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(told.len(), 2, "the rights of others are not told");
    let hours = "it holds mon-fri 07:30-17:00 (UTC+7) only";
    assert!(told.contains(&vec![hours.into(), "it asks for Truc-Purpose, the request has none".into()]));
    assert!(
        told.contains(&vec![
            "it is for another method".into(),
            "its pattern does not match this path".into()
        ])
    );
}

#[test]
fn a_batch_counts_whole_or_not_at_all() {
    let policy = base();
    let grant = PolicyEvent::RightGranted(right(DESK, "*", "**"));
    let gone = PolicyEvent::ServiceRemoved { service: id("VN/GOV/G01/csdl-dancu/khac") };
    let batch = |changes: Vec<PolicyEvent>| PolicyEvent::Applied { changes };
    assert!(policy.apply(&batch(vec![grant.clone(), gone])).is_err());
    assert_eq!(policy.rights().count(), 0);
    assert_eq!(with(&policy, &[batch(vec![grant.clone()])]).rights().count(), 1);
    assert_eq!(policy.apply(&batch(vec![batch(vec![grant.clone()])])).unwrap_err(), PolicyError::Nested);
    let elsewhere = PolicyEvent::ServiceAdded(definition("VN/GOV/G10/csdl-datdai/tra-cuu"));
    assert!(matches!(policy.apply(&batch(vec![grant, elsewhere])), Err(PolicyError::NotHosted(_))));
}

#[test]
fn one_members_part_shows_and_changes_nothing_of_another() {
    let theirs = "VN/GOV/G10/csdl-datdai/tra-cuu";
    let hosted = [sub("VN/GOV/G01/csdl-dancu"), sub("VN/GOV/G10/csdl-datdai")];
    let code: GroupCode = "ban".parse().unwrap();
    let to_ours = right("LOCALGROUP:ban", "*", "**");
    let both = with(
        &base().with_hosted(hosted.clone()),
        &[
            PolicyEvent::ServiceAdded(definition(theirs)),
            PolicyEvent::LocalGroupAdded {
                owner: hosted[1].clone(),
                code: code.clone(),
                description: String::new(),
            },
        ],
    );
    // A group of one subsystem is nobody to a service of another, hosted beside it or not.
    assert!(matches!(both.apply(&PolicyEvent::RightGranted(to_ours)), Err(PolicyError::UnknownGroup { .. })));
    let part = both.of_member(&"VN/GOV/G01".parse().unwrap());
    assert_eq!(part.services().count(), 1);
    assert_eq!((part.service(&id(theirs)), part.local_group(&hosted[1], &code)), (None, None));
    assert_eq!(part.local_groups().count(), 0);
    for event in [
        PolicyEvent::ServiceRemoved { service: id(theirs) },
        PolicyEvent::LocalGroupRemoved { owner: hosted[1].clone(), code },
        PolicyEvent::Applied { changes: vec![PolicyEvent::ServiceRemoved { service: id(theirs) }] },
    ] {
        assert_eq!(part.apply(&event).unwrap_err(), PolicyError::NotHosted(hosted[1].clone()));
    }
}

#[test]
fn a_right_is_named_by_what_it_says_only_while_that_is_one() {
    let office = Conditions { hours: Some("mon 07:30-17:00".parse().unwrap()), ..Conditions::default() };
    let said = right(DESK, "GET", "/cong-dan/*");
    let policy = granted_under(&[office]);
    assert_eq!(policy.right_that_says(&said).unwrap().conditions(), &office);
    assert!(matches!(base().right_that_says(&said), Err(PolicyError::UnknownRight(_))));
    let two = granted_under(&[office, Conditions::default()]);
    assert!(matches!(two.right_that_says(&said), Err(PolicyError::Ambiguous(ids)) if ids.len() == 2));
}
