//! Prepares the words of a command line for clap.
//!
//! The Go seed's flags have one dash and get a second one. Free text may look like a flag, so `--`
//! is put before it.

use std::ffi::OsString;

/// The Go seed's flags, which have one dash there.
const GO_FLAGS: [&str; 5] = ["address", "from", "to", "amount", "mine"];

/// The commands that end in free text.
const FREE_TEXT: [&str; 3] = ["note", "chat", "broadcast"];

/// The flags that are recognised even among free text.
const SWITCHES: [&str; 3] = ["--json", "--help", "-h"];

/// The switch of the commands in [`CAN_WAIT`].
const WAIT: &str = "--wait";
/// The commands with free text that have the switch `--wait`.
const CAN_WAIT: [&str; 2] = ["note", "chat"];

/// The flags that take a value and may precede a command's name or its free text.
const WITH_VALUE: [&str; 6] =
    ["--data-dir", "--node-id", "--log-format", "--log", "--color", "--passphrase-file"];

/// Returns the words as clap expects them. They do not include the program's name.
pub(crate) fn prepare(words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = command_position(&words) else { return words };
    let command = words.get(at).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    if FREE_TEXT.contains(&command.as_str()) {
        separate_free_text(&command, words, at)
    } else {
        double_go_dashes(words)
    }
}

/// Returns the index of the command's name: the first word that is neither a flag nor a flag's
/// value.
pub(crate) fn command_position(words: &[OsString]) -> Option<usize> {
    let mut value_next = false;
    words.iter().position(|word| {
        let text = word.to_str().unwrap_or_default();
        let is_value = std::mem::take(&mut value_next);
        value_next = !is_value && WITH_VALUE.contains(&text);
        !is_value && !text.starts_with('-')
    })
}

/// Turns `-address X` into `--address X`.
fn double_go_dashes(words: Vec<OsString>) -> Vec<OsString> {
    let mut only_values = false;
    let double = |word: OsString| {
        let Some(text) = word.to_str() else { return word };
        only_values |= text == "--";
        let flag = text.strip_prefix('-').map(|rest| rest.split('=').next().unwrap_or(rest));
        if flag.is_some_and(|flag| GO_FLAGS.contains(&flag)) && !only_values {
            format!("-{text}").into()
        } else {
            word
        }
    };
    words.into_iter().map(double).collect()
}

/// Moves the known flags before a `--`, and everything else after it, in order.
fn separate_free_text(command: &str, words: Vec<OsString>, at: usize) -> Vec<OsString> {
    let mut flags = Vec::new();
    let mut text = Vec::new();
    let mut words = words.into_iter();
    flags.extend(words.by_ref().take(at.saturating_add(1)));
    while let Some(word) = words.next() {
        let shown = word.to_str().unwrap_or_default();
        let name = shown.split('=').next().unwrap_or(shown);
        if shown == "--" {
            text.extend(words.by_ref());
        } else if SWITCHES.contains(&shown) || (shown == WAIT && CAN_WAIT.contains(&command)) {
            flags.push(word);
        } else if WITH_VALUE.contains(&name) {
            let value_follows = name == shown;
            flags.push(word);
            flags.extend(words.by_ref().take(usize::from(value_follows)));
        } else {
            text.push(word);
        }
    }
    if !text.is_empty() {
        flags.push("--".into());
    }
    flags.extend(text);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(line: &str) -> String {
        let words = prepare(line.split_whitespace().map(Into::into).collect());
        words.iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_go_seeds_flags_get_their_second_dash() {
        assert_eq!(
            prepared("send -from a -to=b -amount 1 -mine"),
            "send --from a --to=b --amount 1 --mine"
        );
        assert_eq!(
            prepared("--node-id 3000 getbalance -address a"),
            "--node-id 3000 getbalance --address a"
        );
        assert_eq!(prepared("send -h -x --from a -- -to"), "send -h -x --from a -- -to");
    }

    #[test]
    fn free_text_keeps_its_dashes_and_flags_stay_flags() {
        assert_eq!(prepared("chat yjf -mine is -1 --no"), "chat -- yjf -mine is -1 --no");
        assert_eq!(prepared("chat yjf hello --json"), "chat --json -- yjf hello");
        assert_eq!(prepared("note hello --wait"), "note --wait -- hello");
        assert_eq!(prepared("chat yjf --wait hello"), "chat --wait -- yjf hello");
        assert_eq!(prepared("chat yjf -- --wait for me"), "chat -- yjf --wait for me");
        assert_eq!(prepared("broadcast --wait for me"), "broadcast -- --wait for me");
        assert_eq!(prepared("note a -- --wait"), "note -- a --wait");
        assert_eq!(
            prepared("chat yjf a --data-dir note --color=never"),
            "chat --data-dir note --color=never -- yjf a"
        );
        assert_eq!(prepared("chat --help"), "chat --help");
    }

    #[test]
    fn a_flags_value_is_not_taken_for_the_command() {
        assert_eq!(prepared("--data-dir note send -mine"), "--data-dir note send --mine");
    }
}
