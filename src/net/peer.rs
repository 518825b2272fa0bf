//! Our peer ids and libp2p's.

use crate::primitives::PeerId;

/// Ours of libp2p's; none when its key is not ed25519.
pub(super) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&peer.to_bytes())
}

/// libp2p's of ours. Any 32 bytes have one: whether they are a key shows when somebody proves to
/// hold it.
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
