//! Passphrases and recovery phrases: from a file, a pipe, or a terminal that does not show them.

use std::io::{self, IsTerminal, Read, Write as _};

use crate::{
    cli::args::PassphraseFlag,
    rpc::{RpcError, types::Secret},
    wallet::read_passphrase_file,
};

/// The longest secret from a pipe, in bytes: 24 words are under 300.
const MAX_PIPED_BYTES: u64 = 4_096;

/// What the flag says: the first line of the file, or none.
pub(crate) fn passphrase(flag: &PassphraseFlag) -> Result<Option<Secret>, RpcError> {
    let Some(path) = flag.passphrase_file.as_deref() else { return Ok(None) };
    let passphrase = read_passphrase_file(path)?;
    Ok(Some(Secret::new(passphrase.to_string())))
}

/// A secret that the command cannot do without: asked for on a terminal, read to the end of a pipe.
pub(crate) fn ask(prompt: &str, hidden: bool) -> Result<Secret, RpcError> {
    let secret = if io::stdin().is_terminal() { typed(prompt, hidden)? } else { piped()? };
    let trimmed = secret.trim_end_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        return Err(RpcError::new(
            "no_secret",
            "nothing was given: type it at the prompt, pipe it in, or name a file",
        ));
    }
    Ok(Secret::new(trimmed.to_owned()))
}

fn piped() -> Result<String, RpcError> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_PIPED_BYTES).read_to_string(&mut text);
    read.map_err(|cause| RpcError::new("input", format!("standard input does not read: {cause}")))?;
    Ok(text)
}

fn typed(prompt: &str, hidden: bool) -> Result<String, RpcError> {
    let typed = if hidden {
        rpassword::prompt_password(prompt)
    } else {
        let mut line = String::new();
        write!(io::stdout(), "{prompt}")
            .and_then(|()| io::stdout().flush())
            .and_then(|()| io::stdin().read_line(&mut line))
            .map(|_| line)
    };
    typed.map_err(|cause| RpcError::new("input", format!("nothing was typed: {cause}")))
}
