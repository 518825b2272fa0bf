//! Golden names of friends: accepted ones, refused ones with their points, and lookalikes.

use serde_json::{Value, json};

use super::golden;
use crate::primitives::{FriendName, NameError};

/// Names that are accepted.
const NAMES: [&str; 14] = [
    "yzw",
    "a-b_c.d",
    "李雷",
    "Zo\u{eb}",
    "Łukasz",
    "محمد",
    "ก้อง",
    "मुक्ता",
    "கார்த்திக்",
    "ශ්\u{200d}රී",
    "می\u{200c}خواهم",
    "র\u{200d}্যাচেল",
    "fclub",
    "O\u{2019}Neil",
];

/// Names that are refused.
const REFUSED: [&str; 33] = [
    "",
    " ",
    "a b",
    "a\u{3000}b",
    "a\nb",
    "a\u{1b}[31m",
    "yzw#3f2a",
    "yzw\u{ff03}3f2a",
    "yzw\u{266f}3f2a",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "yz\u{ad}w",
    "yzw\u{3164}",
    "yzw\u{fe0f}",
    "yzw\u{61c}",
    "yzw\u{180e}",
    "yzw\u{115f}",
    "yzw\u{200b}",
    "yz\u{200c}w",
    "yz\u{200d}w",
    "yzw\u{202e}",
    "yzw\u{2066}",
    "yzw\u{feff}",
    "yzw\u{2800}",
    "yzw\u{e000}",
    "yzw\u{e0041}",
    "\u{301}yzw",
    "a\u{316}\u{316}\u{316}\u{316}\u{316}",
    "FC1abc",
    "12D3KooWabc",
    "all",
    "You",
    "\u{435}verybody",
    "Zoe\u{308}",
];

/// Pairs of texts, and whether they count as one name.
const PAIRS: [(&str, &str, bool); 12] = [
    ("yzw", "\u{443}zw", true),
    ("yzw", "YZW", true),
    ("yzw", "\u{ff59}\u{ff5a}\u{ff57}", true),
    ("yzw", "yz\u{ad}w", true),
    ("Zo\u{eb}", "Zoe\u{308}", true),
    ("Ivan", "lvan", true),
    ("sr1", "srl", true),
    ("modern", "modem", true),
    ("yzw", "yjf", false),
    ("Zo\u{eb}", "Zoe", false),
    ("ai", "al", false),
    ("李雷", "李蕾", false),
];

fn code_points(text: &str) -> Vec<String> {
    text.chars().map(|c| format!("U+{:04X}", u32::from(c))).collect()
}

fn vector(text: &str) -> Value {
    let fault = FriendName::signed(text).err();
    let code = fault.as_ref().map(NameError::code);
    let points = fault.map(|fault| if fault.is_certain() { 20 } else { 0 });
    json!({ "text": text, "code_points": code_points(text), "code": code, "points": points })
}

#[test]
fn names_are_frozen() {
    let alike = PAIRS.map(|(one, other, expected)| {
        let found = FriendName::of_any(one).is_like(&FriendName::of_any(other));
        assert_eq!(found, expected, "{one} {other}");
        json!({ "one": one, "other": other, "alike": found })
    });
    let names = [NAMES.map(vector).to_vec(), REFUSED.map(vector).to_vec()].concat();
    let made = json!({
        "about": "Names that a peer signs: null for one that is accepted, else the fault and its \
                  points; and texts that are or are not one name.",
        "names": names,
        "alike": alike.to_vec(),
    });
    let frozen = golden("names.json", &made);
    let names = frozen["names"].as_array().expect("a list");
    let (accepted, refused) = names.split_at(NAMES.len());
    assert!(accepted.iter().all(|name| name["code"].is_null()), "{accepted:?}");
    assert!(refused.iter().all(|name| name["code"].is_string()), "{refused:?}");
}
