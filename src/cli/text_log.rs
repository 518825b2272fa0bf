//! Log lines for people: seconds, aligned event names, and short ids.
//!
//! Programs should read the JSON form, which is complete.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{commands::look::short_text, primitives::printable};

/// Columns of an event's name. The longest has 17 letters.
const NAME_COLUMNS: usize = 19;

/// Hex digits of a hash.
const HASH_DIGITS: usize = 64;

/// Letters of a peer id.
const PEER_ID_LETTERS: usize = 52;

/// The beginning of every peer id.
const PEER_ID_HEAD: &str = "12D3KooW";

/// The formatter of text logs.
pub(super) struct TextLog;

impl<S, N> FormatEvent<S, N> for TextLog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let mut line = Line::default();
        event.record(&mut line);
        if writer.has_ansi_escapes() {
            let color = color(level);
            write!(writer, "\u{1b}[2m{time}\u{1b}[0m \u{1b}[{color}m{level:<5}\u{1b}[0m ")?;
        } else {
            write!(writer, "{time} {level:<5} ")?;
        }
        writeln!(writer, "{}", line.text())
    }
}

const fn color(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// The fields of one event.
#[derive(Debug, Default)]
struct Line {
    name: Option<String>,
    message: Option<String>,
    /// The other fields, each with a space before it.
    fields: String,
}

impl Line {
    fn text(&self) -> String {
        let text = match (&self.name, &self.message) {
            (Some(name), Some(message)) => {
                format!("{name:<NAME_COLUMNS$} {message}{}", self.fields)
            }
            (Some(name), None) => format!("{name:<NAME_COLUMNS$}{}", self.fields),
            (None, message) => format!("{}{}", message.as_deref().unwrap_or(""), self.fields),
        };
        text.trim().to_owned()
    }

    fn add(&mut self, field: &Field, value: &str) {
        let value = with_short_ids(&printable(value));
        match field.name() {
            // The node's name is the same on every line.
            "node" if self.name.is_some() => {}
            "event" => self.name = Some(value),
            "message" => self.message = Some(value),
            name if value.is_empty() || value.contains(char::is_whitespace) => {
                // Writing into memory does not fail.
                let _ = write!(self.fields, " {name}=\"{value}\"");
            }
            name => {
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Shortens every hash and peer id in a text.
fn with_short_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, from) = rest.split_at_checked(start).unwrap_or((rest, ""));
        let end = from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len());
        let (word, after) = from.split_at_checked(end).unwrap_or((from, ""));
        out.push_str(before);
        if is_id(word) {
            out.push_str(&short_text(word));
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out + rest
}

fn is_id(word: &str) -> bool {
    let is_hash = word.len() == HASH_DIGITS && word.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hash || word.len() == PEER_ID_LETTERS && word.starts_with(PEER_ID_HEAD)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        primitives::{BlockHash, PeerId, PublicKey},
        telemetry::events,
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("alone").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(TextLog)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().expect("alone").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_line_has_seconds_a_name_and_short_ids_and_no_node() {
        let line = logged(|| {
            events::Synced { height: 7, tip: BlockHash([0xab; 32]) }.emit();
        });
        let (time, rest) = line.split_once(' ').expect("a time");
        assert_eq!((time.len(), time.ends_with('Z'), time.contains('.')), (20, true, false));
        assert_eq!(rest, "INFO  synced              height=7 tip=abababababab\n");
    }

    #[test]
    fn names_of_events_are_aligned() {
        let longest = events::TABLE.iter().map(|spec| spec.name.len()).max();
        assert!(longest < Some(NAME_COLUMNS), "{longest:?}");
    }

    #[test]
    fn ids_inside_of_texts_are_short_too_and_nothing_moves_the_cursor() {
        let peer = PeerId(PublicKey([7; 32])).to_string();
        let address = format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}");
        let line = logged(|| tracing::warn!(address, "a peer\u{1b}[2J said \"no\""));
        assert!(line.contains(" WARN  a peer\u{fffd}[2J said \"no\" address="), "{line}");
        assert!(line.contains("/p2p/12D3KooW") && !line.contains(&peer), "{line}");
    }
}
