//! Files and folders, so that they outlive a power cut.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

/// No key's segment begins with a dot.
const HIDDEN: &str = ".pgtend-upload-";

pub struct Found {
    pub path: PathBuf,
    pub meta: Metadata,
}

pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(HIDDEN.as_bytes()))
}

/// The file that will be `place`, under another name, with the folders that it needs.
///
/// # Errors
/// One of them cannot be made.
pub fn make_hidden(place: &Path) -> Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let folder = place.parent().context("an object has a folder")?;
    let mut vanished = 0;
    loop {
        make_folder(folder)?;
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let hidden = folder.join(format!("{HIDDEN}{}-{n}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden) {
            Ok(file) => return Ok((hidden, file)),
            // Another process had our number before, or has it on another machine.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Somebody who deleted the last object of the folder took it along.
            Err(error) if error.kind() == ErrorKind::NotFound && vanished < 100 => vanished += 1,
            Err(error) => return Err(error).with_context(|| format!("make a file in {}", folder.display())),
        }
    }
}

fn make_folder(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new(""));
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("make the directory {}", folder.display()))
        }
        _ => sync_folder(folder),
    }
}

/// Brings to the disk that `path` is in its folder, or is not.
///
/// # Errors
/// The disk's.
pub fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = || File::open(folder)?.sync_all();
    sync().with_context(|| format!("bring the directory {} to the disk", folder.display()))
}

/// # Errors
/// Between `root` and `place` there is a symbolic link: what is behind it would be written, and never listed.
pub fn no_links(root: &Path, place: &Path) -> Result<()> {
    for path in place.ancestors().take_while(|path| *path != root) {
        if look(path)?.is_some_and(|meta| meta.is_symlink()) {
            bail!("{} is a symbolic link, and in a store none is followed", path.display());
        }
    }
    Ok(())
}

/// What is at a path; nothing where there is nothing.
///
/// # Errors
/// It cannot be looked at.
pub fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
    }
}

/// All files at or below `place`. What vanishes meanwhile was not there.
///
/// # Errors
/// A directory cannot be read.
pub fn walk(root: &Path, place: &Path) -> Result<Vec<Found>> {
    no_links(root, place)?;
    let mut files = Vec::new();
    let mut to_see = vec![place.to_owned()];
    while let Some(path) = to_see.pop() {
        match look(&path)? {
            Some(meta) if meta.is_file() => files.push(Found { path, meta }),
            Some(meta) if meta.is_dir() => to_see.extend(entries(&path)?),
            _ => {}
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    match list() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.with_context(|| format!("list {}", folder.display())),
    }
}

/// # Errors
/// It is there, and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the folders of `path` that are empty, below `root`; what could not be removed was not empty.
///
/// # Errors
/// The disk's.
pub fn remove_emptied(root: &Path, path: &Path) -> Result<()> {
    let mut gone = path;
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
        gone = folder;
    }
    sync_folder(gone)
}
