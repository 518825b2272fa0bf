//! Conversion between this crate's peer ids and libp2p's.

use crate::primitives::PeerId;

/// Converts a libp2p peer id. Returns `None` if its key is not ed25519.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&peer.to_bytes())
}

/// Converts a peer id into libp2p's. Any 32 bytes convert: only a handshake proves that a peer
/// holds the key.
pub(super) fn to_libp2p(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(&peer.to_multihash()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Identity;

    #[test]
    fn peer_ids_go_there_and_back() {
        let peer = Identity::generate().peer_id();
        assert_eq!(from_libp2p(&to_libp2p(&peer).unwrap()), Some(peer));
    }

    #[test]
    fn keys_of_other_kinds_have_no_peer_id_here() {
        let rsa = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN".parse().unwrap();
        assert_eq!(from_libp2p(&rsa), None);
    }
}
