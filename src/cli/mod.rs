//! The command line parses the arguments, finds or starts the node, and runs the command.

mod args;
mod completions;
mod daemon;
mod find;
mod help;
mod logging;
mod man_pages;
mod minute;
mod service_manager;
mod text_log;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

use self::{
    args::{Cli, Command, Global, Observe},
    find::{FindError, Reached, reach, reach_running, until_free},
    logging::{LogDefault, LogError, LogFiles, LogFormat, LogOptions},
};
use crate::{
    commands::{
        answer::Answer,
        args::ClientCommand,
        execute::{Context, check_before_making, execute},
        outcome::{CommandError, report},
        prepare::prepare,
        progress::ProgressMode,
        proofs::{proof_to_verify, write_verdict},
    },
    console::{self, ConsoleOptions, signals::Signals},
    datadir::{DataDir, DataDirError, NodeId, NodeIdError},
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
    let cli = match Cli::try_parse_from([program].into_iter().chain(words.clone())) {
        Ok(cli) => cli,
        Err(error) => return help::answer(&error, &words, json),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return report(Err(RpcError::internal(cause).into()), json),
    };
    let code = report(runtime.block_on(dispatch(cli)), json);
    runtime.shutdown_timeout(LINGER);
    code
}

async fn dispatch(cli: Cli) -> Result<(), CommandError> {
    let Cli { global, command } = cli;
    start_logging(&global, &command)?;
    let id =
        global.node_id.as_deref().filter(|id| !id.is_empty()).map(parsed_node_id).transpose()?;
    let folder = |id: Option<&NodeId>| {
        DataDir::resolve(global.data_dir.as_deref(), id).map_err(RpcError::from)
    };
    match command {
        Command::StartNode(flags) => {
            let config = daemon::start_node_config(&flags, id.as_ref())?;
            daemon::start_node(&folder(id.as_ref())?, config, global.json).await
        }
        Command::People(flags) => {
            let config = daemon::people_config(&flags)?;
            // By default the name selects one of several nodes on one machine.
            let id = id.map_or_else(|| parsed_node_id(&flags.name), Ok)?;
            daemon::people(
                &folder(Some(&id))?,
                config,
                global.color.decide(io::stdout().is_terminal()),
            )
            .await
        }
        Command::Console => {
            let folder = folder(id.as_ref())?;
            let client = reach_running(&folder).await?;
            let color = global.color.decide(io::stdout().is_terminal());
            let options = ConsoleOptions { folder, color, first_event: 0, owns_node: false };
            console::run(client, options, &mut Signals::listen()?).await
        }
        Command::Observe(flags) => observe_logs(flags, global.json).await,
        Command::Completions { shell } => {
            let mut out = io::stdout();
            out.write_all(completions::script(shell).as_bytes())?;
            Ok(out.flush()?)
        }
        Command::Complete { words } => completions::complete(&global, &words).await,
        Command::ManPages { folder } => man_pages::write(&folder),
        Command::Client(command) => ask(&folder(id.as_ref())?, command, &global).await,
    }
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

/// Runs one command on the running node, or on the folder, which is then opened for it.
async fn ask(
    folder: &DataDir,
    command: ClientCommand,
    global: &Global,
) -> Result<(), CommandError> {
    let (json, full) = (global.json, global.full);
    check_before_making(&command)?;
    let progress = ProgressMode::of_stderr();
    let mut out = io::BufWriter::new(io::stdout());
    let reached = if command.needs_running_node() {
        Reached::Running(reach_running(folder).await?)
    } else {
        match (reach(folder, command.makes_folder()).await, &command) {
            (
                Err(FindError::Folder(DataDirError::Absent(_))),
                ClientCommand::VerifyProof { file, trust },
            ) => {
                let answer = Answer { json, out: &mut out };
                let done = verify_proof_alone(file, trust.clone(), answer).await;
                let flushed = out.flush();
                return done.and_then(|()| Ok(flushed?));
            }
            (reached, _) => reached?,
        }
    };
    let done = match reached {
        Reached::Running(client) => {
            let stops = matches!(command, ClientCommand::Stop);
            let context = Context { client, json, full, progress, owns_stdin: true };
            let done = execute(command, &context, &mut out).await;
            if stops && done.is_ok() {
                until_free(folder).await?;
            }
            done
        }
        Reached::Opened(opened) => {
            let context = Context { client: opened.client, json, full, progress, owns_stdin: true };
            let done = execute(command, &context, &mut out).await;
            drop(context);
            opened.close.await;
            done
        }
    };
    let flushed = out.flush();
    done?;
    Ok(flushed?)
}

/// Runs `verify-proof` without a data folder. A proof needs none if its block is trusted.
async fn verify_proof_alone(
    file: &Path,
    trust: Option<String>,
    mut answer: Answer<'_>,
) -> Result<(), CommandError> {
    let (proof, trust) = proof_to_verify(file, trust, true)?;
    write_verdict(&mut answer, &verify_without_chain(proof, trust).await?)
}

fn start_logging(global: &Global, command: &Command) -> Result<(), CommandError> {
    let daemon = matches!(command, Command::StartNode(_));
    // A daemon's answer is its log, so that `--json` applies to the log.
    let format = if daemon && global.json { LogFormat::Json } else { LogFormat::Text };
    let kept = match command {
        Command::StartNode(flags) => Some((&flags.node.log_dir, flags.name.as_deref())),
        Command::People(flags) => Some((&flags.node.log_dir, Some(flags.name.as_str()))),
        _ => None,
    };
    let files = kept.and_then(|(folder, name)| {
        // Several nodes may log to one folder: their ids or names keep the files apart.
        let name =
            global.node_id.as_deref().filter(|id| !id.is_empty()).or(name).unwrap_or("friendchain");
        Some(LogFiles { folder: folder.clone()?, name: name.replace(['/', '\\'], "_") })
    });
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
            let error = Cli::try_parse_from(words).expect_err("wrong usage");
            let sentence = help::usage_sentence(&error);
            assert!(sentence.len() > 30 && !sentence.contains('\n'), "{sentence}");
        }
    }
}
