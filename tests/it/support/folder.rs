//! Makes data folders and runs commands on them.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, tools::Clock};

/// Returns the program under test: the one that cargo built, or that of `FRIENDCHAIN_TEST_BINARY`.
pub(crate) fn binary() -> String {
    let built = env!("CARGO_BIN_EXE_friendchain");
    std::env::var("FRIENDCHAIN_TEST_BINARY").unwrap_or_else(|_| built.to_owned())
}

/// The data folders of one test, all in one temporary directory like under one `--data-dir`.
pub(crate) struct TestNet {
    root: Arc<TempDir>,
}

impl TestNet {
    pub(crate) fn new() -> Self {
        Self {
            root: Arc::new(TempDir::with_prefix("friendchain-").expect("a temporary directory")),
        }
    }

    /// Returns the folder of the node with `NODE_ID=id`. The first command that needs it creates
    /// it.
    pub(crate) fn folder(&self, id: &str) -> Folder {
        Folder {
            root: Arc::clone(&self.root),
            id: id.to_owned(),
            is_named: true,
            namespace: None,
            clock: None,
        }
    }

    /// Writes a file beside the folders and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.root.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

/// One node's data folder and the environment of its commands.
#[derive(Clone)]
pub(crate) struct Folder {
    root: Arc<TempDir>,
    /// The value of `NODE_ID`.
    pub(crate) id: String,
    /// True if commands get the id in their environment.
    is_named: bool,
    namespace: Option<String>,
    clock: Option<Clock>,
}

impl Folder {
    /// Leaves the choice of the folder to the program: commands get no id.
    pub(crate) fn without_id(mut self) -> Self {
        self.is_named = false;
        self
    }

    /// Moves the folder's processes to a network namespace.
    pub(crate) fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Gives the folder's processes a wall clock of their own.
    pub(crate) fn with_clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join(&self.id)
    }

    /// Returns a command of the binary with this folder's environment and without the user's.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(binary()),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg(binary());
                command
            }
        };
        // The user's own settings must not influence a test.
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| name.starts_with("FRIENDCHAIN_"));
            if ours || ["NODE_ID", "RUST_LOG", "NO_COLOR"].iter().any(|other| name == *other) {
                command.env_remove(name);
            }
        }
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        command.stdin(Stdio::null());
        command.env("FRIENDCHAIN_DATA_DIR", self.root.path()).args(args);
        if self.is_named {
            command.env("NODE_ID", &self.id);
        }
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Answer {
        run(self.command(args))
    }

    /// Runs a command that must succeed, and returns its `--json` output.
    #[track_caller]
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let mut command = self.command(["--json"]);
        command.args(args);
        run(command).done().json()
    }

    /// Runs a command with a text on its standard input.
    #[track_caller]
    pub(crate) fn run_reading<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Answer {
        let mut command = self.command(args);
        // The command reads a file at its own pace, which a pipe would not allow.
        let path = self.root.path().join("input");
        fs::write(&path, input).expect("a file");
        command.stdin(fs::File::open(path).expect("it is there"));
        run(command)
    }

    /// Runs a command like [`Folder::json`], but returns a failure as an error, for `eventually`.
    #[track_caller]
    pub(crate) fn try_json<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Value, String> {
        let mut command = self.command(["--json"]);
        command.args(args);
        let answer = run(command);
        if answer.code == Some(0) { Ok(answer.json()) } else { Err(format!("{answer:?}")) }
    }

    /// Runs a command that must fail with exit code 1, for a person and with `--json`. Checks that
    /// both give the same sentence, and returns its code and text.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> (String, String) {
        let spoken = self.run(args);
        assert_eq!(spoken.code, Some(1), "{spoken:?}");
        assert_eq!(spoken.stdout, "", "a failure answers nothing on stdout: {spoken:?}");
        let mut command = self.command(["--json"]);
        command.args(args);
        let written = run(command);
        assert_eq!(written.code, Some(1), "{written:?}");
        let (code, message) = written.error();
        let said: Vec<_> = spoken.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        let sentence = said.last().copied().unwrap_or_default();
        assert!(sentence.contains(&message), "with --json: {message:?}; without: {sentence:?}");
        (code, message)
    }
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub(crate) struct Answer {
    args: Vec<String>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Checks that the command succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "friendchain {}: {self:?}", self.args.join(" "));
        self
    }

    /// Parses the output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON document ({error}): {self:?}"))
    }

    /// Returns the code and message of a failure with `--json`, and checks the form of both.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String) {
        let document = self.json();
        let text = |field: &str| document["error"][field].as_str().map(str::to_owned);
        let (Some(code), Some(message)) = (text("code"), text("message")) else {
            panic!("no error with code and message: {self:?}");
        };
        assert!(
            code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "code {code:?}"
        );
        assert!(message.len() > 15 && !message.contains('\n'), "not one sentence: {message:?}");
        for debris in ["panicked", "Error(", "Error {", "Some(", "Os {", "::"] {
            assert!(!message.contains(debris), "not for people: {message:?}");
        }
        (code, message)
    }
}

/// Reads a pipe to its end on a thread, so that the child never blocks.
fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Output before a read error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a command to its end, or fails after the deadline.
#[track_caller]
fn run(mut command: Command) -> Answer {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let out = read_all(child.stdout.take().expect("piped"));
    let err = read_all(child.stderr.take().expect("piped"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > DEADLINE * 3 {
            let _ = child.kill();
            let _ = child.wait();
            panic!("friendchain {args:?} did not end; stderr: {}", err.join().expect("a reader"));
        }
        thread::sleep(Duration::from_millis(5));
    };
    Answer {
        args,
        code: status.code(),
        stdout: out.join().expect("a reader"),
        stderr: err.join().expect("a reader"),
    }
}
