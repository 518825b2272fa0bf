//! Tests of the events: their limits, and their table in the documents.

use super::*;

#[test]
fn event_names_are_unique_and_snake_case() {
    let mut names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn what_peers_bring_about_is_logged_at_a_rate_and_the_rest_is_counted() {
    let limits = Limits(Mutex::new(BTreeMap::new()));
    let logged = (0..10_000).filter(|_| limits.allow("one", 0)).count();
    assert_eq!(logged as u64, PEERS_RATE.burst);
    assert!(limits.allow("another", 0), "each name by itself");
    let said: Vec<_> = limits.take_suppressed().iter().map(|said| (said.of, said.count)).collect();
    assert_eq!(said, [("one", 10_000 - PEERS_RATE.burst)]);
    assert!(limits.take_suppressed().is_empty(), "once");
    let later = 1_000 / PEERS_RATE.per_second;
    assert!(limits.allow("one", later) && !limits.allow("one", later));
}

/// An event for these tests only, because limits are shared by the whole process.
#[allow(dead_code, unreachable_pub)] // The macro makes more items than the tests use.
mod probe {
    use super::super::*;

    events! {
        /// A test emitted this.
        INFO Probe = "probe" of PEERS {
            number: u64,
        }
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("alone").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns what `emit` logs.
fn log_of(emit: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, emit);
    String::from_utf8(lines.0.lock().expect("alone").clone()).expect("text")
}

#[test]
fn a_flood_is_cut_off() {
    let began = Instant::now();
    let total = 2 * PEERS_RATE.burst;
    let log = log_of(|| (0..total).for_each(|number| probe::Probe { number }.emit()));
    let gained = PEERS_RATE.per_second * (began.elapsed().as_secs() + 1);
    let logged = log.lines().filter(|line| line.contains(r#""event":"probe""#)).count() as u64;
    assert!(
        (PEERS_RATE.burst..=PEERS_RATE.burst + gained).contains(&logged),
        "{logged} of {total}"
    );
}

#[test]
fn the_rest_of_a_flood_is_said_though_nothing_follows() {
    // These limits are the test's own: other tests use and report the limits of the process.
    let limits = Limits(Mutex::new(BTreeMap::new()));
    (0..PEERS_RATE.burst + 3).for_each(|_| _ = limits.allow("one", 0));
    let log = log_of(|| limits.emit_suppressed());
    let said: Vec<_> = log.lines().map(|line| line.contains(r#""of":"one","count":3"#)).collect();
    assert_eq!(said, [true], "{log}");
}

#[test]
fn what_names_a_peer_is_limited() {
    let names_peer = |spec: &&EventSpec| spec.fields.iter().any(|(name, ..)| *name == "peer");
    for spec in TABLE.iter().filter(names_peer).filter(|spec| spec.level != "DEBUG") {
        assert!(spec.of_peers, "{} can be brought about by that peer at will", spec.name);
    }
}

/// Returns the table as it must be in deploy/README.md.
fn table() -> String {
    let row = |EventSpec { name, level, meaning, fields, of_peers }: &EventSpec| {
        let limited = if *of_peers { " †" } else { "" };
        let fields: Vec<_> =
            fields.iter().map(|(name, ty, meaning)| field(name, ty, meaning)).collect();
        format!("| `{name}`{limited} | {level} | {} | {} |\n", meaning.trim(), fields.join("<br>"))
    };
    let head = "| event | level | when | fields |\n|---|---|---|---|\n".to_owned();
    head + &TABLE.iter().map(row).collect::<String>()
}

/// Returns a field's name, its type in JSON, and its doc, if it has one.
fn field(name: &str, ty: &str, meaning: &str) -> String {
    let (inner, absent) = match ty.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        Some(inner) => (inner, " or absent"),
        None => (ty, ""),
    };
    let json = match inner {
        "u32" | "u64" | "usize" | "i64" => "number",
        "bool" => "boolean",
        "BlockHash" | "TxId" | "PeerId" | "String" | "&'static str" | "Cow<'static, str>" => "text",
        other => panic!("what does {other} look like in JSON?"),
    };
    let meaning = meaning.trim();
    let colon = if meaning.is_empty() { "" } else { ": " };
    format!("`{name}` ({json}{absent}){colon}{meaning}")
}

#[test]
fn the_documents_table_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md");
    let document = std::fs::read_to_string(path).expect("deploy/README.md");
    let table = table();
    assert!(
        document.contains(&table),
        "the table of events in deploy/README.md should be:\n{table}"
    );
}
