//! Makes the man pages from the definition of the command line, so that both agree.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;

use super::args::Cli;
use crate::{commands::outcome::CommandError, rpc::RpcError};

/// Writes `friendchain.1`, and a page for each command, into an existing folder.
pub(super) fn write(folder: &Path) -> Result<(), CommandError> {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|cause| {
        let sentence = format!(
            "the man pages cannot be written to {}: {cause}; name a folder that exists and that \
             you may write to",
            folder.display()
        );
        RpcError::new("man_pages", sentence)
    })?;
    writeln!(io::stdout(), "man pages written to {}: man friendchain", folder.display())?;
    Ok(())
}
