//! Decodes messages of peers: requests and responses of each protocol, gossip of each topic.

use std::fmt;

use ed25519_dalek::SigningKey;
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use super::choices::Choices;
use crate::{
    primitives::{BlockHash, NetworkId, Owner, PeerId, PublicKey, SHORT_ID_BYTES, Signature, TxId},
    wire::{
        BlockGossip, Bounded, ChatGossip, ChatRequest, ChatResponse, CompactBlock, FriendsRequest,
        FriendsResponse, GetBlockTrades, GetBlocks, Gossip, HelloRequest, HelloResponse, Item,
        ItemId, LineIds, Protocol, Refusal, Request, Response, SealedLine, Secret, SignedLine,
        SignedProfile, SignedQuit, Status, SyncRequest, SyncResponse, Topic, TradeAnnouncement,
        TradeGossip, agree, codec,
        limits::{
            LINE_ID_BYTES, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_FRIENDS_REQUEST_BYTES,
            MAX_GET_DATA, MAX_GET_LINES, MAX_INV_HEADERS, MAX_LINE_BYTES, MAX_LINE_IDS,
            MAX_LOCATOR, MAX_NAME_BYTES, MAX_PROFILES, SEAL_BYTES,
        },
    },
};

const NETWORK: NetworkId = BlockHash([0xab; 32]);

/// Runs the target. The first byte decides the kind of the rest: an encoded message, or choices
/// that make a message whose sizes are often at a limit.
pub fn wire_messages(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 16 {
        number @ 0..=3 => {
            let protocol = Protocol::ALL[usize::from(number)];
            if let Ok(request) = protocol.decode_request(rest) {
                assert_eq!(request.protocol(), protocol);
                assert_eq!(
                    request.encode().as_deref(),
                    Ok(rest),
                    "a second encoding of {request:?}"
                );
                examine_request(&request);
            }
        }
        number @ 4..=7 => {
            let protocol = Protocol::ALL[usize::from(number - 4)];
            if let Ok(response) = protocol.decode_response(rest) {
                assert_eq!(response.protocol(), protocol);
                assert_eq!(
                    response.encode().as_deref(),
                    Ok(rest),
                    "a second encoding of {response:?}"
                );
                if let Response::Friends(FriendsResponse::Profiles(profiles)) = &response {
                    profiles.iter().take(4).for_each(examine_profile);
                }
            }
        }
        number @ 8..=10 => {
            let topic = Topic::ALL[usize::from(number - 8)];
            if let Ok(gossip) = topic.decode(rest) {
                assert_eq!(gossip.topic(), topic);
                assert_eq!(gossip.encode().as_deref(), Ok(rest), "a second encoding of {gossip:?}");
                examine_gossip(&gossip);
            }
        }
        // `friends` decodes its stored records with the same codec.
        11 => {
            if let Some(profile) = read::<SignedProfile>(rest) {
                examine_profile(&profile);
            }
            if let Some(line) = read::<SignedLine>(rest) {
                examine_line(&line);
            }
        }
        _ => made_messages(&mut Choices::new(rest)),
    }
}

fn read<T: Serialize + DeserializeOwned + Bounded + fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = codec::decode(bytes, MAX_FRIENDS_REQUEST_BYTES.max(8_192)).ok()?;
    assert_eq!(codec::encode(&value), bytes, "a second encoding of {value:?}");
    Some(value)
}

fn examine_request(request: &Request) {
    match request {
        Request::Friends(FriendsRequest::Introduce(profile)) => examine_profile(profile),
        Request::Chat(ChatRequest::Direct(line)) => examine_line(line),
        Request::Chat(ChatRequest::Sealed(line)) => examine_sealed(line),
        Request::Hello(_)
        | Request::Friends(FriendsRequest::Explore)
        | Request::Chat(ChatRequest::GetLineIds(_) | ChatRequest::GetLines(_))
        | Request::Sync(_) => {}
    }
}

/// Opens a box by a key of its receiver or of another. A box that was sealed to the key opens to
/// the line that was sealed.
fn examine_sealed(sealed: &SealedLine) {
    let key = SigningKey::from_bytes(&[7; 32]);
    if let Ok(line) = sealed.open(&NETWORK, &|theirs| agree(&key, theirs)) {
        assert_eq!(line.to, Some(sealed.to));
        examine_line(&line);
    }
    let to = PeerId(PublicKey(key.verifying_key().to_bytes()));
    // The bytes of the input choose the ephemeral key and the text.
    let secret = sealed.sealed.first_chunk::<32>().copied().unwrap_or([1; 32]);
    let text: String = sealed.sealed.iter().map(|byte| char::from(byte % 128)).collect();
    let text = text.get(..MAX_LINE_BYTES).unwrap_or(&text).to_owned();
    let (time, signature) = (0, Signature([0; 64]));
    let line = SignedLine { author: sealed.to, to: Some(to), time, counter: 0, text, signature };
    let own = SealedLine::seal(&NETWORK, &line, &Secret::new(secret)).expect("a short line");
    assert_eq!(own.open(&NETWORK, &|theirs| agree(&key, theirs)), Ok(line));
    let request = Request::Chat(ChatRequest::Sealed(own));
    let bytes = request.encode().expect("within the limits");
    assert_eq!(Protocol::Chat.decode_request(&bytes), Ok(request));
}

fn examine_gossip(gossip: &Gossip) {
    match gossip {
        Gossip::Chat(ChatGossip::Line(line)) => examine_line(line),
        Gossip::Chat(ChatGossip::Quit(quit)) => {
            let _ = quit.verify(&NETWORK);
            let other = SignedQuit { counter: quit.counter ^ 1, ..quit.clone() };
            assert_ne!(quit.id(&NETWORK), other.id(&NETWORK));
        }
        Gossip::Trade(_) | Gossip::Block(_) => {}
    }
}

fn examine_line(line: &SignedLine) {
    let _ = line.verify(&NETWORK);
    let other = SignedLine { text: format!("{}.", line.text), ..line.clone() };
    assert_ne!(line.id(&NETWORK), other.id(&NETWORK));
    assert_eq!(line.id(&NETWORK).to_string().parse(), Ok(line.id(&NETWORK)));
}

fn examine_profile(profile: &SignedProfile) {
    let _ = profile.verify(&NETWORK);
    let other = SignedProfile { sequence: profile.sequence ^ 1, ..profile.clone() };
    assert_ne!(profile.signing_bytes(&NETWORK), other.signing_bytes(&NETWORK));
}

/// Makes a message that may exceed its limits. If it encodes, the decoder accepts it; otherwise the
/// decoder rejects its raw form.
fn made_messages(choices: &mut Choices<'_>) {
    match choices.below(3) {
        0 => {
            let request = request(choices);
            match request.encode() {
                Ok(bytes) => assert_eq!(request.protocol().decode_request(&bytes), Ok(request)),
                Err(_) => {
                    assert!(request.protocol().decode_request(&raw_request(&request)).is_err());
                }
            }
        }
        1 => {
            let response = response(choices);
            match response.encode() {
                Ok(bytes) => assert_eq!(response.protocol().decode_response(&bytes), Ok(response)),
                Err(_) => {
                    assert!(response.protocol().decode_response(&raw_response(&response)).is_err());
                }
            }
        }
        _ => {
            let gossip = gossip(choices);
            match gossip.encode() {
                Ok(bytes) => assert_eq!(gossip.topic().decode(&bytes), Ok(gossip)),
                Err(_) => assert!(gossip.topic().decode(&raw_gossip(&gossip)).is_err()),
            }
        }
    }
}

/// Encodes a request without checking its limits.
fn raw_request(request: &Request) -> Vec<u8> {
    match request {
        Request::Hello(request) => codec::encode(request),
        Request::Friends(request) => codec::encode(request),
        Request::Chat(request) => codec::encode(request),
        Request::Sync(request) => codec::encode(request),
    }
}

fn raw_response(response: &Response) -> Vec<u8> {
    match response {
        Response::Hello(response) => codec::encode(response),
        Response::Friends(response) => codec::encode(response),
        Response::Chat(response) => codec::encode(response),
        Response::Sync(response) => codec::encode(response),
    }
}

fn raw_gossip(gossip: &Gossip) -> Vec<u8> {
    match gossip {
        Gossip::Chat(gossip) => codec::encode(gossip),
        Gossip::Trade(gossip) => codec::encode(gossip),
        Gossip::Block(gossip) => codec::encode(gossip),
    }
}

/// Returns a small count, the limit, or one more or less than the limit.
fn count(choices: &mut Choices<'_>, limit: usize) -> usize {
    match choices.below(6) {
        0 => limit,
        1 => limit + 1,
        2 => limit - 1,
        _ => choices.below(5).min(limit),
    }
}

fn bytes(choices: &mut Choices<'_>, length: usize) -> ByteBuf {
    let mut bytes = vec![choices.byte(); length];
    let head = choices.below(8).min(length);
    bytes[..head].copy_from_slice(&choices.array::<8>()[..head]);
    ByteBuf::from(bytes)
}

fn text(choices: &mut Choices<'_>, limit: usize) -> String {
    let length = count(choices, limit);
    let letter = ['a', 'é', '李', '\0', '\u{202e}', '😀'][choices.below(6)];
    let mut text = String::new();
    while text.len() + letter.len_utf8() <= length {
        text.push(letter);
    }
    text.extend(std::iter::repeat_n('.', length - text.len()));
    text
}

fn hash(choices: &mut Choices<'_>) -> BlockHash {
    BlockHash([choices.byte(); 32])
}

fn peer(choices: &mut Choices<'_>) -> PeerId {
    PeerId(PublicKey(choices.array()))
}

fn signature(choices: &mut Choices<'_>) -> Signature {
    Signature([choices.byte(); 64])
}

fn refusal(choices: &mut Choices<'_>) -> Refusal {
    use Refusal as R;
    [R::OverLimit, R::BadSignature, R::NotYours, R::NotMine, R::Stale, R::RateLimited, R::Invalid]
        [choices.below(7)]
}

fn status(choices: &mut Choices<'_>) -> Status {
    let work = count(choices, 32);
    Status {
        version: 1,
        features: choices.number(),
        network: hash(choices),
        tip: hash(choices),
        height: u32::from_le_bytes(choices.array()),
        work: bytes(choices, work),
        time: choices.number(),
        mempool: u32::from(choices.byte()),
    }
}

fn profile(choices: &mut Choices<'_>) -> SignedProfile {
    let addresses = count(choices, MAX_ADDRESSES);
    SignedProfile {
        peer: peer(choices),
        name: text(choices, MAX_NAME_BYTES),
        addresses: (0..addresses).map(|_| text(choices, MAX_ADDRESS_BYTES)).collect(),
        payment: choices.flag().then(|| Owner(choices.array())),
        sequence: choices.number(),
        signature: signature(choices),
    }
}

fn line(choices: &mut Choices<'_>) -> SignedLine {
    SignedLine {
        author: peer(choices),
        to: choices.flag().then(|| peer(choices)),
        time: choices.number(),
        counter: choices.number(),
        text: text(choices, MAX_LINE_BYTES),
        signature: signature(choices),
    }
}

fn request(choices: &mut Choices<'_>) -> Request {
    match choices.below(11) {
        0 => Request::Hello(HelloRequest::Status(status(choices))),
        1 => Request::Friends(FriendsRequest::Explore),
        2 => Request::Friends(FriendsRequest::Introduce(profile(choices))),
        3 => Request::Chat(ChatRequest::Direct(line(choices))),
        4 => {
            let (hashes, limit) = (count(choices, MAX_LOCATOR), count(choices, MAX_INV_HEADERS));
            let locator = (0..hashes).map(|_| hash(choices)).collect();
            Request::Sync(SyncRequest::GetBlocks(GetBlocks {
                locator,
                limit: u32::try_from(limit).expect("small"),
                skip: u32::try_from(choices.number() % 10_000).expect("small"),
            }))
        }
        5 => Request::Sync(SyncRequest::GetMempool),
        7 => Request::Chat(ChatRequest::GetLineIds(choices.number())),
        8 => {
            let length = count(choices, MAX_GET_LINES) * LINE_ID_BYTES + choices.below(2);
            Request::Chat(ChatRequest::GetLines(bytes(choices, length)))
        }
        9 => {
            let size = [256, 512, 1_024, 2_048, 4_608][choices.below(5)] + SEAL_BYTES;
            let length = count(choices, size);
            let sealed = bytes(choices, length);
            Request::Chat(ChatRequest::Sealed(SealedLine { to: peer(choices), sealed }))
        }
        6 => {
            let ids = count(choices, MAX_GET_DATA);
            let mut id = || {
                if choices.flag() {
                    ItemId::Block(hash(choices))
                } else {
                    ItemId::Trade(TxId([choices.byte(); 32]))
                }
            };
            Request::Sync(SyncRequest::GetData((0..ids).map(|_| id()).collect()))
        }
        _ => {
            let (block, step) = (hash(choices), u32::from(choices.byte()));
            let positions = (0..u32::from(choices.byte()))
                .map(|position| position.wrapping_mul(step))
                .collect();
            Request::Sync(SyncRequest::GetBlockTrades(GetBlockTrades { block, positions }))
        }
    }
}

fn response(choices: &mut Choices<'_>) -> Response {
    match choices.below(18) {
        0 => Response::Hello(HelloResponse::Status(status(choices))),
        1 => Response::Hello(HelloResponse::WrongNetwork(hash(choices))),
        2 => Response::Hello(HelloResponse::Busy),
        3 => {
            let profiles = count(choices, MAX_PROFILES);
            Response::Friends(FriendsResponse::Profiles(
                (0..profiles).map(|_| profile(choices)).collect(),
            ))
        }
        4 => Response::Friends(FriendsResponse::Welcome),
        5 => Response::Friends(FriendsResponse::Refused(refusal(choices))),
        6 => Response::Chat(ChatResponse::Delivered),
        7 => Response::Chat(ChatResponse::Refused(refusal(choices))),
        16 => {
            let length = count(choices, MAX_LINE_IDS) * LINE_ID_BYTES + choices.below(2);
            let ids = bytes(choices, length);
            Response::Chat(ChatResponse::LineIds(LineIds { ids, next: choices.number() }))
        }
        17 => {
            let lines = count(choices, MAX_GET_LINES);
            let lines = (0..lines).map(|_| line(choices)).collect();
            Response::Chat(ChatResponse::Lines(lines))
        }
        8 => {
            let length = count(choices, MAX_INV_HEADERS) * 92 + choices.below(2);
            Response::Sync(SyncResponse::Inv(bytes(choices, length)))
        }
        9 => {
            let ids = usize::from(choices.byte());
            Response::Sync(SyncResponse::MempoolIds(
                (0..ids).map(|_| TxId([choices.byte(); 32])).collect(),
            ))
        }
        10 => {
            let items = count(choices, MAX_GET_DATA);
            let mut item = || match choices.below(3) {
                0 => Item::Block(bytes(choices, 300)),
                1 => Item::Trade(bytes(choices, 200)),
                _ => Item::NotFound,
            };
            Response::Sync(SyncResponse::Data((0..items).map(|_| item()).collect()))
        }
        11 => {
            let trades = choices.below(64);
            Response::Sync(SyncResponse::BlockTrades(
                (0..trades).map(|_| bytes(choices, 142)).collect(),
            ))
        }
        12 => Response::Sync(SyncResponse::NotYet),
        13 => Response::Sync(SyncResponse::NotFound),
        14 => Response::Sync(SyncResponse::Refused(refusal(choices))),
        _ => Response::Sync(SyncResponse::Busy),
    }
}

fn gossip(choices: &mut Choices<'_>) -> Gossip {
    match choices.below(5) {
        0 => Gossip::Chat(ChatGossip::Line(line(choices))),
        1 => Gossip::Chat(ChatGossip::Quit(SignedQuit {
            author: peer(choices),
            time: choices.number(),
            counter: choices.number(),
            signature: signature(choices),
        })),
        2 => {
            let length = usize::from(choices.byte()) * 400;
            let mut transactions = vec![bytes(choices, length)];
            transactions.extend((0..choices.below(4)).map(|_| bytes(choices, 200)));
            let round = u32::from(choices.byte());
            Gossip::Trade(TradeGossip::Trades(TradeAnnouncement { transactions, round }))
        }
        3 => {
            let length = count(choices, 92);
            Gossip::Block(BlockGossip::Solved(bytes(choices, length)))
        }
        _ => {
            let (header, ids) =
                (count(choices, 92), choices.below(256) * SHORT_ID_BYTES + choices.below(2));
            let coinbase = usize::from(choices.byte());
            Gossip::Block(BlockGossip::Compact(CompactBlock {
                header: bytes(choices, header),
                coinbase: bytes(choices, coinbase),
                short_ids: bytes(choices, ids),
            }))
        }
    }
}
