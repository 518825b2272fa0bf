//! Values that a user typed are parsed, or refused with a sentence.

use std::{fmt::Display, str::FromStr};

use super::outcome::CommandError;
use crate::{
    primitives::{Address, AddressError, IdPrefix, trimmed},
    rpc::RpcError,
};

/// Parses a value. A wrong one is a usage error with the given code.
pub(super) fn parsed<T>(text: &str, code: &'static str) -> Result<T, CommandError>
where
    T: FromStr,
    T::Err: Display,
{
    trimmed(text)
        .parse()
        .map_err(|error: T::Err| CommandError::Usage(RpcError::new(code, error.to_string())))
}

/// Checks that a text is a hash or the start of one, and returns it trimmed. Another text is a
/// usage error with the given code.
pub(super) fn hash_text(text: &str, code: &'static str) -> Result<String, CommandError> {
    parsed::<IdPrefix>(text, code).map(|prefix| prefix.digits().to_owned())
}

/// Parses an address.
///
/// # Errors
/// A text without the form of an address is a usage error. An address with a wrong checksum is
/// refused instead: one of its letters is wrong.
pub(crate) fn parsed_address(text: &str) -> Result<Address, CommandError> {
    trimmed(text).parse().map_err(|error: AddressError| match error {
        AddressError::Checksum(_) => CommandError::Failed(error.into()),
        AddressError::Malformed(_) => CommandError::Usage(error.into()),
    })
}

/// Checks a recipient, which is an address or a friend's name. A mistyped address is an error, so
/// that it is never taken for a name.
pub(super) fn checked_recipient(to: String) -> Result<String, CommandError> {
    let to = trimmed(&to);
    if Address::looks_like(to) {
        parsed_address(to)?;
    }
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Owner;

    #[test]
    fn one_wrong_letter_in_an_address_is_its_own_error() {
        let address = Address(Owner::ZERO).to_string();
        assert!(checked_recipient(address.clone()).is_ok());
        assert!(checked_recipient("yzw".to_owned()).is_ok());
        let last = if address.ends_with('q') { 'p' } else { 'q' };
        let wrong: String = address.chars().take(40).chain([last]).collect();
        let CommandError::Failed(error) = checked_recipient(wrong).expect_err("refused") else {
            panic!("refused")
        };
        assert_eq!(error.code, "bad_address");
        assert!(error.message.contains("a letter is wrong"), "{error}");
        let short = checked_recipient("fc1?".to_owned()).expect_err("wrong usage");
        assert!(matches!(short, CommandError::Usage(_)), "{short:?}");
    }
}
