//! Completion in the console: words and commands, their flags, friends, addresses and recent ids.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustyline::{
    Context, Helper, Validator,
    completion::Completer,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
};
use unicode_width::UnicodeWidthStr as _;

use super::{
    questions::Asked,
    resize::{Drawn, Size},
    terminal::Modes,
    words::{all_words, commands, is_command},
};
use crate::commands::complete::{Wanted, wanted};

/// The number of recent ids that completion offers: those of the last screens.
const RECENT_IDS: usize = 64;

/// The digits of a whole id, and the least and most of a short one.
const ID_DIGITS: usize = 64;
const SHORT_ID_DIGITS: std::ops::RangeInclusive<usize> = 8..=16;

/// The data that completion offers.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) friends: Vec<String>,
    pub(super) addresses: Vec<String>,
    /// The own name, which the prompt shows. Empty until it is known.
    pub(super) own: String,
    /// Ids of blocks and transactions that were shown, newest first.
    ids: VecDeque<String>,
}

impl Names {
    /// Remembers the ids in a shown text.
    fn see(&mut self, text: &str) {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let is_id = word.len() == ID_DIGITS
                || (SHORT_ID_DIGITS.contains(&word.len())
                    && word.bytes().any(|byte| byte.is_ascii_alphabetic())
                    && word.bytes().any(|byte| byte.is_ascii_digit()));
            let is_hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if is_id && is_hex {
                self.ids.retain(|known| known != word);
                self.ids.push_front(word.to_owned());
                self.ids.truncate(RECENT_IDS);
            }
        }
    }
}

/// The names, shared between the console and its line editor.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedNames(Arc<Mutex<Names>>);

impl SharedNames {
    pub(super) fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the ids in a shown text.
    pub(super) fn see(&self, text: &str) {
        self.lock().see(text);
    }
}

/// The completer of the line editor.
#[derive(Helper, Validator)]
pub(super) struct Completion {
    words: Vec<String>,
    names: SharedNames,
    asked: Asked,
    drawn: Drawn,
    modes: Modes,
}

impl Completion {
    /// Returns the completer, which also records each drawing of the line, and sets the terminal's
    /// mode for it.
    pub(super) fn new(names: SharedNames, asked: Asked, drawn: Drawn, modes: Modes) -> Self {
        Self { words: all_words(), names, asked, drawn, modes }
    }
}

impl Highlighter for Completion {
    /// Shows a secret as stars.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.asked.is_hidden() { "*".repeat(line.width()).into() } else { line.into() }
    }

    /// Redraws the whole line for each character of a secret.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.asked.is_hidden()
    }
}

impl Hinter for Completion {
    type Hint = String;

    /// Returns no hint. The editor calls this before each drawing of the line.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.modes.edit();
        let columns = Size::of_stdout().columns;
        if self.asked.is_hidden() {
            self.drawn.draw(&"*".repeat(line.width()), columns);
        } else {
            self.drawn.draw(line, columns);
        }
        None
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        if self.asked.is_open() {
            return Ok((position, Vec::new()));
        }
        let typed = line.get(..position).unwrap_or(line);
        Ok(complete(typed, &self.words, &self.names.lock()))
    }
}

/// Returns where the last word starts, and its completions.
fn complete(typed: &str, words: &[String], names: &Names) -> (usize, Vec<String>) {
    let mut start = typed.rfind(char::is_whitespace).map_or(0, |at| {
        at.saturating_add(
            typed.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
        )
    });
    let before: Vec<_> = typed.get(..start).unwrap_or_default().split_whitespace().collect();
    if before.is_empty() && typed.starts_with('/') {
        start = 1;
    }
    let word = typed.get(start..).unwrap_or_default();
    let candidates = candidates(&before, word, words, names);
    let mut found: Vec<_> = candidates
        .iter()
        .filter(|candidate| candidate.starts_with(word))
        .map(|found| format!("{found} "))
        .collect();
    found.dedup();
    (start, found)
}

/// Returns the words that fit after the words `before`.
fn candidates(before: &[&str], word: &str, words: &[String], names: &Names) -> Vec<String> {
    let Some(command) = before.first().map(|first| first.trim_start_matches('/')) else {
        return words.to_vec();
    };
    let ids = || names.ids.iter().cloned();
    let addresses = || names.addresses.iter().cloned();
    let friends = || names.friends.iter().cloned();
    if command == "help" {
        return words.to_vec();
    }
    if !is_command(command) {
        return friends().collect();
    }
    let rest = before.iter().skip(1).copied().chain([word]);
    let typed: Vec<_> = [command].into_iter().chain(rest).map(str::to_owned).collect();
    match wanted(commands(), &typed) {
        Wanted::Words(words) => words,
        Wanted::Address => addresses().collect(),
        Wanted::Payee => friends().chain(addresses()).collect(),
        Wanted::Transaction | Wanted::Block => ids().collect(),
        // A free text may mention friends too.
        Wanted::Friend | Wanted::Peer | Wanted::Anything => friends().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete_of(typed: &str) -> Vec<String> {
        let mut names = Names {
            friends: vec!["yjf".to_owned(), "yzw".to_owned()],
            addresses: vec!["fc1abc".to_owned()],
            ..Names::default()
        };
        names.see(&format!("* block 7 {} and 12345678", "5f".repeat(32)));
        names.see("Trade 0a1b2c3d4e5f: in the mempool");
        complete(typed, &all_words(), &names).1
    }

    #[test]
    fn commands_complete_first_and_names_after() {
        assert!(complete_of("sta").contains(&"status ".to_owned()));
        assert_eq!(complete_of("/stat"), ["status "]);
        assert_eq!(complete_of("c yz"), ["yzw "]);
        assert_eq!(complete_of("hello yj"), ["yjf "]);
        assert_eq!(complete_of("help recover"), ["recovery-phrase "]);
        assert_eq!(complete("c\u{3000}y", &[], &Names::default()).0, 4);
        assert_eq!(complete("/s", &[], &Names::default()).0, 1);
    }

    #[test]
    fn flags_addresses_and_recent_ids_complete() {
        assert_eq!(complete_of("send --mem"), ["--memo "]);
        assert_eq!(complete_of("send --from f"), ["fc1abc "]);
        assert_eq!(complete_of("send --to y"), ["yjf ", "yzw "]);
        assert_eq!(complete_of("tx 5"), [format!("{} ", "5f".repeat(32))]);
        assert_eq!(complete_of("tx 0a"), ["0a1b2c3d4e5f "]);
        assert!(complete_of("tx 1").is_empty(), "a number is no id");
    }

    #[test]
    fn only_the_recent_ids_are_kept() {
        let mut names = Names::default();
        for number in 0..200 {
            names.see(&format!("{number:064x}"));
        }
        assert_eq!(names.ids.len(), RECENT_IDS);
        assert_eq!(names.ids.front().map(String::as_str), Some(&*format!("{:064x}", 199)));
    }
}
