//! Reads the pages of `proto/` and the constants of the source, for tests that compare the two.

use std::{fs, path::Path};

pub(super) const README: &str = include_str!("../../../proto/README.md");

/// Files and folders of `src` whose constants the README names.
const SOURCES: [&str; 10] = [
    "chain",
    "consensus",
    "friends",
    "net",
    "node/router",
    "peers",
    "primitives",
    "relay",
    "sync",
    "wire/limits.rs",
];

/// Returns the cells of a table's line. A cell that is all code loses its backticks.
fn cells(line: &str) -> Vec<String> {
    let plain = |cell: &str| {
        let code = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        code.filter(|code| !code.contains('`')).unwrap_or(cell).to_owned()
    };
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split(" |").map(|cell| plain(cell.trim())).collect()
}

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Returns the rows of the first table in `page` whose head begins with these columns.
pub(super) fn table_in(page: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut lines = page
        .lines()
        .skip_while(|line| !(line.starts_with('|') && cells(line).starts_with(&strings(columns))));
    assert!(lines.next().is_some(), "the page has a table of {columns:?}");
    let rows: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "{columns:?}");
    rows
}

/// Returns the rows of the README's first table whose head begins with these columns.
pub(super) fn table(columns: &[&str]) -> Vec<Vec<String>> {
    table_in(README, columns)
}

/// Returns the part of a page that follows a line.
pub(super) fn after<'a>(page: &'a str, line: &str) -> &'a str {
    let start = format!("\n{line}\n");
    page.split_once(&start).unwrap_or_else(|| panic!("the page has the line '{line}'")).1
}

/// Panics unless the README contains the sentence. Line breaks count as spaces.
pub(super) fn says(sentence: &str) {
    let text: String = README.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(sentence), "the README says: {sentence}");
}

pub(super) fn number(text: &str) -> i64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("'{text}' is a number"))
}

/// Returns the text of a file of `src`, or of all files of a folder and its subfolders, without
/// tests.
pub(super) fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    let mut text = String::new();
    collect(&path, &mut text);
    assert!(!text.is_empty(), "{name} is a source");
    text
}

fn collect(path: &Path, text: &mut String) {
    let is_test = |name: &str| name.starts_with("test") || name == "simulation";
    if path.file_stem().and_then(std::ffi::OsStr::to_str).is_none_or(is_test) {
        return;
    }
    if path.is_dir() {
        let mut files: Vec<_> = fs::read_dir(path)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        for file in &files {
            collect(file, text);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let file = fs::read_to_string(path).expect("a source");
        text.push_str(file.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
    }
}

/// Evaluates a constant's expression: products, sums and shifts of numbers and of other constants.
/// A duration is in seconds.
fn evaluate(expression: &str, sources: &[String]) -> i64 {
    let expression = expression.trim();
    for (operator, apply) in [
        (" + ", (|a, b| a + b) as fn(i64, i64) -> i64),
        (" << ", |a, b| a << b),
        (" * ", |a, b| a * b),
        (" / ", |a, b| a / b),
    ] {
        if let Some((left, right)) = expression.rsplit_once(operator) {
            return apply(evaluate(left, sources), evaluate(right, sources));
        }
    }
    let bare = expression.rsplit("::").next().unwrap_or_default();
    for (unit, seconds) in [("from_secs(", 1), ("from_mins(", 60), ("from_hours(", 3_600)] {
        if let Some(count) = bare.strip_prefix(unit).and_then(|rest| rest.strip_suffix(')')) {
            return evaluate(count, sources) * seconds;
        }
    }
    bare.replace('_', "").parse().unwrap_or_else(|_| look_up(bare, sources))
}

/// Returns the value of a constant. All constants of that name must have the same value.
/// `NAME.field` is a field of a struct.
fn look_up(name: &str, sources: &[String]) -> i64 {
    let (name, field) =
        name.split_once('.').map_or((name, None), |(name, field)| (name, Some(field)));
    let head = format!("const {name}: ");
    let values: Vec<i64> = sources
        .iter()
        .flat_map(|source| source.match_indices(&head).map(|(at, _)| &source[at..]))
        .map(|declaration| {
            let (_, expression) = declaration.split_once(" =").expect("a value");
            let (expression, _) = expression.split_once(';').expect("an end");
            let value = field.map_or(expression, |field| {
                let (_, value) = expression
                    .split_once(&format!("{field}: "))
                    .unwrap_or_else(|| panic!("{name}.{field}"));
                value.split([',', '}']).next().unwrap_or_default()
            });
            evaluate(value, sources)
        })
        .collect();
    let first = *values.first().unwrap_or_else(|| panic!("{name} is a constant of the code"));
    assert!(values.iter().all(|value| *value == first), "{name} has one value: {values:?}");
    first
}

/// Panics unless each row's second cell is the value of the constant in its first.
pub(super) fn assert_constants(rows: &[Vec<String>]) {
    let sources: Vec<String> = SOURCES.into_iter().map(source).collect();
    for row in rows {
        assert_eq!(number(&row[1]), look_up(&row[0], &sources), "{}", row[0]);
    }
}

/// Returns the value of a constant of the code, or of a field of one.
pub(super) fn constant(name: &str) -> i64 {
    let sources: Vec<String> = SOURCES.into_iter().map(source).collect();
    look_up(name, &sources)
}
