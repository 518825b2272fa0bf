//! Real terminals, through tmux.

use std::thread;

use super::{
    eventually,
    folder::{Folder, binary},
    holds,
    tools::{shell, shell_ok},
};

/// A terminal of its own that runs one program; closed when dropped.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs the binary with a folder's environment on a terminal of 120 columns and 40 rows.
    #[track_caller]
    pub(crate) fn open(folder: &Folder, name: &str, args: &[&str]) -> Self {
        Self::of_size(folder, name, args, (120, 40), "xterm-256color")
    }

    /// Runs the binary on a terminal of a size, in columns and rows, and of a type.
    #[track_caller]
    pub(crate) fn of_size(
        folder: &Folder,
        name: &str,
        args: &[&str],
        (columns, rows): (u16, u16),
        term: &str,
    ) -> Self {
        let environment = environment(folder, term);
        let quoted: Vec<_> = args.iter().map(|arg| format!("'{arg}'")).collect();
        // `cat` keeps the screen after the program's end.
        let command = format!(
            "{environment} '{}' {}; code=\\$?; echo; echo ended: \\$code; cat",
            binary(),
            quoted.join(" ")
        );
        Self::running(name, &command, (columns, rows))
    }

    /// Runs a shell with job control, which edits no lines and shows the prompt `$ `. Its variable
    /// `friendchain` is the binary.
    #[track_caller]
    pub(crate) fn shell(folder: &Folder, name: &str, size: (u16, u16), term: &str) -> Self {
        let environment = environment(folder, term);
        let command = format!("{environment} ENV= PS1='\\$ ' friendchain='{}' sh -i", binary());
        let terminal = Self::running(name, &command, size);
        terminal.await_screen("the shell", |screen| screen == "$");
        terminal
    }

    #[track_caller]
    fn running(name: &str, command: &str, (columns, rows): (u16, u16)) -> Self {
        let socket = format!("friendchain-{}-{name}", std::process::id());
        shell(&format!(
            "tmux -L '{socket}' -f /dev/null new-session -d -x {columns} -y {rows} \"{command}\""
        ));
        Self { socket }
    }

    /// Types keys by their tmux names. Other text is typed literally.
    #[track_caller]
    pub(crate) fn keys(&self, keys: &str) {
        shell(&format!("tmux -L '{}' send-keys {keys}", self.socket));
    }

    #[track_caller]
    pub(crate) fn type_text(&self, text: &str) {
        self.keys(&format!("-l '{text}'"));
    }

    /// Types a line and presses Enter.
    #[track_caller]
    pub(crate) fn say(&self, line: &str) {
        self.type_text(line);
        self.keys("Enter");
    }

    /// Runs another command of tmux on this terminal.
    #[track_caller]
    pub(crate) fn tmux(&self, command: &str) -> String {
        shell(&format!("tmux -L '{}' {command}", self.socket))
    }

    /// Returns the content of the screen, with the lines that scrolled away.
    #[track_caller]
    pub(crate) fn screen(&self) -> String {
        shell(&format!("tmux -L '{}' capture-pane -p -S -200", self.socket)).trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn await_screen(&self, what: &str, claim: impl Fn(&str) -> bool) -> String {
        eventually(what, || {
            let screen = self.screen();
            holds(claim(&screen), &screen)?;
            Ok(screen)
        })
    }
}

/// Returns the variables of the folder, for a shell.
fn environment(folder: &Folder, term: &str) -> String {
    let data = folder.path().parent().expect("a parent").display().to_string();
    format!("FRIENDCHAIN_DATA_DIR='{data}' NODE_ID='{}' TERM={term} TZ=UTC", folder.id)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("==== the terminal {}\n{}", self.socket, self.screen());
        }
        shell_ok(&format!("tmux -L '{}' kill-server", self.socket));
    }
}
