//! A folder and the files below it, opened so that no path leads out of it.
//!
//! The kernel is asked to see to that (openat2(2), Linux 5.6): a check of our own could be outrun by a
//! change between the check and the opening.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::conditions;
use crate::cluster::config::DirConfig;
use crate::web::unusable::Unusable;

/// The compressed files that may lie beside a file: the ending, and its name in `Accept-Encoding`. The
/// smaller one stands first.
const COMPRESSED: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

/// A folder that was there at the start. It is opened again for each request, so that another one may be
/// moved to its place.
#[derive(Debug)]
pub(super) struct Folder(DirConfig);

/// An open file, with the facts that the answer's headers need.
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    /// The content coding, of a compressed file.
    pub(super) encoding: Option<&'static str>,
}

/// The reason why a path has no file.
pub(super) enum Missing {
    /// The path names a folder and does not end with a slash.
    IsFolder,
    /// There is no such file, or none that may be served.
    NotHere,
    /// The system failed; another request may go well.
    Failed(io::Error),
}

impl Folder {
    /// Looks at the folder once.
    ///
    /// # Errors
    /// It is not a folder, it may not be read, or this kernel cannot keep a path below it.
    pub(super) fn new(config: &DirConfig) -> Result<Self, Unusable> {
        let folder = Self(config.clone());
        let unusable = |error: io::Error, fix| {
            let folder = config.folder.display();
            Unusable(format!("--dir {folder} cannot be served: {error}; {fix}"))
        };
        std::fs::read_dir(&config.folder)
            .map_err(|error| unusable(error, "make the folder, or name another"))?;
        folder
            .root()
            .and_then(|root| folder.beneath(&root, Path::new(".")))
            .map_err(|error| unusable(error.into(), "openat2 is needed, of Linux 5.6 or newer"))?;
        Ok(folder)
    }

    /// Opens a file, or the compressed file beside it if the client accepts that. Blocks while a disk is
    /// read.
    ///
    /// # Errors
    /// See [`Missing`].
    pub(super) fn open(&self, path: &Path, accepted: &str) -> Result<OpenFile, Missing> {
        let root = self.root().map_err(missing)?;
        let open = |path: &Path| {
            let file = File::from(self.beneath(&root, path).map_err(missing)?);
            let metadata = file.metadata().map_err(Missing::Failed)?;
            Ok((file, metadata))
        };
        let (file, metadata) = open(path)?;
        if metadata.is_dir() {
            return Err(Missing::IsFolder);
        }
        let plain = OpenFile::new(file, &metadata, None)?;
        for (ending, encoding) in COMPRESSED {
            if conditions::accepts(accepted, encoding)
                && let Ok((file, metadata)) = open(&with_ending(path, ending))
                && let Ok(compressed) = OpenFile::new(file, &metadata, Some(encoding))
                // An older one was forgotten when the file was changed, so it has the wrong content.
                && compressed.modified >= plain.modified
            {
                return Ok(compressed);
            }
        }
        Ok(plain)
    }

    fn root(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.0.folder, flags, Mode::empty())
    }

    /// Opens a path below the folder.
    fn beneath(&self, root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
        let resolve = if self.0.follow_symlinks {
            ResolveFlags::NO_MAGICLINKS
        } else {
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS
        };
        // NONBLOCK: to open a pipe would otherwise wait for its other end.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat2(root, path, flags, Mode::empty(), resolve)
    }
}

impl OpenFile {
    fn new(
        file: File,
        metadata: &Metadata,
        encoding: Option<&'static str>,
    ) -> Result<Self, Missing> {
        if !metadata.is_file() {
            return Err(Missing::NotHere);
        }
        let modified = metadata.modified().map_err(Missing::Failed)?;
        Ok(Self { file, bytes: metadata.len(), modified, encoding })
    }
}

fn missing(error: Errno) -> Missing {
    let not_here = [
        Errno::NOENT,
        Errno::NOTDIR,
        // The path would lead out of the folder.
        Errno::XDEV,
        Errno::LOOP,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NAMETOOLONG,
        Errno::NXIO,
    ];
    if not_here.contains(&error) { Missing::NotHere } else { Missing::Failed(error.into()) }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}
