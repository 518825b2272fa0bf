//! Round trips of every message, and what is refused.

use proptest::{collection::vec, option, prelude::*};
use serde_bytes::ByteBuf;

use super::{super::messages::*, *};
use crate::primitives::{BlockHash, Owner, PeerId, PublicKey, Signature, TxId};

fn network() -> NetworkId {
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
    (peer(), "\\PC{0,32}", vec("[a-z/0-9]{0,256}", 0..=8), payment, any::<u64>(), signature()).prop_map(
        |(peer, name, addresses, payment, sequence, signature)| SignedProfile {
            peer,
            name,
            addresses,
            payment,
            sequence,
            signature,
        },
    )
}

fn line() -> impl Strategy<Value = SignedLine> {
    (peer(), option::of(peer()), any::<(u64, u64)>(), "\\PC{0,1024}", signature()).prop_map(
        |(author, to, (time, counter), text, signature)| SignedLine { author, to, time, counter, text, signature },
    )
}

fn quit() -> impl Strategy<Value = SignedQuit> {
    (peer(), any::<(u64, u64)>(), signature()).prop_map(|(author, (time, counter), signature)| SignedQuit {
        author,
        time,
        counter,
        signature,
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

fn request() -> impl Strategy<Value = Request> {
    let id = prop_oneof![hash().prop_map(ItemId::Block), any::<[u8; 32]>().prop_map(|id| ItemId::Trade(TxId(id)))];
    let positions = proptest::collection::btree_set(any::<u32>(), 0..40).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        status().prop_map(|status| Request::Hello(HelloRequest::Status(status))),
        Just(Request::Friends(FriendsRequest::Explore)),
        profile().prop_map(|profile| Request::Friends(FriendsRequest::Introduce(profile))),
        line().prop_map(|line| Request::Chat(ChatRequest::Direct(line))),
        (vec(hash(), 0..=64), 0..=2_000_u32)
            .prop_map(|(locator, limit)| Request::Sync(SyncRequest::GetBlocks(GetBlocks { locator, limit }))),
        Just(Request::Sync(SyncRequest::GetMempool)),
        vec(id, 0..=128).prop_map(|ids| Request::Sync(SyncRequest::GetData(ids))),
        (hash(), positions).prop_map(|(block, positions)| Request::Sync(SyncRequest::GetBlockTrades(GetBlockTrades {
            block,
            positions
        }))),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let item =
        prop_oneof![bytes(0..300).prop_map(Item::Block), bytes(0..300).prop_map(Item::Trade), Just(Item::NotFound)];
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
        vec(profile(), 0..=8).prop_map(|profiles| Response::Friends(FriendsResponse::Profiles(profiles))),
        Just(Response::Friends(FriendsResponse::Welcome)),
        refusal().prop_map(|refusal| Response::Friends(FriendsResponse::Refused(refusal))),
        Just(Response::Chat(ChatResponse::Delivered)),
        refusal().prop_map(|refusal| Response::Chat(ChatResponse::Refused(refusal))),
        sync.prop_map(Response::Sync),
    ]
}

fn gossip() -> impl Strategy<Value = Gossip> {
    prop_oneof![
        line().prop_map(|line| Gossip::Chat(ChatGossip::Line(line))),
        quit().prop_map(|quit| Gossip::Chat(ChatGossip::Quit(quit))),
        (bytes(0..2_000), any::<u32>()).prop_map(|(transaction, round)| Gossip::Trade(TradeGossip::Trade(
            TradeAnnouncement { transaction, round }
        ))),
        bytes(92).prop_map(|header| Gossip::Block(BlockGossip::Solved(header))),
        (bytes(92), bytes(0..300), (0..40_usize).prop_flat_map(|count| bytes(count * 6))).prop_map(
            |(header, coinbase, short_ids)| {
                Gossip::Block(BlockGossip::Compact(CompactBlock { header, coinbase, short_ids }))
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_round_trip(request in request()) {
        let bytes = request.encode().unwrap();
        prop_assert_eq!(request.protocol().decode_request(&bytes), Ok(request));
    }

    #[test]
    fn responses_round_trip(response in response()) {
        let bytes = response.encode().unwrap();
        prop_assert_eq!(response.protocol().decode_response(&bytes), Ok(response));
    }

    #[test]
    fn gossip_round_trips(gossip in gossip()) {
        let bytes = gossip.encode().unwrap();
        prop_assert_eq!(gossip.topic().decode(&bytes), Ok(gossip));
    }

    #[test]
    fn random_bytes_never_panic_and_what_is_accepted_is_canonical(bytes in vec(any::<u8>(), 0..400)) {
        for protocol in Protocol::ALL {
            if let Ok(request) = protocol.decode_request(&bytes) {
                prop_assert_eq!(request.encode(), Ok(bytes.clone()));
            }
            if let Ok(response) = protocol.decode_response(&bytes) {
                prop_assert_eq!(response.encode(), Ok(bytes.clone()));
            }
        }
        for topic in Topic::ALL {
            if let Ok(gossip) = topic.decode(&bytes) {
                prop_assert_eq!(gossip.encode(), Ok(bytes.clone()));
            }
        }
    }

    #[test]
    fn a_damaged_message_never_panics_and_never_reads_as_the_same(
        request in request(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = request.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = request.protocol().decode_request(&bytes) {
            prop_assert_ne!(other, request);
        }
    }

    #[test]
    fn a_cut_message_is_refused(response in response(), cut in any::<prop::sample::Index>()) {
        let bytes = response.encode().unwrap();
        let cut = cut.index(bytes.len());
        prop_assert!(response.protocol().decode_response(&bytes[..cut]).is_err());
    }
}

fn malformed<T>(result: &Result<T, CodecError>) -> bool {
    matches!(result, Err(CodecError::Malformed { .. }))
}

#[test]
fn other_encodings_of_the_same_value_are_refused() {
    let friends = |bytes: &[u8]| Protocol::Friends.decode_request(bytes);
    assert_eq!(friends(&[0x81, 0x00]), Ok(Request::Friends(FriendsRequest::Explore)));
    for (bytes, what) in [
        (&[0x81, 0x18, 0x00][..], "a number not in its shortest form"),
        (&[0x98, 0x01, 0x00], "a length not in its shortest form"),
        (&[0x9f, 0x00, 0xff], "an indefinite array"),
    ] {
        assert_eq!(friends(bytes), Err(CodecError::NotCanonical), "{what}");
    }
    for (bytes, what) in [
        (&[][..], "nothing"),
        (&[0x81, 0x00, 0x00], "trailing bytes"),
        (&[0x82, 0x00, 0x00], "an item too many"),
        (&[0x80], "an empty array"),
        (&[0x81, 0x09], "an unknown variant"),
        (&[0xa1, 0x00, 0x00], "a map"),
        (&[0xc0, 0x81, 0x00], "a tag"),
        (&[0xf9, 0x00, 0x00], "a float"),
        (&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], "a huge array"),
        (&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00], "a huge string"),
        (&[0x81; 4_000], "arrays without end"),
    ] {
        assert!(malformed(&friends(bytes)), "{what}");
    }
}

#[test]
fn what_is_over_a_limit_is_refused_by_name_on_both_ends() {
    let line = SignedLine {
        author: PeerId(PublicKey([1; 32])),
        to: None,
        time: 0,
        counter: 0,
        text: "x".repeat(4_097),
        signature: Signature([0; 64]),
    };
    let over = CodecError::OverLimit { what: "bytes of a line", count: 4_097, limit: 4_096 };
    let gossip = ChatGossip::Line(line);
    assert_eq!(Topic::Chat.decode(&encode(&gossip)), Err(over.clone()));
    assert_eq!(Gossip::Chat(gossip).encode(), Err(over));

    let get = SyncRequest::GetBlocks(GetBlocks { locator: vec![network(); 65], limit: 1 });
    assert!(matches!(
        Protocol::Sync.decode_request(&encode(&get)),
        Err(CodecError::OverLimit { count: 65, limit: 64, .. })
    ));

    let inv = SyncResponse::Inv(ByteBuf::from(vec![0; 93]));
    assert!(matches!(Protocol::Sync.decode_response(&encode(&inv)), Err(CodecError::WrongLength { length: 93, .. })));

    let positions = SyncRequest::GetBlockTrades(GetBlockTrades { block: network(), positions: vec![3, 3] });
    assert_eq!(Protocol::Sync.decode_request(&encode(&positions)), Err(CodecError::NotAscending { what: "positions" }));

    let size = Protocol::Hello.max_request_bytes() + 1;
    assert!(matches!(Protocol::Hello.decode_request(&vec![0; size]), Err(CodecError::TooLarge { limit: 1_024, .. })));
}

#[test]
fn many_tiny_items_are_counted_before_anything_is_allocated() {
    // An answer of 4 million empty strings: 4 MB of bytes, 100 MB of memory if it were read.
    let mut bytes = vec![0x82, 0x03, 0x9a];
    bytes.extend(4_000_000_u32.to_be_bytes());
    bytes.resize(bytes.len() + 4_000_000, 0x40);
    assert!(matches!(
        Protocol::Sync.decode_response(&bytes),
        Err(CodecError::OverLimit { what: "items in the message", .. })
    ));
}

#[test]
fn ids_name_version_and_network_and_hello_names_no_network() {
    assert_eq!(Protocol::Hello.id(&network()), "/friendchain/hello/1");
    assert_eq!(Protocol::Sync.id(&network()), "/friendchain/sync/1/abababab");
    assert_eq!(Topic::Blocks.name(&network()), "/friendchain/topic/blocks/1/abababab");
}
