//! Questions on the terminal, before a console opens.

use std::io::{self, IsTerminal, Read, Write};

/// The longest answer, in bytes. A terminal passes on no longer line.
const MAX_ANSWER_BYTES: usize = 4_096;

/// True if a person can be asked: input and output are a terminal.
pub(crate) fn at_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The person who answers questions.
pub(crate) trait Person {
    /// Asks a question. Returns the answer without white space around it, or `None` at the end of
    /// the input.
    fn ask(&mut self, question: &str) -> io::Result<Option<String>>;

    /// Reads a further row of a pasted text. The question is asked only if none is there.
    fn row(&mut self, question: &str) -> io::Result<Option<String>>;

    /// Drops the rows that are still there, so that they answer no other question.
    fn drop_rows(&mut self) -> io::Result<()>;
}

/// The person at the terminal of this process.
pub(crate) struct AtTerminal;

impl Person for AtTerminal {
    fn ask(&mut self, question: &str) -> io::Result<Option<String>> {
        ask(question)
    }

    fn row(&mut self, question: &str) -> io::Result<Option<String>> {
        if is_row_there() { read_line(&mut unbuffered()?) } else { ask(question) }
    }

    fn drop_rows(&mut self) -> io::Result<()> {
        while is_row_there() {
            read_line(&mut unbuffered()?)?;
        }
        Ok(())
    }
}

/// True if a whole row is there, or arrives at once, as the rows of a pasted text do.
#[cfg(unix)]
fn is_row_there() -> bool {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    const PASTED: Duration = Duration::from_millis(200);
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    let deadline = Instant::now() + PASTED;
    loop {
        if rustix::io::ioctl_fionread(io::stdin()).is_ok_and(|bytes| bytes > 0) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// False: this platform does not report typed rows, so each one is asked for.
#[cfg(not(unix))]
const fn is_row_there() -> bool {
    false
}

/// Asks a question. Returns the answer without white space around it, or `None` at the end of the
/// input.
pub(crate) fn ask(question: &str) -> io::Result<Option<String>> {
    let mut out = io::stdout();
    write!(out, "{question}")?;
    out.flush()?;
    read_line(&mut unbuffered()?)
}

/// Asks a yes-or-no question. Enter, or the end of the input, means `otherwise`.
pub(crate) fn ask_yes_no(question: &str, otherwise: bool) -> io::Result<bool> {
    loop {
        let Some(answer) = ask(question)? else { return Ok(otherwise) };
        match answer.to_lowercase().as_str() {
            "" => return Ok(otherwise),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => writeln!(io::stdout(), "Type y or n.")?,
        }
    }
}

/// Returns standard input without a buffer, so that text typed ahead stays for the console.
#[cfg(unix)]
fn unbuffered() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "unix duplicates the descriptor, which may fail")]
fn unbuffered() -> io::Result<io::Stdin> {
    Ok(io::stdin())
}

/// Reads one line, byte by byte. Bytes beyond [`MAX_ANSWER_BYTES`] are dropped.
fn read_line(input: &mut impl Read) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if input.read(&mut byte)? == 0 {
            if line.is_empty() {
                return Ok(None);
            }
            break;
        }
        if byte == *b"\n" {
            break;
        }
        if line.len() < MAX_ANSWER_BYTES {
            line.extend(byte);
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_and_the_rest_stays_unread() {
        let mut input = io::Cursor::new("  ann \r\nb hello\n\nlast".as_bytes());
        assert_eq!(read_line(&mut input).expect("read").as_deref(), Some("ann"));
        assert_eq!(input.position(), 8);
        for expected in [Some("b hello"), Some(""), Some("last"), None] {
            assert_eq!(read_line(&mut input).expect("read").as_deref(), expected);
        }
    }
}
