//! The frozen rule for the name of a network.
//!
//! The name is part of the genesis, so this is a consensus rule. It must not change with the
//! Unicode tables of a compiler or a library, and therefore lists every code point itself.

use crate::primitives::printable;

/// The reason why a text may not be the name of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkNameError {
    /// The name has no character.
    #[error("a name may not be empty")]
    Empty,
    /// The name has a `#`, a space, or a control or formatting character.
    #[error(
        "'{name}' may not be a name: networks' names hold no '#', no spaces and no control \
         characters, and this one has U+{code_point:04X}"
    )]
    Character {
        /// The name, printable.
        name: String,
        /// The first rejected code point.
        code_point: u32,
    },
    /// The name begins like an address or a peer id.
    #[error("'{0}' may not be a name: it reads as an address or a peer id")]
    Misleading(String),
}

/// The code points that no network's name has, as first and last of each range: controls, `#`,
/// white space, and formatting characters. A change of this table would split chains.
const REFUSED: [(u32, u32); 11] = [
    (0x0000, 0x0020),
    (0x0023, 0x0023),
    (0x007f, 0x00a0),
    (0x1680, 0x1680),
    (0x2000, 0x200f),
    (0x2028, 0x202f),
    (0x205f, 0x206f),
    (0x3000, 0x3000),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffb),
    (0xe_0000, 0xe_007f),
];

/// The beginning of an address. No name begins with it, in capital or small letters.
const ADDRESS: &[u8] = b"fc1";

/// The beginning of a peer id. No name begins with it.
const PEER_ID: &[u8] = b"12D3KooW";

/// Checks that a text may be the name of a network. Its length in bytes is checked elsewhere.
pub(super) fn check_network_name(name: &str) -> Result<(), NetworkNameError> {
    let shown = || printable(&name.chars().take(48).collect::<String>());
    if name.is_empty() {
        return Err(NetworkNameError::Empty);
    }
    let is_refused = |c: &u32| REFUSED.iter().any(|(first, last)| (*first..=*last).contains(c));
    if let Some(code_point) = name.chars().map(u32::from).find(is_refused) {
        return Err(NetworkNameError::Character { name: shown(), code_point });
    }
    let bytes = name.as_bytes();
    let is_address = bytes.get(..ADDRESS.len()).is_some_and(|b| b.eq_ignore_ascii_case(ADDRESS));
    if is_address || bytes.starts_with(PEER_ID) {
        return Err(NetworkNameError::Misleading(shown()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_point_is_judged_by_the_table_alone() {
        let refused = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        let refused = refused.filter(|c| check_network_name(&c.to_string()).is_err());
        let listed: u32 = REFUSED.iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(u32::try_from(refused.count()).expect("few"), listed);
        assert_eq!(listed, 243);
    }

    #[test]
    fn the_rule_sorts_neither_by_script_nor_by_what_is_seen() {
        for name in ["lan", "李雷", "a\u{ad}b", "e\u{301}", "\u{301}", "\u{378}", "FC", "12d3KooW"]
        {
            assert_eq!(check_network_name(name), Ok(()), "{name:?}");
        }
        for name in ["fc1", "Fc1abc", "12D3KooW", "12D3KooWx"] {
            let error = check_network_name(name).expect_err(name);
            assert_eq!(error, NetworkNameError::Misleading(name.to_owned()));
        }
        assert_eq!(check_network_name(""), Err(NetworkNameError::Empty));
        let error = check_network_name("a\u{3000}").expect_err("a space");
        assert!(error.to_string().contains("U+3000"), "{error}");
    }
}
