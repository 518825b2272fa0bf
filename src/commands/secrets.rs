//! Reads passphrases and recovery phrases from a file, a pipe or a terminal.
//!
//! # Security
//! Every buffer of this module that holds a secret is wiped when it is dropped. The standard
//! library's buffer of standard input is not.

use std::{fs, io::Read, path::Path};

use zeroize::Zeroizing;

use super::{
    args::PassphraseFlag,
    asking::{Asking, Echo, MAX_SECRET_BYTES},
};
use crate::rpc::{RpcError, types::Secret};

/// Returns the first line of the flag's file, if the flag was given.
pub(crate) fn passphrase(flag: &PassphraseFlag) -> Result<Option<Secret>, RpcError> {
    let Some(path) = flag.passphrase_file.as_deref() else { return Ok(None) };
    // The node refuses an empty passphrase where it needs one.
    Ok(Some(read_optional(path)?.unwrap_or_else(|| Secret::new(String::new()))))
}

/// Asks for a secret on a terminal, or reads a pipe to its end.
///
/// # Errors
/// The secret is empty, or a console reads a pipe.
pub(super) async fn ask(asking: &Asking, prompt: &str, echo: Echo) -> Result<Secret, RpcError> {
    let secret = asking.line(prompt, echo).await?;
    let trimmed = secret.trim_end_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        return Err(RpcError::new(
            "no_secret",
            "nothing was given: type it at the prompt, pipe it in, or name a file",
        ));
    }
    Ok(Secret::new(trimmed.to_owned()))
}

/// Asks for a passphrase without echo. `None` if it is empty.
pub(super) async fn ask_optional(
    asking: &Asking,
    prompt: &str,
) -> Result<Option<Secret>, RpcError> {
    let typed = asking.line(prompt, Echo::Hidden).await?;
    let typed = typed.trim_end_matches(['\n', '\r']);
    Ok((!typed.is_empty()).then(|| Secret::new(typed.to_owned())))
}

/// Returns the first line of a file; `None` if it is empty.
pub(super) fn read_optional(path: &Path) -> Result<Option<Secret>, RpcError> {
    let failed = |cause: &dyn std::fmt::Display| {
        let sentence = format!("cannot read the passphrase from '{}': {cause}", path.display());
        RpcError::new("wallet_failed", sentence)
    };
    let file = fs::File::open(path).map_err(|cause| failed(&cause))?;
    // The capacity is never exceeded, since a buffer that grows leaves a copy of the secret in
    // memory.
    let limit = MAX_SECRET_BYTES + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(limit as u64).read_to_end(&mut bytes).map_err(|cause| failed(&cause))?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(failed(&"it is longer than 4,096 bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(&"it is not UTF-8 text"))?;
    let line = text.lines().next().unwrap_or_default();
    Ok((!line.is_empty()).then(|| Secret::new(line.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_file_gives_its_first_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passphrase");
        let read = |bytes: &[u8]| {
            fs::write(&file, bytes).expect("written");
            read_optional(&file)
        };
        let first = read(b"open sesame\r\nnot this\n").expect("read").expect("a passphrase");
        assert_eq!(first.expose(), "open sesame");
        assert_eq!(read(b"\n").expect("read"), None);
        for (bytes, reason) in [
            (vec![b'x'; MAX_SECRET_BYTES + 1], "it is longer than 4,096 bytes"),
            (vec![0xff], "it is not UTF-8 text"),
        ] {
            let error = read(&bytes).expect_err("refused");
            assert_eq!(error.code, "wallet_failed");
            assert!(error.message.starts_with("cannot read the passphrase from '"), "{error}");
            assert!(error.message.ends_with(reason), "{error}");
        }
    }
}
