//! Finds the command that a mistyped word probably means.

use strsim::osa_distance;

/// The shortest command that one wrong letter is forgiven in. Shorter ones look like too many words
/// of any language.
const ONE_FAULT: usize = 4;

/// The shortest command that two wrong letters are forgiven in.
const TWO_FAULTS: usize = 6;

/// The longest word that is compared, in bytes: no command is so long.
const MAX_WORD_BYTES: usize = 64;

/// Returns the command that is nearest to a word which is none.
pub(super) fn nearest(word: &str, commands: &[String]) -> Option<String> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let lower = word.to_lowercase();
    let mut best: Option<(usize, &String)> = None;
    for command in commands {
        let faults = osa_distance(&lower, command);
        let forgiven = match command.len() {
            TWO_FAULTS.. => 2,
            ONE_FAULT.. => 1,
            // The list commands la, lb, lf and ln.
            2 if lower.len() == 2 && lower.starts_with('l') && command.starts_with('l') => 1,
            _ => 0,
        };
        if faults <= forgiven && best.as_ref().is_none_or(|(least, _)| faults < *least) {
            best = Some((faults, command));
        }
    }
    best.map(|(_, command)| command.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest_of(word: &str) -> Option<String> {
        let words = ["la", "lb", "lf", "status", "history", "help", "friends", "sync", "mempool"];
        nearest(word, &words.map(str::to_owned))
    }

    #[test]
    fn slips_of_the_fingers_are_found_and_words_of_a_chat_are_not() {
        for (word, command) in [
            ("stauts", "status"),
            ("hisotry", "history"),
            ("HELP", "help"),
            ("firends", "friends"),
            ("sycn", "sync"),
            ("lg", "la"),
        ] {
            assert_eq!(nearest_of(word).as_deref(), Some(command), "{word}");
        }
        for word in ["hi", "ok", "yes", "thanks", "hello", "lol", "早上好", &"x".repeat(70)] {
            assert_eq!(nearest_of(word), None, "{word}");
        }
    }
}
