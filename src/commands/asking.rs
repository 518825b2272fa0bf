//! A command's questions to its user, for a secret or a confirmation: on its own terminal, or
//! through the console that runs it.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::rpc::RpcError;

/// Capacity of the queue of questions to a console, which handles them one by one.
pub(crate) const QUESTIONS: usize = 1;

/// The largest secret that is read, in bytes: 24 words have under 300.
pub(super) const MAX_SECRET_BYTES: usize = 4_096;

/// The most bytes of a yes or no that are read: `yes` has 4 with its newline.
const MAX_YES_BYTES: u64 = 64;

/// The echo of a terminal while an answer is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Recovery phrases are shown: 24 words are hard to type blindly.
    Visible,
    /// Passphrases are not shown.
    Hidden,
}

/// A question of a command to the user of its console.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) prompt: String,
    pub(crate) echo: Echo,
    /// The place for the answer. It is dropped if the user gives none.
    pub(crate) answer: oneshot::Sender<Zeroizing<String>>,
}

/// The person or program that a command can ask.
#[derive(Debug, Clone)]
pub(crate) enum Asking {
    /// The command has standard input for itself.
    Stdin,
    /// A console on a terminal asks for the command.
    Console(mpsc::Sender<Question>),
    /// The console reads a pipe, so nobody can be asked.
    Nobody,
}

impl Asking {
    /// True if the command may read standard input.
    pub(crate) const fn owns_stdin(&self) -> bool {
        matches!(self, Self::Stdin)
    }

    /// True if a person sees the questions.
    pub(super) fn is_person(&self) -> bool {
        match self {
            Self::Stdin => io::stdin().is_terminal(),
            Self::Console(_) => true,
            Self::Nobody => false,
        }
    }

    /// Asks for a line. Empty if the user gives no answer, or at the end of the input. If standard
    /// input is a pipe, reads it to its end instead.
    pub(super) async fn line(
        &self,
        prompt: &str,
        echo: Echo,
    ) -> Result<Zeroizing<String>, RpcError> {
        match self {
            Self::Nobody => Err(RpcError::new(
                "stdin_in_use",
                "nothing is asked for where a console reads a pipe: run the command in a shell, \
                 or name a file with --passphrase-file",
            )),
            Self::Console(console) => {
                let (answer, answered) = oneshot::channel();
                let question = Question { prompt: prompt.to_owned(), echo, answer };
                if console.send(question).await.is_err() {
                    return Ok(Zeroizing::default());
                }
                Ok(answered.await.unwrap_or_default())
            }
            Self::Stdin if io::stdin().is_terminal() => typed(prompt, echo),
            Self::Stdin => piped(),
        }
    }

    /// Asks a question; only `yes` counts as consent. `None` if nobody can be asked.
    pub(super) async fn agrees(&self, question: &str) -> Result<Option<bool>, RpcError> {
        let line = match self {
            Self::Stdin if io::stdin().is_terminal() && io::stderr().is_terminal() => {
                yes_or_no(question).map_err(|cause| unreadable(&cause))?
            }
            Self::Console(_) => self.line(question, Echo::Visible).await?.to_string(),
            Self::Stdin | Self::Nobody => return Ok(None),
        };
        Ok(Some(matches!(line.trim(), "y" | "Y" | "yes" | "Yes")))
    }
}

fn unreadable(cause: &io::Error) -> RpcError {
    RpcError::new("input", format!("nothing was typed: {cause}"))
}

/// Asks on standard error, so that standard output holds only the command's answer.
fn yes_or_no(question: &str) -> io::Result<String> {
    let mut terminal = io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut line = String::new();
    io::stdin().lock().take(MAX_YES_BYTES).read_line(&mut line)?;
    Ok(line)
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
        // The user pressed Ctrl-D at an empty prompt.
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(Zeroizing::default()),
        typed => typed.map_err(|cause| unreadable(&cause)),
    }
}

/// Asks for a line that is shown while it is typed.
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

    #[tokio::test]
    async fn a_console_is_asked_and_may_refuse_to_answer() {
        let (console, mut questions) = mpsc::channel(QUESTIONS);
        let asking = Asking::Console(console);
        let answer = async {
            let question = questions.recv().await.expect("a question");
            assert_eq!((question.prompt.as_str(), question.echo), ("Pay? [y/N] ", Echo::Visible));
            question.answer.send(Zeroizing::new(" yes\n".to_owned())).expect("taken");
            drop(questions.recv().await.expect("another one").answer);
        };
        let ask = async {
            assert_eq!(asking.agrees("Pay? [y/N] ").await, Ok(Some(true)));
            let line = asking.line("Passphrase: ", Echo::Hidden).await.expect("no failure");
            assert!(line.is_empty());
        };
        tokio::join!(answer, ask);
        assert_eq!(Asking::Nobody.agrees("Pay? ").await, Ok(None));
        let refused = Asking::Nobody.line("Passphrase: ", Echo::Hidden).await;
        assert_eq!(refused.expect_err("refused").code, "stdin_in_use");
    }
}
