//! The id of a gossip message.

use crate::primitives::sha256;

/// Bytes of a message's id. They are few, since an IHAVE lists thousands of ids.
pub(crate) const GOSSIP_ID_BYTES: usize = 20;

/// Returns the id of a message: the first bytes of SHA-256(topic ‖ 0 ‖ payload).
///
/// The topic is the full name by which gossipsub knows it.
///
/// # Security
/// Gossipsub drops messages whose ids it knows. If the topic were not part of the id, an attacker
/// could suppress a message by first publishing its bytes on another topic.
#[must_use]
pub(crate) fn gossip_id(topic: &str, payload: &[u8]) -> [u8; GOSSIP_ID_BYTES] {
    let digest = sha256(&[topic.as_bytes(), &[0], payload]);
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_on_another_topic_are_another_message() {
        assert_ne!(gossip_id("a", b"bytes"), gossip_id("b", b"bytes"));
        assert_ne!(gossip_id("a", b"bytes"), gossip_id("a", b"other"));
        assert_eq!(gossip_id("a", b"bytes"), gossip_id("a", b"bytes"));
    }
}
