//! Crafted signatures on which implementations of ed25519 disagree.

use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
    edwards::CompressedEdwardsY,
};
use sha2::{Digest, Sha512};

use crate::{
    consensus::SignatureError,
    primitives::{NetworkId, OutPoint, PublicKey, Signature, Transaction, TxId, TxInput},
};

/// A signature and the right verdict on it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) public_key: PublicKey,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) verdict: Result<(), SignatureError>,
}

/// A way to make a key and a signature.
#[derive(Clone, Copy)]
pub(crate) struct Craft {
    pub(crate) name: &'static str,
    pub(crate) verdict: Result<(), SignatureError>,
    key: Key,
    nonce: Nonce,
    s: S,
}

/// The choice of the public key.
#[derive(Clone, Copy)]
enum Key {
    /// The point aB plus the torsion point of that number; number 0 adds none.
    Torsion(usize),
    /// These bytes. The signature is made with a = 0.
    Bytes([u8; 32]),
}

/// The choice of R.
#[derive(Clone, Copy)]
enum Nonce {
    /// The point rB plus the torsion point of that number; number 0 adds none.
    Torsion(usize),
    /// These bytes. The signature is made with r = 0.
    Bytes([u8; 32]),
}

/// The last change to s.
#[derive(Clone, Copy)]
enum S {
    AsIs,
    PlusOrder,
    Bytes([u8; 32]),
}

use SignatureError::{KeyNotCanonical, KeySmallOrder, Mismatch, RNotCanonical, STooLarge};

const fn little(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// The identity: y = 1.
const IDENTITY: [u8; 32] = little(1, 0, 0);
/// The identity with a sign bit, although x is zero.
const IDENTITY_SIGNED: [u8; 32] = little(1, 0, 0x80);
/// The identity with y = p + 1.
const IDENTITY_OVER: [u8; 32] = little(0xee, 0xff, 0x7f);
/// The point of order 2: y = −1.
const ORDER_2: [u8; 32] = little(0xec, 0xff, 0x7f);
/// The point of order 2 with a sign bit, although x is zero.
const ORDER_2_SIGNED: [u8; 32] = little(0xec, 0xff, 0xff);
/// A point of order 4: y = 0.
const ORDER_4: [u8; 32] = little(0, 0, 0);
/// A point of order 4 with y = p, which equals 0.
const ORDER_4_OVER: [u8; 32] = little(0xed, 0xff, 0x7f);
/// A point of order 8, with the first of its two possible y.
const ORDER_8: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];
/// A point of order 8, with the second of its two possible y.
const ORDER_8_OTHER: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];
/// A point with y = p + 3, which is not of small order.
const THREE_OVER: [u8; 32] = little(0xf0, 0xff, 0x7f);
/// The value y = 2, which no point has.
const NO_POINT: [u8; 32] = little(2, 0, 0);

const PLAIN: Craft = Craft {
    name: "plain",
    verdict: Ok(()),
    key: Key::Torsion(0),
    nonce: Nonce::Torsion(0),
    s: S::AsIs,
};

const fn with_key(name: &'static str, key: Key, verdict: Result<(), SignatureError>) -> Craft {
    Craft { name, verdict, key, ..PLAIN }
}

const fn with_nonce(
    name: &'static str,
    nonce: Nonce,
    verdict: Result<(), SignatureError>,
) -> Craft {
    Craft { name, verdict, nonce, ..PLAIN }
}

const fn with_s(name: &'static str, s: S, verdict: Result<(), SignatureError>) -> Craft {
    Craft { name, verdict, s, ..PLAIN }
}

/// All crafted cases.
pub(crate) const CRAFTS: &[Craft] = &[
    PLAIN,
    with_key("torsion of order 8 in A", Key::Torsion(1), Ok(())),
    with_key("torsion of order 4 in A", Key::Torsion(2), Ok(())),
    with_key("torsion of order 2 in A", Key::Torsion(4), Ok(())),
    with_nonce("torsion of order 8 in R", Nonce::Torsion(3), Ok(())),
    with_nonce("torsion of order 4 in R", Nonce::Torsion(6), Ok(())),
    with_nonce("torsion of order 2 in R", Nonce::Torsion(4), Ok(())),
    Craft {
        name: "torsion in A and in R",
        key: Key::Torsion(5),
        nonce: Nonce::Torsion(7),
        ..PLAIN
    },
    with_nonce("R is the identity", Nonce::Bytes(IDENTITY), Ok(())),
    with_nonce("R is of order 2", Nonce::Bytes(ORDER_2), Ok(())),
    with_nonce("R is of order 4", Nonce::Bytes(ORDER_4), Ok(())),
    with_nonce("R is the identity with a sign", Nonce::Bytes(IDENTITY_SIGNED), Err(RNotCanonical)),
    with_nonce("R is the identity above p", Nonce::Bytes(IDENTITY_OVER), Err(RNotCanonical)),
    with_nonce("R is of order 2 with a sign", Nonce::Bytes(ORDER_2_SIGNED), Err(RNotCanonical)),
    with_nonce("R is of order 4 above p", Nonce::Bytes(ORDER_4_OVER), Err(RNotCanonical)),
    with_nonce("R is no point", Nonce::Bytes(NO_POINT), Err(Mismatch)),
    with_key("A is the identity", Key::Bytes(IDENTITY), Err(KeySmallOrder)),
    with_key("A is of order 2", Key::Bytes(ORDER_2), Err(KeySmallOrder)),
    with_key("A is of order 4", Key::Bytes(ORDER_4), Err(KeySmallOrder)),
    with_key(
        "A is of order 4 with the other x",
        Key::Bytes(little(0, 0, 0x80)),
        Err(KeySmallOrder),
    ),
    Craft {
        name: "A and R are the identity, s is 0",
        verdict: Err(KeySmallOrder),
        key: Key::Bytes(IDENTITY),
        nonce: Nonce::Bytes(IDENTITY),
        s: S::Bytes([0; 32]),
    },
    with_key("A is the identity with a sign", Key::Bytes(IDENTITY_SIGNED), Err(KeyNotCanonical)),
    with_key("A is the identity above p", Key::Bytes(IDENTITY_OVER), Err(KeyNotCanonical)),
    with_key("A is of order 2 with a sign", Key::Bytes(ORDER_2_SIGNED), Err(KeyNotCanonical)),
    with_key("A is of order 4 above p", Key::Bytes(ORDER_4_OVER), Err(KeyNotCanonical)),
    with_key("A is above p and of large order", Key::Bytes(THREE_OVER), Err(KeyNotCanonical)),
    with_key("A is no point", Key::Bytes(NO_POINT), Err(Mismatch)),
    with_s("s is raised by the order", S::PlusOrder, Err(STooLarge)),
    with_s("s is the largest number", S::Bytes([0xff; 32]), Err(STooLarge)),
    with_s("s is the order", S::Bytes(ORDER), Err(STooLarge)),
    with_s("s is 0", S::Bytes([0; 32]), Err(Mismatch)),
    with_nonce("R is of order 8", Nonce::Bytes(ORDER_8), Ok(())),
    with_nonce("R is of order 8 with the other y", Nonce::Bytes(ORDER_8_OTHER), Ok(())),
    with_nonce("R is of order 8 with the other x", Nonce::Bytes(signed(ORDER_8)), Ok(())),
    with_nonce("R is of order 4 with the other x", Nonce::Bytes(signed(ORDER_4)), Ok(())),
    with_nonce(
        "R is the identity above p with a sign",
        Nonce::Bytes(signed(IDENTITY_OVER)),
        Err(RNotCanonical),
    ),
    with_nonce(
        "R is of order 4 above p with a sign",
        Nonce::Bytes(signed(ORDER_4_OVER)),
        Err(RNotCanonical),
    ),
    with_nonce("R is above p and of large order", Nonce::Bytes(THREE_OVER), Err(RNotCanonical)),
    with_nonce("R is the largest number", Nonce::Bytes([0xff; 32]), Err(RNotCanonical)),
    with_key("A is of order 8", Key::Bytes(ORDER_8), Err(KeySmallOrder)),
    with_key("A is of order 8 with the other y", Key::Bytes(ORDER_8_OTHER), Err(KeySmallOrder)),
    with_key("A is of order 8 with the other x", Key::Bytes(signed(ORDER_8)), Err(KeySmallOrder)),
    with_key(
        "A is of order 8 with the other y and x",
        Key::Bytes(signed(ORDER_8_OTHER)),
        Err(KeySmallOrder),
    ),
    with_key(
        "A is the identity above p with a sign",
        Key::Bytes(signed(IDENTITY_OVER)),
        Err(KeyNotCanonical),
    ),
    with_key(
        "A is of order 4 above p with a sign",
        Key::Bytes(signed(ORDER_4_OVER)),
        Err(KeyNotCanonical),
    ),
    with_key("A is the largest number", Key::Bytes([0xff; 32]), Err(KeyNotCanonical)),
    Craft {
        name: "torsion in A, R is of order 8",
        key: Key::Torsion(3),
        nonce: Nonce::Bytes(ORDER_8),
        ..PLAIN
    },
    Craft {
        name: "torsion in A, R is the identity",
        key: Key::Torsion(1),
        nonce: Nonce::Bytes(IDENTITY),
        ..PLAIN
    },
    Craft {
        name: "torsion of order 2 in A, of order 4 in R",
        key: Key::Torsion(4),
        nonce: Nonce::Torsion(2),
        ..PLAIN
    },
    Craft {
        name: "torsion in A and in R, s is raised by the order",
        verdict: Err(STooLarge),
        key: Key::Torsion(5),
        nonce: Nonce::Torsion(7),
        s: S::PlusOrder,
    },
    Craft {
        name: "torsion in A and in R, s is 1",
        verdict: Err(Mismatch),
        key: Key::Torsion(5),
        nonce: Nonce::Torsion(7),
        s: S::Bytes(little(1, 0, 0)),
    },
    with_s("s is the order less 1", S::Bytes(ORDER_LESS_1), Err(Mismatch)),
    with_s("s is the order and 1", S::Bytes(ORDER_AND_1), Err(STooLarge)),
];

/// The order of the group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

const ORDER_LESS_1: [u8; 32] = with_first(0xec);
const ORDER_AND_1: [u8; 32] = with_first(0xee);

const fn with_first(byte: u8) -> [u8; 32] {
    let mut bytes = ORDER;
    bytes[0] = byte;
    bytes
}

/// Returns the same y with the sign bit set.
const fn signed(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] |= 0x80;
    bytes
}

/// Returns the 14 encodings of the 8 points of small order, the canonical ones first.
pub(crate) fn small_order_encodings() -> [[u8; 32]; 14] {
    [
        IDENTITY,
        ORDER_2,
        ORDER_4,
        signed(ORDER_4),
        ORDER_8,
        signed(ORDER_8),
        ORDER_8_OTHER,
        signed(ORDER_8_OTHER),
        IDENTITY_SIGNED,
        ORDER_2_SIGNED,
        IDENTITY_OVER,
        signed(IDENTITY_OVER),
        ORDER_4_OVER,
        signed(ORDER_4_OVER),
    ]
}

/// Returns the 196 pairs of ZIP 215's own test: A and R of small order, s = 0, message "Zcash".
///
/// The equation of ZIP 215 accepts them all, for any message. Here all are invalid, since anyone
/// can sign for such an A.
pub(crate) fn zip_215_pairs() -> Vec<Case> {
    let encodings = small_order_encodings();
    let pair = |(number, a): (usize, [u8; 32]), r: [u8; 32]| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        Case {
            name: "A and R of small order",
            public_key: PublicKey(a),
            message: b"Zcash".to_vec(),
            signature: Signature(signature),
            verdict: Err(if number < 8 { KeySmallOrder } else { KeyNotCanonical }),
        }
    };
    encodings
        .into_iter()
        .enumerate()
        .flat_map(|a| encodings.into_iter().map(move |r| pair(a, r)))
        .collect()
}

impl Craft {
    fn secret(self) -> Scalar {
        match self.key {
            Key::Torsion(_) => {
                Scalar::from_hash(Sha512::new().chain_update(b"secret").chain_update(self.name))
            }
            Key::Bytes(_) => Scalar::ZERO,
        }
    }

    fn public_key(self) -> PublicKey {
        PublicKey(match self.key {
            Key::Torsion(number) => point(self.secret(), number),
            Key::Bytes(bytes) => bytes,
        })
    }

    fn sign(self, message: &[u8]) -> Signature {
        let (r, r_bytes) = match self.nonce {
            Nonce::Torsion(number) => {
                let r =
                    Scalar::from_hash(Sha512::new().chain_update(b"nonce").chain_update(message));
                (r, point(r, number))
            }
            Nonce::Bytes(bytes) => (Scalar::ZERO, bytes),
        };
        let hash = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(self.public_key().0)
            .chain_update(message);
        let s = (r + Scalar::from_hash(hash) * self.secret()).to_bytes();
        let s = match self.s {
            S::AsIs => s,
            S::PlusOrder => plus_order(s),
            S::Bytes(bytes) => bytes,
        };
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r_bytes);
        signature[32..].copy_from_slice(&s);
        Signature(signature)
    }
}

fn point(scalar: Scalar, torsion: usize) -> [u8; 32] {
    let sum: EdwardsPoint = ED25519_BASEPOINT_POINT * scalar + EIGHT_TORSION[torsion];
    sum.compress().to_bytes()
}

fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let mut carry = 0u16;
    let mut sum = [0; 32];
    for (index, byte) in sum.iter_mut().enumerate() {
        carry += u16::from(s[index]) + u16::from(ORDER[index]);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    sum
}

/// Signs `message` in every way, and adds a good signature over another message.
pub(crate) fn cases(message: &[u8]) -> Vec<Case> {
    let case = |craft: &Craft| Case {
        name: craft.name,
        public_key: craft.public_key(),
        message: message.to_vec(),
        signature: craft.sign(message),
        verdict: craft.verdict,
    };
    let mut cases: Vec<_> = CRAFTS.iter().map(case).collect();
    let other = Case {
        name: "another message",
        signature: PLAIN.sign(b"another"),
        verdict: Err(Mismatch),
        ..case(&PLAIN)
    };
    cases.push(other);
    cases
}

/// Returns a note signed in that way, and the right verdict.
pub(crate) fn transaction(
    network: &NetworkId,
    craft: Craft,
) -> (Transaction, Result<(), SignatureError>) {
    let input = TxInput {
        outpoint: OutPoint { txid: TxId::ZERO, index: 0 },
        public_key: craft.public_key(),
        signature: Signature([0; 64]),
    };
    let mut transaction =
        Transaction { inputs: vec![input], outputs: vec![], memo: craft.name.as_bytes().to_vec() };
    let message = Transaction::signing_message(network, &transaction.txid());
    transaction.inputs[0].signature = craft.sign(&message);
    (transaction, craft.verdict)
}

#[test]
fn the_crafted_points_have_the_properties_of_their_names() {
    let small = |bytes| CompressedEdwardsY(bytes).decompress().map(|point| point.is_small_order());
    for bytes in small_order_encodings() {
        assert_eq!(small(bytes), Some(true));
    }
    let mut points: Vec<_> = small_order_encodings()
        .into_iter()
        .filter_map(|bytes| CompressedEdwardsY(bytes).decompress())
        .map(|point| point.compress().to_bytes())
        .collect();
    points.sort_unstable();
    points.dedup();
    assert_eq!(points.len(), 8, "each of the eight points");
    assert_eq!(small(THREE_OVER), Some(false));
    assert_eq!(small(NO_POINT), None);
}
