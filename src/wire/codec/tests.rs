//! Tests of the codec: round trips of every message, and bytes that are refused.

use proptest::{collection::vec, prelude::*};
use serde_bytes::ByteBuf;

use super::{
    super::{
        messages::*,
        testing::{gossip, network, request, response},
    },
    *,
};
use crate::primitives::{PeerId, PublicKey, Signature};

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
    fn random_bytes_never_panic_and_what_is_accepted_is_canonical(
        bytes in vec(any::<u8>(), 0..400),
    ) {
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

    let get = SyncRequest::GetBlocks(GetBlocks { locator: vec![network(); 65], limit: 1, skip: 0 });
    assert!(matches!(
        Protocol::Sync.decode_request(&encode(&get)),
        Err(CodecError::OverLimit { count: 65, limit: 64, .. })
    ));

    let inv = SyncResponse::Inv(ByteBuf::from(vec![0; 93]));
    assert!(matches!(
        Protocol::Sync.decode_response(&encode(&inv)),
        Err(CodecError::WrongLength { length: 93, .. })
    ));

    let positions =
        SyncRequest::GetBlockTrades(GetBlockTrades { block: network(), positions: vec![3, 3] });
    assert_eq!(
        Protocol::Sync.decode_request(&encode(&positions)),
        Err(CodecError::NotAscending { what: "positions" })
    );

    let size = Protocol::Hello.max_request_bytes() + 1;
    assert!(matches!(
        Protocol::Hello.decode_request(&vec![0; size]),
        Err(CodecError::TooLarge { limit: 1_024, .. })
    ));
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
    assert_eq!(Protocol::Sync.id(&network()), "/friendchain/sync/2/abababab");
    assert_eq!(Topic::Blocks.name(&network()), "/friendchain/topic/blocks/2/abababab");
}
