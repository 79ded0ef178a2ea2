//! The tree against the reference tree of Certificate Transparency, another implementation, and every kind of wrong proof.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use proptest::prelude::*;
use sha2::Sha256;
use truc_log::{
    MemoryTree, ProofError, Subtrees, consistency, inclusion, node_hash, root, verify_consistency,
    verify_inclusion,
};
use truc_model::Digest;

/// Leaves and roots of the reference tree of the certificate-transparency project.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn leaf(bytes: &[u8]) -> Digest {
    Digest::of(&[&[0x00], bytes].concat())
}

fn digests(hex: &[&str]) -> Vec<Digest> {
    hex.iter().map(|text| text.parse().unwrap()).collect()
}

fn numbered(size: u64) -> MemoryTree {
    (0..size).map(|n| leaf(&n.to_be_bytes())).collect()
}

/// A tree whose every leaf is the same, of any size: a complete subtree depends on its level only.
struct Uniform;

impl Subtrees for Uniform {
    type Error = std::convert::Infallible;
    fn subtree(&self, level: u32, _: u64) -> Result<Digest, Self::Error> {
        Ok((0..level).fold(leaf(b"same"), |node, _| node_hash(node, node)))
    }
}

#[test]
fn the_reference_tree_of_certificate_transparency() {
    let tree: MemoryTree = LEAVES.iter().map(|bytes| leaf(bytes)).collect();
    for (size, expected) in (0..).zip(ROOTS) {
        assert_eq!(root(&tree, size).unwrap().to_string(), expected, "size {size}");
    }
    let all = ROOTS[8].parse().unwrap();
    assert_eq!(tree.root(), all);
    let path = digests(&[
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    assert_eq!(inclusion(&tree, 0, 8).unwrap(), path);
    assert_eq!(consistency(&tree, 1, 8).unwrap(), path);
    let from_six = digests(&[
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        ROOTS[4],
    ]);
    assert_eq!(consistency(&tree, 6, 8).unwrap(), from_six);
    assert_eq!(verify_consistency(6, ROOTS[6].parse().unwrap(), 8, all, &from_six), Ok(()));
    assert_eq!(verify_inclusion(leaf(b""), 0, 8, &path, all), Ok(()));
}

#[test]
fn every_proof_up_to_seventy_leaves_holds_and_is_that_of_another_implementation() {
    let (mut ours, mut theirs) = (MemoryTree::default(), MemoryBackedTree::<Sha256, Vec<u8>>::new());
    let mut roots = vec![ours.root()];
    for size in 1..=70_u64 {
        let bytes = (size - 1).to_be_bytes().to_vec();
        ours.push(leaf(&bytes));
        theirs.push(bytes);
        assert_eq!(ours.size(), size);
        let all = ours.root();
        assert_eq!(all.as_bytes()[..], theirs.root().as_bytes()[..], "root of {size}");
        roots.push(all);
        for index in 0..size {
            let path = inclusion(&ours, index, size).unwrap();
            let other = theirs.prove_inclusion(usize::try_from(index).unwrap());
            assert_eq!(bytes_of(&path), other.as_bytes(), "{index} in {size}");
            assert_eq!(verify_inclusion(leaf(&index.to_be_bytes()), index, size, &path, all), Ok(()));
            let proof: InclusionProof<Sha256> = InclusionProof::from_bytes(bytes_of(&path));
            theirs.root().verify_inclusion(&index.to_be_bytes().to_vec(), index, &proof).unwrap();
        }
        for from in 0..=size {
            let proof = consistency(&ours, from, size).unwrap();
            let old = roots[usize::try_from(from).unwrap()];
            assert_eq!(verify_consistency(from, old, size, all, &proof), Ok(()), "{from} to {size}");
            if from > 0 && from < size {
                let other = theirs.prove_consistency(usize::try_from(size - from).unwrap());
                assert_eq!(bytes_of(&proof), other.as_bytes(), "{from} to {size}");
                assert!(ConsistencyProof::<Sha256>::try_from_bytes(bytes_of(&proof)).is_ok());
            }
        }
    }
}

fn bytes_of(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| *digest.as_bytes()).collect()
}

#[test]
fn a_proof_of_another_leaf_place_size_or_length_does_not_hold() {
    for size in 2..=33_u64 {
        let tree = numbered(size);
        let all = tree.root();
        for index in 0..size {
            let (leaf, path) = (leaf(&index.to_be_bytes()), inclusion(&tree, index, size).unwrap());
            let check =
                |leaf, index, size, path: &[Digest], root| verify_inclusion(leaf, index, size, path, root);
            assert_eq!(check(Digest([7; 32]), index, size, &path, all), Err(ProofError::Root));
            assert_eq!(check(leaf, index, size, &path, Digest([7; 32])), Err(ProofError::Root));
            assert_eq!(check(leaf, size, size, &path, all), Err(ProofError::OutOfRange(size, size)));
            assert!(check(leaf, (index + 1) % size, size, &path, all).is_err());
            assert_eq!(check(leaf, index, size, &path[1..], all), Err(ProofError::Length));
            let longer = [&path[..], &[all]].concat();
            assert_eq!(check(leaf, index, size, &longer, all), Err(ProofError::Length));
            for changed in 0..path.len() {
                let mut path = path.clone();
                path[changed].0[31] ^= 1;
                assert_eq!(check(leaf, index, size, &path, all), Err(ProofError::Root));
            }
        }
    }
}

#[test]
fn consistency_of_other_trees_does_not_hold() {
    let tree = numbered(40);
    for to in 2..=40_u64 {
        for from in 1..to {
            let (old, new) = (root(&tree, from).unwrap(), root(&tree, to).unwrap());
            let proof = consistency(&tree, from, to).unwrap();
            let wrong = Digest([7; 32]);
            assert_eq!(verify_consistency(from, wrong, to, new, &proof), Err(ProofError::Root));
            assert_eq!(verify_consistency(from, old, to, wrong, &proof), Err(ProofError::Root));
            assert!(verify_consistency(from, old, to, new, &proof[1..]).is_err());
            let longer = [&proof[..], &[new]].concat();
            assert_eq!(verify_consistency(from, old, to, new, &longer), Err(ProofError::Length));
            for changed in 0..proof.len() {
                let mut proof = proof.clone();
                proof[changed].0[0] ^= 0x80;
                assert!(verify_consistency(from, old, to, new, &proof).is_err());
            }
        }
    }
    let (empty, full) = (Digest::of(b""), tree.root());
    assert_eq!(verify_consistency(0, empty, 40, full, &[]), Ok(()));
    assert_eq!(verify_consistency(0, full, 40, full, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, empty, 40, full, &[full]), Err(ProofError::Length));
    assert_eq!(verify_consistency(40, full, 40, full, &[]), Ok(()));
    assert_eq!(verify_consistency(40, full, 40, empty, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(41, full, 40, full, &[]), Err(ProofError::OutOfRange(41, 40)));
}

#[test]
fn the_largest_tree_there_can_be() {
    let (size, leaf) = (u64::MAX, leaf(b"same"));
    let all = root(&Uniform, size).unwrap();
    for index in [0, 1, size / 2, 1 << 63, size - 2, size - 1] {
        let path = inclusion(&Uniform, index, size).unwrap();
        assert!(path.len() <= truc_log::MAX_PROOF);
        assert_eq!(verify_inclusion(leaf, index, size, &path, all), Ok(()), "{index}");
    }
    for from in [1, 2, 3, size / 2, 1 << 63, (1 << 63) + 1, size - 1] {
        let (old, proof) = (root(&Uniform, from).unwrap(), consistency(&Uniform, from, size).unwrap());
        assert!(proof.len() <= truc_log::MAX_PROOF);
        assert_eq!(verify_consistency(from, old, size, all, &proof), Ok(()), "{from}");
    }
}

#[test]
fn nothing_beyond_the_size_asked_about_is_read() {
    /// Refuses to show what is not whole in the first 21 leaves.
    struct Guarded(MemoryTree);
    impl Subtrees for Guarded {
        type Error = truc_log::NoSubtree;
        fn subtree(&self, level: u32, index: u64) -> Result<Digest, Self::Error> {
            assert!((index + 1) << level <= 21, "level {level}, index {index}");
            self.0.subtree(level, index)
        }
    }
    let tree = Guarded(numbered(64));
    root(&tree, 21).unwrap();
    for at in 0..=21 {
        inclusion(&tree, at, 21).unwrap();
        consistency(&tree, at, 21).unwrap();
    }
    assert!(inclusion(&numbered(3), 0, 4).is_err(), "more leaves than there are");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_big_trees(size in 1..u64::MAX, a in any::<u64>(), b in any::<u64>()) {
        let (index, from) = (a % size, 1 + b % size);
        let all = root(&Uniform, size).unwrap();
        let path = inclusion(&Uniform, index, size).unwrap();
        prop_assert_eq!(verify_inclusion(leaf(b"same"), index, size, &path, all), Ok(()));
        let proof = consistency(&Uniform, from, size).unwrap();
        let old = root(&Uniform, from).unwrap();
        prop_assert_eq!(verify_consistency(from, old, size, all, &proof), Ok(()));
    }

    #[test]
    fn two_trees_that_differ_are_never_consistent(from in 2_u64..300, more in 1_u64..300, at in any::<u64>()) {
        let (to, changed) = (from + more, at % from);
        let other: MemoryTree =
            (0..to).map(|n| leaf(&if n == changed { u64::MAX } else { n }.to_be_bytes())).collect();
        let old = numbered(from).root();
        let proof = consistency(&other, from, to).unwrap();
        prop_assert!(verify_consistency(from, old, to, other.root(), &proof).is_err());
    }

    #[test]
    fn hostile_proofs_are_refused_without_a_panic(
        numbers in any::<[u64; 2]>(),
        proof in prop::collection::vec(any::<[u8; 32]>().prop_map(Digest), 0..80),
        roots in any::<[[u8; 32]; 2]>(),
    ) {
        let [a, b] = numbers;
        let [old, new] = roots.map(Digest);
        prop_assert!(verify_inclusion(old, a, b, &proof, new).is_err());
        if a != b && a != 0 {
            prop_assert!(verify_consistency(a, old, b, new, &proof).is_err());
        }
    }
}
