//! The input of a console: a line editor on a terminal, plain lines from a pipe.
//!
//! Reading blocks, so that it has a thread of its own. The thread ends with its input. At the
//! process's end it may still be blocked.

use std::{
    io::{self, BufRead, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc as blocking},
    thread,
};

use rustyline::{
    CompletionType, Config, Context, Editor, ExternalPrinter, Helper, Highlighter, Hinter,
    Validator, completion::Completer, error::ReadlineError, history::FileHistory,
};
use tokio::sync::mpsc;

use super::words;

/// The longest line from a pipe, in bytes: ten times the longest memo with its command.
const MAX_LINE_BYTES: u64 = 16 * 1_024;

/// The number of lines that are read from a pipe before the first of them is answered.
const READ_AHEAD: usize = 16;

/// The number of lines that the history keeps.
const HISTORY_LINES: usize = 1_000;

/// An input of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line without its newline.
    Line(String),
    /// A line over [`MAX_LINE_BYTES`], which was skipped.
    TooLong,
    /// Ctrl-C while a line was being typed.
    Interrupt,
    End,
}

/// The receiver of a console's lines.
pub(super) struct Lines {
    inputs: mpsc::Receiver<Input>,
    /// Lets the line editor show its prompt again. None for a pipe.
    prompt: Option<blocking::SyncSender<()>>,
}

impl Lines {
    /// Waits for the next input. It comes only after [`Lines::ready`] on a terminal.
    pub(super) async fn next(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::End)
    }

    /// Shows the prompt, on a terminal. The previous answer must be written by then.
    pub(super) fn ready(&self) {
        if let Some(prompt) = &self.prompt {
            // Fails if the editor is about to show its prompt, or has ended, which `next` reports.
            let _ = prompt.try_send(());
        }
    }
}

/// The friends' names, which completion offers.
pub(super) type FriendNames = Arc<Mutex<Vec<String>>>;

/// The input of a process, over several consoles one after the other.
#[derive(Default)]
pub(crate) struct Keyboard {
    /// The reader of a pipe, which has read ahead.
    piped: Option<Lines>,
}

impl Keyboard {
    /// Returns the lines of the pipe: from where the last console stopped.
    pub(super) fn piped(&mut self) -> io::Result<Lines> {
        self.piped.take().map_or_else(piped, Ok)
    }

    /// Keeps the lines of the pipe for the next console.
    pub(super) fn keep(&mut self, lines: Lines) {
        self.piped = Some(lines);
    }
}

/// Starts to read lines from a pipe.
fn piped() -> io::Result<Lines> {
    let (sender, inputs) = mpsc::channel(READ_AHEAD);
    thread::Builder::new().name("console-input".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let input = read_line(&mut stdin);
            let end = input == Input::End;
            if sender.blocking_send(input).is_err() || end {
                return;
            }
        }
    })?;
    Ok(Lines { inputs, prompt: None })
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
            Input::Line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
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

/// Starts a line editor on the terminal. Also returns the printer that writes above its line.
pub(super) fn terminal(
    prompt: String,
    history: PathBuf,
    names: FriendNames,
) -> Result<(Lines, Box<dyn ExternalPrinter + Send>), ReadlineError> {
    let config = Config::builder()
        .auto_add_history(true)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config)?;
    let mut commands = words::command_names();
    commands.extend(words::chat_words().map(str::to_owned));
    commands.push("help".to_owned());
    commands.sort_unstable();
    commands.dedup();
    editor.set_helper(Some(Completion { commands, names }));
    // A history that is missing or unreadable counts as empty.
    let _ = editor.load_history(&history);
    let printer = editor.create_external_printer()?;
    let (sender, inputs) = mpsc::channel(1);
    let (go, going) = blocking::sync_channel::<()>(1);
    thread::Builder::new().name("console-input".to_owned()).spawn(move || {
        while going.recv().is_ok() {
            let input = match editor.readline(&prompt) {
                Ok(line) => Input::Line(line),
                Err(ReadlineError::Interrupted) => Input::Interrupt,
                Err(_) => Input::End,
            };
            // A failure loses one line of the history, which must not end the console.
            let _ = editor.append_history(&history);
            let end = input == Input::End;
            if sender.blocking_send(input).is_err() || end {
                return;
            }
        }
    })?;
    Ok((Lines { inputs, prompt: Some(go) }, Box::new(printer)))
}

/// Completes commands as the first word, and friends' names after it.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Completion {
    commands: Vec<String>,
    names: FriendNames,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(complete(line.get(..position).unwrap_or(line), &self.commands, &names))
    }
}

/// Returns the start of the last word that was typed, and its completions.
fn complete(typed: &str, commands: &[String], names: &[String]) -> (usize, Vec<String>) {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| {
        at.saturating_add(
            typed.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
        )
    });
    let word = typed.get(start..).unwrap_or_default();
    let first = typed.get(..start).unwrap_or_default().trim().is_empty();
    let candidates = if first { commands } else { names };
    (
        start,
        candidates
            .iter()
            .filter(|candidate| candidate.starts_with(word))
            .map(|found| format!("{found} "))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_complete_first_and_names_after() {
        let commands = ["c".to_owned(), "ca".to_owned(), "chat".to_owned(), "lf".to_owned()];
        let names = ["yjf".to_owned(), "yzw".to_owned()];
        assert_eq!(complete("ch", &commands, &names), (0, vec!["chat ".to_owned()]));
        assert_eq!(complete("c yz", &commands, &names), (2, vec!["yzw ".to_owned()]));
        assert_eq!(complete("  l", &commands, &names), (2, vec!["lf ".to_owned()]));
        assert_eq!(complete("c\u{3000}y", &commands, &names).0, 4);
    }

    #[test]
    fn a_pipe_is_read_line_by_line_and_a_huge_line_is_passed_over() {
        let mut text = b"b hello\r\n\n".to_vec();
        text.extend(vec![b'x'; 40_000]);
        text.extend(b"\nq");
        let mut reader = io::Cursor::new(text);
        let mut next = || read_line(&mut reader);
        assert_eq!(next(), Input::Line("b hello".to_owned()));
        assert_eq!(next(), Input::Line(String::new()));
        assert_eq!(next(), Input::TooLong);
        assert_eq!(next(), Input::Line("q".to_owned()));
        assert_eq!(next(), Input::End);
    }
}
