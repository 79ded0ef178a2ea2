//! Index parts: what they may list, and that a directory is the same however its head lists it.

use bytes::Bytes;
use truc_directory::*;
use truc_model::{Digest, MemberId};

use crate::bus::{Bus, Key, member};

fn id(code: &str) -> MemberId {
    format!("VN/GOV/{code}").parse().unwrap()
}

/// The index part that lists H26, with one change.
fn with_bucket(change: impl FnOnce(&mut MemberIndex)) -> Result<Directory, DirectoryError> {
    let (mut bus, name) = (Bus::indexed(), part::bucket(&id("H26")));
    let mut index = MemberIndex::parse(&bus.made(&name)).unwrap();
    change(&mut index);
    bus.spoil(&name, index.to_bytes());
    bus.assemble()
}

fn refused_as<T: std::fmt::Debug>(outcome: Result<T, DirectoryError>, words: &str) {
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn listed_by_the_head_or_by_index_parts_it_is_the_same_directory() {
    let (old, new) = (Bus::new().assemble().unwrap(), Bus::indexed().assemble().unwrap());
    assert!(old.members().eq(new.members()));
    assert_eq!((old.groups(), old.alias("000.00.00.H26")), (new.groups(), new.alias("000.00.00.H26")));
    let system = "VN/GOV/H26/he-thong".parse().unwrap();
    assert_eq!(old.nodes_serving(&system), new.nodes_serving(&system));
    assert!(new.in_group("mot-cua", &system));
    let raw = new.raw();
    assert_eq!(raw.member_part(&id("H26")), old.raw().member_part(&id("H26")));
    assert!(raw.index_part(&id("H26")).is_some() && old.raw().index_part(&id("H26")).is_none());
    assert_eq!(raw.part("group/mot-cua"), Some(&Bus::indexed().made("group/mot-cua")));
}

#[test]
fn a_head_of_many_members_stays_small() {
    let mut bus = Bus::indexed();
    for n in 0..2000 {
        let mut entry = member(&format!("X{n}"), 0);
        (entry.nodes, entry.sign_certificates) = (vec![], vec![]);
        bus.parts.push((part::member(&entry.id), entry.to_bytes()));
    }
    bus.relist();
    assert!(bus.head.parts.len() <= 256 + 4, "{}", bus.head.parts.len());
    assert!(bus.signed().to_bytes().len() < 64 * 1024);
    assert_eq!(bus.assemble().unwrap().members().count(), 2002);
}

#[test]
fn the_bucket_of_a_member_is_the_first_byte_of_its_ids_sha256() {
    // printf VN/GOV/H26 | sha256sum
    let first = Digest::of(b"VN/GOV/H26").to_string();
    assert_eq!(part::bucket(&id("H26")), format!("members/{}", &first[..2]));
}

#[test]
fn a_bucket_lists_its_own_members_once_and_in_order() {
    assert!(with_bucket(|_| {}).is_ok());
    refused_as(with_bucket(|b| b.members.clear()), "lists nobody");
    refused_as(with_bucket(|b| b.members.push(b.members[0].clone())), "once each");
    refused_as(with_bucket(|b| b.instance = "LA".into()), "another instance");
    refused_as(with_bucket(|b| b.members[0].size = PART_LIMIT_BYTES + 1), "longer than");
    refused_as(with_bucket(|b| b.members[0].size += 1), "does not have the digest or size");
    let stray =
        (0..).map(|n| id(&format!("Z{n}"))).find(|i| part::bucket(i) != part::bucket(&id("H26"))).unwrap();
    let outcome = with_bucket(|b| b.members.push(MemberRef { id: stray.clone(), ..b.members[0].clone() }));
    assert!(
        matches!(outcome.unwrap_err(), DirectoryError::WrongName { found, .. } if found == stray.to_string())
    );
    let twin =
        (0..).map(|n| id(&format!("A{n}"))).find(|i| part::bucket(i) == part::bucket(&id("H26"))).unwrap();
    let unsorted =
        |b: &mut MemberIndex| b.members.push(MemberRef { id: twin.clone(), ..b.members[0].clone() });
    refused_as(with_bucket(unsorted), "once each");
    let of_another = |b: &mut MemberIndex| b.members[0].digest = Digest([7; 32]);
    refused_as(with_bucket(of_another), "is missing");
}

#[test]
fn a_member_part_under_another_name_is_refused() {
    let mut bus = Bus::indexed();
    bus.set("member/VN/GOV/H49", member("H26", 40).to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::WrongName { .. }));
    let mut bus = Bus::indexed();
    let other = GroupPart { code: "khac".into(), ..GroupPart::parse(&bus.made("group/mot-cua")).unwrap() };
    let (digest, size) = (Digest::of(&other.to_bytes()), other.to_bytes().len() as u64);
    bus.spoil("group/khac", other.to_bytes());
    let groups = vec![GroupRef { code: "mot-cua".into(), digest, size }];
    bus.spoil(part::GROUP_INDEX, GroupIndex { v: V1, instance: "VN".into(), groups }.to_bytes());
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::WrongName { .. }));
}

#[test]
fn members_and_groups_are_listed_in_one_way_only() {
    let mut bus = Bus::indexed();
    let direct = Bus::new();
    bus.head.parts.push(direct.head.part("member/VN/GOV/G01").unwrap().clone());
    bus.head.parts.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Duplicate { .. }));
    let mut bus = Bus::indexed();
    bus.head.parts.push(direct.head.part("groups").unwrap().clone());
    bus.head.parts.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::Duplicate { .. }));
    let mut bus = Bus::indexed();
    bus.head.parts.retain(|p| p.name != part::GROUP_INDEX);
    assert!(matches!(bus.assemble().unwrap_err(), DirectoryError::UnlistedPart { .. }));
    for name in ["members/xyz", "members/", "members/0", "group/mot-cua", "member/VN"] {
        let mut bus = Bus::indexed();
        bus.spoil("unused", Bytes::from_static(b"{}"));
        bus.head.parts.iter_mut().find(|p| p.name == "unused").unwrap().name = name.into();
        bus.head.parts.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(bus.assemble().is_err(), "{name}");
    }
}

#[test]
fn groups_are_listed_once_in_order_and_hold_nobody_twice() {
    let index = |codes: &[&str]| GroupIndex {
        v: V1,
        instance: "VN".into(),
        groups: codes
            .iter()
            .map(|c| GroupRef { code: (*c).into(), digest: Digest([0; 32]), size: 1 })
            .collect(),
    };
    assert!(GroupIndex::parse(&index(&["a", "b"]).to_bytes()).is_ok());
    assert!(GroupIndex::parse(&index(&[]).to_bytes()).is_ok());
    for bad in [&["a", "a"], &["b", "a"]] {
        assert!(GroupIndex::parse(&index(bad).to_bytes()).is_err());
    }
    for members in [["MEMBER:VN/GOV/H26", "MEMBER:VN/GOV/H26"], ["MEMBER:VN/GOV/H26", "MEMBER:LA/GOV/H26"]] {
        let text = format!(
            "{{\"v\":1,\"instance\":\"VN\",\"code\":\"mot-cua\",\"name\":\"x\",\"members\":{}}}",
            serde_json::to_string(&members).unwrap()
        );
        let mut bus = Bus::indexed();
        let (digest, size) = (Digest::of(text.as_bytes()), text.len() as u64);
        bus.spoil("group/mot-cua", Bytes::from(text.clone()));
        let groups = vec![GroupRef { code: "mot-cua".into(), digest, size }];
        bus.spoil(part::GROUP_INDEX, GroupIndex { v: V1, instance: "VN".into(), groups }.to_bytes());
        assert!(bus.assemble().is_err(), "{text}");
        assert!(GroupPart::parse(text.as_bytes()).is_err());
    }
}

#[test]
fn ids_that_begin_alike_are_told_apart_in_a_group() {
    let mut bus = Bus::indexed();
    let ids = ["VN/GOV/H2", "VN/GOV/H26", "VN/GOV/H26/a", "VN/GOV/H26/a'", "VN/GOV/H26/ab", "VN/GOV/H26/a("];
    let members: Vec<GroupMember> = ids
        .iter()
        .skip(2)
        .map(|i| GroupMember::Subsystem(i.parse().unwrap()))
        .chain([GroupMember::Member(ids[0].parse().unwrap())])
        .collect();
    let groups = vec![Group { code: "g".into(), name: "G".into(), members: members.clone() }];
    bus.set(part::GROUPS, Groups { v: V1, instance: "VN".into(), groups }.to_bytes());
    let directory = bus.assemble().unwrap();
    for (who, inside) in [
        ("VN/GOV/H2/x", true),
        ("VN/GOV/H26/a", true),
        ("VN/GOV/H26/a'", true),
        ("VN/GOV/H26/ab", true),
        ("VN/GOV/H26/a(", true),
        ("VN/GOV/H26/abc", false),
        ("VN/GOV/H26/b", false),
        ("VN/GOV/H261/a", false),
        ("VN/GOV/H/x", false),
    ] {
        assert_eq!(directory.in_group("g", &who.parse().unwrap()), inside, "{who}");
    }
    let mut all = directory.groups().groups[0].members.clone();
    let mut expected = members;
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}

#[test]
fn a_subset_says_what_it_cannot_tell() {
    let bus = Bus::indexed();
    let store = bus.store();
    let bucket = |code: &str| bus.head.part(&part::bucket(&id(code))).unwrap().digest;
    let h26 = Digest::of(&bus.parts.iter().find(|(n, _)| n == "member/VN/GOV/H26").unwrap().1);
    let keep = [bus.head.part("trust").unwrap().digest, bucket("H26"), h26];
    let some = |d: &Digest| if keep.contains(d) { store.get(d).cloned() } else { None };
    let part_of = Directory::assemble_partial(&bus.anchor, &bus.chain, &bus.signed(), some).unwrap();
    assert!(part_of.member(&id("H26")).is_some() && !part_of.lacks(&id("H26")));
    assert!(part_of.lacks(&id("G01")), "its index part is not here");
    let node = "VN/GOV/H26/ss1".parse().unwrap();
    assert!(part_of.speaks_for(&node, &"VN/GOV/H26/he-thong".parse().unwrap()));
    // With the index part alone the member is known to be listed, and not how.
    let keep = [keep[0], bucket("H26")];
    let some = |d: &Digest| if keep.contains(d) { store.get(d).cloned() } else { None };
    let part_of = Directory::assemble_partial(&bus.anchor, &bus.chain, &bus.signed(), some).unwrap();
    assert!(part_of.lacks(&id("H26")) && part_of.missing().contains(&"member/VN/GOV/H26".to_owned()));
    assert!(!part_of.lacks(
        &(0..).map(|n| id(&format!("Z{n}"))).find(|i| part::bucket(i) == part::bucket(&id("H26"))).unwrap()
    ));
}

#[test]
fn parts_of_two_versions_do_not_mix() {
    let old = Bus::indexed();
    let mut new = Bus::indexed();
    let mut changed = member("H26", 12);
    changed.name_en = "Renamed".into();
    new.set("member/VN/GOV/H26", changed.to_bytes());
    new.head.version = 2;
    let before = old.assemble().unwrap();
    let name = part::bucket(&id("H26"));
    let (listed, stale) = (new.head.part(&name).unwrap().digest, old.made(&name));
    let store = new.store();
    let mixed = |d: &Digest| if *d == listed { Some(stale.clone()) } else { store.get(d).cloned() };
    let error = before.update(&new.chain, &new.signed(), mixed).unwrap_err();
    assert_eq!(error, DirectoryError::PartDigest { name: name.clone() });
    let error = Directory::assemble(&new.anchor, &new.chain, &new.signed(), mixed).unwrap_err();
    assert_eq!(error, DirectoryError::PartDigest { name });
    let error = before.update(&new.chain, &new.signed(), |d| store.get(d).filter(|_| *d == listed).cloned());
    assert!(
        matches!(error.unwrap_err(), DirectoryError::MissingPart { name, .. } if name == "member/VN/GOV/H26")
    );
}

#[test]
fn an_update_checks_head_roots_and_trust_as_an_assembly_does() {
    let before = Bus::indexed().assemble().unwrap();
    let mut bus = Bus::indexed();
    bus.publishing = Key::new(77);
    assert_eq!(bus.update(&before).unwrap_err(), DirectoryError::HeadSignature);
    let mut bus = Bus::indexed();
    bus.head.instance = "LA".into();
    assert!(matches!(bus.update(&before).unwrap_err(), DirectoryError::Instance { .. }));
    let mut bus = Bus::indexed();
    bus.set("trust", crate::bus::endorse(TrustServices::empty("VN").to_bytes(), &[&Key::new(2)]));
    assert_eq!(bus.update(&before).unwrap_err(), DirectoryError::TrustSignature);
    let mut bus = Bus::indexed();
    bus.head.parts.retain(|p| p.name != "root/1");
    assert_eq!(bus.update(&before).unwrap_err(), DirectoryError::RootMismatch);
    let (good, same) = (Bus::indexed().update(&before).unwrap(), Bus::indexed().assemble().unwrap());
    assert!(good.gone.is_empty() && good.directory.head_ref() == same.head_ref());
}
