//! Which ed25519 signatures are valid, decided alike alone and in batches.
//!
//! The equation is ZIP 215's, `[8][s]B = [8]R + [8][k]A` (<https://zips.z.cash/zip-0215>): with the cofactor, a sum of
//! valid equations is valid, so a batch accepts exactly when each of its signatures would be accepted alone. Before it,
//! for each signature by itself and by its bytes alone: s is below the group's order, A and R are canonical encodings,
//! and A is none of the eight points of small order (for which anyone can sign).

use ed25519_zebra::{Signature as ZebraSignature, VerificationKeyBytes, batch};

use super::{SignatureError, TransactionError};
use crate::primitives::{NetworkId, PublicKey, Signature, Transaction, TxId, TxInput};

/// Signatures in one batch: beyond this, a larger batch is hardly faster, and a bad signature costs more to find.
const BATCH: usize = 2_048;

/// A thread is only worth starting for this many signatures: about 3 ms of work.
const MIN_PER_THREAD: usize = 256;

/// The order of the group, 2²⁵² + 27742317777372353535851937790883648493, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The prime of the field, 2²⁵⁵ − 19, little-endian.
const PRIME: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// The y coordinates of the points of small order, little-endian: 1, −1, 0 and the two of order 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    ONE,
    MINUS_ONE,
    [0; 32],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

const ONE: [u8; 32] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const MINUS_ONE: [u8; 32] = [
    0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// Verifies one signature over any message, by the rule that transactions follow.
pub fn verify_signature(public_key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
    check_bytes(public_key, signature)?;
    item(public_key, message, signature).verify_single().map_err(|_| SignatureError::Mismatch)
}

/// Verifies every signature of every transaction, in batches over at most `threads` threads; on failure gives the
/// position of the first transaction with an invalid one.
///
/// The verdict does not depend on `threads`, nor on which transactions are verified together: callers leave out those
/// that they verified before. Blocks until done; each thread beyond the first is started and ended here.
pub fn verify_signatures(
    network: &NetworkId,
    transactions: &[(&Transaction, TxId)],
    threads: usize,
) -> Result<(), (usize, TransactionError)> {
    let total: usize = transactions.iter().map(|(transaction, _)| transaction.inputs.len()).sum();
    let parts = (total / MIN_PER_THREAD).clamp(1, threads.max(1));
    if parts == 1 {
        return verify_part(network, transactions, 0);
    }
    let share = total.div_ceil(parts);
    let mut parts = split_by_inputs(transactions, share).into_iter();
    let first = parts.next();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|(offset, part)| (offset, part, scope.spawn(move || verify_part(network, part, offset))))
            .collect();
        let mut verdict = first.map_or(Ok(()), |(offset, part)| verify_part(network, part, offset));
        for (offset, part, thread) in others {
            // A part whose thread died is verified here: the verdict depends on nothing but the signatures.
            let found = thread.join().unwrap_or_else(|_| verify_part(network, part, offset));
            verdict = verdict.and(found);
        }
        verdict
    })
}

/// Splits into runs of about `share` inputs, each with the position of its first transaction.
fn split_by_inputs<'a, 'b>(
    transactions: &'a [(&'b Transaction, TxId)],
    share: usize,
) -> Vec<(usize, &'a [(&'b Transaction, TxId)])> {
    let (mut parts, mut rest, mut offset) = (Vec::new(), transactions, 0usize);
    while !rest.is_empty() {
        let mut inputs = 0usize;
        let taken = rest.iter().take_while(|(transaction, _)| {
            let room = inputs < share;
            inputs = inputs.saturating_add(transaction.inputs.len());
            room
        });
        let (part, tail) = rest.split_at(taken.count().min(rest.len()));
        parts.push((offset, part));
        offset = offset.saturating_add(part.len());
        rest = tail;
    }
    parts
}

/// One signature, and where it stands.
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

/// Verifies transactions in order; `offset` is the position of the first.
fn verify_part(
    network: &NetworkId,
    transactions: &[(&Transaction, TxId)],
    offset: usize,
) -> Result<(), (usize, TransactionError)> {
    let messages: Vec<_> = transactions.iter().map(|(_, txid)| Transaction::signing_message(network, txid)).collect();
    let claims: Vec<_> = (offset..)
        .zip(transactions.iter().zip(&messages))
        .flat_map(|(transaction, ((content, _), message))| {
            let inputs = content.inputs.iter().enumerate();
            inputs.map(move |(input_index, input)| Claim { transaction, input_index, input, message })
        })
        .collect();
    claims.chunks(BATCH).try_for_each(verify_claims)
}

/// Verifies claims in one batch; the error is the first invalid one's.
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

/// The equation alone, for claims whose bytes have been checked.
fn verify_equations(claims: &[Claim<'_>]) -> Result<(), (usize, TransactionError)> {
    let item = |claim: &Claim<'_>| item(&claim.input.public_key, claim.message, &claim.input.signature);
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

/// What can be said of a signature by its bytes alone.
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

/// R and s.
fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    for (to, from) in r.iter_mut().chain(&mut s).zip(&signature.0) {
        *to = *from;
    }
    (r, s)
}

/// Whether this is the one encoding of a point, if of any: y below the prime, and no sign where x is zero.
fn is_canonical_point(bytes: &[u8; 32]) -> bool {
    let y = without_sign(bytes);
    is_below(&y, &PRIME) && (y == *bytes || (y != ONE && y != MINUS_ONE))
}

/// The y coordinate without the bit that says the sign of x.
const fn without_sign(bytes: &[u8; 32]) -> [u8; 32] {
    let mut y = *bytes;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    y
}

/// Whether one little-endian number is below another.
fn is_below(number: &[u8; 32], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}
