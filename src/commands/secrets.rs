//! Passphrases and recovery phrases: read from a file, from a pipe, or from a terminal.
//!
//! # Security
//! Every buffer of this module that holds a secret is wiped when it is dropped. The buffer of the
//! standard library's standard input is not.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
};

use zeroize::Zeroizing;

use super::args::PassphraseFlag;
use crate::rpc::{RpcError, types::Secret};

/// The largest secret that is read, in bytes: 24 words have under 300.
const MAX_SECRET_BYTES: usize = 4_096;

/// The echo of a terminal while a secret is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// Recovery phrases are shown: 24 words are hard to type blindly.
    Visible,
    /// Passphrases are not shown.
    Hidden,
}

/// Returns the first line of the flag's file, if the flag was given.
pub(crate) fn passphrase(flag: &PassphraseFlag) -> Result<Option<Secret>, RpcError> {
    let Some(path) = flag.passphrase_file.as_deref() else { return Ok(None) };
    read_passphrase_file(path).map(Some)
}

/// Asks for a secret on a terminal, or reads a pipe to its end.
///
/// # Errors
/// An empty secret is refused. So is a pipe that is not the command's own (`owns_stdin`): the
/// console's thread holds it.
pub(super) fn ask(prompt: &str, echo: Echo, owns_stdin: bool) -> Result<Secret, RpcError> {
    if !owns_stdin {
        let sentence = "a secret is not typed in the console: run the command in a shell, where \
             it is asked for, or use --passphrase-file";
        return Err(RpcError::new("stdin_in_use", sentence));
    }
    let secret = if io::stdin().is_terminal() { typed(prompt, echo)? } else { piped()? };
    let trimmed = secret.trim_end_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        return Err(RpcError::new(
            "no_secret",
            "nothing was given: type it at the prompt, pipe it in, or name a file",
        ));
    }
    Ok(Secret::new(trimmed.to_owned()))
}

/// Asks for a passphrase on a terminal, without echo. `None` if it is empty.
pub(super) fn ask_optional(prompt: &str) -> Result<Option<Secret>, RpcError> {
    let typed = typed(prompt, Echo::Hidden)?;
    let typed = typed.trim_end_matches(['\n', '\r']);
    Ok((!typed.is_empty()).then(|| Secret::new(typed.to_owned())))
}

fn read_passphrase_file(path: &Path) -> Result<Secret, RpcError> {
    read_optional(path)?.ok_or_else(|| {
        let sentence = "the passphrase is empty: choose one of some length, or leave \
             --passphrase-file out for none";
        RpcError::new("bad_passphrase", sentence)
    })
}

/// Returns the first line of a file; `None` if it is empty.
pub(super) fn read_optional(path: &Path) -> Result<Option<Secret>, RpcError> {
    let failed = |cause: &dyn std::fmt::Display| {
        let sentence = format!("cannot read the passphrase from '{}': {cause}", path.display());
        RpcError::new("wallet_failed", sentence)
    };
    let file = fs::File::open(path).map_err(|cause| failed(&cause))?;
    // The capacity is never exceeded: a buffer that grows leaves a copy behind.
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

fn piped() -> Result<Zeroizing<String>, RpcError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES));
    let read = io::stdin().lock().take(MAX_SECRET_BYTES as u64).read_to_string(&mut text);
    read.map_err(|cause| RpcError::new("input", format!("standard input does not read: {cause}")))?;
    Ok(text)
}

fn typed(prompt: &str, echo: Echo) -> Result<Zeroizing<String>, RpcError> {
    let typed = match echo {
        Echo::Hidden => rpassword::prompt_password(prompt).map(Zeroizing::new),
        Echo::Visible => visible_line(prompt),
    };
    match typed {
        // Ctrl-D at an empty prompt.
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(Zeroizing::default()),
        typed => {
            typed.map_err(|cause| RpcError::new("input", format!("nothing was typed: {cause}")))
        }
    }
}

fn visible_line(prompt: &str) -> io::Result<Zeroizing<String>> {
    let mut out = io::stdout();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut line = Zeroizing::new(String::with_capacity(MAX_SECRET_BYTES));
    io::stdin().lock().take(MAX_SECRET_BYTES as u64).read_line(&mut line)?;
    Ok(line)
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
            read_passphrase_file(&file)
        };
        assert_eq!(read(b"open sesame\r\nnot this\n").expect("read").expose(), "open sesame");
        assert_eq!(read(b"\n").expect_err("empty").code, "bad_passphrase");
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
