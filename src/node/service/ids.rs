//! Resolves ids as users type them: whole, or by the first characters of a block's, transaction's
//! or peer's id.

use super::Service;
use crate::{
    node::{blocking::blocking, clock::now},
    primitives::{
        BlockHash, Height, IdPrefix, IdPrefixError, MIN_ID_CHARS, PeerId, TxId, printable, trimmed,
    },
    rpc::RpcError,
};

/// The most candidates that an error names.
const MAX_CANDIDATES: usize = 8;

/// The most characters of a wrong text that an error repeats.
const SHOWN_CHARS: usize = 80;

/// Shown characters of a candidate, unless more are needed to distinguish it.
const CANDIDATE_CHARS: usize = 12;

/// The beginning of every peer id. It does not identify any of them.
const PEER_ID_HEAD: &str = "12D3KooW";

/// A block as a user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockName {
    Height(Height),
    Hash(BlockHash),
}

impl Service {
    /// Returns the block that a text names: a height in decimal, a hash, or the start of a hash on
    /// the best chain.
    pub(super) async fn block_name(&self, text: &str) -> Result<BlockName, RpcError> {
        match height(text) {
            Some(height) => Ok(BlockName::Height(height)),
            None => Ok(BlockName::Hash(self.block_hash(text, true).await?)),
        }
    }

    /// Returns the hash that a text names. A whole hash is not looked up.
    pub(super) async fn block_hash(
        &self,
        text: &str,
        on_best_chain: bool,
    ) -> Result<BlockHash, RpcError> {
        let prefix = parsed(text, "bad_hash")?;
        if let Some(hash) = prefix.whole() {
            return Ok(BlockHash(hash));
        }
        let reader = self.chain()?.reader.clone();
        let wanted = prefix.clone();
        let limit = MAX_CANDIDATES.saturating_add(1);
        let found =
            blocking(move || reader.blocks_beginning(&wanted, on_best_chain, limit)).await?;
        let named = found.iter().map(|(height, hash)| (hash.to_string(), format!(" at {height}")));
        chosen(prefix.digits(), "block", &named.collect::<Vec<_>>())?;
        let unknown = || {
            let digits = prefix.digits();
            let sentence = format!(
                "no block here has a hash that begins with '{digits}': print-chain shows what \
                 there is"
            );
            RpcError::new("unknown_block", sentence)
        };
        found.first().map(|(_, hash)| *hash).ok_or_else(unknown)
    }

    /// Returns the transaction that a text names. A whole id is not looked up.
    pub(super) async fn transaction_id(&self, text: &str) -> Result<TxId, RpcError> {
        let prefix = parsed(text, "bad_txid")?;
        let reader = self.chain()?.reader.clone();
        if let Some(txid) = prefix.whole() {
            return Ok(TxId(txid));
        }
        let wanted = prefix.clone();
        let limit = MAX_CANDIDATES.saturating_add(1);
        let found = blocking(move || reader.transactions_beginning(&wanted, limit)).await?;
        let named = found.iter().map(|txid| (txid.to_string(), String::new()));
        chosen(prefix.digits(), "transaction", &named.collect::<Vec<_>>())?;
        let unknown = || {
            let digits = prefix.digits();
            let sentence = format!(
                "neither the chain nor the mempool has a transaction whose id begins with \
                 '{digits}'"
            );
            RpcError::new("unknown_transaction", sentence)
        };
        found.first().copied().ok_or_else(unknown)
    }

    /// Returns the hash of a trusted block.
    ///
    /// # Security
    /// The start of a hash is accepted only for a block of this node's best chain, since anybody
    /// can make a block whose hash begins with the same few digits.
    pub(super) async fn trusted_block(&self, text: &str) -> Result<BlockHash, RpcError> {
        let prefix = parsed(text, "bad_hash")?;
        match prefix.whole() {
            Some(hash) => Ok(BlockHash(hash)),
            None if self.chain.is_none() => Err(needs_whole_hash(prefix.digits())),
            None => match self.block_hash(text, true).await {
                Err(error) if error.code == "unknown_block" => {
                    Err(needs_whole_hash(prefix.digits()))
                }
                found => found,
            },
        }
    }

    /// Returns the peer that a text names: a peer id, the start of a known one, or a name, also a
    /// stranger's.
    pub(super) async fn peer(&self, text: &str) -> Result<PeerId, RpcError> {
        let text = self.friend(text).await?;
        if let Ok(peer) = text.parse::<PeerId>() {
            return Ok(peer);
        }
        Ok(self.friends_handle()?.resolve_anybody(text).await?)
    }

    /// Returns a friend's name as typed, trimmed. The start of a known peer id becomes the whole
    /// id.
    pub(super) async fn friend(&self, text: &str) -> Result<String, RpcError> {
        let text = trimmed(text);
        if !is_start_of_peer_id(text) || text.parse::<PeerId>().is_ok() {
            return Ok(text.to_owned());
        }
        let shown = printable(&text.chars().take(SHOWN_CHARS).collect::<String>());
        if text.chars().count() < MIN_ID_CHARS {
            return Err(RpcError::new("bad_peer_id", IdPrefixError::Short(shown).to_string()));
        }
        let known: Vec<_> =
            self.known_peers().await?.into_iter().filter(|id| id.0.starts_with(text)).collect();
        chosen(&shown, "peer", &known)?;
        let unknown = || {
            let sentence = format!(
                "no peer is known whose id begins with '{shown}': peers and friends show who is"
            );
            RpcError::new("unknown_peer", sentence)
        };
        known.into_iter().next().map(|(id, _)| id).ok_or_else(unknown)
    }

    /// Lists the ids of friends, of connected peers and of banned ones, each with a note on it.
    async fn known_peers(&self) -> Result<Vec<(String, String)>, RpcError> {
        let mut known = Vec::new();
        if let Some(friends) = &self.friends {
            known.extend(friends.list(now()).await?.into_iter().map(|friend| {
                (friend.peer_id.to_string(), format!(" ({})", printable(&friend.name)))
            }));
        }
        if let Some(router) = &self.router {
            let table = router.peers().await?;
            let connected = table.connected.iter().map(|row| row.peer);
            let others = connected.chain(table.banned.iter().copied());
            known.extend(others.map(|peer| (peer.to_string(), String::new())));
        }
        // A friend's entry, which has the name, sorts after the one without.
        known.sort_unstable();
        known.reverse();
        known.dedup_by(|one, other| one.0 == other.0);
        Ok(known)
    }
}

/// Returns the error for the start of a hash where a trusted block is needed.
pub(super) fn needs_whole_hash(digits: &str) -> RpcError {
    let sentence = format!(
        "no block of the chain here begins with '{digits}', and others could make one that does: \
         give all 64 digits of the block that you trust"
    );
    RpcError::new("bad_hash", sentence)
}

/// Returns the height that a text contains. A number with a leading zero is the start of a hash.
fn height(text: &str) -> Option<Height> {
    let text = trimmed(text);
    let is_hash = text.len() >= MIN_ID_CHARS && text.starts_with('0');
    let is_number = !is_hash && text.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn parsed(text: &str, code: &'static str) -> Result<IdPrefix, RpcError> {
    text.parse().map_err(|error: IdPrefixError| RpcError::new(code, error.to_string()))
}

/// True if a text is a peer id or the start of one.
fn is_start_of_peer_id(text: &str) -> bool {
    PeerId::looks_like(text) || text.len() >= MIN_ID_CHARS && PEER_ID_HEAD.starts_with(text)
}

/// Checks that a prefix has at most one candidate.
///
/// # Errors
/// Several candidates match. The error shows enough characters of each to distinguish them.
fn chosen(prefix: &str, what: &str, found: &[(String, String)]) -> Result<(), RpcError> {
    if found.len() < 2 {
        return Ok(());
    }
    let listed = found.get(..found.len().min(MAX_CANDIDATES)).unwrap_or_default();
    let names = listed.iter().map(|(id, note)| format!("{}{note}", told_apart(id, found)));
    let more = if found.len() > MAX_CANDIDATES { ", and others" } else { "" };
    let sentence = format!(
        "'{prefix}' begins more than one {what}: {}{more}; give more of its characters",
        names.collect::<Vec<_>>().join(", ")
    );
    Err(RpcError::new("ambiguous_id", sentence))
}

/// Returns the shortest start of an id that distinguishes it from all others in the list.
fn told_apart<'a>(id: &'a str, all: &[(String, String)]) -> &'a str {
    let shared = |other: &str| id.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let others = all.iter().filter(|(other, _)| other != id);
    let longest = others.map(|(other, _)| shared(other).saturating_add(1)).max().unwrap_or(0);
    id.get(..longest.max(CANDIDATE_CHARS)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_height_unless_it_begins_as_hashes_do() {
        assert_eq!(height("0"), Some(0));
        assert_eq!(height(" 12\n"), Some(12));
        assert_eq!(height("249716"), Some(249_716));
        assert_eq!(height("000012345678"), None);
        assert_eq!(height("99999999999"), None);
        assert_eq!(height("12ab"), None);
    }

    #[test]
    fn candidates_are_told_apart() {
        let ids = ["0000aaaaaaaaaaaaaaa1", "0000aaaaaaaaaaaaaaa2", "0000b111111111111111"];
        let found: Vec<_> = ids.map(|id| (id.to_owned(), " at 7".to_owned())).into();
        let error = chosen("0000", "block", &found).expect_err("ambiguous");
        assert_eq!(error.code, "ambiguous_id");
        for name in ["0000aaaaaaaaaaaaaaa1 at 7", "0000aaaaaaaaaaaaaaa2 at 7", "0000b1111111 at 7"]
        {
            assert!(error.message.contains(name), "{name} in {error}");
        }
        assert!(chosen("0000", "block", found.get(..1).expect("one")).is_ok());
    }

    #[test]
    fn the_start_of_every_peer_id_is_seen_as_one() {
        for text in ["12D3", "12D3KooW", "12D3KooWabc"] {
            assert!(is_start_of_peer_id(text), "{text}");
        }
        for text in ["12D", "yzw", "12D4"] {
            assert!(!is_start_of_peer_id(text), "{text}");
        }
    }
}
