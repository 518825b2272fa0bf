//! Reads and writes `friendchain.toml`. Comments and the order of a user's file stay.

use std::ops::Range;

use toml_edit::{Array, Document, DocumentMut, Item};

use super::{Key, Kind, Settings, Value, wrong_form};
use crate::{
    datadir::{DataDir, SETTINGS_FILE},
    primitives::printable,
    rpc::RpcError,
};

/// The first lines of a file that the node makes.
const HEAD: &str = "# The settings of this node. Flags and environment variables take precedence.\n\
                    # `friendchain config show` lists all, with the origin of each.\n";

/// Reads the folder's settings. A folder without the file has none.
///
/// # Errors
/// The file is malformed. The error is a sentence with the line.
pub(crate) fn read_settings(folder: &DataDir) -> Result<Settings, RpcError> {
    let text = folder.settings_text()?;
    text.map_or_else(|| Ok(Settings::new()), |text| parse(folder, &text))
}

/// Changes settings of the folder; `None` removes one. The process holds the folder's lock.
///
/// # Errors
/// The file is malformed, or cannot be written. The old file is then unchanged.
pub(crate) fn write_settings(
    folder: &DataDir,
    changes: &[(Key, Option<Value>)],
) -> Result<(), RpcError> {
    let old = folder.settings_text()?;
    let text = old.as_deref().unwrap_or_default();
    let before = parse(folder, text)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| malformed(folder, text, &error))?;
    for (key, value) in changes {
        // The user may have written the key like the flag, or with underscores.
        let table = document.as_table_mut();
        let written = table
            .iter()
            .map(|(name, _)| name.to_owned())
            .find(|name| Key::of(name).is_ok_and(|found| found == *key));
        let name = written.unwrap_or_else(|| key.name().to_owned());
        match value {
            None => {
                table.remove(&name);
            }
            Some(value) if before.get(key) == Some(value) => {}
            Some(value) => set(table, &name, value),
        }
    }
    let text = document.to_string();
    match old {
        Some(old) if old == text => Ok(()),
        Some(_) => Ok(folder.write_settings_text(&text)?),
        None => Ok(folder.write_settings_text(&format!("{HEAD}{text}"))?),
    }
}

/// Sets a key. A comment behind the old value stays.
fn set(table: &mut toml_edit::Table, name: &str, value: &Value) {
    let mut new = match value {
        Value::Text(text) => toml_edit::Value::from(text.as_str()),
        Value::Number(number) => toml_edit::Value::from(i64::from(*number)),
        Value::Switch(on) => toml_edit::Value::from(*on),
        Value::List(list) => toml_edit::Value::from(list.iter().collect::<Array>()),
    };
    match table.get_mut(name) {
        Some(Item::Value(old)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        _ => {
            table.insert(name, Item::Value(new));
        }
    }
}

/// Parses the text of a settings file, for the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse_text(text: &str) -> Result<Settings, RpcError> {
    parse(&DataDir::at("/"), text)
}

fn parse(folder: &DataDir, text: &str) -> Result<Settings, RpcError> {
    let document = Document::parse(text).map_err(|error| malformed(folder, text, &error))?;
    let mut settings = Settings::new();
    for (name, item) in document.as_table() {
        let place = document.as_table().key(name).and_then(toml_edit::Key::span);
        let at = |span: Option<Range<usize>>, error: &RpcError| {
            let line = line_of(text, span.or_else(|| place.clone()));
            fault(folder, line, &error.message)
        };
        let key = Key::of(name).map_err(|error| at(None, &error))?;
        let value = value_of(key, item).map_err(|error| at(item.span(), &error))?;
        if settings.insert(key, value).is_some() {
            let twice = RpcError::new("bad_setting", format!("'{}' is set twice", key.name()));
            return Err(at(None, &twice));
        }
    }
    Ok(settings)
}

/// Converts an item of the document, and checks it.
fn value_of(key: Key, item: &Item) -> Result<Value, RpcError> {
    let shown = item.to_string();
    let shown: String = shown.trim().chars().take(40).collect();
    let wrong = || wrong_form(key, &shown);
    let list = |array: &Array| {
        array.iter().map(|entry| entry.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    let value = match (key.kind(), item) {
        (Kind::Text, Item::Value(value)) => {
            Value::Text(value.as_str().map(str::trim).ok_or_else(wrong)?.to_owned())
        }
        (Kind::Number, Item::Value(value)) => {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            Value::Number(number.ok_or_else(wrong)?)
        }
        (Kind::Switch, Item::Value(value)) => Value::Switch(value.as_bool().ok_or_else(wrong)?),
        (Kind::List, Item::Value(toml_edit::Value::Array(array))) => {
            Value::List(list(array).ok_or_else(wrong)?)
        }
        (Kind::List, Item::Value(value)) => {
            Value::List(vec![value.as_str().ok_or_else(wrong)?.to_owned()])
        }
        _ => return Err(wrong()),
    };
    value.check(key)?;
    Ok(value)
}

fn malformed(folder: &DataDir, text: &str, error: &toml_edit::TomlError) -> RpcError {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let message: String = printable(&message).chars().take(200).collect();
    fault(folder, line_of(text, error.span()), &format!("it is not TOML: {message}"))
}

/// Returns the number of the line in which a span begins.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
    before.split(|byte| *byte == b'\n').count()
}

fn fault(folder: &DataDir, line: usize, problem: &str) -> RpcError {
    let path = folder.file(SETTINGS_FILE);
    let sentence = format!("{} line {line}: {problem}; correct that line", path.display());
    RpcError::new("bad_settings_file", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(text: &str) -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        std::fs::write(folder.file(SETTINGS_FILE), text).expect("a file");
        (temporary, folder)
    }

    #[test]
    fn a_fault_in_the_file_is_a_sentence_with_its_line() {
        for (text, line, part) in [
            ("name = \"yzw\"\nprot = 1\n", 2, "did you mean 'port'?"),
            ("# a\n\nport = \"x\"\n", 3, "'port' is a port from 1 to 65535"),
            ("name = \"yzw\"\nport 8891\n", 2, "it is not TOML"),
            ("port = 1\nport = 2\n", 2, "it is not TOML"),
            ("mine = \"on-demand\"\nmining = \"off\"\n", 2, "'mine' is set twice"),
            ("[node]\nport = 1\n", 1, "'node' is no setting"),
            ("name = {a = 1}\n", 1, "'name' is a name in quotes"),
            ("peers = [\"a:1\", 2]\n", 1, "'peers' is a list of addresses"),
            ("mine = \"sometimes\"\n", 1, "'mine' is \"off\", \"on-demand\" or \"always\""),
            ("port = 8891\u{1b}[31m\n", 1, "it is not TOML"),
            ("threads = 99999999999999999999\n", 1, "it is not TOML"),
            ("threads = 9999999999\n", 1, "'threads' is a number"),
        ] {
            let (_temporary, folder) = folder_with(text);
            let error = read_settings(&folder).expect_err("refused");
            let start = format!("friendchain.toml line {line}: ");
            assert!(error.message.contains(&start) && error.message.contains(part), "{error}");
            assert!(!error.message.contains(['\n', '\u{1b}']), "{error}");
            assert!(write_settings(&folder, &[(Key::Port, None)]).is_err(), "{text}");
        }
        let (_temporary, folder) = folder_with(&format!("name = {}", "[".repeat(60_000)));
        assert!(read_settings(&folder).is_err(), "deep nesting is refused, and no crash");
    }

    #[test]
    fn a_change_keeps_the_users_comments_and_order() {
        let (_temporary, folder) =
            folder_with("# mine\nmining = 'always' # hot\n\nport = 8891\nname = \"yzw\"\n");
        let changes = [
            (Key::Mine, Some(Value::text("off"))),
            (Key::Port, None),
            (Key::Mdns, Some(Value::Switch(false))),
            (Key::Peers, Some(Value::List(vec!["a:1".to_owned(), "b:2".to_owned()]))),
            (Key::CacheMib, Some(Value::Number(64))),
        ];
        write_settings(&folder, &changes).expect("written");
        let text = folder.settings_text().expect("read").expect("a file");
        assert_eq!(
            text,
            "# mine\nmining = \"off\" # hot\nname = \"yzw\"\nmdns = false\n\
             peers = [\"a:1\", \"b:2\"]\ncache-mib = 64\n"
        );
        assert_eq!(read_settings(&folder).expect("read").len(), 5);
    }

    #[test]
    fn a_new_file_begins_with_a_word_on_it() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        assert!(read_settings(&folder).expect("none").is_empty());
        write_settings(&folder, &[(Key::Port, Some(Value::Number(8_891)))]).expect("written");
        let text = folder.settings_text().expect("read").expect("a file");
        assert_eq!(text, format!("{HEAD}port = 8891\n"));
    }
}
