//! Strategies that generate any message, for property tests.

use proptest::{collection::vec, option, prelude::*};
use serde_bytes::ByteBuf;

use super::messages::*;
use crate::primitives::{
    BlockHash, NetworkId, Owner, PeerId, PublicKey, SHORT_ID_BYTES, Signature, TxId,
};

pub(super) fn network() -> NetworkId {
    BlockHash([0xab; 32])
}

fn peer() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(|key| PeerId(PublicKey(key)))
}

fn signature() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|bytes| Signature(bytes.try_into().unwrap()))
}

fn hash() -> impl Strategy<Value = BlockHash> {
    any::<[u8; 32]>().prop_map(BlockHash)
}

fn bytes(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = ByteBuf> {
    vec(any::<u8>(), length).prop_map(ByteBuf::from)
}

fn status() -> impl Strategy<Value = Status> {
    (any::<(u32, u64, u32, u64, u32)>(), hash(), hash(), bytes(32)).prop_map(
        |((version, features, height, time, mempool), network, tip, work)| Status {
            version,
            features,
            network,
            tip,
            height,
            work,
            time,
            mempool,
        },
    )
}

fn profile() -> impl Strategy<Value = SignedProfile> {
    let payment = option::of(any::<[u8; 20]>().prop_map(Owner));
    (peer(), "\\PC{0,32}", vec("[a-z/0-9]{0,256}", 0..=8), payment, any::<u64>(), signature())
        .prop_map(|(peer, name, addresses, payment, sequence, signature)| SignedProfile {
            peer,
            name,
            addresses,
            payment,
            sequence,
            signature,
        })
}

fn line() -> impl Strategy<Value = SignedLine> {
    (peer(), option::of(peer()), any::<(u64, u64)>(), "\\PC{0,1024}", signature()).prop_map(
        |(author, to, (time, counter), text, signature)| SignedLine {
            author,
            to,
            time,
            counter,
            text,
            signature,
        },
    )
}

fn sealed() -> impl Strategy<Value = SealedLine> {
    let sizes = vec![305_usize, 561, 1_073, 2_097, 4_657];
    let boxes = prop::sample::select(sizes).prop_flat_map(bytes);
    (peer(), boxes).prop_map(|(to, sealed)| SealedLine { to, sealed })
}

fn quit() -> impl Strategy<Value = SignedQuit> {
    (peer(), any::<(u64, u64)>(), signature()).prop_map(|(author, (time, counter), signature)| {
        SignedQuit { author, time, counter, signature }
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::OverLimit),
        Just(Refusal::BadSignature),
        Just(Refusal::NotYours),
        Just(Refusal::NotMine),
        Just(Refusal::Stale),
        Just(Refusal::RateLimited),
        Just(Refusal::Invalid),
    ]
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let id = prop_oneof![
        hash().prop_map(ItemId::Block),
        any::<[u8; 32]>().prop_map(|id| ItemId::Trade(TxId(id)))
    ];
    let positions = proptest::collection::btree_set(any::<u32>(), 0..40)
        .prop_map(|set| set.into_iter().collect());
    prop_oneof![
        status().prop_map(|status| Request::Hello(HelloRequest::Status(status))),
        Just(Request::Friends(FriendsRequest::Explore)),
        profile().prop_map(|profile| Request::Friends(FriendsRequest::Introduce(profile))),
        line().prop_map(|line| Request::Chat(ChatRequest::Direct(line))),
        any::<u64>().prop_map(|place| Request::Chat(ChatRequest::GetLineIds(place))),
        (1..=32_usize)
            .prop_flat_map(|count| bytes(count * 16))
            .prop_map(|ids| Request::Chat(ChatRequest::GetLines(ids))),
        sealed().prop_map(|line| Request::Chat(ChatRequest::Sealed(line))),
        (vec(hash(), 0..=64), 0..=2_000_u32, any::<u32>()).prop_map(|(locator, limit, skip)| {
            Request::Sync(SyncRequest::GetBlocks(GetBlocks { locator, limit, skip }))
        }),
        (hash(), 0..=2_000_u32, 0..=2_097_152_u32).prop_map(|(first, count, bytes)| {
            Request::Sync(SyncRequest::GetRange(GetRange { first, count, bytes }))
        }),
        Just(Request::Sync(SyncRequest::GetMempool)),
        vec(id, 1..=128).prop_map(|ids| Request::Sync(SyncRequest::GetData(ids))),
        (hash(), positions).prop_map(|(block, positions)| Request::Sync(
            SyncRequest::GetBlockTrades(GetBlockTrades { block, positions })
        )),
    ]
}

pub(super) fn response() -> impl Strategy<Value = Response> {
    let item = prop_oneof![
        bytes(0..300).prop_map(Item::Block),
        bytes(0..300).prop_map(Item::Trade),
        Just(Item::NotFound)
    ];
    let sync = prop_oneof![
        (0..20_usize).prop_flat_map(|count| bytes(count * 92)).prop_map(SyncResponse::Inv),
        vec(any::<[u8; 32]>().prop_map(TxId), 0..50).prop_map(SyncResponse::MempoolIds),
        vec(item, 0..=20).prop_map(SyncResponse::Data),
        vec(bytes(0..300), 0..20).prop_map(SyncResponse::BlockTrades),
        Just(SyncResponse::NotYet),
        Just(SyncResponse::NotFound),
        refusal().prop_map(SyncResponse::Refused),
        Just(SyncResponse::Busy),
    ];
    prop_oneof![
        status().prop_map(|status| Response::Hello(HelloResponse::Status(status))),
        hash().prop_map(|network| Response::Hello(HelloResponse::WrongNetwork(network))),
        Just(Response::Hello(HelloResponse::Busy)),
        vec(profile(), 0..=8)
            .prop_map(|profiles| Response::Friends(FriendsResponse::Profiles(profiles))),
        Just(Response::Friends(FriendsResponse::Welcome)),
        refusal().prop_map(|refusal| Response::Friends(FriendsResponse::Refused(refusal))),
        Just(Response::Chat(ChatResponse::Delivered)),
        refusal().prop_map(|refusal| Response::Chat(ChatResponse::Refused(refusal))),
        ((0..40_usize).prop_flat_map(|count| bytes(count * 16)), any::<u64>())
            .prop_map(|(ids, next)| Response::Chat(ChatResponse::LineIds(LineIds { ids, next }))),
        vec(line(), 0..=8).prop_map(|lines| Response::Chat(ChatResponse::Lines(lines))),
        sync.prop_map(Response::Sync),
    ]
}

pub(super) fn gossip() -> impl Strategy<Value = Gossip> {
    prop_oneof![
        line().prop_map(|line| Gossip::Chat(ChatGossip::Line(line))),
        quit().prop_map(|quit| Gossip::Chat(ChatGossip::Quit(quit))),
        (vec(bytes(0..2_000), 1..8), any::<u32>()).prop_map(|(transactions, round)| Gossip::Trade(
            TradeGossip::Trades(TradeAnnouncement { transactions, round })
        )),
        bytes(92).prop_map(|header| Gossip::Block(BlockGossip::Solved(header))),
        (
            bytes(92),
            bytes(0..300),
            (0..40_usize).prop_flat_map(|count| bytes(count * SHORT_ID_BYTES))
        )
            .prop_map(|(header, coinbase, short_ids)| {
                Gossip::Block(BlockGossip::Compact(CompactBlock { header, coinbase, short_ids }))
            }),
    ]
}
