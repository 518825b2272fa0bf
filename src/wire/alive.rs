//! The topic `alive`, on which nodes publish probes.
//!
//! A node that gets no gossip from a subscriber of this topic reconnects to it: see
//! `net::gossip`. A probe is not CBOR, and no node forwards or reads it.

use super::codec::network_tag;
use crate::primitives::{NetworkId, PeerId};

/// The length of a probe in bytes.
const PROBE_BYTES: usize = 48;

/// Returns the name of gossipsub's topic.
#[must_use]
pub(crate) fn alive_topic(network: &NetworkId) -> String {
    format!("/friendchain/topic/alive/1/{}", network_tag(network))
}

/// Returns the payload that `peer` publishes at a time, in nanoseconds since 1970.
///
/// The time makes each probe a new message, since gossip drops repeated bytes.
#[must_use]
pub(crate) fn probe(peer: &PeerId, nanoseconds: u128) -> [u8; PROBE_BYTES] {
    let mut payload = [0; PROBE_BYTES];
    let (publisher, time) = payload.split_at_mut(32);
    publisher.copy_from_slice(&peer.0.0);
    time.copy_from_slice(&nanoseconds.to_be_bytes());
    payload
}
