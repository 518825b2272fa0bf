//! Runs nodes as processes: starts them, reads their output, types commands, kills them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{DEADLINE, Folder, eventually, ports::free_port};

/// All events, and other lines from info. `block_received` and `trade_refused` are at debug.
const LOG_FILTER: &str = "info,friendchain::event=debug";

/// The lines of a log or an output that a failed test prints.
const TAIL: usize = 60;

/// The lines of a pipe, read on a thread.
#[derive(Default)]
struct Tape {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
    /// True once the pipe is closed.
    ended: AtomicBool,
}

impl Tape {
    fn record(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let tape = Arc::new(Self::default());
        let recorder = Arc::clone(&tape);
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                recorder.lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                recorder.grown.notify_all();
                line.clear();
            }
            let _lines = recorder.lines.lock().unwrap_or_else(PoisonError::into_inner);
            recorder.ended.store(true, Ordering::Relaxed);
            recorder.grown.notify_all();
        });
        tape
    }

    /// Returns the first result of `find` on a line from `start` on. Waits for lines until the
    /// deadline or the end of the pipe.
    fn find<T>(
        &self,
        start: usize,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + deadline;
        let mut next = start;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = lines.iter().skip(next).find_map(|line| find(line)) {
                return Some(found);
            }
            next = lines.len().max(start);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ended.load(Ordering::Relaxed) {
                return None;
            }
            lines = self.grown.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the lines from `start` on, joined, satisfy the claim, or until the deadline.
    fn await_text(&self, start: usize, deadline: Duration, claim: impl Fn(&str) -> bool) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let unmet =
            |lines: &mut Vec<String>| !claim(&lines.get(start..).unwrap_or_default().join("\n"));
        drop(self.grown.wait_timeout_while(lines, deadline, unmet));
    }

    fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn from(&self, start: usize) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .skip(start)
            .cloned()
            .collect()
    }

    fn tail(&self) -> String {
        let lines = self.from(0);
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// Parses a line of the JSON log as an event, with all its fields.
fn event_of(line: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_str(line).ok()?;
    let fields = if document["fields"].is_object() { document["fields"].take() } else { document };
    fields["event"].is_string().then_some(fields)
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    pub(crate) folder: Folder,
    /// The listen address if the test chose it; else empty.
    pub(crate) address: String,
    child: Child,
    stdin: Option<ChildStdin>,
    log: Arc<Tape>,
    output: Arc<Tape>,
}

impl Folder {
    /// Starts a daemon on a free loopback port, without mDNS, and waits until it is up.
    #[track_caller]
    pub(crate) fn start(&self, args: &[&str]) -> Node {
        self.start_at(free_port(), args)
    }

    /// Starts a daemon like [`Folder::start`], with peers to connect to.
    #[track_caller]
    pub(crate) fn start_with_peers(&self, peers: &[&Node]) -> Node {
        let args: Vec<&str> = peers.iter().flat_map(|peer| ["--peer", &peer.address]).collect();
        self.start(&args)
    }

    /// Starts a daemon like [`Folder::start`], on a given port.
    #[track_caller]
    pub(crate) fn start_at(&self, port: u16, args: &[&str]) -> Node {
        let node = self.spawn_listening_at(port, args);
        node.await_event("node_started", |_| true);
        node.await_event("listening", |_| true);
        node
    }

    /// Starts a daemon like [`Folder::start`], with another log filter.
    #[track_caller]
    pub(crate) fn start_logging(&self, filter: &str, args: &[&str]) -> Node {
        let address = format!("/ip4/127.0.0.1/tcp/{}", free_port());
        let fixed = ["start-node", "--no-mdns", "--listen", &address];
        let mut node = self.spawn_logging(filter, &[&fixed, args].concat());
        node.address = address;
        node.await_event("listening", |_| true);
        node
    }

    /// Starts a daemon like [`Folder::start`], without waiting until it is up.
    #[track_caller]
    pub(crate) fn spawn_listening(&self, args: &[&str]) -> Node {
        self.spawn_listening_at(free_port(), args)
    }

    #[track_caller]
    fn spawn_listening_at(&self, port: u16, args: &[&str]) -> Node {
        let address = format!("/ip4/127.0.0.1/tcp/{port}");
        let fixed = ["start-node", "--no-mdns", "--listen", &address];
        let mut node = self.spawn(&[&fixed, args].concat());
        node.address = address;
        node
    }

    /// Spawns a command that runs until it is stopped, with JSON logs and with all its pipes open.
    #[track_caller]
    pub(crate) fn spawn(&self, args: &[&str]) -> Node {
        self.spawn_logging(LOG_FILTER, args)
    }

    #[track_caller]
    fn spawn_logging(&self, filter: &str, args: &[&str]) -> Node {
        let mut command = self.command(["--log-format", "json", "--log", filter]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        Node {
            folder: self.clone(),
            address: String::new(),
            stdin: child.stdin.take(),
            log: Tape::record(child.stderr.take().expect("piped")),
            output: Tape::record(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// Starts the chat room's form, `people IP PORT NAME`, with the folder's id as name, and waits
    /// until it is up. With `--no-mdns` it does not dial the chat room's meeting place either: it
    /// would meet the nodes of other tests there.
    #[track_caller]
    pub(crate) fn people(&self, ip: &str, port: u16, args: &[&str]) -> Node {
        let port = port.to_string();
        let nobody = format!("127.0.0.1:{}", free_port());
        let alone = args.contains(&"--no-mdns") && !args.contains(&"--peer");
        let apart: &[&str] = if alone { &["--peer", &nobody] } else { &[] };
        let fixed = ["people", ip, &port, &self.id];
        let mut node = self.spawn(&[&fixed, args, apart].concat());
        node.address = format!("/ip4/{ip}/tcp/{port}");
        node.await_event("node_started", |_| true);
        node
    }
}

impl Node {
    /// Returns the number of log lines, as a mark to search from later.
    pub(crate) fn log_mark(&self) -> usize {
        self.log.len()
    }

    /// Waits for the first event with this name whose fields satisfy the claim, since the start.
    #[track_caller]
    pub(crate) fn await_event(&self, name: &str, claim: impl Fn(&Value) -> bool) -> Value {
        self.await_event_since(0, name, claim)
    }

    /// Waits for an event like [`Node::await_event`], after a mark in the log.
    #[track_caller]
    pub(crate) fn await_event_since(
        &self,
        mark: usize,
        name: &str,
        claim: impl Fn(&Value) -> bool,
    ) -> Value {
        let find =
            |line: &str| event_of(line).filter(|event| event["event"] == name && claim(event));
        self.log.find(mark, DEADLINE, find).unwrap_or_else(|| {
            panic!(
                "{}: no event {name} as expected, by its end or within {DEADLINE:?}",
                self.folder.id
            )
        })
    }

    /// Returns the whole standard error, log included.
    pub(crate) fn said(&self) -> String {
        self.log.from(0).join("\n")
    }

    /// Returns every event after the mark that satisfies the claim.
    pub(crate) fn events_since(&self, mark: usize, claim: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.log
            .from(mark)
            .iter()
            .filter_map(|line| event_of(line))
            .filter(|event| claim(event))
            .collect()
    }

    /// Returns the number of output lines, as a mark to search from later.
    pub(crate) fn output_mark(&self) -> usize {
        self.output.len()
    }

    /// Returns the output after a mark.
    pub(crate) fn printed_since(&self, mark: usize) -> String {
        self.output.from(mark).join("\n")
    }

    /// Waits until a line that contains the text is printed.
    #[track_caller]
    pub(crate) fn await_printed(&self, mark: usize, text: &str) -> String {
        self.output
            .find(mark, DEADLINE, |line| line.contains(text).then(|| line.to_owned()))
            .unwrap_or_else(|| {
                panic!("{}: {text:?} was not printed within {DEADLINE:?}", self.folder.id)
            })
    }

    /// Types a line into the console.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the console reads");
    }

    /// Types a command until its answer contains all the texts.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str, texts: &[&str]) -> String {
        let id = self.folder.id.clone();
        let what = format!("{id}: {command:?} answers {texts:?}");
        eventually(&what, || {
            let mark = self.output_mark();
            self.say(command);
            let holds = |answer: &str| texts.iter().all(|text| answer.contains(text));
            // Most answers come at once. Repeat the command if the answer lacks a text.
            self.output.await_text(mark, Duration::from_secs(2), holds);
            let answer = self.printed_since(mark);
            if holds(&answer) { Ok(answer) } else { Err(answer) }
        })
    }

    /// Closes standard input, as Ctrl-D does.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Kills the process, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ends");
    }

    /// Sends SIGINT, as Ctrl-C does, or SIGTERM, as a service manager does.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.pid());
        let status = std::process::Command::new("sh").args(["-c", &command]).status().expect("sh");
        assert!(status.success(), "{command}");
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        eventually("the process ends", || match self.child.try_wait().expect("a child") {
            Some(status) => Ok(status),
            None => Err("it runs".to_owned()),
        })
    }

    /// Stops the node with SIGTERM, and checks that it ends cleanly.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.await_end();
        assert!(status.success(), "{}: {status}", self.folder.id);
        self.await_event("node_stopped", |_| true);
    }

    /// Returns `status --json` of the running node.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.folder.json(["status"])
    }

    /// True if the process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (id, address) = (&self.folder.id, &self.address);
            eprintln!("==== {id} {address}: the end of its log\n{}", self.log.tail());
            eprintln!("==== {id}: the end of its output\n{}", self.output.tail());
        }
    }
}
