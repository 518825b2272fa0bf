//! Passphrases and recovery phrases: from a file, a pipe, or a terminal that does not show them.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Read},
};

use rustyline::{
    ColorMode, Completer, Config, Editor, Helper, Hinter, Validator,
    highlight::{CmdKind, Highlighter},
    history::MemHistory,
};
use unicode_width::UnicodeWidthStr;

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
    let failed = |cause: rustyline::error::ReadlineError| {
        RpcError::new("input", format!("nothing was typed: {cause}"))
    };
    let color = if hidden { ColorMode::Forced } else { ColorMode::Disabled };
    let config = Config::builder().auto_add_history(false).color_mode(color).build();
    let mut editor =
        Editor::<Mask, MemHistory>::with_history(config, MemHistory::new()).map_err(failed)?;
    editor.set_helper(Some(Mask { hidden }));
    editor.readline(prompt).map_err(failed)
}

/// Shows blanks in place of what is typed.
#[derive(Completer, Helper, Hinter, Validator)]
struct Mask {
    hidden: bool,
}

impl Highlighter for Mask {
    fn highlight<'l>(&self, line: &'l str, _position: usize) -> Cow<'l, str> {
        if self.hidden { Cow::Owned(" ".repeat(line.width())) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _line: &str, _position: usize, kind: CmdKind) -> bool {
        self.hidden && kind != CmdKind::MoveCursor
    }
}
