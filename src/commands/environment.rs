//! Command lines are parsed with the environment, in which an empty variable is none.

use std::ffi::OsString;

use clap::{ArgMatches, Command, CommandFactory, Error, FromArgMatches};

/// Parses a command line. Also returns where each value comes from.
///
/// # Errors
/// As [`clap::Parser::try_parse_from`].
pub(crate) fn parse<T: CommandFactory + FromArgMatches>(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<(T, ArgMatches), Error> {
    let mut command = without_empty(T::command());
    let matches = command.try_get_matches_from_mut(words)?;
    let parsed = T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((parsed, matches))
}

/// Takes the environment away from each flag whose variable is empty: tools such as compose set
/// variables that are meant to be none.
fn without_empty(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| {
        // Text of any script with only spaces counts as empty as well.
        std::env::var_os(name).is_some_and(|value| value.to_string_lossy().trim().is_empty())
    };
    command
        .mut_args(|arg| {
            if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg }
        })
        .mut_subcommands(without_empty)
}
