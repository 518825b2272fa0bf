//! Proof files: written exactly as `prove` made them, and read with a size limit.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{consensus::MAX_PROOF_CHARS, rpc::RpcError};

/// The largest proof file, in bytes: the longest proof and a line end of two bytes.
const MAX_FILE_BYTES: usize = MAX_PROOF_CHARS + 2;

/// Writes a proof without a line end, so that the file is exactly the proof.
pub(super) fn write(path: &Path, proof: &str) -> Result<(), RpcError> {
    std::fs::write(path, proof).map_err(|cause| {
        RpcError::new(
            "proof_not_written",
            format!("the proof cannot be written to {}: {cause}", path.display()),
        )
    })
}

/// Reads a file that should contain a proof. `-` is standard input, if the command owns it.
pub(super) fn read(path: &Path, owns_stdin: bool) -> Result<String, RpcError> {
    let shown = path.display();
    if path.as_os_str() == "-" {
        if !owns_stdin {
            let sentence = "the console itself reads standard input: give verify-proof a file";
            return Err(RpcError::new("stdin_in_use", sentence));
        }
        return bounded(io::stdin().lock(), "standard input");
    }
    let refused = |cause: io::Error| {
        let sentence =
            format!("the proof {shown} cannot be read: {cause}; give the file that prove -o wrote");
        RpcError::new("proof_not_read", sentence)
    };
    let file = File::open(path).map_err(refused)?;
    if file.metadata().map_err(refused)?.is_dir() {
        let sentence =
            format!("{shown} is a folder: give verify-proof the file in it that prove wrote");
        return Err(RpcError::new("proof_is_folder", sentence));
    }
    bounded(file, &shown.to_string())
}

/// Reads a source, and fails if it is longer than any proof.
fn bounded(source: impl Read, name: &str) -> Result<String, RpcError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_end(&mut bytes).map_err(|cause| {
        RpcError::new("proof_not_read", format!("the proof in {name} cannot be read: {cause}"))
    })?;
    if bytes.len() > MAX_FILE_BYTES {
        let sentence = format!(
            "{name} is no proof: it has more than {MAX_FILE_BYTES} bytes, the most that one has"
        );
        return Err(RpcError::new("proof_too_long", sentence));
    }
    // Invalid UTF-8 becomes U+FFFD, which no proof contains.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_was_written_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tea.proof");
        write(&path, "friendchain-proof:AQ").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"friendchain-proof:AQ");
        assert_eq!(read(&path, false).as_deref(), Ok("friendchain-proof:AQ"));
    }

    #[test]
    fn whatever_else_is_there_gets_a_sentence_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let code = |path: &Path| read(path, false).expect_err("no proof").code;
        assert_eq!(code(folder.path()), "proof_is_folder");
        assert_eq!(code(&folder.path().join("nothing")), "proof_not_read");
        assert_eq!(code(Path::new("-")), "stdin_in_use");
        let huge = folder.path().join("huge");
        std::fs::write(&huge, vec![b'A'; MAX_FILE_BYTES + 1]).expect("written");
        assert_eq!(code(&huge), "proof_too_long");
        assert!(bounded(io::repeat(b'A'), "a pipe without end").is_err());
        assert_eq!(bounded(&[0xff, b'x'][..], "bytes").as_deref(), Ok("\u{fffd}x"));
    }
}
