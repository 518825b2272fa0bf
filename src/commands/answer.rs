//! Answers are written as one JSON document or as text.

use std::io::{self, Write};

use serde::Serialize;

use super::{look::hanging_answer, outcome::CommandError};
use crate::{primitives::escaped, rpc::RpcError};

/// The form of an answer, and the stream that it goes to.
pub(crate) struct Answer<'a> {
    /// True to write one JSON document instead of text.
    pub(crate) json: bool,
    pub(crate) out: &'a mut dyn Write,
}

impl Answer<'_> {
    /// Writes `value` as JSON, or calls `text`. On a terminal, lines that are too wide are broken
    /// between words.
    pub(crate) fn write<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        if self.json {
            writeln!(self.out, "{}", to_json(value)?)?;
        } else {
            let mut shown = Vec::new();
            text(&mut shown)?;
            let shown = String::from_utf8_lossy(&shown);
            self.out.write_all(hanging_answer(&shown).as_bytes())?;
        }
        Ok(())
    }
}

/// Returns a value as a JSON document of one line, without characters that could harm a terminal.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, CommandError> {
    Ok(escaped(&serde_json::to_string(value).map_err(RpcError::internal)?))
}
