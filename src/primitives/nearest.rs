//! Finds the word of a list that is nearest to a mistyped word.

use strsim::osa_distance;

/// The fewest letters with which the start of a name suggests the name.
const MIN_START: usize = 3;

/// The longest word that is compared, in bytes: no name is so long.
const MAX_WORD_BYTES: usize = 64;

/// Returns the name that a mistyped word was probably meant to be.
///
/// It is the same word in another spelling, the only name that begins with the word, a name that
/// contains the word, or a name with few different letters.
pub(crate) fn nearest<'a>(
    word: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let typed = plain(word);
    if typed.chars().count() >= MIN_START && word.len() <= MAX_WORD_BYTES {
        let mut begun = names.clone().filter(|name| plain(name).starts_with(&typed));
        if let (Some(only), None) = (begun.next(), begun.next()) {
            return Some(only);
        }
        if let Some(whole) = names.clone().find(|name| name.split('-').any(|part| part == word)) {
            return Some(whole);
        }
    }
    misspelt(word, names)
}

/// Returns the name that differs from a word only in spelling, or by a slip of the fingers.
///
/// It is stricter than [`nearest`], since a word of a conversation is not a slip.
pub(crate) fn misspelt<'a>(
    word: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let typed = plain(word);
    if typed.is_empty() || word.len() > MAX_WORD_BYTES {
        return None;
    }
    if let Some(same) = names.clone().find(|name| plain(name) == typed) {
        return Some(same);
    }
    let near = names.map(|name| (osa_distance(&typed, &plain(name)), name));
    let near = near.filter(|(distance, name)| *distance <= allowed(&typed, name));
    // The first of several that are equally near.
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns the name with the fewest different letters, however many those are.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let short: String = plain(word).chars().take(MAX_WORD_BYTES).collect();
    names.min_by_key(|name| osa_distance(&short, &plain(name)))
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace(['-', '_'], "")
}

/// Returns the number of letters that may be wrong, missing or extra. Short names allow none, since
/// they resemble many words. The chat room's lists la, lb, lf and ln allow one for each other,
/// since they resemble no word.
fn allowed(typed: &str, name: &str) -> usize {
    match name.len() {
        2 if typed.len() == 2 && typed.starts_with('l') && name.starts_with('l') => 1,
        0..=3 => 0,
        4..=5 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 14] = [
        "la",
        "lb",
        "lf",
        "ban",
        "get-balance",
        "print-chain",
        "list-addresses",
        "status",
        "send",
        "stop",
        "unban",
        "mempool",
        "help",
        "history",
    ];

    fn meant(word: &str) -> Option<&'static str> {
        nearest(word, NAMES.into_iter())
    }

    fn slip(word: &str) -> Option<&'static str> {
        misspelt(word, NAMES.into_iter())
    }

    #[test]
    fn a_word_suggests_what_it_reads_like() {
        assert_eq!(meant("balance"), Some("get-balance"), "and not ban");
        assert_eq!(meant("statsu"), Some("status"));
        assert_eq!(meant("Print_Chain"), Some("print-chain"));
        assert_eq!(meant("print"), Some("print-chain"));
        assert_eq!(meant("addresses"), Some("list-addresses"));
        assert_eq!(meant("mepmool"), Some("mempool"));
    }

    #[test]
    fn a_word_like_no_command_suggests_nothing() {
        for word in ["", "x", "hello", "banana", "12D3KooW", "早上好", &"x".repeat(70)] {
            assert_eq!(meant(word), None, "{word}");
        }
        assert_eq!(closest("statistics", NAMES.into_iter()), Some("status"));
    }

    #[test]
    fn slips_of_the_fingers_are_found_and_words_of_a_chat_are_not() {
        for (word, name) in [
            ("stauts", "status"),
            ("hisotry", "history"),
            ("HELP", "help"),
            ("mempol", "mempool"),
            ("LF", "lf"),
            ("lg", "la"),
        ] {
            assert_eq!(slip(word), Some(name), "{word}");
        }
        for word in ["hi", "ok", "yes", "thanks", "hello", "lol", "can", "balance", "his", "ty"] {
            assert_eq!(slip(word), None, "{word}");
        }
    }
}
