//! Inclusion and consistency proofs of any numbers, and of a true tree with a few digests changed.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use truc_log::{MemoryTree, consistency, inclusion, root, verify_consistency, verify_inclusion};
use truc_model::Digest;

#[derive(Debug, Arbitrary)]
struct Case {
    numbers: [u64; 2],
    proof: Vec<[u8; 32]>,
    roots: [[u8; 32]; 2],
    size: u8,
    from: u8,
    change: Option<(u8, u8)>,
}

fuzz_target!(|case: Case| {
    let Case { numbers: [a, b], proof, roots, size, from, change } = case;
    let proof: Vec<Digest> = proof.into_iter().map(Digest).collect();
    let [old, new] = roots.map(Digest);
    // A proof of invented digests holds only of a tree of which there is nothing to prove.
    assert!(verify_inclusion(old, a, b, &proof, new).is_err() || (b == 1 && old == new));
    assert!(verify_consistency(a, old, b, new, &proof).is_err() || a == 0 || a == b);

    let (size, leaf) = (u64::from(size) + 1, |n: u64| Digest::of(&n.to_be_bytes()));
    let tree: MemoryTree = (0..size).map(leaf).collect();
    let (all, from) = (tree.root(), u64::from(from) % size);
    let (Ok(mut path), Ok(mut more)) = (inclusion(&tree, from, size), consistency(&tree, from, size)) else {
        unreachable!("the tree has all its leaves")
    };
    let Ok(before) = root(&tree, from) else { unreachable!("and all its subtrees") };
    assert_eq!(verify_inclusion(leaf(from), from, size, &path, all), Ok(()));
    assert_eq!(verify_consistency(from, before, size, all, &more), Ok(()));
    let Some((place, bit)) = change else { return };
    for proof in [&mut path, &mut more] {
        let length = proof.len().max(1);
        if let Some(digest) = proof.get_mut(usize::from(place) % length) {
            digest.0[usize::from(bit) % 32] ^= 1 << (bit >> 5);
        }
    }
    assert!(path.is_empty() || verify_inclusion(leaf(from), from, size, &path, all).is_err());
    assert!(more.is_empty() || verify_consistency(from, before, size, all, &more).is_err());
});
