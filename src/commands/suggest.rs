//! The command that a mistyped word was meant to be.

use strsim::osa_distance;

/// The fewest letters with which the start of a name suggests the name.
const MIN_START: usize = 3;

/// Returns the name that a mistyped word was probably meant to be.
///
/// It is the same word in another spelling, the only name that begins with the word, a name of
/// which the word is a part, or a name with few other letters.
pub(crate) fn nearest<'a>(
    word: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let typed = plain(word);
    if typed.is_empty() {
        return None;
    }
    if let Some(same) = names.clone().find(|name| plain(name) == typed) {
        return Some(same);
    }
    if typed.chars().count() >= MIN_START {
        let mut begun = names.clone().filter(|name| plain(name).starts_with(&typed));
        if let (Some(only), None) = (begun.next(), begun.next()) {
            return Some(only);
        }
        if let Some(whole) = names.clone().find(|name| name.split('-').any(|part| part == word)) {
            return Some(whole);
        }
    }
    let allowed = allowed_distance(typed.chars().count());
    let near = names.map(|name| (osa_distance(&typed, &plain(name)), name));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// Returns how many letters of a word may be wrong, missing or too many: one of four.
const fn allowed_distance(letters: usize) -> usize {
    match letters {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = [
        "ban",
        "get-balance",
        "print-chain",
        "list-addresses",
        "status",
        "send",
        "stop",
        "unban",
        "mempool",
    ];

    fn meant(word: &str) -> Option<&'static str> {
        nearest(word, NAMES.into_iter())
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
        for word in ["", "x", "hello", "banana", "12D3KooW", "早上好"] {
            assert_eq!(meant(word), None, "{word}");
        }
    }
}
