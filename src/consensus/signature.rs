//! Verification of ed25519 signatures, with one verdict whether alone or in a batch.
//!
//! The equation is ZIP 215's, `[8][s]B = [8]R + [8][k]A` (<https://zips.z.cash/zip-0215>). It has
//! the cofactor, so a sum of valid equations is valid. A batch therefore accepts exactly the
//! signatures that are accepted alone.
//!
//! Before the equation, each signature is checked by its bytes alone:
//! - s is below the group's order,
//! - A and R are canonical encodings,
//! - A is none of the eight points of small order, for which anyone can sign.

use ed25519_zebra::{Signature as ZebraSignature, VerificationKeyBytes, batch};

use super::{SignatureError, TransactionError};
use crate::primitives::{NetworkId, PublicKey, Signature, Transaction, TxId, TxInput};

/// The division of signatures into batches and threads. No verdict depends on it; the tests try
/// many divisions.
#[derive(Debug, Clone, Copy)]
struct Grouping {
    /// The most signatures in one batch.
    batch: usize,
    /// The fewest signatures for which another thread is started.
    min_per_thread: usize,
}

/// The division in use.
///
/// A batch of more than 2,048 is hardly faster, and a bad signature in it costs more to find. 256
/// signatures take about 3 ms, which is worth a thread.
const GROUPING: Grouping = Grouping { batch: 2_048, min_per_thread: 256 };

/// The order of the group, 2²⁵² + 27742317777372353535851937790883648493, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The prime of the field, 2²⁵⁵ − 19, little-endian.
const PRIME: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// The y coordinates of the points of small order, little-endian.
///
/// They are 1, −1, 0 and the two of the points of order 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    ONE,
    MINUS_ONE,
    [0; 32],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

const ONE: [u8; 32] = [
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

const MINUS_ONE: [u8; 32] = [
    0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// Verifies one signature over any message, by the same rule as for transactions.
pub fn verify_signature(
    public_key: &PublicKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    check_bytes(public_key, signature)?;
    item(public_key, message, signature).verify_single().map_err(|_| SignatureError::Mismatch)
}

/// Verifies every signature of every transaction, in batches on at most `threads` threads.
///
/// The verdict on a transaction does not depend on `threads` or on the other transactions of the
/// call. The caller can therefore leave out transactions that it verified before. The call blocks
/// until all its threads have ended.
///
/// # Errors
///
/// The position of the first transaction with an invalid signature, and the reason.
pub fn verify_signatures(
    network: &NetworkId,
    transactions: &[(&Transaction, TxId)],
    threads: usize,
) -> Result<(), (usize, TransactionError)> {
    verify_grouped(network, transactions, threads, GROUPING)
}

fn verify_grouped(
    network: &NetworkId,
    transactions: &[(&Transaction, TxId)],
    threads: usize,
    grouping: Grouping,
) -> Result<(), (usize, TransactionError)> {
    let messages: Vec<_> =
        transactions.iter().map(|(_, txid)| Transaction::signing_message(network, txid)).collect();
    let claims: Vec<_> = transactions
        .iter()
        .zip(&messages)
        .enumerate()
        .flat_map(|(transaction, ((content, _), message))| {
            let inputs = content.inputs.iter().enumerate();
            inputs.map(move |(input_index, input)| Claim {
                transaction,
                input_index,
                input,
                message,
            })
        })
        .collect();
    let parts =
        claims.len().checked_div(grouping.min_per_thread).unwrap_or(1).clamp(1, threads.max(1));
    let mut parts = claims.chunks(claims.len().div_ceil(parts).max(1));
    let first = parts.next().unwrap_or_default();
    if parts.len() == 0 {
        return verify_part(first, grouping.batch);
    }
    std::thread::scope(|scope| {
        // If a thread does not start or panics, this thread verifies its part.
        let spawn = |part| {
            std::thread::Builder::new()
                .spawn_scoped(scope, move || verify_part(part, grouping.batch))
                .ok()
        };
        let others: Vec<_> = parts.map(|part| (part, spawn(part))).collect();
        let mut verdict = verify_part(first, grouping.batch);
        for (part, thread) in others {
            let found = thread.and_then(|thread| thread.join().ok());
            verdict =
                verdict.and_then(|()| found.unwrap_or_else(|| verify_part(part, grouping.batch)));
        }
        verdict
    })
}

/// A signature to verify, with its transaction and its input.
struct Claim<'a> {
    transaction: usize,
    input_index: usize,
    input: &'a TxInput,
    message: &'a [u8],
}

impl Claim<'_> {
    fn error(&self, reason: SignatureError) -> (usize, TransactionError) {
        let (input, public_key) = (self.input_index, self.input.public_key);
        (self.transaction, TransactionError::Signature { input, public_key, reason })
    }
}

/// Verifies claims in order, batch by batch, up to the first invalid one.
fn verify_part(claims: &[Claim<'_>], batch: usize) -> Result<(), (usize, TransactionError)> {
    claims.chunks(batch.max(1)).try_for_each(verify_claims)
}

/// Verifies claims in one batch. The error is that of the first invalid claim.
fn verify_claims(claims: &[Claim<'_>]) -> Result<(), (usize, TransactionError)> {
    let check = |claim: &Claim<'_>| check_bytes(&claim.input.public_key, &claim.input.signature);
    let sound = claims.iter().take_while(|claim| check(claim).is_ok()).count();
    let (before, rest) = claims.split_at(sound.min(claims.len()));
    verify_equations(before)?;
    match rest.first() {
        Some(claim) => check(claim).map_err(|reason| claim.error(reason)),
        None => Ok(()),
    }
}

/// Verifies only the equation, for claims whose bytes have been checked.
fn verify_equations(claims: &[Claim<'_>]) -> Result<(), (usize, TransactionError)> {
    let item =
        |claim: &Claim<'_>| item(&claim.input.public_key, claim.message, &claim.input.signature);
    if claims.len() > 1 {
        let mut verifier = batch::Verifier::new();
        for claim in claims {
            verifier.queue(item(claim));
        }
        if verifier.verify(rand::rng()).is_ok() {
            return Ok(());
        }
    }
    let mut alone = claims.iter();
    match alone.find(|claim| item(claim).verify_single().is_err()) {
        Some(claim) => Err(claim.error(SignatureError::Mismatch)),
        None => Ok(()),
    }
}

fn item(public_key: &PublicKey, message: &[u8], signature: &Signature) -> batch::Item {
    let key = VerificationKeyBytes::from(public_key.0);
    batch::Item::from((key, ZebraSignature::from_bytes(&signature.0), message))
}

/// Checks everything about a signature that needs only its bytes.
fn check_bytes(public_key: &PublicKey, signature: &Signature) -> Result<(), SignatureError> {
    if !is_canonical_point(&public_key.0) {
        return Err(SignatureError::KeyNotCanonical);
    }
    if SMALL_ORDER.contains(&without_sign(&public_key.0)) {
        return Err(SignatureError::KeySmallOrder);
    }
    let (r, s) = halves(signature);
    if !is_canonical_point(&r) {
        return Err(SignatureError::RNotCanonical);
    }
    if !is_below(&s, &ORDER) {
        return Err(SignatureError::STooLarge);
    }
    Ok(())
}

/// Splits a signature into R and s.
fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    for (to, from) in r.iter_mut().chain(&mut s).zip(&signature.0) {
        *to = *from;
    }
    (r, s)
}

/// True if the bytes are a canonical encoding, provided that they encode a point at all.
///
/// In a canonical encoding y is below the prime, and the sign bit is clear if x is zero.
fn is_canonical_point(bytes: &[u8; 32]) -> bool {
    let y = without_sign(bytes);
    is_below(&y, &PRIME) && (y == *bytes || (y != ONE && y != MINUS_ONE))
}

/// Returns the y coordinate without the bit that holds the sign of x.
const fn without_sign(bytes: &[u8; 32]) -> [u8; 32] {
    let mut y = *bytes;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    y
}

/// True if a little-endian number is below the bound.
fn is_below(number: &[u8; 32], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::{constants::EIGHT_TORSION, edwards::CompressedEdwardsY};
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::testing::{crafted, key, note, outpoint, signed};
    use crate::primitives::{Amount, BlockHash, Owner, TxOutput};

    const NETWORK: NetworkId = BlockHash([3; 32]);

    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    fn the_fast_backend_is_compiled_in() {
        let backend = if cfg!(curve25519_dalek_backend = "avx512") { "avx512" } else { "portable" };
        assert_eq!(
            backend, "avx512",
            ".cargo/config.toml sets it, unless RUSTFLAGS is set and overrides that"
        );
    }

    #[test]
    fn the_points_of_small_order_are_known_by_their_bytes() {
        for point in EIGHT_TORSION {
            let bytes = point.compress().to_bytes();
            assert!(SMALL_ORDER.contains(&without_sign(&bytes)));
            assert!(is_canonical_point(&bytes));
        }
        for y in SMALL_ORDER {
            assert!(CompressedEdwardsY(y).decompress().is_some_and(|point| point.is_small_order()));
        }
    }

    #[test]
    fn every_crafted_signature_has_one_verdict_alone_and_in_every_batch() {
        for case in crafted::cases(b"any message") {
            let alone = verify_signature(&case.public_key, &case.message, &case.signature);
            assert_eq!(alone, case.verdict, "{}", case.name);
        }
        let good: Vec<_> = (0..32).map(|index| note(&NETWORK, &key(9), index, b"good")).collect();
        for craft in crafted::CRAFTS {
            let odd = crafted::transaction(&NETWORK, *craft);
            for (company, at) in [(0, 0), (1, 0), (1, 1), (8, 3), (32, 0), (32, 17), (32, 32)] {
                let expected = odd.1.map_err(|reason| {
                    (
                        at,
                        TransactionError::Signature {
                            input: 0,
                            public_key: odd.0.inputs[0].public_key,
                            reason,
                        },
                    )
                });
                let mut all: Vec<_> =
                    good[..company].iter().map(|good| (good, good.txid())).collect();
                all.insert(at, (&odd.0, odd.0.txid()));
                for (threads, batch) in [(1, 1), (1, 100), (3, 2), (6, 100)] {
                    let grouping = Grouping { batch, min_per_thread: 1 };
                    assert_eq!(
                        verify_grouped(&NETWORK, &all, threads, grouping),
                        expected,
                        "{}",
                        craft.name
                    );
                }
            }
        }
    }

    #[test]
    fn no_pair_of_small_order_is_accepted_alone_or_in_a_batch() {
        let pairs = crafted::zip_215_pairs();
        assert_eq!(pairs.len(), 196);
        for pair in &pairs {
            let item = item(&pair.public_key, &pair.message, &pair.signature);
            assert!(item.verify_single().is_ok(), "the equation alone accepts it");
            assert_eq!(
                verify_signature(&pair.public_key, &pair.message, &pair.signature),
                pair.verdict
            );
        }
        let transactions: Vec<_> = pairs
            .iter()
            .map(|pair| {
                let mut note = note(&NETWORK, &key(9), 0, &pair.message);
                note.inputs[0].public_key = pair.public_key;
                note.inputs[0].signature = pair.signature;
                note
            })
            .collect();
        let all: Vec<_> =
            transactions.iter().map(|transaction| (transaction, transaction.txid())).collect();
        for (threads, batch) in [(1, 1), (1, 300), (4, 7)] {
            let (at, _) =
                verify_grouped(&NETWORK, &all, threads, Grouping { batch, min_per_thread: 1 })
                    .expect_err("bad");
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn signatures_with_torsion_are_accepted_in_a_batch_as_alone() {
        // If only one of the two equations had the cofactor, each of these would fail about 7 times
        // in 8.
        let valid = crafted::CRAFTS.iter().filter(|craft| craft.verdict.is_ok());
        let transactions: Vec<_> =
            valid.map(|craft| crafted::transaction(&NETWORK, *craft).0).collect();
        let all: Vec<_> =
            transactions.iter().map(|transaction| (transaction, transaction.txid())).collect();
        for (threads, batch) in [(1, 1), (1, 2), (1, 100), (2, 3), (5, 100)] {
            for _ in 0..20 {
                let grouping = Grouping { batch, min_per_thread: 1 };
                assert_eq!(verify_grouped(&NETWORK, &all, threads, grouping), Ok(()));
            }
        }
    }

    #[test]
    fn a_signature_is_bound_to_its_network_and_its_content() {
        let output = TxOutput { value: Amount::from_units(5), owner: Owner([1; 20]) };
        let trade = signed(
            &NETWORK,
            &[(&key(1), outpoint(1, 0)), (&key(2), outpoint(1, 1))],
            vec![output],
            b"hi",
        );
        assert_eq!(verify_signatures(&NETWORK, &[(&trade, trade.txid())], 1), Ok(()));

        assert!(verify_signatures(&BlockHash([4; 32]), &[(&trade, trade.txid())], 1).is_err());
        let mut changed = trade.clone();
        changed.memo[0] ^= 1;
        assert!(verify_signatures(&NETWORK, &[(&changed, changed.txid())], 1).is_err());
        let mut swapped = trade.clone();
        swapped.inputs[1].signature = trade.inputs[0].signature;
        let (at, error) =
            verify_signatures(&NETWORK, &[(&trade, trade.txid()), (&swapped, swapped.txid())], 2)
                .expect_err("another's signature");
        assert_eq!(at, 1);
        assert!(matches!(
            error,
            TransactionError::Signature { input: 1, reason: SignatureError::Mismatch, .. }
        ));
    }

    #[test]
    fn nothing_to_verify_is_valid() {
        assert_eq!(verify_signatures(&NETWORK, &[], 8), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_verdict_does_not_depend_on_the_grouping(
            picks in proptest::collection::vec(0..crafted::CRAFTS.len() * 3, 1..24),
            threads in 0usize..6, batch in 1usize..12, min_per_thread in 1usize..4,
        ) {
            // Two thirds are ordinary, so that batches mix crafted signatures with good ones.
            let transaction = |(index, pick): (u32, &usize)| match crafted::CRAFTS.get(*pick) {
                Some(craft) => crafted::transaction(&NETWORK, *craft).0,
                None => note(&NETWORK, &key(5), index, b"fine"),
            };
            let transactions: Vec<_> = (0u32..).zip(&picks).map(transaction).collect();
            let all: Vec<_> =
                transactions.iter().map(|transaction| (transaction, transaction.txid())).collect();
            let one_by_one = all.iter().position(|(transaction, txid)| {
                let input = &transaction.inputs[0];
                let message = Transaction::signing_message(&NETWORK, txid);
                verify_signature(&input.public_key, &message, &input.signature).is_err()
            });
            let grouping = Grouping { batch, min_per_thread };
            let grouped = verify_grouped(&NETWORK, &all, threads, grouping);
            prop_assert_eq!(grouped.err().map(|(at, _)| at), one_by_one);
        }
    }
}
