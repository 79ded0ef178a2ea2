use bytes::Bytes;
use truc_directory::*;
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId};

use crate::bus::{Bus, Key, at, endorse, member, root};

#[test]
fn a_good_directory_answers_every_question() {
    let directory = Bus::new().assemble().unwrap();
    let h26: MemberId = "VN/GOV/H26".parse().unwrap();
    let system: SubsystemId = "VN/GOV/H26/he-thong".parse().unwrap();
    let node: NodeId = "VN/GOV/H26/ss1".parse().unwrap();
    let other: NodeId = "VN/GOV/G01/ss1".parse().unwrap();
    assert_eq!((directory.instance(), directory.epoch(), directory.version()), ("VN", 1, 1));
    assert_eq!(directory.member(&h26).unwrap().name_en, "Agency H26");
    assert_eq!(directory.members().count(), 2);
    assert_eq!(directory.subsystem(&system).unwrap().name, "Hệ thống");
    assert_eq!(directory.nodes_serving(&system)[0].id, node);
    assert!(directory.speaks_for(&node, &system) && !directory.speaks_for(&other, &system));
    assert!(directory.has_sign_certificate(&h26, &Fingerprint([12; 32])));
    assert!(!directory.has_sign_certificate(&h26, &Fingerprint([11; 32])), "another member's seal");
    assert_eq!(directory.node_of_auth_certificate(&Fingerprint([112; 32])).unwrap().id, node);
    assert!(directory.in_group("mot-cua", &system));
    assert!(!directory.in_group("mot-cua", &"VN/GOV/G01/he-thong".parse().unwrap()));
    assert_eq!(directory.alias("000.00.00.H26"), Some(&h26));
    assert!(directory.authorities()[0].allows(Usage::Sign));
    assert!(directory.missing().is_empty() && directory.successor(&h26).is_none());
}

#[test]
fn age_is_judged_against_the_given_time() {
    let directory = Bus::new().assemble().unwrap();
    for (now, expected) in [
        ("2026-11-21T02:59:00.000Z", Freshness::Fresh),
        ("2026-11-21T03:10:00.000Z", Freshness::Fresh),
        ("2026-11-21T03:10:00.001Z", Freshness::Degraded),
        ("2026-11-24T02:59:59.999Z", Freshness::Degraded),
        ("2026-11-24T03:00:00.000Z", Freshness::Expired),
    ] {
        assert_eq!(directory.freshness(at(now)), expected, "{now}");
    }
}

#[test]
fn a_head_of_a_stranger_or_changed_by_one_byte_is_refused() {
    let mut bus = Bus::new();
    bus.publishing = Key::new(77);
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::HeadSignature);

    let bus = Bus::new();
    let mut signed = bus.signed();
    let mut bytes = signed.head.to_vec();
    let place = bytes.windows(2).position(|w| w == b"VN").unwrap();
    bytes[place] = b'W';
    signed.head = Bytes::from(bytes);
    let error = Directory::assemble(&bus.anchor, &bus.chain, &signed, |_| None).unwrap_err();
    assert_eq!(error, DirectoryError::HeadSignature);
}

#[test]
fn another_instance_is_refused_wherever_it_shows() {
    let mut bus = Bus::new();
    bus.anchor.instance = "LA".into();
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Instance { .. }));

    let mut bus = Bus::new();
    bus.head.instance = "LA".into();
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Instance { .. }));

    let mut bus = Bus::new();
    bus.set("groups", Groups { v: V1, instance: "LA".into(), groups: vec![] }.to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Instance { .. }));

    let mut bus = Bus::new();
    bus.set("trust", endorse(TrustServices::empty("LA").to_bytes(), &[&Key::new(1)]));
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Instance { .. }));
}

#[test]
fn parts_must_be_there_and_unchanged() {
    let bus = Bus::new();
    let store = bus.store();
    let gone = bus.head.part("member/VN/GOV/G01").unwrap().digest;
    let without = |d: &Digest| if *d == gone { None } else { store.get(d).cloned() };
    let error = Directory::assemble(&bus.anchor, &bus.chain, &bus.signed(), without).unwrap_err();
    assert!(
        matches!(error, DirectoryError::MissingPart { ref name, .. } if name == "member/VN/GOV/G01"),
        "{error}"
    );

    let changed =
        |d: &Digest| if *d == gone { store.values().next().cloned() } else { store.get(d).cloned() };
    let outcome = Directory::assemble(&bus.anchor, &bus.chain, &bus.signed(), changed);
    assert!(matches!(outcome, Err(DirectoryError::PartDigest { .. }) | Ok(_)));
    let changed =
        |d: &Digest| if *d == gone { Some(Bytes::from_static(b"x")) } else { store.get(d).cloned() };
    let error = Directory::assemble(&bus.anchor, &bus.chain, &bus.signed(), changed).unwrap_err();
    assert!(matches!(error, DirectoryError::PartDigest { .. }));
}

#[test]
fn a_container_may_carry_two_members_only_but_never_without_the_trust_part() {
    let bus = Bus::new();
    let store = bus.store();
    let keep = ["trust", "member/VN/GOV/H26"].map(|n| bus.head.part(n).unwrap().digest);
    let some = |d: &Digest| if keep.contains(d) { store.get(d).cloned() } else { None };
    let directory = Directory::assemble_partial(&bus.anchor, &bus.chain, &bus.signed(), some).unwrap();
    assert_eq!(directory.missing(), ["groups", "aliases", "member/VN/GOV/G01"]);
    assert!(
        directory.speaks_for(&"VN/GOV/H26/ss1".parse().unwrap(), &"VN/GOV/H26/he-thong".parse().unwrap())
    );
    assert!(directory.raw().member_part(&"VN/GOV/H26".parse().unwrap()).is_some());
    assert!(directory.raw().trust_part().is_some());
    let error = Directory::assemble_partial(&bus.anchor, &bus.chain, &bus.signed(), |_| None).unwrap_err();
    assert!(matches!(error, DirectoryError::MissingPart { .. }));
}

#[test]
fn what_a_directory_was_assembled_from_assembles_again() {
    let bus = Bus::new();
    let first = bus.assemble().unwrap();
    let raw = first.raw();
    let store: std::collections::HashMap<_, _> = raw.parts().map(|(_, d, b)| (*d, b.clone())).collect();
    let head = SignedHead::parse(raw.signed_head()).unwrap();
    let again = Directory::assemble(&bus.anchor, raw.root_chain(), &head, |d| store.get(d).cloned()).unwrap();
    assert_eq!(again.head_ref(), first.head_ref());
}

#[test]
fn the_trust_part_needs_root_signatures() {
    let mut bus = Bus::new();
    bus.set("trust", endorse(TrustServices::empty("VN").to_bytes(), &[&Key::new(2)]));
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::TrustSignature);
}

#[test]
fn two_of_three_root_keys_suffice_and_one_does_not() {
    let keys = [Key::new(21), Key::new(22), Key::new(23)];
    let all: Vec<&Key> = keys.iter().collect();
    let first = root(1, 2, &all, &Key::new(2)).to_bytes();
    let bus = |signers: &[&Key]| Bus::with(2, &all, vec![endorse(first.clone(), signers)], &[all[1], all[2]]);
    assert!(bus(&[all[0], all[2]]).assemble().is_ok());
    for too_few in [&[all[0]][..], &[all[0], all[0]], &[all[0], &Key::new(99)], &[]] {
        assert_eq!(bus(too_few).assemble().unwrap_err(), DirectoryError::RootSignature { version: 1 });
    }
    let trust_by_one = Bus::with(2, &all, vec![endorse(first.clone(), &all)], &[all[0]]);
    assert_eq!(trust_by_one.assemble().unwrap_err(), DirectoryError::TrustSignature);
}

#[test]
fn roots_change_hands_only_with_both_thresholds() {
    let (old, new, publishing) = (Key::new(31), Key::new(32), Key::new(2));
    let one = endorse(root(1, 1, &[&old], &publishing).to_bytes(), &[&old]);
    let two = |signers: &[&Key], version| endorse(root(version, 1, &[&new], &publishing).to_bytes(), signers);
    let bus = |second: Bytes| Bus::with(1, &[&old], vec![one.clone(), second], &[&new]);
    assert_eq!(bus(two(&[&old, &new], 2)).assemble().unwrap().root().version, 2);
    for signers in [&[&old][..], &[&new]] {
        assert_eq!(
            bus(two(signers, 2)).assemble().unwrap_err(),
            DirectoryError::RootSignature { version: 2 }
        );
    }
    assert!(matches!(bus(two(&[&old, &new], 3)).assemble().unwrap_err(), DirectoryError::RootOrder { .. }));
    let stale_trust = Bus::with(1, &[&old], vec![one.clone(), two(&[&old, &new], 2)], &[&old]);
    assert_eq!(stale_trust.assemble().unwrap_err(), DirectoryError::TrustSignature);
}

#[test]
fn a_head_stands_on_the_whole_chain_and_its_epoch() {
    let mut bus = Bus::new();
    bus.head.epoch = 2;
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::Epoch { expected: 1, found: 2 });
    let mut bus = Bus::new();
    bus.anchor.epoch = Some(2);
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::Epoch { expected: 2, found: 1 });
    let mut bus = Bus::new();
    bus.head.parts.retain(|p| p.name != "root/1");
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::RootMismatch);
    let mut bus = Bus::new();
    bus.chain.clear();
    assert_eq!(bus.assemble().unwrap_err(), DirectoryError::NoRoot);
}

#[test]
fn nothing_may_be_listed_twice() {
    let mut bus = Bus::new();
    let mut twin = member("H26", 12);
    twin.sign_certificates = member("G01", 11).sign_certificates;
    bus.set("member/VN/GOV/H26", twin.to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Duplicate { .. }));

    let mut bus = Bus::new();
    let mut twin = member("H26", 12);
    twin.nodes[0].auth_certificates = member("G01", 11).nodes[0].auth_certificates.clone();
    bus.set("member/VN/GOV/H26", twin.to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Duplicate { .. }));

    let mut bus = Bus::new();
    bus.set("member/VN/GOV/H49", member("H26", 40).to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::WrongName { .. }));

    let mut foreign = member("H26", 12);
    foreign.nodes[0].id = "VN/GOV/G01/ss9".parse().unwrap();
    assert!(MemberEntry::parse(&foreign.to_bytes()).is_err());
    let mut doubled = member("H26", 12);
    doubled.subsystems.push(doubled.subsystems[0].clone());
    assert!(MemberEntry::parse(&doubled.to_bytes()).is_err());
}

#[test]
fn a_part_of_an_unknown_kind_is_refused() {
    let mut bus = Bus::new();
    bus.set("weather", Bytes::from_static(b"{}"));
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::UnknownPart { .. }));
    let mut bus = Bus::new();
    bus.set("root/3", Bytes::from_static(b"{}"));
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::UnknownPart { .. }));
}

#[test]
fn unknown_versions_and_fields_are_refused_by_name() {
    let good = member("H26", 12).to_bytes();
    let text = std::str::from_utf8(&good).unwrap();
    let two = text.replacen("\"v\":1", "\"v\":2", 1);
    assert_eq!(
        MemberEntry::parse(two.as_bytes()).unwrap_err(),
        FormatError::Version { what: "a member part", found: 2 }
    );
    let more = text.replacen("\"v\":1", "\"v\":1,\"colour\":\"red\"", 1);
    assert!(MemberEntry::parse(more.as_bytes()).unwrap_err().to_string().contains("colour"));
    let doubled = text.replacen("\"v\":1", "\"v\":1,\"v\":1", 1);
    assert!(MemberEntry::parse(doubled.as_bytes()).is_err());
}

#[test]
fn hosting_lets_a_node_speak_for_another_members_subsystem_while_it_is_listed() {
    let mut bus = Bus::new();
    let mut host = member("G01", 11);
    host.nodes[0].serves.push("VN/GOV/H26/he-thong".parse().unwrap());
    host.nodes[0].serves.push("VN/GOV/H26/da-bo".parse().unwrap());
    bus.set("member/VN/GOV/G01", host.to_bytes());
    let directory = bus.assemble().unwrap();
    let names: Vec<_> = directory
        .nodes_serving(&"VN/GOV/H26/he-thong".parse().unwrap())
        .iter()
        .map(|n| n.id.to_string())
        .collect();
    assert_eq!(names, ["VN/GOV/G01/ss1", "VN/GOV/H26/ss1"]);
    assert!(!directory.speaks_for(&"VN/GOV/G01/ss1".parse().unwrap(), &"VN/GOV/H26/da-bo".parse().unwrap()));
}

#[test]
fn an_anchor_is_read_strictly() {
    let anchor = Bus::new().anchor;
    assert_eq!(Anchor::parse(&anchor.to_json()).unwrap(), anchor);
    for spoil in [
        |a: &mut Anchor| a.threshold = 2,
        |a: &mut Anchor| a.threshold = 0,
        |a: &mut Anchor| a.root_keys.push(a.root_keys[0]),
        |a: &mut Anchor| a.registry.clear(),
        |a: &mut Anchor| a.registry[0].address = "registry".into(),
        |a: &mut Anchor| a.registry[0].address = "http://registry:4001".into(),
    ] {
        let mut bad = anchor.clone();
        spoil(&mut bad);
        assert!(Anchor::parse(&bad.to_json()).is_err());
    }
}
