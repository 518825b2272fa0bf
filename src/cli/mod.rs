//! `cli` parses the command line, finds or starts the node, and runs the command.

mod args;
mod completions;
mod daemon;
mod find;
mod folders;
mod help;
mod joining;
mod logging;
mod man_pages;
mod minute;
mod plan;
mod questions;
mod restoring;
mod service_manager;
mod settings;
mod text_log;
mod threads;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::ArgMatches;

use self::{
    args::{Cli, Command, Global, Observe},
    find::{Reached, reach, reach_running, until_free},
    folders::{Use, folder_of},
    joining::{Next, ask_first, join_at_terminal},
    logging::{LogDefault, LogError, LogFiles, LogFormat, LogOptions},
    questions::at_terminal,
    restoring::restore,
};
use crate::{
    commands::{
        answer::Answer,
        args::ClientCommand,
        asking::Asking,
        environment,
        execute::{Context, check_before_making, execute},
        outcome::{
            CommandError::{self, Usage},
            report,
        },
        prepare::prepare,
        progress::ProgressMode,
        proofs::{proof_to_verify, write_verdict},
    },
    console::{self, ConsoleOptions, Keyboard, signals::Signals},
    datadir::{DataDir, NodeId, NodeIdError},
    node::verify_without_chain,
    observe::{self, ObserveError},
    primitives::trimmed,
    rpc::RpcError,
};

/// The time to wait at the end for tasks that still run, such as a blocked read of stdin.
const LINGER: Duration = Duration::from_millis(200);

/// Runs one command line and returns its exit code: 0 done, 1 refused or failed, 2 wrong usage.
///
/// The first argument is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_else(|| "friendchain".into());
    let words = prepare(arguments.collect());
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let parsed = environment::parse::<Cli>([program].into_iter().chain(words.clone()));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return help::answer(&error, &words, json),
    };
    let starts_node = matches!(
        cli.command,
        Command::StartNode(_) | Command::People(_) | Command::Client(ClientCommand::Join { .. })
    );
    let runtime = match runtime(starts_node) {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into()), json),
    };
    let code = report(runtime.block_on(dispatch(cli, matches)), json);
    runtime.shutdown_timeout(LINGER);
    code
}

fn runtime(starts_node: bool) -> Result<tokio::runtime::Runtime, RpcError> {
    threads::check_for_runtime(starts_node)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads::workers(starts_node)).enable_all().build();
    runtime.map_err(RpcError::no_threads)
}

async fn dispatch(cli: Cli, matches: ArgMatches) -> Result<(), CommandError> {
    let Cli { global, command } = cli;
    let id =
        global.node_id.as_deref().filter(|id| !id.is_empty()).map(parsed_node_id).transpose()?;
    let matches = matches.subcommand().map(|(_, matches)| matches.clone()).unwrap_or_default();
    let wanted = match &command {
        Command::Console => Use::Running,
        Command::Client(command) if command.needs_running_node() => Use::Running,
        _ => Use::Any,
    };
    let folder = || folder_of(global.data_dir.as_deref(), id.as_ref(), wanted);
    let color = global.color.decide(io::stdout().is_terminal());
    match command {
        Command::StartNode(flags) => {
            let plan = plan::plan_start_node(&global, id.as_ref(), &flags, &matches);
            start_logging_of(&global, true, flags.name.as_deref(), plan.as_ref().ok())?;
            daemon::start_node(plan?, global.json).await
        }
        Command::People(flags) => {
            let plan = plan::plan_people(&global, id, &flags, &matches);
            let name = flags.place().ok().map(|(_, name)| name);
            start_logging_of(&global, false, name, plan.as_ref().ok())?;
            let mut plan = plan?;
            if ask_first(&mut plan, &flags.words).await? {
                daemon::people(plan, color).await
            } else {
                Ok(())
            }
        }
        Command::Console => {
            start_logging(&global, false, None)?;
            open_console(folder()?, color).await
        }
        Command::Observe(flags) => {
            start_logging(&global, false, None)?;
            observe_logs(flags, global.json).await
        }
        Command::Completions { shell } => {
            let mut out = io::stdout();
            out.write_all(completions::script(shell).as_bytes())?;
            Ok(out.flush()?)
        }
        Command::Complete { words } => completions::complete(&global, &words).await,
        Command::ManPages { folder } => man_pages::write(&folder),
        Command::Client(ClientCommand::Join { invite }) if at_terminal() && !global.json => {
            start_logging(&global, false, None)?;
            join_and_talk(&global, id.as_ref(), invite.join(" "), color).await
        }
        Command::Client(ClientCommand::Restore { file }) => {
            start_logging(&global, false, None)?;
            restore(&folder()?, file, global.json).await
        }
        Command::Client(ClientCommand::Config { action }) => {
            start_logging(&global, false, None)?;
            settings::config(&folder()?, action, &global).await
        }
        Command::Client(command) => {
            start_logging(&global, false, None)?;
            check_before_making(&command)?;
            ask(folder().map_err(CommandError::from), command, &global).await
        }
    }
}

/// Opens a console on the node that runs on the folder.
async fn open_console(folder: DataDir, color: bool) -> Result<(), CommandError> {
    let client = reach_running(&folder).await?;
    let options = ConsoleOptions { folder, color, first_event: 0, owns_node: false };
    let keyboard = &mut Keyboard::default();
    console::run(client, options, &mut Signals::listen()?, keyboard).await.map(drop)
}

/// Runs `join` on a terminal, and then the console if the user wants it.
async fn join_and_talk(
    global: &Global,
    id: Option<&NodeId>,
    invite: String,
    color: bool,
) -> Result<(), CommandError> {
    let (folder, name) = match join_at_terminal(global.data_dir.as_deref(), id, invite).await? {
        Next::Nothing => return Ok(()),
        Next::Console { folder } => return open_console(folder, color).await,
        Next::People { folder, name } => (folder, name),
    };
    // Parsed like a typed command, with the settings of the environment.
    let parsed = environment::parse::<Cli>(["friendchain", "people", "--", &name]);
    let (cli, matches) =
        parsed.map_err(|error| Usage(RpcError::new("usage", help::usage_sentence(&error))))?;
    let Command::People(flags) = cli.command else { return Ok(()) };
    let matches = matches.subcommand().map(|(_, matches)| matches.clone()).unwrap_or_default();
    let id = folder.path().file_name().and_then(|id| id.to_str()).map(parsed_node_id);
    let plan = plan::plan_people(global, id.transpose()?, &flags, &matches)?;
    daemon::people(plan, color).await
}

/// Runs `observe`, which needs no node.
async fn observe_logs(flags: Observe, json: bool) -> Result<(), CommandError> {
    let Observe { logs, html, follow, limit } = flags;
    let options = observe::Options { logs, limit, json, html };
    let done = if follow {
        let mut signals = Signals::listen()?;
        observe::follow(&options, async {
            let _ = signals.next().await;
        })
        .await
    } else {
        let reading = tokio::task::spawn_blocking(move || {
            let mut out = io::BufWriter::new(io::stdout());
            observe::observe(&options, &mut out).and_then(|()| Ok(out.flush()?))
        });
        reading.await.map_err(RpcError::internal)?
    };
    done.map_err(|error| match error {
        ObserveError::Output(cause) => cause.into(),
        other => RpcError::new("observe", other.to_string()).into(),
    })
}

/// Runs one command on the running node, or opens the folder for it.
async fn ask(
    folder: Result<DataDir, CommandError>,
    command: ClientCommand,
    global: &Global,
) -> Result<(), CommandError> {
    let mut out = io::BufWriter::new(io::stdout());
    let done = run(folder, command, global, &mut out).await;
    let flushed = out.flush();
    done?;
    Ok(flushed?)
}

async fn run(
    folder: Result<DataDir, CommandError>,
    command: ClientCommand,
    global: &Global,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let (json, full) = (global.json, global.full);
    if let ClientCommand::VerifyProof { file, trust } = &command
        && !folder.as_ref().is_ok_and(|folder| folder.path().exists())
    {
        // A proof needs no data folder if its block is trusted.
        let (proof, trust) = proof_to_verify(file, trust.clone(), true)?;
        let report = verify_without_chain(proof, trust).await?;
        return write_verdict(&mut Answer { json, out }, &report);
    }
    let folder = &folder?;
    let reached = if command.needs_running_node() {
        Reached::Running(reach_running(folder).await?)
    } else {
        reach(folder, command.makes_folder()).await?
    };
    let (progress, asking) = (ProgressMode::of_stderr(), Asking::Stdin);
    match reached {
        Reached::Running(client) => {
            let stops = matches!(command, ClientCommand::Stop);
            let context = Context { client, json, full, progress, asking };
            let done = execute(command, &context, out).await;
            if stops && done.is_ok() {
                until_free(folder).await?;
            }
            done
        }
        Reached::Opened(opened) => {
            let context = Context { client: opened.client, json, full, progress, asking };
            let done = execute(command, &context, out).await;
            drop(context);
            opened.close.await;
            done
        }
    }
}

/// Starts the log of a node, with the files that its plan names.
fn start_logging_of(
    global: &Global,
    daemon: bool,
    name: Option<&str>,
    plan: Option<&plan::Plan>,
) -> Result<(), CommandError> {
    let files = plan.and_then(|plan| {
        // Several nodes may log to one folder. Their ids or names keep the files apart.
        let name = global
            .node_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .or(name)
            .or(plan.config.name.as_deref())
            .unwrap_or("friendchain");
        Some(LogFiles { folder: plan.log_dir.clone()?, name: name.replace(['/', '\\'], "_") })
    });
    start_logging(global, daemon, files)
}

fn start_logging(
    global: &Global,
    daemon: bool,
    files: Option<LogFiles>,
) -> Result<(), CommandError> {
    // A daemon's answer is its log, so `--json` applies to the log.
    let format = if daemon && global.json { LogFormat::Json } else { LogFormat::Text };
    logging::init(&LogOptions {
        format: global.log_format.unwrap_or(format),
        filter: global.log.clone(),
        color: global.color,
        default: if daemon { LogDefault::Daemon } else { LogDefault::Command },
        files,
    })
    .map_err(|error| match error {
        LogError::Filter { .. } | LogError::Level(_) => {
            CommandError::Usage(RpcError::new("bad_log_filter", error.to_string()))
        }
        LogError::Folder { .. } => {
            CommandError::Failed(RpcError::new("log_dir", error.to_string()))
        }
    })
}

fn parsed_node_id(text: &str) -> Result<NodeId, CommandError> {
    let unreadable =
        |error: NodeIdError| CommandError::Usage(RpcError::new("bad_node_id", error.to_string()));
    trimmed(text).parse().map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_one_sentence_in_json() {
        for line in
            ["", "no-such-command", "send --from a", "mine three", "start-node --mine sometimes"]
        {
            let words = ["friendchain"].into_iter().chain(line.split_whitespace());
            let error = environment::parse::<Cli>(words).expect_err("wrong usage");
            let sentence = help::usage_sentence(&error);
            assert!(sentence.len() > 30 && !sentence.contains('\n'), "{sentence}");
        }
    }
}
