//! Holds the source tree to the rules of the house: import directions, circles, sizes and prose.
//!
//! ARCHITECTURE.md draws the map that [`ROOMS`] repeats. Each test lists all faults at once, one a
//! line, so that a change that breaks a rule sees every place to mend.

#[path = "house/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Import, Source, is_doc, markdown_pages, rust_files};

/// Files whose faults are allowed for now.
const EXCEPTIONS: &[&str] = &[];

/// Columns of a line of code, of a comment, or of a page.
const MAX_COLUMNS: usize = 100;
/// Lines of a file: one job each.
const MAX_FILE_LINES: usize = 650;
/// Lines of a function: one screen.
const MAX_FUNCTION_LINES: usize = 70;
/// Doc blocks that may open with a pronoun, a question word or a preposition, per thousand.
const MAX_OPENINGS: usize = 50;
/// Doc blocks whose first line may have one or two words, per thousand.
const MAX_SHORT: usize = 30;
/// Words that make a reader translate when a doc block opens with them.
const OPENERS: &[&str] = &[
    "What", "Who", "Whoever", "Whose", "Whom", "Whether", "How", "That", "Of", "By", "When",
    "Where", "Which", "Why", "It", "Its", "Them", "So", "To", "From",
];

/// A room, and the rooms that it may import from. The first entry that a path begins with is the
/// path's room, so that a room inside another stands before it.
const ROOMS: &[(&str, &[&str])] = &[
    ("primitives", &[]),
    ("telemetry", &["primitives"]),
    ("storage", &["primitives"]),
    ("consensus", &["primitives"]),
    ("chain", &["consensus", "storage", "primitives", "telemetry"]),
    ("wire", &["consensus", "primitives"]),
    ("peers", &["wire", "primitives", "telemetry"]),
    ("wallet", &["chain", "storage", "consensus", "primitives"]),
    ("miner", &["chain", "consensus", "primitives", "telemetry"]),
    ("friends", &["storage", "wire", "peers", "consensus", "primitives", "telemetry"]),
    ("relay", &["chain", "peers", "wire", "consensus", "primitives", "telemetry"]),
    ("sync", &["chain", "peers", "wire", "consensus", "primitives", "telemetry"]),
    ("datadir", &["storage", "primitives"]),
    ("net", &["peers", "wire", "primitives", "telemetry", "storage"]),
    ("rpc", &["chain", "sync", "consensus", "primitives"]),
    ("commands", &["rpc", "storage", "consensus", "primitives"]),
    (
        "node/router",
        &[
            "node/clock",
            "net",
            "sync",
            "relay",
            "friends",
            "miner",
            "peers",
            "wire",
            "chain",
            "consensus",
            "primitives",
            "telemetry",
        ],
    ),
    (
        "node/metrics",
        &[
            "node/router",
            "node/clock",
            "net",
            "sync",
            "miner",
            "datadir",
            "chain",
            "consensus",
            "primitives",
            "telemetry",
        ],
    ),
    (
        "node/service",
        &[
            "node",
            "node/router",
            "node/clock",
            "rpc",
            "net",
            "sync",
            "friends",
            "peers",
            "wallet",
            "miner",
            "datadir",
            "storage",
            "chain",
            "wire",
            "consensus",
            "primitives",
            "telemetry",
        ],
    ),
    ("node/clock", &["chain", "primitives"]),
    (
        "node",
        &[
            "node/router",
            "node/service",
            "node/metrics",
            "node/clock",
            "rpc",
            "net",
            "sync",
            "relay",
            "friends",
            "miner",
            "wallet",
            "peers",
            "wire",
            "datadir",
            "storage",
            "chain",
            "consensus",
            "primitives",
            "telemetry",
        ],
    ),
    (
        "simulation",
        &[
            "node/router",
            "observe",
            "sync",
            "relay",
            "miner",
            "peers",
            "wire",
            "storage",
            "chain",
            "consensus",
            "primitives",
        ],
    ),
    ("observe", &["commands", "telemetry", "primitives"]),
    ("console", &["commands", "rpc", "datadir", "consensus", "primitives"]),
    (
        "cli",
        &[
            // As `node` exports them.
            "node/service",
            "node/metrics",
            "console",
            "commands",
            "observe",
            "node",
            "rpc",
            "datadir",
            "storage",
            "consensus",
            "primitives",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
];

#[test]
fn imports_point_down_only() {
    let house = House::read();
    let mut faults = BTreeSet::new();
    for (from, targets) in &house.imports {
        let room = room_of(from);
        for (to, names) in targets {
            let target = room_of(to);
            let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
            if room != target && !allowed.is_some_and(|allowed| allowed.contains(&target.as_str()))
            {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                faults.insert(format!("{from} imports {} of {to}", names.join(", ")));
            }
        }
    }
    none(faults);
}

#[test]
fn files_form_no_circle() {
    none(circles(&House::read().imports));
}

#[test]
fn files_functions_and_lines_have_a_bound() {
    let mut faults = BTreeSet::new();
    for source in rust_files(&["src", "tests", "benches", "fuzz"]) {
        let path = &source.path;
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES {
            faults.insert(format!("{path} has {lines} lines"));
        }
        for (name, length) in source.functions() {
            if length > MAX_FUNCTION_LINES {
                faults.insert(format!("{path}: fn {name} has {length} lines"));
            }
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            if line.chars().count() > MAX_COLUMNS {
                faults.insert(format!("{path}:{number} has over {MAX_COLUMNS} columns"));
            }
        }
    }
    for (path, number) in markdown_pages().iter().flat_map(|page| page.wide_lines(MAX_COLUMNS)) {
        faults.insert(format!("{path}:{number} has over {MAX_COLUMNS} columns"));
    }
    none(faults);
}

#[test]
fn the_places_of_the_architecture_page_exist() {
    let page = std::fs::read_to_string("ARCHITECTURE.md").expect("the page");
    let (_, list) = page.split_once("## Where is").expect("the list");
    let (list, _) = list.split_once("\n## ").expect("the next section");
    let places: Vec<_> = list.split('`').filter_map(|part| part.split_once("::")).collect();
    assert!(places.len() >= 25, "{} places", places.len());
    let sources = rust_files(&["src"]);
    for (file, name) in places {
        let source = sources.iter().find(|source| source.path == file);
        assert!(source.is_some_and(|source| source.defines(name)), "{file} has no {name}");
    }
}

#[test]
fn the_source_files_that_pages_name_exist() {
    let mut faults = BTreeSet::new();
    for page in markdown_pages() {
        for path in page.text.split('`').skip(1).step_by(2).filter(|part| part.starts_with("src/"))
        {
            let file = path.split("::").next().unwrap_or_default();
            if !file.contains(['{', '*', ' ']) && !std::path::Path::new(file).exists() {
                faults.insert(format!("{} names {file}", page.path));
            }
        }
    }
    none(faults);
}

#[test]
fn docs_open_with_the_thing_or_the_act() {
    let (mut blocks, mut openings, mut short) = (0, Vec::new(), Vec::new());
    for source in rust_files(&["src"]).iter().filter(|source| !source.is_test()) {
        let mut inside = false;
        for (number, line) in (1..).zip(source.text.lines().map(str::trim)) {
            let doc = is_doc(line);
            if let (Some(text), false) = (doc, inside) {
                blocks += 1;
                let first = text.trim_start_matches(['`', '[', '*']);
                let end = first.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(first.len());
                if OPENERS.contains(&&first[..end]) {
                    openings.push(format!("{}:{number} opens with {}", source.path, &first[..end]));
                }
                if !text.trim().is_empty() && text.split_whitespace().count() <= 2 {
                    short.push(format!("{}:{number} has a first line of two words", source.path));
                }
            }
            inside = doc.is_some();
        }
    }
    assert!(blocks > 0, "there are docs");
    let within = |faults: &[String], bar: usize| faults.len() * 1_000 <= blocks * bar;
    assert!(
        within(&openings, MAX_OPENINGS),
        "{} of {blocks}:\n{}",
        openings.len(),
        openings.join("\n")
    );
    assert!(within(&short, MAX_SHORT), "{} of {blocks}:\n{}", short.len(), short.join("\n"));
}

#[test]
fn a_circle_an_upward_import_and_a_long_function_are_found() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let house = House::of(&[
        source("src/chain/mod.rs", "mod a;\nmod b;\npub use a::A;\n"),
        source("src/chain/a.rs", "use super::b::{B, C as D};\nstruct A;\n"),
        source(
            "src/chain/b.rs",
            "use crate::chain::A; // not crate::net::X\nfn f() { \"crate::net\" }\n",
        ),
        source(
            "src/wire/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::chain::A; }\nfn f() { crate::net::g() }\n",
        ),
        source("src/net/mod.rs", "fn g() {}\n"),
    ]);
    let found = |from: &str, to: &str| house.imports.get(from).and_then(|targets| targets.get(to));
    assert_eq!(
        circles(&house.imports),
        ["src/chain/a.rs, src/chain/b.rs form a circle".to_owned()].into()
    );
    let names: Vec<_> =
        found("src/chain/a.rs", "src/chain/b.rs").expect("an import").iter().collect();
    assert_eq!(names, ["B", "C"]);
    assert!(found("src/chain/b.rs", "src/chain/a.rs").is_some(), "through what mod.rs exports");
    assert!(
        found("src/chain/b.rs", "src/net/mod.rs").is_none(),
        "comments and strings do not count"
    );
    assert!(found("src/wire/mod.rs", "src/net/mod.rs").is_some(), "a path in an expression counts");
    assert!(found("src/wire/mod.rs", "src/chain/a.rs").is_none(), "tests do not count");

    let long =
        source("src/x.rs", &format!("fn f() {{\n{}}}\nfn g() {{}}\n", "    ();\n".repeat(3)));
    assert_eq!(long.functions(), [("f".to_owned(), 5), ("g".to_owned(), 1)]);
}

/// Fails with the faults that are not excepted.
fn none(faults: BTreeSet<String>) {
    let excepted = |fault: &String| EXCEPTIONS.iter().any(|file| fault.starts_with(file));
    let faults: Vec<_> = faults.into_iter().filter(|fault| !excepted(fault)).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The room of a file: the longest entry of [`ROOMS`] that its path begins with.
fn room_of(path: &str) -> String {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let within = |room: &str| {
        inner == room || inner.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'))
    };
    let longest = ROOMS.iter().filter(|(room, _)| within(room)).max_by_key(|(room, _)| room.len());
    longest.map_or_else(|| inner.to_owned(), |(room, _)| (*room).to_owned())
}

/// Names that a file takes from another: from, to, names.
type Imports = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Each module's file, and what that file imports and exports.
type Modules<'a> = BTreeMap<Vec<String>, (&'a Source, Vec<Import>)>;

/// The imports between all files of `src`, tests left out.
struct House {
    imports: Imports,
}

impl House {
    fn read() -> House {
        House::of(&rust_files(&["src"]))
    }

    fn of(sources: &[Source]) -> House {
        let modules: Modules<'_> = sources
            .iter()
            .filter(|source| !source.is_test())
            .map(|source| (source.module(), (source, source.imports())))
            .collect();
        let mut imports = Imports::new();
        for (module, (source, all)) in &modules {
            for import in all.iter().filter(|import| !import.exported) {
                let Some((target, name)) = resolve(&modules, module, &import.path, 0) else {
                    continue;
                };
                // A parent is made of its children: only the way up from a child counts.
                let is_child = target.starts_with(module);
                if let Some((target, _)) = modules.get(&target).filter(|_| !is_child) {
                    let targets = imports.entry(source.path.clone()).or_default();
                    targets.entry(target.path.clone()).or_default().insert(name);
                }
            }
        }
        House { imports }
    }
}

/// The module that defines what `path` names, as seen from `module`, and the name. Follows exports.
fn resolve(
    modules: &Modules<'_>,
    module: &[String],
    path: &[String],
    depth: usize,
) -> Option<(Vec<String>, String)> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (base, rest) = (Vec::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        child => {
            base.push(child.to_owned());
            modules.get(&base)?;
            rest = &path[1..];
        }
    }
    while let Some(part) = rest.first() {
        base.push(part.clone());
        if !modules.contains_key(&base) {
            base.pop();
            break;
        }
        rest = &rest[1..];
    }
    let (_, imports) = modules.get(&base)?;
    let Some(name) = rest.first().filter(|name| *name != "self" && *name != "*") else {
        return Some((base.clone(), rest.first().or(base.last()).cloned().unwrap_or_default()));
    };
    if depth < 8 {
        for export in imports.iter().filter(|import| import.exported) {
            if export.alias == *name {
                let found = resolve(modules, &base, &export.path, depth + 1);
                return found.map(|(target, _)| (target, name.clone()));
            }
            if export.alias == "*" {
                let (target, _) = resolve(modules, &base, &export.path, depth + 1)?;
                if modules.get(&target).is_some_and(|(source, _)| source.defines(name)) {
                    return Some((target, name.clone()));
                }
            }
        }
    }
    Some((base, name.clone()))
}

/// Every group of files each of which reaches all the others through imports.
fn circles(imports: &Imports) -> BTreeSet<String> {
    let reaches = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![start.to_owned()];
        while let Some(file) = waiting.pop() {
            for next in imports.get(&file).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = imports.keys().map(|file| (file.clone(), reaches(file))).collect();
    let mut found = BTreeSet::new();
    for (file, reached) in &reach {
        if reached.contains(file) {
            let back = |other: &&String| reach.get(*other).is_some_and(|set| set.contains(file));
            let circle: Vec<_> = reached.iter().filter(back).map(String::as_str).collect();
            found.insert(format!("{} form a circle", circle.join(", ")));
        }
    }
    found
}
