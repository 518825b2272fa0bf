//! Names of friends: the texts that may be a name, and the names that look alike.
//!
//! A name is a label that its key signed, so anybody may take anybody's name. The rule excludes
//! characters that a reader cannot see. [`FriendName::is_like`] finds names that a reader may
//! confuse: their skeletons by Unicode TR 39 are equal, with or without regard to capital letters.
//!
//! The rule depends on Unicode's tables, which grow. Consensus must not use it, so the name of a
//! network has a frozen rule of its own.

use std::sync::LazyLock;

use icu_properties::props::{
    BinaryProperty as _, CanonicalCombiningClass, DefaultIgnorableCodePoint,
    EnumeratedProperty as _, GeneralCategory, JoiningType,
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use unicode_security::skeleton;

use super::{Address, PeerId, printable};

/// The longest name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 32;

/// The most nonspacing marks in a row. Pointed Hebrew and Tibetan stacks have 4; a longer row
/// covers the lines above and below.
const MAX_MARKS: usize = 4;

/// The most characters of a text that are compared with names. A longer text is not a name.
const MAX_SOUGHT: usize = 4 * MAX_NAME_CHARS;

/// The words by which answers, lists and prompts mean the user, or all friends.
const RESERVED: [&str; 4] = ["all", "everybody", "you", "yourself"];

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

/// The reason why a text may not be a friend's name. The texts inside are printable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or only white space.
    #[error("a name may not be empty")]
    Empty,
    /// The name has more than 32 characters.
    #[error("'{0}' is too long for a name: {MAX_NAME_CHARS} characters at most")]
    TooLong(String),
    /// The name has a `#` or a character like it, white space, or a control character.
    #[error("'{0}' may not be a name: names hold no '#', no spaces and no control characters")]
    Character(String),
    /// The name has a character that is invisible, or unassigned, or of private use.
    #[error("'{0}' may not be a name: nobody can see its character U+{1:04X}")]
    Unseen(String, u32),
    /// The name begins with a combining mark, or has too many of them in a row.
    #[error("'{0}' may not be a name: it begins with an accent, or piles up over {MAX_MARKS}")]
    Marks(String),
    /// The name looks like an address or a peer id.
    #[error("'{0}' may not be a name: it reads as an address or a peer id")]
    Misleading(String),
    /// The name looks like a word that means the user or all friends.
    #[error(
        "'{0}' may not be a name: chat and payments use such a word for yourself or for all \
         friends; choose another one"
    )]
    Reserved(String),
    /// A peer signed a name that is not in Unicode's normalization form C.
    #[error("'{0}' may not be a name: it is not in Unicode's form NFC")]
    NotComposed(String),
}

impl NameError {
    /// True if every version of Unicode has this fault, so that the author is to blame.
    #[must_use]
    pub(crate) const fn is_certain(&self) -> bool {
        match self {
            Self::Empty | Self::TooLong(_) | Self::Character(_) => true,
            Self::Unseen(..)
            | Self::Marks(_)
            | Self::Misleading(_)
            | Self::Reserved(_)
            | Self::NotComposed(_) => false,
        }
    }

    /// Returns the stable name of the fault.
    #[cfg(test)]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong(_) => "too_long",
            Self::Character(_) => "character",
            Self::Unseen(..) => "unseen",
            Self::Marks(_) => "marks",
            Self::Misleading(_) => "misleading",
            Self::Reserved(_) => "reserved",
            Self::NotComposed(_) => "not_composed",
        }
    }
}

/// A name, with the two skeletons by which it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FriendName {
    text: String,
    /// The skeleton of the name as written.
    written: String,
    /// The skeleton without the differences between capital and small letters, and of width.
    folded: String,
}

impl FriendName {
    /// Checks a name that somebody typed here, and composes its accents.
    pub(crate) fn typed(text: &str) -> Result<Self, NameError> {
        if text.chars().nth(MAX_SOUGHT).is_some() {
            return Err(NameError::TooLong(shown(text)));
        }
        let text = composed(text);
        check(&text)?;
        Ok(Self::of(text))
    }

    /// Checks a name that a peer signed. Its bytes are signed, so accents are not composed here.
    pub(crate) fn signed(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if is_nfc(text) {
            Ok(Self::of(text.to_owned()))
        } else {
            Err(NameError::NotComposed(shown(text)))
        }
    }

    /// Makes a name of any text, to search for it or to show it. Replaces invisible characters by
    /// U+FFFD, but compares the text as a reader sees it.
    #[must_use]
    pub(crate) fn of_any(text: &str) -> Self {
        let text: String = text.chars().take(MAX_SOUGHT).nfc().collect();
        let is_kept = |c: char| matches!(c, ZWJ | ZWNJ) || is_seen(c);
        let kept = text.chars().map(|c| if is_kept(c) { c } else { char::REPLACEMENT_CHARACTER });
        Self { text: kept.collect(), ..Self::of(text) }
    }

    fn of(text: String) -> Self {
        let written = skeleton(&text).collect();
        let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
        let folded = skeleton(&folded).flat_map(char::to_lowercase).collect();
        Self { text, written, folded }
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// True if a reader may take one name for the other.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.written == other.written || self.folded == other.folded
    }

    /// Returns two texts. Names that look alike share at least one of them.
    #[must_use]
    pub(crate) fn skeletons(&self) -> [&str; 2] {
        [&self.written, &self.folded]
    }
}

/// Returns the text in Unicode's normalization form C.
#[must_use]
pub(crate) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// True if a text has only letters, digits and their marks, of any script. Joiners may stand where
/// the script needs them.
#[must_use]
pub(crate) fn spells_word(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let fits = |(at, c): (usize, &char)| match *c {
        ZWJ | ZWNJ => is_joined(&chars, at),
        c => {
            let is_mark = at > 0 && is_mark(c);
            (c.is_alphanumeric() || is_mark) && is_seen(c)
        }
    };
    chars.iter().enumerate().all(fits) && has_few_marks(text)
}

/// Checks everything except the normalization form.
fn check(text: &str) -> Result<(), NameError> {
    if text.trim().is_empty() {
        return Err(NameError::Empty);
    }
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong(shown(text)));
    }
    if text.chars().any(|c| is_hash(c) || c.is_whitespace() || c.is_control()) {
        return Err(NameError::Character(shown(text)));
    }
    if misleads(text) {
        return Err(NameError::Misleading(shown(text)));
    }
    if is_reserved(text) {
        return Err(NameError::Reserved(shown(text)));
    }
    let chars: Vec<char> = text.chars().collect();
    let is_unseen = |(at, c): (usize, &char)| match *c {
        ZWJ | ZWNJ => !is_joined(&chars, at),
        c => !is_seen(c),
    };
    if let Some((_, unseen)) = chars.iter().enumerate().find(|(at, c)| is_unseen((*at, c))) {
        return Err(NameError::Unseen(shown(text), u32::from(*unseen)));
    }
    if chars.first().copied().is_some_and(is_mark) || !has_few_marks(text) {
        return Err(NameError::Marks(shown(text)));
    }
    Ok(())
}

/// Returns the beginning of a text, for a sentence.
fn shown(text: &str) -> String {
    printable(&text.chars().take(48).collect::<String>())
}

/// True for `#`, which begins a suffix, and for characters that look like it.
fn is_hash(c: char) -> bool {
    matches!(c, '#' | '\u{266f}' | '\u{2317}' | '\u{22d5}' | '\u{29e3}')
        || std::iter::once(c).nfkc().any(|c| c == '#')
}

/// True if everybody sees the character: it is assigned, and is not a format character, filler,
/// variation selector or blank.
fn is_seen(c: char) -> bool {
    let category = GeneralCategory::for_char(c);
    let is_hidden = matches!(
        category,
        GeneralCategory::Unassigned
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Format
            | GeneralCategory::Control
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::EnclosingMark
    );
    // The blank of Braille, the null notehead, and two characters that stand for missing ones.
    let is_blank = matches!(c, '\u{2800}' | '\u{1d159}' | '\u{fffc}' | '\u{fffd}');
    !is_hidden && !is_blank && !DefaultIgnorableCodePoint::for_char(c)
}

fn is_mark(c: char) -> bool {
    matches!(
        GeneralCategory::for_char(c),
        GeneralCategory::NonspacingMark
            | GeneralCategory::SpacingMark
            | GeneralCategory::EnclosingMark
    )
}

fn has_few_marks(text: &str) -> bool {
    let mut row = 0_usize;
    text.nfd().all(|c| {
        let is_mark = GeneralCategory::for_char(c) == GeneralCategory::NonspacingMark;
        row = if is_mark { row.saturating_add(1) } else { 0 };
        row <= MAX_MARKS
    })
}

/// True if the joiner at a place changes how its script is written: beside a virama, or, without
/// joining, between letters that would join (RFC 5892, appendix A).
fn is_joined(chars: &[char], at: usize) -> bool {
    let is_virama =
        |c: &char| CanonicalCombiningClass::for_char(*c) == CanonicalCombiningClass::Virama;
    let before = chars.get(..at).unwrap_or_default();
    let after = chars.get(at.saturating_add(1)..).unwrap_or_default();
    if before.last().is_some_and(is_virama) {
        return true;
    }
    match chars.get(at) {
        // In Bengali and Kannada, a letter keeps its form before the virama this way.
        Some(&ZWJ) => {
            let letter = before.last().is_some_and(|c| c.is_alphabetic() && !c.is_ascii());
            letter && after.first().is_some_and(is_virama)
        }
        Some(&ZWNJ) => {
            let joining = |c: &char| JoiningType::for_char(*c);
            let is_passed = |kind: &JoiningType| *kind != JoiningType::Transparent;
            let left = before.iter().rev().map(joining).find(is_passed);
            let right = after.iter().map(joining).find(is_passed);
            let both = JoiningType::DualJoining;
            left.is_some_and(|kind| kind == both || kind == JoiningType::LeftJoining)
                && right.is_some_and(|kind| kind == both || kind == JoiningType::RightJoining)
        }
        _ => false,
    }
}

/// True if a reader or a command may take the text for an address or a peer id.
fn misleads(text: &str) -> bool {
    if Address::looks_like(text) || PeerId::looks_like(text) {
        return true;
    }
    let name = FriendName::of(text.to_owned());
    let peer_id = FriendName::of("12D3KooW".to_owned());
    let like_a_peer =
        name.written.starts_with(&peer_id.written) || name.folded.starts_with(&peer_id.folded);
    like_a_peer || begins_as_address(text)
}

/// True if a reader may take the text for one of the [`RESERVED`] words.
fn is_reserved(text: &str) -> bool {
    static WORDS: LazyLock<[FriendName; 4]> =
        LazyLock::new(|| RESERVED.map(|word| FriendName::of(word.to_owned())));
    let name = FriendName::of(text.to_owned());
    WORDS.iter().any(|word| word.is_like(&name))
}

/// True if the text begins with something that looks like `fc1`. An `l` or `I` in place of the
/// digit does not count, since words contain them.
fn begins_as_address(text: &str) -> bool {
    let mut chars = text.nfkc().filter(|c| !matches!(*c, ZWJ | ZWNJ));
    let mut is_letter = |letter: char| {
        chars.next().is_some_and(|c| FriendName::of(c.to_string()).folded == letter.to_string())
    };
    let word = is_letter('f') && is_letter('c');
    let one = skeleton("1").next();
    word && chars.next().is_some_and(|c| {
        c == '1' || c.is_numeric() && skeleton(c.encode_utf8(&mut [0; 4])).next() == one
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str) -> NameError {
        FriendName::typed(text).expect_err(text)
    }

    fn alike(one: &str, other: &str) -> bool {
        FriendName::of_any(one).is_like(&FriendName::of_any(other))
    }

    #[test]
    fn names_of_any_script_pass() {
        let names = [
            "yzw",
            "李雷",
            "Zoë",
            "a-b_c.d",
            "ก้อง",
            "मुक्ता",
            "கார்த்திக்",
            "محمد",
            "דָּוִד",
            "Nguyễn",
            "ශ්\u{200d}රී",
            "നി\u{200d}".trim_end_matches('\u{200d}'),
            "می\u{200c}خواهم",
            "র\u{200d}্যাচেল",
            "བསྒྲུབས",
            "O’Neil",
            "Łukasz",
            "fclub",
            "Flo1",
            "😀",
        ];
        for name in names {
            let checked = FriendName::typed(name).expect(name);
            assert_eq!(checked.as_str(), composed(name));
            assert_eq!(FriendName::signed(checked.as_str()), Ok(checked));
        }
    }

    #[test]
    fn what_nobody_sees_is_refused() {
        let hidden = [
            '\u{ad}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{61c}',
            '\u{180e}',
            '\u{115f}',
            '\u{1160}',
            '\u{ffa0}',
            '\u{34f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{2800}',
            '\u{fffc}',
            '\u{e000}',
            '\u{f0000}',
            '\u{378}',
            '\u{10ffff}',
            '\u{1d173}',
            '\u{600}',
            '\u{20dd}',
        ];
        for c in hidden {
            for text in [format!("yz{c}w"), format!("yzw{c}"), format!("{c}yzw")] {
                let error = refused(&text);
                assert_eq!(error, NameError::Unseen(shown(&text), u32::from(c)), "{text:?}");
                assert!(!error.is_certain());
            }
        }
        assert!(refused("yz\u{ad}w").to_string().contains("U+00AD"));
    }

    #[test]
    fn misleading_names_and_spaces_are_refused() {
        assert_eq!(refused(""), NameError::Empty);
        assert_eq!(refused(" \u{3000}"), NameError::Empty);
        for text in ["a b", "a#b", "a\nb", "\u{1b}[31m", "a\u{a0}b", "a＃b", "a\u{266f}b", "a\0"] {
            assert_eq!(refused(text), NameError::Character(shown(text)), "{text:?}");
        }
        for text in ["fc1xyz", "FC1", "12D3KooWabc", "fс1x", "ｆｃ１x", "l2D3KooW", "fc\u{661}x"]
        {
            assert_eq!(refused(text), NameError::Misleading(shown(text)), "{text:?}");
        }
        for text in ["all", "ALL", "аll", "a11", "you", "уou", "Yourself", "ｅｖｅｒｙｂｏｄｙ"]
        {
            assert_eq!(refused(text), NameError::Reserved(shown(text)), "{text:?}");
        }
        for text in ["ally", "youth", "everybody2", "ai"] {
            assert!(FriendName::typed(text).is_ok(), "{text}");
        }
        assert!(matches!(refused(&"x".repeat(33)), NameError::TooLong(_)));
        assert!(matches!(refused(&"x".repeat(100_000)), NameError::TooLong(_)));
        assert!(matches!(refused("\u{301}yzw"), NameError::Marks(_)));
        assert!(matches!(refused(&format!("a{}", "\u{316}".repeat(5))), NameError::Marks(_)));
    }

    #[test]
    fn accents_are_composed_when_typed_and_refused_when_signed() {
        let typed = FriendName::typed("Zoe\u{308}").expect("a name");
        assert_eq!(typed.as_str(), "Zoë");
        let error = FriendName::signed("Zoe\u{308}").expect_err("not composed");
        assert_eq!(error, NameError::NotComposed("Zoe\u{308}".to_owned()));
        assert!(FriendName::typed(&"e\u{308}".repeat(32)).is_ok(), "32 characters in the end");
    }

    #[test]
    fn names_that_a_reader_takes_for_one_another_look_alike() {
        let pairs = [
            ("yzw", "уzw"),
            ("yzw", "YZW"),
            ("paypal", "раураl"),
            ("Zoë", "Zoe\u{308}"),
            ("yzw", "ｙｚｗ"),
            ("Ivan", "lvan"),
            ("Ivan", "ivan"),
            ("sr1", "srl"),
            ("yz\u{ad}w", "yzw"),
            ("modern", "modem"),
            ("O0", "OO"),
            ("ශ්\u{200d}රී", "ශ්රී"),
            ("scope", "ѕсоре"),
        ];
        for (one, other) in pairs {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
        for (one, other) in [("yzw", "yjf"), ("Zoë", "Zoe"), ("ai", "al"), ("李雷", "李蕾")] {
            assert!(!alike(one, other), "{one} {other}");
        }
    }

    #[test]
    fn words_have_marks_and_joiners_but_nothing_hidden() {
        for word in ["ก้อง", "मुक्ता", "கார்த்திக்", "ශ්\u{200d}රී", "3000", "yzw"]
        {
            assert!(spells_word(word), "{word}");
        }
        for word in ["a\u{3164}", "a\u{200d}", "\u{e49}a", "a b", "a/b", "a\u{ad}", "-"] {
            assert!(!spells_word(word), "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_shown_as_it_is_and_is_like_itself(text in "\\PC{1,40}") {
            if let Ok(name) = FriendName::typed(&text) {
                prop_assert_eq!(printable(name.as_str()), name.as_str());
                prop_assert_eq!(FriendName::signed(name.as_str()), Ok(name.clone()));
                prop_assert!(name.is_like(&FriendName::of_any(&text)));
                prop_assert!(name.as_str().parse::<PeerId>().is_err());
            }
        }
    }
}
