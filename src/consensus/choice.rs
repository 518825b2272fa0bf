//! The choice between two branches: the one with more work, and a fair draw between equals.

use super::Work;
use crate::primitives::{BlockHash, sha256};

/// True if the branch that ends at `candidate` is better than the one that ends at `other`.
///
/// Each branch is given by its cumulative work and the hash of its last block. More work is better;
/// [`wins_tie`] decides between equals. A branch is not better than itself.
#[must_use]
pub fn is_better(candidate: (Work, &BlockHash), other: (Work, &BlockHash)) -> bool {
    match candidate.0.cmp(&other.0) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => wins_tie(candidate.1, other.1),
        std::cmp::Ordering::Less => false,
    }
}

/// True if `candidate` wins against `other`, the end of a branch with equal work.
///
/// The winner is the one with the lower SHA-256(lower hash ‖ higher hash ‖ own hash).
///
/// # Security
/// The draw depends on both hashes. A miner who holds a block back therefore cannot know beforehand
/// if it would win against a block that does not exist yet.
///
/// The relation need not be transitive: of three equals, each may win against one other. The
/// present best is therefore compared with one new block at a time.
#[must_use]
pub fn wins_tie(candidate: &BlockHash, other: &BlockHash) -> bool {
    let (lower, higher) = (candidate.min(other), candidate.max(other));
    let draw = |own: &BlockHash| sha256(&[&lower.0, &higher.0, &own.0]);
    // Most comparisons are of one and the same block, which need no draw.
    candidate != other && draw(candidate) < draw(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::consensus::vectors::golden;

    fn hash(number: u8) -> BlockHash {
        BlockHash([number; 32])
    }

    #[test]
    fn more_work_wins_whatever_the_hashes() {
        let (less, more) = (Work::from(1), Work::from(2));
        for (a, b) in [(hash(1), hash(2)), (hash(2), hash(1)), (hash(1), hash(1))] {
            assert!(is_better((more, &a), (less, &b)));
            assert!(!is_better((less, &a), (more, &b)));
        }
    }

    #[test]
    fn of_two_equals_exactly_one_wins_and_neither_hash_decides_alone() {
        let work = Work::from(7);
        let (mut lower, mut higher) = (0, 0);
        for number in 1..=u8::MAX {
            for other in 0..number {
                let (a, b) = (hash(other), hash(number));
                let wins = is_better((work, &a), (work, &b));
                assert_ne!(wins, is_better((work, &b), (work, &a)));
                if wins { lower += 1 } else { higher += 1 }
            }
        }
        let share = f64::from(lower) / f64::from(lower + higher);
        assert!((0.48..0.52).contains(&share), "{share}");
        assert!(!is_better((work, &hash(3)), (work, &hash(3))), "nobody beats himself");
    }

    #[test]
    fn draws_are_those_of_the_vectors() {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let pairs = [(1, 2), (2, 3), (3, 4), (1, 255), (0, 128), (7, 9)];
        let made = pairs.map(|(lower, higher)| {
            let (lower, higher) = (hash(lower), hash(higher));
            let winner = if wins_tie(&lower, &higher) { lower } else { higher };
            let draw = |own: &BlockHash| hex(&sha256(&[&lower.0, &higher.0, &own.0]));
            json!({
                "lower": hex(&lower.0),
                "higher": hex(&higher.0),
                "lower_draw": draw(&lower),
                "higher_draw": draw(&higher),
                "winner": hex(&winner.0),
            })
        });
        golden("draws.json", &json!(made));
    }
}
