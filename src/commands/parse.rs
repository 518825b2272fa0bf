//! Parses values that a user typed, or rejects them with a sentence.

use std::{fmt::Display, str::FromStr};

use super::{outcome::CommandError, session::Session};
use crate::{
    primitives::{Address, AddressError, IdPrefix, printable, trimmed},
    rpc::{FriendchainApiClient, RpcError},
};

/// Parses a value. A wrong value is a usage error with the given code.
pub(super) fn parsed<T>(text: &str, code: &'static str) -> Result<T, CommandError>
where
    T: FromStr,
    T::Err: Display,
{
    trimmed(text).parse().map_err(|error: T::Err| {
        CommandError::Usage(RpcError::new(code, printable(&error.to_string())))
    })
}

/// Checks that a text is a hash or the start of one, and returns it trimmed. Another text is a
/// usage error with the given code.
pub(super) fn hash_text(text: &str, code: &'static str) -> Result<String, CommandError> {
    parsed::<IdPrefix>(text, code).map(|prefix| prefix.digits().to_owned())
}

/// Parses an address.
///
/// # Errors
/// A text without the form of an address is a usage error. An address with a wrong checksum is a
/// refusal instead, since one of its letters is wrong.
pub(crate) fn parsed_address(text: &str) -> Result<Address, CommandError> {
    trimmed(text).parse().map_err(|error: AddressError| {
        let refusal = RpcError::new("bad_address", printable(&error.to_string()));
        match error {
            AddressError::Checksum(_) => CommandError::Failed(refusal),
            AddressError::Malformed(_) => CommandError::Usage(refusal),
        }
    })
}

/// Returns the address in a text, or the payment address of the friend that the text names.
pub(super) async fn named_address(
    session: &Session<'_>,
    text: &str,
) -> Result<Address, CommandError> {
    let text = trimmed(text);
    if Address::looks_like(text) || text.is_empty() {
        return parsed_address(text);
    }
    let found = session.client.address_of(text.to_owned()).await?;
    found.ok_or_else(|| {
        let shown = printable(&text.chars().take(100).collect::<String>());
        let sentence = format!(
            "'{shown}' is neither an address nor a friend's name: addresses begin with 'fc1', and \
             friends lists the names"
        );
        CommandError::Usage(RpcError::new("bad_address", sentence))
    })
}

/// Checks a recipient, which is an address or a friend's name. A mistyped address is an error, so
/// that it is never taken for a name.
pub(super) fn checked_recipient(to: &str) -> Result<String, CommandError> {
    let to = trimmed(to);
    if Address::looks_like(to) || to.is_empty() {
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
        assert!(checked_recipient(&format!(" {address}\r\n")).is_ok());
        assert!(checked_recipient("yzw").is_ok());
        let last = if address.ends_with('q') { 'p' } else { 'q' };
        let wrong: String = address.chars().take(40).chain([last]).collect();
        let CommandError::Failed(error) = checked_recipient(&wrong).expect_err("refused") else {
            panic!("refused")
        };
        assert_eq!(error.code, "bad_address");
        assert!(error.message.contains("a letter is wrong"), "{error}");
        let short = checked_recipient("fc1?").expect_err("wrong usage");
        assert!(matches!(short, CommandError::Usage(_)), "{short:?}");
    }
}
