//! Completion scripts of shells, and the command that they call for present values.
//!
//! The scripts of bash, zsh and fish call the binary, which knows friends, addresses and ids. If it
//! has no answer, they offer the words that clap knows.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use tokio::time::timeout;

use super::args::{Cli, Global};
use crate::{
    commands::{
        complete::{Wanted, candidates, wanted},
        outcome::CommandError,
    },
    datadir::{DataDir, NodeId},
    rpc::{Client, RpcError},
};

/// The longest time that a node may take to answer, since the user has pressed Tab.
const PATIENCE: Duration = Duration::from_millis(700);

/// Functions that call the binary first, and offer clap's words if it has no answer.
const BASH: &str = r#"
_friendchain_live() {
    local found
    found="$("${COMP_WORDS[0]/#\~/$HOME}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
    if [[ -n "$found" ]]; then
        mapfile -t COMPREPLY <<<"$found"
    else
        _friendchain "$@"
    fi
}
"#;

const ZSH: &str = r#"
_friendchain() {
    local -a found
    found=("${(@f)$("${words[1]/#\~/$HOME}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -a found
    else
        _friendchain_words "$@"
    fi
}

if [ "$funcstack[1]" = "_friendchain" ]; then
    _friendchain "$@"
else
    compdef _friendchain friendchain
fi
"#;

const FISH: &str = r"
function __friendchain_live
    set -l typed (commandline -opc) (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $typed[1])
    set -l found ($program complete -- $typed[2..] 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c friendchain -f -a '(__friendchain_live)'
";

/// The end of fish's line for a flag whose values clap does not know, and the end that also asks
/// the binary.
const FISH_VALUE: (&str, &str) = (" -r\n", " -r -f -a '(__friendchain_live)'\n");

/// Returns the completion script of a shell.
pub(super) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "friendchain", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => {
            let asks =
                script.replace("complete -F _friendchain ", "complete -F _friendchain_live ");
            format!("{}\n{asks}", BASH.trim_start())
        }
        Shell::Zsh => {
            let words = script.replace("_friendchain", "_friendchain_words");
            // clap's own last lines would register only its words.
            let words = words.split("\nif [ \"$funcstack[1]\"").next().unwrap_or(&words);
            format!("{words}{ZSH}")
        }
        Shell::Fish => format!("{}{FISH}", script.replace(FISH_VALUE.0, FISH_VALUE.1)),
        _ => script,
    }
}

/// Writes the completions of the last word, one a line. Errors print nothing, since somebody is
/// typing.
pub(super) async fn complete(global: &Global, words: &[String]) -> Result<(), CommandError> {
    let last = words.last().map(String::as_str).unwrap_or_default();
    let wanted = wanted(Cli::command(), words);
    let needs_node = !matches!(wanted, Wanted::Words(_) | Wanted::Anything);
    let client = if needs_node { running(global, words) } else { None };
    let asked = candidates(client.as_ref(), wanted, last);
    let found = timeout(PATIENCE, asked).await.unwrap_or_default();
    let mut out = io::stdout();
    for candidate in found {
        writeln!(out, "{candidate}")?;
    }
    Ok(())
}

/// Returns a client of the node that runs on the folder of these words.
fn running(global: &Global, words: &[String]) -> Option<Client> {
    let folder = value_of(words, "--data-dir").map(PathBuf::from).or(global.data_dir.clone());
    let id = value_of(words, "--node-id").or_else(|| global.node_id.clone());
    let id = id.filter(|id| !id.is_empty()).map(|id| id.parse::<NodeId>()).transpose().ok()?;
    let folder = resolve(folder.as_deref(), id.as_ref()).ok()?;
    let (node, token) = (folder.node_file()?, folder.token()?);
    Client::http(node.rpc, &token).ok()
}

fn resolve(folder: Option<&Path>, id: Option<&NodeId>) -> Result<DataDir, RpcError> {
    DataDir::resolve(folder, id).map_err(RpcError::from)
}

/// Returns the value of a flag among words that are still being typed.
fn value_of(words: &[String], flag: &str) -> Option<String> {
    let at = words.iter().position(|word| word.split('=').next() == Some(flag))?;
    let word = words.get(at)?;
    match word.split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        None => words.get(at.checked_add(1)?).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_ask_the_binary_and_fall_back_on_the_known_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert!(script.contains("complete -- "), "{shell}");
            assert!(script.contains("create-blockchain") && script.contains("limit"), "{shell}");
        }
        assert!(script(Shell::Bash).contains("complete -F _friendchain_live -o"));
        let fish = script(Shell::Fish);
        let from = fish.lines().find(|line| line.contains("-l from ")).expect("send --from");
        assert!(from.ends_with("-r -f -a '(__friendchain_live)'"), "{from}");
        let file = fish.lines().find(|line| line.contains("-l passphrase-file ")).expect("a file");
        assert!(file.ends_with("-r -F"), "{file}");
        let zsh = script(Shell::Zsh);
        assert!(zsh.starts_with("#compdef friendchain\n"), "{}", &zsh[..60]);
        assert_eq!(zsh.matches("funcstack").count(), 1);
    }

    #[test]
    fn flags_among_the_words_are_read() {
        let words = ["--node-id", "3000", "--data-dir=/x", "tx"].map(str::to_owned);
        assert_eq!(value_of(&words, "--node-id").as_deref(), Some("3000"));
        assert_eq!(value_of(&words, "--data-dir").as_deref(), Some("/x"));
        assert_eq!(value_of(&words, "--log"), None);
    }
}
