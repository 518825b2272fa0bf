//! The first digits of a hash, by which a user names a block or a transaction.

use std::{ops::RangeInclusive, str::FromStr};

use super::{printable, trimmed};

/// The fewest characters of an id that a user may type, for hashes and peer ids alike.
pub(crate) const MIN_ID_CHARS: usize = 4;

/// Hex digits of a whole hash.
const HASH_DIGITS: usize = 64;

/// The most characters of a wrong text that an error repeats.
const SHOWN_CHARS: usize = 80;

/// The first digits of a hash: 4 to 64 of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdPrefix {
    digits: String,
    first: [u8; 32],
    last: [u8; 32],
}

/// The error for a text that is neither a hash nor the start of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdPrefixError {
    /// The text has other characters than hex digits, or too many.
    #[error("'{0}' is not a hash: 64 hex digits are, or at least the first {MIN_ID_CHARS} of them")]
    Malformed(String),
    /// The text has fewer digits than [`MIN_ID_CHARS`].
    #[error("'{0}' is too short for an id: give at least the first {MIN_ID_CHARS} digits")]
    Short(String),
}

impl IdPrefix {
    /// Returns the digits, in lower case.
    pub(crate) fn digits(&self) -> &str {
        &self.digits
    }

    /// Returns the hash if all digits are given.
    pub(crate) fn whole(&self) -> Option<[u8; 32]> {
        (self.digits.len() == HASH_DIGITS).then_some(self.first)
    }

    /// Returns all hashes that begin with these digits.
    pub(crate) const fn range(&self) -> RangeInclusive<&[u8; 32]> {
        RangeInclusive::new(&self.first, &self.last)
    }

    /// True if a hash begins with these digits.
    pub(crate) fn begins(&self, hash: &[u8; 32]) -> bool {
        self.range().contains(&hash)
    }
}

impl FromStr for IdPrefix {
    type Err = IdPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = trimmed(text);
        let shown = || printable(&text.chars().take(SHOWN_CHARS).collect::<String>());
        if text.len() > HASH_DIGITS || text.is_empty() {
            return Err(IdPrefixError::Malformed(shown()));
        }
        let (mut first, mut last) = ([0_u8; 32], [0xff_u8; 32]);
        for (at, digit) in text.chars().enumerate() {
            let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
            let value = value.ok_or_else(|| IdPrefixError::Malformed(shown()))?;
            let (shift, kept) = if at.is_multiple_of(2) { (4, 0x0f) } else { (0, 0xf0) };
            for byte in [&mut first, &mut last].into_iter().filter_map(|all| all.get_mut(at / 2)) {
                *byte = (*byte & kept) | (value << shift);
            }
        }
        if text.len() < MIN_ID_CHARS {
            return Err(IdPrefixError::Short(shown()));
        }
        Ok(Self { digits: text.to_ascii_lowercase(), first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_range_of_the_hashes_that_begin_with_them() {
        let prefix: IdPrefix = " 0aB1c\r\n".parse().expect("a prefix");
        assert_eq!(prefix.digits(), "0ab1c");
        let (mut first, mut last) = ([0; 32], [0xff; 32]);
        first[..3].copy_from_slice(&[0x0a, 0xb1, 0xc0]);
        last[..3].copy_from_slice(&[0x0a, 0xb1, 0xcf]);
        assert_eq!(prefix.range(), &first..=&last);
        assert!(prefix.begins(&first) && prefix.begins(&last));
        assert!(!prefix.begins(&[0; 32]) && !prefix.begins(&[0xff; 32]));
        assert_eq!(prefix.whole(), None);
        let whole: IdPrefix = "ab".repeat(32).parse().expect("a hash");
        assert_eq!(whole.whole(), Some([0xab; 32]));
    }

    #[test]
    fn what_is_no_start_of_a_hash_is_refused_with_its_text() {
        let read = |text: &str| text.parse::<IdPrefix>().expect_err("refused");
        assert_eq!(read("abc"), IdPrefixError::Short("abc".to_owned()));
        for text in ["", "zz", "abcdx", "早上好啊", &"a".repeat(65)] {
            assert!(matches!(read(text), IdPrefixError::Malformed(_)), "{text}");
        }
        assert!(!read("ab\u{1b}[31m").to_string().contains('\u{1b}'));
    }
}
