//! The command `config`: asks the running node, or reads and writes the folder's file.

use std::io::{self, Write};

use super::{
    args::{Cli, Command, Global},
    find::{FindError, Found, find},
    plan::start_node_layers,
};
use crate::{
    commands::{
        answer::Answer,
        args::{ClientCommand, ConfigAction},
        asking::Asking,
        config::{write_change, write_settings},
        environment,
        execute::{Context, execute},
        outcome::CommandError,
        progress::ProgressMode,
    },
    datadir::{DataDir, DataDirError},
    node::settings::{Key, Layers, Value, read_settings, write_settings as write_file},
    rpc::{RpcError, types::SettingList},
};

/// Runs `config` without opening a chain.
pub(crate) async fn config(
    folder: &DataDir,
    action: ConfigAction,
    global: &Global,
) -> Result<(), CommandError> {
    let (json, full) = (global.json, global.full);
    let mut out = io::BufWriter::new(io::stdout());
    let done = match find(folder, matches!(action, ConfigAction::Set { .. })).await {
        Ok(Found::Node(client)) => {
            let progress = ProgressMode::of_stderr();
            let context = Context { client, json, full, progress, asking: Asking::Stdin };
            execute(ClientCommand::Config { action }, &context, &mut out).await
        }
        // The lock is held until the file is written.
        Ok(Found::Free(_lock)) => without_node(folder, action, Answer { json, out: &mut out }),
        Err(FindError::Folder(DataDirError::Absent(_))) => {
            without_node(folder, action, Answer { json, out: &mut out })
        }
        Err(error) => Err(error.into()),
    };
    let flushed = out.flush();
    done.and_then(|()| Ok(flushed?))
}

fn without_node(
    folder: &DataDir,
    action: ConfigAction,
    mut answer: Answer<'_>,
) -> Result<(), CommandError> {
    match action {
        ConfigAction::Show => {
            let layers = layers_of(folder)?;
            let settings = layers.views(&layers.file);
            write_settings(&mut answer, &SettingList { settings })
        }
        ConfigAction::Set { key, value } => {
            let key = Key::of(&key)?;
            let value = Value::typed(key, &value)?;
            write_file(folder, &[(key, value)])?;
            let file = read_settings(folder)?;
            let settings = Layers::of_file(file.clone()).changed(key, &file);
            write_change(&mut answer, &SettingList { settings })
        }
    }
}

/// Returns the settings of a `start-node` without flags, in this environment.
fn layers_of(folder: &DataDir) -> Result<Layers, CommandError> {
    let parsed = environment::parse::<Cli>(["friendchain", "start-node"]);
    let wrong = |error: clap::Error| {
        CommandError::Usage(RpcError::new("usage", super::help::usage_sentence(&error)))
    };
    let (cli, matches) = parsed.map_err(wrong)?;
    let (Command::StartNode(flags), Some((_, matches))) = (cli.command, matches.subcommand())
    else {
        return Err(RpcError::internal("start-node was not parsed as a command").into());
    };
    start_node_layers(folder, &flags, matches)
}
