use proptest::prelude::*;

use super::*;

/// Some digests that all differ.
fn digests(n: usize) -> Vec<Digest> {
    (0..n).map(|i| Digest::of(&i.to_be_bytes())).collect()
}

/// A stand-in: evidence records do not look into tokens.
fn token() -> Vec<u8> {
    let mut token = vec![0x30, 0x81, 0xc8];
    token.extend([0x04, 0x81, 0xc5]);
    token.extend((0..197u8).map(|n| n ^ 0x5a));
    token
}

/// The group of record `n`: manifest, signature and `n % 4` statuses.
fn group(n: usize) -> Vec<Digest> {
    (0..2 + n % 4).map(|part| Digest::of(format!("{n}/{part}").as_bytes())).collect()
}

fn hash_of(group: &[Digest]) -> Digest {
    group_hash(group[0], group[1], &group[2..])
}

#[test]
fn every_leaf_of_every_size_leads_to_the_root() {
    for size in 1..=70 {
        let groups: Vec<_> = (0..size).map(group).collect();
        let tree = Tree::new(groups.iter().map(|group| hash_of(group)).collect()).unwrap();
        assert_eq!(tree.path(size), None);
        for (index, group) in groups.iter().enumerate() {
            let record = EvidenceRecord::new(group, &tree.path(index).unwrap(), &token()).unwrap();
            assert_eq!(record.verify(group).unwrap(), tree.root(), "{index} of {size}");
            let read = EvidenceRecord::from_der(&record.to_der().unwrap()).unwrap();
            assert_eq!(read, record);
            let other = groups.get(index + 1).or(groups.first()).filter(|_| size > 1);
            assert!(other.is_none_or(|other| record.verify(other).is_err()));
        }
    }
    assert_eq!(Tree::new(vec![]).unwrap_err(), ErsError::NoLeaves);
}

#[test]
fn a_single_object_stands_beside_its_sibling() {
    for size in 2..=70 {
        let leaves = digests(size);
        let tree = Tree::new(leaves.clone()).unwrap();
        for (index, leaf) in leaves.iter().enumerate() {
            let record = EvidenceRecord::new(&[*leaf], &tree.path(index).unwrap(), &token()).unwrap();
            assert_eq!(record.group().len(), 2);
            assert_eq!(record.verify(&[*leaf]).unwrap(), tree.root());
            assert!(record.verify(&[Digest::of(b"another")]).is_err());
        }
    }
    assert_eq!(EvidenceRecord::new(&digests(1), &[], &token()), Err(ErsError::Group(1)));
    assert_eq!(EvidenceRecord::new(&[], &[], &token()), Err(ErsError::Group(0)));
}

/// The tree of the RFC's words, once more and by hand: five leaves.
#[test]
fn the_tree_is_that_of_the_page() {
    let leaves = digests(5);
    let pair = |a: Digest, b: Digest| {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        Digest::of(&[low.0, high.0].concat())
    };
    let (ab, cd) = (pair(leaves[0], leaves[1]), pair(leaves[2], leaves[3]));
    let root = pair(pair(ab, cd), leaves[4]);
    let tree = Tree::new(leaves.clone()).unwrap();
    assert_eq!(tree.root(), root);
    assert_eq!(tree.path(2).unwrap(), vec![leaves[3], ab, leaves[4]]);
    assert_eq!(tree.path(4).unwrap(), vec![pair(ab, cd)], "the odd one meets only the last sibling");
    // Order within a pair does not count; which leaves make a pair does.
    let swapped = vec![leaves[1], leaves[0], leaves[2], leaves[3], leaves[4]];
    assert_eq!(Tree::new(swapped).unwrap().root(), root);
}

#[test]
fn a_group_is_hashed_in_ascending_order() {
    let group = group(7);
    let mut sorted = group.clone();
    sorted.sort_unstable();
    let bytes: Vec<u8> = sorted.iter().flat_map(|digest| digest.0).collect();
    assert_eq!(hash_of(&group), Digest::of(&bytes));
}

fn golden() -> EvidenceRecord {
    let groups: Vec<_> = (0..11).map(group).collect();
    let tree = Tree::new(groups.iter().map(|group| hash_of(group)).collect()).unwrap();
    EvidenceRecord::new(&groups[6], &tree.path(6).unwrap(), &token()).unwrap()
}

/// The form is for ever: `tests/golden/record.ers` was written once.
#[test]
fn the_form_is_that_of_the_golden_file() {
    let bytes = include_bytes!("../../tests/golden/record.ers");
    assert_eq!(golden().to_der().unwrap(), bytes);
    assert_eq!(EvidenceRecord::from_der(bytes).unwrap(), golden());
}

#[test]
fn the_layout_says_where_everything_lies() {
    for groups in [2, 3, 4, 5, 7, 8, 40] {
        let group = digests(groups);
        let siblings = vec![Digest::of(b"one"), Digest::of(b"two")];
        let record = EvidenceRecord::new(&group, &siblings, &token()).unwrap();
        let (der, layout) = (record.to_der().unwrap(), record.layout().unwrap());
        assert_eq!(&der[layout.token.clone()], token());
        let mut lists = layout.lists.iter();
        for (place, digest) in lists.next().unwrap().iter().zip(record.group()) {
            assert_eq!(&der[place.clone()], digest.as_bytes());
            assert_eq!(der[place.start - 2..place.start], [0x04, 32]);
        }
        assert_eq!(layout.lists[0].len(), groups);
        for (list, digest) in lists.zip(&siblings) {
            assert_eq!(&der[list[0].clone()], digest.as_bytes());
        }
        assert_eq!(layout.lists.len(), 3);
    }
}

#[test]
fn every_flipped_bit_shows() {
    let record = golden();
    let group = group(6);
    let (der, root) = (record.to_der().unwrap(), record.verify(&group).unwrap());
    for bit in 0..der.len() * 8 {
        let mut changed = der.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // Within the token it is the token's reader that must find it.
        let outcome = EvidenceRecord::from_der(&changed);
        let told = outcome.and_then(|read| Ok((read.verify(&group)?, read.token().to_vec())));
        assert_ne!(told, Ok((root, token())), "bit {bit}");
    }
    for length in 0..der.len() {
        assert!(EvidenceRecord::from_der(&der[..length]).is_err());
    }
    for digest in 0..group.len() {
        let mut other = group.clone();
        other[digest].0[31] ^= 1;
        assert_eq!(record.verify(&other), Err(ErsError::OtherData));
    }
    let mut fewer = group;
    fewer.pop();
    assert_eq!(record.verify(&fewer), Err(ErsError::OtherData));
}

#[test]
fn too_much_is_refused() {
    let digests = digests(65);
    assert_eq!(EvidenceRecord::new(&digests, &[], &token()), Err(ErsError::Group(65)));
    assert_eq!(EvidenceRecord::new(&digests[..2], &digests, &token()), Err(ErsError::Path(65)));
    assert_eq!(EvidenceRecord::new(&digests[..2], &[], b"no DER"), Err(ErsError::Token));
    let mut longer = token();
    longer.push(0);
    assert_eq!(EvidenceRecord::new(&digests[..2], &[], &longer), Err(ErsError::Token));
    assert_eq!(EvidenceRecord::from_der(&vec![0x30; SIZE_LIMIT + 1]), Err(ErsError::TooLong(SIZE_LIMIT + 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_is_written_the_same(
        place in any::<prop::sample::Index>(), octet in any::<u8>(), kind in 0..3u8,
    ) {
        let mut der = golden().to_der().unwrap();
        let at = place.index(der.len());
        match kind {
            0 => der[at] = octet,
            1 => drop(der.remove(at)),
            _ => der.insert(at, octet),
        }
        if let Ok(read) = EvidenceRecord::from_der(&der) {
            prop_assert_eq!(read.to_der().unwrap(), der);
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = EvidenceRecord::from_der(&bytes);
    }

    #[test]
    fn any_tree_proves_its_leaves_and_nothing_else(size in 2usize..2000, place in any::<prop::sample::Index>(), bit in 0usize..256) {
        let leaves = digests(size);
        let tree = Tree::new(leaves.clone()).unwrap();
        let index = place.index(size);
        let record = EvidenceRecord::new(&[leaves[index]], &tree.path(index).unwrap(), &token()).unwrap();
        prop_assert_eq!(record.verify(&[leaves[index]]).unwrap(), tree.root());
        let mut other = leaves[index];
        other.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(record.verify(&[other]).is_err());
    }
}
