//! Invite texts, which let a newcomer join a chain and verify the first peers that it connects to.

use data_encoding::BASE64URL_NOPAD;

use super::{GenesisError, MAX_GENESIS_BYTES, Network, Work};
use crate::primitives::{
    Block, BlockHash, DecodeError, Encode, Height, encoding::Decode, encoding::Reader, printable,
    sha256d,
};

/// The first characters of every invite.
pub(crate) const INVITE_PREFIX: &str = "friendchain:";

/// The most addresses in an invite.
pub(crate) const MAX_INVITE_ADDRESSES: usize = 8;

/// The longest address in an invite, in bytes.
pub(crate) const MAX_INVITE_ADDRESS_BYTES: usize = 256;

/// The longest invite, in characters: the largest genesis and eight of the longest addresses, as
/// base64.
pub(crate) const MAX_INVITE_CHARS: usize = INVITE_PREFIX.len() + MAX_PAYLOAD_BYTES.div_ceil(3) * 4;

const MAX_PAYLOAD_BYTES: usize = 1
    + MAX_GENESIS_BYTES
    + 4
    + 32
    + 32
    + 1
    + MAX_INVITE_ADDRESSES * (2 + MAX_INVITE_ADDRESS_BYTES)
    + CHECKSUM_BYTES;

/// The version of the layout.
const VERSION: u8 = 1;

/// Length of the checksum: one random change in 2^32 goes unnoticed.
const CHECKSUM_BYTES: usize = 4;

/// A block of the best chain that a newcomer holds its peers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub height: Height,
    pub hash: BlockHash,
    /// The total work of the chain up to and including this block.
    pub work: Work,
}

/// An invitation from a member of a chain to a newcomer.
///
/// It holds the chain's genesis, a recent block as checkpoint, and the addresses of friends.
///
/// # Layout
///
/// The text is `friendchain:` and then, in base64url without padding:
/// - version u8 = 1;
/// - the genesis block;
/// - the checkpoint's height u32, hash 32 and work 32 (big-endian);
/// - count of addresses u8, then for each its length u16 and its text;
/// - the first 4 bytes of the SHA-256d of all bytes before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    network: Network,
    checkpoint: Checkpoint,
    addresses: Vec<String>,
}

/// The reason why a text is not an invite, or why no invite can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// The text does not begin with [`INVITE_PREFIX`].
    #[error(
        "'{0}' is not an invite: invites begin with '{INVITE_PREFIX}'; ask your friend for the \
         whole line"
    )]
    Prefix(String),
    /// The text is longer than [`MAX_INVITE_CHARS`].
    #[error(
        "the invite has {0} characters, more than any invite has ({MAX_INVITE_CHARS}); copy it \
         again"
    )]
    TooLong(usize),
    /// A character is not in base64url.
    #[error(
        "the invite is damaged at character {position}: copy it again, whole and without changes"
    )]
    Character {
        /// The position of the character, counted from 1 with the prefix and without white space.
        position: usize,
    },
    /// Characters are missing or changed.
    #[error(
        "the invite's checksum does not fit: a part is missing or a letter has changed; copy it \
         again"
    )]
    Checksum,
    /// This program does not know the version of the layout.
    #[error(
        "the invite is of version {0}, and this program knows version 1 only; update it, or ask \
         for a new invite"
    )]
    Version(u8),
    /// The checksum fits, but the layout does not.
    #[error("the invite is malformed ({0}); ask for a new one")]
    Layout(#[from] DecodeError),
    /// The genesis is invalid.
    #[error("the invite's chain is not valid: {0}; ask for a new one")]
    Genesis(#[from] GenesisError),
    /// The checkpoint cannot be a block of the genesis's chain.
    #[error(
        "the invite's block {hash} at height {height} cannot be of its chain, by its hash or its \
         work; ask for a new one"
    )]
    Checkpoint { height: Height, hash: BlockHash },
    /// The invite has too many addresses.
    #[error("an invite holds {MAX_INVITE_ADDRESSES} addresses at most, not {0}")]
    TooManyAddresses(usize),
    /// A text is not an address for an invite.
    #[error("'{}' is not an address for an invite: write /ip4/…/tcp/…/p2p/…, \
         {MAX_INVITE_ADDRESS_BYTES} characters at most", printable(.0))]
    Address(String),
}

impl Invite {
    /// Makes an invite. The addresses are multiaddrs as text, with `/p2p/`, the best first.
    pub(crate) fn new(
        network: Network,
        checkpoint: Checkpoint,
        addresses: Vec<String>,
    ) -> Result<Self, InviteError> {
        let genesis = checkpoint.hash == network.id && checkpoint.work == network.genesis_work();
        let later = checkpoint.hash != network.id && checkpoint.work > network.genesis_work();
        if !(if checkpoint.height == 0 { genesis } else { later }) {
            return Err(InviteError::Checkpoint {
                height: checkpoint.height,
                hash: checkpoint.hash,
            });
        }
        if addresses.len() > MAX_INVITE_ADDRESSES {
            return Err(InviteError::TooManyAddresses(addresses.len()));
        }
        if let Some(address) = addresses.iter().find(|address| !is_address(address)) {
            return Err(InviteError::Address(address.chars().take(80).collect()));
        }
        Ok(Self { network, checkpoint, addresses })
    }

    /// Returns the verified network.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the block that the newcomer's chain must contain.
    #[must_use]
    pub(crate) const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the addresses of friends: multiaddrs as text, with `/p2p/`.
    #[must_use]
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Returns the invite as one line of text.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let mut bytes = vec![VERSION];
        self.network.genesis.encode(&mut bytes);
        bytes.extend(self.checkpoint.height.to_le_bytes());
        bytes.extend(self.checkpoint.hash.0);
        bytes.extend(self.checkpoint.work.to_be_bytes());
        // Both lengths fit: `new` accepts at most 8 addresses of at most 256 bytes.
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            bytes.extend(u16::try_from(address.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(address.as_bytes());
        }
        bytes.extend(checksum(&bytes));
        format!("{INVITE_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads and checks an invite.
    ///
    /// White space is ignored everywhere, since chat programs break long lines.
    pub fn from_text(text: &str) -> Result<Self, InviteError> {
        // The bound counts white space too, so that no large text is copied.
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
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if let Some(at) = encoded.bytes().position(|byte| !is_letter(byte)) {
            let position = at.saturating_add(INVITE_PREFIX.len()).saturating_add(1);
            return Err(InviteError::Character { position });
        }
        // A part is missing, or the last letter has stray bits.
        let bytes =
            BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| InviteError::Checksum)?;
        let Some((payload, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(InviteError::Checksum);
        };
        if *sum != checksum(payload) {
            return Err(InviteError::Checksum);
        }
        Self::read(&mut Reader::new(payload))
    }

    /// True if a text is the beginning of an invite, to which further rows may belong.
    ///
    /// Mail programs and terminals break an invite into rows, and only the first has the prefix. A
    /// whole invite with a changed letter is no beginning.
    #[must_use]
    pub(crate) fn is_beginning(text: &str) -> bool {
        if text.len() > MAX_INVITE_CHARS.saturating_mul(2) {
            return false;
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let Some(encoded) = text.strip_prefix(INVITE_PREFIX) else { return false };
        // The last letters may hold a part of a byte, so they are completed and then cut off.
        let whole = encoded.len().saturating_mul(6) / 8;
        let fill = encoded.len().next_multiple_of(4).saturating_sub(encoded.len());
        let filled = format!("{encoded}{}", "A".repeat(fill));
        let Ok(mut bytes) = BASE64URL_NOPAD.decode(filled.as_bytes()) else { return false };
        bytes.truncate(whole);
        match Self::read(&mut Reader::new(&bytes)) {
            // A count is limited by the bytes that follow it, which may be missing.
            Ok(_)
            | Err(InviteError::Layout(
                DecodeError::Truncated { .. } | DecodeError::TooMany { .. },
            )) => true,
            Err(InviteError::Layout(DecodeError::Trailing { extra })) => extra < CHECKSUM_BYTES,
            Err(_) => false,
        }
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

/// True if a text has the form of a peer's multiaddr. Only libp2p can decide if it can be dialled.
fn is_address(text: &str) -> bool {
    text.len() <= MAX_INVITE_ADDRESS_BYTES
        && text.starts_with('/')
        && text.contains("/p2p/")
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::testing::{hash, network};

    const PEER: &str = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn address(number: u16) -> String {
        format!("/ip4/192.168.1.{}/tcp/{number}{PEER}", number % 256)
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            height: 812,
            hash: hash(7),
            work: network(0).genesis_work().saturating_add(Work::from(812 * 256)),
        }
    }

    fn invite(addresses: u16) -> Invite {
        Invite::new(network(0), checkpoint(), (0..addresses).map(address).collect())
            .expect("an invite")
    }

    /// Returns a text with the right checksum for any payload.
    fn sealed(payload: &[u8]) -> String {
        format!(
            "{INVITE_PREFIX}{}",
            BASE64URL_NOPAD.encode(&[payload, &checksum(payload)].concat())
        )
    }

    fn payload(invite: &Invite) -> Vec<u8> {
        let text = invite.to_text();
        let bytes =
            BASE64URL_NOPAD.decode(&text.as_bytes()[INVITE_PREFIX.len()..]).expect("base64");
        bytes[..bytes.len() - CHECKSUM_BYTES].to_vec()
    }

    #[test]
    fn an_invite_is_read_back_even_when_its_line_was_broken() {
        for count in [0, 1, 8] {
            let invite = invite(count);
            let text = invite.to_text();
            assert_eq!(Invite::from_text(&text), Ok(invite.clone()));
            let broken: String = text.chars().flat_map(|c| [c, '\n']).collect();
            assert_eq!(Invite::from_text(&format!("  {broken} ")), Ok(invite));
        }
    }

    #[test]
    fn any_changed_letter_is_noticed() {
        let text = invite(1).to_text();
        for at in INVITE_PREFIX.len()..text.len() {
            let mut letters = text.clone().into_bytes();
            letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(letters).expect("ASCII");
            let error = Invite::from_text(&changed).expect_err("changed");
            assert!(
                matches!(error, InviteError::Checksum | InviteError::Character { .. }),
                "{at}: {error}"
            );
        }
        for end in 0..text.len() {
            assert!(Invite::from_text(&text[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn each_start_of_an_invite_is_a_beginning_and_a_changed_one_is_none() {
        for count in 0..4 {
            let text = invite(count).to_text();
            for end in INVITE_PREFIX.len()..text.len() {
                assert!(Invite::is_beginning(&text[..end]), "{end} of {}", text.len());
                assert!(Invite::is_beginning(&format!("{}\n", &text[..end])), "{end}");
            }
            let last = text.chars().rev().nth(1).expect("a letter");
            let changed = if last == 'A' { 'B' } else { 'A' };
            let changed = format!("{}{changed}A", &text[..text.len() - 2]);
            assert!(!Invite::is_beginning(&changed), "{changed}");
            assert!(!Invite::is_beginning(&format!("{text}AAAA")));
        }
        for other in ["", "friendchain", "hello", "friendchain:a.b", "friendchain:zzzz"] {
            assert!(!Invite::is_beginning(other), "{other}");
        }
    }

    #[test]
    fn stray_bits_in_the_last_letter_are_refused() {
        for count in 0..3 {
            let text = invite(count).to_text();
            let head = &text[..text.len() - 1];
            let letters = (0u8..128).map(char::from).filter(char::is_ascii_graphic);
            let accepted: Vec<_> = letters
                .filter(|last| Invite::from_text(&format!("{head}{last}")).is_ok())
                .collect();
            assert_eq!(accepted, text.chars().last().into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_text_that_is_no_invite_is_refused_by_cause() {
        let error = |text: &str| Invite::from_text(text).expect_err("no invite");
        assert!(matches!(error("hello"), InviteError::Prefix(_)));
        assert!(matches!(error(""), InviteError::Prefix(_)));
        assert!(!error("\u{1b}[31mred").to_string().contains('\u{1b}'));
        assert_eq!(error("friendchain:ab+d"), InviteError::Character { position: 15 });
        assert_eq!(error("friendchain:"), InviteError::Checksum);
        let long = format!("{INVITE_PREFIX}{}", "A".repeat(MAX_INVITE_CHARS));
        assert_eq!(error(&long), InviteError::TooLong(long.len()));
        assert!(matches!(error(&" ".repeat(1 << 20)), InviteError::TooLong(_)));
    }

    #[test]
    fn a_payload_under_a_right_checksum_is_still_checked() {
        let whole = payload(&invite(2));
        let error = |bytes: &[u8]| Invite::from_text(&sealed(bytes)).expect_err("malformed");

        let mut newer = whole.clone();
        newer[0] = 2;
        assert_eq!(error(&newer), InviteError::Version(2));
        assert!(matches!(
            error(&[&whole[..], &[0]].concat()),
            InviteError::Layout(DecodeError::Trailing { extra: 1 })
        ));
        for end in 0..whole.len() {
            assert!(matches!(error(&whole[..end]), InviteError::Layout(_)), "{end}");
        }
        let mut unworked = whole.clone();
        unworked[1 + 84] ^= 1; // the genesis's nonce
        assert!(matches!(
            error(&unworked),
            InviteError::Genesis(GenesisError::NotEnoughWork { .. })
        ));

        let bare = payload(&invite(0));
        let with_count =
            |count: u8, rest: &[u8]| [&bare[..bare.len() - 1], &[count], rest].concat();
        assert_eq!(error(&with_count(9, &[])), InviteError::TooManyAddresses(9));
        for bad in [
            &b""[..],
            b"x",
            b"/ip4/1.2.3.4/tcp/1",
            b"/ip4/1.2.3.4/tcp/1/p2p/\xff",
            b"/ /p2p/",
            &[b'/'; 257],
        ] {
            let length = u16::try_from(bad.len()).expect("short").to_le_bytes();
            assert!(
                matches!(
                    error(&with_count(1, &[&length[..], bad].concat())),
                    InviteError::Address(_)
                ),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_checkpoint_that_cannot_belong_to_the_chain_is_refused() {
        let network = network(0);
        let genesis = Checkpoint { height: 0, hash: network.id, work: network.genesis_work() };
        let make = |checkpoint| Invite::new(network.clone(), checkpoint, vec![]);
        assert!(make(genesis).is_ok());
        for bad in [
            Checkpoint { hash: hash(1), ..genesis },
            Checkpoint { work: genesis.work.saturating_add(Work::from(1)), ..genesis },
            Checkpoint { height: 3, ..genesis },
            Checkpoint { height: 3, hash: hash(1), ..genesis },
        ] {
            assert!(matches!(make(bad), Err(InviteError::Checkpoint { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_invite_with_too_many_or_too_long_addresses_is_not_made() {
        let make = |addresses| Invite::new(network(0), checkpoint(), addresses);
        assert_eq!(make(vec![address(1); 9]), Err(InviteError::TooManyAddresses(9)));
        let longest =
            format!("/dns4/{}{PEER}", "a".repeat(MAX_INVITE_ADDRESS_BYTES - PEER.len() - 6));
        assert!(
            make(vec![longest.clone(); 8])
                .is_ok_and(|invite| invite.to_text().len() <= MAX_INVITE_CHARS)
        );
        assert!(matches!(make(vec![format!("/{longest}")]), Err(InviteError::Address(_))));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            flips in proptest::collection::vec(any::<(u16, u8)>(), 0..3),
        ) {
            let _ = Invite::from_text(&sealed(&bytes));
            let mut payload = payload(&invite(3));
            for (at, flip) in flips {
                let at = usize::from(at) % payload.len();
                payload[at] ^= flip;
            }
            let text = sealed(&payload);
            if let Ok(invite) = Invite::from_text(&text) {
                prop_assert_eq!(invite.to_text(), text);
            }
        }
    }
}
