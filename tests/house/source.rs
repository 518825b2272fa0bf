//! Reads Rust sources as text: what a file imports, defines, and how long its functions are.

use std::{fs, path::Path};

/// A file of the project.
pub(crate) struct Source {
    /// The path from the project's folder, with `/` between parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A `use` of one name, or a path in an expression.
pub(crate) struct Import {
    /// The path as written, without braces: `crate::chain::Chain`.
    pub(crate) path: Vec<String>,
    /// The name under which it is known here; `*` for all.
    pub(crate) alias: String,
    /// True for `pub use`.
    pub(crate) exported: bool,
}

/// All Rust files below these folders.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        read(Path::new(folder), "rs", &mut found);
    }
    assert!(!found.is_empty(), "the tests run in the project's folder");
    found
}

/// All pages in the project's folder and its rooms.
pub(crate) fn markdown_pages() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["proto", "deploy", "benches", "fuzz"] {
        read(Path::new(folder), "md", &mut found);
    }
    let top = fs::read_dir(".").expect("the project's folder");
    for path in top.flatten().map(|entry| entry.path()).filter(|path| is_kind(path, "md")) {
        found.push(open(path.strip_prefix(".").unwrap_or(&path)));
    }
    found
}

fn read(folder: &Path, kind: &str, found: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") {
            read(&path, kind, found);
        } else if is_kind(&path, kind) {
            found.push(open(&path));
        }
    }
}

fn is_kind(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}

fn open(path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a text file");
    Source { path: path.to_string_lossy().replace('\\', "/"), text }
}

/// The text of a line of documentation.
pub(crate) fn is_doc(line: &str) -> Option<&str> {
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

impl Source {
    /// True for a file of tests, or of what only tests and fuzz targets run.
    pub(crate) fn is_test(&self) -> bool {
        const TEST_PARTS: &[&str] =
            &["tests", "test", "testing", "fuzzing", "vectors", "simulation", "benches", "fuzz"];
        let parts = self.path.trim_end_matches(".rs").split('/').skip(1);
        parts.into_iter().any(|part| TEST_PARTS.contains(&part))
    }

    /// The module that the file is: `src/chain/api.rs` is `chain::api`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let inner = inner.strip_suffix("/mod").unwrap_or(inner);
        if inner == "lib" { Vec::new() } else { inner.split('/').map(str::to_owned).collect() }
    }

    /// Each `use` of a name, and each path in an expression that begins with `crate` or `super`.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let code = without_tests(&code_of(&self.text));
        let tokens = tokens(&code);
        let mut imports = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            match tokens[at] {
                "use" => {
                    let exported = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                    at = use_tree(&tokens, at + 1, &[], exported, &mut imports);
                }
                "crate" | "super" => {
                    let mut path = vec![tokens[at].to_owned()];
                    while tokens.get(at + 1) == Some(&"::")
                        && tokens.get(at + 2).is_some_and(is_name)
                    {
                        path.push(tokens[at + 2].to_owned());
                        at += 2;
                    }
                    if path.len() > 1 {
                        let alias = path.last().cloned().unwrap_or_default();
                        imports.push(Import { path, alias, exported: false });
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
        imports
    }

    /// True if the file itself declares an item of this name.
    pub(crate) fn defines(&self, name: &str) -> bool {
        let code = code_of(&self.text);
        tokens(&code).windows(2).any(|pair| {
            let kinds =
                ["struct", "enum", "trait", "fn", "const", "static", "type", "mod", "union"];
            kinds.contains(&pair[0]) && pair[1] == name
        })
    }

    /// Each function's name and lines, from `fn` to its closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let code = code_of(&self.text);
        let mut found = Vec::new();
        for (start, _) in code.match_indices("fn ") {
            let alone = code[..start].chars().next_back().is_none_or(|c| !is_word(c));
            let rest = &code[start + 3..];
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let Some(open) = rest.find(['{', ';']).filter(|_| alone && !name.is_empty()) else {
                continue;
            };
            if rest[open..].starts_with('{') {
                let body = &rest[..open + block(&rest[open..])];
                found.push((name, body.lines().count()));
            }
        }
        found
    }

    /// The numbers of the lines that are too wide, but for tables and code.
    pub(crate) fn wide_lines(&self, columns: usize) -> Vec<(String, usize)> {
        let mut code = false;
        let mut wide = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            if line.trim_start().starts_with("```") {
                code = !code;
            }
            // A link cannot be broken.
            let breaks = line.trim_start().contains(' ');
            if line.chars().count() > columns && !line.starts_with('|') && !code && breaks {
                wide.push((self.path.clone(), number));
            }
        }
        wide
    }
}

/// Reads the tree of names after `use`, and returns the place behind it.
fn use_tree(
    tokens: &[&str],
    mut at: usize,
    prefix: &[String],
    exported: bool,
    imports: &mut Vec<Import>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).copied() {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = use_tree(tokens, at, &path, exported, imports);
                    if tokens.get(at) == Some(&",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some("::") => at += 1,
            Some(name) if is_name(&name) || name == "*" => {
                path.push(name.to_owned());
                at += 1;
                if tokens.get(at) == Some(&"::") {
                    continue;
                }
                let mut alias = name.to_owned();
                if tokens.get(at) == Some(&"as") {
                    alias = tokens
                        .get(at + 1)
                        .map_or_else(|| "_".to_owned(), |name| (*name).to_owned());
                    at += 2;
                }
                if alias == "self" {
                    path.pop();
                    alias = path.last().cloned().unwrap_or_default();
                }
                imports.push(Import { path, alias, exported });
                return at;
            }
            _ => return at + 1,
        }
    }
}

fn is_name(token: &&str) -> bool {
    token.starts_with(is_word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The length of a block in braces, which `code` begins with.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The code without the items that are there for tests alone; lines stay where they are.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) =
        ["#[cfg(test)]", "#[cfg(any(test"].iter().filter_map(|mark| rest.find(mark)).min()
    {
        kept.push_str(&rest[..start]);
        let end = rest[start..].find(['{', ';']).map_or(rest.len(), |open| {
            let open = start + open;
            if rest[open..].starts_with('{') { open + block(&rest[open..]) } else { open + 1 }
        });
        kept.extend(rest[start..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// The text without comments and without what is in quotes; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let blank = |code: &mut String, part: &str| code.extend(part.chars().filter(|c| *c == '\n'));
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_quote(code.chars().next_back(), rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&close).map_or(rest.len(), |end| end + hashes * 2 + 3)
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            blank(&mut code, &rest[..skipped]);
            rest = &rest[skipped..];
        }
    }
    code
}

/// The number of hashes of a raw string that begins here.
fn raw_quote(before: Option<char>, rest: &str) -> Option<usize> {
    let inner =
        rest.strip_prefix('r').filter(|_| before.is_none_or(|c| !is_word(c) || c == 'b'))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    inner[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a string literal, which `rest` begins with.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[2..].find('\'').map_or(0, |end| if end == 0 { 4 } else { end + 3 }),
        Some((_, c)) if rest[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
        _ => 0,
    }
}
