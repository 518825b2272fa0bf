//! The log files: found, and read on from where they were last left.

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

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 20;

/// Where a log comes from.
enum Source {
    /// Read to its end, whenever that comes.
    Whole(Box<dyn Read>),
    /// Read as far as it is there.
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

/// The lines that were read, by a hash that a log cannot aim at: 8 bytes for each, a little more in
/// the table.
#[derive(Default)]
struct Seen {
    lines: HashSet<u64>,
    key: RandomState,
}

impl Seen {
    /// Whether a line had not been read before. Two of one moment and one content are of copies of
    /// one log.
    fn is_new(&mut self, line: &[u8]) -> bool {
        self.lines.insert(self.key.hash_one(line))
    }
}

/// One log.
struct Log {
    /// Without links and detours: one file is one log.
    path: PathBuf,
    reader: BufReader<Source>,
    /// The beginning of a line whose end is not written yet.
    unfinished: Vec<u8>,
    /// The line is too long, and is passed over up to its end.
    skipping: bool,
}

/// Several logs, and what was read of them.
pub(super) struct Logs {
    /// As they were given: folders get new files when logs are rotated.
    paths: Vec<PathBuf>,
    open: Vec<Log>,
    /// Whether they are followed: then nothing may keep the reader waiting.
    live: bool,
    seen: Seen,
    story: Story,
}

impl Logs {
    /// Opens files, all logs of folders, and standard input for `-`.
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

    /// One log that is there already.
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

    /// Whether a file is one of the logs.
    pub(super) fn hold(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else { return false };
        self.open.iter().any(|log| log.path == file)
    }

    /// Opens what is not open yet.
    fn open_new(&mut self) -> Result<(), ObserveError> {
        for path in &self.paths {
            let is_input = path.as_os_str() == "-";
            for path in if is_input { vec![path.clone()] } else { files(path)? } {
                // A pipe has no other name than the one that was given.
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
                let reader = BufReader::with_capacity(BUFFER, source);
                self.open.push(Log { path: name, reader, unfinished: Vec::new(), skipping: false });
            }
        }
        Ok(())
    }

    /// A file, or what else has a path: a pipe.
    fn source(&self, path: &Path) -> Result<Source, ObserveError> {
        let failed = |cause| ObserveError::Log { path: path.to_owned(), cause };
        let file = File::open(path).map_err(failed)?;
        let is_file = file.metadata().map_err(failed)?.is_file();
        Ok(live_or_whole(file, self.live && !is_file))
    }

    /// Reads what has been written since the last time; whether there was anything.
    pub(super) fn read_on(&mut self) -> Result<bool, ObserveError> {
        self.open_new()?;
        let before = self.story.lines.saturating_add(self.story.broken);
        for (number, log) in self.open.iter_mut().enumerate() {
            log.read_on(number, &mut self.seen, &mut self.story)
                .map_err(|cause| ObserveError::Log { path: log.path.clone(), cause })?;
        }
        Ok(self.story.lines.saturating_add(self.story.broken) != before)
    }

    /// Takes up last lines that do not end, since nothing follows any more.
    pub(super) fn finish(&mut self) {
        for (number, log) in self.open.iter_mut().enumerate() {
            log.take_line(number, &mut self.seen, &mut self.story);
        }
    }

    /// Whether nothing can follow: all were pipes, and have ended.
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
                // The end of what is there; a line that is being written is taken up when it is
                // whole.
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

    /// Takes up the line that has been read, unless it is the end of one that was too long.
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
            Some(line) => story.take(number, &line),
            None => story.count_broken(),
        }
    }
}

fn live_or_whole(source: impl Read + Send + 'static, live: bool) -> Source {
    if live { Source::Live(Pipe::new(source)) } else { Source::Whole(Box::new(source)) }
}

/// The file itself, or the logs of a folder by name.
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

    const LINE: &str = r#"{"timestamp":"2026-01-01T00:00:00.000001Z","level":"INFO","event":"synced","node":"yzw"}"#;

    /// As [`LINE`], at another moment.
    fn line_at(second: u32) -> String {
        LINE.replace(":00.000001Z", &format!(":{second:02}.000001Z"))
    }

    #[test]
    fn broken_and_endless_lines_are_counted_and_passed_over() {
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
    fn a_log_that_is_given_twice_is_read_once_and_a_copys_lines_are_told_as_repeated() {
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

        // As compose shows it, and grown since.
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
            logs.hold(
                &folder
                    .path()
                    .join("../")
                    .join(folder.path().file_name().expect("a name"))
                    .join("a.log")
            )
        );
        assert!(!logs.hold(&folder.path().join("page.html")));
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
