//! Parses command lines with environment variables. An empty variable counts as unset.

use std::ffi::OsString;

use clap::{ArgMatches, Command, CommandFactory, Error, FromArgMatches};

/// Parses a command line. Also returns the origin of each value.
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

/// Removes each flag's environment variable that is empty: tools such as compose set variables that
/// are meant to be unset.
fn without_empty(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| {
        // A text of white space only counts as empty too.
        std::env::var_os(name).is_some_and(|value| value.to_string_lossy().trim().is_empty())
    };
    command
        .mut_args(|arg| {
            if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg }
        })
        .mut_subcommands(without_empty)
}
