//! Questions of running commands: the next typed line is the answer, and not a command.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::terminal::{Kind, Quiet};
use crate::commands::asking::{Asking, Echo, QUESTIONS, Question};

/// The echo of the next line if it is an answer, shared by the console and its reader. `None` if it
/// is a usual line.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Option<Echo>>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Option<Echo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the line in the editor is an answer.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// True if the line in the editor must not be shown.
    pub(super) fn is_hidden(&self) -> bool {
        *self.lock() == Some(Echo::Hidden)
    }
}

/// The questions of the commands of one console.
pub(super) struct Questions {
    waiting: mpsc::Receiver<Question>,
    open: Option<Question>,
    asked: Asked,
    kind: Kind,
    /// Hides the answer on a terminal without a line editor.
    quiet: Option<Quiet>,
}

impl Questions {
    /// Returns the questions, and the handle with which commands ask them.
    pub(super) fn new(kind: Kind, asked: Asked) -> (Self, Asking) {
        let (ask, waiting) = mpsc::channel(QUESTIONS);
        let asking = if kind == Kind::Pipe { Asking::Nobody } else { Asking::Console(ask) };
        (Self { waiting, open: None, asked, kind, quiet: None }, asking)
    }

    /// Waits for the next question, unless one is open. Never returns while one is open.
    pub(super) async fn next(&mut self) -> Question {
        match self.waiting.recv().await {
            Some(question) if self.open.is_none() => question,
            _ => std::future::pending().await,
        }
    }

    /// True if a question waits for its answer.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens a question. Returns the text to show.
    pub(super) fn open(&mut self, question: Question) -> String {
        if question.echo == Echo::Hidden && self.kind == Kind::Plain {
            self.quiet = Some(Quiet::set());
        }
        *self.asked.lock() = Some(question.echo);
        let text = question.prompt.trim_end().to_owned();
        self.open = Some(question);
        text
    }

    /// Returns the prompt of the open question.
    pub(super) fn prompt(&self) -> Option<String> {
        self.open.as_ref().and_then(|open| open.prompt.lines().last()).map(str::to_owned)
    }

    /// Closes the open question with its answer. False if none is open.
    pub(super) fn answer(&mut self, line: Zeroizing<String>) -> bool {
        let open = self.close();
        // The send fails if the command was dropped.
        open.is_some_and(|question| question.answer.send(line).is_ok())
    }

    /// Closes the open question without an answer.
    pub(super) fn give_up(&mut self) {
        self.close();
    }

    fn close(&mut self) -> Option<Question> {
        *self.asked.lock() = None;
        self.quiet = None;
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_takes_the_next_line_and_hides_it() {
        let asked = Asked::default();
        let (mut questions, asking) = Questions::new(Kind::Editor, asked.clone());
        let Asking::Console(ask) = asking else { panic!("a terminal has somebody to ask") };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let prompt = "Two lines.\nPassphrase: ".to_owned();
        ask.send(Question { prompt, echo: Echo::Hidden, answer }).await.expect("sent");
        assert!(!asked.is_open());
        let question = questions.next().await;
        assert_eq!(questions.open(question), "Two lines.\nPassphrase:");
        assert!(asked.is_hidden() && questions.is_open());
        assert_eq!(questions.prompt().as_deref(), Some("Passphrase: "));
        assert!(questions.answer(Zeroizing::new("sesame".to_owned())));
        assert_eq!(answered.await.expect("an answer").as_str(), "sesame");
        assert!(!asked.is_open() && !questions.is_open());
        assert!(!questions.answer(Zeroizing::default()), "nothing asks any more");
        assert!(matches!(Questions::new(Kind::Pipe, asked).1, Asking::Nobody));
    }
}
