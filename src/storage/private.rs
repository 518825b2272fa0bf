//! Writes files that only their owner may read, whole or not at all.
//!
//! The wallet, the identity, the RPC's token and `node.json` are written here. A write goes to a
//! temporary file beside the target, becomes durable, and then takes the target's name: a reader
//! and a crash see the old content or the new content, never a part.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Replaces the file at `path`, or creates it with mode 0600. Durable on return.
///
/// # Errors
/// The first error of the file system. The old file is then still there, whole.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path, "new");
    write_temporary(&temporary, content)?;
    finish(&temporary, fs::rename(&temporary, path))?;
    sync_folder(path)
}

/// Creates the file at `path` with mode 0600, if no file is there. Durable on return.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if another process was faster; its file stays as it is.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    // Each process has a temporary file of its own, so that two may try at once.
    let temporary = beside(path, &format!("new-{}", std::process::id()));
    write_temporary(&temporary, content)?;
    // A link, not a rename: it never replaces a file that another process has just made.
    let linked = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => claim(&temporary, path),
        linked => linked,
    };
    // Nothing is left to clean up where the temporary file itself got the name.
    let _ = fs::remove_file(&temporary);
    linked?;
    sync_folder(path)
}

/// Moves a file to a name that must be free, on a file system without hard links (exFAT).
///
/// Two processes that get here at the same moment may both succeed; the lock of the data folder
/// keeps that from happening.
fn claim(temporary: &Path, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(temporary, path)
}

fn write_temporary(temporary: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_options().write(true).create_new(true).open(temporary)?;
    finish(temporary, file.write_all(content).and_then(|()| file.sync_all()))
}

/// Removes the temporary file after a failure: it may hold a secret.
fn finish(temporary: &Path, result: io::Result<()>) -> io::Result<()> {
    if result.is_err() {
        let _ = fs::remove_file(temporary);
    }
    result
}

/// Appends an ending to a file's name: `wallet.json` becomes `wallet.json.new`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Options whose new files have mode 0600.
pub(crate) fn private_options() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only unix has modes"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes the rights of group and others away from a file. True if it had any.
///
/// # Errors
/// The file belongs to another user, or the disk is read-only.
pub(crate) fn make_private(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let wide = fs::metadata(path)?.permissions().mode() & 0o077 != 0;
        if wide {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        Ok(wide)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(false)
    }
}

/// Creates a folder that only its owner may enter, and the folders above it.
///
/// # Errors
/// The first error of the file system.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    {
        // A folder that was there before may be open to others.
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// Gives a new file to the owner of its folder, where the system allows that.
///
/// A service's chain that root repairs must stay readable for the service.
pub(crate) fn give_to_owner_of_folder(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        if let (Ok(file), Ok(folder)) = (fs::metadata(path), fs::metadata(folder_of(path)))
            && file.uid() != folder.uid()
        {
            let _ = chown(path, Some(folder.uid()), Some(folder.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Makes a new name in the folder of `path` durable, where folders can be synced.
///
/// # Errors
/// The first error of the file system.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder_of(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(unix)]
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_temporary_file_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wallet.json");
        for content in ["one", "two"] {
            write_private(&path, content.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_new_file_never_replaces_another_with_or_without_hard_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("identity");
        create_private(&path, b"first").expect("created");
        let second = create_private(&path, b"second").expect_err("it is there");
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);

        let temporary = folder.path().join("identity.new");
        fs::write(&temporary, "third").expect("written");
        let third = claim(&temporary, &path).expect_err("it is there");
        assert_eq!(third.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("read"), "first");
        let free = folder.path().join("free");
        claim(&temporary, &free).expect("moved");
        assert_eq!(fs::read_to_string(&free).expect("read"), "third");
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("deep/inside");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        create_private_folder(&folder).expect("a folder");
        assert_eq!(mode(&folder), 0o700);
        let path = folder.join("token");
        write_private(&path, b"secret").expect("written");
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("widened");
        assert!(make_private(&path).expect("narrowed"));
        assert!(!make_private(&path).expect("nothing to do"));
        assert_eq!(mode(&path), 0o600);
    }
}
