//! Creates and replaces files that only their owner may read, as a whole or not at all.
//!
//! The wallet, the identity, the RPC's token and `node.json` are written here. A write goes to a
//! temporary file beside the target, becomes durable, and then takes the target's name. A reader
//! and a crash see the old content or the new content, never a part. Databases, logs and the
//! console's history are created empty here, and opened by their libraries.
//!
//! A link stays a link: the file at its target is replaced there. A link to a missing target is an
//! error, because its disk may be missing. A replaced file keeps its owner. A new one belongs to
//! the owner of its folder, so that a command of root leaves a service's folder usable.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The error for a link whose target does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the link {path} -> {target} points to nothing: is the disk mounted?",
    path = .path.display(),
    target = .target.display()
)]
pub struct DanglingLink {
    pub(crate) path: PathBuf,
    target: PathBuf,
}

/// Returns the link at `path`, if it points to nothing.
#[must_use]
pub(crate) fn dangling_link(path: &Path) -> Option<DanglingLink> {
    let target = fs::read_link(path).ok()?;
    let is_missing = fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_missing.then(|| DanglingLink { path: path.to_owned(), target })
}

/// Returns the path at which the file at `path` is, or would be created. Follows links.
///
/// # Errors
/// A [`DanglingLink`], of the kind [`io::ErrorKind::Other`], or an error of the file system.
pub(crate) fn real_place(path: &Path) -> io::Result<PathBuf> {
    if let Some(dangling) = dangling_link(path) {
        return Err(io::Error::other(dangling));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => fs::canonicalize(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(path.to_owned()),
    }
}

/// Replaces the file at `path`, or creates it with mode 0600. Durable on return.
///
/// # Errors
/// The first error of the file system, or a [`DanglingLink`]. The old file is then still there,
/// whole.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let place = real_place(path)?;
    let temporary = beside(&place, "new");
    write_temporary(&temporary, content)?;
    finish(&temporary, take_place(&temporary, &place))
}

/// Gives a finished file the name of another, with that file's owner and mode. Durable on return.
///
/// # Errors
/// The first error of the file system. The file at `place` is then still there, whole.
pub(crate) fn take_place(finished: &Path, place: &Path) -> io::Result<()> {
    match fs::metadata(place) {
        Ok(old) => keep_owner_and_mode(finished, &old)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => give_to_owner_of_folder(finished),
        Err(error) => return Err(error),
    }
    fs::rename(finished, place)?;
    sync_folder(place)
}

/// Creates the file at `path` with mode 0600, if no file is there. Durable on return.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if another process was faster; its file stays as it is.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link to an existing file is rejected below, like any file that exists.
    real_place(path)?;
    // Each process has a temporary file of its own, so that two may try at once.
    let temporary = beside(path, &format!("new-{}", std::process::id()));
    write_temporary(&temporary, content)?;
    give_to_owner_of_folder(&temporary);
    place_new(&temporary, path)
}

/// Gives a finished file its name, which must be free. Durable on return. The finished file's old
/// name is gone, even after a failure.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if a file is there; it stays as it is.
pub(crate) fn place_new(finished: &Path, path: &Path) -> io::Result<()> {
    // A link, not a rename: it never replaces a file that another process has just made.
    let linked = match fs::hard_link(finished, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => claim(finished, path),
        linked => linked,
    };
    // If the finished file itself got the name, nothing is left to remove.
    let _ = fs::remove_file(finished);
    linked?;
    sync_folder(path)
}

/// Moves a file to a name that must be free, on a file system without hard links (exFAT).
///
/// If two processes get here at the same moment, both may succeed. The lock of the data folder
/// prevents that.
fn claim(temporary: &Path, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(temporary, path)
}

fn write_temporary(temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = unfinished_private(temporary)?;
    finish(temporary, file.write_all(content).and_then(|()| file.sync_all()))
}

/// Creates an empty file with mode 0600 for reading and writing. Replaces a file that a crash left.
///
/// # Errors
/// The first error of the file system.
pub(crate) fn unfinished_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private_options().read(true).write(true).create_new(true).open(path)
}

/// Creates an empty file with mode 0600, or makes an existing file private. Other libraries then
/// open the file.
///
/// # Errors
/// The first error of the file system, or a [`DanglingLink`].
pub(crate) fn prepare_private(path: &Path) -> io::Result<()> {
    real_place(path)?;
    match private_options().write(true).create_new(true).open(path) {
        Ok(_) => {
            give_to_owner_of_folder(path);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_private(path).map(|_| ())
        }
        Err(error) => Err(error),
    }
}

/// Copies a file to a new one with mode 0600. Its content is durable on return, but its name is
/// not.
///
/// # Errors
/// The first error of the file system.
pub(crate) fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = unfinished_private(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()?;
    give_to_owner_of_folder(to);
    Ok(())
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

/// Removes the rights of group and others from a file. Returns true if there were any.
///
/// # Errors
/// The file belongs to another user, or the disk is read-only.
pub(crate) fn make_private(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        narrow(path, 0o600)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(false)
    }
}

#[cfg(unix)]
fn narrow(path: &Path, mode: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let wide = fs::metadata(path)?.permissions().mode() & 0o077 != 0;
    if wide {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(wide)
}

/// Creates a folder that only its owner may enter, or makes an existing folder private.
///
/// # Errors
/// The first error of the file system, or a [`DanglingLink`].
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    create_folder(path)?;
    #[cfg(unix)]
    narrow(path, 0o700)?;
    Ok(())
}

/// Creates a folder with mode 0700, and the folders above it. An existing folder stays unchanged,
/// because it may be shared.
///
/// # Errors
/// The first error of the file system, or a [`DanglingLink`].
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if let Some(dangling) = path.ancestors().find_map(dangling_link) {
        return Err(io::Error::other(dangling));
    }
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let mut missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    missing.reverse();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    missing.into_iter().for_each(give_to_owner_of_folder);
    Ok(())
}

/// Gives a new file to the owner of its folder, where the system allows that.
///
/// A service's folder must stay usable for the service after root has worked on it.
pub(crate) fn give_to_owner_of_folder(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if let (Ok(file), Ok(folder)) = (fs::metadata(path), fs::metadata(folder_of(path)))
            && file.uid() != folder.uid()
        {
            let _ = std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Gives a file the owner of another file and that owner's rights. Group and others get none.
#[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "only unix has owners"))]
fn keep_owner_and_mode(path: &Path, of: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let new = fs::metadata(path)?;
        if (new.uid(), new.gid()) != (of.uid(), of.gid()) {
            let given = chown(path, Some(of.uid()), Some(of.gid()));
            // The group has no rights, so it does not matter if it cannot be changed.
            if new.uid() != of.uid() {
                given?;
            }
        }
        fs::set_permissions(path, fs::Permissions::from_mode(of.mode() & 0o700))?;
    }
    #[cfg(not(unix))]
    let _ = (path, of);
    Ok(())
}

/// Makes a new name in the folder of `path` durable, where folders can be synced.
///
/// # Errors
/// The first error of the file system.
fn sync_folder(path: &Path) -> io::Result<()> {
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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_its_file_is_replaced_at_its_own_place() {
        use std::os::unix::fs::symlink;
        let (folder, disk) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a disk"));
        let (path, place) = (folder.path().join("wallet.json"), disk.path().join("kept.json"));
        fs::write(&place, "old").expect("written");
        symlink(&place, &path).expect("a link");
        write_private(&path, b"new").expect("written");
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert_eq!(fs::read_to_string(&place).expect("read"), "new");
        for folder in [&folder, &disk] {
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_an_error_and_never_a_reason_for_a_new_file() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wallet.json");
        symlink(folder.path().join("unmounted/wallet.json"), &path).expect("a link");
        let below = path.join("deeper");
        let makers: [&dyn Fn() -> io::Result<()>; 5] = [
            &|| write_private(&path, b"new"),
            &|| create_private(&path, b"new"),
            &|| prepare_private(&path),
            &|| create_folder(&path),
            &|| create_private_folder(&below),
        ];
        for make in makers {
            let error = make().expect_err("refused");
            assert_ne!(error.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().ends_with("points to nothing: is the disk mounted?"));
        }
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_owner_and_a_new_one_gets_that_of_its_folder() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let owner = |name: &str| {
            let there = fs::metadata(path(name)).expect("there");
            (there.uid(), there.gid())
        };
        write_private(&path("wallet.json"), b"old").expect("written");
        fs::set_permissions(path("wallet.json"), fs::Permissions::from_mode(0o444)).expect("set");
        // Only root may give files away. Other users check only the mode.
        let is_root = chown(path("wallet.json"), Some(4_711), Some(4_712)).is_ok();
        let before = owner("wallet.json");
        write_private(&path("wallet.json"), b"new").expect("written");
        assert_eq!(owner("wallet.json"), before);
        let mode = fs::metadata(path("wallet.json")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "the owner's rights stay, and others have none");
        if is_root {
            chown(folder.path(), Some(4_711), Some(4_712)).expect("given away");
            write_private(&path("node.json"), b"").expect("written");
            create_private(&path("identity.key"), b"").expect("written");
            prepare_private(&path("history.txt")).expect("made");
            create_folder(&path("logs")).expect("made");
            for name in ["node.json", "identity.key", "history.txt", "logs"] {
                assert_eq!(owner(name), (4_711, 4_712), "{name}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_open_are_private_before_they_have_content() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("today.log");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        prepare_private(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "a line").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("widened");
        prepare_private(&path).expect("narrowed");
        assert_eq!(
            (mode(&path), fs::read_to_string(&path).expect("read").as_str()),
            (0o600, "a line")
        );
        // A shared folder keeps its mode.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("widened");
        create_folder(folder.path()).expect("there");
        assert_eq!(mode(folder.path()), 0o755);
    }
}
