//! Tests that lints keep unchecked arithmetic, indexing and panics out of code for outside data.

use std::{fs, path::PathBuf};

const DENIED: [&str; 5] = [
    "clippy::arithmetic_side_effects",
    "clippy::indexing_slicing",
    "clippy::unwrap_used",
    "clippy::expect_used",
    "clippy::panic",
];

/// The files in `primitives` that encode and decode hashed data.
const ENCODINGS: [&str; 5] =
    ["amount.rs", "block.rs", "encoding.rs", "merkle.rs", "transaction.rs"];

fn consensus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file!()).parent().expect("a folder").to_owned()
}

fn sources(folder: PathBuf) -> Vec<(PathBuf, String)> {
    let entries =
        fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files = files.map(|path| (path.clone(), fs::read_to_string(path).expect("a source")));
    files.chain(folders.into_iter().flat_map(sources)).collect()
}

fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn the_rules_and_the_encodings_deny_overflows_and_panics() {
    let denied_unless = |what: &str| format!("#![cfg_attr({what},deny({}))]", DENIED.join(","));
    let module = fs::read_to_string(consensus().join("mod.rs")).expect("the module");
    assert!(
        without_space(&module).contains(&denied_unless("not(any(test,fuzzing))")),
        "consensus/mod.rs no longer denies these lints"
    );
    let primitives = consensus().join("../primitives");
    for file in ENCODINGS {
        let source = fs::read_to_string(primitives.join(file)).expect("a source");
        assert!(
            without_space(&source).contains(&denied_unless("not(test)")),
            "primitives/{file} no longer denies these lints"
        );
    }
}

#[test]
fn no_file_of_the_rules_allows_a_denied_lint() {
    let all = sources(consensus());
    assert!(all.len() > 10, "the sources were found");
    for (path, source) in all.iter().filter(|(path, _)| !path.ends_with("lints.rs")) {
        let source = without_space(source);
        for lint in DENIED {
            for way in ["allow(", "expect(", "warn("] {
                assert!(
                    !source.contains(&format!("{way}{lint}")),
                    "{} allows {lint}",
                    path.display()
                );
            }
        }
    }
}
