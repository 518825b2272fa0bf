//! The merkle tree of RFC 6962 over SHA-256d.
//!
//! Leaves and inner nodes are hashed with different prefixes, and an odd node is promoted.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::{Encode, LeafHash, MerkleRoot, Transaction, sha256d};

/// Returns the leaf of a whole transaction, signatures included.
#[must_use]
pub(crate) fn leaf_hash(transaction: &Transaction) -> LeafHash {
    LeafHash(sha256d(&[&[0x00], &transaction.to_bytes()]))
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256d(&[&[0x01], left, right])
}

fn parents(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node(left, right),
            [odd] => *odd,
            _ => [0; 32],
        })
        .collect()
}

/// Returns the root over the leaves in order. Without leaves it is zero; every block has one.
#[must_use]
pub(crate) fn merkle_root(leaves: &[LeafHash]) -> MerkleRoot {
    let mut level: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
    while level.len() > 1 {
        level = parents(&level);
    }
    MerkleRoot(level.first().copied().unwrap_or_default())
}

/// Returns the siblings on the path from leaf `index` up to the root.
///
/// An entry is `None` if the node is promoted without a sibling. The branch is empty if `index` is
/// out of range or there is only one leaf.
#[must_use]
pub(crate) fn merkle_branch(leaves: &[LeafHash], index: usize) -> Vec<Option<[u8; 32]>> {
    let mut level: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
    let (mut at, mut branch) = (index, Vec::new());
    if index >= leaves.len() {
        return branch;
    }
    while level.len() > 1 {
        branch.push(level.get(at ^ 1).copied());
        level = parents(&level);
        at /= 2;
    }
    branch
}

/// Returns the root that `leaf` at `index` and its branch lead to.
#[must_use]
pub(crate) fn root_of_branch(
    leaf: LeafHash,
    index: usize,
    branch: &[Option<[u8; 32]>],
) -> MerkleRoot {
    let (mut hash, mut at) = (leaf.0, index);
    for sibling in branch {
        hash = match sibling {
            Some(sibling) if at % 2 == 0 => node(&hash, sibling),
            Some(sibling) => node(sibling, &hash),
            None => hash,
        };
        at /= 2;
    }
    MerkleRoot(hash)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The recursive definition in RFC 6962, section 2.1.
    fn tree_hash(leaves: &[[u8; 32]]) -> [u8; 32] {
        if let [leaf] = leaves {
            return *leaf;
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        node(&tree_hash(left), &tree_hash(right))
    }

    proptest! {
        #[test]
        fn the_root_is_rfc_6962s(hashes in vec(any::<[u8; 32]>(), 1..70)) {
            let leaves: Vec<_> = hashes.iter().copied().map(LeafHash).collect();
            prop_assert_eq!(merkle_root(&leaves), MerkleRoot(tree_hash(&hashes)));
        }

        #[test]
        fn any_change_of_the_leaves_changes_the_root(
            hashes in vec(any::<[u8; 32]>(), 2..40), at: usize, to: usize, byte in 1u8..,
        ) {
            let leaves: Vec<_> = hashes.iter().copied().map(LeafHash).collect();
            let (at, to) = (at % leaves.len(), to % leaves.len());
            let root = merkle_root(&leaves);
            let mut changed = leaves.clone();
            changed[at].0[7] ^= byte;
            prop_assert_ne!(merkle_root(&changed), root);
            let mut swapped = leaves.clone();
            swapped.swap(at, to);
            prop_assert_eq!(merkle_root(&swapped) == root, swapped == leaves);
            prop_assert_ne!(merkle_root(&leaves[..leaves.len() - 1]), root);
        }
    }

    fn leaves(count: u8) -> Vec<LeafHash> {
        (0..count).map(|i| LeafHash([i; 32])).collect()
    }

    #[test]
    fn every_branch_leads_to_the_root_and_another_leaf_does_not() {
        for count in 1..20 {
            let leaves = leaves(count);
            let root = merkle_root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let branch = merkle_branch(&leaves, index);
                assert_eq!(root_of_branch(*leaf, index, &branch), root, "{index} of {count}");
                if count > 1 {
                    assert_ne!(root_of_branch(LeafHash([99; 32]), index, &branch), root);
                }
            }
        }
    }

    #[test]
    fn a_repeated_last_leaf_is_another_tree() {
        let three = leaves(3);
        let mut four = three.clone();
        four.push(three[2]);
        assert_ne!(merkle_root(&three), merkle_root(&four));
    }
}
