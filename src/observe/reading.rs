//! Finds the log files, and continues reading each from its last position.

use std::{
    collections::HashSet,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    ObserveError,
    line::{self, MAX_LINE_BYTES},
    pipe::Pipe,
    story::Story,
};

/// The read buffer of one log, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// A log's input.
enum Source {
    /// A source that is read to its end, even if reading blocks.
    Whole(Box<dyn Read>),
    /// A source that is read as far as it has been written.
    Live(Pipe),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(source) => source.read(buffer),
            Self::Live(pipe) => pipe.read(buffer),
        }
    }
}

/// The lines read so far, each as a hash of 8 bytes. The hash key is random, so that nobody can
/// craft a log with collisions.
#[derive(Default)]
struct Seen {
    lines: HashSet<u64>,
    key: RandomState,
}

impl Seen {
    /// Remembers a line; returns true if it is new. Lines that are equal, time included, come from
    /// copies of one log.
    fn is_new(&mut self, line: &[u8]) -> bool {
        self.lines.insert(self.key.hash_one(line))
    }
}

/// An open log.
struct Log {
    /// The canonical path, so that different paths to one file are one log.
    path: PathBuf,
    reader: BufReader<Source>,
    /// The start of a line whose end has not been read yet.
    unfinished: Vec<u8>,
    /// True while the rest of a line that is too long is skipped.
    skipping: bool,
}

/// The open logs, and the story read from them so far.
pub(super) struct Logs {
    /// The paths as given. Folders are listed again at each read, since rotation adds files.
    paths: Vec<PathBuf>,
    open: Vec<Log>,
    /// True with `--follow`: no source may block the reader.
    live: bool,
    seen: Seen,
    story: Story,
}

impl Logs {
    /// Opens files, all logs in folders, and standard input for `-`.
    pub(super) fn open(paths: &[PathBuf], live: bool) -> Result<Self, ObserveError> {
        let mut logs = Self {
            paths: paths.to_vec(),
            open: Vec::new(),
            live,
            seen: Seen::default(),
            story: Story::default(),
        };
        logs.open_new()?;
        Ok(logs)
    }

    /// Wraps the bytes of one log in memory.
    #[cfg(any(test, fuzzing))]
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let source = Source::Whole(Box::new(io::Cursor::new(bytes.to_vec())));
        let log = Log {
            path: PathBuf::new(),
            reader: BufReader::new(source),
            unfinished: Vec::new(),
            skipping: false,
        };
        Self {
            paths: Vec::new(),
            open: vec![log],
            live: false,
            seen: Seen::default(),
            story: Story::default(),
        }
    }

    /// True if `file` is one of the logs.
    pub(super) fn contains(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else { return false };
        self.open.iter().any(|log| log.path == file)
    }

    /// Opens the logs that are not open yet.
    fn open_new(&mut self) -> Result<(), ObserveError> {
        for path in &self.paths {
            let is_input = path.as_os_str() == "-";
            for path in if is_input { vec![path.clone()] } else { files(path)? } {
                // A pipe may have no canonical path.
                let name = if is_input { None } else { path.canonicalize().ok() }
                    .unwrap_or_else(|| path.clone());
                if self.open.iter().any(|log| log.path == name) {
                    continue;
                }
                let source = if is_input {
                    live_or_whole(io::stdin(), self.live)
                } else {
                    self.source(&path)?
                };
                let reader = BufReader::with_capacity(BUFFER_BYTES, source);
                self.open.push(Log { path: name, reader, unfinished: Vec::new(), skipping: false });
            }
        }
        Ok(())
    }

    /// Opens a file or a named pipe.
    fn source(&self, path: &Path) -> Result<Source, ObserveError> {
        let failed = |cause| ObserveError::Log { path: path.to_owned(), cause };
        let file = File::open(path).map_err(failed)?;
        let is_file = file.metadata().map_err(failed)?.is_file();
        Ok(live_or_whole(file, self.live && !is_file))
    }

    /// Reads the lines written since the last call; returns true if there were any.
    pub(super) fn read_on(&mut self) -> Result<bool, ObserveError> {
        self.open_new()?;
        let before = self.story.lines.saturating_add(self.story.broken);
        for (number, log) in self.open.iter_mut().enumerate() {
            log.read_on(number, &mut self.seen, &mut self.story)
                .map_err(|cause| ObserveError::Log { path: log.path.clone(), cause })?;
        }
        Ok(self.story.lines.saturating_add(self.story.broken) != before)
    }

    /// Treats last lines without a newline as complete, after the end of the logs.
    pub(super) fn finish(&mut self) {
        for (number, log) in self.open.iter_mut().enumerate() {
            log.take_line(number, &mut self.seen, &mut self.story);
        }
    }

    /// True if no log can grow: all are pipes that have ended.
    pub(super) fn have_ended(&self) -> bool {
        self.open
            .iter()
            .all(|log| matches!(log.reader.get_ref(), Source::Live(pipe) if pipe.has_ended()))
    }

    pub(super) const fn story(&self) -> &Story {
        &self.story
    }
}

impl Log {
    fn read_on(&mut self, number: usize, seen: &mut Seen, story: &mut Story) -> io::Result<()> {
        loop {
            let room = MAX_LINE_BYTES.saturating_sub(self.unfinished.len());
            let limit = u64::try_from(room).unwrap_or(u64::MAX);
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.unfinished)?;
            let ended = self.unfinished.last() == Some(&b'\n');
            if !ended && read < room {
                // The end of the data so far. A later call reads the rest of an unfinished line.
                return Ok(());
            }
            if ended {
                self.take_line(number, seen, story);
            } else if !self.skipping {
                story.count_broken();
            }
            self.skipping = !ended;
            self.unfinished.clear();
        }
    }

    /// Adds the line that has been read to the story, unless it is the end of a line that was too
    /// long.
    fn take_line(&mut self, number: usize, seen: &mut Seen, story: &mut Story) {
        let text = self.unfinished.trim_ascii();
        if self.skipping || text.is_empty() {
            return;
        }
        let Some(object) = line::object(text) else { return story.count_broken() };
        if !seen.is_new(object) {
            return story.count_repeated();
        }
        match line::parse(object) {
            Some(line) => story.add_line(number, &line),
            None => story.count_broken(),
        }
    }
}

fn live_or_whole(source: impl Read + Send + 'static, live: bool) -> Source {
    if live { Source::Live(Pipe::new(source)) } else { Source::Whole(Box::new(source)) }
}

/// Returns a file's own path, or the logs of a folder sorted by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, ObserveError> {
    let failed = |cause| ObserveError::Log { path: path.to_owned(), cause };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_log =
            path.extension().is_some_and(|end| end == "log" || end == "json" || end == "jsonl");
        if path.is_file() && is_log {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(ObserveError::NoLogs { path: path.to_owned() }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINE: &str = concat!(
        r#"{"timestamp":"2026-01-01T00:00:00.000001Z","level":"INFO","event":"synced","#,
        r#""node":"yzw"}"#
    );

    /// Returns [`LINE`] with another second.
    fn line_at(second: u32) -> String {
        LINE.replace(":00.000001Z", &format!(":{second:02}.000001Z"))
    }

    #[test]
    fn broken_and_endless_lines_are_counted_and_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let long = "x".repeat(3 * MAX_LINE_BYTES + 17);
        let (second, third) = (line_at(2), line_at(3));
        fs::write(&path, format!("{LINE}\nnonsense\n\n{long}\n{second}\n{third}"))
            .expect("written");
        let mut logs = Logs::open(&[folder.path().to_owned()], false).expect("opened");
        logs.read_on().expect("read");
        assert_eq!((logs.story().lines, logs.story().broken), (2, 2));
        logs.finish();
        assert_eq!((logs.story().lines, logs.story().broken), (3, 2));
    }

    #[test]
    fn a_growing_log_and_a_new_one_are_read_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, &LINE[..40]).expect("written");
        let mut logs = Logs::open(&[folder.path().to_owned()], true).expect("opened");
        assert!(!logs.read_on().expect("read"));
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        writeln!(file, "{}", &LINE[40..]).expect("written");
        fs::write(folder.path().join("b.log"), format!("{}\n", line_at(2))).expect("written");
        assert!(logs.read_on().expect("read"));
        assert_eq!((logs.story().lines, logs.story().broken), (2, 0));
    }

    #[test]
    fn a_log_that_is_given_twice_is_read_once_and_a_copys_lines_count_as_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, format!("{LINE}\n{}\n", line_at(2))).expect("written");
        let again = folder
            .path()
            .join(".")
            .join("..")
            .join(folder.path().file_name().expect("a name"))
            .join("a.log");
        let mut logs =
            Logs::open(&[path.clone(), again, folder.path().to_owned()], false).expect("opened");
        logs.read_on().expect("read");
        assert_eq!((logs.story().lines, logs.story().repeated, logs.open.len()), (2, 0, 1));

        // The log as Docker compose prints it, with one more line.
        let copy = folder.path().join("copy.log");
        fs::write(&copy, format!("yzw-1  | {LINE}\nyzw-1  | {}\n", line_at(3))).expect("written");
        logs.read_on().expect("read");
        assert_eq!((logs.story().lines, logs.story().repeated, logs.story().broken), (3, 1, 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_log_is_the_same_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, format!("{LINE}\n")).expect("written");
        std::os::unix::fs::symlink(&path, folder.path().join("b.log")).expect("a link");
        let logs = Logs::open(&[folder.path().to_owned()], false).expect("opened");
        assert_eq!(logs.open.len(), 1);
    }

    #[test]
    fn a_page_may_not_take_the_place_of_a_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, LINE).expect("written");
        let logs = Logs::open(&[path], false).expect("opened");
        assert!(
            logs.contains(
                &folder
                    .path()
                    .join("../")
                    .join(folder.path().file_name().expect("a name"))
                    .join("a.log")
            )
        );
        assert!(!logs.contains(&folder.path().join("page.html")));
    }

    #[test]
    fn a_missing_log_and_an_empty_folder_are_sentences() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(
            Logs::open(&[folder.path().to_owned()], false),
            Err(ObserveError::NoLogs { .. })
        ));
        assert!(matches!(
            Logs::open(&[folder.path().join("a.log")], false),
            Err(ObserveError::Log { .. })
        ));
    }
}
