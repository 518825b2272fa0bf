//! The input of a console: a line editor on a terminal, plain lines from a pipe.
//!
//! Reading blocks, so it has a thread of its own. The thread ends with its input, and may still
//! block when the process ends. The line editor is always reading: commands run beside it, and
//! their answers are printed above its line.

use std::{
    io::{self, BufRead, ErrorKind, Read},
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread,
};

use rustyline::{
    ColorMode, CompletionType, Config, Editor, error::ReadlineError, history::FileHistory,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{
    complete::{Completion, SharedNames},
    questions::Asked,
    resize::Drawn,
    screen::{Gate, Screen},
    suspend::Suspender,
    terminal::Modes,
};

/// The longest line from a pipe, in bytes: ten times the longest memo with its command.
const MAX_LINE_BYTES: u64 = 16 * 1_024;

/// The number of lines that are read from a pipe before the first of them is answered.
const READ_AHEAD: usize = 16;

/// The number of lines that the history keeps.
const HISTORY_LINES: usize = 1_000;

/// An input of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Lines without their newlines: several if they were pasted at once.
    Lines(Vec<String>),
    /// The answer to a question.
    Answer(Zeroizing<String>),
    /// A line over [`MAX_LINE_BYTES`], which was skipped.
    TooLong,
    /// A line that is not UTF-8, which was skipped.
    Unreadable,
    /// Ctrl-C while a line was being typed.
    Interrupt,
    End,
}

/// The receiver of a console's lines.
pub(super) struct Lines {
    inputs: mpsc::Receiver<Input>,
    /// Lets the line editor read its next line, with this prompt. `None` without an editor.
    prompt: Option<blocking::SyncSender<String>>,
    /// Tells whether the line that is read next answers a question.
    pub(super) asked: Asked,
}

impl Lines {
    /// Waits for the next input.
    pub(super) async fn next(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::End)
    }

    /// Lets the line editor read its next line: once at the start, and once after each input.
    pub(super) fn ready(&self, prompt: String) {
        if let Some(editor) = &self.prompt {
            // Fails if the editor has ended, which `next` reports.
            let _ = editor.try_send(prompt);
        }
    }
}

/// The input of a process, shared by its consoles one after the other.
#[derive(Default)]
pub(crate) struct Keyboard {
    /// The reader of an input without a line editor. It may have read ahead.
    piped: Option<Lines>,
    /// The receiver of Ctrl-Z.
    pub(super) suspender: Suspender,
}

impl Keyboard {
    /// Returns the lines of the pipe, continuing where the last console stopped.
    pub(super) fn piped(&mut self) -> io::Result<Lines> {
        self.piped.take().map_or_else(piped, Ok)
    }

    /// Keeps the lines of the pipe for the next console.
    pub(super) fn keep(&mut self, lines: Lines) {
        self.piped = Some(lines);
    }
}

/// Starts to read lines from a pipe, or from a terminal without a line editor.
fn piped() -> io::Result<Lines> {
    let (sender, inputs) = mpsc::channel(READ_AHEAD);
    let asked = Asked::default();
    let reader = asked.clone();
    thread::Builder::new().name("console-input".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let input = told(&reader, read_line(&mut stdin));
            let end = input == Input::End;
            if sender.blocking_send(input).is_err() || end {
                return;
            }
        }
    })?;
    Ok(Lines { inputs, prompt: None, asked })
}

/// Turns a line into an answer if a question is open.
fn told(asked: &Asked, input: Input) -> Input {
    match input {
        Input::Lines(lines) if asked.is_open() => Input::Answer(Zeroizing::new(lines.concat())),
        other => other,
    }
}

fn read_line(reader: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
    match read {
        // An input that cannot be read has ended.
        Ok(0) | Err(_) => Input::End,
        Ok(length)
            if !line.ends_with(b"\n")
                && u64::try_from(length).is_ok_and(|length| length >= MAX_LINE_BYTES) =>
        {
            skip_line(reader);
            Input::TooLong
        }
        Ok(_) => {
            let line = String::from_utf8_lossy(&line);
            Input::Lines(vec![line.trim_end_matches(['\n', '\r']).to_owned()])
        }
    }
}

fn skip_line(reader: &mut impl BufRead) {
    let mut rest = Vec::new();
    loop {
        rest.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut rest) {
            Ok(length) if length > 0 && !rest.ends_with(b"\n") => {}
            _ => return,
        }
    }
}

/// Starts a line editor on the terminal. Also returns the screen that writes above its line.
pub(super) fn terminal(
    history: PathBuf,
    names: SharedNames,
    modes: Modes,
) -> Result<(Lines, Screen), ReadlineError> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES)?
        .completion_type(CompletionType::List)
        // The editor shows the line as typed, or as stars, never with colours.
        .color_mode(ColorMode::Forced)
        // Pasted text is handled like typed text: each line runs at its end.
        .bracketed_paste(false)
        .build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config)?;
    let drawn = Drawn::default();
    let asked = Asked::default();
    editor.set_helper(Some(Completion::new(names, asked.clone(), drawn.clone(), modes)));
    // A missing or unreadable history counts as empty.
    let _ = editor.load_history(&history);
    let gate = Arc::new(Gate::default());
    let printer = editor.create_external_printer()?;
    let screen = Screen::editor(Arc::clone(&gate), printer, drawn.clone())?;
    let (sender, inputs) = mpsc::channel(READ_AHEAD);
    let (go, going) = blocking::sync_channel::<String>(1);
    let reader = asked.clone();
    thread::Builder::new().name("console-input".to_owned()).spawn(move || {
        while let Ok(prompt) = going.recv() {
            drawn.begin(&prompt);
            gate.set_reading(true);
            let read = editor.readline(&prompt);
            gate.typed(&drawn.line());
            gate.set_reading(false);
            let input = match read {
                Ok(line) if reader.is_open() => Input::Answer(Zeroizing::new(line)),
                Ok(line) => {
                    // A failure loses one line of the history, which must not end the console.
                    let _ = editor.add_history_entry(&line);
                    let _ = editor.append_history(&history);
                    Input::Lines(line.split(['\n', '\r']).map(str::to_owned).collect())
                }
                Err(ReadlineError::Interrupted) => Input::Interrupt,
                Err(ReadlineError::Io(cause)) if cause.kind() == ErrorKind::InvalidData => {
                    Input::Unreadable
                }
                Err(_) => Input::End,
            };
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    })?;
    Ok((Lines { inputs, prompt: Some(go), asked }, screen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_read_line_by_line_and_a_huge_line_is_passed_over() {
        let mut text = b"b hello\r\n\n".to_vec();
        text.extend(vec![b'x'; 40_000]);
        text.extend(b"\nq");
        let mut reader = io::Cursor::new(text);
        let mut next = || read_line(&mut reader);
        assert_eq!(next(), Input::Lines(vec!["b hello".to_owned()]));
        assert_eq!(next(), Input::Lines(vec![String::new()]));
        assert_eq!(next(), Input::TooLong);
        assert_eq!(next(), Input::Lines(vec!["q".to_owned()]));
        assert_eq!(next(), Input::End);
    }
}
