//! Invites: the text that lets a newcomer join a chain, with everything that the first connection is checked against.

use data_encoding::BASE64URL_NOPAD;

use super::{GenesisError, MAX_GENESIS_BYTES, Network, Work};
use crate::primitives::{
    Block, BlockHash, DecodeError, Encode, Height, encoding::Decode, encoding::Reader, printable, sha256d,
};

/// What every invite begins with.
pub const INVITE_PREFIX: &str = "friendchain:";

/// The most addresses in an invite.
pub const MAX_INVITE_ADDRESSES: usize = 8;

/// The longest address in an invite, in bytes.
pub const MAX_INVITE_ADDRESS_BYTES: usize = 256;

/// The longest invite, in characters: the largest genesis and eight of the longest addresses, as base64.
pub const MAX_INVITE_CHARS: usize = INVITE_PREFIX.len() + MAX_PAYLOAD_BYTES.div_ceil(3) * 4;

const MAX_PAYLOAD_BYTES: usize =
    1 + MAX_GENESIS_BYTES + 4 + 32 + 32 + 1 + MAX_INVITE_ADDRESSES * (2 + MAX_INVITE_ADDRESS_BYTES) + CHECKSUM_BYTES;

/// The version of the layout.
const VERSION: u8 = 1;

/// A mistyped letter passes once in four thousand million times.
const CHECKSUM_BYTES: usize = 4;

/// A block of the best chain that a newcomer holds its peers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// The work of the chain up to it, its own included.
    pub work: Work,
}

/// What a member of a chain gives to a newcomer: the chain, a recent block of it, and where to find friends.
///
/// As text: `friendchain:` and, in base64url without padding: version u8 = 1; the genesis block; the checkpoint's height
/// u32, hash 32 and work 32 (big-endian); count of addresses u8, then each: length u16 and its text; the first 4 bytes
/// of the SHA-256d of all before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    network: Network,
    checkpoint: Checkpoint,
    addresses: Vec<String>,
}

/// Why a text is not an invite, or why there cannot be one of these parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It begins with something else.
    #[error("'{0}' is not an invite: invites begin with '{INVITE_PREFIX}'; ask your friend for the whole line")]
    Prefix(String),
    /// It is too long to be one.
    #[error("the invite has {0} characters, more than any invite has ({MAX_INVITE_CHARS}); copy it again")]
    TooLong(usize),
    /// A character that base64url does not have, or a last one that does not fit.
    #[error("the invite is damaged at character {position}: copy it again, whole and without changes")]
    Character {
        /// Counted from 1, prefix included, white space left out.
        position: usize,
    },
    /// Letters are missing or changed.
    #[error("the invite's checksum does not fit: a part is missing or a letter has changed; copy it again")]
    Checksum,
    /// Of a version that this program does not know.
    #[error("the invite is of version {0}, and this program knows version 1 only; update it, or ask for a new invite")]
    Version(u8),
    /// The checksum fits, but the layout does not.
    #[error("the invite is malformed ({0}); ask for a new one")]
    Layout(#[from] DecodeError),
    /// Its genesis is none.
    #[error("the invite's chain is not valid: {0}; ask for a new one")]
    Genesis(#[from] GenesisError),
    /// Its checkpoint cannot be of its chain.
    #[error(
        "the invite's block {hash} at height {height} cannot be of its chain, by its hash or its work; ask for a new one"
    )]
    Checkpoint {
        /// What it says.
        height: Height,
        /// What it says.
        hash: BlockHash,
    },
    /// Too many addresses.
    #[error("an invite holds {MAX_INVITE_ADDRESSES} addresses at most, not {0}")]
    TooManyAddresses(usize),
    /// An address is none.
    #[error("'{}' is not an address for an invite: write /ip4/…/tcp/…/p2p/…, {MAX_INVITE_ADDRESS_BYTES} characters at most", printable(.0))]
    Address(String),
}

impl Invite {
    /// An invite to a network; `addresses` are multiaddrs as text, with `/p2p/`, best first.
    pub fn new(network: Network, checkpoint: Checkpoint, addresses: Vec<String>) -> Result<Self, InviteError> {
        let genesis = checkpoint.hash == network.id && checkpoint.work == network.genesis_work();
        let later = checkpoint.hash != network.id && checkpoint.work > network.genesis_work();
        if !(if checkpoint.height == 0 { genesis } else { later }) {
            return Err(InviteError::Checkpoint { height: checkpoint.height, hash: checkpoint.hash });
        }
        if addresses.len() > MAX_INVITE_ADDRESSES {
            return Err(InviteError::TooManyAddresses(addresses.len()));
        }
        if let Some(address) = addresses.iter().find(|address| !is_address(address)) {
            return Err(InviteError::Address(address.chars().take(80).collect()));
        }
        Ok(Self { network, checkpoint, addresses })
    }

    /// The chain, verified.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The chain's first block.
    #[must_use]
    pub const fn genesis(&self) -> &Block {
        &self.network.genesis
    }

    /// The block that the newcomer's chain must contain.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where friends can be found: multiaddrs as text, with `/p2p/`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The invite as one line of text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = vec![VERSION];
        self.network.genesis.encode(&mut bytes);
        bytes.extend(self.checkpoint.height.to_le_bytes());
        bytes.extend(self.checkpoint.hash.0);
        bytes.extend(self.checkpoint.work.to_be_bytes());
        // Both fit: an invite is made with at most 8 addresses of at most 256 bytes.
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            bytes.extend(u16::try_from(address.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(address.as_bytes());
        }
        bytes.extend(checksum(&bytes));
        format!("{INVITE_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// The invite that a text is. White space anywhere is overlooked: chat programs break long lines.
    pub fn from_text(text: &str) -> Result<Self, InviteError> {
        // White space is bounded too, so that nothing large is copied.
        if text.len() > MAX_INVITE_CHARS.saturating_mul(2) {
            return Err(InviteError::TooLong(text.len()));
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let Some(encoded) = text.strip_prefix(INVITE_PREFIX) else {
            return Err(InviteError::Prefix(printable(&text.chars().take(24).collect::<String>())));
        };
        if text.len() > MAX_INVITE_CHARS {
            return Err(InviteError::TooLong(text.len()));
        }
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|error| InviteError::Character {
            position: error.position.saturating_add(INVITE_PREFIX.len()).saturating_add(1),
        })?;
        let Some((payload, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(InviteError::Checksum);
        };
        if *sum != checksum(payload) {
            return Err(InviteError::Checksum);
        }
        Self::read(&mut Reader::new(payload))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, InviteError> {
        match reader.u8()? {
            VERSION => {}
            other => return Err(InviteError::Version(other)),
        }
        let genesis = Block::decode(reader)?;
        let checkpoint = Checkpoint {
            height: reader.u32()?,
            hash: BlockHash(reader.array()?),
            work: Work::from_be_bytes(reader.array()?),
        };
        let count = usize::from(reader.u8()?);
        if count > MAX_INVITE_ADDRESSES {
            return Err(InviteError::TooManyAddresses(count));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let length = usize::from(reader.u16()?);
            let bytes = reader.take(length)?;
            let address = String::from_utf8_lossy(bytes);
            if address.as_bytes() != bytes {
                return Err(InviteError::Address(address.chars().take(80).collect()));
            }
            addresses.push(address.into_owned());
        }
        reader.clone().finish()?;
        Self::new(Network::from_genesis(genesis)?, checkpoint, addresses)
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = sha256d(&[payload]);
    [a, b, c, d]
}

/// Whether a text can be a multiaddr of a peer; whether it can be dialled, only the network can say.
fn is_address(text: &str) -> bool {
    text.len() <= MAX_INVITE_ADDRESS_BYTES
        && text.starts_with('/')
        && text.contains("/p2p/")
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
